"""Files and folders between a disk and a store: many at once, each checked, and taken up again where it was cut off.

What was put already is not sent again: its size and SHA-256 are compared first. What is got grows in a file
`.NAME.SHA256.part` beside its place, goes on from there, and takes its name when its SHA-256 is right.
"""

import hashlib
import mimetypes
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from threading import Event
from typing import BinaryIO, Literal, TypeVar

from storage.checksums import BLOCK_BYTES, Expected
from storage.client import Files
from storage.durable import flush
from storage.errors import ChecksumMismatch, InvalidFileId, ObjectNotFound, ReadFailed, StorageError
from storage.model import ObjectVersion

ATTEMPTS = 5
Advance = Callable[[int], None]
"""Called with the bytes that were moved, and with 0 now and then. What it raises ends the transfer."""
_Done = TypeVar("_Done")
_Job = TypeVar("_Job")


@dataclass(frozen=True, slots=True)
class Transferred:
    """What became of one file. outcome: created, unchanged, repaired (put); fetched, unchanged (got); failed: problem.

    resumed_bytes: of it that were there from a try that was cut off.
    """

    file_id: str
    path: str
    outcome: Literal["created", "unchanged", "repaired", "fetched", "failed"]
    version: int | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    resumed_bytes: int = 0
    problem: str = ""


class Stopped(Exception):
    """Whoever asked for a transfer wants it no more; what is there of it stays, to be gone on with."""


class Progress:
    """Tells how far transfers are, until they are stopped; from many threads. An Advance."""

    def __init__(self, told: Advance = lambda _: None) -> None:
        self._told, self._stopped = told, Event()

    def __call__(self, size_bytes: int) -> None:
        if self._stopped.is_set():
            raise Stopped
        self._told(size_bytes)

    def stop(self) -> None:
        """End all transfers that tell it, each at its next block."""
        self._stopped.set()


def to_put(sources: Iterable[Path], under: str) -> Iterator[tuple[Path, str]]:
    """Files and their file_ids: UNDER + the name of a file, or of a folder + the way to each file in it.

    Links to files are followed, those to folders are not; one that leads nowhere fails when it is put. StorageError: a
    folder cannot be listed, so that nobody knows what should be put.
    """

    def unreadable(error: OSError) -> None:
        raise StorageError(f"{error.filename} cannot be listed: {error.strerror}")

    for source in sources:
        if not source.is_dir():
            yield source, under + source.name
            continue
        name = source.resolve().name
        for folder, folders, files in os.walk(source, onerror=unreadable):
            folders.sort()
            for file in sorted(files):
                path = Path(folder, file)
                if path.is_file() or not path.exists():  # neither a pipe nor a device
                    yield path, f"{under}{name}/{path.relative_to(source).as_posix()}"


def size_of(path: Path) -> int:
    """Bytes of a file; 0 of what is not there, which is told when it is put."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def put_file(files: Files, path: Path, file_id: str, advance: Advance = lambda _: None) -> Transferred:
    """Put one file, unless it is there with these bytes. OSError, StorageError."""
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        sha256 = _sha256(file, advance)
        if (held := _newest(files, file_id)) is not None and (held.sha256, held.size_bytes) == (sha256, size_bytes):
            advance(size_bytes)
            return Transferred(file_id, str(path), "unchanged", held.version, size_bytes, sha256)
        file.seek(0)
        media_type = mimetypes.guess_type(path.name)[0]
        expected = Expected(size_bytes, sha256)
        written = files.put(file_id, _Watched(file, advance), expected=expected, media_type=media_type)
    kept = written.version
    return Transferred(file_id, str(path), written.outcome, kept.version, kept.size_bytes, kept.sha256)


def get_file(files: Files, version: ObjectVersion, path: Path, advance: Advance = lambda _: None) -> Transferred:
    """Get one version into a file, which is there, whole and flushed, or is what it was. OSError, StorageError."""
    size_bytes, sha256 = version.size_bytes, version.sha256
    told = (version.file_id, str(path))
    if path.is_file() and path.stat().st_size == size_bytes:
        with path.open("rb") as file:
            if _sha256(file, advance) == sha256:
                advance(size_bytes)
                return Transferred(*told, "unchanged", version.version, size_bytes, sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name[:150]}.{sha256[:16]}.part")
    with part.open("a+b") as file:
        if file.tell() > size_bytes:
            file.truncate(0)
        file.seek(0)
        digest = hashlib.sha256()
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
        resumed = done = file.tell()
        advance(done)
        for attempt in range(1, ATTEMPTS + 1):
            before = done
            try:
                for block in files.blocks(version, done):
                    file.write(block)
                    digest.update(block)
                    done += len(block)
                    advance(len(block))
                if done >= size_bytes:
                    break
                raise ReadFailed(f"{version.file_id} ended at byte {done} of {size_bytes}")
            except StorageError:
                file.flush()
                # What moved on is tried again from there; what did not, is not.
                if attempt == ATTEMPTS or done == before:
                    raise
        file.flush()
        os.fsync(file.fileno())
    if (done, digest.hexdigest()) != (size_bytes, sha256):
        part.unlink()
        if resumed:  # what an earlier try left was not as it should be
            advance(-done)
            return get_file(files, version, path, advance)
        raise ChecksumMismatch(f"{version.file_id} came with SHA-256 {digest.hexdigest()}, and {sha256} is on record")
    part.rename(path)
    flush(path.parent)
    return Transferred(*told, "fetched", version.version, size_bytes, sha256, resumed)


def place_of(file_id: str, prefix: str, folder: Path) -> Path:
    """Where a file goes below a folder: its file_id without the folders of the prefix. InvalidFileId: nowhere safe."""
    relative = PurePosixPath(file_id[prefix.rfind("/") + 1 :])
    if relative.is_absolute() or not relative.parts or any(part == ".." for part in relative.parts):
        raise InvalidFileId(f"{file_id} is no way below a folder; get it by itself, with --output")
    return folder / relative


def at_once(
    jobs: Iterable[_Job],
    work: Callable[[_Job], _Done],
    failed: Callable[[_Job, Exception], _Done],
    threads: int,
    stop: Callable[[], None] = lambda: None,
) -> Iterator[_Done]:
    """Do many things on threads; what came of each as it is done. jobs: may be endless, a few are taken ahead. stop:
    called where this is broken off (Ctrl-C), so that what is under way ends."""
    with ThreadPoolExecutor(threads, thread_name_prefix="transfer") as pool:
        running: dict[Future[_Done], _Job] = {}

        def ended() -> Iterator[_Done]:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job = running.pop(future)
                try:
                    yield future.result()
                except (OSError, StorageError) as error:
                    yield failed(job, error)

        try:
            for job in jobs:
                running[pool.submit(work, job)] = job
                if len(running) >= 2 * threads:
                    yield from ended()
            while running:
                yield from ended()
        except BaseException:
            stop()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def _newest(files: Files, file_id: str) -> ObjectVersion | None:
    try:
        held = files.stat(file_id)
    except ObjectNotFound:
        return None
    # Sent again it is repaired.
    return held if any(copy.state == "ok" for copy in held.copies) else None


def _sha256(file: BinaryIO, advance: Advance) -> str:
    digest = hashlib.sha256()
    while block := file.read(BLOCK_BYTES):
        advance(0)
        digest.update(block)
    return digest.hexdigest()


class _Watched:
    """A file that tells how far it was read; it can seek back, so that a store may try its next volume."""

    def __init__(self, file: object, advance: Advance) -> None:
        self._file, self._advance = file, advance

    def read(self, size: int, /) -> bytes:
        block: bytes = self._file.read(size)  # type: ignore[attr-defined]
        self._advance(len(block))
        return block

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return int(self._file.tell())  # type: ignore[attr-defined]

    def seek(self, offset: int, /) -> int:
        self._advance(offset - self.tell())
        return int(self._file.seek(offset))  # type: ignore[attr-defined]
