"""/tap/tables and /tap/load for those who keep tables of their own: VOSI 1.2's PUT, POST and DELETE, as pyvo has it.

Source: VOSI 1.2 (working draft), and what pyvo does under "cadc-tb-upload" (pyvo.dal.TAPService.create_table and on).
"""

import tempfile
from collections.abc import AsyncIterator
from typing import Annotated, BinaryIO, cast

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from archive.access.identity import User
from archive.access.router import current_user
from archive.holdings.own.keeping import Kept
from archive.vo.dali import Parameters, parameters
from archive.vo.errors import AuthenticationError, TooLargeError, UsageError
from archive.vo.routes import PlainRoute, provided
from archive.vo.vosi import MEDIA_TYPE, table_document
from tap.own_tables import OwnTablesService

SPOOL_BYTES = 8 << 20

router = APIRouter(route_class=PlainRoute, tags=["TAP"])
Asker = Annotated[User, Depends(current_user)]
Own = Annotated[OwnTablesService, provided(OwnTablesService)]


async def body(request: Request, user: Asker, own: Own) -> AsyncIterator[BinaryIO]:
    """The whole body, at its start: one that was cut off never gets as far as a table. TooLargeError."""
    if user.is_anonymous:  # before anything is taken in
        raise AuthenticationError("tables of one's own are for those who are known: send an access token")
    declared = request.headers.get("content-length", "")
    size = int(declared) if declared.isdigit() else 0
    with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as file:
        if size <= own.max_bytes:
            size = 0
            try:
                async for chunk in request.stream():
                    size += len(chunk)
                    if size > own.max_bytes:
                        break
                    await run_in_threadpool(file.write, chunk)
            except ClientDisconnect:
                raise UsageError("the table broke off before its end; nothing of it was taken") from None
        if size > own.max_bytes:
            raise TooLargeError(f"one table may come with {own.max_bytes} bytes; send the rest with /tap/load")
        file.seek(0)
        yield cast("BinaryIO", file)


Body = Annotated[BinaryIO, Depends(body)]


@router.put("/tables/{name}")
def create(name: str, request: Request, user: Asker, own: Own, file: Body) -> Response:
    """VOSI 1.2: a new table, by its description, or whole with its rows (VOTable, FITS, CSV, Parquet, Arrow)."""
    table, left_out = own.create(user, name, file, request.headers.get("content-type"))
    url = f"{request.app.state.public_url}/tap/tables/{table.name}"
    told = [f"{table.name}: {len(table.columns)} columns, {table.rows} rows", *left_out]
    return PlainTextResponse("\n".join(told) + "\n", 201, {"Location": url})


@router.post("/tables/{name}")
def describe(name: str, user: Asker, own: Own, file: Body) -> Response:
    """VOSI 1.2: what a table and its columns are, said anew."""
    return Response(table_document(own.describe(user, name, file)), media_type=MEDIA_TYPE)


@router.delete("/tables/{name}")
def drop(name: str, user: Asker, own: Own) -> Response:
    """VOSI 1.2: take the table away, with its rows."""
    own.drop(user, name)
    return Response(status_code=204)


@router.post("/load/{name}")
def load(name: str, request: Request, user: Asker, own: Own, file: Body) -> Response:
    """Rows for a table that is there: TSV, CSV, FITS, VOTable, Parquet, Arrow. All of them, or none."""
    rows, left_out = own.load(user, name, file, request.headers.get("content-type"))
    return PlainTextResponse("\n".join([f"{rows} rows were added", *left_out]) + "\n")


@router.get("/tables/{name}/access")
def access(name: str, user: Asker, own: Own) -> Response:
    """Who may read a table, for its owner."""
    return _told(own.share(user, name))


@router.post("/tables/{name}/access")
def share(name: str, user: Asker, own: Own, asked: Annotated[Parameters, Depends(parameters)]) -> Response:
    """READ=user:NAME or READ=group:NAME lets them read it, REVOKE=... no more; each may be given several times."""
    return _told(own.share(user, name, asked.all("READ"), asked.all("REVOKE")))


def _told(kept: Kept) -> Response:
    told = {"table": kept.name, "rows": kept.rows, "size_bytes": kept.size_bytes, "read": list(kept.shared_with)}
    return JSONResponse(told)
