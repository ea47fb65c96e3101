"""What every volume does (a Protocol), the grammar of keys, and how an object is read as a stream.

The two volumes are posix.py and s3.py; one suite, tests/contracts/test_volume.py, holds for both. Which volume takes an
object is service.py's choice, what should be there is catalogue.py's record.
"""

import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Literal, Protocol, Self, runtime_checkable

from storage.checksums import BLOCK_BYTES, Expected, Readable, Stored
from storage.errors import InvalidKey, InvalidRange, ReadFailed

MAX_KEY_BYTES = 512
# A segment never starts with a dot: no "..", no hidden files, nothing that an S3 server keeps for itself.
_SEGMENT = r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}"
_KEY = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT}){{0,15}}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a listing. size_bytes; modified: when its last byte was written, by the volume's clock, UTC."""

    key: str
    size_bytes: int
    modified: datetime


Label = Callable[[Stored], bytes]
Kind = Literal["posix", "s3"]


@runtime_checkable
class Volume(Protocol):
    """A place for objects. All methods may be called from many threads at once.

    With an object lies its label: a few hundred bytes that say what it is (labels.py), so that the catalogue can be
    made again from the volumes alone. Of an object that was removed a label can stay as its tombstone.

    Every method raises InvalidKey for a key outside the grammar and VolumeUnavailable when the volume cannot be
    reached. No key may be a folder of another ("a" beside "a/b"): a disk cannot hold both.
    """

    @property
    def name(self) -> str:
        """What the volume is called in the catalogue."""

    @property
    def kind(self) -> Kind:
        """What kind of volume it is."""

    def put(
        self,
        key: str,
        stream: Readable,
        *,
        size_hint: int | None = None,
        expected: Expected | None = None,
        label: Label | None = None,
    ) -> Stored:
        """Read the stream to its end and keep it under the key; durable and visible, at once, when this returns.

        size_hint: bytes to come, if known; only used to plan. expected: what the bytes must be.
        label: called once, when all bytes are in, hashed and as expected, before they are visible; what it returns is
        kept with the object. If it raises, nothing is kept.
        Of several puts to one key exactly one succeeds. When it raises, nothing is visible; only a connection lost in
        the very moment of completion (VolumeUnavailable) may leave the whole object, without a row: scrub finds it.
        Raises ObjectExists, ChecksumMismatch, OutOfSpace, and whatever the stream's read, or label, raises.
        """

    def label(self, key: str) -> bytes | None:
        """The object's label; None if it was put without one. Raises ObjectNotFound."""

    def relabel(self, key: str, label: bytes) -> None:
        """Keep another label with the object, durably; a crash leaves the one or the other. Raises ObjectNotFound."""

    def open(self, key: str, start: int = 0, stop: int | None = None) -> "ObjectStream":
        """The bytes start <= i < stop as a stream; a stop beyond the end means the end.

        Raises ObjectNotFound; InvalidRange when start is negative, beyond the end, or above stop.
        """

    def reader(self, key: str) -> BinaryIO:
        """A seekable file to read from at random, as astropy.io.fits wants it; raises ObjectNotFound."""

    def size(self, key: str) -> int:
        """Bytes; raises ObjectNotFound."""

    def exists(self, key: str) -> bool:
        """Is an object there?"""

    def delete(self, key: str, *, tombstone: bytes | None = None) -> bool:
        """Remove the object and its label; False if none was there.

        tombstone: kept under the key, durably, before the object goes.
        """

    def tombstones(self) -> Iterator[tuple[str, bytes]]:
        """What is left of removed objects: key and tombstone, in any order."""

    def keys(self, prefix: str = "", *, after: str = "") -> Iterator[Entry]:
        """Objects whose key starts with prefix, as a stream that can be taken up again after the key `after`.

        In the order of the keys' bytes for keys of new_key(). A "-" or "." in a key may change its place: SeaweedFS
        lists as folders are listed. An object put or deleted meanwhile may or may not be among them.
        """

    def free_bytes(self) -> int | None:
        """Room for more, in bytes; None where the volume cannot say (S3)."""

    def capacity_bytes(self) -> int | None:
        """Of the whole volume, in bytes; None where it cannot say (S3)."""

    def janitor(self, *, grace_s: float) -> int:
        """Clear what cut-off puts left behind, unless it was touched less than grace_s seconds ago; how many."""


class ObjectStream:
    """An object's bytes, start <= i < stop, read once from front to end; iterates over blocks; a context manager.

    start, stop: the range served. size_bytes: of the whole object.
    fetch(n): the volume's next 1 to n bytes, b"" when it has no more.
    """

    def __init__(
        self,
        what: str,
        start: int,
        stop: int,
        size_bytes: int,
        fetch: Callable[[int], bytes],
        close: Callable[[], None],
    ) -> None:
        self.start, self.stop, self.size_bytes = start, stop, size_bytes
        self._what = what
        self._position = start
        self._fetch = fetch
        self._close = close

    def read(self, size: int = -1, /) -> bytes:
        """The next `size` bytes, fewer only at the end; all that is left if size is negative.

        Raises ReadFailed when the object ends before its size: a short answer never looks like a whole one.
        """
        left = self.stop - self._position
        wanted = left if size < 0 else min(size, left)
        pieces = []
        while wanted > 0:
            piece = self._fetch(min(wanted, BLOCK_BYTES))
            if not piece:
                raise ReadFailed(f"{self._what} ended at byte {self._position} of {self.stop}: verify it (store scrub)")
            pieces.append(piece)
            self._position += len(piece)
            wanted -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def __iter__(self) -> Iterator[bytes]:
        while block := self.read(BLOCK_BYTES):
            yield block

    def close(self) -> None:
        """Let go of the file or connection; may be called twice."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def check_key(key: str) -> str:
    """The key itself, if it is one: up to 16 segments of A-Z a-z 0-9 . _ -, no dot in front, 512 bytes.

    Narrow on purpose. Keys are ours, never a user's: SeaweedFS rewrites "a//b" and refuses "..", disks have more traps.
    """
    if len(key) > MAX_KEY_BYTES or not _KEY.fullmatch(key):
        raise InvalidKey(f"{key[:80]!r} is no key of the store: up to 16 segments of A-Z a-z 0-9 . _ -, joined by /")
    return key


def is_key(text: str) -> bool:
    """Does this follow the grammar of keys?"""
    return len(text) <= MAX_KEY_BYTES and _KEY.fullmatch(text) is not None


def new_key() -> str:
    """A key that nobody has, opaque and in the order of time: "019ab/c3f/019abc3f" and 24 more hexadecimal digits.

    A UUID of version 7 (RFC 9562 §5.7) below two folders from its clock: 3.1 days, and 65.5 s within. So a burst of
    puts shares a folder, whose entries are then flushed together, and no folder holds more than a minute's objects.
    """
    milliseconds = time.time_ns() // 1_000_000
    number = (milliseconds & (1 << 48) - 1) << 80 | secrets.randbits(80)
    number = number & ~(0xF << 76) | 0x7 << 76  # version
    number = number & ~(0x3 << 62) | 0x2 << 62  # variant
    digits = f"{number:032x}"
    return f"{digits[:5]}/{digits[5:8]}/{digits}"


def clip_range(start: int, stop: int | None, size_bytes: int, what: str) -> tuple[int, int]:
    """The range as (start, stop) within an object of size_bytes; InvalidRange where there is none."""
    end = size_bytes if stop is None else min(stop, size_bytes)
    if start < 0 or start > size_bytes or (stop is not None and stop < start):
        raise InvalidRange(
            f"{what} has {size_bytes} bytes: no range from {start} to {'its end' if stop is None else stop}"
        )
    return start, end
