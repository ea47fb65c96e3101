"""Values and conditions in PostgreSQL's SQL. Everything a user wrote as a literal is a bound parameter, typed, and the
same literal is the same parameter, so that PostgreSQL sees `GROUP BY x / 10` and `SELECT x / 10` as one expression.

Queries around the expressions are postgres.py's, shapes are shapes.py's.
"""

from abc import abstractmethod
from collections.abc import Callable

from archive.sphere.sphere import PointSql, Sphere
from archive.vo.errors import QueryError
from archive.vo.regions import Region
from tap.adql import geometry
from tap.adql.functions import ADQL_FUNCTIONS, FRAME, Function
from tap.adql.meanings import Bound, CheckedQuery, whole_type
from tap.adql.nodes import (
    Between,
    Call,
    Cast,
    Chain,
    ColumnRef,
    Comparison,
    Exists,
    Expression,
    InList,
    InQuery,
    IsNull,
    Like,
    Logical,
    Node,
    Not,
    Null,
    Number,
    QueryBody,
    Sign,
    Subquery,
    Text,
)
from tap.adql.scopes import Field, Merged, Output, Visible
from tap.adql.shapes import ShapeWriter
from tap.adql.types import SHAPES, Kind
from tap.adql.user_functions import user_defined

SQL_TYPES = {"int": "integer", "long": "bigint", "double": "double precision"}
MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "=", "<>": "<>"}
OPPOSITE = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "=": "<>", "<>": "="}
HOLDS: dict[str, Callable[[float, float], bool]] = {
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def quoted(name: str) -> str:
    """A name as PostgreSQL reads it exactly; % is psycopg's sign for a parameter and is doubled."""
    return '"' + name.replace('"', '""').replace("%", "%%") + '"'


class ExpressionWriter(ShapeWriter):
    """Writes expressions of one checked query, and collects their parameters."""

    def __init__(
        self, checked: CheckedQuery, sphere: Sphere, region_as_text: Callable[[str], str], max_sql: int
    ) -> None:
        self.checked = checked
        self.sphere = sphere
        self.region_as_text = region_as_text
        self.parameters: dict[str, object] = {}
        self.gone_through: set[str] = set()  # relations whose every row is to be taken: their indexes are not asked
        self._max_sql = max_sql
        self._known: dict[tuple[str, type, object], str] = {}
        self._written: dict[Node, str] = {}

    @abstractmethod
    def body(self, body: QueryBody) -> str:
        """SQL of a subquery, without parentheses."""

    def kind(self, node: Expression) -> Kind:
        meaning = self.checked.meanings.get(node)
        return meaning.kind if meaning else Kind.ANY

    def parameter(self, value: object, sql_type: str, as_list: bool = False) -> str:
        key = (sql_type, type(value), value)
        name = self._known.get(key)
        if name is None:
            name = self._known[key] = f"p{len(self._known) + 1}"
            self.parameters[name] = list(value) if as_list and isinstance(value, tuple) else value
        return f"%({name})s::{sql_type}"

    def is_sought(self, ra: Expression) -> bool:
        column = self.checked.columns.get(ra) if isinstance(ra, ColumnRef) else None
        return not (isinstance(column, Field) and column.relation in self.gone_through)

    def form(self, node: Call) -> str:
        return self.checked.forms[node]

    def constant_shape_of(self, node: Node) -> Region | None:
        return self.checked.shapes.get(node)

    def constant_moc_of(self, node: Node) -> str | None:
        return self.checked.mocs.get(node)

    def bearable(self, sql: str) -> str:
        """The SQL, unless it has grown too long: geometry names its arguments several times, and so nested doubles."""
        if len(sql) > self._max_sql:
            raise QueryError(f"the query becomes more than {self._max_sql} characters of SQL; nest less, or in WITH")
        return sql

    # ---- values

    def value(self, node: Expression) -> str:
        sql = self._written.get(node)
        if sql is None:
            sql = self._written[node] = self.bearable(self._value(node))
        return sql

    def _value(self, node: Expression) -> str:
        if isinstance(node, ColumnRef):
            return self.column(self.checked.columns[node])
        if isinstance(node, Number):
            return self._number(node, 1)
        if isinstance(node, Text):
            bound = self.checked.bound.get(node)
            return self.parameter(bound.value, bound.sql_type) if bound else self.parameter(node.value, "text")
        if isinstance(node, Call):
            return self._call(node)
        if isinstance(node, Chain):
            return self._chain(node)
        if isinstance(node, Sign):
            if isinstance(node.operand, Number):
                return self._number(node.operand, -1 if node.operator == "-" else 1)
            return f"({node.operator} {self._operand(node.operand)})"
        if isinstance(node, Cast):
            return self._cast(node)
        if isinstance(node, Subquery):
            return f"({self.body(node.query)})"
        return "NULL"

    def column(self, column: Visible | Output) -> str:
        """SQL of what a column reference means."""
        if isinstance(column, Field):
            return f"{column.relation}.{quoted(column.sql_name)}"
        if isinstance(column, Merged):
            return f"COALESCE({self.column(column.left)}, {self.column(column.right)})"
        value = column.value
        assert value is not None
        return self.column(value) if isinstance(value, Visible) else self.value(value)

    def _number(self, node: Number, sign: int) -> str:
        bound = self.checked.bound.get(node)
        if bound is not None:
            value = bound.value
            if isinstance(value, int | float) and not isinstance(value, bool):
                value = sign * value
            return self.parameter(value, bound.sql_type)
        value = sign * node.value
        datatype = "double" if isinstance(value, float) else whole_type(abs(value))
        return self.parameter(value, SQL_TYPES[datatype])

    def text(self, node: Expression) -> str:
        """SQL of a value as text: timestamps in ISO 8601, shapes as their numbers, regions as STC-S."""
        sql, kind = self.value(node), self.kind(node)
        if kind is Kind.TEXT:
            return sql
        if kind is Kind.TIMESTAMP:
            return f"""to_char({sql}, 'YYYY-MM-DD"T"HH24:MI:SS.US')"""
        if kind is Kind.REGION:
            return self.region_as_text(sql)
        if kind in SHAPES:
            return f"array_to_string({sql}, ' ')"
        return f"({sql})::text"

    def _chain(self, node: Chain) -> str:
        operator = node.rest[0][0]
        if operator == "||":
            return "(" + " || ".join(self.text(operand) for operand in node.operands) + ")"
        if all(sign != "%" for sign, _ in node.rest):
            return f"({self._operand(node.first)} " + " ".join(f"{op} {self._operand(x)}" for op, x in node.rest) + ")"
        whole = all(self.checked.meanings[operand].whole for operand in node.operands)
        sql = self._operand(node.first)
        for sign, operand in node.rest:
            right = self._operand(operand)
            sql = remainder(sql, right, whole) if sign == "%" else f"({sql} {sign} {right})"
        return sql

    def _operand(self, node: Expression) -> str:
        """SQL of an operand of arithmetic; of NULL + NULL PostgreSQL must be told that it is a number."""
        sql = self.value(node)
        return f"({sql})::double precision" if self.kind(node) is Kind.NULL else sql

    def _cast(self, node: Cast) -> str:
        shape = self.checked.shapes.get(node)
        if shape is not None:
            return self.shape_value(self.shape(node))
        if node.target in ("CHAR", "VARCHAR"):
            # CHAR is not padded: no table here is, and a padded value equals none of theirs.
            return f"{self.text(node.operand)}::varchar({node.length})" if node.length else self.text(node.operand)
        return f"({self.value(node.operand)})::{node.target.lower()}"

    # ---- functions

    def _call(self, node: Call) -> str:
        test = self.test(node)
        if test is not None:
            return f"({test})::integer"
        if node.function in geometry.GEOMETRY:
            return self._measure(node)
        if node.function == "COALESCE":
            return "COALESCE(" + ", ".join(self.value(argument) for argument in node.arguments) + ")"
        if node.function == "IN_UNIT":
            factor = self.parameter(self.checked.factors[node], "double precision")
            return f"({self.value(node.arguments[0])} * {factor})"
        if node.star:
            return "count(*)"
        function = declared(node)
        values = self._arguments(node, function)
        if function.name == "MOD":
            whole = all(self.checked.meanings[argument].whole for argument in node.arguments)
            return remainder(values[0], values[1], whole)
        if node.distinct:
            values[0] = f"DISTINCT {values[0]}"
        sql = function.template(len(values)).format(*values)
        if function.name == "SUM" and self.checked.meanings[node].whole:
            return f"{sql}::bigint"
        return sql

    def _arguments(self, node: Call, function: Function) -> list[str]:
        values = []
        for argument, (_, kind) in zip(node.arguments, function.parameters, strict=False):
            if kind == FRAME:
                values.append(self.parameter(self.checked.rotations[node], "double precision[]", as_list=True))
            elif isinstance(argument, Null):
                # PostgreSQL has several functions of a name and must be told which NULL this is.
                values.append(NULLS[kind])
            else:
                values.append(self.text(argument) if kind == "VARCHAR(*)" else self.value(argument))
        return values

    def _measure(self, node: Call) -> str:
        """Geometry that is no test: numbers, text, and shapes as arrays."""
        positions = self.separation(node)
        if positions is not None:
            return f"({self.sphere.distance(*positions)})"
        argument = node.arguments[0]
        if node.function == "AREA":
            return f"({self.sphere.area(self.extent(argument))})"
        if node.function == "MOC":
            return f"sphere.moc_text({self.moc(node).cells})"
        if node.function == "COORD1":
            return f"({self.point(argument).ra})"
        if node.function == "COORD2":
            return f"({self.point(argument).dec})"
        if node.function == "COORDSYS":
            # NULL for a NULL shape; else the only frame there is.
            return f"(CASE WHEN {self.value(argument)} IS NOT NULL THEN 'ICRS' END)"
        return self.shape_value(self.shape(node))

    def test(self, node: Expression) -> str | None:
        """The bare boolean behind a function that gives 1 or 0, or None if this is no such function."""
        if not isinstance(node, Call):
            return None
        function = user_defined(node.function, len(node.arguments))
        if function is not None and function.predicate:
            return function.template(len(node.arguments)).format(*self._arguments(node, function))
        return self.geometry_test(node)

    # ---- conditions

    def condition(self, node: Expression) -> str:
        """SQL of a condition, in parentheses where it could be misread."""
        return self.bearable(self._condition(node))

    def _condition(self, node: Expression) -> str:
        if isinstance(node, Logical):
            return "(" + f" {node.operator} ".join(self.condition(operand) for operand in node.operands) + ")"
        if isinstance(node, Not):
            return self._negated(node.operand)
        if isinstance(node, Comparison):
            return self._comparison(node, node.operator)
        negation = "NOT " if isinstance(node, Between | InList | InQuery | Like | IsNull) and node.negated else ""
        if isinstance(node, Between):
            return f"({negation}{self._between(node)})"
        if isinstance(node, InList):
            return self._membership(node)
        if isinstance(node, InQuery):
            return f"({self.value(node.operand)} {negation}IN ({self.body(node.query)}))"
        if isinstance(node, Like):
            operator = "ILIKE" if node.any_case else "LIKE"
            return f"({self.text(node.operand)} {negation}{operator} {self._pattern(node.pattern)})"
        if isinstance(node, IsNull):
            return f"({self.value(node.operand)} IS {negation}NULL)"
        assert isinstance(node, Exists)
        return f"EXISTS ({self.body(node.query)})"

    def _negated(self, node: Expression) -> str:
        """NOT: of a comparison the opposite one, in which an index may be found again."""
        if isinstance(node, Comparison):
            return self._comparison(node, OPPOSITE[node.operator])
        if isinstance(node, Not):
            return self.condition(node.operand)
        return f"(NOT {self.condition(node)})"

    def _membership(self, node: InList) -> str:
        """IN; a long list of literals is one array, since a statement takes 65,535 parameters and no more."""
        operand = self.value(node.operand)
        literals = [self._literal(item) for item in node.items] if len(node.items) > LONG_LIST else [None]
        types = {literal.sql_type for literal in literals if literal}
        if None not in literals and len(types) == 1:
            values = tuple(literal.value for literal in literals if literal)
            array = self.parameter(values, f"{types.pop()}[]", as_list=True)
            return f"({operand} {'<> ALL' if node.negated else '= ANY'} ({array}))"
        items = ", ".join(self._beside(item, node.operand) for item in node.items)
        return f"({operand} {'NOT ' if node.negated else ''}IN ({items}))"

    def _literal(self, node: Expression) -> Bound | None:
        """What a literal would be bound as; None if it is none."""
        bound = self.checked.bound.get(node)
        if bound is not None:
            return bound
        if isinstance(node, Text):
            return Bound(node.value, "text")
        if isinstance(node, Number):
            return Bound(node.value, "bigint" if isinstance(node.value, int) else "double precision")
        return None

    def _pattern(self, node: Expression) -> str:
        """ADQL's patterns have no escape character, PostgreSQL's have the backslash: double it."""
        if isinstance(node, Text):
            return self.parameter(node.value.replace("\\", "\\\\"), "text")
        return rf"replace({self.text(node)}, '\', '\\')"

    def _beside(self, node: Expression, partner: Expression) -> str:
        """SQL of a value compared with another: text is read as a timestamp, a region shown as text, where one must."""
        kind, other = self.kind(node), self.kind(partner)
        if kind is Kind.TEXT and other is Kind.TIMESTAMP:
            return f"({self.value(node)})::timestamp"
        if kind is Kind.REGION and other is Kind.TEXT:
            return self.text(node)
        return self.value(node)

    def _comparison(self, node: Comparison, operator: str) -> str:
        ways = ((operator, node.left, node.right), (MIRRORED[operator], node.right, node.left))
        for way, left, right in ways:
            special = self._test_compared(way, left, right) or self._distance_below(way, left, right)
            if special:
                return special
        left_sql, right_sql = self._beside(node.left, node.right), self._beside(node.right, node.left)
        return f"({left_sql} {operator} {right_sql})"

    def _test_compared(self, operator: str, left: Expression, right: Expression) -> str | None:
        """1 = CONTAINS(...), in all its forms, is a bare condition, which an index can serve (ADQL-23)."""
        if not isinstance(right, Number):
            return None
        test = self.test(left)
        if test is None:
            return None
        holds = HOLDS[operator]
        if_true, if_false = holds(1, right.value), holds(0, right.value)
        if if_true == if_false:
            # Always or never so, but unknown where the test is.
            return f"(({test}) IS NOT NULL AND {'TRUE' if if_true else 'FALSE'})"
        return f"({test})" if if_true else f"(NOT ({test}))"

    def _distance_below(self, operator: str, left: Expression, right: Expression) -> str | None:
        """DISTANCE(...) < radius, scaled or not, as the Sphere's within, which an index can serve (ADQL-24)."""
        found = self.scaled_distance(left) if operator in ("<", "<=") else None
        if found is None:
            return None
        first, second, factor = found
        limit = self.value(right)
        if factor == 1:
            within = self.sphere.within(first, second, limit)
            if operator == "<=":
                return f"({within})"
            return f"({within} AND {self.sphere.distance(first, second)} < {limit})"
        # The index narrows with a radius a little too large, so that rounding loses no row; the comparison decides.
        scale = self.parameter((1 + 1e-12) / factor, "double precision")
        within = self.sphere.within(first, second, f"({limit} * {scale})")
        return f"({within} AND {self.value(left)} {operator} {limit})"

    def scaled_distance(self, node: Expression) -> tuple[PointSql, PointSql, float] | None:
        """(p, q, factor) if the value is DISTANCE(p, q) times a positive constant."""
        factor = 1.0
        if isinstance(node, Call) and node.function == "IN_UNIT":
            factor, node = self.checked.factors[node], node.arguments[0]
        if isinstance(node, Chain):
            distance: Expression | None = None
            for operator, operand in (("*", node.first), *node.rest):
                if isinstance(operand, Number) and operator in "*/" and operand.value > 0:
                    factor = factor * operand.value if operator == "*" else factor / operand.value
                elif distance is None and operator == "*":
                    distance = operand
                else:
                    return None
            if distance is None:
                return None
            node = distance
        positions = self.separation(node)
        return (*positions, factor) if positions else None

    def _between(self, node: Between) -> str:
        low, high = self._beside(node.low, node.operand), self._beside(node.high, node.operand)
        found = self.scaled_distance(node.operand)
        if found is not None and found[2] == 1 and not node.negated:
            first, second, _ = found
            return f"{self.sphere.within(first, second, high)} AND {self.sphere.distance(first, second)} >= {low}"
        return f"{self._beside(node.operand, node.low)} BETWEEN {low} AND {high}"


LONG_LIST = 16
NULLS = {
    "NUMERIC": "NULL::double precision",
    "INTEGER": "NULL::integer",
    "TIMESTAMP": "NULL::timestamp",
    "VARCHAR(*)": "NULL::text",
    "BIGINT": "NULL::bigint",
    "POINT": "NULL::double precision[]",
    "GEOMETRY": "NULL::double precision[]",
    "ANY": "NULL::text",
}


def declared(node: Call) -> Function:
    """The declaration of a function that names.py found."""
    function = ADQL_FUNCTIONS.get(node.function) or user_defined(node.function, len(node.arguments))
    assert function is not None
    return function


def remainder(left: str, right: str, whole: bool) -> str:
    """PostgreSQL takes remainders of whole numbers and of numeric, not of floating point."""
    if whole:
        return f"mod({left}, {right})"
    return f"mod(({left})::numeric, ({right})::numeric)::double precision"
