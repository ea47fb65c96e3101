"""Catalogues as relations of schema cat: made, filled by COPY, indexed, published; replaced whole in one transaction.

Reading a catalogue's file is ingest's; Phase 3 publishes through here too. Names and types come from vo.columns, whose
names the reader of the file made legal; every identifier is quoted all the same.
"""

import io
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, cast

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from psycopg import sql
from sqlalchemy import Connection, func, select, text

from archive.holdings import published
from archive.holdings.queries import lock
from archive.holdings.tables import arc
from archive.sphere.sphere import Sphere
from archive.vo.columns import Column, Table

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
    """The PostgreSQL type that holds a VOTable column."""
    if column.xtype == "timestamp":
        return "timestamp"
    base = _TYPES.get(column.datatype)
    if base is None:
        raise ValueError(f"column {column.name}: {column.datatype} is not stored")
    return base if column.arraysize is None or base == "text" else f"{base}[]"


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
    file_id: str,
) -> int:
    """Make (or make anew) a catalogue's relation and publish it; returns its number of rows.

    reader: the role that may read it. The old relation answers until the caller commits.
    """
    table = as_stored(table)
    name = published.quoted(table.name)
    columns = ", ".join(f"{published.quoted(column.name)} {postgres_type(column)}" for column in table.columns)
    connection.execute(text(f"DROP TABLE IF EXISTS {name}"))
    connection.execute(text(f"CREATE TABLE {name} ({columns})"))
    driver = cast(psycopg.Connection[Any], connection.connection.driver_connection)
    rows = copy_batches(driver, sql.Identifier(*table.name.split(".")), batches)
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


def copy_batches(driver: psycopg.Connection[Any], name: sql.Composable, batches: Iterable[pa.RecordBatch]) -> int:
    """COPY Arrow batches into a relation, as CSV made in C; returns the number of rows."""
    statement = sql.SQL("COPY {} FROM STDIN (FORMAT csv)").format(name)
    options = pacsv.WriteOptions(include_header=False)
    rows = 0
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        for batch in batches:
            sink = io.BytesIO()
            pacsv.write_csv(_flat(batch), sink, options)
            copy.write(sink.getbuffer())
            rows += batch.num_rows
    return rows


def _flat(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Arrays as PostgreSQL writes them, because CSV has none."""
    if not any(pa.types.is_nested(field.type) for field in batch.schema):
        return batch
    columns = [_literals(column) if pa.types.is_nested(column.type) else column for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _literals(arrays: pa.Array) -> pa.StringArray:
    """{1,NULL,3}: an element that is missing is not an array that is."""
    texts = pc.cast(arrays, pa.list_(pa.string()))
    lengths = pc.list_value_length(texts).fill_null(0).to_numpy(zero_copy_only=False)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
    joined = pc.binary_join(pa.ListArray.from_arrays(offsets, texts.flatten().fill_null("NULL")), ",")
    literals = pc.binary_join_element_wise("{", joined, "}", "")
    return pc.if_else(arrays.is_valid(), literals, pa.scalar(None, pa.string()))
