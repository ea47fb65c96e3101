"""World coordinates of an HDU: from its header to positions in ICRS and to vacuum wavelengths, by astropy and wcslib.

Headers are cleaned for wcslib here, and what it rejects is told in words. Outlines on the sky are footprint.py's.
"""

import re
import warnings
from dataclasses import dataclass
from typing import Any

import astropy.units as u
import numpy as np
from astropy.coordinates import FK4, FK5, ICRS, BarycentricMeanEcliptic, Galactic, SkyCoord, Supergalactic
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS
from numpy.typing import NDArray

from ingest.describe.header import FitsFile, Hdu
from ingest.findings import Finding

CELESTIAL = re.compile(r"^(RA--|DEC-|GLON|GLAT|ELON|ELAT|SLON|SLAT|[A-Z]LON|[A-Z]LAT|RA$|DEC$)")
# The algorithm codes of FITS 4.0 table 23 (and papers), with the conventions that archives use beside them.
PROJECTIONS = frozenset(
    {
        "AZP", "SZP", "TAN", "STG", "SIN", "ARC", "ZPN", "ZEA", "AIR", "CYP", "CEA", "CAR",
        "MER", "SFL", "PAR", "MOL", "AIT", "COP", "COE", "COD", "COO", "BON", "PCO", "TSC",
        "CSC", "QSC", "HPX", "XPH", "GLS", "NCP", "TPV", "TNX", "ZPX", "TPD", "DSS", "TAB",
        "LOG",
    }
)  # fmt: skip
LONG_TEXT = 68


class WcsError(Exception):
    """The header's world coordinates cannot be used; finding says why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(str(finding))
        self.finding = finding


def wcs_header(header: fits.Header) -> fits.Header:
    """The cards that can matter for coordinates: neither HIERARCH nor comments nor long strings.

    A thousand HIERARCH cards cost wcslib a second, and one malformed CONTINUE makes it refuse the header.
    """
    clean = fits.Header()
    for card in header.cards:
        keyword = card.keyword
        hierarch = len(card.rawkeyword) > 8 and "." not in card.rawkeyword
        if hierarch or keyword in ("", "COMMENT", "HISTORY", "CONTINUE"):
            continue
        if (isinstance(card.value, str) and len(card.value) > LONG_TEXT) or isinstance(card.value, fits.card.Undefined):
            continue
        clean.append(card, end=True)
    return clean


def has_plate_solution(header: fits.Header) -> bool:
    """A DSS plate solution (AMDXn, PLTRAH), which wcslib prefers to CTYPE and CRVAL."""
    return "AMDX1" in header and "PLTRAH" in header and "PPO3" in header


def claims_celestial(header: fits.Header) -> bool:
    """True if the header says that its pixels lie on the sky."""
    types = [str(header.get(f"CTYPE{i}", "")).strip().upper() for i in range(1, 8)]
    return has_plate_solution(header) or sum(bool(CELESTIAL.match(word)) for word in types) >= 2


def read_wcs(file: FitsFile, hdu: Hdu) -> WCS:
    """The HDU's primary WCS with its distortions (SIP, TPV, lookup tables). WcsError: wcslib rejects it."""
    if hdu.index in file.wcs:
        return file.wcs[hdu.index]
    header = wcs_header(hdu.header)
    needs_tables = any(f"{key}{i}" in header for key in ("CPDIS", "CQDIS", "D2IMDIS") for i in (1, 2))
    needs_tables |= any(str(header.get(f"CTYPE{i}", "")).endswith("-TAB") for i in range(1, 5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            wcs = WCS(header, fobj=file.astropy() if needs_tables else None)
        # wcslib's own errors, astropy's for keywords it wants and does not find, and errors of its header parser.
        except Exception as error:
            raise WcsError(_rejected(hdu, error)) from error
    file.wcs[hdu.index] = wcs
    return wcs


def _rejected(hdu: Hdu, error: Exception) -> Finding:
    reason = " ".join(str(error).split())[:200]
    return Finding(
        "error", "wcs_unusable", f"{hdu.label} CTYPEn, CRVALn, CDi_j", f"the coordinates are rejected ({reason}).",
        "correct the WCS keywords (FITS 4.0 §8), or remove them if the image has no place on the sky.",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Celestial:
    """The two celestial axes of an HDU. axes: of x and y in numpy's order of the data. wcs: two-dimensional."""

    wcs: WCS
    axes: tuple[int, int]
    frame: Any
    shape: tuple[int, int]

    def to_icrs(self, x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
        """ICRS unit vectors, shape (n, 3), of 0-based pixel positions of shape (n,); NaN where the projection ends."""
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            world = self.wcs.all_pix2world(np.asarray(x, float), np.asarray(y, float), 0)
            lon, lat = world[self.wcs.wcs.lng], world[self.wcs.wcs.lat]
            good = np.isfinite(lon) & np.isfinite(lat) & (np.abs(lat) <= 90)
            vectors = np.full((len(lon), 3), np.nan)
            if good.any():
                sky = SkyCoord(lon[good] * u.deg, lat[good] * u.deg, frame=self.frame).icrs
                vectors[good] = sky.cartesian.xyz.value.T
        return vectors


def celestial(file: FitsFile, hdu: Hdu) -> Celestial | None:
    """The celestial WCS of an HDU; None if its header claims none. WcsError: it claims one that cannot be used.

    Frames: ICRS, FK5, FK4 with their equinox, galactic, supergalactic, ecliptic (FITS 4.0 §8.3).
    """
    if not claims_celestial(hdu.header):
        return None
    unusable = wrong_cards(hdu)
    if unusable is not None:
        raise WcsError(unusable)
    full = read_wcs(file, hdu)
    if not full.has_celestial:
        raise WcsError(_rejected(hdu, ValueError("no pair of celestial axes")))
    lng, lat = full.wcs.lng, full.wcs.lat
    ndim = len(hdu.shape)
    if max(lng, lat) >= ndim:
        raise WcsError(_rejected(hdu, ValueError("the celestial axes are not among the data's axes")))
    first, second = sorted((lng, lat))
    try:
        two = full.celestial
    # Axes that mix sky and spectrum cannot be told apart (wcslib error 13).
    except Exception as error:
        raise WcsError(_rejected(hdu, error)) from error
    axes = (ndim - 1 - first, ndim - 1 - second)
    shape = (hdu.shape[axes[1]], hdu.shape[axes[0]])
    return Celestial(two, axes, _frame(two), shape)


def wrong_cards(hdu: Hdu) -> Finding | None:
    """What is wrong with celestial cards before any library reads them: unknown projection, singular matrix, no sky."""
    header = hdu.header
    for i in range(1, 8):
        ctype = str(header.get(f"CTYPE{i}", "")).strip().upper()
        if not CELESTIAL.match(ctype):
            continue
        code = ctype[5:8].strip("-")
        if code and code not in PROJECTIONS:
            return Finding(
                "error", "wcs_projection_unknown", f"{hdu.label} CTYPE{i}", f"{ctype!r} has no known projection.",
                "use a code of FITS 4.0 table 23, such as TAN.",
            )  # fmt: skip
        crval = header.get(f"CRVAL{i}")
        if ctype.startswith(("DEC", "GLAT", "ELAT", "SLAT")) and isinstance(crval, int | float) and abs(crval) > 90:
            return _no_latitude(hdu, i, crval)
    return _singular(hdu)


def _no_latitude(hdu: Hdu, axis: int, value: float) -> Finding:
    return Finding(
        "error", "wcs_latitude_impossible", f"{hdu.label} CRVAL{axis}", f"{value} is no latitude.",
        "give CRVAL of the latitude axis between -90 and 90 degrees.",
    )  # fmt: skip


def _singular(hdu: Hdu) -> Finding | None:
    header = hdu.header
    matrix = [[header.get(f"CD{i}_{j}") for j in (1, 2)] for i in (1, 2)]
    given = [entry for row in matrix for entry in row if isinstance(entry, int | float)]
    cdelts = [header.get(f"CDELT{i}") for i in (1, 2)]
    zero_cd = bool(given) and not any(given)
    zero_cdelt = all(isinstance(entry, int | float) and entry == 0 for entry in cdelts)
    if (zero_cd and not any(isinstance(entry, int | float) and entry for entry in cdelts)) or (
        zero_cdelt and not given
    ):
        return Finding(
            "error", "wcs_singular", f"{hdu.label} CDi_j, CDELTn", "the pixels have no size: the matrix is all zero.",
            "give CDi_j, or CDELTn with PCi_j, that are not zero.",
        )  # fmt: skip
    return None


def _frame(wcs: WCS) -> Any:
    """The astropy frame of a celestial WCS (FITS 4.0 §8.3: RADESYS, EQUINOX and their defaults)."""
    kind = str(wcs.wcs.ctype[wcs.wcs.lng]).upper()[:4]
    equinox = float(wcs.wcs.equinox)
    if kind == "GLON":
        return Galactic()
    if kind == "SLON":
        return Supergalactic()
    if kind == "ELON":
        return BarycentricMeanEcliptic(equinox=Time(equinox, format="jyear") if equinox > 0 else "J2000")
    radesys = str(wcs.wcs.radesys).strip().upper()
    if not radesys:
        radesys = "ICRS" if not np.isfinite(equinox) or equinox <= 0 else "FK4" if equinox < 1984 else "FK5"
    if radesys.startswith("FK4"):
        return FK4(equinox=Time(equinox if equinox > 0 else 1950.0, format="byear"))
    if radesys == "FK5":
        return FK5(equinox=Time(equinox if equinox > 0 else 2000.0, format="jyear"))
    return ICRS()
