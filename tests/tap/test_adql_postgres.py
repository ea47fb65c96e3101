"""ADQL in PostgreSQL's SQL: what is bound, what an index can serve, where limits stand."""

import re
from datetime import datetime

import pytest

from archive.vo.errors import QueryError
from tap.adql.postgres import translate
from tests.tap.adql_sky import SpelledSphere, checked, translated

PLACE = 'PointSql[t1."ra", t1."dec"]'


def where(condition: str) -> str:
    """The SQL after WHERE, with parameters written out."""
    query = translated(f"SELECT id FROM sky.stars AS s WHERE {condition}")
    sql = query.sql.partition(" WHERE ")[2]
    return re.sub(r"%\((p\d+)\)s::[a-z]+( precision)?", lambda found: repr(query.parameters[found[1]]), sql)


def test_every_literal_is_a_parameter_and_equal_ones_are_the_same() -> None:
    query = translated(
        "SELECT mag / 10 AS m, 'it''s %' FROM stars WHERE name LIKE 'a%' GROUP BY mag / 10 HAVING 10 < 3.5"
    )
    assert sorted(map(str, query.parameters.values())) == ["10", "3.5", "a%", "it's %"]
    assert query.sql.count("%(p1)s::integer") == 3
    assert "it's" not in query.sql
    assert query.sql % dict.fromkeys(query.parameters, "?")


@pytest.mark.parametrize("condition", ["1 = {}", "{} = 1", "{} <> 0", "0 < {}", "{} >= 1", "0 != {}", "{} > 0.5"])
def test_a_test_compared_with_one_is_a_bare_condition(condition: str) -> None:
    """ADQL-23: CASE and casts would hide it from the index."""
    contains = "CONTAINS(POINT(ra, dec), CIRCLE(10, -20, .5))"
    bare = f"(contains({PLACE}, CircleSql[PointSql[10.0, -20.0], 0.5]))"
    assert where(condition.format(contains)) == bare


@pytest.mark.parametrize("condition", ["0 = {}", "{} <> 1", "{} < 1", "1 > {}", "{} <= 0"])
def test_a_test_compared_with_nought_is_a_negated_condition(condition: str) -> None:
    assert where(condition.format("ivo_nocasematch(name, 'x')")).startswith("(NOT (")


def test_a_test_compared_so_that_it_cannot_fail_is_still_unknown_for_null() -> None:
    assert where("CONTAINS(POINT(ra, dec), s_region) >= 0").endswith("IS NOT NULL AND TRUE)")
    assert where("CONTAINS(POINT(ra, dec), s_region) = 7").endswith("IS NOT NULL AND FALSE)")


@pytest.mark.parametrize(
    ("condition", "within"),
    [
        ("DISTANCE(POINT(ra, dec), POINT(1, 2)) <= 0.5", f"(within({PLACE}, PointSql[1.0, 2.0], 0.5))"),
        ("0.5 >= DISTANCE(ra, dec, 1, 2)", f"(within({PLACE}, PointSql[1.0, 2.0], 0.5))"),
        (
            "0.5 > DISTANCE(POINT('ICRS', ra, dec), POINT('', 1, 2))",
            f"(within({PLACE}, PointSql[1.0, 2.0], 0.5) AND distance({PLACE}, PointSql[1.0, 2.0]) < 0.5)",
        ),
        (
            "DISTANCE(POINT(ra, dec), POINT(1, 2)) BETWEEN 0.1 AND 0.5",
            f"(within({PLACE}, PointSql[1.0, 2.0], 0.5) AND distance({PLACE}, PointSql[1.0, 2.0]) >= 0.1)",
        ),
    ],
)
def test_a_distance_below_a_radius_is_asked_of_the_index_however_it_is_written(condition: str, within: str) -> None:
    """ADQL-24"""
    assert where(condition) == within


@pytest.mark.parametrize("scaled", ["{} * 3600 < 5", "3600. * {} < 5", "5 > {} * 60 * 60", "IN_UNIT({}, 'arcsec') < 5"])
def test_a_scaled_distance_narrows_by_the_index_and_decides_as_written(scaled: str) -> None:
    sql = where(scaled.format("DISTANCE(POINT(ra, dec), POINT(1, 2))"))
    radius = re.search(rf"within\({re.escape(PLACE)}, PointSql\[1.0, 2.0\], \(5 \* ([\d.e-]+)\)\)", sql)
    assert radius is not None
    assert float(radius[1]) == pytest.approx(1 / 3600, rel=1e-11)
    assert float(radius[1]) > 1 / 3600
    assert sql.endswith("< 5)")


def test_the_nearest_are_asked_of_the_index() -> None:
    query = translated("SELECT TOP 3 id, DISTANCE(POINT(ra, dec), POINT(1, 2)) AS d FROM stars ORDER BY d")
    assert re.search(r"ORDER BY nearest\(.*\) LIMIT 3$", query.sql)
    farthest = translated("SELECT id, DISTANCE(POINT(ra, dec), POINT(1, 2)) AS d FROM stars ORDER BY d DESC")
    assert farthest.sql.endswith("ORDER BY 2 DESC")


def test_uploaded_points_and_regions_of_any_shape_are_shapes() -> None:
    query = translated("SELECT t.name FROM tap_upload.targets AS t JOIN stars AS s ON 1 = CONTAINS(t.p, s.s_region)")
    assert 'contains(PointSql[(t1."p")[1], (t1."p")[2]], RegionSql[t2."s_region"])' in query.sql
    assert '"upload_1" AS t1' in query.sql


def test_a_region_becomes_text_only_where_the_user_sees_it() -> None:
    query = translated(
        "SELECT q.r FROM (SELECT s_region AS r FROM stars) AS q WHERE 1 = INTERSECTS(q.r, CIRCLE(1, 2, 3))"
    )
    assert 'SELECT t1."s_region" AS "r" FROM' in query.sql
    assert query.sql.startswith('SELECT (CASE array_length(t2."r"')
    assert query.columns[0].xtype == "adql:REGION"


@pytest.mark.parametrize(
    ("query", "maxrec", "end"),
    [
        ("SELECT id FROM stars", 100, " LIMIT 101"),
        ("SELECT id FROM stars", None, " AS t1"),
        ("SELECT TOP 5 id FROM stars", 100, " LIMIT 5"),
        ("SELECT TOP 500 id FROM stars", 100, " LIMIT 101"),
        ("SELECT TOP 0 id FROM stars", 100, " LIMIT 0"),
        ("SELECT TOP 5 id FROM stars ORDER BY id OFFSET 7", 100, " ORDER BY 1 OFFSET 7 LIMIT 5"),
        ("SELECT TOP 5 id FROM stars UNION SELECT id FROM stars2", 100, " LIMIT 101"),
    ],
)
def test_limits_tell_a_full_answer_from_a_cut_one(query: str, maxrec: int | None, end: str) -> None:
    """ADQL-36, TAP 1.1 §2.7.4"""
    assert translated(query, maxrec).sql.endswith(end)


def test_the_top_of_an_operand_stays_inside_it() -> None:
    sql = translated("(SELECT TOP 5 id FROM stars ORDER BY ra) UNION SELECT id FROM stars2 ORDER BY id").sql
    assert 'ORDER BY t1."ra" LIMIT 5' in sql
    assert sql.endswith("ORDER BY 1")


def test_times_and_booleans_are_bound_as_what_they_are_compared_with() -> None:
    """ADQL-10"""
    query = translated(
        "SELECT id FROM stars WHERE '2026-01-31T01:00:00+01:00' <= seen AND valid = 'true' AND valid <> 0"
    )
    assert set(query.parameters.values()) == {datetime(2026, 1, 31), True, False}
    assert "::timestamp" in query.sql


def test_a_whole_number_written_with_a_point_meets_an_integer_column_as_an_integer() -> None:
    assert where("id > 1E6") == '(t1."id" > 1000000)'
    assert where("mag > 1E6") == '(t1."mag" > 1000000.0)'


def test_a_backslash_in_a_pattern_is_a_backslash() -> None:
    assert translated(r"SELECT id FROM stars WHERE name LIKE '50\%'").parameters == {"p1": r"50\\%"}


def test_a_long_list_is_one_parameter() -> None:
    query = translated(f"SELECT id FROM stars WHERE id NOT IN ({', '.join(map(str, range(20_000)))})")
    assert query.parameters == {"p1": list(range(20_000))}
    assert "<> ALL (%(p1)s::bigint[])" in query.sql


def test_more_literals_than_the_protocol_carries_are_refused_with_a_way_out() -> None:
    with pytest.raises(QueryError, match="upload them as a table"):
        translate(
            checked("SELECT id FROM stars WHERE ra = 1.5 OR ra = 2.5 OR ra = 3.5"), SpelledSphere(), most_parameters=2
        )


def test_names_of_results_cannot_leave_their_quotes() -> None:
    query = translated('SELECT id AS "a"" b%s" FROM stars')
    assert query.columns[0].name == 'a" b%s'
    assert 'AS "a"" b%%s"' in query.sql


def test_logarithms_are_natural_and_remainders_are_of_any_number() -> None:
    """ADQL-07"""
    assert where("LOG(ra) > 1").startswith('(ln(t1."ra"::double precision) >')
    assert where("LOG10(ra) > 1").startswith('(log(t1."ra"::double precision) >')
    assert where("MOD(frames, 3) = 1") == '(mod(t1."frames", 3) = 1)'
    assert where("MOD(ra, 3) > 1") == '(mod((t1."ra")::numeric, (3)::numeric)::double precision > 1)'


def nested(opening: str, core: str, closing: str, levels: int) -> str:
    return opening * levels + core + closing * levels


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "query",
    [
        "SELECT id FROM stars WHERE 1 < " + nested("AREA(CIRCLE(CENTROID(CIRCLE(1, 2, ", "ra", "))), 1))", 10),
        "SELECT " + nested("DISTANCE(ra, dec, 1, ", "1", ")", 40) + " FROM stars",
        "SELECT " + nested("CONTAINS(s_region, CIRCLE(1, 2, ", "1", "))", 25) + " FROM stars",
        "SELECT id FROM stars WHERE "
        + nested("DISTANCE(ra, dec, 1, 2) < (SELECT MAX(ra) FROM stars WHERE ", "ra = 1", ")", 18),
        "SELECT id FROM stars WHERE "
        + nested("DISTANCE(ra, dec, 1, 2) NOT BETWEEN (SELECT MAX(ra) FROM stars WHERE ", "ra = 1", ") AND 1", 18),
        "SELECT * FROM " + nested("(SELECT q.*, q.* FROM ", "stars AS q", ") AS q", 18),
        "SELECT q.id FROM " + ", ".join(f"stars AS q{number}" for number in range(5_000)),
        "SELECT " + ", ".join(["ra"] * 5_000) + " FROM stars",
        "SELECT " + nested("1 + ABS(1 + ", "1", ")", 60) + " FROM stars",
    ],
)
def test_a_query_that_would_grow_without_bounds_is_refused_or_stays_small(query: str) -> None:
    try:
        assert len(translated(query).sql) <= 20_000_000
    except QueryError as problem:
        assert re.search("more than|deeper|argument", str(problem))
