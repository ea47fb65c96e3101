"""Catalogues as products: the file's own row in ObsCore ("measurements"), and the table that it is published as.

Reading and publishing the rows is ingest.catalogues'; tables that are no catalogues (indexes, calibrations) are kept as
what they are.
"""

from pathlib import Path

from archive.vo.errors import ConfigurationError, UsageError
from archive.vo.regions import Circle
from ingest.catalogues.kinds import file_format, table_kind
from ingest.describe.facts import Facts, RefusedError
from ingest.describe.header import FitsFile
from ingest.findings import Finding

MEDIA_TYPES = {
    "votable": "application/x-votable+xml",
    "parquet": "application/vnd.apache.parquet",
    "text": "text/csv",
}
WHOLE_SKY = Circle(0.0, 0.0, 180.0)


def recognises(file: FitsFile) -> bool:
    """A table with rows, which no other describer wanted."""
    return any(hdu.kind in ("table", "ascii") and hdu.shape and hdu.shape[0] > 0 for hdu in file.hdus)


def describe(file: FitsFile, facts: Facts) -> None:
    """A catalogue, or a table that only belongs to other files. RefusedError: its rows cannot be read."""
    kind = table_kind([hdu.header for hdu in file.hdus])
    if kind != "catalogue":
        facts.add("kind", "ancillary", "HDUs", f"a table that serves other files ({kind})")
        return
    file.fill_all()
    _add(file.path, file.relative_path, facts)


def recognises_path(path: Path, head: bytes) -> bool:
    """VOTable, Parquet or delimited text."""
    try:
        return file_format(path) in MEDIA_TYPES
    except UsageError:
        return False


def describe_path(path: Path, facts: Facts) -> None:
    """A catalogue that is no FITS file. RefusedError: it is damaged, or holds no table."""
    facts.media_type = MEDIA_TYPES.get(file_format(path), "application/octet-stream")
    _add(path, path.name, facts)


def _add(path: Path, name: str, facts: Facts) -> None:
    # Loaded here: Arrow comes with the server, and a validator on an author's own disk describes all but catalogues.
    try:
        from ingest.catalogues.reading import read_catalogue
    except ModuleNotFoundError as missing:
        raise ConfigurationError(
            f"{name}: reading a catalogue needs {missing.name}: pip install 'uraniborg[server]'"
        ) from None

    try:
        catalogue = read_catalogue(path)
    except UsageError as error:
        mend = "a catalogue needs named columns and at least one row; else write the table anew."
        finding = Finding("error", "catalogue_unreadable", "table", str(error), mend)
        raise RefusedError(name, (finding,)) from error
    facts.catalogue = catalogue
    for finding in catalogue.findings:
        facts.found(finding)
    facts.add("kind", "catalogue", "table", f"published as {catalogue.table.name}, {catalogue.table.rows} rows")
    facts.add("dataproduct_type", "measurements", "table", "rows of measured sources")
    facts.add("dataproduct_subtype", "catalog", "table")
    facts.add("calib_level", 4, "table", "made from images by analysis (ObsCore 1.1 §4.2)")
    facts.add("obs_title", catalogue.table.title or catalogue.table.description, "table", "the file's own title")
    coverage = catalogue.coverage
    source = f"columns {catalogue.ra}, {catalogue.dec}"
    if coverage.whole_sky:
        facts.add("s_region", WHOLE_SKY, source, "the rows reach over more than half the sky")
        facts.add("s_fov", 360.0, source, "the rows reach over more than half the sky")
    elif coverage.circle is not None:
        circle = coverage.circle
        facts.add("s_ra", circle.ra, source, "middle of the rows")
        facts.add("s_dec", circle.dec, source, "middle of the rows")
        facts.add("s_region", circle, source, "circle around all rows")
        facts.add("s_fov", 2 * circle.radius, source, "circle around all rows")
