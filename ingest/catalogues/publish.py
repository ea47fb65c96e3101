"""From a table as its file has it to one the archive can publish: names, units, UCDs, one main position, coverage.

No database: the table's DDL, its index on the sky and its rows in TAP_SCHEMA are ingest.queries' and
archive.holdings.published's.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from astropy.coordinates import SkyCoord

from archive.vo.columns import Column, Table
from archive.vo.regions import Circle
from archive.vo.tables.source import LeftOut, NoTableError, SourceColumn, SourceTable
from ingest.catalogues.metadata import IDENTIFIERS, is_no_unit, ucd, ucd_of_name, vounit
from ingest.catalogues.model import Catalogue, Coverage
from ingest.catalogues.names import unique_identifiers
from ingest.catalogues.positions import PositionColumns, icrs_degrees, position_columns
from ingest.findings import Finding

RA_MAIN, DEC_MAIN = "pos.eq.ra;meta.main", "pos.eq.dec;meta.main"
HELD_ROWS = 500_000  # 24 bytes each


def published(source: SourceTable, table_name: str, *, chunk_rows: int = 50_000) -> Catalogue:
    """The catalogue of a source table.

    table_name: schema and table, both identifiers. chunk_rows: the most rows of a batch, and all that is held at once.
    Columns `ra_deg` and `dec_deg` (double, ICRS) are added at the end where the file's own are not ICRS degrees in
    [0, 360) in every row. Raises NoTableError for a table without columns or rows.
    """
    if not source.columns:
        raise NoTableError(f"{table_name} has no column that could be published")
    findings = [_left_out(column) for column in source.left_out]
    position = position_columns(source)
    survey = _survey(source, position, chunk_rows)
    if survey.rows == 0:
        raise NoTableError(f"{table_name} has no rows")
    if position is None:
        findings.append(
            Finding("warning", "no_position", "table", "no position was recognised: no index on the sky",
                    "name the columns ra and dec, or give them the UCDs pos.eq.ra;meta.main and pos.eq.dec;meta.main")
        )  # fmt: skip
    derived = position is not None and (not position.direct or survey.outside > 0)
    if position is not None and survey.outside:
        findings.append(
            Finding("warning", "positions_out_of_range", source.columns[position.lon].name,
                    f"{survey.outside} rows have no position in [0, 360) x [-90, 90] as they stand",
                    "the columns ra_deg and dec_deg hold what could be brought there, NULL for the rest")
        )  # fmt: skip
    columns, more = _columns(source, position, derived)
    findings += more
    ra, dec = _main_names(columns, position, derived)
    table = Table(table_name, columns, source.description, title=source.title, rows=survey.rows,
                  origin=source.origin)  # fmt: skip
    batches = _Batches(source, position if derived else None, table, chunk_rows)
    return Catalogue(table, batches, survey.coverage(), ra, dec, tuple(findings))


def _left_out(column: LeftOut) -> Finding:
    if column.empty:
        return Finding("info", "column_empty", column.name, column.why)
    return Finding("warning", "column_not_published", column.name, column.why, column.mend)


def _main_names(
    columns: tuple[Column, ...], position: PositionColumns | None, derived: bool
) -> tuple[str | None, str | None]:
    if position is None:
        return None, None
    return (columns[-2].name, columns[-1].name) if derived else (columns[position.lon].name, columns[position.lat].name)


@dataclass(frozen=True, slots=True)
class _Batches:
    """The rows, as often as one asks for them."""

    source: SourceTable
    position: PositionColumns | None  # set where ra_deg and dec_deg are added
    table: Table
    chunk_rows: int

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        names = [column.name for column in self.table.columns]
        for arrays in self.source.read(self.chunk_rows):
            added = icrs_degrees(self.position, arrays[self.position.lon], arrays[self.position.lat]) \
                if self.position else ()  # fmt: skip
            yield pa.RecordBatch.from_arrays([*arrays, *added], names)


def _columns(
    source: SourceTable, position: PositionColumns | None, derived: bool
) -> tuple[tuple[Column, ...], list[Finding]]:
    names = unique_identifiers(column.name for column in source.columns)
    main = (position.lon, position.lat) if position else (-1, -1)
    findings: list[Finding] = []
    columns = []
    for index, (told, name) in enumerate(zip(source.columns, names, strict=True)):
        column, more = _column(told, name)
        findings += more
        # One main position and no other: UCDs of the file that say main, or the pair's own, are settled here.
        if column.ucd in (RA_MAIN, DEC_MAIN) and (index not in main or derived):
            column = replace(column, ucd=column.ucd.removesuffix(";meta.main"))
        if position and index in main and not derived:
            column = replace(column, ucd=(RA_MAIN, DEC_MAIN)[main.index(index)], unit="deg", principal=True)
        columns.append(column)
    columns = _with_identifier(columns)
    if position and derived:
        ra, dec = unique_identifiers(("ra_deg", "dec_deg"), taken=names)
        about = f"from {source.columns[main[0]].name} and {source.columns[main[1]].name}, {position.frame.upper()}"
        columns.append(Column(ra, "double", unit="deg", ucd=RA_MAIN, description=f"Right ascension, ICRS: {about}",
                              principal=True))  # fmt: skip
        columns.append(Column(dec, "double", unit="deg", ucd=DEC_MAIN, description=f"Declination, ICRS: {about}",
                              principal=True))  # fmt: skip
    return tuple(columns), findings


def _column(told: SourceColumn, name: str) -> tuple[Column, list[Finding]]:
    findings = []
    about = [" ".join(told.description.split())] if told.description else []
    unit = vounit(told.unit)
    if unit is None and told.unit and not is_no_unit(told.unit):
        about.append(f"(unit in the file: {told.unit.strip()})")
        findings.append(Finding("info", "unit_unknown", told.name, f"the unit {told.unit.strip()!r} is none of VOUnits",
                                "it is kept in the description"))  # fmt: skip
    known = ucd(told.ucd)
    if known is None and told.ucd:
        findings.append(Finding("info", "ucd_unknown", told.name, f"{told.ucd!r} is no UCD1+ and is left out"))
    recorded = known or ucd_of_name(name)
    if unit is None and is_no_unit(told.unit) and (recorded or "").startswith("phot.mag;"):
        unit = "mag"
    if name != told.name.lower():
        about.append(f"(in the file: {told.name})")
    column = Column(
        name, told.datatype, told.arraysize, told.xtype, unit, recorded, told.utype,
        " ".join(about) or None,
    )  # fmt: skip
    return column, findings


def _with_identifier(columns: list[Column]) -> list[Column]:
    """meta.id;meta.main for one column: the first that says so, else the first whose name is an identifier's."""
    main = "meta.id;meta.main"
    said = [index for index, column in enumerate(columns) if column.ucd == main]
    if not said:
        names = [column.name for column in columns]
        known = [names.index(name) for name in IDENTIFIERS if name in names]
        said = [index for index in known if columns[index].ucd is None and columns[index].datatype != "double"][:1]
    return [
        replace(column, ucd=main, principal=True) if index in said[:1]
        else replace(column, ucd="meta.id") if index in said
        else column
        for index, column in enumerate(columns)
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Survey:
    """What a look at every row told. outside: rows whose cells are not ICRS degrees in range, though present."""

    rows: int
    placed: int
    outside: int
    centre: tuple[float, float] | None
    radius: float

    def coverage(self) -> Coverage:
        if self.centre is None or self.placed == 0:
            return Coverage(self.rows, self.placed, None, whole_sky=self.placed > 0)
        # A single row is a point: its circle is one arcsecond.
        return Coverage(self.rows, self.placed, Circle(*self.centre, max(self.radius, 1 / 3600)))


def _survey(source: SourceTable, position: PositionColumns | None, chunk_rows: int) -> _Survey:
    """How many rows, and where: their mean direction, and the farthest from it.

    Directions are held up to HELD_ROWS; of a longer table they are read a second time.
    """
    if position is None:
        rows = (
            source.rows if source.rows is not None else sum(len(arrays[0]) for arrays in source.read(chunk_rows, [0]))
        )
        return _Survey(rows, 0, 0, None, 0.0)
    rows = placed = outside = 0
    total = np.zeros(3)
    held: list[np.ndarray] = []
    for lon, lat in source.read(chunk_rows, [position.lon, position.lat]):
        rows += len(lon)
        vectors = _vectors(position, lon, lat)
        placed += len(vectors)
        total += vectors.sum(axis=0)
        outside += _outside(position, lon, lat)
        if placed <= HELD_ROWS:
            held.append(vectors)
    length = float(np.linalg.norm(total))
    # Positions all over the sky cancel each other: no centre means anything then.
    if placed == 0 or length < 0.05 * placed:
        return _Survey(rows, placed, outside, None, 180.0)
    mean = total / length
    again = (_vectors(position, *pair) for pair in source.read(chunk_rows, [position.lon, position.lat]))
    farthest = 0.0
    for vectors in held if placed <= HELD_ROWS else again:
        if len(vectors):
            # The chord keeps its precision at small angles, where a cosine has lost it.
            farthest = max(farthest, float(np.linalg.norm(vectors - mean, axis=1).max()))
    radius = float(np.degrees(2 * np.arcsin(min(farthest / 2, 1.0))))
    if radius > 90:
        return _Survey(rows, placed, outside, None, 180.0)
    sky = SkyCoord(*mean, representation_type="cartesian").spherical
    # Rounding up by 1e-9 degrees keeps the farthest row inside its own circle.
    return _Survey(rows, placed, outside, (float(sky.lon.deg) % 360, float(sky.lat.deg)), radius + 1e-9)


def _vectors(position: PositionColumns, lon: pa.Array, lat: pa.Array) -> np.ndarray:
    """Unit vectors, shape (rows with a position, 3)."""
    ra, dec = (
        np.radians(column.drop_null().to_numpy(zero_copy_only=False)) for column in icrs_degrees(position, lon, lat)
    )
    return np.column_stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])


def _outside(position: PositionColumns, lon: pa.Array, lat: pa.Array) -> int:
    if not position.direct:
        return 0
    ra, dec = (column.cast(pa.float64()).fill_null(0).to_numpy(zero_copy_only=False) for column in (lon, lat))
    return int((~((ra >= 0) & (ra < 360) & (dec >= -90) & (dec <= 90))).sum())
