"""The made archive that the discovery protocols are asked about."""

from collections.abc import Iterator

import pytest

from tests.databases import Postgres
from tests.discovery.made_sky import Sky, made_sky


@pytest.fixture(scope="package")
def sky(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sky]:
    with made_sky(postgres, tmp_path_factory.mktemp("discovery")) as made:
        yield made
