"""ADQL as PostgreSQL runs it, on both databases: each declared function, each form that an index must serve, coverage
maps and frames against mocpy, healpy and astropy, and random queries, of which none may end in a fault of ours.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import astropy.units as u
import numpy as np
import psycopg
import pyarrow as pa
import pytest
from astropy.coordinates import SkyCoord
from hypothesis import HealthCheck, given, settings
from mocpy import MOC
from psycopg import sql
from psycopg_pool import ConnectionPool

from archive.database.engines import psycopg_dsn
from archive.holdings.running import RunningQuery, Statement
from archive.holdings.sessions import Session, Sessions
from archive.sphere.sphere import Sphere
from archive.vo.arrow import arrow_schema
from archive.vo.errors import ArchiveError, QueryError, QueryTimeoutError
from tap.adql.functions import ADQL_FUNCTIONS
from tap.adql.geometry import GEOMETRY
from tap.adql.names import check
from tap.adql.parser import parse
from tap.adql.postgres import translate
from tap.adql.user_functions import USER_DEFINED, Function
from tests.databases import Postgres
from tests.tap.adql_sky import SCHEMA
from tests.tap.test_adql_random import QUERIES

ROWS = 20_000
RNG = np.random.default_rng(11)
SKY = SkyCoord(RNG.uniform(0, 360, ROWS) * u.deg, np.degrees(np.arcsin(RNG.uniform(-1, 1, ROWS))) * u.deg)


@dataclass(frozen=True)
class Database:
    """The schema of adql_sky in a database, its stars and footprints indexed."""

    connection: psycopg.Connection[Any]
    pool: Sessions
    sphere: Sphere

    def ask(self, adql: str, maxrec: int = 100_000, timeout_s: float = 20.0) -> list[dict[str, Any]]:
        """The rows of a query, run as users' queries are."""
        query = translate(check(parse(adql), SCHEMA), self.sphere, maxrec)
        statement = Statement(query.sql, query.parameters, query.columns)
        running = RunningQuery(self.pool, statement, self.sphere, timeout_s=timeout_s, batch_rows=10_000, maxrec=maxrec)
        running.open()
        return pa.Table.from_batches(running.batches(), schema=arrow_schema(query.columns)).to_pylist()

    def value(self, expression: str) -> Any:
        return self.ask(f"SELECT {expression} AS x FROM sky.stars AS s WHERE id = 1")[0]["x"]

    def plan(self, adql: str) -> list[dict[str, Any]]:
        """The nodes of the plan of a query."""
        query = translate(check(parse(adql), SCHEMA), self.sphere)
        row = self.connection.execute(f"EXPLAIN (FORMAT JSON) {query.sql}".encode(), query.parameters).fetchone()
        assert row is not None
        return nodes(row[0][0]["Plan"])

    def uses_the_index(self, adql: str) -> bool:
        """Whether the sphere's index finds the stars, and nobody reads them all."""
        plan = self.plan(adql)
        used = [node for node in plan if node.get("Index Name", "").startswith(f"sphere_{self.sphere.name}_")]
        scanned = [node for node in plan if node["Node Type"] == "Seq Scan" and node["Relation Name"] == "stars"]
        return bool(used) and not scanned


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan] + [node for child in plan.get("Plans", ()) for node in nodes(child)]


@pytest.fixture(scope="module")
def sky(postgres: Postgres) -> Iterator[Database]:
    fresh = postgres.fresh_database()
    with psycopg.connect(psycopg_dsn(fresh.urls.owner), autocommit=True) as connection:
        for statement in (
            "SET jit = off",
            "CREATE SCHEMA sky",
            "CREATE SCHEMA cat",
            "CREATE TABLE sky.stars (id bigint PRIMARY KEY, ra float8, dec float8, mag real, name text, seen timestamp,"
            " valid boolean, frames integer, s_region float8[])",
            'CREATE TABLE sky.observed (id bigint, t_exptime float8, "Run" text)',
            "CREATE TABLE cat.stars2 (id bigint)",
            "CREATE TABLE cat.observed (id bigint)",
            "CREATE TABLE public.upload_1 (name text, p float8[])",
            *fresh.sphere.point_index("sky.stars", "ra", "dec"),
            *fresh.sphere.region_index("sky.stars", "s_region"),
        ):
            connection.execute(statement.encode())
        with connection.cursor().copy("COPY sky.stars FROM STDIN") as copy:
            for i, (ra, dec) in enumerate(zip(SKY.ra.deg.tolist(), SKY.dec.deg.tolist(), strict=True)):
                region = "{" + f"{ra},{dec},0.2" + "}"
                copy.write_row(
                    (i, ra, dec, None if i % 7 == 0 else i % 20, f"star {i}", "2026-01-31", True, i % 5, region)
                )
        for statement in (
            "INSERT INTO sky.observed SELECT i, i, 'r' FROM generate_series(0, 99) i",
            "INSERT INTO cat.stars2 SELECT generate_series(0, 9)",
            "INSERT INTO public.upload_1 SELECT name, ARRAY[ra, dec] FROM sky.stars WHERE id < 50",
            "ANALYZE",
        ):
            connection.execute(statement.encode())
        reader = sql.Identifier(str(fresh.urls.reader.username))
        connection.execute(sql.SQL("GRANT USAGE ON SCHEMA sky, cat, public TO {}").format(reader))
        connection.execute(sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA sky, cat, public TO {}").format(reader))
        options = {"autocommit": True, "options": "-c jit=off -c default_transaction_read_only=on"}
        with ConnectionPool(
            psycopg_dsn(fresh.urls.reader), connection_class=Session, min_size=1, max_size=2, kwargs=options
        ) as pool:
            yield Database(connection, pool, fresh.sphere)
    fresh.drop()


# ---- functions


@pytest.mark.parametrize("function", USER_DEFINED, ids=lambda function: function.form)
def test_each_user_defined_function_gives_what_its_examples_say(sky: Database, function: Function) -> None:
    assert function.examples
    for call, gives in function.examples:
        if gives is not None:
            found = sky.value(call)
            assert found == gives or found == pytest.approx(gives, rel=1e-8, abs=1e-9), call


SAMPLES = {"NUMERIC": "0.5", "INTEGER": "2", "VARCHAR(*)": "'a'", "ANY": "id"}
SHAPED = {
    "n": "0.5", "p": "POINT(10, 20)", "g": "CIRCLE(10, 20, 1)", "m": "MOC('1/3')", "s": "'Circle ICRS 10 20 1'"
}  # fmt: skip


@pytest.mark.parametrize("name", [*ADQL_FUNCTIONS])
def test_each_function_of_adql_runs_and_takes_null(sky: Database, name: str) -> None:
    function = ADQL_FUNCTIONS[name]
    values = [SAMPLES[kind] for _, kind in function.parameters]
    assert sky.value(f"{name}({', '.join(values)})") is not None
    for place in range(len(values)):
        with_null = [*values[:place], "NULL", *values[place + 1 :]]
        found = sky.value(f"{name}({', '.join(with_null)})")
        assert (found is None) is (name not in ("COUNT", "RAND"))


@pytest.mark.parametrize("name", [name for name in GEOMETRY if name != "POLYGON"])
def test_each_function_of_geometry_runs_in_each_form(sky: Database, name: str) -> None:
    for form in GEOMETRY[name].forms:
        values = [SHAPED[letter] for letter in form]
        if name == "MOC" and form == "s":
            values = ["'1/3'"]
        if name == "MOC" and form == "ng":
            values[0] = "3"
        assert sky.value(f"{name}({', '.join(values)})") is not None


@pytest.mark.parametrize(
    ("frame", "name"),
    [
        ("galactic", "GALACTIC"),
        ("supergalactic", "super_galactic"),
        ("fk5", "FK5"),
        ("barycentricmeanecliptic", "ECLIPTIC"),
    ],
)
def test_shapes_turn_into_other_frames_as_in_astropy(sky: Database, frame: str, name: str) -> None:
    rows = sky.ask(
        f"SELECT TOP 300 id, ivo_geom_transform('ICRS', '{name}', POINT(ra, dec)) AS p,"
        f" ivo_geom_transform('{name}', 'ICRS', ivo_geom_transform('ICRS', '{name}', CIRCLE(ra, dec, 2))) AS c"
        " FROM sky.stars ORDER BY id"
    )
    told = SKY[:300].transform_to(frame).spherical
    found = np.array([row["p"] for row in rows])
    assert SkyCoord(*found.T, unit="deg").separation(SkyCoord(told.lon, told.lat)).deg.max() < 1e-9
    circles = np.array([row["c"] for row in rows])
    assert SkyCoord(circles[:, 0], circles[:, 1], unit="deg").separation(SKY[:300]).deg.max() < 1e-9
    assert (circles[:, 2] == 2).all()


@pytest.mark.parametrize(("call", "said"), [
    ("ivo_geom_transform('ICRS', 'GALAKTIC', POINT(1, 2))", "did you mean GALACTIC"),
    ("ivo_geom_transform(name, 'ICRS', POINT(1, 2))", "string literals"),
    ("ivo_healpix_index(3, ra)", "takes a POINT here"),
    ("ivo_healpix_index(3)", "takes 3 arguments"),
    ("ivo_healpix_index(3.5, 1, 2)", "whole number"),
    ("CONTAINS(POINT(1, 2), MOC('3/-'))", "no piece of a MOC"),
    ("CONTAINS(POINT(1, 2), MOC('1/48'))", "0 to 47"),
    ("CONTAINS(CIRCLE(1, 2, 3), MOC('1/4'))", "MOC.order, shape"),
    ("MOC(1, 2)", "MOC.'6/3-7 9'."),
    ("CENTROID(MOC('1/4'))", "CENTROID.shape"),
    ("MOC('1/4') + 1", "not"),
    ("MOC(20, CIRCLE(1, 2, 30))", "lower order"),
    ("ivo_histogram(ra, 1, 0, 5)", "lower limit below"),
])  # fmt: skip
def test_what_a_function_cannot_take_is_refused_with_advice(sky: Database, call: str, said: str) -> None:
    with pytest.raises(QueryError, match=said):
        sky.value(call)


def test_moc_is_no_reserved_word_and_columns_keep_their_name(sky: Database) -> None:
    rows = sky.ask("SELECT moc FROM (SELECT MOC(3, CIRCLE(10, 20, 1)) AS moc FROM sky.stars WHERE id = 1) AS q")
    assert MOC.from_string(rows[0]["moc"]).contains_lonlat(10 * u.deg, 20 * u.deg)[0]
    inner = "(SELECT MOC(3, CIRCLE(10, 20, 1)) AS moc FROM sky.stars WHERE id = 1) AS q"
    assert sky.ask(f"SELECT CONTAINS(POINT(10, 20), moc) AS x, CONTAINS(POINT(9, -20), moc) AS y FROM {inner}") == [
        {"x": 1, "y": 0}
    ]


# ---- coverage maps


@pytest.mark.parametrize("text", ["3/1-9 77 500 5/6000-6020", "1/3", "8/0-99", "6/300 301 999 5/8"])
def test_stars_in_a_map_are_those_of_mocpy_and_found_by_index(sky: Database, text: str) -> None:
    told = set(np.flatnonzero(MOC.from_string(text).contains_lonlat(SKY.ra, SKY.dec)).tolist())
    for test in ("1 = CONTAINS(POINT(ra, dec), {})", "INTERSECTS({}, POINT(ra, dec)) = 1"):
        query = f"SELECT id FROM sky.stars WHERE {test.format(f'MOC({text!r})')}"
        assert {row["id"] for row in sky.ask(query)} == told
        assert text == "1/3" or sky.uses_the_index(query)


def test_maps_of_footprints_meet_others_by_index(sky: Database) -> None:
    moc = MOC.from_string("5/100-103 6/9000")
    condition = "1 = INTERSECTS(MOC(7, s_region), MOC('5/100-103 6/9000'))"
    found = {row["id"] for row in sky.ask(f"SELECT id FROM sky.stars WHERE {condition}")}
    assert sky.uses_the_index(f"SELECT id FROM sky.stars WHERE {condition}")
    # Of the stars whose circle of 0.2 degrees meets the map for certain, and for certain not: its cells of order 7 are
    # 0.46 degrees wide.
    inside = set(np.flatnonzero(moc.contains_lonlat(SKY.ra, SKY.dec)).tolist())
    nearby = MOC.from_string(moc.serialize("str")).add_neighbours().to_order(6).add_neighbours()
    assert inside <= found <= set(np.flatnonzero(nearby.contains_lonlat(SKY.ra, SKY.dec)).tolist())
    assert sky.value("AREA(MOC('0/0-11'))") == pytest.approx(41252.96124941927)
    assert sky.value("CONTAINS(MOC('5/100'), MOC('4/25'))") == 1


# ---- what an index serves

CONES = [
    "1 = CONTAINS(POINT(ra, dec), CIRCLE(10, 20, 1))",
    "1 = CONTAINS(POINT('ICRS', ra, dec), CIRCLE('ICRS', 10, 20, 1))",
    "CONTAINS(POINT(ra, dec), CIRCLE(POINT(10, 20), 1)) = 1",
    "0 <> CONTAINS(POINT(ra, dec), CIRCLE(10, 20, 1))",
    "1 = CONTAINS(POINT(10, 20), CIRCLE(ra, dec, 1))",
    "1 = CONTAINS(POINT(10, 20), CIRCLE(POINT(ra, dec), 1))",
    "1 = INTERSECTS(POINT(ra, dec), CIRCLE(10, 20, 1))",
    "1 = INTERSECTS(CIRCLE(10, 20, 1), POINT(ra, dec))",
    "DISTANCE(POINT(ra, dec), POINT(10, 20)) < 1",
    "DISTANCE(POINT(10, 20), POINT(ra, dec)) <= 1",
    "1 > DISTANCE(ra, dec, 10, 20)",
    "1.0 >= DISTANCE(10, 20, ra, dec)",
    "NOT DISTANCE(ra, dec, 10, 20) > 1",
    "NOT (1 <= DISTANCE(ra, dec, 10, 20))",
    "NOT (0 = CONTAINS(POINT(ra, dec), CIRCLE(10, 20, 1)))",
    "DISTANCE(ra, dec, 10, 20) < 3600 / 3600.0",
    "DISTANCE(ra, dec, 9 + 1, 40 / 2) < 2 - 1",
    "DISTANCE(ra, dec, 10, 20) * 3600 < 3600",
    "DISTANCE(ra, dec, 10, 20) < RADIANS(DEGREES(1))",
    "DISTANCE(ra, dec, 10, 20) BETWEEN 0 AND 1",
    "DISTANCE(ra, dec, ivo_hms_to_degrees('00:40:00'), 20) < 1",
    "IN_UNIT(DISTANCE(ra, dec, 10, 20), 'arcmin') < 60",
    "60 > 60 * DISTANCE(ra, dec, 10, 20)",
    "mag < 100 AND 1 = CONTAINS(POINT(ra, dec), CIRCLE(10, 20, 1)) AND frames >= 0",
    "1 = CONTAINS(POINT(ra, dec), POLYGON(9, 19, 11, 19, 11, 21, 9, 21))",
    "1 = CONTAINS(POINT(ra, dec), BOX(10, 20, 2, 2))",
    "1 = CONTAINS(POINT(ra, dec), REGION('Circle ICRS 10 20 1'))",
    "1 = CONTAINS(POINT(ra, dec), CAST('10 20 1' AS CIRCLE))",
    "1 = CONTAINS(POINT(COORD1(POINT(ra, dec)), dec), CIRCLE(10, 20, 1))",
    "1 = CONTAINS(CENTROID(POINT(ra, dec)), CIRCLE(10, 20, 1))",
    "1 = INTERSECTS(s_region, CIRCLE(10, 20, 1))",
    "1 = INTERSECTS(POLYGON(9, 19, 11, 19, 11, 21, 9, 21), s_region)",
    "1 = CONTAINS(POINT(10, 20), s_region)",
    "1 = CONTAINS(s_region, CIRCLE(10, 20, 1))",
    "1 = INTERSECTS(s_region, POINT(10, 20))",
]


@pytest.mark.parametrize("condition", CONES)
def test_every_form_of_a_search_in_the_sky_uses_the_index(sky: Database, condition: str) -> None:
    """ADQL-24"""
    assert sky.uses_the_index(f"SELECT id FROM sky.stars WHERE {condition}"), condition
    assert sky.uses_the_index(f"SELECT q.id FROM (SELECT * FROM sky.stars) AS q WHERE {condition}"), condition
    assert sky.uses_the_index(f"WITH q AS (SELECT * FROM sky.stars) SELECT COUNT(*) AS n FROM q WHERE {condition}")


def test_every_form_of_a_cone_finds_the_same(sky: Database) -> None:
    told = set(np.flatnonzero(SKY.separation(SkyCoord(10 * u.deg, 20 * u.deg)).deg <= 1).tolist())
    assert told
    for condition in CONES[:23]:
        assert {row["id"] for row in sky.ask(f"SELECT id FROM sky.stars WHERE {condition}")} == told, condition


MATCHES = [
    "{a}, {b} WHERE DISTANCE(s.ra, s.dec, t.ra, t.dec) < 0.001",
    "{a}, {b} WHERE 1 = CONTAINS(POINT(s.ra, s.dec), CIRCLE(t.ra, t.dec, 0.001))",
    "{a}, {b} WHERE 1 = CONTAINS(POINT(t.ra, t.dec), CIRCLE(s.ra, s.dec, 0.001))",
    "{a} JOIN {b} ON DISTANCE(POINT(t.ra, t.dec), POINT(s.ra, s.dec)) <= 0.001",
    "{b} JOIN {a} ON 0.001 > DISTANCE(POINT(t.ra, t.dec), POINT(s.ra, s.dec))",
    "{b} LEFT JOIN {a} ON 3.6 > 3600 * DISTANCE(t.ra, t.dec, s.ra, s.dec)",
    "{b} LEFT JOIN {a} ON DISTANCE(t.ra, t.dec, s.ra, s.dec) < 0.001 AND s.mag > t.frames",
    "{a}, {b} WHERE DISTANCE(s.ra, s.dec, t.ra, t.dec) < 0.001 * t.frames",
    "{a}, {b} WHERE 1 = INTERSECTS(s.s_region, t.s_region)",
    "{a}, {b} WHERE 1 = CONTAINS(POINT(t.ra, t.dec), s.s_region)",
    "{a} JOIN tap_upload.targets AS t ON DISTANCE(t.p, POINT(s.ra, s.dec)) < 0.001",
    "{a} JOIN tap_upload.targets AS t ON 1 = CONTAINS(t.p, s.s_region)",
    "{b} WHERE EXISTS (SELECT s.id FROM {a} WHERE DISTANCE(s.ra, s.dec, t.ra, t.dec) < 0.001)",
]


@pytest.mark.parametrize("match", MATCHES)
def test_every_form_of_a_match_uses_the_index(sky: Database, match: str) -> None:
    few = "(SELECT TOP 40 id, ra, dec, frames, s_region FROM sky.stars) AS t"
    plan = sky.plan(f"SELECT t.* FROM {match.format(a='sky.stars AS s', b=few)}")
    assert any(node.get("Index Name", "").startswith(f"sphere_{sky.sphere.name}_") for node in plan), json.dumps(plan)


@pytest.mark.parametrize("query", [
    "SELECT TOP 5 id FROM sky.stars ORDER BY DISTANCE(ra, dec, 10, 20)",
    "SELECT TOP 5 id, DISTANCE(POINT(10, 20), POINT(ra, dec)) AS d FROM sky.stars ORDER BY d",
    "SELECT TOP 5 id, DISTANCE(ra, dec, 10, 20) FROM sky.stars ORDER BY 2",
    "SELECT TOP 5 id FROM sky.stars ORDER BY DISTANCE(ra, dec, 10, 20) * 3600",
    "SELECT TOP 5 id, DISTANCE(ra, dec, 10, 20) AS d FROM sky.stars ORDER BY d, id",
])  # fmt: skip
def test_the_nearest_are_found_and_by_index_where_there_is_one_for_it(sky: Database, query: str) -> None:
    nearest = np.argsort(SKY.separation(SkyCoord(10 * u.deg, 20 * u.deg)).deg)[:5].tolist()
    assert [row["id"] for row in sky.ask(query)] == nearest
    # PostgreSQL 15 has no index for a second key behind the first.
    by_index = any("Index Name" in node for node in sky.plan(query))
    assert by_index is (sky.sphere.name == "pgsphere" and not query.endswith(", id"))


# ---- against numpy


def unit(ra: Any, dec: Any) -> Any:
    a, d = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=-1)


def searches(seed: int, count: int) -> Iterator[tuple[str, Any]]:
    """Conditions of random cones, convex polygons and boxes, small to wide, with the stars' margin: inside above 0."""
    rng = np.random.default_rng(seed)
    stars = unit(SKY.ra.deg, SKY.dec.deg)
    for number in range(count):
        ra, dec = rng.uniform(0, 360), np.degrees(np.arcsin(rng.uniform(-1, 1)))
        size = 10 ** rng.uniform(-0.5, 1.5)
        centre, east = unit(ra, dec), unit(ra + 90, 0)
        north = np.cross(centre, east)
        if number % 3 == 0:
            yield f"DISTANCE(POINT({ra}, {dec}), POINT(ra, dec)) <= {size}", stars @ centre - np.cos(np.radians(size))
            continue
        if number % 3 == 1:  # the tangent plane's rectangle (ADQL 2.1 §4.2.9)
            width, height = size, size * rng.uniform(0.3, 1)
            x, y, depth = stars @ east, stars @ north, stars @ centre
            reach = [depth * np.tan(np.radians(half / 2)) - abs(along) for half, along in ((width, x), (height, y))]
            yield f"1 = CONTAINS(POINT(ra, dec), BOX({ra}, {dec}, {width}, {height}))", np.minimum(*reach)
            continue
        angles = np.sort(rng.uniform(0, 2 * np.pi, 7))
        if np.diff(np.append(angles, angles[0] + 2 * np.pi)).max() > 2.5:
            angles = np.linspace(0, 5, 6)
        rim = np.tan(np.radians(size)) * (np.outer(np.cos(angles), east) + np.outer(np.sin(angles), north)) + centre
        corners = SkyCoord(*rim.T, representation_type="cartesian").spherical
        sides = np.cross(rim, np.roll(rim, -1, axis=0))
        sides /= np.linalg.norm(sides, axis=1)[:, None]
        numbers = ", ".join(f"{a}, {d}" for a, d in zip(corners.lon.deg, corners.lat.deg, strict=True))
        yield f"1 = CONTAINS(POINT(ra, dec), POLYGON({numbers}))", (stars @ sides.T).min(axis=1)


def test_random_searches_find_what_numpy_finds(sky: Database) -> None:
    found_any = 0
    for condition, margin in searches(seed=12, count=450):
        found = np.zeros(ROWS, bool)
        found[[row["id"] for row in sky.ask(f"SELECT id FROM sky.stars WHERE {condition}")]] = True
        clear = abs(margin) > 1e-11
        assert (found == (margin > 0))[clear].all(), condition
        found_any += found.any()
    assert found_any > 225


def test_random_matches_find_the_pairs_that_numpy_finds(sky: Database) -> None:
    rng = np.random.default_rng(13)
    stars = unit(SKY.ra.deg, SKY.dec.deg)
    pairs = 0
    for number in range(50):
        first, radius = int(rng.integers(ROWS - 100)), 10 ** rng.uniform(-1, 0.5)
        near = stars[first : first + 100] @ stars.T - np.cos(np.radians(radius))
        condition = (
            f"60 * DISTANCE(s.ra, s.dec, t.ra, t.dec) < {60 * radius}",
            f"1 = CONTAINS(POINT(t.ra, t.dec), CIRCLE(s.ra, s.dec, {radius}))",
        )[number % 2]
        few = f"(SELECT id, ra, dec FROM sky.stars WHERE id BETWEEN {first} AND {first + 99})"
        rows = sky.ask(f"SELECT t.id AS t, s.id AS s FROM {few} AS t JOIN sky.stars AS s ON {condition}")
        found = np.zeros(near.shape, bool)
        found[[row["t"] - first for row in rows], [row["s"] for row in rows]] = True
        clear = abs(near) > 1e-11
        assert (found == (near > 0))[clear].all(), condition
        pairs += len(rows)
    assert pairs > 10_000


# ---- whatever is asked


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=QUERIES)
def test_no_random_query_is_a_fault_of_ours(sky: Database, query: str) -> None:
    try:
        sky.ask(query, maxrec=100, timeout_s=0.3)
    except (QueryError, QueryTimeoutError):
        pass
    except ArchiveError as problem:
        pytest.fail(f"{type(problem).__name__}: {problem} of {query}")
