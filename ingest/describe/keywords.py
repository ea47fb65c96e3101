"""Keywords looked up over several headers, as text or number, each with the place where it was found.

Sloppy values are understood here once: numbers written as strings, blank strings, "N/A". What a keyword means is the
caller's.
"""

import math
from dataclasses import dataclass
from typing import Any

from astropy.io import fits

EMPTY = frozenset({"", "N/A", "NA", "NONE", "NULL", "NOTAVAIL", "UNKNOWN", "UNDEFINED", "UNDEF", "--", "-", "?"})


@dataclass(frozen=True, slots=True)
class Keywords:
    """Headers in the order in which they are asked; index: of the HDU."""

    headers: tuple[tuple[int, fits.Header], ...]

    def find(self, *names: str) -> tuple[Any, str] | None:
        """(value, source) of the first of these keywords that has a value; None if none has.

        All headers are asked for the first name before the second is tried. HIERARCH may be left out.
        """
        for name in names:
            key = name.removeprefix("HIERARCH ")
            for index, header in self.headers:
                value = header.get(key)
                if value is None or isinstance(value, fits.card.Undefined):
                    continue
                if isinstance(value, str) and value.strip().upper() in EMPTY:
                    continue
                return value, f"[{index}] {key}"
        return None

    def text(self, *names: str) -> tuple[str, str] | None:
        """As find, for text; inner runs of blanks become one. Numbers become text, booleans are skipped."""
        for name in names:
            found = self.find(name)
            if found is not None and not isinstance(found[0], bool):
                value = " ".join(str(found[0]).replace("\x00", " ").split())
                if value:
                    return value, found[1]
        return None

    def number(self, *names: str) -> tuple[float, str] | None:
        """As find, for finite numbers; a string is read as a number where it is one."""
        for name in names:
            found = self.find(name)
            if found is None or isinstance(found[0], bool):
                continue
            try:
                value = float(found[0])
            except (TypeError, ValueError):
                continue
            if math.isfinite(value):
                return value, found[1]
        return None


def json_value(value: Any) -> Any:
    """A header value as JSON can carry it: NaN, infinities and complex numbers as text, no NUL, undefined as null."""
    if value is None or isinstance(value, fits.card.Undefined):
        return None
    if isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return str(value).replace("\x00", "")
