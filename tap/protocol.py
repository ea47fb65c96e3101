"""What TAP says of itself: capabilities from the translator's own declarations, and its routes (TAP-40, TAP-41)."""

from collections.abc import Iterator
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, Response

from archive.access.identity import User
from archive.access.router import current_user
from archive.holdings.published import PublishedTables
from archive.jobs.router import uws_router, votable_error_document
from archive.served import ServedProtocol
from archive.vo.capability import (
    FEATURES_GEO,
    FEATURES_UDF,
    TAP,
    TAPREGEXT,
    Capability,
    FeatureList,
    Interface,
    Language,
    LanguageFeature,
    Limit,
    TableAccess,
    vosi_capabilities,
)
from archive.vo.errors import NotFoundError
from archive.vo.routes import DaliRoute, PlainRoute, provided
from archive.vo.streaming import StreamedResponse
from archive.vo.vosi import MEDIA_TYPE, table_document, tables_document
from tap import jobs, own_router, router
from tap.adql.geometry import feature_list
from tap.own_tables import UPDATE, OwnTablesService
from tap.service import Limits

PATH = "/tap"
VERSIONS = (("2.0", "ivo://ivoa.net/std/ADQL#v2.0"), ("2.1", "ivo://ivoa.net/std/ADQL#v2.1"))

vosi = APIRouter(prefix=PATH, route_class=PlainRoute, tags=["TAP"])
Tables = Annotated[PublishedTables, provided(PublishedTables)]
Own = Annotated[OwnTablesService, provided(OwnTablesService)]
Asker = Annotated[User, Depends(current_user)]


@vosi.get("/tables")
def tables(
    published: Tables, own: Own, user: Asker, detail: Annotated[Literal["min", "max"], Query()] = "max"
) -> Response:
    """VOSI 1.1 §3.3: every table that the caller may read, a table at a time (VOSI-03)."""
    theirs = own.view(user).schemas

    def document() -> Iterator[bytes]:
        # pyvo 1.9 asks for a table's columns without the user's token: of their own they come at once.
        return tables_document((*published.schemas(), *theirs), detail=detail, in_full=theirs)

    return StreamedResponse(document, media_type=MEDIA_TYPE)


@vosi.get("/tables/{name}")
def table(name: str, published: Tables, own: Own, user: Asker) -> Response:
    """VOSI 1.1 §3.3.1: one table in full (VOSI-04)."""
    key = name.replace('"', "").lower()
    found = published.tables().get(key) or own.view(user).tables.get(key)
    if found is None:
        raise NotFoundError(f"there is no table {name}; /tap/tables lists those there are")
    return Response(table_document(found.table), media_type=MEDIA_TYPE)


@vosi.get("", response_class=HTMLResponse)
def page(request: Request) -> HTMLResponse:
    """TAP 1.1 §2: a page for people (TAP-02)."""
    url = f"{request.app.state.public_url}{PATH}"
    links = " · ".join(
        f'<a href="{url}/{child}">{child}</a>' for child in ("capabilities", "tables", "examples", "availability")
    )
    return HTMLResponse(
        f"<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'><title>TAP</title></head><body><main>"
        f"<h1>Table Access Protocol</h1><p>Clients take this address: <code>{url}</code></p><p>{links}</p>"
        "</main></body></html>"
    )


def features() -> tuple[FeatureList, ...]:
    """Language features by type, as the translator declares them."""
    by_type: dict[str, list[LanguageFeature]] = {}
    for fragment, form, description in feature_list():
        type_ = f"{TAPREGEXT}#{fragment}"
        # ADQL 2.1 §4.1 prints its own features in lower case; those of TAPRegExt 1.0 are told in both (ADQL-30).
        is_older = type_ in (FEATURES_GEO, FEATURES_UDF)
        by_type.setdefault(type_ if is_older else type_.lower(), []).append(LanguageFeature(form, description))
    return tuple(FeatureList(type_, tuple(found)) for type_, found in by_type.items())


def capability(limits: Limits, *, async_s: Limit, retention_s: Limit) -> Capability:
    """The one TAP capability (TAP-40)."""
    return Capability(
        TAP,
        (Interface(PATH, version="1.1", use="base"),),
        extension=TableAccess(
            languages=(Language("ADQL", VERSIONS, "Astronomical Data Query Language", features()),),
            upload_methods=("inline", "http", "https"),
            retention_s=retention_s,
            execution_s=async_s,
            output_rows=Limit(limits.default_maxrec, limits.hard_maxrec),
            upload_rows=Limit(hard=limits.upload_max_rows),
            upload_bytes=Limit(hard=limits.upload_max_bytes),
        ),
    )


def protocol(limits: Limits, *, async_s: Limit, retention_s: Limit) -> ServedProtocol:
    """TAP, to be mounted."""
    whole = APIRouter()
    whole.include_router(router.router, prefix=PATH)
    whole.include_router(vosi)
    whole.include_router(own_router.router, prefix=PATH)
    whole.include_router(uws_router(UPDATE, f"/{UPDATE}"), prefix=PATH, tags=["TAP"])
    asynchronous = uws_router(jobs.NAME, route_class=DaliRoute, error_response=votable_error_document)
    whole.include_router(asynchronous, prefix=PATH, tags=["TAP"])
    declared = (
        capability(limits, async_s=async_s, retention_s=retention_s),
        *vosi_capabilities(PATH, tables=f"{PATH}/tables", examples=f"{PATH}/examples")[2:],
    )
    return ServedProtocol(PATH, "Table Access Protocol (TAP)", whole, declared, front=PATH)
