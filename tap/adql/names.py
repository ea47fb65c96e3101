"""What a query's names mean: tables and columns checked against the published schema, results described.

The tree stays as it was written; what is learned stands beside it, in CheckedQuery. Values and conditions are
meanings.py's, looking up is scopes.py's, SQL is postgres.py's.
"""

from collections.abc import Sequence
from dataclasses import replace

from archive.vo.columns import Column
from tap.adql.meanings import CheckedQuery, ExpressionChecker
from tap.adql.mistakes import did_you_mean, shortened, within_the_stack
from tap.adql.nodes import (
    AllColumns,
    ColumnRef,
    CommonTable,
    DerivedTable,
    Expression,
    Identifier,
    Join,
    JoinStep,
    Null,
    Number,
    OrderKey,
    Place,
    Query,
    QueryBody,
    Select,
    SetOperation,
    TableExpression,
    TableName,
    Text,
)
from tap.adql.scopes import (
    Field,
    Merged,
    Output,
    PublishedSchema,
    PublishedTable,
    Relation,
    Scope,
    Visible,
    indexed,
    named,
)
from tap.adql.types import Kind, Meaning, meaning_of, shared

__all__ = ["CheckedQuery", "PublishedSchema", "PublishedTable", "check"]

# PostgreSQL cuts longer names off.
LONGEST_NAME = 63
# PostgreSQL's own limit is 1664. Without one, `SELECT t.*, t.*` nested twenty times is ten million columns.
MOST_COLUMNS = 1_600


def check(
    query: Query, schema: PublishedSchema, max_columns: int = MOST_COLUMNS, max_tables: int = 200
) -> CheckedQuery:
    """Resolve every name of a query and tell the type of every expression.

    max_columns: of one SELECT. max_tables: in all FROM clauses together; the planner's time grows steeply with them.
    Only published columns are ever reached, whatever the relations behind them have. QueryError, with place and
    suggestions, for what does not exist, is ambiguous, or does not fit together.
    """
    with within_the_stack():
        return NameChecker(query, schema, max_columns, max_tables).check()


class NameChecker(ExpressionChecker):
    """One pass over a query."""

    def __init__(self, query: Query, schema: PublishedSchema, max_columns: int, max_tables: int) -> None:
        super().__init__(query)
        self._schema = schema
        self._max_columns = max_columns
        self._max_tables = max_tables
        self._common: list[tuple[CommonTable, tuple[Output, ...]]] = []
        self._aliases = 0

    def check(self) -> CheckedQuery:
        for table in self.query.common_tables:
            outputs = self.body(table.query, None)
            self._common.append((table, self._renamed(table, outputs)))
        outputs = self.body(self.query.body, None)
        self.checked.columns_out = tuple(output.meaning.column.renamed(output.name) for output in outputs)
        return self.checked

    def _renamed(self, table: CommonTable, outputs: tuple[Output, ...]) -> tuple[Output, ...]:
        if any(table.name.matches(other.name) for other, _ in self._common):
            raise self.mistake(table.at, f"WITH makes two tables named {shortened(table.name.name)}")
        if not table.columns:
            return outputs
        if len(table.columns) != len(outputs):
            message = f"{table.name.name} is given {len(table.columns)} names, but its query has {len(outputs)} columns"
            raise self.mistake(table.at, message)
        return tuple(
            replace(output, name=name.name, asked=name.name)
            for name, output in zip(table.columns, outputs, strict=True)
        )

    # ---- queries

    def body(self, body: QueryBody, parent: Scope | None) -> tuple[Output, ...]:
        """Check a query inside a scope; the columns of its result."""
        outputs = self._select(body, parent) if isinstance(body, Select) else self._set_operation(body, parent)
        self.checked.outputs[body] = outputs
        return outputs

    def _select(self, select: Select, parent: Scope | None) -> tuple[Output, ...]:
        scope = Scope(self.text, parent=parent)
        for table in select.tables:
            relations, visible = self._table(table, parent)
            self._add(scope, relations)
            scope.visible = [*scope.visible, *visible]
        if select.where:
            self.condition(select.where, scope)
        outputs = self._outputs(select, scope)
        after = replace(scope, outputs=outputs)
        for expression in select.group_by:
            self._group_key(expression, after)
        if select.having:
            self.condition(select.having, after)
        for key in select.order_by:
            self._order_key(key, after)
        return outputs

    def _outputs(self, select: Select, scope: Scope) -> tuple[Output, ...]:
        wanted: list[tuple[str | None, Meaning, Expression | Visible]] = []
        for item in select.items:
            if isinstance(item, AllColumns):
                columns = scope.starred(item.at, item.qualifier)
                wanted += [(column.asked, column.meaning, column) for column in columns]
                self._few_enough(select, len(wanted))
                continue
            meaning = self.value(item.expression, scope)
            name = item.alias.name if item.alias else None
            if name is None and isinstance(item.expression, ColumnRef):
                name = self.checked.columns[item.expression].asked
            wanted.append((name, meaning, item.expression))
            self._few_enough(select, len(wanted))
        return told_apart(wanted)

    def _few_enough(self, select: Select, columns: int) -> None:
        if columns > self._max_columns:
            raise self.mistake(select.at, f"this SELECT has more than {self._max_columns} columns")

    def _no_constant(self, expression: Expression, clause: str) -> None:
        if isinstance(expression, Null | Text):
            raise self.mistake(expression.at, f"{clause} takes a position, a name or an expression, not a constant")

    def _group_key(self, expression: Expression, scope: Scope) -> None:
        self._no_constant(expression, "GROUP BY")
        if isinstance(expression, Number):
            self.checked.positions[expression] = self._position(expression, len(scope.outputs), "GROUP BY")
            return
        self.value(expression, scope)

    def _order_key(self, key: OrderKey, scope: Scope) -> None:
        expression = key.expression
        self._no_constant(expression, "ORDER BY")
        if isinstance(expression, Number):
            self.checked.positions[key] = self._position(expression, len(scope.outputs), "ORDER BY")
            return
        if isinstance(expression, ColumnRef) and len(expression.parts) == 1:
            found = named(expression.name, scope.outputs)
            if len(found) == 1 or (found and len({self._origin(output) for output in found}) == 1):
                self.checked.positions[key] = scope.outputs.index(found[0]) + 1
                return
        meaning = self.value(expression, scope)
        if meaning.is_geometry:
            raise self.mistake(expression.at, "shapes have no order; sort by DISTANCE, AREA, COORD1 or COORD2")

    def _origin(self, output: Output) -> object:
        """What an output shows: two that show the same column are no ambiguity."""
        value = output.value
        return self.checked.columns[value] if isinstance(value, ColumnRef) else value

    def _position(self, number: Number, count: int, clause: str) -> int:
        if not isinstance(number.value, int) or not 1 <= number.value <= count:
            raise self.mistake(number.at, f"{clause} takes a position from 1 to {count}, or a name or expression")
        return number.value

    def _set_operation(self, operation: SetOperation, parent: Scope | None) -> tuple[Output, ...]:
        outputs = self.body(operation.first, parent)
        for step in operation.steps:
            others = self.body(step.operand, parent)
            if len(others) != len(outputs):
                message = f"{step.operator} of {len(outputs)} columns with {len(others)}: the numbers must agree"
                raise self.mistake(step.at, message)
            outputs = tuple(
                self._joined(step.at, step.operator, left, right) for left, right in zip(outputs, others, strict=True)
            )
        relation = self._relation((), operation, outputs)
        scope = Scope(self.text, [relation], list(relation.fields), None, outputs)
        self.checked.relations[operation] = relation
        for key in operation.order_by:
            self._order_key(key, scope)
        return outputs

    def _joined(self, place: Place, operator: str, left: Output, right: Output) -> Output:
        meaning = shared([left.meaning, right.meaning])
        if meaning is None:
            kinds = f"{left.meaning.kind.value} in the first query and {right.meaning.kind.value} in the other"
            raise self.mistake(place, f"{operator}: column {left.name} is {kinds}; CAST one of them")
        return replace(left, meaning=meaning, value=None)

    # ---- tables

    def _table(self, table: TableExpression, parent: Scope | None) -> tuple[list[Relation], list[Visible]]:
        """The relations of one table expression, and the columns that * and bare names see."""
        if isinstance(table, Join):
            return self._join(table, parent)
        relation = self._named_table(table) if isinstance(table, TableName) else self._derived(table, parent)
        self.checked.relations[table] = relation
        return [relation], list(relation.fields)

    def _derived(self, table: DerivedTable, parent: Scope | None) -> Relation:
        return self._relation((table.alias,), table.query, self.body(table.query, parent))

    def _named_table(self, table: TableName) -> Relation:
        if len(table.parts) == 1:
            for common, outputs in reversed(self._common):
                if table.parts[0].matches(common.name):
                    return self._relation((table.alias or common.name,), common, outputs)
        found = self._schema.find(table.parts)
        written = shortened(".".join(part.name for part in table.parts))
        if not found:
            names = [*self._schema.names(), *(common.name.name for common, _ in self._common)]
            raise self.mistake(table.at, f"no table {written}{did_you_mean(written, names)}")
        if len(found) > 1:
            choices = " or ".join(published.table.name for published in found[:5])
            raise self.mistake(table.at, f"table {written} is ambiguous; write {choices}")
        published = found[0]
        names_ = (table.alias,) if table.alias else tuple(published.table.name.split("."))
        return self._relation(names_, published, published.table.columns)

    def _relation(
        self,
        names: Sequence[str | Identifier],
        source: PublishedTable | CommonTable | QueryBody,
        columns: Sequence[Column] | Sequence[Output],
    ) -> Relation:
        self._aliases += 1
        if self._aliases > self._max_tables:
            raise self.mistake(self.query.at, f"the query names more than {self._max_tables} tables")
        alias = f"t{self._aliases}"
        fields = tuple(
            Field(column.name, column.meaning, alias, column.sql_name, column.asked)
            if isinstance(column, Output)
            else Field(column.name, meaning_of(column), alias, column.name, column.name)
            for column in columns
        )
        return Relation(alias, tuple(names), source, fields, indexed(fields))

    def _add(self, scope: Scope, relations: Sequence[Relation]) -> None:
        """Make relations known in a scope; one name cannot mean two of them."""
        for relation in relations:
            clash = next((other for other in scope.relations if same_name(other, relation)), None)
            if clash:
                hint = "give one of them another name: table AS name"
                raise self.mistake(self.query.at, f"FROM has two tables named {relation.label}; {hint}")
            scope.relations.append(relation)

    def _join(self, join: Join, parent: Scope | None) -> tuple[list[Relation], list[Visible]]:
        relations, visible = self._table(join.first, parent)
        scope = Scope(self.text, parent=parent)
        self._add(scope, relations)
        scope.visible = visible
        for step in join.steps:
            more, right = self._table(step.table, parent)
            left = scope.visible
            self._add(scope, more)
            if step.on is not None:
                scope.visible = [*left, *right]
                self.condition(step.on, scope)
            else:
                scope.visible = self._merged(step, left, right)
        return scope.relations, scope.visible

    def _merged(self, step: JoinStep, left: list[Visible], right: list[Visible]) -> list[Visible]:
        """The columns after a join by name: the shared ones once and first (SQL-92 §7.5)."""
        pairs = self._pairs(step, left, right)
        self.checked.joins[step] = tuple(pairs)
        merged: list[Visible] = []
        for mine, theirs in pairs:
            meaning = shared([mine.meaning, theirs.meaning])
            if meaning is None or meaning.kind is Kind.ANY:
                raise self.mistake(step.at, f"columns {mine.name} cannot be compared: they are of different types")
            kept = {"INNER": mine, "LEFT": mine, "RIGHT": theirs}.get(step.kind)
            merged.append(kept or Merged(mine.asked, meaning, mine, theirs))
        gone = {id(column) for pair in pairs for column in pair}
        return [*merged, *(column for column in (*left, *right) if id(column) not in gone)]

    def _pairs(self, step: JoinStep, left: list[Visible], right: list[Visible]) -> list[tuple[Visible, Visible]]:
        if not step.natural:
            return [(self._one(name, left), self._one(name, right)) for name in step.using]
        theirs = {column.asked.lower() for column in right}
        names = dict.fromkeys(column.asked for column in left if column.asked.lower() in theirs)
        identifiers = [Identifier(step.at, name) for name in names]
        return [(self._one(name, left), self._one(name, right)) for name in identifiers]

    def _one(self, name: Identifier, columns: list[Visible]) -> Visible:
        found = named(name, columns)
        if len(found) == 1:
            return found[0]
        if found:
            raise self.mistake(name.at, f"column {name.name} is ambiguous on one side of the join; use ON")
        hint = did_you_mean(name.name, [column.asked for column in columns])
        raise self.mistake(name.at, f"no column {shortened(name.name)} on one side of the join{hint}")


def same_name(one: Relation, other: Relation) -> bool:
    """Whether two relations of a FROM clause cannot be told apart."""
    if len(one.names) != len(other.names):
        return False
    return all(
        (mine if isinstance(mine, Identifier) else Identifier(Place(0, 0), mine)).matches(theirs)
        for mine, theirs in zip(one.names, other.names, strict=True)
    )


def told_apart(wanted: Sequence[tuple[str | None, Meaning, Expression | Visible]]) -> tuple[Output, ...]:
    """Outputs with names of their own: col_2 for the unnamed second, ra_2 for a second ra (in any case of letters)."""
    taken = {name.lower() for name, _, _ in wanted if name}
    used: set[str] = set()
    counts: dict[str, int] = {}
    outputs = []
    for position, (asked, meaning, value) in enumerate(wanted, start=1):
        stem = name = asked or f"col_{position}"
        # Counting goes on where the last namesake ended: a thousand of them take a thousand steps.
        count = counts.get(stem.lower(), 1)
        while name.lower() in used or ((name != stem or not asked) and name.lower() in taken):
            count += 1
            name = f"{stem}_{count}"
        counts[stem.lower()] = count
        used.add(name.lower())
        sql_name = name if len(name.encode()) <= LONGEST_NAME else f"column {position}"
        outputs.append(Output(name, asked or name, sql_name, meaning, value))
    return tuple(outputs)
