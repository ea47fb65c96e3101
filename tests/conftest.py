"""Fixtures that every folder of tests may ask for."""

from collections.abc import Iterator

import pytest

from tests.databases import DATABASES, Postgres


@pytest.fixture(scope="session", params=list(DATABASES))
def postgres(request: pytest.FixtureRequest) -> Iterator[Postgres]:
    """Both databases, one after the other: "embedded" (plain sphere) and "pgsphere".

    For one of them only: `@pytest.mark.parametrize("postgres", ["embedded"], indirect=True)`.
    """
    with DATABASES[request.param]() as prepared:
        yield prepared


@pytest.fixture(scope="module")
def database(postgres: Postgres) -> Iterator[Postgres]:
    """A fresh database for the module: roles, extension and sphere, no tables. Roles belong to the whole cluster."""
    fresh = postgres.fresh_database()
    yield fresh
    fresh.drop()
