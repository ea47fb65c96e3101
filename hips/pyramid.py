"""Four tiles to one, and tiles to the mosaic of the whole sky: arrays in the order of FITS (tiling.py), numpy only."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]
ALLSKY_COLUMNS, ALLSKY_ROWS, ALLSKY_WIDTH = 27, 29, 64


def halve(pixels: Pixels) -> Pixels:
    """Means of 2 x 2 pixels, of those that are not NaN; NaN where all four are. Shape (n, m) to (n/2, m/2)."""
    corners = (pixels[0::2, 0::2], pixels[0::2, 1::2], pixels[1::2, 0::2], pixels[1::2, 1::2])
    mean = (corners[0] + corners[1] + corners[2] + corners[3]) * np.float32(0.25)
    blank = np.isnan(mean)
    if blank.any():
        some = np.stack([corner[blank] for corner in corners])
        count = np.isfinite(some).sum(axis=0)
        with np.errstate(invalid="ignore"):
            mean[blank] = np.where(np.isfinite(some), some, 0).sum(axis=0) / np.where(count, count, np.nan)
    return mean.astype(np.float32, copy=False)


def fold(children: Sequence[Pixels | None], width: int) -> Pixels:
    """The tile whose quarters these are, each pixel the mean of four (HIPS-02, §4.1.2).

    children: in the order of Tile.children, shape (width, width) each; None where there is none, which is NaN.
    """
    half = width // 2
    parent = np.full((width, width), np.nan, np.float32)
    for number, child in enumerate(children):
        if child is None:
            continue
        east, west = number & 1, number >> 1
        top = (1 - east) * half  # east lies in the lower rows: a step to the next row goes south-west
        parent[top : top + half, west * half : west * half + half] = halve(child)
    return parent


def allsky(tiles: Mapping[int, Any]) -> Pixels:
    """The mosaic of the 768 tiles of order 3: 27 in a row, 64 pixels each, from the top left as a picture shows it.

    tiles: by npix; at least 64 wide. What is missing is NaN. In the order of FITS, as the tiles are (§4.3.2).
    """
    mosaic = np.full((ALLSKY_ROWS * ALLSKY_WIDTH, ALLSKY_COLUMNS * ALLSKY_WIDTH), np.nan, np.float32)
    for npix, tile in tiles.items():
        while tile.shape[0] > ALLSKY_WIDTH:
            tile = halve(tile)
        row, column = divmod(npix, ALLSKY_COLUMNS)
        bottom = (ALLSKY_ROWS - 1 - row) * ALLSKY_WIDTH
        mosaic[bottom : bottom + ALLSKY_WIDTH, column * ALLSKY_WIDTH : (column + 1) * ALLSKY_WIDTH] = tile
    return mosaic
