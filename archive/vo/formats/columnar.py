"""Parquet and Arrow: columns as they travel here, with the VOTable that describes them as metadata of the file.

Source: VOParquet 1.0 (IVOA Note 2025-01-16) §2.1 for the two keys; Arrow Columnar Format, IPC stream. The same keys are
in an Arrow stream's schema. Units, UCDs and the rest are also metadata of each Arrow field, which pyarrow shows.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Unpack

import pyarrow as pa
import pyarrow.parquet as pq

from archive.vo.arrow import TEXT, is_timestamp, slices
from archive.vo.columns import Column
from archive.vo.drain import Drain
from archive.vo.formats.writing import Told, as_declared, described_schema, vo_metadata, was_cut

# A row group: large enough for readers that skip, small enough to be held while it fills.
GROUP_ROWS = 131_072
GROUP_BYTES = 24 << 20
OVERFLOW = {"QUERY_STATUS": "OVERFLOW"}


def write_parquet(
    columns: Sequence[Column], batches: Iterable[pa.RecordBatch], **told: Unpack[Told]
) -> Iterator[bytes]:
    """The file, a row group at a time; its metadata come last, and so tell an overflow."""
    drain = Drain()
    schema = described_schema(columns)
    writer = pq.ParquetWriter(
        pa.PythonFile(drain, "w"),
        schema,
        compression="zstd",
        compression_level=1,
        # Numbers of a catalogue seldom repeat; text and flags do.
        use_dictionary=[column.name for column in columns if column.datatype in TEXT and not is_timestamp(column)],
    )
    yield drain.take()
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        for part in slices(batch):
            waiting.append(as_declared(part, columns, schema))
            is_full = sum(one.num_rows for one in waiting) >= GROUP_ROWS
            if is_full or sum(one.nbytes for one in waiting) >= GROUP_BYTES:
                writer.write_table(pa.Table.from_batches(waiting))
                waiting = []
                yield drain.take()
    if waiting:
        writer.write_table(pa.Table.from_batches(waiting))
    writer.add_key_value_metadata(vo_metadata(columns, told, overflow=was_cut(told)))
    writer.close()
    yield drain.take()


def write_arrow(columns: Sequence[Column], batches: Iterable[pa.RecordBatch], **told: Unpack[Told]) -> Iterator[bytes]:
    """The IPC stream; if rows were cut, its last batch has none, and QUERY_STATUS among its own metadata."""
    drain = Drain()
    schema = described_schema(columns)
    writer = pa.ipc.new_stream(pa.PythonFile(drain, "w"), schema.with_metadata(vo_metadata(columns, told)))
    yield drain.take()
    for batch in batches:
        for part in slices(batch):
            writer.write_batch(as_declared(part, columns, schema))
            yield drain.take()
    if was_cut(told):
        empty = pa.RecordBatch.from_pylist([], schema=schema)
        writer.write_batch(empty, custom_metadata=pa.KeyValueMetadata(OVERFLOW))
    writer.close()
    yield drain.take()
