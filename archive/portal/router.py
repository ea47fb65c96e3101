"""The portal's pages, and what their scripts ask beside the protocols: /resolve, /names, /coverage."""

from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from archive.access.identity import User
from archive.access.router import current_user
from archive.portal import names, wording
from archive.portal.pages import Pages
from archive.portal.search import Search
from archive.portal.service import PortalService, order_names, root_of
from archive.vo.errors import ArchiveError, AuthenticationError, NotFoundError
from archive.vo.formats import FORMATS
from archive.vo.routes import PlainRoute, TellingRoute, error_headers, provided, words
from archive.vo.streaming import StreamedResponse

COVERAGE_MAX_AGE_S = 300
FIRST_QUERY = """SELECT TOP 100 dp_id, target_name, dataproduct_type, instrument_name, s_ra, s_dec, s_region
FROM ivoa.obscore
WHERE dataproduct_type = 'image'"""
FOREVER = "public, max-age=31536000, immutable"


def error_page(error: ArchiveError, request: Request) -> Response:
    """The error as a person reads it."""
    pages: Pages = request.app.state.services[Pages]
    headers = error_headers(error)
    if error.status == AuthenticationError.status:
        # A browser that is shown a challenge for the page would ask for a password before it shows the page.
        headers.pop("WWW-Authenticate", None)
    return pages.html("error.html", {"status": error.status, "message": words(error, request)}, error.status, **headers)


class PageRoute(TellingRoute):
    """Pages: errors are pages too."""

    document = staticmethod(error_page)


pages_router = APIRouter(route_class=PageRoute, tags=["Portal"], default_response_class=HTMLResponse)
data_router = APIRouter(route_class=PlainRoute, tags=["Portal"])
Asker = Annotated[User, Depends(current_user)]
Service = Annotated[PortalService, provided(PortalService)]
Rendering = Annotated[Pages, provided(Pages)]


@pages_router.get("/")
def front(request: Request, user: Asker, service: Service, pages: Rendering) -> Response:
    """What this archive holds, and where its doors are."""
    return pages.html("front.html", {**service.front(user), "doors": request.app.state.doors})


@pages_router.get("/search")
def search(request: Request, user: Asker, service: Service, pages: Rendering) -> Response:
    """Data sets by q (a name or coordinates) and radius, from and to, and the facets: type, collection, instrument,
    facility, level, rights."""
    page = service.search(Search.from_items(request.query_params.multi_items()), user)
    context = {
        "page": page,
        "search": page.search,
        "orders": order_names(page.search),
        "surveys": service.surveys(),
        "snippets": wording.snippets(page.adql, request.app.state.public_url),
    }
    return pages.html("search.html", context)


@pages_router.get("/datasets/{dp_id:path}")
def dataset(request: Request, dp_id: str, user: Asker, service: Service, pages: Rendering) -> Response:
    """One data set: what it is, where, how to get it. A file that is none has its links on a page of its own."""
    try:
        found = service.dataset(dp_id, user)
    except NotFoundError:
        if service.file(dp_id) is None:
            raise
        return RedirectResponse(f"{root_of(request.app.state.public_url)}/headers/{quote(dp_id, safe='/:')}", 303)
    url = request.app.state.public_url
    row = found["row"]
    file_url = f"{url}/files/{quote(dp_id, safe='/:')}"
    snippets = wording.dataset_snippets(row["obs_publisher_did"], dp_id, file_url, url)
    return pages.html("dataset.html", {**found, "snippets": snippets})


@pages_router.get("/collections/{name:path}")
def collection(name: str, user: Asker, service: Service, pages: Rendering) -> Response:
    """A collection: what is in it, and what part of the sky it covers."""
    return pages.html("collection.html", service.collection(name, user))


@pages_router.get("/query")
def query(
    service: Service,
    pages: Rendering,
    adql: Annotated[str, Query(max_length=100_000, description="To begin with")] = "",
) -> Response:
    """A page to ask in ADQL: an editor, the answer as a table and on the sky, downloads."""
    formats = [(form.media_type, form.aliases[0] if form.aliases else form.media_type) for form in FORMATS]
    context = {"adql": adql or FIRST_QUERY, "formats": formats, "surveys": service.surveys()}
    return pages.html("query.html", context)


@pages_router.get("/connect")
def connect(request: Request, service: Service, pages: Rendering) -> Response:
    """How to use this archive from TOPCAT, Aladin, pyvo and other programs."""
    context = {"doors": request.app.state.doors, "surveys": service.surveys(), "catalogues": service.catalogues()}
    return pages.html("connect.html", context)


@pages_router.get("/docs")
def api(request: Request, pages: Rendering) -> Response:
    """Every endpoint with its parameters, from the OpenAPI document."""
    sections: dict[str, list[tuple[str, str, dict[str, object]]]] = {}
    for path, methods in request.app.openapi()["paths"].items():
        for method, operation in methods.items():
            tag = (operation.get("tags") or ["Other"])[0]
            sections.setdefault(tag, []).append((method.upper(), path, operation))
    return pages.html("api.html", {"sections": sections})


@data_router.get("/static/{mark}/{name}", include_in_schema=False)
def static(mark: str, name: str, pages: Rendering) -> Response:
    """A file that the pages need."""
    found = pages.static.read(name)
    if found is None:
        raise NotFoundError(f"the portal has no file {name}")
    content, media_type = found
    kept = FOREVER if mark == pages.static.mark else "no-cache"
    return StreamedResponse(
        lambda: [content], media_type=f"{media_type}; charset=utf-8", headers={"Cache-Control": kept}
    )


@data_router.get("/favicon.ico", include_in_schema=False)
def favicon(pages: Rendering) -> Response:
    """What browsers ask for beside answers that are no pages of the portal."""
    return static("", "mark.svg", pages)


@data_router.get("/resolve")
def resolve(
    service: Service, name: Annotated[str, Query(min_length=1, max_length=200, description="A name, or coordinates")]
) -> Response:
    """Where the object of a name is, as the archive's targets and catalogues know it: ICRS, degrees. 404: unknown."""
    places = service.places(name)
    if not places:
        raise NotFoundError(f"nothing in this archive goes by the name {name}")
    return JSONResponse({"name": name, "places": [names.told(place) for place in places]})


@data_router.get("/names")
def suggest(
    service: Service,
    prefix: Annotated[str, Query(min_length=2, max_length=200, description="How the names begin")],
    most: Annotated[int, Query(ge=1, le=50, description="Names at the most")] = 10,
) -> Response:
    """Names that begin so, for who is typing one."""
    return JSONResponse([names.told(place) for place in service.suggested(prefix, most)])


@data_router.get("/coverage")
def coverage(
    service: Service,
    collection: Annotated[str | None, Query(max_length=200, description="Of one collection; of all if none")] = None,
    form: Annotated[
        Literal["fits", "json", "ascii", "png"], Query(alias="format", description="MOC 2.0, or a small map")
    ] = "fits",
) -> Response:
    """The part of the sky that the archive's images, cubes and spectra cover, as a MOC."""
    covered = service.coverage(collection)
    moc = covered.moc
    kept = {"Cache-Control": f"public, max-age={COVERAGE_MAX_AGE_S}"}
    match form:
        case "png":
            return Response(covered.picture, headers=kept, media_type="image/png")
        case "fits":
            from archive.vo.moc import moc_fits

            return Response(moc_fits(moc), headers=kept, media_type="application/fits")
        case "json":
            return Response(moc.to_string("json"), headers=kept, media_type="application/json")
    return Response(moc.to_string("ascii", fold=120), headers=kept, media_type="text/plain")
