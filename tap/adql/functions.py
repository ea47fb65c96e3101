"""ADQL's functions, each declared once, with its SQL; user_functions.py has the user-defined ones.

The parser counts arguments by these declarations, names.py takes the types from them, postgres.py the SQL, and the
capabilities list them. Geometry is geometry.py's; CAST, COALESCE and IN_UNIT have a grammar of their own.
"""

from dataclasses import dataclass
from typing import NamedTuple

# What an argument may be, as the catalogue of UDFs writes it.
NUMERIC, TEXT, TIMESTAMP, ANY = "NUMERIC", "VARCHAR(*)", "TIMESTAMP", "ANY"
INTEGER, BIGINT, POINT, GEOMETRY, FRAME = "INTEGER", "BIGINT", "POINT", "GEOMETRY", "FRAME"


class Example(NamedTuple):
    """A value expression that is a call, and what it gives (None: not foreseeable)."""

    call: str
    gives: object


@dataclass(frozen=True, slots=True)
class Function:
    """A function and its translation.

    parameters: (name, type) pairs; the last `optional` may be left out. returns: an ADQL type, or "SAME" as the first
    argument, or "GEOMETRY", the type of the last. sql: a template over {0}, {1}, ... ; sql_short: the template when the
    optional arguments are left out. predicate: sql is a boolean, which the function gives as 1 or 0, so that
    `1 = f(...)` is a bare condition. unit, ucd: of what it returns.
    FRAME: a string literal that names a frame; one that is not ICRS becomes its rotation (frames.py).
    """

    name: str
    parameters: tuple[tuple[str, str], ...]
    returns: str
    sql: str
    description: str
    optional: int = 0
    sql_short: str = ""
    aggregate: bool = False
    predicate: bool = False
    unit: str | None = None
    ucd: str | None = None
    examples: tuple[Example, ...] = ()

    @property
    def form(self) -> str:
        """As TAPRegExt wants it: name(arg TYPE, ...) -> TYPE (TAPRegExt 1.0 §2.3)."""
        arguments = ", ".join(f"{name} {TEXT if kind == FRAME else kind}" for name, kind in self.parameters)
        return f"{self.name}({arguments}) -> {self.returns}"

    @property
    def fewest(self) -> int:
        return len(self.parameters) - self.optional

    def takes(self) -> str:
        """ "1 argument", "1 or 2 arguments": for messages."""
        most = len(self.parameters)
        counts = str(most) if not self.optional else f"{self.fewest} or {most}"
        return f"{counts} argument{'' if counts == '1' else 's'}"

    def template(self, count: int) -> str:
        return self.sql_short if self.sql_short and count < len(self.parameters) else self.sql


def _real(name: str, sql: str, description: str, *parameters: str) -> Function:
    pairs = tuple((parameter, NUMERIC) for parameter in parameters or ("x",))
    return Function(name, pairs, "DOUBLE PRECISION", sql, description)


# ADQL 2.1 §2.3 (ADQL-07). PostgreSQL rounds and takes remainders of numeric only, hence the casts there and back.
MATHEMATICS = (
    Function("ABS", (("x", NUMERIC),), "SAME", "abs({0})", "absolute value"),
    _real("CEILING", "ceiling({0}::double precision)", "smallest whole number not below x"),
    Function("DEGREES", (("x", NUMERIC),), "DOUBLE PRECISION", "degrees({0}::double precision)", "radians to degrees",
             unit="deg"),
    _real("EXP", "exp({0}::double precision)", "e to the power of x"),
    _real("FLOOR", "floor({0}::double precision)", "largest whole number not above x"),
    _real("LOG", "ln({0}::double precision)", "natural logarithm"),
    _real("LOG10", "log({0}::double precision)", "decimal logarithm"),
    Function("MOD", (("x", NUMERIC), ("y", NUMERIC)), "SAME", "mod({0}, {1})", "remainder of x / y, signed as x"),
    Function("PI", (), "DOUBLE PRECISION", "pi()", "the number pi"),
    _real("POWER", "power({0}::double precision, {1}::double precision)", "x to the power of y", "x", "y"),
    Function("RADIANS", (("x", NUMERIC),), "DOUBLE PRECISION", "radians({0}::double precision)", "degrees to radians",
             unit="rad"),
    _real("SQRT", "sqrt({0}::double precision)", "square root"),
    # ADQL 2.1 §2.3: the argument has undefined semantics; it is taken and has no effect.
    Function("RAND", (("seed", NUMERIC),), "DOUBLE PRECISION", "random()", "random, 0 <= value < 1", optional=1),
    Function("ROUND", (("x", NUMERIC), ("n", INTEGER)), "DOUBLE PRECISION",
             "round({0}::numeric, ({1})::integer)::double precision", "x to n decimal places", optional=1,
             sql_short="round({0}::numeric)::double precision"),
    Function("TRUNCATE", (("x", NUMERIC), ("n", INTEGER)), "DOUBLE PRECISION",
             "trunc({0}::numeric, ({1})::integer)::double precision", "x cut to n decimal places", optional=1,
             sql_short="trunc({0}::numeric)::double precision"),
    _real("ACOS", "acos({0}::double precision)", "arc cosine, radians"),
    _real("ASIN", "asin({0}::double precision)", "arc sine, radians"),
    _real("ATAN", "atan({0}::double precision)", "arc tangent, radians"),
    _real("ATAN2", "atan2({0}::double precision, {1}::double precision)", "arc tangent of y / x, radians", "y", "x"),
    _real("COS", "cos({0}::double precision)", "cosine of radians"),
    _real("COT", "cot({0}::double precision)", "cotangent of radians"),
    _real("SIN", "sin({0}::double precision)", "sine of radians"),
    _real("TAN", "tan({0}::double precision)", "tangent of radians"),
)  # fmt: skip

STRINGS = (
    Function("LOWER", (("text", TEXT),), "VARCHAR(*)", "lower({0})", "in lower case"),
    Function("UPPER", (("text", TEXT),), "VARCHAR(*)", "upper({0})", "in upper case"),
)

AGGREGATES = (
    Function("COUNT", (("x", ANY),), "BIGINT", "count({0})", "number of values", aggregate=True, ucd="meta.number"),
    Function("AVG", (("x", NUMERIC),), "DOUBLE PRECISION", "avg({0})::double precision", "mean", aggregate=True),
    Function("SUM", (("x", NUMERIC),), "SAME", "sum({0})", "sum", aggregate=True),
    Function("MIN", (("x", ANY),), "SAME", "min({0})", "least value", aggregate=True),
    Function("MAX", (("x", ANY),), "SAME", "max({0})", "greatest value", aggregate=True),
)

ADQL_FUNCTIONS = {function.name: function for function in (*MATHEMATICS, *STRINGS, *AGGREGATES)}

# TAPRegExt feature types after "ivo://ivoa.net/std/tapregext#" (ADQL 2.1 §4.1) of what has a grammar of its own.
GRAMMAR_FEATURES = (
    ("features-adql-string", "LOWER", "strings in lower case"),
    ("features-adql-string", "UPPER", "strings in upper case"),
    ("features-adql-string", "ILIKE", "LIKE without regard to case"),
    ("features-adql-common-table", "WITH", "common table expressions at the top of a query, not recursive"),
    ("features-adql-sets", "UNION", "set union, with ALL to keep duplicates"),
    ("features-adql-sets", "EXCEPT", "set difference, with ALL to keep duplicates"),
    ("features-adql-sets", "INTERSECT", "set intersection, with ALL to keep duplicates"),
    ("features-adql-type", "CAST", "conversion between types"),
    ("features-adql-conditional", "COALESCE", "the first argument that is not NULL"),
    ("features-adql-unit", "IN_UNIT", "conversion of a column to another unit"),
    ("features-adql-offset", "OFFSET", "leaving out the first rows"),
)
