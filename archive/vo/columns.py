"""Tables and columns as the VO describes them: declared once, read by VOTable, TAP_SCHEMA, VOSI and the registry.

Types are VOTable's (VOTable 1.5 §2.1), never a database's. Values travel as Arrow record batches; `arrow_type` says
which Arrow type carries which VOTable type.
"""

import re
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal

from archive.vo.origin import UNKNOWN, Origin

DATATYPES = frozenset(
    {"boolean", "unsignedByte", "short", "int", "long", "float", "double", "char", "unicodeChar", "floatComplex",
     "doubleComplex", "bit"}
)  # fmt: skip

_REGULAR = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
# The one reserved word that a standard itself makes a column's name; our own catalogues are given others.
_RESERVED = frozenset({"SIZE"})


OWN = "user_"  # how the names of schemas of users' own tables begin


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    datatype: a VOTable primitive; arraysize: VOTable's (None is a scalar, "*" any length, "16*", "3", "2x*");
    xtype: DALI's (timestamp, point, circle, polygon, interval, adql:REGION); unit: VOUnits; ucd: UCD1+.
    indexed: true only if the database has an index that serves conditions on it.
    """

    name: str
    datatype: str
    arraysize: str | None = None
    xtype: str | None = None
    unit: str | None = None
    ucd: str | None = None
    utype: str | None = None
    description: str | None = None
    principal: bool = False
    indexed: bool = False
    std: bool = False

    def __post_init__(self) -> None:
        if self.datatype not in DATATYPES:
            raise ValueError(f"column {self.name}: {self.datatype!r} is no VOTable datatype")

    @property
    def size(self) -> int | None:
        """TAP_SCHEMA's "size": the length of a one-dimensional array, None if variable or not an array (TAP-31)."""
        if self.arraysize is None or "x" in self.arraysize:
            return None
        digits = self.arraysize.rstrip("*")
        return int(digits) if digits else None

    @property
    def is_text(self) -> bool:
        return self.datatype in ("char", "unicodeChar") and self.arraysize is not None

    @property
    def typed_name(self) -> str:
        """The name as a user types it in a query: in quotes where ADQL would not take it bare (TAP-33)."""
        return _typed(self.name)

    def renamed(self, name: str) -> "Column":
        return self if name == self.name else replace(self, name=name)


@lru_cache(maxsize=4096)
def _typed(name: str) -> str:
    is_regular = _REGULAR.fullmatch(name) and name.upper() not in _RESERVED
    return name if is_regular else '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """pairs: (column here, column there)."""

    target_table: str
    pairs: tuple[tuple[str, str], ...]
    description: str | None = None
    utype: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A published table: name is what a user types, schema included ("ivoa.obscore")."""

    name: str
    columns: tuple[Column, ...]
    description: str | None = None
    utype: str | None = None
    kind: Literal["table", "view"] = "table"
    keys: tuple[ForeignKey, ...] = ()
    title: str | None = None
    rows: int | None = None
    origin: Origin = UNKNOWN

    @property
    def schema(self) -> str:
        return self.name.partition(".")[0]

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)


@dataclass(frozen=True, slots=True)
class Schema:
    """A published schema and its tables."""

    name: str
    description: str | None = None
    utype: str | None = None
    tables: tuple[Table, ...] = field(default=())
