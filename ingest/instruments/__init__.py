"""What the keywords of each instrument mean: small TOML files, loaded into values that ingest.describe is given."""

from ingest.instruments.mapping import Mapping, MatchedMapping, builtin_mappings, load_mappings

__all__ = ["Mapping", "MatchedMapping", "builtin_mappings", "load_mappings"]
