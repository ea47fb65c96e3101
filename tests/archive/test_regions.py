"""Regions from text and to it, their measures, and intervals; astropy and mocpy as oracles."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from hypothesis import given, settings
from hypothesis import strategies as st
from mocpy import MOC

from archive.vo.errors import UsageError
from archive.vo.intervals import BandInterval, Interval, TimeInterval
from archive.vo.regions import Circle, Point, Polygon, Range, from_array, from_stcs, parse_pos, to_stcs

ANYWHERE = st.tuples(st.floats(0, 360), st.floats(-90, 90))


def star(ra: float, dec: float, size: float, seed: int, count: int = 7) -> list[tuple[float, float]]:
    """Vertices around a centre by astropy, counter-clockwise as seen from inside: by growing position angle."""
    rng = np.random.default_rng(seed)
    angles = (np.arange(count) + rng.uniform(-0.2, 0.2, count)) * 360 / count
    radii = size * rng.uniform(0.3, 1, count)
    corners = SkyCoord(ra, dec, unit="deg").directional_offset_by(angles * u.deg, radii * u.deg)
    return list(zip(corners.ra.deg.tolist(), corners.dec.deg.tolist(), strict=True))


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("CIRCLE 10 -5 0.5", Circle(10, -5, 0.5)),
        ("circle  370 -5 0.5", Circle(10, -5, 0.5)),
        ("CIRCLE -10 -5 180", Circle(350, -5, 180)),
        ("RANGE 359 1 -1 1", Range(359, 1, -1, 1)),
        ("RANGE -1 1 -1 1", Range(359, 1, -1, 1)),
        ("RANGE -Inf +Inf -Inf +Inf", Range(0, 360, -90, 90)),
        ("RANGE 0 360 89.0 +Inf", Range(0, 360, 89, 90)),
        ("RANGE 12 12 34 34", Range(12, 12, 34, 34)),
        ("POLYGON 10 10 10 20 20 20 20 10", Polygon(((10, 10), (10, 20), (20, 20), (20, 10)))),
        ("POLYGON 20 10 20 20 10 20 10 10 20 10", Polygon(((10, 10), (10, 20), (20, 20), (20, 10)))),
    ],
)
def test_pos_is_read_in_all_its_forms(text: str, shape: Circle | Range | Polygon) -> None:
    assert parse_pos(text) == shape


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("CIRCLE 10 5", "three numbers"),
        ("CIRCLE 10 5 x", "three numbers"),
        ("CIRCLE 10 95 1", "not a circle on the sky"),
        ("CIRCLE 10 5 0", "not a circle on the sky"),
        ("CIRCLE 10 5 -1", "not a circle on the sky"),
        ("CIRCLE NaN 5 1", "NaN"),
        ("CIRCLE Inf 5 1", "not a circle on the sky"),
        ("RANGE 1 2 3", "four numbers"),
        ("RANGE 1 2 5 4", "not a range on the sky"),
        ("POLYGON 1 2 3 4", "at least six"),
        ("POLYGON 1 2 3 4 5 6 7", "even count"),
        ("POLYGON 0 0 10 10 10 0 0 10", "cross or touch"),
        ("POLYGON 0 0 10 0 5 0", "cross or touch"),
        ("POLYGON 0 0 180 0 90 50", "cross or touch"),
        ("POLYGON 0 0 0 0 5 5", "at least three vertices"),
        ("BOX 1 2 3 4", "CIRCLE, RANGE or POLYGON"),
        ("", "CIRCLE, RANGE or POLYGON"),
    ],
)
def test_what_is_no_pos_is_told_why(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        parse_pos(text)


@settings(deadline=None, max_examples=60)
@given(place=ANYWHERE, size=st.floats(-4, 1.8), seed=st.integers(0, 10_000))
def test_a_polygon_of_either_winding_is_brought_counter_clockwise(
    place: tuple[float, float], size: float, seed: int
) -> None:
    corners = star(*place, 10**size, seed)
    ordered = Polygon(tuple(corners))
    assert ordered.normalised() == ordered
    backwards = Polygon(tuple(reversed(corners)))
    assert backwards.normalised() == ordered.__class__(tuple(corners))
    assert ordered.is_simple()
    assert backwards.area == pytest.approx(ordered.area, rel=1e-6)


@pytest.mark.parametrize(("ra", "dec"), [(10, 20), (359.9, -3), (45, 89), (0, -90)])
def test_a_polygons_area_and_inside_are_mocpys(ra: float, dec: float) -> None:
    polygon = Polygon(tuple(star(ra, dec, 8, seed=4)))
    corners = np.array(polygon.vertices)
    moc = MOC.from_polygon(corners[:, 0] * u.deg, corners[:, 1] * u.deg, max_depth=11)
    assert polygon.area == pytest.approx(moc.sky_fraction * 41252.96, rel=0.01)
    rng = np.random.default_rng(1)
    places = SkyCoord(ra, dec, unit="deg").directional_offset_by(
        rng.uniform(0, 360, 500) * u.deg, rng.uniform(0, 12, 500) * u.deg
    )
    known = moc.contains_lonlat(places.ra, places.dec)
    told = polygon.contains(places.ra.deg, places.dec.deg)
    assert (known != told).sum() < 10  # cells on the edge
    assert known.any() and not known.all()


def test_measures_are_those_everyone_knows() -> None:
    sky = 4 * np.pi * (180 / np.pi) ** 2
    assert Circle(1, 2, 180).area == pytest.approx(sky)
    assert Range(0, 360, -90, 90).area == pytest.approx(sky)
    assert Range(350, 10, 0, 90).area == pytest.approx(sky * 20 / 720)
    assert Polygon(((0, 0), (0, 90), (90, 0))).area == pytest.approx(sky / 8)


@pytest.mark.parametrize(
    ("vertices", "simple"),
    [
        (((0, 0), (10, 0), (10, 10), (0, 10)), True),
        (((350, -5), (10, -5), (10, 5), (350, 5)), True),
        (((0, 80), (90, 80), (180, 80), (270, 80)), True),
        (((0, 0), (10, 0), (5, 5), (10, 10), (0, 10)), True),
        (((0, 0), (10, 10), (10, 0), (0, 10)), False),
        (((0, 0), (10, 0), (5, 0), (5, 10)), False),  # runs back on itself
        (((0, 0), (10, 0), (10, 10), (5, 0), (0, 10)), False),  # touches its own edge
        (((0, 0), (10, 0), (10, 10), (10, 10), (0, 10)), False),  # a vertex twice
        (((0, 0), (2, 0), (2, 2), (1, 1), (0, 2), (1, 1)), False),  # meets itself in a vertex
    ],
)
def test_self_crossing_and_self_touching_polygons_are_known(
    vertices: tuple[tuple[float, float], ...], simple: bool
) -> None:
    assert Polygon(vertices).is_simple() is simple


@given(
    shape=st.one_of(
        st.builds(Point, st.floats(0, 360), st.floats(-90, 90)),
        st.builds(Circle, st.floats(0, 360), st.floats(-90, 90), st.floats(1e-6, 180)),
        st.builds(Range, st.floats(0, 360), st.floats(0, 360), st.floats(-90, 0), st.floats(0, 90)),
    )
)
def test_arrays_and_stcs_give_back_the_shape_they_were_made_of(shape: Point | Circle | Range) -> None:
    assert from_array(shape.as_array()) == shape
    assert from_stcs(to_stcs(shape.as_array())) == shape


@settings(deadline=None, max_examples=30)
@given(place=ANYWHERE, seed=st.integers(0, 100))
def test_a_polygon_comes_back_from_stcs_digit_by_digit(place: tuple[float, float], seed: int) -> None:
    polygon = Polygon(tuple(star(*place, 3, seed)))
    text = to_stcs(polygon.as_array())
    assert text.startswith("POLYGON ICRS ")
    assert from_stcs(text) == polygon
    assert from_array(polygon.as_array()) == polygon


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("Polygon J2000 10 10 10 20 20 20 20 10", Polygon(((10, 10), (10, 20), (20, 20), (20, 10)))),
        ("CIRCLE ICRS TOPOCENTER 10.5 -3.25 0.1", Circle(10.5, -3.25, 0.1)),
        ("Circle 10 20 1", Circle(10, 20, 1)),
        ("POSITION FK5 12 13", Point(12, 13)),
        ("PositionInterval ICRS 1 2 3 4", Range(1, 3, 2, 4)),
    ],
)
def test_stcs_of_partners_is_read(text: str, shape: object) -> None:
    assert from_stcs(text) == shape


@pytest.mark.parametrize(
    "text", ["", "POLYGON GALACTIC 1 2 3 4 5 6", "UNION ICRS (CIRCLE 1 2 3)", "ELLIPSE ICRS 1 2 3 4 5"]
)
def test_stcs_that_is_not_supported_is_refused_by_name(text: str) -> None:
    with pytest.raises(UsageError, match=r"supported|empty"):
        from_stcs(text)


def test_an_array_of_another_length_is_no_region() -> None:
    for array in ([1.0], [1.0, 2, 3, 4, 5], [1.0] * 7):
        with pytest.raises(UsageError):
            from_array(array)
        with pytest.raises(UsageError):
            to_stcs(array)


def test_intervals_are_read_with_open_ends() -> None:
    assert TimeInterval.from_dali("55708.0 55708.5") == TimeInterval(55708, 55708.5)
    assert BandInterval.from_dali("-Inf 7e-7") == BandInterval(-np.inf, 7e-7)
    assert Interval.from_dali("300 +Inf").as_dali() == "300.0 +Inf"
    assert Interval.from_dali("5", scalar=True) == Interval(5, 5)
    assert TimeInterval(1, 2).overlaps(TimeInterval(2, 3)) and not TimeInterval(1, 2).overlaps(TimeInterval(2.1, 3))
    assert Interval(1, np.inf).contains(1e300)


@pytest.mark.parametrize("text", ["", "1", "1 2 3", "2 1", "a b", "NaN 1", "Inf Inf", "-Inf -Inf"])
def test_what_is_no_interval_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Interval.from_dali(text, name="TIME")


def test_a_band_without_positive_wavelengths_is_refused() -> None:
    with pytest.raises(UsageError, match="wavelengths"):
        BandInterval.from_dali("-2 -1")
