"""Fixtures that every folder of tests may ask for."""

import contextlib
import functools
import os
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.databases import DATABASES, Postgres

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# In CI the examples are the same each time, so that it judges the change and not the draw; elsewhere, and in the long
# runs of `make faults`, they are new ones.
settings.register_profile("CI", settings.get_profile("any machine"), derandomize=True)
settings.load_profile("CI" if os.environ.get("CI") else "any machine")

pytest_plugins = ["tests.object_store", "tests.skips", "tests.schedule"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-long", action="store_true", help="run the tests marked slow too")


# Files that take minutes, for they start servers: first, so that no process is left alone with one at the end.
SLOW_FIRST = (
    "journeys/",
    "protocols/",
    "archive/test_jobs.py",
    "archive/test_database.py",
    "contracts/",
    "tap/test_running",
    "docs/test_pages",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long tests are left out unless asked for: deselected, so that no green run shows a skip."""
    items.sort(key=lambda item: not any(name in item.nodeid for name in SLOW_FIRST))
    if config.getoption("--run-long"):
        return
    long = [item for item in items if item.get_closest_marker("slow")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


@pytest.fixture(scope="session")
def servers() -> Iterator[Callable[[str], Postgres]]:
    """Starts a database when it is first asked for, and ends all with the session (see tests.live.lives)."""
    with contextlib.ExitStack() as stack:
        yield functools.cache(lambda name: stack.enter_context(DATABASES[name]()))


@pytest.fixture(scope="session", params=list(DATABASES))
def postgres(request: pytest.FixtureRequest, servers: Callable[[str], Postgres]) -> Postgres:
    """Both databases: "embedded" (plain sphere) and "pgsphere".

    For one of them only: `@pytest.mark.parametrize("postgres", ["embedded"], indirect=True)`.
    """
    return servers(request.param)


@pytest.fixture(scope="module")
def database(postgres: Postgres) -> Iterator[Postgres]:
    """A fresh database for the module: roles, extension and sphere, no tables. Roles belong to the whole cluster."""
    fresh = postgres.fresh_database()
    yield fresh
    fresh.drop()
