"""Event lists of X-ray and gamma-ray telescopes ("event") and light curves ("timeseries").

Source: OGIP/93-003 (times), GADF 0.3 (gamma-ray data level 3), TESS Science Data Products (light curves).
"""

import re

import astropy.units as u
import numpy as np
from astropy.time import Time

from archive.vo.regions import Circle
from ingest.catalogues.kinds import table_kind
from ingest.describe.facts import Facts
from ingest.describe.header import FitsFile, Hdu
from ingest.describe.keywords import Keywords
from ingest.describe.position import AXIS_PAIRS, PAIRS, pointing
from ingest.describe.units import parse_unit
from ingest.describe.wavelengths import samples, wavelengths

SCALES = {"TT": "tt", "TDB": "tdb", "TAI": "tai", "UTC": "utc", "TDT": "tt", "ET": "tt"}
# Radius of the field, degrees, of instruments whose headers do not say; each from its own data-release paper.
FIELD_RADII = {"HESS": 2.5, "CTA": 4.0, "MAGIC": 1.75, "VERITAS": 1.75}
_REFERENCE = re.compile(r"B?JD\s*-\s*(\d+(?:\.\d+)?)", re.IGNORECASE)


def recognises(file: FitsFile) -> bool:
    """A table that says it is a list of events or a light curve."""
    return table_kind([hdu.header for hdu in file.hdus]) in ("event", "timeseries")


def describe(file: FitsFile, facts: Facts) -> None:
    """Events: pointing, field, energies, times. Light curves: target, times of the samples."""
    if table_kind([hdu.header for hdu in file.hdus]) == "event":
        _events(file, facts, _table(file, {"TIME"}, "EVENTS"))
    else:
        _light_curve(file, facts, _table(file, {"TIME"}, "LIGHTCURVE"))


def _table(file: FitsFile, columns: set[str], name: str) -> Hdu:
    tables = [hdu for hdu in file.hdus if hdu.kind == "table"]
    named = [hdu for hdu in tables if hdu.name == name]
    fitting = [hdu for hdu in tables if columns <= {column.upper() for column in hdu.columns}]
    return (named or fitting or tables)[0]


def _events(file: FitsFile, facts: Facts, hdu: Hdu) -> None:
    keywords = file.keywords(hdu.index)
    facts.add("kind", "product", hdu.label, "a list of events")
    facts.add("dataproduct_type", "event", hdu.label, "EXTNAME or HDUCLAS1 is EVENTS")
    facts.add("calib_level", 2, hdu.label, "events with calibrated energies and directions")
    _place(keywords, facts, field=True)
    _energies(file, facts, hdu)
    _ogip_times(keywords, facts)
    live = keywords.number("LIVETIME", "ONTIME", "EXPOSURE")
    if live is not None and live[0] > 0:
        facts.add("t_exptime", live[0], live[1], "time in which events could be seen")
    facts.add("o_ucd", "phot.count", hdu.label, "each row is an event")
    facts.add("o_unit", "count", hdu.label)
    number = keywords.text("OBS_ID")
    if number is not None:
        facts.add("obs_id", number[0], number[1], "the observation's number")


def _place(keywords: Keywords, facts: Facts, *, field: bool) -> None:
    # The field of an event list is round the axis, not the target: wobble observations point beside it.
    position = pointing(keywords, AXIS_PAIRS if field else PAIRS)
    if position is None:
        return
    facts.add("s_ra", position.ra, position.source, position.why)
    facts.add("s_dec", position.dec, position.source, position.why)
    telescope = str((keywords.find("TELESCOP") or ("", ""))[0]).upper().replace(".", "").strip()
    radius = FIELD_RADII.get(telescope) if field else None
    if radius is not None:
        facts.add("s_region", Circle(position.ra, position.dec, radius), "TELESCOP", "the telescope's field of view")
        facts.add("s_fov", 2 * radius, "TELESCOP", "the telescope's field of view")


def _energies(file: FitsFile, facts: Facts, hdu: Hdu) -> None:
    names = {name.upper(): number for number, name in enumerate(hdu.columns, 1)}
    for name in ("ENERGY", "PI"):
        if name not in names:
            continue
        told = hdu.header.get(f"TUNIT{names[name]}") or hdu.header.get("EUNIT")
        unit = parse_unit(str(told)) if told else None
        if unit is None or not unit.is_equivalent(u.J):
            continue
        seen = samples(wavelengths(file.table(hdu.index)[hdu.columns[names[name] - 1]], unit))
        if seen is not None:
            why = "of the events' lowest and highest energy"
            facts.add("em_min", seen.low, f"{hdu.label} {name}", why)
            facts.add("em_max", seen.high, f"{hdu.label} {name}", why)
            facts.add("em_ucd", "em.energy", f"{hdu.label} {name}")
            return


def _ogip_times(keywords: Keywords, facts: Facts) -> None:
    """t_min and t_max from MJDREF, TIMEZERO, TSTART and TSTOP (OGIP/93-003 §3)."""
    reference = keywords.number("MJDREF")
    whole, part = keywords.number("MJDREFI"), keywords.number("MJDREFF")
    zero = reference[0] if reference else (whole[0] + (part[0] if part else 0.0) if whole else None)
    start, stop = keywords.number("TSTART"), keywords.number("TSTOP")
    if zero is None or start is None or stop is None:
        return
    offset = keywords.number("TIMEZERO")
    told = keywords.text("TIMEUNIT")
    day = 1.0 if told and told[0].lower().startswith("d") else 86_400.0
    scale = SCALES.get(str((keywords.find("TIMESYS") or ("TT", ""))[0]).upper().strip(), "tt")
    extra = (offset[0] if offset else 0.0) / day
    begin, end = (Time(zero, moment[0] / day + extra, format="mjd", scale=scale).utc.mjd for moment in (start, stop))
    facts.add("t_min", float(begin), "MJDREF, TSTART", f"{scale.upper()} to UTC")
    facts.add("t_max", float(end), "MJDREF, TSTOP", f"{scale.upper()} to UTC")


def _light_curve(file: FitsFile, facts: Facts, hdu: Hdu) -> None:
    keywords = file.keywords(hdu.index)
    facts.add("kind", "product", hdu.label, "a light curve")
    facts.add("dataproduct_type", "timeseries", hdu.label, "brightness against time")
    facts.add("dataproduct_subtype", "lightcurve", hdu.label)
    facts.add("calib_level", 2, hdu.label, "calibrated brightness")
    _place(keywords, facts, field=False)
    facts.add("t_xel", hdu.shape[0], hdu.label, "rows")
    column = next((name for name in hdu.columns if name.upper() == "TIME"), None)
    if column is not None:
        _sampled(file, facts, hdu, column, keywords)
    exposure = keywords.number("EXPOSURE")
    if exposure is not None and "EXPOSURE" in hdu.header:
        # Kepler and TESS count EXPOSURE in days; their comment says so, and 22 s of a month would be absurd.
        comment = hdu.header.comments["EXPOSURE"].strip().lower()
        seconds = exposure[0] * (86_400.0 if comment.startswith("[d]") else 1.0)
        facts.add("t_exptime", seconds, exposure[1], "time on source")
    flux = next((name for name in hdu.columns if "FLUX" in name.upper()), None)
    if flux is not None:
        facts.add("o_ucd", "phot.flux", f"{hdu.label} {flux}")
        facts.add("o_unit", "electron/s" if "e-/s" in str(hdu.header.get(
            f"TUNIT{hdu.columns.index(flux) + 1}", "")) else None, f"{hdu.label} {flux}")  # fmt: skip
    band = {"TESS": (600e-9, 1000e-9), "KEPLER": (420e-9, 900e-9), "K2": (420e-9, 900e-9)}.get(
        str((keywords.find("TELESCOP") or ("", ""))[0]).upper().strip()
    )
    if band is not None:
        facts.add("em_min", band[0], "TELESCOP", "the telescope has one filter")
        facts.add("em_max", band[1], "TELESCOP", "the telescope has one filter")


def _sampled(file: FitsFile, facts: Facts, hdu: Hdu, column: str, keywords: Keywords) -> None:
    times = np.asarray(file.table(hdu.index)[column], np.float64)
    times = times[np.isfinite(times)]
    told = str(hdu.header.get(f"TUNIT{hdu.columns.index(column) + 1}", ""))
    whole, part = hdu.header.get("BJDREFI"), hdu.header.get("BJDREFF", 0.0)
    match = _REFERENCE.search(told)
    zero = float(whole) + float(part) if whole is not None else float(match[1]) if match else None
    if not times.size or zero is None:
        return
    # Barycentric times are TDB at the barycentre: up to 8.3 minutes from the clock at the telescope, which is as near
    # as ObsCore's t_min asks; the header's DATE-OBS, in UTC there, is preferred by being the frame's.
    begin, end = Time(zero, [times.min(), times.max()], format="jd", scale="tdb").utc.mjd
    dated = keywords.text("DATE-OBS"), keywords.text("DATE-END")
    if dated[0] is None or dated[1] is None:
        facts.add("t_min", float(begin), f"{hdu.label} {column}", "first sample, barycentric, TDB to UTC")
        facts.add("t_max", float(end), f"{hdu.label} {column}", "last sample, barycentric, TDB to UTC")
    if times.size > 1:
        step = float(np.median(np.diff(times))) * 86_400.0
        facts.add("t_resolution", round(step, 3), f"{hdu.label} {column}", "median step between samples, s")
