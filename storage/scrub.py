"""Comparing what is there (a volume's keys) with what should be (the catalogue's rows), and re-reading objects.

The comparison is a merge of two sorted streams, so that 10^7 objects cost no memory, and each difference is looked at
again. So a server that lists in another order costs time, never a wrong finding. What is done about a finding is said
by the caller; what jobs run this, and when, is not here.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from storage.checksums import Expected, verified
from storage.errors import ChecksumMismatch, ObjectNotFound
from storage.service import StoredObject
from storage.volume import Entry, Volume

GRACE_S = 86_400.0

FindingKind = Literal["object_without_row", "row_without_object", "wrong_size", "corrupt"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be. modified: of the object, UTC, None where there is none."""

    kind: FindingKind
    volume: str
    key: str
    text: str
    modified: datetime | None = None
    deleted: bool = False


def compare(volume: str, entries: Iterable[Entry], rows: Iterable[StoredObject]) -> Iterator[Finding]:
    """What differs between a volume's objects and its rows, both in the order of the keys' bytes.

    A first sight only: puts and removals go on meanwhile, and orders may differ. reconcile() looks twice.
    """
    entry_of, row_of = iter(entries), iter(rows)
    entry, row = next(entry_of, None), next(row_of, None)
    while entry is not None or row is not None:
        if row is None or (entry is not None and entry.key < row.key):
            assert entry is not None
            yield Finding("object_without_row", volume, entry.key, f"{entry.size_bytes} bytes, no row", entry.modified)
            entry = next(entry_of, None)
        elif entry is None or row.key < entry.key:
            yield _missing(volume, row)
            row = next(row_of, None)
        else:
            if entry.size_bytes != row.size_bytes:
                yield Finding("wrong_size", volume, entry.key, _sizes(row, entry.size_bytes), entry.modified)
            entry, row = next(entry_of, None), next(row_of, None)


def reconcile(
    volume: Volume,
    rows: Iterable[StoredObject],
    find_row: Callable[[str], StoredObject | None],
    *,
    grace_s: float = GRACE_S,
    delete: bool = False,
    now: datetime | None = None,
    prefix: str = "",
) -> Iterator[Finding]:
    """What a volume and its rows disagree on, each looked at a second time; by default nothing is changed.

    rows: of this volume below prefix, sorted by the keys' bytes (catalogue.objects_of).
    find_row: asks the catalogue anew for this volume's row, in a transaction that began after the question.
    grace_s: an object younger than this (seconds, by its modification time) is nobody's business: its put may still be
    on the way to its row. It must be longer than any put takes from its last byte to its commit.
    delete: remove objects without row that are past the grace. Rows are never removed: they are what was promised.
    """
    limit = (now or datetime.now(UTC)) - timedelta(seconds=grace_s)
    for finding in compare(volume.name, volume.keys(prefix), rows):
        if finding.kind == "object_without_row":
            assert finding.modified is not None
            if finding.modified > limit or find_row(finding.key) is not None:
                continue
            deleted = delete and volume.delete(finding.key)
            yield replace(finding, deleted=deleted)
        elif (row := find_row(finding.key)) is not None:
            yield from _look_again(volume, row)


def _look_again(volume: Volume, row: StoredObject) -> Iterator[Finding]:
    """Is the object of this row there, and as large as it says?"""
    try:
        size_bytes = volume.size(row.key)
    except ObjectNotFound:
        yield _missing(volume.name, row)
        return
    if size_bytes != row.size_bytes:
        yield Finding("wrong_size", volume.name, row.key, _sizes(row, size_bytes))


def _missing(volume: str, row: StoredObject) -> Finding:
    return Finding("row_without_object", volume, row.key, f"{row.size_bytes} bytes are promised, none are there")


def _sizes(row: StoredObject, size_bytes: int) -> str:
    return f"{row.size_bytes} bytes are recorded, {size_bytes} are there"


def verify(volume: Volume, row: StoredObject) -> None:
    """Read an object to its end and compare size, SHA-256 and MD5 with its row.

    Raises ObjectNotFound, ChecksumMismatch (which digest, recorded and found), ReadFailed, VolumeUnavailable.
    """
    recorded = Expected(row.size_bytes, row.sha256, row.md5)
    with volume.open(row.key) as stream:
        for _ in verified(stream, recorded, f"object {row.key} of volume {volume.name}"):
            pass


def verify_all(volume: Volume, rows: Iterable[StoredObject]) -> Iterator[Finding]:
    """Re-read the objects of these rows; a finding for each that is gone or not what was stored."""
    for row in rows:
        try:
            verify(volume, row)
        except ObjectNotFound as error:
            yield Finding("row_without_object", volume.name, row.key, str(error))
        except ChecksumMismatch as error:
            yield Finding("corrupt", volume.name, row.key, str(error))
