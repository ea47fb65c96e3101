"""The grammar of ADQL 2.1, held to the corpus of queries with verdicts and to the questions astronomers ask."""

import json
import re
from pathlib import Path

import pytest

from archive.vo.errors import QueryError
from tap.adql.names import check
from tap.adql.nodes import Chain, Logical, Query, Select, SetOperation, Text
from tap.adql.parser import parse
from tap.adql.postgres import translate
from tests.shared import SHARED, shared_data
from tests.tap.adql_sky import SCHEMA, SpelledSphere

DISPUTED = Path(__file__).resolve().parents[2] / "docs/explanation/adql-disputed.md"


def corpus(name: str) -> list[dict[str, object]]:
    text = shared_data("adql", name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def is_read(query: str) -> bool:
    try:
        parse(query)
    except QueryError as problem:
        assert problem.line >= 1, f"a refusal without its place: {problem}"
        assert problem.column >= 1
        return False
    return True


def select_of(query: Query) -> Select:
    assert isinstance(query.body, Select)
    return query.body


def test_every_query_of_the_gate_is_told_right_from_wrong() -> None:
    rows = corpus("gate.jsonl")
    assert len(rows) > 400
    wrong = [row["query"] for row in rows if is_read(str(row["query"])) != row["valid"]]
    assert not wrong


def test_the_disputed_queries_are_decided_as_the_docs_say() -> None:
    rows = corpus("disputed.jsonl")
    told = re.findall(r"^\| (\d+) \| \w+ \| (accepted|refused) \|", DISPUTED.read_text(encoding="utf-8"), re.MULTILINE)
    assert [int(number) for number, _ in told] == list(range(1, len(rows) + 1))
    assert [decision == "accepted" for _, decision in told] == [is_read(str(row["query"])) for row in rows]


def test_the_twenty_questions_of_the_domain_are_read() -> None:
    text = (SHARED / "reference" / "domain.md").read_text(encoding="utf-8")
    questions = re.findall(r"```adql\n(.*?)```", text, re.DOTALL)
    assert len(questions) == 20
    for question in questions:
        parse(question)


@pytest.mark.parametrize(
    ("query", "line", "column", "said"),
    [
        ("SELECT * FORM ivoa.obscore", 1, 10, "did you mean FROM for FORM"),
        ("SELECT a FORM t", 1, 15, "did you mean FROM for FORM"),
        ("SELECT a\nFROM t\nWHERE a >", 3, 10, "expected a value"),
        ("SELECT size FROM t", 1, 8, '"size"'),
        ("SELECT a AS point FROM t", 1, 13, '"point"'),
        ("SELECT sin FROM t", 1, 8, "SIN|sin"),
        ("SELECT a FROM t LIMIT 5", 1, 23, "TOP"),
        ("SELECT a FROM t WHERE CONTAINS(p, q)", 1, 23, "1 = CONTAINS"),
        ("SELECT a FROM t JOIN u", 1, 23, "NATURAL JOIN or a comma"),
        ("SELECT a FROM (SELECT b FROM t)", 1, 32, "needs a name"),
        ("SELECT 'a FROM t", 1, 8, "never closed"),
        ("SELECT a FROM t WHERE b = 'it''s", 1, 27, "never closed"),
        ("SELECT _a FROM t", 1, 8, "starts with a letter"),
        ("SELECT 12abc FROM t", 1, 8, "neither a number nor a name"),
        ("SELECT atan2(a) FROM t", 1, 13, "takes 2 arguments, not 1"),
        ("SELECT CIRCLE(p, 2) + 1 FROM t", 1, 8, "takes numbers, not a shape"),
        ("SELECT POLYGON(1, 2, 3, 4, 5) FROM t", 1, 16, "POLYGON"),
        ("SELECT POINT(name || 'x', 1, 2) FROM t", 1, 8, "POINT"),
        ("SELECT CAST(a AS VARCHAR2) FROM t", 1, 18, "VARCHAR"),
        ("SELECT CASE WHEN a = 1 THEN 2 END FROM t", 1, 8, "COALESCE"),
        ("SELECT a FROM t UNION (WITH x AS (SELECT b FROM u) SELECT b FROM x)", 1, 24, "very beginning"),
        ("SELECT SUBSTRING(a) FROM t", 1, 8, "no function SUBSTRING"),
        ("", 1, 1, "expected SELECT"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_its_remedy(query: str, line: int, column: int, said: str) -> None:
    with pytest.raises(QueryError, match=said) as caught:
        parse(query)
    assert (caught.value.line, caught.value.column) == (line, column)


def test_the_caret_stands_below_the_mistake() -> None:
    with pytest.raises(QueryError) as caught:
        parse("SELECT a\n  FROM t WHERE\tb === 2")
    message, shown, caret = str(caught.value).split("\n")
    assert message.startswith("line 2, column 19: ")
    assert shown[caret.index("^") :] == "== 2"[1:] or shown[caret.index("^")] == "="


def test_a_refusal_says_what_would_have_been_accepted() -> None:
    with pytest.raises(QueryError) as caught:
        parse("SELECT a FROM t GROUP a")
    assert caught.value.expected == ("BY",)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT a FROM t;",
        "SELECT a FROM t -- last line without an end",
        "SELECT a -- what\n, b -- and 'this\nFROM t",
        "SELECT n % 10 FROM t",
        "SELECT a FROM t WHERE a IN ((SELECT b FROM u) UNION (SELECT c FROM v))",
        "SELECT a FROM ((SELECT b FROM u) UNION SELECT c FROM v) AS w",
        "SELECT a FROM t WHERE ((SELECT max(b) FROM u) > 3)",
        "SELECT a FROM t1 JOIN t2 JOIN t3 ON t2.x = t3.x ON t1.x = t2.x",
        "SELECT a FROM t WHERE t.d > TIMESTAMP '2026-01-01'",
        'SELECT "select", t."from".* FROM t, "from"',
        "SELECT COALESCE(a, b, 1) FROM t OFFSET 10",
        "SELECT a FROM t\u00a0WHERE a > .5e-3",
    ],
)
def test_what_people_write_is_read(query: str) -> None:
    parse(query)


def test_adjacent_strings_are_one_and_a_doubled_quote_is_a_quote() -> None:
    """ADQL-02"""
    item = select_of(parse("SELECT 'it''s'\n -- a comment\n ' one' FROM t")).items[0]
    assert isinstance(item.expression, Text)  # type: ignore[union-attr]
    assert item.expression.value == "it's one"  # type: ignore[union-attr]


def test_intersect_binds_tighter_than_union() -> None:
    """ADQL-32"""
    body = parse("SELECT a FROM t UNION SELECT b FROM u INTERSECT SELECT c FROM v").body
    assert isinstance(body, SetOperation)
    assert [step.operator for step in body.steps] == ["UNION"]
    right = body.steps[0].operand
    assert isinstance(right, SetOperation)
    assert right.steps[0].operator == "INTERSECT"


def test_a_multiplication_binds_tighter_than_a_sum_and_a_comparison_than_not() -> None:
    select = select_of(parse("SELECT a + b * c FROM t WHERE NOT a = 1 AND b = 2"))
    item = select.items[0]
    assert isinstance(item.expression, Chain)  # type: ignore[union-attr]
    assert [operator for operator, _ in item.expression.rest] == ["+"]  # type: ignore[union-attr]
    assert isinstance(select.where, Logical)
    assert [type(operand).__name__ for operand in select.where.operands] == ["Not", "Comparison"]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT a FROM t WHERE " + "(" * 100_000 + "a = 1",
        "SELECT a FROM t WHERE " + "NOT " * 100_000 + "a = 1",
        "SELECT " + "abs(" * 5_000 + "1" + ")" * 5_000 + " FROM t",
        "SELECT a FROM " + "(" * 50_000,
        "SELECT a FROM t WHERE a IN (" * 1_000,
        "SELECT a FROM " + "t JOIN " * 10_000 + "t",
        "((((" * 10_000 + "SELECT",
        "SELECT '" + "''" * 400_000,
        'SELECT "' + '""' * 400_000,
        "SELECT " + "9" * 900_000 + " FROM t",
        "-" * 900_000,
        "SELECT a FROM t WHERE a = 'x\x00y'",
        "x" * 2_000_000,
    ],
)
@pytest.mark.timeout(20)
def test_hostile_text_is_refused_and_soon(query: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse(query)
    assert len(str(caught.value)) < 1_000


@pytest.mark.parametrize("levels", [60, 150, 250, 5_000])
def test_deeper_nesting_than_the_stack_bears_is_a_mistake_of_the_query(levels: int) -> None:
    query = "SELECT " + "1 + ABS(1 * " * levels + "1" + ")" * levels + " FROM sky.stars"
    try:
        translate(check(parse(query, max_depth=10_000), SCHEMA), SpelledSphere())
    except QueryError as problem:
        assert levels > 60
        assert "nested too deeply" in str(problem)
    else:
        assert levels < 5_000


@pytest.mark.timeout(30)
def test_a_query_may_be_long_if_it_is_flat() -> None:
    parse("SELECT " + "+".join(["1"] * 20_000) + " FROM t WHERE " + " OR ".join(["a = 1"] * 5_000))
    parse("SELECT a FROM t WHERE a IN (" + ", ".join(map(str, range(10_000))) + ")")
