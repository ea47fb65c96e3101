"""Restoring a backup (backup.py) into an empty place: an archive that holds nothing yet.

Bytes first, rows second, as in ingest: what is cut off is begun again with the same command, and the archive's own
tables, whose rows promise bytes, come last, all in one transaction. The database is made as it was when the backup was
taken, filled, and then migrated to what this release needs.
"""

import gzip
import hashlib
from collections.abc import Sequence
from pathlib import Path

from psycopg import sql
from sqlalchemy import Connection, MetaData, text

from archive.app.backup import (
    Manifest,
    SavedObject,
    SavedTable,
    comes_and_goes,
    driver_of,
    listed,
    sha256_of,
    snapshots,
)
from archive.app.opened import OpenedArchive, volume, volume_names
from archive.app.setup import CALLABLE_SCHEMAS, WORKING_SCHEMAS, prepare, sky_tables
from archive.database import migrate, sky
from archive.database.roles import grant
from archive.holdings import published
from archive.holdings.own.seeing import grant_all
from archive.jobs import queue
from archive.vo.errors import ArchiveError, ConfigurationError
from storage.checksums import Expected
from storage.errors import ObjectExists
from storage.rebuild import renew_labels
from storage.service import ObjectStore

BLOCK_BYTES = 1 << 20


def restore(
    archive: OpenedArchive, metadata: Sequence[MetaData], folder: Path, *, snapshot: str | None = None
) -> Manifest:
    """Bring an empty archive to the state of a snapshot; the newest if none is named.

    ConfigurationError: the place is not empty, or the backup is not whole; nothing was changed then.
    """
    place = chosen(folder, snapshot)
    manifest = Manifest.read(place)
    _require_whole(place, manifest)
    _require_empty(archive)
    wanted = {one.key: one for one in listed(place) if one.key not in set(manifest.gone)}
    for name in volume_names(archive.settings):
        volume(archive.settings, name, create=True)
    target = archive.store.volumes[0]
    for entry in target.keys():  # noqa: SIM118 (a volume is no mapping)
        if entry.key not in wanted:
            raise ConfigurationError(
                f"volume {target.name} is not empty: it has {entry.key}, which is not of the backup"
            )
    for one in wanted.values():
        _bring(archive.store, target.name, one, folder / "objects" / one.key)
    _make_tables(archive, metadata, manifest)
    _load_catalogues(archive, manifest, place)
    with archive.engines.begin("owner") as connection:
        _load(connection, [table for table in manifest.tables if not comes_and_goes(table.schema)], place)
        _settle(connection, manifest, target.name)
    prepare(archive, metadata)
    renew_labels(archive.objects)  # of the objects that were brought: so far these do not say whose they are
    grant_all(archive.engines)
    sky.convert(archive.engines, sky_tables(archive), archive.sphere, archive.sphere)
    with archive.engines.begin("writer") as connection:
        for task in manifest.tasks:
            queue.defer(connection, **task)
    with archive.engines.begin("owner") as connection:
        connection.execute(text("ANALYZE arc.file"))
        connection.execute(text("ANALYZE store.object"))
        connection.execute(text("ANALYZE store.copy"))
    return manifest


def chosen(folder: Path, snapshot: str | None) -> Path:
    """The snapshot of that name, or the newest. ConfigurationError: there is none such."""
    found = snapshots(folder)
    named = [path for path in found if snapshot is None or path.name == snapshot]
    if not named:
        there = ", ".join(path.name for path in found) or "none that is whole"
        raise ConfigurationError(f"{folder} has no such snapshot of an archive; it has: {there}")
    return named[-1]


def _require_whole(place: Path, manifest: Manifest) -> None:
    expected = [(place / table.file_name, table.sha256) for table in manifest.tables]
    for path, sha256 in [*expected, (place / "objects.tsv", manifest.listing_sha256)]:
        if not path.is_file() or sha256_of(path) != sha256:
            raise ConfigurationError(f"{path} is not what the backup wrote: take another snapshot of it (--snapshot)")


def _require_empty(archive: OpenedArchive) -> None:
    with archive.engines.owner.connect() as connection:
        for table in ("arc.file", "arc.own_table", "store.object", "uws.job"):
            if connection.execute(text("SELECT to_regclass(:name)"), {"name": table}).scalar() is None:
                continue
            if connection.execute(text(f"SELECT EXISTS (SELECT FROM {table})")).scalar():  # noqa: S608 (our own names)
                raise ConfigurationError(
                    f"a backup is restored into an empty place only, and {table} has rows: name another --data-dir, "
                    "or another database"
                )


def _bring(store: ObjectStore, volume: str, one: SavedObject, source: Path) -> None:
    """Put an object onto a volume, or see that it lies there from a restore that was cut off."""
    try:
        with source.open("rb") as stream:
            store.store(stream, key=one.key, expected=Expected(sha256=one.sha256), volumes=[volume])
    except FileNotFoundError:
        raise ConfigurationError(f"{source} is missing from the backup") from None
    except ObjectExists:
        digest = hashlib.sha256()
        with store.open(one.key, volume=volume) as there:
            for block in there:
                digest.update(block)
        if digest.hexdigest() != one.sha256:
            raise ArchiveError(
                f"object {one.key} lies in the store with other bytes: remove it, and restore again"
            ) from None


def _make_tables(archive: OpenedArchive, metadata: Sequence[MetaData], manifest: Manifest) -> None:
    """The tables as of the backup's revision, empty; what an empty archive of this release had is dropped."""
    engines = archive.engines
    with engines.begin("owner") as connection:
        for schema in sorted(migrate.declared_schemas(metadata)):
            connection.execute(text(f"DROP SCHEMA IF EXISTS {published.quoted(schema)} CASCADE"))
        connection.execute(text("DROP TABLE IF EXISTS public.alembic_version"))
    migrate.upgrade(engines.owner, revision=manifest.revision, metadata=metadata)
    sky.install(engines.owner, archive.sphere)
    grant(engines, published=published.READER_SCHEMAS, working=WORKING_SCHEMAS, callable_in=CALLABLE_SCHEMAS)


def _load_catalogues(archive: OpenedArchive, manifest: Manifest, place: Path) -> None:
    writer = published.quoted(str(archive.urls.writer.username))
    for table in manifest.tables:
        if not comes_and_goes(table.schema):
            continue
        with archive.engines.begin("owner") as connection:  # of users' schemas; its other rights come with the roles
            schema = published.quoted(table.schema)
            connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {schema}"))
            connection.execute(text(f"GRANT USAGE, CREATE ON SCHEMA {schema} TO {writer}"))
        with archive.engines.begin(table.role) as connection:
            driver, relation = driver_of(connection), sql.Identifier(table.schema, table.name)
            driver.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(relation))
            # A type's name comes from format_type of the server that was saved, by a file whose checksum holds.
            columns = [sql.SQL("{} ").format(sql.Identifier(name)) + _type(kind) for name, kind in table.columns]
            driver.execute(sql.SQL("CREATE TABLE {} ({})").format(relation, sql.SQL(", ").join(columns)))
            _load(connection, [table], place)
            for statement in table.indexes:
                driver.execute(statement.encode())
            driver.execute(sql.SQL("ANALYZE {}").format(relation))


def _type(kind: str) -> sql.Composable:
    """The name of a type as PostgreSQL itself wrote it."""
    if not all(letter.isalnum() or letter in ' _[](),"' for letter in kind):
        raise ConfigurationError(f"{kind!r} is no type of PostgreSQL: the backup's manifest was changed")
    return sql.Composed([sql.SQL(kind)])


def _load(connection: Connection, tables: Sequence[SavedTable], place: Path) -> None:
    for table in tables:
        names = sql.SQL(", ").join(sql.Identifier(column) for column, _ in table.columns)
        statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table.schema, table.name), names)
        with driver_of(connection).cursor() as cursor, gzip.open(place / table.file_name) as file:
            with cursor.copy(statement) as copy:
                while block := file.read(BLOCK_BYTES):
                    copy.write(block)
            rows = cursor.rowcount
        if rows != table.rows:
            raise ArchiveError(f"{table.schema}.{table.name}: {table.rows} rows were saved and {rows} were restored")
        for (column,) in connection.execute(
            text(
                "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(:name) AND attnum > 0"
                " AND pg_get_serial_sequence(:name, attname) IS NOT NULL"
            ),
            {"name": f"{published.quoted(table.schema)}.{published.quoted(table.name)}"},
        ).all():
            _count_on(connection, table, column)


def _count_on(connection: Connection, table: SavedTable, column: str) -> None:
    """What numbers itself goes on after the greatest number that came."""
    relation = sql.Identifier(table.schema, table.name)
    driver_of(connection).execute(
        sql.SQL(
            "SELECT setval(pg_get_serial_sequence({name}, {label}), greatest(max({column}), 1),"
            " max({column}) IS NOT NULL) FROM {relation}"
        ).format(
            name=sql.Literal(relation.as_string(None)),
            label=sql.Literal(column),
            column=sql.Identifier(column),
            relation=relation,
        )
    )


def _settle(connection: Connection, manifest: Manifest, volume_name: str) -> None:
    """What is different here: the volume's name, the queue's entries, and objects that were not to be had."""
    gone = {"gone": list(manifest.gone)}
    connection.execute(text("DELETE FROM arc.file WHERE object_key = ANY(:gone)"), gone)
    # A backup of before copies had a table of their own has a row of store.object for each.
    table = "copy" if connection.execute(text("SELECT to_regclass('store.copy')")).scalar() else "object"
    copies = sql.Identifier("store", table)
    for statement in (
        "DELETE FROM {0} WHERE key = ANY(%(gone)s)",
        "DELETE FROM {0} a USING {0} b WHERE a.key = b.key AND a.volume > b.volume",
        "UPDATE {0} SET volume = %(name)s WHERE volume <> %(name)s",
    ):
        driver_of(connection).execute(sql.SQL(statement).format(copies), gone | {"name": volume_name})
    if table == "copy":
        connection.execute(text("DELETE FROM store.volume"))  # those of this place are recorded by prepare()
    # A job without an entry in the queue is queued again by the workers.
    connection.execute(text("UPDATE uws.job SET procrastinate_id = NULL"))
