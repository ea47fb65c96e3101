"""Which Arrow type carries which VOTable type (VOTable 1.5 §2.1), and how a cell is laid out.

Results travel as Arrow record batches beside a sequence of Columns. The mapping, once for every writer and reader:

| VOTable | Arrow |
|---|---|
| boolean, bit | bool |
| unsignedByte, short, int, long | uint8, int16, int32, int64 |
| float, double | float32, float64 |
| floatComplex, doubleComplex | fixed_size_list of 2 float32 or float64: real, imaginary |
| char, unicodeChar, any one-dimensional arraysize or none | string |
| the same with xtype="timestamp" | timestamp("us"), without a zone: UTC by DALI 1.1 §3.3.3 |
| the same with arraysize "8x3", "8x*" | fixed_size_list or list of string |
| numbers with a fixed arraysize, "2", "3x4" | fixed_size_list, flat, first index fastest |
| numbers with a variable arraysize, "*", "16*", "3x*" | list, flat |

A missing value is an Arrow null, whatever the type; NaN is a value.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod

import pyarrow as pa

from archive.vo.columns import Column
from archive.vo.errors import ArchiveError, ConfigurationError

PRIMITIVES: dict[str, pa.DataType] = {
    "boolean": pa.bool_(),
    "bit": pa.bool_(),
    "unsignedByte": pa.uint8(),
    "short": pa.int16(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "floatComplex": pa.list_(pa.float32(), 2),
    "doubleComplex": pa.list_(pa.float64(), 2),
    "char": pa.string(),
    "unicodeChar": pa.string(),
}
TEXT = frozenset({"char", "unicodeChar"})
TIMESTAMP = pa.timestamp("us")
# Where an Arrow slice is cut, so that one slice's text and bytes stay small however large the batch is.
SLICE_BYTES = 16 << 20
SLICE_ROWS = 32_768


@dataclass(frozen=True, slots=True)
class Shape:
    """What an arraysize says about a cell.

    width: characters in a string; None if variable or no text; 1 for char without arraysize.
    count: elements in the array (strings count as one element); None if variable; 1 for a scalar.
    is_array: False for scalars and for plain strings.
    """

    width: int | None
    count: int | None
    is_array: bool


@lru_cache(maxsize=4096)
def shape_of(column: Column) -> Shape:
    """Read arraysize (VOTable 1.5 §2.2). ConfigurationError if it is none."""
    if column.arraysize is None:
        return Shape(1 if column.datatype in TEXT else None, 1, False)
    *fixed, last = column.arraysize.replace(" ", "").split("x")
    try:
        sizes = [int(size) for size in fixed]
        final = None if last.endswith("*") else int(last)
        if last.endswith("*") and last != "*":
            int(last[:-1])
    except ValueError:
        raise ConfigurationError(f"column {column.name}: {column.arraysize!r} is no VOTable arraysize") from None
    dimensions: list[int | None] = [*sizes, final]
    if column.datatype in TEXT:
        return Shape(dimensions[0], _count(dimensions[1:]), len(dimensions) > 1)
    return Shape(None, _count(dimensions), True)


def _count(dimensions: Sequence[int | None]) -> int | None:
    known = [size for size in dimensions if size is not None]
    return prod(known) if len(known) == len(dimensions) else None


def is_timestamp(column: Column) -> bool:
    """True if the cells are instants: text by VOTable, timestamp("us") in Arrow."""
    return column.xtype == "timestamp" and column.datatype in TEXT and not shape_of(column).is_array


@lru_cache(maxsize=4096)
def arrow_type(column: Column) -> pa.DataType:
    """The Arrow type of a column's cells: the table in this module's docstring."""
    if is_timestamp(column):
        return TIMESTAMP
    primitive = PRIMITIVES[column.datatype]
    shape = shape_of(column)
    if not shape.is_array:
        return primitive
    return pa.list_(primitive) if shape.count is None else pa.list_(primitive, shape.count)


def arrow_schema(columns: Iterable[Column]) -> pa.Schema:
    """The schema of the record batches that carry these columns; every field is nullable."""
    return _schema(tuple(columns))


@lru_cache(maxsize=256)
def _schema(columns: tuple[Column, ...]) -> pa.Schema:
    return pa.schema([pa.field(column.name, arrow_type(column)) for column in columns])


def conformed(batch: pa.RecordBatch, columns: Sequence[Column]) -> list[pa.Array]:
    """The batch's arrays, in order, each of its column's Arrow type; names are not compared.

    ArchiveError if the number of columns differs or a value does not fit the declared type: wrong numbers are
    never written.
    """
    if batch.num_columns != len(columns):
        raise ArchiveError(f"a result of {batch.num_columns} columns was declared as {len(columns)} columns")
    arrays = []
    for column, array in zip(columns, batch.columns, strict=True):
        wanted = arrow_type(column)
        if array.type != wanted:
            try:
                array = array.cast(wanted)
            except pa.ArrowException as error:
                declared = f"{column.datatype} {column.arraysize or ''}".strip()
                raise ArchiveError(f"column {column.name}, declared as {declared}: {error}") from error
        arrays.append(array)
    return arrays


def slices(batch: pa.RecordBatch) -> Iterable[pa.RecordBatch]:
    """The batch in pieces whose written form stays in the tens of megabytes (no copies)."""
    rows = batch.num_rows
    if not rows:
        return
    step = max(1, min(SLICE_ROWS, rows * SLICE_BYTES // max(1, batch.nbytes)))
    for start in range(0, rows, step):
        yield batch.slice(start, step)
