"""The tables of the holdings, a module a schema; one MetaData, so that migrations see them all."""

from archive.holdings.tables import arc, tap_schema
from archive.holdings.tables.metadata import metadata

__all__ = ["arc", "metadata", "tap_schema"]
