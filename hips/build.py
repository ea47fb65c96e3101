"""Building a HiPS from a plan, on dask's threads: tiles, pyramid, pictures, and what is said of the whole.

Everything lies in one folder, and each file appears whole. What is done is noted in journals, so that a build that was
stopped, by whatever, goes on where it was; a tile depends on nothing but the plan. Which folder, and when the result
is served, is publish.py's.
"""

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from dask.threaded import get as get_on_threads
from numpy.typing import NDArray

from archive.vo.errors import ArchiveError
from archive.vo.moc import moc_fits
from hips import preview, properties
from hips.coverage import FirstView, coverage_order, covered_cells, first_view, moc_of
from hips.images import ImageReader
from hips.plan import Plan
from hips.properties import About, Coverage
from hips.pyramid import Pixels, allsky, fold
from hips.render import Cut, cut_of, greys, jpeg, png
from hips.resample import Placed, TileSum, Window, bounds, placed
from hips.tile import Tile
from hips.tilefiles import file_size, fits_image, read_tile, tile_fits, write_atomically
from hips.tiling import ALLSKY_ORDER, cell_size_deg

Step = Literal["tiles", "pyramid", "pictures"]
Advance = Callable[[Step, int, int], None]  # step, done, of how many
PLAN_FILE = "plan.json"
_SAMPLES = 2_000_000  # values that the cuts are taken from
_CUT_TILES = 16
_Given = TypeVar("_Given")
_Made = TypeVar("_Made")


class EmptySurvey(ArchiveError):
    """No image of the plan has a pixel with a value."""


class Journal:
    """What was done, a line each: (order, npix) and whether the tile has a value. Survives a kill between two lines."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self.done: dict[Tile, bool] = {}
        text = path.read_text("ascii") if path.exists() else ""
        for line in text[: text.rfind("\n") + 1].splitlines():  # what follows was cut off
            words = line.split()
            if len(words) == 3 and all(word.isdigit() for word in words):
                self.done[Tile(int(words[0]), int(words[1]))] = words[2] == "1"
        if text and not text.endswith("\n"):
            path.write_text(text[: text.rfind("\n") + 1], "ascii")

    def note(self, tile: Tile, has_pixels: bool) -> None:
        with self._lock:
            self.done[tile] = has_pixels
            with self._path.open("a", encoding="ascii") as file:
                file.write(f"{tile.order} {tile.npix} {has_pixels:d}\n")


@dataclass(frozen=True, slots=True)
class Result:
    """What was built. tiles: with a value, by order; sky_fraction: 0..1."""

    tiles: Mapping[int, int]
    sky_fraction: float
    cut: Cut
    view: FirstView


@dataclass
class Build:
    """A plan on its way to a HiPS in `folder`. threads: 1 and up; advance: told of progress, from any thread."""

    plan: Plan
    reader: ImageReader
    folder: Path
    threads: int = 2
    advance: Advance = field(default=lambda step, done, total: None)

    def run(self, about: About, coverage: Coverage, creator_did: str, *, now: datetime | None = None) -> Result:
        """Do all that is not yet done. EmptySurvey: there is nothing to show."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder / PLAN_FILE, json.dumps(self.plan.as_json()).encode())
        journal = Journal(self.folder / "tiles.done")
        self._resample(journal)
        if not any(journal.done.values()):
            raise EmptySurvey(f"{self.plan.name}: no image has a pixel with a value")
        self._fold(journal)
        cut = self._cut(journal)
        cells, low, high = self._draw(journal, cut)
        moc = moc_of(cells, coverage_order(self.plan.order))
        seen = first_view(moc)
        self._allsky(cut)
        write_atomically(self.folder / "Moc.fits", moc_fits(moc))
        picture = preview.view(self._read, self.plan.order, self.plan.width, seen)
        write_atomically(self.folder / "preview.jpg", jpeg(greys(picture, cut)))
        counts = {order: len(self._held(journal, order)) for order in range(self.plan.order + 1)}
        result = Result(counts, float(moc.sky_fraction), cut, seen)
        told = described(self.plan, result, about, coverage, creator_did, (low, high), now or datetime.now(UTC))
        write_atomically(self.folder / "index.html", properties.page(told).encode())
        write_atomically(self.folder / "properties", properties.document(told).encode())
        return result

    def _resample(self, journal: Journal) -> None:
        wanted = [Tile(self.plan.order, npix) for npix in sorted(self.plan.tiles)]
        size = file_size(self.plan.width)
        for tile in wanted:  # a file that the machine lost when it went down is made again
            if journal.done.get(tile) and not _is_whole(self.folder / tile.path("fits"), size):
                del journal.done[tile]
        self._each("tiles", lambda tile: self._make(tile, journal), wanted, journal.done)

    def _make(self, tile: Tile, journal: Journal) -> None:
        pixels = resampled(tile, self.plan, self.reader)
        if pixels is not None:
            write_atomically(self.folder / tile.path("fits"), tile_fits(tile, pixels))
        journal.note(tile, pixels is not None)

    def _fold(self, journal: Journal) -> None:
        size = file_size(self.plan.width)
        done = 0
        total = self.plan.tile_count - len(self.plan.tiles)
        for order in range(self.plan.order - 1, -1, -1):
            tiles = sorted({tile.parent for tile in self._held(journal, order + 1)})
            made = {tile for tile in tiles if _is_whole(self.folder / tile.path("fits"), size) and tile in journal.done}
            self._each("pyramid", lambda tile: self._merge(tile, journal), tiles, made, before=done, of=total)
            done += len(tiles)
        self.advance("pyramid", total, total)

    def _merge(self, tile: Tile, journal: Journal) -> None:
        children = [self._read(child.order, child.npix) for child in tile.children]
        write_atomically(self.folder / tile.path("fits"), tile_fits(tile, fold(children, self.plan.width)))
        journal.note(tile, True)

    def _cut(self, journal: Journal) -> Cut:
        """Cuts from the finest order of a few tiles only: the same whoever asks, and however the build went."""
        order = max(k for k in range(self.plan.order + 1) if k == 0 or len(self._held(journal, k)) <= _CUT_TILES)
        tiles = self._held(journal, order)
        stride = max(1, len(tiles) * self.plan.width**2 // _SAMPLES)
        pixels = (self._read(tile.order, tile.npix) for tile in tiles)
        return cut_of(np.concatenate([each.ravel()[::stride] for each in pixels if each is not None]))

    def _draw(self, journal: Journal, cut: Cut) -> tuple[list[NDArray[np.int64]], float, float]:
        """PNG of every tile; the cells covered, the least and the greatest value."""
        drawn = Journal(self.folder / f"pictures-{cut.low!r}-{cut.high!r}-{cut.stretch}.done")
        tiles = [tile for order in range(self.plan.order + 1) for tile in self._held(journal, order)]
        cells: list[NDArray[np.int64]] = []
        ranges: list[tuple[float, float]] = []

        def draw(tile: Tile) -> None:
            is_finest = tile.order == self.plan.order
            if tile in drawn.done and not is_finest:
                return
            pixels = self._read(tile.order, tile.npix)
            assert pixels is not None
            if is_finest:
                cells.append(covered_cells(tile, pixels))
                ranges.append((float(np.nanmin(pixels)), float(np.nanmax(pixels))))
            if tile not in drawn.done:
                write_atomically(self.folder / tile.path("png"), png(greys(pixels, cut)))
                drawn.note(tile, True)

        self._each("pictures", draw, tiles, ())
        return cells, min(low for low, _ in ranges), max(high for _, high in ranges)

    def _allsky(self, cut: Cut) -> None:
        """Norder3/Allsky.fits and .png (HIPS-06)."""
        tiles: dict[int, Pixels] = {}
        for npix in self.plan.tiles_of(ALLSKY_ORDER):
            pixels = self._read(ALLSKY_ORDER, npix)
            if pixels is not None:
                tiles[npix] = pixels
        mosaic = allsky(tiles)
        folder = self.folder / f"Norder{ALLSKY_ORDER}"
        write_atomically(folder / "Allsky.fits", fits_image(mosaic, {"ORDER": ALLSKY_ORDER}))
        write_atomically(folder / "Allsky.png", png(greys(mosaic, cut)))

    def _read(self, order: int, npix: int) -> Pixels | None:
        return read_tile(self.folder / Tile(order, npix).path("fits"), self.plan.width)

    def _held(self, journal: Journal, order: int) -> list[Tile]:
        return sorted(tile for tile, has_pixels in journal.done.items() if has_pixels and tile.order == order)

    def _each(
        self,
        step: Step,
        work: Callable[[Tile], None],
        tiles: list[Tile],
        done: Iterable[Tile],
        *,
        before: int = 0,
        of: int | None = None,
    ) -> None:
        """Do the work for each tile that is not done, neighbours after each other: they share images."""
        skipped = set(done)
        left = [tile for tile in tiles if tile not in skipped]
        total = len(tiles) if of is None else of
        count = before + len(tiles) - len(left)
        lock = threading.Lock()
        self.advance(step, count, total)

        def one(tile: Tile) -> None:
            nonlocal count
            work(tile)
            with lock:
                count += 1
                self.advance(step, count, total)

        on_threads(one, left, self.threads)


def on_threads(work: Callable[[_Given], _Made], given: list[_Given], threads: int, *, chunk: int = 4096) -> list[_Made]:
    """work(each) on dask's threads, in order; a failure, or Ctrl-C, ends the rest. chunk: how many a graph holds."""
    made: list[_Made] = []
    for start in range(0, len(given), chunk):
        graph = {("each", place): (work, each) for place, each in enumerate(given[start : start + chunk])}
        made += get_on_threads(graph, list(graph), num_workers=threads)
    return made


def resampled(tile: Tile, plan: Plan, reader: ImageReader) -> Pixels | None:
    """A tile of the finest order; None if no image has a value in it."""
    laid = _laid_over(tile, plan, reader)  # one image after the other: there may be thousands
    first, second = next(laid, None), next(laid, None)
    if first is None:
        return None
    total = TileSum(plan.width, several=second is not None)
    for window, squares in chain((first,), () if second is None else (second,), laid):
        for square in squares:
            total.add(window, square)
    pixels = total.pixels()
    return pixels if np.isfinite(pixels).any() else None


def _laid_over(tile: Tile, plan: Plan, reader: ImageReader) -> Iterator[tuple[Window, list[Placed]]]:
    """Of each image that has pixels in the tile, those, and the tile's squares that lie on it."""
    for number in plan.tiles[tile.npix]:
        key = plan.images[number]
        place = reader.place(key)
        squares = list(placed(tile, plan.width, place))
        limits = bounds(squares, place.shape)
        if limits is not None:
            yield reader.window(key, *limits), squares


def _is_whole(path: Path, size_bytes: int) -> bool:
    try:
        return path.stat().st_size == size_bytes
    except FileNotFoundError:
        return False


def described(
    plan: Plan,
    result: Result,
    about: About,
    coverage: Coverage,
    creator_did: str,
    data_range: tuple[float, float],
    now: datetime,
) -> dict[str, object]:
    """The properties of a HiPS, but for where it is served (HIPS-03, HIPS-04, HIPS-05; §4.4.1)."""
    cells = sum(result.tiles.values())
    kept = {source.name for source in plan.sources}
    return {
        "creator_did": creator_did,
        "obs_collection": about.collection,
        "obs_title": about.title,
        "obs_description": about.description or f"{about.title}: {len(plan.images)} images of {len(kept)} files.",
        "obs_copyright": about.copyright,
        "obs_regime": about.regime or properties.regime_of(coverage.em_min, coverage.em_max),
        # Names of files, not where they lay: everyone reads this.
        "prov_progenitor": about.collection or ", ".join(sorted(Path(name).name for name in kept)[:5]),
        "bib_reference": about.bib_reference,
        "client_category": "Image",
        "t_min": coverage.t_min,
        "t_max": coverage.t_max,
        "em_min": coverage.em_min,
        "em_max": coverage.em_max,
        "dataproduct_type": "image",
        "hips_builder": properties.BUILDER,
        "hips_version": properties.VERSION,
        "hips_creation_date": properties.moment(now),
        "hips_release_date": properties.moment(now),
        "hips_creator": about.creator or about.copyright or properties.BUILDER,
        "hips_copyright": about.copyright,
        "hips_licence": about.licence,
        "hips_status": "public master clonableOnce",
        "hips_tile_format": "png fits",
        "hips_order": plan.order,
        "hips_order_min": 0,
        "hips_tile_width": plan.width,
        "hips_frame": "equatorial",
        "hips_sampling": "bilinear",
        "hips_overlay": "mean",
        "hips_skyval": "none",
        "hips_hierarchy": "mean",
        "hips_pixel_scale": f"{cell_size_deg(plan.pixel_order):.6g}",
        "s_pixel_scale": f"{cell_size_deg(plan.pixel_order):.6g}",
        "hips_pixel_bitpix": -32,
        "data_pixel_bitpix": -32,
        "hips_pixel_cut": f"{result.cut.low:.7g} {result.cut.high:.7g}",
        "hips_data_range": f"{data_range[0]:.7g} {data_range[1]:.7g}",
        "hips_pixel_function": result.cut.stretch,
        "hips_initial_ra": f"{result.view.ra:.6f}",
        "hips_initial_dec": f"{result.view.dec:.6f}",
        "hips_initial_fov": f"{result.view.fov_deg:.6g}",
        "hips_nb_tiles": cells,
        "hips_estsize": cells * file_size(plan.width) * 5 // 4 // 1024,
        "moc_sky_fraction": f"{result.sky_fraction:.6g}",
    }
