"""The contract of every Sphere: what it answers at the places where skies go wrong. Index use: test_sphere_index.py."""

from typing import Any

import astropy.units as u
import numpy as np
import psycopg
import pytest
from astropy.coordinates import SkyCoord, angular_separation

from archive.sphere.sphere import BoxSql, CircleSql, PointSql, PolygonSql, RangeSql, RegionSql, Sphere

Database = tuple[psycopg.Connection[Any], Sphere]


def point(ra: float, dec: float) -> PointSql:
    return PointSql(repr(float(ra)), repr(float(dec)))


def circle(ra: float, dec: float, radius: float) -> CircleSql:
    return CircleSql(point(ra, dec), repr(float(radius)))


def polygon(*corners: tuple[float, float]) -> PolygonSql:
    return PolygonSql(tuple(point(*corner) for corner in corners))


def box(ra: float, dec: float, width: float, height: float) -> BoxSql:
    return BoxSql(point(ra, dec), repr(float(width)), repr(float(height)))


def sky_range(*limits: float) -> RangeSql:
    return RangeSql(*(repr(float(limit)) for limit in limits))


def asked(database: Database, expression: str, **values: Any) -> Any:
    row = database[0].execute(f"SELECT {expression}", values or None).fetchone()
    assert row is not None
    return row[0]


NAN = float("nan")
ROWS = [
    (0.0, 0.0), (360.0, 0.5), (359.999, 0.0), (0.001, -0.5), (180.0, 0.0), (12.0, 90.0), (250.0, 89.999), (0.0, -90.0),
    (77.0, -89.999), (-10.0, 20.0), (350.0, 20.0), (None, 0.0), (0.0, None), (NAN, 0.0), (0.0, NAN),
    (float("inf"), 0.0), (0.0, float("-inf")),
]  # fmt: skip


@pytest.fixture(scope="module")
def places(sphere_database: Database) -> str:
    """Rows on the meridian 0, at the poles, without coordinates; with the adapter's index."""
    connection, sphere = sphere_database
    connection.execute("CREATE TABLE places (id serial, ra double precision, dec double precision)")
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO places (ra, dec) VALUES (%s, %s)", ROWS)
    for statement in sphere.point_index("public.places", '"ra"', '"dec"'):
        connection.execute(statement)
    return "public.places"


def found(database: Database, places: str, condition: str) -> set[tuple[float, float]]:
    """Rows that fulfil the condition; the same with the index as without it."""
    connection, _ = database
    answers = []
    for setting in ("enable_indexscan, enable_bitmapscan", "enable_seqscan"):
        for name in setting.split(", "):
            connection.execute(f"SET {name} = off")
        answers.append(set(connection.execute(f"SELECT ra, dec FROM {places} p WHERE {condition}").fetchall()))
        connection.execute("RESET ALL")
    assert answers[0] == answers[1]
    return answers[0]


HERE = PointSql("p.ra", "p.dec")


@pytest.mark.parametrize("ra", [0.0, 360.0, 720.0, -360.0])
def test_a_cone_on_the_meridian_0_finds_the_rows_of_both_sides(
    sphere_database: Database, places: str, ra: float
) -> None:
    cone = sphere_database[1].contains(HERE, circle(ra, 0, 0.6))
    assert found(sphere_database, places, cone) == {(0.0, 0.0), (360.0, 0.5), (359.999, 0.0), (0.001, -0.5)}


@pytest.mark.parametrize("ra", [0.0, 100.0, 250.0])
def test_a_cone_at_a_pole_has_no_favourite_meridian(sphere_database: Database, places: str, ra: float) -> None:
    _, sphere = sphere_database
    assert found(sphere_database, places, sphere.contains(HERE, circle(ra, 90, 0.002))) == {
        (12.0, 90.0),
        (250.0, 89.999),
    }
    assert found(sphere_database, places, sphere.contains(HERE, circle(ra, -89.9995, 0.0021))) == {
        (0.0, -90.0),
        (77.0, -89.999),
    }


def test_a_right_ascension_below_0_is_the_place_it_is_on_the_sky(sphere_database: Database, places: str) -> None:
    assert found(sphere_database, places, sphere_database[1].contains(HERE, circle(350, 20, 0.1))) == {
        (-10.0, 20.0),
        (350.0, 20.0),
    }


def test_cones_reach_from_a_tenth_of_an_arcsecond_to_the_whole_sky(sphere_database: Database, places: str) -> None:
    _, sphere = sphere_database
    everywhere = {row for row in ROWS if None not in row and np.isfinite(row).all()}
    assert found(sphere_database, places, sphere.contains(HERE, circle(180, 0, 180))) == everywhere
    beyond = found(sphere_database, places, sphere.contains(HERE, circle(0, 0, 120)))
    assert beyond == everywhere - {(180.0, 0.0)}
    tenth = 0.1 / 3600
    assert asked(sphere_database, sphere.contains(point(10, 60 + 0.999 * tenth), circle(10, 60, tenth))) is True
    assert asked(sphere_database, sphere.contains(point(10, 60 + 1.001 * tenth), circle(10, 60, tenth))) is False


def test_what_is_no_position_or_no_circle_answers_nothing_and_ends_no_query(
    sphere_database: Database, places: str
) -> None:
    connection, sphere = sphere_database
    away = sphere.distance(HERE, point(10, 20))
    known = connection.execute(f"SELECT ra, dec FROM {places} p WHERE {away} IS NOT NULL").fetchall()
    assert set(known) == {row for row in ROWS if None not in row and np.isfinite(row).all()}
    assert found(sphere_database, places, sphere.contains(HERE, circle(0, 0, -1))) == set()
    each = CircleSql(point(0, 0), f"{HERE.dec} - 1e10")  # of a column: no constant, and below zero
    assert found(sphere_database, places, sphere.contains(HERE, each)) == set()


def test_the_boundary_belongs_to_a_shape(sphere_database: Database) -> None:
    _, sphere = sphere_database
    on_the_edge = [
        (point(0, 1), circle(0, 0, 1)),
        (point(11, 0), circle(10, 0, 1)),
        (point(0, 0), circle(180, 0, 180)),
        (point(90, 0), circle(0, 0, 90)),
        (point(5, 0), polygon((0, 0), (10, 0), (5, 5))),
        (point(10, 0), polygon((0, 0), (10, 0), (5, 5))),
        (point(0, 45), polygon((0, 0), (90, 0), (0, 90))),
        (point(10, -3), sky_range(10, 20, -3, 5)),
        (circle(0, 0, 1), circle(0, 0, 1)),
        (circle(0, 0, 1), circle(0, 1, 2)),
        (circle(15, 0, 2), sky_range(10, 20, -2, 3)),
    ]
    for inner, outer in on_the_edge:
        assert asked(sphere_database, sphere.contains(inner, outer)) is True, (inner, outer)
    shape = polygon((350, -5), (10, -4), (12, 8), (0, 1), (348, 7))
    assert asked(sphere_database, sphere.contains(shape, shape)) is True
    touching = [(circle(0, 0, 1), circle(0, 3, 2)), (polygon((0, 0), (1, 0), (1, 1)), polygon((1, 0), (2, 0), (1, -1)))]
    for a, b in touching:
        assert asked(sphere_database, sphere.intersects(a, b)) is True, (a, b)


def test_polygons_enclose_poles_and_cross_the_meridian_0(sphere_database: Database, places: str) -> None:
    _, sphere = sphere_database
    cap = polygon((0, 80), (90, 80), (180, 80), (270, 80))
    assert found(sphere_database, places, sphere.contains(HERE, cap)) == {(12.0, 90.0), (250.0, 89.999)}
    corner_at_the_pole = polygon((0, 80), (20, 80), (0, 90))
    assert found(sphere_database, places, sphere.contains(HERE, corner_at_the_pole)) == {(12.0, 90.0)}
    across = polygon((359, -1), (1, -1), (1, 1), (359, 1))
    assert found(sphere_database, places, sphere.contains(HERE, across)) == {
        (0.0, 0.0),
        (360.0, 0.5),
        (359.999, 0.0),
        (0.001, -0.5),
    }


def test_a_clockwise_polygon_is_the_same_polygon(sphere_database: Database) -> None:
    _, sphere = sphere_database
    corners = [
        (10.0, 10.0),
        (10.0, 20.0),
        (20.0, 20.0),
        (20.0, 10.0),
    ]  # counter-clockwise from inside: north, then east
    one, other = polygon(*corners), polygon(*reversed(corners))
    for shape in (one, other):
        assert asked(sphere_database, sphere.contains(point(15, 15), shape)) is True
        assert asked(sphere_database, sphere.contains(point(200, -15), shape)) is False
    assert asked(sphere_database, sphere.area(one)) == asked(sphere_database, sphere.area(other))
    flat = [number for corner in corners for number in corner]
    assert asked(sphere_database, sphere.region(one)) == flat
    turned = asked(sphere_database, sphere.region(other))
    assert turned == flat or sorted(zip(turned[::2], turned[1::2], strict=True)) == sorted(corners)
    assert asked(sphere_database, sphere.region(RegionSql(sphere.region(other)))) == turned


def test_a_polygon_written_closed_or_with_a_vertex_twice_is_the_polygon(sphere_database: Database) -> None:
    _, sphere = sphere_database
    corners = [(10, 10), (20, 10), (20, 20), (10, 20)]
    plain, closed = polygon(*corners), polygon(*corners, corners[0])
    twice = polygon(corners[0], corners[0], *corners[1:])
    for shape in (closed, twice):
        assert asked(sphere_database, sphere.area(shape)) == pytest.approx(asked(sphere_database, sphere.area(plain)))
        assert asked(sphere_database, sphere.contains(point(15, 15), shape)) is True


def test_shapes_that_are_none_answer_null_and_end_no_query(sphere_database: Database) -> None:
    _, sphere = sphere_database
    here = point(5, 5)
    nothing = PointSql("NULL", "5")
    antipodes = polygon((0, 0), (180, 0), (90, 50))
    for question in (
        sphere.contains(nothing, circle(5, 5, 1)),
        sphere.contains(here, CircleSql(nothing, "1")),
        sphere.contains(here, CircleSql(here, "NULL")),
        sphere.contains(here, polygon((0, 0), (10, 0), (10, 10)).__class__((nothing, point(1, 1), point(2, 0)))),
        sphere.contains(nothing, sky_range(0, 10, 0, 10)),
        sphere.contains(here, RegionSql("CAST(NULL AS double precision[])")),
        sphere.contains(RegionSql("ARRAY[1, NULL, 3]::double precision[]"), circle(0, 0, 1)),
        sphere.intersects(RegionSql("ARRAY[1, 2, 3, 4, 5]::double precision[]"), circle(0, 0, 1)),
        sphere.intersects(RegionSql("ARRAY['NaN', 2, 3]::double precision[]"), circle(0, 0, 1)),
        sphere.intersects(RegionSql("ARRAY[]::double precision[]"), circle(0, 0, 1)),
        sphere.contains(here, antipodes),
        sphere.intersects(antipodes, circle(0, 0, 1)),
        sphere.distance(nothing, here),
        sphere.area(RegionSql("ARRAY[1, NULL, 3]::double precision[]")),
        sphere.region(antipodes),
    ):
        assert asked(sphere_database, question) is None, question


def test_a_polygon_without_area_is_its_edges_and_one_that_crosses_itself_is_even_odd(sphere_database: Database) -> None:
    _, sphere = sphere_database
    line = polygon((0, 0), (10, 0), (5, 0))
    assert asked(sphere_database, sphere.contains(point(7, 0), line)) is True
    assert asked(sphere_database, sphere.contains(point(7, 0.001), line)) is False
    assert asked(sphere_database, sphere.area(line)) == pytest.approx(0, abs=1e-12)
    dot = polygon((3, 3), (3, 3), (3, 3))
    assert asked(sphere_database, sphere.contains(point(3, 3), dot)) is True
    assert asked(sphere_database, sphere.intersects(dot, circle(3, 3.5, 1))) is True
    bow_tie = polygon((0, 0), (10, 10), (10, 0), (0, 10))
    assert asked(sphere_database, sphere.contains(point(1, 5), bow_tie)) is True
    assert asked(sphere_database, sphere.contains(point(5, 1), bow_tie)) is False


def test_ranges_wrap_and_reach_the_poles(sphere_database: Database, places: str) -> None:
    _, sphere = sphere_database
    across = sphere.contains(HERE, sky_range(359, 1, -1, 1))
    assert found(sphere_database, places, across) == {(0.0, 0.0), (360.0, 0.5), (359.999, 0.0), (0.001, -0.5)}
    assert found(sphere_database, places, sphere.contains(HERE, sky_range(100, 110, 89, 90))) == {(12.0, 90.0)}
    assert len(found(sphere_database, places, sphere.contains(HERE, sky_range(0, 360, -90, 90)))) == 11
    assert asked(sphere_database, sphere.contains(circle(0, 88, 1.9), sky_range(0, 360, 86, 90))) is True
    assert asked(sphere_database, sphere.contains(circle(0, 88, 2.1), sky_range(0, 360, 86, 90))) is False
    assert (
        asked(sphere_database, sphere.contains(polygon((0, 70), (120, 70), (240, 70)), sky_range(0, 360, -80, 80)))
        is False
    )
    # Great circles bulge beyond the parallel of their ends.
    assert (
        asked(sphere_database, sphere.contains(polygon((0, 40), (20, 40), (10, 30)), sky_range(0, 20, 30, 40))) is False
    )
    assert (
        asked(sphere_database, sphere.contains(sky_range(0, 20, 30, 40), polygon((0, 30), (20, 30), (20, 40), (0, 40))))
        is False
    )
    assert (
        asked(sphere_database, sphere.intersects(polygon((0, 40), (20, 40), (10, 35)), sky_range(8, 12, 40.3, 41)))
        is True
    )


def test_a_box_is_closed_by_great_circles_at_right_angles_to_its_arms(sphere_database: Database) -> None:
    """ADQL 2.1 §4.2.9; corners by astropy's tangent-plane offsets."""
    _, sphere = sphere_database
    for ra, dec in ((10.0, 0.0), (0.0, 60.0), (200.0, 90.0), (359.9, -75.0)):
        centre = SkyCoord(ra, dec, unit="deg")
        frame = centre.skyoffset_frame()
        shape = box(ra, dec, 10, 4)
        for lon, lat, inside in (
            (4.999, 0, True),
            (5.001, 0, False),
            (0, 1.999, True),
            (0, 2.001, False),
            (4.9, 1.9, True),
        ):
            there = SkyCoord(lon * u.deg, lat * u.deg, frame=frame).icrs
            assert asked(sphere_database, sphere.contains(point(there.ra.deg, there.dec.deg), shape)) is inside
    assert asked(sphere_database, sphere.contains(point(10, -80), box(180, 0, 360, 180))) is True
    centre = sphere.centroid(box(359.9, -75, 10, 4))
    assert asked(sphere_database, f"ARRAY[{centre.ra}, {centre.dec}]") == pytest.approx([359.9, -75])


def test_distances_are_astropys_from_nothing_to_the_antipode(sphere_database: Database) -> None:
    connection, sphere = sphere_database
    rng = np.random.default_rng(3)
    ra, dec = rng.uniform(0, 360, 3000), np.degrees(np.arcsin(rng.uniform(-1, 1, 3000)))
    step = 10.0 ** rng.uniform(-9, 2, 3000)
    other_ra, other_dec = ra + step, np.clip(dec + step * rng.uniform(-1, 1, 3000), -90, 90)
    other_ra[:500], other_dec[:500] = ra[:500] + 180 + step[:500] * 1e-3, -dec[:500]
    rows = connection.execute(
        f"SELECT {sphere.distance(PointSql('a', 'b'), PointSql('c', 'd'))} FROM unnest(%s::float8[], %s::float8[],"
        " %s::float8[], %s::float8[]) WITH ORDINALITY t(a, b, c, d, i) ORDER BY i",
        [ra.tolist(), dec.tolist(), other_ra.tolist(), other_dec.tolist()],
    ).fetchall()
    truth = np.degrees(angular_separation(*np.radians([ra, dec, other_ra, other_dec])))
    assert np.allclose([row[0] for row in rows], truth, rtol=1e-9, atol=2e-13)


def test_areas_and_centroids_of_what_everyone_knows(sphere_database: Database) -> None:
    _, sphere = sphere_database
    sky = 4 * np.pi * (180 / np.pi) ** 2
    octant = polygon((0, 0), (90, 0), (0, 90))
    assert asked(sphere_database, sphere.area(octant)) == pytest.approx(sky / 8)
    assert asked(sphere_database, sphere.area(circle(3, 4, 180))) == pytest.approx(sky)
    assert asked(sphere_database, sphere.area(circle(3, 4, 90))) == pytest.approx(sky / 2)
    assert asked(sphere_database, sphere.area(sky_range(0, 360, -90, 90))) == pytest.approx(sky)
    assert asked(sphere_database, sphere.area(sky_range(350, 10, 0, 90))) == pytest.approx(sky * 20 / 720)
    assert asked(sphere_database, sphere.area(point(1, 1))) == 0
    middle = sphere.centroid(octant)
    assert asked(sphere_database, middle.ra) == pytest.approx(45)
    assert asked(sphere_database, middle.dec) == pytest.approx(np.degrees(np.arctan(np.sqrt(0.5))))
    across = sphere.centroid(RegionSql("ARRAY[359, -1, 1, -1, 1, 1, 359, 1]::double precision[]"))
    assert asked(sphere_database, f"sphere.separation({across.ra}, {across.dec}, 0, 0)") < 1e-9
    assert asked(sphere_database, sphere.centroid(circle(7, 8, 3)).ra) == 7


def test_the_nearest_are_astropys(sphere_database: Database) -> None:
    connection, sphere = sphere_database
    rng = np.random.default_rng(9)
    ra, dec = rng.uniform(0, 360, 5000), np.degrees(np.arcsin(rng.uniform(-1, 1, 5000)))
    connection.execute(
        "CREATE TABLE crowd AS SELECT * FROM unnest(%s::float8[], %s::float8[]) WITH ORDINALITY t(ra, dec, id)",
        [ra.tolist(), dec.tolist()],
    )
    for statement in sphere.point_index("public.crowd", '"ra"', '"dec"'):
        connection.execute(statement)
    connection.execute("ANALYZE crowd")
    for here in ((0.0, 0.0), (360.0, 90.0), (123.0, -45.0), (359.99, -89.0)):
        order = sphere.nearest(PointSql("c.ra", "c.dec"), point(*here))
        told = [row[0] for row in connection.execute(f"SELECT id FROM crowd c ORDER BY {order} LIMIT 10").fetchall()]
        separations = angular_separation(*np.radians([*here]), np.radians(ra), np.radians(dec))
        assert told == (np.argsort(separations)[:10] + 1).tolist()


def test_what_is_dropped_is_the_adapters_own(sphere_database: Database) -> None:
    connection, sphere = sphere_database
    connection.execute(
        'CREATE TABLE "Odd name" (id int PRIMARY KEY, "RA" real, "de c" numeric, region double precision[])'
    )
    table = 'public."Odd name"'
    for _ in range(2):
        for statement in (*sphere.point_index(table, '"RA"', '"de c"'), *sphere.region_index(table, "region")):
            connection.execute(statement)
    count = f"SELECT count(*) FROM pg_index WHERE indrelid = '{table}'::regclass"
    assert connection.execute(count).fetchone() == (3,)
    for statement in sphere.drop_indexes(table):
        connection.execute(statement)
    assert connection.execute(count).fetchone() == (1,)
