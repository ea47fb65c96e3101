"""An archive for each test of a journey."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.databases import Postgres
from tests.journeys.archives import Archive, empty_archive


@pytest.fixture
def archive(postgres: Postgres, tmp_path: Path) -> Iterator[Archive]:
    """An empty archive on each of both databases."""
    with empty_archive(postgres, tmp_path) as made:
        yield made
