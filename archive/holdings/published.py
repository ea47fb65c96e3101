"""Which tables are public: TAP_SCHEMA, written from vo.columns; read by TAP, VOSI and the registry.

TAP_SCHEMA in the database is the truth for what a query may name; `PublishedTables` holds a copy of it and looks for a
newer one at most once a second, so that a catalogue published by another process is there without a restart.

Users' own tables are told in TAP_SCHEMA too, and are nobody else's business: archive.holdings.own.
"""

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Column as SqlColumn
from sqlalchemy import ColumnElement, Connection, Engine, delete, func, select, text
from sqlalchemy.dialects.postgresql import insert

from archive.holdings.declared import PUBLISHED_SQL, SCHEMAS
from archive.holdings.tables import arc, tap_schema
from archive.vo.columns import Column, ForeignKey, Schema, Table

READER_SCHEMAS = ("ivoa", "pub", "tap_schema", "cat")  # what lies in them, the reader role may read
OWN = "user_"  # how the schemas of users' own tables begin


def quoted(name: str) -> str:
    """A declared, qualified name as PostgreSQL reads it literally."""
    return ".".join(map(identifier, name.split(".")))


def identifier(name: str) -> str:
    """One name, of a column say, as PostgreSQL reads it literally."""
    return '"' + name.replace('"', '""') + '"'


def publish_declared(connection: Connection) -> None:
    """Write the tables that every archive publishes; repeatable."""
    for index, schema in enumerate(SCHEMAS):
        row = {
            "schema_name": schema.name,
            "description": schema.description,
            "utype": schema.utype,
            "schema_index": index,
        }
        statement = insert(tap_schema.schemas).values(row)
        connection.execute(statement.on_conflict_do_update(index_elements=["schema_name"], set_=row))
    for schema in SCHEMAS:
        for index, table in enumerate(schema.tables):
            publish(connection, table, sql_name=PUBLISHED_SQL.get(table.name), index=index, keys=False)
    for schema in SCHEMAS:  # after all tables: keys point at each other
        for table in schema.tables:
            _write_keys(connection, table)


def publish(
    connection: Connection,
    table: Table,
    *,
    sql_name: str | None = None,
    index: int | None = None,
    file_id: str | None = None,
    keys: bool = True,
) -> None:
    """Describe a table in TAP_SCHEMA, replacing what was said of it before. The relation itself is the caller's."""
    withdraw(connection, table.name)
    connection.execute(
        insert(tap_schema.tables).values(
            schema_name=table.schema,
            table_name=table.name,
            table_type=table.kind,
            utype=table.utype,
            description=table.description,
            table_index=index,
        )
    )
    connection.execute(
        insert(tap_schema.columns),
        [
            {
                "table_name": table.name,
                "column_name": column.typed_name,
                "datatype": column.datatype,
                "arraysize": column.arraysize,
                "xtype": column.xtype,
                "size": column.size,
                "description": column.description,
                "utype": column.utype,
                "unit": column.unit,
                "ucd": column.ucd,
                "indexed": int(column.indexed),
                "principal": int(column.principal),
                "std": int(column.std),
                "column_index": position,
            }
            for position, column in enumerate(table.columns)
        ],
    )
    connection.execute(
        insert(arc.published).values(
            table_name=table.name,
            sql_name=sql_name or quoted(table.name),
            title=table.title,
            row_count=table.rows,
            file_id=file_id,
        )
    )
    if keys:
        _write_keys(connection, table)


def withdraw(connection: Connection, table_name: str) -> None:
    """Take a table out of TAP_SCHEMA; the relation itself is the caller's."""
    connection.execute(delete(tap_schema.tables).where(tap_schema.tables.c.table_name == table_name))
    connection.execute(delete(arc.published).where(arc.published.c.table_name == table_name))


def _write_keys(connection: Connection, table: Table) -> None:
    keys, pairs = tap_schema.keys, tap_schema.key_columns
    connection.execute(delete(keys).where(keys.c.from_table == table.name))
    for number, key in enumerate(table.keys, start=1):
        key_id = f"{table.name}.{number}"
        connection.execute(
            insert(keys).values(
                key_id=key_id,
                from_table=table.name,
                target_table=key.target_table,
                description=key.description,
                utype=key.utype,
            )
        )
        connection.execute(
            insert(pairs),
            [{"key_id": key_id, "from_column": here, "target_column": there} for here, there in key.pairs],
        )


@dataclass(frozen=True, slots=True)
class Published:
    """A published table and the relation that answers for it."""

    table: Table
    sql_name: str


def read_published(connection: Connection, own: Sequence[str] | None = None) -> list[tuple[Schema, list[Published]]]:
    """Every published schema with its tables, in the order to show them.

    own: the users' own tables of these names instead, of which the published ones are none.
    """

    def wanted(name: SqlColumn[str]) -> ColumnElement[bool]:
        return func.starts_with(name, OWN).is_(False) if own is None else name.in_(own)

    c, t = tap_schema.columns.c, tap_schema.tables.c
    columns: dict[str, list[Column]] = {}
    for row in connection.execute(
        select(tap_schema.columns).where(wanted(c.table_name)).order_by(c.table_name, c.column_index)
    ):
        columns.setdefault(row.table_name, []).append(
            Column(
                name=_untyped(row.column_name),
                datatype=row.datatype,
                arraysize=row.arraysize,
                xtype=row.xtype,
                unit=row.unit,
                ucd=row.ucd,
                utype=row.utype,
                description=row.description,
                principal=bool(row.principal),
                indexed=bool(row.indexed),
                std=bool(row.std),
            )
        )
    keys = _read_keys(connection)
    statement = (
        select(tap_schema.tables, arc.published.c.sql_name, arc.published.c.title, arc.published.c.row_count)
        .join(arc.published, arc.published.c.table_name == t.table_name)
        .where(wanted(t.table_name))
        .order_by(t.schema_name, t.table_index.nulls_last(), t.table_name)
    )
    tables: dict[str, list[Published]] = {}
    for row in connection.execute(statement):
        table = Table(
            name=row.table_name,
            columns=tuple(columns.get(row.table_name, ())),
            description=row.description,
            utype=row.utype,
            kind="view" if row.table_type == "view" else "table",
            keys=tuple(keys.get(row.table_name, ())),
            title=row.title,
            rows=row.row_count,
        )
        tables.setdefault(row.schema_name, []).append(Published(table, row.sql_name))
    schemas = connection.execute(select(tap_schema.schemas).order_by(tap_schema.schemas.c.schema_index)).all()
    return [
        (
            Schema(
                row.schema_name, row.description, row.utype, tuple(p.table for p in tables.get(row.schema_name, []))
            ),
            tables.get(row.schema_name, []),
        )
        for row in schemas
        if (not row.schema_name.startswith(OWN) if own is None else row.schema_name in tables)
    ]


def _untyped(typed_name: str) -> str:
    """A column's name from how a user types it (Column.typed_name)."""
    return typed_name[1:-1].replace('""', '"') if typed_name.startswith('"') else typed_name


def _read_keys(connection: Connection) -> dict[str, list[ForeignKey]]:
    keys, pairs = tap_schema.keys, tap_schema.key_columns
    statement = (
        select(
            keys,
            func.array_agg(pairs.c.from_column).label("here"),
            func.array_agg(pairs.c.target_column).label("there"),
        )
        .join(pairs, pairs.c.key_id == keys.c.key_id)
        .group_by(keys.c.key_id)
        .order_by(keys.c.key_id)
    )
    found: dict[str, list[ForeignKey]] = {}
    for row in connection.execute(statement):
        key = ForeignKey(row.target_table, tuple(zip(row.here, row.there, strict=True)), row.description, row.utype)
        found.setdefault(row.from_table, []).append(key)
    return found


_GENERATION = text(
    "SELECT count(*), coalesce(max(xmin::text::bigint), 0), coalesce(sum(xmin::text::bigint), 0) FROM tap_schema.tables"
    " WHERE NOT starts_with(schema_name, 'user_')"
)


class PublishedTables:
    """What is published now; shared by all threads of a process."""

    def __init__(self, engine: Engine, *, look_again_s: float = 1.0) -> None:
        self._engine = engine
        self._look_again_s = look_again_s
        self._lock = threading.Lock()
        self._looked = float("-inf")
        self._generation: tuple[object, ...] = ()
        self._schemas: tuple[Schema, ...] = ()
        self._tables: Mapping[str, Published] = {}

    def schemas(self) -> tuple[Schema, ...]:
        self._look()
        return self._schemas

    def tables(self) -> Mapping[str, Published]:
        """By name in lower case; the mapping is made anew when something was published, and never changed."""
        self._look()
        return self._tables

    def _look(self) -> None:
        if time.monotonic() - self._looked < self._look_again_s:
            return
        with self._lock:
            if time.monotonic() - self._looked < self._look_again_s:
                return
            with self._engine.connect() as connection:
                generation = tuple(connection.execute(_GENERATION).one())
                if generation != self._generation:
                    self._take(read_published(connection))
                    self._generation = generation
            self._looked = time.monotonic()

    def _take(self, found: Iterable[tuple[Schema, list[Published]]]) -> None:
        found = list(found)
        self._schemas = tuple(schema for schema, _ in found)
        self._tables = {p.table.name.lower(): p for _, tables in found for p in tables}
