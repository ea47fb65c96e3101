"""ADQL's functions and this service's user-defined ones: each declared once, with its SQL.

The parser counts arguments by these declarations, names.py takes the types from them, postgres.py the SQL, and the
capabilities list them. Geometry is geometry.py's; CAST, COALESCE and IN_UNIT have a grammar of their own.
"""

from dataclasses import dataclass

# What an argument may be, as the catalogue of UDFs writes it.
NUMERIC, TEXT, TIMESTAMP, ANY = "NUMERIC", "VARCHAR(*)", "TIMESTAMP", "ANY"
INTEGER = "INTEGER"


@dataclass(frozen=True, slots=True)
class Function:
    """A function and its translation.

    parameters: (name, type) pairs; the last `optional` may be left out. returns: an ADQL type, or "SAME" as the first
    argument. sql: a template over {0}, {1}, ... ; sql_short: the template when the optional arguments are left out.
    predicate: sql is a boolean, which the function gives as 1 or 0, so that `1 = f(...)` is a bare condition.
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

    @property
    def form(self) -> str:
        """As TAPRegExt wants it: name(arg TYPE, ...) -> TYPE (TAPRegExt 1.0 §2.3)."""
        arguments = ", ".join(f"{name} {kind}" for name, kind in self.parameters)
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
    _real("DEGREES", "degrees({0}::double precision)", "radians to degrees"),
    _real("EXP", "exp({0}::double precision)", "e to the power of x"),
    _real("FLOOR", "floor({0}::double precision)", "largest whole number not above x"),
    _real("LOG", "ln({0}::double precision)", "natural logarithm"),
    _real("LOG10", "log({0}::double precision)", "decimal logarithm"),
    Function("MOD", (("x", NUMERIC), ("y", NUMERIC)), "SAME", "mod({0}, {1})", "remainder of x / y, signed as x"),
    Function("PI", (), "DOUBLE PRECISION", "pi()", "the number pi"),
    _real("POWER", "power({0}::double precision, {1}::double precision)", "x to the power of y", "x", "y"),
    _real("RADIANS", "radians({0}::double precision)", "degrees to radians"),
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
    Function("COUNT", (("x", ANY),), "BIGINT", "count({0})", "number of values", aggregate=True),
    Function("AVG", (("x", NUMERIC),), "DOUBLE PRECISION", "avg({0})::double precision", "mean", aggregate=True),
    Function("SUM", (("x", NUMERIC),), "SAME", "sum({0})", "sum", aggregate=True),
    Function("MIN", (("x", ANY),), "SAME", "min({0})", "least value", aggregate=True),
    Function("MAX", (("x", ANY),), "SAME", "max({0})", "greatest value", aggregate=True),
)

# Catalogue of ADQL User Defined Functions 1.2; names, arguments and meanings are the catalogue's (UDF-01).
USER_DEFINED = (
    Function("ivo_hasword", (("haystack", TEXT), ("needle", TEXT)), INTEGER,
             "to_tsvector('simple', {0}) @@ plainto_tsquery('simple', {1})",
             "1 if all words of needle occur as words in haystack, without regard to case, else 0.", predicate=True),
    Function("ivo_hashlist_has", (("list", TEXT), ("item", TEXT)), INTEGER,
             "lower({1}) = ANY(string_to_array(lower({0}), '#'))",
             "1 if item is one of the words in the #-separated list, without regard to case, else 0.",
             predicate=True),
    Function("ivo_nocasematch", (("value", TEXT), ("pattern", TEXT)), INTEGER,
             "{0} ILIKE replace({1}, '\\', '\\\\')",
             "1 if value matches the LIKE pattern without regard to case, else 0.", predicate=True),
    Function("ivo_interval_overlaps", (("a1", NUMERIC), ("b1", NUMERIC), ("a2", NUMERIC), ("b2", NUMERIC)), INTEGER,
             "({0} <= {3} AND {2} <= {1})",
             "1 if the interval [a1, b1] shares at least a point with [a2, b2], else 0.", predicate=True),
    Function("ivo_to_jd", (("d", TIMESTAMP),), "DOUBLE PRECISION",
             "(extract(epoch FROM {0}) / 86400 + 2440587.5)::double precision",
             "The Julian date of a timestamp, in the time scale of the timestamp."),
    Function("ivo_to_mjd", (("d", TIMESTAMP),), "DOUBLE PRECISION",
             "(extract(epoch FROM {0}) / 86400 + 40587)::double precision",
             "The modified Julian date (JD - 2400000.5) of a timestamp, in the time scale of the timestamp."),
    Function("ivo_string_agg", (("expr", TEXT), ("delim", TEXT)), "VARCHAR(*)", "string_agg({0}, {1})",
             "All values of a group that are not NULL, with delim between them.", aggregate=True),
    Function("ivo_normal_random", (("mu", NUMERIC), ("sigma", NUMERIC)), "DOUBLE PRECISION",
             # Box and Muller; 1 - random() is never 0, of which there is no logarithm.
             "({0} + {1} * sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random()))",
             "A random number of the normal distribution with mean mu and standard deviation sigma."),
    Function("ivo_hms_to_degrees", (("hms", TEXT),), "DOUBLE PRECISION",
             "(15 * (split_part({0}, ':', 1)::double precision + split_part({0}, ':', 2)::double precision / 60"
             " + split_part({0}, ':', 3)::double precision / 3600))",
             "Degrees of an angle written hours:minutes:seconds."),
    Function("ivo_dms_to_degrees", (("dms", TEXT),), "DOUBLE PRECISION",
             # The sign is of the whole angle: -00:30:00 has it on a zero.
             "((CASE WHEN ltrim({0}) LIKE '-%%' THEN -1 ELSE 1 END)"
             " * (abs(split_part({0}, ':', 1)::double precision) + split_part({0}, ':', 2)::double precision / 60"
             " + split_part({0}, ':', 3)::double precision / 3600))",
             "Degrees of an angle written degrees:minutes:seconds, with an optional sign."),
)  # fmt: skip

ADQL_FUNCTIONS = {function.name: function for function in (*MATHEMATICS, *STRINGS, *AGGREGATES)}
UDFS = {function.name: function for function in USER_DEFINED}

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
