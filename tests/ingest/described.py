"""One file described as ingest would, for the tests of this folder."""

from functools import lru_cache
from pathlib import Path

from ingest.describe import Description, describe_path
from ingest.instruments.mapping import Mapping, builtin_mappings


@lru_cache(maxsize=1)
def mappings() -> tuple[Mapping, ...]:
    return builtin_mappings()


@lru_cache(maxsize=512)
def described(path: Path, collection: str = "tests") -> Description:
    return describe_path(
        path, collection=collection, relative_path=path.name, mappings=mappings(), authority="archive.example"
    )
