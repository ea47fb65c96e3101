"""What part of the sky a HiPS covers: from its tiles' pixels to cells, the MOC, and how to look at it first. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from mocpy import MOC
from numpy.typing import NDArray

from hips.pyramid import Pixels
from hips.tile import Tile
from hips.tiling import cell_size_deg, cell_vectors, pixel_cells

_FINER = 4  # orders below the tiles' in which coverage is told


def coverage_order(order: int) -> int:
    """The order of the cells in which a HiPS of this order tells its coverage."""
    return min(order + _FINER, 29)


def covered_cells(tile: Tile, pixels: Pixels) -> NDArray[np.int64]:
    """Cells of coverage_order in which the tile has a value."""
    blocks = 1 << (coverage_order(tile.order) - tile.order)
    side = len(pixels) // blocks
    some = np.isfinite(pixels).reshape(blocks, side, blocks, side).any(axis=(1, 3))
    rows, columns = np.nonzero(some)
    return pixel_cells(tile.npix, blocks, rows, columns)


def moc_of(cells: Iterable[NDArray[np.int64]], order: int) -> MOC:
    """The MOC of cells of one order."""
    every = np.concatenate([np.empty(0, np.int64), *cells]).astype(np.uint64)
    return MOC.from_healpix_cells(every, np.full(len(every), order, np.uint8), order)


@dataclass(frozen=True, slots=True)
class FirstView:
    """What a client shows first. ra, dec: ICRS, degrees; fov_deg: the side of the view."""

    ra: float
    dec: float
    fov_deg: float


def first_view(moc: MOC) -> FirstView:
    """The middle of what is covered, and a field that holds all of it; the whole sky if it is spread over it."""
    order = min(int(moc.max_order), 10)
    coarse = moc if order == moc.max_order else moc.degrade_to_order(order)
    cells = coarse.flatten().astype(np.int64)
    vectors = cell_vectors(order, cells)
    if not len(vectors):
        return FirstView(0.0, 0.0, 360.0)
    middle = vectors.mean(axis=0)
    length = float(np.linalg.norm(middle))
    if length < 0.3:
        return FirstView(0.0, 0.0, 360.0)
    middle /= length
    radius = float(np.degrees(np.arccos(np.clip(vectors @ middle, -1, 1)).max())) + cell_size_deg(order)
    ra, dec = float(np.degrees(np.arctan2(middle[1], middle[0]))) % 360, float(np.degrees(np.arcsin(middle[2])))
    return FirstView(ra, dec, min(2 * radius, 360.0))
