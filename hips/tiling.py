"""Where the tiles of a HiPS lie, on the sky and on disk: HEALPix in the NESTED scheme, ICRS. Pure.

A tile of order K is one HEALPix cell of nside 2**K, drawn as `width` x `width` cells of order K + log2(width). Arrays
are in the order of FITS, the first row at the bottom of the picture; PNG and JPEG have their rows the other way round
(HiPS 1.0 §4.1.2). What fills the tiles is resample.py's, what folds them pyramid.py's.
"""

from functools import lru_cache
from typing import Any

import healpy
import numpy as np
from numpy.typing import NDArray

from hips.tile import Tile

ALLSKY_ORDER = 3  # the lowest order that old clients know, and the one they ask Allsky for (§4.3.2)
MIN_WIDTH, MAX_WIDTH = 64, 512
COARSE_WIDTH = 128  # tiles of images so coarse that those of 512 would hold nothing but interpolation
RADIAN_DEG = float(np.degrees(1.0))


def cell_size_deg(order: int) -> float:
    """The side of a square as large as a HEALPix cell of this order, degrees."""
    return float(np.sqrt(4 * np.pi / (12 * 4.0**order))) * RADIAN_DEG


def order_of_scale(scale_deg: float) -> int:
    """The lowest HEALPix order whose cells are no larger than pixels of this size (degrees), give or take 5 %.

    It may exceed 29. The next order has four times as many pixels: too many for the sake of a hair's breadth.
    """
    return max(0, int(np.ceil(np.log2(cell_size_deg(0) / (1.05 * scale_deg)))))


def order_and_width(scale_deg: float) -> tuple[int, int]:
    """Order and width of the tiles that keep what pixels of this size (degrees) show.

    Tiles are 512 wide, and there are always those of order 3. Where the two together would be much finer than the
    image (a map of the whole sky in pixels of 15 arcmin), the tiles are narrower, 128 at the least.
    """
    pixel_order = order_of_scale(scale_deg)
    order = pixel_order - int(np.log2(MAX_WIDTH))
    if order >= ALLSKY_ORDER:
        return order, MAX_WIDTH
    return ALLSKY_ORDER, min(max(COARSE_WIDTH, 2 ** max(pixel_order - ALLSKY_ORDER, 0)), MAX_WIDTH)


@lru_cache(maxsize=8)
def _spread(width: int) -> NDArray[np.int64]:
    """The bits of 0..width-1 moved apart, so that those of another number fit between."""
    numbers = np.arange(width, dtype=np.int64)
    spread = np.zeros(width, dtype=np.int64)
    for bit in range(width.bit_length()):
        spread |= ((numbers >> bit) & 1) << (2 * bit)
    return spread


def pixel_cells(npix: int, width: int, rows: NDArray[Any], columns: NDArray[Any]) -> NDArray[np.int64]:
    """The HEALPix cells, of order K + log2(width), of pixels of tile npix of order K.

    rows, columns: whole numbers 0..width-1 that broadcast, in the order of FITS: a step to the next column goes
    north-west, a step to the next row south-west (§4.1.2).
    """
    spread = _spread(width)
    inside: NDArray[np.int64] = spread[width - 1 - rows] | (spread[columns] << 1)
    return npix * width * width + inside


def cell_vectors(order: int, cells: NDArray[np.int64]) -> NDArray[np.float64]:
    """The centres of HEALPix cells as unit vectors; shape of cells plus a last axis of 3."""
    return np.stack(healpy.pix2vec(1 << order, cells, nest=True), axis=-1)


def pixel_vectors(tile: Tile, width: int, rows: NDArray[Any], columns: NDArray[Any]) -> NDArray[np.float64]:
    """The centres of pixels of a tile as unit vectors, as pixel_cells names them."""
    return cell_vectors(tile.order + int(np.log2(width)), pixel_cells(tile.npix, width, rows, columns))


def cells_around(vectors: NDArray[np.float64], order: int) -> NDArray[np.int64]:
    """The cells that hold these points, and those that touch them; sorted. vectors: shape (n, 3)."""
    nside = 1 << order
    held = np.unique(healpy.vec2pix(nside, *vectors.T, nest=True))
    near = healpy.get_all_neighbours(nside, held, nest=True).ravel()
    return np.union1d(held, near[near >= 0]).astype(np.int64)


def tile_wcs(tile: Tile, width: int) -> dict[str, float | str]:
    """The cards of a tile's own world coordinates: HPX with the sky laid out in diamonds (FITS 4.0 §8.3, HIPS-11).

    Source: Calabretta & Roukema 2007, MNRAS 381, 865, §3, with H = 4, K = 3.
    """
    nside = 1 << tile.order
    face, within = divmod(tile.npix, nside * nside)
    x, y, _ = healpy.pix2xyf(nside, within, nest=True)
    ring, place = divmod(face, 4)
    centre_x = place * 90.0 + (0.0 if ring == 1 else 45.0)
    # Diamonds that meet at longitude 180 would be cut by the projection's end: they are laid out around it.
    turn = 180.0 if face == 6 else 0.0
    centre_x -= turn + (360.0 if centre_x > 180.0 else 0.0)
    centre_y = 45.0 * (1 - ring)
    cells = nside * width
    step = 45.0 / cells
    # Where longitude and latitude 0 lie, in pixels of the face from its southern corner.
    east = (45.0 - centre_y - centre_x) * cells / 90.0 - 0.5
    west = (45.0 - centre_y + centre_x) * cells / 90.0 - 0.5
    return {
        "CTYPE1": "RA---HPX", "CTYPE2": "DEC--HPX", "CUNIT1": "deg", "CUNIT2": "deg", "RADESYS": "ICRS",
        "CRVAL1": turn, "CRVAL2": 0.0,
        "CRPIX1": west - float(y) * width + 1, "CRPIX2": width - (east - float(x) * width),
        "CD1_1": -step, "CD1_2": -step, "CD2_1": step, "CD2_2": -step, "PV2_1": 4.0, "PV2_2": 3.0,
    }  # fmt: skip
