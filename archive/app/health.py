"""/health: whether the archive can serve, for machines that restart it or send it requests; as JSON.

`/health/live` says that the process answers at all and asks nobody; `/health` also asks database and store, and is 503
when one of them does not answer. What exactly was found is for insiders: paths and versions are no one else's.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from archive.app.insiders import is_near
from archive.app.opened import OpenedArchive
from archive.database import migrate
from archive.vo.errors import ArchiveError
from archive.vo.routes import PlainRoute
from storage.errors import StorageError

log = structlog.get_logger(__name__)

PROBE = "health/probe"  # a key that no object has
NOT_STORED = {"Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that the archive needs. found: what an insider is told of it."""

    name: str
    ok: bool
    found: str


def checks(archive: OpenedArchive) -> list[Check]:
    """Ask what the archive cannot serve without; what fails is a finding, never raised."""
    found = [_database(archive)]
    try:
        volumes = archive.store.volumes
    except (StorageError, ArchiveError) as problem:
        return [*found, Check("store", False, str(problem))]
    for volume in volumes:
        name = f"volume {volume.name}"
        try:
            volume.exists(PROBE)
            free = volume.free_bytes()
        except StorageError as problem:
            found.append(Check(name, False, str(problem)))
        else:
            found.append(Check(name, True, "answers" if free is None else f"answers, {free} bytes free"))
    return found


def _database(archive: OpenedArchive) -> Check:
    try:
        with archive.engines.writer.connect() as connection:
            connection.execute(text("SELECT 1 FROM arc.file LIMIT 1"))
            server = connection.execute(text("SHOW server_version")).scalar_one()
        at, wanted = migrate.current(archive.engines.owner), migrate.head()
    except (SQLAlchemyError, ArchiveError) as problem:
        return Check("database", False, f"does not answer: {type(problem).__name__}")
    if at != wanted:
        return Check("database", False, f"is at revision {at}, this release needs {wanted}: uraniborg db migrate")
    return Check("database", True, f"PostgreSQL {server}, revision {at}")


def health_router(archive: OpenedArchive, *, version: str) -> APIRouter:
    """version: of the archive's software, told to insiders."""
    router = APIRouter(route_class=PlainRoute, tags=["Operations"])

    @router.get("/health/live")
    async def live() -> Response:
        """That this process answers. Asks neither database nor store: restarting it would not mend those."""
        return JSONResponse({"status": "alive"}, headers=NOT_STORED)

    @router.get("/health")
    def health(request: Request, inside: Annotated[bool, Depends(_may_see_inside(archive))]) -> Response:
        """Whether the archive can serve now: 200, or 503 with what is missing. Details for insiders only."""
        found = checks(archive)
        ready = all(check.ok for check in found)
        for check in found:
            if not check.ok:
                log.error("not ready", check=check.name, found=check.found)
        told: dict[str, Any] = {"status": "ready" if ready else "unavailable", "live": True, "ready": ready}
        if inside:
            up_since: datetime = request.app.state.up_since
            told |= {
                "version": version,
                "up_since": up_since.isoformat(),
                "checks": [{"name": check.name, "ok": check.ok, "found": check.found} for check in found],
            }
        return JSONResponse(told, 200 if ready else 503, NOT_STORED)

    return router


def _may_see_inside(archive: OpenedArchive) -> Any:
    def may(request: Request) -> bool:
        """As insiders.is_insider, but a database that cannot say whose token this is makes a stranger, not a 503."""
        told = request.headers.get("authorization")
        if told is None:
            return is_near(request)
        try:
            user = archive.access.user_of(told)
        except SQLAlchemyError:
            return is_near(request)
        request.state.user = user.name or None
        return user.is_operator or is_near(request)

    return may
