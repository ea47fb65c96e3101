"""What kill -9, a lost database and a full disk leave behind while files are taken in: nothing twice, nothing promised
that is not there, nothing lost; and bytes without a row, which reconciling reports and, past a grace, removes."""

import hashlib
import itertools
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from archive.database.engines import psycopg_dsn
from archive.vo.errors import UnavailableError
from ingest import service as service_module
from ingest.commands import take_claims
from ingest.dropfolder import DropFolder
from ingest.service import Seam
from storage.errors import OutOfSpace
from storage.findings import Finding
from tests.journeys.archives import Archive, csv, deliver, files_below, image

SEAMS = ("claim", "hash", "rename", "transaction", "row", "farewell")
BROKEN = image(99)[:3000]
LIFE_S = 0.2


class Sky:
    """What was delivered, and what must be in the archive whatever happened on the way."""

    def __init__(self, archive: Archive, number: int) -> None:
        self.archive = archive
        self.versions: dict[tuple[str, int], bytes] = {}
        self.deliver("old/image.fits", image(1000), 1)
        archive.watch_once()
        self.deliver("old/image.fits", image(1001), 2)
        for each in range(number):
            self.deliver(f"s{each % 2}/{each // 2}/image.fits", image(each), 1)
        self.deliver("lists/stars.csv", csv(200), 1)
        deliver(archive.drop, "s0/broken.fits", BROKEN)

    def deliver(self, name: str, content: bytes, version: int) -> None:
        deliver(self.archive.drop, name, content)
        self.versions[name, version] = content

    def check(self) -> None:
        """Every file is in exactly once, every row has its bytes, nothing waits, nothing was lost."""
        archive = self.archive
        held = archive.rows("SELECT file_id, version, sha256, object_key FROM arc.file ORDER BY file_id, version")
        assert [(file_id, version) for file_id, version, *_ in held] == sorted(self.versions)
        for file_id, version, sha256, key in held:
            with archive.opened.store.open(key) as stream:
                content = b"".join(stream)
            assert content == self.versions[file_id, version], file_id
            assert sha256 == hashlib.sha256(content).hexdigest()
        assert archive.rows("SELECT file_id FROM arc.file WHERE superseded_at IS NOT NULL") == [("old/image.fits",)]
        assert {key for *_, key in held} == {key for (key,) in archive.rows("SELECT key FROM store.copy")}
        assert sorted((event.file_id, event.version) for event in archive.file_events()) == sorted(self.versions)
        assert archive.seen("SELECT count(*) FROM cat.stars") == [(200,)]
        waiting = [name for name in files_below(archive.drop) if not name.startswith(("accepted/", "quarantine/"))]
        assert waiting == []
        assert [path.name for path in (archive.drop / ".claimed").iterdir()] == [".lock"]
        accepted = [path.read_bytes() for path in (archive.drop / "accepted").rglob("*") if path.is_file()]
        assert sorted(accepted) == sorted(self.versions.values())
        assert files_below(archive.drop / "quarantine") == ["s0/broken.fits", "s0/broken.fits.findings.txt"]

    def orphans(self, *, grace_s: float = 0.0, delete: bool = False) -> list[Finding]:
        """What is found in the store; nothing but bytes without a row may be among it."""
        found = self.archive.findings(grace_s=grace_s, delete=delete)
        assert {finding.kind for finding in found} <= {"object_without_row"}
        return found


def killed(archive: Archive, fate: str) -> None:
    """Let a worker run to its death."""
    worker = archive.start_worker(fate)
    told, _ = worker.communicate(timeout=120)
    assert worker.returncode == -signal.SIGKILL, told


@pytest.mark.parametrize(
    "passing", [2, pytest.param(1, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("seam", SEAMS)
@pytest.mark.parametrize("postgres", ["embedded"], indirect=True)
def test_after_a_kill_in_any_seam_a_restart_makes_it_whole(archive: Archive, seam: str, passing: int) -> None:
    sky = Sky(archive, 3)
    killed(archive, f"{seam}:{passing}")
    before = {(row.file_id, row.version) for row in archive.rows("SELECT file_id, version FROM arc.file")}
    assert before < set(sky.versions)
    # A row never promises bytes that are not there, at no time, and what waits is still there.
    lost = len(sky.orphans())
    assert lost == (1 if seam in ("rename", "transaction") else 0)
    archive.watch_once()
    sky.check()
    assert len(sky.orphans()) == lost


@pytest.mark.parametrize("postgres", ["pgsphere"], indirect=True)
def test_a_catalogue_s_relation_and_its_row_come_together_or_not_at_all(archive: Archive) -> None:
    sky = Sky(archive, 1)
    killed(archive, "transaction:1")  # lists/ comes first
    assert archive.rows("SELECT to_regclass('cat.stars'), (SELECT count(*) FROM arc.file)") == [(None, 1)]
    assert archive.rows("SELECT count(*) FROM tap_schema.columns WHERE table_name = 'cat.stars'") == [(0,)]
    archive.watch_once()
    sky.check()


def killed_at_random(archive: Archive, seed: int, times: int) -> None:
    """Kill one worker after another, each somewhere in the time that it takes a few files in, then let one end."""
    chance = random.Random(seed)
    sky = Sky(archive, 2)
    for life in range(times):
        for number in range(3):
            sky.deliver(f"life{life}/{number}/image.fits", image(10 * life + number + 2000), 1)
        worker = archive.start_worker("watch")
        assert worker.stdout is not None and worker.stdin is not None
        assert worker.stdout.readline() == "ready\n"
        worker.stdin.write("go\n")
        worker.stdin.flush()
        time.sleep(chance.uniform(0, LIFE_S))
        worker.kill()
        worker.communicate(timeout=60)
        assert worker.returncode == -signal.SIGKILL
        sky.orphans()
    archive.watch_once()
    sky.check()
    sky.orphans(delete=True)
    assert sky.orphans() == []
    sky.check()


@pytest.mark.parametrize("postgres", ["embedded"], indirect=True)
def test_after_five_kills_at_random_a_restart_makes_it_whole(archive: Archive) -> None:
    killed_at_random(archive, 20_260, 5)


@pytest.mark.fault
@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_after_twenty_kills_at_random_a_restart_makes_it_whole(archive: Archive, seed: int) -> None:
    killed_at_random(archive, seed, 20)


@pytest.mark.parametrize("postgres", ["pgsphere"], indirect=True)
def test_two_processes_at_one_drop_folder_take_each_file_once(archive: Archive) -> None:
    sky = Sky(archive, 20)
    workers = [archive.start_worker("wait") for _ in range(2)]
    for worker in workers:
        assert worker.stdout is not None and worker.stdout.readline() == "ready\n"
    told = [worker.communicate("go\n", timeout=120)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], told
    sky.check()
    assert sky.orphans() == []


@pytest.mark.parametrize("postgres", ["embedded"], indirect=True)
def test_the_claims_of_the_living_are_left_to_them(archive: Archive) -> None:
    deliver(archive.drop, "s/a.fits", image(1))
    with DropFolder(archive.drop) as living:
        claim = next(living.claim())
        assert archive.watch_once() == []
        assert claim.path.read_bytes() == image(1)
    assert files_below(archive.drop) == ["s/a.fits"]


@pytest.mark.parametrize("postgres", ["embedded"], indirect=True)
def test_bytes_without_a_row_are_reported_and_removed_only_past_the_grace(archive: Archive) -> None:
    """By the command, as an operator does it; the object is made two days old for the default grace of one day."""
    sky = Sky(archive, 1)
    killed(archive, "rename:1")
    archive.watch_once()
    assert archive.reconcile("--delete") == []  # younger than the grace: it might still be on its way to its row
    (orphan,) = archive.reconcile(URANIBORG_STORE__ORPHAN_GRACE_H="0")
    assert (orphan["kind"], orphan["done"]) == ("object_without_row", "")
    (path,) = [each for each in (archive.data_dir / "store").rglob("*") if each.name == Path(orphan["key"]).name]
    old = time.time() - 2 * 86_400
    os.utime(path, (old, old))
    assert path.exists()
    (removed,) = archive.reconcile("--delete")
    assert (removed["key"], removed["done"]) == (orphan["key"], "deleted")
    assert not path.exists() and sky.orphans() == []
    sky.check()


def cut_connections(archive: Archive) -> None:
    """Terminate every backend of the archive's database, as a restart of the server does."""
    with psycopg.connect(psycopg_dsn(archive.postgres.admin, dbname="postgres"), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s",
            (archive.postgres.admin.database,),
        )


def test_a_database_lost_in_a_transaction_ends_the_run_with_a_clear_error_and_a_rerun_completes_it(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    sky = Sky(archive, 4)
    append_event = service_module.append_event
    passings = itertools.count()

    def cutting_append_event(*arguments: Any) -> None:
        append_event(*arguments)
        if next(passings) == 2:
            cut_connections(archive)

    monkeypatch.setattr(service_module, "append_event", cutting_append_event)
    with pytest.raises(UnavailableError, match=r"the database does not do its part.*Run it again"):
        archive.watch_once()
    held = {tuple(row) for row in archive.rows("SELECT file_id, version FROM arc.file")}
    assert len(held) == 3 and held < set(sky.versions)
    # What was not taken in waits where it was put; that which was under way was given back.
    assert len(files_below(archive.drop)) == len(sky.versions) + 1
    assert files_below(archive.drop / ".claimed") == []
    archive.watch_once()
    sky.check()


def test_connections_that_a_restarted_server_cut_between_two_files_are_made_anew(archive: Archive) -> None:
    sky = Sky(archive, 2)

    def passed(seam: Seam) -> None:
        if seam == "claim":
            cut_connections(archive)

    with DropFolder(archive.drop) as drop:
        take_claims(archive.service(replace=True), drop, archive.drop, None, "default", passed=passed)
    sky.check()


@pytest.mark.parametrize("postgres", ["embedded"], indirect=True)
def test_a_full_volume_ends_the_run_and_puts_no_good_file_aside(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    sky = Sky(archive, 2)

    def full(*_: object, **__: object) -> None:
        raise OutOfSpace("volume store has no room")

    with monkeypatch.context() as patched:
        patched.setattr(archive.opened.store, "store", full)
        with pytest.raises(OutOfSpace):
            archive.watch_once()
    assert files_below(archive.drop / "quarantine") == []
    archive.watch_once()
    sky.check()
