"""What a parameter's values ask of a row, as SQL: each condition is made once, with the columns it is about.

A condition takes the values of one parameter, of which any may hold, and gives SQL that is true for the rows meant. A
row whose column is NULL is never meant (SIA 2.0 §2.1). Values are bound; columns come from our own declarations.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

from archive.sphere.sphere import RegionSql, Sphere
from archive.sphere.values import TINY, shape_of
from archive.vo.errors import UsageError
from archive.vo.intervals import BandInterval, Interval
from archive.vo.regions import parse_pos

MOST_VALUES = 1_000  # of one parameter that each make a piece of SQL
MOST_VERTICES = 1_000  # of a polygon: whether its edges cross costs the square of this
POLARIZATIONS = ("I", "Q", "U", "V", "RR", "LL", "RL", "LR", "XX", "YY", "XY", "YX", "POLI", "POLA")
_ARCSEC = 3600.0


class Bound:
    """The values that a statement is sent with; calling it keeps one, and gives what stands for it in SQL."""

    def __init__(self, sphere: Sphere) -> None:
        self.sphere = sphere
        self.values: dict[str, Any] = {}

    def __call__(self, value: object) -> str:
        name = f"p{len(self.values)}"
        self.values[name] = value
        return f"%({name})s"


Condition = Callable[[str, Sequence[str], Bound], str]


def column(name: str) -> str:
    """A column's name in a statement with psycopg's placeholders."""
    return '"' + name.replace('"', '""').replace("%", "%%") + '"'


def any_of(conditions: Sequence[str]) -> str:
    return f"({' OR '.join(conditions)})"


def each(make: Callable[[str, str, Bound], str]) -> Condition:
    """A condition for every value. make: (parameter, value, bound) to SQL."""

    def condition(name: str, values: Sequence[str], bound: Bound) -> str:
        if len(values) > MOST_VALUES:
            raise UsageError(f"{name} is given {len(values)} times; {MOST_VALUES} are taken at once")
        return any_of([make(name, value, bound) for value in values])

    return condition


def is_one_of(of: str) -> Condition:
    """The column's text is a value, exactly (SIA 2.0 §2.1.10 and others)."""
    return lambda name, values, bound: f"{column(of)} = ANY({bound(list(values))})"


def is_ivoid(of: str) -> Condition:
    """The column's IVOID is a value; IVOIDs compare without case (Identifiers 2.0 §2.2)."""
    return lambda name, values, bound: f"lower({column(of)}) = ANY({bound([value.lower() for value in values])})"


def is_number(of: str) -> Condition:
    """The column is a whole number given."""
    return lambda name, values, bound: f"{column(of)} = ANY({bound([whole(name, value) for value in values])})"


def lies_in(of: str) -> Condition:
    """The column's value lies in an interval `low high`, ends included, or is the one number (SIA 2.0 §2.1.5)."""

    def make(name: str, text: str, bound: Bound) -> str:
        wanted = Interval.from_dali(text, name=name, scalar=True)
        return f"({column(of)} BETWEEN {bound(wanted.low)} AND {bound(wanted.high)})"

    return each(make)


def overlaps(low: str, high: str, kind: type[Interval] = Interval) -> Condition:
    """The interval of two columns shares a value with one given, ends included (SIA 2.0 §2.1.2, §2.1.3)."""

    def make(name: str, text: str, bound: Bound) -> str:
        return meets(low, high, kind.from_dali(text, name=name, scalar=True), bound)

    return each(make)


def meets(low: str, high: str, wanted: Interval, bound: Bound) -> str:
    """SQL: the interval of two columns shares a value with the one wanted."""
    return f"({column(low)} <= {bound(wanted.high)} AND {column(high)} >= {bound(wanted.low)})"


def covers_band(name: str, values: Sequence[str], bound: Bound) -> str:
    """BAND of SIA: em_min to em_max, metres, shares a wavelength with one of the intervals."""
    return overlaps("em_min", "em_max", BandInterval)(name, values, bound)


def meets_region(of: str) -> Condition:
    """The region column shares a point with a CIRCLE, RANGE or POLYGON (SIA 2.0 §2.1.1)."""

    def make(name: str, text: str, bound: Bound) -> str:
        if len(text.split()) > 2 * MOST_VERTICES + 1:
            raise UsageError(f"a polygon of {name} has more than {MOST_VERTICES} vertices, the limit here")
        return bound.sphere.intersects(RegionSql(column(of)), shape_of(parse_pos(text), bound))

    return each(make)


def has_polarization(of: str) -> Condition:
    """The state stands in pol_states, /I/Q/U/V/ (SIA 2.0 §2.1.4; ObsCore 1.1 §B.6.6)."""
    return each(lambda name, text, bound: f"position({bound(f'/{text.strip()}/')} IN {column(of)}) > 0")


def at_least(of: str) -> Condition:
    """The column is no smaller than the number (SSA 1.1 §4.1.2)."""
    return each(lambda name, text, bound: f"({column(of)} >= {bound(decimal(name, text))})")


def no_coarser(of: str, *, in_degrees: bool = False) -> Condition:
    """A resolution, the column, is no larger than the number. in_degrees: which is in degrees, the column in arcsec."""
    scale = _ARCSEC if in_degrees else 1.0
    return each(lambda name, text, bound: f"({column(of)} <= {bound(decimal(name, text) * scale)})")


def whole(name: str, text: str) -> int:
    """A whole number; UsageError names the parameter."""
    if not re.fullmatch(r"\s*[+-]?[0-9]{1,9}\s*", text):
        raise UsageError(f"{name} takes a whole number, not {text!r}")
    return int(text)


def decimal(name: str, text: str) -> float:
    """A finite number; one that is too small to be meant is 0. UsageError names the parameter."""
    if not re.fullmatch(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?\s*", text):
        raise UsageError(f"{name} takes a number, not {text!r}")
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise UsageError(f"{name} takes a number that is not infinite, not {text!r}")
    return number if abs(number) > TINY else 0.0
