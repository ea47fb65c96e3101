"""Reading values and conditions: precedence climbing over one table of operators (ADQL 2.1 Annex A).

ADQL keeps conditions and values apart: `WHERE a` and `(a = b) + 1` are no ADQL. Both are read by the same climb, since
a parenthesis may open either, and told apart afterwards.
"""

from abc import ABC, abstractmethod
from typing import Literal, cast

from tap.adql import geometry
from tap.adql.cursor import Cursor
from tap.adql.functions import ADQL_FUNCTIONS, AGGREGATES, Function
from tap.adql.mistakes import did_you_mean
from tap.adql.nodes import (
    Between,
    Call,
    Cast,
    Chain,
    ColumnRef,
    Comparison,
    Condition,
    Exists,
    Expression,
    InList,
    InQuery,
    IsNull,
    Like,
    Logical,
    Not,
    Null,
    Number,
    Place,
    QueryBody,
    Sign,
    Subquery,
    Text,
)
from tap.adql.words import RESERVED

OR, AND, NOT, PREDICATE, CONCATENATION, SUM, PRODUCT, FACTOR = range(1, 9)
LEVELS = {
    "OR": OR, "AND": AND,
    "=": PREDICATE, "<>": PREDICATE, "<": PREDICATE, "<=": PREDICATE, ">": PREDICATE, ">=": PREDICATE,
    "BETWEEN": PREDICATE, "IN": PREDICATE, "LIKE": PREDICATE, "ILIKE": PREDICATE, "IS": PREDICATE, "NOT": PREDICATE,
    "||": CONCATENATION, "+": SUM, "-": SUM, "*": PRODUCT, "/": PRODUCT,
    "%": PRODUCT,  # no operator of ADQL, but its own §4.5 uses it
}  # fmt: skip
QUERY_WORDS = ("SELECT", "WITH")
AFTER_OPERAND = ("UNION", "EXCEPT", "INTERSECT", "ORDER", "OFFSET")
NEGATABLE = ("BETWEEN", "IN", "LIKE", "ILIKE")

# ADQL 2.1 §4.7.1 (ADQL-33), and what people write for the same.
CAST_TARGETS = {
    "SMALLINT": "SMALLINT", "INTEGER": "INTEGER", "INT": "INTEGER", "BIGINT": "BIGINT", "REAL": "REAL",
    "FLOAT": "DOUBLE PRECISION", "DOUBLE": "DOUBLE PRECISION", "CHAR": "CHAR", "CHARACTER": "CHAR",
    "VARCHAR": "VARCHAR", "TEXT": "VARCHAR", "TIMESTAMP": "TIMESTAMP",
    "POINT": "POINT", "CIRCLE": "CIRCLE", "POLYGON": "POLYGON",
}  # fmt: skip

Nature = Literal["number", "text", "geometry", "condition", "unknown"]
SAID: dict[Nature, str] = {
    "number": "a number",
    "text": "text",
    "geometry": "a shape",
    "condition": "a condition",
    "unknown": "this",
}


def nature(node: Expression) -> Nature:
    """What the grammar alone can tell of an expression; a column may be anything."""
    if isinstance(node, Condition):
        return "condition"
    if isinstance(node, Number | Sign):
        return "number"
    if isinstance(node, Text):
        return "text"
    if isinstance(node, Chain):
        return "text" if node.rest[0][0] == "||" else "number"
    if isinstance(node, Cast):
        if node.target in ("POINT", "CIRCLE", "POLYGON"):
            return "geometry"
        return "text" if node.target in ("CHAR", "VARCHAR") else "unknown" if node.target == "TIMESTAMP" else "number"
    if isinstance(node, Call):
        return _nature_of_call(node)
    return "unknown"


def _nature_of_call(node: Call) -> Nature:
    if node.function in geometry.GEOMETRY:
        returns = geometry.GEOMETRY[node.function].returns
        return "geometry" if returns in ("POINT", "CIRCLE", "POLYGON", "REGION", "MOC") else (
            "text" if returns == "VARCHAR" else "number"
        )  # fmt: skip
    if node.function in ("LOWER", "UPPER"):
        return "text"
    if node.function in ("MIN", "MAX", "COALESCE") or node.function not in ADQL_FUNCTIONS:
        return "unknown"
    return "number"


class ExpressionReader(Cursor, ABC):
    """Reads expressions; where a subquery stands, asks `query_body`, which the reader of queries provides."""

    @abstractmethod
    def query_body(self, first: QueryBody | None = None) -> QueryBody:
        """The query that starts here, or continues after its first operand."""

    def value(self, minimum: int = CONCATENATION) -> Expression:
        """A value expression."""
        return self._as_value(self.expression(minimum))

    def condition(self) -> Expression:
        """A search condition, as WHERE, HAVING and ON take."""
        return self._as_condition(self.expression())

    def expression(self, minimum: int = OR) -> Expression:
        """Everything from here whose operators bind at least as tightly as minimum."""
        left = self._operand()
        while True:
            level = LEVELS.get(self.token.word)
            if level is None or level < minimum:
                return left
            if level == PREDICATE:
                left = self._predicate(self._as_value(left))
            elif level <= AND:
                left = self._logical(left, level)
            else:
                left = self._chain(left, level)

    def _as_value(self, node: Expression) -> Expression:
        if isinstance(node, Condition):
            raise self.mistake(node.at, "expected a value, found a condition", ("a value",))
        return node

    def _as_condition(self, node: Expression) -> Expression:
        if isinstance(node, Condition):
            return node
        hint = ""
        if isinstance(node, Call) and node.function in ("CONTAINS", "INTERSECTS"):
            hint = f"; {node.function} gives 1 or 0: write 1 = {node.function}(...)"
        elif self.token.word in RESERVED or self.token.kind in ("name", "delimited", "number", "string"):
            raise self.unexpected("a comparison (=, <, BETWEEN, IN, LIKE, IS NULL)")
        raise self.mistake(node.at, f"expected a condition, found a value{hint}", ("a condition",))

    def _logical(self, first: Expression, level: int) -> Expression:
        operator: Literal["AND", "OR"] = "AND" if level == AND else "OR"
        operands = [self._as_condition(first)]
        while self.accept(operator):
            operands.append(self._as_condition(self.expression(level + 1)))
        return Logical(first.at, operator, tuple(operands))

    def _chain(self, first: Expression, level: int) -> Expression:
        wanted = "text" if level == CONCATENATION else "numbers"
        rest: list[tuple[str, Expression]] = []
        operands = [first]
        while LEVELS.get(self.token.word) == level:
            operator = self.advance().word
            operands.append(self.expression(level + 1))
            rest.append((operator, operands[-1]))
        for operand in operands:
            kind = nature(self._as_value(operand))
            if kind == "geometry" or (kind == "text" and level != CONCATENATION):
                raise self.mistake(operand.at, f"{rest[0][0]} takes {wanted}, not {SAID[kind]}")
        return Chain(first.at, first, tuple(rest))

    def _predicate(self, left: Expression) -> Expression:
        place = self.token.place
        if self.token.word == "NOT" and self.ahead().word not in NEGATABLE:
            self.advance()
            raise self.unexpected(*NEGATABLE)
        negated = self.accept("NOT") is not None
        operator = self.advance().word
        if operator == "BETWEEN":
            low = self.value()
            self.expect("AND")
            return Between(place, left, low, self.value(), negated)
        if operator == "IN":
            return self._membership(place, left, negated)
        if operator in ("LIKE", "ILIKE"):
            return Like(place, left, self.value(), operator == "ILIKE", negated)
        if operator == "IS":
            negated = self.accept("NOT") is not None
            self.expect("NULL")
            return IsNull(place, left, negated)
        return Comparison(place, operator, left, self.value())

    def _membership(self, place: Place, left: Expression, negated: bool) -> Expression:
        opening = self.expect("(", hint="IN takes a list or a subquery in parentheses")
        if self.token.word in QUERY_WORDS:
            return InQuery(place, left, self.subquery(opening.place), negated)
        with self.deeper(opening.place):
            items = [self._rest_of_query(self.value())]
            while self.accept(","):
                items.append(self.value())
        self.expect(")", ",")
        if len(items) == 1 and isinstance(items[0], Subquery):
            return InQuery(place, left, items[0].query, negated)
        return InList(place, left, tuple(items), negated)

    # ---- operands

    def _operand(self) -> Expression:
        """What an operator stands before or after."""
        token = self.token
        if token.kind == "number":
            self.advance()
            return Number(token.place, cast("int | float", token.value))
        if token.kind == "string":
            return self._text()
        if token.word == "(":
            return self._parenthesis()
        if token.word in ("+", "-"):
            return self._signed()
        if token.kind == "delimited":
            return ColumnRef(token.place, self.dotted("a column name"))
        if token.kind == "name":
            return self._named()
        raise self.unexpected("a value", "a column name")

    def _text(self) -> Text:
        """A string; those that follow it directly are joined to it. SQL-92 wants a newline between, users do not."""
        first = self.advance()
        pieces = [str(first.value)]
        while self.token.kind == "string":
            pieces.append(str(self.advance().value))
        return Text(first.place, "".join(pieces))

    def _signed(self) -> Expression:
        sign = self.advance()
        if self.token.word in ("+", "-"):
            raise self.unexpected("a value", hint="one sign is enough, or use parentheses")
        operand = self._as_value(self._operand())
        if nature(operand) in ("text", "geometry"):
            raise self.mistake(operand.at, f"{sign.word} takes a number, not {SAID[nature(operand)]}")
        return Sign(sign.place, sign.word, operand)

    def _parenthesis(self) -> Expression:
        opening = self.advance()
        if self.token.word in QUERY_WORDS:
            return Subquery(opening.place, self.subquery(opening.place))
        with self.deeper(opening.place):
            inside = self._rest_of_query(self.expression())
        self.expect(")", "an operator")
        return inside

    def _rest_of_query(self, inside: Expression) -> Expression:
        """((SELECT ...) UNION ...): what began as a value in parentheses turns out to be a query's first operand."""
        if isinstance(inside, Subquery) and self.token.word in AFTER_OPERAND:
            return Subquery(inside.at, self.query_body(inside.query))
        return inside

    def subquery(self, place: Place) -> QueryBody:
        """The query after an opening parenthesis, and its closing one."""
        with self.deeper(place, cost=3):
            body = self.query_body()
        self.expect(")")
        return body

    def _named(self) -> Expression:
        """A column, a function, or a word that begins an expression."""
        token = self.token
        word = token.word
        called = self.ahead().word == "("
        if word == "NOT":
            self.advance()
            with self.deeper(token.place):
                return Not(token.place, self._as_condition(self.expression(PREDICATE)))
        if word == "NULL":
            self.advance()
            return Null(token.place)
        if word == "EXISTS":
            self.advance()
            opening = self.expect("(", hint="EXISTS takes a subquery in parentheses")
            return Exists(token.place, self.subquery(opening.place))
        if word == "TIMESTAMP" and self.ahead().kind == "string":
            self.advance()
            return Cast(token.place, self._text(), "TIMESTAMP", None)
        if called:
            with self.deeper(token.place):
                return self._call()
        if word in RESERVED and (
            word in ADQL_FUNCTIONS or word in geometry.GEOMETRY or word in ("CAST", "COALESCE", "IN_UNIT")
        ):
            hint = f'{token.text} is a function, {token.text}(...); as a name it must be quoted: "{token.text}"'
            raise self.unexpected("a value", "a column name", hint=hint)
        return ColumnRef(token.place, self.dotted("a column name"))

    # ---- functions

    def _call(self) -> Expression:
        name = self.advance()
        opening = self.advance()
        word = name.word
        if word == "CAST":
            return self._cast(name.place)
        if word in geometry.GEOMETRY:
            return self._geometry_call(name.place, geometry.GEOMETRY[word])
        if word in ("COALESCE", "IN_UNIT"):
            return self._special(name.place, word)
        function = ADQL_FUNCTIONS.get(word)
        if function is None and word in RESERVED:
            hint = INSTEAD_OF_CALL.get(word) or did_you_mean(word, ADQL_FUNCTIONS).removeprefix("; ")
            raise self.mistake(name.place, f"ADQL has no function {word}" + (f"; {hint}" if hint else ""))
        if function is not None and function in AGGREGATES:
            return self._aggregate(name.place, function)
        arguments = self._arguments()
        if function is None:
            return Call(name.place, name.text.lower(), arguments)
        self._check_arguments(opening.place, function, arguments)
        return Call(name.place, word, arguments)

    def _arguments(self) -> tuple[Expression, ...]:
        arguments: list[Expression] = []
        if self.token.word != ")":
            arguments.append(self.value())
            while self.accept(","):
                arguments.append(self.value())
        self.expect(")", ",")
        return tuple(arguments)

    def _check_arguments(self, place: Place, function: Function, arguments: tuple[Expression, ...]) -> None:
        if not function.fewest <= len(arguments) <= len(function.parameters):
            raise self.mistake(place, f"{function.name} takes {function.takes()}, not {len(arguments)}")
        for argument, (_, kind) in zip(arguments, function.parameters, strict=False):
            found = nature(argument)
            if kind == "ANY" or found == "unknown" or found == ("text" if kind.startswith("VARCHAR") else "number"):
                continue
            wanted = "text" if kind.startswith("VARCHAR") else "a number"
            raise self.mistake(argument.at, f"{function.name} takes {wanted} here, not {SAID[found]}")

    def _aggregate(self, place: Place, function: Function) -> Expression:
        if function.name == "COUNT" and self.accept("*"):
            self.expect(")")
            return Call(place, "COUNT", (), star=True)
        distinct = self.accept("DISTINCT", "ALL")
        arguments = self._arguments()
        self._check_arguments(place, function, arguments)
        return Call(place, function.name, arguments, distinct is not None and distinct.word == "DISTINCT")

    def _special(self, place: Place, word: str) -> Expression:
        """COALESCE (ADQL-34) and IN_UNIT (ADQL-35)."""
        arguments = self._arguments()
        if word == "COALESCE" and not arguments:
            raise self.mistake(place, "COALESCE takes at least 1 argument")
        if word == "IN_UNIT":
            if len(arguments) != 2:
                raise self.mistake(place, f"IN_UNIT takes 2 arguments, a value and a unit, not {len(arguments)}")
            if not isinstance(arguments[1], Text):
                raise self.mistake(arguments[1].at, "IN_UNIT takes its unit as a string literal, as in 'arcsec'")
            if nature(arguments[0]) in ("text", "geometry"):
                raise self.mistake(arguments[0].at, "IN_UNIT takes a number first")
        return Call(place, word, arguments)

    def _cast(self, place: Place) -> Expression:
        operand = self.value()
        self.expect("AS")
        name = self.token
        target = CAST_TARGETS.get(name.word) if name.kind == "name" else None
        if target is None:
            hint = did_you_mean(name.text, CAST_TARGETS).removeprefix("; ") if name.kind == "name" else ""
            raise self.unexpected("a type that CAST knows (INTEGER, DOUBLE PRECISION, VARCHAR, ...)", hint=hint)
        self.advance()
        if name.word == "DOUBLE":
            self.expect("PRECISION")
        length = None
        if target in ("CHAR", "VARCHAR") and self.accept("("):
            length_at = self.token.place
            length = self.whole_number("the length")
            if not 1 <= length <= 10_485_760:
                raise self.mistake(length_at, f"{target} takes a length from 1 to 10485760")
            self.expect(")")
        self.expect(")")
        return Cast(place, operand, target, length)

    def _geometry_call(self, place: Place, function: geometry.GeometryFunction) -> Expression:
        arguments = self._arguments()
        coosys = None
        if function.coosys and arguments and isinstance(arguments[0], Text):
            coosys, arguments = arguments[0], arguments[1:]
        elif function.name == "POINT" and len(arguments) == 3 and isinstance(arguments[0], Null):
            arguments = arguments[1:]  # no coordinate system, as some clients write it
        possible = geometry.forms(function.name, len(arguments))
        fitting = [form for form in possible if all(map(_fits, form, arguments))]
        if fitting:
            return Call(place, function.name, arguments, coosys=coosys)
        if possible:
            form = possible[0]
            wrong = next(
                argument for argument, letter in zip(arguments, form, strict=True) if not _fits(letter, argument)
            )
            found = "a string" if isinstance(wrong, Text) else SAID[nature(wrong)]
            raise self.mistake(wrong.at, f"this argument of {function.name} cannot be {found}: {function.usage}")
        raise self.mistake(place, f"{function.name} does not take {len(arguments)} arguments: {function.usage}")


INSTEAD_OF_CALL = {
    "SUBSTRING": "LIKE may do",
    "CHAR_LENGTH": "LIKE may do",
    "POSITION": "LIKE may do",
    "NULLIF": "a condition in WHERE may do",
    "EXTRACT": "ivo_to_mjd(timestamp) gives the time as a number",
    "CURRENT_DATE": "write the date as a string",
}


def _fits(letter: str, argument: Expression) -> bool:
    """Whether the grammar lets the argument stand where a geometry function takes n, p, g or s."""
    if letter == geometry.STRING:
        return isinstance(argument, Text)
    found = nature(argument)
    if letter == geometry.NUMBER:
        return found in ("number", "unknown")
    if letter != geometry.SHAPE and isinstance(argument, Call) and argument.function in geometry.GEOMETRY:
        return geometry.GEOMETRY[argument.function].returns == {geometry.POINT: "POINT", geometry.MOC: "MOC"}[letter]
    return found in ("geometry", "unknown")
