"""What the writers of all formats have in common: what they are told beside the rows, and the column's metadata."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, Protocol, TypedDict, Unpack

import pyarrow as pa

from archive.vo.arrow import arrow_schema, conformed
from archive.vo.columns import Column
from archive.vo.markup import Markup
from archive.vo.votable import Info, votable_header

METADATA = ("datatype", "arraysize", "xtype", "unit", "ucd", "utype", "description")


class Told(TypedDict, total=False):
    """What is told with a table, as of `write_votable`. A format that cannot say a thing leaves it out."""

    infos: Sequence[Info | Markup]
    overflow: Callable[[], bool] | None
    table_name: str | None
    description: str | None
    resources: Sequence[Markup]
    late_failures: Literal["told", "raised"]
    trailing: Callable[[], Sequence[Info]] | None


class Write(Protocol):
    """A writer of results: bytes as the batches come.

    A failure of `batches` in a format that has no place to tell it is raised: the stream then breaks off, which a
    client can notice.
    """

    def __call__(
        self, columns: Sequence[Column], batches: Iterable[pa.RecordBatch], **told: Unpack[Told]
    ) -> Iterator[bytes]: ...


def was_cut(told: Told) -> bool:
    """Whether rows are missing for MAXREC's sake; ask when the batches are at their end."""
    overflow = told.get("overflow")
    return overflow is not None and overflow()


def said(told: Told) -> list[Info]:
    """The infos that are name and value, for formats that know no PARAM."""
    return [info for info in told.get("infos", ()) if isinstance(info, Info)]


def metadata(column: Column) -> dict[str, str]:
    """What is known of a column beside its name."""
    known = {name: getattr(column, name) for name in METADATA}
    return {name: value for name, value in known.items() if value is not None}


def described_schema(columns: Sequence[Column]) -> pa.Schema:
    """`arrow_schema` with each column's metadata in its field."""
    fields = zip(arrow_schema(columns), columns, strict=True)
    return pa.schema([field.with_metadata(metadata(column)) for field, column in fields])


def vo_metadata(columns: Sequence[Column], told: Told, *, overflow: bool = False) -> dict[str, bytes]:
    """The key-value metadata of VOParquet 1.0 §2.1: a VOTable without rows, which has all that VOTable can say."""
    return {"IVOA.VOTable-Parquet.version": b"1.0", "IVOA.VOTable-Parquet.content": header(columns, told, overflow)}


def header(columns: Sequence[Column], told: Told, overflow: bool = False) -> bytes:
    """The VOTable without rows."""
    return votable_header(
        columns,
        infos=told.get("infos", ()),
        overflow=overflow,
        table_name=told.get("table_name"),
        description=told.get("description"),
        resources=told.get("resources", ()),
    )


def as_declared(batch: pa.RecordBatch, columns: Sequence[Column], schema: pa.Schema) -> pa.RecordBatch:
    """The batch in its declared types, under the declared names."""
    return pa.RecordBatch.from_arrays(conformed(batch, columns), schema=schema)
