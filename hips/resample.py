"""From images to tiles: where a tile's pixels lie on an image, and what the image has there. Arrays and WCS only.

The image's whole WCS counts, distortions too, but it is not asked for each of a tile's 262,144 pixels: it is smooth, so
positions are computed at some, interpolated between (Lagrange, at nodes near Chebyshev's), and held against positions
computed at others. Where the two differ by more than a hundredth of a pixel (a seam of the projection, the edge of
HEALPix's polar caps, the end of a distortion's validity) the square is divided, and at last computed pixel by pixel.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from astropy.wcs import WCS, NoConvergence
from numpy.typing import NDArray

from hips.frames import Frame
from hips.tile import Tile
from hips.tiling import pixel_vectors

Doubles = NDArray[np.float64]
Pixels = NDArray[np.float32]
TOLERANCE_PIX = 0.01
_NODES, _CHECKS, _EXACT = 9, 6, 32
_LEAST_WEIGHT = 1e-3
_ROUNDING = 1e-6  # pixels: the meridian where a map of the whole sky begins and ends is on one of its edges, or both
# A blank pixel must neither grow nor shrink: a value stands if pixels that have one carry half of its weight.
_LEAST_VALID = 0.5


@dataclass(frozen=True, slots=True)
class Celestial:
    """An image's place on the sky. wcs: two-dimensional, in any frame; shape: (ny, nx).

    shifts: pixels, (x, y), by which positions may be moved and are the same place again: the turn of a cylindrical
    projection. tabulated: the distortion is a table, whose steps an interpolation could miss.
    """

    wcs: WCS
    shape: tuple[int, int]
    frame: Frame
    shifts: tuple[tuple[float, float], ...] = ((0.0, 0.0),)
    tabulated: bool = False

    @property
    def distorted(self) -> bool:
        return bool(self.wcs.has_distortion)

    def to_sky(self, x: Doubles, y: Doubles) -> Doubles:
        """Unit vectors, ICRS, shape (n, 3), of 0-based pixel positions, shape (n,); NaN where the projection ends."""
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            world = self.wcs.all_pix2world(np.column_stack([x, y]), 0)
        lon, lat = np.radians(world[:, self.wcs.wcs.lng]), np.radians(world[:, self.wcs.wcs.lat])
        vectors = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)
        vectors[~(np.abs(lat) <= np.pi / 2 + 1e-9)] = np.nan
        return self.frame.to_icrs(vectors)

    def to_pixels(self, vectors: Doubles) -> tuple[Doubles, Doubles, NDArray[np.bool_]]:
        """0-based pixel positions x, y of ICRS unit vectors, shape (n, 3), and whether each is exact.

        NaN: beyond the projection. Not exact: so far from the image that its distortion was left out, or the inversion
        found no end; such a place is never on the image.
        """
        native = self.frame.from_icrs(vectors)
        world = np.empty((len(native), 2))
        world[:, self.wcs.wcs.lng] = np.degrees(np.arctan2(native[:, 1], native[:, 0])) % 360.0
        world[:, self.wcs.wcs.lat] = np.degrees(np.arctan2(native[:, 2], np.hypot(native[:, 0], native[:, 1])))
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            pixels = self.wcs.wcs_world2pix(world, 0)
            exact = np.isfinite(pixels).all(axis=1)
            if self.distorted:
                near = exact & self._near(pixels)
                exact = near.copy()
                if near.any():
                    solved, found = _undistorted(self.wcs, world[near])
                    exact[near] = found
                    pixels[exact] = solved[found]
        return pixels[:, 0], pixels[:, 1], exact

    def _near(self, pixels: Doubles) -> NDArray[np.bool_]:
        ny, nx = self.shape
        margin = 64 + 0.25 * max(nx, ny)
        x, y = pixels.T
        near: NDArray[np.bool_] = (x > -margin) & (x < nx + margin) & (y > -margin) & (y < ny + margin)
        return near


def _undistorted(wcs: WCS, world: Doubles) -> tuple[Doubles, NDArray[np.bool_]]:
    """Pixel positions by the whole WCS, and which of them were found."""
    try:
        solved = wcs.all_world2pix(world, 0, tolerance=1e-4, maxiter=30)
        found = np.isfinite(solved).all(axis=1)
    except NoConvergence as failure:
        solved = failure.best_solution
        found = np.isfinite(solved).all(axis=1)
        for bad in (failure.divergent, failure.slow_conv):
            if bad is not None:
                found[bad] = False
    return solved, found


@dataclass(frozen=True, slots=True)
class Placed:
    """A square of a tile's pixels and where they lie on an image. x, y: 0-based pixels, shape (size, size)."""

    row: int
    column: int
    x: Doubles
    y: Doubles

    @property
    def part(self) -> tuple[slice, slice]:
        size = len(self.x)
        return slice(self.row, self.row + size), slice(self.column, self.column + size)


def placed(tile: Tile, width: int, image: Celestial, *, tolerance_pix: float = TOLERANCE_PIX) -> Iterator[Placed]:
    """Yield the squares of a tile that may touch the image, each with its pixels' places, right to tolerance_pix.

    A place off the image has any value outside of it, or NaN. The squares of one shift do not overlap.
    """
    for shift in image.shifts:
        squares = [(0, 0, width)]
        while squares:
            row, column, size = squares.pop()
            found = _place(tile, width, image, shift, (row, column, size), tolerance_pix)
            if isinstance(found, Placed):
                yield found
            elif found:
                half = size // 2
                squares += [(row + down, column + right, half) for down in (0, half) for right in (0, half)]


def _place(
    tile: Tile, width: int, image: Celestial, shift: tuple[float, float], square: tuple[int, int, int], tolerance: float
) -> "Placed | bool":
    """The square's places; False: it does not touch the image; True: it must be divided."""
    row, column, size = square
    if size <= _EXACT:
        return _computed(tile, width, image, shift, square)
    at, inner, weights = _grid(size)
    x, y, exact = _positions(tile, width, image, shift, row + at, column + at)
    if not np.isfinite(x).any():
        return False
    whole = bool(np.isfinite(x).all())
    if whole and not _touches(x, y, image.shape):
        return False
    if image.tabulated and size <= 4 * _EXACT:
        return _computed(tile, width, image, shift, square)
    if image.tabulated or not whole or not exact.all():
        return True
    nodes = np.ix_(~inner, ~inner)
    checks = np.ix_(inner, inner)
    full_x, full_y = (_product(weights, values[nodes] @ weights.T) for values in (x, y))
    wanted = np.ix_(at[inner], at[inner])
    worst = max(np.abs(full_x[wanted] - x[checks]).max(), np.abs(full_y[wanted] - y[checks]).max())
    return Placed(row, column, full_x, full_y) if worst <= tolerance else True


def _product(left: Doubles, right: Doubles) -> Doubles:
    """left @ right, in strips so small that BLAS starts no threads of its own: the cores are taken already."""
    strips = left.reshape(-1, _EXACT, left.shape[1])
    product: Doubles = np.matmul(strips, right).reshape(len(left), -1)
    return product


def _computed(
    tile: Tile, width: int, image: Celestial, shift: tuple[float, float], square: tuple[int, int, int]
) -> "Placed | bool":
    row, column, size = square
    steps = np.arange(size)
    x, y, exact = _positions(tile, width, image, shift, row + steps, column + steps)
    x[~exact] = np.nan
    return Placed(row, column, x, y) if exact.any() else False


def _positions(
    tile: Tile, width: int, image: Celestial, shift: tuple[float, float], rows: NDArray[Any], columns: NDArray[Any]
) -> tuple[Doubles, Doubles, NDArray[np.bool_]]:
    shape = (len(rows), len(columns))
    vectors = pixel_vectors(tile, width, rows[:, None], columns[None, :]).reshape(-1, 3)
    x, y, exact = image.to_pixels(vectors)
    return x.reshape(shape) + shift[0], y.reshape(shape) + shift[1], exact.reshape(shape)


def _touches(x: Doubles, y: Doubles, shape: tuple[int, int]) -> bool:
    """Whether the image may lie between these places, which are a grid over a square of the tile."""
    for places, length in ((x, shape[1]), (y, shape[0])):
        gap = max(np.abs(np.diff(places, axis=0)).max(), np.abs(np.diff(places, axis=1)).max())
        if places.max() + gap < -0.5 or places.min() - gap > length - 0.5:
            return False
    return True


@lru_cache(maxsize=16)
def _grid(size: int) -> tuple[NDArray[np.int64], NDArray[np.bool_], Doubles]:
    """Where a square is computed: sorted pixel numbers, which of them are checks, and the matrix (size, nodes) that
    takes values at the nodes to all pixels (Berrut & Trefethen 2004, SIAM Review 46, 501, §4: barycentric Lagrange).
    """
    angles = np.pi * np.arange(_NODES) / (_NODES - 1)
    nodes = np.unique(np.rint((size - 1) * (1 - np.cos(angles)) / 2).astype(np.int64))
    checks = np.rint((size - 1) * (np.arange(_CHECKS) + 0.5) / _CHECKS).astype(np.int64)
    checks = np.setdiff1d(checks, nodes)
    at = np.union1d(nodes, checks)
    difference = nodes[:, None] - nodes[None, :] + np.eye(len(nodes))
    barycentric = 1 / np.prod(difference / size, axis=1)
    distance = np.arange(size)[:, None] - nodes[None, :].astype(float)
    on_node = distance == 0
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = barycentric / distance
        weights = terms / terms.sum(axis=1, keepdims=True)
    rows = on_node.any(axis=1)
    weights[rows] = on_node[rows]
    return at, np.isin(at, checks), weights


@dataclass(frozen=True, slots=True)
class Window:
    """Part of an image's pixels. x, y: of its first pixel; shape: (ny, nx) of the whole image."""

    pixels: Pixels
    x: int
    y: int
    shape: tuple[int, int]


def bounds(squares: Sequence[Placed], shape: tuple[int, int]) -> tuple[slice, slice] | None:
    """The rows and columns of the image that these squares take their values from; None if none."""
    low, high = [np.inf, np.inf], [-np.inf, -np.inf]
    for square in squares:
        on = _on_image(square.x, square.y, shape)
        if on.any():
            for axis, places in enumerate((square.y[on], square.x[on])):
                low[axis] = min(low[axis], places.min())
                high[axis] = max(high[axis], places.max())
    if low[0] > high[0]:
        return None
    parts = []
    for axis, length in enumerate(shape):
        start = min(max(int(np.floor(low[axis])), 0), max(length - 2, 0))
        parts.append(slice(start, min(int(np.floor(high[axis])) + 2, length)))
    return parts[0], parts[1]


def _on_image(x: Doubles, y: Doubles, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Whether places lie on the image's pixels, the outermost halves of them too; false for NaN."""
    beyond = 0.5 + _ROUNDING
    on: NDArray[np.bool_] = (x >= -beyond) & (x <= shape[1] - 1 + beyond) & (y >= -beyond)
    on &= y <= shape[0] - 1 + beyond
    return on


def bilinear(window: Window, x: Doubles, y: Doubles) -> Pixels:
    """The image's values at places on it, shape (n,): bilinear, the outermost half pixel as its neighbour within.

    NaN where pixels without a value carry more than half of the weight; where less, the others share it.
    """
    ny, nx = window.pixels.shape
    flat = np.ascontiguousarray(window.pixels).ravel()
    first, fx, fy = _corner(x, y, window)
    right, up = min(nx - 1, 1), nx * min(ny - 1, 1)
    south_west, south_east, north_west, north_east = (
        flat[beyond:].take(first) for beyond in (0, right, up, up + right)
    )
    values: Pixels = south_east - south_west
    values *= fx
    values += south_west
    north = north_east - north_west
    north *= fx
    north += north_west
    north -= values
    north *= fy
    values += north
    blank = np.flatnonzero(np.isnan(values))
    if blank.size:
        wx, wy = fx[blank], fy[blank]
        weights = np.stack([(1 - wx) * (1 - wy), wx * (1 - wy), (1 - wx) * wy, wx * wy])
        four = np.stack([corner[blank] for corner in (south_west, south_east, north_west, north_east)])
        weights[np.isnan(four)] = 0
        total = weights.sum(axis=0)
        enough = total >= _LEAST_VALID
        some = np.where(np.isnan(four[:, enough]), 0, four[:, enough])
        values[blank[enough]] = (weights[:, enough] * some).sum(axis=0) / total[enough]
    return values


def _corner(
    x: Doubles, y: Doubles, window: Window
) -> tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.float32]]:
    """Index, in the flattened window, of the pixel south-west of each place, and how far the place lies from it."""
    whole, parts = [], []
    for places, start, length in ((x, window.x, window.pixels.shape[1]), (y, window.y, window.pixels.shape[0])):
        within = places - start
        np.clip(within, 0, length - 1, out=within)
        pixel = within.astype(np.intp)
        np.minimum(pixel, max(length - 2, 0), out=pixel)
        within -= pixel
        whole.append(pixel)
        parts.append(within.astype(np.float32))
    first = whole[1]
    first *= window.pixels.shape[1]
    first += whole[0]
    return first, parts[0], parts[1]


class TileSum:
    """A tile as images are laid over each other: the mean, each image weighted by the distance from its edge.

    Weights make seams soft where images overlap; the values themselves are left alone, no background is matched. One
    image alone comes through as it is.
    """

    def __init__(self, width: int, *, several: bool) -> None:
        self._several = several
        self._sum = np.full((width, width), np.nan, np.float32)
        if several:
            self._sum = np.zeros((width, width), np.float64)
            self._weight = np.zeros((width, width), np.float64)

    def add(self, window: Window, square: Placed) -> None:
        """Lay the image over a square of the tile."""
        on = _on_image(square.x, square.y, window.shape)
        everywhere = bool(on.all())
        x, y = (square.x.ravel(), square.y.ravel()) if everywhere else (square.x[on], square.y[on])
        values = bilinear(window, x, y)
        part = self._sum[square.part]
        if not self._several:
            if everywhere:
                part[...] = values.reshape(part.shape)
            else:
                part[on] = values
            return
        weight = np.where(np.isnan(values), 0.0, edge_weight(x, y, window.shape))
        part[on] += weight * np.where(np.isnan(values), 0.0, values)
        self._weight[square.part][on] += weight

    def pixels(self) -> Pixels:
        """The tile, shape (width, width); NaN where no image has a value."""
        if not self._several:
            return self._sum
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self._weight > 0, self._sum / self._weight, np.nan).astype(np.float32)


def edge_weight(x: Doubles, y: Doubles, shape: tuple[int, int]) -> Doubles:
    """1 in the middle of an image, falling in proportion to the distance from its nearest edge to almost 0."""
    ny, nx = shape
    distance = np.minimum(np.minimum(x + 0.5, nx - 0.5 - x), np.minimum(y + 0.5, ny - 0.5 - y))
    return np.maximum(distance / (0.5 * min(nx, ny)), _LEAST_WEIGHT)
