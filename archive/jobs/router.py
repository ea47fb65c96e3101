"""The UWS 1.1 tree as a router, for any kind of job: TAP's async, SODA's, the archive's own.

A job is told as XML, its simple children as text (§2.2.2.2); to a browser as a page. What may be done, and by whom, is
service.py's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import PlainTextResponse, RedirectResponse, Response
from starlette.concurrency import run_in_threadpool

from archive.access.identity import User
from archive.access.router import current_user
from archive.jobs.documents import MEDIA_TYPE, job_document, jobs_document, parameters_document, results_document
from archive.jobs.job import ACTIVE, JobError, Parameter, Phase, Upload, time_from_text, time_text
from archive.jobs.pages import JobPages, job_pages
from archive.jobs.results import chunks_of
from archive.jobs.service import JobService
from archive.vo.dali import Parameters, parameters
from archive.vo.errors import UsageError
from archive.vo.routes import PlainRoute, TellingRoute, provided
from archive.vo.streaming import StreamedResponse
from archive.vo.votable import votable_error

# What steers a job rather than being handed to it (UWS 1.1 §2.2.3).
CONTROLS = frozenset({"PHASE", "RUNID", "ACTION", "DESTRUCTION", "EXECUTIONDURATION", "WAIT"})

Asked = Annotated[Parameters, Depends(parameters)]
Asker = Annotated[User, Depends(current_user)]
Jobs = Annotated[JobService, provided(JobService)]
ErrorResponse = Callable[[JobError], Response]


def plain_error(error: JobError) -> Response:
    """A job's error as text."""
    return PlainTextResponse(f"{error.message}\n")


def votable_error_document(error: JobError) -> Response:
    """A job's error as TAP and other DALI services give it: a VOTable, with status 200 (DALI 1.1 §4.2)."""
    return Response(votable_error(error.message), media_type="application/x-votable+xml")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the list of jobs and a job are, as absolute URLs; made from public_url at each request, never stored.

    client: the address that the request comes from, as the proxies tell it.
    """

    jobs_url: str
    job_id: str = ""
    client: str = ""

    @property
    def job_url(self) -> str:
        return f"{self.jobs_url}/{self.job_id}"


def public_url(request: Request) -> str:
    """The archive's URL without a slash at its end: app.state.public_url, else what the client called it."""
    told = getattr(request.app.state, "public_url", None)
    return str(told or request.base_url).rstrip("/")


def place(request: Request) -> Place:
    """A dependency: the URLs of this request's list of jobs and job."""
    path = str(request.scope["path"]).removeprefix(str(request.scope.get("root_path", "")))
    job_id = str(request.path_params.get("job_id", ""))
    if job_id:
        path = path[: path.index(f"/{job_id}")]
    client = "" if request.client is None else request.client.host
    return Place(public_url(request) + path.rstrip("/"), job_id, client)


Here = Annotated[Place, Depends(place)]
InBrowser = Annotated[JobPages | None, Depends(job_pages)]


def uws_router(
    kind: str,
    prefix: str = "/async",
    *,
    route_class: type[TellingRoute] = PlainRoute,
    error_response: ErrorResponse = plain_error,
) -> APIRouter:
    """The whole UWS tree for one kind of job, below `prefix`.

    kind: a JobKind's name. route_class: how refusals of requests are told. error_response: what {job}/error answers.
    """
    router = APIRouter(prefix=prefix, route_class=route_class)
    _add_list(router, kind)
    _add_job(router, kind)
    _add_settings(router, kind)
    _add_outcome(router, kind, error_response)
    return router


def _add_list(router: APIRouter, kind: str) -> None:
    @router.get("")
    def job_list(jobs: Jobs, user: Asker, asked: Asked, here: Here, pages: InBrowser) -> Response:
        """UWS 1.1 §2.2.2.1: one's own jobs, by PHASE, AFTER and LAST."""
        after = asked.single("AFTER")
        found = jobs.list(
            kind,
            user,
            phases=[Phase.from_text(text) for text in asked.all("PHASE")],
            after=None if after is None else time_from_text(after, "AFTER"),
            last=_last(asked),
        )
        if pages is not None:
            return _varying(pages.jobs(found, here.jobs_url))
        return _varying(Response(jobs_document(found, here.jobs_url), media_type=MEDIA_TYPE))

    @router.post("")
    def create(jobs: Jobs, user: Asker, asked: Asked, here: Here) -> Response:
        """UWS 1.1 §2.2.3.1: a new job, run at once with PHASE=RUN."""
        phase = asked.single("PHASE")
        if phase not in (None, "RUN"):
            raise UsageError(f"PHASE={phase!r} makes no sense for a new job: RUN, or nothing.")
        duration, destruction = _duration(asked), asked.single("DESTRUCTION")
        moment = None if destruction is None else time_from_text(destruction, "DESTRUCTION")
        files = _store_files(jobs, asked)
        job = jobs.create(
            kind,
            user,
            _job_parameters(asked),
            uploads=files,
            run_id=asked.single("RUNID"),
            run=phase == "RUN",
            address=here.client,
            execution_duration_s=duration,
            destruction=moment,
        )
        return _see(f"{here.jobs_url}/{job.job_id}")


def _add_job(router: APIRouter, kind: str) -> None:
    @router.get("/{job_id}")
    async def job(job_id: str, jobs: Jobs, user: Asker, asked: Asked, here: Here, pages: InBrowser) -> Response:
        """UWS 1.1 §2.2.2.2; WAIT (§2.2.1.2) holds no thread while it waits, so this handler is async."""
        found = await run_in_threadpool(jobs.get, kind, job_id, user)
        wait_s = _wait(asked, jobs.max_wait_s)
        phase = asked.single("PHASE")
        expected = found.phase if phase is None else Phase.from_text(phase)
        if wait_s > 0 and found.phase in ACTIVE and found.phase is expected:
            await jobs.watcher.changed(job_id, found.phase, wait_s)
            found = await run_in_threadpool(jobs.get, kind, job_id, user)
        if pages is not None:
            return _varying(pages.job(found, here.job_url))
        return _varying(Response(job_document(found, here.job_url), media_type=MEDIA_TYPE))

    @router.delete("/{job_id}")
    def delete(job_id: str, jobs: Jobs, user: Asker, here: Here) -> Response:
        """UWS 1.1 §2.2.3.2."""
        jobs.delete(kind, job_id, user)
        return _see(here.jobs_url)

    @router.post("/{job_id}")
    def change(job_id: str, jobs: Jobs, user: Asker, asked: Asked, here: Here) -> Response:
        """UWS 1.1 §2.2.3.2: ACTION=DELETE. Lenient: astroquery sends parameters and PHASE here too (DALI-03)."""
        action = asked.single("ACTION")
        if action is not None:
            if action.upper() != "DELETE":
                raise UsageError(f"ACTION={action!r} is not known: DELETE is the only one.")
            jobs.delete(kind, job_id, user)
            return _see(here.jobs_url)
        return _apply(kind, job_id, jobs, user, asked, here)

    @router.post("/{job_id}/parameters")
    def add_parameters(job_id: str, jobs: Jobs, user: Asker, asked: Asked, here: Here) -> Response:
        """UWS 1.1 §2.2.3.7, DALI 1.1 §2.1: while the job is PENDING."""
        return _apply(kind, job_id, jobs, user, asked, here)

    @router.get("/{job_id}/parameters")
    def job_parameters(job_id: str, jobs: Jobs, user: Asker) -> Response:
        return Response(parameters_document(jobs.get(kind, job_id, user)), media_type=MEDIA_TYPE)


def _add_settings(router: APIRouter, kind: str) -> None:
    @router.get("/{job_id}/phase")
    def phase(job_id: str, jobs: Jobs, user: Asker) -> Response:
        return _plain(jobs.get(kind, job_id, user).phase)

    @router.post("/{job_id}/phase")
    def set_phase(job_id: str, jobs: Jobs, user: Asker, asked: Asked, here: Here) -> Response:
        """UWS 1.1 §2.2.3.5, §2.2.3.6."""
        _set_phase(kind, job_id, jobs, user, asked.required("PHASE"), here)
        return _see(here.job_url)

    @router.get("/{job_id}/executionduration")
    def execution_duration(job_id: str, jobs: Jobs, user: Asker) -> Response:
        return _plain(str(jobs.get(kind, job_id, user).execution_duration_s))

    @router.post("/{job_id}/executionduration")
    def set_execution_duration(job_id: str, jobs: Jobs, user: Asker, asked: Asked, here: Here) -> Response:
        """UWS 1.1 §2.2.3.4."""
        asked.required("EXECUTIONDURATION")
        jobs.set_execution_duration(kind, job_id, user, _duration(asked) or 0)
        return _see(here.job_url)

    @router.get("/{job_id}/destruction")
    def destruction(job_id: str, jobs: Jobs, user: Asker) -> Response:
        return _plain(time_text(jobs.get(kind, job_id, user).destruction))

    @router.post("/{job_id}/destruction")
    def set_destruction(job_id: str, jobs: Jobs, user: Asker, asked: Asked, here: Here) -> Response:
        """UWS 1.1 §2.2.3.3."""
        jobs.set_destruction(kind, job_id, user, time_from_text(asked.required("DESTRUCTION"), "DESTRUCTION"))
        return _see(here.job_url)

    @router.get("/{job_id}/quote")
    def quote(job_id: str, jobs: Jobs, user: Asker) -> Response:
        return _plain(time_text(jobs.get(kind, job_id, user).quote))

    @router.get("/{job_id}/owner")
    def owner(job_id: str, jobs: Jobs, user: Asker) -> Response:
        return _plain(jobs.get(kind, job_id, user).owner or "")


def _add_outcome(router: APIRouter, kind: str, error_response: ErrorResponse) -> None:
    @router.get("/{job_id}/error")
    def error(job_id: str, jobs: Jobs, user: Asker) -> Response:
        """DALI 1.1 §4.2: status 200, the error as the body; empty text as long as there is none."""
        found = jobs.get(kind, job_id, user)
        return _plain("") if found.error is None else error_response(found.error)

    @router.get("/{job_id}/results")
    def results(job_id: str, jobs: Jobs, user: Asker, here: Here) -> Response:
        return Response(results_document(jobs.get(kind, job_id, user), here.job_url), media_type=MEDIA_TYPE)

    @router.get("/{job_id}/results/{name}")
    def result(job_id: str, name: str, jobs: Jobs, user: Asker) -> Response:
        """The result itself, under the media type it was made with (TAP 1.1 §2.2)."""
        found = jobs.result(jobs.get(kind, job_id, user), name)
        return StreamedResponse(lambda: chunks_of(lambda: jobs.open(found)), media_type=found.media_type)


def _apply(kind: str, job_id: str, jobs: JobService, user: User, asked: Parameters, here: Place) -> Response:
    """Parameters first, then what steers the job, PHASE last, so that one POST can say all."""
    given = _job_parameters(asked)
    jobs.get(kind, job_id, user)
    files = _store_files(jobs, asked)
    if given or files:
        jobs.add_parameters(kind, job_id, user, given, files)
    run_id, duration, destruction = asked.single("RUNID"), _duration(asked), asked.single("DESTRUCTION")
    if run_id is not None:
        jobs.set_run_id(kind, job_id, user, run_id)
    if duration is not None:
        jobs.set_execution_duration(kind, job_id, user, duration)
    if destruction is not None:
        jobs.set_destruction(kind, job_id, user, time_from_text(destruction, "DESTRUCTION"))
    phase = asked.single("PHASE")
    if phase is not None:
        _set_phase(kind, job_id, jobs, user, phase, here)
    return _see(here.job_url)


def _set_phase(kind: str, job_id: str, jobs: JobService, user: User, phase: str, here: Place) -> None:
    if phase == "RUN":
        jobs.run(kind, job_id, user, here.client)
    elif phase == "ABORT":
        jobs.abort(kind, job_id, user)
    else:
        raise UsageError(f"PHASE={phase!r} cannot be asked for: RUN or ABORT.")


def _job_parameters(asked: Parameters) -> list[Parameter]:
    return [Parameter(name, value) for name, value in asked.items() if name not in CONTROLS]


def _store_files(jobs: JobService, asked: Parameters) -> list[Upload]:
    """Keep the request's files; all or none."""
    stored: list[Upload] = []
    try:
        for name, file in asked.files():
            media_type = file.media_type or "application/octet-stream"
            stored.append(jobs.store_upload(name, file.file, media_type))
    except BaseException:
        jobs.forget_uploads(stored)
        raise
    return stored


def _last(asked: Parameters) -> int | None:
    last = asked.integer("LAST")
    if last is not None and last < 1:
        raise UsageError(f"LAST takes 1 or more, not {last}.")
    return last


def _duration(asked: Parameters) -> int | None:
    seconds = asked.integer("EXECUTIONDURATION")
    if seconds is not None and seconds < 0:
        raise UsageError(f"EXECUTIONDURATION={seconds} is below 0: seconds, or 0 for as long as is allowed.")
    return seconds


def _wait(asked: Parameters, most_s: float) -> float:
    """Seconds to wait: WAIT, at most what the server likes, which is also what -1 gets (UWS-04)."""
    wait_s = asked.integer("WAIT")
    if wait_s is None:
        return 0.0
    if wait_s < -1:
        raise UsageError(f"WAIT={wait_s} is below -1: seconds, or -1 for as long as the server likes.")
    return most_s if wait_s == -1 else min(float(wait_s), most_s)


def _varying(response: Response) -> Response:
    response.headers["Vary"] = "Accept, Authorization"
    return response


def _plain(text: str) -> Response:
    return PlainTextResponse(text)


def _see(url: str) -> Response:
    return RedirectResponse(url, status_code=303)
