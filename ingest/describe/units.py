"""Units as headers write them, to VOUnits; and the UCD of what is measured in them."""

import re
import warnings

import astropy.units as u

SPELLINGS = {
    "JY/BEAM": "Jy / beam", "JY": "Jy", "MJY/SR": "MJy / sr", "K": "K", "KELVIN": "K", "ADU": "adu", "DN": "adu",
    "DNS": "adu", "DN/S": "adu / s", "COUNTS": "ct", "COUNT": "ct", "COUNTS/S": "ct / s", "COUNTS/SEC": "ct / s",
    "ELECTRONS": "electron", "ELECTRONS/S": "electron / s", "ELECTRON/S": "electron / s", "NANOMAGGY": "nmgy",
    "MAG E(B-V)": "mag", "R": "R", "MAG": "mag", "ERG/S/CM2/A": "erg / (s cm2 Angstrom)",
    "ERGS/CM/CM/S/A": "erg / (s cm2 Angstrom)", "SECONDS": "s", "SEC": "s", "PHOTONS": "photon",
    "JY/PIXEL": "Jy / pix", "W/M^2-SR": "W / (m2 sr)", "MJY/BEAM": "mJy / beam",
}  # fmt: skip
# Units whose spelling in capitals loses what milli or mega is: trusted only as written.
CASE_MATTERS = frozenset({"MJY/SR", "MJY/BEAM"})
FORMATS = (None, "fits", "vounit", "cds", "ogip")


def parse_unit(text: str | None) -> u.UnitBase | None:
    """The unit a header means; None if it cannot be told. Forgives case, ^, **, Ergs, /sec and a trailing slash."""
    if text is None or not text.strip():
        return None
    words = " ".join(text.split())
    if words.upper() in SPELLINGS and words.upper() not in CASE_MATTERS:
        words = SPELLINGS[words.upper()]
    candidates = [words, re.sub(r"\bergs\b", "erg", re.sub(r"\bsec\b", "s", words))]
    candidates.append(candidates[-1].replace("-sr", "/sr").replace("counts", "ct").replace("Beam", "beam"))
    for candidate in dict.fromkeys(candidates):
        for form in FORMATS:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    unit = u.Unit(candidate, format=form) if form else u.Unit(candidate)
                except (ValueError, TypeError, KeyError, AttributeError):
                    continue
                if not isinstance(unit, u.UnrecognizedUnit):
                    return unit
    return None


def vounit(text: str | None) -> str | None:
    """The unit in VOUnits 1.1's notation; as text where the unit has no place there; None if it cannot be read.

    >>> vounit("10**(-20)*erg/s/cm**2/Angstrom")
    '1e-20.Angstrom**-1.cm**-2.erg.s**-1'
    """
    unit = parse_unit(text)
    if unit is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return str(unit.to_string("vounit"))
        except (ValueError, TypeError, KeyError):
            return str(unit.to_string())


FLUX_UCDS = (
    (u.Jy, "phot.flux.density"),
    (u.Jy / u.beam, "phot.flux.density"),
    (u.Jy / u.sr, "phot.flux.density.sb"),
    (u.Jy / u.pix, "phot.flux.density"),
    (u.erg / u.s / u.cm**2 / u.AA, "phot.flux.density"),
    (u.erg / u.s / u.cm**2, "phot.flux"),
    (u.W / u.m**2 / u.sr, "phot.radiance"),
    (u.mag, "phot.mag"),
    (u.K, "phot.antennaTemp"),
    (u.adu, "phot.count"),
    (u.adu / u.s, "phot.count"),
    (u.ct, "phot.count"),
    (u.ct / u.s, "phot.count"),
    (u.electron, "phot.count"),
    (u.electron / u.s, "phot.count"),
    (u.R, "phot.radiance"),
    (u.s, "time.duration;obs.exposure"),
)


def ucd_of_unit(text: str | None) -> str | None:
    """UCD1+ of a quantity in this unit (UCD list 1.5); None where the unit does not tell."""
    unit = parse_unit(text)
    if unit is None:
        return None
    for known, ucd in FLUX_UCDS:
        if unit.is_equivalent(known):
            return ucd
    return None
