"""What a room hands to the job runner (JobKind), and what the runner hands to the room's function (JobContext)."""

import logging
import re
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import BinaryIO, Protocol, cast

from archive.access.identity import User
from archive.jobs.job import Job, Parameter, Result
from archive.jobs.queue import DEFAULT_QUEUE
from archive.jobs.results import ChunkStream, Laid, ResultStore
from archive.vo.dali import Parameters, UploadedFile
from archive.vo.errors import NotFoundError

log = logging.getLogger(__name__)

SPOOL_BYTES = 8 << 20
_RESULT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


class JobCancelled(Exception):
    """Raised inside a job's function to leave it, once it was told to stop. Not an error: nobody is told of it."""


class Why(Enum):
    """Why a running job must stop."""

    ABORTED = "it was aborted, deleted, or given to another worker"
    TIMEOUT = "its execution duration is over"
    SHUTDOWN = "the worker stops"


class Cancellable(Protocol):
    """As much of a psycopg connection as is needed to end what it waits for."""

    def cancel_safe(self, *, timeout: float = 30.0) -> None: ...


class JobContext:
    """A running job, as its function sees it. Made by the runner; used on the job's thread, cancelled from another.

    job: as it was when it began. user: its owner as of now. results: what it has stored, which is known to others once
    the job has completed.
    """

    def __init__(self, job: Job, user: User, store: ResultStore) -> None:
        self.job = job
        self.user = user
        self._store = store
        self.results: list[tuple[Result, Laid]] = []
        self._why: Why | None = None
        # Re-entrant: a hook may ask for `cancelled`, and a hook that is added late runs at once.
        self._lock = threading.RLock()
        self._hooks: list[Callable[[], object]] = []

    @property
    def cancelled(self) -> bool:
        """True once the job must stop: look between two pieces of work that no hook can interrupt."""
        return self._why is not None

    @property
    def why(self) -> Why | None:
        return self._why

    def raise_if_cancelled(self) -> None:
        if self._why is not None:
            raise JobCancelled(f"job {self.job.job_id}: {self._why.value}")

    def on_cancel(self, hook: Callable[[], object]) -> Callable[[], None]:
        """Call `hook`, from another thread, when the job must stop; returns what takes it back.

        It is called again, several times a second, until the job's function returns: a query that begins a moment after
        the first call must be ended too. Once it was taken back it is neither running nor called again.
        """
        with self._lock:
            self._hooks.append(hook)
            if self._why is not None:
                self._call(hook)

        def take_back() -> None:
            with self._lock:
                if hook in self._hooks:
                    self._hooks.remove(hook)

        return take_back

    @contextmanager
    def cancels(self, connection: object) -> Iterator[None]:
        """Within the block a cancelled job cancels what this psycopg connection is waiting for.

        connection: psycopg's, as SQLAlchemy gives it: ``connection.connection.driver_connection``.
        """
        driver = cast("Cancellable", connection)
        take_back = self.on_cancel(lambda: driver.cancel_safe(timeout=2.0))
        try:
            yield
        finally:
            take_back()

    def cancel(self, why: Why) -> None:
        """The runner's: the job must stop. The first reason stays."""
        with self._lock:
            self._why = self._why or why
            for hook in tuple(self._hooks):
                self._call(hook)

    def _call(self, hook: Callable[[], object]) -> None:
        try:
            hook()
        except Exception:
            # One hook that fails must not keep the others from being called, nor the next try.
            log.warning("job %s: a cancel hook failed", self.job.job_id, exc_info=True)

    def values(self, name: str) -> list[str]:
        """The values of a parameter, its name in any case."""
        return self.job.values(name)

    @contextmanager
    def parameters(self) -> Iterator[Parameters]:
        """The request's parameters as a synchronous handler would have them, files open until the block ends."""
        with ExitStack() as stack:
            items: list[tuple[str, str | UploadedFile]] = [(item.name, item.value) for item in self.job.parameters]
            for upload in self.job.uploads:
                file = cast("BinaryIO", stack.enter_context(self._store.open(upload.key)))
                items.append((upload.name, UploadedFile(file, upload.media_type, upload.size_bytes)))
            yield Parameters(items)

    def store_result(self, name: str, media_type: str, chunks: Iterable[bytes]) -> Result:
        """Stream chunks into the store as result `name`; its URL ends in ``results/<name>``. Memory stays constant."""
        _check_name(name)
        stream = ChunkStream(chunks)
        laid = self._store.lay(cast("BinaryIO", stream))
        return self._keep(Result(name, laid.key, media_type, stream.size_bytes), laid)

    @contextmanager
    def result_writer(self, name: str, media_type: str) -> Iterator[BinaryIO]:
        """A file to write result `name` into; stored when the block ends, not at all if it raises."""
        _check_name(name)
        with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as spool:
            yield cast("BinaryIO", spool)
            size_bytes = spool.tell()
            spool.seek(0)
            laid = self._store.lay(cast("BinaryIO", spool))
        self._keep(Result(name, laid.key, media_type, size_bytes), laid)

    def _keep(self, result: Result, laid: Laid) -> Result:
        self.results.append((result, laid))
        self.raise_if_cancelled()
        return result


def _check_name(name: str) -> None:
    # It becomes the last part of a URL and an XML attribute.
    if not _RESULT_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name for a result: letters, digits, '_', '-' and '.', 100 at most")


def _no_check(parameters: tuple[Parameter, ...], user: User) -> None:
    """Everything may be asked."""


def _no_estimate(parameters: tuple[Parameter, ...], user: User) -> float | None:
    """Nobody knows how long it takes."""
    return None


@dataclass(frozen=True, slots=True)
class JobKind:
    """A kind of job that a room offers.

    name: plain, unique in the archive ("tap"). run: does the work, on a thread of a worker; what it raises becomes the
    job's error. check: called before the job is queued, on the web server; what it raises refuses it (for rights, not
    for what takes long to find out). estimate: seconds it will run, for the job's quote, None where that is unknown;
    called on the web server too. priority: of those that wait in a queue the highest is run first, of the same priority
    their owners in turn; below 0 what nobody waits for; -1000 to 1000. execution_duration_s: None takes the service's
    default. max_attempts: how many workers may die of it.
    """

    name: str
    run: Callable[[JobContext], None]
    check: Callable[[tuple[Parameter, ...], User], None] = _no_check
    estimate: Callable[[tuple[Parameter, ...], User], float | None] = _no_estimate
    queue: str = DEFAULT_QUEUE
    priority: int = 0
    execution_duration_s: int | None = None
    max_attempts: int = 2


class Kinds:
    """The kinds of job this archive knows, by name."""

    def __init__(self, kinds: Iterable[JobKind]) -> None:
        self._kinds: dict[str, JobKind] = {}
        for kind in kinds:
            if kind.name in self._kinds:
                raise ValueError(f"two kinds of job are called {kind.name!r}")
            self._kinds[kind.name] = kind

    def __iter__(self) -> Iterator[JobKind]:
        return iter(self._kinds.values())

    def get(self, name: str) -> JobKind | None:
        return self._kinds.get(name)

    def __getitem__(self, name: str) -> JobKind:
        kind = self._kinds.get(name)
        if kind is None:
            raise NotFoundError(f"This archive runs no jobs of kind {name!r}.")
        return kind
