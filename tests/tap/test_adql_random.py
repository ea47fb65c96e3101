"""Random ADQL, sound and unsound: whatever is asked, the answer is SQL or a QueryError with its place."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from archive.vo.errors import QueryError
from tap.adql.lexer import tokens
from tests.tap.adql_sky import translated

MARK = "zqx"  # in every string literal, and nowhere else

NUMBERS = st.sampled_from(["0", "1", "2.5", ".5e3", "7E-3", "90", "-1", "9223372036854775807", "1e300", "NULL"])
STRINGS = st.text("ab'\"%\\;-$\u00e9 ", max_size=6).map(lambda text: "'" + MARK + text.replace("'", "''") + "'")


def formed(*forms: tuple[str, *tuple[st.SearchStrategy[str], ...]]) -> st.SearchStrategy[str]:
    """Any of the forms, ("{} + {}", numbers, numbers), filled in."""

    def filled(form: str, parts: list[st.SearchStrategy[str]]) -> st.SearchStrategy[str]:
        return st.tuples(*parts).map(lambda found: form.format(*found))

    return st.one_of([filled(form, parts) for form, *parts in forms])


def larger_numbers(numbers: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    points = formed(("POINT({}, {})", numbers, numbers), ("t.p",), ("CENTROID(s_region)",))
    return formed(
        ("{} + {}", numbers, numbers), ("{} - {}", numbers, numbers), ("{} * {}", numbers, numbers),
        ("{} / {}", numbers, numbers), ("{} % {}", numbers, numbers), ("({})", numbers), ("-({})", numbers),
        ("ABS({})", numbers), ("MOD({}, {})", numbers, numbers), ("ROUND({}, 2)", numbers), ("LOG({})", numbers),
        ("COALESCE({}, {})", numbers, numbers), ("CAST({} AS INTEGER)", numbers), ("COUNT({})", numbers),
        ("MAX({})", numbers), ("SUM({})", numbers), ("(SELECT {} FROM sky.stars AS s)", numbers),
        ("(SELECT MAX({}) FROM sky.stars AS s)", numbers), ("ivo_hasword(s.name, {})", STRINGS), ("ivo_to_mjd(seen)",),
        ("DISTANCE({}, {})", points, points), ("DISTANCE(ra, dec, {}, {})", numbers, numbers), ("COORD1({})", points),
        ("CONTAINS({}, CIRCLE({}, {}))", points, points, numbers), ("INTERSECTS(s_region, BOX({}, 1, 2))", points),
        ("AREA(POLYGON({}, {}, {}))", points, points, points), ("CONTAINS({}, s_region)", points),
        ("IN_UNIT(ra, 'arcsec')",), ("udf({})", numbers), ("LOWER({})", numbers),
        ("ivo_healpix_index({}, {})", numbers, points), ("ivo_interval_overlaps({}, 1, 2, {})", numbers, numbers),
        ("COORD1(ivo_epoch_prop_pos(ra, dec, {}, {}, mag, 0, 2000, {}))", numbers, numbers, numbers),
        ("COORD2(ivo_geom_transform('ICRS', 'GALACTIC', {}))", points),
        ("AREA(MOC({}, CIRCLE({}, 1)))", numbers, points),
        ("CONTAINS({}, MOC('3/1-9 4/77'))", points), ("INTERSECTS(MOC(2, s_region), MOC('1/3'))",),
        ("ivo_normal_random({}, 1)", numbers), ("ivo_hms_to_degrees(name)",), ("TRUNCATE({}, {})", numbers, numbers),
        ("POWER({}, {})", numbers, numbers), ("AVG({})", numbers), ("COUNT(DISTINCT {})", numbers),
    )  # fmt: skip


def larger_texts(texts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return formed(
        ("{} || {}", texts, texts),
        ("LOWER({})", texts),
        ("COALESCE({}, {})", texts, texts),
        ("CAST({} AS VARCHAR(3))", texts),
        ("MAX({})", texts),
        ("CAST({} AS TIMESTAMP)", texts),
        ("ivo_string_agg({}, {})", texts, texts),
        ("UPPER({})", texts),
    )


NUMERIC_COLUMNS = st.sampled_from(["id", "ra", "DEC", "mag", "s.id", '"frames"', "sky.stars.ra", "nope", "o.id", "x"])
NUMERIC = st.recursive(st.one_of(NUMBERS, NUMERIC_COLUMNS, NUMERIC_COLUMNS), larger_numbers, max_leaves=5)
TEXTS = st.recursive(st.one_of(STRINGS, st.sampled_from(["name", "s.name", "o.name"])), larger_texts, max_leaves=3)
OTHERS = st.sampled_from(
    [
        "ivo_histogram(mag, 0, 20, 5)",
        "MOC('3/4')",
        "MOC(3, s_region)",
        "BOX(1, 2, 3, 4)",
        "seen",
        "valid",
        "s_region",
        "t.p",
        "POINT(1, 2)",
        "NULL",
        "REGION('Circle 1 2 3')",
    ]
)
VALUES = st.one_of(NUMERIC, NUMERIC, NUMERIC, TEXTS, OTHERS)


def compound(conditions: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return formed(
        ("{} AND {}", conditions, conditions), ("{} OR {}", conditions, conditions), ("NOT ({})", conditions)
    )  # fmt: skip


COMPARED = st.sampled_from(["=", "<>", "<", ">="])
CONDITIONS = st.recursive(
    formed(
        ("{} {} {}", NUMERIC, COMPARED, NUMERIC),
        ("{} {} {}", TEXTS, COMPARED, TEXTS),
        ("{} {} {}", VALUES, COMPARED, VALUES),
        ("{} LIKE {}", TEXTS, TEXTS),
        ("{} NOT ILIKE {}", TEXTS, STRINGS),
        ("seen > '2026-01-01'",),
        ("valid = 'true'",),
        ("1 = CONTAINS(POINT(ra, dec), CIRCLE({}, {}, 1))", NUMBERS, NUMBERS),
        ("DISTANCE(ra, dec, {}, {}) * 3600 < {}", NUMBERS, NUMBERS, NUMERIC),
        ("{} BETWEEN {} AND {}", NUMERIC, NUMERIC, NUMERIC),
        ("{} NOT IN ({}, {})", NUMERIC, NUMERIC, NUMBERS),
        ("{} IS NOT NULL", VALUES),
        ("EXISTS (SELECT id FROM cat.stars2 AS c WHERE c.id = {})", NUMERIC),
        ("{} IN (SELECT id FROM cat.stars2)", NUMERIC),
    ),
    compound,
    max_leaves=4,
)
TABLES = st.sampled_from(
    [
        "sky.stars",
        "stars AS s",
        "stars s, tap_upload.targets AS t",
        "stars s NATURAL JOIN sky.observed o",
        "stars s LEFT JOIN sky.observed o USING (id)",
        "stars s FULL JOIN (SELECT id, name FROM stars) AS o ON s.id = o.id",
        "nowhere",
    ]
)


@st.composite
def selects(draw: st.DrawFn) -> str:
    items = draw(st.lists(st.one_of(VALUES, st.sampled_from(["*", "s.*", "ra AS x"])), min_size=1, max_size=3))
    query = draw(st.sampled_from(["SELECT ", "SELECT DISTINCT ", "SELECT TOP 5 "])) + ", ".join(items)
    query += " FROM " + draw(TABLES)
    if draw(st.booleans()):
        query += " WHERE " + draw(CONDITIONS)
    if draw(st.booleans()):
        query += " GROUP BY " + draw(VALUES) + " HAVING " + draw(CONDITIONS)
    if draw(st.booleans()):
        query += " ORDER BY " + draw(VALUES) + draw(st.sampled_from(["", " DESC", " ASC, 1"])) + " OFFSET 2"
    return query


QUERIES = st.one_of(
    selects(),
    st.tuples(selects(), st.sampled_from([" UNION ", " EXCEPT ALL ", " INTERSECT "]), selects()).map("".join),
    st.tuples(selects(), selects(), selects()).map(
        lambda three: "({}) UNION ALL ({}) EXCEPT {} ORDER BY 1".format(*three)
    ),
    selects().map(lambda query: f"SELECT COUNT(*) AS n FROM ({query}) AS q"),
    selects().map(lambda query: f"WITH w AS ({query}) SELECT * FROM w"),
)


def sql_of(query: str) -> str | None:
    try:
        found = translated(query, maxrec=100)
    except QueryError as problem:
        assert problem.line >= 1 or "of SQL" in str(problem)
        return None
    assert found.sql % dict.fromkeys(found.parameters, "NULL"), "every % is a parameter or doubled"
    assert len({column.name.lower() for column in found.columns}) == len(found.columns)
    return found.sql


@settings(max_examples=300, deadline=None)
@given(QUERIES)
def test_any_query_is_translated_or_refused_and_no_string_of_it_enters_the_sql(query: str) -> None:
    sql = sql_of(query)
    assert sql is None or MARK not in re.sub(r'"(?:[^"]|"")*"', "", sql)


@settings(max_examples=200, deadline=None)
@given(QUERIES, st.data())
def test_a_query_with_pieces_lost_doubled_or_moved_raises_nothing_but_query_errors(
    query: str, data: st.DataObject
) -> None:
    try:
        pieces = [token.text for token in tokens(query)]
    except QueryError:
        return
    place = data.draw(st.integers(0, len(pieces) - 1))
    other = data.draw(st.integers(0, len(pieces) - 1))
    match data.draw(st.sampled_from(["lose", "double", "move"])):
        case "lose":
            del pieces[place]
        case "double":
            pieces.insert(place, pieces[place])
        case _:
            pieces[place], pieces[other] = pieces[other], pieces[place]
    sql_of(" ".join(pieces))


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=80))
def test_any_text_at_all_is_refused_properly(text: str) -> None:
    assert sql_of(text) is None
    assert sql_of("SELECT " + text) is None or "FROM" in text.upper()
