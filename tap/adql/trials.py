"""A query for everything that capabilities declare, so that a service can try at its start what it promises.

User-defined functions have examples of their own (user_functions.py), with what they must give.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tap.adql.functions import ADQL_FUNCTIONS, ANY, INTEGER, NUMERIC, TEXT, Function
from tap.adql.user_functions import USER_DEFINED

# A row of a table that every service has.
ROW = "(SELECT TOP 1 schema_name FROM tap_schema.schemas) AS a_row"

_SAMPLES = {NUMERIC: "0.5", INTEGER: "2", TEXT: "'a'", ANY: "1"}

# Each geometry function by itself, and what comes out of it as a number or a text.
_GEOMETRY = {
    "AREA": "AREA(CIRCLE(10, 20, 1))",
    "BOX": "CONTAINS(POINT(10, 20), BOX(10, 20, 1, 1))",
    "CENTROID": "COORD2(CENTROID(CIRCLE(10, 20, 1)))",
    "CIRCLE": "CONTAINS(POINT(10, 20), CIRCLE(10, 20, 1))",
    "CONTAINS": "CONTAINS(POINT(10, 20), CIRCLE(10, 20, 1))",
    "COORD1": "COORD1(POINT(10, 20))",
    "COORD2": "COORD2(POINT(10, 20))",
    "COORDSYS": "COORDSYS(POINT(10, 20))",
    "DISTANCE": "DISTANCE(POINT(10, 20), POINT(10, 21))",
    "INTERSECTS": "INTERSECTS(CIRCLE(10, 20, 1), CIRCLE(11, 20, 1))",
    "POINT": "COORD1(POINT(10, 20))",
    "POLYGON": "CONTAINS(POINT(10, 20), POLYGON(9, 19, 11, 19, 11, 21, 9, 21))",
    "REGION": "CONTAINS(POINT(10, 20), REGION('Circle ICRS 10 20 1'))",
}
_MOC = {
    "MOC(ascii VARCHAR(*)) -> MOC": "CONTAINS(POINT(10, 20), MOC('0/0-11'))",
    "MOC(order INTEGER, geo GEOMETRY) -> MOC": "CONTAINS(POINT(10, 20), MOC(6, CIRCLE(10, 20, 3)))",
}
_GRAMMAR = {
    "LOWER": "SELECT LOWER('A') AS v FROM a_row",
    "UPPER": "SELECT UPPER('a') AS v FROM a_row",
    "ILIKE": "SELECT 1 AS v FROM a_row WHERE schema_name ILIKE '%'",
    "WITH": "WITH w AS (SELECT TOP 1 schema_name FROM tap_schema.schemas) SELECT schema_name AS v FROM w",
    "UNION": "SELECT schema_name AS v FROM a_row UNION SELECT schema_name FROM tap_schema.schemas",
    "EXCEPT": "SELECT 1 AS v FROM a_row EXCEPT SELECT 2 AS v FROM tap_schema.schemas",
    "INTERSECT": "SELECT schema_name AS v FROM a_row INTERSECT SELECT schema_name FROM tap_schema.schemas",
    "CAST": "SELECT CAST('1' AS INTEGER) AS v FROM a_row",
    "COALESCE": "SELECT COALESCE(NULL, 1) AS v FROM a_row",
    "IN_UNIT": "SELECT IN_UNIT(DEGREES(1.0), 'arcsec') AS v FROM a_row",
    "OFFSET": "SELECT schema_name AS v FROM tap_schema.schemas ORDER BY schema_name OFFSET 1",
}


@dataclass(frozen=True, slots=True)
class Trial:
    """form: what is declared, as capabilities have it, or a function of ADQL itself. gives: None for anything."""

    form: str
    query: str
    gives: object = None


def trials() -> Iterator[Trial]:
    """One query at least for everything that is declared."""
    for function in ADQL_FUNCTIONS.values():
        yield Trial(function.name, _value(_sample(function)))
    for name, call in _GEOMETRY.items():
        yield Trial(name, _value(call))
    for form, call in _MOC.items():
        yield Trial(form, _value(call), 1)
    for form, query in _GRAMMAR.items():
        yield Trial(form, query.replace("a_row", ROW))
    for function in USER_DEFINED:
        for example in function.examples:
            yield Trial(function.form, _value(example.call), example.gives)


def _value(call: str) -> str:
    return "SELECT call AS v FROM a_row".replace("call", call).replace("a_row", ROW)


def _sample(function: Function) -> str:
    return f"{function.name}({', '.join(_SAMPLES[kind] for _, kind in function.parameters)})"
