"""What is covered: MOCs against positions asked one by one, and the map against its own projection turned round."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mocpy import MOC
from PIL import Image

from archive.portal.coverage import Coverage, Coverages, mollweide
from archive.vo.moc import moc_fits, moc_of_regions
from archive.vo.regions import Circle, Point, Polygon, Range, Region

ORDER = 8
CELL_DEG = 0.5  # a cell of order 8 from corner to corner, at the most
POSITIONS = np.random.default_rng(1).normal(size=(4000, 3))
SKY = SkyCoord(*POSITIONS.T, representation_type="cartesian").spherical
RA, DEC = SKY.lon.deg, SKY.lat.deg

circles = st.builds(Circle, st.floats(0, 360), st.floats(-90, 90), st.floats(0.01, 60))
ranges = st.builds(
    lambda west, width, south, height: Range(west, (west + width) % 360, south, south + height),
    st.floats(0, 360), st.floats(1, 350), st.floats(-90, 0), st.floats(1, 90),
)  # fmt: skip
squares = st.builds(
    lambda ra, dec, half: Polygon(
        tuple((ra + a * half, dec + d * half) for a, d in ((1, -1), (1, 1), (-1, 1), (-1, -1)))
    ).normalised(),
    st.floats(10, 350), st.floats(-70, 70), st.floats(0.1, 8),
)  # fmt: skip


def inside(region: Region, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Which positions lie in a region, by formulas of the shapes themselves."""
    match region:
        case Circle():
            centre = SkyCoord(region.ra, region.dec, unit="deg")
            return np.asarray(centre.separation(SkyCoord(ra, dec, unit="deg")).deg <= region.radius)
        case Range():
            east = (ra - region.ra_min) % 360 <= region.width
            return np.asarray(east & (dec >= region.dec_min) & (dec <= region.dec_max))
        case Polygon():
            return np.asarray(region.contains(ra, dec))
    raise AssertionError(region)


@settings(max_examples=60, deadline=None)
@given(st.lists(circles | ranges | squares, min_size=1, max_size=4))
@example([Circle(0.0, 0.0, 22.0)])
@example([Circle(22.5, 0.0, 11.0)])
def test_every_position_of_a_region_is_covered_and_none_far_from_all(regions: list[Region]) -> None:
    moc = moc_of_regions(regions, ORDER)
    covered = moc.contains_lonlat(RA * u.deg, DEC * u.deg)
    within = np.any([inside(region, RA, DEC) for region in regions], axis=0)
    missed = within & ~covered
    # A range's own edges may be cut by half a cell: mocpy's zones leave out their upper and right sides.
    if missed.any():
        assert any(isinstance(region, Range) for region in regions)
        assert missed.mean() < 0.01
    for ra, dec in zip(RA[covered & ~within][:200], DEC[covered & ~within][:200], strict=True):
        bearings, distances = np.meshgrid(np.arange(0, 360, 15), CELL_DEG * np.array([0.25, 0.5, 0.75, 1.0]))
        around = SkyCoord(ra, dec, unit="deg").directional_offset_by(
            bearings.ravel() * u.deg, distances.ravel() * u.deg
        )
        near = np.any([inside(region, around.ra.deg, around.dec.deg) for region in regions])
        small = any(not isinstance(region, Range) and region.area < 1 for region in regions)
        assert near or small, "a cell is covered that no region comes near"


def test_positions_and_the_whole_sky() -> None:
    moc = moc_of_regions([Point(10.0, 20.0)], ORDER)
    assert moc.contains_lonlat(10 * u.deg, 20 * u.deg).all()
    assert moc.sky_fraction == 1 / (12 * 4**ORDER)
    assert moc_of_regions([Circle(0, 0, 180)], ORDER).sky_fraction == 1
    assert moc_of_regions([Range(0, 360, -90, 90)], ORDER).sky_fraction == 1
    assert moc_of_regions([], ORDER).empty()


@pytest.mark.parametrize("radius", [91.0, 140.0, 165.0, 175.0, 179.9])
def test_a_circle_of_more_than_half_the_sky_leaves_out_no_more_than_the_rest(radius: float) -> None:
    moc = moc_of_regions([Circle(33.0, 12.0, radius)], ORDER)
    apart = SkyCoord(33.0, 12.0, unit="deg").separation(SkyCoord(RA, DEC, unit="deg")).deg
    covered = moc.contains_lonlat(RA * u.deg, DEC * u.deg)
    assert covered[apart <= radius].all()
    assert not covered[apart > radius + 3 * CELL_DEG].any()


def test_a_polygon_may_touch_the_first_meridian_from_either_side() -> None:
    east, west = Polygon(((0, -1), (0, 1), (2, 0))), Polygon(((360, -1), (358, 0), (360, 1)))
    moc = moc_of_regions([east, west, Polygon(((1, -1), (1, 1), (3, 1), (3, -1)))], ORDER)
    assert moc.contains_lonlat([0.5, 359.5, 2.5] * u.deg, [0, 0, 0.5] * u.deg).all()
    assert moc.sky_fraction < 20 / 41_252


def test_only_what_has_a_coverage_is_remembered() -> None:
    asked: list[str] = []

    def ask(adql: str, *, maxrec: int) -> pa.Table:
        asked.append(adql)
        regions = [] if "'none" in adql else ["CIRCLE ICRS 10 20 1", "CIRCLE ICRS 0 0 60", "nonsense"]
        return pa.table({"s_region": pa.array(regions, pa.string())})

    coverages = Coverages(ask, order=ORDER, most=3, look_again_s=300)
    for number in range(3):
        assert coverages.of(f"none{number}").moc.empty()
        assert coverages.of("one") is coverages.of("one")
    assert len(asked) == 4
    assert list(coverages._made) == ["one"]
    assert coverages.of("one").pointed == moc_of_regions([Circle(10, 20, 1)], ORDER)
    assert coverages.of("one").sky_fraction > 0.25 and coverages.of("one").has_wide
    assert coverages.of("one").picture is coverages.of("one").picture


def test_a_range_as_thin_as_a_point_is_where_it_is() -> None:
    for region in (Range(30, 30, 5, 5), Range(0, 0, 90, 90), Range(359.9, 359.9, -90, -90)):
        assert moc_of_regions([region], ORDER).sky_fraction <= 4 / (12 * 4**ORDER)


def test_a_moc_file_is_read_as_it_was(tmp_path: Path) -> None:
    moc = moc_of_regions([Circle(80, -30, 3)], ORDER)
    path = tmp_path / "moc.fits"
    path.write_bytes(moc_fits(moc))
    assert MOC.from_fits(path) == moc


@settings(max_examples=20, deadline=None)
@given(st.floats(0, 360), st.floats(-80, 80))
def test_the_map_shows_a_field_at_its_place(ra: float, dec: float) -> None:
    moc = moc_of_regions([Circle(ra, dec, 3)], ORDER)
    picture = np.asarray(Image.open(io.BytesIO(mollweide(Coverage(moc, moc, True), 720))))
    rows, columns = np.nonzero(picture[..., 3] > 128)
    lon, lat = np.radians((ra + 180) % 360 - 180), np.radians(dec)
    theta = lat
    for _ in range(200):  # Mollweide's auxiliary angle, by Newton's method
        theta -= (2 * theta + np.sin(2 * theta) - np.pi * np.sin(lat)) / (2 + 2 * np.cos(2 * theta))
    x = 360 - 360 * lon / np.pi * np.cos(theta)
    y = 180 - 180 * np.sin(theta)
    if abs(lon) < np.radians(170):  # beyond, it may be cut in two by the map's edge
        assert abs(columns.mean() - x) < 4
        assert abs(rows.mean() - y) < 4
