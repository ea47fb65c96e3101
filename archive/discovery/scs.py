"""Simple Cone Search 1.03 on any published table with a main position: parameters, columns, the statement."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from archive.discovery.answer import Shown
from archive.discovery.conditions import Bound, column, decimal, whole
from archive.discovery.parameters import RESPONSEFORMAT, Parameter, maxrec
from archive.holdings.catalogues import position_columns
from archive.holdings.published import Published
from archive.holdings.running import Statement
from archive.sphere.sphere import CircleSql, PointSql, Sphere
from archive.sphere.values import stcs_of
from archive.vo.columns import Column, Table
from archive.vo.dali import Parameters
from archive.vo.descriptors import Input
from archive.vo.errors import UsageError

STANDARD_ID = "ivo://ivoa.net/std/ConeSearch"
ID_MAIN, RA_MAIN, DEC_MAIN = "ID_MAIN", "POS_EQ_RA_MAIN", "POS_EQ_DEC_MAIN"
_MAIN = "meta.id;meta.main"
_NUMBERS = frozenset({"double", "float"})


@dataclass(frozen=True, slots=True)
class Cone:
    """A cone on the sky: ICRS degrees; radius from 0 on, verbosity 1 to 3."""

    ra: float
    dec: float
    radius: float
    verbosity: int = 2


def parameters(default_maxrec: int, hard_maxrec: int, max_radius_deg: float) -> tuple[Parameter, ...]:
    """SCS 1.03 §2.1, and what DALI adds (SCS-05)."""
    return (
        Parameter(Input("RA", "Right ascension of the centre, ICRS", "double", None, unit="deg", ucd="pos.eq.ra",
                        is_required=True)),
        Parameter(Input("DEC", "Declination of the centre, ICRS", "double", None, unit="deg", ucd="pos.eq.dec",
                        minimum="-90", maximum="90", is_required=True)),
        Parameter(Input("SR", "Radius of the cone", "double", None, unit="deg", ucd="phys.angSize", minimum="0",
                        maximum=f"{max_radius_deg:g}", is_required=True)),
        Parameter(Input("VERB", "Columns: 1 the least, 2 the principal ones, 3 all", "int", None, minimum="1",
                        maximum="3")),
        maxrec(default_maxrec, hard_maxrec),
        RESPONSEFORMAT,
    )  # fmt: skip


def is_searched(published: Published) -> bool:
    """Whether a table has what a cone search is about: one main position, in degrees, and rows that can be named."""
    table = published.table
    names = position_columns(table)
    if names is None or (table.kind == "view" and _identifier(table) is None):  # a view's rows have no place
        return False
    pair = [table.column(name) for name in names]
    return all(one.datatype in _NUMBERS and one.arraysize is None and one.unit in (None, "deg") for one in pair)


def cone(asked: Parameters, max_radius_deg: float) -> Cone:
    """The cone asked for (SCS-01, SCS-04). UsageError: a parameter is missing, or is no number that can be meant."""
    ra, dec, radius = (decimal(name, asked.required(name)) for name in ("RA", "DEC", "SR"))
    if not -90 <= dec <= 90:
        raise UsageError(f"DEC takes -90 to 90 degrees, not {dec:g}")
    if not 0 <= radius <= max_radius_deg:
        raise UsageError(f"SR takes 0 to {max_radius_deg:g} degrees, not {radius:g}")
    verbosity = whole("VERB", asked.single("VERB") or "2")
    if not 1 <= verbosity <= 3:
        raise UsageError(f"VERB takes 1, 2 or 3, not {verbosity}")
    return Cone(math.fmod(ra, 360) % 360, dec, radius, verbosity)


def shown(published: Published, verbosity: int) -> tuple[Shown, ...]:
    """The columns of an answer (SCS-02): one each of the three UCD1s, which no other column has.

    A table without an identifier of its own is given the place of the row, which is a row's as long as the table is.
    """
    table = published.table
    ra, dec = position_columns(table) or ("", "")
    identifier = _identifier(table)
    answer = []
    if identifier is None:
        place = Column("row_id", "char", "*", ucd=ID_MAIN, description="Place of the row in the table", principal=True)
        while any(one.name.lower() == place.name for one in table.columns):
            place = place.renamed(f"{place.name}_")
        answer.append(Shown(place, "replace(trim(BOTH '()' FROM ctid::text), ',', '-')"))
    chosen = {ra, dec, identifier}
    principal = {one.name for one in table.columns if one.principal}
    if verbosity == 3 or (verbosity == 2 and principal <= chosen):  # where nobody said which matter, all do
        chosen |= {one.name for one in table.columns}
    elif verbosity == 2:
        chosen |= principal
    mains = {identifier: ID_MAIN, ra: RA_MAIN, dec: DEC_MAIN}
    answer += [_as_answered(one, mains.get(one.name)) for one in table.columns if one.name in chosen]
    return tuple(answer)


def _identifier(table: Table) -> str | None:
    return next((one.name for one in table.columns if one.ucd == _MAIN), None)


def _as_answered(one: Column, main: str | None) -> Shown:
    name = column(one.name)
    if main == ID_MAIN:
        return Shown(replace(one, datatype="char", arraysize="*", xtype=None, unit=None, ucd=main), f"{name}::text")
    if main is not None:
        return Shown(replace(one, datatype="double", unit="deg", ucd=main), f"{name}::double precision")
    if one.xtype == "adql:REGION":
        return Shown(one, stcs_of(name))
    ucd = (one.ucd or "").removesuffix(";meta.main")
    return Shown(replace(one, ucd=None if ucd.upper() in (ID_MAIN, RA_MAIN, DEC_MAIN, "") else ucd), name)


def statement(published: Published, asked: Cone, answer: Sequence[Shown], sphere: Sphere, limit: int) -> Statement:
    """The rows in the cone. limit: rows at the most."""
    bound = Bound(sphere)
    ra, dec = position_columns(published.table) or ("", "")
    centre = PointSql(bound(asked.ra), bound(asked.dec))
    inside = sphere.contains(PointSql(column(ra), column(dec)), CircleSql(centre, bound(asked.radius)))
    columns = ", ".join(f"{one.sql} AS {column(one.column.name)}" for one in answer)
    relation = published.sql_name.replace("%", "%%")
    sql = f"SELECT {columns} FROM {relation} WHERE {inside} LIMIT {bound(limit)}"  # noqa: S608 - declared names
    return Statement(sql, bound.values, tuple(one.column for one in answer))
