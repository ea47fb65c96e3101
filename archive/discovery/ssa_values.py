"""The forms of SSA's values: range lists, dates, named bands, positions with a frame (SSA 1.1 §8.7)."""

import calendar
import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from archive.discovery.conditions import Bound, Condition, any_of, column, decimal, each, meets
from archive.vo.errors import UsageError
from archive.vo.intervals import BandInterval, Interval, TimeInterval

MJD_ZERO = datetime(1858, 11, 17, tzinfo=UTC)
FRAMES = {"ICRS": "icrs", "FK5": "fk5", "J2000": "fk5", "GALACTIC": "galactic"}
# Metres in vacuum: the IVOA's vocabulary of messengers, then the optical and infrared bands by their usual limits.
BANDS = {
    "radio": (1e-2, math.inf), "millimeter": (1e-4, 1e-2), "infrared": (1e-6, 1e-4), "optical": (3e-7, 1e-6),
    "uv": (1e-7, 3e-7), "euv": (1e-8, 1e-7), "x-ray": (1e-11, 1e-8), "gamma-ray": (0.0, 1e-11),
    "U": (3.2e-7, 4.0e-7), "B": (4.0e-7, 5.0e-7), "V": (5.0e-7, 6.0e-7), "R": (5.9e-7, 7.6e-7),
    "I": (7.5e-7, 1.0e-6), "J": (1.1e-6, 1.4e-6), "H": (1.5e-6, 1.8e-6), "K": (2.0e-6, 2.5e-6),
}  # fmt: skip
_ANYWHERE = "true"
# Regular expressions of media types; None: whatever it is.
_FORMATS = {
    "all": None, "native": None, "compliant": "fits|votable", "fits": "fits", "votable": "votable", "xml": "xml",
    "graphic": "^image/(?!.*fits)", "metadata": None,
}  # fmt: skip
_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d(?:\.\d{1,6})?))?)?)?)?Z?")


def position(name: str, text: str) -> tuple[float, float]:
    """`lon,lat` or `lon,lat;FRAME` as ICRS degrees (SSA 1.1 §4.1.1.1). UsageError: no position, another frame."""
    place, _, frame = text.partition(";")
    parts = place.split(",")
    if len(parts) != 2:
        raise UsageError(f"{name} takes `ra,dec` in degrees, not {text!r}")
    lon, lat = (decimal(name, part) for part in parts)
    known = FRAMES.get(frame.strip().upper() or "ICRS")
    if known is None:
        raise UsageError(f"{name}: the frame {frame!r} is not known; there are {', '.join(FRAMES)}")
    if not -90 <= lat <= 90:
        raise UsageError(f"{name}: {lat:g} is no latitude; it takes -90 to 90 degrees")
    if known == "icrs":
        return lon % 360, lat
    from astropy.coordinates import SkyCoord  # half a second, which no process waits for at its start

    there = SkyCoord(lon, lat, unit="deg", frame=known).icrs
    return float(there.ra.deg), float(there.dec.deg)


def interval(name: str, text: str, end: Callable[[str], tuple[float, float]]) -> Interval:
    """`a/b`, `/b`, `a/` or `a` (SSA 1.1 §8.7.2). end: reads one, to the first and last value that it means."""
    low, slash, high = (part.strip() for part in text.partition("/"))
    if not low and not high:
        raise UsageError(f"{name} takes `a/b`, `/b`, `a/` or `a`, not {text!r}")
    if not slash:
        return Interval(*end(low))
    return Interval(end(low)[0] if low else -math.inf, end(high)[1] if high else math.inf)


def listed(name: str, text: str) -> list[str]:
    """The members of a list, which commas part; what follows a semicolon qualifies it and is read by nobody here."""
    members = [member.strip() for member in text.partition(";")[0].split(",")]
    if not any(members):
        raise UsageError(f"{name} takes a value or a list of them, not {text!r}")
    return [member for member in members if member]


def _each_member(make: Callable[[str, str, Bound], str]) -> Condition:
    def whole(name: str, text: str, bound: Bound) -> str:
        return any_of([make(name, member, bound) for member in listed(name, text)])

    return each(whole)


def _band(name: str, text: str, bound: Bound) -> str:
    known = BANDS.get(text) or BANDS.get(text.lower())
    limits = Interval(*known) if known else interval(name, text, lambda end: (decimal(name, end),) * 2)
    return meets("em_min", "em_max", BandInterval(limits.low, limits.high), bound)


covers_band: Condition = _each_member(_band)


def date(name: str, text: str) -> tuple[float, float]:
    """First and last MJD (UTC) that a date of any precision means: 2003-05 is the whole of May (ISO 8601)."""
    match = _DATE.fullmatch(text)
    if not match:
        raise UsageError(f"{name} takes dates such as 2003-05-21T12:00:00, not {text!r}")
    year, month, day, hour, minute, second = match.groups()
    try:
        start = datetime(int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0), tzinfo=UTC)
    except ValueError as problem:
        raise UsageError(f"{name}: {text!r} is no date: {problem}") from None
    start += timedelta(seconds=float(second or 0))
    days = 366 if calendar.isleap(start.year) else 365
    length = timedelta(days=days if month is None else calendar.monthrange(start.year, start.month)[1])
    if day is not None:
        length = timedelta(days=1) if hour is None else timedelta(minutes=0 if second else 1)
    first = (start - MJD_ZERO) / timedelta(days=1)
    return first, first + length / timedelta(days=1)


def _time(name: str, text: str, bound: Bound) -> str:
    wanted = interval(name, text, lambda end: date(name, end))
    return meets("t_min", "t_max", TimeInterval(wanted.low, wanted.high), bound)


covers_time: Condition = _each_member(_time)


def _changed(name: str, text: str, bound: Bound) -> str:
    wanted = interval(name, text, lambda end: date(name, end))
    limits = [(">=", wanted.low), ("<=", wanted.high)]
    told = [f"{column('last_mod_date')} {sign} {bound(_moment(mjd))}" for sign, mjd in limits if math.isfinite(mjd)]
    return f"({' AND '.join(told)})"


def _moment(mjd: float) -> datetime:
    """Without a zone, as the column is: UTC."""
    try:
        return (MJD_ZERO + timedelta(days=mjd)).replace(tzinfo=None)
    except OverflowError:  # the end of the year 9999
        return datetime.max


changed_in: Condition = _each_member(_changed)


def has_format(name: str, values: Sequence[str], bound: Bound) -> str:
    """FORMAT: the file's media type is of a kind, or one of those listed (SSA 1.1 §4.1.1.5)."""
    made = []
    for member in (member for text in values for member in text.split(",")):
        wanted = member.strip().lower()
        if wanted not in _FORMATS and "/" not in wanted:
            raise UsageError(f"{name} takes {', '.join(_FORMATS)}, or media types; not {member!r}")
        kind = _FORMATS.get(wanted, wanted)
        if kind is None:
            return _ANYWHERE
        made.append(f"lower(media_type) {'~' if wanted in _FORMATS else '='} {bound(kind)}")
    return f"dp_id IN (SELECT file_id FROM pub.file WHERE {any_of(made)})"  # noqa: S608 - bound


def has_part(of: str) -> Condition:
    """The column has the text in it, in any case (SSA 1.1 §4.1.2.5)."""
    return _each_member(lambda name, text, bound: f"{column(of)} ILIKE {bound(f'%{_literally(text)}%')}")


def is_listed(of: str) -> Condition:
    """The column is a member of the list, in any case."""
    return each(
        lambda name, text, bound: (
            f"lower({column(of)}) = ANY({bound([member.lower() for member in listed(name, text)])})"
        )
    )


def has_calibration(name: str, values: Sequence[str], bound: Bound) -> str:
    """FLUXCALIB: the flux is calibrated so; any, and none asked, mean all (SSA 1.1 §4.1.2.18)."""
    wanted = [value.strip().lower() for value in values]
    return _ANYWHERE if "any" in wanted else f"lower(o_calib_status) = ANY({bound(wanted)})"


def _literally(text: str) -> str:
    """For LIKE: its signs as themselves."""
    return re.sub(r"([\\%_])", r"\\\1", text)
