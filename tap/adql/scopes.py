"""What names mean at one place of a query: published tables, the relations of a FROM clause, and their columns.

Looking names up lives here; walking the tree is names.py's.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from archive.vo.columns import OWN, Table
from tap.adql.mistakes import did_you_mean, mistake, shortened
from tap.adql.nodes import ColumnRef, CommonTable, Expression, Identifier, Place, QueryBody
from tap.adql.types import Meaning


@dataclass(frozen=True, slots=True)
class PublishedTable:
    """A table as published, and its quoted name in SQL; its columns have the same names there."""

    table: Table
    sql: str


@dataclass(frozen=True)
class PublishedSchema:
    """What a query may name. tables: by qualified name in lower case ("ivoa.obscore", "tap_upload.t")."""

    tables: Mapping[str, PublishedTable]

    @cached_property
    def _by_last_name(self) -> dict[str, list[str]]:
        names: dict[str, list[str]] = {}
        for name in self.tables:
            names.setdefault(name.rpartition(".")[2], []).append(name)
        return names

    def find(self, parts: Sequence[Identifier]) -> list[PublishedTable]:
        """The tables that a name may mean: none, one, or several if the schema is left out."""
        key = ".".join(part.name for part in parts).lower()
        names = self._by_last_name.get(key, []) if len(parts) == 1 else [key]
        if len(names) > 1:  # what others share with somebody makes no name mean two things
            names = [name for name in names if not name.startswith(OWN)] or names
        found = [table for name in names if (table := self.tables.get(name)) is not None]
        return [table for table in found if _spelled(parts, table.table.name)]

    def names(self) -> list[str]:
        """Every name that a user may type, in lower case: qualified, and bare."""
        return [*self.tables, *self._by_last_name]


def _spelled(parts: Sequence[Identifier], name: str) -> bool:
    """Whether delimited parts are written exactly as the table is."""
    written = name.split(".")
    return all(part.matches(word) for part, word in zip(reversed(parts), reversed(written), strict=False))


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """A column of a relation. asked: its name before duplicates were told apart. sql_name: unquoted."""

    name: str
    meaning: Meaning
    relation: str
    sql_name: str
    asked: str


@dataclass(frozen=True, slots=True, eq=False)
class Merged:
    """The one column that a FULL JOIN by name makes of two: whichever is there."""

    name: str
    meaning: Meaning
    left: "Visible"
    right: "Visible"

    @property
    def asked(self) -> str:
        return self.name


Visible = Field | Merged


@dataclass(frozen=True, slots=True, eq=False)
class Relation:
    """A table of a FROM clause. alias: its name in SQL. names: what may stand before a column's dot."""

    alias: str
    names: tuple[str | Identifier, ...]
    source: PublishedTable | CommonTable | QueryBody
    fields: tuple[Field, ...]
    index: dict[str, list[Field]]

    def called(self, parts: Sequence[Identifier]) -> bool:
        """Whether a qualifier names this relation; leading parts of its name may be left out."""
        if len(parts) > len(self.names):
            return False
        return all(part.matches(name) for part, name in zip(reversed(parts), reversed(self.names), strict=False))

    @property
    def label(self) -> str:
        return ".".join(name if isinstance(name, str) else name.name for name in self.names)


@dataclass(frozen=True, slots=True, eq=False)
class Output:
    """A column of a query's result. value: what it is computed from; None in the result of a set operation."""

    name: str
    asked: str
    sql_name: str
    meaning: Meaning
    value: Expression | Visible | None


@dataclass(slots=True)
class Scope:
    """The columns that an expression may name. outputs: the result's own names, where those may be used too."""

    text: str
    relations: list[Relation] = field(default_factory=list)
    visible: list[Visible] = field(default_factory=list)
    parent: "Scope | None" = None
    outputs: tuple[Output, ...] = ()
    _index: "tuple[list[Visible], dict[str, list[Visible]]] | None" = None

    def find(self, reference: ColumnRef) -> Visible | Output:
        """What a column reference means, here or in the query around this one; QueryError if nothing or several."""
        scope: Scope | None = self
        while scope is not None:
            found = scope._matches(reference)
            if len(found) > 1:
                raise self._ambiguous(reference, found)
            if found:
                return found[0]
            scope = scope.parent
        raise self._unknown(reference)

    def _matches(self, reference: ColumnRef) -> "list[Visible | Output]":
        name, qualifier = reference.name, reference.parts[:-1]
        key = name.name.lower()
        if qualifier:
            mine = [relation for relation in self.relations if relation.called(qualifier)]
            return list(named(name, [column for relation in mine for column in relation.index.get(key, ())]))
        found: list[Visible | Output] = list(named(name, self._visible_index().get(key, [])))
        return found or list(named(name, self.outputs))

    def _visible_index(self) -> dict[str, list[Visible]]:
        if self._index is None or self._index[0] is not self.visible:
            self._index = (self.visible, indexed(self.visible))
        return self._index[1]

    def _ambiguous(self, reference: ColumnRef, found: "Sequence[Visible | Output]") -> Exception:
        owners = sorted(
            relation.label
            for relation in self.relations
            if any(isinstance(column, Field) and column.relation == relation.alias for column in found)
        )
        which = f": it is in {' and '.join(owners)}" if len(owners) > 1 else ""
        name = shortened(reference.name.name)
        return mistake(self.text, reference.at, f"column {name} is ambiguous{which}; write table.{name}")

    def _unknown(self, reference: ColumnRef) -> Exception:
        qualifier, name = reference.parts[:-1], reference.name.name
        relations = list(self._all_relations())
        if qualifier and not any(relation.called(qualifier) for relation in relations):
            written = shortened(".".join(part.name for part in qualifier))
            labels = [relation.label for relation in relations]
            hint = did_you_mean(written, labels) or f"; FROM has {shortened(', '.join(labels) or 'no table', 200)}"
            return mistake(self.text, reference.at, f"FROM has no table {written}{hint}")
        mine = [r for r in relations if not qualifier or r.called(qualifier)]
        candidates = [column.name for relation in mine for column in relation.fields]
        candidates += [output.name for output in self.outputs]
        hint = did_you_mean(name, candidates)
        where = f" in {mine[0].label}" if len(mine) == 1 else ""
        return mistake(self.text, reference.at, f"no column {shortened(name)}{where}{hint}")

    def _all_relations(self) -> Iterable[Relation]:
        scope: Scope | None = self
        while scope is not None:
            yield from scope.relations
            scope = scope.parent

    def starred(self, place: Place, qualifier: Sequence[Identifier]) -> Sequence[Visible]:
        """What * or qualifier.* stands for."""
        if not qualifier:
            return self.visible
        found = [relation for relation in self.relations if relation.called(qualifier)]
        if len(found) == 1:
            return found[0].fields
        written = shortened(".".join(part.name for part in qualifier))
        if found:
            raise mistake(self.text, place, f"{written}.* is ambiguous: FROM has {len(found)} tables of that name")
        hint = did_you_mean(written, [relation.label for relation in self.relations])
        raise mistake(self.text, place, f"FROM has no table {written}{hint}")


Named = TypeVar("Named", bound=Field | Merged | Output)


def indexed(columns: Sequence[Named]) -> dict[str, list[Named]]:
    """Columns by each of their names in lower case."""
    index: dict[str, list[Named]] = {}
    for column in columns:
        index.setdefault(column.asked.lower(), []).append(column)
        if column.name != column.asked:
            index.setdefault(column.name.lower(), []).append(column)
    return index


def named(identifier: Identifier, columns: Sequence[Named]) -> list[Named]:
    """The columns that an identifier means: by the name they were asked for, else by the one they were given."""
    asked = [column for column in columns if identifier.matches(column.asked)]
    return asked or [column for column in columns if identifier.matches(column.name)]
