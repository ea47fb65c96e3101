"""1D spectra: from an image's axis, from tables of a dozen conventions, from radio and X-ray telescopes.

Here is what is common: type, place, aperture, medium. Where the samples' wavelengths stand is spectral_images.py's and
spectral_tables.py's; the arithmetic is wavelengths.py's. Cubes are cubes.py's, interferograms interferometry.py's.
"""

import re

import numpy as np

from archive.vo.regions import Circle
from ingest.catalogues.kinds import table_kind
from ingest.describe import spectral_images, spectral_tables
from ingest.describe.facts import Facts
from ingest.describe.found import Found
from ingest.describe.header import FitsFile
from ingest.describe.identity import PRODUCT_NAME, RAW_NAME
from ingest.describe.keywords import Keywords
from ingest.describe.position import pointing
from ingest.describe.provenance import progenitors
from ingest.describe.units import ucd_of_unit, vounit
from ingest.findings import Finding

# Diameter of the fibre on the sky, arcsec: HARPS (Mayor et al. 2003), SDSS-I/II and BOSS (Smee et al. 2013), DESI.
FIBRES = {"HARPS": 1.0, "SDSS": 3.0, "BOSS": 2.0, "DESI": 1.5}
POWERS = {"HARPS": 115_000.0}
SDSS_PLATE_RADIUS = 1.49  # degrees
FIRST_BOSS_PLATE = 3510


def recognises(file: FitsFile) -> bool:
    """A table that is a spectrum, or an image of one long axis (or few rows) that is spectral."""
    kind = table_kind([hdu.header for hdu in file.hdus])
    return kind == "spectrum" or spectral_tables.is_desi(file) or spectral_images.recognises(file)


def describe(file: FitsFile, facts: Facts) -> None:
    """Type, wavelengths, place, aperture and flux of a spectrum."""
    tabular = table_kind([hdu.header for hdu in file.hdus]) == "spectrum" or spectral_tables.is_desi(file)
    found = spectral_tables.find(file) if tabular else spectral_images.find(file)
    keywords = file.keywords(*found.hdus)
    _own_name(file, facts, keywords)
    if facts.get("ob_id", 1) <= 0:  # what ESO's software writes for frames taken without an OB
        facts.withdraw("ob_id")
    for finding in found.findings:
        facts.found(finding)
    if found.is_spectrum:
        facts.add("kind", "product", found.source, "a spectrum")
        facts.add("dataproduct_type", "spectrum", found.source, found.why)
        facts.add("calib_level", 2, found.source, "wavelengths are calibrated")
    else:
        facts.add("kind", "ancillary", found.source, found.why)
        facts.add("dataproduct_subtype", found.subtype, found.source)
        facts.add("calib_level", 2, found.source, "made by a pipeline")
    _wavelengths(facts, found)
    for name, value, source, why in found.facts:
        facts.add(name, value, source, why)
    _place(facts, keywords, found)
    _flux(facts, found)
    snr = _harps_snr(file)
    facts.add("snr", snr, "ESO DRS SPE EXT SNn", "median over the orders")
    power = POWERS.get(_instrument(keywords))
    facts.add("em_res_power", power, "INSTRUME", "the instrument's one mode")
    facts.add("progenitors", progenitors(file) or None, "PROVi, ESO PRO RECi", "the files it was made from")


def _wavelengths(facts: Facts, found: Found) -> None:
    if found.range is None:
        facts.found(
            Finding(
                "warning", "spectral_range_unknown", found.source, found.missing or "no wavelengths could be read.",
                "write the axis as FITS 4.0 §8.4 says: CTYPE, CUNIT, and RESTFRQ for velocities.",
            )
        )  # fmt: skip
        return
    if found.medium == "air":
        # WAVELMIN and WAVELMAX are in the medium of the axis (SDP standard v8): the mapping could not know it was air.
        facts.withdraw("em_min")
        facts.withdraw("em_max")
    elif found.medium == "unknown":
        facts.found(
            Finding(
                "info", "medium_unknown", found.source,
                "the header does not say whether its wavelengths are in air or vacuum; taken as vacuum, at most 0.03 % "
                "off.", "write CTYPE AWAV or WAVE, or TUCD em.wl;obs.atmos for air.",
            )
        )  # fmt: skip
    facts.add("em_min", found.range.low, found.source, found.why)
    facts.add("em_max", found.range.high, found.source, found.why)
    facts.add("em_xel", found.range.count, found.source, "samples")
    facts.add("em_ucd", found.em_ucd, found.source)


def _place(facts: Facts, keywords: Keywords, found: Found) -> None:
    position = pointing(keywords)
    if "s_ra" not in facts and position is not None:
        facts.add("s_ra", position.ra, position.source, position.why)
        facts.add("s_dec", position.dec, position.source, position.why)
    if "s_ra" not in facts:
        text = "the header tells no position: the spectrum is found by its target's name only."
        facts.found(Finding("info", "no_position", "RA, DEC", text, "write RA and DEC, degrees, RADESYS ICRS."))
        return
    if "s_region" in facts:
        return
    diameter, source, why = _aperture(keywords)
    if diameter is not None:
        facts.add("s_region", Circle(facts.get("s_ra"), facts.get("s_dec"), diameter / 2), source, why)
        facts.add("s_fov", diameter, source, why)


def _aperture(keywords: Keywords) -> tuple[float | None, str, str]:
    """The diameter of what the light came through: degrees, source, why."""
    aperture = keywords.number("APERTURE")
    if aperture is not None and 0 < aperture[0] < 5:
        return aperture[0], aperture[1], "aperture's diameter"
    instrument = _instrument(keywords)
    if instrument in ("SDSS", "BOSS") and keywords.find("PLUG_RA", "RAOBJ") is None:
        text = "the plate: the header does not tell which of its fibres this is"
        return 2 * SDSS_PLATE_RADIUS, "PLATEID", text
    if instrument in FIBRES:
        return FIBRES[instrument] / 3600, "INSTRUME", "the fibre's diameter"
    slit = keywords.number("ESO INS SLIT WID", "ESO INS SLIT1 WID", "SLITSIZE")
    if slit is not None and slit[0] > 0:
        return slit[0] / 3600, slit[1], "the slit's width"
    return None, "", ""


def _instrument(keywords: Keywords) -> str:
    """A word of FIBRES or POWERS, or the instrument's name."""
    telescope = str((keywords.find("TELESCOP") or ("", ""))[0]).upper()
    if telescope.startswith("SDSS"):
        plate = keywords.number("PLATEID", "PLATE")
        return "BOSS" if plate is not None and plate[0] >= FIRST_BOSS_PLATE else "SDSS"
    return str((keywords.find("INSTRUME") or ("", ""))[0]).upper().split("/")[0].strip()


def _flux(facts: Facts, found: Found) -> None:
    # "erg/cm2/s/A": per Angstrom, though a lone A is an ampere.
    text = re.sub(r"(?<=[/ .])A\b", "Angstrom", found.flux_unit) if found.flux_unit else None
    unit = vounit(text)
    facts.add("o_unit", unit, found.source, "unit of the flux")
    ucd = found.flux_ucd or (ucd_of_unit(text) if text else None)
    facts.add("o_ucd", ucd, found.source, "of the flux")


def _harps_snr(file: FitsFile) -> float | None:
    values = [
        float(value)
        for keyword, value in file.primary.header.items()
        if re.match(r"ESO DRS SPE EXT SN\d+$", keyword) and isinstance(value, int | float)
    ]
    return float(np.median(values)) if values else None


def _own_name(file: FitsFile, facts: Facts, keywords: Keywords) -> None:
    """A spectrum extracted from a raw frame keeps the frame's ARCFILE and DPR keywords, and is another file."""
    name = str(facts.get("file_id", ""))
    if not RAW_NAME.match(name) or PRODUCT_NAME.match(name):
        return
    facts.withdraw("file_id")
    facts.add("file_id", f"{facts.get('obs_collection')}/{file.relative_path}", "path", "extracted from that raw frame")
    facts.add("progenitors", (name,), "ARCFILE", "the raw frame it was extracted from")
    text = f"ARCFILE {name!r} names the raw frame that this spectrum was extracted from; the path is its name."
    facts.found(Finding("info", "arcfile_inherited", "ARCFILE", text))
