"""A live archive for tests: the demo sky, served on a free port by the very command that a user types."""

import contextlib
import functools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from tests.databases import DATABASES

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = [sys.executable, "-m", "uraniborg"]
START_S = 180.0


@dataclass(frozen=True, slots=True)
class Live:
    """A served archive. env: what a command needs to work on the same archive."""

    url: str
    data_dir: Path
    env: Mapping[str, str]
    database: str
    process: "subprocess.Popen[bytes]"

    @property
    def operator_token(self) -> str:
        return (self.data_dir / "operator.token").read_text().strip()

    def run(self, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """A command of the archive, beside the running server."""
        return subprocess.run(
            [*PROGRAM, *arguments, "--data-dir", str(self.data_dir)],
            env={**os.environ, **self.env},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
            check=check,
        )


def words_of(process: psutil.Process) -> list[str]:
    """What a process is called: a fork's words are one string."""
    return " ".join(process.cmdline()).split()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving(data_dir: Path, env: Mapping[str, str], database: str, *command: str) -> Iterator[Live]:
    """Run a serving command (`demo`, `serve`) until the block ends; it is ended by its pid."""
    port = free_port()
    log = data_dir.with_suffix(".log")
    with log.open("wb") as out:
        process = subprocess.Popen(
            # SIGINT is ignored by what a script starts in the background, which a test run may be.
            ["env", "--default-signal=INT", *PROGRAM, *command, "--port", str(port), "--data-dir", str(data_dir)],
            env={**os.environ, **env},
            cwd=ROOT,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    live = Live(f"http://127.0.0.1:{port}", data_dir, env, database, process)
    try:
        wait_until_available(live, log)
        yield live
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def wait_until_available(live: Live, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert live.process.poll() is None, f"the archive ended while it started:\n{log.read_text()[-6000:]}"
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{live.url}/availability", timeout=5).status_code == 200:
                return
        time.sleep(0.1)
    raise AssertionError(f"the archive did not start within {START_S} s:\n{log.read_text()[-6000:]}")


@pytest.fixture(scope="session")
def lives(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Live]]:
    """Starts the demo on a database when it is first asked for, and ends all with the session.

    A parametrized fixture of the session alone would be ended and begun anew for each file of tests.
    """
    with contextlib.ExitStack() as stack:

        @functools.cache
        def started(database: str) -> Live:
            env: dict[str, str] = {}
            if database != "embedded":
                postgres = stack.enter_context(DATABASES[database]())
                env = database_environment(postgres.fresh_database().urls)
            data_dir = tmp_path_factory.mktemp(f"live-{database}") / "data"
            return stack.enter_context(serving(data_dir, env, database, "demo"))

        yield started


@pytest.fixture(scope="session", params=["embedded", "pgsphere"])
def live(request: pytest.FixtureRequest, lives: Callable[[str], Live]) -> Live:
    """The demo, on the embedded server and on PostgreSQL with pgSphere."""
    return lives(request.param)


def database_environment(urls: object) -> dict[str, str]:
    """The settings that name an external database."""
    return {
        f"URANIBORG_DATABASE__{role.upper()}_URL": getattr(urls, role).render_as_string(hide_password=False)
        for role in ("owner", "writer", "reader")
    }
