"""Waiting for a job to change its phase (UWS 1.1 §2.2.1.2), many waiters at the cost of one query."""

import asyncio
import logging
from dataclasses import dataclass

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from archive.jobs import queries
from archive.jobs.job import Phase

log = logging.getLogger(__name__)

FIRST_LOOK_S = 0.01
SLOWER = 1.3  # how much longer each pause is than the one before, until it is interval_s


@dataclass(eq=False, slots=True)
class _Waiter:
    job_id: str
    phase: Phase
    changed: "asyncio.Future[None]"


class PhaseWatcher:
    """Asks for the phases of all awaited jobs at once, every interval_s seconds, while anybody waits.

    For who has just begun to wait it asks sooner, FIRST_LOOK_S after: most jobs are short. It belongs to one event
    loop. A waiter costs a future, no thread and no connection.
    """

    def __init__(self, engine: Engine, *, interval_s: float = 0.1) -> None:
        self._engine = engine
        self._interval_s = interval_s
        self._waiters: set[_Waiter] = set()
        self._poller: asyncio.Task[None] | None = None
        self._pause_s = interval_s

    @property
    def waiting(self) -> int:
        """How many wait now."""
        return len(self._waiters)

    async def changed(self, job_id: str, phase: Phase, timeout_s: float) -> None:
        """Return when the job is gone or in another phase than `phase`, at the latest after timeout_s seconds.

        May return early, which UWS allows: the caller looks at the job again.
        """
        waiter = _Waiter(job_id, phase, asyncio.get_running_loop().create_future())
        self._waiters.add(waiter)
        self._pause_s = min(FIRST_LOOK_S, self._interval_s)
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll())
        try:
            await asyncio.wait({waiter.changed}, timeout=timeout_s)
        finally:
            self._waiters.discard(waiter)

    def release(self) -> None:
        """Let everybody go, since the server stops."""
        for waiter in tuple(self._waiters):
            _wake(waiter)

    async def _poll(self) -> None:
        while self._waiters:
            await asyncio.sleep(self._pause_s)
            self._pause_s = min(self._pause_s * SLOWER, self._interval_s)
            asked = tuple(self._waiters)
            if not asked:
                return
            try:
                phases = await asyncio.to_thread(self._phases, sorted({waiter.job_id for waiter in asked}))
            except SQLAlchemyError:
                log.warning("cannot look at the phases of awaited jobs; their waiters go early", exc_info=True)
                phases = {}
            for waiter in asked:
                if phases.get(waiter.job_id) is not waiter.phase:
                    _wake(waiter)

    def _phases(self, job_ids: list[str]) -> dict[str, Phase]:
        with self._engine.connect() as connection:
            return queries.phases(connection, job_ids)


def _wake(waiter: _Waiter) -> None:
    if not waiter.changed.done():
        waiter.changed.set_result(None)
