"""JSON: one document with its metadata, or an object a line.

A missing value is null. JSON has no NaN and no infinity: they are the strings "NaN", "Infinity" and "-Infinity", which
no number is taken for. Arrays are arrays, of several dimensions flat, the first index fastest (`arraysize` has the
shape); complex numbers are pairs.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Unpack

import pyarrow as pa
import pyarrow.compute as pc

from archive.vo.arrow import conformed, slices
from archive.vo.columns import Column
from archive.vo.formats.writing import Told, metadata, said, was_cut
from archive.vo.text import byte_table, contains_any, floats, joined_bytes, offsets_of_lists, timestamps
from archive.vo.votable import failure

# What a JSON string may not hold as it is (RFC 8259 §7).
CONTROLS = range(0x20)
SUSPECT = byte_table(*CONTROLS, *b'"\\')
SPECIAL = {"NaN": '"NaN"', "+Inf": '"Infinity"', "-Inf": '"-Infinity"'}


def write_json(columns: Sequence[Column], batches: Iterable[pa.RecordBatch], **told: Unpack[Told]) -> Iterator[bytes]:
    """{"metadata": a list of columns, "info": names and values, "data": a list of rows, "status": ..., "message": ...}.

    An info with several values has a list. The status comes last: OK, OVERFLOW, or ERROR for a failure that came when
    the document had begun.
    """
    described = [{"name": column.name, **metadata(column)} for column in columns]
    info: dict[str, list[str]] = {}
    for one in said(told):
        info.setdefault(one.name, []).append(one.value)
    told_once = {name: values if len(values) > 1 else values[0] for name, values in info.items()}
    head = json.dumps({"metadata": described, "info": told_once}, ensure_ascii=False)
    yield f'{head[:-1]}, "data": ['.encode()
    comma = 1
    status = {"status": "OK"}
    try:
        for rows in _rows(columns, batches, [",\n[", *[","] * (len(columns) - 1)], "]"):
            yield rows[comma:]  # the first row of all has none before it
            comma = 0
        if was_cut(told):
            status = {"status": "OVERFLOW", "message": "MAXREC, or the service's own limit, cut this table"}
    except Exception as error:
        if told.get("late_failures") == "raised":
            raise
        status = {"status": "ERROR", "message": failure(error).content or ""}
    yield f"\n], {json.dumps(status, ensure_ascii=False)[1:]}\n".encode()


def write_jsonl(columns: Sequence[Column], batches: Iterable[pa.RecordBatch], **_told: Unpack[Told]) -> Iterator[bytes]:
    """An object a row (JSON Lines, NDJSON): columns by name, and nothing beside them."""
    names = [f",{json.dumps(column.name, ensure_ascii=False)}:" for column in columns]
    return _rows(columns, batches, ["{" + names[0][1:], *names[1:]], "}\n")


def _rows(
    columns: Sequence[Column], batches: Iterable[pa.RecordBatch], before: Sequence[str], end: str
) -> Iterator[bytes]:
    """before: what stands before each cell of a row."""
    for batch in batches:
        for part in slices(batch):
            parts: list[pa.Array | pa.Scalar] = []
            for column, array, opening in zip(columns, conformed(part, columns), before, strict=True):
                parts += [pa.scalar(opening), values(array, column)]
            yield bytes(joined_bytes([*parts, pa.scalar(end)]))


def values(array: pa.Array, column: Column) -> pa.StringArray:
    """Each cell as a JSON value; none is missing."""
    if pa.types.is_fixed_size_list(array.type) or pa.types.is_list(array.type):
        elements, offsets = offsets_of_lists(array)
        lists = pa.ListArray.from_arrays(offsets, values(elements, column))
        text = pc.binary_join_element_wise("[", pc.binary_join(lists, ","), "]", "")
        if array.null_count:
            text = pc.if_else(array.is_valid(), text, "null")
    elif pa.types.is_floating(array.type):
        text = floats(array, SPECIAL)
    elif pa.types.is_timestamp(array.type):
        text = pc.binary_join_element_wise('"', timestamps(array), '"', "")
    elif pa.types.is_string(array.type):
        text = pc.binary_join_element_wise('"', _escaped(array), '"', "")
    else:
        text = array.cast(pa.string())
    return text.fill_null("null") if text.null_count else text


def _escaped(cells: pa.StringArray) -> pa.StringArray:
    if not contains_any(cells, SUSPECT):
        return cells
    for character, escape in (("\\", "\\\\"), ('"', '\\"')):
        cells = pc.replace_substring(cells, character, escape)
    for code in CONTROLS:
        if contains_any(cells, byte_table(code)):
            cells = pc.replace_substring(cells, chr(code), json.dumps(chr(code))[1:-1])
    return cells
