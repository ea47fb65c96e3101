"""A table that a user sent, in whatever format: VOTable, FITS, delimited text, Parquet, Arrow, packed or not.

What it is, its first bytes say; only text that could be anything is believed to be a table because its media type says
so. The bytes are a stranger's: nothing is read beyond the limits, and what is damaged is refused, never read in part.
"""

import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal

import pyarrow as pa

from archive.vo.arrow import arrow_schema, conformed
from archive.vo.columns import Column
from archive.vo.errors import ArchiveError, TooLargeError, UsageError
from archive.vo.tables import columnar, text
from archive.vo.tables.source import LeftOut, SourceTable
from archive.vo.votable import UploadedTable, read_votable

Form = Literal["votable", "fits", "parquet", "arrow", "text"]
FORMATS = "VOTable, FITS, CSV, TSV, ECSV, Parquet or Arrow, plain or packed by gzip, bzip2 or zstd"
# Rows that lie in a file packed, such as Parquet's: so many times the bytes that may come is the most they become.
MOST_UNPACKED = 32
_HEAD_BYTES = 4096
_CHUNK_ROWS = 8192
_BLOCK = 1 << 20
_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zstd"}
_TEXT_TYPES = ("text/csv", "text/tab-separated-values", "application/csv")
_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")  # of UTF-8 and UTF-16


def read_upload(
    file: BinaryIO,
    *,
    name: str,
    media_type: str | None = None,
    max_rows: int,
    max_bytes: int,
    max_unpacked: int | None = None,
    texts: Collection[str] = (),
) -> UploadedTable:
    """The table in a file, which is at its start. name: what messages call it; max_bytes: unpacked, too.

    max_unpacked: bytes that the rows may become in memory; None: MOST_UNPACKED times max_bytes.
    texts: columns of a delimited text, in lower case, that stay text whatever stands in them.
    UsageError: it is none of the formats, or damaged. TooLargeError: more than may come.
    """
    with _plain(file, name, max_bytes) as plain:
        head = plain.read(_HEAD_BYTES)
        plain.seek(0)
        form = form_of(head, media_type)
        if form is None:
            said = f" (it came as {media_type})" if media_type else ""
            raise UsageError(f"{name} is none of {FORMATS}{said}")
        if form == "votable":
            return _without_complex(read_votable(plain, max_rows=max_rows, max_bytes=max_bytes), name)
        with tempfile.TemporaryDirectory(prefix="uraniborg-upload-") as folder:
            path = Path(folder) / name
            with path.open("wb") as copy:
                _copy(plain, copy, name, max_bytes)
            unpacked = MOST_UNPACKED * max_bytes if max_unpacked is None else max_unpacked
            return _table(_source(path, form, texts), name, max_rows, unpacked)


def _without_complex(table: UploadedTable, name: str) -> UploadedTable:
    kept = [place for place, column in enumerate(table.columns) if "Complex" not in column.datatype]
    if len(kept) == len(table.columns):
        return table
    gone = [column.name for column in table.columns if "Complex" in column.datatype]
    return UploadedTable(
        tuple(table.columns[place] for place in kept),
        tuple(batch.select(kept) for batch in table.batches),
        tuple(_told(LeftOut(each, "complex numbers have no type in a database"), name) for each in gone),
    )


def _told(column: LeftOut, name: str) -> str:
    return f"{name}: column {column.name} was left out: {column.why}"


def form_of(head: bytes, media_type: str | None = None) -> Form | None:
    """What a file is by its first bytes, and for text by its media type; None for what is no table."""
    if head.startswith(b"SIMPLE  ="):
        return "fits"
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith((columnar.ARROW_FILE, b"\xff\xff\xff\xff")):
        return "arrow"
    start = head
    for mark in _MARKS:
        start = start.removeprefix(mark)
    if start.lstrip(b"\0 \t\r\n").startswith(b"<"):
        return "votable"
    if b"\0" in head or start.lstrip().startswith((b"{", b"[")):
        return None
    lines = [line for line in start.splitlines() if line.strip() and not line.startswith(b"#")]
    has_columns = bool(lines) and any(mark in lines[0] for mark in (b",", b";", b"\t", b"|"))
    says_text = (media_type or "").partition(";")[0].strip().lower() in _TEXT_TYPES
    return "text" if says_text or has_columns or start.startswith(b"# %ECSV") else None


@contextmanager
def _plain(file: BinaryIO, name: str, max_bytes: int) -> Iterator[BinaryIO]:
    """The file itself, or what is packed in it."""
    head = file.read(4)
    file.seek(0)
    packing = next((packing for magic, packing in _PACKED.items() if head.startswith(magic)), None)
    if packing is None:
        yield file
        return
    with tempfile.TemporaryFile() as unpacked:
        try:
            with pa.CompressedInputStream(pa.PythonFile(file, "r"), packing) as packed:
                _copy(packed, unpacked, name, max_bytes)
        except (OSError, pa.ArrowException) as error:
            raise UsageError(f"{name} cannot be unpacked: {error}") from None
        unpacked.seek(0)
        yield unpacked


def _copy(source: BinaryIO | pa.NativeFile, target: BinaryIO, name: str, max_bytes: int) -> None:
    size = 0
    while block := source.read(_BLOCK):
        size += len(block)
        if size > max_bytes:
            raise TooLargeError(f"{name} has more than {max_bytes} bytes, which is the limit here")
        target.write(block)


def _source(path: Path, form: Form, texts: Collection[str]) -> SourceTable:
    if form == "parquet":
        return columnar.parquet_table(path)
    if form == "arrow":
        return columnar.arrow_table(path)
    if form == "text":
        return text.source_table(path, one_column=True, texts=texts)
    # astropy takes a third of a second to import: who uploads FITS waits for it, not every process.
    from astropy.io import fits

    from archive.vo.tables import fits_table

    # It says in many ways that a header makes no sense.
    try:
        with fits.open(path, memmap=False) as hdus:
            tables = [place for place, hdu in enumerate(hdus) if isinstance(hdu, fits.BinTableHDU)]
        if not tables:
            raise UsageError(f"{path.name} has no binary table")
        return fits_table.source_table(path, tables[0])
    except (OSError, ValueError, TypeError, KeyError, IndexError, OverflowError, fits.VerifyError) as error:
        raise UsageError(f"{path.name} cannot be read as FITS: {error}") from None


def _table(source: SourceTable, name: str, max_rows: int, max_unpacked: int) -> UploadedTable:
    if source.rows is not None and source.rows > max_rows:
        raise _too_long(name, max_rows)
    columns = tuple(
        Column(
            each.name.strip() or f"col_{place}", each.datatype, each.arraysize, each.xtype, each.unit, each.ucd,
            each.utype, each.description,
        )
        for place, each in enumerate(source.columns, 1)
    )  # fmt: skip
    names = [column.name for column in columns]
    if twice := next((one for one in names if names.count(one) > 1), None):
        raise UsageError(f"{name} has two columns named {twice!r}; each needs a name of its own")
    schema = arrow_schema(columns)
    batches: list[pa.RecordBatch] = []
    rows = size = 0
    try:
        for arrays in source.read(_CHUNK_ROWS) if columns else ():
            batch = pa.RecordBatch.from_arrays(conformed(pa.record_batch(arrays, names), columns), schema=schema)
            rows += batch.num_rows
            size += batch.nbytes
            if rows > max_rows:
                raise _too_long(name, max_rows)
            if size > max_unpacked:
                raise TooLargeError(f"{name} becomes more than {max_unpacked} bytes, which is the limit here")
            batches.append(batch)
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(f"{name} is damaged: {error}") from None
    except ArchiveError as error:
        if isinstance(error, UsageError | TooLargeError):
            raise
        raise UsageError(f"{name}: {error}") from None
    return UploadedTable(columns, tuple(batches), tuple(_told(each, name) for each in source.left_out))


def _too_long(name: str, max_rows: int) -> TooLargeError:
    return TooLargeError(f"{name} has more than {max_rows} rows, which is the limit here")
