"""`uraniborg serve` as an operator knows it: what dies comes back, what is stopped is gone."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.live import PROGRAM, ROOT, Live, serving, words_of

PATIENCE_S = 45.0
PICTURE = ROOT / "demo/data/radio/m17sw_alma_unittest.fits"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An archive with a file in it, so that there is something to lose."""
    folder = tmp_path_factory.mktemp("processes") / "data"
    for words in (("db", "init"), ("ingest", "--collection", "radio", str(PICTURE))):
        subprocess.run([*PROGRAM, *words, "--data-dir", str(folder)], cwd=ROOT, check=True, capture_output=True)
    yield folder


def rows(live: Live) -> int:
    form = {"LANG": "ADQL", "FORMAT": "csv", "QUERY": "SELECT COUNT(*) AS n FROM ivoa.obscore"}
    return int(httpx.post(f"{live.url}/tap/sync", data=form, timeout=30).raise_for_status().text.split()[1])


def answers(live: Live) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"{live.url}/availability", timeout=5).status_code == 200 and rows(live) > 0
    return False


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S} s: {what}"
        time.sleep(0.2)


def processes_of(data_dir: Path) -> list[psutil.Process]:
    """Every living process that names the data folder, or has its database's files open as its own folder."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = " ".join(process.cmdline())
            if process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid() and str(data_dir) in words:
                found.append(process)
    return found


def named(live: Live, word: str) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(live.process.pid).children():
        with contextlib.suppress(psutil.Error):  # it ends as we look
            if word in words_of(child):
                found.append(child)
    return found


def test_a_web_worker_that_is_killed_is_replaced_while_the_other_answers(data_dir: Path) -> None:
    with serving(data_dir, {}, "embedded", "serve") as live:
        first = named(live, "web")
        assert len(first) == 2
        first[0].kill()
        assert rows(live) > 0
        until(lambda: len(named(live, "web")) == 2 and first[0] not in named(live, "web"), "a second web worker")
        until(lambda: answers(live), "answers")


def test_the_job_worker_that_is_killed_is_replaced_and_runs_jobs(data_dir: Path) -> None:
    with serving(data_dir, {}, "embedded", "serve") as live:
        (worker,) = named(live, "worker")
        worker.kill()
        until(lambda: named(live, "worker") not in ([], [worker]), "a new job worker")
        form = {"LANG": "ADQL", "QUERY": "SELECT TOP 1 dp_id FROM ivoa.obscore", "PHASE": "RUN"}
        job = httpx.post(f"{live.url}/tap/async", data=form).headers["location"]
        until(lambda: httpx.get(f"{job}/phase").text == "COMPLETED", "the job runs")


def test_the_database_that_is_killed_is_started_again(data_dir: Path) -> None:
    with serving(data_dir, {}, "embedded", "serve") as live:
        before = rows(live)
        postmaster = int((data_dir / "db" / "postmaster.pid").read_text().split()[0])
        os.kill(postmaster, signal.SIGKILL)
        until(lambda: answers(live), "the database is back")
        assert rows(live) == before


def test_a_supervisor_that_is_killed_takes_its_children_along_and_is_survived(data_dir: Path) -> None:
    with serving(data_dir, {}, "embedded", "serve") as live:
        before = rows(live)
        children = psutil.Process(live.process.pid).children()
        os.kill(live.process.pid, signal.SIGKILL)
        live.process.wait(10)
        until(lambda: not any(child.is_running() and child.status() != "zombie" for child in children), "children end")
    with serving(data_dir, {}, "embedded", "serve") as live:
        assert rows(live) == before


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
def test_what_is_asked_to_stop_is_gone_the_database_too(data_dir: Path, asked: signal.Signals) -> None:
    with serving(data_dir, {}, "embedded", "serve") as live:
        assert rows(live) > 0
        live.process.send_signal(asked)
        assert live.process.wait(60) == 0
        assert not (data_dir / "db" / "postmaster.pid").exists()
        assert processes_of(data_dir) == []


@pytest.mark.slow
def test_the_demo_run_again_ingests_nothing_twice(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with serving(data_dir, {}, "embedded", "demo") as live:
        assert rows(live) >= 25
    with serving(data_dir, {}, "embedded", "demo") as live:
        log = data_dir.with_suffix(".log").read_text()
        assert "unchanged" in log
        assert "accepted" not in log
        assert rows(live) >= 25
        assert live.data_dir.joinpath("operator.token").stat().st_mode & 0o777 == 0o600
