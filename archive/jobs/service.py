"""What may be done with jobs, and by whom: what the UWS router, and rooms that queue work of their own, call."""

import logging
import os
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import IO, BinaryIO

from sqlalchemy import Connection, Engine

from archive.access.identity import User
from archive.jobs import queries
from archive.jobs.context import JobKind, Kinds
from archive.jobs.janitor import forget
from archive.jobs.job import Job, JobReference, Parameter, Phase, Result, Upload, demand_pending, demand_transition
from archive.jobs.results import ResultStore
from archive.jobs.waiting import PhaseWatcher
from archive.vo.errors import AuthorizationError, NotFoundError, TooLargeError, UsageError

log = logging.getLogger(__name__)

LONGEST_QUOTE_S = 10 * 365 * 86_400.0  # a product of four tables is quoted for longer than a date can tell


class JobService:
    """Jobs of all kinds.

    execution_duration_s, max_execution_duration_s: seconds a job may run, if the client does not say, and at most.
    retention_s, max_retention_s: seconds from creation to destruction, if the client does not say, and at most.
    max_wait_s: seconds that one WAIT may take; wait_poll_s: seconds between two looks for those who wait.
    max_upload_bytes: of one file that comes with a job.
    """

    def __init__(
        self,
        writer: Engine,
        store: ResultStore,
        kinds: Iterable[JobKind],
        *,
        execution_duration_s: int = 3_600,
        max_execution_duration_s: int = 86_400,
        retention_s: int = 7 * 86_400,
        max_retention_s: int = 31 * 86_400,
        max_wait_s: float = 45.0,
        wait_poll_s: float = 0.1,
        max_upload_bytes: int = 100_000_000,
    ) -> None:
        self._writer = writer
        self._store = store
        self.kinds = Kinds(kinds)
        self._execution_duration_s = execution_duration_s
        self._max_execution_duration_s = max_execution_duration_s
        self._retention = timedelta(seconds=retention_s)
        self._max_retention = timedelta(seconds=max_retention_s)
        self.max_wait_s = max_wait_s
        self._max_upload_bytes = max_upload_bytes
        self.watcher = PhaseWatcher(writer, interval_s=wait_poll_s)

    # ---- making ------------------------------------------------------------------------------------

    def create(
        self,
        kind: str,
        user: User,
        parameters: Sequence[Parameter],
        *,
        uploads: Sequence[Upload] = (),
        run_id: str | None = None,
        run: bool = False,
        address: str = "",
        execution_duration_s: int | None = None,
        destruction: datetime | None = None,
    ) -> Job:
        """A new job of the user, PENDING, or QUEUED at once with `run`. If it is refused its uploads are forgotten.

        address: where the request comes from, which tells the anonymous apart when jobs take turns.
        """
        try:
            known = self.kinds[kind]
            new = self._new(known, user.name or None, parameters, uploads=uploads, run_id=run_id)
            if execution_duration_s is not None:
                new = replace(new, execution_duration_s=self._allowed_duration(execution_duration_s))
            if destruction is not None:
                new = replace(new, destruction=min(destruction, new.creation_time + self._max_retention))
            if run:
                known.check(new.parameters, user)
            new = replace(new, quote=_quote(known, new.parameters, user))
            with self._writer.begin() as connection:
                entry = queries.enter(connection, new.job_id, known, _share(user, address)) if run else None
                queries.insert_job(connection, new, entry)
        except BaseException:
            self.forget_uploads(uploads)
            raise
        log.info("job %s (%s): made", new.job_id, kind)  # in the request's line of thought: the log joins their ids
        return replace(new, phase=Phase.QUEUED) if run else new

    def submit(
        self,
        connection: Connection,
        kind: str,
        parameters: Sequence[Parameter],
        *,
        owner: str | None = None,
        run_id: str | None = None,
    ) -> str:
        """Queue a job in the caller's transaction: it runs once that is committed, and never was if it is rolled back.

        connection: of the writer. owner: a user's name; None for the archive's own work. Returns the job's id.
        """
        known = self.kinds[kind]
        job = self._new(known, owner, parameters, run_id=run_id)
        queries.insert_job(connection, job, queries.enter(connection, job.job_id, known))
        return job.job_id

    def _new(
        self,
        kind: JobKind,
        owner: str | None,
        parameters: Sequence[Parameter],
        *,
        uploads: Sequence[Upload] = (),
        run_id: str | None = None,
    ) -> Job:
        _check_text(parameters, run_id)
        now = datetime.now(UTC)
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)  # as it is kept, and told
        return Job(
            # 128 random bits: who knows the id of an anonymous job may have it.
            job_id=secrets.token_hex(16),
            kind=kind.name,
            run_id=run_id,
            owner=owner,
            phase=Phase.PENDING,
            quote=None,
            creation_time=now,
            start_time=None,
            end_time=None,
            execution_duration_s=kind.execution_duration_s or self._execution_duration_s,
            destruction=now + self._retention,
            parameters=tuple(parameters),
            uploads=tuple(uploads),
        )

    def store_upload(self, name: str, file: BinaryIO, media_type: str) -> Upload:
        """Keep a file that came with a request as part `name`; TooLargeError above max_upload_bytes."""
        size_bytes = file.seek(0, os.SEEK_END)
        if size_bytes > self._max_upload_bytes:
            raise TooLargeError(
                f"The file sent as {name} has {size_bytes} bytes; at most {self._max_upload_bytes} are taken."
            )
        file.seek(0)
        return Upload(name, self._store.put(file), media_type, size_bytes)

    def forget_uploads(self, uploads: Sequence[Upload]) -> None:
        forget(self._store, [upload.key for upload in uploads])

    # ---- asking ------------------------------------------------------------------------------------

    def get(self, kind: str, job_id: str, user: User) -> Job:
        """The job; NotFoundError (404) if there is none of this kind, AuthorizationError (403) if it is another's."""
        with self._writer.connect() as connection:
            return self._found(connection, kind, job_id, user)

    def list(
        self,
        kind: str,
        user: User,
        *,
        phases: Sequence[Phase] = (),
        after: datetime | None = None,
        last: int | None = None,
    ) -> Sequence[JobReference]:
        """The user's own jobs (UWS 1.1 §3). The anonymous get none: they share no identity, and an id is their key."""
        if user.is_anonymous:
            return []
        with self._writer.connect() as connection:
            return queries.jobs_of(connection, kind, user.name, phases=phases, after=after, last=last)

    def result(self, job: Job, name: str) -> Result:
        """A result of the job; NotFoundError says why there is none."""
        result = job.result(name)
        if result is None:
            why = f": {job.error.message}" if job.error is not None else "."
            raise NotFoundError(f"Job {job.job_id} is {job.phase} and has no result {name!r}{why}")
        return result

    def open(self, result: Result) -> IO[bytes]:
        """The bytes of a result."""
        return self._store.open(result.key)

    # ---- changing ----------------------------------------------------------------------------------

    def run(self, kind: str, job_id: str, user: User, address: str = "") -> None:
        """PENDING to QUEUED (PHASE=RUN). address: as of `create`."""
        known = self.kinds[kind]
        with self._writer.begin() as connection:
            job = self._found(connection, kind, job_id, user, lock=True)
            # EXECUTING may become QUEUED again, but only by the archive itself.
            demand_transition(job_id, Phase.COMPLETED if job.phase is Phase.EXECUTING else job.phase, Phase.QUEUED)
            known.check(job.parameters, user)
            queries.change(connection, job_id, {"quote": _quote(known, job.parameters, user)})
            queries.enqueue(connection, job_id, known, share=_share(user, address))

    def abort(self, kind: str, job_id: str, user: User) -> None:
        """To ABORTED (PHASE=ABORT); whatever runs is stopped by the worker that runs it."""
        with self._writer.begin() as connection:
            job = self._found(connection, kind, job_id, user, lock=True)
            demand_transition(job_id, job.phase, Phase.ABORTED)
            queries.abort(connection, job_id)

    def delete(self, kind: str, job_id: str, user: User) -> None:
        """The job, its uploads and its results are gone; what runs is stopped."""
        with self._writer.begin() as connection:
            self._found(connection, kind, job_id, user, lock=True)
            keys = queries.delete(connection, job_id)
        forget(self._store, keys)

    def add_parameters(
        self, kind: str, job_id: str, user: User, parameters: Sequence[Parameter], uploads: Sequence[Upload] = ()
    ) -> None:
        """Set parameters of a PENDING job, in the place of those with the same names. Refused: uploads forgotten."""
        try:
            _check_text(parameters, None)
            with self._writer.begin() as connection:
                job = self._found(connection, kind, job_id, user, lock=True)
                demand_pending(job_id, job.phase)
                queries.add_parameters(connection, job, parameters, uploads)
                changed = self._found(connection, kind, job_id, user)
                queries.change(connection, job_id, {"quote": _quote(self.kinds[kind], changed.parameters, user)})
        except BaseException:
            self.forget_uploads(uploads)
            raise
        renewed = {upload.name for upload in uploads}
        self.forget_uploads([old for old in job.uploads if old.name in renewed])

    def set_run_id(self, kind: str, job_id: str, user: User, run_id: str) -> None:
        _check_text((), run_id)
        self._change(kind, job_id, user, {"run_id": run_id})

    def set_execution_duration(self, kind: str, job_id: str, user: User, seconds: int) -> None:
        """0 asks for no limit. What is above the most allowed becomes that (UWS 1.1 §2.2.3.4 lets a server do so)."""
        self._change(kind, job_id, user, {"execution_duration_s": self._allowed_duration(seconds)})

    def _allowed_duration(self, seconds: int) -> int:
        allowed = self._max_execution_duration_s
        return min(seconds, allowed) if seconds > 0 else allowed

    def set_destruction(self, kind: str, job_id: str, user: User, moment: datetime) -> None:
        """Not later than max_retention_s after creation: a later wish becomes that (UWS 1.1 §2.2.3.3)."""
        with self._writer.begin() as connection:
            job = self._found(connection, kind, job_id, user, lock=True)
            latest = job.creation_time + self._max_retention
            queries.change(connection, job_id, {"destruction": min(moment, latest)})

    def _change(self, kind: str, job_id: str, user: User, changes: dict[str, object]) -> None:
        with self._writer.begin() as connection:
            self._found(connection, kind, job_id, user, lock=True)
            queries.change(connection, job_id, changes)

    def _found(self, connection: Connection, kind: str, job_id: str, user: User, *, lock: bool = False) -> Job:
        job = queries.job_with_id(connection, job_id, lock=lock)
        if job is None or job.kind != kind:
            raise NotFoundError(f"There is no job {job_id} here: it may have been deleted, or have reached its end.")
        if job.owner is not None and job.owner != user.name and not user.is_operator:
            raise AuthorizationError(f"Job {job_id} belongs to somebody else.")
        return job


def _quote(kind: JobKind, parameters: tuple[Parameter, ...], user: User) -> datetime | None:
    """When the job will end if it is begun now (UWS 1.1 §2.2.1); None where nobody can say."""
    seconds = kind.estimate(parameters, user)
    return None if seconds is None else datetime.now(UTC) + timedelta(seconds=min(seconds, LONGEST_QUOTE_S))


def _share(user: User, address: str) -> str:
    """Whose job it is when jobs take turns. No user's name has a blank, so no address is taken for a user."""
    return f"anonymous {address}" if user.is_anonymous else user.name


def _check_text(parameters: Sequence[Parameter], run_id: str | None) -> None:
    for parameter in parameters:
        # PostgreSQL keeps no U+0000 in text, and no protocol has a use for it.
        if "\0" in parameter.name or "\0" in parameter.value:
            raise UsageError(f"The parameter {parameter.name.replace(chr(0), '')!r} holds a character U+0000.")
    if run_id is not None and "\0" in run_id:
        raise UsageError("RUNID holds a character U+0000.")
