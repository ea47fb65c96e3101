"""Reading every copy again, the longest unread first, and mending what is not what was stored.

Each copy is read from its disk, not from memory, hashed, and compared with its row: size, SHA-256, MD5, CRC-32C; its
label with what the catalogue says. What is wrong is looked at twice before it is believed, marked (so that it is served
no more), and repaired out of a sound copy. Whether all that should be there is listed at all is reconcile.py's
question.
"""

import errno
import io
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

from storage import catalogue, rounds
from storage.checksums import ALGORITHMS, Hashing
from storage.errors import InvalidRange, ObjectNotFound, ReadFailed, StorageError, VolumeUnavailable
from storage.findings import Deed, Finding, FindingKind, Pace, Stopped
from storage.labels import Label
from storage.model import CACHE_CLASS, Copy, ObjectVersion, VolumeRow
from storage.objects import ObjectService
from storage.volume import Volume

# Marked as verified together: many small files would cost a flush of the catalogue each.
BATCH = 64
# Objects that cannot be read now; beyond so many the volume is at fault.
MOST_UNREADABLE = 100

State = Literal["ok", "missing", "corrupt", "unreadable"]
_KINDS: dict[State, FindingKind] = {
    "missing": "row_without_object", "corrupt": "corrupt", "unreadable": "unreadable"
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a copy was found to be, and why; crc32c, blocks: of its bytes, if they were read to the end."""

    state: State
    text: str = ""
    crc32c: str | None = None
    blocks: bytes = b""


def scrub(
    service: ObjectService,
    *,
    cycle_s: float,
    pace: Pace | None = None,
    volumes: Collection[str] | None = None,
    again: bool = False,
) -> Iterator[Finding]:
    """Read the copies that were not verified for cycle_s seconds, the volumes in turn; repeatable, may be broken off.

    volumes: these alone; all that are not offline by default. again: every copy, however lately it was verified.
    Raises CatalogueUnavailable. A volume that does not answer is a finding.
    """
    pace = pace or Pace()
    for name in volumes or ():
        service.store.volume(name)  # there is such a one, or who asked is told
    rows = service.volumes()
    with service.engine.connect() as connection:
        before = rounds.now(connection) - timedelta(seconds=0 if again else cycle_s)
    turns: list[tuple[Volume, set[int]]] = [
        (volume, set()) for volume in service.store.volumes if _wanted(volume.name, rows, volumes)
    ]
    while turns and not pace.is_over:
        volume, unreadable = turns.pop(0)
        with service.engine.connect() as connection:
            due = rounds.due_copies(connection, volume.name, before, BATCH, but=unreadable)
        if not due:
            continue
        try:
            yield from _verify_all(service, volume, rows.get(volume.name), due, pace, unreadable)
        except VolumeUnavailable as error:
            yield Finding("volume_unavailable", volume.name, "", str(error))
            continue
        except Stopped:
            return
        if len(unreadable) <= MOST_UNREADABLE:
            turns.append((volume, unreadable))


def verify(volume: Volume, key: str, version: ObjectVersion, pace: Pace | None = None) -> Verdict:
    """Read one copy to its end and compare it with its row. Raises VolumeUnavailable, Stopped."""
    what = f"object {key} of volume {volume.name}"
    try:
        with _from_disk(volume, key), volume.open(key) as stream, Hashing() as hashing:
            for block in hashing.blocks(stream):
                if pace is not None:
                    pace.read(len(block))
            found = hashing.stored()
    except ObjectNotFound as error:
        return Verdict("missing", str(error))
    except (ReadFailed, InvalidRange) as error:
        return Verdict("corrupt", str(error))
    except VolumeUnavailable as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EIO:
            # The disk has lost this place; and the volume answers, or this raises.
            volume.exists(key)
            return Verdict("corrupt", str(error))
        raise
    for name in ("size_bytes", *ALGORITHMS):
        recorded, there = getattr(version, name), getattr(found, name)
        if recorded is not None and recorded != there:
            return Verdict("corrupt", f"{what}: {name} {recorded} is recorded, the bytes read have {there}")
    return Verdict("ok", crc32c=found.crc32c, blocks=found.blocks)


def verify_version(service: ObjectService, version: ObjectVersion, pace: Pace | None = None) -> Iterator[Finding]:
    """Read all copies of one version now, whatever they are marked as, and mend them."""
    rows = service.volumes()
    for copy in version.copies:
        if not _wanted(copy.volume, rows, None):
            continue
        volume = service.store.volume(copy.volume)
        one = replace(version, copies=(copy,))
        try:
            yield from _verify_all(service, volume, rows.get(copy.volume), [one], pace or Pace(), set())
        except VolumeUnavailable as error:
            yield Finding("volume_unavailable", copy.volume, copy.key, str(error))


def mend(service: ObjectService, version: ObjectVersion, row: VolumeRow | None, volume: str) -> tuple[Deed, str]:
    """Replace a copy that is marked out of a sound one: what was done, or "" and why not."""
    if row is not None and row.state != "online":
        return "", f"volume {volume} is {row.state}"
    try:
        service.add_copy(version.file_id, version.version, volume)
    except StorageError as error:
        return "", str(error)
    return "repaired", ""


def _wanted(name: str, rows: dict[str, VolumeRow], volumes: Collection[str] | None) -> bool:
    return (volumes is None or name in volumes) and (name not in rows or rows[name].state != "offline")


def _verify_all(
    service: ObjectService,
    volume: Volume,
    row: VolumeRow | None,
    due: list[ObjectVersion],
    pace: Pace,
    unreadable: set[int],
) -> Iterator[Finding]:
    """Verify objects that come with the copy in question each; what was sound is marked in any case."""
    sound: list[tuple[int, str]] = []
    try:
        for version in due:
            (copy,) = version.copies
            if not pace.begin():
                return
            with _atime_kept(volume, copy.key, row):
                verdict = _twice(volume, copy.key, version, pace)
            if verdict.state == "unreadable":
                unreadable.add(version.object_id)
                yield _finding(verdict, volume.name, version, copy)
            elif verdict.state != "ok":
                yield from _condemn(service, row, version, copy, verdict)
            else:
                sound.append((version.object_id, copy.key))
                yield from _of_the_sound(service, volume, version, copy, verdict)
    finally:
        if sound:
            with service.engine.begin() as connection:
                rounds.mark_verified(connection, volume.name, sound)


def _twice(volume: Volume, key: str, version: ObjectVersion, pace: Pace) -> Verdict:
    """A first look, and a second where that was not content: lines and memory err too."""
    verdict = Verdict("unreadable")
    for _ in range(2):
        try:
            verdict = verify(volume, key, version, pace)
        except VolumeUnavailable as error:
            verdict = Verdict("unreadable", str(error))
        if verdict.state == "ok":
            return verdict
    if verdict.state == "unreadable":
        # This object alone? A volume that does not answer at all raises here.
        volume.exists(key)
        next(iter(volume.keys()), None)
    return verdict


def _condemn(
    service: ObjectService, row: VolumeRow | None, version: ObjectVersion, copy: Copy, verdict: Verdict
) -> Iterator[Finding]:
    if not _is_current(service, version, copy):
        return  # removed, or moved, while it was read
    service.report(version, copy, "missing" if verdict.state == "missing" else "corrupt", verdict.text)
    deed, why = mend(service, version, row, copy.volume)
    text = verdict.text if deed else f"{verdict.text}; {why}"
    yield replace(_finding(verdict, copy.volume, version, copy), done=deed, text=text)


def _is_current(service: ObjectService, version: ObjectVersion, copy: Copy) -> bool:
    with service.engine.connect() as connection:
        held = catalogue.find_by_key(connection, copy.key, [copy.volume])
    return held is not None and held.object_id == version.object_id


def _of_the_sound(
    service: ObjectService, volume: Volume, version: ObjectVersion, copy: Copy, verdict: Verdict
) -> Iterator[Finding]:
    """What else the catalogue and the volume can learn, now that the bytes are known to be right."""
    if copy.state != "ok":
        with service.engine.begin() as connection:
            catalogue.mark_copy(connection, version.object_id, copy.volume, copy.key, "ok")
    if verdict.blocks:
        with service.engine.begin() as connection:
            catalogue.note_blocks(connection, version.object_id, verdict.blocks)
    if version.crc32c is None and verdict.crc32c is not None:
        version = replace(version, crc32c=verdict.crc32c)
        with service.engine.begin() as connection:
            rounds.note_crc32c(connection, version.object_id, verdict.crc32c)
    try:
        there = _read_label(volume, copy.key)
        if there == _label(service, version, copy):
            return
        # Whoever changes labels does it after its commit, so under this lock the newest is what the rows say.
        with service.engine.begin() as connection:
            catalogue.lock_file(connection, version.file_id)
            held = catalogue.find_by_key(connection, copy.key, [copy.volume])
            if held is None or held.object_id != version.object_id:
                return
            volume.relabel(copy.key, _label(service, held, copy).write())
    except ObjectNotFound:
        return  # removed since its bytes were read
    except StorageError as error:
        yield Finding("wrong_label", volume.name, copy.key, str(error), version.file_id, version.version)
        return
    if there is not None and (there.file_id, there.version) not in ((None, 1), (version.file_id, version.version)):
        text = f"the label said {there.file_id} version {there.version}"
        yield Finding("wrong_label", volume.name, copy.key, text, version.file_id, version.version, "repaired")


def _read_label(volume: Volume, key: str) -> Label | None:
    """The label that lies with an object; None where there is none to be read."""
    written = volume.label(key)
    try:
        return None if written is None else Label.read(written)
    except ValueError:
        return None


def _label(service: ObjectService, version: ObjectVersion, copy: Copy) -> Label:
    """What the label should say; of what is nobody's file, and goes by its key, only what its bytes are."""
    if version.file_id == copy.key:
        return replace(Label.of(version), file_id=None, object_id=None)
    if version.container_id is None:
        return Label.of(version)
    with service.engine.connect() as connection:
        return Label.of(version, catalogue.way_to(connection, version.container_id))


def _finding(verdict: Verdict, volume: str, version: ObjectVersion, copy: Copy) -> Finding:
    return Finding(_KINDS[verdict.state], volume, copy.key, verdict.text, version.file_id, version.version)


@contextmanager
def _from_disk(volume: Volume, key: str) -> Iterator[None]:
    """Have a file's bytes come from the disk, not from the page cache, and leave no trace there."""
    if volume.kind != "posix":
        yield
        return
    with volume.reader(key) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        try:
            yield
        finally:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextmanager
def _atime_kept(volume: Volume, key: str, row: VolumeRow | None) -> Iterator[None]:
    """Reading a cache for its soundness is no use of it: what evict.py goes by must stay as it was."""
    if volume.kind != "posix" or row is None or row.storage_class != CACHE_CLASS:
        yield
        return
    try:
        file = volume.reader(key)
    except (StorageError, io.UnsupportedOperation):
        yield
        return
    with file:
        was = os.fstat(file.fileno())
        yield
        try:
            os.utime(file.fileno(), ns=(was.st_atime_ns, was.st_mtime_ns))
        except OSError:
            return
