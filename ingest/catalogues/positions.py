"""Which columns of a catalogue hold the position, and how they become ICRS degrees.

Recognised by UCD first, then by name; hours, radians, sexagesimal text and other frames are converted. Spheres and
frames are astropy's work; the order in which names are tried is ours.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from astropy.coordinates import FK4, FK5, SkyCoord
from astropy.time import Time
from numpy.typing import NDArray

from archive.vo.positions import EQUATORIAL, Frame
from archive.vo.tables.source import SourceColumn, SourceTable
from ingest.catalogues.metadata import ucd, vounit

Unit = Literal["deg", "hour", "rad", "sexagesimal"]

_GALACTIC = (("glon", "glat"), ("_glon", "_glat"), ("l", "b"), ("gal_lon", "gal_lat"))


@dataclass(frozen=True, slots=True)
class PositionColumns:
    """The two columns (numbers in the source table), what their cells are, and the frame they are in.

    equinox: years, of fk4 and fk5.
    """

    lon: int
    lat: int
    lon_unit: Unit
    lat_unit: Unit
    frame: Frame
    equinox: float

    @property
    def direct(self) -> bool:
        """Whether the cells are ICRS degrees as they stand, but for rows off the sphere."""
        return (self.lon_unit, self.lat_unit, self.frame) == ("deg", "deg", "icrs")


def position_columns(source: SourceTable) -> PositionColumns | None:
    """The main position of a table, or None without one."""
    columns = source.columns
    ucds = [ucd(column.ucd) or "" for column in columns]
    names = {column.name.strip().lower(): index for index, column in reversed(list(enumerate(columns)))}

    def by_ucd(lon: str, lat: str) -> tuple[int, int] | None:
        return (ucds.index(lon), ucds.index(lat)) if lon in ucds and lat in ucds else None

    def by_name(lon: str, lat: str) -> tuple[int, int] | None:
        return (names[lon], names[lat]) if lon in names and lat in names else None

    found = by_ucd("pos.eq.ra;meta.main", "pos.eq.dec;meta.main")
    if found and (made := _made(source, *found, None)):
        return made
    for lon, lat, frame in EQUATORIAL:
        if (found := by_name(lon, lat)) and (made := _made(source, *found, frame)):
            return made
    if (found := by_ucd("pos.eq.ra", "pos.eq.dec")) and (made := _made(source, *found, None)):
        return made
    for found in (by_ucd("pos.galactic.lon", "pos.galactic.lat"), *(by_name(*pair) for pair in _GALACTIC)):
        if found and (made := _made(source, *found, "galactic")):
            return made
    return None


def _made(source: SourceTable, lon: int, lat: int, frame: Frame | None) -> PositionColumns | None:
    lon_unit, lat_unit = _unit(source.columns[lon], hours=True), _unit(source.columns[lat], hours=False)
    if lon_unit is None or lat_unit is None or (lon_unit == "sexagesimal") != (lat_unit == "sexagesimal"):
        return None
    frame, equinox = (frame, 1950.0 if frame == "fk4" else 2000.0) if frame else _frame(source)
    # Single precision steps by 0.1 arcsec at 360 degrees: FK5's 0.02 arcsec from ICRS is below what the cells can say.
    if frame == "fk5" and equinox == 2000.0 and source.columns[lon].datatype == "float":
        frame = "icrs"
    return PositionColumns(lon, lat, lon_unit, lat_unit, frame, equinox)


def _unit(column: SourceColumn, *, hours: bool) -> Unit | None:
    if column.datatype in ("char", "unicodeChar"):
        return "sexagesimal"
    if column.datatype not in ("float", "double", "int", "short", "long") or column.arraysize not in (None, "1"):
        return None
    word = (column.unit or "").strip().lower().strip('"')
    if hours and (word in ("h", "hr", "hour", "hours", "hourangle", "h:m:s") or vounit(column.unit) == "h"):
        return "hour"
    if word in ("rad", "radian", "radians") or (not word and column.name.lower().endswith("rad")):
        return "rad"
    return "deg" if word in ("", "deg", "degree", "degrees") or vounit(column.unit) == "deg" else None


def _frame(source: SourceTable) -> tuple[Frame, float]:
    told = (source.frame or "ICRS").upper().replace("-", "").strip()
    if told.startswith("FK4"):
        return "fk4", source.equinox or 1950.0
    if told.startswith("FK5"):
        return "fk5", source.equinox or 2000.0
    return ("galactic", 2000.0) if told.startswith("GAL") else ("icrs", 2000.0)


def icrs_degrees(position: PositionColumns, lon: pa.Array, lat: pa.Array) -> tuple[pa.Array, pa.Array]:
    """The positions of a chunk as two double arrays, ICRS degrees, 0 <= ra < 360; null where there is none.

    Text that is no sexagesimal position, latitudes beyond the poles, NaN and infinity become null.
    """
    first = _degrees(lon, position.lon_unit, hours=position.frame != "galactic")
    second = _degrees(lat, position.lat_unit, hours=False)
    good = np.isfinite(first) & np.isfinite(second) & (np.abs(second) <= 90) & (first >= -360) & (first <= 720)
    if position.frame != "icrs" and good.any():
        sky = _sky(position, first[good], second[good]).icrs
        first[good], second[good] = sky.ra.deg, sky.dec.deg
    first = np.mod(first, 360.0, where=good, out=first)
    first[first >= 360.0] = 0.0
    return pa.array(first, mask=~good), pa.array(second, mask=~good)


def _sky(position: PositionColumns, lon: NDArray[np.float64], lat: NDArray[np.float64]) -> SkyCoord:
    if position.frame == "galactic":
        return SkyCoord(l=lon, b=lat, unit="deg", frame="galactic")
    if position.frame == "fk4":
        equinox = Time(position.equinox, format="byear")
        return SkyCoord(ra=lon, dec=lat, unit="deg", frame=FK4(equinox=equinox, obstime=equinox))
    return SkyCoord(ra=lon, dec=lat, unit="deg", frame=FK5(equinox=Time(position.equinox, format="jyear")))


def _degrees(cells: pa.Array, unit: Unit, *, hours: bool) -> NDArray[np.float64]:
    """A writable array of degrees, NaN for null and for what is no number."""
    if unit == "sexagesimal":
        return _sexagesimal(cells) * (15.0 if hours else 1.0)
    numbers = np.array(cells.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False))
    return numbers * {"deg": 1.0, "hour": 15.0, "rad": 180.0 / np.pi}[unit]


_SEXAGESIMAL = r"^\s*(?P<sign>[+-]?)\s*(?P<d>\d{1,3})[\s:hd°]+(?P<m>\d{1,2})[\s:m'′]*(?P<s>\d{0,2}(?:\.\d*)?)[\s\"s″]*$"


def _sexagesimal(cells: pa.Array) -> NDArray[np.float64]:
    """Hours or degrees, minutes, seconds as one number; minutes or seconds of 60 and more are no position."""
    parts = pc.extract_regex(cells, _SEXAGESIMAL)

    def numbers(name: str) -> NDArray[np.float64]:
        field = pc.struct_field(parts, name)
        field = pc.if_else(pc.equal(field, ""), "0", field)
        return np.array(field.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False))

    degrees, minutes, seconds = numbers("d"), numbers("m"), numbers("s")
    value = degrees + minutes / 60 + seconds / 3600
    value[(minutes >= 60) | (seconds >= 60)] = np.nan
    minus = pc.equal(pc.struct_field(parts, "sign"), "-").fill_null(False).to_numpy(zero_copy_only=False)
    return np.where(minus, -value, value)
