"""What a build will do, as a value: which images, which tiles, how. Pure; the same plan always makes the same tiles."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from archive.vo.errors import UsageError
from hips.images import FoundImage, ImageKey
from hips.resample import Celestial
from hips.tile import MAX_ORDER
from hips.tiling import ALLSKY_ORDER, MAX_WIDTH, MIN_WIDTH, cell_size_deg, cells_around, order_and_width, order_of_scale

ALGORITHM = 1  # raised when the same plan would make other tiles
_FINER = 2  # orders below the tiles' in which images' outlines are followed
_GENEROUS = 4  # orders beyond the images' own resolution that may be asked for


@dataclass(frozen=True, slots=True)
class Source:
    """A file of the plan. name: as the plan calls it; identity: its checksum, or path, size and time of change."""

    name: str
    identity: str


@dataclass(frozen=True)
class Plan:
    """order: of the finest tiles; width: pixels of a tile's side; tiles: npix of the finest order, each with the
    numbers of the images that may touch it, in the order in which they are laid over each other.
    """

    name: str
    order: int
    width: int
    sources: tuple[Source, ...]
    images: tuple[ImageKey, ...]
    tiles: Mapping[int, tuple[int, ...]]

    @property
    def pixel_order(self) -> int:
        """The HEALPix order of the pixels of the finest tiles."""
        return self.order + int(np.log2(self.width))

    def tiles_of(self, order: int) -> list[int]:
        """npix of the tiles of an order that may have pixels, sorted."""
        return sorted({npix >> 2 * (self.order - order) for npix in self.tiles})

    @property
    def tile_count(self) -> int:
        """Of all orders."""
        return sum(len(self.tiles_of(order)) for order in range(self.order + 1))

    @property
    def size_bytes(self) -> int:
        """What the FITS tiles take on disk at the most; PNG adds a tenth to a quarter."""
        return self.tile_count * (4 * self.width**2 + 2880)

    @cached_property
    def build_id(self) -> str:
        """Names what this plan makes: equal plans, equal tiles."""
        return hashlib.sha256(json.dumps(self.as_json(), sort_keys=True).encode()).hexdigest()[:16]

    def as_json(self) -> dict[str, Any]:
        return {
            "algorithm": ALGORITHM,
            "name": self.name,
            "order": self.order,
            "width": self.width,
            "sources": [[source.name, source.identity] for source in self.sources],
            "images": [[image.source, image.hdu] for image in self.images],
            "tiles": {str(npix): list(self.tiles[npix]) for npix in sorted(self.tiles)},
        }

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """What a build wrote down before it began."""
        return cls.from_json(json.loads(path.read_text("utf-8")))

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """What as_json gave."""
        return cls(
            document["name"], document["order"], document["width"],
            tuple(Source(name, identity) for name, identity in document["sources"]),
            tuple(ImageKey(source, hdu) for source, hdu in document["images"]),
            {int(npix): tuple(images) for npix, images in document["tiles"].items()},
        )  # fmt: skip


def make_plan(
    name: str,
    sources: Iterable[Source],
    found: Sequence[FoundImage],
    *,
    order: int | None = None,
    width: int | None = None,
    max_tiles: int = 1_000_000,
) -> Plan:
    """The plan that keeps the resolution of the finest image, or has the order that is asked for.

    width: of a tile, pixels, a power of two from 64 to 512; None chooses. UsageError: no images, an order that does
    not fit them, more than max_tiles tiles of the finest order.
    """
    if not found:
        raise UsageError(f"{name}: there is no image to make tiles of")
    scale = min(image.scale_deg for image in found)
    natural, fitting = order_and_width(scale)
    if width is None:
        width = fitting if order is None else MAX_WIDTH
    if not MIN_WIDTH <= width <= MAX_WIDTH or width & (width - 1):
        raise UsageError(f"tiles are {MIN_WIDTH} to {MAX_WIDTH} pixels wide, a power of two, not {width}")
    deepest = min(
        MAX_ORDER - int(np.log2(width)), max(order_of_scale(scale) - int(np.log2(width)) + _GENEROUS, natural)
    )
    chosen = min(natural, deepest) if order is None else order
    if not ALLSKY_ORDER <= chosen <= deepest:
        raise UsageError(
            f"order {chosen} does not fit these images: {ALLSKY_ORDER} to {deepest} do, {natural} is theirs"
        )
    tiles: dict[int, list[int]] = {}
    for number, image in enumerate(found):
        for npix in tiles_touched(image.celestial, chosen):
            tiles.setdefault(int(npix), []).append(number)
        if len(tiles) > max_tiles:
            raise UsageError(f"{name}: more than {max_tiles} tiles at order {chosen}; ask for a lower --order")
    plan_tiles = {npix: tuple(numbers) for npix, numbers in sorted(tiles.items())}
    return Plan(name, chosen, width, tuple(sources), tuple(image.key for image in found), plan_tiles)


def tiles_touched(place: Celestial, order: int) -> NDArray[np.int64]:
    """npix of the tiles of an order that an image may touch: all that it does, and some beside it."""
    finer = min(order + _FINER, MAX_ORDER)
    step = _step(place, cell_size_deg(finer))
    ny, nx = place.shape
    xs, ys = (np.unique(np.append(np.arange(-0.5, length - 0.5, step), length - 0.5)) for length in (nx, ny))
    cells = []
    # A band of rows at a time: an image may be large, and its pixels wide.
    band = max(1, 200_000 // len(xs))
    for start in range(0, len(ys), band):
        x, y = (grid.ravel() for grid in np.meshgrid(xs, ys[start : start + band]))
        vectors = place.to_sky(x, y)
        vectors = vectors[np.isfinite(vectors).all(axis=1)]
        if len(vectors):
            cells.append(cells_around(vectors, finer) >> 2 * (finer - order))
    return np.unique(np.concatenate(cells)) if cells else np.empty(0, np.int64)


def _step(place: Celestial, cell_deg: float) -> float:
    """Pixels between samples such that two of them are never further apart than a cell."""
    ny, nx = place.shape
    x, y = (grid.ravel() for grid in np.meshgrid(np.linspace(0, nx - 1, 17), np.linspace(0, ny - 1, 17)))
    at, right, up = (place.to_sky(x + dx, y + dy) for dx, dy in ((0, 0), (0.1, 0), (0, 0.1)))
    with np.errstate(invalid="ignore"):
        sizes = np.concatenate([np.linalg.norm(right - at, axis=1), np.linalg.norm(up - at, axis=1)]) * 10
    sizes = sizes[np.isfinite(sizes) & (sizes < 0.5)]  # a pixel of 30 degrees is a seam, not a pixel
    largest = float(np.degrees(sizes.max())) if sizes.size else cell_deg
    return float(np.clip(0.5 * cell_deg / largest, 0.25, max(nx, ny)))
