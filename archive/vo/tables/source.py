"""A table as its file tells it: columns named and typed as they are there, rows read a chunk at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from archive.vo.arrow import PRIMITIVES, TEXT
from archive.vo.errors import UsageError
from archive.vo.origin import UNKNOWN, Origin


class NoTableError(UsageError):
    """The file holds no table; the text says what was found instead."""


def arrow_type(datatype: str, arraysize: str | None) -> pa.DataType:
    """The Arrow type that a reader gives for a VOTable type (VOTable 1.5 §2.1).

    Text is one string whatever its arraysize; an array of any shape is a list of its elements in FITS order, first
    index fastest. Complex numbers have no type in a database: ValueError.
    """
    if datatype not in PRIMITIVES or "Complex" in datatype:
        raise ValueError(f"no Arrow type carries {datatype}")
    scalar = PRIMITIVES[datatype]
    if datatype in TEXT or arraysize in (None, "1"):
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


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A column that no type of a database holds. empty: there was nothing in it."""

    name: str
    why: str
    mend: str = ""
    empty: bool = False


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
    left_out: tuple[LeftOut, ...] = ()
    origin: Origin = UNKNOWN
