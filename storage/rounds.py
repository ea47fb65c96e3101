"""What standing processes ask of the catalogue: the next so many objects of a round, in the order of an index.

Functions on a Connection of role writer, within the caller's transaction. None holds a cursor: a round over 10^7
objects takes days, and goes on where it was after each page.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, delete, func, literal, select, text, update
from sqlalchemy.dialects.postgresql import insert

from storage.model import Copy, ObjectVersion
from storage.tables import copy, stored_object, unsettled, walk

_o = stored_object.c
_OBJECT_COLUMNS = tuple(stored_object.c)
_COPY_COLUMNS = tuple(column for column in copy.c if column.name != "object_id")
_COPIES = tuple(column.label(f"copy_{column.name}") for column in _COPY_COLUMNS)
# Written into the statement: an index of the sound alone, or of the others, serves no statement that leaves it open.
_OK = literal("ok", literal_execute=True)

_LACKING = """
    WITH page AS ({}), held AS (
        SELECT p.object_id,
               count(v.name) AS copies,
               count(DISTINCT v.site) AS sites,
               coalesce(bool_or(c.state <> 'ok' AND w.state = 'online'), false) AS faulty
        FROM page p
        LEFT JOIN store.copy c USING (object_id)
        LEFT JOIN store.volume v ON v.name = c.volume AND c.state = 'ok' AND v.name = ANY(:good)
        LEFT JOIN store.volume w ON w.name = c.volume
        GROUP BY p.object_id
    )
    SELECT (SELECT max(object_id) FROM page),
           array_agg(object_id ORDER BY object_id) FILTER (WHERE copies < :copies OR sites < :sites OR faulty)
    FROM held
"""
_NEXT_LACKING = text(
    _LACKING.format(
        "SELECT object_id FROM store.object WHERE object_id > :after AND removed IS NULL ORDER BY object_id LIMIT :most"
    )
)
_LACKING_OF = text(
    _LACKING.format("SELECT object_id FROM store.object WHERE object_id = ANY(:object_ids) AND removed IS NULL")
)
_TAKE_UNSETTLED = text(
    """
    DELETE FROM store.unsettled
    WHERE object_id IN (SELECT object_id FROM store.unsettled WHERE noted < :before ORDER BY noted LIMIT :most)
    RETURNING object_id
    """
)
_NOTE = text(
    """
    INSERT INTO store.unsettled (object_id)
    SELECT o.object_id FROM unnest(CAST(:object_ids AS bigint[])) AS o (object_id)
    WHERE NOT EXISTS (SELECT FROM store.unsettled u WHERE u.object_id = o.object_id)
    RETURNING object_id
    """
)
_REPLICATE = "replicate"
# Notes that nobody takes for so long are nobody's.
NOTES_KEPT = timedelta(days=2)
_VERIFIED = text(
    """
    UPDATE store.copy c SET verified = clock_timestamp()
    FROM unnest(CAST(:ids AS bigint[]), CAST(:keys AS text[])) AS seen (object_id, key)
    WHERE c.object_id = seen.object_id AND c.volume = :volume AND c.key = seen.key AND c.state = 'ok'
    """
)


def now(connection: Connection) -> datetime:
    """The catalogue's clock, by which copies are verified; UTC."""
    moment: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return moment


def due_copies(
    connection: Connection, volume: str, before: datetime, most: int, *, but: Collection[int] = ()
) -> list[ObjectVersion]:
    """Sound copies of a volume last verified before a moment, those never verified and then the oldest first.

    Each as its object with this one copy. but: object_ids to pass over.
    """
    wanted = (
        select(*_OBJECT_COLUMNS, *_COPIES)
        .join_from(copy, stored_object)
        .where(copy.c.volume == volume, copy.c.state == _OK, _o.removed.is_(None))
        .where(copy.c.object_id.not_in(list(but)))
        .order_by(copy.c.verified.nulls_first())
    )
    # Two ranges of one index: asked for as one, all that is not due would be looked at to find that nothing is.
    found = _versions(connection, wanted.where(copy.c.verified.is_(None)).limit(most))
    if len(found) < most:
        found += _versions(connection, wanted.where(copy.c.verified < before).limit(most - len(found)))
    return found


def mark_verified(connection: Connection, volume: str, seen: Sequence[tuple[int, str]]) -> None:
    """Note that copies (object_id, key) were read and found right just now; not of those that were marked meanwhile."""
    ids, keys = [object_id for object_id, _ in seen], [key for _, key in seen]
    connection.execute(_VERIFIED, {"ids": ids, "keys": keys, "volume": volume})


def note_crc32c(connection: Connection, object_id: int, crc32c: str) -> None:
    """Give an object that is older than this digest its CRC-32C."""
    found = update(stored_object).where(_o.object_id == object_id, _o.crc32c.is_(None))
    connection.execute(found.values(crc32c=crc32c))


def objects_of(
    connection: Connection, volume: str, *, after: str = "", prefix: str = "", most: int = 2_000
) -> list[ObjectVersion]:
    """What is on record of a volume behind a key, in the order of the keys' bytes, removed ones too.

    Each with its copy on this volume alone.
    """
    wanted = (
        select(*_OBJECT_COLUMNS, *_COPIES)
        .join_from(copy, stored_object)
        .where(copy.c.volume == volume, copy.c.key > after)
        .order_by(copy.c.key)
        .limit(most)
    )
    if prefix:
        wanted = wanted.where(copy.c.key.startswith(prefix, autoescape=True))
    return _versions(connection, wanted)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What every object should have: sound copies on so many good volumes, and these on so many sites; and none that is
    not sound where it can be repaired. good: by name the site of each; online: the volumes that can be written to."""

    copies: int
    sites: int
    good: Mapping[str, str]
    online: tuple[str, ...]


def lacking(connection: Connection, after: int, wanted: Wanted, *, most: int = 10_000) -> tuple[int | None, list[int]]:
    """Of the next `most` objects behind an object_id: the last one's (None: there are no more), and those that lack."""
    last, found = connection.execute(_NEXT_LACKING, {"after": after, "most": most, **_asked(wanted)}).one()
    return last, list(found or ())


def take_unsettled(connection: Connection, wanted: Wanted, *, before: datetime, most: int = 10_000) -> list[int] | None:
    """Of the objects noted longest ago, before a moment, those that lack; None if none was noted before.

    These are noted anew, the others no more. One that was noted again meanwhile is left to a later moment.
    """
    taken = connection.scalars(_TAKE_UNSETTLED, {"before": before, "most": most}).all()
    if not taken:
        return None
    # A statement of its own, later than all that was taken: whatever it cannot see yet will be noted behind it.
    _, found = connection.execute(_LACKING_OF, {"object_ids": list(taken), **_asked(wanted)}).one()
    return _note(connection, found)


def walk_on(
    connection: Connection, wanted: Wanted, *, again_s: float = 86_400.0, most: int = 10_000
) -> list[int] | None:
    """Of the next objects of a walk through all, those that lack and are not noted yet, which they are then; None if
    there is no walk to be made.

    There is when other things are wanted than before, or again_s seconds after the last: nothing should escape what is
    noted, and what did, by a trigger that was off, is found then. It goes on where the last call was.
    """
    w, told = walk.c, asdict(wanted) | {"online": list(wanted.online)}
    age = func.clock_timestamp() - w.moment
    row = connection.execute(select(w.wanted, w.after, age).where(w.what == _REPLICATE)).one_or_none()
    after = 0
    if row is not None and row.wanted == told:
        if row.after is None and row[2].total_seconds() < again_s:
            return None
        after = row.after or 0
    last, found = lacking(connection, after, wanted, most=most)
    values = {"wanted": told, "after": last, "moment": func.clock_timestamp()}
    written = insert(walk).values(what=_REPLICATE, **values)
    connection.execute(written.on_conflict_do_update(index_elements=["what"], set_=values))
    return _note(connection, found)


def forget_unsettled(connection: Connection) -> None:
    """Where nobody takes what is noted, for NOTES_KEPT, let it not grow for ever: who does again walks through all."""
    old = delete(unsettled).where(unsettled.c.noted < func.now() - NOTES_KEPT)
    if connection.execute(old).rowcount:
        connection.execute(delete(walk).where(walk.c.what == _REPLICATE))


def _asked(wanted: Wanted) -> dict[str, Any]:
    return {"copies": wanted.copies, "sites": wanted.sites, "good": list(wanted.good)}


def _note(connection: Connection, object_ids: Sequence[int] | None) -> list[int]:
    """Note these, but for those that are noted; which were not."""
    return sorted(connection.scalars(_NOTE, {"object_ids": list(object_ids)})) if object_ids else []


def with_copies(connection: Connection, object_ids: Iterable[int]) -> list[ObjectVersion]:
    """These objects, those removed too, with all their copies, by object_id."""
    wanted = (
        select(*_OBJECT_COLUMNS, *_COPIES)
        .join_from(stored_object, copy)
        .where(_o.object_id.in_(list(object_ids)))
        .order_by(_o.object_id, copy.c.volume)
    )
    return _versions(connection, wanted)


def unfinished_removals(connection: Connection, *, after: int = 0, most: int = 1_000) -> list[ObjectVersion]:
    """Removed objects behind an object_id that still have copies."""
    left = select(copy.c.object_id).where(copy.c.object_id == _o.object_id).exists()
    ids = select(_o.object_id).where(_o.removed.is_not(None), _o.object_id > after, left)
    return with_copies(connection, connection.scalars(ids.order_by(_o.object_id).limit(most)).all())


def faulty(connection: Connection, most: int = 100) -> list[ObjectVersion]:
    """Objects, each with one copy that is not sound."""
    wanted = (
        select(*_OBJECT_COLUMNS, *_COPIES)
        .join_from(copy, stored_object)
        .where(copy.c.state != _OK, _o.removed.is_(None))
        .order_by(copy.c.volume, _o.object_id)
        .limit(most)
    )
    found = connection.execute(wanted).mappings()
    return [_version(row) for row in found]


def _versions(connection: Connection, wanted: Select[Any]) -> list[ObjectVersion]:
    """The objects of rows that are sorted by object, and their copies."""
    found: list[ObjectVersion] = []
    for row in connection.execute(wanted).mappings():
        version = _version(row)
        if found and found[-1].object_id == version.object_id:
            version = replace(version, copies=found.pop().copies + version.copies)
        found.append(version)
    return found


def _version(row: Any) -> ObjectVersion:
    one = Copy(**{column.name: row[f"copy_{column.name}"] for column in _COPY_COLUMNS})
    return ObjectVersion(**{column.name: row[column.name] for column in _OBJECT_COLUMNS}, copies=(one,))
