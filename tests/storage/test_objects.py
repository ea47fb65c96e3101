"""The service of files: versions, copies, checks, and what is said when something is wrong. Oracles: hashlib, bytes."""

import hashlib
import io
import random
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import OperationalError

from storage import catalogue, feed, filing, sessions
from storage.checksums import CRC_BLOCK_BYTES, Expected
from storage.errors import (
    CatalogueUnavailable,
    ChecksumMismatch,
    ContainerNotEmpty,
    ContainerNotFound,
    CopyNeeded,
    InvalidFileId,
    InvalidRange,
    NoSoundCopy,
    ObjectNotFound,
    OutOfSpace,
    ReadFailed,
    VolumeUnavailable,
)
from storage.labels import Label
from storage.model import Copy, check_file_id
from storage.objects import ObjectService
from storage.posix import PosixVolume
from storage.scrub import scrub
from storage.service import ObjectStore
from storage.volume import ObjectStream
from tests.served import wait_until
from tests.storage import disks
from tests.storage.disks import content, put

pytestmark = pytest.mark.parametrize("postgres", ["embedded"], indirect=True)
MIB = 1 << 20
BLOCK = CRC_BLOCK_BYTES
FULL = 1 << 60

Make = Callable[..., ObjectService]


@pytest.fixture
def make(writer: Engine, tmp_path: Path) -> Make:
    """A service on posix volumes of these names, each made when it is first named."""

    def made(*names: str, full: str = "", copies: int = 1, engine: Engine = writer) -> ObjectService:
        volumes = [
            PosixVolume(tmp_path / name, name, create=True, reserve_bytes=FULL if name == full else 0)
            for name in names or ("one",)
        ]
        return ObjectService(ObjectStore(volumes), engine, copies=copies)

    return made


def file_of(service: ObjectService, copy: Copy) -> Path:
    return disks.file_of(service, copy.volume, copy.key)


def flip(service: ObjectService, copy: Copy, at: int) -> None:
    disks.flip(file_of(service, copy), at)


def kept(service: ObjectService) -> int:
    return sum(len(list(volume.keys())) for volume in service.store.volumes)


def events(service: ObjectService) -> list[tuple[str, str | None, int | None]]:
    with service.engine.begin() as connection:
        return [(each.kind, each.file_id, each.version) for each in feed.read_events(connection)]


def test_a_version_has_its_digests_its_label_and_its_event(make: Make) -> None:
    service, data = make(), random.Random(1).randbytes(100_000)
    written = service.put("ESO/2026/a file.fits", io.BytesIO(data), media_type="image/fits")
    version = written.version
    assert (written.outcome, version.version, version.size_bytes) == ("created", 1, len(data))
    assert version.sha256 == hashlib.sha256(data).hexdigest() and version.md5 == hashlib.md5(data).hexdigest()
    assert content(service, "ESO/2026/a file.fits") == data
    assert service.stat("ESO/2026/a file.fits") == version
    (copy,) = version.copies
    label = service.store.volume("one").label(copy.key)
    assert label is not None and Label.read(label) == Label.of(version)
    assert events(service) == [("archived", "ESO/2026/a file.fits", 1)]


def test_crc32c_is_that_of_the_standard(make: Make) -> None:
    """RFC 3720, B.4: 32 bytes of zeroes, of ones, and counting up; "123456789" of the catalogue of CRCs."""
    known = {bytes(32): "8a9136aa", b"\xff" * 32: "62a8ab43", bytes(range(32)): "46dd794e", b"123456789": "e3069283"}
    service = make()
    assert {data: put(service, "crc", data).crc32c for data in known} == known


def test_other_bytes_make_the_next_version_and_the_same_ones_make_none(make: Make) -> None:
    service = make()
    assert [put(service, "f", data).version for data in (b"a", b"b", b"b", b"a")] == [1, 2, 2, 3]
    assert service.put("f", io.BytesIO(b"a")).outcome == "unchanged"
    assert [content(service, "f", number) for number in (None, 1, 2, 3)] == [b"a", b"a", b"b", b"a"]
    assert [each.version for each in service.versions("f")] == [3, 2, 1]
    assert kept(service) == 3


@pytest.mark.fault
def test_eight_writers_of_one_file_at_once_lose_nothing(make: Make) -> None:
    """Ten rounds: 80 acknowledged, versions 1 to 8 of each, every content there once."""
    service, line = make(), threading.Barrier(8)

    def archive(writer: int) -> list[tuple[str, int, bytes]]:
        told = []
        for round_ in range(10):
            data = f"round {round_} writer {writer}".encode() * 50
            line.wait()
            told.append((f"round {round_}", put(service, f"round {round_}", data).version, data))
        return told

    with ThreadPoolExecutor(8) as threads:
        told = [each for answers in threads.map(archive, range(8)) for each in answers]
    assert len(told) == 80
    assert {(file_id, version) for file_id, version, _ in told} == {
        (f"round {round_}", version) for round_ in range(10) for version in range(1, 9)
    }
    assert all(content(service, file_id, version) == data for file_id, version, data in told)


@pytest.mark.fault
def test_eight_files_of_one_name_at_once_are_eight_contents(make: Make) -> None:
    service = make()
    names = [f"night {number}/image.fits" for number in range(8)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda name: put(service, name, name.encode() * 1000), names))
    assert [content(service, name) for name in names] == [name.encode() * 1000 for name in names]
    assert {service.stat(name).version for name in names} == {1}


def test_the_same_bytes_from_eight_at_once_are_one_version(make: Make) -> None:
    service = make()
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: service.put("same", io.BytesIO(b"same")), range(8)))
    assert sorted(answer.outcome for answer in answers) == ["created", *["unchanged"] * 7]
    assert kept(service) == 1


class Broken(io.RawIOBase):
    def readinto(self, buffer: object) -> int:
        raise ConnectionResetError("the sender went away")


def test_puts_that_fail_leave_neither_bytes_nor_gaps_in_the_numbers(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = make()
    with pytest.raises(ConnectionResetError):
        service.put("f", Broken())
    with pytest.raises(ChecksumMismatch):
        put(service, "f", b"a", expected=Expected(md5="0" * 32))
    with pytest.raises(ChecksumMismatch):
        put(service, "f", b"a", expected=Expected(crc32c="00000000"))
    with pytest.raises(ContainerNotFound):
        put(service, "f", b"a", container_id=4711)
    with monkeypatch.context() as broken:  # the number is taken, and then the rows cannot be written
        broken.setattr(catalogue, "further_copies", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            put(service, "f", b"a")
    assert kept(service) == 0 and events(service) == [] and service.versions("f") == []
    assert [put(service, "f", data).version for data in (b"a", b"b")] == [1, 2]


def test_a_burst_of_puts_leaves_the_catalogue_to_others(make: Make, writer: Engine) -> None:
    """What is kept at hand between puts is never more than the pool keeps, and who waits is told, not left waiting."""
    small = create_engine(writer.url, pool_size=1, max_overflow=1, pool_timeout=20)
    service = make(engine=small)
    with ThreadPoolExecutor(12) as threads:
        list(threads.map(lambda number: put(service, str(number), b"bytes"), range(60)))
    assert service.volumes() == {} and len(list(service.files())) == 60 and service.remove("7").version == 1


def test_a_version_is_where_its_file_was_placed_while_it_came(make: Make, writer: Engine) -> None:
    service = make()
    put(service, "f", b"1")
    container = service.create_container("night").container_id
    with ThreadPoolExecutor(1) as threads:
        with writer.begin() as connection:
            catalogue.lock_file(connection, "f")
            coming = threads.submit(put, service, "f", b"2")
            with writer.connect() as other:
                waits = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
                wait_until(lambda: other.scalar(waits) == 1)
            catalogue.place(connection, "f", container)
        coming.result(30)
    assert [version.container_id for version in service.versions("f")] == [container, container]


def test_a_catalogue_that_is_away_is_said_to_be_and_nothing_is_kept(make: Make) -> None:
    service = make()
    put(service, "f", b"bytes")
    away = make(engine=create_engine("postgresql+psycopg://u@127.0.0.1:1/d", connect_args={"connect_timeout": 2}))
    asked: list[Callable[[], object]] = [
        lambda: put(away, "f", b"other"), lambda: away.stat("f"), lambda: list(away.files()), away.volumes
    ]  # fmt: skip
    for ask in asked:
        with pytest.raises(CatalogueUnavailable, match="try again"):
            ask()
    assert kept(service) == 1


def test_where_the_answer_to_the_commit_is_lost_the_bytes_stay(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    service, commit = make(), sessions.commit

    def loses(connection: Connection) -> None:
        commit(connection)
        raise OperationalError("COMMIT", {}, Exception("the server closed the connection"))

    with monkeypatch.context() as broken:
        broken.setattr(filing, "commit", loses)
        with pytest.raises(CatalogueUnavailable):
            put(service, "f", b"bytes")
    assert content(service, "f") == b"bytes"
    assert service.put("f", io.BytesIO(b"bytes")).outcome == "unchanged", "as whoever sends it again finds out"


def test_a_reader_that_is_overtaken_by_a_removal_reports_no_fault(make: Make) -> None:
    service = make()
    held = put(service, "f", b"bytes")
    service.remove("f")
    with pytest.raises(NoSoundCopy):
        service.read(held)
    assert [kind for kind, *_ in events(service)] == ["archived", "removed"]


def test_what_is_removed_leaves_its_number_and_a_tombstone(make: Make) -> None:
    service = make("one", "two", copies=2)
    for data in (b"a", b"b"):
        put(service, "f", data)
    gone = service.remove("f")
    assert gone.version == 2 and gone.removed is not None
    assert content(service, "f") == b"a"
    for ask in (lambda: service.open("f", 2), lambda: service.remove("f", 2), lambda: service.stat("f", 3)):
        with pytest.raises(ObjectNotFound, match="f version"):
            ask()
    assert kept(service) == 2, "one object on two volumes"
    for volume in service.store.volumes:
        ((_, tombstone),) = volume.tombstones()
        assert Label.read(tombstone) == Label.of(gone)
    # Not even the same bytes come back under the old number.
    assert put(service, "f", b"b").version == 3
    service.remove("f", 1), service.remove("f")
    with pytest.raises(ObjectNotFound):
        service.stat("f")
    assert put(service, "f", b"a").version == 4
    assert [kind for kind, *_ in events(service)].count("removed") == 3


def test_an_object_lies_on_as_many_volumes_as_promised_before_it_is_acknowledged(make: Make) -> None:
    service = make("one", "two", "three", copies=2)
    version = put(service, "f", bytes(3 * MIB))
    assert [copy.volume for copy in version.copies] == ["one", "two"]
    assert {file_of(service, copy).read_bytes() for copy in version.copies} == {bytes(3 * MIB)}
    assert [copy.volume for copy in put(make("one", "two", "three", full="two", copies=2), "g", b"x").copies] == [
        "one",
        "three",
    ]
    with pytest.raises(OutOfSpace, match="want room on 2 of the volumes, and 1 have it: two has 0 bytes free"):
        put(make("one", "two", full="two", copies=2), "h", b"x")
    with pytest.raises(ObjectNotFound):
        service.stat("h")


def test_a_volume_that_does_not_give_back_what_it_took_is_no_fault_of_the_sender(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, sound = make("one", "two", copies=2), PosixVolume.open

    def cuts(volume: PosixVolume, key: str, start: int = 0, stop: int | None = None) -> ObjectStream:
        return sound(volume, key, start, 3)

    monkeypatch.setattr(PosixVolume, "open", cuts)
    with pytest.raises(VolumeUnavailable, match="volume one does not give back"):
        put(service, "f", b"bytes")
    assert kept(service) == 0 and service.versions("f") == []


def test_volumes_are_chosen_by_state_site_class_and_watermark(make: Make) -> None:
    service = make("far", "near", "cache")
    service.register("far", site="elsewhere")
    service.register("near", storage_class="nearline")
    service.register("cache", storage_class="cache")

    def taken(**options: object) -> str:
        taken.number += 1  # type: ignore[attr-defined]
        return put(service, f"f{taken.number}", b"x", **options).copies[0].volume  # type: ignore[attr-defined]

    taken.number = 0  # type: ignore[attr-defined]
    assert (taken(), taken(storage_class="online"), taken(storage_class="cache")) == ("near", "far", "cache")
    assert service.set_volume_state("near", "readonly", "full soon")
    assert not service.set_volume_state("near", "readonly")
    assert taken() == "far"
    assert content(service, "f1") == b"x"
    service.register("far", site="elsewhere", watermark_bytes=1 << 60)
    with pytest.raises(OutOfSpace, match="left alone"):
        taken()
    service.set_volume_state("near", "offline")
    with pytest.raises(NoSoundCopy):
        content(service, "f1")
    assert service.volumes()["near"].state == "offline"
    service.register("near", storage_class="nearline")
    assert service.volumes()["near"].state == "offline", "a state outlives a restart"
    assert [kind for kind, *_ in events(service)].count("volume") == 2


@pytest.mark.parametrize("size", [0, 1, 5_000, 3 * MIB])
def test_ranges_are_those_of_the_bytes(make: Make, size: int) -> None:
    service, data = make(), random.Random(size).randbytes(size)
    put(service, "f", data)
    for start, stop in ((0, None), (0, size), (size // 3, size // 2), (size, None), (size // 2, 10 * size)):
        with service.open("f", start=start, stop=stop) as stream:
            assert stream.read(7) + stream.read(0) + stream.read() == data[start:stop]
            assert stream.version.size_bytes == size
    with pytest.raises(InvalidRange):
        service.open("f", start=size + 1)


@pytest.mark.parametrize("at", [0, 1_000_000, 3 * MIB - 1])
def test_a_flipped_bit_is_never_served_and_the_sound_copy_goes_on_for_it(make: Make, at: int) -> None:
    service, data = make("one", "two", copies=2), random.Random(7).randbytes(3 * MIB)
    version = put(service, "f", data)
    flip(service, version.copies[0], at)
    with service.open("f") as stream:
        got = bytearray()
        try:
            for block in stream:
                got += block
        except ReadFailed:
            # The flipped bit was on its way when it was found: the connection breaks.
            assert len(got) < len(data) and at < len(got)
        else:
            assert got == data
    assert content(service, "f") == data, "and from now on the sound copy is the first"
    assert [copy.state for copy in service.stat("f").copies] == ["corrupt", "ok"]
    assert events(service)[-1] == ("corrupted", "f", 1)
    flip(service, version.copies[1], at)
    with pytest.raises(ReadFailed):
        content(service, "f")
    with pytest.raises(NoSoundCopy):
        service.open("f")
    # The right bytes, sent again, are its bytes again.
    repaired = service.put("f", io.BytesIO(data))
    assert (repaired.outcome, repaired.version.version) == ("repaired", 1)
    assert content(service, "f") == data
    assert kept(service) == 2


def test_a_small_corrupt_object_is_refused_before_a_byte_is_sent(make: Make) -> None:
    service = make()
    version = put(service, "f", b"x" * 1000)
    flip(service, version.copies[0], 500)
    with pytest.raises(NoSoundCopy, match="wrong checksum"):
        service.open("f")


def test_no_part_has_a_wrong_byte_whatever_bit_is_flipped(make: Make) -> None:
    service = make("one", "two", copies=2)

    @settings(max_examples=40, deadline=None)
    @given(size=st.integers(1, 4 * BLOCK), draw=st.data())
    def holds(size: int, draw: st.DataObject) -> None:
        data = random.Random(size).randbytes(size)
        near = [at for at in (0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, size - 1) if at < size]
        places = st.sampled_from(near) | st.integers(0, size - 1)
        at, start = draw.draw(places, "flipped"), draw.draw(places, "start")
        stop = draw.draw(st.integers(start + 1, size), "stop")
        version = put(service, f"{uuid.uuid4()}", data)
        flip(service, version.copies[0], at)
        with service.open(version.file_id, start=start, stop=stop) as stream:
            assert stream.read() == data[start:stop]
        states = [copy.state for copy in service.stat(version.file_id).copies]
        touched = start // BLOCK <= at // BLOCK <= (stop - 1) // BLOCK
        assert states == ["corrupt" if touched else "ok", "ok"]

    holds()


def test_a_part_of_a_corrupt_block_alone_is_refused_and_the_others_are_served(make: Make) -> None:
    service, data = make(), random.Random(2).randbytes(3 * MIB)
    version = put(service, "f", data)
    flip(service, version.copies[0], MIB + 5)
    with service.open("f", start=2 * MIB, stop=2 * MIB + 10) as stream:
        assert stream.read() == data[2 * MIB : 2 * MIB + 10]
    # What was sent before it is right; then it breaks off.
    with service.open("f", start=10, stop=2 * MIB) as stream:
        assert stream.read(1000) == data[10:1010]
        with pytest.raises(NoSoundCopy, match="other bytes behind byte 1048576"):
            stream.read()
    with pytest.raises(NoSoundCopy):
        service.open("f", start=MIB + 100, stop=MIB + 101)


def test_blocks_without_checksums_get_them_when_they_are_read_again(make: Make) -> None:
    service, data = make("one", "two", copies=2), random.Random(3).randbytes(MIB)
    service.register("one"), service.register("two")
    version = put(service, "f", data)
    with service.engine.begin() as connection:
        connection.execute(text("DELETE FROM store.block"))
    with service.open("f", start=5, stop=600_000) as stream:
        assert stream.read() == data[5:600_000], "as it is read"
    assert list(scrub(service, cycle_s=0, again=True)) == []
    with service.engine.begin() as connection:
        connection.execute(text("UPDATE store.block SET crc32c = overlay(crc32c PLACING '\\x00000000' FROM 5 FOR 4)"))
    assert list(scrub(service, cycle_s=0, again=True)) == [], "and right ones in the place of wrong ones"
    flip(service, version.copies[0], 599_999)
    with service.open("f", start=5, stop=600_000) as stream:
        assert stream.read() == data[5:600_000]
    assert [copy.state for copy in service.stat("f").copies] == ["corrupt", "ok"]


def test_checksums_of_blocks_go_with_the_bytes(make: Make) -> None:
    service, data = make(), random.Random(4).randbytes(MIB)
    version = put(service, "f", data)
    rows = text("SELECT length(crc32c) FROM store.block")
    with service.engine.connect() as connection:
        assert connection.scalars(rows).all() == [16]
    service.remove("f")
    with service.engine.begin() as connection:
        assert connection.scalars(rows).all() == []
        catalogue.note_blocks(connection, version.object_id, b"late")  # scrub, that had been reading it
        catalogue.note_blocks(connection, version.object_id + 1, b"none")
        assert connection.scalars(rows).all() == []


def test_an_object_older_than_crc32c_is_verified_too(make: Make) -> None:
    service = make()
    with service.engine.begin() as connection:
        stored = service.store.store(io.BytesIO(b"x" * 1000))
        catalogue.add_object(connection, catalogue.replace(stored, crc32c=None), file_id="old")
    assert content(service, "old") == b"x" * 1000
    flip(service, service.stat("old").copies[0], 500)
    with pytest.raises(NoSoundCopy, match="wrong checksum"):
        service.open("old")


@pytest.mark.parametrize("whole", [True, False])
def test_a_read_that_breaks_off_goes_on_from_the_next_copy_at_the_same_byte(
    make: Make, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    service, data = make("one", "two", copies=2), random.Random(9).randbytes(3 * MIB)
    put(service, "f", data)
    sound = PosixVolume.open

    def breaks(volume: PosixVolume, key: str, start: int = 0, stop: int | None = None) -> ObjectStream:
        stream = sound(volume, key, start, stop)
        fetch, left = stream._fetch, [2]

        def fetch_some(size: int) -> bytes:
            left[0] -= 1
            return fetch(size) if left[0] >= 0 or volume.name == "two" else b""

        stream._fetch = fetch_some
        return stream

    monkeypatch.setattr(PosixVolume, "open", breaks)
    with service.open("f", start=0 if whole else 5) as stream:
        assert b"".join(stream) == data[0 if whole else 5 :]
        assert stream.copy is not None and stream.copy.volume == "two"


def test_missing_and_short_copies_are_passed_over_and_marked(make: Make) -> None:
    service = make("one", "two", "three", copies=3)
    version = put(service, "f", b"x" * 1000)
    file_of(service, version.copies[0]).unlink()
    file = file_of(service, version.copies[1])
    file.write_bytes(b"x" * 999)
    with service.open("f", start=10, stop=20) as stream:
        assert stream.read() == b"x" * 10
    assert {copy.volume: copy.state for copy in service.stat("f").copies} == {
        "one": "missing", "two": "corrupt", "three": "ok",
    }  # fmt: skip
    for name in ("one", "two"):
        assert service.add_copy("f", None, name).copies
    service.set_volume_state("three", "offline")
    assert {copy.state for copy in service.stat("f").copies} == {"ok"}
    assert content(service, "f") == b"x" * 1000
    assert {copy.key for copy in service.stat("f").copies} == {version.copies[0].key}, "callers know it by its key"
    with service.open_key(version.copies[0].key) as stream:
        assert stream.read() == b"x" * 1000
    assert kept(service) == 3


def test_a_copy_is_given_up_only_while_enough_sound_ones_are_left(make: Make) -> None:
    service = make("one", "two", "three", copies=2)
    put(service, "f", b"bytes")
    assert [copy.volume for copy in service.add_copy("f", None, "three").copies] == ["one", "two", "three"]
    service.drop_copy("f", None, "one", keep=2)
    with pytest.raises(CopyNeeded):
        service.drop_copy("f", None, "two", keep=2)
    with pytest.raises(ObjectNotFound):
        service.drop_copy("f", None, "one")
    assert content(service, "f") == b"bytes" and kept(service) == 2
    assert [kind for kind, *_ in events(service)] == ["archived", "replicated", "replicated", "removed"]


def test_a_volume_that_is_away_keeps_its_part_of_a_removal_for_later(make: Make, tmp_path: Path) -> None:
    service = make("one", "two", copies=2)
    put(service, "f", b"bytes")
    (tmp_path / "two").rename(tmp_path / "unplugged")
    gone = service.remove("f")
    (tmp_path / "unplugged").rename(tmp_path / "two")
    assert kept(service) == 1
    service.finish_removal(gone)
    assert kept(service) == 0


def test_files_are_listed_by_prefix_in_the_order_of_their_bytes(make: Make) -> None:
    service = make()
    names = ["a", "a/b", "a/c%d", "a/c_d", "a-b", "B", "b", "ä", "\U0010ffff", "a/\U0010ffff\U0010ffff"]
    for name in names:
        for version in ("1", "2"):
            put(service, name, (name + version).encode())
    service.remove("a/b")
    service.remove("b"), service.remove("b")
    ordered = sorted(set(names) - {"b"}, key=str.encode)
    found = list(service.files())
    assert [each.file_id for each in found] == ordered
    assert {each.file_id: each.version for each in found} == {name: 1 if name == "a/b" else 2 for name in ordered}
    for prefix in ("a", "a/", "a/c%", "A", "ä", "\U0010ffff", "a/\U0010ffff"):
        wanted = [name for name in ordered if name.startswith(prefix)]
        assert [each.file_id for each in service.files(prefix)] == wanted, prefix
    for place, after in enumerate(ordered):
        assert [each.file_id for each in service.files(after=after, limit=2)] == ordered[place + 1 : place + 3]
    assert len(list(service.files(every=True))) == 2 * len(names)


def test_containers_are_a_tree_and_a_file_is_in_one_of_them_with_all_its_versions(make: Make) -> None:
    service = make()
    run = service.create_container("run")
    night = service.create_container("night", run.container_id)
    assert service.containers() == [run] and service.containers(parent_id=run.container_id) == [night]
    assert service.containers(name="night") == [night] and service.container(night.container_id) == night
    put(service, "f", b"1", container_id=night.container_id)
    assert put(service, "f", b"2").container_id == night.container_id, "where its file is"
    put(service, "g", b"g")
    service.place("g", night.container_id)
    assert [each.file_id for each in service.files(container_id=night.container_id)] == ["f", "g"]
    label = service.store.volume("one").label(service.stat("g").copies[0].key)
    assert label is not None
    assert Label.read(label).container == ((run.container_id, "run"), (night.container_id, "night"))
    for full in (run, night):
        with pytest.raises(ContainerNotEmpty):
            service.remove_container(full.container_id)
    service.remove("f", 1)
    service.place("g", None), service.place("f", run.container_id)
    service.remove_container(night.container_id)
    with pytest.raises(ContainerNotFound):
        service.place("g", night.container_id)
    assert [each.container_id for each in service.versions("f")] == [run.container_id, None]
    put(service, "f", b"3"), service.remove("f")
    assert put(service, "f", b"4").container_id == run.container_id
    other = service.create_container("other")
    put(service, "f", b"5", container_id=other.container_id)
    assert list(service.files(container_id=run.container_id)) == []
    assert [each.file_id for each in service.files(container_id=other.container_id)] == ["f"]


def test_a_stream_that_cannot_go_back_is_refused_cleanly_when_its_volume_is_gone(make: Make, tmp_path: Path) -> None:
    service, source = make("one", "two"), io.BytesIO(bytes(MIB))

    class OneWay:
        def read(self, size: int, /) -> bytes:
            (tmp_path / "one" / "volume.json").unlink(missing_ok=True)
            (tmp_path / "one" / "objects").rename(tmp_path / "away") if not (tmp_path / "away").exists() else None
            return source.read(size)

    with pytest.raises(VolumeUnavailable):
        service.put("f", OneWay())
    assert service.put("f", io.BytesIO(b"x")).version.copies[0].volume == "two"


letters = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=256)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(file_id=letters | letters.map(lambda text: f"/../{text}//%2F{text}/"), data=st.binary(max_size=100))
def test_any_text_of_up_to_1024_bytes_without_control_characters_is_a_file_id(
    make: Make, file_id: str, data: bytes
) -> None:
    service = make()
    while len(file_id.encode()) > 1_024:
        file_id = file_id[: len(file_id) // 2]
    version = put(service, file_id, data).version
    assert content(service, file_id, version) == data
    assert [each.file_id for each in service.files(file_id) if each.file_id == file_id] == [file_id]
    assert file_id in [each.file_id for each in service.files(file_id[: len(file_id) // 2])]


@pytest.mark.parametrize("file_id", ["", "a\0b", "a\nb", "a\x7f", "a\x85b", "x" * 1_025, "é" * 513, "a\ud800"])
def test_what_is_no_file_id_is_refused_with_a_reason(postgres: object, file_id: str) -> None:
    with pytest.raises(InvalidFileId, match="a file_id"):
        check_file_id(file_id)
