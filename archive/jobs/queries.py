"""What this room asks of uws.job. Each function takes a connection, whose transaction is the caller's.

Every change of phase is one UPDATE that names the phase it starts from, so that two who change it at once cannot both
succeed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from archive.jobs import queue
from archive.jobs.context import JobKind
from archive.jobs.job import Job, JobError, JobReference, Parameter, Phase, Result, Upload, error_from
from archive.jobs.tables import job

Key = str
Entry = int


def _job(row: sa.RowMapping) -> Job:
    return Job(
        job_id=row["job_id"],
        kind=row["kind"],
        run_id=row["run_id"],
        owner=row["owner"],
        phase=Phase(row["phase"]),
        quote=row["quote"],
        creation_time=row["creation_time"],
        start_time=row["start_time"],
        end_time=row["end_time"],
        execution_duration_s=row["execution_duration_s"],
        destruction=row["destruction"],
        parameters=tuple(Parameter(name, value) for name, value in row["parameters"]),
        uploads=tuple(Upload(**upload) for upload in row["uploads"]),
        results=tuple(Result(**result) for result in row["results"]),
        error=error_from(row["error"]),
        attempt=row["attempt"],
    )


def _pairs(parameters: Iterable[Parameter]) -> list[list[str]]:
    return [[parameter.name, parameter.value] for parameter in parameters]


def insert_job(connection: Connection, new: Job, entry: Entry | None = None) -> None:
    """entry: of the queue, for a job that is QUEUED from the beginning."""
    values = {
        "job_id": new.job_id,
        "kind": new.kind,
        "run_id": new.run_id,
        "owner": new.owner,
        "phase": new.phase if entry is None else Phase.QUEUED,
        "quote": new.quote,
        "creation_time": new.creation_time,
        "execution_duration_s": new.execution_duration_s,
        "destruction": new.destruction,
        "parameters": _pairs(new.parameters),
        "uploads": [asdict(upload) for upload in new.uploads],
        "procrastinate_id": entry,
    }
    connection.execute(sa.insert(job).values(values))


def job_with_id(connection: Connection, job_id: str, *, lock: bool = False) -> Job | None:
    statement = sa.select(job).where(job.c.job_id == job_id)
    row = connection.execute(statement.with_for_update() if lock else statement).mappings().one_or_none()
    return None if row is None else _job(row)


def jobs_of(
    connection: Connection,
    kind: str,
    owner: str,
    *,
    phases: Sequence[Phase] = (),
    after: datetime | None = None,
    last: int | None = None,
) -> list[JobReference]:
    """Jobs of an owner, oldest first; with `last` the newest so many, newest first (UWS 1.1 §2.2.2.1)."""
    columns = (job.c.job_id, job.c.phase, job.c.run_id, job.c.owner, job.c.creation_time)
    statement = sa.select(*columns).where(job.c.kind == kind, job.c.owner == owner)
    if phases:
        statement = statement.where(job.c.phase.in_([str(phase) for phase in phases]))
    else:
        statement = statement.where(job.c.phase != Phase.ARCHIVED)
    if after is not None:
        statement = statement.where(job.c.creation_time > after)
    if last is None:
        statement = statement.order_by(job.c.creation_time, job.c.job_id)
    else:
        statement = statement.order_by(job.c.creation_time.desc(), job.c.job_id.desc()).limit(last)
    found = connection.execute(statement)
    return [JobReference(job_id, Phase(phase), *others) for job_id, phase, *others in found]


def change(connection: Connection, job_id: str, changes: dict[str, Any]) -> None:
    connection.execute(sa.update(job).where(job.c.job_id == job_id).values(changes))


def add_parameters(
    connection: Connection, old: Job, parameters: Sequence[Parameter], uploads: Sequence[Upload]
) -> None:
    """Put parameters in the place of those with the same name (in any case), add the others; likewise uploads."""
    renewed = {parameter.name.upper() for parameter in parameters}
    kept = [parameter for parameter in old.parameters if parameter.name.upper() not in renewed]
    files = {upload.name: upload for upload in (*old.uploads, *uploads)}
    values = {
        "parameters": _pairs([*kept, *parameters]),
        "uploads": [asdict(upload) for upload in files.values()],
    }
    connection.execute(sa.update(job).where(job.c.job_id == old.job_id).values(values))


def enter(connection: Connection, job_id: str, kind: JobKind, share: str | None = None) -> Entry:
    """An entry of the queue for the job, in this transaction.

    share: with whose other jobs it takes turns; None for a job that waits behind nobody of its priority: one that had
    its turn already, or the archive's own.
    """
    task, priority = f"{queue.TASK_PREFIX}{kind.name}", kind.priority * queue.TURNS
    return queue.defer(connection, task, {"job_id": job_id}, queue=kind.queue, priority=priority, share=share)


def enqueue(
    connection: Connection, job_id: str, kind: JobKind, *, share: str | None = None, attempt: int | None = None
) -> None:
    """Queue the job, in this transaction; the former entry of the queue may no longer run it. share: as of `enter`."""
    entry = enter(connection, job_id, kind, share)
    values: dict[str, Any] = {"phase": Phase.QUEUED, "procrastinate_id": entry, "start_time": None}
    if attempt is not None:
        values["attempt"] = attempt
    connection.execute(sa.update(job).where(job.c.job_id == job_id).values(values))


def abort(connection: Connection, job_id: str) -> None:
    """ABORTED, whatever runs it sees so within half a second; an entry still waiting is taken back."""
    entry = connection.execute(
        sa.update(job)
        .where(job.c.job_id == job_id)
        .values(phase=Phase.ABORTED, end_time=sa.func.now())
        .returning(job.c.procrastinate_id)
    ).scalar_one()
    if entry is not None:
        queue.withdraw(connection, entry)


def delete(connection: Connection, job_id: str) -> list[Key]:
    """Delete the job; the keys of its uploads and results, for the store to forget once this is committed."""
    statement = (
        sa.delete(job).where(job.c.job_id == job_id).returning(job.c.uploads, job.c.results, job.c.procrastinate_id)
    )
    row = connection.execute(statement).one_or_none()
    if row is None:
        return []
    if row.procrastinate_id is not None:
        queue.withdraw(connection, row.procrastinate_id)
    return [item["key"] for item in (*row.uploads, *row.results)]


def claim(connection: Connection, job_id: str, procrastinate_id: int) -> Job | None:
    """QUEUED to EXECUTING for the entry of the queue that may run it; None if it was aborted, deleted or given away."""
    statement = (
        sa.update(job)
        .where(_held(job_id, procrastinate_id), job.c.phase == Phase.QUEUED)
        .values(phase=Phase.EXECUTING, start_time=sa.func.now(), attempt=job.c.attempt + 1)
        .returning(job)
    )
    row = connection.execute(statement).mappings().one_or_none()
    return None if row is None else _job(row)


def finish(
    connection: Connection,
    job_id: str,
    procrastinate_id: int,
    phase: Phase,
    error: JobError | None = None,
    results: Iterable[Result] = (),
) -> bool:
    """End a running job; false if somebody else has ended it, or it is gone."""
    statement = (
        sa.update(job)
        .where(_held(job_id, procrastinate_id), job.c.phase == Phase.EXECUTING)
        .values(
            phase=phase,
            end_time=sa.func.now(),
            error=sa.null() if error is None else asdict(error),
            results=[asdict(result) for result in results],
        )
    )
    return connection.execute(statement).rowcount > 0


def requeue(connection: Connection, old: Job, procrastinate_id: int, kind: JobKind) -> None:
    """Put a running job, stopped through no fault of its own, back into the queue.

    The attempt is not counted. Nothing happens if the job is no longer run by this entry of the queue.
    """
    statement = (
        sa.select(job.c.job_id)
        .where(_held(old.job_id, procrastinate_id), job.c.phase == Phase.EXECUTING)
        .with_for_update()
    )
    if connection.execute(statement).scalar_one_or_none() is not None:
        enqueue(connection, old.job_id, kind, attempt=old.attempt - 1)


def fail(connection: Connection, job_id: str, error: JobError) -> None:
    """End a job in ERROR, whatever it was in; the caller has locked it."""
    values = {"phase": Phase.ERROR, "end_time": sa.func.now(), "error": asdict(error)}
    connection.execute(sa.update(job).where(job.c.job_id == job_id).values(values))


def still_running(connection: Connection, held: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
    """Of (job_id, procrastinate_id) pairs, those still EXECUTING by that entry, each with its execution_duration_s."""
    statement = sa.select(job.c.job_id, job.c.procrastinate_id, job.c.execution_duration_s).where(
        job.c.job_id.in_([job_id for job_id, _ in held]), job.c.phase == Phase.EXECUTING
    )
    found = {(row.job_id, row.procrastinate_id): row.execution_duration_s for row in connection.execute(statement)}
    return {pair: found[pair] for pair in held if pair in found}


def phases(connection: Connection, job_ids: Sequence[str]) -> dict[str, Phase]:
    """The phases of these jobs; those that are gone are left out."""
    statement = sa.select(job.c.job_id, job.c.phase).where(job.c.job_id.in_(job_ids))
    return {row.job_id: Phase(row.phase) for row in connection.execute(statement)}


def expired(connection: Connection, limit: int = 100) -> list[str]:
    """Jobs whose destruction time has come; locked until the transaction ends."""
    statement = (
        sa.select(job.c.job_id)
        .where(job.c.destruction <= sa.func.now())
        .order_by(job.c.destruction)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return list(connection.execute(statement).scalars())


@dataclass(frozen=True, slots=True)
class LostJob:
    """A job that ought to run and that no living worker has."""

    job_id: str
    kind: str
    phase: Phase
    attempt: int
    procrastinate_id: int | None


def lost(connection: Connection, stalled_after: timedelta) -> list[LostJob]:
    """Jobs QUEUED without an open entry in the queue, or with a dead worker; locked until the transaction ends.

    A worker is dead when its heartbeat is older than `stalled_after`. A worker fetches the entry before it claims the
    job and ends the job before it ends the entry, so a healthy job always has an open entry.
    """
    statement = sa.text(
        "SELECT u.job_id, u.kind, u.phase, u.attempt, u.procrastinate_id FROM uws.job AS u"
        " LEFT JOIN jobs.procrastinate_jobs AS j ON j.id = u.procrastinate_id"
        " LEFT JOIN jobs.procrastinate_workers AS w ON w.id = j.worker_id"
        " WHERE u.phase IN ('QUEUED', 'EXECUTING') AND CASE j.status"
        "   WHEN 'todo' THEN u.phase = 'EXECUTING'"
        "   WHEN 'doing' THEN w.id IS NULL OR w.last_heartbeat < now() - :stalled_after"
        "   ELSE true END"
        " FOR UPDATE OF u SKIP LOCKED"
    ).bindparams(stalled_after=stalled_after)
    return [
        LostJob(row.job_id, row.kind, Phase(row.phase), row.attempt, row.procrastinate_id)
        for row in connection.execute(statement)
    ]


def _held(job_id: str, procrastinate_id: int) -> sa.ColumnElement[bool]:
    return sa.and_(job.c.job_id == job_id, job.c.procrastinate_id == procrastinate_id)
