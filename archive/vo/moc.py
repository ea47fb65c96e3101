"""Multi-order coverage maps: from regions to a MOC, and a MOC as the file that all clients read (MOC 2.0). Pure."""

import io
from collections.abc import Iterable

import numpy as np
from astropy import units as u
from astropy.coordinates import Latitude, Longitude, SkyCoord
from astropy.io import fits
from mocpy import MOC
from numpy.typing import NDArray

from archive.vo.regions import Circle, Point, Polygon, Range, Region

_J_ORDER = 13  # the deepest whose numbers fit 32 bits (MOC 2.0 §4.3.1)
_HALF_SKY_DEG = 90.0
_WIDEST_CELL_DEG = 120.0  # across a cell of order 0, by far
_THIN_DEG = 1e-3 / 3600
# mocpy takes the whole of a large cell for a cone whose centre is that cell's centre to the last bit, as (0, 0) is.
_BESIDE_DEG = 1e-9


def moc_of_regions(regions: Iterable[Region], order: int) -> MOC:
    """What regions, ICRS, cover together, in cells of the order and larger; each cell that a region touches is in.

    A position is the cell it lies in.
    """
    circles: list[Circle] = []
    wide: list[Circle] = []
    points: list[Point] = []
    parts: list[MOC] = []
    outlines: dict[int, list[NDArray[np.float64]]] = {}
    for region in regions:
        match region:
            case Circle():
                (circles if region.radius <= _HALF_SKY_DEG else wide).append(region)
            case Point():
                points.append(region)
            case Polygon():
                ra, dec = np.transpose(region.vertices)
                outlines.setdefault(len(ra), []).extend((ra % 360.0, dec))
            case Range():
                parts.append(_range(region, order))
    if points:
        ra, dec = (np.array([getattr(point, name) for point in points]) for name in ("ra", "dec"))
        parts.append(MOC.from_lonlat(ra * u.deg, dec * u.deg, max_norder=order))
    if circles:
        centres = np.array([(circle.ra, circle.dec, circle.radius) for circle in circles])
        lon, lat = Longitude(centres[:, 0] + _BESIDE_DEG, u.deg), Latitude(centres[:, 1], u.deg)
        parts += MOC.from_cones(lon=lon, lat=lat, radius=(centres[:, 2] + _BESIDE_DEG) * u.deg, max_depth=order)
    for lines in outlines.values():  # of as many vertices each: an array, which is a hundred times as fast as SkyCoords
        parts += MOC.from_polygons(np.array(lines), max_depth=order)
    parts += [_wide(circle, order) for circle in wide]
    if not parts:
        return MOC.new_empty(order)
    return parts[0].union(*parts[1:]) if len(parts) > 1 else parts[0]


def _wide(circle: Circle, order: int) -> MOC:
    """A circle of more than half the sky, by what it leaves out: mocpy's cones lose cells from 160 degrees on."""
    left_out = 180.0 - circle.radius - _BESIDE_DEG - _WIDEST_CELL_DEG / (1 << order)
    if left_out <= 0:
        return MOC.from_depth29_ranges(0, np.array([[0, 12 << 58]], np.uint64))
    lon, lat = Longitude(circle.ra + 180.0 + _BESIDE_DEG, u.deg), Latitude(-circle.dec, u.deg)
    return MOC.from_cone(lon=lon, lat=lat, radius=left_out * u.deg, max_depth=order).complement()


def _range(region: Range, order: int) -> MOC:
    """A range of ra and dec as a MOC: mocpy's zone runs eastward from the first meridian to the second."""
    # It takes no zone of no width or height: what is that thin is taken as a thousandth of an arcsecond.
    ra_min, ra_max = region.ra_min % 360.0, (region.ra_min + max(region.width, _THIN_DEG)) % 360.0
    if region.width >= 360:
        ra_min, ra_max = 0.0, 360.0
    dec_min = min(region.dec_min, 90.0 - _THIN_DEG)
    dec_max = max(region.dec_max, dec_min + _THIN_DEG)
    return MOC.from_zone(SkyCoord([ra_min, ra_max], [dec_min, dec_max], unit="deg"), order)


def moc_fits(moc: MOC) -> bytes:
    """Moc.fits as all clients read it: NUNIQ, ICRS (MOC-04, MOC-05; MOC 2.0 §4.3.1)."""
    uniq = np.sort(np.asarray(moc.uniq_hpx, dtype=np.int64))
    order = int(moc.max_order)
    code, kind = ("1J", ">i4") if order <= _J_ORDER else ("1K", ">i8")
    table = fits.BinTableHDU.from_columns([fits.Column("UNIQ", code, array=uniq.astype(kind))])
    cards: dict[str, str | int] = {
        "PIXTYPE": "HEALPIX", "ORDERING": "NUNIQ", "COORDSYS": "C", "MOCDIM": "SPACE", "MOCORD_S": order,
        "MOCORDER": order, "MOCVERS": "2.0", "MOCTOOL": "Uraniborg",
    }  # fmt: skip
    table.header.update(cards)
    written = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(written)
    return written.getvalue()
