"""What a person looks for, and the ADQL that means it: the page, its facets and "copy as ADQL" are one query. Pure."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Self
from urllib.parse import urlencode

from archive.vo.errors import UsageError

MJD_ZERO = date(1858, 11, 17)
DEFAULT_RADIUS_DEG = 0.25
MOST_RADIUS_DEG = 180.0
MOST_CHOSEN = 50  # values of one facet
MOST_TEXT = 200  # characters of a name


@dataclass(frozen=True, slots=True)
class Facet:
    """A column of ivoa.obscore that people narrow a search by. name: the parameter's; is_number: of the column."""

    name: str
    column: str
    title: str
    is_number: bool = False


FACETS = (
    Facet("type", "dataproduct_type", "Kind of data"),
    Facet("collection", "obs_collection", "Collection"),
    Facet("instrument", "instrument_name", "Instrument"),
    Facet("facility", "facility_name", "Telescope"),
    Facet("level", "calib_level", "Calibration level", is_number=True),
    Facet("rights", "data_rights", "Rights"),
)
LEVELS = {"0": "0, instrument's own", "1": "1, raw", "2": "2, calibrated", "3": "3, combined", "4": "4, analysed"}
# A sort order's name, what people read, and its ADQL. A missing value comes last, whichever way is asked.
ORDERS = {
    "new": ("Latest in the archive", "publication_date DESC, dp_id"),
    "observed": ("Latest observed", "COALESCE(t_min, -1000000) DESC, dp_id"),
    "oldest": ("First observed", "COALESCE(t_min, 1000000) ASC, dp_id"),
    "exposure": ("Longest exposure", "COALESCE(t_exptime, -1) DESC, dp_id"),
    "target": ("Target", "COALESCE(target_name, '~') ASC, dp_id"),
}
NEAREST = "nearest"
SHOWN = (
    "dp_id", "obs_publisher_did", "target_name", "dataproduct_type", "obs_collection", "facility_name",
    "instrument_name", "filter", "calib_level", "t_min", "t_exptime", "em_min", "em_max", "s_ra", "s_dec", "s_region",
    "data_rights", "obs_release_date", "access_estsize", "obs_title",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """A position that a name or coordinates stand for: ICRS, degrees. source: who says so."""

    name: str
    ra: float
    dec: float
    source: str


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for.

    text: as typed, a name or coordinates. place: what it was found to stand for; None: it is part of a target's name.
    radius_deg: of the circle that a footprint must meet. since, until: dates, UTC, both included. chosen: facet's name
    to values, any of which will do. order: one of ORDERS or NEAREST; page: from 1.
    """

    text: str = ""
    place: Place | None = None
    radius_deg: float = DEFAULT_RADIUS_DEG
    since: date | None = None
    until: date | None = None
    chosen: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    order: str = "new"
    page: int = 1

    @classmethod
    def from_items(cls, items: Iterable[tuple[str, str]]) -> Self:
        """Read a page's parameters; unknown and empty ones are left alone. UsageError: a value makes no sense."""
        given: dict[str, list[str]] = {}
        for name, value in items:
            if value.strip():
                given.setdefault(name, []).append(value.strip())

        def one(name: str) -> str | None:
            return given[name][-1] if name in given else None

        text = one("q") or ""
        if len(text) > MOST_TEXT or "\0" in text:
            raise UsageError(f"a name of more than {MOST_TEXT} characters, or with a NUL in it, is no name")
        chosen = {facet.name: tuple(dict.fromkeys(given[facet.name])) for facet in FACETS if facet.name in given}
        for name, values in chosen.items():
            if len(values) > MOST_CHOSEN:
                raise UsageError(f"{name}: {len(values)} values are chosen; {MOST_CHOSEN} are taken at once")
        order = one("order") or ""
        return cls(
            text=text,
            radius_deg=_radius(one("radius")),
            since=_date("from", one("from")),
            until=_date("to", one("to")),
            chosen=chosen,
            order=order if order in ORDERS or order == NEAREST else "",
            page=_page(one("page")),
        )._ordered()

    def _ordered(self) -> Self:
        if self.since and self.until and self.since > self.until:
            raise UsageError(f"from {self.since} to {self.until} is no span of time: the first date is the later one")
        return self

    def at(self, place: Place | None) -> Self:
        """The same, once it is known what the text stands for."""
        return replace(self, place=place)

    @property
    def ordered_by(self) -> str:
        """The order in force: the nearest first where there is a place and nothing else was asked."""
        if self.order == NEAREST or not self.order:
            return NEAREST if self.place else "new"
        return self.order

    def _where(self, *, without: str | None = None) -> str:
        """WHERE and the conditions, empty if there are none; without: the name of a facet to leave out."""
        parts = []
        if self.place:
            parts.append(
                f"1 = INTERSECTS(s_region, CIRCLE({number(self.place.ra)}, {number(self.place.dec)}, "
                f"{number(self.radius_deg)}))"
            )
        elif self.text:
            parts.append(f"target_name ILIKE {literal('%' + _like(self.text) + '%')}")
        if self.since:
            parts.append(f"t_max >= {mjd(self.since)}")
        if self.until:
            parts.append(f"t_min < {mjd(self.until) + 1}")
        for facet in FACETS:
            values = self.chosen.get(facet.name, ())
            if values and facet.name != without:
                parts.append(_one_of(facet, values))
        return f" WHERE {' AND '.join(parts)}" if parts else ""

    def adql(self, columns: Sequence[str] = SHOWN, *, top: int | None = None, offset: int = 0) -> str:
        """The data sets looked for, in order."""
        order = ORDERS[self.ordered_by][1] if self.ordered_by != NEAREST else self._nearest()
        first = "SELECT" if top is None else f"SELECT TOP {top}"
        rest = f" OFFSET {offset}" if offset else ""
        return f"{first} {', '.join(columns)} FROM ivoa.obscore{self._where()} ORDER BY {order}{rest}"

    def _nearest(self) -> str:
        assert self.place is not None
        centre = f"POINT({number(self.place.ra)}, {number(self.place.dec)})"
        return f"COALESCE(DISTANCE(POINT(s_ra, s_dec), {centre}), 360) ASC, dp_id"

    def count_adql(self, most: int) -> str:
        """How many there are, counted to most + 1."""
        return f"SELECT COUNT(*) AS n FROM (SELECT TOP {most + 1} dp_id FROM ivoa.obscore{self._where()}) AS t"

    def facet_adql(self, facet: Facet, most: int) -> str:
        """The facet's values with how many data sets have each, of `most` rows at the most; its own choice left out."""
        inner = f"SELECT TOP {most} {facet.column} AS v FROM ivoa.obscore{self._where(without=facet.name)}"
        return f"SELECT v, COUNT(*) AS n FROM ({inner}) AS t GROUP BY v ORDER BY n DESC, v ASC"

    def query(self, **changes: object) -> str:
        """The page's parameters as a query string, with changes; a change of what is looked for begins at page 1."""
        changed = replace(self, **{"page": 1, **changes})  # type: ignore[arg-type]
        items: list[tuple[str, str]] = []
        if changed.text:
            items.append(("q", changed.text))
            if changed.radius_deg != DEFAULT_RADIUS_DEG:
                items.append(("radius", f"{changed.radius_deg:g}"))
        items += [(name, day.isoformat()) for name, day in (("from", changed.since), ("to", changed.until)) if day]
        items += [(name, value) for name, values in changed.chosen.items() for value in values]
        if changed.order:
            items.append(("order", changed.order))
        if changed.page > 1:
            items.append(("page", str(changed.page)))
        return urlencode(items)

    def toggled(self, facet: str, value: str) -> str:
        """The query string with a facet's value chosen, or no more chosen."""
        chosen = dict(self.chosen)
        values = chosen.pop(facet, ())
        values = tuple(each for each in values if each != value) if value in values else (*values, value)
        return self.query(chosen={**chosen, facet: values} if values else chosen)

    @property
    def is_empty(self) -> bool:
        """Whether everything is looked for."""
        return not (self.text or self.since or self.until or self.chosen)


def literal(text: str) -> str:
    """A character string of ADQL (ADQL 2.1 §2.1.4)."""
    return "'" + text.replace("'", "''") + "'"


def number(value: float) -> str:
    """A number of ADQL, as short as it comes back the same."""
    text = repr(float(value))
    return text.removesuffix(".0")


def mjd(day: date) -> int:
    """The MJD (UTC) at which a day begins."""
    return (day - MJD_ZERO).days


def date_of(t_mjd: float | None) -> datetime | None:
    """The time of an MJD (UTC); None if it has none, or one that no calendar has."""
    if t_mjd is None or not math.isfinite(t_mjd):
        return None
    try:
        return datetime(1858, 11, 17, tzinfo=UTC) + timedelta(days=t_mjd)
    except OverflowError:
        return None


def _like(text: str) -> str:
    """For ILIKE: what has a meaning there becomes any character, because ADQL has no ESCAPE to take it away."""
    return re.sub(r"[\\%]", "_", text)


def _one_of(facet: Facet, values: Sequence[str]) -> str:
    if facet.is_number:
        numbers = [value for value in values if re.fullmatch(r"[0-9]{1,3}", value)]
        if len(numbers) != len(values):
            raise UsageError(f"{facet.name} takes numbers, not {', '.join(values)}")
        return f"{facet.column} IN ({', '.join(numbers)})"
    return f"{facet.column} IN ({', '.join(map(literal, values))})"


def _radius(text: str | None) -> float:
    if text is None:
        return DEFAULT_RADIUS_DEG
    try:
        radius = float(text)
    except ValueError:
        radius = math.nan
    if not 0 < radius <= MOST_RADIUS_DEG:
        raise UsageError(f"radius takes degrees, more than 0 and at most {MOST_RADIUS_DEG:g}, not {text!r}")
    return radius


def _date(name: str, text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{name} takes a date such as 2016-07-15, not {text!r}") from None


def _page(text: str | None) -> int:
    if text is None:
        return 1
    if not re.fullmatch(r"[1-9][0-9]{0,5}", text):
        raise UsageError(f"page takes a number from 1, not {text!r}")
    return int(text)
