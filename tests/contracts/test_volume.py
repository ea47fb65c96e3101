"""What every Volume must do, on a folder and on a real S3 server (SeaweedFS). Oracles: hashlib, the bytes, astropy."""

import hashlib
import io
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from storage.checksums import Expected, Stored
from storage.errors import ChecksumMismatch, InvalidKey, InvalidRange, ObjectExists, ObjectNotFound, StorageError
from storage.posix import PosixVolume
from storage.s3 import S3Volume
from storage.volume import Volume, new_key
from tests.object_store import ObjectStoreServer

MIB = 1 << 20


class Zeros(io.RawIOBase):
    """A sparse source: `size` zero bytes that lie nowhere."""

    def __init__(self, size: int) -> None:
        self.left = size

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        size = self.left if size < 0 else min(size, self.left)
        self.left -= size
        return bytes(size)


class Broken:
    """A sender who goes away after `size` bytes."""

    def __init__(self, size: int) -> None:
        self.left = size

    def read(self, size: int, /) -> bytes:
        if self.left == 0:
            raise ConnectionResetError("the sender went away")
        size = min(size, self.left)
        self.left -= size
        return random.Random(self.left).randbytes(size)


class Halting:
    """A sender who stops in the middle until told to go on."""

    def __init__(self, data: bytes) -> None:
        self.pieces = [data[: len(data) // 2], data[len(data) // 2 :]]
        self.halted, self.go_on = threading.Event(), threading.Event()

    def read(self, size: int, /) -> bytes:
        if len(self.pieces) == 1:
            self.halted.set()
            assert self.go_on.wait(60)
        return self.pieces.pop(0) if self.pieces else b""


@pytest.fixture(scope="module")
def bucket(object_store: ObjectStoreServer) -> str:
    return object_store.bucket()


@pytest.fixture(params=["posix", "s3"])
def volume(request: pytest.FixtureRequest, tmp_path: Path) -> Volume:
    if request.param == "posix":
        return PosixVolume(tmp_path / "volume", create=True)
    server = request.getfixturevalue("object_store")
    return S3Volume(
        endpoint_url=server.endpoint_url,
        bucket=request.getfixturevalue("bucket"),
        access_key=server.access_key,
        secret_key=server.secret_key,
        prefix=f"archive/{secrets.token_hex(8)}",
        part_bytes=5 * MIB,
    )


def listed(volume: Volume, prefix: str = "", after: str = "") -> list[str]:
    return [entry.key for entry in volume.keys(prefix, after=after)]


def read(volume: Volume, key: str, start: int = 0, stop: int | None = None) -> bytes:
    with volume.open(key, start, stop) as stream:
        return stream.read()


@pytest.mark.parametrize("size", [0, 1, 65_536, MIB, MIB + 1, 3 * MIB + 7])
def test_what_was_put_is_read_back_with_hashlibs_digests(volume: Volume, size: int) -> None:
    data, key = random.Random(size).randbytes(size), new_key()
    stored = volume.put(key, io.BytesIO(data), size_hint=size)
    assert (stored.size_bytes, stored.sha256, stored.md5) == (
        size,
        hashlib.sha256(data).hexdigest(),
        hashlib.md5(data).hexdigest(),
    )
    assert volume.size(key) == size and volume.exists(key)
    with volume.open(key) as stream:
        assert (b"".join(stream), stream.size_bytes) == (data, size)


def test_an_object_of_several_parts_is_whole(volume: Volume) -> None:
    data, key = random.Random(23).randbytes(23_000_000), new_key()
    stored = volume.put(key, io.BytesIO(data))
    assert (stored.size_bytes, stored.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert read(volume, key) == data
    # across the seam of two parts
    assert read(volume, key, 5 * MIB - 3, 5 * MIB + 3) == data[5 * MIB - 3 : 5 * MIB + 3]


def test_an_object_of_exactly_two_parts_is_whole(volume: Volume) -> None:
    data, key = random.Random(2).randbytes(10 * MIB), new_key()
    assert volume.put(key, io.BytesIO(data)).size_bytes == 10 * MIB
    assert read(volume, key) == data


def test_a_source_that_gives_little_at_a_time_is_taken_whole(volume: Volume) -> None:
    data = random.Random(5).randbytes(100_000)
    source = io.BytesIO(data)

    class Dribble:
        def read(self, size: int, /) -> bytes:
            return source.read(min(size, 997))

    key = new_key()
    assert volume.put(key, Dribble()).sha256 == hashlib.sha256(data).hexdigest()
    assert read(volume, key) == data


def test_ranges_are_those_of_the_bytes(volume: Volume) -> None:
    data, key = random.Random(7).randbytes(10_000), new_key()
    volume.put(key, io.BytesIO(data))
    for start, stop in [(0, None), (0, 1), (9_999, None), (17, 4_711), (5, 5), (10_000, None), (9_990, 99_999), (0, 0)]:
        assert read(volume, key, start, stop) == data[start:stop], (start, stop)
    for start, stop in [(-1, None), (10_001, None), (10_001, 10_002), (6, 5)]:
        with pytest.raises(InvalidRange):
            volume.open(key, start, stop)


def test_an_empty_object_has_one_range_the_empty_one(volume: Volume) -> None:
    key = new_key()
    volume.put(key, io.BytesIO(b""))
    assert read(volume, key) == read(volume, key, 0, 5) == b""
    with pytest.raises(InvalidRange):
        volume.open(key, 1)


def test_a_stream_is_read_in_pieces_of_any_size(volume: Volume) -> None:
    data, key = random.Random(8).randbytes(2 * MIB + 11), new_key()
    volume.put(key, io.BytesIO(data))
    with volume.open(key, 11) as stream:
        pieces = [stream.read(size) for size in (1, 10, 0, MIB, 70_000)]
        assert b"".join([*pieces, stream.read()]) == data[11:]
        assert stream.read() == stream.read(5) == b""


@pytest.fixture
def fits_bytes() -> tuple[bytes, dict[str, np.ndarray[Any, Any]]]:
    generator = np.random.default_rng(1)
    image = generator.normal(size=(900, 800)).astype(">f4")
    flat = generator.integers(0, 1000, size=(700, 600)).astype(">i2")
    table = fits.BinTableHDU.from_columns([fits.Column("RA", "D", array=generator.uniform(0, 360, 50_000))])
    buffer = io.BytesIO()
    primary = fits.PrimaryHDU(image)
    fits.HDUList([primary, fits.CompImageHDU(flat, name="FLAT"), table]).writeto(buffer, checksum=True)
    return buffer.getvalue(), {"image": image, "flat": flat, "ra": np.asarray(table.data["RA"])}


def test_astropy_reads_fits_out_of_an_object_at_random(
    volume: Volume, fits_bytes: tuple[bytes, dict[str, np.ndarray[Any, Any]]]
) -> None:
    data, arrays = fits_bytes
    key = new_key()
    volume.put(key, io.BytesIO(data))
    with volume.reader(key) as file, fits.open(file, checksum=True) as hdus:
        assert (hdus[2].data["RA"] == arrays["ra"]).all()
        assert (hdus["FLAT"].data == arrays["flat"]).all()
        assert (hdus[0].section[300:310, 5:700] == arrays["image"][300:310, 5:700]).all()
        assert (hdus[0].data == arrays["image"]).all()


def test_a_reader_reads_as_a_file_does(volume: Volume) -> None:
    data, key, dice = random.Random(9).randbytes(3 * MIB), new_key(), random.Random(10)
    volume.put(key, io.BytesIO(data))
    with volume.reader(key) as file:
        oracle = io.BytesIO(data)
        for _ in range(60):
            whence = dice.choice([io.SEEK_SET, io.SEEK_SET, io.SEEK_END])
            offset = dice.randrange(len(data)) * (-1 if whence == io.SEEK_END else 1)
            assert file.seek(offset, whence) == oracle.seek(offset, whence)
            for _ in range(dice.randrange(4)):
                size = dice.choice([1, 80, 2880, 70_000, 600_000])
                assert file.read(size) == oracle.read(size)
            assert file.tell() == oracle.tell()
        file.seek(0)
        assert file.read() == data
        file.seek(len(data) + 5)
        assert file.read(3) == b""


def test_what_is_not_there_is_said_to_be_missing(volume: Volume) -> None:
    key = new_key()
    assert not volume.exists(key) and not volume.delete(key)
    asked: list[Callable[[str], object]] = [volume.open, volume.reader, volume.size]
    for ask in asked:
        with pytest.raises(ObjectNotFound, match=key):
            ask(key)


def test_a_deleted_object_is_gone_and_its_key_can_be_used_again(volume: Volume) -> None:
    key = new_key()
    volume.put(key, io.BytesIO(b"first"))
    assert volume.delete(key) and not volume.exists(key) and listed(volume) == []
    volume.put(key, io.BytesIO(b"second"))
    assert read(volume, key) == b"second"


def test_nothing_is_ever_overwritten(volume: Volume) -> None:
    key = new_key()
    volume.put(key, io.BytesIO(b"first"))
    for body in (b"second", bytes(11 * MIB)):
        with pytest.raises(ObjectExists, match=key):
            volume.put(key, io.BytesIO(body))
    assert read(volume, key) == b"first"


def test_keys_are_listed_with_size_and_time_and_taken_up_again_after_any(volume: Volume) -> None:
    began = datetime.now(UTC) - timedelta(seconds=2)
    keys = ["a-b", "a/b", "a/b-c", "a/c/d", "a0", "ab/x", "B", "b.c", "z/Norder3/Dir0/Npix12.fits"]
    for key in keys:
        volume.put(key, io.BytesIO(key.encode()))
    entries = list(volume.keys())
    order = [entry.key for entry in entries]
    assert sorted(order) == sorted(keys)
    if isinstance(volume, PosixVolume):
        assert order == sorted(keys, key=str.encode)
    for entry in entries:
        assert entry.size_bytes == len(entry.key)
        assert began <= entry.modified <= datetime.now(UTC) + timedelta(seconds=2)
    assert sorted(listed(volume, "a/")) == ["a/b", "a/b-c", "a/c/d"]
    assert sorted(listed(volume, "a/b")) == ["a/b", "a/b-c"]
    assert listed(volume, "z/Nor") == ["z/Norder3/Dir0/Npix12.fits"]
    assert listed(volume, "nothing/") == []
    for place, after in enumerate(order):
        assert listed(volume, after=after) == order[place + 1 :], after
    assert listed(volume, after="0") == order and listed(volume, after="zz") == []


def test_more_keys_than_a_page_are_all_listed(volume: Volume) -> None:
    keys = [f"page/{number:05}" for number in range(1_100)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda key: volume.put(key, io.BytesIO(b"x")), keys))
    assert listed(volume, "page/") == keys


def test_new_keys_are_listed_in_the_order_of_their_bytes(volume: Volume) -> None:
    keys = [key for start in (new_key()[:9],) for key in (f"{start}/{new_key()[10:]}" for _ in range(20))]
    keys += [f"{number:05x}/{number:03x}/{new_key()[10:]}" for number in (1, 15, 16, 4095)]
    for key in keys:
        volume.put(key, io.BytesIO(b""))
    assert listed(volume) == sorted(keys, key=str.encode)


@pytest.mark.parametrize("size", [0, 1000, 3 * MIB, 12 * MIB])
def test_a_cut_off_put_leaves_nothing_visible(volume: Volume, size: int) -> None:
    key = new_key()
    with pytest.raises(ConnectionResetError, match="went away"):
        volume.put(key, Broken(size))
    assert not volume.exists(key) and listed(volume) == []
    assert volume.janitor(grace_s=0) == 0, "a put that failed while its process lives clears up after itself"
    volume.put(key, io.BytesIO(b"then it comes whole"))
    assert read(volume, key) == b"then it comes whole"


@pytest.mark.parametrize("size", [1_000, 12 * MIB])
def test_a_put_is_invisible_until_it_is_whole(volume: Volume, size: int) -> None:
    key, source = new_key(), Halting(random.Random(size).randbytes(size))
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(volume.put, key, source)
        try:
            assert source.halted.wait(60)
            assert not volume.exists(key) and listed(volume) == []
        finally:
            source.go_on.set()
        assert running.result(60).size_bytes == size
    assert listed(volume) == [key]


@pytest.mark.parametrize("size", [50_000, 6 * MIB])
def test_of_concurrent_puts_to_one_key_exactly_one_wins(volume: Volume, size: int) -> None:
    for round_ in range(2):
        key = new_key()
        contents = [random.Random(f"{round_}/{writer}").randbytes(size) for writer in range(6)]
        line = threading.Barrier(len(contents))

        def put(data: bytes, key: str = key, line: threading.Barrier = line) -> str:
            line.wait()
            try:
                return volume.put(key, io.BytesIO(data)).sha256
            except ObjectExists:
                return ""

        with ThreadPoolExecutor(len(contents)) as threads:
            answers = list(threads.map(put, contents))
        winners = [digest for digest in answers if digest]
        assert len(winners) == 1
        assert hashlib.sha256(read(volume, key)).hexdigest() == winners[0]


@pytest.mark.parametrize(
    "key",
    [
        "", "/", "/etc/passwd", "..", "../x", "a/../b", "a//b", "a/", "/a", ".hidden", "a/.b", "a/./b", "a\\b", "a\0b",
        "a\nb", "a\n", "a ", "é", "a%2Fb", "a?b", "a#b", "~", "a:b", "*", "x" * 201, "x" * 600,
        "/".join("abcdefghijklmnopq"),
    ],
)  # fmt: skip
def test_a_hostile_key_is_refused_by_everything(volume: Volume, key: str) -> None:
    asked: list[Callable[[], object]] = [
        lambda: volume.put(key, io.BytesIO(b"x")),
        lambda: volume.open(key),
        lambda: volume.reader(key),
        lambda: volume.size(key),
        lambda: volume.exists(key),
        lambda: volume.delete(key),
    ]
    for ask in asked:
        with pytest.raises(InvalidKey):
            ask()


def test_bytes_that_were_not_promised_are_not_kept(volume: Volume) -> None:
    data, key = b"the bytes", new_key()
    sha256, md5 = hashlib.sha256(data).hexdigest(), hashlib.md5(data).hexdigest()
    for wrong in (Expected(size_bytes=8), Expected(sha256="0" * 64), Expected(md5="0" * 32)):
        for body in (data, bytes(11 * MIB)):
            with pytest.raises(ChecksumMismatch):
                volume.put(key, io.BytesIO(body), expected=wrong)
    assert listed(volume) == []
    volume.put(key, io.BytesIO(data), expected=Expected(len(data), sha256.upper(), md5))
    assert read(volume, key) == data


def test_new_keys_differ_follow_the_grammar_and_the_clock(volume: Volume) -> None:
    keys = [new_key() for _ in range(1_000)]
    assert len(set(keys)) == 1_000
    time.sleep(0.003)
    assert new_key() > max(keys)
    volume.put(keys[0], io.BytesIO(b""))
    assert listed(volume) == keys[:1]


# The second is what ext4 has no room for beside a file, and S3 none among the metadata.
@pytest.mark.parametrize("label", [b'{"file_id": "\xc3\xa9"}', bytes(range(256)) * 40])
@pytest.mark.parametrize("size", [0, 70_000, 11 * MIB])
def test_a_label_lies_with_its_object_until_both_go(volume: Volume, label: bytes, size: int) -> None:
    data, key, told = random.Random(size).randbytes(size), new_key(), list[Stored]()

    def labelled(stored: Stored) -> bytes:
        assert not volume.exists(key), "its object is not visible yet"
        told.append(stored)
        return label

    stored = volume.put(key, io.BytesIO(data), label=labelled)
    assert told == [stored] and volume.label(key) == label
    assert listed(volume) == [key] and read(volume, key) == data
    for other in (b"another", label * 2, b"shorter"):
        volume.relabel(key, other)
        assert volume.label(key) == other
    assert listed(volume) == [key] and read(volume, key) == data
    assert volume.delete(key)
    for ask in (lambda: volume.label(key), lambda: volume.relabel(key, b"x")):
        with pytest.raises(ObjectNotFound):
            ask()
    volume.put(key, io.BytesIO(b"x"))
    assert volume.label(key) is None, "a label that was here before is not the new object's"
    assert volume.janitor(grace_s=0) == 0


@pytest.mark.parametrize("size", [0, 70_000, 11 * MIB])
def test_a_label_that_cannot_be_made_leaves_nothing(volume: Volume, size: int) -> None:
    key = new_key()

    def refuses(stored: Stored) -> bytes:
        raise RuntimeError("no number is left")

    with pytest.raises(RuntimeError, match="no number"):
        volume.put(key, io.BytesIO(bytes(size)), label=refuses)
    assert not volume.exists(key) and listed(volume) == [] and volume.janitor(grace_s=0) == 0
    volume.put(key, io.BytesIO(b"x"))
    assert volume.label(key) is None


def test_a_tombstone_stays_where_an_object_was_and_is_no_object(volume: Volume) -> None:
    keys = [new_key(), new_key()]
    for key in keys:
        volume.put(key, io.BytesIO(b"x"), label=lambda _: b"alive")
        assert volume.delete(key, tombstone=b"once")
        assert not volume.delete(key, tombstone=b"twice")
    assert dict(volume.tombstones()) == dict.fromkeys(keys, b"twice")
    assert listed(volume) == [] and not volume.exists(keys[0])


@pytest.fixture
def resident_bytes() -> Iterator[Callable[[], int]]:
    import psutil

    yield lambda: psutil.Process().memory_info().rss


@pytest.mark.parametrize(
    ("size", "sha256"),
    [
        (150_000_123, "663719b77afd28173c042c8b9b5e4c1b279941eacd969a8492cf28ebcf58eea3"),
        pytest.param(
            6_000_000_123,
            "a30afe49c05eb752300dba81cdbd84bd3d6df41c261c8763302501134a624544",
            marks=[pytest.mark.slow, pytest.mark.timeout(1800)],
        ),
    ],
    ids=["150 MB", "6 GB"],
)
def test_large_objects_go_in_and_out_in_constant_memory(
    volume: Volume, size: int, sha256: str, resident_bytes: Callable[[], int]
) -> None:
    """The digests are those of `head -c SIZE /dev/zero | sha256sum`."""
    key = new_key()
    before, highest = resident_bytes(), 0

    class Watched(Zeros):
        def read(self, size: int = -1, /) -> bytes:
            nonlocal highest
            highest = max(highest, resident_bytes())
            return super().read(size)

    stored = volume.put(key, Watched(size), size_hint=size)
    try:
        assert stored.size_bytes == volume.size(key) == size
        assert stored.sha256 == sha256
        assert read(volume, key, size - 5) == bytes(5)
        # beyond 4 GiB, where 32 bits end
        assert read(volume, key, size * 3 // 4, size * 3 // 4 + 4) == bytes(4)
        assert highest - before < 64 * MIB
    finally:
        volume.delete(key)


def test_errors_are_the_stores_own(volume: Volume) -> None:
    with pytest.raises(StorageError) as told:
        volume.size(new_key())
    assert volume.name in str(told.value)
