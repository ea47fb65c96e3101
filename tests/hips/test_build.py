"""From images to a HiPS: values, blanks, stars, pictures, coverage; stopped builds; bounded memory."""

import io
import json
from pathlib import Path
from typing import Any

import healpy
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from click.testing import CliRunner
from mocpy import MOC
from PIL import Image

from archive.vo.errors import StateError, UsageError
from hips import properties
from hips.build import EmptySurvey, Journal, resampled
from hips.plan import Plan
from hips.render import Cut, greys, png
from hips.resample import Window, bilinear
from hips.shelf import Shelf
from hips.tile import Tile
from hips.tilefiles import read_tile
from hips.tiling import pixel_cells, tile_wcs
from tests.hips.skies import build_of, planned, reader_of, run, stars, tan_header
from uraniborg import commands

SIDE, SCALE = 300, 2.0 / 3600


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray, np.ndarray, fits.Header]:
    """A distorted, turned image of 40 stars at the edge of HEALPix's polar cap, and where they are."""
    rng = np.random.default_rng(7)
    header = tan_header(45.0, 41.81, SCALE, SIDE, sip=True, turned=25)
    ra, dec = WCS(header).all_pix2world(*rng.uniform(15, SIDE - 15, (2, 40)), 0)
    path = tmp_path_factory.mktemp("field") / "field.fits"
    fits.writeto(path, stars(header, SIDE, ra, dec), header)
    return path, ra, dec, header


@pytest.fixture(scope="module")
def built(field: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Path]:
    plan = planned(field[0])
    folder = tmp_path_factory.mktemp("built") / "sky"
    run(build_of(plan, folder, field[0]))
    return plan, folder


def value_at(folder: Path, plan: Plan, order: int, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """The HiPS's values, read by astropy and looked up by healpy."""
    cells = healpy.ang2pix(plan.width << order, ra, dec, nest=True, lonlat=True)
    values = np.full(len(cells), np.nan)
    rows, columns = (grid.ravel() for grid in np.indices((plan.width, plan.width)))
    for npix in np.unique(cells // plan.width**2):
        path = folder / Tile(order, int(npix)).path("fits")
        if path.exists():
            pixels = fits.getdata(path).ravel().tolist()
            by_cell = dict(zip(pixel_cells(int(npix), plan.width, rows, columns).tolist(), pixels, strict=True))
            here = cells // plan.width**2 == npix
            values[here] = [by_cell[cell] for cell in cells[here].tolist()]
    return values


def test_stars_stay_where_they_are_within_a_fraction_of_a_pixel(built: Any, field: Any) -> None:
    plan, folder = built
    _, ra, dec, _ = field
    nearby = 0
    for star_ra, star_dec in zip(ra, dec, strict=True):
        others = np.hypot((ra - star_ra) * np.cos(np.radians(dec)), dec - star_dec)
        if np.sort(others)[1] < 30 * SCALE:
            continue
        npix = int(healpy.ang2pix(1 << plan.order, star_ra, star_dec, nest=True, lonlat=True))
        header = fits.Header({"NAXIS": 2, "NAXIS1": plan.width, "NAXIS2": plan.width})
        header.update(tile_wcs(Tile(plan.order, npix), plan.width))
        x, y = (float(value) for value in WCS(header).wcs_world2pix(star_ra, star_dec, 0))
        data = fits.getdata(folder / Tile(plan.order, npix).path("fits"))
        i, j = round(x), round(y)
        if not (12 <= i < plan.width - 12 and 12 <= j < plan.width - 12):
            continue
        cut = data[j - 12 : j + 13, i - 12 : i + 13] - 50
        rows, columns = np.indices(cut.shape)
        nearby += 1
        # Centroids, in pixels of the tile, which are no larger than the image's.
        assert abs((columns * cut).sum() / cut.sum() + i - 12 - x) < 0.1
        assert abs((rows * cut).sum() / cut.sum() + j - 12 - y) < 0.1
    assert nearby >= 10


def test_tiles_are_the_image_at_each_order_as_far_as_it_resolves(built: Any, field: Any) -> None:
    plan, folder = built
    path, _, _, header = field
    image = fits.getdata(path)
    rng = np.random.default_rng(2)
    x, y = rng.uniform(20, SIDE - 20, (2, 4000)).round()
    ra, dec = WCS(header).all_pix2world(x, y, 0)
    for order, least in ((plan.order, 0.985), (plan.order - 1, 0.95)):
        values = value_at(folder, plan, order, ra, dec)
        assert np.isfinite(values).all()
        assert np.corrcoef(values, image[y.astype(int), x.astype(int)])[0, 1] > least
    # The sky between stars is that of the image: no background was taken away.
    assert np.median(values) == pytest.approx(np.median(image), abs=0.5)


def test_every_order_is_folded_down_to_the_first(built: Any) -> None:
    plan, folder = built
    width = plan.width
    rows, columns = np.indices((width, width))
    for order in range(plan.order):
        parents = {path.parent for path in folder.glob(f"Norder{order}/Dir*/Npix*.fits")}
        assert parents
    npix = plan.tiles_of(plan.order - 1)[0]
    tile = Tile(plan.order - 1, npix)
    parent = np.empty(width * width)
    parent[pixel_cells(npix, width, rows, columns) - npix * width**2] = fits.getdata(folder / tile.path("fits"))
    below = np.full(4 * width * width, np.nan)
    for child in tile.children:
        if (folder / child.path("fits")).exists():
            at = pixel_cells(child.npix, width, rows, columns) - tile.npix * 4 * width**2
            below[at] = fits.getdata(folder / child.path("fits"))
    four = below.reshape(-1, 4)
    with np.errstate(invalid="ignore"):
        mean = np.nansum(four, axis=1) / np.isfinite(four).sum(axis=1)
    np.testing.assert_allclose(parent, mean, rtol=1e-5)


def test_what_is_said_of_the_whole_is_true(built: Any) -> None:
    plan, folder = built
    told = properties.parsed((folder / "properties").read_text())
    assert set(properties.MANDATORY) <= set(told)
    assert {"hips_tile_width", "hips_pixel_cut", "hips_pixel_bitpix", "hips_order_min", "moc_sky_fraction"} <= set(told)
    assert told["hips_order"] == str(plan.order) and told["hips_version"] == "1.4"
    moc = MOC.from_fits(str(folder / "Moc.fits"))
    finest = list(folder.glob(f"Norder{plan.order}/Dir*/Npix*.fits"))
    valid = sum(np.isfinite(fits.getdata(path)).sum() for path in finest)
    assert (
        valid / (12 * (plan.width << plan.order) ** 2)
        < moc.sky_fraction
        < 2 * valid / (12 * (plan.width << plan.order) ** 2)
    )
    assert float(told["moc_sky_fraction"]) == pytest.approx(moc.sky_fraction, rel=1e-4)
    with fits.open(folder / "Moc.fits") as hdus:
        hdus.verify("exception")
        assert hdus[1].header["ORDERING"] == "NUNIQ" and hdus[1].header["COORDSYS"] == "C"
    preview = Image.open(folder / "preview.jpg")
    assert preview.size == (256, 256) and np.asarray(preview).max() > 200
    assert float(told["hips_initial_ra"]) == pytest.approx(45, abs=0.02)
    assert 'src="preview.jpg"' in (folder / "index.html").read_text()
    for path in (*finest, folder / "Norder3" / "Allsky.fits"):
        with fits.open(path) as hdus:
            hdus.verify("exception")


def test_a_picture_shows_its_tile_the_right_way_up_and_nothing_where_there_is_nothing(built: Any) -> None:
    plan, folder = built
    for path in folder.glob(f"Norder{plan.order}/Dir*/Npix*.fits"):
        pixels = fits.getdata(path)[::-1]
        picture = np.asarray(Image.open(path.with_suffix(".png")).convert("LA")).astype(int)
        assert picture.shape == (plan.width, plan.width, 2)
        assert ((picture[..., 1] > 0) == np.isfinite(pixels)).all()
        order = np.argsort(pixels[np.isfinite(pixels)])
        assert (np.diff(picture[..., 0][np.isfinite(pixels)][order]) >= 0).all()


def test_pictures_hold_between_the_cuts_and_saturate_beyond() -> None:
    levels = greys(np.array([[np.nan, -5.0, 0.0], [0.5, 1.0, 9.0]], np.float32), Cut(0.0, 1.0, "linear"))
    assert levels.tolist() == [[128, 255, 255], [0, 1, 1]]
    assert Image.open(io.BytesIO(png(levels))).size == (3, 2)


def test_blank_pixels_neither_grow_nor_shrink() -> None:
    rng = np.random.default_rng(5)
    image = rng.normal(size=(40, 50)).astype(np.float32)
    blank = rng.random(image.shape) < 0.3
    image[blank] = np.nan
    x, y = rng.uniform(-0.5, 49.5, 5000), rng.uniform(-0.5, 39.5, 5000)
    got = bilinear(Window(image, 0, 0, image.shape), x, y)
    for value, px, py in zip(got, np.clip(x, 0, 49), np.clip(y, 0, 39), strict=True):
        i, j = min(int(px), 48), min(int(py), 38)
        weights = np.outer([1 - (py - j), py - j], [1 - (px - i), px - i])
        four = image[j : j + 2, i : i + 2]
        held = weights[np.isfinite(four)].sum()
        if abs(held - 0.5) < 1e-5:
            continue
        if held < 0.5:
            assert np.isnan(value)
        else:
            assert value == pytest.approx(np.nansum(four * weights) / held, abs=2e-5)


def test_where_images_overlap_values_lie_between_theirs_and_alone_they_are_untouched(tmp_path: Path) -> None:
    side = 200
    for name, shift, level in (("a", 0.0, 1.0), ("b", 0.5, 3.0)):
        header = tan_header(10.0 + shift * side * SCALE, 0.0, SCALE, side)
        fits.writeto(tmp_path / f"{name}.fits", np.full((side, side), level, np.float32), header)
    paths = (tmp_path / "a.fits", tmp_path / "b.fits")
    plan = planned(*paths)
    tiles = [resampled(Tile(plan.order, npix), plan, reader_of(*paths)) for npix in plan.tiles]
    values = np.concatenate([tile.ravel() for tile in tiles if tile is not None])
    values = values[np.isfinite(values)]
    assert values.min() == 1.0 and values.max() == 3.0
    between = np.mean((values > 1.0) & (values < 3.0))
    assert 0.25 < between < 0.4  # a third of the sum of the two is seen by both
    assert np.mean(values[(values > 1) & (values < 3)]) == pytest.approx(2.0, abs=0.05)


class Stop(Exception):
    pass


def test_a_stopped_build_goes_on_where_it_was_and_ends_the_same(field: Any, built: Any, tmp_path: Path) -> None:
    plan, whole = built
    folder = tmp_path / "sky"
    for step, at in (("tiles", 2), ("pyramid", 3), ("pictures", 4)):

        def stop(now: str, done: int, total: int, step: str = step, at: int = at) -> None:
            if now == step and done == at:
                raise Stop

        with pytest.raises(Stop):
            run(build_of(plan, folder, field[0], advance=stop, threads=1))
        with (folder / "tiles.done").open("a") as journal:
            journal.write("9 12")  # cut off in mid-line
    kept = {path: path.stat().st_mtime_ns for path in folder.rglob("Npix*.fits")}
    assert kept
    seen: list[tuple[str, int, int]] = []
    run(build_of(plan, folder, field[0], advance=lambda *told: seen.append(told)))
    assert seen[0] == ("tiles", len(plan.tiles), len(plan.tiles))  # none of them was made again
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())
    names = {path.relative_to(whole) for path in whole.rglob("*") if path.suffix in (".fits", ".png", ".jpg")}
    assert len(names) > 30
    for name in names:
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name


def test_a_tile_that_was_lost_is_made_again(field: Any, built: Any, tmp_path: Path) -> None:
    plan, whole = built
    run(build_of(plan, tmp_path / "sky", field[0]))
    tile = next(
        tile
        for tile, held in Journal(tmp_path / "sky" / "tiles.done").done.items()
        if held and tile.order == plan.order
    )
    (tmp_path / "sky" / tile.path("fits")).write_bytes(b"")
    run(build_of(plan, tmp_path / "sky", field[0]))
    assert (tmp_path / "sky" / tile.path("fits")).read_bytes() == (whole / tile.path("fits")).read_bytes()


def test_an_image_too_large_for_memory_makes_the_same_tiles(field: Any, built: Any) -> None:
    plan, folder = built
    reader = reader_of(field[0], memory_bytes=1000)
    for npix in plan.tiles:
        tile = resampled(Tile(plan.order, npix), plan, reader)
        held = read_tile(folder / Tile(plan.order, npix).path("fits"), plan.width)
        assert (tile is None) == (held is None)
        if tile is not None and held is not None:
            np.testing.assert_allclose(tile, held, rtol=1e-6)


def test_the_plan_is_a_value_that_can_be_written_down(built: Any) -> None:
    plan, folder = built
    assert Plan.from_json(json.loads(json.dumps(plan.as_json()))).build_id == plan.build_id
    assert Plan.from_file(folder / "plan.json").tiles == plan.tiles


def test_orders_and_widths_that_do_not_fit_are_refused(field: Any) -> None:
    for options in ({"order": 25}, {"width": 500}, {"width": 32}, {"max_tiles": 1}):
        with pytest.raises(UsageError):
            planned(field[0], **options)


def test_images_without_a_value_make_no_survey(tmp_path: Path) -> None:
    fits.writeto(tmp_path / "e.fits", np.full((20, 20), np.nan, np.float32), tan_header(1, 1, 0.01, 20))
    with pytest.raises(EmptySurvey, match="no image has a pixel"):
        run(build_of(planned(tmp_path / "e.fits"), tmp_path / "out", tmp_path / "e.fits"))


def test_the_command_tells_its_plan_builds_publishes_and_goes_to_a_folder(field: Any, tmp_path: Path) -> None:
    data = ["--data-dir", str(tmp_path / "data")]

    def uraniborg(*words: str) -> str:
        done = CliRunner().invoke(commands, ["hips", *words, *data], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    told = uraniborg("build", str(field[0]), "--dry-run")
    assert "field: 1 images of 1 files" in told and "tiles at the most, by order: 0:1" in told
    assert not (tmp_path / "data" / "hips").exists()
    assert json.loads(uraniborg("build", str(field[0]), "--dry-run", "--json"))["name"] == "field"
    assert "/hips/field" in uraniborg("build", str(field[0]), "--title", "Forty stars")
    assert "published already" in uraniborg("build", str(field[0]))
    assert "Forty stars" in uraniborg("list")
    uraniborg("build", str(field[0]), "--out", str(tmp_path / "out"), "--order", "4")
    assert (tmp_path / "out" / "Norder3" / "Allsky.png").exists()
    kept = "".join((tmp_path / "out" / name).read_text() for name in ("plan.json", "properties", "index.html"))
    assert "./field.fits" in kept and str(field[0].parent) not in kept
    with pytest.raises(UsageError, match="something else lies there"):
        uraniborg("build", str(field[0]), "--out", str(tmp_path / "out"), "--order", "3")
    uraniborg("withdraw", "field")
    assert uraniborg("list") == ""


def test_two_processes_do_not_build_one_survey_at_once(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    with shelf.workspace("x", "1"), pytest.raises(StateError, match="another process"), shelf.workspace("x", "2"):
        pass


def test_a_new_build_takes_the_place_of_the_former_in_one_step(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    for build_id in ("1", "2", "3"):
        with shelf.workspace("x", build_id) as folder:
            folder.mkdir()
            (folder / "properties").write_text(f"obs_title = {build_id}\n")
            shelf.publish("x", build_id)
        assert shelf.published("x").properties("http://a")["obs_title"] == build_id
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == [".lock", "2", "3", "current"]


def test_a_regime_is_that_of_the_middle_of_the_wavelengths() -> None:
    for band, word in (((4e-7, 5.5e-7), "Optical"), ((2e-6, 2.4e-6), "Infrared"), ((0.2, 0.22), "Radio"),
                       ((1e-10, 1e-9), "X-ray"), ((1.4e-7, 2e-7), "UV")):  # fmt: skip
        assert properties.regime_of(*band) == word
    assert properties.regime_of(None, 1.0) is None
