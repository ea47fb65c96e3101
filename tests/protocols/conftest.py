"""The live archive that clients are set upon."""

from tests.live import live

__all__ = ["live"]
