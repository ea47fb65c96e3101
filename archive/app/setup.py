"""Bringing a database to what this release needs: migrations, the sky, views, rights, TAP_SCHEMA.

Repeatable, and quick when there is nothing to do; `uraniborg db init`, `db migrate`, `restore` and `demo` all call it.
"""

import contextlib
from collections.abc import Sequence

from sqlalchemy import Connection, MetaData, text

from archive.access.service import ensure_operator_token
from archive.app.opened import OpenedArchive, volume, volume_names
from archive.database import migrate, sky, user_roles
from archive.database.roles import RoleNames, grant
from archive.database.sky import SkyTable, run_ddl
from archive.holdings import catalogues, published, views
from archive.holdings.own import seeing
from archive.holdings.tables import arc
from archive.jobs import queue
from archive.settings import MiB
from archive.sphere.sphere import Sphere
from storage import rounds
from storage.errors import VolumeUnavailable

WORKING_SCHEMAS = ("arc", "store", "acl", "uws", "tap_schema")
CALLABLE_SCHEMAS = ("public", "sphere")
_SETUP_LOCK = 0x75726F_736574


def prepare(archive: OpenedArchive, metadata: Sequence[MetaData]) -> None:
    """Make the archive's database ready, whatever state it is in, and see that the operator has a token."""
    engines, names = archive.engines, RoleNames.of(archive.urls)
    if archive.embedded_server is not None:  # whose superuser is ours
        admin = archive.embedded_server.admin_url(archive.urls.owner.database or "")
        user_roles.install(admin, owner=names.owner, writer=names.writer, reader=names.reader)
    migrate.upgrade(engines.owner, metadata=metadata)
    sky.install(engines.owner, archive.sphere)
    with engines.begin("owner") as connection:
        # Two services that start together: one makes things ready, the other finds them so.
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _SETUP_LOCK})
        for schema in (*published.READER_SCHEMAS, *WORKING_SCHEMAS):
            connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {published.quoted(schema)}"))
        index_sky(archive.sphere, connection)
        views.install(connection)
        seeing.install(connection, names.writer)
        queue.install(connection, grant_to=names.writer)
    grant(
        engines,
        published=published.READER_SCHEMAS,
        working=WORKING_SCHEMAS,
        callable_in=CALLABLE_SCHEMAS,
    )
    with engines.begin("writer") as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _SETUP_LOCK})
        published.publish_declared(connection)
    make_volumes(archive)
    archive.settings.data_dir.mkdir(parents=True, exist_ok=True)
    ensure_operator_token(engines.writer, archive.operator_token_path)


def make_volumes(archive: OpenedArchive) -> None:
    """Make the store's volumes, but none a second time: what has rows and is not there is a disk to be mounted."""
    settings = archive.settings
    with archive.engines.writer.connect() as connection:
        held = [name for name in volume_names(settings) if rounds.objects_of(connection, name, most=1)]
    for name in volume_names(settings):
        if name not in held:
            volume(settings, name, create=True)
    chosen = {each.name: each for each in settings.store.volumes}
    for each in archive.store.volumes:
        further = chosen.get(each.name)
        place = further or settings.store
        with contextlib.suppress(VolumeUnavailable):  # it is on record from when it was there
            archive.objects.register(
                each.name,
                site=further.site if further else None,
                storage_class=place.storage_class,
                watermark_bytes=place.watermark_mib * MiB,
            )


HOLDINGS = SkyTable(published.quoted(f"{arc.SCHEMA}.{arc.file.name}"), ('"s_ra"', '"s_dec"'), '"s_region"')


def index_sky(sphere: Sphere, connection: Connection) -> None:
    """The adapter's indexes on the holdings; catalogues get theirs when they are made."""
    assert HOLDINGS.position and HOLDINGS.region
    run_ddl(connection, sphere.point_index(HOLDINGS.table, *HOLDINGS.position))
    run_ddl(connection, sphere.region_index(HOLDINGS.table, HOLDINGS.region))


def sky_tables(archive: OpenedArchive) -> list[SkyTable]:
    """Every table that has a place on the sky: the holdings, catalogues with a position, users' own tables."""
    with archive.engines.writer.connect() as connection:
        found = [HOLDINGS, *seeing.own_sky_tables(connection)]
    for one in archive.published.tables().every("cat"):
        position = catalogues.position_columns(one.table)
        if position is not None:
            ra, dec = (published.quoted(name) for name in position)
            found.append(SkyTable(one.sql_name, (ra, dec)))
    return found
