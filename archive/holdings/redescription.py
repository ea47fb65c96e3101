"""Describing a held file anew: what its row says, what it would say now, and putting that in its place.

Of the row only what the file tells is compared and written. What it is called (file_id, obs_publisher_did, collection,
version), for whom and from when (rights, release_date, arrived) and where its bytes lie was decided here, and stays.
The names that others know it by are added to, never taken away.

Functions on a connection of role writer, within the caller's transaction.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select, update

from archive.holdings import queries
from archive.holdings.model import DataProduct
from archive.holdings.queries import HeldFile
from archive.holdings.tables import arc
from storage.feed import append_event

_OURS = frozenset({"file_id", "obs_collection"})
_JSON = frozenset({"setup", "header"})
Changes = dict[str, tuple[Any, Any]]  # column: old value, new value


@dataclass(frozen=True, slots=True)
class Selection:
    """Which current files: those that fit all that is given. after: only file_ids that come behind this one."""

    file_ids: tuple[str, ...] = ()
    collection: str | None = None
    instrument: str | None = None
    after: str | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        c = arc.file.c
        found: list[ColumnElement[bool]] = [c.superseded_at.is_(None)]
        if self.file_ids:
            found.append(c.file_id.in_(self.file_ids))
        if self.collection is not None:
            found.append(c.obs_collection == self.collection)
        if self.instrument is not None:
            found.append(c.instrument_name == self.instrument)
        if self.after is not None:
            found.append(c.file_id > self.after)
        return found


def number(connection: Connection, selection: Selection) -> int:
    """How many files are selected."""
    return connection.execute(select(func.count()).select_from(arc.file).where(*selection.conditions())).scalar_one()


def page(connection: Connection, selection: Selection, limit: int) -> list[HeldFile]:
    """The first files of a selection, by file_id."""
    return queries.files(connection, *selection.conditions(), limit=limit)


def changes(connection: Connection, held: HeldFile, product: DataProduct, media_type: str) -> Changes | None:
    """What would change in the row of this very version; None if it is not current any more."""
    new = {name: value for name, value in queries.described(product).items() if name not in _OURS}
    new["media_type"] = media_type
    c = arc.file.c
    row = connection.execute(
        select(*(c[name] for name in new)).where(
            c.file_id == held.file_id, c.version == held.version, c.superseded_at.is_(None)
        )
    ).one_or_none()
    if row is None:
        return None
    old = row._mapping
    return {name: (old[name], value) for name, value in new.items() if not _same(name, old[name], value)}


def write(connection: Connection, held: HeldFile, product: DataProduct, found: Changes, *, now: datetime) -> None:
    """Write changes, under `queries.lock`; the feed tells that the file's metadata changed, and which of them."""
    c = arc.file.c
    values = {name: new for name, (_, new) in found.items()}
    connection.execute(
        update(arc.file).where(c.file_id == held.file_id, c.version == held.version).values(**values, last_mod=now)
    )
    queries.add_aliases(connection, product)
    append_event(connection, "redescribed", held.file_id, held.version, {"columns": sorted(found)})


def _same(name: str, old: Any, new: Any) -> bool:
    """Whether the database would give `new` back as `old`."""
    if name in _JSON:
        new = json.loads(json.dumps(new))
    elif isinstance(new, datetime):
        new = queries.utc(new)
    return bool(old == new) or (old != old and new != new)  # NaN, which no comparison finds equal
