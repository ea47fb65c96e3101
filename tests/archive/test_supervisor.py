"""The supervisor with real processes and real signals; what it did is read from its log and from the kernel."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from archive.app.supervisor import told

REPOSITORY = Path(__file__).resolve().parents[2]

# Arguments: the keywords of Supervisor, then of each child its name and shell command, as Python.
PROGRAM = """
import logging, sys
from archive.app.supervisor import ChildSpec, Chore, Supervisor
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
options, children = eval(sys.argv[1]), eval(sys.argv[2])
sys.exit(Supervisor([ChildSpec(*child) for child in children], **options).run())
"""


class Supervised:
    """A supervisor in a process of its own, and what it said."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.said: list[str] = []

    def wait_for(self, words: str) -> str:
        """Read the log until a line has these words."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line.rstrip())
            if words in line:
                return self.said[-1]
        raise AssertionError(f"it never said {words!r}, but {self.said}")

    def pid_of(self, name: str) -> int:
        """The id that the line of a child's start tells."""
        return int(self.wait_for(f"{name} started (pid ").rpartition(" ")[2].rstrip(")"))

    def end(self, *signals: signal.Signals) -> int:
        """Send signals, read the rest, return the exit status."""
        for each in signals:
            self.process.send_signal(each)
        rest, _ = self.process.communicate(timeout=60)
        self.said += rest.splitlines()
        return self.process.returncode


@contextmanager
def supervisor(
    *commands: Sequence[object], before: Sequence[str] = (), options: str = "", fds: Sequence[int] = ()
) -> Iterator[Supervised]:
    """Run children; each is (name, shell command or list of words, environment, descriptors)."""
    children = [
        (name, command if isinstance(command, list) else ["sh", "-c", command], *rest)
        for name, command, *rest in commands
    ]
    keywords = f"dict(restart_min_s=0.01, {options})"
    words = [*before, sys.executable, "-u", "-c", PROGRAM, keywords, repr(children)]
    # SIGINT is ignored by what a script starts in the background, which a test run may be.
    with subprocess.Popen(
        ["env", "--default-signal=INT", *words],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=fds,
        start_new_session=True,
    ) as process:
        try:
            yield Supervised(process)
        finally:
            process.kill()


def lives(pid: int) -> bool:
    """Whether a process runs; a zombie that nobody collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(*pids: int) -> None:
    deadline = time.monotonic() + 30
    while any(lives(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.02)


SLEEP = "exec sleep 300"


def test_a_child_that_was_killed_is_started_again_and_the_others_are_left_alone() -> None:
    with supervisor(("web", SLEEP), ("worker", SLEEP)) as running:
        web, worker = running.pid_of("web"), running.pid_of("worker")
        os.kill(web, signal.SIGKILL)
        running.wait_for("was ended by SIGKILL")
        again = running.pid_of("web")
        assert lives(again)
        assert lives(worker)
        assert running.end(signal.SIGTERM) == 0
        wait_until_gone(again, worker)


def test_a_child_that_keeps_dying_is_started_ever_more_seldom_up_to_a_limit() -> None:
    with supervisor(("bad", "exit 3"), options="restart_max_s=0.05") as running:
        waits = [running.wait_for("starts again in").split(" in ")[1] for _ in range(5)]
        assert waits == ["0.01 s", "0.02 s", "0.04 s", "0.05 s", "0.05 s"]
        assert "ended with status 3" in running.said[1]


def test_a_child_that_lived_long_enough_is_forgiven_its_former_deaths() -> None:
    with supervisor(("web", "exit 0"), options="healthy_after_s=0") as running:
        waits = {running.wait_for("starts again in").split(" in ")[1] for _ in range(4)}
        assert waits == {"0.01 s"}


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_children_are_asked_and_given_time_to_end_what_they_do(asked: signal.Signals) -> None:
    stream = "trap 'echo stream ended; exit 0' TERM; echo streaming; while :; do sleep 0.1; done"
    with supervisor(("web", stream)) as running:
        running.wait_for("streaming")
        assert running.end(asked) == 0
        assert "stream ended" in running.said
        assert "ended with status 0" in running.said[-1]


def test_a_child_that_does_not_heed_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    deaf = f"trap '' TERM; sleep 300 & echo $! > {tmp_path}/grandchild; echo unheeding; while :; do sleep 1; done"
    with supervisor(("deaf", deaf), ("good", SLEEP), options="stop_timeout_s=0.3") as running:
        running.wait_for("unheeding")
        grandchild = int((tmp_path / "grandchild").read_text())
        assert running.end(signal.SIGTERM) == 1
        assert "killing deaf" in running.said
        wait_until_gone(grandchild)


def test_who_asks_twice_does_not_wait() -> None:
    deaf = "trap '' TERM; echo ready; while :; do sleep 0.2; done"
    with supervisor(("web", deaf), options="stop_timeout_s=3600") as running:
        running.wait_for("ready")
        running.process.send_signal(signal.SIGINT)
        running.wait_for("stopping")
        assert running.end(signal.SIGINT) == 1


def test_children_die_with_a_supervisor_that_was_killed() -> None:
    with supervisor(("web", SLEEP), ("worker", "trap '' TERM HUP INT; exec sleep 300")) as running:
        children = running.pid_of("web"), running.pid_of("worker")
        running.process.kill()
        wait_until_gone(*children)


def test_ctrl_c_in_the_terminal_reaches_the_supervisor_alone() -> None:
    child = "trap 'echo interrupted' INT; trap 'exit 0' TERM; echo ready; while :; do sleep 0.1; done"
    with supervisor(("web", child)) as running:
        running.wait_for("ready")
        os.killpg(running.process.pid, signal.SIGINT)
        assert running.end() == 0
        assert "interrupted" not in running.said


def test_nohup_is_respected() -> None:
    # env --ignore-signal: nohup itself, without its file.
    with supervisor(("web", SLEEP), before=["env", "--ignore-signal=HUP"]) as running:
        first = running.pid_of("web")
        running.process.send_signal(signal.SIGHUP)
        os.kill(first, signal.SIGKILL)
        running.pid_of("web")
        assert running.end(signal.SIGTERM) == 0


def test_a_program_that_is_not_there_is_told_and_tried_again_and_harms_no_other() -> None:
    with supervisor(("web", SLEEP), ("lost", ["/no/such"])) as running:
        web = running.pid_of("web")
        for _ in range(2):
            running.wait_for("lost cannot be started: [Errno 2]")
        assert lives(web)
        assert running.end(signal.SIGTERM) == 0


def test_children_get_their_environment_and_the_descriptors_that_they_share() -> None:
    reading, writing = os.pipe()
    try:
        child = (
            f"echo $GREETING $HOME > /proc/self/fd/{writing}; {SLEEP}",
            {"GREETING": "hello", "HOME": "/here"},
            [writing],
        )
        with supervisor(("web", *child), fds=[writing]) as running:
            assert os.read(reading, 100) == b"hello /here\n"
            assert running.end(signal.SIGTERM) == 0
    finally:
        os.close(reading)
        os.close(writing)


def test_chores_are_done_again_and_again_even_when_they_fail() -> None:
    chores = "chores=[Chore('ok', lambda: print('done', flush=True), 0.01), Chore('bad', lambda: 1 / 0, 0.01)]"
    with supervisor(("web", SLEEP), options=chores) as running:
        for words in ("done", "bad failed; again in 0.01 s", "ZeroDivisionError", "done", "bad failed"):
            running.wait_for(words)
        assert running.end(signal.SIGTERM) == 0


def test_nothing_to_run_is_run_until_asked_to_stop() -> None:
    with supervisor(options="chores=[Chore('ok', lambda: print('alive', flush=True), 0.01)]") as running:
        running.wait_for("alive")
        assert running.end(signal.SIGTERM) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="a process can be number 1 only in a namespace that root makes")
def test_as_init_of_a_container_it_collects_what_others_leave() -> None:
    orphan = f"(sh -c 'sleep 0.05' &) ; {SLEEP}"
    # As number 1, with a /proc of its own, in which a zombie would show.
    before = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    zombies = "any(') Z ' in open(f'/proc/{n}/stat').read() for n in __import__('os').listdir('/proc') if n.isdigit())"
    options = f"chores=[Chore('look', lambda: print('zombies:', {zombies}, flush=True), 0.2)]"
    with supervisor(("web", orphan), before=before, options=options) as running:
        running.wait_for("zombies: ")
        for _ in range(3):
            assert running.wait_for("zombies: ") == "zombies: False"


def test_an_exit_status_is_told_in_words() -> None:
    assert told(3) == "ended with status 3"
    assert told(-signal.SIGSEGV) == "was ended by SIGSEGV"
    assert told(-63).startswith("was ended by ")


# What children do that are forks: by name, below.
FORKS = """
import fcntl, os, signal, sys, time
lease = open(sys.argv[2], "w")
fcntl.flock(lease, fcntl.LOCK_EX)

def tells():
    kept = [each for each in range(200) if os.path.exists(f"/proc/self/fd/{each}")]
    print("kept", kept, os.getpgid(0) == os.getpid(), os.environ["TOLD"], flush=True)
    both = signal.SIGTERM, signal.SIGCHLD
    print("handles", *(signal.getsignal(each) is signal.SIG_DFL for each in both), flush=True)
    time.sleep(300)

def ends():
    sys.exit(4)

def breaks():
    raise ZeroDivisionError("on purpose")

def stops():
    print("here", flush=True)
    time.sleep(300)
"""


@contextmanager
def forking(name: str, lease: Path, *, fds: Sequence[int] = ()) -> Iterator[Supervised]:
    program = PROGRAM.split("options, children")[0] + FORKS
    child = f"ChildSpec({name!r}, ['our', {name!r}], {{'TOLD': 'by us'}}, {tuple(fds)}, {name})"
    program += f"sys.exit(Supervisor([{child}], restart_min_s=0.01, restart_max_s=0.05).run())"
    with subprocess.Popen(
        ["env", "--default-signal=INT", sys.executable, "-u", "-c", program, "", str(lease)],
        cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, pass_fds=fds,
        start_new_session=True,
    ) as process:  # fmt: skip
        try:
            yield Supervised(process)
        finally:
            process.kill()


def test_a_fork_has_what_it_is_given_and_nothing_else_of_the_supervisor(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    try:
        with forking("tells", tmp_path / "lease", fds=[writing]) as running:
            assert running.wait_for("handles") == "handles True True"
            (pid,) = (child.pid for child in psutil.Process(running.process.pid).children())
            assert f"kept [0, 1, 2, {writing}] True by us" in running.said
            assert Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b" \0") == b"our tells"
            assert running.end(signal.SIGTERM) == 0
            wait_until_gone(pid)
    finally:
        os.close(reading)
        os.close(writing)


def test_how_a_fork_ended_is_told_and_it_is_started_again(tmp_path: Path) -> None:
    with forking("ends", tmp_path / "lease") as running:
        first = running.pid_of("ends")
        assert "ended with status 4" in running.wait_for("ended with")
        assert running.pid_of("ends") != first
    with forking("breaks", tmp_path / "lease") as running:
        running.wait_for("ZeroDivisionError: on purpose")
        assert "ended with status 1" in running.wait_for("ended with")


def test_a_fork_goes_when_its_supervisor_is_killed_and_holds_no_lease_of_it(tmp_path: Path) -> None:
    with forking("stops", tmp_path / "lease") as running:
        running.wait_for("here")
        (pid,) = (child.pid for child in psutil.Process(running.process.pid).children())
        os.kill(pid, signal.SIGSTOP)  # it cannot see to its own end
        running.end(signal.SIGKILL)
        wait_until_gone(pid)
        with (tmp_path / "lease").open("w") as lease:
            fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_chore_that_is_done_is_not_done_again() -> None:
    program = PROGRAM.split("options, children")[0] + (
        "left = [3]\n"
        "def work():\n    left[0] -= 1\n    print('left', left[0], flush=True)\n    return left[0] == 0\n"
        "sys.exit(Supervisor([], chores=[Chore('once', work, every_s=0.01)]).run())"
    )
    with subprocess.Popen(
        [sys.executable, "-u", "-c", program, "", ""], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(3)] == ["left 2\n", "left 1\n", "left 0\n"]
        time.sleep(0.2)
        process.terminate()
        assert "left" not in process.communicate(timeout=30)[0]
        assert process.returncode == 0
