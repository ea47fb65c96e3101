"""VOTables as source tables: TABLEDATA read as a stream, a chunk of rows at a time; BINARY and FITS through astropy.

Source: VOTable 1.5. Writing VOTables, and reading what a TAP client uploads, is archive.vo.votable's.
"""

import math
import warnings
from collections.abc import Iterator, Sequence
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
from astropy.io.votable import parse_single_table

from archive.vo.columns import DATATYPES
from archive.vo.errors import UsageError
from archive.vo.origin import ITEMS, Origin
from archive.vo.tables.opening import opened
from archive.vo.tables.source import LeftOut, NoTableError, SourceColumn, SourceTable, arrow_type

_INTEGERS = frozenset({"unsignedByte", "short", "int", "long"})


def source_table(path: Path, *, maximum_binary_bytes: int = 512 * 2**20) -> SourceTable:
    """The first TABLE of a VOTable file, plain or compressed.

    maximum_binary_bytes: a BINARY, BINARY2 or FITS stream is read into memory; beyond this file size it is refused.
    Raises NoTableError without a TABLE, UsageError on broken XML.
    """
    fields, nulls, about, serialisation = _head(path)
    left_out = tuple(
        LeftOut(field.name, f"a column of type {field.datatype} is not published", "split it into two")
        for field in fields
        if field.datatype in ("floatComplex", "doubleComplex")
    )
    kept = [index for index, field in enumerate(fields) if "Complex" not in field.datatype]
    told = tuple(fields[index] for index in kept)
    if serialisation == "TABLEDATA":

        def read(chunk_rows: int, columns: Sequence[int] | None = None) -> Iterator[list[pa.Array]]:
            wanted = kept if columns is None else [kept[index] for index in columns]
            for rows in _chunks(path, chunk_rows):
                yield [
                    _column(fields[index], [row[index] if index < len(row) else None for row in rows], nulls[index])
                    for index in wanted
                ]

    else:
        if path.stat().st_size > maximum_binary_bytes:
            raise UsageError(
                f"{path.name} is a {serialisation} VOTable of {path.stat().st_size} bytes, more than the "
                f"{maximum_binary_bytes} that are read into memory: convert it to FITS or Parquet"
            )

        def read(chunk_rows: int, columns: Sequence[int] | None = None) -> Iterator[list[pa.Array]]:
            wanted = kept if columns is None else [kept[index] for index in columns]
            yield from _binary(path, [fields[index] for index in wanted], wanted, chunk_rows)

    return SourceTable(told, None, read, about.get("name"), about.get("description"), about.get("system"),
                       left_out=left_out, origin=Origin.from_items(about))  # fmt: skip


@lru_cache(maxsize=64)
def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _head(path: Path) -> tuple[list[SourceColumn], list[str | None], dict[str, str], str]:
    try:
        with opened(path) as file:
            events = ElementTree.iterparse(file, events=("start", "end"))
            fields, nulls, about = _fields(events)
            if not fields:
                raise NoTableError(f"{path.name} is a VOTable without a TABLE: nothing to publish")
            serialisation = "TABLEDATA"
            for event, element in events:
                if event == "start" and _local(element.tag) in ("TABLEDATA", "BINARY", "BINARY2", "FITS"):
                    serialisation = _local(element.tag)
                    break
    except ElementTree.ParseError as error:
        raise UsageError(f"{path.name} is no well-formed VOTable: {error}") from None
    return fields, nulls, about, serialisation


def _fields(events: Any) -> tuple[list[SourceColumn], list[str | None], dict[str, str]]:
    """Read events until the first TABLE's DATA begins or the TABLE ends."""
    fields: list[SourceColumn] = []
    nulls: list[str | None] = []
    about: dict[str, str] = {}
    inside = False
    for event, element in events:
        tag = _local(element.tag)
        if event == "start":
            if tag == "TABLE":
                inside = True
                about["name"] = element.get("name") or element.get("ID") or ""
            elif tag == "DATA" and inside:
                break
            elif tag == "COOSYS" and element.get("system"):
                about["system"] = {"eq_FK5": "FK5", "eq_FK4": "FK4"}.get(element.get("system"), element.get("system"))
            continue
        if tag == "FIELD" and inside:
            fields.append(_field(element))
            values = next((child for child in element if _local(child.tag) == "VALUES"), None)
            nulls.append(values.get("null") if values is not None else None)
        elif tag == "INFO" and not fields and element.get("name", "").lower() in ITEMS:
            name = element.get("name").lower()  # Data Origin in the VO: as VizieR's answers have it; may be repeated
            about[name] = "; ".join(filter(None, (about.get(name), element.get("value"))))
        elif tag == "DESCRIPTION" and inside and not fields and "description" not in about:
            about["description"] = " ".join((element.text or "").split())
        elif tag == "TABLE":
            break
    return fields, nulls, about


def _field(element: Any) -> SourceColumn:
    datatype = element.get("datatype", "char")
    if datatype not in DATATYPES:
        raise UsageError(f"FIELD {element.get('name')}: {datatype!r} is no VOTable datatype")
    description = next((child.text for child in element if _local(child.tag) == "DESCRIPTION"), None)
    arraysize = element.get("arraysize")
    if datatype in ("char", "unicodeChar"):
        arraysize = "1" if arraysize is None else "*" if "x" in arraysize else arraysize
    return SourceColumn(
        element.get("name") or element.get("ID"), datatype, arraysize, element.get("xtype"), element.get("unit"),
        element.get("ucd"), element.get("utype"), " ".join(description.split()) if description else None,
    )  # fmt: skip


def _chunks(path: Path, chunk_rows: int) -> Iterator[list[list[str | None]]]:
    """The cells of the first TABLE as text, by rows; an element is forgotten as soon as it is read."""
    rows: list[list[str | None]] = []
    with opened(path) as file:
        parent = None
        try:
            for event, element in ElementTree.iterparse(file, events=("start", "end")):
                tag = _local(element.tag)
                if event == "start":
                    parent = element if tag == "TABLEDATA" else parent
                    continue
                if tag == "TR":
                    rows.append([cell.text for cell in element])
                    if parent is not None:
                        parent.clear()
                    if len(rows) == chunk_rows:
                        yield rows
                        rows = []
                elif tag == "TABLE":
                    break
        except ElementTree.ParseError as error:
            raise UsageError(f"{path.name} is no well-formed VOTable: {error}") from None
    if rows:
        yield rows


def _column(field: SourceColumn, cells: list[str | None], null: str | None) -> pa.Array:
    kind = arrow_type(field.datatype, field.arraysize)
    text = field.datatype in ("char", "unicodeChar")
    try:
        return pa.array([_cell(field, cell, null, text, pa.types.is_list(kind)) for cell in cells], kind)
    except (ValueError, OverflowError, pa.ArrowInvalid) as error:
        raise UsageError(f"column {field.name} of type {field.datatype}: {error}") from None


def _cell(field: SourceColumn, cell: str | None, null: str | None, text: bool, listed: bool) -> Any:
    if cell is None:
        return None
    word = cell.strip()
    if not word or (null is not None and word.lower() == null.strip().lower()):
        return None
    if text:
        return word
    return [_scalar(field.datatype, part) for part in word.split()] if listed else _scalar(field.datatype, word)


def _scalar(datatype: str, word: str) -> Any:
    if datatype in _INTEGERS:
        return int(word, 16) if word.lower().startswith("0x") else int(word)
    if datatype in ("boolean", "bit"):
        return {"t": True, "1": True, "true": True, "f": False, "0": False, "false": False}.get(word.lower())
    return {"+inf": math.inf, "-inf": -math.inf}.get(word.lower()) or float(word)


def _binary(path: Path, columns: list[SourceColumn], kept: list[int], chunk_rows: int) -> Iterator[list[pa.Array]]:
    with warnings.catch_warnings(), opened(path) as file:
        warnings.simplefilter("ignore")
        table = parse_single_table(BytesIO(file.read()))
    names = [table.array.dtype.names[index] for index in kept]
    for first in range(0, len(table.array), chunk_rows):
        part = table.array[first : first + chunk_rows]
        arrays = []
        for name, column in zip(names, columns, strict=True):
            cells, mask = part[name], np.ma.getmaskarray(part[name])
            values = [None if np.all(gone) else _plain(cell) for cell, gone in zip(cells.data, mask, strict=True)]
            arrays.append(pa.array(values, arrow_type(column.datatype, column.arraysize)))
        yield arrays


def _plain(cell: Any) -> Any:
    if isinstance(cell, bytes):
        return cell.decode("utf-8", "replace").strip()
    if isinstance(cell, np.ndarray):
        return cell.reshape(-1).tolist()
    return cell.item() if isinstance(cell, np.generic) else cell
