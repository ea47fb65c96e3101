"""A stored object as a file on this machine, for programs that want a path; nothing is copied that is not read.

Of a volume on a disk the path leads to the object itself. Of another one it leads to a file with holes, as long as the
object, into which ranged reads bring what is asked for: of a FITS file its headers, and the data only of those HDUs
that somebody looks into.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ingest.describe.header import Fill, nothing
from storage.errors import ReadFailed, StorageError
from storage.service import ObjectStore

BLOCK_BYTES = 64 << 10
COPY_BYTES = 1 << 20


@contextlib.contextmanager
def stored_file(
    store: ObjectStore, key: str, name: str, size_bytes: int, *, scratch: Path | None = None
) -> Iterator[tuple[Path, Fill]]:
    """The object's path, its last part `name`, and what brings its bytes start <= i < stop there before they are read.

    scratch: folder for what has to be copied (the system's). Raises StorageError, as fill does; also at the end, where
    whoever read it took that for a fault of the file.
    """
    with tempfile.TemporaryDirectory(dir=scratch, prefix="uraniborg-stored-") as folder, store.reader(key) as reader:
        path = Path(folder) / name
        try:
            descriptor = reader.fileno()
        except OSError:  # no file of this machine
            holes = _Holes(path, reader, size_bytes)
            try:
                yield path, holes.fill
            finally:
                if holes.failure is not None:
                    raise holes.failure
        else:
            # By the open descriptor, so that the object may be removed meanwhile.
            path.symlink_to(f"/proc/self/fd/{descriptor}")
            yield path, nothing


class _Holes:
    """A file that is there in blocks, as they were asked for."""

    def __init__(self, path: Path, reader: BinaryIO, size_bytes: int) -> None:
        self._path, self._reader, self._size = path, reader, size_bytes
        self.failure: StorageError | None = None
        self._there = bytearray(-(-size_bytes // BLOCK_BYTES))
        with path.open("xb") as file:
            file.truncate(size_bytes)

    def fill(self, start: int, stop: int) -> None:
        """Bring the bytes start <= i < stop; those beyond the end are none."""
        first, last = start // BLOCK_BYTES, -(-min(stop, self._size) // BLOCK_BYTES)
        with self._path.open("r+b") as file:
            while (first := self._there.find(0, first, last)) >= 0:
                end = self._there.find(1, first, last)
                end = last if end < 0 else end
                try:
                    self._copy(file, first * BLOCK_BYTES, min(end * BLOCK_BYTES, self._size))
                except StorageError as error:
                    self.failure = error
                    raise
                self._there[first:end] = b"\1" * (end - first)

    def _copy(self, file: BinaryIO, position: int, stop: int) -> None:
        file.seek(position)
        self._reader.seek(position)
        while position < stop:
            chunk = self._reader.read(min(COPY_BYTES, stop - position))
            if not chunk:
                raise ReadFailed(f"the object ends at byte {position} of {self._size}")
            file.write(chunk)
            position += len(chunk)
