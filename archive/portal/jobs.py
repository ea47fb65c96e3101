"""Pages of jobs, in the portal's look (archive.jobs.pages)."""

from collections.abc import Sequence

from fastapi.responses import Response

from archive.jobs.job import ACTIVE, FINISHED, Job, JobReference, Phase
from archive.portal.pages import Pages


class PortalJobPages:
    """archive.jobs.pages.JobPages."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    def jobs(self, jobs: Sequence[JobReference], jobs_url: str) -> Response:
        """One's own jobs, as many as were asked for."""
        return self._pages.html("jobs.html", {"jobs": jobs, "jobs_url": jobs_url})

    def job(self, job: Job, job_url: str) -> Response:
        """A job, looked at again every few seconds until it has ended."""
        context = {
            "job": job,
            "job_url": job_url,
            "is_waiting": job.phase in ACTIVE and job.phase is not Phase.PENDING,
            "is_pending": job.phase is Phase.PENDING,
            "has_ended": job.phase in FINISHED,
        }
        return self._pages.html("job.html", context)
