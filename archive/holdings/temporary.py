"""Tables that live as long as a query: what a user uploaded, as a relation that the sky's functions can ask.

Which columns are a position or a region is told by UCD, xtype or a usual name; they get the sky's indexes, like those
of a catalogue. Reading what was sent is archive.vo.tables'; when it is filled, archive.holdings.running decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import pyarrow as pa
from psycopg import Connection, sql

from archive.database.sky import SkyTable
from archive.holdings.catalogues import position_columns, postgres_type
from archive.holdings.copying import copy_batches
from archive.holdings.published import identifier
from archive.sphere.sphere import Sphere
from archive.vo.arrow import is_timestamp, shape_of
from archive.vo.columns import Column, Table
from archive.vo.errors import UsageError
from archive.vo.positions import EQUATORIAL
from archive.vo.regions import from_stcs

OUTLINE = "pos.outline"
REGION = "adql:REGION"
_TEXT = ("char", "unicodeChar")
_NUMERIC_SHAPES = frozenset({"point", "circle", "polygon"})
_SHAPES_IN_TEXT = frozenset({REGION, "shape", "adql:POINT"})


@dataclass(frozen=True, slots=True)
class TemporaryTable:
    """A table that lives as long as the query. sql_name: its relation's name, quoted; indexed: on the sky, if it can.

    The relation's columns are c1, c2, ...: PostgreSQL has names of its own, such as xmin, and cuts long ones.
    """

    table: Table
    batches: Sequence[pa.RecordBatch]
    sql_name: str
    indexed: bool = True

    @classmethod
    def of(cls, table: Table, batches: Sequence[pa.RecordBatch], sql_name: str) -> Self:
        """As it can be asked: shapes are shapes, also where they came as text; what says so and is none is not."""
        columns = list(table.columns)
        arrays = [[batch.column(place) for batch in batches] for place in range(len(columns))]
        for place, column in enumerate(columns):
            columns[place], arrays[place] = _shaped(column, arrays[place])
        names = [column.name for column in columns]
        stored = [pa.RecordBatch.from_arrays(list(each), names) for each in zip(*arrays, strict=True)]
        return cls(replace(table, columns=tuple(columns)), stored, sql_name)

    @property
    def rows(self) -> int:
        return sum(batch.num_rows for batch in self.batches)

    @property
    def sql(self) -> str:
        """What stands in FROM: the relation under the user's names."""
        shown = ", ".join(
            f"{stored} AS {identifier(column.name)}"
            for stored, column in zip(self.stored, self.table.columns, strict=True)
        )
        return f"(SELECT {shown} FROM {self.sql_name})"  # noqa: S608 - quoted identifiers

    @property
    def stored(self) -> list[str]:
        """Names of the relation's columns."""
        return [f"c{number}" for number in range(1, len(self.table.columns) + 1)]


def _shaped(column: Column, cells: list[pa.Array]) -> tuple[Column, list[pa.Array]]:
    """The column with the xtype that its cells bear out, and its cells as the relation keeps them."""
    is_outline = (column.ucd or "").lower().split(";")[0] == OUTLINE
    if column.datatype in _TEXT:
        if not shape_of(column).is_array and (column.xtype in _SHAPES_IN_TEXT or (is_outline and not column.xtype)):
            try:
                as_arrays = [regions(each) for each in cells]
            except UsageError:
                return replace(column, xtype=None), cells
            return replace(column, xtype=REGION), as_arrays
        return column if is_timestamp(column) else replace(column, xtype=None), cells
    xtype = column.xtype or ("polygon" if is_outline else None)
    if xtype in _NUMERIC_SHAPES:
        shape = shape_of(column)
        is_shape = column.datatype in ("float", "double") and shape.is_array and _is_number_of(shape.count, xtype)
        return replace(column, xtype=xtype if is_shape else None), cells
    return replace(column, xtype=None), cells


def _is_number_of(count: int | None, xtype: str) -> bool:
    """Whether so many numbers are such a shape (DALI 1.1 §3.3.5-7); None: each cell says for itself."""
    if xtype == "polygon":
        return count is None or (count >= 6 and count % 2 == 0)
    return count == {"point": 2, "circle": 3}[xtype]


def regions(cells: pa.Array) -> pa.Array:
    """Regions in STC-S, or in DALI's words for shapes, as arrays of numbers; UsageError: a text is none."""
    arrays = [from_stcs(text).as_array() if text and text.strip() else None for text in cells.to_pylist()]
    return pa.array(arrays, pa.list_(pa.float64()))


def fill(connection: Connection[tuple[object, ...]], temporary: TemporaryTable, sphere: Sphere) -> None:
    """Make a temporary table, gone with the transaction: COPY in, indexes on the sky, statistics."""
    table = temporary.table
    types = [postgres_type(column) for column in table.columns]
    name = sql.SQL(temporary.sql_name)
    columns = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(stored), sql.SQL(type_))
        for stored, type_ in zip(temporary.stored, types, strict=True)
    )
    connection.execute(sql.SQL("CREATE TEMPORARY TABLE {} ({}) ON COMMIT DROP").format(name, columns))
    copy_batches(connection, name, types, temporary.batches)
    for statement in _indexes(temporary, sphere) if temporary.indexed else ():
        connection.execute(statement.encode())
    connection.execute(sql.SQL("ANALYZE {}").format(name))


def _indexes(temporary: TemporaryTable, sphere: Sphere) -> list[str]:
    return [
        statement
        for place in sky_places(temporary.table, temporary.sql_name, temporary.stored)
        for statement in statements(place, sphere)
    ]


def statements(place: SkyTable, sphere: Sphere) -> list[str]:
    """What indexes a table's place on the sky."""
    found = list(sphere.point_index(place.table, *place.position)) if place.position else []
    return found + (list(sphere.region_index(place.table, place.region)) if place.region else [])


def sky_places(table: Table, sql_name: str, stored: Sequence[str]) -> list[SkyTable]:
    """The main position and every shape of a table, each alone, in the relation with these columns."""
    names = dict(zip((column.name for column in table.columns), stored, strict=True))
    found: list[SkyTable] = []
    if position := uploaded_position(table):
        found.append(SkyTable(sql_name, (names[position[0]], names[position[1]])))
    for column in table.columns:
        name = names[column.name]
        if column.xtype == "point":
            found.append(SkyTable(sql_name, (f"({name})[1]", f"({name})[2]")))
        elif column.xtype in ("circle", "polygon", REGION):
            found.append(SkyTable(sql_name, region=name))
    return found


def uploaded_position(table: Table) -> tuple[str, str] | None:
    """Names of the columns of the main position, in degrees: by UCD, by a usual name, by the only such UCDs."""
    numbers = [
        column
        for column in table.columns
        if column.arraysize is None and column.datatype in ("float", "double", "int", "short", "long")
        and (column.unit or "deg").lower() in ("deg", "degree", "degrees")
    ]  # fmt: skip
    main = position_columns(replace(table, columns=tuple(numbers)))
    if main:
        return main
    names = {column.name.strip().lower(): column.name for column in reversed(numbers)}
    for ra, dec, frame in EQUATORIAL:
        if frame != "fk4" and ra in names and dec in names:
            return names[ra], names[dec]
    found = [[column.name for column in numbers if column.ucd == f"pos.eq.{axis}"] for axis in ("ra", "dec")]
    return (found[0][0], found[1][0]) if len(found[0]) == len(found[1]) == 1 else None
