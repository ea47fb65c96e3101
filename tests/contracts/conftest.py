"""The sphere's contract is asked of every adapter on every server it may meet."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from archive.database.engines import psycopg_dsn
from archive.sphere.plain import PlainSphere
from archive.sphere.sphere import Sphere
from tests.databases import Postgres

# The plain adapter is for the embedded server, and for servers of the oldest version that lack pgSphere.
SPHERES = [("embedded", "plain"), ("pgsphere", "pgsphere"), ("pgsphere", "plain")]


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    # As a mark, which goes before the parameters that `postgres` has of its own.
    if "sphere_database" in metafunc.fixturenames:
        mark = pytest.mark.parametrize(("postgres", "adapter"), SPHERES, indirect=True, scope="session")
        metafunc.definition.add_marker(mark)


@pytest.fixture(scope="session")
def adapter(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def sphere_database(postgres: Postgres, adapter: str) -> Iterator[tuple[psycopg.Connection[Any], Sphere]]:
    """The owner's connection to a fresh database, in autocommit, and the adapter that is installed there."""
    fresh = postgres.fresh_database()
    sphere: Sphere = PlainSphere() if adapter == "plain" else fresh.sphere
    with psycopg.connect(psycopg_dsn(fresh.urls.owner), autocommit=True) as connection:
        connection.execute("SET jit = off")
        for _ in range(2):  # installing is repeatable
            for statement in sphere.install():
                connection.execute(statement)
        yield connection, sphere
    fresh.drop()


@pytest.fixture(scope="module")
def reader(
    postgres: Postgres, sphere_database: tuple[psycopg.Connection[Any], Sphere]
) -> Iterator[psycopg.Connection[Any]]:
    """The reader's connection to the same database."""
    connection, _ = sphere_database
    url = postgres.urls.reader.set(database=connection.info.dbname)
    with psycopg.connect(psycopg_dsn(url), autocommit=True) as reading:
        yield reading
