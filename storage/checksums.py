"""Hashing while copying: SHA-256, MD5 and CRC-32C of a stream, on threads of their own, beside the copying.

hashlib lets go of the interpreter's lock, so on two processors all digests cost about what the slowest one does, and
writing a block overlaps with hashing the one before. Where bytes go is posix.py's and s3.py's business.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from typing import Protocol, Self

import crc32c

from storage.errors import ChecksumMismatch

BLOCK_BYTES = 1 << 20
QUEUE_BLOCKS = 8
CRC_BLOCK_BYTES = 256 << 10
"""Of so many bytes each has a checksum of its own, by which a part of an object is verified."""
# Below this a thread would cost more than it saves.
INLINE_BYTES = 1 << 20


class Digest(Protocol):
    """What is fed with bytes and tells their digest, as hashlib has it."""

    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...
    def copy(self) -> "Digest": ...


class Crc32c:
    """CRC-32C (Castagnoli; RFC 3720 §12.1) with the face of a hashlib digest; eight hexadecimal digits."""

    def __init__(self, value: int = 0) -> None:
        self.value = value

    def update(self, data: bytes, /) -> None:
        self.value = crc32c.crc32c(data, self.value)

    def hexdigest(self) -> str:
        return f"{self.value:08x}"

    def copy(self) -> "Crc32c":
        return Crc32c(self.value)


class BlockChecksums:
    """CRC-32C of each CRC_BLOCK_BYTES of what comes, and of what is left at the end: big-endian, four bytes each."""

    def __init__(self) -> None:
        self._ended = bytearray()
        self._value = self._size_bytes = 0

    def update(self, data: bytes, /) -> None:
        rest = memoryview(data)
        while rest:
            piece = rest[: CRC_BLOCK_BYTES - self._size_bytes]
            self._value = crc32c.crc32c(piece, self._value)
            self._size_bytes += len(piece)
            if self._size_bytes == CRC_BLOCK_BYTES:
                self._end()
            rest = rest[len(piece) :]

    def value(self) -> bytes:
        """Of all that came. Nothing may be added after it."""
        if self._size_bytes:
            self._end()
        return bytes(self._ended)

    def _end(self) -> None:
        self._ended += self._value.to_bytes(4)
        self._value = self._size_bytes = 0


# Another digest is another line here, and a field of Stored.
ALGORITHMS: dict[str, Callable[[], Digest]] = {
    "sha256": hashlib.sha256,
    "md5": lambda: hashlib.md5(usedforsecurity=False),
    "crc32c": Crc32c,
}
# MD5 takes longest, so nothing shares its thread; the cycles of CRC-32C are too few for one of its own.
_SHARES_A_THREAD = {"crc32c"}


class Readable(Protocol):
    """What bytes come from: read(n) gives 1 to n bytes, and b"" at the end."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Stored:
    """What a volume took: its size in bytes and its digests in lower-case hexadecimal, CRC-32C in eight digits.

    blocks: BlockChecksums of what is larger than one block, whose own checksum is that of the whole; else empty.
    """

    size_bytes: int
    sha256: str
    md5: str
    crc32c: str
    blocks: bytes = b""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a sender promised about the bytes; None where nothing was said. Digests in hexadecimal, any case."""

    size_bytes: int | None = None
    sha256: str | None = None
    md5: str | None = None
    crc32c: str | None = None

    def check(self, stored: Stored) -> None:
        """ChecksumMismatch, naming what differs, unless the bytes are those promised."""
        if self.size_bytes is not None and self.size_bytes != stored.size_bytes:
            raise ChecksumMismatch(f"{self.size_bytes} bytes were promised, {stored.size_bytes} came; send it again")
        for name in ALGORITHMS:
            promised, found = getattr(self, name), getattr(stored, name)
            if promised is not None and promised.lower() != found:
                raise ChecksumMismatch(f"{name} {promised} was promised, the bytes have {found}; send it again")


class Hashing:
    """Digests of blocks that are given one after the other; a context manager, so that its threads always end.

    algorithms: names in ALGORITHMS. queue_blocks: how many blocks copying may run ahead of hashing, which bounds the
    memory to queue_blocks blocks. by_block: whether stored() tells the checksums of blocks, too.
    A stream of up to INLINE_BYTES is hashed in the caller's thread.
    """

    def __init__(
        self, algorithms: Iterable[str] = tuple(ALGORITHMS), *, queue_blocks: int = QUEUE_BLOCKS, by_block: bool = True
    ) -> None:
        self._digests = {name: ALGORITHMS[name]() for name in algorithms}
        self._blocks = BlockChecksums()
        self._queue_blocks, self._by_block = queue_blocks, by_block
        self._held: list[bytes] = []
        self._workers: list[_Worker] = []
        self.size_bytes = 0

    def update(self, block: bytes) -> None:
        """Take the next block, which must not change afterwards; waits while hashing is queue_blocks behind."""
        self.size_bytes += len(block)
        self._held.append(block)
        if not self._workers:
            if self.size_bytes <= INLINE_BYTES:
                return
            self._workers = [_Worker(digests, self._queue_blocks) for digests in self._shares()]
        for held in self._held:
            for worker in self._workers:
                worker.put(held)
        self._held.clear()

    def blocks(self, stream: Readable, block_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
        """The stream's blocks, each hashed while the caller uses it."""
        while block := stream.read(block_bytes):
            self.update(block)
            yield block

    def hexdigests(self) -> dict[str, str]:
        """The digests of all that came, by name. Nothing may be added after it."""
        if self._workers:
            self._end()
        for digests in self._shares():
            for digest in digests:
                for held in self._held:
                    digest.update(held)
        self._held.clear()
        return {name: str(digest.hexdigest()) for name, digest in self._digests.items()}

    def stored(self) -> Stored:
        """Size and digests of all that came."""
        digests = self.hexdigests()
        blocks = self._blocks.value() if self.size_bytes > CRC_BLOCK_BYTES else b""
        return Stored(size_bytes=self.size_bytes, blocks=blocks, **digests)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _shares(self) -> list[list["_Fed"]]:
        """The digests, by the thread that computes them."""
        own: list[list[_Fed]] = [[digest] for name, digest in self._digests.items() if name not in _SHARES_A_THREAD]
        shared: list[_Fed] = [digest for name, digest in self._digests.items() if name in _SHARES_A_THREAD]
        if self._by_block:
            shared.append(self._blocks)
        return [own[0] + shared, *own[1:]] if own else [shared]

    def _end(self) -> None:
        for worker in self._workers:
            worker.end()
        self._workers = []


class _Fed(Protocol):
    def update(self, data: bytes, /) -> None: ...


class _Worker:
    """One thread with a few digests, fed through a bounded queue."""

    def __init__(self, digests: list[_Fed], queue_blocks: int) -> None:
        self._digests = digests
        self._queue: SimpleQueue[bytes | None] = SimpleQueue()
        # Tokens bound the queue: queue.Queue and semaphores are Python code, and cost far more a block.
        self._room: SimpleQueue[None] = SimpleQueue()
        for _ in range(queue_blocks):
            self._room.put(None)
        self._thread = Thread(target=self._run, name="store-hash", daemon=True)
        self._thread.start()

    def put(self, block: bytes) -> None:
        self._room.get()
        self._queue.put(block)

    def end(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (block := self._queue.get()) is not None:
            for digest in self._digests:
                digest.update(block)
            self._room.put(None)


def checksums_of(stream: Readable) -> Stored:
    """Size and digests of a stream, read to its end."""
    with Hashing() as hashing:
        for _ in hashing.blocks(stream):
            pass
        return hashing.stored()


def verified(blocks: Iterable[bytes], expected: Expected, what: str) -> Iterator[bytes]:
    """The blocks of a whole object as they come, and ChecksumMismatch after the last unless they are those expected.

    The consumer must not call the object complete before this ends: the last word comes after the last byte.
    """
    algorithms = [name for name in ALGORITHMS if getattr(expected, name) is not None]
    with Hashing(algorithms, by_block=False) as hashing:
        for block in blocks:
            hashing.update(block)
            yield block
        found = hashing.hexdigests()
        if expected.size_bytes not in (None, hashing.size_bytes):
            raise ChecksumMismatch(f"{what}: {expected.size_bytes} bytes are recorded, {hashing.size_bytes} were read")
        for name, value in found.items():
            recorded = getattr(expected, name).lower()
            if recorded != value:
                raise ChecksumMismatch(f"{what}: {name} {recorded} is recorded, the bytes read have {value}")
