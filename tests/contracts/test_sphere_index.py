"""Index use, as the reader's role sees it: through a view with a column of rights, with bound parameters, in joins.

Sequential scans stay allowed: it is the planner that must prefer the index.
"""

import json
from typing import Any

import psycopg
import pytest
from psycopg import sql

from archive.sphere.sphere import CircleSql, PointSql, PolygonSql, RegionSql, Sphere

Database = tuple[psycopg.Connection[Any], Sphere]
ROWS = 20_000


@pytest.fixture(scope="module")
def sky(sphere_database: Database, reader: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    """A view over 20,000 rows with positions and footprints, and a small table of targets; the reader may see both."""
    connection, sphere = sphere_database
    who = sql.Identifier(reader.info.user)
    for statement in (
        "CREATE SCHEMA work",
        f"CREATE TABLE work.product AS SELECT i AS id, ra, dec, CASE WHEN i < {ROWS} THEN ARRAY[ra, dec, ra, dec + 0.1,"
        " ra + 0.1, dec + 0.1, ra + 0.1, dec] ELSE ARRAY[0::float8, 90, 1] END AS region,"
        " timestamptz '2020-01-01' + i * interval '1 hour' AS release_date"
        f" FROM (SELECT i, random() * 359.8 AS ra, degrees(asin(1.9 * random() - 0.95)) AS dec"
        f" FROM generate_series(1, {ROWS}) i) made",
        "CREATE VIEW work.obscore AS SELECT id, ra AS s_ra, dec AS s_dec, region AS s_region,"
        " CASE WHEN release_date <= now() THEN 'public' ELSE 'proprietary' END AS data_rights FROM work.product",
        "CREATE TABLE work.target AS SELECT id, ra, dec FROM work.product WHERE id <= 200",
        *sphere.point_index("work.product", "ra", "dec"),
        *sphere.region_index("work.product", "region"),
        "ANALYZE work.product",
        "ANALYZE work.target",
    ):
        connection.execute(statement)
    connection.execute(sql.SQL("GRANT USAGE ON SCHEMA work TO {}").format(who))
    connection.execute(sql.SQL("GRANT SELECT ON work.obscore, work.target TO {}").format(who))
    return reader


def plan_of(reader: psycopg.Connection[Any], query: str, values: dict[str, Any] | None = None) -> dict[str, Any]:
    row = reader.execute(f"EXPLAIN (FORMAT JSON, ANALYZE) {query}", values).fetchone()
    assert row is not None
    found: dict[str, Any] = (row[0] if not isinstance(row[0], str) else json.loads(row[0]))[0]["Plan"]
    return found


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan] + [node for child in plan.get("Plans", ()) for node in nodes(child)]


def assert_indexed(plan: dict[str, Any], sphere: Sphere) -> None:
    used = [node["Index Name"] for node in nodes(plan) if "Index Name" in node]
    assert any(name.startswith(f"sphere_{sphere.name}_") for name in used), json.dumps(plan, indent=1)
    scanned = [node for node in nodes(plan) if node["Node Type"] == "Seq Scan" and node["Relation Name"] == "product"]
    assert scanned == []


PLACE = PointSql("o.s_ra", "o.s_dec")
BOUND = CircleSql(PointSql("%(ra)s", "%(dec)s"), "%(radius)s")
CONE = {"ra": 359.9, "dec": -30.0, "radius": 0.5}


def test_a_constant_cone_uses_the_index_through_the_view(
    sphere_database: Database, sky: psycopg.Connection[Any]
) -> None:
    _, sphere = sphere_database
    for condition in (sphere.contains(PLACE, BOUND), sphere.within(BOUND.centre, PLACE, BOUND.radius)):
        query = f"SELECT id FROM work.obscore o WHERE {condition} AND data_rights = 'public'"
        assert_indexed(plan_of(sky, query, CONE), sphere)


def test_a_cone_uses_the_index_through_a_subquery_and_a_with_clause(
    sphere_database: Database, sky: psycopg.Connection[Any]
) -> None:
    _, sphere = sphere_database
    cone = sphere.contains(PointSql("o.x", "o.y"), BOUND)
    inner = "SELECT id, s_ra AS x, s_dec AS y, data_rights FROM work.obscore"
    assert_indexed(plan_of(sky, f"SELECT id FROM ({inner}) o WHERE {cone}", CONE), sphere)
    assert_indexed(plan_of(sky, f"WITH o AS ({inner}) SELECT data_rights FROM o WHERE {cone}", CONE), sphere)


def test_a_constant_polygon_uses_the_index(sphere_database: Database, sky: psycopg.Connection[Any]) -> None:
    _, sphere = sphere_database
    corners = PolygonSql(tuple(PointSql(f"%(ra{i})s", f"%(dec{i})s") for i in range(3)))
    values = {"ra0": 359.0, "dec0": -1.0, "ra1": 1.0, "dec1": -1.0, "ra2": 0.0, "dec2": 1.0}
    plan = plan_of(sky, f"SELECT id FROM work.obscore o WHERE {sphere.contains(PLACE, corners)}", values)
    assert_indexed(plan, sphere)


def test_regions_that_meet_a_circle_or_hold_a_position_are_found_by_index(
    sphere_database: Database, sky: psycopg.Connection[Any]
) -> None:
    _, sphere = sphere_database
    region = RegionSql("o.s_region")
    here = PointSql("%(ra)s", "%(dec)s")
    for condition in (
        sphere.intersects(region, BOUND),
        sphere.intersects(BOUND, region),
        sphere.contains(here, region),
    ):
        values = CONE if "radius" in condition else {"ra": 10.0, "dec": 10.0}
        assert_indexed(plan_of(sky, f"SELECT id FROM work.obscore o WHERE {condition}", values), sphere)


@pytest.mark.parametrize("turned", [False, True])
def test_a_table_is_matched_with_a_view_by_index_whichever_is_named_first(
    sphere_database: Database, sky: psycopg.Connection[Any], turned: bool
) -> None:
    _, sphere = sphere_database
    target = PointSql("t.ra", "t.dec")
    a, b = (PLACE, target) if turned else (target, PLACE)
    condition = sphere.within(a, b, "%(radius)s")
    query = f"SELECT t.id, o.id FROM work.target t JOIN work.obscore o ON {condition}"
    assert_indexed(plan_of(sky, query, {"radius": 2 / 3600}), sphere)
    rows = sky.execute(query, {"radius": 2 / 3600}).fetchall()
    assert {(i, i) for i in range(1, 201)} <= set(rows)


def test_a_radius_of_each_row_and_footprints_against_footprints_use_the_index(
    sphere_database: Database, sky: psycopg.Connection[Any]
) -> None:
    _, sphere = sphere_database
    cone = sphere.contains(PLACE, CircleSql(PointSql("t.ra", "t.dec"), "t.id / 1000.0"))
    assert_indexed(plan_of(sky, f"SELECT 1 FROM work.target t JOIN work.obscore o ON {cone}"), sphere)
    meeting = sphere.intersects(RegionSql("o.s_region"), RegionSql("q.s_region"))
    few = "(SELECT * FROM work.obscore LIMIT 50)"
    plan = plan_of(sky, f"SELECT 1 FROM {few} q JOIN work.obscore o ON {meeting}")
    assert any(node.get("Index Name", "").startswith("sphere_") for node in nodes(plan))


def test_the_nearest_is_found_by_index_where_the_adapter_says_so(
    sphere_database: Database, sky: psycopg.Connection[Any]
) -> None:
    _, sphere = sphere_database
    order = sphere.nearest(PLACE, PointSql("%(ra)s", "%(dec)s"))
    plan = plan_of(sky, f"SELECT id FROM work.obscore o ORDER BY {order} LIMIT 3", {"ra": 1.0, "dec": 2.0})
    assert any("Index Name" in node for node in nodes(plan)) is (sphere.name == "pgsphere")


def test_the_index_leaves_out_no_position_however_wide_the_shape(
    sphere_database: Database, sky: psycopg.Connection[Any]
) -> None:
    """Against the same condition without indexes: pgSphere's index on boxes lost 3 % of a cone of 33 degrees."""
    _, sphere = sphere_database
    for ra, dec, radius in ((0, 0, 33), (0, 0, 5), (359, 1, 60), (180, -5, 85), (40, 10, 89.999), (7, 80, 100),
                            (90, -89, 20), (270, 0, 179), (123, 45, 90)):  # fmt: skip
        cone = sphere.contains(PLACE, CircleSql(PointSql(f"{ra}::float8", f"{dec}::float8"), f"{radius}::float8"))
        square = tuple(PointSql(f"{a}::float8", f"{d}::float8") for a, d in corners(ra, dec, min(radius, 60)))
        for condition in (cone, sphere.contains(PLACE, PolygonSql(square))):
            counted = [count(sky, condition, indexed) for indexed in (True, False)]
            assert counted[0] == counted[1] > 0, (ra, dec, radius, condition[:60])


def corners(ra: float, dec: float, half: float) -> list[tuple[float, float]]:
    low, high = max(dec - half, -89.0), min(dec + half, 89.0)
    return [((ra + turn * half) % 360, d) for turn, d in ((-1, low), (1, low), (1, high), (-1, high))]


def count(reader: psycopg.Connection[Any], condition: str, indexed: bool) -> int:
    for scan, allowed in (("seqscan", not indexed), ("indexscan", indexed), ("bitmapscan", indexed)):
        reader.execute(f"SET enable_{scan} = {'on' if allowed else 'off'}")
    row = reader.execute(f"SELECT count(*) FROM work.obscore o WHERE {condition}").fetchone()
    for scan in ("seqscan", "indexscan", "bitmapscan"):
        reader.execute(f"RESET enable_{scan}")
    assert row is not None
    return int(row[0])
