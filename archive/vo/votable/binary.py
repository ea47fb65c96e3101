"""BINARY2 and BINARY: rows as big-endian bytes in base64 (VOTable 1.5 §5.4, §5.3), composed a column at a time.

A row is flag bytes (one bit a column, the first column the highest bit: 1 is "missing"), then the cells; a variable
array is preceded by its 4-byte count. BINARY has no flags: an integer that VALUES names stands for what is missing.
Consecutive columns of fixed width become one numpy structured array, a "segment"; columns of variable width are Arrow
binaries. Arrow then concatenates segments and binaries row by row in one pass of C++: no Python object for a cell, and
no index array for a byte.

A char is one byte of ASCII until VOTable 1.6 (VOT-09), and astropy, so pyvo, refuses a whole table for one byte that is
not. What is not ASCII in a char column is therefore written as "?", and the document says so after its table. Columns
that may hold such text are declared unicodeChar (big-endian UTF-16); TABLEDATA carries it in either.
"""

import binascii
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from archive.vo.arrow import conformed
from archive.vo.cells import COUNT, Bytes, Fixed, cells_of, packed
from archive.vo.columns import Column
from archive.vo.text import joined_bytes
from archive.vo.votable.few import FEW, few_rows
from archive.vo.votable.info import Info

# BINARY's integers for what is missing; a table is begun before anyone knows which are free.
NULLS = {"unsignedByte": 255, "short": -(2**15), "int": -(2**31), "long": -(2**63)}


class Binary2:
    """Writes the BINARY2 element."""

    opening = b'<BINARY2><STREAM encoding="base64">\n'
    closing = b"</STREAM></BINARY2>\n"

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._lossy: set[str] = set()
        self._carry = b""  # Base64 takes three bytes at a time: what is left over waits for the next rows.

    def encode(self, batch: pa.RecordBatch) -> bytes:
        """The base64 of a batch; ArchiveError if a value is not what its column declares."""
        data = self._rows(batch)
        head = min(-len(self._carry) % 3, len(data))
        first = self._carry + bytes(data[:head])
        end = head + (len(data) - head) // 3 * 3
        if len(first) % 3:
            self._carry = first
            return b""
        self._carry = bytes(data[end:])
        return binascii.b2a_base64(first, newline=False) + binascii.b2a_base64(data[head:end])

    def _rows(self, batch: pa.RecordBatch) -> memoryview:
        return rows(self._columns, batch, self._lossy)

    def notes(self) -> tuple[Info, ...]:
        """What a reader should know of the rows written so far."""
        return tuple(
            Info(
                "WARNING",
                f"non-ASCII text in {name}",
                f'Characters of column {name} that are not ASCII are "?" here; RESPONSEFORMAT=votable/td has them.',
            )
            for name in sorted(self._lossy)
        )

    def finish(self) -> bytes:
        """The end of the element, after the last row that could be written."""
        return binascii.b2a_base64(self._carry) + self.closing


class Binary(Binary2):
    """Writes the BINARY element, for readers that know no BINARY2."""

    opening = b'<BINARY><STREAM encoding="base64">\n'
    closing = b"</STREAM></BINARY>\n"

    def __init__(self, columns: Sequence[Column]) -> None:
        super().__init__(columns)
        self._ambiguous: set[str] = set()

    def _rows(self, batch: pa.RecordBatch) -> memoryview:
        for column, array in zip(self._columns, conformed(batch, self._columns), strict=True):
            null = NULLS.get(column.datatype)
            if null is not None and column.name not in self._ambiguous:
                values = array if pa.types.is_integer(array.type) else array.flatten()
                if pc.any(pc.equal(values, pa.scalar(null, values.type))).as_py():
                    self._ambiguous.add(column.name)
            elif column.datatype == "bit" and array.null_count:
                self._ambiguous.add(column.name)
        return rows(self._columns, batch, self._lossy, flags=False)

    def notes(self) -> tuple[Info, ...]:
        """BINARY2's, and where a value cannot be told from a missing one."""
        ambiguous = (
            Info(
                "WARNING",
                f"missing values in {name}",
                f"In column {name} BINARY cannot tell a missing value from one that is there; BINARY2 can "
                "(RESPONSEFORMAT=votable/b2).",
            )
            for name in sorted(self._ambiguous)
        )
        return (*super().notes(), *ambiguous)


def rows(columns: Sequence[Column], batch: pa.RecordBatch, lossy: set[str], *, flags: bool = True) -> memoryview:
    """The rows of one batch, as they go to the wire before base64.

    lossy: takes names of char columns not in ASCII. flags: BINARY2's; without them NULLS stand in the cells.
    """
    arrays = conformed(batch, columns)
    nulls = [0 if flags else NULLS.get(column.datatype, 0) for column in columns]
    if batch.num_rows * len(columns) <= FEW:
        few = few_rows(columns, arrays, nulls, flags=flags)
        if few is not None:
            return memoryview(few)
    segment: list[npt.NDArray[np.generic]] = [_flags(arrays, batch.num_rows)] if flags else []
    parts: list[pa.Array] = []
    for column, array, null in zip(columns, arrays, nulls, strict=True):
        cells = cells_of(array, column, lossy, null)
        if isinstance(cells, Fixed):
            segment.append(cells.values)
        else:
            segment.append(cells.counts.astype(COUNT))
            parts += [_segment(segment), _binary(cells.offsets, cells.data)]
            segment = []
    if not parts:
        return packed(segment).data
    if segment:
        parts.append(_segment(segment))
    return joined_bytes(parts)


def _flags(arrays: Sequence[pa.Array], rows: int) -> Bytes:
    width = (len(arrays) + 7) // 8
    if not any(array.null_count for array in arrays):
        return np.zeros((rows, width), np.uint8)
    missing = np.zeros((rows, len(arrays)), np.bool_)
    for place, array in enumerate(arrays):
        if array.null_count:
            missing[:, place] = array.is_null().to_numpy(zero_copy_only=False)
    return np.packbits(missing, axis=1)


def _segment(fields: Sequence[npt.NDArray[np.generic]]) -> pa.Array:
    data = packed(fields)
    rows = len(fields[0])
    width = len(data) // max(1, rows)
    return _binary(np.arange(rows + 1, dtype=np.int32) * np.int32(width), data)


def _binary(offsets: npt.NDArray[np.int32], data: Bytes) -> pa.Array:
    buffers = [None, pa.py_buffer(np.ascontiguousarray(offsets)), pa.py_buffer(np.ascontiguousarray(data))]
    return pa.Array.from_buffers(pa.binary(), len(offsets) - 1, buffers)
