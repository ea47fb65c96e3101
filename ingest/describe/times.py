"""When it was observed: t_min, t_max, t_exptime from the many ways in which headers say it.

Rules, most trusted first. t_min: MJD-OBS, unless it is a whole number and DATE-OBS knows the time of day; DATE-OBS, its
time of day taken from TIME-OBS, UT, UTC, ... where DATE-OBS has none; MJDREF + TSTART; JD. t_max: MJD-END, DATE-END,
MJDREF + TSTOP, else t_min plus the elapsed (ELAPTIME, ...) or exposure time; a date without time of day spans its day.
TIMESYS (TT, TAI, TDB, ...) becomes UTC. An impossible date gives no time and a finding, never a wrong one.
"""

import re
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from astropy.time import Time

from ingest.describe.facts import Facts
from ingest.describe.keywords import Keywords
from ingest.findings import Finding

ISO = re.compile(r"^(\d{4})-(\d{1,2})-(\d{1,2})(?:[T ](.+?)Z?)?$")
OLD = re.compile(r"^(\d{1,2})/(\d{1,2})/(\d{2}|\d{4})$")
SLASHED = re.compile(r"^(\d{4})/(\d{1,2})/(\d{1,2})$")
PACKED = re.compile(r"^((?:19|20)\d{2})(\d{2})(\d{2})$")
CLOCK = re.compile(r"^(\d{1,2})[: h](\d{1,2})(?:[: m](\d{1,2}(?:\.\d*)?)s?)?$")
SCALES = {
    "TT": "tt",
    "TDT": "tt",
    "ET": "tt",
    "TAI": "tai",
    "IAT": "tai",
    "TDB": "tdb",
    "TCB": "tcb",
    "TCG": "tcg",
    "UT1": "utc",
}
CLOCK_KEYS = (
    "TIME-OBS",
    "TIMEOBS",
    "UT",
    "UTC",
    "UT-OBS",
    "UTC-OBS",
    "UTSTART",
    "UTC-START",
    "UT-START",
    "TIME-BEG",
    "TAIHMS",
)
EXPOSURES = ("EXPTIME", "TEXPTIME", "EXPOSURE", "EXP_TIME", "ONTIME", "ITIME", "LIVETIME", "ESO DET WIN1 DIT1")
ELAPSED = ("ELAPTIME", "TELAPSE", "DURATION", "OBS_TIME")
OLDEST_MJD, NEWEST_MJD = -8000.0, 100_000.0  # 1836, before the first photograph of the sky; 2132


@dataclass(frozen=True, slots=True)
class Moment:
    """mjd: UTC. precise: the time of day is known. source: the keywords it came from."""

    mjd: float
    source: str
    precise: bool = True


def add_times(facts: Facts, keywords: Keywords) -> None:
    """Add t_min and t_max (MJD, UTC) and t_exptime (s), as far as the header knows them and nobody has before."""
    scale, scale_source = _scale(keywords)
    exposure = keywords.number(*EXPOSURES)
    if exposure is not None and exposure[0] >= 0:
        seconds, source = _longest_named(keywords, exposure)
        facts.add("t_exptime", seconds, source, "exposure time")
    start = _start(keywords, scale, facts)
    if start is None:
        return
    why = "start of the observation" + (f", {scale.upper()} to UTC ({scale_source})" if scale != "utc" else "")
    facts.add("t_min", start.mjd, start.source, why)
    end, why_end = _end(keywords, scale, facts, start)
    if end.mjd < facts.get("t_min"):
        facts.found(
            Finding("warning", "time_end_before_start", end.source, f"the end (MJD {end.mjd:.6f}) is before the start.")
        )
        end, why_end = _computed_end(keywords, facts, start)
    facts.add("t_max", max(end.mjd, facts.get("t_min")), end.source, why_end)


def _longest_named(keywords: Keywords, first: tuple[float, str]) -> tuple[float, str]:
    """An EXPTIME of zero beside an EXPOSURE that is not is a placeholder: take the first that is above zero."""
    if first[0] > 0:
        return first
    for name in EXPOSURES:
        found = keywords.number(name)
        if found is not None and found[0] > 0:
            return found
    return first


def _scale(keywords: Keywords) -> tuple[str, str]:
    found = keywords.text("TIMESYS")
    if found is None:
        return "utc", ""
    word = re.split(r"[ (]", found[0].upper())[0]
    return SCALES.get(word, "utc"), found[1]


def to_utc(time: Time) -> float:
    """MJD in UTC. astropy warns of dates before 1960, when there was no UTC: the difference is below a second."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(time.utc.mjd)


def _start(keywords: Keywords, scale: str, facts: Facts) -> Moment | None:
    dated = _date(keywords, ("DATE-OBS", "DATE_OBS", "DATE-BEG", "DATEOBS"), CLOCK_KEYS, scale, facts)
    mjd = _mjd(keywords, ("MJD-OBS", "MJD_OBS", "MJD-BEG", "MJDSTART"), scale, facts)
    if mjd is not None and not (mjd.mjd == int(mjd.mjd) and dated is not None and dated.precise):
        return mjd
    return dated or _relative(keywords, ("TSTART",), scale) or _julian(keywords, facts)


def _end(keywords: Keywords, scale: str, facts: Facts, start: Moment) -> tuple[Moment, str]:
    found = (
        _mjd(keywords, ("MJD-END", "MJD_END", "MJDEND"), scale, facts)
        or _date(keywords, ("DATE-END", "DATE_END"), ("TIME-END", "UTC-END", "UTEND", "UT-END"), scale, facts)
        or _relative(keywords, ("TSTOP",), scale)
    )
    if found is None:
        return _computed_end(keywords, facts, start)
    if not found.precise:
        found = Moment(found.mjd + 1, found.source)
    return found, "end of the observation"


def _computed_end(keywords: Keywords, facts: Facts, start: Moment) -> tuple[Moment, str]:
    if not start.precise:
        return Moment(start.mjd + 1, start.source), "the day is known, the time of day is not"
    elapsed = keywords.number(*ELAPSED)
    seconds = elapsed[0] if elapsed is not None and elapsed[0] > 0 else facts.get("t_exptime", 0.0)
    # An exposure of more than a day is the sum over a stack, which says nothing about when the stack ended.
    if not 0 <= seconds < 86_400:
        return start, "the start: the exposure time is a sum over many nights, the end is not told"
    return Moment(start.mjd + seconds / 86_400, start.source), "start plus elapsed or exposure time"


def _mjd(keywords: Keywords, names: tuple[str, ...], scale: str, facts: Facts) -> Moment | None:
    found = keywords.number(*names)
    if found is None or found[0] == 0:
        return None
    if not OLDEST_MJD < found[0] < NEWEST_MJD:
        _impossible(facts, found[1], str(found[0]))
        return None
    return Moment(to_utc(Time(found[0], format="mjd", scale=scale)), found[1])


def _relative(keywords: Keywords, names: tuple[str, ...], scale: str) -> Moment | None:
    """Seconds (or TIMEUNIT) after MJDREF, as X- and gamma-ray missions count (FITS 4.0 §9.2.2)."""
    found = keywords.number(*names)
    whole, part = keywords.number("MJDREF", "MJDREFI"), keywords.number("MJDREFF")
    if found is None or whole is None:
        return None
    unit = keywords.text("TIMEUNIT")
    days = found[0] if unit is not None and unit[0].lower().startswith("d") else found[0] / 86_400
    reference = whole[0] + (part[0] if part is not None and whole[1].endswith("I") else 0.0)
    zero = keywords.number("TIMEZERO")
    days += 0 if zero is None else zero[0] / 86_400
    if not OLDEST_MJD < reference + days < NEWEST_MJD:
        return None
    return Moment(to_utc(Time(reference, days, format="mjd", scale=scale)), f"{whole[1]} + {found[1]}")


def _julian(keywords: Keywords, facts: Facts) -> Moment | None:
    found = keywords.number("JD", "JD-OBS", "JD_OBS")
    if found is None or not OLDEST_MJD < found[0] - 2_400_000.5 < NEWEST_MJD:
        return None
    return Moment(found[0] - 2_400_000.5, found[1])


def _date(
    keywords: Keywords, names: tuple[str, ...], clocks: tuple[str, ...], scale: str, facts: Facts
) -> Moment | None:
    """A date keyword, with the time of day from another where it has none of its own."""
    found = keywords.find(*names)
    if found is None:
        return None
    value, source = found
    if isinstance(value, float) and 1800 < value < 2200:
        return Moment(float(Time(value, format="jyear", scale="tt").mjd // 1), f"{source} (a decimal year)", False)
    parts = _calendar(str(value).strip())
    if parts is None:
        _impossible(facts, source, str(value))
        return None
    day, clock = parts
    seconds = None if clock is None else _seconds(clock)
    if clock is not None and seconds is None:
        _impossible(facts, source, str(value))
        return None
    if seconds is None:
        for name in clocks:
            text = keywords.text(name)
            seconds = None if text is None else _seconds(text[0])
            if text is not None and seconds is not None:
                source += f" + {text[1]}"
                # SDSS writes the date in TIMESYS and a clock named after its own scale.
                scale = "tai" if name == "TAIHMS" else scale
                break
    midnight = float((day - datetime(1858, 11, 17)).days)
    if not OLDEST_MJD < midnight < NEWEST_MJD:
        _impossible(facts, source, str(value))
        return None
    moment = Time(midnight, (seconds or 0.0) / 86_400, format="mjd", scale=scale)
    return Moment(to_utc(moment), source, seconds is not None)


def _calendar(text: str) -> tuple[datetime, str | None] | None:
    """The day and what stands after it, of any form FITS has seen; None if it is no day of the calendar.

    Two-digit years are 19yy (FITS 4.0 §9.1.1 footnote, the form before 1998).
    """
    clock = None
    if (hit := ISO.match(text)) is not None:
        year, month, day, clock = int(hit[1]), int(hit[2]), int(hit[3]), hit[4]
    elif (hit := SLASHED.match(text) or PACKED.match(text)) is not None:
        year, month, day = int(hit[1]), int(hit[2]), int(hit[3])
    elif (hit := OLD.match(text)) is not None:
        year, month, day = int(hit[3]), int(hit[2]), int(hit[1])
        year += 1900 if year < 100 else 0
    else:
        return None
    try:
        return datetime(year, month, day), clock
    except ValueError:
        return None


def _seconds(text: str) -> float | None:
    """Seconds of the day of hh:mm[:ss.s]; 24:00:00 and leap seconds are let pass; None if it is no clock."""
    hit = CLOCK.match(text.strip().rstrip("Z"))
    if hit is None:
        return None
    hours, minutes, seconds = int(hit[1]), int(hit[2]), float(hit[3] or 0)
    if hours > 24 or minutes > 59 or seconds >= 61:
        return None
    return hours * 3600 + minutes * 60 + seconds


def _impossible(facts: Facts, source: str, value: str) -> None:
    facts.found(
        Finding(
            "warning", "date_impossible", source, f"{value!r} is no date; the time of observation stays unknown.",
            "write it as YYYY-MM-DDThh:mm:ss.sss.",
        )
    )  # fmt: skip


def creation_date(keywords: Keywords) -> datetime | None:
    """DATE as a datetime, UTC; None if absent or no date."""
    found = keywords.text("DATE")
    parts = None if found is None else _calendar(found[0])
    if parts is None:
        return None
    seconds = _seconds(parts[1]) if parts[1] else None
    return (parts[0] + timedelta(seconds=seconds or 0)).replace(tzinfo=UTC)
