"""The sphere's part of a database: its functions and its indexes, which belong to the adapter and not to migrations.

Here: installing an adapter, showing what is indexed, going from one adapter to the other. Not here: what the adapters
are (archive.sphere), which tables have positions (each room says so).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from sqlalchemy import Connection, Engine, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from archive.database.engines import Engines, Role, psycopg_dsn
from archive.sphere.sphere import Sphere
from archive.vo.errors import ConfigurationError

PGSPHERE = "pg_sphere"
INDEX_PREFIX = "sphere_"

# What Debian 12's packages say together (pg_sphere 1.2.0 on PostgreSQL 15.20).
COMMUTATOR_TRAP = "already the commutator"
COMMUTATOR_ADVICE = (
    "this pg_sphere and this PostgreSQL do not go together: in pg_sphere--1.2.0.sql leave COMMUTATOR and NEGATOR out "
    "of the two operators @ for smoc at the end, or use the plain adapter (database.sphere = plain)"
)


@dataclass(frozen=True, slots=True)
class SkyTable:
    """A table that has a place on the sky. Names are quoted, the table's qualified too.

    position: its columns of ra and dec, degrees ICRS. region: its column of the portable region (archive.sphere).
    """

    table: str
    position: tuple[str, str] | None = None
    region: str | None = None


@dataclass(frozen=True, slots=True)
class SkyIndex:
    """An index of an adapter as it is in the database. size_bytes: on disk."""

    table: str
    index: str
    adapter: str
    definition: str
    size_bytes: int


def run_ddl(connection: Connection, statements: Sequence[str]) -> None:
    """Execute an adapter's statements as they are written: a colon in them is no parameter."""
    for statement in statements:
        connection.execute(text(statement.replace(":", r"\:")))


def install(owner: Engine, sphere: Sphere, *, admin: URL | None = None) -> None:
    """What the adapter needs in the database; repeatable.

    admin: a superuser, in this very database, who makes the extension where the owner may not.
    ConfigurationError: the extension is not installed on the server, or nobody here may make it.
    """
    if sphere.name == "pgsphere" and admin is not None:
        _create_extension(admin)
    try:
        with owner.begin() as connection:
            run_ddl(connection, sphere.install())
    except DBAPIError as error:
        raise ConfigurationError(
            f"the {sphere.name} adapter of the sky could not be installed: {error.orig}. A superuser must say "
            f"CREATE EXTENSION {PGSPHERE} in this database (uraniborg db init --admin-url), or set "
            "database.sphere = plain"
        ) from error


def _create_extension(admin: URL) -> None:
    try:
        with psycopg.connect(psycopg_dsn(admin), autocommit=True, connect_timeout=10) as connection:
            connection.execute(f"CREATE EXTENSION IF NOT EXISTS {PGSPHERE}")
    except psycopg.Error as error:
        trap = COMMUTATOR_TRAP in str(error)
        advice = (
            COMMUTATOR_ADVICE if trap else "install it on the server (Debian: postgresql-15-pgsphere), or use plain"
        )
        raise ConfigurationError(f"the extension {PGSPHERE} could not be made: {error}; {advice}") from error


def indexes(engine: Engine) -> list[SkyIndex]:
    """The sphere's indexes, of whatever adapter, by table."""
    statement = text(
        "SELECT format('%I.%I', n.nspname, t.relname), i.relname, split_part(i.relname, '_', 2),"
        " pg_get_indexdef(i.oid), pg_relation_size(i.oid)"
        " FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid"
        " JOIN pg_namespace n ON n.oid = t.relnamespace"
        " WHERE starts_with(i.relname, :prefix) ORDER BY 1, 2"
    )
    with engine.connect() as connection:
        return [SkyIndex(*row) for row in connection.execute(statement, {"prefix": INDEX_PREFIX})]


def convert(
    engines: Engines, tables: Sequence[SkyTable], old: Sphere, new: Sphere, *, admin: URL | None = None
) -> None:
    """From one adapter to the other: install the new one, then table by table make its indexes and drop the old ones.

    Each table is one transaction of the role that owns it, so a conversion that was stopped goes on where it was. It
    is locked against writing, not against reading, while its index is built.
    """
    install(engines.owner, new, admin=admin)
    for sky_table in tables:
        with engines.begin(_owner_of(engines, sky_table.table)) as connection:
            if sky_table.position:
                run_ddl(connection, new.point_index(sky_table.table, *sky_table.position))
            if sky_table.region:
                run_ddl(connection, new.region_index(sky_table.table, sky_table.region))
            if old.name != new.name:
                run_ddl(connection, old.drop_indexes(sky_table.table))


def _owner_of(engines: Engines, table: str) -> Role:
    statement = text("SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = to_regclass(:name)")
    with engines.owner.connect() as connection:
        owner = connection.execute(statement, {"name": table}).scalar()
    roles: tuple[Role, ...] = ("owner", "writer")
    for role in roles:
        if owner == engines.urls.of(role).username:
            return role
    raise ConfigurationError(
        f"the table {table} belongs to {owner or 'nobody: it is not there'}, neither to the archive's owner nor to its "
        "writer; ALTER TABLE ... OWNER TO the one that made it"
    )


def offer_extension(admin: URL) -> bool:
    """Make pgSphere in a database if its server has it; whether it is there now.

    ConfigurationError: the server has it and it cannot be made, with what to do.
    """
    with psycopg.connect(psycopg_dsn(admin), autocommit=True, connect_timeout=10) as connection:
        available = connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = %s", [PGSPHERE]).fetchone()
    if available is not None:
        _create_extension(admin)
    return available is not None
