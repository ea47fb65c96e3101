"""Units and UCDs of catalogue columns: from what files write to VOUnits 1.0 and UCD1+.

Nothing is guessed that is not certain: a unit that cannot be read stays in the description, a UCD only comes from a
name that means one thing. The spectral and image headers' units are ingest.describe's.
"""

import re
import warnings
from functools import lru_cache

from astropy import units as u
from astropy.io.votable.ucd import check_ucd

# What files write and no unit standard knows, with what the writers meant.
_ALIASES = {
    "angstroms": "Angstrom",
    "flam": "erg s**-1 cm**-2 Angstrom**-1",
    "fnu": "erg s**-1 cm**-2 Hz**-1",
    "sec": "s",
    "secs": "s",
    "seconds": "s",
    "days": "d",
    "day": "d",
    "years": "yr",
    "hours": "h",
    "hr": "h",
    "degrees": "deg",
    "degree": "deg",
    "radians": "rad",
    "arcseconds": "arcsec",
    "arcsecs": "arcsec",
    "arcmins": "arcmin",
    "magnitudes": "mag",
    "km/s": "km/s",
    "km/sec": "km/s",
    "counts": "count",
    "cts": "count",
    "ct": "count",
    "pixels": "pixel",
    "pix": "pixel",
    "channels": "chan",
    "channel": "chan",
    "photons": "photon",
    "microns": "um",
    "micron": "um",
    "mjy": "mJy",
    "ghz": "GHz",
    "mhz": "MHz",
    "kev": "keV",
    "mev": "MeV",
}
_NO_UNIT = {"", "none", "n/a", "na", "-", "--", "unitless", "dimensionless", "null", "unknown"}


@lru_cache(maxsize=1024)
def vounit(text: str | None) -> str | None:
    """The unit as VOUnits 1.0 writes it; None for none and for what cannot be read (then `is_no_unit` is false)."""
    if text is None or is_no_unit(text):
        return None
    word = text.strip()
    alias = _ALIASES.get(word) or _ALIASES.get(word.lower())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for form in ("vounit", "fits", "cds", "generic", "ogip"):
            try:
                unit = u.Unit(alias or word, format=form)
                written = str(unit.to_string("vounit"))
            except (ValueError, TypeError):
                continue
            return written or None
    return None


def is_no_unit(text: str | None) -> bool:
    """Whether the file says, in one of the usual ways, that the column has no unit."""
    return text is None or text.strip().lower() in _NO_UNIT


# UCD1, the words of the 1990s that CDS tables still carry, for the quantities where the successor is plain.
_UCD1 = {
    "POS_EQ_RA_MAIN": "pos.eq.ra;meta.main",
    "POS_EQ_DEC_MAIN": "pos.eq.dec;meta.main",
    "POS_EQ_RA": "pos.eq.ra",
    "POS_EQ_DEC": "pos.eq.dec",
    "POS_GAL_LON": "pos.galactic.lon",
    "POS_GAL_LAT": "pos.galactic.lat",
    "POS_EQ_PMRA": "pos.pm;pos.eq.ra",
    "POS_EQ_PMDEC": "pos.pm;pos.eq.dec",
    "POS_PARLX_TRIG": "pos.parallax.trig",
    "ID_MAIN": "meta.id;meta.main",
    "PHOT_SDSS_U": "phot.mag;em.opt.U",
    "PHOT_SDSS_G": "phot.mag;em.opt.B",
    "PHOT_SDSS_R": "phot.mag;em.opt.R",
    "PHOT_SDSS_I": "phot.mag;em.opt.I",
    "PHOT_SDSS_Z": "phot.mag;em.opt.I",
    "CLASS_OBJECT": "src.class",
    "REDSHIFT_HC": "src.redshift",
}


def ucd(text: str | None) -> str | None:
    """A valid UCD1+ (controlled vocabulary, IVOA UCD list) for what the file says, or None."""
    if not text or not text.strip():
        return None
    word = text.strip()
    if word.upper() in _UCD1:
        return _UCD1[word.upper()]
    word = word.replace(" ", "")
    return word if check_ucd(word.lower(), check_controlled_vocabulary=True, has_colon=False) else None


_BANDS = {
    "u": "em.opt.U",
    "b": "em.opt.B",
    "v": "em.opt.V",
    "r": "em.opt.R",
    "i": "em.opt.I",
    "j": "em.IR.J",
    "h": "em.IR.H",
    "k": "em.IR.K",
    "ks": "em.IR.K",
    "bt": "em.opt.B",
    "vt": "em.opt.V",
    "g": "em.opt",
    "hp": "em.opt",
}
_KNOWN = {
    "pmra": "pos.pm;pos.eq.ra",
    "pm_ra": "pos.pm;pos.eq.ra",
    "pmdec": "pos.pm;pos.eq.dec",
    "pm_dec": "pos.pm;pos.eq.dec",
    "pmde": "pos.pm;pos.eq.dec",
    "parallax": "pos.parallax.trig",
    "plx": "pos.parallax.trig",
    "radial_velocity": "spect.dopplerVeloc",
    "radvel": "spect.dopplerVeloc",
    "redshift": "src.redshift",
    "glon": "pos.galactic.lon",
    "glat": "pos.galactic.lat",
    "phot_g_mean_mag": "phot.mag;em.opt",
    "phot_bp_mean_mag": "phot.mag;em.opt.B",
    "phot_rp_mean_mag": "phot.mag;em.opt.R",
    "hubble": "src.morph.type",
    "posang": "pos.posAng",
}
_MAGNITUDE = re.compile(r"^([a-z]{1,2})_?mag$")
_ERROR = re.compile(r"^(?:e_(?P<before>.+)|(?P<after>.+)_(?:error|err))$")


def ucd_of_name(name: str) -> str | None:
    """The UCD of a column known by its (identifier) name alone, where the name means one thing."""
    if name in _KNOWN:
        return _KNOWN[name]
    if match := _MAGNITUDE.match(name):
        band = _BANDS.get(match[1])
        return f"phot.mag;{band}" if band else None
    if match := _ERROR.match(name):
        of = ucd_of_name(match["before"] or match["after"])
        return f"stat.error;{of}" if of else None
    if match := re.match(r"^([ubvrijhk])_([ubvrijhk])$", name):
        return f"phot.color;{_BANDS[match[1]]};{_BANDS[match[2]]}"
    return None


# First of these that is there is what people call a row by.
IDENTIFIERS = (
    "source_id", "id", "name", "source_name", "objid", "main_id", "designation", "hip", "objname", "zname", "name1",
)  # fmt: skip
