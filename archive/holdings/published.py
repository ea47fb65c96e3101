"""Which tables are public: TAP_SCHEMA, written from vo.columns; read by TAP, VOSI and the registry.

TAP_SCHEMA in the database is the truth for what a query may name; `PublishedTables` holds a copy of it and looks for a
newer one at most once a second, so that a catalogue published by another process is there without a restart.

Users' own tables are told in TAP_SCHEMA too, and are nobody else's business: archive.holdings.own.
"""

import threading
import time
from dataclasses import replace

from sqlalchemy import Connection, Engine, delete, text, update
from sqlalchemy.dialects.postgresql import insert

from archive.holdings.declared import PUBLISHED_SQL, SCHEMAS
from archive.holdings.table_set import PUBLISHED, UNPUBLISHED, Published, TableSet, read_set
from archive.holdings.tables import arc, tap_schema
from archive.vo.columns import OWN, Schema, Table
from archive.vo.errors import NotFoundError
from archive.vo.origin import UNKNOWN, Origin
from storage.feed import append_event

__all__ = [
    "Published", "PublishedTables", "TableSet", "publish", "publish_declared", "quoted", "read_set",
    "set_origin", "withdraw",
]  # fmt: skip

READER_SCHEMAS = ("ivoa", "pub", "tap_schema", "cat")  # what lies in them, the reader role may read


def quoted(name: str) -> str:
    """A declared, qualified name as PostgreSQL reads it literally."""
    return ".".join(map(identifier, name.split(".")))


def identifier(name: str) -> str:
    """One name, of a column say, as PostgreSQL reads it literally."""
    return '"' + name.replace('"', '""') + '"'


def publish_declared(connection: Connection) -> None:
    """Write the tables that every archive publishes; repeatable, and those that are there already are left alone."""
    there = read_set(connection)
    changed = [
        (index, table)
        for schema in SCHEMAS
        for index, table in enumerate(schema.tables)
        if not _is_declared(there.get(table.name), table)
    ]
    for index, schema in enumerate(SCHEMAS):
        row = {
            "schema_name": schema.name,
            "description": schema.description,
            "utype": schema.utype,
            "schema_index": index,
        }
        statement = insert(tap_schema.schemas).values(row)
        connection.execute(statement.on_conflict_do_update(index_elements=["schema_name"], set_=row))
    for index, table in changed:
        # That they are there is no news for who reads the feed; that one is another than it was is.
        told = table.name in there
        publish(connection, table, sql_name=PUBLISHED_SQL.get(table.name), index=index, keys=False, told=told)
    # After all tables: keys point at each other, and go with the tables that they point at.
    for schema in SCHEMAS if changed else ():
        for table in schema.tables:
            _write_keys(connection, table)


def _is_declared(found: Published | None, table: Table) -> bool:
    """Whether a table is published as it is declared; what an operator said of its origin is theirs."""
    declared = Published(table, PUBLISHED_SQL.get(table.name, quoted(table.name)))
    return found is not None and replace(found, table=replace(found.table, origin=UNKNOWN)) == declared


def publish(
    connection: Connection,
    table: Table,
    *,
    sql_name: str | None = None,
    index: int | None = None,
    file_id: str | None = None,
    keys: bool = True,
    told: bool = True,
) -> None:
    """Describe a table in TAP_SCHEMA, replacing what was said of it before. The relation itself is the caller's.

    told: with an event of the feed.

    What was known of its origin stays where the table says nothing of it: a new version is cited as the former was.
    """
    origin = _strike(connection, table.name) | table.origin.items()
    if told:
        _tell(connection, PUBLISHED, table.name, file_id)
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
            origin=origin,
        )
    )
    if keys:
        _write_keys(connection, table)


def withdraw(connection: Connection, table_name: str) -> None:
    """Take a table out of TAP_SCHEMA; the relation itself is the caller's."""
    _strike(connection, table_name)
    _tell(connection, UNPUBLISHED, table_name)


def set_origin(connection: Connection, table_name: str, origin: Origin) -> None:
    """Say where a published table comes from, in place of what was said before."""
    c = arc.published.c
    changed = update(arc.published).where(c.table_name == table_name).values(origin=origin.items())
    if not connection.execute(changed).rowcount:
        raise NotFoundError(f"there is no table {table_name}")
    touched = update(tap_schema.tables).where(tap_schema.tables.c.table_name == table_name)
    connection.execute(touched.values(table_name=table_name))  # by which other processes see that it is another
    _tell(connection, PUBLISHED, table_name)


def _tell(connection: Connection, kind: str, table_name: str, file_id: str | None = None) -> None:
    """The event of a change, in the feed that everybody reads: not of users' own tables."""
    if not table_name.startswith(OWN):
        append_event(connection, kind, file_id, detail={"table": table_name})


def _strike(connection: Connection, table_name: str) -> dict[str, str]:
    """Take a table's rows away; what was known of its origin."""
    connection.execute(delete(tap_schema.tables).where(tap_schema.tables.c.table_name == table_name))
    struck = delete(arc.published).where(arc.published.c.table_name == table_name).returning(arc.published.c.origin)
    return dict(connection.execute(struck).scalar() or {})


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
        self._tables = TableSet(engine.connect)

    def schemas(self) -> tuple[Schema, ...]:
        """Every schema with its tables, these without their columns."""
        return self.tables().schemas

    def tables(self) -> TableSet:
        """By name in lower case; the set is made anew when something was published, and never changed."""
        self._look()
        return self._tables

    def look_again(self) -> None:
        """Ask now, whenever it was asked last: what is committed is seen."""
        began = time.monotonic()
        with self._lock:
            if self._looked < began:  # else another thread has asked meanwhile
                self._looked = float("-inf")
        self._look()

    def _look(self) -> None:
        if time.monotonic() - self._looked < self._look_again_s:
            return
        with self._lock:
            asked = time.monotonic()
            if asked - self._looked < self._look_again_s:
                return
            with self._engine.connect() as connection:
                generation = tuple(connection.execute(_GENERATION).one())
                if generation != self._generation:
                    self._tables = read_set(connection, self._engine.connect, former=self._tables)
                    self._generation = generation
            self._looked = asked
