"""The page /store: how the store is, for those who run the archive, as `uraniborg store status` tells it on a shell."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.responses import HTMLResponse

from archive.app.insiders import insiders_only
from archive.app.opened import OpenedArchive
from archive.portal.pages import Pages
from archive.vo.routes import PlainRoute, provided
from storage.status import StoreStatus, store_status
from storage.totals import DAYS

BAR_WIDTH, HEIGHT = 20, 120


def store_router(archive: OpenedArchive) -> APIRouter:
    router = APIRouter(route_class=PlainRoute, tags=["Operations"])

    @router.get("/store", dependencies=[Depends(insiders_only)], include_in_schema=False)
    def store(pages: Annotated[Pages, provided(Pages)]) -> HTMLResponse:
        """Volumes, copies, what is wrong, when copies were read last; for insiders only."""
        status = store_status(archive.objects, wait=False)
        today = datetime.now(UTC).date()
        days = [(today - timedelta(days=ago)).isoformat() for ago in reversed(range(DAYS))]
        told = {
            "status": status,
            "totals": _totals(status),
            "bars": _bars([(day, status.verified_by_day.get(day, 0)) for day in days]),
        }
        answer = pages.html("store.html", told)
        answer.headers["Cache-Control"] = "no-store"
        return answer

    return router


def _totals(status: StoreStatus) -> dict[str, int]:
    states: dict[str, int] = {}
    for volume in status.volumes:
        for state, number in volume.copies.items():
            states[state] = states.get(state, 0) + number
    return {
        "copies": sum(states.values()),
        "size_bytes": sum(volume.size_bytes for volume in status.volumes),
        "marked": sum(number for state, number in states.items() if state != "ok"),
        "unverified": sum(volume.unverified for volume in status.volumes),
    }


def _bars(days: list[tuple[str, int]]) -> list[dict[str, Any]]:
    """Bars of a chart DAYS * BAR_WIDTH wide and HEIGHT high, in its units; a day with any copies is seen."""
    most = max(number for _, number in days) or 1
    bars = []
    for place, (day, number) in enumerate(days):
        height = max(2, round(HEIGHT * number / most)) if number else 0
        bars.append({"day": day, "number": number, "x": place * BAR_WIDTH, "y": HEIGHT - height, "height": height})
    return bars
