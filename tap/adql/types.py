"""What an expression is: its kind, which decides what may be done with it, and the column it would be in a result.

ADQL's types and their VOTable form are ADQL 2.1 §3 (ADQL-09). How a value lies in PostgreSQL follows from its kind:
timestamps are timestamp (UTC, no zone), points, circles, polygons and regions are double precision[].
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from archive.vo.columns import Column


class Kind(Enum):
    """What may be done with a value.

    REGION: an s_region, of any shape. MOC: a coverage map, as text. NULL: fits everywhere. ANY: not known here.
    """

    NUMBER = "a number"
    TEXT = "text"
    BOOLEAN = "a boolean"
    TIMESTAMP = "a timestamp"
    POINT = "a POINT"
    CIRCLE = "a CIRCLE"
    POLYGON = "a POLYGON"
    REGION = "a region"
    MOC = "a MOC"
    NULL = "NULL"
    ANY = "a value of another type"


SHAPES = frozenset({Kind.POINT, Kind.CIRCLE, Kind.POLYGON, Kind.REGION})
WHOLE = ("unsignedByte", "short", "int", "long")
NUMERIC = (*WHOLE, "float", "double")
# DALI 1.1 §3.3 and, for adql:REGION, TAP 1.0.
XTYPES = {
    "timestamp": Kind.TIMESTAMP,
    "adql:TIMESTAMP": Kind.TIMESTAMP,
    "point": Kind.POINT,
    "adql:POINT": Kind.POINT,
    "circle": Kind.CIRCLE,
    "polygon": Kind.POLYGON,
    "adql:REGION": Kind.REGION,
    "shape": Kind.REGION,
    "moc": Kind.MOC,
}


@dataclass(frozen=True, slots=True)
class Meaning:
    """kind, and the column (datatype, unit, UCD, ...) that a result would show."""

    kind: Kind
    column: Column

    @property
    def whole(self) -> bool:
        return self.kind is Kind.NUMBER and self.column.datatype in WHOLE

    @property
    def is_geometry(self) -> bool:
        return self.kind in SHAPES


def meaning_of(column: Column) -> Meaning:
    """What a published column is."""
    if column.xtype in XTYPES:
        return Meaning(XTYPES[column.xtype], column)
    if column.datatype in ("char", "unicodeChar"):
        return Meaning(Kind.TEXT, column)
    if column.arraysize not in (None, "1"):
        return Meaning(Kind.ANY, column)
    if column.datatype == "boolean":
        return Meaning(Kind.BOOLEAN, column)
    return Meaning(Kind.NUMBER if column.datatype in NUMERIC else Kind.ANY, column)


def number(datatype: str = "double", unit: str | None = None) -> Meaning:
    return Meaning(Kind.NUMBER, Column("value", datatype, unit=unit))


TEXT = Meaning(Kind.TEXT, Column("value", "char", "*"))
NULL = Meaning(Kind.NULL, Column("value", "char", "*"))
TIMESTAMP = Meaning(Kind.TIMESTAMP, Column("value", "char", "*", "timestamp"))
BOOLEAN = Meaning(Kind.BOOLEAN, Column("value", "boolean"))
POINT = Meaning(Kind.POINT, Column("value", "double", "2", "point", "deg"))
CIRCLE = Meaning(Kind.CIRCLE, Column("value", "double", "3", "circle", "deg"))
POLYGON = Meaning(Kind.POLYGON, Column("value", "double", "*", "polygon", "deg"))
REGION = Meaning(Kind.REGION, Column("value", "char", "*", "adql:REGION"))

# Names of types in declarations of functions and in CAST.
BY_NAME = {
    "SMALLINT": number("short"),
    "INTEGER": number("int"),
    "BIGINT": number("long"),
    "REAL": number("float"),
    "DOUBLE PRECISION": number("double"),
    "VARCHAR": TEXT,
    "CHAR": TEXT,
    "TIMESTAMP": TIMESTAMP,
    "POINT": POINT,
    "CIRCLE": CIRCLE,
    "POLYGON": POLYGON,
    "REGION": REGION,
    "MOC": Meaning(Kind.MOC, Column("value", "char", "*", "moc")),
    "INTEGER[]": Meaning(Kind.ANY, Column("value", "int", "*")),
}


def widest(meanings: Sequence[Meaning]) -> Meaning:
    """The number that holds all of these numbers, without metadata (ADQL 2.1 §3.1)."""
    datatypes = [meaning.column.datatype for meaning in meanings if meaning.kind is Kind.NUMBER]
    if not datatypes or len({datatype in WHOLE for datatype in datatypes}) == 2:
        return number("double")  # PostgreSQL adds a real and a whole number in double precision
    widest_ = max(datatypes, key=NUMERIC.index)
    return number("short" if widest_ == "unsignedByte" else widest_)


def shared(meanings: Sequence[Meaning]) -> Meaning | None:
    """What values that stand in one column are together (COALESCE, set operations); None if they do not fit.

    Metadata are those of the first that is not NULL (ADQL-32).
    """
    known = [meaning for meaning in meanings if meaning.kind is not Kind.NULL]
    if not known:
        return NULL
    first = known[0]
    kinds = {meaning.kind for meaning in known}
    if kinds == {Kind.NUMBER}:
        datatype = widest(known).column.datatype
        return Meaning(Kind.NUMBER, replace(first.column, datatype=datatype))
    if kinds == {Kind.TEXT}:
        sizes = {meaning.column.arraysize for meaning in known}
        return first if len(sizes) == 1 else Meaning(Kind.TEXT, replace(first.column, arraysize="*"))
    if len(kinds) == 1:
        return first
    if kinds <= SHAPES - {Kind.POINT}:
        return REGION
    return None
