"""Running one job after another: from claiming it to writing down how it ended. The process around it is worker.py.

Each job runs on a thread of its own, and one more thread watches those that run. A job's row in uws.job is the truth:
who aborts it changes the row, and the watcher, seeing that, stops the thread.
"""

import logging
import threading
import time
from dataclasses import dataclass, field

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from structlog.contextvars import bound_contextvars

from archive.access.identity import ANONYMOUS
from archive.access.service import AccessService
from archive.database.engines import begin_unflushed
from archive.jobs import queries
from archive.jobs.context import JobCancelled, JobContext, JobKind, Why
from archive.jobs.job import Job, JobError, Phase
from archive.jobs.results import ResultStore
from archive.vo.errors import ArchiveError

log = logging.getLogger(__name__)

Held = tuple[str, int]
"""job_id and the id of the queue's entry that may run it."""


@dataclass(slots=True)
class _Running:
    context: JobContext
    began: float = field(default_factory=time.monotonic)


class Runner:
    """Runs jobs on the threads that call `execute`, and watches them until `close`.

    watch_s: seconds between two looks at whether a running job was aborted, deleted, or is over its time.
    """

    def __init__(self, writer: Engine, store: ResultStore, access: AccessService, *, watch_s: float = 0.25) -> None:
        self._writer = writer
        self._store = store
        self._access = access
        self._watch_s = watch_s
        self._running: dict[Held, _Running] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="job watcher", daemon=True)
        self._watcher.start()

    def close(self) -> None:
        self._closed.set()
        self._watcher.join()

    def execute(self, kind: JobKind, job_id: str, procrastinate_id: int) -> None:
        """Claim the job, run it, and write down how it ended; returns at once if it is no longer to be run."""
        held = (job_id, procrastinate_id)
        with begin_unflushed(self._writer) as connection:
            job = queries.claim(connection, job_id, procrastinate_id)
        if job is None:
            return
        with bound_contextvars(job_id=job_id, job_kind=kind.name):  # in every line that is logged meanwhile
            self._execute(kind, job, held)

    def _execute(self, kind: JobKind, job: Job, held: Held) -> None:
        log.debug("job %s (%s): attempt %d begins", job.job_id, kind.name, job.attempt)
        context = JobContext(job, ANONYMOUS, self._store)
        error: BaseException | None = None
        with self._lock:
            self._running[held] = _Running(context)
        try:
            context.user = self._access.user_named(job.owner)
            kind.run(context)
        except Exception as raised:
            error = raised
        finally:
            with self._lock:
                del self._running[held]
        if error is not None and context.why is Why.SHUTDOWN:
            _discard(context)
            self.give_back(kind, job, held)
        else:
            self._finish(context, held, error)

    def cancel(self, held: Held) -> None:
        """The worker stops: tell the job so, whose function then returns early, and it is queued again."""
        with self._lock:
            running = self._running.get(held)
        if running is not None:
            running.context.cancel(Why.SHUTDOWN)

    def give_back(self, kind: JobKind, job: Job, held: Held) -> None:
        """Queue a job again that was stopped because the worker stops."""
        log.info("job %s: queued again, the worker stops", job.job_id)
        with self._writer.begin() as connection:
            queries.requeue(connection, job, held[1], kind)

    def job_of(self, held: Held) -> Job | None:
        """The job, if its function has not returned."""
        with self._lock:
            running = self._running.get(held)
        return None if running is None else running.context.job

    def _finish(self, context: JobContext, held: Held, error: BaseException | None) -> None:
        """How it ended and what came of it, in one transaction: results are known with the phase, or not at all."""
        job = context.job
        phase, told = (Phase.COMPLETED, None) if error is None else _outcome(job, context.why, error)
        kept = context.results if phase is Phase.COMPLETED else []
        with begin_unflushed(self._writer) as connection:
            ended = queries.finish(connection, *held, phase, told, [result for result, _ in kept])
            if ended:
                for _, laid in kept:
                    laid.record(connection)
        if not (ended and phase is Phase.COMPLETED):
            _discard(context)
        log.info("job %s: %s", job.job_id, phase if ended else "was ended by somebody else")

    def _watch(self) -> None:
        while not self._closed.wait(self._watch_s):
            with self._lock:
                running = dict(self._running)
            if not running:
                continue
            try:
                with self._writer.connect() as connection:
                    durations = queries.still_running(connection, list(running))
            except SQLAlchemyError:
                # The database restarts, say. The jobs will notice by themselves; the next look may be answered.
                log.warning("cannot look at running jobs; trying again", exc_info=True)
                continue
            now = time.monotonic()
            for held, one in running.items():
                duration_s = durations.get(held)
                if one.context.why is not None or duration_s is None:
                    one.context.cancel(Why.ABORTED)
                elif 0 < duration_s < now - one.began:
                    one.context.cancel(Why.TIMEOUT)


def _discard(context: JobContext) -> None:
    """Take away what a job stored that did not complete. What cannot be is logged, and left for scrub to find."""
    for result, laid in context.results:
        try:
            laid.discard()
        except Exception:
            log.warning("object %s of a job that ended could not be deleted", result.key, exc_info=True)


def _outcome(job: Job, why: Why | None, error: BaseException) -> tuple[Phase, JobError | None]:
    """The phase and the error that a job ends with whose function raised."""
    if why is Why.TIMEOUT:
        message = (
            f"The job was stopped because it ran longer than its executionduration of {job.execution_duration_s} s. "
            "Ask for a longer one before it is run, or for less at once."
        )
        return Phase.ABORTED, JobError(message)
    if why is Why.ABORTED or isinstance(error, JobCancelled):
        return Phase.ABORTED, None
    if isinstance(error, ArchiveError):
        return Phase.ERROR, JobError(str(error), error.fault == "TransientFault", error.code)
    log.error("job %s: a fault of ours", job.job_id, exc_info=error)
    message = f"A fault of the archive's own ended this job. Its operators find it in their log under job {job.job_id}."
    return Phase.ERROR, JobError(message)
