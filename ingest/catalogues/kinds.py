"""What a file of tables is: a catalogue, or a spectrum, light curve, event list or index in a table's coat.

Reads headers only and needs no Arrow, so that a survey team's validator can ask it too.
"""

import re
import warnings
from pathlib import Path
from typing import Literal

from astropy.io import fits

from archive.vo.errors import UsageError
from archive.vo.tables.opening import opened

FileFormat = Literal["fits", "votable", "parquet", "text", "other"]
TableKind = Literal[
    "catalogue", "spectrum", "timeseries", "visibility", "event", "index", "gti", "response", "healpix", "moc",
    "instrument", "table", "none",
]  # fmt: skip

_TEXT = {".csv", ".tsv", ".ecsv"}


def file_format(path: Path) -> FileFormat:
    """By its first unpacked bytes; delimited text by its name, since any text could be that."""
    try:
        with opened(path) as file:
            start = file.read(2048)
    except (OSError, EOFError) as error:
        raise UsageError(f"{path.name} cannot be unpacked: {error}") from None
    if start.startswith(b"SIMPLE  ="):
        return "fits"
    if start.startswith(b"PAR1"):
        return "parquet"
    if b"<VOTABLE" in start or b":VOTABLE" in start:
        return "votable"
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return "text" if suffixes and (set(suffixes[-2:]) & _TEXT) else "other"


def table_kind(headers: list[fits.Header]) -> TableKind:
    """What the tables of a FITS file are, from its headers; "none" if its data are images or it has no table."""
    tables = [header for header in headers if _is_table(header)]
    if not tables:
        return "none"
    for header in tables:
        kind = _declared(header)
        if kind:
            return kind
    if any(int(header.get("NAXIS", 0)) >= 2 and not _is_table(header) and int(header.get("NAXIS2", 0)) > 1
           for header in headers):  # fmt: skip
        return "none"
    primary = headers[0]
    if _spectral(tables[0]) or "SPECTRUM" in str(primary.get("PRODCATG", "")):
        return "spectrum"
    if any("ESO DPR CATG" in header or "ESO PRO CATG" in header for header in headers) and not str(
        primary.get("PRODCATG", "")
    ).startswith("SCIENCE.CATALOG"):
        return "instrument"
    # Housekeeping, correlators and calibrations write tables too: a catalogue says so, or tells where its rows are.
    declared = any(_says_catalogue(header) for header in headers)
    return "catalogue" if declared or any(_has_position(header) for header in tables) else "table"


def _is_table(header: fits.Header) -> bool:
    return str(header.get("XTENSION", "")).strip() in ("BINTABLE", "TABLE") and "ZIMAGE" not in header


def _names(header: fits.Header) -> set[str]:
    return {str(header.get(f"TTYPE{i}", "")).strip().upper() for i in range(1, int(header.get("TFIELDS", 0)) + 1)}


def _declared(header: fits.Header) -> TableKind | None:
    """What EXTNAME, HDUCLASS and the columns' names say without doubt."""
    name = str(header.get("EXTNAME", "")).strip().upper()
    classes = [str(header.get(key, "")).strip().upper() for key in ("HDUCLAS1", "HDUCLAS2")]
    columns = _names(header)
    if name.startswith("OI_"):
        return "visibility"
    if str(header.get("MOCORDER", header.get("MOCORD_S", ""))) or str(header.get("PIXTYPE", "")).strip() == "HEALPIX":
        return "healpix" if "PIXTYPE" in header and "MOCORDER" not in header and "MOCVERS" not in header else "moc"
    if "EVENTS" in classes or (name == "EVENTS" and "TIME" in columns):
        return "event"
    if "INDEX" in classes:
        return "index"
    if "SPECTRUM" in classes or name in ("SINGLE DISH",):
        return "spectrum"
    if "RESPONSE" in classes:
        return "spectrum" if "SPECRESP" in columns else "response"
    if "LIGHTCURVE" in classes or name == "LIGHTCURVE" or ("TIME" in columns and "SAP_FLUX" in columns):
        return "timeseries"
    return None


_AXES = {"WAVE", "WAVELENGTH", "LAMBDA", "LOGLAM", "FREQ", "FREQUENCY", "ENERGY", "CHANNEL", "VHELIO", "LAM"}
_VALUES = ("FLUX", "COUNTS", "RATE", "INTENSITY", "SPEC")


def _spectral(header: fits.Header) -> bool:
    columns = _names(header)
    if str(header.get("VOCLASS", "")).upper().startswith("SPECTRUM"):
        return True
    if any(column.endswith("_WL") for column in columns) and any(column.endswith("_SPEC") for column in columns):
        return True
    axis = columns & _AXES or {column for column in columns if column.startswith(("WAVE", "LAMBDA"))}
    return bool(axis) and any(column.startswith(_VALUES) for column in columns) and not columns & {"RA", "RAJ2000"}


def headers_of(path: Path) -> list[fits.Header]:
    """The headers of all HDUs; UsageError if the file cannot be read as FITS."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with fits.open(path, memmap=False, lazy_load_hdus=False) as hdus:
                return [hdu.header for hdu in hdus]
        except (OSError, ValueError, TypeError, IndexError) as error:
            raise UsageError(f"{path.name} cannot be read as FITS: {error}") from None


def recognise(path: Path) -> TableKind:
    """What a file is as a table; VOTables, CSV and Parquet are catalogues."""
    form = file_format(path)
    if form == "fits":
        return table_kind(headers_of(path))
    return "catalogue" if form in ("votable", "text", "parquet") else "none"


def catalogue_hdu(path: Path) -> int:
    """The number of the HDU to publish: of the tables with a position the one of most bytes, else of all tables.

    Bytes rather than rows: a list of associations has more rows than the sources it points to, and says less.
    """
    headers = headers_of(path)
    sizes = {
        number: (_has_position(header), int(header["NAXIS1"]) * int(header["NAXIS2"]))
        for number, header in enumerate(headers)
        if _is_table(header) and str(header.get("XTENSION")).strip() == "BINTABLE"
    }
    if not sizes:
        raise UsageError(f"{path.name} has no binary table to publish")
    return max(sizes, key=lambda number: sizes[number])


_RA_NAME = re.compile(
    r"^_*(RA([_-]?(J2000|2000|ICRS|DEG|HMS|MEAN|RAD|B?1950|OBJ|S|H))?|ALPHA(WIN)?_?(J2000|SKY)?|TARGET_RA|S_RA|GLON|"
    r"RIGHT_?ASCENSION)$"
)


def _has_position(header: fits.Header) -> bool:
    ucds = [str(header.get(f"TUCD{i}", "")).strip().lower() for i in range(1, int(header["TFIELDS"]) + 1)]
    return any(ucd.startswith("pos.eq.ra") for ucd in ucds) or any(_RA_NAME.match(name) for name in _names(header))


def _says_catalogue(header: fits.Header) -> bool:
    told = " ".join(str(header.get(key, "")) for key in ("PRODCATG", "HDUCLAS1", "HDUCLASS", "EXTNAME")).upper()
    return "CATALOG" in told
