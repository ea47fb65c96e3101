"""A backup: the whole archive in one folder, database and bytes consistent with each other. restore.py reads it.

    DIR/objects/KEY              the bytes, each copied once and checked against its checksum as it came
    DIR/snapshots/TIME/          one state of the database: a file a table, the list of its objects, manifest.json

All tables are read in one snapshot of the database, by both roles that own some. Objects never change, so those that
the snapshot lists may be copied after it, and what comes meanwhile belongs to the next backup. Only an object that was
removed since is missing, and then its row is gone too: the manifest says so. A folder with a manifest is whole; a
backup that was cut off is begun again, and the objects that it had copied stay.

Rows travel as PostgreSQL's COPY writes them, not as pg_dump does: no program of the right version is needed, and a
backup of one server can be restored into another: embedded or not, of another version, with another adapter of the sky.
"""

import fcntl
import gzip
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, cast

import psycopg
from psycopg import sql
from sqlalchemy import Connection, MetaData, text

from archive.app.opened import OpenedArchive
from archive.database import migrate
from archive.database.engines import Role
from archive.jobs import queue
from archive.vo.columns import OWN
from archive.vo.errors import ArchiveError, ConfigurationError, UnavailableError
from storage.catalogue import find_object
from storage.durable import flush
from storage.errors import ObjectNotFound

FORMAT = 1
CATALOGUES = "cat"  # the schema whose tables come and go while the archive runs, as users' own do
BLOCK_BYTES = 1 << 20
LISTING = "objects.tsv"
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class SavedTable:
    """One table of a snapshot. role: who owns it. columns: names with their PostgreSQL types. indexes: DDL, of tables
    that no migration makes. rows, sha256: of the file."""

    schema: str
    name: str
    role: Role
    columns: tuple[tuple[str, str], ...]
    indexes: tuple[str, ...]
    rows: int
    sha256: str

    @property
    def file_name(self) -> str:
        """Where its rows lie; a catalogue may be called anything, so its name is hashed."""
        return hashlib.sha256(f"{self.schema}\0{self.name}".encode()).hexdigest()[:20] + ".copy.gz"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a snapshot is. revision: of the database. objects, size_bytes: on its list. gone: keys that were removed,
    rows and all, before they could be copied. tasks: what waited in the queue and is no job of a user."""

    version: str
    revision: str
    taken: str
    tables: tuple[SavedTable, ...]
    objects: int
    size_bytes: int
    listing_sha256: str
    tasks: tuple[dict[str, Any], ...] = ()
    gone: tuple[str, ...] = ()
    format: int = FORMAT

    @classmethod
    def read(cls, folder: Path) -> Self:
        """From a snapshot's folder. ConfigurationError: there is none, or a newer release wrote it."""
        try:
            told = json.loads((folder / MANIFEST).read_text())
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{folder} is no whole snapshot of a backup: {error}") from error
        if told.get("format") != FORMAT:
            raise ConfigurationError(f"{folder} has format {told.get('format')}, this release reads {FORMAT}")
        tables = tuple(
            SavedTable(**{**table, "columns": tuple(map(tuple, table["columns"])), "indexes": tuple(table["indexes"])})
            for table in told.pop("tables")
        )
        return cls(tables=tables, **{**told, "tasks": tuple(told["tasks"]), "gone": tuple(told["gone"])})


@dataclass(frozen=True, slots=True)
class SavedObject:
    """A line of a snapshot's list."""

    key: str
    size_bytes: int
    sha256: str
    volume: str


@dataclass(slots=True)
class Done:
    """What a backup did: objects copied now, and those that lay there already."""

    snapshot: Path
    manifest: Manifest
    copied: int = 0
    kept: int = 0
    gone: list[str] = field(default_factory=list)


def backup(archive: OpenedArchive, metadata: Sequence[MetaData], folder: Path, *, version: str) -> Done:
    """Write a snapshot of the archive into a folder, which may hold earlier ones; objects are copied once.

    version: of this release. Others may write to the archive meanwhile. UnavailableError: another backup writes there.
    """
    for each in (folder, folder / "objects", folder / "snapshots"):
        each.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone(folder):
        for cut_off in (folder / "snapshots").glob("*.part"):
            shutil.rmtree(cut_off)
        taken = datetime.now(UTC)
        final = folder / "snapshots" / f"{taken:%Y%m%dT%H%M%S.%fZ}"
        growing = final.with_name(final.name + ".part")
        growing.mkdir(mode=0o700)
        manifest = _save_database(archive, metadata, growing, version, taken)
        done = Done(final, manifest)
        for one in listed(growing):
            _save_object(archive, one, folder / "objects" / one.key, done)
        whole = {**asdict(manifest), "gone": done.gone}
        _write(growing / MANIFEST, json.dumps(whole, indent=1).encode())
        growing.rename(final)
        flush(final.parent)
    return done


def snapshots(folder: Path) -> list[Path]:
    """The whole snapshots of a backup, oldest first."""
    return sorted(path.parent for path in folder.glob(f"snapshots/*Z/{MANIFEST}"))


def listed(snapshot: Path) -> Iterator[SavedObject]:
    """The objects of a snapshot, in the order of their keys."""
    with (snapshot / LISTING).open() as lines:
        for line in lines:
            key, size_bytes, sha256, volume = line.rstrip("\n").split("\t")
            yield SavedObject(key, int(size_bytes), sha256, volume)


def verify(folder: Path, snapshot: Path) -> Iterator[str]:
    """Read all that a snapshot needs and compare checksums; yields what is wrong, in words."""
    manifest = Manifest.read(snapshot)
    expected = [(snapshot / table.file_name, table.sha256) for table in manifest.tables]
    for path, sha256 in [*expected, (snapshot / LISTING, manifest.listing_sha256)]:
        if not path.is_file():
            yield f"{path} is missing"
        elif sha256_of(path) != sha256:
            yield f"{path} is not what was written"
    gone = set(manifest.gone)
    for one in listed(snapshot) if (snapshot / LISTING).is_file() else ():
        path = folder / "objects" / one.key
        if one.key in gone:
            continue
        if not path.is_file():
            yield f"{path} is missing"
        elif sha256_of(path) != one.sha256:
            yield f"{path} is not what was written"


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def driver_of(connection: Connection) -> psycopg.Connection[Any]:
    """psycopg's connection under SQLAlchemy's: COPY is its business."""
    return cast(psycopg.Connection[Any], connection.connection.driver_connection)


# --- the database


def _save_database(
    archive: OpenedArchive, metadata: Sequence[MetaData], folder: Path, version: str, taken: datetime
) -> Manifest:
    with _one_snapshot(archive) as connections:
        owner = connections["owner"]
        revision = owner.execute(text("SELECT version_num FROM public.alembic_version")).scalar_one()
        if revision != migrate.head():
            raise ConfigurationError(
                f"the database is at revision {revision}, this release at {migrate.head()}: `uraniborg db migrate`, "
                "or make the backup with the release that runs"
            )
        _refuse_unknown(owner, metadata)
        tables = [_save_table(connections["owner"], *name, "owner", folder) for name in declared(metadata)]
        for schema, name, role in _catalogues(owner, archive):
            tables.append(_save_table(connections[role], schema, name, role, folder))
        objects, size_bytes = _save_listing(owner, folder / LISTING)
        tasks = tuple(queue.open_tasks(owner))
    return Manifest(
        version=version,
        revision=revision,
        taken=taken.isoformat(),
        tables=tuple(tables),
        objects=objects,
        size_bytes=size_bytes,
        listing_sha256=sha256_of(folder / LISTING),
        tasks=tasks,
    )


@contextmanager
def _one_snapshot(archive: OpenedArchive) -> Iterator[dict[Role, Connection]]:
    """Connections of owner and writer that see one and the same state of the database."""
    engines = archive.engines
    with engines.owner.connect() as owner, engines.writer.connect() as writer:
        owner = owner.execution_options(isolation_level="REPEATABLE READ")
        writer = writer.execution_options(isolation_level="REPEATABLE READ")
        exported = owner.execute(text("SELECT pg_export_snapshot()")).scalar_one()
        # The statement takes no parameters, and must be the transaction's first: not SQLAlchemy's, but psycopg's.
        writer.begin()
        driver_of(writer).execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(exported)))
        yield {"owner": owner, "writer": writer}


def declared(metadata: Sequence[MetaData]) -> list[tuple[str, str]]:
    """Schema and name of the tables that migrations make, those that others point at first."""
    schemas = migrate.declared_schemas(metadata)
    return [(str(table.schema), table.name) for each in metadata for table in each.sorted_tables
            if table.schema in schemas]  # fmt: skip


def comes_and_goes(schema: str) -> bool:
    """Whether a schema's tables are made while the archive runs: catalogues, users' own."""
    return schema == CATALOGUES or schema.startswith(OWN)


def _refuse_unknown(owner: Connection, metadata: Sequence[MetaData]) -> None:
    """A table that this module does not know would be lost in silence."""
    known = [*migrate.declared_schemas(metadata), CATALOGUES, queue.SCHEMA, "information_schema"]
    statement = text(
        "SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'p', 'm') AND NOT starts_with(n.nspname, 'pg_') AND n.nspname <> ALL(:known)"
        " AND NOT starts_with(n.nspname, 'user_')"
        " AND NOT (n.nspname = 'public' AND c.relname = 'alembic_version')"
        " AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e') ORDER BY 1"
    )
    strangers = list(owner.execute(statement, {"known": known}).scalars())
    if strangers:
        raise ConfigurationError(
            f"the database has tables that no backup of this release knows: {', '.join(strangers)}; "
            "move them into a database of their own"
        )


def _catalogues(owner: Connection, archive: OpenedArchive) -> list[tuple[str, str, Role]]:
    """Schema, name and owning role of the tables that come and go."""
    roles: dict[str | None, Role] = {archive.urls.owner.username: "owner", archive.urls.writer.username: "writer"}
    statement = text(
        "SELECT n.nspname, c.relname, pg_get_userbyid(c.relowner)"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE (n.nspname = :schema OR starts_with(n.nspname, :own)) AND c.relkind = 'r' ORDER BY 1, 2"
    )
    found = owner.execute(statement, {"schema": CATALOGUES, "own": OWN}).all()
    strangers = [f"{schema}.{name}" for schema, name, user in found if user not in roles]
    if strangers:
        raise ConfigurationError(f"the archive's roles do not own the tables {', '.join(strangers)}")
    return [(schema, name, roles[user]) for schema, name, user in found]


def _save_table(connection: Connection, schema: str, name: str, role: Role, folder: Path) -> SavedTable:
    relation = sql.Identifier(schema, name)
    driver = driver_of(connection)
    quoted = relation.as_string(driver)
    columns = connection.execute(
        text(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attrelid = to_regclass(:name) AND attnum > 0 AND NOT attisdropped AND attgenerated = ''"
            " ORDER BY attnum"
        ),
        {"name": quoted},
    ).all()
    indexes: list[str] = []
    if comes_and_goes(schema):
        for index, statement in connection.execute(
            text(
                "SELECT i.relname, pg_get_indexdef(i.oid) FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid"
                " WHERE x.indrelid = to_regclass(:name) ORDER BY 1"
            ),
            {"name": quoted},
        ):
            if not index.startswith(migrate.SPHERE_PREFIXES):  # the adapter's are made anew by the adapter there
                indexes.append(statement)
    names = sql.SQL(", ").join(sql.Identifier(column) for column, _ in columns)
    found = SavedTable(schema, name, role, tuple((c, t) for c, t in columns), tuple(indexes), 0, "")
    path = folder / found.file_name
    with gzip.open(path, "wb", compresslevel=1) as file, driver.cursor() as cursor:
        with cursor.copy(sql.SQL("COPY {} ({}) TO STDOUT").format(relation, names)) as copy:
            for block in copy:
                file.write(block)
        rows = cursor.rowcount
    flush(path)
    return SavedTable(schema, name, role, found.columns, found.indexes, rows, sha256_of(path))


def _save_listing(owner: Connection, path: Path) -> tuple[int, int]:
    """The objects of the snapshot, each key once; how many, and their bytes."""
    number = total = 0
    statement = text(
        "SELECT DISTINCT ON (key) key, size_bytes, sha256, volume FROM store.copy JOIN store.object USING (object_id)"
        " ORDER BY key, state <> 'ok', volume"
    )
    with path.open("w") as lines:
        for row in owner.execution_options(yield_per=5_000).execute(statement):
            lines.write("\t".join(map(str, row)) + "\n")
            number, total = number + 1, total + row.size_bytes
    flush(path)
    return number, total


# --- the bytes


def _save_object(archive: OpenedArchive, one: SavedObject, target: Path, done: Done) -> None:
    """Copy an object unless it lies there: it was checked when it came, and never changes."""
    if target.is_file() and target.stat().st_size == one.size_bytes:
        done.kept += 1
        return
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    growing = target.with_name(target.name + ".part")
    digest = hashlib.sha256()
    try:
        with archive.store.open(one.key, volume=one.volume) as stream, growing.open("wb") as file:
            while block := stream.read(BLOCK_BYTES):
                digest.update(block)
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
    except ObjectNotFound:
        with archive.engines.writer.connect() as connection:
            if find_object(connection, one.volume, one.key) is not None:
                raise  # its row promises it still: the store has lost it
        done.gone.append(one.key)
        return
    if digest.hexdigest() != one.sha256:
        raise ArchiveError(
            f"object {one.key} on volume {one.volume} is not what was stored: `uraniborg store scrub`, then mend it"
        )
    growing.rename(target)
    flush(target.parent)
    done.copied += 1


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UnavailableError(f"another backup is being written to {folder}: wait until it has ended") from None
        yield


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    flush(path)
