"""What part of the sky the archive, or a collection of it, covers: a MOC, and a small map of it."""

import io
from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from operator import not_
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from archive.portal.remembered import Remembered
from archive.portal.search import literal
from archive.portal.sources import Ask
from archive.vo.errors import UsageError
from archive.vo.regions import Point, Region, from_stcs

if TYPE_CHECKING:
    # mocpy, with all of astropy and matplotlib that it imports, takes most of a second: whoever draws waits for it.
    from mocpy import MOC

WHOLE_SKY_SQUARE_DEGREES = 41_252.96
MAP_WIDTH = 1440  # pixels
MAP_ORDER = 6  # cells of 55 arcmin: a lone pointing is still to be seen on the map
_MAP_INK = (74, 134, 190)  # on light and on dark paper alike
_MAP_PALE = 0.22  # of the ink, where only surveys of much of the sky are
_FINER = 2  # pixels of the drawing, each way, that make one of the picture
WIDE_SKY_FRACTION = 0.05  # a footprint of more than this is a survey of much of the sky


@dataclass(frozen=True)
class Coverage:
    """What data sets cover. moc: all of it; pointed: without what covers much of the sky by itself.

    complete: whether all data sets are in, or only as many as the limit takes.
    """

    moc: "MOC"
    pointed: "MOC"
    complete: bool

    @property
    def sky_fraction(self) -> float:
        return float(self.moc.sky_fraction)

    @property
    def has_wide(self) -> bool:
        """Whether something is covered only by what covers much of the sky."""
        return bool(self.moc != self.pointed)

    @cached_property
    def picture(self) -> bytes:
        """The map that pages show: a second's work, done once."""
        return mollweide(self, MAP_WIDTH)


def mollweide(coverage: Coverage, width: int) -> bytes:
    """A map of the whole sky as PNG, width x width/2 pixels: Mollweide's projection, ICRS, ra = 0 in the middle, east
    to the left. Transparent where nothing is, pale where only surveys of much of the sky are."""
    from astropy import units as u
    from cdshealpix.nested import lonlat_to_healpix

    columns, rows = width * _FINER, width * _FINER // 2
    x = (np.arange(columns) + 0.5) / columns * 2 - 1
    y = 1 - (np.arange(rows) + 0.5) / rows * 2
    theta = np.arcsin(y)[:, np.newaxis]
    dec = np.arcsin((2 * theta + np.sin(2 * theta)) / np.pi)
    with np.errstate(invalid="ignore"):
        lon = -np.pi * x[np.newaxis, :] / np.cos(theta)
    on_sky = np.abs(lon) <= np.pi
    ra = np.where(on_sky, lon, 0.0) % (2 * np.pi)
    cells = lonlat_to_healpix(ra.ravel() * u.rad, np.broadcast_to(dec, ra.shape).ravel() * u.rad, MAP_ORDER)
    ink = np.maximum(_covered(coverage.pointed), _MAP_PALE * _covered(coverage.moc))
    seen = np.where(on_sky, ink[cells.astype(np.int64)].reshape(ra.shape), 0.0)
    alpha = seen.reshape(rows // _FINER, _FINER, columns // _FINER, _FINER).mean(axis=(1, 3))
    pixels = np.empty((rows // _FINER, columns // _FINER, 4), np.uint8)
    pixels[..., :3] = _MAP_INK
    pixels[..., 3] = np.rint(255 * alpha)
    written = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(written, "PNG", optimize=True)
    return written.getvalue()


def _covered(moc: "MOC") -> NDArray[np.float64]:
    """1 for each cell of MAP_ORDER that the MOC touches, 0 for the others."""
    coarse = moc if moc.max_order <= MAP_ORDER else moc.degrade_to_order(MAP_ORDER)
    covered = np.zeros(12 << (2 * MAP_ORDER))
    for low, high in (coarse.to_depth29_ranges >> np.uint64(2 * (29 - MAP_ORDER))).astype(np.int64):
        covered[low:high] = 1.0
    return covered


class Coverages:
    """What data sets cover, as of a while ago, of collections and of all."""

    def __init__(self, ask: Ask, *, order: int, most: int, look_again_s: float) -> None:
        """order: of the MOC's cells; most: footprints that are taken."""
        self._ask = ask
        self._order = order
        self._most = most
        self._look_again_s = look_again_s
        self._made: dict[str | None, Remembered[Coverage]] = {}

    @cached_property
    def _nothing(self) -> Coverage:
        from mocpy import MOC

        nothing = MOC.new_empty(self._order)
        return Coverage(nothing, nothing, complete=True)

    def of(self, collection: str | None = None) -> Coverage:
        """Of a collection, or of everything; catalogues are left out, for they tell of the sky, and do not show it."""
        made = Remembered(lambda: self._make(collection), look_again_s=self._look_again_s)
        found = self._made.setdefault(collection, made).value()
        if found is self._nothing:  # the names that no collection has are endless
            self._made.pop(collection, None)
        return found

    def _make(self, collection: str | None) -> Coverage:
        from archive.vo.moc import moc_of_regions

        where = "s_region IS NOT NULL AND COALESCE(dataproduct_type, '') <> 'measurements'"
        if collection is not None:
            where += f" AND obs_collection = {literal(collection)}"
        found = self._ask(f"SELECT s_region FROM ivoa.obscore WHERE {where}", maxrec=self._most + 1)
        if not found.num_rows:
            return self._nothing
        regions = [region for text in found[0].to_pylist()[: self._most] if (region := _region(text)) is not None]
        is_wide = [_sky_fraction(region) > WIDE_SKY_FRACTION for region in regions]
        pointed = moc_of_regions(compress(regions, map(not_, is_wide)), self._order)
        wide = moc_of_regions(compress(regions, is_wide), self._order)
        return Coverage(pointed.union(wide), pointed, complete=found.num_rows <= self._most)


def _sky_fraction(region: Region) -> float:
    return 0.0 if isinstance(region, Point) else region.area / WHOLE_SKY_SQUARE_DEGREES


def _region(text: str) -> Region | None:
    try:
        return from_stcs(text)
    except UsageError:
        return None
