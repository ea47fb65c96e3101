"""Cells of a VOTable, as text or as bytes, to Arrow columns: the reverse of tabledata.py and binary2.py.

Which Arrow type a column has is said in archive.vo.arrow. Where the cells come from is in reading.py.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from archive.vo.arrow import PRIMITIVES, TEXT, TIMESTAMP, arrow_type, is_timestamp, shape_of
from archive.vo.cells import NUMBERS
from archive.vo.columns import Column
from archive.vo.errors import TooLargeError, UsageError

# DALI 1.1 §3.3.3, without the leap second and what is finer than a microsecond: Arrow cannot hold those.
TIMESTAMP_TEXT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-5][0-9](\.[0-9]{1,6})?Z?)?$"
TRUE, FALSE, UNKNOWN = ("t", "1", "true"), ("f", "0", "false"), ("", "?")
INTEGERS = frozenset({"unsignedByte", "short", "int", "long"})
Bytes = npt.NDArray[np.uint8]
Counts = npt.NDArray[np.int64]


def text_columns(
    rows: Sequence[Sequence[str]], columns: Sequence[Column], nulls: Sequence[str | None]
) -> list[pa.Array]:
    """TABLEDATA's cells, row by row, as columns. UsageError names the column and what it does not take."""
    cells: Iterable[Sequence[str]] = zip(*rows, strict=True) if rows else ([] for _ in columns)
    return [
        _text_column(pa.array(column_cells, pa.string()), column, null)
        for column_cells, column, null in zip(cells, columns, nulls, strict=True)
    ]


def _text_column(cells: pa.StringArray, column: Column, null: str | None) -> pa.Array:
    shape = shape_of(column)
    if column.datatype in TEXT:
        text = _missing_if(cells, pc.equal(cells, ""))
        return _strings(text, column)
    cells = pc.utf8_trim_whitespace(cells)
    cells = _missing_if(cells, pc.equal(cells, ""))
    parts = 2 if "Complex" in column.datatype else 1
    if not shape.is_array and parts == 1:
        return _scalars(cells, column, null)
    if column.datatype == "bit":
        cells = pc.replace_substring_regex(cells, r"([01])", r"\1 ")
    words = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(cells))
    elements = _scalars(words.flatten(), column, null)
    return _arrays(elements, words.value_lengths().fill_null(0).to_numpy(), cells.is_valid(), column)


def _missing_if(cells: pa.Array, where: pa.BooleanArray) -> pa.Array:
    return pc.if_else(where, pa.scalar(None, cells.type), cells)


def _scalars(words: pa.StringArray, column: Column, null: str | None) -> pa.Array:
    """Trimmed words, each one number or truth value, as Arrow; parts of complex numbers as floats."""
    if column.datatype in ("boolean", "bit"):
        return _booleans(words, column)
    wanted = PRIMITIVES[column.datatype]
    if "Complex" in column.datatype:
        wanted = wanted.value_type
    if null is not None and column.datatype in INTEGERS:
        words = _missing_if(words, pc.equal(words, null))
    words = pc.replace_substring_regex(words, r"^\+", "")
    if column.datatype in INTEGERS and pc.any(pc.match_substring_regex(words, "^-?0[xX]")).as_py():
        words = pa.array([None if word is None else _decimal(word) for word in words.to_pylist()], pa.string())
    try:
        return words.cast(wanted)
    except pa.ArrowInvalid as error:
        raise UsageError(f"column {column.name} of the upload, {column.datatype}: {error}") from None


def _decimal(word: str) -> str:
    """VOTable 1.5 §5.1 lets integers be hexadecimal."""
    return str(int(word, 16)) if word.lower().startswith(("0x", "-0x")) else word


def _booleans(words: pa.StringArray, column: Column) -> pa.Array:
    lower = pc.utf8_lower(words)
    true = pc.is_in(lower, pa.array(TRUE))
    unknown = pc.or_(pc.is_in(lower, pa.array(UNKNOWN)), words.is_null())
    known = pc.or_(pc.or_(true, unknown), pc.is_in(lower, pa.array(FALSE)))
    if not pc.all(known, min_count=0).as_py():
        wrong = words.filter(pc.invert(known))[0].as_py()
        raise UsageError(f"column {column.name} of the upload, {column.datatype}: {wrong!r} is neither true nor false")
    return _missing_if(true, unknown)


def _arrays(elements: pa.Array, lengths: Counts, valid: pa.BooleanArray, column: Column) -> pa.Array:
    """Elements in a row to a column of arrays, or of complex numbers. lengths: words of each cell."""
    shape = shape_of(column)
    if "Complex" in column.datatype:
        if (lengths % 2).any():
            raise UsageError(f"column {column.name} of the upload: a complex number has two parts")
        elements, lengths = pa.FixedSizeListArray.from_arrays(elements, 2), lengths // 2
    present = valid.to_numpy(zero_copy_only=False)
    if shape.count is not None and (wrong := lengths[present & (lengths != shape.count)]).size:
        raise UsageError(
            f"column {column.name} of the upload: a cell has {wrong[0]} elements, its arraysize says {shape.count}"
        )
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
    if not shape.is_array:  # one complex number a cell
        index = _missing_if(pa.array(offsets.to_numpy()[:-1]), pc.invert(valid))
        return elements.take(index)
    lists = pa.ListArray.from_arrays(offsets, elements)
    return _missing_if(lists, pc.invert(valid)).cast(arrow_type(column))


def _strings(text: pa.StringArray, column: Column) -> pa.Array:
    """Text to strings, to timestamps where all are, or to arrays of strings."""
    shape = shape_of(column)
    if shape.is_array:
        if shape.width is None:
            raise UsageError(f"column {column.name} of the upload: {column.arraysize} has strings of no fixed length")
        width = max(1, shape.width)
        cells = [
            None if cell is None else [cell[at : at + width].rstrip(" \0") for at in range(0, len(cell), width)]
            for cell in text.to_pylist()
        ]
        if shape.count is not None:
            cells = [cell and (cell + [""] * shape.count)[: shape.count] for cell in cells]
        return pa.array(cells, arrow_type(column))
    if not is_timestamp(column):
        return text
    trimmed = pc.utf8_trim_whitespace(text)
    trimmed = _missing_if(trimmed, pc.equal(trimmed, ""))
    if pc.all(pc.match_substring_regex(trimmed, TIMESTAMP_TEXT), min_count=0).as_py():
        try:
            return pc.replace_substring(trimmed, "Z", "").cast(TIMESTAMP)
        except pa.ArrowInvalid:
            return text  # the form is right and the day is none, such as 31 February
    return text


# Bytes


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a column lies in a row. unit: bytes of an element; count: elements, None if the row says (4 bytes)."""

    unit: int
    count: int | None

    def size(self, count: int) -> int:
        """Bytes of so many elements; bits are packed."""
        return (count + 7) // 8 if self.unit == 0 else count * self.unit


def _layout(column: Column) -> _Layout:
    shape = shape_of(column)
    if column.datatype in TEXT:
        unit = 1 if column.datatype == "char" else 2
        if shape.is_array:
            known = shape.width is not None and shape.count is not None
            return _Layout(unit, (shape.width or 0) * (shape.count or 0) if known else None)
        return _Layout(unit, shape.width)
    if column.datatype == "bit":
        return _Layout(0, shape.count)
    unit = 1 if column.datatype == "boolean" else NUMBERS[column.datatype].itemsize
    return _Layout(unit * 2 if "Complex" in column.datatype else unit, shape.count)


def binary_columns(
    data: bytes, columns: Sequence[Column], nulls: Sequence[str | None], *, flags: bool, max_rows: int
) -> list[pa.Array]:
    """The cells of BINARY, or with flags of BINARY2 (VOTable 1.5 §5.3, §5.4). UsageError if the bytes end too early."""
    layouts = [_layout(column) for column in columns]
    flag_bytes = (len(columns) + 7) // 8 if flags else 0
    starts, counts = _places(data, layouts, flag_bytes, max_rows)
    raw = np.frombuffer(data, np.uint8)
    missing = np.zeros((len(starts), len(columns)), np.bool_)
    if flags and len(starts):
        rows = starts[:, 0] - flag_bytes - np.array([0 if layouts[0].count is not None else 4])
        missing = np.unpackbits(raw[rows[:, None] + np.arange(flag_bytes)], axis=1)[:, : len(columns)].astype(np.bool_)
    arrays = []
    for place, (column, layout, null) in enumerate(zip(columns, layouts, nulls, strict=True)):
        lengths = counts[:, place]
        absent = missing[:, place]
        if not flags and layout.count is None:
            absent = absent | (lengths == 0)
        sizes = (lengths + 7) // 8 if layout.unit == 0 else lengths * layout.unit
        cells = _gathered(raw, starts[:, place], sizes)
        arrays.append(_binary_column(cells, sizes, lengths, pa.array(~absent), column, null if not flags else None))
    return arrays


def _places(data: bytes, layouts: Sequence[_Layout], flag_bytes: int, max_rows: int) -> tuple[Counts, Counts]:
    """Where each cell begins and how many elements it has; arrays of (rows, columns)."""
    if all(layout.count is not None for layout in layouts):
        return _fixed_places(data, layouts, flag_bytes, max_rows)
    count_of = struct.Struct(">i").unpack_from
    starts: list[list[int]] = []
    counts: list[list[int]] = []
    at, end = 0, len(data)
    while at < end:
        if len(starts) >= max_rows:
            raise TooLargeError(f"the uploaded table has more than {max_rows} rows, which is the limit here")
        at += flag_bytes
        row_starts, row_counts = [], []
        for layout in layouts:
            count = layout.count
            if count is None:
                if at + 4 > end:
                    raise _ended(len(starts))
                (count,) = count_of(data, at)
                at += 4
                if count < 0:
                    raise UsageError(f"row {len(starts) + 1} of the upload has an array of {count} elements")
            row_starts.append(at)
            row_counts.append(count)
            at += layout.size(count)
        if at > end:
            raise _ended(len(starts))
        starts.append(row_starts)
        counts.append(row_counts)
    shape = (len(starts), len(layouts))
    return np.array(starts, np.int64).reshape(shape), np.array(counts, np.int64).reshape(shape)


def _fixed_places(data: bytes, layouts: Sequence[_Layout], flag_bytes: int, max_rows: int) -> tuple[Counts, Counts]:
    counts = np.array([layout.count or 0 for layout in layouts], np.int64)
    sizes = np.array([layout.size(layout.count or 0) for layout in layouts], np.int64)
    width = flag_bytes + int(sizes.sum())
    rows, left = divmod(len(data), width) if width else (0, len(data))
    if left:
        raise _ended(rows)
    if rows > max_rows:
        raise TooLargeError(f"the uploaded table has more than {max_rows} rows, which is the limit here")
    offsets = flag_bytes + np.concatenate([[0], np.cumsum(sizes)[:-1]])
    return np.arange(rows, dtype=np.int64)[:, None] * width + offsets, np.tile(counts, (rows, 1))


def _ended(row: int) -> UsageError:
    return UsageError(f"the data of the uploaded VOTable end within row {row + 1}: it did not arrive whole")


def _gathered(raw: Bytes, starts: Counts, sizes: Counts) -> Bytes:
    """The bytes of all cells in a row."""
    ends = np.cumsum(sizes)
    total = int(ends[-1]) if len(ends) else 0
    return raw[np.repeat(starts - (ends - sizes), sizes) + np.arange(total)]


def _binary_column(
    cells: Bytes, sizes: Counts, lengths: Counts, valid: pa.BooleanArray, column: Column, null: str | None
) -> pa.Array:
    shape = shape_of(column)
    if column.datatype in TEXT:
        return _strings(_decoded(cells, sizes, valid, column), column)
    if column.datatype == "bit" and not shape.is_array:
        elements = pa.array(cells != 0)
    elif column.datatype == "bit":
        bits = np.unpackbits(cells).astype(np.bool_)
        # Each cell is padded to whole bytes: its own bits are the first of them.
        room = sizes * 8
        within = np.arange(len(bits)) - np.repeat(np.cumsum(room) - room, room)
        elements = pa.array(bits[within < np.repeat(lengths, room)])
    elif column.datatype == "boolean":
        elements = _booleans(pa.array([chr(letter).strip("\0 ") for letter in cells.tolist()], pa.string()), column)
    else:
        wire = NUMBERS[column.datatype]
        numbers = np.frombuffer(cells.tobytes(), wire)
        elements = pa.array(numbers.astype(wire.newbyteorder("=")))
        if null is not None and column.datatype in INTEGERS:
            elements = _missing_if(elements, pc.equal(elements, _scalars(pa.array([null]), column, None)[0]))
    if "Complex" in column.datatype:
        return _arrays(elements, lengths * 2, valid, column)
    return _arrays(elements, lengths, valid, column) if shape.is_array else _missing_if(elements, pc.invert(valid))


def _decoded(cells: Bytes, sizes: Counts, valid: pa.BooleanArray, column: Column) -> pa.StringArray:
    """Text ends at its first NUL. A char is ASCII by VOTable 1.5; UTF-8 is read too, else Latin-1."""
    data, at = cells.tobytes(), 0
    texts: list[str | None] = []
    for size, present in zip(sizes.tolist(), valid.to_pylist(), strict=True):
        cell = data[at : at + size]
        at += size
        if not present:
            texts.append(None)
        elif column.datatype == "unicodeChar":
            texts.append(cell.decode("utf-16-be", "replace").partition("\0")[0])
        else:
            texts.append(_char(cell.partition(b"\0")[0]))
    return pa.array(texts, pa.string())


def _char(cell: bytes) -> str:
    try:
        return cell.decode("utf-8")
    except UnicodeDecodeError:
        return cell.decode("latin-1")
