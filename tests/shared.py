"""Where the shared reference data lies: beside the repository, read-only, in CI too."""

from pathlib import Path

SHARED = Path(__file__).resolve().parents[1].parent / "shared"


def shared_data(*parts: str) -> Path:
    """A file or folder of the shared data; AssertionError says which one is missing."""
    path = SHARED.joinpath("data", *parts)
    assert path.exists(), f"{path} is missing: the tests need the shared folder beside the repository"
    return path
