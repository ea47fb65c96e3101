"""Reading a catalogue, whatever its format: the rows in the archive's own types, a chunk at a time."""

from pathlib import Path

from archive.vo.tables import columnar, fits_table, text
from archive.vo.tables.source import NoTableError, SourceTable, arrow_type
from ingest.catalogues import votable
from ingest.catalogues.kinds import catalogue_hdu, file_format
from ingest.catalogues.model import Catalogue, Coverage
from ingest.catalogues.names import table_identifier
from ingest.catalogues.publish import published

__all__ = [
    "Catalogue", "Coverage", "NoTableError", "SourceTable", "arrow_type", "read_catalogue",
    "source_table", "table_identifier",
]  # fmt: skip


def source_table(path: Path) -> SourceTable:
    """The file's table as the file has it. Raises NoTableError if it has none, UsageError if it is damaged."""
    form = file_format(path)
    if form == "fits":
        return fits_table.source_table(path, catalogue_hdu(path))
    if form == "votable":
        return votable.source_table(path)
    if form == "parquet":
        return columnar.parquet_table(path)
    if form == "text":
        return text.source_table(path)
    raise NoTableError(f"{path.name} is no FITS, VOTable, CSV or Parquet file")


def read_catalogue(path: Path, *, table_name: str | None = None, chunk_rows: int = 50_000) -> Catalogue:
    """The catalogue in a file.

    table_name: as users will type it ("cat.hipparcos2"); from the file's name if None.
    chunk_rows: rows of a batch; memory is a few times a batch, whatever the file's size (binary VOTables excepted).
    The file is read whole here (twice where it has positions), and again with each pass over `batches`.
    """
    return published(source_table(path), table_name or table_identifier(path), chunk_rows=chunk_rows)
