"""Outlines on the sky: from the valid pixels of images to an s_region that a database can trust.

The outline is the convex hull, in pixels, of what is not blank; its edges are sampled, taken to the sky and thinned
again, so that curved edges are followed and straight ones stay two corners. Mosaics become the convex hull on the
sphere of all their pieces. What covers a hemisphere or more becomes a circle: great-circle polygons cannot say it.
Never self-crossing; counter-clockwise seen from inside the sphere (DALI 1.2 §3.10).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive.vo.regions import Circle, Polygon
from ingest.describe.header import FitsFile, Hdu
from ingest.describe.wcs import Celestial

Vectors = NDArray[np.float64]
MAX_POLYGON_RADIUS = 80.0  # degrees: gnomonic arithmetic stays exact, and "the smaller side" stays the one meant
ALL_SKY_RADIUS = 165.0  # degrees: a circle that misses less than the last 15 degrees is meant as the whole sky
EDGE_SAMPLES = 256


@dataclass(frozen=True, slots=True)
class Outline:
    """One image's outline. ring: unit vectors in order, (n, 3). inside: samples of its area, (m, 3).

    centre: of the valid hull, a unit vector. pixel_scale: arcsec, at the centre.
    """

    ring: Vectors
    inside: Vectors
    centre: Vectors
    pixel_scale: float


@dataclass(frozen=True, slots=True)
class Footprint:
    """region: ICRS. ra, dec: its centre; fov: diameter of the circle around it; degrees. pixel_scale: arcsec."""

    region: Circle | Polygon
    ra: float
    dec: float
    fov: float
    pixel_scale: float


def outline(file: FitsFile, hdu: Hdu, sky: Celestial, *, max_pixels: int = 100_000_000) -> Outline | None:
    """The outline of an HDU's valid pixels; None if no pixel has a place on the sky.

    max_pixels: how many pixels may be looked at; a larger image is looked at with a stride, and its outline is then
    right to that stride.
    """
    extent = valid_extent(file, hdu, sky, max_pixels)
    ny, nx = sky.shape
    if extent is None:
        extent = _whole(ny, nx)
    hull = _hull(_corners(extent))
    ring = sky.to_icrs(*_along(hull).T)
    if not np.isfinite(ring).all():
        # The projection ends inside the image: only pixels with a place on the sky count.
        finite = _on_sky(sky, extent, max_pixels=1_000_000)
        if finite is None:
            return None
        hull = _hull(_centres(finite))
        ring = sky.to_icrs(*_along(hull).T)
        ring = ring[np.isfinite(ring).all(axis=1)]
    inside = sky.to_icrs(*_samples(extent).T)
    inside = np.vstack([inside[np.isfinite(inside).all(axis=1)], ring])
    if len(ring) < 3:
        return None
    middle = _centroid(hull)
    centre = sky.to_icrs(middle[:1], middle[1:])[0]
    if not np.isfinite(centre).all():
        centre = _unit(inside.mean(axis=0))
        middle = hull[0]
    return Outline(ring, inside, centre, _pixel_scale(sky, middle))


def footprint(outlines: Sequence[Outline]) -> Footprint:
    """The footprint of one or several outlines (a mosaic: convex hull on the sphere). At least one is needed."""
    inside = np.vstack([entry.inside for entry in outlines])
    scale = float(np.median([entry.pixel_scale for entry in outlines]))
    mean = inside.mean(axis=0)
    centre = outlines[0].centre if len(outlines) == 1 else _unit(mean)
    radius = float(_angles(inside, centre).max())
    if radius > MAX_POLYGON_RADIUS:
        return _wide(inside, mean, centre, radius, scale)
    if len(outlines) == 1:
        ring = _thinned(outlines[0].ring, max(0.2 * scale / 3600, 1e-5 * radius))
        if not _is_simple(_gnomonic(ring, centre)):
            ring = _sphere_hull(outlines[0].ring, centre)
    else:
        ring = _sphere_hull(np.vstack([entry.ring for entry in outlines]), centre)
        ring = _thinned(ring, max(0.2 * scale / 3600, 1e-5 * radius))
        centre = _from_plane(_centroid(_gnomonic(ring, centre)), centre)
    ra, dec = to_degrees(centre)
    fov = 2 * min(float(_angles(ring, centre).max()), _enclosing_radius(ring))
    vertices = tuple(to_degrees(vector) for vector in _counter_clockwise(ring, centre))
    return Footprint(Polygon(vertices), ra, dec, fov, scale)


def _wide(inside: Vectors, mean: Vectors, centre: Vectors, radius: float, scale: float) -> Footprint:
    """A circle for what a polygon cannot say: the whole sky is Circle(ra, dec, 180) about its centre."""
    if np.linalg.norm(mean) > 0.05 and _angles(inside, _unit(mean)).max() < radius:
        centre = _unit(mean)
        radius = float(_angles(inside, centre).max())
    radius = 180.0 if radius > ALL_SKY_RADIUS else radius
    ra, dec = to_degrees(centre)
    return Footprint(Circle(ra, dec, radius), ra, dec, min(2 * radius, 360.0), scale)


def to_degrees(vector: Vectors) -> tuple[float, float]:
    """(ra, dec) of a unit vector; 0 <= ra < 360."""
    x, y, z = (float(part) for part in vector)
    ra = round(float(np.degrees(np.arctan2(y, x))) % 360.0, 10) % 360.0
    return ra, round(float(np.degrees(np.arctan2(z, np.hypot(x, y)))), 10)


# ---- which pixels are valid

Extent = NDArray[np.float64]  # (n, 3): row, first valid column, last valid column


def valid_extent(file: FitsFile, hdu: Hdu, sky: Celestial, max_pixels: int) -> Extent | None:
    """First and last valid pixel of each row, where any is; None if all pixels are valid or none is.

    Valid: finite, or not BLANK (FITS 4.0 §5.3, §6). A pixel of a cube is valid if it is in any plane looked at.
    """
    blank = hdu.header.get("BLANK", hdu.header.get("ZBLANK"))
    bitpix = hdu.header.get("BITPIX", hdu.header.get("ZBITPIX", 8))
    if bitpix > 0 and blank is None:
        return None
    # Compressed pixels come scaled, with NaN where they were blank; others as they lie.
    data = file.stored_pixels(hdu.index)
    planes = np.moveaxis(data, (sky.axes[1], sky.axes[0]), (-2, -1)).reshape((-1, *sky.shape))
    ny, nx = sky.shape
    wanted = max(1, min(len(planes), max_pixels // (ny * nx)))
    stride = max(1, int(np.ceil(np.sqrt(ny * nx / max_pixels))))
    valid = np.zeros((-(-ny // stride), -(-nx // stride)), dtype=bool)
    for index in np.unique(np.linspace(0, len(planes) - 1, wanted).astype(int)):
        valid |= _valid(planes[index][::stride, ::stride], blank)
        if valid.all():
            return None
    if not valid.any():
        return None
    return _extent(valid, stride, ny, nx)


def _valid(plane: NDArray[Any], blank: Any) -> NDArray[np.bool_]:
    if plane.dtype.kind == "f":
        return np.asarray(np.isfinite(plane), dtype=bool)
    return np.asarray(plane != blank, dtype=bool)


def _extent(valid: NDArray[np.bool_], stride: int, ny: int, nx: int) -> Extent:
    rows = np.flatnonzero(valid.any(axis=1))
    first = valid[rows].argmax(axis=1)
    last = valid.shape[1] - 1 - valid[rows][:, ::-1].argmax(axis=1)
    # A stride sees every n-th pixel: what lies between the last one seen and the edge belongs to it.
    return np.column_stack(
        [np.minimum(rows * stride, ny - 1), first * stride, np.minimum((last + 1) * stride - 1, nx - 1)]
    )


def _whole(ny: int, nx: int) -> Extent:
    return np.array([[0, 0, nx - 1], [ny - 1, 0, nx - 1]], dtype=float)


def _corners(extent: Extent) -> Vectors:
    """Outer corners of the pixels at both ends of each row, in 0-based pixels whose centres are whole numbers."""
    y, left, right = extent.T
    return np.vstack([np.column_stack([x, y + up]) for x in (left - 0.5, right + 0.5) for up in (-0.5, 0.5)])


def _centres(extent: Extent) -> Vectors:
    y, left, right = extent.T
    return np.vstack([np.column_stack([left, y]), np.column_stack([right, y])])


def _samples(extent: Extent, across: int = 24) -> Vectors:
    """Points spread over the valid area: across each of up to `across` rows."""
    low, high = extent[0, 0], extent[-1, 0]
    y = np.linspace(low, high, across)
    left, right = (np.interp(y, extent[:, 0], extent[:, i]) for i in (1, 2))
    fraction = np.linspace(0, 1, across)
    x = left[:, None] + fraction * (right - left)[:, None]
    return np.column_stack([x.ravel(), np.repeat(y, across)])


def _on_sky(sky: Celestial, extent: Extent, max_pixels: int) -> Extent | None:
    """The extent cut to where the projection has a place on the sky."""
    ny, nx = sky.shape
    stride = max(1, int(np.ceil(np.sqrt(ny * nx / max_pixels))))
    rows, columns = np.arange(0, ny, stride), np.arange(0, nx, stride)
    grid_x, grid_y = np.meshgrid(columns, rows)
    finite = np.isfinite(sky.to_icrs(grid_x.ravel(), grid_y.ravel())).all(axis=1).reshape(grid_x.shape)
    left, right = (np.interp(rows, extent[:, 0], extent[:, i], left=np.nan, right=np.nan) for i in (1, 2))
    finite &= (columns >= left[:, None]) & (columns <= right[:, None])
    if not finite.any():
        return None
    kept = np.flatnonzero(finite.any(axis=1))
    first = finite[kept].argmax(axis=1)
    last = finite.shape[1] - 1 - finite[kept][:, ::-1].argmax(axis=1)
    return np.column_stack([rows[kept], columns[first], columns[last]]).astype(float)


# ---- plane geometry


def _hull(points: Vectors) -> Vectors:
    """Convex hull, counter-clockwise in (x, y), without points on its edges (Andrew's monotone chain)."""
    ordered = np.unique(points, axis=0)
    if len(ordered) < 3:
        return ordered

    def chain(sequence: Vectors) -> list[Vectors]:
        kept: list[Vectors] = []
        for point in sequence.tolist():
            while len(kept) > 1 and _turn(kept[-2], kept[-1], point) <= 0:
                kept.pop()
            kept.append(point)
        return kept[:-1]

    return np.array(chain(ordered) + chain(ordered[::-1]))


def _turn(a: Any, b: Any, c: Any) -> float:
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))


def _along(hull: Vectors) -> Vectors:
    """The hull's vertices with points between them, about EDGE_SAMPLES in all, in order."""
    following = np.roll(hull, -1, axis=0)
    lengths = np.linalg.norm(following - hull, axis=1)
    counts = np.maximum(1, np.ceil(EDGE_SAMPLES * lengths / lengths.sum())).astype(int)
    pieces = [a + (b - a) * (np.arange(n) / n)[:, None] for a, b, n in zip(hull, following, counts, strict=True)]
    return np.vstack(pieces)


def _centroid(polygon: Vectors) -> Vectors:
    """Centre of area of a plane polygon; the mean of its points if it has no area."""
    origin = polygon[0]
    x, y = (polygon - origin).T
    cross = x * np.roll(y, -1) - np.roll(x, -1) * y
    area = cross.sum() / 2
    if len(polygon) < 3 or area == 0:
        return np.asarray(polygon.mean(axis=0))
    centre = [((part + np.roll(part, -1)) * cross).sum() / (6 * area) for part in (x, y)]
    return np.asarray(origin + centre)


def _is_simple(polygon: Vectors) -> bool:
    """True if no two edges of a plane polygon cross."""
    a, b = polygon, np.roll(polygon, -1, axis=0)

    def side(p: Vectors, q: Vectors, r: Vectors) -> Vectors:
        return (q[..., 0] - p[..., 0]) * (r[..., 1] - p[..., 1]) - (q[..., 1] - p[..., 1]) * (r[..., 0] - p[..., 0])

    first, second = (a[:, None], b[:, None]), (a[None, :], b[None, :])
    crossing = (side(*first, second[0]) * side(*first, second[1]) < 0) & (
        side(*second, first[0]) * side(*second, first[1]) < 0
    )
    return not crossing.any()


# ---- geometry on the sphere


def _unit(vector: Vectors) -> Vectors:
    return np.asarray(vector / np.linalg.norm(vector, axis=-1, keepdims=True))


def _angles(vectors: Vectors, centre: Vectors) -> Vectors:
    """Degrees between vectors and a centre, exact for small angles too."""
    cross = np.linalg.norm(np.cross(vectors, centre), axis=-1)
    return np.asarray(np.degrees(np.arctan2(cross, vectors @ centre)))


def _axes(centre: Vectors) -> tuple[Vectors, Vectors]:
    """East and north at a centre (any two axes at the poles)."""
    east = np.cross([0.0, 0.0, 1.0], centre)
    east = _unit(east) if np.linalg.norm(east) > 1e-12 else np.array([0.0, 1.0, 0.0])
    return east, np.cross(centre, east)


def _gnomonic(vectors: Vectors, centre: Vectors) -> Vectors:
    """The tangent plane, where great circles are straight lines: (east, north)."""
    east, north = _axes(centre)
    depth = vectors @ centre
    return np.column_stack([vectors @ east / depth, vectors @ north / depth])


def _from_plane(point: Vectors, centre: Vectors) -> Vectors:
    east, north = _axes(centre)
    return _unit(centre + point[0] * east + point[1] * north)


def _sphere_hull(vectors: Vectors, centre: Vectors) -> Vectors:
    hull = _hull(_gnomonic(vectors, centre))
    return np.array([_from_plane(point, centre) for point in hull])


def _counter_clockwise(ring: Vectors, centre: Vectors) -> Vectors:
    """Counter-clockwise seen from inside, north up and east left: clockwise in (east, north)."""
    x, y = _gnomonic(ring, centre).T
    area = (x * np.roll(y, -1) - np.roll(x, -1) * y).sum()
    return ring[::-1] if area > 0 else ring


def _thinned(ring: Vectors, tolerance: float) -> Vectors:
    """The ring without points within tolerance (degrees) of the great circles between those kept (Douglas-Peucker)."""
    far = int(_angles(ring, ring[0]).argmax())
    closed = np.vstack([ring, ring[:1]])
    keep = np.zeros(len(closed), dtype=bool)
    keep[[0, far]] = True
    stack = [(0, far), (far, len(ring))]
    while stack:
        low, high = stack.pop()
        if high - low < 2:
            continue
        normal = np.cross(closed[low], closed[high])
        length = np.linalg.norm(normal)
        between = closed[low + 1 : high]
        away = np.abs(between @ (normal / length)) if length > 1e-15 else np.linalg.norm(between - closed[low], axis=1)
        worst = int(away.argmax())
        if np.degrees(away[worst]) > tolerance:
            keep[low + 1 + worst] = True
            stack += [(low, low + 1 + worst), (low + 1 + worst, high)]
    thin = ring[keep[:-1]]
    return thin if len(thin) >= 3 else ring


def _enclosing_radius(vectors: Vectors, rounds: int = 400) -> float:
    """Radius, degrees, of nearly the smallest circle around points (Badoiu and Clarkson: step towards the farthest)."""
    centre = _unit(vectors.mean(axis=0))
    least = 4.0  # square of the chord to the farthest point: keeps its precision at small angles, and costs no cross
    for step in range(1, rounds + 1):
        chords = vectors - centre
        squares = np.einsum("ij,ij->i", chords, chords)
        farthest = int(squares.argmax())
        least = min(least, float(squares[farthest]))
        centre = centre + chords[farthest] / (step + 1)
        centre /= np.sqrt(centre @ centre)
    return float(np.degrees(2 * np.arcsin(np.sqrt(least) / 2)))


def _pixel_scale(sky: Celestial, middle: Vectors) -> float:
    """arcsec: square root of the area of the pixel at a place."""
    x = middle[0] + np.array([-0.5, 0.5, 0.0, 0.0])
    y = middle[1] + np.array([0.0, 0.0, -0.5, 0.5])
    west, east, south, north = sky.to_icrs(x, y)
    area = float(np.linalg.norm(np.cross(east - west, north - south)))
    return float(np.degrees(np.sqrt(area)) * 3600)
