"""Shared data described once for all tests that look at the outcome."""

from functools import cache
from pathlib import Path

from ingest.describe import Description, describe_path
from ingest.instruments import Mapping, builtin_mappings
from tests.shared import shared_data

SIDECARS = ("README.md", "README.txt")


@cache
def mappings() -> tuple[Mapping, ...]:
    return builtin_mappings()


@cache
def described(relative: str) -> Description:
    return describe_path(
        shared_data(relative), collection="shared", relative_path=relative, mappings=mappings(), authority="example.org"
    )


def shared_files(*folders: str) -> list[str]:
    """All files of some folders of the shared data, relative to it."""
    root = shared_data()
    return sorted(
        str(path.relative_to(root))
        for folder in folders
        for path in Path(root, folder).rglob("*")
        if path.is_file() and path.name not in SIDECARS
    )
