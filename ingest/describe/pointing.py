"""Positions that headers give as keywords: degrees, hours or sexagesimal text, of any equinox, to ICRS degrees.

Positions that follow from a celestial WCS are wcs.py's. Pointings of J2000 are taken as ICRS: the two differ by
0.02 arcsec, and no telescope's header is as good as that.
"""

import re
from dataclasses import dataclass

import astropy.units as u
from astropy.coordinates import FK4, FK5, Angle, SkyCoord
from astropy.time import Time

from ingest.describe.keywords import Keywords

# The object before the telescope's axis; the axis before the nominal pointing.
PAIRS = (
    ("PLUG_RA", "PLUG_DEC"), ("RAOBJ", "DECOBJ"), ("RA_TARG", "DEC_TARG"), ("RA_OBJ", "DEC_OBJ"), ("RA", "DEC"),
    ("RA-D", "DEC-D"), ("RADEG", "DECDEG"), ("OBJCTRA", "OBJCTDEC"), ("OBJRA", "OBJDEC"), ("TARGRA", "TARGDEC"),
    ("TGT_RA", "TGT_DEC"), ("CAT-RA", "CAT-DEC"), ("TELRA", "TELDEC"), ("RA_PNT", "DEC_PNT"), ("RA_NOM", "DEC_NOM"),
)  # fmt: skip
GALACTIC = (("TARGLON", "TARGLAT"), ("GLON", "GLAT"))
SEXAGESIMAL = re.compile(r"^[+-]?\s*\d{1,3}[\s:hd]\s*\d{1,2}[\s:m]\s*\d{1,2}(\.\d*)?s?$")


@dataclass(frozen=True, slots=True)
class Position:
    """ICRS degrees, 0 <= ra < 360; source: the keywords; why: what was done to them."""

    ra: float
    dec: float
    source: str
    why: str


def pointing(keywords: Keywords, pairs: tuple[tuple[str, str], ...] = PAIRS) -> Position | None:
    """The first pair of keywords that is a position; None without one. (0, 0) exactly is a placeholder, not a place."""
    for lon, lat in pairs:
        first, second = keywords.find(lon), keywords.find(lat)
        if first is None or second is None:
            continue
        ra, dec = _degrees(first[0], hours=True), _degrees(second[0], hours=False)
        if ra is None or dec is None or not (-360 <= ra <= 720 and -90 <= dec <= 90) or (ra, dec) == (0.0, 0.0):
            continue
        return _icrs(keywords, ra, dec, f"{first[1]}, {lat}")
    for lon, lat in GALACTIC:
        along, above = keywords.number(lon), keywords.number(lat)
        if along and above and -90 <= above[0] <= 90:
            sky = SkyCoord(l=along[0] * u.deg, b=above[0] * u.deg, frame="galactic").icrs
            return Position(float(sky.ra.deg), float(sky.dec.deg), f"{along[1]}, {lat}", "galactic to ICRS")
    return None


def _degrees(value: object, *, hours: bool) -> float | None:
    if isinstance(value, bool):
        return None
    text = str(value).strip()
    try:
        return float(text)
    except ValueError:
        pass
    if not SEXAGESIMAL.match(text):
        return None
    try:
        return float(Angle(text, unit=u.hourangle if hours else u.deg).deg)
    except ValueError:
        return None


def _icrs(keywords: Keywords, ra: float, dec: float, source: str) -> Position:
    equinox = keywords.number("EQUINOX", "EPOCH")
    year = equinox[0] if equinox and 1850 <= equinox[0] <= 2100 else 2000.0
    told = str((keywords.find("RADESYS", "RADECSYS") or ("", ""))[0]).upper()
    # EPOCH is also written for the date of observation: only EQUINOX, or EPOCH 1950 alone, tells another equinox.
    if keywords.number("EQUINOX") is None and year not in (1950.0, 2000.0):
        year = 2000.0
    if told == "ICRS" or abs(year - 2000.0) < 0.01:
        return Position(ra % 360.0, dec, source, "as the header gives it")
    if told.startswith("FK4") or abs(year - 1950.0) < 0.01:
        frame = FK4(equinox=Time(year, format="byear"), obstime=Time(year, format="byear"))
    else:
        frame = FK5(equinox=Time(year, format="jyear"))
    sky = SkyCoord(ra * u.deg, dec * u.deg, frame=frame).icrs
    return Position(float(sky.ra.deg) % 360.0, float(sky.dec.deg), source, f"equinox {year:g} to ICRS")
