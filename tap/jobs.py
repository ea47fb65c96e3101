"""A TAP query as a UWS job: the same service, its answer written into the store as result `result` (TAP-06)."""

from archive.jobs.context import JobContext, JobKind
from archive.vo.dali import Parameters, UploadedFile
from tap.service import TapService

NAME = "tap"


def job_kind(tap: TapService, *, execution_duration_s: int) -> JobKind:
    """The kind of job that /tap/async makes; parameters are checked when it runs (TAP-07)."""

    def run(context: JobContext) -> None:
        def part(name: str) -> UploadedFile:
            return UploadedFile(context.open_upload(name))

        given = Parameters((parameter.name, parameter.value) for parameter in context.job.parameters)
        limit = context.job.execution_duration_s or execution_duration_s
        prepared = tap.prepare(given, context.user, timeout_s=limit, open_part=part)
        take_back = context.on_cancel(prepared.cancel)
        try:
            context.store_result("result", prepared.writer.media_type, prepared.open())
        finally:
            take_back()
            prepared.running.close()

    return JobKind(NAME, run, execution_duration_s=execution_duration_s)
