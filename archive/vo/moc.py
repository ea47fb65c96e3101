"""Multi-order coverage maps: from regions to a MOC, and a MOC as the file that all clients read (MOC 2.0). Pure."""

import io
from collections.abc import Iterable

import numpy as np
from astropy import units as u
from astropy.coordinates import Latitude, Longitude, SkyCoord
from astropy.io import fits
from mocpy import MOC

from archive.vo.regions import Circle, Point, Polygon, Range, Region

_J_ORDER = 13  # the deepest whose numbers fit 32 bits (MOC 2.0 §4.3.1)
_WHOLE_SKY_DEG = 180.0
_THIN_DEG = 1e-3 / 3600


def moc_of_regions(regions: Iterable[Region], order: int) -> MOC:
    """What regions, ICRS, cover together, in cells of the order and larger; each cell that a region touches is in.

    A position is the cell it lies in.
    """
    circles: list[Circle] = []
    points: list[Point] = []
    parts: list[MOC] = []
    outlines: list[SkyCoord] = []
    for region in regions:
        match region:
            case Circle():
                circles.append(region)
            case Point():
                points.append(region)
            case Polygon():
                ra, dec = np.transpose(region.vertices)
                outlines.append(SkyCoord(ra, dec, unit="deg"))
            case Range():
                parts.append(_range(region, order))
    if any(circle.radius >= _WHOLE_SKY_DEG for circle in circles):
        return MOC.from_depth29_ranges(0, np.array([[0, 12 << 58]], np.uint64))
    if points:
        ra, dec = (np.array([getattr(point, name) for point in points]) for name in ("ra", "dec"))
        parts.append(MOC.from_lonlat(ra * u.deg, dec * u.deg, max_norder=order))
    if circles:
        centres = np.array([(circle.ra, circle.dec, circle.radius) for circle in circles])
        lon, lat = Longitude(centres[:, 0], u.deg), Latitude(centres[:, 1], u.deg)
        parts += MOC.from_cones(lon=lon, lat=lat, radius=centres[:, 2] * u.deg, max_depth=order)
    if outlines:
        parts += MOC.from_polygons(outlines, max_depth=order)
    if not parts:
        return MOC.new_empty(order)
    return parts[0].union(*parts[1:]) if len(parts) > 1 else parts[0]


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
