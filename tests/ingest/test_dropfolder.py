"""The drop folder: renames that lose nothing, whoever else is at work, whatever the files are called."""

import fcntl
import multiprocessing
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from archive.vo.errors import ConfigurationError
from ingest.dropfolder import DropFolder, printable, report_path
from tests.ingest.privileges import without_privileges
from tests.journeys.folders import deliver, files_below

SPAWN = multiprocessing.get_context("spawn")


def dead_claim(folder: Path, name: str, relative: str, content: bytes) -> None:
    """What a process that was killed leaves behind: a claim whose lock nobody holds."""
    path = folder / ".claimed" / name / "1" / relative
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    (folder / ".claimed" / name / ".lock").touch()


def take(folder: Path) -> list[str]:
    """Accept all that lies in a folder; the names under which it came."""
    with DropFolder(folder) as drop:
        names = []
        for claim in drop.claim():
            names.append(claim.relative_path)
            drop.accept(claim)
        return names


def take_all(folder: str, ready: Any, go: Any, told: Any) -> None:
    """In another process: accept the even, quarantine the odd, tell what was claimed."""
    names = []
    with DropFolder(Path(folder)) as drop:
        ready.release()
        go.wait()
        for claim in drop.claim():
            names.append(claim.relative_path)
            if int(claim.path.read_text()) % 2:
                drop.quarantine(claim, "odd\n")
            else:
                drop.accept(claim)
    told.put(names)


def test_many_processes_share_a_folder_and_each_file_is_claimed_once(tmp_path: Path) -> None:
    for number in range(300):
        deliver(tmp_path, f"{number % 7}/f{number}", str(number).encode())
    for number in range(300, 320):
        dead_claim(tmp_path, f"999-dead{number}", f"{number % 7}/f{number}", str(number).encode())
    ready, go, told = SPAWN.Semaphore(0), SPAWN.Event(), SPAWN.Queue()
    workers = [SPAWN.Process(target=take_all, args=(str(tmp_path), ready, go, told)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for _ in workers:
        assert ready.acquire(timeout=60)
    go.set()
    claimed = Counter(name for _ in workers for name in told.get(timeout=60))
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert claimed == Counter(f"{number % 7}/f{number}" for number in range(320))
    accepted = sorted(int(path.read_text()) for path in (tmp_path / "accepted").rglob("f*"))
    assert accepted == list(range(0, 320, 2))
    put_aside = files_below(tmp_path / "quarantine")
    assert len(put_aside) == 320 and sum(name.endswith(".findings.txt") for name in put_aside) == 160
    assert [path.name for path in (tmp_path / ".claimed").iterdir()] == [".lock"]


def test_what_the_dead_had_claimed_comes_before_a_newer_file_of_its_name(tmp_path: Path) -> None:
    """Else the older bytes would become the newest version."""
    dead_claim(tmp_path, "999-dead", "s/a.fits", b"older")
    deliver(tmp_path, "s/a.fits", b"newer")
    contents = []
    with DropFolder(tmp_path) as drop:
        for claim in drop.claim():
            contents.append((claim.relative_path, claim.path.read_bytes()))
            drop.accept(claim)
    assert contents == [("s/a.fits", b"older"), ("s/a.fits", b"newer")]
    assert (tmp_path / "accepted/s/a.fits").read_bytes() == b"older"
    assert (tmp_path / "accepted/s/a.fits.1").read_bytes() == b"newer"


def test_what_is_given_up_returns_to_its_place_or_waits_if_a_newer_file_took_it(tmp_path: Path) -> None:
    deliver(tmp_path, "a.fits", b"a")
    deliver(tmp_path, "b.fits", b"b older")
    with DropFolder(tmp_path) as drop:
        claims = drop.claim()
        next(claims), next(claims)
        deliver(tmp_path, "b.fits", b"b newer")
    assert (tmp_path / "a.fits").read_bytes() == b"a"
    assert (tmp_path / "b.fits").read_bytes() == b"b newer"
    with DropFolder(tmp_path) as drop:
        contents = []
        for claim in drop.claim():
            contents.append(claim.path.read_bytes())
            drop.accept(claim)
    assert contents == [b"b older", b"a", b"b newer"]
    assert [path.name for path in (tmp_path / ".claimed").iterdir()] == [".lock"]


def test_the_claims_of_a_living_process_are_not_touched(tmp_path: Path) -> None:
    dead_claim(tmp_path, "1-living", "a.fits", b"a")
    with (tmp_path / ".claimed/1-living/.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert take(tmp_path) == []
    assert take(tmp_path) == ["a.fits"]


def test_a_claim_that_was_cut_off_before_it_was_locked_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / ".claimed/77-cut").mkdir(parents=True)
    assert take(tmp_path) == []
    assert [path.name for path in (tmp_path / ".claimed").iterdir()] == [".lock"]


def test_nothing_is_overwritten_and_a_file_may_take_the_name_of_a_former_folder(tmp_path: Path) -> None:
    names = ["a/x.fits", "a/x.fits", "a", "a", "a/x.fits"]
    for number, name in enumerate(names):
        if (tmp_path / name.partition("/")[0]).is_dir() and "/" not in name:
            (tmp_path / name).rmdir()
        deliver(tmp_path, name, str(number).encode())
        assert take(tmp_path) == [name]
    assert {name: (tmp_path / "accepted" / name).read_text() for name in files_below(tmp_path / "accepted")} == {
        "a/x.fits": "0",
        "a/x.fits.1": "1",
        "a.1": "2",
        "a.2": "3",
        "a/x.fits.2": "4",
    }


def test_a_folder_may_take_the_name_of_a_former_file(tmp_path: Path) -> None:
    deliver(tmp_path, "a", b"file")
    take(tmp_path)
    deliver(tmp_path, "a/x.fits", b"below")
    take(tmp_path)
    assert files_below(tmp_path / "accepted") == ["a", "a.1/x.fits"]


@pytest.mark.parametrize("name", ["n" * 255, "é" * 127, "x" * 250 + ".fits"])
def test_a_name_as_long_as_file_systems_allow_is_put_aside_with_its_report(tmp_path: Path, name: str) -> None:
    for _ in range(2):
        (tmp_path / name).write_bytes(b"bad")
        with DropFolder(tmp_path) as drop:
            for claim in drop.claim():
                put_aside = drop.quarantine(claim, "it is bad\n")
                assert put_aside.read_bytes() == b"bad"
                assert report_path(put_aside).read_text() == "it is bad\n"
                assert report_path(put_aside) != put_aside
    assert len(files_below(tmp_path / "quarantine")) == 4


def test_a_file_that_goes_away_while_it_is_claimed_harms_nobody(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        deliver(tmp_path, name, name.encode())
    with DropFolder(tmp_path) as drop:
        claims = drop.claim()
        first = next(claims)
        (tmp_path / "b").unlink()
        first.path.unlink()
        drop.accept(first)
        last = next(claims)
        assert last.relative_path == "c"
        last.path.unlink()
        drop.quarantine(last, "gone\n")
    assert files_below(tmp_path) == ["quarantine/c.findings.txt"]


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "incoming"
    folder.mkdir()
    folder.chmod(0o555)
    with (
        without_privileges(folder),
        pytest.raises(ConfigurationError, match="must be writable"),
        DropFolder(folder),
    ):
        pass


def test_a_file_that_is_not_ours_to_move_is_told_once_and_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As a file in another's folder; the run goes on to what can be moved."""
    deliver(tmp_path, "a/a.fits", b"a")
    deliver(tmp_path, "b/b.fits", b"b")
    tmp_path.chmod(0o777)
    (tmp_path / "b").chmod(0o777)
    (tmp_path / "a").chmod(0o555)
    with without_privileges(tmp_path), DropFolder(tmp_path) as drop:
        for _ in range(2):
            for claim in drop.claim():
                drop.accept(claim)
    (tmp_path / "a").chmod(0o755)
    assert files_below(tmp_path) == ["a/a.fits", "accepted/b/b.fits"]
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}/a/a.fits cannot be claimed: Permission denied; it stays where it is"
    ]


def test_a_file_where_the_folder_should_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "incoming").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be a drop folder"), DropFolder(tmp_path / "incoming"):
        pass


def test_names_are_shown_as_any_terminal_can_take_them() -> None:
    assert printable(os.fsdecode(b"caf\xe9\x1b[2J\n.fits")) == "caf\\udce9\\x1b[2J\\n.fits"
    assert printable("a b+c%#é.fits") == "a b+c%#é.fits"
