"""What TAP says of itself: capabilities from the translator's own declarations, and its routes (TAP-40, TAP-41)."""

from collections.abc import Container, Iterator
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, Response

from archive.access.identity import User
from archive.access.router import current_user
from archive.holdings.published import PublishedTables
from archive.holdings.table_documents import TableDocuments
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
from archive.vo.conditional import answered
from archive.vo.conditional import document as document_at_hand
from archive.vo.errors import NotFoundError
from archive.vo.origin import SOFTWARE
from archive.vo.page import page
from archive.vo.routes import DaliRoute, PlainRoute, provided
from archive.vo.streaming import StreamedResponse
from archive.vo.vosi import MEDIA_TYPE, Detail, for_tapplus, table_document
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
Documents = Annotated[TableDocuments, provided(TableDocuments)]


@vosi.get("/tables")
def tables(
    request: Request, published: Tables, documents: Documents, own: Own, user: Asker,
    detail: Annotated[Detail, Query()] = "max",
) -> Response:  # fmt: skip
    """VOSI 1.1 §3.3: every table that the caller may read, a few at a time (VOSI-03)."""
    # pyvo 1.9 asks for a table's columns without the user's token: of their own they come at once.
    theirs = own.view(user).schemas
    # Nobody but TapPlus was seen to leave out its name; what it needs, the schema of VODataService does not allow.
    is_tapplus = "user-agent" not in request.headers
    validators = published.tables().validators(SOFTWARE, detail, theirs, is_tapplus)
    if not user.is_anonymous:
        validators = replace(validators, modified=None)  # the date is of what is published, not of what is theirs

    def document() -> Iterator[bytes]:
        told = documents.document(detail, theirs)
        return for_tapplus(told) if is_tapplus else told

    headers = {"Vary": "Authorization, User-Agent"}
    return answered(request, validators, lambda: StreamedResponse(document, media_type=MEDIA_TYPE, headers=headers))


@vosi.get("/tables/{name}")
def table(request: Request, name: str, published: Tables, own: Own, user: Asker) -> Response:
    """VOSI 1.1 §3.3.1: one table in full (VOSI-04)."""
    key = name.replace('"', "").lower()
    found = published.tables().get(key) or own.view(user).tables.get(key)
    if found is None:
        raise NotFoundError(f"there is no table {name}; /tap/tables lists those there are")
    return document_at_hand(request, table_document(found.table), MEDIA_TYPE)


@vosi.get("", response_class=HTMLResponse)
def front(request: Request) -> HTMLResponse:
    """TAP 1.1 §2: a page for people (TAP-02)."""
    url = f"{request.app.state.public_url}{PATH}"
    links = " · ".join(
        f'<a href="{url}/{child}">{child}</a>' for child in ("capabilities", "tables", "examples", "availability")
    )
    told = f"<p>Clients (TOPCAT, pyvo, Aladin) take this address: <code>{url}</code></p>"
    return HTMLResponse(page("Table Access Protocol", f"{told}<p>{links}</p>"))


def features(failed: Container[str] = ()) -> tuple[FeatureList, ...]:
    """Language features by type, as the translator declares them. failed: forms that do not work in this database."""
    by_type: dict[str, list[LanguageFeature]] = {}
    for fragment, form, description in feature_list():
        if form in failed:
            continue
        type_ = f"{TAPREGEXT}#{fragment}"
        # ADQL 2.1 §4.1 prints its own features in lower case; those of TAPRegExt 1.0 are told in both (ADQL-30).
        is_older = type_ in (FEATURES_GEO, FEATURES_UDF)
        by_type.setdefault(type_ if is_older else type_.lower(), []).append(LanguageFeature(form, description))
    return tuple(FeatureList(type_, tuple(found)) for type_, found in by_type.items())


def capability(limits: Limits, *, async_s: Limit, retention_s: Limit, failed: Container[str] = ()) -> Capability:
    """The one TAP capability (TAP-40)."""
    return Capability(
        TAP,
        (Interface(PATH, version="1.1", use="base"),),
        extension=TableAccess(
            languages=(Language("ADQL", VERSIONS, "Astronomical Data Query Language", features(failed)),),
            upload_methods=("inline", "http", "https"),
            retention_s=retention_s,
            execution_s=async_s,
            output_rows=Limit(limits.default_maxrec, limits.hard_maxrec),
            upload_rows=Limit(hard=limits.upload_max_rows),
            upload_bytes=Limit(hard=limits.upload_max_bytes),
        ),
    )


def protocol(limits: Limits, *, async_s: Limit, retention_s: Limit, failed: Container[str] = ()) -> ServedProtocol:
    """TAP, to be mounted. failed: what is not declared, because the self-test found that it does not work."""
    whole = APIRouter()
    whole.include_router(router.router, prefix=PATH)
    whole.include_router(vosi)
    whole.include_router(own_router.router, prefix=PATH)
    whole.include_router(uws_router(UPDATE, f"/{UPDATE}"), prefix=PATH, tags=["TAP"])
    asynchronous = uws_router(jobs.NAME, route_class=DaliRoute, error_response=votable_error_document)
    whole.include_router(asynchronous, prefix=PATH, tags=["TAP"])
    declared = (
        capability(limits, async_s=async_s, retention_s=retention_s, failed=failed),
        *vosi_capabilities(PATH, tables=f"{PATH}/tables", examples=f"{PATH}/examples")[2:],
    )
    return ServedProtocol(PATH, "Table Access Protocol (TAP)", whole, declared, front=PATH)
