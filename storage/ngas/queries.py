"""What the NGAS face asks of the catalogue beyond what the service answers; and the rows of subscriptions.

Functions on a Connection, as in storage/catalogue.py.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Select, delete, func, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import distinct_on, insert

from storage.feed import number_events
from storage.model import Copy, ObjectVersion
from storage.tables import copy, event, stored_object, subscription, undelivered

_o, _c, _s, _u = stored_object.c, copy.c, subscription.c, undelivered.c
_OBJECT = [column.label(f"o_{column.name}") for column in _o]
_COPY = [column.label(f"c_{column.name}") for column in _c if column.name != "object_id"]

OnDisk = tuple[ObjectVersion, Copy]
# Where a list was cut: behind this copy of this object.
Place = tuple[int, str]
BEGIN: Place = (0, "")
# The one filter of subscriptions: a pattern of LIKE for file_ids.
FILTER = "file_id_like"


@contextlib.contextmanager
def within(engine: Engine, seconds: float) -> Iterator[Connection]:
    """A connection whose statements are ended by the server after so long."""
    with engine.connect() as connection:
        connection.execute(text("SELECT set_config('statement_timeout', :ms, true)"), {"ms": str(int(seconds * 1000))})
        yield connection


def moment(microseconds: int) -> datetime:
    """A time since 1970, UTC."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)


def find_copies(
    connection: Connection,
    like: str | None,
    start: datetime | None,
    end: datetime | None,
    limit: int,
    *,
    newest: bool = False,
) -> list[OnDisk]:
    """Copies of files, in the order of file_ids, whose file_id is like a pattern and that came in between.

    newest: of the newest version of each alone.
    """
    wanted = _on_disk()
    if like is not None:
        wanted = wanted.where(_o.file_id.like(like))
    if start is not None:
        wanted = wanted.where(_o.created >= start)
    if end is not None:
        wanted = wanted.where(_o.created <= end)
    if newest:
        last = select(_o.object_id).where(_o.removed.is_(None)).ext(distinct_on(_o.file_id))
        wanted = wanted.where(_o.object_id.in_(last.order_by(_o.file_id, _o.version.desc())))
    return list(_rows(connection, wanted.order_by(_o.file_id, _o.version, _c.volume).limit(limit)))


def recent_copies(connection: Connection, limit: int) -> list[OnDisk]:
    """The copies of what came in last, newest first."""
    return list(_rows(connection, _on_disk().order_by(_o.object_id.desc(), _c.volume).limit(limit)))


def count_copies(connection: Connection, since: datetime | None, unique: bool, after: Place) -> int:
    """How many copies come behind a place; unique: versions."""
    counted = select(func.count()).select_from(_listed(since, unique, after).subquery())
    return int(connection.scalar(counted) or 0)


def copies_after(
    connection: Connection, since: datetime | None, unique: bool, after: Place, limit: int
) -> Iterator[OnDisk]:
    """Those copies, in the order of their objects' numbers, streamed."""
    return _rows(connection, _listed(since, unique, after).limit(limit))


def page_end(connection: Connection, since: datetime | None, unique: bool, after: Place, limit: int) -> Place:
    """The last of them."""
    row = connection.execute(_listed(since, unique, after).offset(limit - 1).limit(1)).one()
    return (row.o_object_id, row.c_volume)


def files_on(connection: Connection, volume: str) -> list[tuple[str, int]]:
    """File_id and version of all that lies on a volume."""
    wanted = (
        select(_o.file_id, _o.version).join_from(copy, stored_object).where(_c.volume == volume, _o.removed.is_(None))
    )
    return [(row.file_id, row.version) for row in connection.execute(wanted.order_by(_c.key))]


def _listed(since: datetime | None, unique: bool, after: Place) -> Select[Any]:
    wanted = _on_disk().where(tuple_(_o.object_id, _c.volume) > tuple_(*after))
    if since is not None:
        wanted = wanted.where(_o.created >= since)
    if unique:
        wanted = wanted.where(_o.object_id > after[0]).ext(distinct_on(_o.object_id))
    return wanted.order_by(_o.object_id, _c.volume)


def _on_disk() -> Select[Any]:
    return select(*_OBJECT, *_COPY).join_from(stored_object, copy).where(_o.removed.is_(None))


def _rows(connection: Connection, wanted: Select[Any]) -> Iterator[OnDisk]:
    for row in connection.execute(wanted, execution_options={"yield_per": 2_000}).mappings():
        version = ObjectVersion(**{column.name: row[f"o_{column.name}"] for column in _o})
        yield version, Copy(**{column.name: row[f"c_{column.name}"] for column in _c if column.name != "object_id"})


# --- subscriptions


@dataclass(frozen=True, slots=True)
class Subscription:
    """Who is sent what comes in. start: of files from then on. filter: pattern of LIKE for file_ids, None for all.

    last_event: up to here the feed was gone through. last_date: when the newest of what was delivered came in.
    threads: deliveries at once. priority: the lower goes first.
    """

    subscr_id: str
    url: str
    start: datetime
    filter: str | None
    priority: int
    suspended: bool
    last_event: int
    last_date: datetime | None
    threads: int


@dataclass(frozen=True, slots=True)
class Undelivered:
    """What a subscriber did not take, to be tried again. tries: so far."""

    subscr_id: str
    file_id: str
    version: int
    tries: int
    next_try: datetime
    reason: str


def subscriptions(connection: Connection, like: str | None = None) -> list[Subscription]:
    """All subscriptions, or those whose id is like a pattern, in the order in which they are served."""
    wanted = select(subscription).order_by(_s.priority, _s.subscr_id)
    if like is not None:
        wanted = wanted.where(_s.subscr_id.like(like))
    return [Subscription(**row) for row in connection.execute(wanted).mappings()]


def find_subscription(connection: Connection, subscr_id: str) -> Subscription | None:
    row = connection.execute(select(subscription).where(_s.subscr_id == subscr_id)).mappings().first()
    return None if row is None else Subscription(**row)


def add_subscription(connection: Connection, wanted: Subscription) -> bool:
    """False if there is one of this id."""
    values = {column.name: getattr(wanted, column.name) for column in _s}
    statement = insert(subscription).values(values).on_conflict_do_nothing().returning(_s.subscr_id)
    return connection.execute(statement).first() is not None


def remove_subscriptions(connection: Connection, *, subscr_id: str | None = None, url: str | None = None) -> int:
    """Those of this id, or url; how many."""
    ours = _s.subscr_id == subscr_id if subscr_id is not None else _s.url == url
    return connection.execute(delete(subscription).where(ours)).rowcount


def last_event_before(connection: Connection, start: datetime) -> int:
    """The place in the feed behind which all lies that came in from then on."""
    number_events(connection)
    first = select(func.min(event.c.event_id)).where(event.c.kind == "archived", event.c.event_time >= start)
    last = select(func.max(event.c.event_id))
    # What waits for its number comes behind all that have one.
    found = connection.scalar(select(func.coalesce(first.scalar_subquery() - 1, last.scalar_subquery(), 0)))
    return int(found or 0)


def archived_after(connection: Connection, after: int, limit: int) -> tuple[int, list[tuple[int, str, int]]]:
    """How far the feed goes, and the events of files that came in, behind one: event_id, file_id, version."""
    number_events(connection)
    horizon = int(connection.scalar(select(func.max(event.c.event_id))) or 0)
    wanted = select(event.c.event_id, event.c.file_id, event.c.version).where(
        event.c.event_id > after,
        event.c.event_id <= horizon,
        event.c.kind == "archived",
        event.c.file_id.is_not(None),
    )
    rows = connection.execute(wanted.order_by(event.c.event_id).limit(limit))
    return max(horizon, after), [(row.event_id, row.file_id, row.version or 1) for row in rows]


def matching(connection: Connection, file_ids: Sequence[str], like: str) -> set[str]:
    """Those of the file_ids that are like a pattern: in the database, so that a pattern means the same everywhere."""
    return set(connection.scalars(select(_o.file_id).where(_o.file_id.in_(file_ids), _o.file_id.like(like))))


def advance(connection: Connection, subscr_id: str, last_event: int, last_date: datetime | None) -> None:
    """Note how far a subscription was served."""
    latest = func.greatest(_s.last_date, last_date)
    statement = update(subscription).where(_s.subscr_id == subscr_id)
    connection.execute(statement.values(last_event=last_event, last_date=latest))


def rewind(connection: Connection, subscr_id: str, last_event: int) -> bool:
    """Have all events behind this one gone through again; False if there is no such subscription."""
    statement = update(subscription).where(_s.subscr_id == subscr_id).values(last_event=last_event)
    return connection.execute(statement).rowcount == 1


def due(connection: Connection, subscr_id: str, limit: int) -> list[Undelivered]:
    """What is to be tried again now, the longest waiting first."""
    wanted = select(undelivered).where(_u.subscr_id == subscr_id, _u.next_try <= func.now())
    return [Undelivered(**row) for row in connection.execute(wanted.order_by(_u.next_try).limit(limit)).mappings()]


def put_off(connection: Connection, subscr_id: str, file_id: str, version: int, wait_s: float, reason: str) -> None:
    """Note that something was not taken, and try again after a while."""
    later = func.now() + timedelta(seconds=wait_s)
    statement = insert(undelivered).values(
        subscr_id=subscr_id, file_id=file_id, version=version, tries=1, next_try=later, reason=reason
    )
    again = {"tries": _u.tries + 1, "next_try": later, "reason": reason}
    connection.execute(
        statement.on_conflict_do_update(index_elements=[_u.subscr_id, _u.file_id, _u.version], set_=again)
    )


def settled(connection: Connection, subscr_id: str, file_id: str, version: int) -> None:
    """It was taken, or is no longer there."""
    connection.execute(
        delete(undelivered).where(_u.subscr_id == subscr_id, _u.file_id == file_id, _u.version == version)
    )


def waiting(connection: Connection, subscr_id: str) -> int:
    """How many are to be tried again."""
    return int(connection.scalar(select(func.count()).where(_u.subscr_id == subscr_id)) or 0)
