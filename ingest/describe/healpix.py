"""HEALPix: whole-sky maps and coverage maps (MOC) in tables, and single HiPS tiles."""

import numpy as np
from numpy.typing import NDArray

from archive.vo.regions import Circle, Polygon
from ingest.describe.facts import Facts
from ingest.describe.footprint import to_degrees
from ingest.describe.header import FitsFile, Hdu

FACE_ROW = (2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4)
FACE_COLUMN = (1, 3, 5, 7, 0, 2, 4, 6, 1, 3, 5, 7)


def recognises(file: FitsFile) -> bool:
    """A HEALPix map or a MOC in a table; a HiPS tile."""
    return _table(file) is not None or is_hips_tile(file.primary)


def is_hips_tile(hdu: Hdu) -> bool:
    """An image that names its order and pixel as HiPS tiles do (HiPS 1.0 §4.2.1.3)."""
    keys = ("ORDER", "NPIX")
    return (
        len(hdu.shape) >= 2
        and all(isinstance(hdu.header.get(key), int) for key in keys)
        and str(hdu.header.get("CTYPE1", "")).strip().endswith("HPX")
    )


def _table(file: FitsFile) -> Hdu | None:
    return next((hdu for hdu in file.hdus if hdu.kind == "table" and (_is_map(hdu) or _is_moc(hdu))), None)


def _is_map(hdu: Hdu) -> bool:
    return (
        isinstance(hdu.header.get("NSIDE"), int)
        and hdu.header["NSIDE"] > 0
        and str(hdu.header.get("PIXTYPE", "")).strip().upper() == "HEALPIX"
    )


def _is_moc(hdu: Hdu) -> bool:
    orders = ("MOCORDER", "MOCORD_S", "MOCORD_T", "MOCVERS")
    return str(hdu.header.get("ORDERING", "")).strip().upper() in ("NUNIQ", "RANGE") and any(
        key in hdu.header for key in orders
    )


def describe(file: FitsFile, facts: Facts) -> None:
    """Add what it is: a map is an image of the whole sky; a MOC is ancillary, a shape without data; a tile an image."""
    if is_hips_tile(file.primary):
        _describe_tile(file.primary, facts)
        return
    table = _table(file)
    if table is None:
        return
    if _is_moc(table):
        facts.add("kind", "ancillary", table.label, "a coverage map (MOC)")
        facts.add("dataproduct_subtype", "moc", table.label, "ORDERING and MOCORDER")
        facts.add("calib_level", 3, table.label, "derived from a survey")
        return
    nside = int(table.header["NSIDE"])
    facts.add("dataproduct_type", "image", table.label, "a HEALPix map of the sky")
    facts.add("dataproduct_subtype", "healpix", table.label, "PIXTYPE")
    facts.add("calib_level", 3, table.label, "a map of the whole sky")
    scale = float(np.degrees(np.sqrt(4 * np.pi / (12 * nside**2))) * 3600)
    facts.add("s_pixel_scale", scale, f"{table.label} NSIDE", "square root of a pixel's area")
    stokes = [
        name[0]
        for name in table.columns
        if name.upper().rstrip("_") in {"I_STOKES", "Q_STOKES", "U_STOKES", "V_STOKES"}
    ]
    if stokes:
        facts.add("pol_states", "/" + "/".join(dict.fromkeys(stokes)) + "/", f"{table.label} TTYPEn", "columns")
        facts.add("pol_xel", len(set(stokes)), f"{table.label} TTYPEn", "columns")
    if _covers_all(table, nside):
        facts.add("s_region", Circle(0.0, 0.0, 180.0), f"{table.label} NSIDE", "the whole sky")
        facts.add("s_fov", 360.0, f"{table.label} NSIDE", "the whole sky")


def _covers_all(table: Hdu, nside: int) -> bool:
    """All pixels are there, by FIRSTPIX and LASTPIX; a partial map lists its pixels."""
    first, last = table.header.get("FIRSTPIX", 0), table.header.get("LASTPIX")
    if not isinstance(first, int) or not isinstance(last, int):
        return False
    explicit = str(table.header.get("INDXSCHM", "IMPLICIT")).strip().upper() == "EXPLICIT"
    return not explicit and last - first + 1 == 12 * nside**2


def _describe_tile(hdu: Hdu, facts: Facts) -> None:
    order, npix = int(hdu.header["ORDER"]), int(hdu.header["NPIX"])
    corners = nested_corners(order, npix)
    centre = corners.sum(axis=0) / np.linalg.norm(corners.sum(axis=0))
    source = f"{hdu.label} ORDER, NPIX"
    facts.add("dataproduct_type", "image", source, "a HiPS tile")
    facts.add("dataproduct_subtype", "hips.tile", source, "a HiPS tile")
    facts.add("calib_level", 3, source, "resampled from a survey")
    ra, dec = to_degrees(centre)
    facts.add(
        "s_region", Polygon(tuple(to_degrees(corner) for corner in corners)), source, "the HEALPix pixel of the tile"
    )
    facts.add("s_ra", ra, source, "centre of the HEALPix pixel")
    facts.add("s_dec", dec, source, "centre of the HEALPix pixel")
    radius = np.degrees(np.arccos(np.clip(corners @ centre, -1, 1))).max()
    facts.add("s_fov", float(2 * radius), source, "diameter of the circle around the tile")
    width = hdu.shape[-1]
    scale = float(np.degrees(np.sqrt(4 * np.pi / 12)) / 2**order / width * 3600)
    facts.add("s_pixel_scale", scale, source, "square root of a pixel's area")
    facts.add("s_xel1", int(width), hdu.label, "NAXIS1")
    facts.add("s_xel2", int(hdu.shape[-2]), hdu.label, "NAXIS2")


def nested_corners(order: int, npix: int) -> NDArray[np.float64]:
    """Corners of a NESTED HEALPix pixel, unit vectors (4, 3): north, east-most first, counter-clockwise from inside.

    Source: Górski et al. 2005 (ApJ 622, 759), §5: faces, and equations 4 to 9 of the projection.
    """
    nside = 1 << order
    face, rest = divmod(npix, nside * nside)
    x = sum((rest >> (2 * bit) & 1) << bit for bit in range(order))
    y = sum((rest >> (2 * bit + 1) & 1) << bit for bit in range(order))
    return np.array(
        [_on_sphere(face, (x + dx) / nside, (y + dy) / nside) for dx, dy in ((1, 1), (0, 1), (0, 0), (1, 0))]
    )[::-1]


def _on_sphere(face: int, x: float, y: float) -> NDArray[np.float64]:
    """The place of (x, y), each 0 to 1, on a base pixel; x grows to north-east, y to north-west."""
    ring = FACE_ROW[face] - x - y  # 0 at the north pole, 4 at the south pole
    if ring < 1:
        z, width = 1 - ring**2 / 3, ring
    elif ring > 3:
        z, width = -1 + (4 - ring) ** 2 / 3, 4 - ring
    else:
        z, width = (2 - ring) * 2 / 3, 1.0
    offset = (FACE_COLUMN[face] + (x - y) / width) if width > 0 else 0.0
    phi = offset * np.pi / 4
    radius = np.sqrt(max(0.0, 1 - z * z))
    return np.array([radius * np.cos(phi), radius * np.sin(phi), z])
