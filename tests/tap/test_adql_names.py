"""Names of ADQL queries: what is found, what is refused and with which advice, and what results are said to be."""

import pytest

from archive.vo.columns import Column
from archive.vo.errors import QueryError
from tests.tap.adql_sky import STARS, checked


def columns(query: str) -> list[Column]:
    return list(checked(query).columns_out)


def one(expression: str) -> Column:
    return columns(f"SELECT {expression} AS x FROM sky.stars AS s, tap_upload.targets AS t")[0]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT ra FROM sky.starz", "no table sky.starz; did you mean sky.stars"),
        ("SELECT mags FROM sky.stars", "no column mags in sky.stars; did you mean mag"),
        ("SELECT s.raa FROM stars AS s", "no column raa in s; did you mean ra"),
        ("SELECT stars.ra FROM stars AS s", "FROM has no table stars"),
        ("SELECT id FROM stars, stars2", "id is ambiguous.*cat.stars2 and sky.stars"),
        ("SELECT id FROM observed", "observed is ambiguous; write"),
        ("SELECT x.* FROM stars AS s", "FROM has no table x"),
        ("SELECT ra FROM stars, stars", "two tables named"),
        ("SELECT ivo_hasward(name, 'x') FROM stars", "did you mean ivo_hasword"),
        ("SELECT ivo_hasword(name) FROM stars", "takes 2 arguments, not 1"),
        ("SELECT ra FROM stars WHERE name = 5", "quote the number"),
        ("SELECT ra FROM stars WHERE ra = 'x'", "compared with the text 'x'"),
        ("SELECT ra FROM stars WHERE seen > 'yesterday'", "is no timestamp"),
        ("SELECT ra FROM stars WHERE seen > 57000", "ivo_to_mjd"),
        ("SELECT ra FROM stars WHERE valid = 'maybe'", "'true', 'false'"),
        ("SELECT name + 1 FROM stars", "takes a number, not text"),
        ("SELECT LOWER(ra) FROM stars", "takes text, not a number"),
        ("SELECT COALESCE(ra, name) FROM stars", "values of one type"),
        ("SELECT ra FROM stars UNION SELECT name FROM stars", "column ra is a number in the first"),
        ("SELECT ra, dec FROM stars UNION SELECT ra FROM stars", "2 columns with 1"),
        ("SELECT ra FROM stars ORDER BY 2", "a position from 1 to 1"),
        ("SELECT ra FROM stars ORDER BY s_region || 'x', POINT(ra, dec)", "shapes have no order"),
        ("SELECT ra FROM stars GROUP BY NULL", "not a constant"),
        ("SELECT MIN(valid) FROM stars", "cannot order booleans"),
        ("SELECT IN_UNIT(ra, 'm') FROM stars", "cannot be converted"),
        ("SELECT IN_UNIT(ra, 'blahs') FROM stars", "is no unit"),
        ("SELECT IN_UNIT(id, 'm') FROM stars", "this one has none"),
        ("SELECT ra FROM stars WHERE 1 = CONTAINS(name, s_region)", "cannot be text"),
        ("SELECT ra FROM stars WHERE 1 = CONTAINS(POINT('GALACTIC', ra, dec), s_region)", "ICRS only"),
        ("SELECT REGION('Circle ICRS 1 2') FROM stars", "three numbers"),
        ("SELECT REGION('Ellipse ICRS 1 2 3 4 5') FROM stars", "not supported"),
        ("SELECT a.ra FROM stars AS a JOIN stars AS b USING (raa)", "did you mean ra"),
        ("SELECT a FROM (SELECT ra AS a, dec AS a FROM stars) AS q", "a is ambiguous"),
        ("SELECT ra FROM stars WHERE ra IN (SELECT ra, dec FROM stars)", "one column, not 2"),
        ("WITH w AS (SELECT v.ra FROM v), v AS (SELECT ra FROM stars) SELECT ra FROM w", "no table v"),
    ],
)  # fmt: skip
def test_what_does_not_exist_or_fit_is_refused_with_advice(query: str, said: str) -> None:
    with pytest.raises(QueryError, match=said) as caught:
        checked(query)
    assert caught.value.line == 1


def test_a_mistake_in_the_third_line_is_found_there() -> None:
    with pytest.raises(QueryError) as caught:
        checked("SELECT ra,\n  dec,\n  mga\nFROM stars")
    assert (caught.value.line, caught.value.column) == (3, 3)


def test_regular_names_are_found_in_any_case_and_delimited_ones_exactly() -> None:
    """ADQL-01"""
    assert [column.name for column in columns('SELECT RA, "Run", RUN FROM SKY.Stars, "sky".observed')] == [
        "ra",
        "Run",
        "Run_2",
    ]
    with pytest.raises(QueryError, match="did you mean Run"):
        checked('SELECT "run" FROM sky.observed')
    with pytest.raises(QueryError, match="no table"):
        checked('SELECT ra FROM "Sky".stars')


def test_a_star_is_all_published_columns_with_their_metadata() -> None:
    assert columns("SELECT * FROM sky.stars") == list(STARS.columns)
    assert len(columns("SELECT s.*, s.ra FROM sky.stars AS s")) == len(STARS.columns) + 1


def test_metadata_travel_through_subqueries_with_tables_and_set_operations() -> None:
    """ADQL-32: from the left operand."""
    found = columns(
        "WITH w AS (SELECT q.r AS rr FROM (SELECT ra AS r FROM stars) AS q)"
        " SELECT rr FROM w UNION SELECT t_exptime FROM sky.observed"
    )  # fmt: skip
    assert (found[0].name, found[0].unit, found[0].ucd, found[0].utype) == ("rr", "deg", "pos.eq.ra;meta.main", "a.b")


def test_a_natural_join_shows_shared_columns_once_and_first() -> None:
    """SQL-92 §7.5"""
    names = [column.name for column in columns("SELECT * FROM sky.stars NATURAL JOIN sky.observed")]
    assert names[0] == "id"
    assert names.count("id") == 1
    assert len(names) == len(STARS.columns) + 2


def test_names_of_results_are_all_different() -> None:
    query = "SELECT a.ra, b.ra, a.ra + 1, b.ra AS col_3, a.RA AS ra_2 FROM stars AS a, stars AS b"
    names = [column.name.lower() for column in columns(query)]
    assert len(set(names)) == 5
    assert names[3:] == ["col_3", "ra_2"]


@pytest.mark.parametrize(
    ("expression", "datatype", "arraysize", "xtype", "unit"),
    [
        ("COUNT(*)", "long", None, None, None),
        ("SUM(frames)", "long", None, None, None),
        ("AVG(mag)", "double", None, None, "mag"),
        ("MAX(mag)", "float", None, None, "mag"),
        ("MIN(seen)", "char", "*", "timestamp", None),
        ("frames * 2", "int", None, None, None),
        ("frames / 2.0", "double", None, None, None),
        ("mag + frames", "double", None, None, None),
        ("ra - dec", "double", None, None, "deg"),
        ("-ra", "double", None, None, "deg"),
        ("ra * dec", "double", None, None, None),
        ("s.name || frames", "char", "*", None, None),
        ("CAST(ra AS VARCHAR(8))", "char", "8*", None, None),
        ("CAST(ra AS INTEGER)", "int", None, None, "deg"),
        ("CAST('2026-01-01' AS TIMESTAMP)", "char", "*", "timestamp", None),
        ("IN_UNIT(ra, 'arcsec')", "double", None, None, "arcsec"),
        ("POINT(ra, dec)", "double", "2", "point", "deg"),
        ("CIRCLE(p, 1)", "double", "3", "circle", "deg"),
        ("POLYGON(1, 2, 3, 4, 5, 0)", "double", "*", "polygon", "deg"),
        ("CENTROID(s_region)", "double", "2", "point", "deg"),
        ("AREA(s_region)", "double", None, None, "deg**2"),
        ("DISTANCE(p, POINT(ra, dec))", "double", None, None, "deg"),
        ("CONTAINS(p, s_region)", "int", None, None, None),
        ("s_region", "char", "*", "adql:REGION", None),
        ("COALESCE(mag, ra)", "double", None, None, "mag"),
        ("COALESCE(seen, '2026-01-01')", "char", "*", "timestamp", None),
        ("ivo_hasword(s.name, 'x')", "int", None, None, None),
        ("(SELECT MAX(ra) FROM stars)", "double", None, None, "deg"),
        ("NULL", "char", "*", None, None),
        ("3000000000", "long", None, None, None),
    ],
)
def test_every_expression_has_the_type_that_its_result_declares(
    expression: str, datatype: str, arraysize: str | None, xtype: str | None, unit: str | None
) -> None:
    """ADQL-09"""
    column = one(expression)
    assert (column.datatype, column.arraysize, column.xtype, column.unit) == (datatype, arraysize, xtype, unit)
