"""Where the telescope pointed, by its keywords: degrees, hours or sexagesimal text, of any equinox, to ICRS degrees.

Positions that follow from a celestial WCS are wcs.py's.
"""

import re
import warnings
from dataclasses import dataclass

import astropy.units as u
from astropy.coordinates import FK4, FK5, ICRS, Angle, SkyCoord
from astropy.time import Time

from ingest.describe.keywords import Keywords

# The object before the telescope's axis; the axis before the nominal pointing.
PAIRS = (
    ("PLUG_RA", "PLUG_DEC"), ("RAOBJ", "DECOBJ"), ("RA_TARG", "DEC_TARG"), ("RA_OBJ", "DEC_OBJ"), ("RA", "DEC"),
    ("RA-D", "DEC-D"), ("RADEG", "DECDEG"), ("OBJRA", "OBJDEC"), ("OBJCTRA", "OBJCTDEC"), ("TARGRA", "TARGDEC"),
    ("TGT_RA", "TGT_DEC"), ("CAT-RA", "CAT-DEC"), ("TELRA", "TELDEC"), ("RA_PNT", "DEC_PNT"), ("RA_NOM", "DEC_NOM"),
    ("CRVAL_RA", "CRVAL_DEC"),
)  # fmt: skip
AXIS_PAIRS = (("RA_PNT", "DEC_PNT"), ("RA_NOM", "DEC_NOM"), *PAIRS)
GALACTIC = (("TARGLON", "TARGLAT"), ("GLON", "GLAT"))
SEXAGESIMAL = re.compile(r"^[+-]?\s*\d{1,3}[\s:hd]\s*\d{1,2}[\s:m']\s*\d{1,2}(\.\d*)?[s\"]?$")


@dataclass(frozen=True, slots=True)
class Position:
    """ICRS degrees, 0 <= ra < 360; source: the keywords; why: what was done to them."""

    ra: float
    dec: float
    source: str
    why: str


def pointing(keywords: Keywords, pairs: tuple[tuple[str, str], ...] = PAIRS) -> Position | None:
    """The first pair of keywords that is a position; None without one. (0, 0) exactly is a placeholder, not a place.

    Numbers are degrees, sexagesimal right ascensions hours. RADESYS and EQUINOX (or EPOCH) tell the frame
    (FITS 4.0 §8.3).
    """
    for lon, lat in pairs:
        first, second = keywords.find(lon), keywords.find(lat)
        if first is None or second is None:
            continue
        ra, dec = _degrees(first[0], hours=True), _degrees(second[0], hours=False)
        if ra is None or dec is None or not (-360 <= ra <= 720 and -90 <= dec <= 90) or (ra, dec) == (0.0, 0.0):
            continue
        return _icrs(keywords, ra, dec, f"{first[1]}, {lat}")
    for lon, lat in GALACTIC:
        glon, glat = keywords.number(lon), keywords.number(lat)
        if glon is not None and glat is not None and -90 <= glat[0] <= 90:
            sky = SkyCoord(l=glon[0] * u.deg, b=glat[0] * u.deg, frame="galactic").icrs
            return Position(float(sky.ra.deg), float(sky.dec.deg), f"{glon[1]}, {lat}", "galactic to ICRS")
    return None


def _degrees(value: object, *, hours: bool) -> float | None:
    if isinstance(value, bool):
        return None
    text = str(value).strip()
    try:
        return float(text)
    except ValueError:
        # Not a plain number: sexagesimal, or nothing.
        if not SEXAGESIMAL.match(text):
            return None
    try:
        return float(Angle(text, unit=u.hourangle if hours else u.deg).to_value(u.deg))
    except ValueError:
        return None


def _icrs(keywords: Keywords, ra: float, dec: float, source: str) -> Position:
    equinox, epoch = keywords.number("EQUINOX"), keywords.number("EPOCH")
    told = keywords.text("RADESYS", "RADECSYS")
    system = "" if told is None else told[0].upper()
    year = 2000.0 if equinox is None else equinox[0]
    # EPOCH is also written for the date of observation: alone it is believed only where it is 1950.
    if equinox is None and epoch is not None and epoch[0] == 1950.0:
        year = 1950.0
    if not 1850 <= year <= 2100 or system == "ICRS":
        return Position(ra % 360.0, dec, source, "as the header gives it")
    frame = ICRS()
    if system.startswith("FK4") or (not system and year < 1984):
        frame = FK4(equinox=Time(year if equinox or epoch else 1950.0, format="byear"))
    elif system == "FK5" or abs(year - 2000.0) > 0.01:
        frame = FK5(equinox=Time(year, format="jyear"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sky = SkyCoord(ra * u.deg, dec * u.deg, frame=frame).icrs
    return Position(float(sky.ra.deg) % 360.0, float(sky.dec.deg), source, f"{type(frame).__name__} {year:g} to ICRS")
