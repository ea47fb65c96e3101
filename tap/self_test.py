"""What is declared is tried before it is declared: each function once, in this database, as the reader role.

What fails is told loudly in the log and left out of capabilities; the service starts all the same.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from math import isclose

import psycopg
import structlog
from psycopg_pool import PoolClosed, PoolTimeout

from archive.holdings.declared import SCHEMAS
from archive.holdings.published import quoted
from archive.holdings.sessions import Sessions, reading
from archive.sphere.sphere import Sphere
from archive.vo.errors import ArchiveError
from tap.adql.names import PublishedSchema, PublishedTable, check
from tap.adql.parser import parse
from tap.adql.postgres import translate
from tap.adql.trials import Trial, trials

log = structlog.get_logger(__name__)

PATIENCE_S = 5.0  # for a connection, and for each query
TOLERANCE = 1e-8
TABLE = next(table for schema in SCHEMAS for table in schema.tables if table.name == "tap_schema.schemas")
SCHEMA = PublishedSchema({TABLE.name: PublishedTable(TABLE, quoted(TABLE.name))})


@dataclass(frozen=True, slots=True)
class SelfTest:
    """failed: why, by the form that is declared; tried: how many queries; seconds: that they took."""

    failed: Mapping[str, str]
    tried: int = 0
    seconds: float = 0.0


def self_test(pool: Sessions, sphere: Sphere) -> SelfTest:
    """Try everything once. Without a database nothing is tried, and everything is declared."""
    began = time.monotonic()
    failed: dict[str, str] = {}
    everything = tuple(trials())
    try:
        with reading(pool, patience_s=PATIENCE_S) as connection:
            for trial in everything:
                reason = _tried(connection, trial, sphere)
                if reason is not None:
                    failed.setdefault(trial.form, reason)
    except (PoolTimeout, PoolClosed, psycopg.Error) as problem:
        log.warning("the functions of ADQL could not be tried: the database does not answer", error=str(problem))
        return SelfTest({})
    for form, reason in failed.items():
        log.error("a function of ADQL does not work in this database and is not declared", form=form, reason=reason)
    return SelfTest(failed, len(everything), time.monotonic() - began)


def _tried(connection: psycopg.Connection[tuple[object, ...]], trial: Trial, sphere: Sphere) -> str | None:
    """Why it does not work; None: it does."""
    try:
        query = translate(check(parse(trial.query), SCHEMA), sphere)
        with connection.transaction():  # a savepoint: what fails must not end the others' transaction
            row = connection.execute(query.sql.encode(), query.parameters).fetchone()
    except psycopg.OperationalError:
        raise
    except (ArchiveError, psycopg.Error) as problem:
        return str(problem)
    found = row[0] if row else None
    return None if trial.gives is None or _same(found, trial.gives) else f"{trial.query} gives {found}"


def _same(found: object, wanted: object) -> bool:
    if isinstance(wanted, list) and isinstance(found, list):
        return len(found) == len(wanted) and all(map(_same, found, wanted))
    if isinstance(wanted, float) and isinstance(found, int | float):
        return isclose(found, wanted, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return found == wanted


def database_software(pool: Sessions, sphere: Sphere) -> str | None:
    """Product and version of the database and of what it knows of the sky; None if it does not answer at once."""
    try:
        with pool.connection(timeout=0.5) as connection:
            number = connection.info.server_version
            extension = "SELECT extversion FROM pg_extension WHERE extname = 'pg_sphere'"
            row = connection.execute(extension).fetchone() if sphere.name == "pgsphere" else None
    except (PoolTimeout, PoolClosed, psycopg.Error):
        return None
    server = f"PostgreSQL/{number // 10_000}.{number % 10_000}"
    return f"{server} pgSphere/{row[0]}" if row else f"{server} (plain sphere)"
