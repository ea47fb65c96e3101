"""Hashing while copying, against hashlib and the properties a reader relies on."""

import hashlib
import io
import random
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.checksums import CRC_BLOCK_BYTES, Expected, Hashing, checksums_of, verified
from storage.errors import ChecksumMismatch


@settings(max_examples=60, deadline=None)
@given(blocks=st.lists(st.integers(0, 400_000).map(lambda n: random.Random(n).randbytes(n)), max_size=8))
def test_digests_of_blocks_are_those_of_their_sum(blocks: list[bytes]) -> None:
    data = b"".join(blocks)
    with Hashing() as hashing:
        for block in blocks:
            hashing.update(block)
        stored = hashing.stored()
    assert (stored.size_bytes, stored.sha256, stored.md5) == (
        len(data),
        hashlib.sha256(data).hexdigest(),
        hashlib.md5(data).hexdigest(),
    )


def test_each_block_has_its_own_checksum_however_the_bytes_came() -> None:
    data = random.Random(5).randbytes(2 * CRC_BLOCK_BYTES + 77)
    told = b"".join(
        crc32c_of(data[at : at + CRC_BLOCK_BYTES]).to_bytes(4) for at in range(0, len(data), CRC_BLOCK_BYTES)
    )
    for pieces in ([data], [data[:1], data[1:300_000], data[300_000:]]):
        with Hashing() as hashing:
            for piece in pieces:
                hashing.update(piece)
            assert hashing.stored().blocks == told
    large = checksums_of(io.BytesIO(data * 5))  # beyond what is hashed in the caller's thread
    assert large.blocks[:8] == told[:8] and len(large.blocks) == 4 * -(-len(data) * 5 // CRC_BLOCK_BYTES)
    assert checksums_of(io.BytesIO(data[:CRC_BLOCK_BYTES])).blocks == b"", "one block: that of the whole"


def crc32c_of(data: bytes) -> int:
    """CRC-32C bit by bit (RFC 3720 appendix B.4)."""
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    crc = 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def test_hashing_runs_beside_the_copying_and_its_threads_end() -> None:
    before = threading.active_count()
    with Hashing() as hashing:
        for _ in range(10):
            hashing.update(bytes(1 << 20))
        assert threading.active_count() == before + 2
        assert hashing.stored().sha256 == hashlib.sha256(bytes(10 << 20)).hexdigest()
    assert threading.active_count() == before


def test_threads_end_when_copying_fails() -> None:
    before = threading.active_count()
    with pytest.raises(OSError, match="disk"), Hashing() as hashing:
        for _ in range(3):
            hashing.update(bytes(1 << 20))
        raise OSError("disk")
    assert threading.active_count() == before


def test_a_flipped_bit_is_told_after_the_last_byte_and_a_sound_object_is_not() -> None:
    data = bytes(range(256)) * 9000
    stored = checksums_of(io.BytesIO(data))
    expected = Expected(stored.size_bytes, stored.sha256, stored.md5)
    assert b"".join(verified([data[:5], data[5:]], expected, "it")) == data
    flipped = bytearray(data)
    flipped[1_000_000] ^= 4
    for wrong in (bytes(flipped), data[:-1], data + b"x", b""):
        with pytest.raises(ChecksumMismatch, match="it: "):
            b"".join(verified([wrong], expected, "it"))
    with pytest.raises(ChecksumMismatch, match="bytes are recorded"):
        b"".join(verified([b"12"], Expected(size_bytes=3), "it"))
