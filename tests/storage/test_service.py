"""Several volumes behind one face: who takes what, and what is said when one is gone."""

import hashlib
import io
import random
from pathlib import Path

import pytest

from storage.checksums import Expected
from storage.errors import ChecksumMismatch, ObjectNotFound, OutOfSpace, VolumeUnavailable
from storage.posix import PosixVolume
from storage.s3 import S3Volume
from storage.service import ObjectStore

FULL = 1 << 60


@pytest.fixture
def paths(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("first", "second"):
        PosixVolume(tmp_path / name, create=True)
    return tmp_path / "first", tmp_path / "second"


def volume(path: Path, reserve_bytes: int = 0) -> PosixVolume:
    return PosixVolume(path, path.name, reserve_bytes=reserve_bytes)


def dead(name: str) -> S3Volume:
    return S3Volume(
        name=name, endpoint_url="http://127.0.0.1:1", bucket="b", access_key="a", secret_key="s", attempts=1
    )


def test_the_first_volume_with_room_takes_the_object_and_any_reading_finds_it(paths: tuple[Path, Path]) -> None:
    data = random.Random(1).randbytes(100_000)
    store = ObjectStore([volume(paths[0], FULL), volume(paths[1])])
    stored = store.store(io.BytesIO(data))
    assert (stored.volume, stored.size_bytes) == ("second", 100_000)
    assert (stored.sha256, stored.md5) == (hashlib.sha256(data).hexdigest(), hashlib.md5(data).hexdigest())
    for name in (None, "second"):
        with store.open(stored.key, 5, 10, volume=name) as stream:
            assert stream.read() == data[5:10]
        with store.reader(stored.key, volume=name) as file:
            assert file.read() == data
        assert store.size(stored.key, volume=name) == 100_000 and store.exists(stored.key, volume=name)
    assert not store.exists(stored.key, volume="first")
    assert store.delete(stored.key) and not store.delete(stored.key)
    with pytest.raises(ObjectNotFound, match="none of the volumes first, second"):
        store.open(stored.key)


def test_a_volume_that_fails_in_mid_stream_is_passed_over_if_the_stream_can_go_back(paths: tuple[Path, Path]) -> None:
    data = random.Random(2).randbytes(70_000)
    store = ObjectStore([dead("gone"), volume(paths[0])])
    source = io.BytesIO(b"before" + data)
    source.seek(6)
    assert store.store(source).sha256 == hashlib.sha256(data).hexdigest()

    class OneWay:
        def __init__(self) -> None:
            self.source = io.BytesIO(data)

        def read(self, size: int, /) -> bytes:
            return self.source.read(size)

    with pytest.raises(VolumeUnavailable, match="gone"):
        store.store(OneWay())
    assert ObjectStore([volume(paths[0], FULL), volume(paths[1])]).store(OneWay()).volume == "second"


def test_without_room_anywhere_the_last_word_is_out_of_space(paths: tuple[Path, Path]) -> None:
    store = ObjectStore([volume(paths[0], FULL), volume(paths[1], FULL)])
    with pytest.raises(OutOfSpace, match="second"):
        store.store(io.BytesIO(b"x"))


def test_wrong_bytes_are_wrong_on_every_volume(paths: tuple[Path, Path]) -> None:
    store = ObjectStore([volume(paths[0]), volume(paths[1])])
    with pytest.raises(ChecksumMismatch):
        store.store(io.BytesIO(b"x"), expected=Expected(md5="0" * 32))
    assert [list(each.keys()) for each in store.volumes] == [[], []]


def test_an_object_that_may_lie_on_an_unreachable_volume_is_not_said_to_be_missing(paths: tuple[Path, Path]) -> None:
    store = ObjectStore([dead("gone"), volume(paths[0])])
    stored = store.store(io.BytesIO(b"here"))
    with store.open(stored.key) as stream:
        assert stream.read() == b"here"
    with pytest.raises(VolumeUnavailable):
        store.exists("not/here")


def test_a_store_wants_volumes_and_different_names(paths: tuple[Path, Path]) -> None:
    for volumes in ([], [volume(paths[0]), volume(paths[0])]):
        with pytest.raises(ValueError, match="names of their own"):
            ObjectStore(volumes)
    with pytest.raises(VolumeUnavailable, match="no volume 'x'"):
        ObjectStore([volume(paths[0])]).open("a", volume="x")
