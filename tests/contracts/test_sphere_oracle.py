"""Random pairs of shapes: every adapter answers as the oracle does, but where an edge passes within 1e-9 rad."""

from collections import Counter
from typing import Any

import numpy as np
import psycopg
import pytest
from mocpy import MOC

from archive.sphere.sphere import CircleSql, PointSql, PolygonSql, RangeSql, RegionSql, Shape, Sphere
from tests.contracts import sky_oracle

Database = tuple[psycopg.Connection[Any], Sphere]
PAIRS = 10_000
CLOSE = 1e-9  # radians


@pytest.fixture(scope="session")
def pairs() -> list[tuple[list[float], list[float], sky_oracle.Body, sky_oracle.Body]]:
    return sky_oracle.random_pairs(seed=20_261_122, count=PAIRS)


@pytest.fixture(scope="session")
def truths(
    pairs: list[tuple[list[float], list[float], sky_oracle.Body, sky_oracle.Body]],
) -> list[tuple[tuple[bool, float], ...]]:
    """Of each pair: is the first in the second, do they meet; each with its margin."""
    return [(sky_oracle.contains(a, b), sky_oracle.intersects(a, b)) for *_, a, b in pairs]


@pytest.fixture(scope="module")
def table(
    sphere_database: Database, pairs: list[tuple[list[float], list[float], sky_oracle.Body, sky_oracle.Body]]
) -> str:
    connection, _ = sphere_database
    connection.execute("CREATE TABLE pairs (i int, a double precision[], b double precision[])")
    with connection.cursor().copy("COPY pairs FROM STDIN") as copy:
        for i, (a, b, *_) in enumerate(pairs):
            copy.write_row((i, a, b))
    return "pairs"


def typed(array: str, count: int) -> Shape:
    """The shape of so many numbers, by the elements of a column."""
    numbers = [f"{array}[{i + 1}]" for i in range(count)]
    match count:
        case 2:
            return PointSql(*numbers)
        case 3:
            return CircleSql(PointSql(numbers[0], numbers[1]), numbers[2])
        case 4:
            return RangeSql(*numbers)
    return PolygonSql(tuple(PointSql(ra, dec) for ra, dec in zip(numbers[::2], numbers[1::2], strict=True)))


def disagreements(
    rows: list[tuple[Any, ...]], truths: list[tuple[tuple[bool, float], ...]]
) -> tuple[list[tuple[int, int]], int]:
    """(pair, question) where an answer is wrong by more than the margin allows; and how many were too close to tell."""
    wrong, close = [], 0
    for i, *answers in rows:
        for question, (answer, (truth, margin)) in enumerate(zip(answers, truths[i], strict=True)):
            if margin < CLOSE:
                close += 1
            elif answer is not truth:
                wrong.append((i, question))
    return wrong, close


def test_stored_regions_of_every_kind_relate_as_the_oracle_says(
    sphere_database: Database, table: str, truths: list[tuple[tuple[bool, float], ...]]
) -> None:
    connection, sphere = sphere_database
    a, b = RegionSql("a"), RegionSql("b")
    questions = ", ".join((sphere.contains(a, b), sphere.intersects(a, b)))
    rows = connection.execute(f"SELECT i, {questions} FROM {table}").fetchall()
    assert len(rows) == PAIRS
    wrong, close = disagreements(rows, truths)
    assert wrong == []
    assert close < 0.01 * 2 * PAIRS


def test_shapes_written_in_a_query_relate_as_the_oracle_says(
    sphere_database: Database, table: str, truths: list[tuple[tuple[bool, float], ...]]
) -> None:
    connection, sphere = sphere_database
    counts = (2, 3, 4, 6, 8, 12)
    seen = 0
    for first in counts:
        for second in counts:
            a, b = typed("a", first), typed("b", second)
            questions = ", ".join((sphere.contains(a, b), sphere.intersects(a, b)))
            rows = connection.execute(
                f"SELECT i, {questions} FROM {table} WHERE cardinality(a) = {first} AND cardinality(b) = {second}"
            ).fetchall()
            seen += len(rows)
            wrong, _ = disagreements(rows, truths)
            assert wrong == [], (first, second)
    assert seen > 0.7 * PAIRS


def test_the_pairs_hold_yes_and_no_of_every_two_kinds(
    pairs: list[tuple[list[float], list[float], sky_oracle.Body, sky_oracle.Body]],
    truths: list[tuple[tuple[bool, float], ...]],
) -> None:
    """Guards the suite itself: an oracle that always says no would agree with a sphere that does."""
    told: Counter[tuple[str, str, int, bool]] = Counter()
    for (*_, a, b), answers in zip(pairs, truths, strict=True):
        for question, (truth, _) in enumerate(answers):
            told[type(a).__name__, type(b).__name__, question, truth] += 1
    for a in ("Disc", "Fan", "Patch"):
        for b in ("Disc", "Fan", "Patch"):
            for question in range(2):
                assert told[a, b, question, True] > 10 and told[a, b, question, False] > 10, (a, b, question)


def test_areas_are_those_of_triangles_and_of_archimedes(
    sphere_database: Database, table: str, pairs: list[tuple[list[float], list[float], Any, Any]]
) -> None:
    connection, sphere = sphere_database
    rows = connection.execute(f"SELECT i, {sphere.area(RegionSql('a'))} FROM {table} WHERE i < 2000").fetchall()
    for i, area in rows:
        truth = float(sky_oracle.area(pairs[i][2]))
        assert area == pytest.approx(truth, rel=1e-6, abs=1e-15), pairs[i][0]


def test_polygons_and_circles_cover_the_cells_that_mocpy_says(sphere_database: Database) -> None:
    """mocpy's coverage at order 11 (cells of 1.7 arcmin): positions and circles that keep clear of any edge."""
    connection, sphere = sphere_database
    rng = np.random.default_rng(5)
    tested = 0
    for _ in range(40):
        centre = sky_oracle.random_place(rng)
        array, fan = sky_oracle.random_shape(rng, "polygon", centre, np.radians(rng.uniform(2, 15)))
        corners = np.array(array).reshape(-1, 2)
        moc = MOC.from_polygon(corners[:, 0] * _degree(), corners[:, 1] * _degree(), max_depth=11)
        places = sky_oracle.degrees_of(
            sky_oracle.offset(centre, rng.uniform(0, 2 * np.pi, 100), np.radians(rng.uniform(0, 20, 100)))
        )
        clear = fan.edge_distance(sky_oracle.unit(places[:, 0], places[:, 1])) > np.radians(0.1)
        places = places[clear]
        known = moc.contains_lonlat(places[:, 0] * _degree(), places[:, 1] * _degree())
        question = sphere.contains(PointSql("p.ra", "p.dec"), RegionSql("CAST(%(region)s AS double precision[])"))
        told = connection.execute(
            f"SELECT {question} FROM unnest(%(ra)s::float8[], %(dec)s::float8[]) WITH ORDINALITY p(ra, dec, i) "
            "ORDER BY i",
            {"region": array, "ra": places[:, 0].tolist(), "dec": places[:, 1].tolist()},
        ).fetchall()
        assert [answer for (answer,) in told] == known.tolist(), array
        tested += len(told)
    assert tested > 2000


def _degree() -> Any:
    from astropy import units

    return units.deg
