"""FITS binary tables as source tables: rows decoded by numpy, a chunk at a time, from plain and compressed files.

Nothing of the table is held but one chunk; only the heap of variable-length arrays asks for random access, and then a
compressed file is first unpacked beside. Which HDU is wanted is the caller's to say. Source: FITS 4.0 §7.3.
"""

import os
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
from astropy.io import fits
from numpy.typing import NDArray

from archive.vo.errors import UsageError
from archive.vo.tables.opening import is_packed, opened
from archive.vo.tables.source import LeftOut, SourceColumn, SourceTable, arrow_type

_FORM = re.compile(r"^(?P<repeat>\d*)(?P<code>[LXBIJKAEDCMPQ])(?P<rest>.*)$")
_NUMPY = {"L": "S1", "B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8", "C": ">c8", "M": ">c16"}
_VOTABLE = {"L": "boolean", "X": "bit", "B": "unsignedByte", "I": "short", "J": "int", "K": "long", "E": "float",
            "D": "double", "C": "floatComplex", "M": "doubleComplex", "A": "char"}  # fmt: skip
# TZERO that makes FITS's signed integers unsigned and its bytes signed (FITS 4.0 §7.3.2 table 19): the type that holds
# the result. 64-bit unsigned numbers beyond 2**63 - 1 have no VOTable type and are refused when met.
_SHIFTED = {("B", -128): "short", ("I", 2**15): "int", ("J", 2**31): "long", ("K", 2**63): "long"}


@dataclass(frozen=True, slots=True)
class _Field:
    """How one column lies in a row: offset and width in bytes, the numbers of FITS 4.0 §7.3.2."""

    column: SourceColumn
    offset: int
    width: int
    repeat: int
    code: str
    variable: str | None  # "P" or "Q" where the cells are descriptors of the heap
    scale: float
    zero: float
    null: int | None


def source_table(path: Path, hdu: int) -> SourceTable:
    """The binary table in HDU number `hdu`; UsageError where a TFORM is none of FITS's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(path, memmap=False) as hdus:
            header = hdus[hdu].header.copy()
            primary = hdus[0].header.copy()
            start = hdus[hdu].fileinfo()["datLoc"]
    fields, left_out = _fields(header)
    rows, width, gap = int(header["NAXIS2"]), int(header["NAXIS1"]), header.get("THEAP")
    heap = start + (int(gap) if gap is not None else rows * width)
    if not is_packed(path) and start + rows * width > (size := path.stat().st_size):
        # Before any room is made for rows that are not there.
        raise UsageError(f"{path.name}: the table ends in row {(size - start) // max(width, 1)} of {rows}")

    def read(chunk_rows: int, columns: Sequence[int] | None = None) -> Iterator[list[pa.Array]]:
        wanted = fields if columns is None else [fields[index] for index in columns]
        with opened(path, seekable=any(field.variable for field in wanted)) as file:
            file.seek(start)
            for first in range(0, rows, chunk_rows):
                count = min(chunk_rows, rows - first)
                file.seek(start + first * width)
                raw = file.read(count * width)
                if len(raw) < count * width:
                    raise UsageError(f"{path.name}: the table ends in row {first + len(raw) // width} of {rows}")
                cells = np.frombuffer(raw, np.uint8).reshape(count, width)
                yield [_array(field, cells, file, heap) for field in wanted]

    frame = header.get("RADESYS") or header.get("RADECSYS") or primary.get("RADESYS") or primary.get("RADECSYS")
    return SourceTable(
        columns=tuple(field.column for field in fields),
        rows=rows,
        read=read,
        title=_text(header.get("TITLE") or primary.get("TITLE")),
        description=_text(header.get("DESCRIP") or primary.get("DESCRIP") or header.get("EXTNAME")),
        frame=_text(frame),
        equinox=_number(header.get("EQUINOX", primary.get("EQUINOX"))),
        left_out=tuple(left_out),
    )


def _text(value: object) -> str | None:
    return str(value).strip() or None if value is not None else None


def _number(value: object) -> float | None:
    try:
        return float(value) if value is not None else None  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None


def _fields(header: fits.Header) -> tuple[list[_Field], list[LeftOut]]:
    fields: list[_Field] = []
    left_out: list[LeftOut] = []
    offset = 0
    for number in range(1, int(header["TFIELDS"]) + 1):
        field = _field(header, number, offset)
        offset += field.width
        name = field.column.name
        if field.code in "CM":
            why = "complex numbers have no type in a database"
            left_out.append(LeftOut(name, why, "write real and imaginary parts as two columns"))
        elif field.repeat == 0 and field.variable is None:
            left_out.append(LeftOut(name, "repeat 0 in TFORM: an empty column is left out", empty=True))
        else:
            fields.append(field)
    if offset != header["NAXIS1"]:
        raise UsageError(f"the TFORMs take {offset} bytes a row, NAXIS1 says {header['NAXIS1']}: one of them is wrong")
    return fields, left_out


def _field(header: fits.Header, number: int, offset: int) -> _Field:
    form = str(header[f"TFORM{number}"]).strip()
    match = _FORM.match(form)
    if match is None:
        raise UsageError(f"TFORM{number} = {form!r} is no binary table format (FITS 4.0 table 18)")
    repeat, code, variable = int(match["repeat"] or 1), match["code"], None
    if code in "PQ":
        variable, code = code, match["rest"][:1]
        if code not in _VOTABLE:
            raise UsageError(f"TFORM{number} = {form!r}: a descriptor of what?")
        width = repeat * (8 if variable == "P" else 16)
    else:
        width = -(-repeat // 8) if code == "X" else repeat * (1 if code == "A" else np.dtype(_NUMPY[code]).itemsize)
    scale, zero = float(header.get(f"TSCAL{number}", 1)), float(header.get(f"TZERO{number}", 0))
    null = header.get(f"TNULL{number}")
    datatype = _VOTABLE[code]
    if (scale, zero) != (1.0, 0.0) and code in "BIJKED":
        shifted = _SHIFTED.get((code, int(zero))) if scale == 1 and zero == int(zero) else None
        datatype = shifted or ("float" if code == "E" else "double")
    # Of a complex column only the name is needed.
    column = SourceColumn(
        name=str(header.get(f"TTYPE{number}", f"col{number}")).strip() or f"col{number}",
        datatype=datatype,
        arraysize=_arraysize(header, number, code, repeat, match["rest"], variable),
        unit=_text(header.get(f"TUNIT{number}")),
        ucd=_text(header.get(f"TUCD{number}")),
        utype=_text(header.get(f"TUTYP{number}")),
        description=_comment(header, number),
    )
    return _Field(column, offset, width, repeat, code, variable, scale, zero, int(null) if null is not None else None)


def _comment(header: fits.Header, number: int) -> str | None:
    told = _text(header.get(f"TCOMM{number}")) or _text(header.get(f"TDESC{number}"))
    comment = header.comments[f"TTYPE{number}"].strip() if f"TTYPE{number}" in header else ""
    # CFITSIO writes "label for field 3" for want of anything better.
    return told or (comment if comment and not re.match(r"label for field", comment, re.IGNORECASE) else None)


def _arraysize(header: fits.Header, number: int, code: str, repeat: int, rest: str, variable: str | None) -> str | None:
    if code == "A":
        # rAw, r characters in strings of w, is a convention; TDIM of text would be an array of strings: one text.
        return "*" if variable else (f"{repeat}*" if repeat > 1 else "1")
    if variable:
        return "*"
    dimensions = re.findall(r"\d+", str(header.get(f"TDIM{number}", "")))
    if len(dimensions) > 1 and np.prod([int(size) for size in dimensions]) == repeat:
        return "x".join(dimensions)
    return None if repeat == 1 else str(repeat)


def _array(field: _Field, cells: NDArray[np.uint8], file: IO[bytes], heap: int) -> pa.Array:
    """The column's cells, uint8 of shape (rows, width of the row), as one Arrow array."""
    raw = np.ascontiguousarray(cells[:, field.offset : field.offset + field.width])
    if field.variable:
        return _variable(field, raw, file, heap)
    rows = len(raw)
    if field.code == "A":
        return _strings(raw)
    values, missing = _values(field, raw.reshape(-1), rows * field.repeat)
    flat = pa.array(values, mask=missing if missing is not None and missing.any() else None)
    flat = flat.cast(arrow_type(field.column.datatype, None))
    if field.column.arraysize is None:
        return flat
    offsets = pa.array(np.arange(rows + 1, dtype=np.int32) * field.repeat)
    return pa.ListArray.from_arrays(offsets, flat)


def _strings(raw: NDArray[np.uint8]) -> pa.Array:
    """Text ends at the first NUL; trailing blanks are padding; a NUL at the start is a null string (§7.3.3.1)."""
    if raw.shape[1] == 0:
        return pa.nulls(len(raw), pa.string())
    texts = raw.view(f"S{raw.shape[1]}").reshape(-1)
    words = [bytes(text).split(b"\x00", 1)[0].decode("utf-8", "replace").strip() for text in texts]
    return pa.array(words, pa.string(), mask=raw[:, 0] == 0)


def _values(field: _Field, raw: NDArray[np.uint8], count: int) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """`count` numbers from bytes, and which of them are null (None: the type has no nulls here)."""
    if field.code == "X":
        bits = np.unpackbits(raw.reshape(-1, -(-field.repeat // 8)), axis=1)[:, : field.repeat]
        return bits.reshape(-1).astype(bool), None
    if field.code == "L":
        letters = raw[:count]
        return letters == ord("T"), (letters != ord("T")) & (letters != ord("F"))
    stored = raw.view(_NUMPY[field.code])
    native = stored.astype(stored.dtype.newbyteorder("="))
    missing = native == field.null if field.null is not None and field.code in "BIJK" else None
    if (field.scale, field.zero) == (1.0, 0.0):
        return native, missing
    if field.column.datatype in ("short", "int", "long"):
        if field.code == "K":
            if (native >= 0).any():
                raise UsageError(
                    f"column {field.column.name} has unsigned numbers beyond 2**63 - 1: no type holds them"
                )
            return native ^ np.int64(-(2**63)), missing
        return native.astype(np.int64) + int(field.zero), missing
    return native.astype(np.float64) * field.scale + field.zero, missing


def _variable(field: _Field, raw: NDArray[np.uint8], file: IO[bytes], heap: int) -> pa.Array:
    """Cells that are descriptors (length, offset) of arrays in the heap (§7.3.5)."""
    descriptors = raw.view(">i4" if field.variable == "P" else ">i8").reshape(len(raw), -1, 2)
    cells: list[Any] = []
    end = os.fstat(file.fileno()).st_size
    size = 1 if field.code in "AX" else np.dtype(_NUMPY[field.code]).itemsize
    for length, offset in descriptors[:, 0]:
        at, count = heap + int(offset), int(length)
        wanted = -(-count // 8) if field.code == "X" else count * size
        if offset < 0 or count < 0 or at + wanted > end:
            raise UsageError(f"column {field.column.name} points to bytes that are not in the file")
        file.seek(at)
        data = np.frombuffer(file.read(wanted), np.uint8)
        if field.code == "A":
            cells.append(data.tobytes().split(b"\x00", 1)[0].decode("utf-8", "replace").strip())
            continue
        one = _Field(field.column, 0, 0, max(count, 1), field.code, None, field.scale, field.zero, field.null)
        values, missing = _values(one, data, count) if count else (np.empty(0), None)
        listed = values.tolist()
        cells.append([None if missing is not None and missing[i] else v for i, v in enumerate(listed)])
    return pa.array(cells, arrow_type(field.column.datatype, field.column.arraysize))
