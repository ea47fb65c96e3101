"""What should be there: objects, copies, volumes and containers.

Functions on a SQLAlchemy Connection of role writer, within the caller's transaction. What is there, the volumes know.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Select, delete, func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import distinct_on, insert

from storage.checksums import Stored
from storage.errors import VersionConflict
from storage.feed import append_event, append_events
from storage.model import (
    MAX_FILE_ID_BYTES,
    Container,
    Copy,
    CopyState,
    ObjectVersion,
    StoredObject,
    VolumeRow,
    VolumeState,
)
from storage.sessions import Statement, ask
from storage.tables import block, container, copy, stored_object, volume

# A family of PostgreSQL's advisory locks, one a file_id.
_FILE_LOCK = b"file"

_o = stored_object.c
# In the order of the fields of ObjectVersion and Copy.
_OBJECT_COLUMNS = tuple(stored_object.c)
_COPY_COLUMNS = tuple(column for column in copy.c if column.name != "object_id")

# What is asked for every object that is put or read, as text that is prepared once: composing it anew would cost more
# than the answer.
_NAMES = ", ".join(column.name for column in _OBJECT_COLUMNS)
_WITH_COPIES = """
    SELECT o.*, c.volume, c.key, c.state, c.verified, c.created
    FROM ({}) o LEFT JOIN store.copy c ON c.object_id = o.object_id
    ORDER BY c.volume
"""
_BY_FILE_ID = Statement(
    _WITH_COPIES.format(f"""
    SELECT {_NAMES} FROM store.object
    WHERE file_id = :file_id AND (:version IS NULL OR version = :version) AND (removed IS NULL OR :removed)
    ORDER BY version DESC LIMIT 1
    """),  # noqa: S608 (our own names)
    file_id="text",
    version="int4",
    removed="bool",
)
_BY_KEY = Statement(
    _WITH_COPIES.format(f"""
    SELECT {_NAMES} FROM store.object
    WHERE removed IS NULL
      AND object_id = (SELECT object_id FROM store.copy WHERE key = :key AND volume = ANY(:volumes) LIMIT 1)
    """),  # noqa: S608 (our own names)
    key="text",
    volumes="text[]",
)
_TAKE = Statement(
    f"""
    WITH newest AS MATERIALIZED (
        SELECT version, sha256, size_bytes, removed FROM store.object
        WHERE file_id = :file_id ORDER BY version DESC LIMIT 1
    ),
    placed AS (
        SELECT container_id FROM store.object
        WHERE file_id = :file_id AND removed IS NULL ORDER BY version DESC LIMIT 1
    ),
    made AS (
        INSERT INTO store.object (file_id, version, container_id, size_bytes, media_type, sha256, md5, crc32c, created)
        SELECT :file_id, coalesce(:number, n.version + 1, 1),
               coalesce(:container_id, (SELECT container_id FROM placed)),
               :size_bytes, :media_type, :sha256, :md5, :crc32c, clock_timestamp()
        FROM (VALUES (1)) AS one LEFT JOIN newest n ON true
        WHERE :number IS NOT NULL
           OR n.version IS NULL OR n.removed IS NOT NULL OR n.sha256 <> :sha256 OR n.size_bytes <> :size_bytes
        RETURNING {_NAMES}
    ),
    copied AS (
        INSERT INTO store.copy (object_id, volume, key, created)
        SELECT object_id, :volume, :key, created FROM made
    ),
    told AS (
        INSERT INTO store.event (kind, file_id, version, detail)
        SELECT 'archived', file_id, version,
               jsonb_build_object('sha256', sha256, 'size_bytes', size_bytes, 'volumes', ARRAY[:volume])
        FROM made
    )
    SELECT {_NAMES} FROM made
    """,  # noqa: S608 (our own names)
    **dict.fromkeys(("file_id", "media_type", "sha256", "md5", "crc32c", "volume", "key"), "text"),
    number="int4",
    **dict.fromkeys(("container_id", "size_bytes"), "int8"),
)
_NOTE_BLOCKS = Statement(
    """
    INSERT INTO store.block (object_id, crc32c)
    SELECT o.object_id, :crc32c FROM store.object o
    WHERE o.object_id = :object_id AND o.removed IS NULL
      AND NOT EXISTS (SELECT FROM store.block b WHERE b.object_id = o.object_id AND b.crc32c = :crc32c)
    FOR KEY SHARE OF o
    ON CONFLICT (object_id) DO UPDATE SET crc32c = excluded.crc32c
    """,
    object_id="int8",
    crc32c="bytea",
)
_BLOCKS = Statement(
    "INSERT INTO store.block (object_id, crc32c) VALUES (:object_id, :crc32c) ON CONFLICT DO NOTHING",
    object_id="int8",
    crc32c="bytea",
)
_BLOCKS = Statement(
    """
    SELECT substring(crc32c FROM 4 * :first + 1 FOR 4 * (:stop - :first)) FROM store.block
    WHERE object_id = :object_id
    """,
    object_id="int8",
    first="int4",
    stop="int4",
)

# --- objects and their copies


def file_lock(file_id: str) -> int:
    """The advisory lock under which versions of this file are made and removed; two files may share one."""
    return int.from_bytes(hashlib.blake2b(file_id.encode(), digest_size=7, key=_FILE_LOCK).digest())


def lock_file(connection: Connection, file_id: str) -> None:
    """Until the transaction ends, nobody else makes, or removes, a version of this file."""
    connection.execute(select(func.pg_advisory_xact_lock(file_lock(file_id))))


def next_version(connection: Connection, file_id: str) -> int:
    """The number that the file's next version takes, under lock_file: those removed count, so none is given twice."""
    lock_file(connection, file_id)
    newest = select(func.max(_o.version)).where(_o.file_id == file_id)
    return (connection.scalar(newest) or 0) + 1


def add_object(
    connection: Connection,
    stored: StoredObject,
    *,
    file_id: str | None = None,
    version: int = 1,
    media_type: str | None = None,
) -> ObjectVersion:
    """Record an object that a volume has taken: object first, row second.

    file_id: whose version it is, numbered by next_version(); None: nobody's, then it goes by its key.
    """
    written = connection.execute(
        insert(stored_object)
        .values(
            file_id=file_id or stored.key,
            version=version,
            size_bytes=stored.size_bytes,
            media_type=media_type,
            sha256=stored.sha256,
            md5=stored.md5,
            crc32c=stored.crc32c,
            created=func.coalesce(stored.created, func.now()),
        )
        .returning(*_OBJECT_COLUMNS)
    ).one()
    note_blocks(connection, written.object_id, stored.blocks)
    made = _copies(connection, written.object_id, [stored.volume], stored.key)
    return ObjectVersion(**written._mapping, copies=made)


def take_version(
    connection: Connection, file_id: str, stored: Stored, volume: str, key: str, *, media_type: str | None,
    container_id: int | None, number: int | None = None,
) -> ObjectVersion | None:  # fmt: skip
    """Record the file's next version, its copy and its event; None if the newest has these bytes.

    volume, key: where its bytes are about to be seen. container_id: None: where the file's newest version is.
    number: that of the version, if another site has given it; VersionConflict if other bytes have it.

    In a transaction that holds file_lock() since before its first question.
    """
    if number is not None:
        found = find_version(connection, file_id, number, removed=True)
        if found is not None:
            if (found.sha256, found.size_bytes) != (stored.sha256, stored.size_bytes):
                raise VersionConflict(
                    f"{file_id} version {number} has other bytes here: SHA-256 {found.sha256}, not {stored.sha256}"
                )
            return None
    told = {
        "file_id": file_id, "number": number, "container_id": container_id, "media_type": media_type,
        "size_bytes": stored.size_bytes, "sha256": stored.sha256, "md5": stored.md5, "crc32c": stored.crc32c,
        "volume": volume, "key": key,
    }  # fmt: skip
    rows = ask(connection, _TAKE, told)
    if not rows:
        return None
    (row,) = rows
    object_id, *_, created, _ = row
    note_blocks(connection, object_id, stored.blocks)
    return _object(row, (Copy(volume, key, "ok", None, created),))


def note_blocks(connection: Connection, object_id: int, blocks: bytes) -> None:
    """Record the checksums of the blocks of bytes that are right; does nothing for an object that is gone or small."""
    if blocks:
        ask(connection, _NOTE_BLOCKS, {"object_id": object_id, "crc32c": blocks})


def forget_blocks(connection: Connection, object_id: int) -> None:
    """Of an object that has no copy any more."""
    connection.execute(delete(block).where(block.c.object_id == object_id))


def blocks_of(connection: Connection, object_id: int, first: int, stop: int) -> bytes | None:
    """The checksums of the blocks first <= i < stop of an object; None where they are not on record."""
    rows = ask(connection, _BLOCKS, {"object_id": object_id, "first": first, "stop": stop})
    return rows[0][0] if rows else None


def further_copies(connection: Connection, version: ObjectVersion, volumes: Sequence[str], key: str) -> ObjectVersion:
    """Record copies of a version that take_version() has just recorded, beside its first."""
    if not volumes:
        return version
    made = _copies(connection, version.object_id, volumes, key)
    told = [("replicated", version.file_id, version.version, {"volume": name}) for name in volumes]
    append_events(connection, told)
    return replace(version, copies=(*version.copies, *made))


def put_copies(connection: Connection, object_id: int, volumes: Sequence[str], key: str) -> list[tuple[str, str]]:
    """Record sound copies in the place of those that the volumes had; where the former lie, if under other keys."""
    former = connection.execute(
        delete(copy)
        .where(copy.c.object_id == object_id, copy.c.volume.in_(volumes))
        .returning(copy.c.volume, copy.c.key)
    ).all()
    _copies(connection, object_id, volumes, key)
    return [(row.volume, row.key) for row in former if row.key != key]


def remove_objects(connection: Connection, keys: Sequence[str]) -> list[tuple[str, str]]:
    """Strike objects that are nobody's version and go by these keys; (volume, key) of each copy.

    Row first; the copies are deleted after the commit.
    """
    ids = select(copy.c.object_id).join_from(copy, stored_object).where(copy.c.key.in_(keys), _o.file_id == copy.c.key)
    numbers = connection.scalars(ids.distinct()).all()
    gone = delete(copy).where(copy.c.object_id.in_(numbers)).returning(copy.c.volume, copy.c.key)
    places = [(row.volume, row.key) for row in connection.execute(gone)]
    connection.execute(delete(stored_object).where(_o.object_id.in_(numbers)))
    return places


def remove_version(connection: Connection, file_id: str, version: int | None = None) -> ObjectVersion | None:
    """Make a version, by default the newest, a tombstone, which is in no container; None if it is not there.

    Row first: its copies stay on record until they are deleted, after the commit (ObjectService.finish_removal).
    """
    lock_file(connection, file_id)
    held = find_version(connection, file_id, version)
    if held is None:
        return None
    gone = update(stored_object).where(_o.object_id == held.object_id).values(removed=func.now(), container_id=None)
    return replace(held, container_id=None, removed=connection.execute(gone.returning(_o.removed)).scalar_one())


def drop_copy(connection: Connection, object_id: int, volume: str) -> bool:
    """Strike one copy from the record; False if it was not there."""
    gone = delete(copy).where(copy.c.object_id == object_id, copy.c.volume == volume)
    return connection.execute(gone).rowcount == 1


def mark_copy(connection: Connection, object_id: int, volume: str, key: str, state: CopyState) -> bool:
    """Note what a copy was found to be; False if that was known, or the copy is another one now.

    "ok" says that it was read and found right just now.
    """
    found = update(copy).where(copy.c.object_id == object_id, copy.c.volume == volume, copy.c.key == key)
    if state == "ok":
        return connection.execute(found.values(state=state, verified=func.clock_timestamp())).rowcount == 1
    # Of a removed one the copies go: that is nobody's fault.
    there = select(_o.object_id).where(_o.object_id == object_id, _o.removed.is_(None)).exists()
    return connection.execute(found.where(copy.c.state != state, there).values(state=state)).rowcount == 1


def find_version(
    connection: Connection, file_id: str, version: int | None = None, *, removed: bool = False
) -> ObjectVersion | None:
    """A version of a file with its copies; by default the newest. removed: one that was removed, too."""
    return _one(connection, _BY_FILE_ID, {"file_id": file_id, "version": version, "removed": removed})


def find_by_key(connection: Connection, key: str, volumes: Sequence[str]) -> ObjectVersion | None:
    """The version, not removed, that has a copy under this key on one of these volumes, with all its copies."""
    return _one(connection, _BY_KEY, {"key": key, "volumes": list(volumes)})


def list_versions(
    connection: Connection,
    prefix: str = "",
    *,
    after: str = "",
    limit: int | None = None,
    every: bool = False,
    file_id: str | None = None,
    container_id: int | None = None,
) -> Iterator[ObjectVersion]:
    """Versions in the order of the bytes of their file_ids, streamed, without copies; the newest of each file.

    prefix: what file_ids start with; after: go on behind this file_id. every: all versions of each, newest first,
    removed ones too. file_id, container_id: of this file, of this container alone.
    """
    wanted = select(*_OBJECT_COLUMNS)
    if prefix:
        # A range of the index; no text is greater than the greatest characters, and none longer than its limit.
        last = prefix + chr(0x10FFFF) * (MAX_FILE_ID_BYTES // 4)
        ours = (_o.file_id >= prefix, _o.file_id <= last, _o.file_id.startswith(prefix, autoescape=True))
        wanted = wanted.where(*ours)
    if after:
        wanted = wanted.where(_o.file_id > after)
    if file_id is not None:
        wanted = wanted.where(_o.file_id == file_id)
    if container_id is not None:
        wanted = wanted.where(_o.container_id == container_id)
    if not every:
        wanted = wanted.where(_o.removed.is_(None)).ext(distinct_on(_o.file_id))
    wanted = wanted.order_by(_o.file_id, _o.version.desc()).limit(limit)
    return (ObjectVersion(**row) for row in _streamed(connection, wanted))


def find_object(connection: Connection, volume: str, key: str) -> StoredObject | None:
    """What is on record of this key of this volume; None if nothing."""
    row = connection.execute(_rows().where(copy.c.volume == volume, copy.c.key == key)).mappings().first()
    return None if row is None else StoredObject(**row)


def objects_of(connection: Connection, volume: str, prefix: str = "") -> Iterator[StoredObject]:
    """What is on record of a volume, in the order of the keys' bytes, streamed."""
    statement = _rows().where(copy.c.volume == volume).order_by(copy.c.key)
    if prefix:
        statement = statement.where(copy.c.key.startswith(prefix, autoescape=True))
    return (StoredObject(**row) for row in _streamed(connection, statement))


def copies_on(connection: Connection, volume: str) -> Iterator[ObjectVersion]:
    """The versions that have a copy on a volume, each with that one, in the order of the keys' bytes, streamed."""
    statement = (
        select(*_OBJECT_COLUMNS, *_COPY_COLUMNS)
        .join_from(copy, stored_object)
        .where(copy.c.volume == volume)
        .order_by(copy.c.key)
    )
    rows = connection.execute(statement, execution_options={"yield_per": 2_000})
    return (_object(row, (_copy(row),)) for row in rows)


def _copies(connection: Connection, object_id: int, volumes: Sequence[str], key: str) -> tuple[Copy, ...]:
    rows = [{"object_id": object_id, "volume": name, "key": key} for name in volumes]
    made = connection.execute(insert(copy).values(rows).returning(*_COPY_COLUMNS))
    return tuple(Copy(**row._mapping) for row in made)


def _one(connection: Connection, statement: Statement, told: dict[str, Any]) -> ObjectVersion | None:
    """The one version that a statement finds, out of the rows of its copies."""
    rows = ask(connection, statement, told)
    if not rows:
        return None
    copies = tuple(_copy(row) for row in rows if row[len(_OBJECT_COLUMNS)] is not None)
    return _object(rows[0], copies)


def _object(row: Sequence[Any], copies: tuple[Copy, ...]) -> ObjectVersion:
    fields = [*row[: len(_OBJECT_COLUMNS)], copies]
    return ObjectVersion(*fields)


def _copy(row: Sequence[Any]) -> Copy:
    return Copy(*row[len(_OBJECT_COLUMNS) :])


def _rows() -> Select[Any]:
    names = ("size_bytes", "sha256", "md5", "crc32c", "created")
    return select(copy.c.key, copy.c.volume, *(_o[name] for name in names)).join_from(copy, stored_object)


def _streamed(connection: Connection, statement: Select[Any]) -> Iterator[Any]:
    # There are 10^7 objects: the server keeps the cursor, we hold a page.
    return iter(connection.execute(statement, execution_options={"yield_per": 2_000}).mappings())


# --- volumes


def register_volume(connection: Connection, row: VolumeRow) -> None:
    """Record a volume as it is configured; a state that it has on record stays."""
    told = {
        "kind": row.kind,
        "site": row.site,
        "class": row.storage_class,
        "capacity_bytes": row.capacity_bytes,
        "watermark_bytes": row.watermark_bytes,
    }
    statement = insert(volume).values(name=row.name, state=row.state, **told)
    connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=told))


def volumes(connection: Connection) -> dict[str, VolumeRow]:
    """The volumes on record, by name."""
    columns = [column.label("storage_class") if column.name == "class" else column for column in volume.c]
    rows = connection.execute(select(*columns).order_by(volume.c.name)).mappings()
    return {row["name"]: VolumeRow(**row) for row in rows}


def set_volume_state(connection: Connection, name: str, state: VolumeState, reason: str = "") -> bool:
    """Change a volume's state, and say so in the feed; False if it has it already, or is not on record."""
    changed = update(volume).where(volume.c.name == name, volume.c.state != state).values(state=state)
    if connection.execute(changed).rowcount == 0:
        return False
    append_event(connection, "volume", detail={"volume": name, "state": state, "reason": reason})
    return True


# --- containers


def add_container(connection: Connection, name: str, parent_id: int | None = None) -> Container:
    """A new container."""
    made = insert(container).values(name=name, parent_id=parent_id).returning(*container.c)
    return Container(**connection.execute(made).one()._mapping)


def find_container(connection: Connection, container_id: int) -> Container | None:
    """The container of this number."""
    row = connection.execute(select(*container.c).where(container.c.container_id == container_id)).one_or_none()
    return None if row is None else Container(**row._mapping)


def containers(connection: Connection, *, name: str | None = None, parent_id: int | None = None) -> list[Container]:
    """Containers of this name, or within this one; of neither is asked: those at the top."""
    wanted = select(*container.c).order_by(container.c.name, container.c.container_id)
    if name is not None:
        wanted = wanted.where(container.c.name == name)
    if name is None or parent_id is not None:
        wanted = wanted.where(container.c.parent_id.is_not_distinct_from(parent_id))
    return [Container(**row._mapping) for row in connection.execute(wanted)]


def remove_container(connection: Connection, container_id: int) -> bool:
    """Remove a container; False if it holds anything."""
    held = select(_o.object_id).where(_o.container_id == container_id).exists()
    inner = select(container.c.container_id).where(container.c.parent_id == container_id).exists()
    if connection.scalar(select(or_(held, inner))):
        return False
    connection.execute(delete(container).where(container.c.container_id == container_id))
    return True


def way_to(connection: Connection, container_id: int | None) -> tuple[tuple[int, str], ...]:
    """Number and name of a container and of those above it, outermost first; () for None."""
    if container_id is None:
        return ()
    up = (
        select(container, literal(0).label("height"))
        .where(container.c.container_id == container_id)
        .cte(recursive=True)
    )
    above = select(container, up.c.height + 1).where(container.c.container_id == up.c.parent_id)
    way = up.union_all(above)
    rows = connection.execute(select(way.c.container_id, way.c.name).order_by(way.c.height.desc()))
    return tuple((row.container_id, row.name) for row in rows)


def place(connection: Connection, file_id: str, container_id: int | None) -> list[ObjectVersion]:
    """Put a file, all its versions, into a container or (None) out of any; those that are there, with their copies."""
    held = (_o.file_id == file_id, _o.removed.is_(None))
    placed = update(stored_object).where(*held).values(container_id=container_id)
    numbers = connection.scalars(placed.returning(_o.version)).all()
    found = (find_version(connection, file_id, number) for number in numbers)
    return [version for version in found if version is not None]
