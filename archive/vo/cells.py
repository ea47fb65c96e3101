"""A column's cells as big-endian bytes: what BINARY, BINARY2 and FITS have in common.

Nothing is made for a single cell: numbers are one numpy array, text and variable arrays are Arrow's own bytes with the
offsets at which cells begin.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from archive.vo.arrow import TEXT, is_timestamp, shape_of
from archive.vo.columns import Column
from archive.vo.errors import ArchiveError
from archive.vo.text import byte_table, characters, contains_any, missing_element, text_array, timestamps

NUMBERS: dict[str, np.dtype[Any]] = {
    "unsignedByte": np.dtype("u1"),
    "short": np.dtype(">i2"),
    "int": np.dtype(">i4"),
    "long": np.dtype(">i8"),
    "float": np.dtype(">f4"),
    "double": np.dtype(">f8"),
    "floatComplex": np.dtype(">f4"),
    "doubleComplex": np.dtype(">f8"),
}
NOT_ASCII = byte_table(*range(0x80, 0x100))
COUNT = np.dtype(">i4")
_LETTERS = {"u1": "B", "i2": "h", "i4": "i", "i8": "q", "f4": "f", "f8": "d"}
Bytes = npt.NDArray[np.uint8]
Cells = npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Fixed:
    """Cells of one width: values has a row a cell, of whatever dtype goes to the wire."""

    values: npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Variable:
    """Cells of different widths: counts in elements (what the 4 bytes say), ends in bytes, data the cells in a row."""

    counts: npt.NDArray[np.integer]
    offsets: npt.NDArray[np.int32]
    data: Bytes


def one(dtype: np.dtype[Any]) -> struct.Struct:
    """What reads and writes one value of this type, big-endian."""
    return struct.Struct(f">{_LETTERS[dtype.str[1:]]}")


def packed(fields: Sequence[npt.NDArray[np.generic]]) -> Bytes:
    """Fields side by side without padding, as bytes."""
    dtype = np.dtype([(f"f{place}", field.dtype, field.shape[1:]) for place, field in enumerate(fields)])
    record = np.empty(len(fields[0]), dtype)
    for place, field in enumerate(fields):
        record[f"f{place}"] = field
    return record.view(np.uint8) if dtype.itemsize else np.empty(0, np.uint8)


def cells_of(array: pa.Array, column: Column, lossy: set[str], null: int = 0) -> Fixed | Variable:
    """A column's cells as bytes for the wire.

    A missing number is NaN or `null`, a missing boolean "?", a missing bit 0, a missing text or variable array has no
    length. lossy: takes the names of char columns whose text was not ASCII, written with "?" in its place.
    """
    shape = shape_of(column)
    if is_timestamp(column):
        return _text(timestamps(array, shape.width), column, shape.width, lossy)
    if column.datatype in TEXT:
        if shape.is_array:
            width = None if shape.width is None or shape.count is None else shape.width * shape.count
            return _text(text_array(array, column), column, width, lossy)
        return _text(array, column, shape.width, lossy)
    if not shape.is_array:
        return Fixed(_wire(array, column, null))
    if pa.types.is_fixed_size_list(array.type):
        return _fixed_list(array, column, null)
    return _list(array, column)


def _wire(values: pa.Array, column: Column, null: int = 0) -> Cells:
    """Scalars, or the elements of arrays, as the wire has them: numbers big-endian, booleans T, F and ?."""
    if column.datatype == "boolean":
        truth = values.fill_null(False).to_numpy(zero_copy_only=False)
        letters: Cells = np.where(truth, np.uint8(ord("T")), np.uint8(ord("F")))
        if values.null_count:
            letters[values.is_null().to_numpy(zero_copy_only=False)] = ord("?")
        return letters
    if column.datatype == "bit":
        bits: Bytes = values.fill_null(False).to_numpy(zero_copy_only=False).astype(np.uint8)
        return bits << 7
    wire = NUMBERS[column.datatype]
    if pa.types.is_fixed_size_list(values.type):  # complex: real and imaginary
        leaves = values.values.slice(values.offset * 2, len(values) * 2).fill_null(float("nan"))
        parts: Cells = leaves.to_numpy(zero_copy_only=False).reshape(-1, 2).astype(wire)
        return parts
    if values.null_count:
        values = values.fill_null(float("nan") if pa.types.is_floating(values.type) else null)
    numbers: Cells = values.to_numpy(zero_copy_only=False).astype(wire, copy=False)
    return numbers


def _fixed_list(array: pa.FixedSizeListArray, column: Column, null: int) -> Fixed:
    size = array.type.list_size
    elements = array.values.slice(array.offset * size, len(array) * size)
    if elements.null_count:
        _refuse_missing(array.flatten(), column)
    if array.null_count:
        # What lies in the slots of a missing array is anything.
        there = np.repeat(array.is_valid().to_numpy(zero_copy_only=False), size)
        elements = pc.if_else(pa.array(there), elements, pa.scalar(None, elements.type))
    if column.datatype == "bit":
        bits = elements.fill_null(False).to_numpy(zero_copy_only=False).reshape(len(array), size)
        return Fixed(np.packbits(bits, axis=1))
    wire = _wire(elements, column, null)
    return Fixed(wire.reshape(len(array), size, *wire.shape[1:]))


def _list(array: pa.ListArray, column: Column) -> Variable:
    elements = array.flatten()
    _refuse_missing(elements, column)
    counts = array.value_lengths().fill_null(0).to_numpy()
    if column.datatype == "bit":
        bits = elements.fill_null(False).to_numpy(zero_copy_only=False)
        # Each cell is padded to whole bytes of its own; bit arrays are rare enough for a loop.
        packed = [np.packbits(cell) for cell in np.split(bits, np.cumsum(counts)[:-1])]
        return Variable(counts, offsets_of(np.array([len(cell) for cell in packed])), np.concatenate(packed))
    wire = np.ascontiguousarray(_wire(elements, column))
    width = wire.dtype.itemsize * (wire.shape[1] if wire.ndim > 1 else 1)
    return Variable(counts, offsets_of(counts * width), wire.reshape(-1).view(np.uint8))


def _refuse_missing(elements: pa.Array, column: Column) -> None:
    if elements.null_count:
        missing_element(column)


def offsets_of(lengths: npt.NDArray[np.integer]) -> npt.NDArray[np.int32]:
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def _text(cells: pa.StringArray, column: Column, width: int | None, lossy: set[str]) -> Fixed | Variable:
    """width: characters in each cell, None if they vary."""
    if cells.null_count:
        cells = cells.fill_null("")
    if column.datatype == "char" and contains_any(cells, NOT_ASCII):
        cells = pc.replace_substring_regex(cells, "[^\\x00-\\x7f]", "?")
        lossy.add(column.name)
    lengths = pc.binary_length(cells).to_numpy()
    data, size = characters(cells), 1
    if column.datatype == "unicodeChar":
        lengths, data, size = _utf16_lengths(data, lengths), _utf16(data), 2
    offsets = offsets_of(lengths * size)
    if width is None:
        return Variable(lengths, offsets, data)
    if len(lengths) and (longest := int(lengths.max())) > width:
        raise ArchiveError(
            f"column {column.name}: a text of {longest} characters does not fit the declared arraysize "
            f"{column.arraysize or 1}; its declaration should be longer, or variable ({width}*)"
        )
    return Fixed(padded(offsets, data, width * size))


def _utf16(data: Bytes) -> Bytes:
    return np.frombuffer(data.tobytes().decode("utf-8").encode("utf-16-be"), np.uint8)


def _utf16_lengths(data: Bytes, lengths: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """UTF-16 units in each cell: one for every UTF-8 byte that begins a character, two if it begins four bytes."""
    units = ((data & 0xC0) != 0x80).astype(np.int32) + (data >= 0xF0)
    total = np.concatenate([[0], np.cumsum(units)])
    ends = np.cumsum(lengths)
    counts: npt.NDArray[np.int32] = (total[ends] - total[ends - lengths]).astype(np.int32)
    return counts


def padded(offsets: npt.NDArray[np.int32], data: Bytes, width: int) -> Bytes:
    """Cells side by side, each filled with zeros to `width` bytes: VOTable's end of a short string."""
    cells = len(offsets) - 1
    lengths = np.diff(offsets)
    if (lengths == width).all():
        return data.reshape(cells, width)
    padded = np.zeros(cells * width, np.uint8)
    shift = np.arange(cells) * width - offsets[:-1]
    padded[np.arange(len(data)) + np.repeat(shift, lengths)] = data
    return padded.reshape(cells, width)
