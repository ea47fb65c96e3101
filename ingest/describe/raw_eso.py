"""ESO's own frames: raw science and calibration exposures, and the calibration products and QC tables made of them.

Which keyword goes to which field is in ingest/instruments/mappings/eso.toml; here is what a mapping cannot say: what is
on the sky at all, what is really exposed, what the optics let through, what QC was measured.
Source: ESO Data Interface Control Document (DPR, INS, DET, QC dictionaries); reference/domain.md 8 and its traps.
"""

import re
from datetime import UTC, datetime
from typing import Any

from astropy.time import Time

from ingest.catalogues.kinds import table_kind
from ingest.describe.facts import Facts
from ingest.describe.header import FitsFile
from ingest.describe.images import add_sky
from ingest.describe.keywords import Keywords
from ingest.describe.position import pointing
from ingest.describe.provenance import progenitors
from ingest.findings import Finding

ON_SKY = frozenset({"SCIENCE", "ACQUISITION"})
# Calibrations of this type look at a place on the sky that matters; of all others the telescope's axis means nothing.
STARS = re.compile(r"\b(STD|STDSTAR|STANDARD|TELLURIC|PHOTOMETRIC|ASTROMETRY|KEYWORD|PSF|CALIBRATOR)\b")
REDUCED = ("ESO PRO CATG", "ESO PRO REC1 ID", "PRODCATG", "DC-FLAG", "CCDPROC", "ESO DRS VERSION")
# Keywords by which science frames and calibrations are matched (domain.md 7 and 8).
SETUP = re.compile(
    r"^ESO (INS (MODE|PATH|(FILT|GRIS|GRAT|OPTI|SLIT|DPOR|WP|CAM)\d* (NAME|ID|WLEN|WID|ORDER))"
    r"|INS (DIL|DIN|FIL|FIN|SFL|SFN|PIL|PIN|POL|PON) NAME|INS (SLIT|FIBER|CU\d?|LAMP\d*) (NAME|WID|LEN)"
    r"|DET (WIN\d+ BIN[XY]|BINX|BINY|READ (CURNAME|CLOCK|SPEED|MODE)|DIT|NDIT|SEQ\d+ DIT|MODE NAME|NCORRS NAME"
    r"|CHIP\d* (NAME|ID)|CHOP (ST|FREQ)|OUTPUTS))$"
)
OLD_DATE = re.compile(r"^(\d{2})/(\d{2})/(\d{2})$")
NO_ELEMENT = frozenset({"FREE", "OPEN", "NONE", "CLEAR", "EMPTY", "N/A", ""})
# Instrument, optical element: the wavelengths it lets through, nm (half power for filters; first order for grisms).
# EFOSC2 User's Manual 4.1, tables 3 and 5; ISAAC User's Manual 88, table 3; VISIR User's Manual 84, table 3.
ELEMENTS = {
    ("EFOSC", "Gr#3"): (305.0, 610.0), ("EFOSC", "Gr#11"): (338.0, 752.0), ("EFOSC", "Gr#13"): (368.5, 931.5),
    ("EFOSC", "Gr#16"): (601.5, 1032.0), ("EFOSC", "g#782"): (478.1, 555.7), ("ISAAC", "NB_2.25"): (2220.0, 2280.0),
    ("VISIR", "SIC"): (10680.0, 13020.0),
}  # fmt: skip


def recognises(file: FitsFile) -> bool:
    """A frame of an ESO instrument that no pipeline has made a science product of.

    Raw frames (DPR without marks of reduction), frames of before DPR (ESO GEN), and calibration products.
    """
    keywords = file.keywords(*range(len(file.hdus)))
    if not any(name.startswith("ESO ") for hdu in file.hdus for name in hdu.header):
        return False
    if table_kind([hdu.header for hdu in file.hdus]) in ("spectrum", "catalogue", "event", "timeseries"):
        return False
    if _calibration_product(file, keywords):
        return True
    if any(keywords.find(name) for name in REDUCED) or _one_dimensional(file):
        return False
    old = keywords.find("ESO GEN TYPE", "ESO GEN EXPO TYPE", "ESO GEN EXPO NO") is not None
    return keywords.find("ESO DPR CATG") is not None or old


def _one_dimensional(file: FitsFile) -> bool:
    return any(hdu.kind == "image" and len([size for size in hdu.shape if size > 1]) == 1 for hdu in file.hdus)


def _calibration_product(file: FitsFile, keywords: Keywords) -> bool:
    """Made by a pipeline from calibrations: masters, wavelength solutions, tables of order positions and QC."""
    category = keywords.text("ESO DPR CATG")
    if category is None or category[0].upper() != "CALIB":
        return False
    made = keywords.find("ESO PRO CATG", "ESO DRS VERSION", "PIPEFILE") is not None
    return made and keywords.find("PRODCATG") is None


def describe(file: FitsFile, facts: Facts) -> None:
    """Kind, level, type of data, position where there is one, exposure, spectral range, setup, provenance."""
    keywords = file.keywords(*range(len(file.hdus)))
    category = str((keywords.find("ESO DPR CATG") or ("", ""))[0]).upper().strip()
    dp_type = str((keywords.find("ESO DPR TYPE") or ("", ""))[0]).upper()
    _kind(file, facts, keywords, category)
    _type(file, facts, keywords)
    if category != "CALIB" or STARS.search(dp_type):
        _position(file, facts, keywords)
    else:
        why = f"a calibration of type {dp_type or 'unknown'}: the telescope's axis is not where the light came from"
        facts.found(Finding("info", "no_position", "ESO DPR TYPE", why))
    if category == "CALIB":
        facts.add("target_name", dp_type, "ESO DPR TYPE", "a calibration's target is what it is")
    _clock(facts, keywords)
    _exposure(facts, keywords)
    _band(facts, keywords)
    if facts.get("ob_id", 1) <= 0:  # what the control software writes for frames taken without an OB
        facts.withdraw("ob_id")
    facts.add("facility_name", *(keywords.text("TELESCOP", "ESO TEL ID") or (None, "")))
    facts.add("progenitors", progenitors(file) or None, "PROVi, ESO PRO RECi", "the files it was made from")
    facts.add(
        "setup", setup(file) or None, "ESO INS, DET, QC", "keys by which calibrations are matched; qc as measured"
    )


def _kind(file: FitsFile, facts: Facts, keywords: Keywords, category: str) -> None:
    origin = keywords.text("ORIGIN")
    if _calibration_product(file, keywords):
        facts.add("kind", "mcalib", "ESO DPR CATG, PRO CATG", "a pipeline's product of calibrations")
        facts.add("calib_level", 2, "ESO PRO CATG", "reduced")
    elif not category and origin is not None and origin[0].startswith("ESO-MIDAS"):
        facts.add("kind", "product", "ORIGIN", "written by MIDAS, without DPR keywords: reduced")
        facts.add("calib_level", 2, "ORIGIN", "reduced")
    else:
        facts.add("kind", "raw", "ESO DPR CATG", "neither pipeline nor author has touched it")
        facts.add("calib_level", 1, "ESO DPR CATG", "raw data in a standard form")


def _type(file: FitsFile, facts: Facts, keywords: Keywords) -> None:
    """dataproduct_type from DPR TECH; a table of numbers has none."""
    tech = str((keywords.find("ESO DPR TECH", "ESO PRO TECH") or ("", ""))[0]).upper()
    pixels = [hdu for hdu in file.hdus if hdu.kind == "image" and hdu.shape]
    if "INTERFEROMETRY" in tech:
        facts.add("dataproduct_type", "visibility", "ESO DPR TECH", tech)
    elif not pixels:
        return
    elif any(word in tech for word in ("SPECTRUM", "ECHELLE", "MOS", "IFU", "MXU")):
        facts.add("dataproduct_type", "spectrum", "ESO DPR TECH", f"{tech}: a spectrum, as the detector saw it")
    else:
        facts.add("dataproduct_type", "image", "ESO DPR TECH" if tech else "HDUs", tech)
    first = pixels[0] if pixels else None
    if first is not None and len(first.shape) >= 2 and facts.get("dataproduct_type") == "image":
        facts.add("s_xel1", first.shape[-1], f"{first.label} NAXIS1")
        facts.add("s_xel2", first.shape[-2], f"{first.label} NAXIS2")
    facts.add("o_unit", "adu" if facts.get("kind") == "raw" and pixels else None, "detector", "counts of the converter")
    facts.add("o_ucd", "phot.count" if facts.get("kind") == "raw" and pixels else None, "detector")


def _position(file: FitsFile, facts: Facts, keywords: Keywords) -> None:
    """Footprint of an image with a celestial WCS; else the pointing.

    A spectrograph's frame may carry the WCS of the imager it also is: its light came through the slit, at the pointing.
    """
    pixels = [hdu for hdu in file.hdus if hdu.kind == "image" and len(hdu.shape) >= 2]
    if facts.get("dataproduct_type") == "image" and pixels:
        add_sky(file, facts, pixels)
    position = pointing(keywords)
    if position is not None and "s_ra" not in facts:
        facts.add("s_ra", position.ra, position.source, position.why)
        facts.add("s_dec", position.dec, position.source, position.why)


def _exposure(facts: Facts, keywords: Keywords) -> None:
    """t_exptime: EXPTIME, but DIT times NDIT where the header's EXPTIME is that of one DIT only (trap 2)."""
    exposure, dit, ndit = (keywords.number(name) for name in ("EXPTIME", "ESO DET DIT", "ESO DET NDIT"))
    if exposure is None or exposure[0] < 0:
        return
    if dit and ndit and ndit[0] > 1 and dit[0] > 0 and abs(exposure[0] - dit[0]) < 1e-6:
        total = dit[0] * ndit[0]
        facts.add("t_exptime", total, "ESO DET DIT, NDIT", f"EXPTIME {exposure[0]:g} s is one of {ndit[0]:g} DITs")
        start = keywords.number("MJD-OBS")
        if start is not None and start[0] != int(start[0]):
            facts.add("t_min", start[0], start[1], "start of the observation")
            facts.add("t_max", start[0] + total / 86_400, f"{start[1]}, ESO DET DIT, NDIT", "start and exposure")


def _clock(facts: Facts, keywords: Keywords) -> None:
    """Frames of before MJD-OBS: DATE-OBS has the day, TM-START and TM-END the seconds of UT since its midnight."""
    day, start, end = keywords.text("DATE-OBS"), keywords.number("TM-START"), keywords.number("TM-END")
    match = OLD_DATE.match(day[0]) if day else None
    if match is None or start is None or keywords.number("MJD-OBS") is not None:
        return
    try:
        midnight = Time(datetime(1900 + int(match[3]), int(match[2]), int(match[1]), tzinfo=UTC)).mjd
    except ValueError:
        return
    seconds = end[0] - start[0] if end is not None else 0.0
    facts.add("t_min", float(midnight + start[0] / 86_400), f"{day[1] if day else ''}, TM-START", "seconds of UT")
    # A frame that ends after midnight has a TM-END below its TM-START.
    facts.add("t_max", float(midnight + (start[0] + seconds % 86_400) / 86_400), "DATE-OBS, TM-END", "seconds of UT")


def _band(facts: Facts, keywords: Keywords) -> None:
    """filter, and em_min and em_max where an optical element's passband is known."""
    instrument = str((keywords.find("INSTRUME") or ("", ""))[0]).split("/")[0].strip().upper()
    elements = []
    for kind in ("FILT", "OPTI", "GRIS", "GRAT"):
        for number in ("", "1", "2", "3", "4"):
            found = keywords.text(f"ESO INS {kind}{number} NAME")
            if found is not None and found[0].upper() not in NO_ELEMENT:
                elements.append((kind, *found))
    if instrument == "ISAAC" and (second := keywords.text("FILTER2")) and second[0].upper() not in NO_ELEMENT:
        elements.insert(0, ("FILT", *second))
    for kind, name, source in elements:
        if kind in ("FILT", "OPTI"):
            facts.add("filter", name, source)
        known = ELEMENTS.get((instrument, name))
        if known is not None:
            facts.add("em_min", known[0] * 1e-9, source, f"{instrument} {name}: the instrument's manual")
            facts.add("em_max", known[1] * 1e-9, source, f"{instrument} {name}: the instrument's manual")


def setup(file: FitsFile) -> dict[str, Any]:
    """Keywords of the instrument's setup by name without "ESO", and under "qc" the QC parameters measured."""
    keys: dict[str, Any] = {}
    measured: dict[str, Any] = {}
    for hdu in file.hdus:
        for keyword, value in hdu.header.items():
            if not isinstance(value, str | int | float | bool):
                continue
            if SETUP.match(keyword):
                keys.setdefault(keyword.removeprefix("ESO "), value.strip() if isinstance(value, str) else value)
            elif keyword.startswith("ESO QC ") and isinstance(value, int | float | str):
                measured.setdefault(keyword.removeprefix("ESO "), value)
    return {**keys, "qc": measured} if measured else keys
