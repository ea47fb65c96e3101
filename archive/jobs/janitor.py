"""What must happen to jobs that nobody looks after: the dead worker's are run again, the expired are deleted.

Run by each worker every few seconds; an advisory lock lets one at a time do it.
"""

import logging
import time
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from archive.jobs import queries, queue
from archive.jobs.context import Kinds
from archive.jobs.job import JobError, Phase
from archive.jobs.results import ResultStore

log = logging.getLogger(__name__)

_LOCK = 0x75726F_6A616E
DEFAULT_ATTEMPTS = 2
CLEANING_S = 600.0


class Janitor:
    """writer: an engine that may write schemas uws and jobs. stalled_after_s: seconds without a heartbeat after which a
    worker is dead. keep_ended_s: seconds for which the queue remembers entries that ended."""

    def __init__(
        self,
        writer: Engine,
        store: ResultStore,
        kinds: Kinds,
        *,
        stalled_after_s: float = 20.0,
        keep_ended_s: float = 86_400.0,
    ) -> None:
        self._writer = writer
        self._store = store
        self._kinds = kinds
        self._stalled_after = timedelta(seconds=stalled_after_s)
        self._keep_ended = timedelta(seconds=keep_ended_s)
        self._next_cleaning = 0.0

    def sweep(self) -> None:
        """One round; does nothing if another process is at it."""
        keys: list[str] = []
        with self._writer.begin() as connection:
            if not connection.execute(sa.select(sa.func.pg_try_advisory_xact_lock(_LOCK))).scalar_one():
                return
            for job in queries.lost(connection, self._stalled_after):
                self._recover(connection, job)
            for task in queue.lost_tasks(connection, self._stalled_after):
                self._recover_task(connection, task)
            for job_id in queries.expired(connection):
                log.info("job %s: its destruction time has come", job_id)
                keys += queries.delete(connection, job_id)
            if time.monotonic() >= self._next_cleaning:
                queue.delete_ended(connection, self._keep_ended)
                self._next_cleaning = time.monotonic() + CLEANING_S
        # After the commit: bytes without a row are found by scrub, a row without bytes would promise what is not there.
        forget(self._store, keys)

    def _recover(self, connection: Connection, lost: queries.LostJob) -> None:
        kind = self._kinds.get(lost.kind)
        allowed = DEFAULT_ATTEMPTS if kind is None else kind.max_attempts
        # One that was fetched but never claimed counts too, or it might come back for ever.
        attempt = lost.attempt + (lost.phase is Phase.QUEUED)
        if lost.procrastinate_id is not None:
            queue.give_up(connection, lost.procrastinate_id)
        if kind is not None and attempt < allowed:
            log.warning("job %s: its worker died; queued again (attempt %d of %d)", lost.job_id, attempt + 1, allowed)
            queries.enqueue(connection, lost.job_id, kind, attempt=attempt)
        else:
            log.error("job %s: its worker died in attempt %d of %d; given up", lost.job_id, attempt, allowed)
            message = (
                f"The worker that ran this job died, in attempt {attempt} of {allowed}. "
                "Run it again as a new job; if it dies again, ask for less at once."
            )
            queries.fail(connection, lost.job_id, JobError(message, is_transient=True))

    def _recover_task(self, connection: Connection, task: queue.LostTask) -> None:
        if task.attempts + 1 < DEFAULT_ATTEMPTS:
            log.warning("task %s (%d): its worker died; queued again", task.task, task.procrastinate_id)
            queue.retry(connection, task.procrastinate_id)
        else:
            log.error("task %s (%d): its worker died again; given up", task.task, task.procrastinate_id)
            queue.give_up(connection, task.procrastinate_id)


def forget(store: ResultStore, keys: list[str]) -> None:
    """Delete bytes that no job refers to any more. One that cannot be deleted is logged and left for scrub to find."""
    for key in keys:
        try:
            store.delete(key)
        except Exception:
            log.warning("object %s of a deleted job could not be deleted", key, exc_info=True)
