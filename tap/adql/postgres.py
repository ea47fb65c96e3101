"""A checked query as PostgreSQL's SQL: SELECT, FROM, joins, set operations, limits. Geometry by the Sphere it is given.

No text of the user's enters the SQL but whole numbers of TOP, OFFSET and positions, as the lexer read them; names of
columns of results are quoted. Expressions are postgres_expressions.py's.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from archive.sphere.sphere import Sphere
from archive.sphere.values import stcs_of
from archive.vo.columns import Column
from archive.vo.errors import QueryError
from tap.adql.meanings import CheckedQuery
from tap.adql.mistakes import within_the_stack
from tap.adql.nodes import (
    Call,
    ColumnRef,
    CommonTable,
    DerivedTable,
    Expression,
    Join,
    JoinStep,
    Logical,
    OrderKey,
    QueryBody,
    Select,
    SetOperation,
    TableExpression,
    TableName,
    every_node,
)
from tap.adql.postgres_expressions import ExpressionWriter, quoted
from tap.adql.scopes import Field, Output, PublishedTable, Relation, Visible
from tap.adql.types import Kind


@dataclass(frozen=True, slots=True)
class SqlQuery:
    """sql: one SELECT with psycopg's %(name)s placeholders; columns: what comes out, in order."""

    sql: str
    parameters: dict[str, object]
    columns: tuple[Column, ...]


def translate(
    checked: CheckedQuery,
    sphere: Sphere,
    maxrec: int | None = None,
    region_as_text: Callable[[str], str] = stcs_of,
    most_parameters: int = 65_535,
    max_sql: int = 8_000_000,
) -> SqlQuery:
    """The query as one SQL statement.

    maxrec: rows to give at most; one more is asked for, so that the reader sees whether there were more. None: all.
    region_as_text: SQL text of a double precision[] region to SQL of its STC-S, for columns of xtype adql:REGION.
    most_parameters: different literals that are taken; PostgreSQL's protocol counts them in 16 bits.
    max_sql: characters of SQL that a query may become.
    """
    writer = QueryWriter(checked, sphere, region_as_text, max_sql)
    limit = None if maxrec is None else maxrec + 1
    with within_the_stack():
        sql = writer.query(limit)
    if len(writer.parameters) > most_parameters:
        message = f"the query has {len(writer.parameters)} different literals; at most {most_parameters} can be sent"
        raise QueryError(f"{message}: upload them as a table and join it")
    return SqlQuery(sql, writer.parameters, checked.columns_out)


class QueryWriter(ExpressionWriter):
    """Writes the queries of one checked query."""

    def query(self, limit: int | None) -> str:
        tables = self.checked.query.common_tables
        self._common = {table: f"w{number}" for number, table in enumerate(tables, start=1)}
        written = [f"{self._common[table]} AS ({self.body(table.query)})" for table in tables]
        with_tables = f"WITH {', '.join(written)} " if written else ""
        return with_tables + self._body(self.checked.query.body, limit, final=True)

    def body(self, body: QueryBody) -> str:
        return self._body(body, None, final=False)

    def _body(self, body: QueryBody, limit: int | None, final: bool) -> str:
        """final: what comes out goes to the user, so that regions become text."""
        if isinstance(body, Select):
            return self._select(body, limit, final)
        return self._set_operation(body, limit, final)

    def _select(self, select: Select, limit: int | None, final: bool) -> str:
        self.gone_through |= self._smaller_of_two(select)
        outputs = self.checked.outputs[select]
        columns = ", ".join(f"{self._shown(output, final)} AS {quoted(output.sql_name)}" for output in outputs)
        tables = ", ".join(self._table(table) for table in select.tables)
        parts = ["SELECT DISTINCT" if select.distinct else "SELECT", columns, "FROM", tables]
        if select.where:
            parts.append(f"WHERE {self.condition(select.where)}")
        if select.group_by:
            parts.append("GROUP BY " + ", ".join(self._group_key(key) for key in select.group_by))
        if select.having:
            parts.append(f"HAVING {self.condition(select.having)}")
        if select.order_by:
            plain = not (select.distinct or select.group_by) and len(select.order_by) == 1
            parts.append("ORDER BY " + ", ".join(self._order_key(key, outputs, plain) for key in select.order_by))
        return " ".join(parts) + self._limits(least(select.top, limit), select.offset)

    def _smaller_of_two(self, select: Select) -> set[str]:
        """The table to go through where two published ones meet: the smaller, if nothing narrows the larger but it."""
        below = [node for table in select.tables for node in every_node(table)]
        relations = [self.checked.relations[node] for node in below if isinstance(node, TableName | DerivedTable)]
        steps = [node for node in below if isinstance(node, JoinStep)]
        if len(relations) != 2 or any(step.kind != "INNER" for step in steps):
            return set()
        rows = [each.source.table.rows if isinstance(each.source, PublishedTable) else None for each in relations]
        if rows[0] is None or rows[1] is None or rows[0] == rows[1]:
            return set()
        smaller, larger = relations if rows[0] < rows[1] else reversed(relations)
        by_index = False
        for condition in (select.where, *(step.on for step in steps)):
            for each in conjuncts(condition):
                columns = [self.checked.columns[node] for node in every_node(each) if isinstance(node, ColumnRef)]
                named = {column.relation for column in columns if isinstance(column, Field)}
                if larger.alias in named and smaller.alias not in named:
                    return set()
                by_index = by_index or (named == {larger.alias, smaller.alias} and self._finds(each, larger))
        return {smaller.alias} if by_index else set()

    def _finds(self, condition: Expression, relation: Relation) -> bool:
        """Whether a sky's index on the relation serves the condition: it names one position of it, indexed, no more."""
        assert isinstance(relation.source, PublishedTable)
        indexed = {column.name for column in relation.source.table.columns if column.indexed}
        theirs = [
            column
            for node in every_node(condition)
            if isinstance(node, ColumnRef) and isinstance(column := self.checked.columns[node], Field)
            and column.relation == relation.alias
        ]  # fmt: skip
        if len(theirs) != 2 or not {column.name for column in theirs} <= indexed:
            return False
        calls = [node for node in every_node(condition) if isinstance(node, Call)]
        return not any(call.function in ("BOX", "POLYGON", "REGION", "MOC") for call in calls) and any(
            pair in (theirs, theirs[::-1])
            for call in calls
            if call.function in ("POINT", "CIRCLE", "DISTANCE")
            for pair in self._pairs(call)
        )

    def _pairs(self, call: Call) -> Iterator[list[Visible | Output]]:
        """The columns that stand as a position in a call, bare."""
        for ra, dec in zip(call.arguments, call.arguments[1:], strict=False):
            if isinstance(ra, ColumnRef) and isinstance(dec, ColumnRef):
                yield [self.checked.columns[ra], self.checked.columns[dec]]

    def _shown(self, output: Output, final: bool) -> str:
        value = output.value
        assert value is not None
        sql = self.column(value) if isinstance(value, Visible) else self.value(value)
        return self._presented(sql, output) if final else sql

    def _presented(self, sql: str, output: Output) -> str:
        """A value as the user is to see it."""
        if output.meaning.kind is Kind.REGION:
            return self.region_as_text(sql)
        return f"{sql}::text" if output.meaning.kind is Kind.NULL else sql

    def _group_key(self, key: Expression) -> str:
        position = self.checked.positions.get(key)
        return str(position) if position else self.value(key)

    def _order_key(self, key: OrderKey, outputs: tuple[Output, ...], plain: bool) -> str:
        """plain: the only key of rows neither grouped nor made distinct, so that another expression may order them."""
        direction = " DESC" if key.descending else ""
        position = self.checked.positions.get(key)
        expression = outputs[position - 1].value if position else key.expression
        if plain and not key.descending and expression is not None and not isinstance(expression, Visible):
            found = self.scaled_distance(expression)
            if found is not None:
                return self.sphere.nearest(found[0], found[1])
        return f"{position or self.value(key.expression)}{direction}"

    @staticmethod
    def _limits(limit: int | None, offset: int | None) -> str:
        return (f" OFFSET {offset}" if offset else "") + (f" LIMIT {limit}" if limit is not None else "")

    # ---- set operations

    def _set_operation(self, operation: SetOperation, limit: int | None, final: bool) -> str:
        """Operands in parentheses, left to right; order, limits and text of regions in a SELECT around them."""
        sql = f"({self.body(operation.first)})"
        for number, step in enumerate(operation.steps):
            every = " ALL" if step.every else ""
            # PostgreSQL binds INTERSECT tighter itself; parentheses keep the order that the tree has.
            sql = f"({sql})" if number else sql
            sql = f"{sql} {step.operator}{every} ({self.body(step.operand)})"
        relation = self.checked.relations[operation]
        outputs = self.checked.outputs[operation]
        columns = []
        for output, field in zip(outputs, relation.fields, strict=True):
            value = self.column(field)
            columns.append(f"{self._presented(value, output) if final else value} AS {quoted(output.sql_name)}")
        parts = ["SELECT", ", ".join(columns), f"FROM ({sql}) AS {relation.alias}"]
        if operation.order_by:
            parts.append("ORDER BY " + ", ".join(self._order_key(key, outputs, False) for key in operation.order_by))
        return " ".join(parts) + self._limits(limit, operation.offset)

    # ---- tables

    def _table(self, table: TableExpression) -> str:
        if isinstance(table, Join):
            return self._join(table)
        relation = self.checked.relations[table]
        return f"{self._source(table, relation.source)} AS {relation.alias}"

    def _source(self, table: TableName | DerivedTable, source: PublishedTable | CommonTable | QueryBody) -> str:
        if isinstance(table, DerivedTable):
            return f"({self.body(table.query)})"
        if isinstance(source, CommonTable):
            return self._common[source]
        assert isinstance(source, PublishedTable)
        return source.sql.replace("%", "%%")

    def _join(self, join: Join) -> str:
        sql = self._table(join.first)
        if isinstance(join.first, Join):
            sql = f"({sql})"
        for step in join.steps:
            right = self._table(step.table)
            right = f"({right})" if isinstance(step.table, Join) else right
            if step.on is not None:
                condition = self.condition(step.on)
            else:
                pairs = self.checked.joins[step]
                equal = [f"{self.column(left)} = {self.column(right_)}" for left, right_ in pairs]
                condition = " AND ".join(equal) or "TRUE"
            sql = f"{sql} {step.kind} JOIN {right} ON {condition}"
        return sql


def least(*limits: int | None) -> int | None:
    """The least of the limits that are set."""
    return min((limit for limit in limits if limit is not None), default=None)


def conjuncts(condition: Expression | None) -> Iterator[Expression]:
    """What must hold, each by itself, for the condition to hold."""
    if isinstance(condition, Logical) and condition.operator == "AND":
        for operand in condition.operands:
            yield from conjuncts(operand)
    elif condition is not None:
        yield condition
