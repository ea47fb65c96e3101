"""Spectra in tables: ESO SDP, SDSS, DESI, STIS, FUSE, CRIRES+, SDFITS, OGIP, and any with a column of wavelengths.

Sources: ESO SDP standard v8 §5 (SPECTRUM); SDSS data model (spec); DESI data model (coadd); OGIP/92-007 (PHA),
CAL/GEN/92-002 (ARF); GBT SDFITS 1.9.
"""

import re
from typing import Any

import astropy.units as u
import numpy as np
from astropy.time import Time
from numpy.typing import NDArray

from archive.vo.regions import Circle
from ingest.describe.found import Found, union
from ingest.describe.header import FitsFile, Hdu
from ingest.describe.units import parse_unit
from ingest.describe.wavelengths import Medium, Samples, samples, wavelengths
from ingest.findings import Finding

AXES = ("WAVE", "WAVELENGTH", "LAMBDA", "LAM", "LOGLAM", "FREQ", "FREQUENCY", "ENERGY", "WAVELENGTHS")
# Pipelines that leave their unit out; each by its manual.
UNITS = {"CRIRES": u.nm}
# The energies of pulse-height channels stand in a response file of its own: until then the instrument's band, keV
# (Chandra POG 6, XMM-Newton UHB 3.3, ASCA Technical Description 2).
XRAY_BANDS = {"ACIS": (0.2, 10.0), "HRC": (0.08, 10.0), "EMOS1": (0.15, 12.0), "EMOS2": (0.15, 12.0),
              "EPN": (0.15, 15.0), "SIS0": (0.4, 10.0), "SIS1": (0.4, 10.0), "PSPCB": (0.1, 2.4)}  # fmt: skip
DESI_FIBRE_ARCSEC = 1.5


def is_desi(file: FitsFile) -> bool:
    """DESI coadds: a FIBERMAP and a wavelength image for each camera."""
    names = {hdu.name for hdu in file.hdus}
    return "FIBERMAP" in names and any(re.match(r"^[BRZ]+_WAVELENGTH$", name) for name in names)


def find(file: FitsFile) -> Found:
    """The wavelengths of the spectra in the file's tables."""
    if is_desi(file):
        return _desi(file)
    tables = [hdu for hdu in file.hdus if hdu.kind == "table" and hdu.shape and hdu.shape[0] > 0]
    for hdu in tables:
        classes = {str(hdu.header.get(key, "")).strip().upper() for key in ("HDUCLAS1", "HDUCLAS2")}
        if "SPECRESP" in {name.upper() for name in hdu.columns}:
            return _response(file, hdu)
        if "SPECTRUM" in classes or {"CHANNEL", "COUNTS"} <= {name.upper() for name in hdu.columns}:
            return _pulse_heights(hdu)
        if hdu.name == "SINGLE DISH":
            return _single_dish(file, hdu)
    return _columns(file, tables)


def _columns(file: FitsFile, tables: list[Hdu]) -> Found:
    """All columns of wavelengths in the tables that belong to the first which has one."""
    first = next((hdu for hdu in tables if wavelength_columns(hdu)), tables[0])
    names = wavelength_columns(first)
    if not names:
        return Found((first.index,), None, first.label, "a table of fluxes", missing="no column holds wavelengths.")
    like = [hdu for hdu in tables if names and names[0].endswith("_WL") and wavelength_columns(hdu)] or [first]
    keywords = file.keywords(first.index)
    instrument = str((keywords.find("INSTRUME") or ("", ""))[0]).upper().strip()
    ranges, findings = [], []
    medium: Medium = "vacuum"
    for hdu in like:
        for name in wavelength_columns(hdu):
            number = hdu.columns.index(name) + 1
            values = np.asarray(file.table(hdu.index)[name], np.float64)
            if name.upper() == "LOGLAM":
                values = 10.0**values
            unit = parse_unit(unit_text(hdu.header.get(f"TUNIT{number}"))) or UNITS.get(instrument)
            if unit is None or not unit.is_equivalent(u.m, u.spectral()):
                unit = u.Angstrom
                if name.upper() != "LOGLAM":
                    text = f"no unit is told for {name}; its numbers are taken as Angstrom."
                    findings.append(Finding("warning", "unit_assumed", f"{hdu.label} TUNIT{number}", text))
            medium = _medium(hdu, number, file)
            found = samples(wavelengths(values, unit, medium))
            if found is not None:
                ranges.append(found)
    flux = flux_column(first)
    number = first.columns.index(flux) + 1 if flux else 0
    result = Found(
        (first.index,),
        union(ranges),
        f"{first.label} {names[0]}",
        "lowest and highest of the column" + (", air to vacuum" if medium == "air" else ""),
        medium,
        flux_unit=unit_text(first.header.get(f"TUNIT{number}")),
        flux_ucd=str(first.header.get(f"TUCD{number}", "")).replace(";meta.main", "").strip() or None,
    )
    result.findings += findings
    target = keywords.text("OBJECT", "TARGETID", "HNAME")
    result.facts.append(("target_name", *(target or (None, "")), ""))
    result.facts += _sdss_times(file)
    return result


def _sdss_times(file: FitsFile) -> list[tuple[str, Any, str, str]]:
    """SDSS: the exposures' HDUs tell their start and end, seconds of TAI since MJD 0."""
    begins = [float(hdu.header["TAI-BEG"]) for hdu in file.hdus if "TAI-BEG" in hdu.header]
    ends = [float(hdu.header["TAI-END"]) for hdu in file.hdus if "TAI-END" in hdu.header]
    if not begins or not ends:
        return []
    start, stop = Time([min(begins) / 86_400, max(ends) / 86_400], format="mjd", scale="tai").utc.mjd
    return [("t_min", float(start), "TAI-BEG", "first exposure, TAI to UTC"),
            ("t_max", float(stop), "TAI-END", "last exposure, TAI to UTC")]  # fmt: skip


def unit_text(text: Any) -> str | None:
    word = str(text or "").strip()
    known = {"ANGSTROMS": "Angstrom", "ANGSTROM": "Angstrom", "FLAM": "erg/s/cm2/Angstrom", "NONE": ""}
    return known.get(word.upper(), word.replace("angstrom", "Angstrom")) or None


def wavelength_columns(hdu: Hdu) -> list[str]:
    """Columns of wavelengths: by UCD, by name; of an echelle table each order's."""
    orders = [name for name in hdu.columns if name.upper().endswith("_WL")]
    if orders:
        return orders
    for number, name in enumerate(hdu.columns, 1):
        if str(hdu.header.get(f"TUCD{number}", "")).lower().startswith(("em.wl", "em.freq", "em.energy")):
            return [name]
    known = {name.upper(): name for name in hdu.columns}
    found = [known[name] for name in AXES if name in known]
    return found[:1] or [name for name in hdu.columns if name.upper().startswith(("WAVE", "LAMBDA"))][:1]


def flux_column(hdu: Hdu) -> str | None:
    names = [name for name in hdu.columns if name.upper().startswith("FLUX") or name.upper().endswith("_SPEC")]
    return names[0] if names else None


def _medium(hdu: Hdu, number: int, file: FitsFile) -> Medium:
    ucd = str(hdu.header.get(f"TUCD{number}", "")).lower()
    if "obs.atmos" in ucd:
        return "air"
    told = file.keywords(hdu.index).find("VACUUM", "AIRORVAC")
    if told is not None and str(told[0]).lower() in ("false", "f", "0", "air"):
        return "air"
    # A table that names UCDs follows ESO's standard, where vacuum goes without saying; others are of space telescopes
    # and infrared or survey spectrographs, whose pipelines all give vacuum.
    return "vacuum"


def _desi(file: FitsFile) -> Found:
    ranges = []
    for hdu in file.hdus:
        if hdu.name.endswith("_WAVELENGTH") and hdu.kind == "image":
            found = samples(wavelengths(file.pixels(hdu.index), u.Angstrom))
            if found is not None:
                ranges.append(found)
    fibres = next(hdu for hdu in file.hdus if hdu.name == "FIBERMAP")
    flux = next((hdu for hdu in file.hdus if hdu.name.endswith("_FLUX")), fibres)
    result = Found((fibres.index,), union(ranges), "B, R, Z_WAVELENGTH", "first and last sample of the cameras, vacuum",
                   flux_unit=unit_text(flux.header.get("BUNIT")))  # fmt: skip
    rows = file.table(fibres.index)
    ra, dec = (np.asarray(rows[name], np.float64) for name in ("TARGET_RA", "TARGET_DEC"))
    circle = _around(ra, dec, DESI_FIBRE_ARCSEC / 2 / 3600)
    source = f"{fibres.label} TARGET_RA, TARGET_DEC"
    if circle is not None:
        result.facts += [
            ("s_ra", circle.ra, source, f"middle of {len(ra)} targets"), ("s_dec", circle.dec, source, ""),
            ("s_region", circle, source, "circle around the fibres"), ("s_fov", 2 * circle.radius, source, ""),
        ]  # fmt: skip
    if len(rows) == 1:
        result.facts.append(("target_name", str(rows["TARGETID"][0]), f"{fibres.label} TARGETID", ""))
    result.facts += _desi_times(file)
    result.facts += [("facility_name", "KPNO Mayall 4 m", "FIBERMAP", "DESI's telescope"),
                     ("instrument_name", "DESI", "FIBERMAP", "the format is DESI's alone")]  # fmt: skip
    return result


def _around(ra: NDArray[np.float64], dec: NDArray[np.float64], margin: float) -> Circle | None:
    """The circle about the mean direction that holds all positions and `margin` (degrees) more."""
    lon, lat = np.radians(ra), np.radians(dec)
    vectors = np.column_stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    vectors = vectors[np.isfinite(vectors).all(axis=1)]
    if not len(vectors):
        return None
    mean = vectors.mean(axis=0)
    mean /= np.linalg.norm(mean)
    chord = np.linalg.norm(vectors - mean, axis=1).max()
    radius = float(np.degrees(2 * np.arcsin(chord / 2))) + margin
    return Circle(float(np.degrees(np.arctan2(mean[1], mean[0]))) % 360, float(np.degrees(np.arcsin(mean[2]))), radius)


def _desi_times(file: FitsFile) -> list[tuple[str, Any, str, str]]:
    table = next((hdu for hdu in file.hdus if hdu.name == "EXP_FIBERMAP"), None)
    if table is None or not {"MJD", "EXPTIME", "TARGETID"} <= set(table.columns):
        return []
    rows = file.table(table.index)
    start, seconds = np.asarray(rows["MJD"], np.float64), np.asarray(rows["EXPTIME"], np.float64)
    total: dict[int, float] = {}
    for target, exposure in zip(rows["TARGETID"].tolist(), seconds.tolist(), strict=True):
        total[target] = total.get(target, 0.0) + exposure
    return [
        ("t_min", float(start.min()), f"{table.label} MJD", "first exposure"),
        ("t_max", float((start + seconds / 86_400).max()), f"{table.label} MJD, EXPTIME", "end of the last exposure"),
        ("t_exptime", max(total.values()), f"{table.label} EXPTIME", "of the target exposed longest"),
    ]


def _response(file: FitsFile, hdu: Hdu) -> Found:
    """OGIP ARF: an effective area against energy belongs to a spectrum, and is none."""
    rows = file.table(hdu.index)
    unit = parse_unit(unit_text(hdu.header.get("TUNIT1"))) or u.keV
    edges = np.concatenate([np.asarray(rows["ENERG_LO"], np.float64), np.asarray(rows["ENERG_HI"], np.float64)])
    found = samples(wavelengths(edges, unit))
    bins = Samples(found.low, found.high, len(rows)) if found else None
    return Found((hdu.index,), bins, f"{hdu.label} ENERG_LO, ENERG_HI", "an effective area, not a spectrum",
                 em_ucd="em.energy", is_spectrum=False, subtype="arf")  # fmt: skip


def _pulse_heights(hdu: Hdu) -> Found:
    """OGIP PHA: counts in channels."""
    instrument = str(hdu.header.get("INSTRUME", "")).strip().upper()
    band = XRAY_BANDS.get(instrument)
    source = f"{hdu.label} CHANNEL"
    text = "the energies of the channels stand in the response file (RMF), which is not part of this file"
    result = Found((hdu.index,), None, source, "counts in channels of pulse height", em_ucd="em.energy",
                   flux_unit="ct", flux_ucd="phot.count", missing=text + ".")  # fmt: skip
    if band is not None:
        found = samples(wavelengths(band, u.keV))
        result.range = Samples(found.low, found.high, hdu.shape[0]) if found else None
        result.source, result.why = "INSTRUME", f"{instrument} sees {band[0]:g} to {band[1]:g} keV"
        result.findings.append(Finding("info", "channels_without_energies", source, f"{text}: the instrument's band."))
    return result


def _single_dish(file: FitsFile, hdu: Hdu) -> Found:
    """SDFITS: each row a spectrum, its axis told in the row's own cells."""
    rows = file.table(hdu.index)
    ranges, powers = [], []
    for row in range(len(rows)):
        values = row_frequencies(rows, row)
        if values is None:
            continue
        found = samples(wavelengths(values, u.Hz))
        if found is not None:
            ranges.append(found)
        if "FREQRES" in hdu.columns and float(rows["FREQRES"][row]) > 0:
            powers.append(float(np.median(values)) / float(rows["FREQRES"][row]))
    result = Found((hdu.index,), union(ranges), f"{hdu.label} CRVAL1, CDELT1", f"{len(ranges)} spectra",
                   em_ucd="em.freq", flux_unit=_cell(rows, "TUNIT7"), missing="no frequency axis.")  # fmt: skip
    if ranges:
        result.range = Samples(result.range.low, result.range.high, ranges[0].count) if result.range else None
    result.facts += _single_dish_facts(rows, hdu, powers)
    return result


def row_frequencies(rows: Any, row: int) -> NDArray[np.float64] | None:
    if not str(rows["CTYPE1"][row]).strip().upper().startswith("FREQ"):
        return None
    count = len(np.ravel(rows["DATA"][row]))
    pixels = np.arange(1, count + 1) - float(rows["CRPIX1"][row])
    return np.asarray(float(rows["CRVAL1"][row]) + pixels * float(rows["CDELT1"][row]))


def _cell(rows: Any, name: str) -> str | None:
    return str(rows[name][0]).strip() or None if name in rows.dtype.names else None


def _single_dish_facts(rows: Any, hdu: Hdu, powers: list[float]) -> list[tuple[str, Any, str, str]]:
    facts: list[tuple[str, Any, str, str]] = []
    ra, dec = (np.asarray(rows[name], np.float64) for name in ("CRVAL2", "CRVAL3"))
    if _cell(rows, "CTYPE2") == "RA" and np.isfinite(ra[0]) and np.isfinite(dec[0]):
        facts += [("s_ra", float(ra[0]) % 360, f"{hdu.label} CRVAL2", "first row"),
                  ("s_dec", float(dec[0]), f"{hdu.label} CRVAL3", "first row")]  # fmt: skip
    if powers:
        facts.append(("em_res_power", float(np.median(powers)), f"{hdu.label} FREQRES", "frequency by its resolution"))
    for field, name in (("target_name", "OBJECT"), ("proposal_id", "PROJID"), ("instrument_name", "BACKEND")):
        facts.append((field, _cell(rows, name), f"{hdu.label} {name}", "first row"))
    polarisations = {1: "I", 2: "Q", 3: "U", 4: "V", -1: "RR", -2: "LL", -3: "RL", -4: "LR", -5: "XX", -6: "YY"}
    if "CRVAL4" in hdu.columns:
        states = [polarisations[int(code)] for code in dict.fromkeys(rows["CRVAL4"].tolist())
                  if int(code) in polarisations]  # fmt: skip
        if states:
            facts += [("pol_states", "/" + "/".join(states) + "/", f"{hdu.label} CRVAL4", "Stokes codes of the rows"),
                      ("pol_xel", len(states), f"{hdu.label} CRVAL4", "")]  # fmt: skip
    if "EXPOSURE" in hdu.columns:
        facts.append(("t_exptime", float(rows["EXPOSURE"][0]), f"{hdu.label} EXPOSURE", "effective, first row"))
    return facts + _single_dish_times(rows, hdu)


def _single_dish_times(rows: Any, hdu: Hdu) -> list[tuple[str, Any, str, str]]:
    starts = [str(cell).strip() for cell in rows["DATE-OBS"]] if "DATE-OBS" in hdu.columns else []
    try:
        begin = Time([start for start in starts if start], scale="utc").mjd
    except ValueError:
        return []
    if not len(begin):
        return []
    length = np.asarray(rows["DURATION"], np.float64) if "DURATION" in hdu.columns else np.zeros(len(begin))
    end = float((begin + length[: len(begin)] / 86_400).max())
    return [
        ("t_min", float(begin.min()), f"{hdu.label} DATE-OBS", "earliest row"),
        ("t_max", end, f"{hdu.label} DATE-OBS, DURATION", "latest row"),
    ]
