"""The pixels of a file as an image that is small enough to draw: block means, mosaics by WCS, collapsed cubes.

Read strip by strip, so that memory does not grow with the file.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.describe.header import FitsFile, Hdu
from ingest.describe.science import pixel_axes, science_hdus
from ingest.describe.wcs import Celestial, WcsError, celestial
from ingest.preview.orientation import Compass, Sight

ENOUGH_PX = 1024  # an image is reduced by whole factors while its longest side stays above this
STRIP_PIXELS = 1 << 22
MOSAIC_DEG = 15.0  # half the field within which a tangent plane shows a mosaic well
SPARSE = 0.02  # of the mosaic covered: less, and it is several fields rather than one

Check = Callable[[], None]


def image(file: FitsFile, check: Check) -> Sight | None:
    """The file's image: a mosaic of its science HDUs, or the largest of them.

    check: called between strips; raises to stop. None: there is no image with two axes.
    """
    science = [file.hdus[index] for index in science_hdus(file)]
    if not science:
        return None
    if len(science) > 1:
        joined = _mosaic(file, science, check)
        if joined is not None:
            return Sight(joined, Compass())
    largest = max(science, key=lambda hdu: int(np.prod(hdu.shape)))
    rows, columns = _plane_shape(largest)
    return Sight.of(file, largest, reduced(file, largest, max(1, max(rows, columns) // ENOUGH_PX), check))


def _plane_shape(hdu: Hdu) -> tuple[int, int]:
    return (hdu.shape[-2], hdu.shape[-1])


def reduced(
    file: FitsFile, hdu: Hdu, factor: int, check: Check, leading: tuple[int, ...] | None = None
) -> NDArray[np.float64]:
    """Means of blocks of factor x factor pixels of a plane; NaN where a block has no value. Edge blocks are smaller.

    leading: which plane, an index for each axis before the last two; the first of all.
    """
    leading = (0,) * (len(hdu.shape) - 2) if leading is None else leading
    rows, columns = _plane_shape(hdu)
    out = np.empty((-(-rows // factor), -(-columns // factor)))
    pixels = _Pixels(file, hdu)
    step = max(1, STRIP_PIXELS // (columns * factor))
    for first in range(0, len(out), step):
        check()
        strip = pixels.rows(leading, first * factor, (first + step) * factor)
        out[first : first + step] = _block_means(strip, factor)
    return out


class _Pixels:
    """Rows of an image as its values (FITS 4.0 §4.4.2.5: BSCALE, BZERO, BLANK), read when they are asked for."""

    def __init__(self, file: FitsFile, hdu: Hdu) -> None:
        header = hdu.header
        self._stored: Any = file.astropy()[hdu.index].section if hdu.compressed else file.stored_pixels(hdu.index)
        self._is_scaled = hdu.compressed  # astropy, which unpacks them, has done it
        self._scale, self._zero = float(header.get("BSCALE", 1.0)), float(header.get("BZERO", 0.0))
        self._blank = header.get("BLANK") if int(header.get("BITPIX", 8)) > 0 else None

    def rows(self, leading: tuple[int, ...], first: int, stop: int) -> NDArray[np.float32]:
        """Rows first <= i < stop of a plane; NaN where there is no value."""
        return self._values(np.asarray(self._stored[(*leading, slice(first, stop))]))

    def everything(self) -> NDArray[np.float32]:
        return self._values(np.asarray(self._stored[...]))

    def _values(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        if self._is_scaled:
            return _finite(stored.astype(np.float32))
        values = stored.astype(np.float32) if (self._scale, self._zero) == (1, 0) else (
            (stored.astype(np.float64) * self._scale + self._zero).astype(np.float32)
        )  # fmt: skip
        if self._blank is not None:
            values[stored == self._blank] = np.nan
        return _finite(values)


def values_of(file: FitsFile, hdu: Hdu) -> NDArray[np.float64]:
    """All values of an image that is small, as a spectrum is; NaN where there is none."""
    return _Pixels(file, hdu).everything().astype(np.float64)


def _finite(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return values if np.isfinite(values).all() else np.where(np.isfinite(values), values, np.float32(np.nan))


def _block_means(strip: NDArray[np.float32], factor: int) -> NDArray[np.float64]:
    if factor == 1:
        return strip.astype(np.float64)
    down = np.arange(0, strip.shape[0], factor)
    across = np.arange(0, strip.shape[1], factor)
    good = ~np.isnan(strip)
    filled = strip if good.all() else np.where(good, strip, np.float32(0))
    total = np.add.reduceat(np.add.reduceat(filled, down, axis=0, dtype=np.float64), across, axis=1)
    count = np.add.reduceat(np.add.reduceat(good, down, axis=0, dtype=np.int32), across, axis=1)
    return _mean(total, count)


def _mean(total: NDArray[np.float64], count: NDArray[Any]) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return mean


# ---- mosaics ---------------------------------------------------------------------------------------


def _mosaic(file: FitsFile, science: Sequence[Hdu], check: Check) -> NDArray[np.float64] | None:
    """The HDUs on one tangent plane, north up and east to the left; None if they are not one field of the sky."""
    placed = list(_placed(file, science))
    if len(placed) < 2:
        return None
    outlines = [sky.to_icrs(*_rim(hdu)) for hdu, sky in placed]
    rims = np.concatenate(outlines)
    rims = rims[np.isfinite(rims).all(axis=1)]
    if not len(rims) or np.linalg.norm(rims.mean(axis=0)) < 0.5:
        return None
    plane = _Plane(rims.mean(axis=0))
    if (plane.cosine(rims) < np.cos(np.radians(MOSAIC_DEG))).any():
        return None
    spans = [_span(plane, rim) for rim in outlines]
    if any(span is None for span in spans):
        return None
    boxes = np.array(spans)
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    if areas.sum() < SPARSE * np.prod(high - low):
        return None
    native = min(_pixel(area, hdu) for area, (hdu, _) in zip(areas, placed, strict=True))
    pitch = max(float((high - low).max()) / ENOUGH_PX, 1.5 * native)
    shape = tuple(int(extent / pitch) + 1 for extent in (high - low)[::-1])
    total, count = np.zeros(shape), np.zeros(shape)
    for area, (hdu, sky) in zip(areas, placed, strict=True):
        factor = max(1, int(0.7 * pitch / _pixel(area, hdu)))
        values = reduced(file, hdu, factor, check)
        rows, columns = np.indices(values.shape).reshape(2, -1)
        middle = (factor - 1) / 2
        xi, eta = plane.project(sky.to_icrs(columns * factor + middle, rows * factor + middle))
        _drop(total, count, (high[0] - xi) / pitch, (eta - low[1]) / pitch, values.ravel())
    return _holes_filled(_mean(total, count))


def _placed(file: FitsFile, science: Sequence[Hdu]) -> Iterator[tuple[Hdu, Celestial]]:
    """The HDUs whose last two axes lie on the sky."""
    for hdu in science:
        try:
            sky = celestial(file, hdu)
        except WcsError:
            continue
        ndim = len(hdu.shape)
        if sky is not None and sky.axes == (ndim - 1, ndim - 2):
            yield hdu, sky


def _rim(hdu: Hdu) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pixel positions on the four edges."""
    rows, columns = _plane_shape(hdu)
    along = np.linspace(0.0, 1.0, 9)
    x = np.concatenate([along, along, np.zeros(9), np.ones(9)]) * (columns - 1)
    y = np.concatenate([np.zeros(9), np.ones(9), along, along]) * (rows - 1)
    return x, y


def _pixel(area: float, hdu: Hdu) -> float:
    """The size of a pixel, about: of the area that a rim spans."""
    rows, columns = _plane_shape(hdu)
    return float(np.sqrt(area / (rows * columns)))


class _Plane:
    """The gnomonic projection about a direction: xi to the east, eta to the north, in radians."""

    def __init__(self, centre: NDArray[np.float64]) -> None:
        self._centre = centre / np.linalg.norm(centre)
        east = np.cross([0.0, 0.0, 1.0], self._centre)
        # At a pole any direction will do for east.
        self._east = east / np.linalg.norm(east) if np.linalg.norm(east) > 1e-9 else np.array([0.0, 1.0, 0.0])
        self._north = np.cross(self._centre, self._east)

    def cosine(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        return vectors @ self._centre

    def project(self, vectors: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        depth = self.cosine(vectors)
        depth = np.where(depth > 0.1, depth, np.nan)
        return vectors @ self._east / depth, vectors @ self._north / depth


def _span(plane: _Plane, rim: NDArray[np.float64]) -> tuple[float, float, float, float] | None:
    xi, eta = plane.project(rim[np.isfinite(rim).all(axis=1)])
    if not len(xi) or not np.isfinite(xi).all() or xi.max() <= xi.min() or eta.max() <= eta.min():
        return None
    return float(xi.min()), float(eta.min()), float(xi.max()), float(eta.max())


def _drop(
    total: NDArray[np.float64],
    count: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    values: NDArray[np.float64],
) -> None:
    """Add each value to the pixel that it falls into."""
    good = np.isfinite(values) & np.isfinite(x) & np.isfinite(y)
    columns, rows = np.floor(x[good]).astype(int), np.floor(y[good]).astype(int)
    inside = (columns >= 0) & (columns < total.shape[1]) & (rows >= 0) & (rows < total.shape[0])
    flat = rows[inside] * total.shape[1] + columns[inside]
    total += np.bincount(flat, values[good][inside], total.size).reshape(total.shape)
    count += np.bincount(flat, minlength=total.size).reshape(total.shape)


def _holes_filled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pixels that no value fell into, though five of their eight neighbours have one, as the mean of those."""
    padded = np.pad(values, 1, constant_values=np.nan)
    rows, columns = values.shape
    around = np.stack([padded[r : r + rows, c : c + columns] for r in range(3) for c in range(3) if (r, c) != (1, 1)])
    count = np.isfinite(around).sum(axis=0)
    filled = _mean(np.nansum(around, axis=0), count)
    return np.where(np.isfinite(values) | (count < 5), values, filled)


# ---- cubes -----------------------------------------------------------------------------------------


def cube_hdu(file: FitsFile) -> Hdu | None:
    """The largest science HDU with three axes of pixels or more."""
    cubes = [hdu for hdu in (file.hdus[index] for index in science_hdus(file)) if pixel_axes(hdu) >= 3]
    return max(cubes, key=lambda hdu: int(np.prod(hdu.shape)), default=None)


def collapsed(file: FitsFile, hdu: Hdu, check: Check) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """A cube's mean over its channels, (rows, columns); its mean over the pixels, (channels,); the channels' axis.

    The image is of the last two axes, the channels' axis is the longest of the others, in numpy's order; of what else
    there is (polarisations) the first is taken.
    """
    others = hdu.shape[:-2]
    axis = int(np.argmax(others))
    factor = max(1, max(_plane_shape(hdu)) // ENOUGH_PX)
    total: NDArray[np.float64] | None = None
    count: NDArray[Any] | None = None
    means = np.full(others[axis], np.nan)
    for channel in range(others[axis]):
        leading = tuple(channel if each == axis else 0 for each in range(len(others)))
        plane = reduced(file, hdu, factor, check, leading)
        good = np.isfinite(plane)
        filled = np.where(good, plane, 0.0)
        total = filled if total is None else total + filled
        count = good.astype(np.int64) if count is None else count + good
        if good.any():
            means[channel] = plane[good].mean()
    assert total is not None and count is not None
    return _mean(total, count), means, axis
