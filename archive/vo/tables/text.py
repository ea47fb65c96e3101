"""CSV, TSV and ECSV files as source tables: types read from every row before the first is given out.

A file is read twice, a block at a time: once to learn what each column can be, once to convert. A column's type is the
narrowest that holds all its cells; numbers with leading zeros are names and stay text; empty cells are NULL.
"""

import csv
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import yaml

from archive.vo.errors import UsageError
from archive.vo.tables.opening import opened
from archive.vo.tables.source import NoTableError, SourceColumn, SourceTable, arrow_type

_UNIT_IN_NAME = re.compile(r"^(?P<name>.*\S)\s*[\[(](?P<unit>[^\])]+)[\])]\s*$")
_NULLS = ["", "null", "NULL", "\\N"]


@dataclass(frozen=True, slots=True)
class _Layout:
    delimiter: str
    names: list[str]
    skip: int  # lines before the first row
    about: dict[str, dict[str, Any]]  # ECSV: column name to unit, description, meta


def source_table(path: Path, *, one_column: bool = False, texts: Collection[str] = ()) -> SourceTable:
    """A table of delimited text with one line of names; lines that begin with # before it are comments or ECSV.

    one_column: a text without a delimiter is a table of one column, and not an error. texts: columns, by their names in
    lower case, that are text whatever stands in them.
    """
    layout = _layout(path, one_column)
    rows, kinds = _kinds(path, layout)
    kinds = ["char" if name.lower() in texts else kind for name, kind in zip(layout.names, kinds, strict=True)]
    told = tuple(_column(name, kinds[index], layout.about.get(name, {})) for index, name in enumerate(layout.names))

    def read(chunk_rows: int, columns: Sequence[int] | None = None) -> Iterator[list[pa.Array]]:
        wanted = range(len(told)) if columns is None else columns
        for batch in _batches(path, layout, chunk_rows):
            for first in range(0, batch.num_rows, chunk_rows):
                part = batch.slice(first, chunk_rows)
                yield [_converted(part.column(index), told[index]) for index in wanted]

    return SourceTable(told, rows, read)


def _layout(path: Path, one_column: bool) -> _Layout:
    comments: list[str] = []
    skipped = 0
    with opened(path) as file:
        line = ""
        for raw in file:
            line = raw.decode("utf-8-sig" if not skipped else "utf-8", "replace").rstrip("\r\n")
            skipped += 1
            if line.strip() and not line.startswith("#"):
                break
            comments.append(line.lstrip("#").removeprefix(" "))
    if not line.strip() or line.startswith("#"):
        raise NoTableError(f"{path.name} has no line of column names")
    delimiter = max(",;\t|", key=line.count)
    about: dict[str, dict[str, Any]] = {}
    if comments and comments[0].startswith("%ECSV"):
        delimiter, about = _ecsv(comments, path)
    if delimiter not in line and not one_column:
        raise NoTableError(f"{path.name} is no table of delimited text: its first line is {line[:80]!r}")
    names = [name.strip() for name in next(csv.reader([line], delimiter=delimiter))]
    return _Layout(delimiter, names, skipped, about)


def _ecsv(comments: list[str], path: Path) -> tuple[str, dict[str, dict[str, Any]]]:
    """ECSV 1.0: a YAML document in the comments tells delimiter and columns."""
    try:
        told = yaml.safe_load("\n".join(line for line in comments if not line.startswith("%")))
    except yaml.YAMLError as error:
        raise UsageError(f"{path.name}: the ECSV header is no YAML: {error}") from None
    told = told if isinstance(told, dict) else {}
    columns = [column for column in told.get("datatype", []) if isinstance(column, dict)]
    return str(told.get("delimiter", " ")), {str(column.get("name")): column for column in columns}


def _batches(path: Path, layout: _Layout, chunk_rows: int) -> Iterator[pa.RecordBatch]:
    """All cells as text, empty ones NULL."""
    types = {f"f{index}": pa.string() for index in range(len(layout.names))}
    with opened(path) as file:
        try:
            reader = pyarrow.csv.open_csv(
                pa.PythonFile(file, "r"),
                read_options=pyarrow.csv.ReadOptions(
                    column_names=list(types), skip_rows=layout.skip, block_size=max(1 << 16, chunk_rows * 64)
                ),
                parse_options=pyarrow.csv.ParseOptions(delimiter=layout.delimiter, newlines_in_values=True),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=types, strings_can_be_null=True, null_values=_NULLS
                ),
            )
            yield from reader
        except pa.ArrowInvalid as error:
            raise UsageError(f"{path.name}: {error}") from None


# Narrowest first; each with the pattern that all of a column's cells must match.
_PATTERNS = (
    ("boolean", r"^(true|false|True|False|TRUE|FALSE)$"),
    ("integer", r"^[+-]?(0|[1-9]\d{0,18})$"),
    ("double", r"^[+-]?(((0|[1-9]\d*)(\.\d*)?|\.\d+)([eEdD][+-]?\d+)?|inf|Inf|INF|[nN][aA][nN])$"),
)


def _kinds(path: Path, layout: _Layout) -> tuple[int, list[str]]:
    """How many rows, and each column's VOTable type (text: "char")."""
    possible = [[kind for kind, _ in _PATTERNS] for _ in layout.names]
    wide, seen = [0] * len(layout.names), [False] * len(layout.names)
    rows = 0
    for batch in _batches(path, layout, 50_000):
        rows += batch.num_rows
        for index, kinds in enumerate(possible):
            cells = pc.utf8_trim_whitespace(batch.column(index).drop_null())
            cells = cells.filter(pc.not_equal(cells, ""))
            seen[index] = seen[index] or len(cells) > 0
            for kind, pattern in _PATTERNS:
                if kind in kinds and pc.all(pc.match_substring_regex(cells, pattern)).as_py() not in (True, None):
                    kinds.remove(kind)
            if "integer" in kinds and len(cells):
                wide[index] = max(wide[index], _widest(cells, kinds))
    result = []
    for kinds, bits, some in zip(possible, wide, seen, strict=True):
        narrowest = kinds[0] if kinds and some else "char"
        result.append(("long" if bits > 31 else "int") if narrowest == "integer" else narrowest)
    return rows, result


def _widest(cells: pa.Array, kinds: list[str]) -> int:
    """Bits that the largest integer takes; one that no long holds makes the column text: an identifier."""
    try:
        numbers = pc.utf8_ltrim(cells, "+").cast(pa.int64())
    except pa.ArrowInvalid:
        kinds.clear()
        return 0
    limits: dict[str, int] = pc.min_max(numbers).as_py()
    return max((-limits["min"] - 1).bit_length() if limits["min"] < 0 else 0, limits["max"].bit_length())


def _column(name: str, kind: str, about: dict[str, Any]) -> SourceColumn:
    column = SourceColumn(name, kind, "*" if kind == "char" else None)
    if about:
        meta = about.get("meta") if isinstance(about.get("meta"), dict) else {}
        return replace(
            column, unit=about.get("unit"), description=about.get("description"),
            ucd=(meta or {}).get("ucd"), utype=(meta or {}).get("utype"),
        )  # fmt: skip
    if match := _UNIT_IN_NAME.match(name):
        return replace(column, name=match["name"], unit=match["unit"])
    return column


def _converted(cells: pa.Array, column: SourceColumn) -> pa.Array:
    words = pc.utf8_trim_whitespace(cells)
    if column.datatype == "char":
        return words
    words = pc.if_else(pc.equal(words, ""), pa.scalar(None, pa.string()), words)
    if column.datatype == "boolean":
        words = pc.utf8_lower(words)
    elif column.datatype == "double":
        words = pc.replace_substring_regex(words, "[dD]", "e")
        words = pc.replace_substring_regex(words, r"^\+", "")
    else:
        words = pc.utf8_ltrim(words, "+")
    return words.cast(arrow_type(column.datatype, None))
