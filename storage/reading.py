"""Reading a version of a file from whichever of its copies is sound, so that bad bytes never end with success.

Whole objects are verified while they stream: the last block is held back until the checksum of all holds. Where a copy
fails, the next goes on at the same byte, after what was sent has been found to be what that copy begins with. Of a part
every block that it touches is read whole and verified before any of it is sent. Where blocks have no checksums yet
(objects of a release without them, or of a rebuilt catalogue, until scrub has read them) a part is taken as it is read.
"""

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Literal, Self

from crc32c import crc32c

from storage.checksums import ALGORITHMS, BLOCK_BYTES, CRC_BLOCK_BYTES, Digest
from storage.errors import NoSoundCopy, ObjectNotFound, ReadFailed, StorageError, VolumeUnavailable
from storage.model import Copy, ObjectVersion
from storage.service import ObjectStore
from storage.volume import ObjectStream, clip_range

log = logging.getLogger(__name__)

Fault = Literal["missing", "corrupt"]
# What a copy was found to be, and how: called once a copy that is not what it should be.
Found = Callable[[Copy, Fault, str], None]
# The checksums of the blocks first <= i < stop (checksums.BlockChecksums); None where there are none.
Blocks = Callable[[int, int], bytes | None]


class ReadStream:
    """The bytes start <= i < stop of a version, read once from front to end; iterates over blocks; a context manager.

    version: what is read. whole: whether all of it is, and so verified.
    Its first block is there when it is made: an object of one block is verified before anything is sent.
    """

    def __init__(
        self,
        store: ObjectStore,
        version: ObjectVersion,
        copies: Sequence[Copy],
        found: Found,
        blocks: Blocks,
        *,
        start: int = 0,
        stop: int | None = None,
    ) -> None:
        """copies: in the order in which they are tried. Raises InvalidRange, NoSoundCopy."""
        self.version = version
        self.start, self.stop = clip_range(start, stop, version.size_bytes, _say(version))
        self.whole = (self.start, self.stop) == (0, version.size_bytes)
        self._store, self._found = store, found
        self._first = self.start // CRC_BLOCK_BYTES
        self._checksums = None if self.whole or self.start == self.stop else self._checksums_of(blocks)
        self._copies = list(copies)
        self._copy: Copy | None = None
        self._stream: ObjectStream | None = None
        self._blocks = self._sound_blocks()
        self._rest = b""
        self._rest = next(self._blocks, b"")

    @property
    def copy(self) -> Copy | None:
        """The copy that is being read."""
        return self._copy

    def read(self, size: int = -1, /) -> bytes:
        """The next `size` bytes, fewer only at the end; all that is left if size is negative.

        Raises NoSoundCopy, or ReadFailed where bytes were given out that the sound copy does not have: then nothing
        that was read may be taken for the object.
        """
        pieces, wanted = [], size if size >= 0 else self.stop - self.start
        while wanted > 0 and (block := self._next(wanted)):
            pieces.append(block)
            wanted -= len(block)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def __iter__(self) -> Iterator[bytes]:
        while block := self._next(BLOCK_BYTES):
            yield block

    def close(self) -> None:
        """Let go of the copy; may be called twice."""
        self._blocks.close()
        self._let_go()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _next(self, size: int) -> bytes:
        block = self._rest or next(self._blocks, b"")
        self._rest = block[size:]
        return block[:size] if self._rest else block

    def _sound_blocks(self) -> Generator[bytes, None, None]:
        """Blocks from the copies, one after the other until one comes to its end."""
        sent = _Sent(self.start, self._digest() if self.whole else None)
        reasons: list[str] = []
        for copy in self._copies:
            self._copy = copy
            try:
                yield from self._blocks_of(copy, sent)
                return
            except _Faulty as fault:
                reasons.append(str(fault))
                if fault.state is not None:
                    self._found(copy, fault.state, str(fault))
                log.warning("%s: %s", _say(self.version), fault)
            finally:
                self._let_go()
        tried = "; ".join(reasons) or "none of its copies is known to be sound and on a volume that is to be had"
        raise NoSoundCopy(f"{_say(self.version)} cannot be read: {tried}")

    def _blocks_of(self, copy: Copy, sent: "_Sent") -> Iterator[bytes]:
        """What of a copy was not sent yet; _Faulty where it is not what it should be."""
        if sent.digest is None:
            yield from self._part_of(copy, sent)
            return
        self._open(copy, 0)
        running, ahead = self._digest(), sent.position
        while ahead > 0:
            block = self._read(copy, ahead)
            running.update(block)
            ahead -= len(block)
        if differs := running.hexdigest() != sent.digest.hexdigest():
            # Either what was sent is wrong, or this copy is: its own checksum tells.
            log.warning("%s: the copy on volume %s begins with other bytes", _say(self.version), copy.volume)
        held = b""
        while block := self._read(copy, BLOCK_BYTES):
            if held and not differs:
                sent.digest, sent.position = running.copy(), sent.position + len(held)
                yield held
            running.update(block)
            held = block
        if running.hexdigest() != self._recorded():
            raise _Faulty("corrupt", f"the copy on volume {copy.volume} has a wrong checksum")
        if differs:
            raise ReadFailed(f"{_say(self.version)}: bytes were sent that a sound copy does not have; read it again")
        if held:
            yield held

    def _part_of(self, copy: Copy, sent: "_Sent") -> Iterator[bytes]:
        if self._checksums is None:
            self._open(copy, sent.position)
            while block := self._read(copy, self.stop - sent.position):
                sent.position += len(block)
                yield block
            return
        number = sent.position // CRC_BLOCK_BYTES
        self._open(copy, number * CRC_BLOCK_BYTES)
        while sent.position < self.stop:
            start = number * CRC_BLOCK_BYTES
            block = self._read(copy, min(CRC_BLOCK_BYTES, self.version.size_bytes - start))
            place = 4 * (number - self._first)
            if crc32c(block).to_bytes(4) != self._checksums[place : place + 4]:
                raise _Faulty("corrupt", f"the copy on volume {copy.volume} has other bytes behind byte {start}")
            piece = block[sent.position - start : self.stop - start]
            sent.position += len(piece)
            number += 1
            yield piece

    def _checksums_of(self, blocks: Blocks) -> bytes | None:
        """Those of the blocks that the part touches; of an object of one block, that of the whole."""
        if self.version.size_bytes <= CRC_BLOCK_BYTES:
            return None if self.version.crc32c is None else bytes.fromhex(self.version.crc32c)
        stop = (self.stop - 1) // CRC_BLOCK_BYTES + 1
        found = blocks(self._first, stop)
        return found if found is not None and len(found) == 4 * (stop - self._first) else None

    def _open(self, copy: Copy, start: int) -> None:
        try:
            self._stream = self._store.open(copy.key, start, volume=copy.volume)
        except ObjectNotFound as error:
            raise _Faulty("missing", str(error)) from error
        except VolumeUnavailable as error:
            raise _Faulty(None, str(error)) from error
        except StorageError as error:  # no such range: it is too short
            raise _Faulty("corrupt", str(error)) from error
        if self._stream.size_bytes != self.version.size_bytes:
            raise _Faulty(
                "corrupt",
                f"the copy on volume {copy.volume} has {self._stream.size_bytes} bytes of {self.version.size_bytes}",
            )

    def _read(self, copy: Copy, size: int) -> bytes:
        assert self._stream is not None
        try:
            return self._stream.read(min(size, BLOCK_BYTES))
        except (ReadFailed, VolumeUnavailable, ObjectNotFound) as error:
            raise _Faulty(None, f"the copy on volume {copy.volume} broke off: {error}") from error

    def _digest(self) -> Digest:
        """CRC-32C, which costs least; SHA-256 of objects that are older than it."""
        return ALGORITHMS["crc32c" if self.version.crc32c else "sha256"]()

    def _recorded(self) -> str:
        return self.version.crc32c or self.version.sha256

    def _let_go(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()


class _Sent:
    """How far the reader was served, and, of a whole object, the digest of that much."""

    def __init__(self, position: int, digest: Digest | None) -> None:
        self.position, self.digest = position, digest


class _Faulty(Exception):
    """A copy does not do. state: what it is; None where its volume is at fault."""

    def __init__(self, state: Fault | None, reason: str) -> None:
        super().__init__(reason)
        self.state = state


def _say(version: ObjectVersion) -> str:
    return f"{version.file_id} version {version.version}"
