"""Optical interferometry: OIFITS files (visibilities, closure phases) as ObsCore's "visibility".

Source: OIFITS 2 (Duvert, Young & Hummel 2017, A&A 597, A8); OIFITS 1 (Pauls et al. 2005).
"""

import astropy.units as u
import numpy as np
from astropy.coordinates import FK5, Angle, SkyCoord
from astropy.time import Time

from ingest.describe.facts import Facts
from ingest.describe.header import FitsFile, Hdu
from ingest.describe.provenance import progenitors
from ingest.describe.wavelengths import samples
from ingest.findings import Finding

DATA = ("OI_VIS2", "OI_VIS", "OI_T3", "OI_FLUX", "OI_SPECTRUM")
SECONDS_PER_DAY = 86_400.0


def recognises(file: FitsFile) -> bool:
    """An OI_TARGET or OI_WAVELENGTH with data of some kind: raw VLTI frames have neither."""
    names = {hdu.name for hdu in file.hdus}
    return "OI_WAVELENGTH" in names and bool(names & set(DATA))


def describe(file: FitsFile, facts: Facts) -> None:
    """Target and position of OI_TARGET, band of OI_WAVELENGTH, times of the data tables."""
    facts.add("dataproduct_type", "visibility", "OI_* tables", "OIFITS")
    _kind(file, facts)
    _targets(file, facts)
    _band(file, facts)
    _times(file, facts)
    keywords = file.keywords()
    array = next((str(hdu.header.get("ARRNAME", "")).strip() for hdu in file.hdus if hdu.name == "OI_ARRAY"), "")
    facility = keywords.text("TELESCOP")
    facts.add("facility_name", facility[0] if facility else array, facility[1] if facility else "OI_ARRAY ARRNAME")
    instrument = next((str(hdu.header["INSNAME"]).strip() for hdu in _named(file, "OI_WAVELENGTH")
                       if hdu.header.get("INSNAME")), None)  # fmt: skip
    told = keywords.text("INSTRUME")
    facts.add("instrument_name", told[0] if told else instrument, told[1] if told else "OI_WAVELENGTH INSNAME")
    facts.add("progenitors", progenitors(file), "PROVi, ESO PRO RECi", "the files it was made from")


def _kind(file: FitsFile, facts: Facts) -> None:
    keywords = file.keywords()
    facts.add("kind", "product", "OI_* tables", "OIFITS is reduced data")
    category = keywords.text("ESO PRO CATG")
    raw = category is not None and "RAW" in category[0].upper()
    if raw:
        facts.add("calib_level", 1, "ESO PRO CATG", "visibilities not yet calibrated by a star of known diameter")
    facts.add("calib_level", 2, "OI_* tables", "calibrated visibilities")
    # ObsCore 1.1 §B.6.4 has absolute, relative, normalized and any: no word for what is not calibrated at all.
    facts.add("o_calib_status", None if raw else "absolute", category[1] if category else "OI_* tables")


def _named(file: FitsFile, *names: str) -> list[Hdu]:
    return [hdu for hdu in file.hdus if hdu.name in names and hdu.shape and hdu.shape[0] > 0]


def _targets(file: FitsFile, facts: Facts) -> None:
    for hdu in _named(file, "OI_TARGET"):
        rows = file.table(hdu.index)
        observed = _observed(file)
        kept = [row for row in range(len(rows)) if not observed or int(rows["TARGET_ID"][row]) in observed] or [0]
        names = list(dict.fromkeys(str(rows["TARGET"][row]).strip() for row in kept))
        facts.add("target_name", names[0] if len(names) == 1 else ", ".join(names), f"{hdu.label} TARGET")
        row = kept[0]
        ra, dec, equinox = float(rows["RAEP0"][row]), float(rows["DECEP0"][row]), float(rows["EQUINOX"][row])
        place = _place(ra, dec, equinox)
        source = f"{hdu.label} RAEP0, DECEP0"
        # GRAVITY and old AMBER files hold hours where the standard wants degrees: the telescope's own pointing decides.
        pointing = file.keywords().number("RA"), file.keywords().number("DEC")
        if pointing[0] and pointing[1]:
            axis = SkyCoord(pointing[0][0] * u.deg, pointing[1][0] * u.deg)
            hours = _place(ra * 15, dec, equinox) if 0 <= ra < 24 else None
            if hours and place and hours.separation(axis) < 1 * u.deg < place.separation(axis):
                place = hours
                text = "RAEP0 is in hours: the pointing is there, and 15 times nearer zero nothing was observed."
                facts.found(Finding("warning", "hours_for_degrees", source, text, "write RAEP0 in degrees."))
        if place is None:
            facts.found(Finding("warning", "position_impossible", source, f"{ra}, {dec} is no position."))
            continue
        facts.add("s_ra", float(place.ra.deg) % 360.0, source, f"equinox {equinox:g}")
        facts.add("s_dec", float(place.dec.deg), source, f"equinox {equinox:g}")
        return


def _place(ra: float, dec: float, equinox: float) -> SkyCoord | None:
    if not (0 <= ra <= 360 and -90 <= dec <= 90) or not np.isfinite(equinox):
        return None
    if abs(equinox - 2000) < 0.01 or not 1850 <= equinox <= 2100:
        return SkyCoord(ra * u.deg, dec * u.deg)
    return SkyCoord(Angle(ra, u.deg), Angle(dec, u.deg), frame=FK5(equinox=Time(equinox, format="jyear"))).icrs


def _observed(file: FitsFile) -> set[int]:
    """TARGET_IDs of the data's rows."""
    ids: set[int] = set()
    for hdu in _named(file, *DATA):
        if "TARGET_ID" in hdu.columns:
            ids.update(int(number) for number in np.unique(file.table(hdu.index)["TARGET_ID"]))
    return ids


def _band(file: FitsFile, facts: Facts) -> None:
    lows, highs, powers, count = [], [], [], 0
    used = {str(hdu.header.get("INSNAME", "")).strip() for hdu in _named(file, *DATA)}
    for hdu in _named(file, "OI_WAVELENGTH"):
        if used and str(hdu.header.get("INSNAME", "")).strip() not in used:
            continue
        rows = file.table(hdu.index)
        centre, width = (np.asarray(rows[name], np.float64) for name in ("EFF_WAVE", "EFF_BAND"))
        width = np.where(np.isfinite(width) & (width > 0), width, 0.0)
        low, high = samples(centre - width / 2), samples(centre + width / 2)
        if low is None or high is None:
            continue
        lows.append(low.low)
        highs.append(high.high)
        count += low.count
        if (width > 0).any():
            powers.append(float(np.median(centre[width > 0] / width[width > 0])))
    if lows:
        why = "EFF_WAVE -/+ half of EFF_BAND, vacuum"
        facts.add("em_min", min(lows), "OI_WAVELENGTH", why)
        facts.add("em_max", max(highs), "OI_WAVELENGTH", why)
        facts.add("em_xel", count, "OI_WAVELENGTH", "channels of the setups in use")
        facts.add("em_ucd", "em.wl", "OI_WAVELENGTH")
    if powers:
        facts.add("em_res_power", max(powers), "OI_WAVELENGTH", "median of EFF_WAVE / EFF_BAND")


def _times(file: FitsFile, facts: Facts) -> None:
    starts, ends, exposures = [], [], []
    for hdu in _named(file, *DATA):
        if "MJD" not in hdu.columns:
            continue
        rows = file.table(hdu.index)
        middle = np.asarray(rows["MJD"], np.float64)
        span = np.asarray(rows["INT_TIME"], np.float64) if "INT_TIME" in hdu.columns else np.zeros_like(middle)
        good = np.isfinite(middle) & (middle > 0)
        span = np.where(np.isfinite(span) & (span > 0), span, 0.0)
        if good.any():
            half = span[good] / 2 / SECONDS_PER_DAY
            starts.append(float((middle[good] - half).min()))
            ends.append(float((middle[good] + half).max()))
            # Baselines of one exposure share its time: the integration is that of the distinct instants, not of rows.
            instants = dict(zip(middle[good].tolist(), span[good].tolist(), strict=True))
            exposures.append(sum(instants.values()))
    if starts:
        facts.add("t_min", min(starts), "OI_* MJD", "earliest MJD less half of INT_TIME")
        facts.add("t_max", max(ends), "OI_* MJD", "latest MJD and half of INT_TIME")
    if exposures and max(exposures) > 0:
        facts.add("t_exptime", max(exposures), "OI_* INT_TIME", "sum over distinct MJDs of one table")
