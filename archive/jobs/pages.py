"""Jobs as a browser shows them (UWS 1.1 §2.2.2): who makes the pages is told by the front door, under this name."""

from collections.abc import Sequence
from typing import Protocol

from fastapi import Request
from fastapi.responses import Response

from archive.jobs.job import Job, JobReference
from archive.vo.routes import is_browser


class JobPages(Protocol):
    """Makes pages. jobs_url, job_url: where the list of jobs, and a job, are."""

    def jobs(self, jobs: Sequence[JobReference], jobs_url: str) -> Response: ...
    def job(self, job: Job, job_url: str) -> Response: ...


def job_pages(request: Request) -> JobPages | None:
    """Who makes the pages, if it is a browser that asks; None: XML is what is wanted."""
    pages: JobPages | None = request.app.state.services.get(JobPages)
    return pages if is_browser(request) else None
