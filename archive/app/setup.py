"""Bringing a database to what this release needs: migrations, the sky, views, rights, TAP_SCHEMA.

Repeatable, and quick when there is nothing to do; `uraniborg db init`, `db migrate`, `demo` and `serve` all call it.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, MetaData, text

from archive.access.service import ensure_operator_token
from archive.app.opened import OpenedArchive
from archive.database import migrate
from archive.database.roles import RoleNames, grant
from archive.holdings import published, views
from archive.holdings.tables import arc
from archive.jobs import queue

WORKING_SCHEMAS = ("arc", "store", "acl", "uws", "tap_schema")
CALLABLE_SCHEMAS = ("public", "sphere")
_SETUP_LOCK = 0x75726F_736574


def prepare(archive: OpenedArchive, metadata: Sequence[MetaData]) -> None:
    """Make the archive's database ready, whatever state it is in, and see that the operator has a token."""
    engines = archive.engines
    migrate.upgrade(engines.owner, metadata=metadata)
    with engines.begin("owner") as connection:
        # Two services that start together: one makes things ready, the other finds them so.
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _SETUP_LOCK})
        for schema in (*published.READER_SCHEMAS, *WORKING_SCHEMAS):
            connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {published.quoted(schema)}"))
        install_sphere(archive, connection)
        views.install(connection)
        queue.install(connection, grant_to=RoleNames.of(archive.urls).writer)
    grant(
        engines,
        published=published.READER_SCHEMAS,
        working=WORKING_SCHEMAS,
        callable_in=CALLABLE_SCHEMAS,
    )
    with engines.begin("writer") as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _SETUP_LOCK})
        published.publish_declared(connection)
    archive.settings.data_dir.mkdir(parents=True, exist_ok=True)
    ensure_operator_token(engines.writer, archive.operator_token_path)


def install_sphere(archive: OpenedArchive, connection: Connection) -> None:
    """The adapter's functions, and its indexes on the holdings."""
    sphere = archive.sphere
    table = published.quoted(f"{arc.SCHEMA}.{arc.file.name}")
    statements = [
        *sphere.install(),
        *sphere.point_index(table, '"s_ra"', '"s_dec"'),
        *sphere.region_index(table, '"s_region"'),
    ]
    driver = connection.connection.driver_connection
    assert driver is not None
    for statement in statements:
        driver.execute(statement)
