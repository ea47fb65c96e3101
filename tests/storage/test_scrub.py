"""What is there against what should be: reading all copies again, and comparing volumes with the catalogue."""

import io
import os
import random
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine, text, update

from storage import catalogue, feed, rounds
from storage.errors import NoSoundCopy, VolumeUnavailable
from storage.findings import Finding, Pace
from storage.labels import Label
from storage.objects import ObjectService
from storage.posix import PosixVolume
from storage.reconcile import reconcile
from storage.scrub import scrub
from storage.service import StoredObject
from storage.tables import copy, stored_object
from tests.storage.disks import age, content, copies_of, file_of, flip, put, service_on

pytestmark = pytest.mark.parametrize("postgres", ["embedded"], indirect=True)
HOUR_S = 3600.0


@pytest.fixture
def service(writer: Engine, tmp_path: Path) -> ObjectService:
    return service_on(writer, tmp_path, "one")


def lay(
    service: ObjectService, data: bytes, *, key: str | None = None, row: bool = True, age_s: float = 0
) -> StoredObject:
    """Bytes as the archive's own rooms lay them: by key, the row, if any, afterwards."""
    stored = service.store.store(io.BytesIO(data), key=key)
    if row:
        with service.engine.begin() as connection:
            catalogue.add_object(connection, stored)
    age(file_of(service, stored.volume, stored.key), age_s)
    return stored


def told(findings: Iterable[Finding]) -> dict[str, str]:
    return {finding.key: finding.kind for finding in findings}


def test_a_store_in_order_gives_no_findings(service: ObjectService) -> None:
    for size in (0, 10, 3_000_000):
        put(service, f"file {size}", random.Random(size).randbytes(size))
        lay(service, random.Random(size).randbytes(size), age_s=2 * HOUR_S)
    # Order of listing and of the database's own sorting may differ on these.
    for key in ("a-b", "a/b", "a0", "B", "a.b", "z_z"):
        lay(service, b"x", key=key, age_s=2 * HOUR_S)
    assert told(reconcile(service, grace_s=HOUR_S, delete=True)) == {}
    assert told(scrub(service, cycle_s=0)) == {}


def test_each_fault_is_found_named_and_what_is_wrong_is_served_no_more(service: ObjectService) -> None:
    sound, gone, flipped, cut = (put(service, f"f{n}", bytes([n]) * 2_000_000) for n in range(4))
    keys = [each.copies[0].key for each in (sound, gone, flipped, cut)]
    orphan = lay(service, b"orphan", row=False, age_s=2 * HOUR_S)
    file_of(service, "one", keys[1]).unlink()
    flip(file_of(service, "one", keys[2]), 1_234_567)
    os.truncate(file_of(service, "one", keys[3]), 1_999_999)
    findings = list(reconcile(service, grace_s=HOUR_S))
    assert told(findings) == {keys[1]: "row_without_object", keys[3]: "wrong_size", orphan.key: "object_without_row"}
    assert not any(finding.done for finding in findings) and service.store.exists(orphan.key)
    (corrupt,) = scrub(service, cycle_s=0)
    assert (corrupt.kind, corrupt.key, corrupt.file_id) == ("corrupt", keys[2], "f2")
    assert flipped.sha256 in corrupt.text and corrupt.is_open
    for name in ("f1", "f2", "f3"):
        with pytest.raises(NoSoundCopy):
            service.open(name)
    assert content(service, "f0") == bytes(2_000_000)
    assert list(scrub(service, cycle_s=0)) == [], "each is told once"


def test_what_is_wrong_is_repaired_out_of_a_sound_copy(writer: Engine, tmp_path: Path) -> None:
    service = service_on(writer, tmp_path, "one", "two", copies=2)
    for number in range(3):
        put(service, f"f{number}", bytes([number]) * 100_000)
    first, second, third = (service.stat(f"f{number}").copies for number in range(3))
    flip(file_of(service, "one", first[0].key), 5)
    file_of(service, "two", second[1].key).unlink()
    a, b = file_of(service, "one", second[0].key), file_of(service, "one", third[0].key)
    a.write_bytes(bytes([2]) * 100_000)  # two files that changed places
    b.write_bytes(bytes([1]) * 100_000)
    findings = list(scrub(service, cycle_s=0))
    assert sorted((f.kind, f.volume, str(f.file_id), f.done) for f in findings if f.file_id != "f1") == [
        ("corrupt", "one", "f0", "repaired"),
        ("corrupt", "one", "f2", "repaired"),
    ]
    # Nothing is left of f1: the one is found by scrub, the other when it is to repair that.
    assert [(f.kind, f.done) for f in findings if f.file_id == "f1"] == [("corrupt", "")]
    assert copies_of(service, "f1") == {"one": "corrupt", "two": "missing"}
    for number in (0, 2):
        assert content(service, f"f{number}") == bytes([number]) * 100_000
        assert copies_of(service, f"f{number}") == {"one": "ok", "two": "ok"}
        for one in service.stat(f"f{number}").copies:
            assert file_of(service, one.volume, one.key).read_bytes() == bytes([number]) * 100_000
    with pytest.raises(NoSoundCopy):
        service.open("f1")
    with service.engine.begin() as connection:
        kinds = [event.kind for event in feed.read_events(connection)]
    assert kinds.count("corrupted") == 4 and kinds.count("repaired") == 2


def test_the_longest_unread_are_read_first_and_none_before_its_time(service: ObjectService) -> None:
    ids = [put(service, f"f{number}", b"x" * 100).object_id for number in range(6)]
    with service.engine.begin() as connection:
        for number, object_id in enumerate(ids[:4]):
            verified = text(f"now() - interval '{10 * (number + 1)} days'")
            connection.execute(update(copy).where(copy.c.object_id == object_id).values(verified=verified))
        before = rounds.now(connection)
        due = [each.file_id for each in rounds.due_copies(connection, "one", before, 10)]
    assert set(due[:2]) == {"f4", "f5"} and due[2:] == ["f3", "f2", "f1", "f0"]
    assert list(scrub(service, cycle_s=25 * 86_400, pace=(pace := Pace()))) == [] and pace.objects == 4
    assert list(scrub(service, cycle_s=25 * 86_400, pace=(pace := Pace()))) == [] and pace.objects == 0
    assert list(scrub(service, cycle_s=25 * 86_400, again=True, pace=(pace := Pace()))) == [] and pace.objects == 6


def test_scrub_reads_no_faster_than_asked_waits_under_load_and_stops_in_the_middle(service: ObjectService) -> None:
    put(service, "large", bytes(6 << 20))
    began = time.monotonic()
    assert list(scrub(service, cycle_s=0, pace=Pace(rate_bytes_s=8 << 20))) == []
    assert time.monotonic() - began > 0.5  # 6 MiB at 8 MiB/s; never less, however fast the machine
    calls = iter([True, True, False])
    assert list(scrub(service, cycle_s=0, again=True, pace=(pace := Pace(is_busy=lambda: next(calls, False))))) == []
    assert pace.ran_s > 0.25 and next(calls, None) is None
    asked = iter([False] * 8)
    pace = Pace(stopped=lambda: next(asked, True))
    assert list(scrub(service, cycle_s=0, again=True, pace=pace)) == []
    assert 0 < pace.size_bytes < 6 << 20
    assert list(scrub(service, cycle_s=0, again=True, pace=Pace(run_s=0))) == []


def test_what_is_older_than_labels_and_crc_gets_both_when_it_is_verified(service: ObjectService) -> None:
    version = put(service, "old", b"from before")
    (held,) = version.copies
    path = file_of(service, "one", held.key)
    os.removexattr(path, "user.uraniborg")
    with service.engine.begin() as connection:
        connection.execute(update(stored_object).values(crc32c=None))
    assert list(scrub(service, cycle_s=0)) == []
    assert service.stat("old").crc32c == version.crc32c
    label = service.store.volume("one").label(held.key)
    assert label is not None and Label.read(label) == Label.of(version)
    other = put(service, "other", b"of another")
    service.store.label(held.key, Label.of(other).write(), volume="one")
    (finding,) = scrub(service, cycle_s=0, again=True)
    assert (finding.kind, finding.done, finding.file_id) == ("wrong_label", "repaired", "old")
    label = service.store.volume("one").label(held.key)
    assert label is not None and Label.read(label) == Label.of(version)


def test_a_volume_that_is_away_is_one_finding_and_condemns_nothing(writer: Engine, tmp_path: Path) -> None:
    service = service_on(writer, tmp_path, "one", "two", copies=2)
    for number in range(5):
        put(service, f"f{number}", b"x" * 1000)
    (tmp_path / "two").rename(tmp_path / "away")
    assert [(f.kind, f.volume) for f in scrub(service, cycle_s=0)] == [("volume_unavailable", "two")]
    assert [(f.kind, f.volume) for f in reconcile(service)] == [("volume_unavailable", "two")]
    service.set_volume_state("two", "offline", "its disk is being changed")
    assert list(scrub(service, cycle_s=0)) == list(reconcile(service)) == []
    (tmp_path / "away").rename(tmp_path / "two")
    service.set_volume_state("two", "online")
    assert list(scrub(service, cycle_s=0)) == list(reconcile(service)) == []
    assert {state for number in range(5) for state in copies_of(service, f"f{number}").values()} == {"ok"}


def test_one_object_that_cannot_be_read_now_is_told_and_the_others_are_read(
    service: ObjectService, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = put(service, "bad", b"x").copies[0].key
    put(service, "good", b"y")
    real = PosixVolume.open

    def open_(self: PosixVolume, key: str, start: int = 0, stop: int | None = None) -> object:
        if key == bad:
            raise VolumeUnavailable("the disk does not answer for this one")
        return real(self, key, start, stop)

    monkeypatch.setattr(PosixVolume, "open", open_)
    assert [(f.kind, f.key, f.done) for f in scrub(service, cycle_s=0)] == [("unreadable", bad, "")]
    assert copies_of(service, "bad") == {"one": "ok"} and service.stat("good").copies[0].verified is not None


def test_an_object_without_row_is_removed_only_when_asked_and_only_after_the_grace(service: ObjectService) -> None:
    young, old = lay(service, b"young", row=False, age_s=HOUR_S / 2), lay(service, b"old", row=False, age_s=2 * HOUR_S)
    kept = lay(service, b"kept", age_s=2 * HOUR_S)
    assert told(reconcile(service, grace_s=HOUR_S)) == {old.key: "object_without_row"}
    (finding,) = reconcile(service, grace_s=HOUR_S, delete=True)
    assert finding.done == "deleted" and finding.key == old.key
    assert not service.store.exists(old.key) and service.store.exists(young.key) and service.store.exists(kept.key)
    assert told(reconcile(service, grace_s=HOUR_S, delete=True)) == {}


def test_a_put_between_its_bytes_and_its_row_is_never_taken_for_an_orphan(
    service: ObjectService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even without any grace: the put holds the file's lock, and reconciling waits for it."""
    visible, go_on = threading.Event(), threading.Event()
    real = catalogue.further_copies

    def slow(*arguments: object) -> object:
        visible.set()
        assert go_on.wait(30)
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(catalogue, "further_copies", slow)
    with ThreadPoolExecutor(2) as threads:
        putting = threads.submit(put, service, "f", b"bytes")
        assert visible.wait(30)
        threading.Timer(0.3, go_on.set).start()
        (finding,) = reconcile(service, grace_s=-60, delete=True)
        assert finding.kind == "object_without_row" and not finding.done and "of f version 1" in finding.text
        putting.result(30)
    assert content(service, "f") == b"bytes" and list(reconcile(service, grace_s=-60, delete=True)) == []


def test_puts_and_removals_while_the_round_goes_on_are_no_findings(service: ObjectService) -> None:
    """Listing and rows are read at different times; each difference is asked about anew."""
    stop = threading.Event()

    def churn(number: int) -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            put(service, f"f{number}/{turn}", b"x" * 500)
            if turn % 2:
                service.remove(f"f{number}/{turn}")

    with ThreadPoolExecutor(4) as threads:
        churning = [threads.submit(churn, number) for number in range(3)]
        try:
            for _ in range(5):
                assert list(reconcile(service, grace_s=HOUR_S, delete=True)) == []
                assert list(scrub(service, cycle_s=0, again=True, pace=Pace(run_s=0.5))) == []
        finally:
            stop.set()
        for each in churning:
            each.result(30)
    assert list(reconcile(service, grace_s=-60)) == []


def test_rows_say_what_was_stored_and_can_be_struck(service: ObjectService) -> None:
    stored = lay(service, b"bytes")
    with service.engine.begin() as connection:
        assert catalogue.find_object(connection, "one", stored.key) == stored
        assert catalogue.find_object(connection, "other", stored.key) is None
        assert list(catalogue.objects_of(connection, "one", stored.key[:9])) == [stored]
        assert list(catalogue.objects_of(connection, "one", "x%")) == []
        assert catalogue.remove_objects(connection, [stored.key]) == [("one", stored.key)]
        assert catalogue.remove_objects(connection, [stored.key]) == []
        assert catalogue.find_object(connection, "one", stored.key) is None
