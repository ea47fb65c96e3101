"""Reading a VOTable that a user sent: TABLEDATA, BINARY and BINARY2 of versions 1.0 to 1.5, through astropy.

The document is a stranger's: entities, external data and oversize are refused before astropy sees it. Writing is in
document.py; what becomes of the table (TAP_UPLOAD) is the room's business.
"""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any, BinaryIO
from xml.parsers import expat

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from astropy.io import votable as astropy_votable

from archive.vo.arrow import TEXT, TIMESTAMP, arrow_type, is_timestamp, shape_of
from archive.vo.columns import Column
from archive.vo.errors import ArchiveError, TooLargeError, UsageError

# DALI 1.1 §3.3.3, without the leap second, which Arrow cannot hold: such a column stays text.
TIMESTAMP_TEXT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-5][0-9](\.[0-9]{1,6})?Z?)?$"
READ_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class UploadedTable:
    """The first table of an uploaded document. batches: of `arrow_schema(columns)`; names are the user's own."""

    columns: tuple[Column, ...]
    batches: tuple[pa.RecordBatch, ...]

    @property
    def rows(self) -> int:
        return sum(batch.num_rows for batch in self.batches)


def read_votable(stream: BinaryIO, *, max_rows: int = 1_000_000, max_bytes: int = 256 << 20) -> UploadedTable:
    """The first TABLE of the document, with every value as it was sent (TAP-13).

    UsageError: no well-formed VOTable, no table in it, an entity declaration, or data that lie elsewhere (href, FITS).
    TooLargeError: more than max_rows rows or max_bytes bytes.
    """
    document = _bounded(stream, max_bytes)
    _inspect(document, max_rows)
    table = _parsed(document)
    if len(table.array) > max_rows:
        raise TooLargeError(f"the uploaded table has {len(table.array)} rows; {max_rows} are allowed")
    columns, arrays = [], []
    for place, field in enumerate(table.fields):
        column, array = _column(field, table.array[table.array.dtype.names[place]] if len(table.array) else None, place)
        columns.append(column)
        arrays.append(array)
    if len({column.name for column in columns}) != len(columns):
        raise UsageError("the uploaded table has two columns of one name; each needs its own")
    schema = pa.schema([pa.field(column.name, arrow_type(column)) for column in columns])
    return UploadedTable(tuple(columns), (pa.record_batch(arrays, schema=schema),))


def _bounded(stream: BinaryIO, max_bytes: int) -> bytes:
    document = stream.read(max_bytes + 1)
    if len(document) > max_bytes:
        raise TooLargeError(f"the uploaded document is larger than {max_bytes} bytes, which is the limit here")
    return document


class _Inspector:
    """Looks at every element once, before any is believed."""

    def __init__(self, max_rows: int) -> None:
        self.max_rows = max_rows
        self.rows = 0
        self.tables = 0
        self.root: str | None = None

    def element(self, name: str, attributes: dict[str, str]) -> None:
        tag = name.rpartition(":")[2]
        if self.root is None:
            self.root = tag
        if tag == "TABLE":
            self.tables += 1
        elif tag == "TR" and self.tables == 1:
            self.rows += 1
            if self.rows > self.max_rows:
                raise TooLargeError(f"the uploaded table has more than {self.max_rows} rows, which is the limit here")
        elif tag == "FITS":
            raise UsageError("the uploaded VOTable keeps its data in FITS; send TABLEDATA, BINARY or BINARY2")
        elif tag == "STREAM" and attributes.get("href"):
            raise UsageError("the uploaded VOTable keeps its data elsewhere (STREAM href); send them inline")

    def entity(self, name: str, *_: Any) -> None:
        raise UsageError(f"the uploaded document declares an entity ({name}); a VOTable needs none")


def _inspect(document: bytes, max_rows: int) -> None:
    inspector = _Inspector(max_rows)
    parser = expat.ParserCreate()
    parser.StartElementHandler = inspector.element
    parser.EntityDeclHandler = inspector.entity
    try:
        for start in range(0, len(document), READ_AT_ONCE):
            parser.Parse(document[start : start + READ_AT_ONCE], False)
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise UsageError(f"the upload is no well-formed XML: {error}") from None
    if inspector.root != "VOTABLE":
        raise UsageError(f"the upload is no VOTable: its root element is {inspector.root}")
    if not inspector.tables:
        raise UsageError("the uploaded VOTable has no TABLE")


def _parsed(document: bytes) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            parsed = astropy_votable.parse(
                BytesIO(document), verify="ignore", unit_format="vounit", invalid="exception"
            )
            return parsed.get_first_table()
        except ArchiveError:
            raise
        # astropy raises ValueError, IndexError, struct.error, UnicodeError and more for a damaged table.
        except Exception as error:
            what = re.sub(r"^.*?(?=[EW]\d\d:)", "", str(error).splitlines()[0] if str(error) else "")
            raise UsageError(f"the uploaded VOTable cannot be read: {what or type(error).__name__}") from error


def _column(field: Any, values: Any, place: int) -> tuple[Column, pa.Array]:
    """A FIELD and its cells. A timestamp column with a cell that is no DALI timestamp stays text, without the xtype."""
    column = Column(
        name=field.name or field.ID or f"col_{place + 1}",
        datatype=field.datatype,
        arraysize=field.arraysize,
        xtype=field.xtype,
        unit=str(field.unit) if field.unit is not None else None,
        ucd=field.ucd,
        utype=field.utype,
        description=field.description,
    )
    if values is None:
        return column, pa.array([], arrow_type(column))
    if column.datatype in TEXT:
        return _text(column, values)
    return column, _numbers(column, values)


def _text(column: Column, values: Any) -> tuple[Column, pa.Array]:
    missing: Any = np.ma.getmaskarray(values)
    if shape_of(column).is_array:
        absent = missing.reshape(len(values), -1).all(axis=1).tolist()
        lists = [[str(part).rstrip(" \x00") for part in np.ravel(cell)] for cell in np.ma.getdata(values)]
        cells = [None if gone else cell for cell, gone in zip(lists, absent, strict=True)]
        return column, pa.array(cells, arrow_type(column))
    texts = [None if gone else str(cell) for cell, gone in zip(np.ma.getdata(values), missing.tolist(), strict=True)]
    array = pa.array(texts, pa.string())
    if not is_timestamp(column):
        return column, array
    array = pc.if_else(pc.equal(array, ""), pa.scalar(None, pa.string()), array)
    if pc.all(pc.match_substring_regex(array, TIMESTAMP_TEXT)).as_py() in (True, None):
        try:
            return column, pc.replace_substring(array, "Z", "").cast(TIMESTAMP)
        except pa.ArrowInvalid:
            # A shape that is right and a day that is not, such as 31 February.
            return replace(column, xtype=None), array
    return replace(column, xtype=None), array


def _numbers(column: Column, values: Any) -> pa.Array:
    wanted = arrow_type(column)
    data, missing = np.ma.getdata(values), np.ma.getmaskarray(values)
    if not shape_of(column).is_array:
        if data.dtype.kind == "c":
            return pa.array([None if gone else [z.real, z.imag] for z, gone in zip(data, missing, strict=True)], wanted)
        return pa.array(np.ascontiguousarray(data.astype(data.dtype.newbyteorder("="))), wanted, mask=missing)
    return pa.array([_cell(cell, wanted) for cell in values], wanted)


def _cell(cell: Any, wanted: pa.DataType) -> Sequence[Any] | None:
    """An array cell as Arrow takes it, flat; None if the whole of it is missing."""
    if cell is None or cell is np.ma.masked:
        return None
    data, missing = np.ravel(np.ma.getdata(cell)), np.ravel(np.ma.getmaskarray(cell))
    if data.size and missing.all():
        return None
    if data.dtype.kind == "c":
        return [[z.real, z.imag] for z in data]
    if missing.any() and pa.types.is_boolean(wanted.value_type):
        return [None if gone else bool(value) for value, gone in zip(data, missing, strict=True)]
    elements: Sequence[Any] = data.tolist()
    return elements
