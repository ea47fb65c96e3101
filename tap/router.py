"""/tap: sync by GET and POST, examples, a page for people. Async is archive.jobs', VOSI the front door's."""

from functools import partial
from importlib import resources
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, Response

from archive.access.identity import User
from archive.access.router import current_user
from archive.vo.answers import Answers, Asking, answered
from archive.vo.dali import Parameters, parameters
from archive.vo.line import Line
from archive.vo.routes import DaliRoute, service
from tap.service import TapService

router = APIRouter(route_class=DaliRoute, tags=["TAP"])


@router.get("/sync")
async def sync(request: Request) -> Response:
    """TAP 1.1 §2.1: the result itself."""
    # Asked for here, not as dependencies, each of which is a step that every small query would wait for.
    return await _result(request, Parameters(request.query_params.multi_items()), await current_user(request))


@router.post("/sync")
async def sync_by_post(
    request: Request,
    asked: Annotated[Parameters, Depends(parameters)],
    user: Annotated[User, Depends(current_user)],
) -> Response:
    """TAP 1.1 §2.1: the same, with a form."""
    return await _result(request, asked, user)


async def _result(request: Request, asked: Parameters, user: User) -> Response:
    tap, answers, line = service(request, TapService), service(request, Answers), service(request, Line)
    limits = tap.limits
    prepare = partial(tap.prepare, asked, user, timeout_s=limits.sync_timeout_s, most_estimate_s=limits.sync_estimate_s)
    if "UPLOAD" in asked:
        prepared = await to_thread.run_sync(prepare)  # which may take long: nobody in line is to wait for it
        return answered(lambda: None, tap.look_again, lambda: prepared, "result", line)
    asks = partial(Asking.of, answers, request, asked, anonymous=user.is_anonymous)
    return answered(asks, tap.look_again, prepare, "result", line)


@router.get("/examples", response_class=HTMLResponse)
def examples() -> Response:
    """TAP 1.1 §2.6, DALI 1.1 §2.3: queries to begin with, for people and for clients (TAP-42)."""
    return HTMLResponse(resources.files("tap").joinpath("examples.html").read_text(encoding="utf-8"))
