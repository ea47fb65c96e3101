"""/sia2/query, /sia/query, /ssa/query, /scs/{table}/query: HTTP to parameters, answers to HTTP.

The routes are made with what each protocol declares, so that the API's page tells the same as the service does.
"""

from collections.abc import Callable, Sequence
from functools import partial
from html import escape
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy.exc import SQLAlchemyError

from archive.access.identity import User
from archive.access.router import current_user
from archive.discovery import ssa
from archive.discovery.capabilities import cone_capability
from archive.discovery.metadata import wants_metadata
from archive.discovery.parameters import Parameter
from archive.discovery.service import VOTABLE, DiscoveryService
from archive.vo.answers import Answers, Asking, answered
from archive.vo.capability import vosi_capabilities
from archive.vo.conditional import document
from archive.vo.dali import Parameters, parameters
from archive.vo.line import Line
from archive.vo.page import page
from archive.vo.routes import PlainRoute, ScsRoute, Sia1Route, SiaRoute, SsaRoute, provided
from archive.vo.vosi import MEDIA_TYPE, Availability, availability_document, capabilities_document

Asked = Annotated[Parameters, Depends(parameters)]
Asker = Annotated[User, Depends(current_user)]  # a wrong token is told, though rows are the same for all
Service = Annotated[DiscoveryService, provided(DiscoveryService)]
InLine = Annotated[Line, provided(Line)]


async def asking(
    request: Request, asked: Asked, user: Asker, answers: Annotated[Answers, provided(Answers)]
) -> Callable[[], Asking | None]:
    """The request as one whose answer may be kept; to be called on a thread, for it asks the database."""
    return partial(Asking.of, answers, request, asked, anonymous=user.is_anonymous)


Asks = Annotated[Callable[[], Asking | None], Depends(asking)]


def sia_router(declared: Sequence[Parameter]) -> APIRouter:
    """SIA 2.0 §2: one {query} endpoint, by GET and POST (SIA2-01)."""
    router = APIRouter(route_class=SiaRoute, tags=["SIA"])

    @router.get("/sia2/query", operation_id="sia2", openapi_extra=_told(declared))
    @router.post("/sia2/query", operation_id="sia2_post")
    async def images(request: Request, asks: Asks, asked: Asked, service: Service, line: InLine) -> Response:
        """SIA 2.0: images and cubes, in ObsCore's columns."""
        url = request.app.state.public_url
        return answered(asks, service.look_again, lambda: service.images(asked, url), "sia2", line)

    return router


def sia1_router(declared: Sequence[Parameter]) -> APIRouter:
    """SIA 1.0 §4, by GET; POST too."""
    router = APIRouter(route_class=Sia1Route, tags=["SIA"])

    @router.get("/sia/query", operation_id="sia1", openapi_extra=_told(declared))
    @router.post("/sia/query", operation_id="sia1_post")
    async def images(request: Request, asks: Asks, asked: Asked, service: Service, line: InLine) -> Response:
        """SIA 1.0: images and cubes around a position; FORMAT=METADATA: what this service takes and gives."""
        if wants_metadata(asked):
            return Response(service.older_images_metadata(), media_type="text/xml")
        url = request.app.state.public_url
        return answered(asks, service.look_again, lambda: service.older_images(asked, url), "sia", line)

    return router


def ssa_router(declared: Sequence[Parameter]) -> APIRouter:
    """SSA 1.1 §4: queryData; POST too, which no client minds."""
    router = APIRouter(route_class=SsaRoute, tags=["SSA"])

    @router.get("/ssa/query", operation_id="ssa", openapi_extra=_told(declared))
    @router.post("/ssa/query", operation_id="ssa_post")
    async def spectra(request: Request, asks: Asks, asked: Asked, service: Service, line: InLine) -> Response:
        """SSA 1.1: spectra, in SSA's columns; FORMAT=METADATA: what this service takes and gives."""
        if wants_metadata(asked):
            ssa.check_request(asked)
            return Response(service.spectra_metadata(), media_type=VOTABLE)
        url = request.app.state.public_url
        return answered(asks, service.look_again, lambda: service.spectra(asked, url), "ssa", line)

    return router


def scs_router(declared: Sequence[Parameter]) -> APIRouter:
    """SCS 1.03 §2 on every table that has a main position."""
    router = APIRouter(route_class=ScsRoute, tags=["SCS"])

    @router.get("/scs/{table}/query", operation_id="scs", openapi_extra=_told(declared))
    @router.post("/scs/{table}/query", operation_id="scs_post")
    async def rows(table: str, asks: Asks, asked: Asked, service: Service, line: InLine) -> Response:
        """SCS 1.03: the rows of a table within a circle."""
        return answered(asks, service.look_again, lambda: service.cone(table, asked), table, line)

    return router


vosi = APIRouter(route_class=PlainRoute, tags=["SCS"])


@vosi.get("/scs", response_class=HTMLResponse)
def cone_searches(request: Request, service: Service) -> HTMLResponse:
    """The tables that have a cone search, for people."""
    url = request.app.state.public_url
    listed = "".join(
        f"<tr><th scope='row'>{escape(one.table.title or one.table.name)}</th><td>{_rows(one.table.rows)}</td>"
        f"<td><code>{escape(f'{url}/scs/{one.table.name}/query')}</code></td>"
        f"<td><a href='{escape(f'{url}/scs/{one.table.name}/capabilities')}'>capabilities</a></td></tr>"
        for one in service.all_searched()
    )
    told = (
        "<p>Clients take one of these addresses, and RA, DEC and SR in degrees.</p>"
        "<table><thead><tr><th scope='col'>Table</th><th scope='col'>Rows</th><th scope='col'>Address</th>"
        f"<th scope='col'>About</th></tr></thead><tbody>{listed}</tbody></table>"
    )
    return HTMLResponse(page("Simple Cone Search", told))


@vosi.get("/scs/{table}/capabilities")
def capabilities(table: str, request: Request, service: Service) -> Response:
    """VOSI 1.1 §3.1, of one table's cone search (SCS-06)."""
    found = service.searched(table)
    path = f"/scs/{found.table.name}"
    declared = (cone_capability(found.table, service.scs, service.limits), *vosi_capabilities(path))
    return document(request, capabilities_document(declared, request.app.state.public_url), MEDIA_TYPE)


@vosi.get("/scs/{table}/availability")
def availability(table: str, request: Request, service: Service) -> Response:
    """VOSI 1.1 §3.2, of one table's cone search."""
    since = request.app.state.up_since
    try:
        service.searched(table)
    except SQLAlchemyError:
        found = Availability(False, since, notes=("the database does not answer; it is being looked after",))
        return Response(availability_document(found), 503, media_type=MEDIA_TYPE)
    return Response(availability_document(Availability(True, since)), media_type=MEDIA_TYPE)


def _rows(count: int | None) -> str:
    return "" if count is None else f"{count:,}"


def _told(declared: Sequence[Parameter]) -> dict[str, Any]:
    return {"parameters": [one.told.openapi() for one in declared]}
