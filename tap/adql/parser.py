"""Reading queries: SELECT, FROM, joins, set operations, WITH (ADQL 2.1 Annex A). Values are parser_expressions.py's.

Recursive descent by hand: every error knows what it expected and where, and time is linear in the query's length.
"""

from dataclasses import replace
from typing import Literal, cast

from tap.adql.mistakes import within_the_stack
from tap.adql.nodes import (
    AllColumns,
    CommonTable,
    DerivedTable,
    Expression,
    Identifier,
    Join,
    JoinStep,
    OrderKey,
    Query,
    QueryBody,
    Select,
    SelectItem,
    SetOperation,
    SetStep,
    TableExpression,
    TableName,
)
from tap.adql.parser_expressions import ExpressionReader

JOIN_WORDS = ("JOIN", "INNER", "LEFT", "RIGHT", "FULL", "NATURAL")
AFTER_TABLES = ("WHERE", "GROUP BY", "HAVING", "ORDER BY", "OFFSET", "the end of the query")


def parse(text: str, max_length: int = 1_000_000, max_depth: int = 64) -> Query:
    """The tree of an ADQL query; any table, column and function name goes.

    max_length: characters; max_depth: levels of nesting. Raises QueryError with line, column and what was expected.
    """
    with within_the_stack():
        return QueryReader(text, max_length, max_depth).query()


class QueryReader(ExpressionReader):
    """Reads one query from its first token to its last."""

    def query(self) -> Query:
        start = self.token.place
        if self.at_end:
            raise self.unexpected("SELECT")
        common_tables = self._common_tables() if self.accept("WITH") else ()
        body = self.query_body()
        self.accept(";")
        if not self.at_end:
            raise self.unexpected(*self._could_follow(body))
        return Query(start, self.text, common_tables, body)

    @staticmethod
    def _could_follow(body: QueryBody) -> tuple[str, ...]:
        if body.offset is not None:
            return ("the end of the query",)
        if body.order_by:
            return (",", "OFFSET", "the end of the query")
        if isinstance(body, SetOperation) or body.having:
            return ("ORDER BY", "OFFSET", "the end of the query")
        if body.group_by:
            return (",", "HAVING", "ORDER BY", "OFFSET", "the end of the query")
        if body.where:
            return ("AND", "OR", *AFTER_TABLES[1:])
        return (",", "JOIN", *AFTER_TABLES)

    def _common_tables(self) -> tuple[CommonTable, ...]:
        tables: list[CommonTable] = []
        while True:
            name = self.identifier("a name for the table that WITH makes")
            columns = self._names_in_parentheses() if self.token.word == "(" else ()
            self.expect("AS")
            opening = self.expect("(")
            tables.append(CommonTable(name.at, name, columns, self.subquery(opening.place)))
            if not self.accept(","):
                return tuple(tables)

    def _names_in_parentheses(self) -> tuple[Identifier, ...]:
        self.expect("(", hint="column names stand in parentheses")
        names = [self.identifier("a column name")]
        while self.accept(","):
            names.append(self.identifier("a column name"))
        self.expect(")", ",")
        return tuple(names)

    # ---- set operations

    def query_body(self, first: QueryBody | None = None) -> QueryBody:
        """UNION and EXCEPT, left to right; then the ORDER BY and OFFSET of the whole.

        first: the first operand, if it was read already (in parentheses, before it was known what they hold).
        """
        if self.token.word == "WITH":
            raise self.mistake(self.token.place, "WITH stands at the very beginning of a query only", ("SELECT",))
        body = self._intersection(first)
        steps = []
        while operator := self.accept("UNION", "EXCEPT"):
            every = self._keeps_duplicates()
            kind: Literal["UNION", "EXCEPT"] = "UNION" if operator.word == "UNION" else "EXCEPT"
            steps.append(SetStep(operator.place, kind, every, self._intersection()))
        if steps:
            body = SetOperation(body.at, body, tuple(steps))
        if self.token.word not in ("ORDER", "OFFSET"):
            return body
        order_by = self._order_by()
        offset = self.whole_number("OFFSET") if self.accept("OFFSET") else None
        if isinstance(body, Select):
            return replace(body, order_by=order_by, offset=offset)
        if body.order_by or body.offset is not None:
            return SetOperation(body.at, body, (), order_by, offset)
        return replace(body, order_by=order_by, offset=offset)

    def _intersection(self, first: QueryBody | None = None) -> QueryBody:
        """INTERSECT binds tighter than UNION and EXCEPT."""
        body = first or self._set_operand()
        steps = []
        while operator := self.accept("INTERSECT"):
            every = self._keeps_duplicates()
            steps.append(SetStep(operator.place, "INTERSECT", every, self._set_operand()))
        return SetOperation(body.at, body, tuple(steps)) if steps else body

    def _keeps_duplicates(self) -> bool:
        quantifier = self.accept("ALL", "DISTINCT")  # DISTINCT is SQL's word for the default, and no harm
        return quantifier is not None and quantifier.word == "ALL"

    def _set_operand(self) -> QueryBody:
        if opening := self.accept("("):
            with self.deeper(opening.place):
                body = self.query_body()
            self.expect(")")
            return self.closed(body)
        return self._select()

    @staticmethod
    def closed(body: QueryBody) -> QueryBody:
        """A query in parentheses: what is outside them does not reach its TOP, ORDER BY and OFFSET."""
        own = isinstance(body, Select) and (body.top is not None or body.order_by or body.offset is not None)
        return SetOperation(body.at, body, ()) if own else body

    # ---- SELECT

    def _select(self) -> Select:
        start = self.expect("SELECT").place
        quantifier = self.accept("DISTINCT", "ALL")
        top = self.whole_number("TOP") if self.accept("TOP") else None
        items = [self._select_item()]
        while self.accept(","):
            items.append(self._select_item())
        self.expect("FROM", ",")
        tables = [self._table()]
        while self.accept(","):
            tables.append(self._table())
        where = self.condition() if self.accept("WHERE") else None
        group_by: list[Expression] = []
        if self.accept("GROUP"):
            self.expect("BY")
            group_by.append(self.value())
            while self.accept(","):
                group_by.append(self.value())
        having = self.condition() if self.accept("HAVING") else None
        distinct = quantifier is not None and quantifier.word == "DISTINCT"
        return Select(start, distinct, top, tuple(items), tuple(tables), where, tuple(group_by), having)

    def _select_item(self) -> AllColumns | SelectItem:
        place = self.token.place
        if self.accept("*"):
            return AllColumns(place, ())
        if self.at_name and self.ahead().word == ".":
            parts = self._qualifier()
            if parts:
                return AllColumns(place, parts)
        expression = self.value()
        if self.accept("AS"):
            return SelectItem(place, expression, self.identifier("a column name"))
        return SelectItem(place, expression, self.identifier("a column name") if self.at_name else None)

    def _qualifier(self) -> tuple[Identifier, ...]:
        """The names before .* ; nothing is read if it is no such thing."""
        steps = 0
        while self.ahead(steps).kind in ("name", "delimited") and self.ahead(steps + 1).word == ".":
            steps += 2
            if self.ahead(steps).word == "*":
                parts = self.dotted("a table name", most=3)
                self.expect(".")
                self.expect("*")
                return parts
        return ()

    def _order_by(self) -> tuple[OrderKey, ...]:
        if not self.accept("ORDER"):
            return ()
        self.expect("BY")
        keys = [self._order_key()]
        while self.accept(","):
            keys.append(self._order_key())
        return tuple(keys)

    def _order_key(self) -> OrderKey:
        place = self.token.place
        expression = self.value()
        direction = self.accept("ASC", "DESC")
        return OrderKey(place, expression, direction is not None and direction.word == "DESC")

    # ---- FROM

    def _table(self) -> TableExpression:
        """A table with the joins behind it."""
        first = self._table_primary()
        if isinstance(first, QueryBody):
            raise self.unexpected("AS and a name", hint="a subquery in FROM needs a name: (SELECT ...) AS t")
        return self._joins(first)

    def _joins(self, first: TableExpression) -> TableExpression:
        steps = []
        while self.token.word in JOIN_WORDS:
            steps.append(self._join_step())
        return Join(first.at, first, tuple(steps)) if steps else first

    def _join_step(self) -> JoinStep:
        place = self.token.place
        natural = self.accept("NATURAL") is not None
        word = self.accept("INNER", "LEFT", "RIGHT", "FULL")
        if word and word.word != "INNER":
            self.accept("OUTER")
        self.expect("JOIN")
        kind = cast("Literal['INNER', 'LEFT', 'RIGHT', 'FULL']", word.word if word else "INNER")
        right = self._table_primary()
        if isinstance(right, QueryBody):
            raise self.unexpected("AS and a name", hint="a subquery in FROM needs a name: (SELECT ...) AS t")
        if not natural and self.token.word in JOIN_WORDS:
            # a JOIN b JOIN c ON ... ON ...: the inner condition comes first.
            with self.deeper(place):
                right = Join(right.at, right, (self._join_step(),))
        if natural:
            if self.token.word in ("ON", "USING"):
                raise self.unexpected(*AFTER_TABLES, hint="NATURAL JOIN compares the columns of the same name already")
            return JoinStep(place, kind, right, True, None, ())
        if self.accept("ON"):
            return JoinStep(place, kind, right, False, self.condition(), ())
        if self.accept("USING"):
            return JoinStep(place, kind, right, False, None, self._names_in_parentheses())
        raise self.unexpected(
            "ON", "USING", hint="a join needs a condition; without one, write NATURAL JOIN or a comma"
        )

    def _table_primary(self) -> TableExpression | QueryBody:
        """A table, a named subquery, joins in parentheses; or a query in parentheses that nothing names."""
        opening = self.accept("(")
        if opening is None:
            place = self.token.place
            if self.token.word in ("SELECT", "WITH"):
                raise self.unexpected("a table name", hint="a subquery stands in parentheses")
            return TableName(place, self.dotted("a table name", most=3), self._alias())
        inside: TableExpression | QueryBody
        if self.token.word in ("SELECT", "WITH"):
            inside = self.closed(self.subquery(opening.place))
            return self._named_query(inside)
        with self.deeper(opening.place):
            inside = self._table_primary()
            # ((SELECT ...) UNION ...) AS t, or a join.
            inside = self.query_body(inside) if isinstance(inside, QueryBody) else self._joins(inside)
        self.expect(")", "JOIN")
        if isinstance(inside, QueryBody):
            return self._named_query(inside)
        if not isinstance(inside, Join):
            raise self.unexpected("JOIN", hint="parentheses in FROM hold a join or a subquery")
        return inside

    def _named_query(self, query: QueryBody) -> TableExpression | QueryBody:
        alias = self._alias()
        return DerivedTable(query.at, query, alias) if alias else query

    def _alias(self) -> Identifier | None:
        if self.accept("AS"):
            return self.identifier("a table name")
        return self.identifier("a table name") if self.at_name else None
