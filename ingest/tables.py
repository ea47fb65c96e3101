"""Tables that an operator publishes from a file, beside those that came in as files of the holdings.

Reading and describing are ingest.catalogues'; the relation and TAP_SCHEMA are archive.holdings'. A table that belongs
to a file of the holdings changes with that file, and with nothing else.
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path

from sqlalchemy import Connection, func, select, text

from archive.holdings import catalogues, published
from archive.holdings.queries import lock
from archive.holdings.tables import arc
from archive.sphere.sphere import Sphere
from archive.vo.columns import Column, Table
from archive.vo.errors import NotFoundError, UsageError
from archive.vo.origin import UNKNOWN, Origin
from archive.vo.tables.source import SourceTable
from ingest.catalogues.model import Catalogue
from ingest.catalogues.names import identifier
from ingest.catalogues.publish import DEC_MAIN, RA_MAIN
from ingest.catalogues.publish import published as catalogue_of
from ingest.catalogues.reading import source_table

SCHEMA = "cat"
_NOT_COMPARED = frozenset({"name", "indexed", "std"})


def checked_name(name: str) -> str:
    """The table's whole name, lower case; UsageError where it cannot be one."""
    schema, _, table = name.lower().rpartition(".")
    if schema not in ("", SCHEMA):
        raise UsageError(f"tables are published in schema {SCHEMA}: {SCHEMA}.{table}")
    if identifier(table) != table:
        raise UsageError(f"{table!r} has to be quoted in a query; {identifier(table)!r} has not")
    return f"{SCHEMA}.{table}"


def read(
    path: Path, name: str, *, ra: str | None = None, dec: str | None = None, origin: Origin = UNKNOWN
) -> Catalogue:
    """The catalogue in a file. ra, dec: the columns of the main position, by their names in the file.

    origin: what is known of it beside what the file says.
    """
    source = source_table(path)
    if ra is not None and dec is not None:
        source = _positioned(source, ra, dec)
    catalogue = catalogue_of(source, name)
    if ra is not None and catalogue.ra is None:
        raise UsageError(f"{ra} and {dec} hold no position: their units must be degrees, hours, radians or sexagesimal")
    known = Origin.from_items(catalogue.table.origin.items() | origin.items())
    return replace(catalogue, table=replace(catalogue.table, origin=known))


def _positioned(source: SourceTable, ra: str, dec: str) -> SourceTable:
    names = [column.name.lower() for column in source.columns]
    for name in (ra, dec):
        if name.lower() not in names:
            raise UsageError(f"the file has no column {name}; it has {', '.join(c.name for c in source.columns)}")
    main = {names.index(ra.lower()): RA_MAIN, names.index(dec.lower()): DEC_MAIN}
    columns = (
        replace(column, ucd=main[place])
        if place in main
        else replace(column, ucd=(column.ucd or "").replace(";meta.main", "") or None)
        for place, column in enumerate(source.columns)
    )
    return replace(source, columns=tuple(columns))


def differences(old: Table | None, new: Table) -> Iterator[str]:
    """What TAP_SCHEMA will say otherwise: a line each, "+", "-" or "~" first."""
    if old is None:
        yield f"+ {new.name}, {new.rows} rows"
    else:
        yield from (
            f"~ {what}: {before} -> {after}"
            for what, before, after in (
                ("rows", old.rows, new.rows), ("title", old.title, new.title),
                ("description", old.description, new.description),
            )
            if before != after
        )  # fmt: skip
    former, now = (table.origin.items() if table else {} for table in (old, new))
    yield from (f"~ {item}: {former.get(item)} -> {now[item]}" for item in now if former.get(item) != now[item])
    before = {column.name: column for column in old.columns} if old else {}
    for column in new.columns:
        if column.name not in before:
            yield f"+ {described(column)}"
        else:
            yield from (f"~ {column.name}: {line}" for line in _changes(before[column.name], column))
    kept = {column.name for column in new.columns}
    yield from (f"- {described(column)}" for column in before.values() if column.name not in kept)


def _changes(old: Column, new: Column) -> Iterator[str]:
    for each in fields(Column):
        if each.name not in _NOT_COMPARED and getattr(old, each.name) != getattr(new, each.name):
            yield f"{each.name} {getattr(old, each.name)} -> {getattr(new, each.name)}"


def described(column: Column) -> str:
    """A column in a line."""
    kind = column.datatype + (f"[{column.arraysize}]" if column.arraysize else "")
    told = (column.name, kind, column.unit, column.ucd, column.description)
    return "  ".join(part for part in told if part)


def find(connection: Connection, name: str) -> Table:
    """A published table; NotFoundError."""
    found = published.read_set(connection).get(name.lower())
    if found is None:
        raise NotFoundError(f"there is no table {name}; `uraniborg table list` has those there are")
    return found.table


def tables(connection: Connection) -> Iterator[Table]:
    """Every published table."""
    return (one.table for one in published.read_set(connection).every())


def current(connection: Connection, name: str) -> Table | None:
    """The table of this name that may be replaced or dropped; None without one.

    UsageError: it belongs to a file of the holdings, or is a relation that was never published.
    """
    c = arc.published.c
    owner = connection.execute(select(c.file_id).where(c.table_name == name)).one_or_none()
    if owner is None:
        if connection.execute(select(func.to_regclass(published.quoted(name)))).scalar() is not None:
            raise UsageError(f"{name} is a relation of the database that is not published: it is left alone")
        return None
    if owner.file_id is not None:
        raise UsageError(f"{name} is the catalogue of the file {owner.file_id}: ingest another version, or withdraw it")
    return find(connection, name)


def publish(connection: Connection, catalogue: Catalogue, sphere: Sphere, *, reader: str) -> int:
    """Make the catalogue's table, or make it anew, and publish it; returns its number of rows."""
    name = catalogue.table.name
    lock(connection, f"table {name}")
    current(connection, name)
    return catalogues.create(connection, catalogue.table, catalogue.batches, sphere, reader=reader, file_id=None)


def cite(connection: Connection, name: str, items: Mapping[str, str]) -> Origin:
    """Change what is told of a table's origin; an empty text takes an item away. Gives what is told from now on."""
    table = find(connection, name)
    origin = Origin.from_items(table.origin.items() | dict(items))
    if origin != table.origin:
        published.set_origin(connection, table.name, origin)
    return origin


def drop(connection: Connection, name: str) -> None:
    """Take a table away, and out of TAP_SCHEMA."""
    lock(connection, f"table {name}")
    if not name.startswith(f"{SCHEMA}.") or current(connection, name) is None:
        raise NotFoundError(f"there is no table {name} that could be dropped")
    published.withdraw(connection, name)
    connection.execute(text(f"DROP TABLE IF EXISTS {published.quoted(name)}".replace(":", r"\:")))
