"""The standing processes where nobody works jobs off: on a node that runs without the rest of the archive.

Each has a thread, which sleeps until cron's next time. A process runs once at a time over one catalogue, however many
nodes serve it: who runs it holds PostgreSQL's advisory lock of its name.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Event, Thread
from typing import get_args

from croniter import croniter
from sqlalchemy import Engine, func, select

from storage.objects import ObjectService
from storage.upkeep import Process, Upkeep, run_job

log = logging.getLogger(__name__)


def keep(service: ObjectService, upkeep: Upkeep, stopped: Event) -> None:
    """Run each process at its times (upkeep.schedule) until stopped; what runs then ends early and well."""
    threads = [
        Thread(target=_keep, args=(service, upkeep, process, cron, stopped), name=f"store-{process}")
        for process in get_args(Process)
        if (cron := upkeep.schedule.get(process))
    ]
    for each in threads:
        each.start()
    stopped.wait()
    for each in threads:
        each.join()


def _keep(service: ObjectService, upkeep: Upkeep, process: Process, cron: str, stopped: Event) -> None:
    while not stopped.wait(_seconds_until(cron)):
        try:
            with _alone(service.engine, process) as alone:
                if alone:
                    run_job(service, upkeep, process, stopped.is_set)
        except Exception:
            # Whatever it was, a database that is away or a fault of ours, the next time comes.
            log.exception("store %s broke off", process)


def _seconds_until(cron: str) -> float:
    now = datetime.now(UTC)
    due: datetime = croniter(cron, now).get_next(datetime)
    return (due - now).total_seconds()


@contextmanager
def _alone(engine: Engine, process: Process) -> Iterator[bool]:
    """Whether nobody else runs this process over the catalogue, and will not before this ends."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.detach()  # not one of the pool's any more: it is closed at the end, and the lock goes with it
        number = func.hashtextextended(f"store.{process}", 0)
        yield bool(connection.scalar(select(func.pg_try_advisory_lock(number))))
