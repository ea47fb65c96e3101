"""What a UWS job is: its values, its phases, and which phase may follow which (UWS 1.1 §2.1.3). Pure.

Where jobs are kept is queries.py, how they run runner.py, how they are told as XML documents.py.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from archive.vo.errors import StateError, UsageError


class Phase(StrEnum):
    """UWS 1.1 §2.1.3."""

    PENDING = "PENDING"
    QUEUED = "QUEUED"
    EXECUTING = "EXECUTING"
    COMPLETED = "COMPLETED"
    ERROR = "ERROR"
    ABORTED = "ABORTED"
    UNKNOWN = "UNKNOWN"
    HELD = "HELD"
    SUSPENDED = "SUSPENDED"
    ARCHIVED = "ARCHIVED"

    @classmethod
    def from_text(cls, text: str) -> "Phase":
        try:
            return cls(text)
        except ValueError:
            raise UsageError(f"PHASE={text!r} is no phase of a job: one of {', '.join(cls)}.") from None


ACTIVE = frozenset({Phase.PENDING, Phase.QUEUED, Phase.EXECUTING})
"""The phases in which WAIT waits (UWS 1.1 §2.2.1.2)."""
FINISHED = frozenset({Phase.COMPLETED, Phase.ERROR, Phase.ABORTED, Phase.ARCHIVED})

# HELD, SUSPENDED, UNKNOWN and ARCHIVED are UWS's words for what other services do; no job of ours enters them, but
# a filter by them is answered. QUEUED follows EXECUTING when a worker died or was told to stop.
TRANSITIONS: dict[Phase, frozenset[Phase]] = {
    Phase.PENDING: frozenset({Phase.QUEUED, Phase.ABORTED}),
    Phase.QUEUED: frozenset({Phase.EXECUTING, Phase.ABORTED, Phase.ERROR}),
    Phase.EXECUTING: frozenset({Phase.COMPLETED, Phase.ERROR, Phase.ABORTED, Phase.QUEUED}),
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter as the client named it, its value untouched; a name may come several times."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that came with the job; name is the multipart part's, which UPLOAD=table,param:name refers to."""

    name: str
    key: str
    media_type: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Result:
    """A result in the store under `key`; name is the last part of its URL."""

    name: str
    key: str
    media_type: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class JobError:
    """What went wrong, for the job's owner. is_transient: the same job may succeed later. code: SODA's word for it."""

    message: str
    is_transient: bool = False
    code: str = "Error"


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it stands in the database. Times are UTC; execution_duration_s is 0 where there is no limit.

    owner: a user's name, None for the anonymous. attempt: how many workers have begun it.
    """

    job_id: str
    kind: str
    run_id: str | None
    owner: str | None
    phase: Phase
    quote: datetime | None
    creation_time: datetime
    start_time: datetime | None
    end_time: datetime | None
    execution_duration_s: int
    destruction: datetime | None
    parameters: tuple[Parameter, ...] = ()
    uploads: tuple[Upload, ...] = ()
    results: tuple[Result, ...] = ()
    error: JobError | None = None
    attempt: int = 0

    def values(self, name: str) -> list[str]:
        """The values of a parameter, its name in any case (DALI 1.1 §2.2.1), in the order they came."""
        return [parameter.value for parameter in self.parameters if parameter.name.upper() == name.upper()]

    def result(self, name: str) -> Result | None:
        return next((result for result in self.results if result.name == name), None)


@dataclass(frozen=True, slots=True)
class JobReference:
    """As much of a job as a list of jobs tells."""

    job_id: str
    phase: Phase
    run_id: str | None
    owner: str | None
    creation_time: datetime


def demand_transition(job_id: str, old: Phase, new: Phase) -> None:
    """Raises StateError (403, UWS 1.1 §2.2.1) if a job in phase `old` may not go to `new`."""
    if new not in TRANSITIONS.get(old, frozenset()):
        allowed = ", ".join(sorted(TRANSITIONS.get(old, ()))) or "nothing: it has ended"
        raise StateError(f"Job {job_id} is {old} and cannot become {new}. What may follow: {allowed}.")


def demand_pending(job_id: str, phase: Phase) -> None:
    """Raises StateError unless the job still takes parameters (UWS 1.1 §2.2.3.7)."""
    if phase is not Phase.PENDING:
        raise StateError(f"Job {job_id} is {phase}: its parameters can be changed while it is PENDING only.")


def time_text(moment: datetime | None) -> str:
    """ISO 8601 with T, milliseconds and Z (UWS-02); "" for None."""
    if moment is None:
        return ""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def time_from_text(text: str, what: str) -> datetime:
    """Read an ISO 8601 time, UTC unless it says otherwise; to the millisecond, as it will be told again."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(f"{what}={text!r} is no ISO 8601 time such as 2026-10-31T12:00:00Z.") from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def error_from(error: dict[str, Any] | None) -> JobError | None:
    return None if error is None else JobError(**error)
