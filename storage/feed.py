"""The one feed of events of the whole archive.

Functions on a SQLAlchemy Connection of role writer, within the caller's transaction.

A reader keeps one number, the last event_id it has seen, and must never miss an event. Numbers taken while
writing cannot promise that: a transaction may take 5, and commit after a reader has gone past 6. So a row is written
without a number, with the id of its transaction (xid). Numbers are given later, under a lock, in the order of
(xid, entry), and only to rows of transactions below the oldest one that still runs (pg_snapshot_xmin): of those, none
can come later.
Hence event_id grows without gaps, whoever reads sees a prefix of the feed that will not change, and a number handed out
once holds for ever. The price: a long transaction that writes anything delays the numbers, never an event.

A feed restored into another server (pg_dump) brings transaction ids of a strange clock. Numbers given stay valid, which
ids kept as the order would not. A row that is visible though its xid is not below the next one to be given out can only
come from there, is committed, and gets its number too.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select, text
from sqlalchemy.dialects.postgresql import insert

from storage.tables import event

# One key of PostgreSQL's advisory locks, ours by choice ("feed" in ASCII).
_FEED_LOCK = 0x66656564

_NUMBER_EVENTS = text(
    """
    WITH waiting AS (
        SELECT entry, row_number() OVER (ORDER BY xid, entry) AS place
        FROM store.event
        WHERE event_id IS NULL
          AND (xid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
               OR xid >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint)
    )
    UPDATE store.event AS e
    SET event_id = waiting.place + coalesce((SELECT max(event_id) FROM store.event), 0)
    FROM waiting
    WHERE e.entry = waiting.entry
    """
)


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the feed. event_id: its place, 1 and up; event_time: when its transaction began, UTC."""

    event_id: int
    event_time: datetime
    kind: str
    file_id: str | None
    version: int | None
    detail: Mapping[str, Any]


def append_event(
    connection: Connection,
    kind: str,
    file_id: str | None = None,
    version: int | None = None,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Write an event; it enters the feed when the transaction commits, and not at all if it does not.

    kind: a word of the room that writes it. detail: what JSON can hold.
    """
    append_events(connection, [(kind, file_id, version, detail)])


def append_events(
    connection: Connection, events: Iterable[tuple[str, str | None, int | None, Mapping[str, Any] | None]]
) -> None:
    """Write many events at once: (kind, file_id, version, detail)."""
    rows = [
        {"kind": kind, "file_id": file_id, "version": version, "detail": dict(detail or {})}
        for kind, file_id, version, detail in events
    ]
    if rows:
        connection.execute(insert(event), rows)


def number_events(connection: Connection) -> int:
    """Give their place in the feed to all events that cannot be preceded any more; how many.

    Commit before the numbers are told to anyone. Does nothing while another connection is at it. READ COMMITTED only:
    an older snapshot would fail on the unique number rather than give one twice.
    """
    if not connection.scalar(select(func.pg_try_advisory_xact_lock(_FEED_LOCK))):
        return 0
    return connection.execute(_NUMBER_EVENTS).rowcount


def read_events(connection: Connection, after_id: int = 0, limit: int = 1_000) -> list[Event]:
    """The events after event after_id (0: from the beginning), in the feed's order, at most limit.

    Whoever goes on from the last event_id of the answer misses none, whatever commits in between and however late. No
    events means none yet: some may wait for an older transaction, or for another reader who is numbering them.
    Numbers waiting events first if the transaction may write, so commit before telling them.
    """
    if connection.scalar(text("SELECT current_setting('transaction_read_only')")) == "off":
        number_events(connection)
    columns = (event.c.event_id, event.c.event_time, event.c.kind, event.c.file_id, event.c.version, event.c.detail)
    statement = select(*columns).where(event.c.event_id > after_id).order_by(event.c.event_id).limit(limit)
    return [Event(**row) for row in connection.execute(statement).mappings()]


def has_event(connection: Connection, kind: str, file_id: str, version: int) -> bool:
    """Whether the feed tells this of a version, with a number or still without."""
    e = event.c
    told = select(e.entry).where(e.kind == kind, e.file_id == file_id, e.version == version)
    return connection.execute(told.limit(1)).first() is not None
