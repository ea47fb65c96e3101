"""The live archive that clients are set upon."""

from tests.live import live, lives

__all__ = ["live", "lives"]
