"""A catalogue between its file and the table it becomes: values only.

A reader (fits_table, votable, text, parquet) makes a `SourceTable`: columns named and typed as the file has them.
`publish.published` turns it into a `Catalogue`: legal names, VOUnits, UCD1+, one main position in ICRS degrees.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa

from archive.vo.columns import Table
from archive.vo.errors import UsageError
from archive.vo.regions import Circle
from ingest.findings import Finding

_SCALARS = {
    "boolean": pa.bool_(),
    "bit": pa.bool_(),
    "unsignedByte": pa.uint8(),
    "short": pa.int16(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "char": pa.string(),
    "unicodeChar": pa.string(),
}


class NotACatalogueError(UsageError):
    """The file holds no table that could be published; the text says what was found instead."""


def arrow_type(datatype: str, arraysize: str | None) -> pa.DataType:
    """The Arrow type that carries a VOTable type (VOTable 1.5 §2.1).

    Text is one string whatever its arraysize; an array of any shape is a list of its elements in FITS order, first
    index fastest. Complex numbers have no Arrow type: ValueError.
    """
    if datatype not in _SCALARS:
        raise ValueError(f"no Arrow type carries {datatype}")
    scalar = _SCALARS[datatype]
    if datatype in ("char", "unicodeChar") or arraysize in (None, "1"):
        return scalar
    return pa.list_(scalar)


@dataclass(frozen=True, slots=True)
class SourceColumn:
    """A column as its file tells it: datatype and arraysize are VOTable's, the rest is the file's own text."""

    name: str
    datatype: str
    arraysize: str | None = None
    xtype: str | None = None
    unit: str | None = None
    ucd: str | None = None
    utype: str | None = None
    description: str | None = None


class Read(Protocol):
    """Reads a table's rows, a chunk at a time; each call starts from the first row."""

    def __call__(self, chunk_rows: int, columns: Sequence[int] | None = None) -> Iterator[list[pa.Array]]:
        """Lists of Arrow arrays, at most chunk_rows long: of these columns in this order, or of all."""
        ...


@dataclass(frozen=True, slots=True)
class SourceTable:
    """A table as its file tells it.

    frame: RADESYS of the positions where the file tells it ("ICRS", "FK5", "FK4", "GALACTIC"); equinox: years.
    """

    columns: tuple[SourceColumn, ...]
    rows: int | None
    read: Read
    title: str | None = None
    description: str | None = None
    frame: str | None = None
    equinox: float | None = None
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Coverage:
    """Where the rows lie.

    rows: how many; placed: how many have a position. circle: the smallest we can say round all of them, ICRS degrees,
    None where they reach over more than a hemisphere (whole_sky is then True) or none has a position.
    """

    rows: int
    placed: int
    circle: Circle | None
    whole_sky: bool = False


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A table ready to be published.

    table: what TAP_SCHEMA, VOTable and VOSI will tell; table.rows is exact.
    batches: Arrow record batches with the table's column names and order, each `chunk_rows` rows at most. May be
    iterated again: each time the file is read from its beginning.
    ra, dec: the names of the two columns (double or float) that hold ICRS degrees, 0 <= ra < 360; None without one.
    """

    table: Table
    batches: Iterable[pa.RecordBatch]
    coverage: Coverage
    ra: str | None = None
    dec: str | None = None
    findings: tuple[Finding, ...] = field(default=())
