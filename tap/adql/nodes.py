"""The tree of an ADQL query, as written: what the parser makes, what names.py understands and postgres.py translates.

Nodes are frozen, know their place in the query, and compare by identity, so that what is learned about a node can be
kept in a dictionary beside the tree. Chains of operators of one precedence are one flat node: `1+1+1+...` of any
length is never a deep tree.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal, NamedTuple


class Place(NamedTuple):
    """Line and column in the query's text, counted from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """Anything that stands somewhere in a query."""

    at: Place


@dataclass(frozen=True, slots=True, eq=False)
class Identifier(Node):
    """A name; delimited ("...") names are case-sensitive (ADQL-01)."""

    name: str
    delimited: bool = False

    def matches(self, other: "Identifier | str") -> bool:
        """Whether both name the same thing: exactly if both are delimited, in any case otherwise."""
        if isinstance(other, Identifier) and self.delimited and other.delimited:
            return self.name == other.name
        if self.delimited and isinstance(other, str):
            return self.name == other
        return self.name.lower() == (other if isinstance(other, str) else other.name).lower()


# ---- values


@dataclass(frozen=True, slots=True, eq=False)
class Number(Node):
    """An unsigned numeric literal."""

    value: int | float


@dataclass(frozen=True, slots=True, eq=False)
class Text(Node):
    """A string literal; adjacent literals are joined, '' is one quote (ADQL-02)."""

    value: str


@dataclass(frozen=True, slots=True, eq=False)
class Null(Node):
    """NULL (ADQL-08)."""


@dataclass(frozen=True, slots=True, eq=False)
class ColumnRef(Node):
    """column, table.column, schema.table.column or catalogue.schema.table.column."""

    parts: tuple[Identifier, ...]

    @property
    def name(self) -> Identifier:
        return self.parts[-1]


@dataclass(frozen=True, slots=True, eq=False)
class Call(Node):
    """A function: ADQL's own in upper case, a user-defined one in lower case.

    star: COUNT(*). distinct: COUNT(DISTINCT x). coosys: the deprecated first argument of geometry (ADQL-20).
    """

    function: str
    arguments: "tuple[Expression, ...]"
    distinct: bool = False
    star: bool = False
    coosys: Text | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Cast(Node):
    """CAST(operand AS target[(length)]); target in upper case (ADQL-33)."""

    operand: "Expression"
    target: str
    length: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Chain(Node):
    """first op value op value ..., operators of one precedence, left to right: + -, or * / %, or ||."""

    first: "Expression"
    rest: "tuple[tuple[str, Expression], ...]"

    @property
    def operands(self) -> "tuple[Expression, ...]":
        return (self.first, *(operand for _, operand in self.rest))


@dataclass(frozen=True, slots=True, eq=False)
class Sign(Node):
    """+value or -value."""

    operator: str
    operand: "Expression"


@dataclass(frozen=True, slots=True, eq=False)
class Subquery(Node):
    """A query in parentheses where a value stands."""

    query: "QueryBody"


# ---- conditions


@dataclass(frozen=True, slots=True, eq=False)
class Comparison(Node):
    """operator: = <> < <= > >= ; != is written <>."""

    operator: str
    left: "Expression"
    right: "Expression"


@dataclass(frozen=True, slots=True, eq=False)
class Between(Node):
    operand: "Expression"
    low: "Expression"
    high: "Expression"
    negated: bool


@dataclass(frozen=True, slots=True, eq=False)
class InList(Node):
    operand: "Expression"
    items: "tuple[Expression, ...]"
    negated: bool


@dataclass(frozen=True, slots=True, eq=False)
class InQuery(Node):
    operand: "Expression"
    query: "QueryBody"
    negated: bool


@dataclass(frozen=True, slots=True, eq=False)
class Like(Node):
    """LIKE, or ILIKE if any_case; ADQL has no escape character."""

    operand: "Expression"
    pattern: "Expression"
    any_case: bool
    negated: bool


@dataclass(frozen=True, slots=True, eq=False)
class IsNull(Node):
    operand: "Expression"
    negated: bool


@dataclass(frozen=True, slots=True, eq=False)
class Exists(Node):
    query: "QueryBody"


@dataclass(frozen=True, slots=True, eq=False)
class Not(Node):
    operand: "Expression"


@dataclass(frozen=True, slots=True, eq=False)
class Logical(Node):
    """operands joined by AND, or by OR."""

    operator: Literal["AND", "OR"]
    operands: "tuple[Expression, ...]"


Condition = Comparison | Between | InList | InQuery | Like | IsNull | Exists | Not | Logical
Value = Number | Text | Null | ColumnRef | Call | Cast | Chain | Sign | Subquery
Expression = Value | Condition

# ---- tables


@dataclass(frozen=True, slots=True, eq=False)
class TableName(Node):
    """A table of the schema, a table of TAP_UPLOAD, or a name that WITH gave."""

    parts: tuple[Identifier, ...]
    alias: Identifier | None


@dataclass(frozen=True, slots=True, eq=False)
class DerivedTable(Node):
    query: "QueryBody"
    alias: Identifier


@dataclass(frozen=True, slots=True, eq=False)
class JoinStep(Node):
    """One more table; exactly one of natural, on, using is given (ADQL-05)."""

    kind: Literal["INNER", "LEFT", "RIGHT", "FULL"]
    table: "TableExpression"
    natural: bool
    on: Expression | None
    using: tuple[Identifier, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Join(Node):
    first: "TableExpression"
    steps: tuple[JoinStep, ...]


TableExpression = TableName | DerivedTable | Join

# ---- queries


@dataclass(frozen=True, slots=True, eq=False)
class AllColumns(Node):
    """* or qualifier.*"""

    qualifier: tuple[Identifier, ...]


@dataclass(frozen=True, slots=True, eq=False)
class SelectItem(Node):
    expression: Expression
    alias: Identifier | None


@dataclass(frozen=True, slots=True, eq=False)
class OrderKey(Node):
    """A position, a name of the result, or an expression over the tables."""

    expression: Expression
    descending: bool


@dataclass(frozen=True, slots=True, eq=False)
class Select(Node):
    distinct: bool
    top: int | None
    items: tuple[AllColumns | SelectItem, ...]
    tables: tuple[TableExpression, ...]
    where: Expression | None
    group_by: tuple[Expression, ...]
    having: Expression | None
    order_by: tuple[OrderKey, ...] = ()
    offset: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SetStep(Node):
    operator: Literal["UNION", "EXCEPT", "INTERSECT"]
    every: bool  # ALL: keep duplicates
    operand: "QueryBody"


@dataclass(frozen=True, slots=True, eq=False)
class SetOperation(Node):
    """Operands left to right; an INTERSECT that binds tighter is an operand of its own (ADQL-32).

    With no steps it is a query in parentheses that was given an ORDER BY or OFFSET of its own from outside.
    """

    first: "QueryBody"
    steps: tuple[SetStep, ...]
    order_by: tuple[OrderKey, ...] = ()
    offset: int | None = None


QueryBody = Select | SetOperation


@dataclass(frozen=True, slots=True, eq=False)
class CommonTable(Node):
    """name [(columns)] AS (query), from WITH (ADQL-31)."""

    name: Identifier
    columns: tuple[Identifier, ...]
    query: QueryBody


@dataclass(frozen=True, slots=True, eq=False)
class Query(Node):
    """A whole query. text: as the user wrote it, for the caret in messages."""

    text: str
    common_tables: tuple[CommonTable, ...]
    body: QueryBody


def every_node(node: Node) -> Iterator[Node]:
    """The node and all below it."""
    yield node
    for each in fields(node):
        value = getattr(node, each.name)
        for below in value if isinstance(value, tuple) else (value,):
            if isinstance(below, Node):
                yield from every_node(below)
