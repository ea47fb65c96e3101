"""The worker process: procrastinate's loop, a thread a job, the janitor, and an end that keeps every job.

SIGTERM or SIGINT: no new job is begun; running ones get `grace_s` to end, are then stopped and queued again.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import procrastinate
from procrastinate.job_context import JobContext as QueueContext
from procrastinate.worker import Worker
from sqlalchemy import Engine

from archive.access.service import AccessService
from archive.database.engines import psycopg_dsn
from archive.jobs import queue
from archive.jobs.context import JobKind, Kinds
from archive.jobs.janitor import Janitor
from archive.jobs.results import ResultStore
from archive.jobs.runner import Held, Runner

log = logging.getLogger(__name__)

TASKS_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """How many, how often, how long.

    concurrency: jobs at a time. grace_s: seconds that running jobs get to end after SIGTERM; stop_s: seconds a stopped
    job then gets to leave its thread. stalled_after_s: seconds without a sign of life after which a worker is dead;
    heartbeat_s: seconds between two such signs, None for a fifth of that. watch_s: seconds between two looks at whether
    running jobs were aborted; janitor_s: between two rounds of the janitor; poll_s: between two looks into the queue,
    for procrastinate forgets a notification that comes while it looks. After SIGTERM a worker is gone within grace_s +
    stop_s and a second or two.
    """

    concurrency: int = 2
    grace_s: float = 30.0
    stop_s: float = 5.0
    stalled_after_s: float = 20.0
    heartbeat_s: float | None = None
    watch_s: float = 0.25
    janitor_s: float = 5.0
    poll_s: float = 0.5

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise ValueError("a worker runs one job at a time at least")
        if self.stalled_after_s < 2 * self.beat_s:
            raise ValueError("stalled_after_s must be at least twice heartbeat_s, or the living are taken for dead")

    @property
    def beat_s(self) -> float:
        """Seconds between two signs of life."""
        return self.stalled_after_s / 5 if self.heartbeat_s is None else self.heartbeat_s


def run_worker(
    writer: Engine,
    kinds: Iterable[JobKind],
    store: ResultStore,
    *,
    access: AccessService | None = None,
    blueprints: Mapping[str, procrastinate.Blueprint] | None = None,
    queues: Sequence[str] | None = None,
    limits: WorkerLimits | None = None,
) -> None:
    """Run jobs until SIGTERM or SIGINT; call it on the main thread of a process of its own.

    writer: an engine that may write schemas uws, jobs and acl; its pool should hold 2 + concurrency connections.
    blueprints: tasks of procrastinate's own by namespace, for rooms below this one (the store's scrub), on queues of
    their own: they are run beside the jobs, and take none of their places. queues: of jobs, only these; None is all.
    """
    limits = limits or WorkerLimits()
    asyncio.run(
        _work(writer, Kinds(kinds), store, access or AccessService(writer), dict(blueprints or {}), queues, limits)
    )


async def _work(
    writer: Engine,
    kinds: Kinds,
    store: ResultStore,
    access: AccessService,
    blueprints: Mapping[str, procrastinate.Blueprint],
    queues: Sequence[str] | None,
    limits: WorkerLimits,
) -> None:
    session = f"-c search_path={queue.SCHEMA} -c synchronous_commit=off"  # see database.engines.begin_unflushed
    dsn = psycopg_dsn(writer.url, options=session, application_name="uraniborg worker")
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=dsn, min_size=1, max_size=3))
    runner = Runner(writer, store, access, watch_s=limits.watch_s)
    for kind in kinds:
        task = _task(runner, kind, limits.stop_s)
        app.task(name=f"{queue.TASK_PREFIX}{kind.name}", queue=kind.queue, pass_context=True)(task)
    janitor = Janitor(writer, store, kinds, stalled_after_s=limits.stalled_after_s)
    worker = Worker(
        app,
        # Named, or it would fetch what is for those beside.
        queues=queues or sorted({queue.DEFAULT_QUEUE, *(kind.queue for kind in kinds)}),
        name="uraniborg",
        concurrency=limits.concurrency,
        fetch_job_polling_interval=limits.poll_s,
        shutdown_graceful_timeout=limits.grace_s,
        update_heartbeat_interval=limits.beat_s,
        stalled_worker_timeout=limits.stalled_after_s,
        # uws.job is the record; the queue keeps only what failed, for a day.
        delete_jobs="successful",
    )
    run: Callable[[], Awaitable[None]] = worker.run
    async with app.open_async():
        beside = [
            asyncio.create_task(
                _every(limits.janitor_s, lambda: asyncio.to_thread(janitor.sweep), "the janitor's round")
            ),
            asyncio.create_task(_every(limits.beat_s, lambda: _beat(worker), "a sign of life")),
        ]
        if blueprints:
            tasks = _every(limits.janitor_s, lambda: _run_tasks(dsn, blueprints, limits), "the worker of tasks")
            beside.append(asyncio.create_task(tasks))
        try:
            await run()
        finally:
            for one in beside:
                one.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            await asyncio.to_thread(runner.close)


async def _run_tasks(dsn: str, blueprints: Mapping[str, procrastinate.Blueprint], limits: WorkerLimits) -> None:
    """Run tasks, periodic ones at their times, until it is cancelled: a running task is told to stop, and waited for.

    An app of its own: what schedules periodic tasks ends its worker when the database goes away, and must end no jobs.
    """
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=dsn, min_size=1, max_size=2))
    for namespace, blueprint in blueprints.items():
        app.add_tasks_from(blueprint, namespace=namespace)
    worker = Worker(
        app,
        queues=sorted({task.queue for blueprint in blueprints.values() for task in blueprint.tasks.values()}),
        name="uraniborg tasks",
        concurrency=TASKS_AT_ONCE,
        fetch_job_polling_interval=limits.janitor_s,
        shutdown_graceful_timeout=0,
        listen_notify=False,
        install_signal_handlers=False,
        update_heartbeat_interval=limits.beat_s,
        stalled_worker_timeout=limits.stalled_after_s,
        delete_jobs="successful",
    )
    async with app.open_async():
        run: Callable[[], Awaitable[None]] = worker.run
        await run()


def _task(runner: Runner, kind: JobKind, stop_s: float) -> Callable[..., Awaitable[None]]:
    """What procrastinate calls for a job of this kind: it waits for the job's thread."""

    async def run(queue_context: QueueContext, job_id: str, share: str = "") -> None:  # share is the queue's
        entry = queue_context.job.id
        if entry is None:
            raise RuntimeError(f"job {job_id}: the queue gave an entry without an id")
        held = (job_id, entry)
        ended = _on_thread(lambda: runner.execute(kind, job_id, entry), name=f"job {job_id}")
        try:
            await asyncio.shield(ended)
        except asyncio.CancelledError:
            await _stop(runner, kind, held, ended, stop_s)
            raise

    return run


async def _stop(runner: Runner, kind: JobKind, held: Held, ended: "asyncio.Future[None]", stop_s: float) -> None:
    """The grace is over: stop the job, and queue it again even if its thread does not heed."""
    await asyncio.to_thread(runner.cancel, held)
    done, _ = await asyncio.wait({ended}, timeout=stop_s)
    job = runner.job_of(held)
    if not done and job is not None:
        log.warning("job %s: its thread does not stop; left behind", job.job_id)
        await asyncio.to_thread(runner.give_back, kind, job, held)


def _on_thread(work: Callable[[], None], *, name: str) -> "asyncio.Future[None]":
    """Run `work` on a daemon thread: one that does not stop must not keep the process from ending."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def settle(error: BaseException | None) -> None:
        if ended.done():
            return
        if error is None:
            ended.set_result(None)
        else:
            ended.set_exception(error)

    def body() -> None:
        error: BaseException | None = None
        try:
            work()
        except BaseException as raised:
            error = raised
        # The loop is closed when the process ended without waiting for this thread.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, error)

    threading.Thread(target=body, name=name, daemon=True).start()
    return ended


async def _beat(worker: Worker) -> None:
    """A sign of life. procrastinate's own ends with SIGTERM, and a worker in its grace would be taken for dead."""
    if worker.worker_id is not None:
        await worker.app.job_manager.update_heartbeat(worker.worker_id)


async def _every(interval_s: float, deed: Callable[[], Awaitable[None]], what: str) -> None:
    while True:
        try:
            await deed()
        except Exception:
            # A database that restarts must not end this; the next round does what this one could not.
            log.warning("%s failed; trying again in %s s", what, interval_s, exc_info=True)
        await asyncio.sleep(interval_s)
