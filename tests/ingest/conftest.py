"""The archive that files are put into."""

from tests.journeys.conftest import archive

__all__ = ["archive"]
