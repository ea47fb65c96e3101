"""The published tables as they stand in TAP_SCHEMA: heads at once, columns when they are asked for.

An archive may publish thousands of tables with hundreds of thousands of columns, of which a process asks few. Which
set is the newest is published.py's to know.
"""

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast

import psycopg
from sqlalchemy import Connection, bindparam, func, literal_column, select

from archive.holdings.tables import arc, tap_schema
from archive.vo.columns import OWN, Column, ForeignKey, Schema, Table
from archive.vo.origin import Origin
from archive.vo.validators import Validators
from storage.tables import event

Connect = Callable[[], AbstractContextManager[Connection]]
AT_ONCE = 200  # tables whose columns are read by one question
PUBLISHED, UNPUBLISHED = "published", "unpublished"  # kinds of events
MOST_HELD = 500  # tables whose columns a process keeps


@dataclass(frozen=True, slots=True)
class Published:
    """A published table and the relation that answers for it."""

    table: Table
    sql_name: str


@dataclass(frozen=True, slots=True)
class Head:
    """A published table without its columns and keys. mark: another one when it was published anew."""

    published: Published
    mark: int

    @property
    def name(self) -> str:
        return self.published.table.name


class TableSet(Mapping[str, Published]):
    """Published tables by name in lower case, as of one moment; never changed.

    Its columns are read when a table is asked for, and so may be newer than its head. One that is gone by then is
    there no more (KeyError).
    """

    def __init__(
        self,
        connect: Connect,
        schemas: Sequence[Schema] = (),
        heads: Iterable[Head] = (),
        *,
        changed: datetime | None = None,
        former: "TableSet | None" = None,
    ) -> None:
        """changed: when it last did; former: the set before, whose columns are taken over where a table is the same."""
        self.changed = changed
        self._connect = connect
        self._heads = {head.name.lower(): head for head in heads}
        self._held: dict[str, Published] = {}
        self._lock = threading.Lock()
        of: dict[str, list[Table]] = {}
        for table in self.heads():
            of.setdefault(table.schema, []).append(table)
        self.schemas = tuple(replace(schema, tables=tuple(of.get(schema.name, ()))) for schema in schemas)
        if former is not None:
            held = dict(former._held)  # other threads may add to it
            self._held = {name: one for name, one in held.items() if self._is_same(name, former)}

    def _is_same(self, name: str, former: "TableSet") -> bool:
        return name in self._heads and self._heads[name].mark == former._heads[name].mark

    def validators(self, *parts: object) -> Validators:
        """Of a document about these tables; parts: what else it depends on."""
        marks = hashlib.sha256(repr([(name, head.mark) for name, head in self._heads.items()]).encode()).hexdigest()
        return Validators.of(marks, *parts, modified=self.changed)

    def heads(self) -> Iterator[Table]:
        """Every table without its columns and keys, in the order to show them."""
        return (head.published.table for head in self._heads.values())

    def __len__(self) -> int:
        return len(self._heads)

    def __iter__(self) -> Iterator[str]:
        return iter(self._heads)

    def __contains__(self, name: object) -> bool:
        return name in self._heads

    def __getitem__(self, name: str) -> Published:
        head = self._heads[name]
        held = self._held.get(name)
        if held is None:
            held = next(self.whole([head]), None)
            if held is None:
                raise KeyError(name)
            with self._lock:
                while len(self._held) >= MOST_HELD:
                    del self._held[next(iter(self._held))]
                self._held[name] = held
        return held

    def every(self, schema: str | None = None) -> Iterator[Published]:
        """Every table (of a schema) with its columns: read a few tables at a time, and none is kept."""
        wanted = [head for head in self._heads.values() if schema is None or head.published.table.schema == schema]
        for start in range(0, len(wanted), AT_ONCE):
            yield from self.whole(wanted[start : start + AT_ONCE])

    def head(self, name: str) -> Head:
        """By name in lower case; KeyError."""
        return self._heads[name]

    def whole(self, heads: Sequence[Head]) -> Iterator[Published]:
        """These tables with their columns and keys; without those that are gone."""
        for table, columns in self.told(heads):
            held = tuple(Column(_untyped(name), *told) for name, *told in columns)
            yield Published(replace(table, columns=held), self._heads[table.name.lower()].published.sql_name)

    def told(self, heads: Sequence[Head]) -> Iterator[tuple[Table, Sequence[tuple[Any, ...]]]]:
        """The same with the columns as `read_columns` gives them, for who needs no more."""
        if not heads:
            return
        names = [head.name for head in heads]
        with self._connect() as connection:
            columns, keys = read_columns(connection, names), read_keys(connection, names)
        for head in heads:
            if head.name in columns:
                yield replace(head.published.table, keys=tuple(keys.get(head.name, ()))), columns[head.name]


_SCHEMAS = select(tap_schema.schemas).order_by(tap_schema.schemas.c.schema_index, tap_schema.schemas.c.schema_name)
_t, _p = tap_schema.tables.c, arc.published.c
_HEADS = (
    select(
        tap_schema.tables, _p.sql_name, _p.title, _p.row_count, _p.origin,
        literal_column("tap_schema.tables.xmin::text::bigint").label("mark"),
    )
    .join(arc.published, _p.table_name == _t.table_name)
    .join(tap_schema.schemas, tap_schema.schemas.c.schema_name == _t.schema_name)
    .order_by(tap_schema.schemas.c.schema_index, _t.schema_name, _t.table_index.nulls_last(), _t.table_name)
)  # fmt: skip


_CHANGED = select(func.max(event.c.event_time)).where(event.c.kind.in_((PUBLISHED, UNPUBLISHED)))


def read_set(
    connection: Connection,
    connect: Connect | None = None,
    former: TableSet | None = None,
    *,
    own: Sequence[str] | None = None,
) -> TableSet:
    """What is published now. connect: where columns are asked for later; else it is this very connection.

    own: the users' own tables of these names instead, of which the published ones are none.
    """
    wanted = func.starts_with(_t.table_name, OWN).is_(False) if own is None else _t.table_name.in_(own)
    named = None if own is None else {name.partition(".")[0] for name in own}
    schemas = [
        Schema(row.schema_name, row.description, row.utype)
        for row in connection.execute(_SCHEMAS)
        if (row.schema_name in named if named is not None else not row.schema_name.startswith(OWN))
    ]
    heads = (
        Head(
            Published(
                Table(
                    name=row.table_name,
                    columns=(),
                    description=row.description,
                    utype=row.utype,
                    kind="view" if row.table_type == "view" else "table",
                    title=row.title,
                    rows=row.row_count,
                    origin=Origin.from_items(row.origin),
                ),
                row.sql_name,
            ),
            row.mark,
        )
        for row in connection.execute(_HEADS.where(wanted))
    )
    changed = connection.execute(_CHANGED).scalar()
    return TableSet(connect or (lambda: nullcontext(connection)), schemas, heads, changed=changed, former=former)


# In the order of vo.columns.Column.
_COLUMNS = b"""
    SELECT table_name, column_name, datatype, arraysize, xtype, unit, ucd, utype, description,
           principal <> 0, indexed <> 0, std <> 0
    FROM tap_schema.columns WHERE table_name = ANY(%s) ORDER BY table_name, column_index"""


def read_columns(connection: Connection, names: Sequence[str]) -> dict[str, list[tuple[Any, ...]]]:
    """What is said of the columns of these tables, by table, in their order: as vo.columns.Column, typed name first."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    # There may be a quarter of a million: by the driver alone, and all of a question at once.
    driver = cast(psycopg.Connection[tuple[Any, ...]], connection.connection.driver_connection)
    for row in driver.cursor(binary=True).execute(_COLUMNS, (list(names),)).fetchall():
        found.setdefault(row[0], []).append(row[1:])
    return found


def _untyped(typed_name: str) -> str:
    """A column's name from how a user types it (Column.typed_name)."""
    return typed_name[1:-1].replace('""', '"') if typed_name.startswith('"') else typed_name


_k, _kc = tap_schema.keys.c, tap_schema.key_columns.c
_KEYS = (
    select(
        tap_schema.keys,
        func.array_agg(_kc.from_column).label("here"),
        func.array_agg(_kc.target_column).label("there"),
    )
    .join(tap_schema.key_columns, _kc.key_id == _k.key_id)
    .where(_k.from_table == func.any(bindparam("names")))
    .group_by(_k.key_id)
    .order_by(_k.key_id)
)


def read_keys(connection: Connection, names: Sequence[str]) -> dict[str, list[ForeignKey]]:
    """The foreign keys of these tables, by the table that refers."""
    found: dict[str, list[ForeignKey]] = {}
    for row in connection.execute(_KEYS, {"names": names}):
        key = ForeignKey(row.target_table, tuple(zip(row.here, row.there, strict=True)), row.description, row.utype)
        found.setdefault(row.from_table, []).append(key)
    return found
