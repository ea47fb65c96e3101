"""Parquet files as source tables: row groups read by batches, metadata from the VOParquet convention where it is there.

Source: VOParquet 1.0 (IVOA Note 2025): a VOTable without data under the key `IVOA.VOTable-Parquet.content`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from archive.vo.errors import UsageError
from ingest.catalogues.model import SourceColumn, SourceTable, arrow_type
from ingest.catalogues.votable import fields_of
from ingest.findings import Finding

_TYPES = {
    pa.bool_(): "boolean", pa.uint8(): "unsignedByte", pa.int8(): "short", pa.int16(): "short", pa.uint16(): "int",
    pa.int32(): "int", pa.uint32(): "long", pa.int64(): "long", pa.uint64(): "long", pa.float16(): "float",
    pa.float32(): "float", pa.float64(): "double",
}  # fmt: skip


def source_table(path: Path) -> SourceTable:
    """A Parquet file; columns that no VOTable type holds (structs, maps, blobs) are left out with a finding."""
    try:
        schema = pq.read_schema(path)
        rows = pq.read_metadata(path).num_rows
    except pa.ArrowInvalid as error:
        raise UsageError(f"{path.name} is no Parquet file: {error}") from None
    told = (schema.metadata or {}).get(b"IVOA.VOTable-Parquet.content")
    declared = fields_of(told) if told else {}
    columns, findings = [], []
    for field in schema:
        column = _column(field)
        if column is None:
            findings.append(
                Finding(
                    "warning",
                    "column_not_published",
                    field.name,
                    f"a column of Arrow type {field.type} is not published",
                )
            )
            continue
        if field.name in declared:
            known = declared[field.name]
            column = replace(
                column, unit=known.unit or column.unit, ucd=known.ucd, utype=known.utype,
                description=known.description or column.description,
            )  # fmt: skip
        columns.append(column)

    told = tuple(columns)

    def read(chunk_rows: int, columns: Sequence[int] | None = None) -> Iterator[list[pa.Array]]:
        wanted = told if columns is None else [told[index] for index in columns]
        names = [column.name for column in wanted]
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=chunk_rows, columns=names):
                yield [_carried(batch.column(batch.schema.get_field_index(column.name)), column) for column in wanted]

    return SourceTable(told, rows, read, findings=tuple(findings))


def _column(field: pa.Field) -> SourceColumn | None:
    about = {key.decode().lower(): value.decode("utf-8", "replace") for key, value in (field.metadata or {}).items()}
    kind, arraysize, xtype = field.type, None, None
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
    if column.xtype == "timestamp":
        array = array.cast(pa.timestamp("us")).cast(pa.string())
        return pa.array([text.replace(" ", "T") if text else None for text in array.to_pylist()], pa.string())
    try:
        return array.cast(arrow_type(column.datatype, column.arraysize))
    except pa.ArrowInvalid as error:
        raise UsageError(f"column {column.name}: {error}") from None
