"""Copies brought to their policy, volumes emptied, caches made room on, clearing up; by hand, and as jobs."""

import asyncio
import contextlib
import io
import itertools
import os
import random
import threading
import time
from datetime import timedelta
from pathlib import Path

import procrastinate
import pytest
from procrastinate.testing import InMemoryConnector
from sqlalchemy import Engine, delete, func, select, text, update

from storage import catalogue, feed, rounds, totals
from storage.errors import CopyNeeded, VolumeUnavailable
from storage.evict import CacheRule, evict
from storage.findings import Pace, tallied
from storage.janitor import janitor
from storage.jobs import QUEUE, blueprint
from storage.keeper import keep
from storage.model import VolumeState
from storage.objects import ObjectService
from storage.posix import PosixVolume
from storage.reconcile import reconcile
from storage.replicate import Policy, drain, keep_up, replicate
from storage.scrub import scrub
from storage.status import store_status
from storage.tables import copy, counted, unsettled, walk
from storage.upkeep import PROCESSES, Upkeep, run_job
from tests.served import wait_until
from tests.storage.disks import content, copies_of, file_of, flip, put, service_on

pytestmark = pytest.mark.parametrize("postgres", ["embedded"], indirect=True)
TWO = Policy(copies=2)


@pytest.fixture
def three(writer: Engine, tmp_path: Path) -> ObjectService:
    return service_on(writer, tmp_path, "one", "two", "three")


def test_every_object_is_brought_to_its_copies_and_a_second_round_finds_nothing(three: ObjectService) -> None:
    for number in range(5):
        put(three, f"f{number}", bytes([number]) * 10_000)
    three.remove("f4")
    findings = list(replicate(three, TWO))
    assert [(f.kind, f.done, f.file_id) for f in findings] == [
        ("too_few_copies", "copied", f"f{number}") for number in range(4)
    ]
    assert list(replicate(three, TWO)) == []
    for number in range(4):
        held = three.stat(f"f{number}")
        assert len(held.copies) == 2
        assert {file_of(three, c.volume, c.key).read_bytes() for c in held.copies} == {bytes([number]) * 10_000}


def test_copies_go_where_the_policy_counts_them(three: ObjectService) -> None:
    three.register("two", storage_class="cache")
    put(three, "f", b"x")
    assert tallied(replicate(three, TWO)).done == {"copied": 1}
    assert copies_of(three, "f") == {"one": "ok", "three": "ok"}
    three.register("two", site="elsewhere")
    assert tallied(replicate(three, Policy(2, sites=2))).done == {"copied": 1}
    assert set(copies_of(three, "f")) == {"one", "two", "three"}
    put(three, "g", b"y")
    assert tallied(replicate(three, Policy(2, sites=2))).done == {"copied": 1}
    assert set(copies_of(three, "g")) == {"one", "two"}, "the one of another site"
    three.register("three", storage_class="tape")
    assert tallied(replicate(three, Policy(1, classes=("tape",)))).done == {"copied": 1}
    assert set(copies_of(three, "g")) == {"one", "two", "three"}


def test_a_node_alone_looks_after_its_store_and_of_several_one_at_a_time(three: ObjectService) -> None:
    put(three, "f", b"x")
    stopped = threading.Event()
    upkeep = Upkeep(policy=TWO, schedule={"replicate": "* * * * * *"})  # the sixth field is seconds
    node = threading.Thread(target=keep, args=(three, upkeep, stopped))
    with three.engine.connect() as another:
        another.execute(text("SELECT pg_advisory_lock(hashtextextended('store.replicate', 0))"))
        node.start()
        time.sleep(1.5)
        assert len(copies_of(three, "f")) == 1, "another node is at it"
        another.execute(text("SELECT pg_advisory_unlock_all()"))
        another.commit()
    try:
        wait_until(lambda: len(copies_of(three, "f")) == 2)
    finally:
        stopped.set()
        node.join(10)
    assert not node.is_alive()


def test_what_cannot_be_copied_is_told_with_the_reason(three: ObjectService) -> None:
    put(three, "f", b"x")
    three.register("two", watermark_bytes=1 << 60)
    three.set_volume_state("three", "readonly")
    (finding,) = replicate(three, TWO)
    assert finding.is_open and "two has no room" in finding.text
    (finding,) = replicate(three, Policy(2, sites=2))
    assert finding.is_open and "of another site" in finding.text


def test_a_disk_that_died_is_set_offline_and_its_objects_are_copied_again(three: ObjectService, tmp_path: Path) -> None:
    for number in range(4):
        put(three, f"f{number}", b"x" * 5000)
    list(replicate(three, TWO))
    (tmp_path / "one").rename(tmp_path / "dead")
    three.set_volume_state("one", "offline", "its disk died")
    assert tallied(replicate(three, TWO)).done == {"copied": 4}
    for number in range(4):
        assert content(three, f"f{number}") == b"x" * 5000
        assert copies_of(three, f"f{number}") == {"one": "ok", "two": "ok", "three": "ok"}


def test_a_new_disk_in_the_place_of_one_that_died_is_filled_again(three: ObjectService, tmp_path: Path) -> None:
    for number in range(4):
        put(three, f"f{number}", b"x" * 5000, copies=2)
    (tmp_path / "one").rename(tmp_path / "dead")
    PosixVolume(tmp_path / "one", "one", create=True)
    assert tallied(reconcile(three)).done == {"repaired": 4}
    assert list(reconcile(three)) == [] and copies_of(three, "f0") == {"one": "ok", "two": "ok"}
    assert len(list(three.store.volume("one").keys())) == 4


@pytest.fixture
def settled(three: ObjectService, monkeypatch: pytest.MonkeyPatch) -> ObjectService:
    """f0 to f3 on volumes one and two, as the job wants them; a walk through all would fail from now on."""
    for number in range(4):
        put(three, f"f{number}", bytes([number]) * 1000, copies=2)
    assert list(keep_up(three, TWO)) == []

    def walked(*_: object, **__: object) -> None:
        raise AssertionError("all objects were gone through")

    monkeypatch.setattr(rounds, "lacking", walked)
    assert list(keep_up(three, TWO)) == []
    return three


def brought(service: ObjectService, policy: Policy = TWO) -> list[str]:
    """What a run of the job mends; and the next finds nothing to do, nor is anything noted then."""
    done = [finding.file_id or "" for finding in keep_up(service, policy) if finding.done]
    assert list(keep_up(service, policy)) == []
    with service.engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(unsettled)) == 0
    return sorted(done)


def test_the_job_finds_what_changed_without_going_through_all(settled: ObjectService) -> None:
    put(settled, "new", b"n")
    with settled.engine.begin() as connection:
        preview = catalogue.add_object(connection, settled.store.store(io.BytesIO(b"picture")))
    assert brought(settled) == sorted(["new", preview.file_id])
    held = settled.stat("f0")
    settled.report(held, held.copies[1], "corrupt", "a test says so")
    file_of(settled, "two", settled.stat("f1").copies[1].key).unlink()
    assert tallied(reconcile(settled)).done == {"repaired": 1}
    assert brought(settled) == ["f0"] and copies_of(settled, "f0") == {"one": "ok", "two": "ok"}
    settled.drop_copy("f2", 1, "one")
    assert brought(settled) == ["f2"] and len(copies_of(settled, "f2")) == 2
    with settled.engine.begin() as connection:  # by hand
        connection.execute(delete(copy).where(copy.c.object_id == settled.stat("f3").object_id, copy.c.volume == "one"))
    assert brought(settled) == ["f3"]
    settled.drop_copy("f3", 1, "two")
    settled.remove("f3")
    assert brought(settled) == []


def test_the_job_finds_what_a_transaction_tells_that_was_open_while_it_ran(settled: ObjectService) -> None:
    stored = settled.store.store(io.BytesIO(b"late"))
    with settled.engine.begin() as connection:
        catalogue.add_object(connection, stored, file_id="late")
        put(settled, "early", b"x")
        assert brought(settled) == ["early"]
    assert brought(settled) == ["late"]


def test_what_the_job_cannot_mend_is_told_by_each_run_until_there_is_room(settled: ObjectService) -> None:
    for name in ("two", "three"):
        settled.register(name, watermark_bytes=1 << 60)
    put(settled, "f", b"x")
    for _ in range(3):
        (finding,) = keep_up(settled, TWO)
        assert finding.is_open and finding.file_id == "f" and "no room" in finding.text
    settled.register("three")
    assert brought(settled) == ["f"]


def test_the_job_goes_through_all_when_a_policy_or_a_volume_is_another(three: ObjectService, tmp_path: Path) -> None:
    names = [f"f{number}" for number in range(3)]
    for name in names:
        put(three, name, b"x" * 100, copies=2)
    assert brought(three) == []
    assert brought(three, Policy(3)) == names
    assert brought(three) == []
    three.set_volume_state("one", "offline")
    assert brought(three) == []
    three.set_volume_state("two", "draining")
    assert {f.file_id for f in keep_up(three, TWO)} == set(names)
    three.set_volume_state("one", "online")
    assert brought(three) == []
    three.set_volume_state("two", "readonly")
    for name in names:
        three.drop_copy(name, 1, "three")
    three.register("three", site="elsewhere")
    assert brought(three, Policy(2, sites=2)) == names
    held = three.stat("f0")
    three.report(held, next(each for each in held.copies if each.volume == "two"), "missing", "a test says so")
    assert brought(three, Policy(2)) == []
    three.set_volume_state("two", "online")
    assert brought(three, Policy(2)) == ["f0"] and copies_of(three, "f0")["two"] == "ok"


def test_a_walk_goes_on_where_it_was_and_begins_again_when_other_things_are_wanted(three: ObjectService) -> None:
    numbers = [put(three, f"f{number}", b"x").object_id for number in range(5)]
    with three.engine.begin() as connection:
        one = rounds.Wanted(1, 1, {"one": "here"}, ("one",))
        two = rounds.Wanted(2, 1, {"one": "here", "two": "here"}, ("one", "two"))

        def pages(wanted: rounds.Wanted, most: int) -> list[list[int] | None]:
            connection.execute(delete(unsettled))
            return [rounds.walk_on(connection, wanted, most=2) for _ in range(most)]

        assert pages(one, 5) == [[], [], [], [], None]
        assert pages(two, 2) == [numbers[:2], numbers[2:4]]
        assert pages(one, 1) == [[]]
        assert pages(two, 5) == [numbers[:2], numbers[2:4], numbers[4:], [], None]
        connection.execute(update(walk).values(moment=walk.c.moment - timedelta(days=2)))
        assert pages(two, 1) == [numbers[:2]]
        connection.execute(update(walk).values(after=0))
        assert rounds.walk_on(connection, two) == numbers[2:], "the others are noted already"


def test_what_is_noted_does_not_grow_where_no_job_takes_it_and_nothing_is_missed_by_one_that_does_again(
    settled: ObjectService, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(settled, "f", b"x")
    assert list(janitor(settled, grace_s=0)) == []
    with settled.engine.begin() as connection:
        assert connection.scalar(select(func.count()).select_from(unsettled)) == 1
        connection.execute(update(unsettled).values(noted=unsettled.c.noted - timedelta(days=3)))
    assert list(janitor(settled, grace_s=0)) == []
    with settled.engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(unsettled)) == 0
    monkeypatch.undo()
    assert brought(settled) == ["f"]


def test_a_job_that_is_killed_leaves_nothing_out(three: ObjectService) -> None:
    names = sorted(f"f{number}" for number in range(6))
    for name in names:
        put(three, name, b"x")
    first = keep_up(three, TWO)
    assert next(first).done == "copied"
    first.close()
    put(three, "g", b"x")
    second = keep_up(three, TWO)
    assert next(second).done == "copied"
    second.close()
    assert len(brought(three)) == 5
    assert all(len(copies_of(three, name)) == 2 for name in [*names, "g"])


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_a_run_of_the_job_leaves_what_going_through_all_would_leave(
    three: ObjectService, seed: int
) -> None:
    rng, policy, serial = random.Random(seed), TWO, itertools.count()
    for _ in range(60):
        names = [each.file_id for each in three.files()]
        held = three.stat(rng.choice(names)) if names else None
        match rng.randrange(9):
            case 0 | 1 | 2:
                put(three, f"f{next(serial)}", rng.randbytes(10), copies=rng.choice([1, 1, 2]))
            case 3 if held:
                three.report(held, rng.choice(held.copies), rng.choice(["corrupt", "missing"]), "a test says so")
            case 4 if held:
                with contextlib.suppress(CopyNeeded):
                    three.drop_copy(held.file_id, held.version, rng.choice(held.copies).volume)
            case 5 if held:
                three.remove(held.file_id)
            case 6:
                states: list[VolumeState] = ["online", "online", "readonly", "draining", "offline"]
                name = rng.choice(["one", "two", "three"])
                if {row.state for row in three.volumes().values() if row.name != name} & {"online"}:
                    three.set_volume_state(name, rng.choice(states))
                    three.set_volume_state(rng.choice(["one", "two", "three"]), "online")
            case 7:
                three.register("two", site=rng.choice(["here", "elsewhere"]))
                policy = rng.choice([TWO, Policy(3), Policy(2, sites=2)])
            case 8:
                left = [(f.file_id, f.text) for f in keep_up(three, policy) if f.is_open]
                assert left == [(f.file_id, f.text) for f in replicate(three, policy)]


def test_nothing_that_is_put_while_the_job_runs_is_left_out(three: ObjectService) -> None:
    def putting(name: str) -> None:
        for number in range(40):
            put(three, f"{name}{number}", b"x")

    threads = [threading.Thread(target=putting, args=(name,)) for name in "abc"]
    for each in threads:
        each.start()
    while any(each.is_alive() for each in threads):
        list(keep_up(three, TWO))
    list(keep_up(three, TWO))
    assert list(replicate(three, TWO)) == []


def test_a_volume_is_emptied_and_nothing_has_fewer_copies_for_it(three: ObjectService) -> None:
    rng = random.Random(1)
    data = {f"f{number}": rng.randbytes(3000) for number in range(8)}
    for file_id, each in data.items():
        put(three, file_id, each, copies=2)
    removed = put(three, "gone", b"gone")
    three.remove("gone")
    assert removed.copies
    flip(file_of(three, "two", three.stat("f3").copies[1].key), 7)
    tally = tallied(drain(three, "one", TWO))
    assert tally.done["deleted"] == 8 and tally.left_open == 0
    assert three.volumes()["one"].state == "draining" and list(three.store.volume("one").keys()) == []
    for file_id, each in data.items():
        assert content(three, file_id) == each and "one" not in copies_of(three, file_id)
    assert copies_of(three, "f0") == {"two": "ok", "three": "ok"}
    # The one that was rotten on volume two was noticed when it was copied from there, and made good again.
    assert tallied(replicate(three, TWO)).left_open == 0
    assert copies_of(three, "f3") == {"two": "ok", "three": "ok"}
    assert list(drain(three, "one", TWO)) == []


def test_what_has_nowhere_to_go_stays_on_a_draining_volume(writer: Engine, tmp_path: Path) -> None:
    service = service_on(writer, tmp_path, "one", "two")
    put(service, "f", b"x", copies=2)
    findings = list(drain(service, "one", TWO))
    assert findings and all(finding.is_open for finding in findings)
    assert copies_of(service, "f") == {"one": "ok", "two": "ok"} and content(service, "f") == b"x"
    assert tallied(drain(service, "one", Policy())).done == {"deleted": 1}
    with pytest.raises(VolumeUnavailable, match="no volume 'four'"):
        list(drain(service, "four", TWO))


def test_a_copy_goes_only_if_the_others_are_really_there(three: ObjectService) -> None:
    """The rows say that two others are sound; the disk of one has lost its file, and nobody has noticed."""
    held = put(three, "f", b"only", copies=2)
    file_of(three, "two", held.copies[1].key).unlink()
    findings = [finding for finding in drain(three, "one", Policy()) if finding.kind == "to_move"]
    assert [finding.is_open for finding in findings] == [True] and "0 sound copies" in findings[0].text
    assert content(three, "f") == b"only"
    with pytest.raises(CopyNeeded):
        three.drop_copy("f", 1, "one", among=["three"])


def used(service: ObjectService, file_id: str, days_ago: float) -> None:
    """As if a copy on the cache had been made, and used last, so long ago."""
    one = next(each for each in service.stat(file_id).copies if each.volume == "cache")
    path, moment = file_of(service, "cache", one.key), time.time() - days_ago * 86_400
    os.utime(path, (moment, moment))
    with service.engine.begin() as connection:
        made = text(f"now() - interval '{days_ago} days'")
        connection.execute(update(copy).where(copy.c.key == one.key, copy.c.volume == "cache").values(created=made))


@pytest.fixture
def cached(writer: Engine, tmp_path: Path) -> ObjectService:
    """f0 to f5, 1,000 bytes each, on a cache and on one volume more; f5 was used today, f0 five days ago."""
    service = service_on(writer, tmp_path, "one", "cache")
    service.register("cache", storage_class="cache")
    for number in range(6):
        put(service, f"f{number}", bytes([number]) * 1000)
        service.add_copy(f"f{number}", 1, "cache")
        used(service, f"f{number}", 5 - number + 0.01)
    return service


def on_cache(service: ObjectService) -> set[str]:
    return {each.file_id for each in service.files() if "cache" in copies_of(service, each.file_id)}


def test_a_cache_gives_up_what_is_unused_longest_until_it_has_its_size(cached: ObjectService) -> None:
    assert list(evict(cached, CacheRule())) == []
    assert tallied(evict(cached, CacheRule(max_bytes=3500))).done == {"deleted": 3}
    assert on_cache(cached) == {"f3", "f4", "f5"}
    assert list(evict(cached, CacheRule(max_bytes=3500))) == []
    assert [content(cached, f"f{number}")[0] for number in range(6)] == list(range(6))


def test_a_cache_gives_up_what_is_old_or_idle(cached: ObjectService) -> None:
    assert tallied(evict(cached, CacheRule(max_idle_s=3.5 * 86_400))).done == {"deleted": 2}
    assert on_cache(cached) == {"f2", "f3", "f4", "f5"}
    one = next(each for each in cached.stat("f2").copies if each.volume == "cache")
    os.utime(file_of(cached, "cache", one.key))  # somebody used it
    assert tallied(evict(cached, CacheRule(max_idle_s=1.5 * 86_400))).done == {"deleted": 1}
    assert on_cache(cached) == {"f2", "f4", "f5"}
    assert tallied(evict(cached, CacheRule(max_age_s=0))).done == {"deleted": 3} and on_cache(cached) == set()


def test_a_cache_never_gives_up_what_is_not_safe_elsewhere(cached: ObjectService) -> None:
    cached.drop_copy("f0", 1, "one")
    held = cached.stat("f1")
    cached.report(held, next(each for each in held.copies if each.volume == "one"), "corrupt", "seen")
    tally = tallied(evict(cached, CacheRule(max_bytes=0)))
    assert tally.done == {"deleted": 4} and on_cache(cached) == {"f0", "f1"}
    assert [content(cached, name)[0] for name in ("f0", "f1")] == [0, 1]
    assert tallied(evict(cached, CacheRule(max_bytes=0, keep=2))).done == {}


def test_scrubbing_a_cache_is_no_use_of_it(cached: ObjectService) -> None:
    assert list(scrub(cached, cycle_s=0)) == []
    assert tallied(evict(cached, CacheRule(max_idle_s=3.5 * 86_400))).done == {"deleted": 2}


def test_the_janitor_finishes_removals_that_were_cut_off(three: ObjectService, monkeypatch: pytest.MonkeyPatch) -> None:
    put(three, "f", b"x", copies=2)
    with monkeypatch.context() as killed:
        killed.setattr(ObjectService, "finish_removal", lambda *_: None)
        three.remove("f")
    assert len(list(three.store.volume("one").keys())) == 1
    assert [(f.kind, f.volume, f.done) for f in janitor(three, grace_s=0)] == [
        ("to_remove", "one", "deleted"),
        ("to_remove", "two", "deleted"),
    ]
    assert list(three.store.volume("one").keys()) == [] and list(janitor(three, grace_s=0)) == []
    assert len(list(three.store.volume("one").tombstones())) == 1


def test_each_process_runs_as_a_job_is_told_in_the_feed_and_counted_in_the_status(three: ObjectService) -> None:
    put(three, "f", b"x" * 1000)
    held = put(three, "g", b"y" * 1000)
    flip(file_of(three, "one", held.copies[0].key), 3)
    upkeep = Upkeep(policy=TWO, max_load=1e9, grace_s=0)
    assert run_job(three, upkeep, "scrub").left_open == 1
    for process in PROCESSES:
        run_job(three, upkeep, process)
    with three.engine.begin() as connection:
        told = [event for event in feed.read_events(connection) if event.kind in ("verified", "upkeep")]
    assert [event.detail["process"] for event in told] == ["scrub", "reconcile", "replicate"]
    assert told[0].detail["objects"] == 2 and told[0].detail["open"] == 1 and "corrupt" in told[0].detail["examples"][0]
    status = store_status(three)
    assert not status.is_sound and "corrupt  g version 1" in status.findings[0]
    one = next(volume for volume in status.volumes if volume.name == "one")
    assert one.copies == {"ok": 1, "corrupt": 1} and one.size_bytes == 2000 and one.unverified == 0
    assert sum(status.verified_by_day.values()) == 1
    assert {run.process: run.detail["open"] for run in status.runs}["scrub"] == 1
    # What cannot be mended is not told again and again.
    for process in PROCESSES:
        run_job(three, upkeep, process)
    with three.engine.begin() as connection:
        again = [event for event in feed.read_events(connection) if event.kind in ("verified", "upkeep")]
    assert [event.detail["process"] for event in again[len(told) :]] == ["scrub", "reconcile"]


def test_what_takes_long_to_count_is_kept_with_its_moment_and_counted_anew_in_time(
    three: ObjectService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sound(*, wait: bool = True) -> int:
        return sum(volume.copies.get("ok", 0) for volume in store_status(three, wait=wait).volumes)

    def a_day_passes() -> None:
        with three.engine.begin() as connection:
            connection.execute(update(counted).values(moment=counted.c.moment - timedelta(days=1)))

    held = put(three, "f", b"x" * 1000, copies=2)
    assert sound() == 2
    put(three, "g", b"y" * 1000)
    assert sound() == 3, "what is quick to count is counted each time"
    monkeypatch.setattr(totals, "QUICK", timedelta(0))
    monkeypatch.setattr(totals, "SHARE", 1e6)
    first = store_status(three)
    assert sound() == 3
    put(three, "h", b"z" * 1000)
    three.report(held, held.copies[0], "missing", "a test says so")
    again = store_status(three)
    assert again.counted == first.counted and again.volumes[0].size_bytes == 2000
    assert again.volumes[0].copies == {"ok": 2, "missing": 1} and not again.is_sound, "what is marked is of now"
    a_day_passes()
    assert sound() == 3 and store_status(three).counted > first.counted
    put(three, "i", b"z")
    a_day_passes()
    assert sound(wait=False) == 3, "nobody waits for it"
    wait_until(lambda: sound(wait=False) == 4)
    monkeypatch.undo()
    a_day_passes()
    assert sound() == 4
    with three.engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(counted)) == 0, "quick to count again"


def test_those_who_ask_at_once_have_it_counted_once(three: ObjectService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totals, "QUICK", timedelta(0))
    monkeypatch.setattr(totals, "SHARE", 1e6)
    put(three, "f", b"x")
    told: list[totals.Totals] = []
    asking = [threading.Thread(target=lambda: told.append(totals.totals(three.engine))) for _ in range(4)]
    for each in asking:
        each.start()
    for each in asking:
        each.join(30)
    assert len(told) == 4 and len({each.moment for each in told}) == 1
    assert told[0].by_volume() == {"one": (1, 1)}


def test_scrub_is_given_what_was_never_read_then_the_longest_unread_and_no_more_than_is_due(
    three: ObjectService,
) -> None:
    for number in range(6):
        put(three, f"f{number}", bytes([number]))
    with three.engine.begin() as connection:
        now = rounds.now(connection)
        for number, days in ((0, 40), (1, 50), (2, 10), (3, 60)):
            found = three.stat(f"f{number}").object_id
            read = update(copy).where(copy.c.object_id == found)
            connection.execute(read.values(verified=now - timedelta(days=days)))
        connection.execute(update(copy).where(copy.c.object_id == three.stat("f3").object_id).values(state="corrupt"))
    with three.engine.connect() as connection:
        before = now - timedelta(days=30)

        def due(most: int, but: tuple[int, ...] = ()) -> list[str]:
            return [each.file_id for each in rounds.due_copies(connection, "one", before, most, but=but)]

        assert set(due(2)) == {"f4", "f5"}
        assert due(10)[2:] == ["f1", "f0"]
        assert due(10, (three.stat("f1").object_id,))[2:] == ["f0"]


def test_jobs_have_their_times_and_their_queue_and_stop_when_they_are_told(
    three: ObjectService, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = procrastinate.App(connector=InMemoryConnector())
    upkeep = Upkeep(schedule={"scrub": "*/10 * * * *", "evict": ""}, max_load=1e9, rate_bytes_s=2 << 20)
    app.add_tasks_from(blueprint(lambda: three, upkeep), namespace="store")
    assert {f"store:{process}" for process in PROCESSES} <= set(app.tasks)
    assert {app.tasks[f"store:{process}"].queue for process in PROCESSES} == {QUEUE}
    assert [name for name, _ in app.periodic_registry.periodic_tasks] == ["store:scrub"]
    put(three, "large", bytes(40 << 20))

    async def run() -> float:
        async with app.open_async():
            await app.tasks["store:scrub"].defer_async(timestamp=0)
            working = asyncio.create_task(
                app.run_worker_async(
                    queues=[QUEUE], shutdown_graceful_timeout=0, install_signal_handlers=False, listen_notify=False
                )
            )
            await asyncio.sleep(1.0)
            began = time.monotonic()
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            return time.monotonic() - began

    assert asyncio.run(run()) < 10  # of 20 s that reading would have taken
    assert three.stat("large").copies[0].verified is None
    assert threading.active_count() < 50


def test_a_process_that_runs_out_of_time_goes_on_in_its_next_run(three: ObjectService) -> None:
    for number in range(20):
        put(three, f"f{number}", b"x")
    calls = iter([False] * 12)
    assert tallied(replicate(three, TWO, pace=Pace(stopped=lambda: next(calls, True)))).done["copied"] < 20
    done = tallied(replicate(three, TWO)).done["copied"]
    assert 0 < done < 20
    assert all(len(three.stat(f"f{number}").copies) == 2 for number in range(20))
    assert timedelta(seconds=Upkeep().cycle_s) == timedelta(days=30)
