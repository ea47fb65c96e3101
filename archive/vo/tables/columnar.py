"""Parquet files and Arrow IPC (stream or file) as source tables; metadata from the VOParquet convention where it is.

Source: VOParquet 1.0 (IVOA Note 2025): a VOTable without data under the key `IVOA.VOTable-Parquet.content`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
import pyarrow.parquet as pq

from archive.vo.columns import Column
from archive.vo.errors import UsageError
from archive.vo.tables.source import LeftOut, SourceColumn, SourceTable, arrow_type
from archive.vo.votable import read_votable

ARROW_FILE = b"ARROW1"
_VOTABLE = b"IVOA.VOTable-Parquet.content"
_TYPES = {
    pa.bool_(): "boolean", pa.uint8(): "unsignedByte", pa.int8(): "short", pa.int16(): "short", pa.uint16(): "int",
    pa.int32(): "int", pa.uint32(): "long", pa.int64(): "long", pa.uint64(): "long", pa.float16(): "float",
    pa.float32(): "float", pa.float64(): "double",
}  # fmt: skip
_Batches = Callable[[int, list[str]], Iterator[pa.RecordBatch]]


def parquet_table(path: Path) -> SourceTable:
    """A Parquet file; columns that no VOTable type holds (structs, maps, blobs) are left out."""
    try:
        schema = pq.read_schema(path)
        rows = pq.read_metadata(path).num_rows
    except (pa.ArrowException, OSError) as error:
        raise UsageError(f"{path.name} is no Parquet file: {error}") from None

    def batches(chunk_rows: int, names: list[str]) -> Iterator[pa.RecordBatch]:
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(batch_size=chunk_rows, columns=names)

    return _source_table(path, schema, rows, batches)


def arrow_table(path: Path) -> SourceTable:
    """An Arrow IPC stream, or an Arrow file ("Feather"); columns are left out as of a Parquet file."""
    with _arrow_reader(path) as reader:
        schema = reader.schema

    def batches(chunk_rows: int, names: list[str]) -> Iterator[pa.RecordBatch]:
        with _arrow_reader(path) as reader:
            each = reader if isinstance(reader, pa.RecordBatchReader) else map(
                reader.get_batch, range(reader.num_record_batches)
            )  # fmt: skip
            for batch in each:
                for first in range(0, batch.num_rows, chunk_rows):
                    yield batch.slice(first, chunk_rows)

    return _source_table(path, schema, None, batches)


@contextmanager
def _arrow_reader(path: Path) -> Iterator[pa.RecordBatchReader | pa.ipc.RecordBatchFileReader]:
    with path.open("rb") as file:
        is_file = file.read(len(ARROW_FILE)) == ARROW_FILE
        file.seek(0)
        try:
            opened = pa.ipc.open_file(file) if is_file else pa.ipc.open_stream(file)
        except (pa.ArrowException, OSError) as error:
            raise UsageError(f"{path.name} is no Arrow stream or file: {error}") from None
        with opened as reader:
            yield reader


def _source_table(path: Path, schema: pa.Schema, rows: int | None, batches: _Batches) -> SourceTable:
    declared = _declared(schema)
    if len(set(schema.names)) < len(schema):
        raise UsageError(f"{path.name} has two columns of one name; each needs a name of its own")
    told, left_out = [], []
    for field in schema:
        column = _column(field)
        if column is None:
            left_out.append(LeftOut(field.name, f"a column of Arrow type {field.type} is not published"))
            continue
        if known := declared.get(field.name):
            column = replace(
                column, unit=known.unit or column.unit, ucd=known.ucd, utype=known.utype,
                xtype=known.xtype or column.xtype, description=known.description or column.description,
            )  # fmt: skip
        if column.xtype == "timestamp" and not pa.types.is_temporal(field.type):
            column = replace(column, xtype=None)
        told.append(column)

    def read(chunk_rows: int, columns: Sequence[int] | None = None) -> Iterator[list[pa.Array]]:
        chosen = told if columns is None else [told[number] for number in columns]
        try:
            for batch in batches(chunk_rows, [column.name for column in chosen]):
                yield [_carried(batch.column(batch.schema.get_field_index(one.name)), one) for one in chosen]
        except (pa.ArrowException, OSError) as error:
            raise UsageError(f"{path.name} is damaged: {error}") from None

    return SourceTable(tuple(told), rows, read, left_out=tuple(left_out))


def _declared(schema: pa.Schema) -> dict[str, Column]:
    told = (schema.metadata or {}).get(_VOTABLE)
    if not told:
        return {}
    try:
        return {column.name: column for column in read_votable(BytesIO(told)).columns}
    except UsageError:  # the rows are read all the same
        return {}


def _column(field: pa.Field) -> SourceColumn | None:
    about = {key.decode().lower(): value.decode("utf-8", "replace") for key, value in (field.metadata or {}).items()}
    kind, arraysize, xtype = field.type, None, about.get("xtype")
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        arraysize = str(kind.list_size) if pa.types.is_fixed_size_list(kind) else "*"
        kind = kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        datatype, arraysize = ("char", "*") if arraysize is None else (None, None)
    elif pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        datatype, arraysize, xtype = ("char", "*", "timestamp") if arraysize is None else (None, None, None)
    elif pa.types.is_decimal(kind):
        datatype = "double"
    else:
        datatype = _TYPES.get(kind)
    if datatype is None:
        return None
    return SourceColumn(field.name, datatype, arraysize, xtype, about.get("unit"), about.get("ucd"),
                        about.get("utype"), about.get("description") or about.get("doc"))  # fmt: skip


def _carried(array: pa.Array, column: SourceColumn) -> pa.Array:
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    try:
        if pa.types.is_temporal(array.type):
            return pc.replace_substring(array.cast(pa.timestamp("us")).cast(pa.string()), " ", "T")
        return array.cast(arrow_type(column.datatype, column.arraysize))
    except pa.ArrowInvalid as error:
        raise UsageError(f"column {column.name}: {error}") from None
