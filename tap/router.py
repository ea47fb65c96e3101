"""/tap: sync by GET and POST, examples, a page for people. Async is archive.jobs', VOSI the front door's."""

from importlib import resources
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, Response

from archive.access.identity import User
from archive.access.router import current_user
from archive.vo.answers import Answers, Asking
from archive.vo.dali import Parameters, parameters
from archive.vo.line import Line
from archive.vo.routes import DaliRoute, provided
from archive.vo.streaming import StreamedResponse
from tap.service import TapService

router = APIRouter(route_class=DaliRoute, tags=["TAP"])


@router.get("/sync")
@router.post("/sync")
def sync(
    request: Request,
    answers: Annotated[Answers, provided(Answers)],
    asked: Annotated[Parameters, Depends(parameters)],
    user: Annotated[User, Depends(current_user)],
    tap: Annotated[TapService, provided(TapService)],
    line: Annotated[Line, provided(Line)],
) -> Response:
    """TAP 1.1 §2.1: the result itself."""
    asking = Asking.of(answers, request, asked, anonymous=user.is_anonymous)
    if asking is not None:
        if again := asking.again():
            return again
        tap.look_again()  # or a table published a moment ago would be answered, and kept, as it was before
    limits = tap.limits
    prepared = tap.prepare(asked, user, timeout_s=limits.sync_timeout_s, most_estimate_s=limits.sync_estimate_s)
    headers = {"Content-Disposition": f'inline; filename="result.{prepared.writer.extension}"'}
    return StreamedResponse(
        asking.opener(prepared, headers) if asking else prepared.open,
        media_type=prepared.writer.media_type,
        headers=headers,
        cancel=prepared.cancel,
        compress=not prepared.writer.is_packed,
        late_headers=prepared.headers,
        line=line,
        freed=prepared.running.when_freed,
    )


@router.get("/examples", response_class=HTMLResponse)
def examples() -> Response:
    """TAP 1.1 §2.6, DALI 1.1 §2.3: queries to begin with, for people and for clients (TAP-42)."""
    return HTMLResponse(resources.files("tap").joinpath("examples.html").read_text(encoding="utf-8"))
