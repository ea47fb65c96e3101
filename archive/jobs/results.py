"""Where a job's results and uploads lie, as this room needs it: a Protocol that the store, or a folder, satisfies."""

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, BinaryIO, Protocol

from sqlalchemy import Connection

CHUNK_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Laid:
    """Bytes that lie in the store under `key`, and that nothing refers to yet.

    record: tells the store's catalogue of them, in the transaction that makes them known. discard: takes them away.
    """

    key: str
    record: Callable[[Connection], None]
    discard: Callable[[], object]


class ResultStore(Protocol):
    """Bytes under keys that the store chooses; nothing is shown of a stream that failed. delete may be repeated."""

    def lay(self, stream: BinaryIO) -> Laid:
        """Keep what the stream holds, to be recorded or discarded."""
        ...

    def put(self, stream: BinaryIO) -> str:
        """Keep what the stream holds, recorded at once; the key to find it by."""
        ...

    def open(self, key: str) -> IO[bytes]:
        """The bytes from their beginning; archive.vo.errors.NotFoundError if there is no such key."""
        ...

    def delete(self, key: str) -> None:
        """Forget the key; nothing happens if it is gone already."""
        ...


class ChunkStream(io.RawIOBase):
    """Chunks of bytes, as a generator yields them, to be read as a file; `size_bytes` counts what was read so far."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        super().__init__()
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")
        self.size_bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        self.size_bytes += count
        return count


def chunks_of(opened: Callable[[], IO[bytes]], chunk_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
    """A file in pieces, opened when the first is asked for; closed at the end, or when the reader goes away."""
    with opened() as file:
        while piece := file.read(chunk_bytes):
            yield piece
