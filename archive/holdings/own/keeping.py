"""Making, filling, indexing, sharing and dropping users' own tables. A deed is one transaction: whole, or not at all.

One deed at a time a user, so that no two loads pass a quota together. What may be done by whom is the caller's to know.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import psycopg
import pyarrow as pa
from psycopg import sql
from sqlalchemy import Connection, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from archive.database.engines import Engines
from archive.holdings import published
from archive.holdings.catalogues import postgres_type
from archive.holdings.copying import carried, copy_batches
from archive.holdings.own.seeing import make_space, provide
from archive.holdings.tables import arc, tap_schema
from archive.holdings.temporary import REGION, TemporaryTable, regions, sky_places, statements
from archive.sphere.sphere import Sphere
from archive.vo.columns import Column, Table
from archive.vo.errors import (
    ArchiveError,
    ConflictError,
    NotFoundError,
    QueryTimeoutError,
    TooLargeError,
    UnavailableError,
    UsageError,
)

_LAST = 1_000_000  # users' schemas are shown behind the archive's own
_TEXT = frozenset({"char", "unicodeChar"})


@dataclass(frozen=True, slots=True)
class Quota:
    """What the tables of a user may have in all. size_bytes: of their cells, indexes and rows' heads not counted."""

    tables: int = 100
    rows: int = 10_000_000
    size_bytes: int = 1 << 30


@dataclass(frozen=True, slots=True)
class Kept:
    """A user's table as its keeper sees it. shared_with: "user:NAME", "group:NAME"."""

    name: str
    owner: str
    rows: int
    size_bytes: int
    shared_with: tuple[str, ...]


_UNIQUE = "SELECT 1 FROM pg_index WHERE indrelid = %s::regclass AND indisunique AND indkey::text = %s::text"


class OwnTables:
    """timeout_s: seconds that a deed may take; patience_s: that it waits for another, or for a query that reads."""

    def __init__(
        self, engines: Engines, sphere: Sphere, quota: Quota, *, timeout_s: float = 600.0, patience_s: float = 10.0
    ) -> None:
        self._engines = engines
        self._sphere = sphere
        self.quota = quota
        self._timeout_s = timeout_s
        self._patience_s = patience_s

    def room(self, owner: str) -> Quota:
        """What is left of the quota."""
        with self._engines.writer.connect() as connection:
            return self._room(connection, owner)

    def create(self, owner: str, table: Table, batches: Sequence[pa.RecordBatch]) -> Table:
        """Make a table with these rows, indexed where it has a place on the sky; returns it as it is told.

        table.name: in the owner's schema. ConflictError: it is there; TooLargeError: the quota.
        """
        schema, role = make_space(self._engines, owner)
        made = TemporaryTable.of(table, batches, published.quoted(table.name))
        types = [postgres_type(column) for column in made.table.columns]
        with self._changing(owner) as (connection, driver):
            if connection.execute(select(func.to_regclass(made.sql_name))).scalar() is not None:
                raise ConflictError(f"{table.name} is there already; DELETE it first, or load rows into it")
            size_bytes = sum(batch.nbytes for batch in made.batches)
            self._demand_room(connection, owner, Quota(1, made.rows, size_bytes))
            columns = sql.SQL(", ").join(
                sql.SQL("{} {}").format(sql.Identifier(stored), sql.SQL(type_))
                for stored, type_ in zip(made.stored, types, strict=True)
            )
            relation = sql.SQL(made.sql_name)
            driver.execute(sql.SQL("CREATE TABLE {} ({})").format(relation, columns))
            copy_batches(driver, relation, types, made.batches)
            driver.execute(sql.SQL("GRANT SELECT ON {} TO {}").format(relation, sql.Identifier(role)))
            space = {"owner": owner, "schema_name": schema}
            connection.execute(insert(arc.own_space).values(space).on_conflict_do_nothing())
            row = {"table_name": table.name, "owner": owner, "row_count": made.rows, "size_bytes": size_bytes}
            connection.execute(insert(arc.own_table).values(row))
            return self._tell(connection, driver, replace(made.table, rows=made.rows), indexed=frozenset())

    def append(self, name: str, columns: Sequence[Column], batches: Sequence[pa.RecordBatch]) -> int:
        """Add rows, their columns found by name in any case; what the table has and they have not is NULL.

        Returns how many rows were added. UsageError: a column that the table has not, a value that does not fit.
        """
        with self._changing(self._owner_of(name)) as (connection, driver):
            table, kept = self._find(connection, name)
            types = [postgres_type(column) for column in table.columns]
            added = [_fitted(table, types, columns, batch) for batch in batches]
            rows: int = sum(batch.num_rows for batch in added)
            size_bytes: int = sum(batch.nbytes for batch in added)
            self._demand_room(connection, kept.owner, Quota(0, rows, size_bytes))
            is_first = kept.rows == 0
            if is_first:  # an index made at the end is made faster than it grows
                for statement in self._sphere.drop_indexes(published.quoted(name)):
                    driver.execute(statement.encode())
            copy_batches(driver, sql.SQL(published.quoted(name)), types, added)
            c = arc.own_table.c
            more = {"row_count": c.row_count + rows, "size_bytes": c.size_bytes + size_bytes}
            connection.execute(update(arc.own_table).where(c.table_name == name).values(more))
            told = replace(table, rows=kept.rows + rows)
            if is_first:
                self._tell(connection, driver, told, indexed=_indexed(table))
            else:
                driver.execute(sql.SQL("ANALYZE {}").format(sql.SQL(published.quoted(name))))
                c = arc.published.c
                connection.execute(update(arc.published).where(c.table_name == name).values({"row_count": told.rows}))
            return rows

    def describe(self, name: str, told: Table) -> Table:
        """Say otherwise what a table and its columns are: description, unit, UCD, utype. Types stay as they are.

        UsageError: a column that the table has not.
        """
        with self._changing(self._owner_of(name)) as (connection, driver):
            table, _ = self._find(connection, name)
            by_name = {column.name.lower(): column for column in told.columns}
            kept = {column.name.lower() for column in table.columns}
            if stranger := next((column.name for column in told.columns if column.name.lower() not in kept), None):
                raise UsageError(f"{name} has no column {stranger}")
            columns = tuple(
                replace(column, description=new.description, unit=new.unit, ucd=new.ucd, utype=new.utype)
                if (new := by_name.get(column.name.lower()))
                else column
                for column in table.columns
            )
            for statement in self._sphere.drop_indexes(published.quoted(name)):
                driver.execute(statement.encode())
            about = replace(table, title=told.title, description=told.description, utype=told.utype, columns=columns)
            return self._tell(connection, driver, about, indexed=_indexed(table) - _on_the_sky(table))

    def index(self, name: str, column_name: str, *, unique: bool = False) -> None:
        """Index a column. UsageError: there is none such, or two rows have one value where it is to be unique."""
        with self._changing(self._owner_of(name)) as (connection, driver):
            table, _ = self._find(connection, name)
            found = [place for place, one in enumerate(table.columns, 1) if one.name.lower() == column_name.lower()]
            if not found:
                has = ", ".join(column.name for column in table.columns)
                raise UsageError(f"{name} has no column {column_name}; it has {has}")
            column = table.columns[found[0] - 1]
            if column.indexed and not unique:
                return  # once is enough
            if unique and driver.execute(_UNIQUE, (published.quoted(name), found[0])).fetchone() is not None:
                return
            relation, kind = sql.SQL(published.quoted(name)), sql.SQL("UNIQUE INDEX" if unique else "INDEX")
            driver.execute(sql.SQL("CREATE {} ON {} ({})").format(kind, relation, sql.Identifier(f"c{found[0]}")))
            c = tap_schema.columns.c
            at = (c.table_name == name, c.column_name == column.typed_name)
            connection.execute(update(tap_schema.columns).where(*at).values(indexed=1))
            _touch(connection, name)

    def drop(self, name: str) -> None:
        """Take a table away, its rows and what was told of it."""
        with self._changing(self._owner_of(name)) as (connection, driver):
            published.withdraw(connection, name)
            connection.execute(delete(arc.own_table).where(arc.own_table.c.table_name == name))
            driver.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.SQL(published.quoted(name))))

    def share(self, name: str, subjects: Sequence[str], *, revoked: Sequence[str] = ()) -> Kept:
        """Let users and groups read a table, or no more. Subjects: "user:NAME", "group:NAME", that exist."""
        owner = self._owner_of(name)
        roles = {subject: provide(self._engines, subject) for subject in {*subjects, *revoked} - {f"user:{owner}"}}
        shares, relation = arc.own_share, sql.SQL(published.quoted(name))
        with self._changing(owner) as (connection, driver):
            for subject, role in roles.items():
                here = (shares.c.table_name == name, shares.c.subject == subject)
                if subject in revoked:
                    connection.execute(delete(shares).where(*here))
                    driver.execute(sql.SQL("REVOKE SELECT ON {} FROM {}").format(relation, sql.Identifier(role)))
                else:
                    values = {"table_name": name, "subject": subject}
                    connection.execute(insert(shares).values(values).on_conflict_do_nothing())
                    driver.execute(sql.SQL("GRANT SELECT ON {} TO {}").format(relation, sql.Identifier(role)))
            return kept(connection, name)

    def _owner_of(self, name: str) -> str:
        with self._engines.writer.connect() as connection:
            return kept(connection, name).owner

    @contextmanager
    def _changing(self, owner: str) -> Iterator[tuple[Connection, psycopg.Connection[Any]]]:
        """A transaction, the only one that changes this owner's tables; PostgreSQL's refusals in words."""
        try:
            with self._engines.begin("writer") as connection:
                driver = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
                driver.execute(
                    "SELECT set_config('statement_timeout', %s, true), set_config('lock_timeout', %s, true)",
                    (str(int(self._timeout_s * 1000)), str(int(self._patience_s * 1000))),
                )
                driver.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"own tables of {owner}",))
                yield connection, driver
        except psycopg.errors.LockNotAvailable:
            raise UnavailableError("the table is being read, or another change is under way; try again soon") from None
        except psycopg.errors.QueryCanceled:
            raise QueryTimeoutError(f"it took more than {self._timeout_s:g} s, the limit here; send less") from None
        except (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.ProgramLimitExceeded) as problem:
            said = problem.diag.message_primary or str(problem)
            raise UsageError(f"PostgreSQL refuses it: {said}") from None

    def _find(self, connection: Connection, name: str) -> tuple[Table, Kept]:
        known = kept(connection, name)  # once more: it may have gone before the lock was had
        (one,) = published.read_set(connection, own=[name]).every()
        return one.table, known

    def _room(self, connection: Connection, owner: str) -> Quota:
        c = arc.own_table.c
        used = select(func.count(), func.coalesce(func.sum(c.row_count), 0), func.coalesce(func.sum(c.size_bytes), 0))
        tables, rows, size_bytes = map(int, connection.execute(used.where(c.owner == owner)).one())
        quota = self.quota
        return Quota(quota.tables - tables, quota.rows - rows, quota.size_bytes - size_bytes)

    def _demand_room(self, connection: Connection, owner: str, wanted: Quota) -> None:
        left = self._room(connection, owner)
        for what, asked, there, limit in (
            ("tables", wanted.tables, left.tables, self.quota.tables),
            ("rows", wanted.rows, left.rows, self.quota.rows),
            ("bytes", wanted.size_bytes, left.size_bytes, self.quota.size_bytes),
        ):
            if asked > max(there, 0):
                raise TooLargeError(
                    f"your tables may have {limit} {what} in all; {limit - there} are taken, and this needs {asked} "
                    "more. DELETE tables that you need no longer"
                )

    def _tell(
        self, connection: Connection, driver: psycopg.Connection[Any], table: Table, *, indexed: frozenset[str]
    ) -> Table:
        """Index a table's places on the sky, count, and describe it in TAP_SCHEMA. indexed: columns that are so too."""
        relation = published.quoted(table.name)
        kept_as = TemporaryTable(table, (), relation)
        for place in sky_places(table, relation, kept_as.stored):
            for statement in statements(place, self._sphere):
                driver.execute(statement.encode())
        driver.execute(sql.SQL("ANALYZE {}").format(sql.SQL(relation)))
        on_index = indexed | _on_the_sky(table)
        columns = tuple(replace(column, indexed=column.name in on_index) for column in table.columns)
        told = replace(table, columns=columns)
        schema = {"schema_name": table.schema, "description": "Tables of a user", "schema_index": _LAST}
        connection.execute(insert(tap_schema.schemas).values(schema).on_conflict_do_nothing())
        published.publish(connection, told, sql_name=kept_as.sql)
        _touch(connection, table.name)
        return told


def kept(connection: Connection, name: str) -> Kept:
    """A table as it is kept; NotFoundError."""
    found = next(iter(all_kept(connection, name)), None)
    if found is None:
        raise NotFoundError(f"there is no table {name}")
    return found


def all_kept(connection: Connection, name: str | None = None) -> list[Kept]:
    """Every user's tables, or the one of this name."""
    t, s = arc.own_table.c, arc.own_share.c
    shared = select(func.array_agg(s.subject)).where(s.table_name == t.table_name).scalar_subquery()
    asked = select(t.table_name, t.owner, t.row_count, t.size_bytes, shared.label("shared")).order_by(t.table_name)
    if name is not None:
        asked = asked.where(t.table_name == name)
    return [
        Kept(row.table_name, row.owner, row.row_count, row.size_bytes, tuple(sorted(row.shared or ())))
        for row in connection.execute(asked)
    ]


def _touch(connection: Connection, name: str) -> None:
    """Those who remember the table look again: a row that was written is another (xmin)."""
    t = arc.own_table
    connection.execute(update(t).where(t.c.table_name == name).values(row_count=t.c.row_count))


def _indexed(table: Table) -> frozenset[str]:
    return frozenset(column.name for column in table.columns if column.indexed)


def _on_the_sky(table: Table) -> frozenset[str]:
    names = [column.name for column in table.columns]
    places = sky_places(table, "", names)
    found = {name for place in places for name in place.position or () if name in names}
    found |= {column.name for column in table.columns if column.xtype in ("point", "circle", "polygon", REGION)}
    return frozenset(found)


def _fitted(table: Table, types: Sequence[str], columns: Sequence[Column], batch: pa.RecordBatch) -> pa.RecordBatch:
    """Rows that came, as the columns of a table: by name, cast where nothing is lost."""
    places = {column.name.lower(): place for place, column in enumerate(columns)}
    has = {column.name.lower() for column in table.columns}
    if stranger := next((column.name for column in columns if column.name.lower() not in has), None):
        raise UsageError(
            f"{table.name} has no column {stranger}; it has {', '.join(column.name for column in table.columns)}"
        )
    arrays = []
    for column, type_ in zip(table.columns, types, strict=True):
        wanted, place = carried(type_), places.get(column.name.lower())
        if place is None:
            arrays.append(pa.nulls(batch.num_rows, wanted))
            continue
        array = batch.column(place)
        try:
            if column.xtype == REGION and columns[place].datatype in _TEXT:
                array = regions(array)
            # Text stays as it is for the copy, which knows how instants are written.
            arrays.append(array if type_ == "timestamp" and pa.types.is_string(array.type) else array.cast(wanted))
        except (pa.ArrowException, ArchiveError) as problem:
            raise UsageError(f"column {column.name}: {problem}") from None
    return pa.RecordBatch.from_arrays(arrays, names=[str(place) for place in range(len(arrays))])
