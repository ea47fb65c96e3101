"""A volume on a file system: a folder with `objects/`, `staging/`, `removed/` and a marker file `volume.json`.

An object is written to staging, flushed (fsync), and made visible by one hard link that fails if the name is taken;
then its folder is flushed. A crash at any moment leaves the object whole or invisible, and at worst a staging file.

An object's label is the extended attribute `user.uraniborg` of its file. Where the file system has none, or no room for
it, it is a file beside it, `.NAME.label`, which no key can name and which is there before the object is. The tombstone
of a removed object is a file below `removed/`.
"""

import contextlib
import errno
import fcntl
import json
import os
import secrets
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from storage.checksums import INLINE_BYTES, Expected, Hashing, Readable, Stored
from storage.durable import flush, start_writing
from storage.errors import InvalidKey, ObjectExists, ObjectNotFound, OutOfSpace, StorageError, VolumeUnavailable
from storage.volume import Entry, Kind, Label, ObjectStream, check_key, clip_range, is_key

MARKER = "volume.json"
LABEL = "user.uraniborg"
# No such attributes here (a tmpfs of old), or not so large: ext4 keeps all of a file's in 4 KiB.
_NO_ATTRIBUTE = {errno.ENOTSUP, errno.E2BIG, errno.ENOSPC, errno.ERANGE}
RESERVE_BYTES = 256 << 20
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_KNOWN_FOLDERS = 4096
# The disk has so much to do at a time, while more comes.
AHEAD_BYTES = 8 << 20


class PosixVolume:
    """Objects as plain files below `root`, which may be moved or copied as a whole.

    name: what the catalogue calls it. create: make the volume if the folder is empty or missing; without it a folder
    without marker is refused, so that a disk that is not mounted is never filled from beneath.
    reserve_bytes: room that is left free, because databases share disks. may_be_away: a folder without marker is no
    error yet; whoever asks for anything is told then.
    """

    def __init__(
        self,
        root: Path,
        name: str = "posix",
        *,
        create: bool = False,
        reserve_bytes: int = RESERVE_BYTES,
        may_be_away: bool = False,
    ) -> None:
        self._name = name
        self._root = Path(os.path.realpath(root))
        self._objects = self._root / "objects"
        self._staging = self._root / "staging"
        self._removed = self._root / "removed"
        self._reserve_bytes = reserve_bytes
        self._durable: set[Path] = set()
        if create and not (self._root / MARKER).exists():
            self.make()
        if not may_be_away and not (self._root / MARKER).is_file():
            raise VolumeUnavailable(f"{self._root} is no volume: {MARKER} is missing. Is its disk mounted?")

    def __repr__(self) -> str:
        return f"PosixVolume({self._name!r}, {str(self._root)!r})"

    @property
    def name(self) -> str:
        """What the volume is called in the catalogue."""
        return self._name

    @property
    def kind(self) -> Kind:
        """See Volume.kind."""
        return "posix"

    def put(
        self,
        key: str,
        stream: Readable,
        *,
        size_hint: int | None = None,
        expected: Expected | None = None,
        label: Label | None = None,
    ) -> Stored:
        """See Volume.put. OutOfSpace before the first byte when size_hint does not fit above the reserve."""
        target = self._path(key)
        if os.path.lexists(target):
            raise ObjectExists(f"{self._say(key)} is there already; take a new key")
        self._make_room(size_hint or 0, key)
        with self._staged(key) as (descriptor, staging):
            stored = self._copy(key, stream, descriptor)
            if expected is not None:
                expected.check(stored)
            text = None if label is None else label(stored)
            with self._told(key, writing=True):
                beside = text is not None and not _attach(descriptor, text)
                os.fsync(descriptor)
                self._publish(key, staging, target, text if beside else None)
        return stored

    def label(self, key: str) -> bytes | None:
        """See Volume.label."""
        path = self._path(key)
        with self._told(key):
            os.lstat(path)
            try:
                return _beside(path).read_bytes()  # it comes first: relabel may have left both
            except FileNotFoundError:
                pass
            try:
                return os.getxattr(path, LABEL, follow_symlinks=False)
            except OSError as error:
                if error.errno in {errno.ENODATA, errno.ENOTSUP}:
                    return None
                raise

    def relabel(self, key: str, label: bytes) -> None:
        """See Volume.relabel."""
        path = self._path(key)
        descriptor, _ = self._open(key)
        try:
            with self._told(key, writing=True):
                if _attach(descriptor, label):
                    os.fsync(descriptor)
                    _remove_beside(path)
                    return
                with self._staged(key) as (written, staging):
                    _write(written, label)
                    os.fsync(written)
                    staging.rename(_beside(path))
                flush(path.parent)
        finally:
            os.close(descriptor)

    def open(self, key: str, start: int = 0, stop: int | None = None) -> ObjectStream:
        """See Volume.open. Reads by position: the stream costs one open file and no buffer."""
        descriptor, size_bytes = self._open(key)
        try:
            start, stop = clip_range(start, stop, size_bytes, self._say(key))
        except StorageError:
            os.close(descriptor)
            raise
        reading = _Reading(self, key, descriptor, start)
        return ObjectStream(self._say(key), start, stop, size_bytes, reading.fetch, reading.close)

    def reader(self, key: str) -> BinaryIO:
        """See Volume.reader: the file itself, which astropy can map into memory."""
        descriptor, _ = self._open(key)
        return os.fdopen(descriptor, "rb")

    def size(self, key: str) -> int:
        """See Volume.size."""
        with self._told(key):
            found = os.lstat(self._path(key))
            if not stat.S_ISREG(found.st_mode):
                raise ObjectNotFound(f"{self._say(key)} is not there")
            return found.st_size

    def exists(self, key: str) -> bool:
        """See Volume.exists. A volume whose disk is gone raises VolumeUnavailable: it does not know."""
        try:
            self.size(key)
        except ObjectNotFound:
            return False
        return True

    def delete(self, key: str, *, tombstone: bytes | None = None) -> bool:
        """See Volume.delete. Flushes the folder; the folder stays, because a put may be on its way into it."""
        path = self._path(key)
        if tombstone is not None:
            self._bury(key, tombstone)
        try:
            with self._told(key):
                path.unlink()
                _beside(path).unlink(missing_ok=True)
                flush(path.parent)
        except ObjectNotFound:
            return False
        return True

    def keys(self, prefix: str = "", *, after: str = "") -> Iterator[Entry]:
        """See Volume.keys. Reads only folders that can hold such keys; passes over links and strangers' files."""
        with self._told(prefix):
            self._check_marker()
        yield from self._walk(self._objects, "", prefix, after)

    def tombstones(self) -> Iterator[tuple[str, bytes]]:
        """See Volume.tombstones."""
        if self._removed.is_dir():
            for entry in self._walk(self._removed, "", "", ""):
                with self._told(entry.key):
                    yield entry.key, (self._removed / entry.key).read_bytes()

    def capacity_bytes(self) -> int:
        """See Volume.capacity_bytes: of the file system."""
        with self._told("capacity"):
            found = os.statvfs(self._root)
        return found.f_blocks * found.f_frsize

    def free_bytes(self) -> int:
        """Room above the reserve, for an unprivileged writer."""
        with self._told("free space"):
            self._check_marker()
            found = os.statvfs(self._root)
        return max(0, found.f_bavail * found.f_frsize - self._reserve_bytes)

    def janitor(self, *, grace_s: float = 86_400) -> int:
        """See Volume.janitor. A staging file whose writer lives is locked and stays, however old."""
        removed = 0
        with self._told("staging"):
            for entry in os.scandir(self._staging):
                removed += _remove_stale(Path(entry.path), time.time() - grace_s)
        return removed

    def make(self) -> None:
        """Make the volume in its folder, which must be empty or missing; one that is there stays."""
        with self._told("create"):
            self._root.mkdir(mode=0o750, parents=True, exist_ok=True)
            strangers = {path.name for path in self._root.iterdir()} - {"objects", "staging", "removed"}
            if strangers - {f"{MARKER}.part"}:
                raise VolumeUnavailable(f"{self._root} is not empty: a new volume wants an empty folder")
            self._objects.mkdir(mode=0o750, exist_ok=True)
            self._staging.mkdir(mode=0o750, exist_ok=True)
            part = self._root / f"{MARKER}.part"
            part.write_text(json.dumps({"format": 1, "volume_id": str(uuid.uuid4())}) + "\n")
            with part.open("rb") as written:
                os.fsync(written.fileno())
            # Two processes may create at once: the first marker stays.
            with contextlib.suppress(FileExistsError):
                os.link(part, self._root / MARKER)
            part.unlink(missing_ok=True)
            flush(self._root)
            flush(self._root.parent)

    @contextmanager
    def _staged(self, key: str) -> Iterator[tuple[int, Path]]:
        """A new file in staging, open to be written: whoever is done with it has taken its name from there."""
        with self._told(key, writing=True):
            descriptor, staging = _hold(self._staging)
        try:
            yield descriptor, staging
        except BaseException:
            # What failed keeps its own error: a name left over is the janitor's.
            with contextlib.suppress(OSError):
                staging.unlink()
            raise
        finally:
            os.close(descriptor)

    def _copy(self, key: str, stream: Readable, descriptor: int) -> Stored:
        """The bytes on the disk; flushed where hashing has yet to catch up, so that both are done at once."""
        begun = 0
        with Hashing() as hashing:
            for block in hashing.blocks(stream):
                with self._told(key, writing=True):
                    _write(descriptor, block)
                if hashing.size_bytes - begun >= AHEAD_BYTES:
                    start_writing(descriptor, begun, hashing.size_bytes - begun)
                    begun = hashing.size_bytes
            if hashing.size_bytes > INLINE_BYTES:
                with self._told(key, writing=True):
                    os.fdatasync(descriptor)
            return hashing.stored()

    def _publish(self, key: str, staging: Path, target: Path, beside: bytes | None) -> None:
        """One link, which fails if the name is taken; then the folders are flushed, so that the name lasts too.

        beside: a label that goes into a file of its own, before the object is visible.
        """
        self._make_folder(target.parent, self._objects)
        if beside is not None:
            with self._staged(key) as (descriptor, written):
                _write(descriptor, beside)
                os.fsync(descriptor)
                if os.path.lexists(target):
                    raise ObjectExists(f"{self._say(key)} is there already; take a new key")
                # Over one that a put left which was cut off here: keys are never given twice.
                written.rename(_beside(target))
        try:
            try:
                os.link(staging, target)
            except FileNotFoundError:
                # Another disk is in the place of the one whose folders we know.
                self._durable.clear()
                self._make_folder(target.parent, self._objects)
                os.link(staging, target)
        except FileExistsError:
            raise ObjectExists(f"{self._say(key)} is there already; take a new key") from None
        try:
            flush(target.parent)
            # A file system that gives up just then may say that all is well, though what it was to flush is lost (ext4
            # on Linux 6.18 does: nobody waits for a transaction that was aborted). But it takes no change any more.
            staging.unlink()
        except OSError:
            # Not known to last, and so not acknowledged: then it must not be visible either.
            target.unlink()
            raise

    def _bury(self, key: str, tombstone: bytes) -> None:
        """Keep a tombstone, flushed; one that is there is replaced."""
        stone = self._removed / check_key(key)
        with self._told(key, writing=True), self._staged(key) as (descriptor, staging):
            _write(descriptor, tombstone)
            os.fsync(descriptor)
            self._check_marker()
            self._make_folder(stone.parent, self._root)
            staging.rename(stone)
            flush(stone.parent)

    def _make_folder(self, folder: Path, top: Path) -> None:
        """The folder and those above it, below top, each with its entry flushed, whoever made it."""
        if folder in self._durable or folder == top:
            return
        self._make_folder(folder.parent, top)
        # Never parents=True: if `objects` is gone the disk is gone, and must not be made again on another.
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o750)
        flush(folder.parent)
        if len(self._durable) >= _KNOWN_FOLDERS:
            self._durable.clear()
        self._durable.add(folder)

    def _make_room(self, size_bytes: int, key: str) -> None:
        free = self.free_bytes()
        if free <= size_bytes:
            raise OutOfSpace(
                f"{self._say(key)}: {size_bytes} bytes do not fit, {free} are free above the reserve of "
                f"{self._reserve_bytes}; free some, or add a volume"
            )

    def _path(self, key: str) -> Path:
        """Where the key's file goes; VolumeUnavailable if a link below the root leads elsewhere."""
        path = self._objects / check_key(key)
        if os.path.realpath(path.parent) != str(path.parent):
            raise VolumeUnavailable(f"{path.parent} is reached through a symbolic link: replace it by a folder")
        return path

    def _open(self, key: str) -> tuple[int, int]:
        with self._told(key):
            try:
                descriptor = self._below(key)
            except NotADirectoryError:
                self._path(key)  # says so if it is a link
                raise
            found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            os.close(descriptor)
            raise ObjectNotFound(f"{self._say(key)} is not there")
        return descriptor, found.st_size

    def _below(self, key: str) -> int:
        """The key's file, open to be read: folder by folder, none of which may be a link."""
        *above, name = check_key(key).split("/")
        folder = os.open(self._objects, _FOLDER)
        try:
            for segment in above:
                inner = os.open(segment, _FOLDER, dir_fd=folder)
                os.close(folder)
                folder = inner
            return os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        finally:
            os.close(folder)

    def _walk(self, folder: Path, above: str, prefix: str, after: str) -> Iterator[Entry]:
        with self._told(above):
            try:
                found = list(os.scandir(folder))
            except FileNotFoundError:
                return
        # A folder sorts as its keys do, with the slash: S3 lists "a-b" before "a/b", and so do we.
        names = sorted((entry.name + "/" if entry.is_dir(follow_symlinks=False) else entry.name) for entry in found)
        for name in names:
            key = above + name
            if name.endswith("/"):
                common = min(len(key), len(prefix))
                if key[:common] == prefix[:common] and not (key < after and not after.startswith(key)):
                    yield from self._walk(folder / name, key, prefix, after)
            elif key.startswith(prefix) and key > after and is_key(key):
                try:
                    status = os.lstat(folder / name)
                except FileNotFoundError:
                    continue  # deleted since
                if stat.S_ISREG(status.st_mode):
                    yield Entry(key, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))

    def _check_marker(self) -> None:
        if not (self._root / MARKER).exists():
            raise VolumeUnavailable(f"{self!r}: {MARKER} is missing. Is its disk mounted?")

    def _say(self, key: str) -> str:
        return f"object {key} of volume {self._name}"

    @contextmanager
    def _told(self, key: str, *, writing: bool = False) -> Iterator[None]:
        """The operating system's errors in the store's words; a path that is missing while writing is a lost volume."""
        try:
            yield
        except OSError as error:
            reason = f"{self._say(key)}: {error.strerror or error}"
            if error.errno in _FULL:
                raise OutOfSpace(f"{reason}; free some space, or add a volume") from error
            if writing and error.errno == errno.ENOTDIR:
                raise InvalidKey(f"{self._say(key)}: a part of this key is an object itself; take another") from error
            if not writing and error.errno in {errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.EISDIR}:
                self._check_marker()
                raise ObjectNotFound(f"{self._say(key)} is not there") from None
            raise VolumeUnavailable(f"{reason}; look after {self._root}") from error


class _Reading:
    """Reading a descriptor on from a position."""

    def __init__(self, volume: PosixVolume, key: str, descriptor: int, position: int) -> None:
        self._volume, self._key = volume, key
        self._descriptor = descriptor
        self._position = position

    def fetch(self, size: int) -> bytes:
        with self._volume._told(self._key):
            block = os.pread(self._descriptor, size, self._position)
        self._position += len(block)
        return block

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()


def _hold(folder: Path) -> tuple[int, Path]:
    """A new file, locked while we live: so the janitor can tell a running put from a dead one."""
    while True:
        staging = folder / f"{secrets.token_hex(16)}.part"
        descriptor = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:  # else the janitor was faster
                return descriptor, staging
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _attach(descriptor: int, label: bytes) -> bool:
    """Give an open file its label; False where the file system has no attributes, or none so large."""
    try:
        os.setxattr(descriptor, LABEL, label)
    except OSError as error:
        if error.errno in _NO_ATTRIBUTE:
            return False
        raise
    return True


def _beside(path: Path) -> Path:
    """Where the label lies that the file cannot carry itself."""
    return path.with_name(f".{path.name}.label")


def _remove_beside(path: Path) -> None:
    try:
        _beside(path).unlink()
    except FileNotFoundError:
        return
    flush(path.parent)


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _remove_stale(path: Path, before: float) -> bool:
    """Remove a staging file that no one holds and no one touched since `before` (seconds, Unix time)."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_mtime > before:
            return False
        path.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
