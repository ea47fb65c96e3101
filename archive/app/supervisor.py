"""The processes of one machine: started, watched, started again when they die, ended in order.

Plain processes and signals, no event loop: what keeps the archive up must be simpler than what it keeps up. SIGTERM,
SIGINT and SIGHUP (the terminal was closed; not under nohup) end everything; a second one ends it at once.

Here: processes. Not here: what they do (uraniborg.py says which there are), the embedded database, which outlives its
supervisor when other commands still use it (archive.database.embedded); a chore can look after it.
"""

import contextlib
import ctypes
import logging
import os
import resource
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from types import FrameType

from setproctitle import setproctitle

logger = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
PR_SET_PDEATHSIG = 1  # prctl(2)

# Loaded once and here: between fork and exec nothing may be imported.
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """A process to keep running.

    name: for the log. argv: program and arguments. env: added to our own environment. pass_fds: open descriptors that
    it inherits under the same numbers (a listening socket, which all web workers share).
    run: what the child does instead of executing argv, which is then only what it is called. It is a fork of this
    process, so that all that was imported here is there at once, and in memory once; this process then wants to have no
    threads. Of its descriptors, handlers and time nothing else reaches the child.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    pass_fds: Sequence[int] = ()
    run: Callable[[], object] | None = None


class _Fork:
    """A child without a program of its own, with as much of Popen as is asked of it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._status: int | None = None

    def poll(self) -> int | None:
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
        return self._status

    def wait(self) -> int:
        if self._status is None:
            self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._status


@dataclass(frozen=True, slots=True)
class Chore:
    """Something to look after between two looks at the children.

    work may raise: that is logged, and tried again. True: it is done for good.
    """

    name: str
    work: Callable[[], object]
    every_s: float = 5.0


@dataclass(slots=True)
class _Child:
    spec: ChildSpec
    process: "subprocess.Popen[bytes] | _Fork | None" = None
    started: float = 0.0
    due: float = 0.0
    failures: int = 0


class Supervisor:
    """Keeps the children running until it is told to stop. One run, from the main thread.

    stop_timeout_s: seconds between SIGTERM and SIGKILL, in which streams may end. restart_min_s: wait before a dead
    child is started again, doubled with each death in a row, restart_max_s at most. healthy_after_s: a child that
    lived as long is forgiven its former deaths.
    """

    def __init__(
        self,
        children: Sequence[ChildSpec],
        *,
        chores: Sequence[Chore] = (),
        stop_timeout_s: float = 30.0,
        restart_min_s: float = 0.5,
        restart_max_s: float = 60.0,
        healthy_after_s: float = 30.0,
    ) -> None:
        self.stop_timeout_s = stop_timeout_s
        self.restart_min_s = restart_min_s
        self.restart_max_s = restart_max_s
        self.healthy_after_s = healthy_after_s
        self._children = [_Child(spec) for spec in children]
        self._chores = [(chore, time.monotonic() + chore.every_s) for chore in chores]
        self._asked = 0

    def run(self) -> int:
        """Run until asked to stop. Returns 0 when every child then ended by itself, 1 when one had to be killed."""
        with self._signals() as woken:
            try:
                while not self._asked:
                    self._reap()
                    self._start_due()
                    self._do_chores()
                    self._wait(woken, self._next_due())
            finally:
                killed = self._stop(woken)
        return 1 if killed else 0

    # --- children

    def _start_due(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if child.process is None and child.due <= now and not self._asked:
                self._start(child)

    def _start(self, child: _Child) -> None:
        child.started = time.monotonic()
        try:
            child.process = _executed(child.spec) if child.spec.run is None else _forked(child.spec, child.spec.run)
        except OSError as error:
            logger.error("%s cannot be started: %s", child.spec.name, error)
            self._postpone(child)
            return
        logger.info("%s started (pid %d)", child.spec.name, child.process.pid)

    def _reap(self) -> None:
        for child in self._children:
            if child.process is None or (status := child.process.poll()) is None:
                continue
            logger.log(
                logging.INFO if self._asked else logging.WARNING,
                "%s (pid %d) %s",
                child.spec.name,
                child.process.pid,
                told(status),
            )
            child.process = None
            self._postpone(child)
        if os.getpid() == 1:
            self._reap_orphans()

    def _postpone(self, child: _Child) -> None:
        now = time.monotonic()
        if now - child.started >= self.healthy_after_s:
            child.failures = 0
        delay_s = min(self.restart_max_s, self.restart_min_s * 2 ** min(child.failures, 32))
        child.failures += 1
        child.due = now + delay_s
        if not self._asked:
            logger.info("%s starts again in %.3g s", child.spec.name, delay_s)

    def _reap_orphans(self) -> None:
        """As init of a container we inherit what others leave; look first, for our own children are Popen's."""
        ours = {child.process.pid for child in self._children if child.process}
        while True:
            try:
                seen = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if seen is None or seen.si_pid in ours:
                return
            os.waitpid(seen.si_pid, 0)

    def _stop(self, woken: int) -> list[str]:
        """SIGTERM to all, then patience, then SIGKILL. Returns the names of those that were killed."""
        logger.info("stopping; streams have %.3g s to end", self.stop_timeout_s)
        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + self.stop_timeout_s
        while True:
            self._reap()
            alive = [child.spec.name for child in self._children if child.process]
            if not alive or time.monotonic() >= deadline or self._asked > 1:
                break
            self._wait(woken, deadline)
        if alive:
            logger.warning("killing %s", ", ".join(alive))
            self._signal(signal.SIGKILL)
            for child in self._children:
                if child.process:
                    child.process.wait()
            self._reap()
        return alive

    def _signal(self, sent: signal.Signals) -> None:
        for child in self._children:
            if child.process is None:
                continue
            try:
                # SIGTERM to the child, which knows how to end what it started; SIGKILL to all of its group.
                (os.killpg if sent == signal.SIGKILL else os.kill)(child.process.pid, sent)
            except ProcessLookupError:
                continue  # died meanwhile; the next look collects it

    # --- time and signals

    def _do_chores(self) -> None:
        now = time.monotonic()
        left = []
        for chore, due in self._chores:
            if due <= now and not self._asked:
                try:
                    if chore.work() is True:
                        continue
                except Exception:
                    logger.exception("%s failed; again in %.3g s", chore.name, chore.every_s)
                due = time.monotonic() + chore.every_s
            left.append((chore, due))
        self._chores = left

    def _next_due(self) -> float | None:
        dues = [child.due for child in self._children if child.process is None]
        dues += [due for _, due in self._chores]
        return min(dues, default=None)

    def _wait(self, woken: int, until: float | None) -> None:
        """Sleep until a signal comes (a child died, someone asks) or the moment is there."""
        timeout = None if until is None else max(0.0, until - time.monotonic())
        ready, _, _ = select.select([woken], [], [], timeout)
        if ready:
            os.read(woken, 4096)

    @contextmanager
    def _signals(self) -> Iterator[int]:
        """Handlers for as long as we run, and a pipe that each signal writes to, so that none is slept through."""
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        os.set_blocking(writing, False)

        def ask(number: int, frame: FrameType | None) -> None:
            self._asked += 1

        def notice(number: int, frame: FrameType | None) -> None:
            """A handler there must be, or the pipe stays silent."""

        # nohup asks for SIGHUP to be ignored, and so it is.
        handled = [each for each in STOP_SIGNALS if signal.getsignal(each) is not signal.SIG_IGN]
        former = {each: signal.signal(each, ask) for each in handled}
        former[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, notice)
        former_descriptor = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        try:
            yield reading
        finally:
            signal.set_wakeup_fd(former_descriptor)
            for each, handler in former.items():
                signal.signal(each, handler)
            os.close(reading)
            os.close(writing)


def follow(supervisor: int) -> None:
    """In a child: the kernel kills it when we are gone, however we went; if we went before it knew, it goes now."""
    if _LIBC is not None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:
        os._exit(1)


def _executed(spec: ChildSpec) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(  # noqa: S603
        list(spec.argv),
        env={**os.environ, **spec.env},
        # A group of its own: Ctrl-C reaches us alone, and we say SIGTERM in our own time.
        process_group=0,
        pass_fds=tuple(spec.pass_fds),
        preexec_fn=partial(follow, os.getpid()),
    )


def _forked(spec: ChildSpec, run: Callable[[], object]) -> _Fork:
    supervisor = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return _Fork(pid)
    status = 1
    # The way out is os._exit: what this process would do at its end is the supervisor's to do.
    try:
        os.setpgid(0, 0)
        follow(supervisor)
        _forget(spec.pass_fds)
        os.environ.update(spec.env)
        setproctitle(" ".join(spec.argv))
        run()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # of whatever kind: nobody above would tell it
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _forget(kept: Sequence[int]) -> None:
    """In a fork: let go of the supervisor's descriptors (its lease of the database) and handlers, as exec would."""
    signal.set_wakeup_fd(-1)
    for number in (*STOP_SIGNALS, signal.SIGCHLD):
        if callable(signal.getsignal(number)):  # what is ignored stays ignored
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    for low, high in pairwise((2, *sorted(kept), limit)):
        os.closerange(low + 1, high)


def told(status: int) -> str:
    """An exit status (Popen's: negative is a signal) in words."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"
