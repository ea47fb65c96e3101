"""Rows as PostgreSQL sends them, to Arrow columns: a page at a time, and no Python object for a cell.

The query is wrapped so that the server sends each row as one value, in the binary form of a record
(`record_send`; PostgreSQL, src/backend/utils/adt/rowtypes.c): the number of columns, then for each its type's OID, its
length in bytes, -1 for NULL, and the value in network order. numpy walks down all rows of a page at once, column by
column. A bound parameter stays a bound parameter, which COPY would not allow, and a plan stays what it was.

The types of nearly all columns are read this way. Others (NUMERIC, arrays, dates) take psycopg's own loaders, a value
at a time. Knows bytes and types; no connection is used and no query run here.
"""

import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg
import pyarrow as pa
from psycopg.pq import Format

from archive.vo.arrow import TIMESTAMP
from archive.vo.cells import one

# OIDs of pg_type.dat, which never change.
_FIXED: dict[int, np.dtype[Any]] = {
    16: np.dtype("u1"),  # boolean
    20: np.dtype(">i8"),
    21: np.dtype(">i2"),
    23: np.dtype(">i4"),
    700: np.dtype(">f4"),
    701: np.dtype(">f8"),
    1114: np.dtype(">i8"),  # timestamp, timestamptz: microseconds since 2000, UTC
    1184: np.dtype(">i8"),
}
# The same for one value: what is few is read a cell at a time.
_ONE = {oid: one(dtype) for oid, dtype in _FIXED.items()}
_HEAD = struct.Struct(">ii")
_COUNT = np.dtype(">i4")
_NATIVE = {dtype: dtype.newbyteorder("=") for dtype in (_COUNT, *_FIXED.values())}
_ARROW = {native: pa.from_numpy_dtype(native) for native in _NATIVE.values()}
_BOOLEAN, _INTEGERS, _FLOATS, _INSTANTS = 16, frozenset({20, 21, 23}), frozenset({700, 701}), frozenset({1114, 1184})
_TEXTS = frozenset({19, 25, 705, 1042, 1043})  # name, text, unknown, char(n), varchar
_EPOCH_US = 946_684_800_000_000  # 2000-01-01 by the count of 1970
_FIRST_US, _LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999  # years 1 to 9999
_PADDING = bytes(8)  # so that a value may be looked at where a NULL ends the last row

Places = npt.NDArray[np.int64]


Read = Callable[[bytes, int, int], object]  # a row, where in it the value begins, its length
FEW = 1_000
"""Cells, below which Python reads them one by one sooner than numpy has begun with each column."""


def as_records(sql: str) -> str:
    """The query with each row as one value, for `record_batch`. Its rows keep their order."""
    # With ".*", the name is a table's whatever the columns are called (PostgreSQL, 8.16.5).
    return f"SELECT pg_catalog.record_send(r.*) FROM ({sql}) AS r"  # noqa: S608 - a translated query


def record_batch(rows: Sequence[bytes], schema: pa.Schema, context: psycopg.Connection[Any]) -> pa.RecordBatch:
    """The rows, as PostgreSQL sent them, as Arrow columns.

    context: whose types the loaders know. psycopg.DataError for a value that Python has nothing for, such as an
    infinite timestamp; pa.ArrowInvalid for one that its declared type does not hold.
    """
    count = int.from_bytes(rows[0][:4])
    if count != len(schema):
        raise psycopg.DataError(f"the database sent {count} columns where {len(schema)} were declared")
    if len(rows) * count <= FEW:
        batch = _few(rows, schema)
        if batch is not None:
            return batch
    page = _Page(b"".join([*rows, _PADDING]))
    at = np.zeros(len(rows), np.int64)
    np.cumsum(np.fromiter(map(len, rows), np.int64, len(rows))[:-1], out=at[1:])
    at += 4
    arrays = []
    for field in schema:
        oid = int.from_bytes(page.bytes[at[0] : at[0] + 4])
        at += 4
        lengths = page.values(at, _COUNT)
        at += 4
        valid = lengths >= 0
        whole = bool(valid.all())
        arrays.append(_Cells(page, at, lengths, oid, None if whole else valid).array(field, context))
        at += lengths if whole else np.maximum(lengths, 0)
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _few(rows: Sequence[bytes], schema: pa.Schema) -> pa.RecordBatch | None:
    """The same, a cell at a time; None where a value asks for more than its bytes to be read."""
    columns: list[list[object]] = [[] for _ in schema]
    readers: list[Read] = []
    for row in rows:
        at = 4
        for place, cells in enumerate(columns):
            oid, length = _HEAD.unpack_from(row, at)
            at += 8
            if len(readers) == place:
                read = _reader(oid, schema.field(place).type)
                if read is None:
                    return None
                readers.append(read)
            if length < 0:
                cells.append(None)
                continue
            cells.append(readers[place](row, at, length))
            at += length
    return pa.RecordBatch.from_arrays(
        [pa.array(cells, field.type) for cells, field in zip(columns, schema, strict=True)], schema=schema
    )


def _reader(oid: int, wanted: pa.DataType) -> Read | None:
    """What reads one value, of a type and for a type that need nothing else; as `_Cells.array` has it for many."""
    if oid in _TEXTS and pa.types.is_string(wanted):
        return lambda row, at, length: str(row[at : at + length], "utf-8")
    if oid == _BOOLEAN and pa.types.is_boolean(wanted):
        return lambda row, at, length: row[at] != 0
    as_float = oid in _INTEGERS and pa.types.is_floating(wanted)
    if (
        as_float
        or (oid in _INTEGERS and pa.types.is_integer(wanted))
        or (oid in _FLOATS and pa.types.is_floating(wanted))
    ):
        unpack = _ONE[oid].unpack_from
        if as_float:
            return lambda row, at, length: float(unpack(row, at)[0])
        return lambda row, at, length: unpack(row, at)[0]
    return None


class _Page:
    """The bytes of all rows of a page, one after the other."""

    def __init__(self, data: bytes) -> None:
        self.bytes = data
        self._views: dict[np.dtype[Any], npt.NDArray[Any]] = {}

    def values(self, at: Places, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """The values that begin at these bytes, in the machine's own order."""
        view = self._views.get(dtype)
        if view is None:
            # Every place where a value could begin, aligned or not: nothing is copied until it is indexed.
            view = np.ndarray((len(self.bytes) - dtype.itemsize + 1,), dtype, self.bytes, strides=(1,))
            self._views[dtype] = view
        return view[at].astype(_NATIVE[dtype])


class _Cells:
    """One column of a page: where each cell's value begins, its length in bytes, and which are there (None: all)."""

    def __init__(
        self,
        page: _Page,
        at: Places,
        lengths: npt.NDArray[np.int32],
        oid: int,
        valid: npt.NDArray[np.bool_] | None,
    ) -> None:
        self._page = page
        self._at = at
        self._lengths = lengths
        self._oid = oid
        self._valid = valid

    def array(self, field: pa.Field, context: psycopg.Connection[Any]) -> pa.Array:
        """As the field's type."""
        wanted, oid = field.type, self._oid
        if oid in _TEXTS and pa.types.is_string(wanted):
            return self._texts()
        if oid == _BOOLEAN and pa.types.is_boolean(wanted):
            return pa.array(self._numbers() != 0, mask=None if self._valid is None else ~self._valid)
        if oid in _INTEGERS and (pa.types.is_integer(wanted) or pa.types.is_floating(wanted)):
            # An integer beyond 2**53 becomes the nearest double; one that no integer type holds is an error.
            return self._cast(self._plain(), wanted, safe=pa.types.is_integer(wanted))
        if oid in _FLOATS and pa.types.is_floating(wanted):
            return self._cast(self._plain(), wanted)
        if oid in _INSTANTS and wanted == TIMESTAMP:
            instants = self._instants()
            if instants is not None:
                return instants
        return _converted(self._loaded(context), field)

    @staticmethod
    def _cast(array: pa.Array, wanted: pa.DataType, *, safe: bool = True) -> pa.Array:
        return array if array.type == wanted else array.cast(wanted, safe=safe)

    def _numbers(self) -> npt.NDArray[Any]:
        return self._page.values(self._at, _FIXED[self._oid])

    def _bitmap(self, repeats: int = 1) -> pa.Buffer | None:
        """Which cells are there, as Arrow has it: a bit each, the lowest first."""
        if self._valid is None:
            return None
        valid = self._valid if repeats == 1 else np.repeat(self._valid, repeats)
        return pa.py_buffer(np.packbits(valid, bitorder="little"))

    def _plain(self) -> pa.Array:
        numbers = self._numbers()
        kind = _ARROW[numbers.dtype]
        return pa.Array.from_buffers(kind, len(numbers), [self._bitmap(), pa.py_buffer(numbers)])

    def _instants(self) -> pa.Array | None:
        """None if one of them is infinite or beyond the years that DALI can write: psycopg has the words for that."""
        instants = self._numbers()
        if self._valid is not None:
            instants[~self._valid] = 0
        outside = (instants < _FIRST_US - _EPOCH_US) | (instants > _LAST_US - _EPOCH_US)
        if outside.any():
            return None
        return pa.Array.from_buffers(TIMESTAMP, len(instants), [self._bitmap(), pa.py_buffer(instants + _EPOCH_US)])

    def _texts(self) -> pa.StringArray:
        """The page seen as cell, gap, cell, gap and so on, of which Arrow takes the cells."""
        count = len(self._at)
        bounds = np.empty(2 * count + 1, np.int64)
        bounds[0:-1:2] = self._at
        bounds[1::2] = self._at + np.maximum(self._lengths, 0)
        bounds[-1] = bounds[-2]
        buffers = [self._bitmap(repeats=2), pa.py_buffer(bounds), pa.py_buffer(self._page.bytes)]
        cells = pa.Array.from_buffers(pa.large_string(), 2 * count, buffers)
        return cells.take(pa.array(np.arange(0, 2 * count, 2))).cast(pa.string())

    def _loaded(self, context: psycopg.Connection[Any]) -> list[object]:
        load = psycopg.adapt.Transformer(context).get_loader(self._oid, Format.BINARY).load
        data = self._page.bytes
        return [
            None if length < 0 else load(data[start : start + length])
            for start, length in zip(self._at.tolist(), self._lengths.tolist(), strict=True)
        ]


def _converted(values: Sequence[object], field: pa.Field) -> pa.Array:
    """Python's values as Arrow has them. NUMERIC comes as Decimal, which only becomes a float if told so."""
    try:
        return pa.array(values, type=field.type, from_pandas=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        convert: Callable[[Any], object] = str if pa.types.is_string(field.type) else float
        if pa.types.is_integer(field.type):
            convert = int
        return pa.array([None if value is None else convert(value) for value in values], type=field.type)
