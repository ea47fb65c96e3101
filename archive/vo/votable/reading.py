"""Reading a VOTable that a user sent: TABLEDATA, BINARY and BINARY2 of versions 1.0 to 1.5.

The document is a stranger's. It is read by expat as a stream, with no entity, no data that lie elsewhere, and nothing
beyond the limits; what is damaged is refused, never read in part. Cells become Arrow in decoding.py; writing is in
document.py; what becomes of the table (TAP_UPLOAD) is the room's business.
"""

import binascii
import re
from dataclasses import dataclass, field, replace
from typing import BinaryIO
from xml.parsers import expat

import pyarrow as pa

from archive.vo.arrow import arrow_schema, shape_of
from archive.vo.columns import DATATYPES, Column
from archive.vo.errors import ConfigurationError, TooLargeError, UsageError
from archive.vo.votable.decoding import binary_columns, text_columns

READ_AT_ONCE = 1 << 18
MAX_ELEMENTS = 50_000_000
FORMS = frozenset({"TABLEDATA", "BINARY", "BINARY2"})


@dataclass(frozen=True, slots=True)
class UploadedTable:
    """The first table of an uploaded document. batches: of `arrow_schema(columns)`; names are the user's own.

    left_out: sentences on columns that could not be taken.
    """

    columns: tuple[Column, ...]
    batches: tuple[pa.RecordBatch, ...]
    left_out: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        return sum(batch.num_rows for batch in self.batches)


def read_votable(stream: BinaryIO, *, max_rows: int = 1_000_000, max_bytes: int = 256 << 20) -> UploadedTable:
    """The first TABLE of the document, with every value as it was sent (TAP-13).

    Missing: an empty TD, BINARY2's flag, the integer that VALUES names, and an array or text of no length in BINARY,
    which has no other way to say it. A column of timestamps (DALI 1.1 §3.3.3) with a cell that is none, or one that
    Arrow cannot hold, such as a leap second, stays text and loses its xtype. A single bit becomes a boolean: astropy
    8.0.2 writes and reads another bit of the byte than the standard says, and would hand back the wrong value.

    UsageError: no well-formed VOTable, no table in it, an entity declaration, data that lie elsewhere (href, FITS), a
    cell that is not what its FIELD says. TooLargeError: more than max_rows rows or max_bytes bytes.
    """
    document = _Document(max_rows)
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = document.start
    parser.EndElementHandler = document.end
    parser.CharacterDataHandler = document.characters
    parser.EntityDeclHandler = document.entity
    size = 0
    try:
        while chunk := stream.read(READ_AT_ONCE):
            size += len(chunk)
            if size > max_bytes:
                raise TooLargeError(f"the uploaded document is larger than {max_bytes} bytes, which is the limit here")
            parser.Parse(chunk, False)
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise UsageError(f"the upload is no well-formed XML: {error}") from None
    return document.table()


@dataclass(slots=True)
class _Field:
    """A FIELD as it was read. null: what VALUES says stands for a missing value."""

    attributes: dict[str, str]
    description: str | None = None
    null: str | None = None

    def column(self, place: int) -> Column:
        given = self.attributes
        name = given.get("name") or given.get("ID") or f"col_{place + 1}"
        if given.get("datatype") not in DATATYPES:
            raise UsageError(f"column {name} of the upload: {given.get('datatype')!r} is no VOTable datatype")
        column = Column(
            name=name,
            datatype=given["datatype"],
            arraysize=given.get("arraysize", "").strip() or None,
            xtype=given.get("xtype") or None,
            unit=given.get("unit") or None,
            ucd=given.get("ucd") or None,
            utype=given.get("utype") or None,
            description=self.description or None,
        )
        try:
            shape_of(column)
        except ConfigurationError as error:
            raise UsageError(f"the upload: {error}") from None
        return column


@dataclass(slots=True)
class _Document:
    """What expat tells, kept as far as the end of the first table."""

    max_rows: int
    root: str | None = None
    tables: int = 0
    inside: bool = False
    fields: list[_Field] = field(default_factory=list)
    current: _Field | None = None
    form: str | None = None
    rows: list[list[str]] = field(default_factory=list)
    row: list[str] | None = None
    stream: list[str] = field(default_factory=list)
    text: list[str] | None = None

    def entity(self, name: str, *_: object) -> None:
        raise UsageError(f"the uploaded document declares an entity ({name}); a VOTable needs none")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        tag = name.rpartition(":")[2]
        if self.root is None:
            self.root = tag
            if tag != "VOTABLE":
                raise UsageError(f"the upload is no VOTable: its root element is {tag}")
        if tag == "TABLE":
            self.tables += 1
            self.inside = self.tables == 1
        elif self.inside:
            self._within_table(tag, attributes)

    def _within_table(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "TD":
            if attributes.get("encoding"):
                raise UsageError("the uploaded VOTable has an encoded TD; send plain text, or BINARY2")
            self.text = []
        elif tag == "TR":
            if len(self.rows) >= self.max_rows:
                raise TooLargeError(f"the uploaded table has more than {self.max_rows} rows, which is the limit here")
            self.row = []
        elif tag == "FIELD":
            self.current = _Field(attributes)
            self.fields.append(self.current)
        elif tag == "VALUES" and self.current is not None and attributes.get("null") is not None:
            self.current.null = attributes["null"].strip()
        elif tag == "DESCRIPTION" and self.current is not None:
            self.text = []
        elif tag == "FITS":
            raise UsageError("the uploaded VOTable keeps its data in FITS; send TABLEDATA, BINARY or BINARY2")
        elif tag in FORMS:
            self.form = tag
        elif tag == "STREAM":
            if attributes.get("href"):
                raise UsageError("the uploaded VOTable keeps its data elsewhere (STREAM href); send them inline")
            if attributes.get("encoding", "base64") != "base64":
                raise UsageError(f"the uploaded VOTable has a STREAM in {attributes['encoding']}; send base64")
            self.text = self.stream

    def characters(self, data: str) -> None:
        if self.text is not None:
            self.text.append(data)

    def end(self, name: str) -> None:
        tag = name.rpartition(":")[2]
        if not self.inside:
            return
        if tag == "TD" and self.row is not None and self.text is not None:
            self.row.append("".join(self.text))
        elif tag == "TR" and self.row is not None:
            if len(self.row) != len(self.fields):
                raise UsageError(
                    f"row {len(self.rows) + 1} of the upload has {len(self.row)} cells; there are "
                    f"{len(self.fields)} columns"
                )
            self.rows.append(self.row)
            self.row = None
        elif tag == "DESCRIPTION" and self.current is not None and self.text is not None:
            self.current.description = " ".join("".join(self.text).split())
        elif tag == "FIELD":
            self.current = None
        elif tag == "TABLE":
            self.inside = False
        if tag in ("TD", "DESCRIPTION", "STREAM"):
            self.text = None

    def table(self) -> UploadedTable:
        if not self.tables:
            raise UsageError("the uploaded VOTable has no TABLE")
        if not self.fields:
            raise UsageError("the uploaded table has no columns (FIELD)")
        columns = tuple(one.column(place) for place, one in enumerate(self.fields))
        names = [column.name for column in columns]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise UsageError(f"the uploaded table has two columns named {twice!r}; each needs a name of its own")
        for column in columns:
            # Arrow keeps room for the elements of missing arrays too: a short document must not claim it.
            if (shape_of(column).count or 0) * max(1, len(self.rows)) > MAX_ELEMENTS:
                raise TooLargeError(f"column {column.name} of the upload has cells of arraysize {column.arraysize}")
        nulls = [one.null for one in self.fields]
        if self.form in ("BINARY", "BINARY2"):
            arrays = binary_columns(self._bytes(), columns, nulls, flags=self.form == "BINARY2", max_rows=self.max_rows)
        else:
            arrays = text_columns(self.rows, columns, nulls)
        # Text that was to be timestamps and cannot be comes back as text.
        columns = tuple(
            replace(column, xtype=None) if column.xtype == "timestamp" and pa.types.is_string(array.type) else column
            for column, array in zip(columns, arrays, strict=True)
        )
        columns = tuple(
            replace(column, datatype="boolean") if column.datatype == "bit" and column.arraysize is None else column
            for column in columns
        )
        return UploadedTable(columns, (pa.record_batch(arrays, schema=arrow_schema(columns)),))

    def _bytes(self) -> bytes:
        try:
            return binascii.a2b_base64(re.sub(r"\s", "", "".join(self.stream)), strict_mode=True)
        except (binascii.Error, ValueError) as error:
            raise UsageError(f"the base64 of the uploaded VOTable is damaged: {error}") from None
