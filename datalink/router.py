"""/datalink/links, /files and /headers: HTTP to arguments, results to HTTP."""

from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any

import pyarrow as pa
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from archive.access.identity import User
from archive.access.router import current_user
from archive.holdings.previews import Role
from archive.holdings.queries import HeldFile
from archive.vo.arrow import arrow_schema
from archive.vo.dali import Parameters, parameters
from archive.vo.errors import UnavailableError, UsageError
from archive.vo.formats import writer_for
from archive.vo.routes import DaliRoute, PlainRoute, provided
from archive.vo.streaming import StreamedResponse
from archive.vo.votable import Info, write_votable
from datalink import files
from datalink.links import COLUMNS, MEDIA_TYPE, STANDARD_ID, columns_of
from datalink.service import DataLinkService, Links
from storage.errors import CatalogueUnavailable, NoSoundCopy, VolumeUnavailable
from storage.objects import ObjectService
from storage.web.conditional import Answer

PICTURE_MAX_AGE_S = 300  # a new version's picture is seen after this

links_router = APIRouter(route_class=DaliRoute, tags=["DataLink"])
files_router = APIRouter(route_class=PlainRoute, tags=["Files"])

Asker = Annotated[User, Depends(current_user)]
Service = Annotated[DataLinkService, provided(DataLinkService)]
Version = Annotated[
    int | None, Query(ge=1, le=2**31 - 1, description="Version of the file; the current one if none is given")
]


@links_router.get("/links")
@links_router.post("/links")
def links(
    request: Request, asked: Annotated[Parameters, Depends(parameters)], user: Asker, service: Service
) -> Response:
    """DataLink 1.1 §2.1: what hangs on each ID; a VOTable in TABLEDATA, whatever the default elsewhere (DL-03)."""
    wanted = asked.single("RESPONSEFORMAT")
    media_type = MEDIA_TYPE
    if wanted is not None and wanted.replace(" ", "") != MEDIA_TYPE:
        writer = writer_for(wanted)  # one this service knows, else an error that names those it knows
        if not writer.is_votable or "binary" in wanted.lower() or "b2" in wanted.lower():
            raise UsageError(f"RESPONSEFORMAT={wanted} is not offered for links; they come as {MEDIA_TYPE}")
        media_type = writer.media_type if "/" in wanted and not wanted.startswith("votable/") else MEDIA_TYPE
    found = service.links(asked.all("ID"), user, request.app.state.public_url)
    return StreamedResponse(lambda: _document(found), media_type=media_type)


def _document(found: Links) -> Iterator[bytes]:
    schema = arrow_schema(COLUMNS)
    arrays = [pa.array(v, type=field.type) for v, field in zip(columns_of(found.rows), schema, strict=True)]
    batches = [pa.RecordBatch.from_arrays(arrays, schema=schema)] if found.rows else []
    return write_votable(
        COLUMNS,
        batches,
        serialization="tabledata",
        infos=(Info("standardID", STANDARD_ID),),
        overflow=lambda: found.overflow,
    )


@files_router.get("/files/{file_id:path}", operation_id="file")
@files_router.head("/files/{file_id:path}", include_in_schema=False)
def file(
    request: Request,
    file_id: str,
    user: Asker,
    service: Service,
    objects: Annotated[ObjectService, provided(ObjectService)],
    version: Version = None,
) -> Response:
    """A file as it lies, whole or in part; 401 or 403 before its release date, which the answer tells."""
    held = service.file(file_id, version, user)
    answer = files.answer(held, request.headers, request.method)
    if request.method == "HEAD" or answer.stop == 0:
        return _bare(answer.status, answer.headers)
    return _Bytes(_opener(objects, held, answer), answer)


@files_router.get("/previews/{file_id:path}", operation_id="preview")
@files_router.head("/previews/{file_id:path}", include_in_schema=False)
def preview(
    request: Request,
    file_id: str,
    user: Asker,
    service: Service,
    objects: Annotated[ObjectService, provided(ObjectService)],
    version: Version = None,
) -> Response:
    """A picture of a file, 1024 pixels at most, for those who may have the file; 404 where none is made."""
    return _picture(request, "preview", file_id, user, service, objects, version)


@files_router.get("/thumbnails/{file_id:path}", operation_id="thumbnail")
@files_router.head("/thumbnails/{file_id:path}", include_in_schema=False)
def thumbnail(
    request: Request,
    file_id: str,
    user: Asker,
    service: Service,
    objects: Annotated[ObjectService, provided(ObjectService)],
    version: Version = None,
) -> Response:
    """The same, 256 pixels at most."""
    return _picture(request, "thumbnail", file_id, user, service, objects, version)


def _picture(
    request: Request,
    role: Role,
    file_id: str,
    user: User,
    service: DataLinkService,
    objects: ObjectService,
    version: int | None,
) -> Response:
    held, is_public = service.picture(file_id, role, version, user)
    answer = files.answer(held, request.headers, request.method)
    # Shown in a page rather than saved; what is not for everybody lies in nobody's shared cache.
    answer.headers["cache-control"] = f"public, max-age={PICTURE_MAX_AGE_S}" if is_public else "private, no-cache"
    answer.headers["vary"] = "Authorization"
    if "content-disposition" in answer.headers:
        answer.headers["content-disposition"] = answer.headers["content-disposition"].replace("attachment", "inline", 1)
    if request.method == "HEAD" or answer.stop == 0:
        return _bare(answer.status, answer.headers)
    return _Bytes(_opener(objects, held, answer), answer)


def _opener(objects: ObjectService, held: HeldFile, answer: Answer) -> Callable[[], Iterable[bytes]]:
    def opened() -> Iterable[bytes]:
        try:
            return objects.open_key(held.object_key, answer.start, answer.stop)
        except (VolumeUnavailable, CatalogueUnavailable, NoSoundCopy):
            raise UnavailableError(f"the bytes of {held.file_id} cannot be reached at the moment") from None

    return opened


class _Bytes(StreamedResponse):
    """Bytes of known length: what is broken off is then seen by the client, whatever it speaks."""

    def __init__(self, opened: Callable[[], Iterable[bytes]], answer: Answer) -> None:
        headers = {name: value for name, value in answer.headers.items() if name != "content-type"}
        super().__init__(
            opened,
            media_type=answer.headers["content-type"],
            status_code=answer.status,
            headers=headers,
            compress=False,
        )


def _bare(status: int, headers: dict[str, str]) -> Response:
    """Headers alone. Starlette would write a content-length of its own."""
    response = Response(status_code=status)
    response.raw_headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    return response


@files_router.get("/headers/{file_id:path}", operation_id="header")
@files_router.head("/headers/{file_id:path}", include_in_schema=False)
def header(
    request: Request,
    file_id: str,
    user: Asker,
    service: Service,
    version: Version = None,
    form: Annotated[str | None, Query(alias="format", pattern="^(text|json)$")] = None,
) -> Response:
    """The header cards of a file's HDUs, as text or (format=json, or Accept: application/json) as JSON."""
    held, hdus = service.header(file_id, version, user)
    wants_json = form == "json" or (form is None and "json" in request.headers.get("accept", ""))
    about = {"Vary": "Accept", "X-File-Version": str(held.version)}
    if wants_json:
        return JSONResponse({"file_id": held.file_id, "version": held.version, "hdus": hdus}, headers=about)
    return PlainTextResponse(_as_text(hdus), headers=about)


def _as_text(hdus: list[dict[str, Any]]) -> str:
    lines = []
    for hdu in hdus:
        lines.append(f"# HDU {hdu.get('index')} {hdu.get('name') or ''}".rstrip())
        lines += [_card_text(card) for card in hdu.get("cards", [])]
        lines.append("END")
    return "\n".join(lines) + "\n"


def _card_text(card: list[Any]) -> str:
    """A card as FITS writes it, except that nothing is cut at 80 characters."""
    keyword, value, comment = card
    if value is None and not comment:
        return str(keyword)
    shown = {True: "T", False: "F"}[value] if isinstance(value, bool) else "" if value is None else str(value)
    if isinstance(value, str):
        shown = "'" + value.replace("'", "''") + "'"
    return f"{keyword:8} = {shown}{f' / {comment}' if comment else ''}"
