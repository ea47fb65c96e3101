"""A picture of a whole HiPS, drawn from its own tiles: preview.jpg (HIPS-06, 256 x 256)."""

from collections.abc import Callable

import healpy
import numpy as np
from astropy.wcs import WCS

from hips.coverage import FirstView
from hips.pyramid import Pixels
from hips.tiling import cell_size_deg

SIZE = 256
_WHOLE_SKY_DEG = 150.0
Reader = Callable[[int, int], Pixels | None]  # order, npix: the tile's pixels


def view(read: Reader, order: int, width: int, first: FirstView) -> Pixels:
    """The first view of a HiPS of this order, SIZE x SIZE pixels, ICRS, north up, in the order of FITS.

    A field in zenithal equal-area projection, the whole sky in Mollweide's.
    """
    whole = first.fov_deg > _WHOLE_SKY_DEG
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---MOL", "DEC--MOL"] if whole else ["RA---ZEA", "DEC--ZEA"]
    wcs.wcs.crval = [0, 0] if whole else [first.ra, first.dec]
    wcs.wcs.crpix = [(SIZE + 1) / 2] * 2
    step = 2 * np.sqrt(2) / np.pi * 360 / SIZE if whole else first.fov_deg / SIZE
    wcs.wcs.cdelt = [-step, step]
    y, x = np.indices((SIZE, SIZE))
    lon, lat = wcs.wcs_pix2world(x.ravel(), y.ravel(), 0)
    on = np.isfinite(lon) & np.isfinite(lat)
    picture = np.full(SIZE * SIZE, np.nan, np.float32)
    picture[on] = nearest(read, _order_for(step, order, width), width, lon[on], lat[on])
    return picture.reshape(SIZE, SIZE)


def _order_for(step_deg: float, order: int, width: int) -> int:
    """The lowest order whose pixels are no larger than the picture's."""
    fits = (k for k in range(order) if cell_size_deg(k + int(np.log2(width))) <= step_deg)
    return next(fits, order)


def nearest(
    read: Reader, order: int, width: int, ra: np.typing.NDArray[np.float64], dec: np.typing.NDArray[np.float64]
) -> Pixels:
    """The value of the HiPS's pixel at each place (degrees, ICRS); NaN where there is none. Shape (n,)."""
    cells = healpy.ang2pix(width << order, ra, dec, nest=True, lonlat=True)
    tiles, inside = np.divmod(cells, width * width)
    east, west, _ = healpy.pix2xyf(width, inside, nest=True)
    values = np.full(len(cells), np.nan, np.float32)
    for npix in np.unique(tiles):
        pixels = read(order, int(npix))
        if pixels is not None:
            here = tiles == npix
            values[here] = pixels[width - 1 - east[here], west[here]]
    return values
