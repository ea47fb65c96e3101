"""/tap: sync by GET and POST, examples, a page for people. Async is archive.jobs', VOSI the front door's."""

from importlib import resources
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, Response

from archive.access.identity import User
from archive.access.router import current_user
from archive.vo.answers import Answers, Asking, streamed
from archive.vo.dali import Parameters, parameters
from archive.vo.line import Line
from archive.vo.routes import DaliRoute, service
from tap.service import TapService

router = APIRouter(route_class=DaliRoute, tags=["TAP"])


@router.get("/sync")
@router.post("/sync")
def sync(
    request: Request,
    asked: Annotated[Parameters, Depends(parameters)],
    user: Annotated[User, Depends(current_user)],
) -> Response:
    """TAP 1.1 §2.1: the result itself."""
    # Asked for here, not as dependencies, each of which is a step that every small query would wait for.
    tap, answers, line = service(request, TapService), service(request, Answers), service(request, Line)
    asking = Asking.of(answers, request, asked, anonymous=user.is_anonymous)
    if asking is not None:
        if again := asking.again():
            return again
        tap.look_again()  # or a table published a moment ago would be answered, and kept, as it was before
    limits = tap.limits
    prepared = tap.prepare(asked, user, timeout_s=limits.sync_timeout_s, most_estimate_s=limits.sync_estimate_s)
    return streamed(prepared, asking, "result", line)


@router.get("/examples", response_class=HTMLResponse)
def examples() -> Response:
    """TAP 1.1 §2.6, DALI 1.1 §2.3: queries to begin with, for people and for clients (TAP-42)."""
    return HTMLResponse(resources.files("tap").joinpath("examples.html").read_text(encoding="utf-8"))
