"""What values and conditions mean: the kind, type, unit and UCD of every expression, and how its literals are bound.

ADQL lets PostgreSQL decide little: a comparison of text with a number, a shape where a number stands, an unknown
function are told here, with their place, before any SQL is made.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from archive.vo.columns import Column
from archive.vo.errors import QueryError, UsageError
from archive.vo.regions import Region
from tap.adql import geometry, types
from tap.adql.frames import rotation
from tap.adql.functions import (
    ADQL_FUNCTIONS,
    ANY,
    BIGINT,
    FRAME,
    GEOMETRY,
    INTEGER,
    NUMERIC,
    POINT,
    TIMESTAMP,
    Function,
)
from tap.adql.mistakes import did_you_mean, mistake, shortened
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
    JoinStep,
    Like,
    Logical,
    Node,
    Not,
    Null,
    Number,
    Place,
    Query,
    QueryBody,
    Sign,
    Subquery,
    Text,
)
from tap.adql.scopes import Output, PublishedTable, Relation, Scope, Visible
from tap.adql.shapes import cells_from_moc, kind_of, region_from_dali, region_from_stcs
from tap.adql.types import SHAPES, Kind, Meaning, shared, widest
from tap.adql.units import conversion_factor
from tap.adql.user_functions import NAMES, user_defined


@dataclass(frozen=True, slots=True)
class Bound:
    """A literal as it goes to PostgreSQL: a parameter's value and its type there."""

    value: object
    sql_type: str


@dataclass(slots=True)
class CheckedQuery:
    """A tree and what was learned about its nodes; keys are nodes of the tree.

    columns_out: of the result, in order, with names all different. bound: literals that their surroundings give
    another type than they have alone. forms: how arguments of geometry read (geometry.py). positions: keys of ORDER BY
    and GROUP BY that mean a column of the result.
    """

    query: Query
    columns_out: tuple[Column, ...] = ()
    meanings: dict[Node, Meaning] = field(default_factory=dict)
    columns: dict[ColumnRef, Visible | Output] = field(default_factory=dict)
    relations: dict[Node, Relation] = field(default_factory=dict)
    outputs: dict[QueryBody, tuple[Output, ...]] = field(default_factory=dict)
    joins: dict[JoinStep, tuple[tuple[Visible, Visible], ...]] = field(default_factory=dict)
    bound: dict[Node, Bound] = field(default_factory=dict)
    positions: dict[Node, int] = field(default_factory=dict)
    shapes: dict[Node, Region] = field(default_factory=dict)
    forms: dict[Node, str] = field(default_factory=dict)
    factors: dict[Node, float] = field(default_factory=dict)
    mocs: dict[Node, str] = field(default_factory=dict)
    rotations: dict[Node, tuple[float, ...]] = field(default_factory=dict)

    def tables(self) -> tuple[PublishedTable, ...]:
        """What the query reads, uploads too, each once."""
        sources = (relation.source for relation in self.relations.values())
        return tuple({each.sql: each for each in sources if isinstance(each, PublishedTable)}.values())

    def most_rows(self, unknown: int) -> int:
        """How many combinations of rows of its tables the query can look at. unknown: rows of one not counted."""
        tables = [each.source.table for each in self.relations.values() if isinstance(each.source, PublishedTable)]
        return math.prod(unknown if table.rows is None else max(table.rows, 1) for table in tables)


class ExpressionChecker(ABC):
    """Tells the meaning of expressions, and remembers it."""

    def __init__(self, query: Query) -> None:
        self.query = query
        self.text = query.text
        self.checked = CheckedQuery(query)

    @abstractmethod
    def body(self, body: QueryBody, parent: Scope | None) -> tuple[Output, ...]:
        """Check a query inside a scope; the columns of its result."""

    def mistake(self, place: Place, message: str) -> QueryError:
        return mistake(self.text, place, message)

    # ---- values

    def value(self, node: Expression, scope: Scope) -> Meaning:
        """What a value is."""
        meaning = self._value(node, scope)
        self.checked.meanings[node] = meaning
        return meaning

    def _value(self, node: Expression, scope: Scope) -> Meaning:
        if isinstance(node, ColumnRef):
            found = scope.find(node)
            self.checked.columns[node] = found
            return found.meaning
        if isinstance(node, Number):
            return types.number("double" if isinstance(node.value, float) else whole_type(node.value))
        if isinstance(node, Text):
            return types.TEXT
        if isinstance(node, Call):
            return self._call(node, scope)
        if isinstance(node, Chain):
            return self._chain(node, scope)
        if isinstance(node, Sign):
            meaning = self._number(node.operand, scope, node.operator)
            if meaning.kind is Kind.NULL:
                return types.number("double")
            return Meaning(meaning.kind, bare(meaning.column))
        if isinstance(node, Cast):
            return self._cast(node, scope)
        if isinstance(node, Subquery):
            return self._one_column(node.at, node.query, scope)
        return types.NULL

    def _one_column(self, place: Place, query: QueryBody, scope: Scope) -> Meaning:
        outputs = self.body(query, scope)
        if len(outputs) != 1:
            raise self.mistake(place, f"a subquery here gives one column, not {len(outputs)}")
        return outputs[0].meaning

    def _number(self, node: Expression, scope: Scope, where: str) -> Meaning:
        """The value, which must be a number."""
        meaning = self.value(node, scope)
        if meaning.kind not in (Kind.NUMBER, Kind.NULL, Kind.ANY):
            hint = "; ivo_to_mjd(...) makes it a number" if meaning.kind is Kind.TIMESTAMP else ""
            raise self.mistake(node.at, f"{where} takes a number, not {meaning.kind.value}{hint}")
        return meaning

    def _text(self, node: Expression, scope: Scope, where: str) -> Meaning:
        meaning = self.value(node, scope)
        if meaning.kind not in (Kind.TEXT, Kind.NULL, Kind.ANY, Kind.REGION):
            hint = "CAST(... AS VARCHAR) makes it text"
            raise self.mistake(node.at, f"{where} takes text, not {meaning.kind.value}; {hint}")
        return meaning

    def _chain(self, node: Chain, scope: Scope) -> Meaning:
        operator = node.rest[0][0]
        if operator == "||":
            for operand in node.operands:
                if self.value(operand, scope).kind in SHAPES - {Kind.REGION}:
                    raise self.mistake(operand.at, "|| takes text, not a shape")
            return types.TEXT
        meanings = [self._number(operand, scope, operator) for operand in node.operands]
        total = widest(meanings)
        units = {meaning.column.unit for meaning in meanings}
        if operator in "+-" and len(units) == 1:
            return types.number(total.column.datatype, units.pop())
        return total

    def _cast(self, node: Cast, scope: Scope) -> Meaning:
        target = types.BY_NAME[node.target]
        operand = node.operand
        if target.kind in SHAPES:
            if not isinstance(operand, Text):
                raise self.mistake(operand.at, f"CAST to {node.target} takes a string literal in DALI form, '1 2 3'")
            self.checked.shapes[node] = self._shape(operand, region_from_dali, node.target)
            return target
        meaning = self.value(operand, scope)
        if meaning.kind in SHAPES and target.kind is not Kind.TEXT:
            raise self.mistake(operand.at, f"{meaning.kind.value} cannot become {node.target}")
        if target.kind is Kind.TIMESTAMP:
            if isinstance(operand, Text):
                self._bind_timestamp(operand)
            elif meaning.kind not in (Kind.TIMESTAMP, Kind.TEXT, Kind.NULL):
                raise self.mistake(operand.at, f"{meaning.kind.value} cannot become a TIMESTAMP")
        if target.kind is Kind.NUMBER and meaning.kind is Kind.TIMESTAMP:
            raise self.mistake(operand.at, "a timestamp is no number; use ivo_to_mjd(...) or ivo_to_jd(...)")
        if target.kind is Kind.NUMBER and isinstance(operand, Text):
            self._bind_number(operand)
        column = target.column
        if node.length and target.kind is Kind.TEXT:
            column = replace(column, arraysize=f"{node.length}*")
        if target.kind is meaning.kind:
            column = replace(column, unit=meaning.column.unit, ucd=meaning.column.ucd)
        return Meaning(target.kind, column)

    # ---- functions

    def _call(self, node: Call, scope: Scope) -> Meaning:
        if node.function in geometry.GEOMETRY:
            return self._geometry(node, geometry.GEOMETRY[node.function], scope)
        if node.function == "COALESCE":
            return self._coalesce(node, scope)
        if node.function == "IN_UNIT":
            return self._in_unit(node, scope)
        function = ADQL_FUNCTIONS.get(node.function) or user_defined(node.function, len(node.arguments))
        if function is None:
            known = [*ADQL_FUNCTIONS, *NAMES, *geometry.GEOMETRY]
            hint = did_you_mean(node.function, known)
            raise self.mistake(node.at, f"this service has no function {shortened(node.function)}{hint}")
        if not node.star and not function.fewest <= len(node.arguments) <= len(function.parameters):
            raise self.mistake(node.at, f"{function.name} takes {function.takes()}, not {len(node.arguments)}")
        meanings = self._arguments(node, function, scope)
        if FRAME in (kind for _, kind in function.parameters):
            self._frames(node)
        return self._returned(function, meanings)

    def _arguments(self, node: Call, function: Function, scope: Scope) -> list[Meaning]:
        meanings = []
        for argument, (_, kind) in zip(node.arguments, function.parameters, strict=False):
            if kind in (NUMERIC, INTEGER, BIGINT):
                meaning = self._number(argument, scope, function.name)
                if kind != NUMERIC and meaning.kind is Kind.NUMBER and not meaning.whole:
                    raise self.mistake(argument.at, f"{function.name} takes a whole number here")
            elif kind == TIMESTAMP:
                meaning = self.value(argument, scope)
                if isinstance(argument, Text):
                    self._bind_timestamp(argument)
                elif meaning.kind not in (Kind.TIMESTAMP, Kind.NULL):
                    raise self.mistake(argument.at, f"{function.name} takes a timestamp, not {meaning.kind.value}")
            elif kind == ANY:
                meaning = self.value(argument, scope)
                if meaning.is_geometry and function.name != "COUNT":
                    raise self.mistake(argument.at, f"{function.name} cannot compare shapes")
                if meaning.kind is Kind.BOOLEAN and function.name != "COUNT":
                    raise self.mistake(argument.at, f"{function.name} cannot order booleans; COUNT them")
            elif kind in (POINT, GEOMETRY):
                meaning = self.value(argument, scope)
                if not takes("p" if kind == POINT else "g", meaning):
                    wanted = "a POINT" if kind == POINT else "a shape"
                    raise self.mistake(argument.at, f"{function.name} takes {wanted} here, not {meaning.kind.value}")
            else:
                meaning = self._text(argument, scope, function.name)
            meanings.append(meaning)
        return meanings

    def _frames(self, node: Call) -> None:
        names = []
        for argument in node.arguments[:2]:
            if not isinstance(argument, Text):
                raise self.mistake(argument.at, f"{node.function} takes its frames as string literals, as 'GALACTIC'")
            names.append(argument.value)
        try:
            self.checked.rotations[node] = rotation(*names)
        except UsageError as problem:
            raise self.mistake(node.at, f"{node.function}: {problem}") from None

    def _returned(self, function: Function, meanings: Sequence[Meaning]) -> Meaning:
        if function.returns == GEOMETRY:
            return types.REGION if meanings[-1].kind is Kind.NULL else types.BY_NAME[meanings[-1].kind.name]
        if function.returns != "SAME":
            name = "VARCHAR" if function.returns.startswith("VARCHAR") else function.returns
            meaning = types.BY_NAME[name]
            if function.name in ("AVG", "ROUND", "TRUNCATE", "CEILING", "FLOOR"):
                return types.number("double", meanings[0].column.unit)
            return Meaning(
                meaning.kind, replace(meaning.column, unit=function.unit or meaning.column.unit, ucd=function.ucd)
            )
        first = meanings[0]
        if function.name in ("MIN", "MAX"):
            return Meaning(first.kind, bare(first.column, ucd=first.column.ucd))
        if function.name == "MOD":
            return types.number(widest(meanings).column.datatype, first.column.unit)
        if function.name == "SUM":
            datatype = "long" if first.whole else first.column.datatype if first.kind is Kind.NUMBER else "double"
            return types.number(datatype, first.column.unit)
        return Meaning(Kind.NUMBER, bare(first.column) if first.kind is Kind.NUMBER else Column("value", "double"))

    def _coalesce(self, node: Call, scope: Scope) -> Meaning:
        meanings = [self.value(argument, scope) for argument in node.arguments]
        if any(meaning.kind is Kind.TIMESTAMP for meaning in meanings):
            for position, argument in enumerate(node.arguments):
                if isinstance(argument, Text):
                    self._bind_timestamp(argument)
                    meanings[position] = types.TIMESTAMP
        together = shared(meanings)
        if together is None:
            first = next(meaning for meaning in meanings if meaning.kind is not Kind.NULL)
            wrong = next(
                argument
                for argument, meaning in zip(node.arguments, meanings, strict=True)
                if shared([first, meaning]) is None
            )
            kind = self.checked.meanings[wrong].kind.value
            raise self.mistake(wrong.at, f"COALESCE takes values of one type: {first.kind.value} first, then {kind}")
        return Meaning(together.kind, bare(together.column, ucd=together.column.ucd))

    def _in_unit(self, node: Call, scope: Scope) -> Meaning:
        operand, unit = node.arguments
        meaning = self._number(operand, scope, "IN_UNIT")
        assert isinstance(unit, Text)
        if not meaning.column.unit:
            raise self.mistake(operand.at, "IN_UNIT needs a value whose unit is known; this one has none")
        try:
            self.checked.factors[node] = conversion_factor(meaning.column.unit, unit.value)
        except UsageError as problem:
            raise self.mistake(unit.at, f"IN_UNIT: {problem}") from None
        return Meaning(Kind.NUMBER, Column("value", "double", unit=unit.value, ucd=meaning.column.ucd))

    # ---- geometry

    def _geometry(self, node: Call, function: geometry.GeometryFunction, scope: Scope) -> Meaning:
        if node.coosys is not None and not geometry.is_icrs(node.coosys.value):
            frame = shortened(node.coosys.value)
            raise self.mistake(node.coosys.at, f"this service computes in ICRS only, not in {frame!r}; leave it out")
        if function.name == "MOC" and len(node.arguments) == 1:
            literal = node.arguments[0]
            assert isinstance(literal, Text)
            try:
                self.checked.mocs[node] = cells_from_moc(literal.value)
            except UsageError as problem:
                raise self.mistake(literal.at, f"MOC: {problem}") from None
            return types.BY_NAME["MOC"]
        if function.name == "REGION":
            literal = node.arguments[0]
            assert isinstance(literal, Text)
            shape = self._shape(literal, region_from_stcs, "REGION")
            self.checked.shapes[node] = shape
            return types.BY_NAME[kind_of(shape)]
        meanings = [self.value(argument, scope) for argument in node.arguments]
        possible = geometry.forms(function.name, len(node.arguments))
        for form in possible:
            if all(takes(letter, meaning) for letter, meaning in zip(form, meanings, strict=True)):
                for letter, argument in zip(form, node.arguments, strict=True):
                    if letter == geometry.NUMBER:
                        self._bind_double(argument)
                self.checked.forms[node] = form
                unit = UNITS.get(function.name)
                return types.number("double", unit) if unit else types.BY_NAME[function.returns]
        wrong, kind = next(
            (argument, meaning.kind.value)
            for letter, argument, meaning in zip(possible[0], node.arguments, meanings, strict=True)
            if not takes(letter, meaning)
        )
        raise self.mistake(wrong.at, f"this argument of {function.name} cannot be {kind}: {function.usage}")

    def _shape(self, literal: Text, read: Callable[[str, str], Region], target: str) -> Region:
        try:
            return read(literal.value, target)
        except UsageError as problem:
            raise self.mistake(literal.at, f"{target}: {problem}") from None

    # ---- conditions

    def condition(self, node: Expression, scope: Scope) -> None:
        """Check a condition."""
        if isinstance(node, Logical):
            for operand in node.operands:
                self.condition(operand, scope)
        elif isinstance(node, Not):
            self.condition(node.operand, scope)
        elif isinstance(node, Comparison):
            self._compared(node.at, [node.left, node.right], scope, node.operator)
        elif isinstance(node, Between):
            self._compared(node.at, [node.operand, node.low, node.high], scope, "BETWEEN")
        elif isinstance(node, InList):
            self._compared(node.at, [node.operand, *node.items], scope, "IN")
        elif isinstance(node, InQuery):
            found = self._one_column(node.at, node.query, scope)
            self._comparable(node.operand, self.value(node.operand, scope), found, None)
        elif isinstance(node, Like):
            name = "ILIKE" if node.any_case else "LIKE"
            self._text(node.operand, scope, name)
            self._text(node.pattern, scope, name)
        elif isinstance(node, IsNull):
            self.value(node.operand, scope)
        elif isinstance(node, Exists):
            self.body(node.query, scope)

    def _compared(self, place: Place, values: Sequence[Expression], scope: Scope, operator: str) -> None:
        """Values compared with the first of them; literals take the type of the others."""
        meanings = [self.value(value, scope) for value in values]
        shape = next((m for m in meanings if m.kind in SHAPES - {Kind.REGION}), None)
        if shape is not None and operator not in ("=", "<>"):
            raise self.mistake(place, f"{operator} does not compare shapes; use DISTANCE, CONTAINS or INTERSECTS")
        # 'literal' < column: the literal follows the column wherever each stands.
        pairs = list(zip(values, meanings, strict=True))
        known = next((pair for pair in pairs if not isinstance(pair[0], Number | Text | Null | Sign)), pairs[0])
        for value, meaning in pairs:
            if value is not known[0]:
                self._comparable(value, meaning, known[1], known[0])

    def _comparable(self, value: Expression, meaning: Meaning, other: Meaning, partner: Expression | None) -> None:
        if isinstance(value, Text) and other.kind is Kind.TIMESTAMP:
            self._bind_timestamp(value)
        elif isinstance(value, Text | Number) and other.kind is Kind.BOOLEAN:
            self._bind_boolean(value)
        elif isinstance(value, Text) and other.kind is Kind.NUMBER:
            self._bind_number(value)
        elif isinstance(partner, Text) and meaning.kind is Kind.TIMESTAMP:
            self._bind_timestamp(partner)
        elif not fit({meaning.kind, other.kind}):
            hint = "; quote the number" if isinstance(value, Number) and other.kind is Kind.TEXT else ""
            hint = "; use ivo_to_mjd(...)" if {meaning.kind, other.kind} == {Kind.NUMBER, Kind.TIMESTAMP} else hint
            raise self.mistake(value.at, f"{other.kind.value} is compared with {meaning.kind.value}{hint}")
        elif other.whole:
            self._bind_whole(value)

    # ---- literals

    def _bind_timestamp(self, node: Text) -> None:
        """ISO 8601, as DALI 1.1 §3.3.3 has it; a zone is brought to UTC (ADQL-10)."""
        try:
            moment = datetime.fromisoformat(node.value.strip())
        except ValueError:
            message = f"{shortened(node.value)!r} is no timestamp; write '2026-01-31' or '2026-01-31T12:34:56.789'"
            raise self.mistake(node.at, message) from None
        if moment.tzinfo is not None:
            moment = moment.astimezone(UTC).replace(tzinfo=None)
        self.checked.bound[node] = Bound(moment, "timestamp")
        self.checked.meanings[node] = types.TIMESTAMP

    def _bind_boolean(self, node: Text | Number) -> None:
        words = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
        value = words.get(str(node.value).strip().lower())
        if value is None:
            raise self.mistake(node.at, "a boolean is compared with 'true', 'false', 1 or 0")
        self.checked.bound[node] = Bound(value, "boolean")

    def _bind_number(self, node: Text) -> None:
        try:
            value = float(node.value)
        except ValueError:
            value = math.inf
        if not math.isfinite(value):
            raise self.mistake(node.at, f"a number is compared with the text {shortened(node.value)!r}")
        self.checked.bound[node] = Bound(value, "double precision")

    def _bind_double(self, node: Expression) -> None:
        """Coordinates are double precision, so that they meet the indexes."""
        if isinstance(node, Sign):
            node = node.operand
        if isinstance(node, Number):
            self.checked.bound[node] = Bound(float(node.value), "double precision")

    def _bind_whole(self, node: Expression) -> None:
        """5.0 or 1E6 beside a whole number is bound as one: PostgreSQL's integer indexes serve no floating point."""
        number = node.operand if isinstance(node, Sign) else node
        if not isinstance(number, Number) or not isinstance(number.value, float):
            return
        if number.value.is_integer() and number.value < 2**53:
            self.checked.bound[number] = Bound(int(number.value), "bigint")


def fit(kinds: set[Kind]) -> bool:
    """Whether values of these two kinds may be compared; text is read as a timestamp, and a region shown as text."""
    if len(kinds) == 1 or kinds & {Kind.NULL, Kind.ANY}:
        return True
    return kinds <= SHAPES or kinds in ({Kind.TEXT, Kind.TIMESTAMP}, {Kind.TEXT, Kind.REGION})


UNITS = {"DISTANCE": "deg", "COORD1": "deg", "COORD2": "deg", "AREA": "deg**2"}


def bare(column: Column, ucd: str | None = None) -> Column:
    """The type and unit of a column, without what belongs to the column alone."""
    return Column("value", column.datatype, column.arraysize, column.xtype, column.unit, ucd)


def whole_type(value: int) -> str:
    return "int" if value < 2**31 else "long"


def takes(letter: str, meaning: Meaning) -> bool:
    """Whether a geometry function takes a value of this meaning as n, p or g."""
    if meaning.kind is Kind.NULL:
        return True
    if letter == geometry.NUMBER:
        return meaning.kind is Kind.NUMBER
    if letter in (geometry.POINT, geometry.MOC):
        return meaning.kind is (Kind.POINT if letter == geometry.POINT else Kind.MOC)
    return meaning.is_geometry
