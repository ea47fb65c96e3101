"""/events: the feed of changes as JSON."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response

from archive.registry.feed import Feed
from archive.vo.routes import PlainRoute, provided

router = APIRouter(route_class=PlainRoute, tags=["Events"])


@router.get("/events")
def events(
    feed: Annotated[Feed, provided(Feed)],
    after: Annotated[int, Query(ge=0, lt=2**63, description="event_id of the last event you have; 0: none")] = 0,
    limit: Annotated[int, Query(ge=1, description="events to give at the most")] = 1000,
) -> Response:
    """What happened in the archive, in an order that never changes; ask again from `next_after`, and miss nothing."""
    page = feed.page(after, limit)
    told = [
        {
            "event_id": event.event_id,
            "event_time": event.event_time.isoformat(),
            "kind": event.kind,
            "file_id": event.file_id,
            "version": event.version,
            "detail": dict(event.detail),
        }
        for event in page.events
    ]
    return JSONResponse({"events": told, "next_after": page.next_after}, headers={"Cache-Control": "no-store"})
