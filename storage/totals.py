"""What takes long to count: copies on the volumes, their bytes, when they were read; and what others have counted.

10^7 objects take many seconds to count, and a row of counters that every put changed would have puts wait for each
other. So what took long to count is kept, with its moment, until counting again is no more than a fiftieth of the
time that passed. What is quick to count is counted whenever it is asked for, exactly, and not kept.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Thread
from typing import Any

from sqlalchemy import Connection, Engine, TextClause, delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError

from storage.tables import counted

log = logging.getLogger(__name__)

# Of the days on which copies were read last.
DAYS = 30
QUICK = timedelta(seconds=1)
SHARE = 50
# One family of PostgreSQL's advisory locks, ours by choice ("coun" in ASCII).
_COUNT_LOCK = 0x636F756E

_MOMENT = text("SELECT clock_timestamp()")
_COPIES = text(
    f"""
    SELECT c.volume, c.state,
           CASE WHEN c.verified >= now() - interval '{DAYS} days' THEN (c.verified AT TIME ZONE 'UTC')::date::text END,
           count(*), sum(o.size_bytes)::bigint, count(*) FILTER (WHERE c.verified IS NULL)
    FROM store.copy c JOIN store.object o USING (object_id)
    GROUP BY 1, 2, 3
    """  # noqa: S608 (our own number)
)


@dataclass(frozen=True, slots=True)
class Counted:
    """Copies of a volume that are alike: their state, the day (UTC) on which they were read last, None if that is long
    ago or never was; unverified: those of them that never were."""

    volume: str
    state: str
    day: str | None
    copies: int
    size_bytes: int
    unverified: int


@dataclass(frozen=True, slots=True)
class Totals:
    """All copies on record as they were at a moment (UTC)."""

    moment: datetime
    counted: tuple[Counted, ...]

    def by_volume(self) -> dict[str, tuple[int, int]]:
        """Copies and bytes."""
        found: dict[str, tuple[int, int]] = {}
        for each in self.counted:
            copies, size_bytes = found.get(each.volume, (0, 0))
            found[each.volume] = (copies + each.copies, size_bytes + each.size_bytes)
        return found

    def by_day(self) -> dict[str, int]:
        """Sound copies that were read last on each of the past DAYS days, oldest first; no day without any."""
        found: dict[str, int] = {}
        for each in sorted(self.counted, key=lambda each: each.day or ""):
            if each.day is not None and each.state == "ok":
                found[each.day] = found.get(each.day, 0) + each.copies
        return found


@dataclass(frozen=True, slots=True)
class Count:
    """The rows of a statement that counts, as they were at a moment (UTC). took: what counting them took."""

    moment: datetime
    took: timedelta
    rows: Sequence[Sequence[Any]]


def totals(engine: Engine, *, wait: bool = True) -> Totals:
    """Count what lies on the volumes, or say what was counted not long ago; engine, wait: as of count()."""
    found = count(engine, "copies", _COPIES, wait=wait)
    return Totals(found.moment, tuple(Counted(*row) for row in found.rows))


def count(engine: Engine, what: str, statement: TextClause, *, wait: bool = True) -> Count:
    """Count, or say what was counted not long ago.

    engine: of role writer. what: the name under which it is kept. statement: gives rows of what JSON can hold.
    wait: whether the caller waits while what is too old is counted anew; else that is done in the background, for
    whoever asks next, and what there is is told with its moment.
    """
    with engine.connect() as connection:
        kept, is_old = _kept(connection, what)
    if kept is None or (is_old and wait):
        return _count(engine, what, statement)
    if is_old:
        Thread(target=_count_behind, args=(engine, what, statement), name=f"count {what}", daemon=True).start()
    return kept


def _count(engine: Engine, what: str, statement: TextClause) -> Count:
    """Count, one at a time: whoever waited for another takes what that one kept."""
    with engine.begin() as connection:
        connection.execute(select(func.pg_advisory_xact_lock(_COUNT_LOCK, func.hashtext(what))))
        kept, is_old = _kept(connection, what)
        return _count_and_keep(connection, what, statement) if kept is None or is_old else kept


def _count_behind(engine: Engine, what: str, statement: TextClause) -> None:
    """Count, unless somebody is at it."""
    try:
        with engine.begin() as connection:
            if connection.scalar(select(func.pg_try_advisory_xact_lock(_COUNT_LOCK, func.hashtext(what)))):
                _count_and_keep(connection, what, statement)
    except SQLAlchemyError as error:
        log.warning("%s could not be counted: %s", what, error)


def _count_and_keep(connection: Connection, what: str, statement: TextClause) -> Count:
    began = connection.execute(_MOMENT).scalar_one()
    rows = connection.execute(statement).all()
    made = Count(began, connection.execute(_MOMENT).scalar_one() - began, rows)
    # A transaction that writes delays the feed, so this one does it at its end, and seldom.
    if made.took < QUICK:
        connection.execute(delete(counted).where(counted.c.what == what))
        return made
    told = {"moment": made.moment, "took": made.took, "detail": [list(row) for row in rows]}
    written = insert(counted).values(what=what, **told)
    connection.execute(written.on_conflict_do_update(index_elements=["what"], set_=told))
    return made


def _kept(connection: Connection, what: str) -> tuple[Count | None, bool]:
    """What was counted last, if that took long; and whether it is time to do it again."""
    c = counted.c
    kept = select(c.moment, c.took, c.detail, func.clock_timestamp()).where(c.what == what)
    row = connection.execute(kept).one_or_none()
    if row is None:
        return None, True
    moment, took, detail, now = row
    return Count(moment, took, detail), now - moment > SHARE * took
