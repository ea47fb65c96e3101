"""Mounting the rooms' protocols into one ASGI application, and what the archive says of itself as a whole."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import structlog
from anyio import to_thread
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import Response
from sqlalchemy import text
from sqlalchemy.exc import DataError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import ASGIApp

from archive.app.health import health_router
from archive.app.metrics import ArchiveMetrics, NamesRoute, RequestMetrics, metrics_router
from archive.app.opened import OpenedArchive
from archive.app.store_page import store_router
from archive.app.wire import Compressed, Courtesies, HeadAsGet, Paced, TidyPaths, Under
from archive.portal.router import error_page
from archive.served import ServedProtocol
from archive.vo import conditional
from archive.vo.capability import Capability, vosi_capabilities
from archive.vo.errors import UnavailableError, UsageError
from archive.vo.line import Line
from archive.vo.routes import PlainRoute, archive_error, is_browser, plain_document
from archive.vo.vosi import MEDIA_TYPE, Availability, availability_document, capabilities_document
from storage.errors import VolumeUnavailable

log = structlog.get_logger(__name__)


def application(
    archive: OpenedArchive, protocols: Sequence[ServedProtocol], services: Mapping[type, Any], *, version: str
) -> ASGIApp:
    """The archive as an ASGI application.

    services: by type, what handlers ask for with `provided`. Each protocol gets VOSI documents under its path; the
    root tells of all of them.
    """
    settings = archive.settings
    app = FastAPI(
        title=settings.title,
        version=version,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        lifespan=_lifespan(settings.server.threads),
    )
    app.router.redirect_slashes = False
    app.state.services = dict(services)
    app.state.public_url = settings.public_url
    app.state.translate_error = translated
    app.state.up_since = datetime.now(UTC)
    app.state.doors = [(each.title, each.path, each.page) for each in protocols if each.path and not each.app]
    app.add_exception_handler(HTTPException, _tell)
    for protocol in protocols:
        app.include_router(protocol.router)
        if protocol.capabilities:
            app.include_router(_vosi(archive, protocol.path, protocol.capabilities))
    everything = tuple(capability for protocol in protocols for capability in protocol.capabilities)
    app.include_router(_vosi(archive, "", everything))
    counted = RequestMetrics()
    if Line in services:
        services[Line].told = counted.waiting
    app.include_router(health_router(archive, version=version))
    app.include_router(metrics_router(counted, ArchiveMetrics(archive)))
    app.include_router(store_router(archive))

    _describe(app, protocols)
    inner: ASGIApp = TidyPaths(HeadAsGet(Compressed(NamesRoute(app))))
    for protocol in protocols:
        if protocol.app is not None:
            inner = Under(protocol.path, HeadAsGet(Compressed(protocol.app)), inner)
    polite = Courtesies(inner, counted)
    return Paced(polite, stalled_s=settings.server.stalled_s)


def _describe(app: FastAPI, protocols: Sequence[ServedProtocol]) -> None:
    """Add to /openapi.json what answers in the routes' stead."""
    of_routes = app.openapi

    def openapi() -> dict[str, Any]:
        document = of_routes()
        for protocol in protocols:
            document["paths"].update(protocol.openapi)
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend it


async def _tell(request: Request, error: Exception) -> Response:
    """What no route answers (404, 405), in the words of the archive's own faces; a browser gets a page."""
    response = (error_page if is_browser(request) else plain_document)(archive_error(error), request)
    if response.status_code == 405:
        response.headers["Allow"] = ", ".join(_allowed(request))
    return response


def _allowed(request: Request) -> list[str]:
    """The methods that a path takes (RFC 9110 §10.2.1); a route by itself tells only its own."""
    routes = request.app.router.routes
    found = [
        method
        for method in ("GET", "POST", "PUT", "DELETE")
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    ]
    return [*found, *(["HEAD"] if "GET" in found else []), "OPTIONS"]


def _vosi(archive: OpenedArchive, path: str, capabilities: Sequence[Capability]) -> APIRouter:
    """/capabilities and /availability under a path (VOSI 1.1)."""
    router = APIRouter(route_class=PlainRoute, tags=["VOSI"])
    declared = (*capabilities, *vosi_capabilities(path))
    document = capabilities_document(declared, archive.settings.public_url)
    modified = datetime.now(UTC)

    @router.get(f"{path}/capabilities", operation_id=f"capabilities{path.replace('/', '_')}")
    def capabilities_of(request: Request) -> Response:
        """VOSI 1.1 §3.1: what can be done here, and how; it changes with the release and the settings."""
        return conditional.document(request, document, MEDIA_TYPE, modified)

    @router.get(f"{path}/availability", operation_id=f"availability{path.replace('/', '_')}")
    def availability_of(request: Request) -> Response:
        """VOSI 1.1 §3.2: whether the database answers now."""
        found = _availability(archive, request.app.state.up_since)
        return Response(availability_document(found), 200 if found.available else 503, media_type=MEDIA_TYPE)

    return router


def _availability(archive: OpenedArchive, up_since: datetime) -> Availability:
    try:
        with archive.engines.writer.connect() as connection:
            connection.execute(text("SELECT 1 FROM arc.file LIMIT 1"))
    except SQLAlchemyError as problem:
        log.error("the database does not answer", exc_info=problem)
        return Availability(False, up_since, notes=("the database does not answer; it is being looked after",))
    return Availability(True, up_since)


def translated(error: Exception) -> Exception:
    """What the archive stands on and does not answer, as a client may hear it: not now, rather than a fault."""
    if isinstance(error, OperationalError | InterfaceError | PoolTimeout):
        log.error("the database does not answer", exc_info=error)
        return UnavailableError("the database does not answer at the moment; try again shortly")
    if isinstance(error, DataError) and "NUL (0x00)" in str(error.orig):
        return UsageError("a value of the request has the character NUL in it, which no value here has")
    if isinstance(error, VolumeUnavailable):
        log.error("the store does not answer", exc_info=error)
        return UnavailableError("the store does not answer at the moment; try again shortly")
    return error


def _lifespan(threads: int) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        to_thread.current_default_thread_limiter().total_tokens = threads  # known only inside the event loop
        yield

    return lifespan
