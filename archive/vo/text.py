"""Arrow columns as text, a column at a time: what TABLEDATA, CSV and TSV have in common.

Numbers keep every digit (the shortest text that reads back to the same number), timestamps are DALI's, arrays are
separated by blanks. Quoting and escaping belong to each format. Nulls stay null.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from archive.vo.arrow import TEXT, is_timestamp, shape_of
from archive.vo.columns import Column
from archive.vo.errors import ArchiveError

VOTABLE_SPELLING = {name: name for name in ("NaN", "+Inf", "-Inf")}
FIRST_INSTANT, LAST_INSTANT = -62_135_596_800_000_000, 253_402_300_799_999_999


def text_column(array: pa.Array, column: Column, spellings: Mapping[str, str] = VOTABLE_SPELLING) -> pa.StringArray:
    """The cells as VOTable writes them in a TD (VOTable 1.5 §5.1), unescaped. spellings: of NaN, +Inf and -Inf.

    array: of `arrow_type(column)`. A fixed arraysize of a timestamp cuts its fraction; text is left as it is.
    """
    if is_timestamp(column):
        return timestamps(array, shape_of(column).width)
    if column.datatype in TEXT:
        return text_array(array, column) if shape_of(column).is_array else array
    return _text(array, column, spellings)


def _text(array: pa.Array, column: Column, spellings: Mapping[str, str]) -> pa.StringArray:
    if pa.types.is_fixed_size_list(array.type) or pa.types.is_list(array.type):
        elements, offsets = offsets_of_lists(array)
        lists = pa.ListArray.from_arrays(offsets, _filled(_text(elements, column, spellings), column))
        joined = pc.binary_join(lists, " ")
        return pc.if_else(array.is_valid(), joined, pa.scalar(None, pa.string()))
    if pa.types.is_floating(array.type):
        return floats(array, spellings)
    if column.datatype == "bit":
        return array.cast(pa.uint8()).cast(pa.string())
    return array.cast(pa.string())


def offsets_of_lists(array: pa.Array) -> tuple[pa.Array, pa.Int32Array]:
    """The elements of the cells that are there, in a row, and where each cell's begin: a missing cell has none."""
    if pa.types.is_fixed_size_list(array.type):
        array = array.cast(pa.list_(array.type.value_type))
    offsets = np.concatenate([[0], np.cumsum(array.value_lengths().fill_null(0).to_numpy())])
    return array.flatten(), pa.array(offsets, pa.int32())


def _filled(elements: pa.StringArray, column: Column) -> pa.StringArray:
    return elements.fill_null(missing_element(column)) if elements.null_count else elements


def missing_element(column: Column) -> str:
    """What stands for a missing element inside an array (VOTable 1.5 §2.1): NaN, or "?" for a boolean.

    ArchiveError for the other types: VOTable has nothing to say it with, and a made-up number is worse.
    """
    if column.datatype in ("float", "double", "floatComplex", "doubleComplex"):
        return "NaN"
    if column.datatype == "boolean":
        return "?"
    raise ArchiveError(f"column {column.name}: VOTable cannot tell a missing element in an array of {column.datatype}")


def floats(array: pa.Array, spellings: Mapping[str, str] = VOTABLE_SPELLING) -> pa.StringArray:
    """Shortest text that reads back to the same float. spellings: of NaN, +Inf and -Inf."""
    text = array.cast(pa.string())
    values = array.fill_null(0).to_numpy(zero_copy_only=False)
    if np.isfinite(values).all():
        return text
    special = {"NaN": np.isnan(values), "+Inf": np.isposinf(values), "-Inf": np.isneginf(values)}
    for spelling, where in special.items():
        if where.any():
            text = pc.if_else(pa.array(where), pa.scalar(spellings[spelling]), text)
    return text


def timestamps(array: pa.TimestampArray, width: int | None = None) -> pa.StringArray:
    """DALI 1.1 §3.3.3: YYYY-MM-DDThh:mm:ss, with .SSS or .SSSSSS where the fraction is not zero, never a Z.

    array: timestamp("us"), years 1 to 9999 (ArchiveError otherwise). width: cut to that many characters (a fixed
    arraysize), so 19 leaves whole seconds.
    """
    if not len(array):
        return pa.array([], pa.string())
    instants = array.fill_null(0)
    microseconds = instants.cast(pa.int64()).to_numpy()
    if ((microseconds < FIRST_INSTANT) | (microseconds > LAST_INSTANT)).any():
        raise ArchiveError("a timestamp outside the years 1 to 9999 cannot be written as DALI does")
    # Arrow writes "YYYY-MM-DD hh:mm:ss.ffffff": always 26 characters, so all cells are one matrix.
    letters = characters(instants.cast(pa.string())).reshape(-1, 26).copy()
    letters[:, 10] = ord("T")
    lengths = np.where(microseconds % 1_000_000 == 0, 19, np.where(microseconds % 1000 == 0, 23, 26))
    if width is not None:
        lengths = np.minimum(lengths, width if width != 20 else 19)
    if array.null_count:
        lengths[array.is_null().to_numpy(zero_copy_only=False)] = 0
    data = letters[np.arange(26) < lengths[:, None]]
    offsets = np.zeros(len(array) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    text = pa.StringArray.from_buffers(len(array), pa.py_buffer(offsets), pa.py_buffer(data))
    return pc.if_else(array.is_valid(), text, pa.scalar(None, pa.string())) if array.null_count else text


def text_array(array: pa.Array, column: Column) -> pa.StringArray:
    """Arrays of strings ("8x*") as one string: each element padded with blanks to the width (VOTable 1.5 §2.2)."""
    width = shape_of(column).width
    if width is None:
        raise ArchiveError(
            f"column {column.name}: an array of strings needs a fixed length of each, not {column.arraysize}"
        )
    elements, offsets = offsets_of_lists(array)
    elements = elements.fill_null("")
    if elements and (longest := pc.max(pc.utf8_length(elements)).as_py()) > width:
        raise ArchiveError(f"column {column.name}: a string of {longest} characters, declared as {column.arraysize}")
    padded = pa.ListArray.from_arrays(offsets, pc.utf8_rpad(elements, width))
    return pc.if_else(array.is_valid(), pc.binary_join(padded, ""), pa.scalar(None, pa.string()))


def characters(array: pa.StringArray) -> npt.NDArray[np.uint8]:
    """The UTF-8 bytes of all cells in a row, without a copy."""
    _, offsets, data = array.buffers()
    if data is None or not len(array):
        return np.empty(0, np.uint8)
    bounds = np.frombuffer(offsets, np.int32)[array.offset : array.offset + len(array) + 1]
    return np.frombuffer(data, np.uint8)[bounds[0] : bounds[-1]]


def contains_any(array: pa.StringArray, which: npt.NDArray[np.bool_]) -> bool:
    """True if any byte of any cell is one of `which` (a table of 256): one pass, so that most columns need no more."""
    return bool(which[characters(array)].any())


def byte_table(*members: int) -> npt.NDArray[np.bool_]:
    """The table for `contains_any`."""
    table = np.zeros(256, np.bool_)
    table[list(members)] = True
    return table


def joined_bytes(parts: list[pa.Array | pa.Scalar]) -> memoryview:
    """Row after row, each row its parts in order: one pass of Arrow's own code, and no object for a cell.

    parts: arrays of one length, all string or all binary, without nulls; scalars repeat in every row.
    """
    separator = pa.scalar("" if pa.types.is_string(parts[0].type) else b"", parts[0].type)
    rows = pc.binary_join_element_wise(*parts, separator)
    return characters(rows).data if len(rows) else memoryview(b"")
