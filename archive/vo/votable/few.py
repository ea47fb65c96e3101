"""The rows of BINARY2 and BINARY for a few cells: the bytes of binary.py, made a cell at a time.

A column at a time costs each column its start, which is most of what a cone of twenty rows takes; for so few Python's
own way is quicker. Columns of arrays are left to the other way.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import pyarrow as pa

from archive.vo.arrow import TEXT, is_timestamp, shape_of
from archive.vo.cells import COUNT, NUMBERS, one
from archive.vo.columns import Column

FEW = 1_000
"""Cells, up to which this is the quicker way."""
Cell = Callable[[object], bytes]
_COUNT = one(COUNT)


def few_rows(
    columns: Sequence[Column], arrays: Sequence[pa.Array], nulls: Sequence[int], *, flags: bool
) -> bytes | None:
    """The rows, or None where a column asks for the other way. nulls: what stands for a missing integer."""
    writers = [_writer(column, null) for column, null in zip(columns, nulls, strict=True)]
    values = []
    for column, array, writer in zip(columns, arrays, writers, strict=True):
        if writer is None:
            return None
        cells = array.to_pylist()
        if column.datatype in TEXT and not _fits(column, cells):
            return None  # told apart, or refused, where many are
        values.append(cells)
    width = (len(columns) + 7) // 8
    spare = width * 8 - len(columns)
    written = []
    for row in zip(*values, strict=True):
        if flags:
            missing = 0
            for value in row:
                missing = missing << 1 | (value is None)
            written.append((missing << spare).to_bytes(width))
        written += [writer(value) for writer, value in zip(writers, row, strict=True) if writer]
    return b"".join(written)


def _fits(column: Column, cells: Sequence[str | None]) -> bool:
    """Whether each text is what its column can hold: ASCII in a char, no longer than is declared."""
    width = shape_of(column).width
    if column.datatype == "char" and not all(cell is None or cell.isascii() for cell in cells):
        return False
    return width is None or all(cell is None or len(cell.encode("utf-16-be")) <= 2 * width for cell in cells)


@lru_cache(maxsize=4096)
def _writer(column: Column, null: int) -> Cell | None:
    shape = shape_of(column)
    if shape.is_array or is_timestamp(column):
        return None
    if column.datatype == "boolean":
        return lambda value: b"?" if value is None else b"T" if value else b"F"
    if column.datatype in TEXT:
        return _text_writer(column.datatype, shape.width)
    if column.datatype == "bit" or column.datatype.endswith("Complex"):
        return None
    number = one(NUMBERS[column.datatype])
    nothing = number.pack(float("nan") if number.format in (">f", ">d") else null)
    return lambda value: nothing if value is None else number.pack(value)


def _text_writer(datatype: str, width: int | None) -> Cell:
    coding, size = ("ascii", 1) if datatype == "char" else ("utf-16-be", 2)

    def variable(value: object) -> bytes:
        data = str(value).encode(coding) if value is not None else b""
        return _COUNT.pack(len(data) // size) + data

    def fixed(value: object) -> bytes:
        return (str(value).encode(coding) if value is not None else b"").ljust((width or 0) * size, b"\0")

    return variable if width is None else fixed
