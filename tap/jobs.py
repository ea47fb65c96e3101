"""A TAP query as a UWS job: the same service, its answer written into the store as result `result` (TAP-06)."""

from archive.access.identity import User
from archive.jobs.context import JobContext, JobKind
from archive.jobs.job import Parameter
from archive.vo.dali import Parameters
from tap.service import TapService

NAME = "tap"


def job_kind(tap: TapService, *, execution_duration_s: int) -> JobKind:
    """The kind of job that /tap/async makes; parameters are checked when it runs (TAP-07)."""

    def run(context: JobContext) -> None:
        limit = context.job.execution_duration_s or execution_duration_s
        with context.parameters() as given:  # its files are open within the block, and read there
            prepared = tap.prepare(given, context.user, timeout_s=limit)
        take_back = context.on_cancel(prepared.cancel)
        try:
            context.store_result("result", prepared.writer.media_type, prepared.open(late_failures="raised"))
        finally:
            take_back()
            prepared.running.close()

    def estimate(parameters: tuple[Parameter, ...], user: User) -> float | None:
        return tap.estimate_s(Parameters([(item.name, item.value) for item in parameters]), user)

    return JobKind(NAME, run, estimate=estimate, execution_duration_s=execution_duration_s)
