"""From what a person types to a place on the sky: coordinates, and the names that the archive itself knows.

Names are those of observed targets and of objects in the published catalogues; other people's resolver (Sesame) is
asked only where a setting names it. Coordinates and the index are pure; `ArchiveNames` asks for the names now and then.
"""

import logging
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from archive.holdings.catalogues import position_columns
from archive.holdings.published import PublishedTables
from archive.portal.remembered import Remembered
from archive.portal.search import Place
from archive.portal.sources import Ask
from archive.vo.columns import Column, Table
from archive.vo.errors import ArchiveError

log = logging.getLogger(__name__)

_DEGREES = re.compile(r"\s*([+-]?[\d.]+)\s*(?:°|d|deg)?[\s,;]+([+-]?[\d.]+)\s*(?:°|d|deg)?\s*")
_SEXAGESIMAL = re.compile(r"[\d\s.,:hmsd°'\"+-]+")
_GALACTIC = re.compile(r"\s*(?:gal(?:actic)?|l\s*=)\s*([+-]?[\d.]+)[\s,;]+(?:b\s*=\s*)?([+-]?[\d.]+)\s*", re.IGNORECASE)

_PLAIN = str.maketrans("−′″’”", "-'\"'\"")

# Columns that hold names though no UCD says so: their usual names, and catalogues' numbers in columns named after them.
_NAME_COLUMNS = {"name", "names", "common_name", "common_names", "identifiers", "main_id", "designation", "object"}
_NUMBERED = {"m": "M", "ngc": "NGC", "ic": "IC", "hd": "HD", "hip": "HIP"}
# One row a name: ten thousand exposures of a field are one place.
_TARGETS = (
    "SELECT target_name, s_ra, s_dec FROM ivoa.obscore WHERE dp_id IN (SELECT MIN(dp_id) FROM ivoa.obscore "
    "WHERE target_name IS NOT NULL AND s_ra IS NOT NULL GROUP BY target_name)"
)


def position(text: str) -> Place | None:
    """Coordinates as people write them, ICRS: degrees, `05 34 31.9 +22 00 52`, `5h34m31.9s +22d00m52s`, galactic.

    None: it is no position, or none on the sky.
    """
    from astropy.coordinates import SkyCoord  # half a second, which no process waits for at its start

    plain = text.strip().translate(_PLAIN)
    try:
        if match := _GALACTIC.fullmatch(plain):
            place, source = SkyCoord(float(match[1]), float(match[2]), unit="deg", frame="galactic").icrs, "galactic"
        elif match := _DEGREES.fullmatch(plain):
            place, source = SkyCoord(float(match[1]), float(match[2]), unit="deg"), "coordinates"
        elif _SEXAGESIMAL.fullmatch(plain):
            place, source = SkyCoord(plain.replace(",", " "), unit=("hourangle", "deg")), "coordinates"
        else:
            return None
    except ValueError:
        return None
    return Place(text.strip(), float(place.ra.deg), float(place.dec.deg), source)


def normalised(name: str) -> str:
    """What spellings of a name have in common: `M 31`, `m031`, `Messier 31` are one, as are `NGC 224`, `NGC0224`."""
    text = re.sub(r"[\s_*'’]+", "", name.casefold())
    text = re.sub(r"^messier", "m", text)
    return re.sub(r"(?<=[a-z])0+(?=\d)", "", text)


@dataclass(frozen=True, slots=True)
class Names:
    """Names of one source with their places. ra, dec: ICRS, degrees, as many as names."""

    source: str
    names: pa.Array
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class NameIndex:
    """Names by what spellings have in common, in order; of equal ones the source that was given first comes first."""

    keys: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    ra: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    dec: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    sources: list[str] = field(default_factory=list)
    of: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))

    @classmethod
    def made_of(cls, parts: Iterable[Names]) -> "NameIndex":
        found = list(parts)
        names = [name for part in found for name in part.names.to_pylist()]
        keys = [normalised(name) for name in names]
        of = np.repeat(np.arange(len(found), dtype=np.int32), [len(part.names) for part in found])
        order = sorted(range(len(keys)), key=keys.__getitem__)  # stable: sources stay in their order
        places = np.array(order, dtype=np.int64)
        ra, dec = (np.concatenate([np.empty(0), *(getattr(part, name) for part in found)]) for name in ("ra", "dec"))
        return cls(
            [keys[each] for each in order],
            [names[each] for each in order],
            ra[places],
            dec[places],
            [part.source for part in found],
            of[places],
        )

    def places(self, name: str) -> list[Place]:
        """Every place that goes by the name, the archive's own targets first; one a source."""
        key = normalised(name)
        low, high = bisect_left(self.keys, key), bisect_right(self.keys, key)
        _, firsts = np.unique(self.of[low:high], return_index=True)
        found: dict[str, Place] = {}
        for at in firsts if key else ():
            place = self._place(low + int(at))
            found.setdefault(place.source, place)
        return list(found.values())

    def beginning_with(self, text: str, most: int) -> list[Place]:
        """Names that begin so, in order, each once."""
        key = normalised(text)
        found: list[Place] = []
        at = bisect_left(self.keys, key)
        while key and at < len(self.keys) and self.keys[at].startswith(key) and len(found) < most:
            found.append(self._place(at))
            at = bisect_right(self.keys, self.keys[at], lo=at)  # a catalogue may have one name a million times
        return found

    def _place(self, at: int) -> Place:
        return Place(self.names[at], float(self.ra[at]), float(self.dec[at]), self.sources[self.of[at]])


class ArchiveNames:
    """The archive's names as of a while ago."""

    def __init__(self, ask: Ask, published: PublishedTables, *, most: int, look_again_s: float) -> None:
        """most: names that are held; a catalogue that would be too many is left out, and the log says so."""
        self._ask = ask
        self._published = published
        self._most = most
        self._index = Remembered(lambda: NameIndex.made_of(self._parts()), look_again_s=look_again_s)

    def index(self) -> NameIndex:
        try:
            return self._index.value()
        except ArchiveError as problem:
            log.warning("the names of the archive could not be gathered: %s", problem)
            return NameIndex()

    def _parts(self) -> Iterator[Names]:
        left = self._most
        found = self._ask(_TARGETS, maxrec=left)
        left -= found.num_rows
        yield Names("targets of this archive", found[0].combine_chunks(), *_degrees(found, 1))
        for one in self._published.tables().every():
            for part in self._catalogue(one.table, left):
                left -= len(part.names)
                yield part

    def _catalogue(self, table: Table, left: int) -> Iterator[Names]:
        position = position_columns(table)
        columns = [column for column in table.columns if _names_of(column)]
        if position is None or not columns or table.schema in ("tap_schema", "ivoa", "arc"):
            return
        if (table.rows or 0) * len(columns) > left:
            log.warning("%s is not searched for names: %s rows are too many (portal.names)", table.name, table.rows)
            return
        ra, dec = (table.column(name).typed_name for name in position)
        for column in columns:
            found = self._ask(
                f"SELECT {column.typed_name}, {ra}, {dec} FROM {table.name} "
                f"WHERE {column.typed_name} IS NOT NULL AND {ra} IS NOT NULL AND {dec} IS NOT NULL",
                maxrec=left,
            )
            names, parents = _several(found[0].combine_chunks(), _names_of(column) or _as_it_is)
            lon, lat = _degrees(found, 1)
            yield Names(table.title or table.name, names, lon[parents], lat[parents])


def _degrees(found: pa.Table, first: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    lon, lat = (found[at].to_numpy().astype(float) for at in (first, first + 1))
    return lon, lat


def _names_of(column: Column) -> Callable[[str], list[str]] | None:
    """How a column's value tells names; None: it tells none."""
    name = column.name.lower()
    if name in _NUMBERED and column.ucd is None:
        return lambda value: [f"{_NUMBERED[name]} {value.strip()}"] if value.strip().isdigit() else []
    if column.datatype not in ("char", "unicodeChar"):
        return None
    if (column.ucd or "").startswith("meta.id") and "part" not in (column.ucd or ""):
        return _as_it_is
    return _listed if name in _NAME_COLUMNS else None


def _as_it_is(value: str) -> list[str]:
    return [value.strip()] if value.strip() else []


def _listed(value: str) -> list[str]:
    return [part.strip() for part in re.split("[,;]", value) if part.strip()]


def _several(values: pa.Array, names_of: Callable[[str], list[str]]) -> tuple[pa.Array, NDArray[np.int64]]:
    """The names of each value, and for each name the row it comes from."""
    names: list[str] = []
    rows: list[int] = []
    for row, value in enumerate(values.to_pylist()):
        for name in names_of(str(value)):
            names.append(name)
            rows.append(row)
    return pa.array(names, pa.string()), np.array(rows, np.int64)


def told(place: Place) -> dict[str, Any]:
    """As JSON tells it."""
    return {"name": place.name, "ra": place.ra, "dec": place.dec, "source": place.source}
