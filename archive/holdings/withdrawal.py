"""Taking a file back: out of every view and answer, with a reason; and, only when told, its bytes.

A file is withdrawn when none of its versions is current. Its rows stay, so that it is known what was withdrawn and the
very same bytes do not come in again by the next run of an ingest; other bytes are its next version. The reason is in
the event, which the feed tells to everybody who has a copy.

Functions on a connection of role writer, within the caller's transaction.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, select, text, update

from archive.holdings import published, queries
from archive.holdings.tables import arc
from archive.vo.errors import NotFoundError, UsageError
from storage.catalogue import remove_objects, remove_version
from storage.feed import append_event
from storage.model import ObjectVersion


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """What was withdrawn: the version that was current, and the catalogue tables that went with it."""

    file_id: str
    version: int
    tables: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Purged:
    """What has no row any more: versions, whose copies ObjectService.finish_removal deletes, and (volume, key) of
    pictures."""

    versions: tuple[ObjectVersion, ...]
    pictures: tuple[tuple[str, str], ...]


def is_withdrawn(connection: Connection, file_id: str, sha256: str | None = None) -> bool:
    """Whether a file was here and is withdrawn; sha256: in a version of these bytes."""
    c = arc.file.c
    asked = select(c.version).where(c.file_id == file_id)
    there = connection.execute(asked.where(c.superseded_at.is_(None)).limit(1)).one_or_none()
    if sha256 is not None:
        asked = asked.where(c.sha256 == sha256)
    return there is None and connection.execute(asked.limit(1)).one_or_none() is not None


def withdraw(connection: Connection, file_id: str, reason: str, *, now: datetime) -> Withdrawn:
    """Take a file and its catalogue's tables out of what is published; the bytes stay.

    NotFoundError: no such file. UsageError: it is withdrawn already, or no reason is given.
    """
    if not reason.strip():
        raise UsageError("a file is withdrawn with a reason, which those who have a copy will read")
    queries.lock(connection, file_id)
    current = queries.file(connection, file_id)
    if current is None and is_withdrawn(connection, file_id):
        raise UsageError(f"{file_id} is withdrawn already")
    if current is None:
        raise NotFoundError(f"there is no file {file_id}: give its file_id, as dp_id in ivoa.obscore")
    tables = queries.published_tables(connection, file_id)
    for name in tables:
        published.withdraw(connection, name)
        connection.execute(text(f"DROP TABLE IF EXISTS {published.quoted(name)}".replace(":", r"\:")))
    f = arc.file.c
    connection.execute(
        update(arc.file).where(f.file_id == file_id, f.superseded_at.is_(None)).values(superseded_at=now, last_mod=now)
    )
    append_event(connection, "withdrawn", file_id, current.version, {"reason": reason, "tables": list(tables)})
    return Withdrawn(file_id, current.version, tables)


def purge(connection: Connection, file_id: str) -> Purged:
    """Strike all versions of a withdrawn file, and their pictures, from the record; their bytes go after the commit.

    UsageError: the file is not withdrawn, so its row promises the bytes.
    """
    queries.lock(connection, file_id)
    if not is_withdrawn(connection, file_id):
        raise UsageError(f"{file_id} is not withdrawn: its bytes are removed only after its row")
    c = arc.file.c
    pictures = remove_objects(connection, _picture_keys(connection, file_id))  # their rows go with the file's
    versions = sorted(connection.scalars(delete(arc.file).where(c.file_id == file_id).returning(c.version)))
    connection.execute(delete(arc.alias).where(arc.alias.c.target == file_id))
    append_event(connection, "removed", file_id, None, {"versions": versions})
    removed = (remove_version(connection, file_id, version) for version in versions)
    return Purged(tuple(version for version in removed if version is not None), tuple(pictures))


def _picture_keys(connection: Connection, file_id: str) -> list[str]:
    """The keys of the previews of all versions of a file."""
    preview = arc.file.metadata.tables.get(f"{arc.SCHEMA}.preview")
    if preview is None:
        return []
    return list(connection.execute(select(preview.c.object_key).where(preview.c.file_id == file_id)).scalars())
