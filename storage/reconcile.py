"""Comparing what is there (a volume's keys) with what should be (the catalogue's rows).

The comparison is a merge of two sorted streams, so that 10^7 objects cost no memory, and each difference is looked at
again. So a server that lists in another order costs time, never a wrong finding. Whether bytes are right, scrub.py
finds out.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from storage import catalogue, rounds
from storage.errors import ObjectNotFound, StorageError
from storage.findings import Finding, Pace
from storage.labels import Label
from storage.model import StoredObject
from storage.objects import ObjectService
from storage.scrub import mend
from storage.volume import Entry, Volume

GRACE_S = 86_400.0
LOCK_WAIT_S = 2.0
PAGE = 2_000


def compare(volume: str, entries: Iterable[Entry], rows: Iterable[StoredObject]) -> Iterator[Finding]:
    """What differs between a volume's objects and its rows, both in the order of the keys' bytes.

    A first sight only: puts and removals go on meanwhile, and orders may differ. reconcile() looks twice.
    """
    entry_of, row_of = iter(entries), iter(rows)
    entry, row = next(entry_of, None), next(row_of, None)
    while entry is not None or row is not None:
        if row is None or (entry is not None and entry.key < row.key):
            assert entry is not None
            told = f"{entry.size_bytes} bytes, no row"
            yield Finding("object_without_row", volume, entry.key, told, modified=entry.modified)
            entry = next(entry_of, None)
        elif entry is None or row.key < entry.key:
            yield Finding("row_without_object", volume, row.key, _missing(row.size_bytes))
            row = next(row_of, None)
        else:
            if entry.size_bytes != row.size_bytes:
                yield Finding("wrong_size", volume, entry.key, _sizes(row.size_bytes, entry.size_bytes))
            entry, row = next(entry_of, None), next(row_of, None)


def reconcile(
    service: ObjectService,
    *,
    grace_s: float = GRACE_S,
    delete: bool = False,
    volumes: Collection[str] | None = None,
    prefix: str = "",
    pace: Pace | None = None,
) -> Iterator[Finding]:
    """What volumes and catalogue disagree on, each looked at a second time; repeatable, may be broken off.

    What is promised and not there (or has another size) is marked, and repaired out of a sound copy.
    grace_s: an object younger than this (seconds, by its modification time) is nobody's business: its put may still be
    on the way to its row. It must be longer than any put takes from its last byte to its commit.
    delete: remove objects without row that are past the grace. Rows are never removed: they are what was promised.
    volumes: these alone. prefix: of keys. A volume that does not answer is a finding.
    """
    pace = pace or Pace()
    for name in volumes or ():
        service.store.volume(name)  # there is such a one, or who asked is told
    for name, row in _states(service).items():
        if row == "offline" or (volumes is not None and name not in volumes):
            continue
        volume = service.store.volume(name)
        try:
            yield from _reconcile(service, volume, grace_s=grace_s, delete=delete, prefix=prefix, pace=pace)
        except StorageError as error:
            yield Finding("volume_unavailable", name, "", str(error))


def _reconcile(
    service: ObjectService, volume: Volume, *, grace_s: float, delete: bool, prefix: str, pace: Pace
) -> Iterator[Finding]:
    with service.engine.connect() as connection:
        limit = rounds.now(connection) - timedelta(seconds=grace_s)
    for finding in compare(volume.name, _entries(volume, prefix, pace), _rows(service, volume.name, prefix)):
        if pace.is_over:
            return
        if finding.kind != "object_without_row":
            yield from _look_again(service, volume, finding.key)
        elif _is_orphan(service, volume, finding.key, finding.modified, limit):
            deleted = delete and _delete(service, volume, finding.key)
            yield replace(
                finding, done="deleted" if deleted else "", text=f"{finding.text}{_says(volume, finding.key)}"
            )


def _entries(volume: Volume, prefix: str, pace: Pace) -> Iterator[Entry]:
    for entry in volume.keys(prefix):
        if pace.is_over:
            return
        pace.objects += 1
        yield entry


def _rows(service: ObjectService, volume: str, prefix: str) -> Iterator[StoredObject]:
    after = ""
    while True:
        with service.engine.connect() as connection:
            page = rounds.objects_of(connection, volume, after=after, prefix=prefix, most=PAGE)
        for version in page:
            (copy,) = version.copies
            after = copy.key
            yield StoredObject(copy.key, volume, version.size_bytes, version.sha256, version.md5)
        if len(page) < PAGE:
            return


def _is_orphan(service: ObjectService, volume: Volume, key: str, modified: datetime | None, limit: datetime) -> bool:
    """Is it past the grace, and still without a row? A removed object whose copy is left has one."""
    assert modified is not None
    if modified > limit:
        return False
    with service.engine.connect() as connection:
        return catalogue.find_object(connection, volume.name, key) is None


def _delete(service: ObjectService, volume: Volume, key: str) -> bool:
    """Remove bytes that nothing promises.

    Where the label names a file, under its lock: a put of that file that is between its bytes and its row holds it.
    """
    label = _label(volume, key)
    try:
        with service.engine.begin() as connection:
            if label is not None and label.file_id is not None:
                connection.execute(
                    text("SELECT set_config('lock_timeout', :ms, true)"), {"ms": str(int(LOCK_WAIT_S * 1e3))}
                )
                catalogue.lock_file(connection, label.file_id)
            if catalogue.find_object(connection, volume.name, key) is not None:
                return False
            return volume.delete(key)
    except OperationalError:  # a put is at it: another round will see what became of it
        return False


def _look_again(service: ObjectService, volume: Volume, key: str) -> Iterator[Finding]:
    """Is the object of this row there, and as large as it says?"""
    with service.engine.connect() as connection:
        version = catalogue.find_by_key(connection, key, [volume.name])
    if version is None:
        return  # removed since, or about to be
    (copy,) = (copy for copy in version.copies if copy.volume == volume.name)
    try:
        size_bytes = volume.size(key)
    except ObjectNotFound:
        found = Finding("row_without_object", volume.name, key, _missing(version.size_bytes))
    else:
        if size_bytes == version.size_bytes:
            return
        found = Finding("wrong_size", volume.name, key, _sizes(version.size_bytes, size_bytes))
    service.report(version, copy, "missing" if found.kind == "row_without_object" else "corrupt", found.text)
    deed, why = mend(service, version, service.volumes().get(volume.name), volume.name)
    told = found.text if deed else f"{found.text}; {why}"
    yield replace(found, file_id=version.file_id, version=version.version, done=deed, text=told)


def _states(service: ObjectService) -> dict[str, str]:
    rows = service.volumes()
    return {
        volume.name: rows[volume.name].state if volume.name in rows else "online" for volume in service.store.volumes
    }


def _label(volume: Volume, key: str) -> Label | None:
    try:
        written = volume.label(key)
        return None if written is None else Label.read(written)
    except (ObjectNotFound, ValueError):
        return None


def _says(volume: Volume, key: str) -> str:
    label = _label(volume, key)
    return "" if label is None or label.file_id is None else f", of {label.file_id} version {label.version}"


def _missing(size_bytes: int) -> str:
    return f"{size_bytes} bytes are promised, none are there"


def _sizes(recorded: int, there: int) -> str:
    return f"{recorded} bytes are recorded, {there} are there"
