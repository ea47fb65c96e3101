"""Catalogues as relations of schema cat: made, filled by COPY, indexed, published; replaced whole in one transaction.

Reading a catalogue's file is ingest's; Phase 3 publishes through here too. Names and types come from vo.columns, whose
names the reader of the file made legal; every identifier is quoted all the same.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, cast

import psycopg
import pyarrow as pa
from psycopg import sql
from sqlalchemy import Connection, func, select, text

from archive.holdings import published
from archive.holdings.copying import copy_batches
from archive.holdings.queries import lock
from archive.holdings.tables import arc
from archive.sphere.sphere import Sphere
from archive.vo.arrow import shape_of
from archive.vo.columns import Column, Table
from archive.vo.errors import UsageError

_TYPES = {
    "boolean": "boolean",
    "bit": "boolean",
    "unsignedByte": "smallint",
    "short": "smallint",
    "int": "integer",
    "long": "bigint",
    "float": "real",
    "double": "double precision",
    "char": "text",
    "unicodeChar": "text",
}
_TEXT_SHAPES = frozenset({"adql:REGION", "adql:POINT", "adql:TIMESTAMP", "adql:CLOB"})


def postgres_type(column: Column) -> str:
    """The PostgreSQL type that holds a VOTable column; a region is the portable array, as the sphere wants it."""
    if column.xtype == "timestamp":
        return "timestamp"
    if column.xtype == "adql:REGION":
        return "double precision[]"
    base = _TYPES.get(column.datatype)
    if base is None:
        raise UsageError(f"column {column.name}: {column.datatype} has no type in a database")
    return f"{base}[]" if shape_of(column).is_array else base


def as_stored(table: Table) -> Table:
    """The table with its columns as they can be asked for: a region that came as text is text, not a shape."""
    columns = (replace(column, xtype=None) if column.xtype in _TEXT_SHAPES else column for column in table.columns)
    return replace(table, columns=tuple(columns))


def position_columns(table: Table) -> tuple[str, str] | None:
    """Names of the main position's columns, by UCD; None if the table has none."""
    ra = [column.name for column in table.columns if column.ucd == "pos.eq.ra;meta.main"]
    dec = [column.name for column in table.columns if column.ucd == "pos.eq.dec;meta.main"]
    return (ra[0], dec[0]) if len(ra) == 1 and len(dec) == 1 else None


def name_for(connection: Connection, wanted: str, file_id: str) -> str:
    """The table name that a file's catalogue goes by, kept for it until the transaction ends.

    The one it has, else the one wanted, with a number if another file's catalogue (or a relation that is nobody's)
    has it: two files called `sources.csv` are two tables.
    """
    c = arc.published.c
    has = connection.execute(select(c.table_name).where(c.file_id == file_id).order_by(c.table_name).limit(1)).scalar()
    name, number = has or wanted, 1
    while True:
        lock(connection, f"table {name}")
        owner = connection.execute(select(c.file_id).where(c.table_name == name)).one_or_none()
        relation = connection.execute(select(func.to_regclass(published.quoted(name)))).scalar()
        if owner.file_id == file_id if owner else relation is None:
            return name
        number += 1
        name = f"{wanted}_{number}"


def create(
    connection: Connection,
    table: Table,
    batches: Iterable[pa.RecordBatch],
    sphere: Sphere,
    *,
    reader: str,
    file_id: str | None,
) -> int:
    """Make (or make anew) a catalogue's relation and publish it; returns its number of rows.

    reader: the role that may read it; file_id: whose catalogue it is, None where an operator made it.
    The old relation answers until the caller commits.
    """
    table = as_stored(table)
    name = published.quoted(table.name)
    types = [postgres_type(column) for column in table.columns]
    names = (published.quoted(column.name) for column in table.columns)
    columns = ", ".join(f"{column} {type_}" for column, type_ in zip(names, types, strict=True))
    connection.execute(text(f"DROP TABLE IF EXISTS {name}"))
    connection.execute(text(f"CREATE TABLE {name} ({columns})"))
    driver = cast(psycopg.Connection[Any], connection.connection.driver_connection)
    rows = copy_batches(driver, sql.Identifier(*table.name.split(".")), types, batches)
    position = position_columns(table)
    if position is not None:
        ra, dec = (published.quoted(column) for column in position)
        for statement in sphere.point_index(name, ra, dec):
            connection.execute(text(statement))
    identifiers = [column for column in table.columns if column.ucd == "meta.id;meta.main"]
    for column in identifiers:
        connection.execute(text(f"CREATE INDEX ON {name} ({published.quoted(column.name)})"))
    connection.execute(text(f"ANALYZE {name}"))
    connection.execute(text(f"GRANT SELECT ON {name} TO {published.quoted(reader)}"))
    indexed = {*(position or ()), *(column.name for column in identifiers)}
    described = replace(
        table,
        rows=rows,
        columns=tuple(replace(column, indexed=column.name in indexed) for column in table.columns),
    )
    published.publish(connection, described, file_id=file_id)
    return rows
