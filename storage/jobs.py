"""The standing processes as jobs of procrastinate: a Blueprint with their schedules, for whoever runs a worker.

They lie in a queue of their own, because reading terabytes must not stand in the way of what users wait for. Each
process runs once at a time, and a run that is due while one waits is not queued a second time.
"""

from collections.abc import Callable
from typing import get_args

import procrastinate
from procrastinate import JobContext

from storage.objects import ObjectService
from storage.upkeep import Process, Upkeep, run_job

QUEUE = "store"


def blueprint(service: Callable[[], ObjectService], upkeep: Upkeep) -> procrastinate.Blueprint:
    """The tasks `scrub`, `reconcile`, ..., those with a schedule periodic; service: called when one is run."""
    tasks = procrastinate.Blueprint()
    for process in get_args(Process):
        task = tasks.task(
            name=process,
            queue=QUEUE,
            pass_context=True,
            lock=f"store.{process}",
            queueing_lock=f"store.{process}",
        )(_run(service, upkeep, process))
        if cron := upkeep.schedule.get(process):
            tasks.periodic(cron=cron)(task)
    return tasks


def _run(
    service: Callable[[], ObjectService], upkeep: Upkeep, process: Process
) -> Callable[[JobContext, int], dict[str, int]]:
    def run(context: JobContext, timestamp: int = 0) -> dict[str, int]:
        # Told to stop it ends early and well: the next run goes on.
        return dict(run_job(service(), upkeep, process, context.should_abort).found)

    return run
