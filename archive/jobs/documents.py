"""UWS 1.1 documents as XML (§2.2.2, Appendix B), mostly through vo-models. Jobs in, bytes out; URLs are given."""

import re
from collections.abc import Iterable
from html import escape

from pydantic_xml import BaseXmlModel, element
from vo_models.uws.models import NSMAP, ErrorSummary, JobSummary, ResultReference, Results
from vo_models.uws.models import Parameter as XmlParameter
from vo_models.uws.types import ErrorType, ExecutionPhase

from archive.jobs.job import Job, JobReference, time_text

MEDIA_TYPE = "text/xml; charset=utf-8"

# What XML 1.0 cannot say at all, not even escaped (§2.2); a client may have put it into a parameter.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class _Parameters(BaseXmlModel, tag="parameters", ns="uws", nsmap=NSMAP):
    # vo-models wants a field for each parameter it knows by name; ours are whatever the client sent.
    parameter: list[XmlParameter] = element(tag="parameter", ns="uws", default_factory=list)


class _Job(JobSummary[_Parameters], tag="job", ns="uws", nsmap=NSMAP):
    """uws:job with parameters of any name."""


def job_document(job: Job, job_url: str) -> bytes:
    """The job, its results at absolute URLs (UWS-12)."""
    error = None
    if job.error is not None:
        kind = ErrorType.TRANSIENT if job.error.is_transient else ErrorType.FATAL
        error = ErrorSummary(message=_text(job.error.message), type=kind, has_detail=True)
    document = _Job(
        job_id=job.job_id,
        run_id=None if job.run_id is None else _text(job.run_id),
        owner_id=job.owner,
        phase=ExecutionPhase(job.phase),
        quote=job.quote,
        creation_time=job.creation_time,
        start_time=job.start_time,
        end_time=job.end_time,
        execution_duration=job.execution_duration_s,
        destruction=job.destruction,
        parameters=_parameters(job),
        results=_results(job, job_url),
        error_summary=error,
    )
    return _bytes(document)


_JOBS = (
    "<?xml version='1.0' encoding='UTF-8'?>\n"
    '<uws:jobs xmlns:uws="http://www.ivoa.net/xml/UWS/v1.0" xmlns:xlink="http://www.w3.org/1999/xlink"'
    ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" version="1.1">{}</uws:jobs>'
)
_REFERENCE = (
    '<uws:jobref id="{}" xlink:type="simple" xlink:href="{}"><uws:phase>{}</uws:phase><uws:runId>{}</uws:runId>'
    "{}<uws:creationTime>{}</uws:creationTime></uws:jobref>"
)
_NOBODY, _OWNER = '<uws:ownerId xsi:nil="true"/>', "<uws:ownerId>{}</uws:ownerId>"


def jobs_document(jobs: Iterable[JobReference], jobs_url: str) -> bytes:
    """The list of jobs (UWS 1.1 §2.2.2.1). Written here: it may be long, and vo-models takes 50 times as long."""
    url = escape(jobs_url, quote=True)
    references = (
        _REFERENCE.format(
            one.job_id,
            f"{url}/{one.job_id}",
            one.phase,
            escape(_text(one.run_id or "")),
            _NOBODY if one.owner is None else _OWNER.format(escape(_text(one.owner))),
            time_text(one.creation_time),
        )
        for one in jobs
    )
    return _JOBS.format("".join(references)).encode()


def parameters_document(job: Job) -> bytes:
    return _bytes(_parameters(job))


def results_document(job: Job, job_url: str) -> bytes:
    return _bytes(_results(job, job_url))


def _parameters(job: Job) -> _Parameters:
    return _Parameters(
        parameter=[XmlParameter(id=_text(item.name), value=_text(item.value)) for item in job.parameters]
    )


def _results(job: Job, job_url: str) -> Results:
    return Results(
        results=[
            ResultReference(
                id=result.name,
                href=f"{job_url}/results/{result.name}",
                size=result.size_bytes,
                mime_type=result.media_type,
            )
            for result in job.results
        ]
    )


def _text(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)


def _bytes(document: BaseXmlModel) -> bytes:
    # skip_empty would drop quote, ownerId and others, which the schema requires even if nil (validators.md 4).
    xml = document.to_xml(skip_empty=False, encoding="UTF-8", xml_declaration=True)
    return xml if isinstance(xml, bytes) else xml.encode()
