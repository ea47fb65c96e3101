"""What the store does with files, in the order it happens: versions, copies, checks; the one service under all faces.

Bytes first, row second, answer third. A file's number is taken while its bytes lie on the disk and are not visible yet,
under a lock that ends with the transaction: so numbers have no gaps, and nothing is ever overwritten. A crash leaves at
worst bytes without a row, which reconciling finds.

Here: one object at a time, for whoever asks. Not here: what goes over all objects (scrub.py, rebuild.py), who may ask.
"""

import logging
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from storage import catalogue, feed
from storage.checksums import Expected, Readable
from storage.errors import (
    CatalogueUnavailable,
    ChecksumMismatch,
    ContainerNotEmpty,
    ContainerNotFound,
    CopyNeeded,
    ObjectNotFound,
    OutOfSpace,
    ReadFailed,
    StorageError,
    VolumeUnavailable,
)
from storage.filing import Condition, Filing, Outcome, Unchanged, sound_copy
from storage.labels import Label
from storage.model import (
    CACHE_CLASS,
    Container,
    Copy,
    ObjectVersion,
    VolumeRow,
    VolumeState,
    check_file_id,
)
from storage.reading import Fault, ReadStream
from storage.service import ObjectStore
from storage.sessions import CatalogueSessions
from storage.volume import Volume, new_key

log = logging.getLogger(__name__)

SITE = "here"
STORAGE_CLASS = "online"
VOLUMES_KNOWN_S = 2.0


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a put. created: a new version. unchanged: its newest version has these bytes already, and nothing
    was kept. repaired: it has, and no sound copy of them was left: these are its bytes again."""

    outcome: Outcome
    version: ObjectVersion


class ObjectService:
    """Files with versions on the volumes of a store, recorded in a catalogue.

    engine: of role writer, for the catalogue; its sessions must not have synchronous_commit off.
    site: where this process stands; copies of this site are read first. copies: on how many volumes an object lies
    before it is acknowledged.
    All methods may be called from many threads at once. Each raises CatalogueUnavailable when the database cannot be
    reached; InvalidFileId, and ObjectNotFound for what is not there or was removed, where it is given a file_id.
    """

    def __init__(self, store: ObjectStore, engine: Engine, *, site: str = SITE, copies: int = 1) -> None:
        self._store, self._engine, self._sessions = store, engine, CatalogueSessions(engine)
        self._site, self._copies = site, copies
        self._known: tuple[float, dict[str, VolumeRow]] = (0.0, {})

    @property
    def store(self) -> ObjectStore:
        """The volumes."""
        return self._store

    @property
    def engine(self) -> Engine:
        """The catalogue's, of role writer."""
        return self._engine

    # --- writing

    def put(
        self,
        file_id: str,
        stream: Readable,
        *,
        media_type: str | None = None,
        size_hint: int | None = None,
        expected: Expected | None = None,
        container_id: int | None = None,
        storage_class: str | None = None,
        copies: int | None = None,
        condition: Condition | None = None,
        version: int | None = None,
    ) -> Written:
        """Keep the stream's bytes, read to its end, as the file's next version; durable when this returns.

        The bytes of the newest version make no new one. expected: what was promised of the bytes.
        container_id: where the file goes, if this makes a version of it; by default where it is.
        storage_class: of the volumes to use; any but caches by default.
        copies: on how many volumes before this returns; the service's own number by default.
        condition: asked when the bytes are in, while nobody else can make a version, with the newest that was not
        removed (None: there is none).
        version: the number that another site gave it; VersionConflict if other bytes have it here, no new version if
        these bytes have, or had until they were removed.
        A volume that is full or gone is passed over, in mid-stream too if the stream can seek back.
        Nothing is kept when it raises: ChecksumMismatch, OutOfSpace, VolumeUnavailable (too few volumes to be had),
        ContainerNotFound, and whatever the condition, or the stream's read, raises. After CatalogueUnavailable it may
        be there: whoever sends it again finds out.
        """
        check_file_id(file_id)
        if size_hint is None and expected is not None:
            size_hint = expected.size_bytes
        wanted = self._copies if copies is None else copies
        candidates = self.candidates(size_hint or 0, storage_class, wanted)
        key, kept = new_key(), list[str]()
        filing = Filing(self._sessions, file_id, key, media_type, container_id, condition, version)
        try:
            with _told():
                stored = self._store.store(
                    stream,
                    key=key,
                    size_hint=size_hint,
                    expected=expected,
                    volumes=candidates,
                    label=filing.label,
                )
            kept.append(stored.volume)
            self._copy_on(filing, key, kept, [name for name in candidates if name != stored.volume], wanted)
            with _told():
                written, former = filing.record(kept)
                filing.commit()
        except Unchanged as unchanged:
            filing.end()
            return Written("unchanged", unchanged.version)
        except BaseException:
            filing.end()
            if not filing.committing:  # else its answer was lost: the row may be there, and then the bytes must be
                self._forget((name, key) for name in kept)
            raise
        filing.end()
        self._forget(former)
        if container_id is not None and written.version > 1:
            self.place(file_id, container_id)  # a file is in one container, with all its versions
        return Written(filing.outcome, written)

    def add_copy(self, file_id: str, version: int | None, volume: str) -> ObjectVersion:
        """Bring a version onto a volume, out of its sound copies; does nothing if a sound one is there.

        A copy there that is not sound is replaced, after a sound one lies beside it. Raises NoSoundCopy, OutOfSpace,
        VolumeUnavailable.
        """
        held = self.stat(file_id, version)
        former = next((copy for copy in held.copies if copy.volume == volume), None)
        if former is not None and former.state == "ok":
            return held
        target = self._store.volume(volume)
        key = self._key_on(target, held)
        label = self._label(held)
        with self.read(held) as source:
            _put(target, key, source, held, label)
        if former is not None and former.key != key:
            # Callers know objects by their key, so it must be the old one again: now from a copy that is sound.
            target.delete(former.key)
            with target.open(key) as again:
                _put(target, former.key, again, held, label)
            target.delete(key)
            key = former.key
        with _told(), self._engine.begin() as connection:
            catalogue.lock_file(connection, file_id)
            still = catalogue.find_version(connection, file_id, held.version)
            if still is not None and still.object_id == held.object_id:
                catalogue.put_copies(connection, held.object_id, [volume], key)
                kind = "replicated" if former is None else "repaired"
                feed.append_event(connection, kind, file_id, held.version, {"volume": volume})
                return replace(
                    still, copies=(*(c for c in still.copies if c.volume != volume), sound_copy(volume, key, held))
                )
        target.delete(key)
        raise ObjectNotFound(f"{_say(held)} was removed meanwhile")

    def drop_copy(
        self, file_id: str, version: int | None, volume: str, *, keep: int = 1, among: Collection[str] | None = None
    ) -> None:
        """Give up the copy on a volume, if at least `keep` sound copies are left on others; else CopyNeeded.

        among: the volumes whose copies count; all others by default.
        """
        with _told(), self._engine.begin() as connection:
            catalogue.lock_file(connection, file_id)
            held = self._found(connection, file_id, version)
            gone = next((copy for copy in held.copies if copy.volume == volume), None)
            if gone is None:
                raise ObjectNotFound(f"{_say(held)} has no copy on volume {volume}")
            others = [copy.volume for copy in held.copies if copy.state == "ok" and copy.volume != volume]
            left = sum(among is None or name in among for name in others)
            if left < keep:
                raise CopyNeeded(
                    f"{_say(held)} would have {left} sound copies without that on {volume}; {keep} are needed"
                )
            catalogue.drop_copy(connection, held.object_id, volume)
            feed.append_event(connection, "removed", file_id, held.version, {"volume": volume, "copies_left": left})
        self._forget([(volume, gone.key)])

    def remove(self, file_id: str, version: int | None = None) -> ObjectVersion:
        """Remove a version, by default the newest: its number stays taken, its bytes go from every volume.

        What of it lies on a volume that cannot be reached goes when that is back (finish_removal).
        """
        check_file_id(file_id)
        with _told(), self._engine.begin() as connection:
            gone = catalogue.remove_version(connection, file_id, version)
            if gone is None:
                raise _not_there(file_id, version)
            feed.append_event(connection, "removed", file_id, gone.version, {"sha256": gone.sha256})
        self.finish_removal(gone)
        return gone

    def finish_removal(self, gone: ObjectVersion) -> None:
        """Delete the copies that a removed version has left, each leaving a tombstone; repeatable."""
        tombstone, is_gone = self._label(gone), True
        for copy in gone.copies:
            try:
                self._store.volume(copy.volume).delete(copy.key, tombstone=tombstone)
            except StorageError as error:
                log.warning("%s is removed, and its copy cannot be deleted yet: %s", _say(gone), error)
                is_gone = False
                continue
            with _told(), self._engine.begin() as connection:
                catalogue.drop_copy(connection, gone.object_id, copy.volume)
        if is_gone:
            with _told(), self._engine.begin() as connection:
                catalogue.forget_blocks(connection, gone.object_id)

    # --- reading

    def stat(self, file_id: str, version: int | None = None) -> ObjectVersion:
        """What is on record of a version, by default the newest that was not removed, with its copies."""
        check_file_id(file_id)
        with _told():
            found = self._sessions.ask(lambda connection: catalogue.find_version(connection, file_id, version))
        if found is None:
            raise _not_there(file_id, version)
        return found

    def holds(self, file_id: str, version: int, sha256: str) -> bool:
        """Whether these bytes are this version here, with a sound copy; or were, and have been removed."""
        with _told(), self._engine.connect() as connection:
            found = catalogue.find_version(connection, file_id, version, removed=True)
        if found is None or found.sha256 != sha256:
            return False
        return found.removed is not None or any(copy.state == "ok" for copy in found.copies)

    def open(self, file_id: str, version: int | None = None, start: int = 0, stop: int | None = None) -> ReadStream:
        """The bytes start <= i < stop of a version (None: the newest, the end), from its soundest, nearest copy.

        Raises InvalidRange, and NoSoundCopy while nothing was sent; the stream raises it, or ReadFailed, later.
        """
        return self.read(self.stat(file_id, version), start, stop)

    def open_key(self, key: str, start: int = 0, stop: int | None = None) -> ReadStream:
        """The same, by the key that the archive's own tables hold."""
        names = [volume.name for volume in self._store.volumes]
        with _told():
            found = self._sessions.ask(lambda connection: catalogue.find_by_key(connection, key, names))
        if found is None:
            raise ObjectNotFound(f"no object is on record under {key}")
        return self.read(found, start, stop)

    def read(self, version: ObjectVersion, start: int = 0, stop: int | None = None) -> ReadStream:
        """The same, of a version that stat() gave."""

        def found(copy: Copy, state: Fault, reason: str) -> None:
            self.report(version, copy, state, reason)

        def blocks(first: int, stop: int) -> bytes | None:
            with _told():
                return self._sessions.ask(
                    lambda connection: catalogue.blocks_of(connection, version.object_id, first, stop)
                )

        return ReadStream(self._store, version, self.readable(version), found, blocks, start=start, stop=stop)

    def readable(self, version: ObjectVersion) -> list[Copy]:
        """The copies that may be served, ours first, in the order of the settings."""
        rows, sound = self._known_volumes(), {copy.volume: copy for copy in version.copies if copy.state == "ok"}
        found = []
        for volume in self._store.volumes:
            row = rows.get(volume.name)
            if volume.name in sound and (row is None or row.state != "offline"):
                found.append((row is not None and row.site != self._site, sound[volume.name]))
        return [copy for _, copy in sorted(found, key=lambda each: each[0])]

    def report(self, version: ObjectVersion, copy: Copy, state: Fault, reason: str) -> bool:
        """Note that a copy is corrupt or missing: it is served no more. False if that was known."""
        try:
            with _told(), self._engine.begin() as connection:
                marked = catalogue.mark_copy(connection, version.object_id, copy.volume, copy.key, state)
                if marked:
                    detail = {"volume": copy.volume, "key": copy.key, "state": state, "reason": reason}
                    feed.append_event(connection, "corrupted", version.file_id, version.version, detail)
        except CatalogueUnavailable as error:
            log.warning(
                "%s: the copy on %s is %s, which could not be noted: %s", _say(version), copy.volume, state, error
            )
            return False
        return marked

    def versions(self, file_id: str) -> list[ObjectVersion]:
        """All versions of a file, newest first, removed ones too; [] of one that never was. Without copies."""
        check_file_id(file_id)
        with _told(), self._engine.connect() as connection:
            return list(catalogue.list_versions(connection, file_id=file_id, every=True))

    def files(
        self,
        prefix: str = "",
        *,
        after: str = "",
        limit: int | None = None,
        every: bool = False,
        container_id: int | None = None,
    ) -> Iterator[ObjectVersion]:
        """Files in the order of the bytes of their file_ids, streamed; of each the newest version, without its copies.

        prefix: what file_ids start with. after: go on behind this file_id. every: all versions, removed ones too.
        container_id: of this container alone.
        """
        with _told(), self._engine.connect() as connection:
            yield from catalogue.list_versions(
                connection, prefix, after=after, limit=limit, every=every, container_id=container_id
            )

    # --- volumes

    def register(
        self, name: str, *, site: str | None = None, storage_class: str = STORAGE_CLASS, watermark_bytes: int = 0
    ) -> VolumeRow:
        """Record a volume of the store as it is configured: at start, and repeatable; its state stays.

        site: where it stands, ours by default. watermark_bytes: free bytes that puts leave alone.
        """
        volume = self._store.volume(name)
        row = VolumeRow(
            name,
            volume.kind,
            site or self._site,
            storage_class,
            capacity_bytes=volume.capacity_bytes(),
            watermark_bytes=watermark_bytes,
        )
        with _told(), self._engine.begin() as connection:
            catalogue.register_volume(connection, row)
        self._known = (0.0, {})
        return self.volumes()[name]

    def volumes(self) -> dict[str, VolumeRow]:
        """The volumes on record, by name."""
        with _told(), self._engine.connect() as connection:
            return catalogue.volumes(connection)

    def set_volume_state(self, name: str, state: VolumeState, reason: str = "") -> bool:
        """Change what a volume is used for; False if that is its state. Other processes heed it within 2 s."""
        with _told(), self._engine.begin() as connection:
            changed = catalogue.set_volume_state(connection, name, state, reason)
        self._known = (0.0, {})
        return changed

    def candidates(self, size_bytes: int, storage_class: str | None = None, wanted: int = 1) -> Sequence[str]:
        """The volumes that may take an object, ours first, in the order of the settings.

        Raises OutOfSpace or VolumeUnavailable, saying why of each, when there are fewer than wanted.
        """
        rows, reasons = self._known_volumes(), list[str]()
        candidates: list[tuple[bool, str]] = []
        full = False
        for volume in self._store.volumes:
            row = rows.get(volume.name) or VolumeRow(volume.name, volume.kind, self._site, STORAGE_CLASS)
            if row.state != "online":
                reasons.append(f"{row.name} is {row.state}")
                continue
            if row.storage_class != storage_class if storage_class else row.storage_class == CACHE_CLASS:
                continue
            try:
                free = volume.free_bytes()
            except VolumeUnavailable as error:
                reasons.append(str(error))
                continue
            if free is not None and free - size_bytes <= row.watermark_bytes:
                full = True
                reasons.append(f"{row.name} has {free} bytes free, of which {row.watermark_bytes} are left alone")
                continue
            candidates.append((row.site != self._site, row.name))
        if len(candidates) < wanted:
            kind = OutOfSpace if full else VolumeUnavailable
            told = "; ".join(reasons) or "no other is configured"
            raise kind(
                f"{size_bytes} bytes want room on {wanted} of the volumes, and {len(candidates)} have it: {told}"
            )
        return [name for _, name in sorted(candidates, key=lambda each: each[0])]

    # --- containers

    def create_container(self, name: str, parent_id: int | None = None) -> Container:
        """A new container, at the top or in another."""
        with _told(), self._engine.begin() as connection:
            if parent_id is not None:
                self._container(connection, parent_id)
            return catalogue.add_container(connection, name, parent_id)

    def container(self, container_id: int) -> Container:
        """The container of this number; ContainerNotFound."""
        with _told(), self._engine.connect() as connection:
            return self._container(connection, container_id)

    def containers(self, *, name: str | None = None, parent_id: int | None = None) -> Sequence[Container]:
        """Containers of this name, or within this one; of neither is asked: those at the top."""
        with _told(), self._engine.connect() as connection:
            return catalogue.containers(connection, name=name, parent_id=parent_id)

    def remove_container(self, container_id: int) -> None:
        """Remove a container that holds nothing; ContainerNotEmpty, ContainerNotFound."""
        with _told(), self._engine.begin() as connection:
            held = self._container(connection, container_id)
            if not catalogue.remove_container(connection, container_id):
                raise ContainerNotEmpty(f"container {held.name} ({container_id}) holds files or containers")

    def place(self, file_id: str, container_id: int | None) -> None:
        """Put a file, with all its versions, into a container; None: out of the one that it is in."""
        check_file_id(file_id)
        with _told(), self._engine.begin() as connection:
            catalogue.lock_file(connection, file_id)
            self._found(connection, file_id, None)
            if container_id is not None:
                self._container(connection, container_id)
            placed = catalogue.place(connection, file_id, container_id)
        for version in placed:
            self._relabel(version)

    # --- within

    def _known_volumes(self) -> dict[str, VolumeRow]:
        known_s, rows = self._known
        if time.monotonic() - known_s > VOLUMES_KNOWN_S:
            rows = self.volumes()
            self._known = (time.monotonic(), rows)
        return rows

    def _copy_on(self, filing: Filing, key: str, kept: list[str], others: Sequence[str], wanted: int) -> None:
        """Further copies, read back from the first, until there are as many as wanted; kept grows."""
        problem: StorageError | None = None
        for name in others:
            if len(kept) >= wanted:
                return
            try:
                with self._store.open(key, volume=kept[0]) as first:
                    _put(self._store.volume(name), key, first, filing.version, filing.text)
            except (OutOfSpace, VolumeUnavailable) as error:
                problem = error
            except (ChecksumMismatch, ReadFailed) as error:  # the sender's bytes were right
                raise VolumeUnavailable(f"volume {kept[0]} does not give back what it took: {error}") from error
            else:
                kept.append(name)
        if len(kept) < wanted:
            assert problem is not None
            raise problem

    def _key_on(self, target: Volume, held: ObjectVersion) -> str:
        """The object's own key, or a new one where that is taken there."""
        keys = [copy.key for copy in held.copies if copy.volume == target.name] or [copy.key for copy in held.copies]
        return new_key() if not keys or target.exists(keys[0]) else keys[0]

    def _found(self, connection: Connection, file_id: str, version: int | None) -> ObjectVersion:
        check_file_id(file_id)
        found = catalogue.find_version(connection, file_id, version)
        if found is None:
            raise _not_there(file_id, version)
        return found

    def _container(self, connection: Connection, container_id: int) -> Container:
        found = catalogue.find_container(connection, container_id)
        if found is None:
            raise ContainerNotFound(f"there is no container {container_id}")
        return found

    def _label(self, version: ObjectVersion) -> bytes:
        with _told(), self._engine.connect() as connection:
            return Label.of(version, catalogue.way_to(connection, version.container_id)).write()

    def _relabel(self, version: ObjectVersion) -> None:
        """Have the volumes know what the catalogue knows now; one that is away is told when labels are compared."""
        label = self._label(version)
        for copy in version.copies:
            try:
                self._store.label(copy.key, label, volume=copy.volume)
            except StorageError as error:
                log.warning("%s: its label on volume %s is out of date: %s", _say(version), copy.volume, error)

    def _forget(self, places: Iterable[tuple[str, str]]) -> None:
        """Delete bytes that no row promises (any more); what cannot be deleted now, reconciling finds."""
        for name, key in places:
            try:
                self._store.delete(key, volume=name)
            except StorageError as error:
                log.warning("object %s of volume %s has no row and cannot be removed: %s", key, name, error)


@contextmanager
def _told() -> Iterator[None]:
    """A database that is away, in the store's words; an error in what was asked of it is ours, and goes on."""
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        raise CatalogueUnavailable(f"the catalogue is not to be had ({_first_line(error)}); try again later") from error


def _first_line(error: Exception) -> str:
    told = str(getattr(error, "orig", None) or error).splitlines()
    return told[0] if told else type(error).__name__


def _put(target: Volume, key: str, stream: Readable, version: ObjectVersion, label: bytes) -> None:
    """A further copy: what is kept is what is on record, or nothing."""
    promised = Expected(version.size_bytes, version.sha256, version.md5, version.crc32c)
    target.put(key, stream, size_hint=version.size_bytes, expected=promised, label=lambda _: label)


def _not_there(file_id: str, version: int | None) -> ObjectNotFound:
    return ObjectNotFound(f"there is no file {file_id}{'' if version is None else f' version {version}'}")


def _say(version: ObjectVersion) -> str:
    return f"{version.file_id} version {version.version}"
