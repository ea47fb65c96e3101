"""Arrow batches into a relation by COPY BINARY: columns encoded in C (pgpq), no Python object for a cell."""

from collections.abc import Iterable, Sequence
from typing import Any

import pgpq
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from archive.vo.errors import UsageError

# What each PostgreSQL type takes in binary. A wrong width would be refused by the server, a wrong meaning would not.
_CARRIED = {
    "boolean": pa.bool_(),
    "smallint": pa.int16(),
    "integer": pa.int32(),
    "bigint": pa.int64(),
    "real": pa.float32(),
    "double precision": pa.float64(),
    "text": pa.string(),
    "timestamp": pa.timestamp("us"),
}


def copy_batches(
    driver: psycopg.Connection[Any], name: sql.Composable, types: Sequence[str], batches: Iterable[pa.RecordBatch]
) -> int:
    """COPY batches into a relation whose columns have these PostgreSQL types; returns the number of rows.

    UsageError: a value that its column's type does not hold.
    """
    schema = pa.schema([pa.field(f"c{place}", carried(type_)) for place, type_ in enumerate(types)])
    encoder = pgpq.ArrowToPostgresBinaryEncoder(schema)
    statement = sql.SQL("COPY {} FROM STDIN (FORMAT binary)").format(name)
    rows = 0
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(encoder.write_header())
        for batch in batches:
            if batch.num_rows == 0:
                continue
            arrays = [_carried(array, field.type) for array, field in zip(batch.columns, schema, strict=True)]
            copy.write(encoder.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema)))
            rows += batch.num_rows
        copy.write(encoder.finish())
    return rows


def carried(type_: str) -> pa.DataType:
    """The Arrow type whose values a PostgreSQL type takes as they are."""
    return pa.list_(carried(type_.removesuffix("[]"))) if type_.endswith("[]") else _CARRIED[type_]


def _carried(array: pa.Array, wanted: pa.DataType) -> pa.Array:
    if array.type == wanted:
        return array
    try:
        if wanted == _CARRIED["timestamp"] and pa.types.is_string(array.type):
            array = pc.replace_substring_regex(array, r"Z\s*$", "")
        return array.cast(wanted)
    except pa.ArrowInvalid as error:
        raise UsageError(f"a value does not fit its column: {error}") from None
