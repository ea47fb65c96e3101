"""Spectra whose wavelengths follow from an image's header: linear and logarithmic axes, IRAF, HARPS, velocities.

Sources: FITS 4.0 §8.4; IRAF specwcs (Valdes 1993: DC-FLAG, WAT, MULTISPEC); HARPS DRS User's Manual 3.6 §4 (wavelength
polynomials); SDSS DR7 spSpec.
"""

import re
from typing import Any

import astropy.units as u
import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ingest.describe.found import Found, union
from ingest.describe.header import FitsFile, Hdu
from ingest.describe.keywords import Keywords
from ingest.describe.science import images, is_companion
from ingest.describe.units import parse_unit
from ingest.describe.wavelengths import Convention, Medium, Samples, samples, velocity_wavelengths, wavelengths
from ingest.findings import Finding

# Instruments whose pipelines give optical wavelengths in air (their manuals), whether or not the header says so.
IN_AIR = frozenset({"HARPS", "UVES", "FEROS", "EFOSC", "EMMI", "FORS1", "FORS2"})
VELOCITIES: dict[str, Convention] = {
    "VRAD": "radio", "VELO": "radio", "VELOCITY": "radio", "VELO-LSR": "radio", "VOPT": "optical", "FELO": "optical",
    "FELO-HEL": "optical", "VELO-HEL": "optical",
}  # fmt: skip
FEW_ROWS = 12
WAT_CARD_LENGTH = 68  # characters of text a card holds; trailing blanks of all but the last belong to the text
_SPEC = re.compile(r'spec\d+\s*=\s*"([^"]*)"')
_WAT_UNITS = re.compile(r"units\s*=\s*(\w+)", re.IGNORECASE)
_WAT_LABEL = re.compile(r"label\s*=\s*(\w+)", re.IGNORECASE)


def recognises(file: FitsFile) -> bool:
    """An image with one axis longer than a pixel that is not of time, or few rows over a spectral one."""
    return bool(_candidates(file))


def _candidates(file: FitsFile) -> list[Hdu]:
    found = [hdu for hdu in file.hdus if hdu.kind == "image" and _is_spectral(hdu)]
    # A vector beside an image or a cube is its companion: a distortion table, a trace, a profile.
    spectral = {hdu.index for hdu in found}
    if any(hdu.index not in spectral and not is_companion(hdu) for hdu in images(file)):
        return []
    science = [hdu for hdu in found if not is_companion(hdu)]
    return science or found


def spectral_hdus(file: FitsFile) -> list[Hdu]:
    """The images that are spectra, the main one first; empty if none is."""
    return _candidates(file)


def axis_values(file: FitsFile, hdu: Hdu) -> tuple[NDArray[np.float64], u.UnitBase]:
    """The samples of an image's first axis as the header counts them, and the unit that it means by them."""
    axis = _Axis(file, hdu)
    values = axis.samples_told()
    return values, axis.unit_of(values)[0]


def _is_spectral(hdu: Hdu) -> bool:
    long_axes = [size for size in hdu.shape if size > 1]
    header = hdu.header
    ctype = str(header.get("CTYPE1", "")).strip().upper()
    if not long_axes or ctype.startswith(("TIME", "RA", "DEC", "GLON", "GLAT", "STOKES")):
        return False
    if len(long_axes) == 1:
        return hdu.shape[-1] > 1 and (ctype != "" or "CRVAL1" in header or "COEFF0" in header)
    if len(long_axes) != 2 or "MULTISPE" in ctype:
        return len(long_axes) == 2
    if "ESO DRS CAL TH DEG LL" in header and "ESO DRS CAL TH COEFF LL0" in header:
        return str(header.get("ESO DPR CATG", "")).strip() != "CALIB"
    few = hdu.shape[0] <= FEW_ROWS < hdu.shape[-1]
    spectral = ctype in VELOCITIES or ctype.startswith(("WAVE", "AWAV", "FREQ", "LAMBDA")) or "DC-FLAG" in header
    return few and (spectral or "COEFF0" in header)


def find(file: FitsFile) -> Found:
    """The wavelengths of all spectra in the file's images."""
    hdus = _candidates(file)
    first = hdus[0]
    header = first.header
    if "ESO DRS CAL TH COEFF LL0" in header and len([size for size in first.shape if size > 1]) == 2:
        return _harps(file, first)
    if "MULTISPE" in str(header.get("CTYPE1", "")).upper():
        return _multispec(file, first)
    axes = [_Axis(file, hdu) for hdu in hdus]
    usable = [axis for axis in axes if axis.described]
    ranges = [found for axis in usable if (found := axis.range()) is not None]
    main = (usable or axes)[0]
    result = Found(
        tuple(hdu.index for hdu in hdus),
        union(ranges),
        f"{main.hdu.label} CRVAL1, CD1_1" + (f" and {len(usable) - 1} more" if len(usable) > 1 else ""),
        main.why,
        main.medium,
        flux_unit=str(header.get("BUNIT", "")).strip() or None,
        missing=main.missing,
    )
    result.findings += main.findings
    average = file.keywords(first.index).number("MJD-AVG")
    if average is not None and file.keywords(first.index).find("MJD-OBS", "DATE-OBS") is None:
        why = "the mean time of the scans, all that is told"
        result.facts += [("t_min", average[0], average[1], why), ("t_max", average[0], average[1], why)]
    return result


class _Axis:
    """The first axis of one image as samples of wavelength."""

    def __init__(self, file: FitsFile, hdu: Hdu) -> None:
        self.hdu = hdu
        self.findings: list[Finding] = []
        self.missing = ""
        self._header = header = hdu.header
        keywords = file.keywords(hdu.index)
        self.ctype = str(header.get("CTYPE1", "")).strip()
        self.described = "CRVAL1" in header or "COEFF0" in header
        self.medium: Medium = _medium(keywords, self.ctype)
        self.why = "first and last sample of the axis"
        rest = keywords.number("RESTFRQ", "RESTFREQ", "RESTFRQA")
        wave = keywords.number("RESTWAV")
        self._rest = 299_792_458.0 / rest[0] if rest and rest[0] > 0 else wave[0] if wave and wave[0] > 0 else None
        self._wat = _wat(header, 1)

    def range(self) -> Samples | None:
        values = self.samples_told()
        unit, told = self.unit_of(values)
        if self.ctype.upper() in VELOCITIES or unit.is_equivalent(u.m / u.s):
            if self._rest is None:
                self.missing = "the axis is of velocities and no RESTFRQ says of which line."
                return None
            how = VELOCITIES.get(self.ctype.upper(), "radio")
            self.why, self.medium = f"velocities ({how}) of the line at RESTFRQ", "vacuum"
            return samples(velocity_wavelengths(values, unit, self._rest, how))
        if not told:
            self.findings.append(
                Finding("warning", "unit_assumed", f"{self.hdu.label} CUNIT1",
                        f"no unit is told; {values[0]:g} to {values[-1]:g} are taken as {unit}.", "write CUNIT1.")
            )  # fmt: skip
        if not unit.is_equivalent(u.m):
            self.medium = "vacuum"
        self.why += {"air": ", air to vacuum", "vacuum": "", "unknown": ""}[self.medium]
        try:
            return samples(wavelengths(values, unit, self.medium))
        except u.UnitConversionError:
            self.missing = f"{unit} is no unit of wavelength, frequency or energy."
            return None

    def samples_told(self) -> NDArray[np.float64]:
        """What the header's numbers say at the two ends and every sample between, the logarithm undone."""
        header, length = self._header, self.hdu.shape[-1]
        start = float(header.get("CRVAL1", header.get("COEFF0", 1.0)))
        step = float(header.get("CD1_1") or header.get("CDELT1") or header.get("COEFF1") or 1.0)
        reference = float(header.get("CRPIX1", 1.0))
        values = start + (np.arange(1, length + 1) - reference) * step
        logarithmic = int(header.get("DC-FLAG", 0) or 0) == 1 or "COEFF1" in header
        if self.ctype.upper().endswith("-LOG") and start > 0:
            self.why = "logarithmic axis (CTYPE -LOG)"
            return np.asarray(start * np.exp((values - start) / start))
        # A spectrum does not begin at 3.5 Angstrom and step by 1e-4: those are logarithms whose flag was lost.
        if logarithmic or (0 < start < 6 and 0 < abs(step) < 0.01 and not str(header.get("CUNIT1", "")).strip()):
            self.why = "first and last sample; log10 axis"
            return np.asarray(10.0**values)
        return np.asarray(values)

    def unit_of(self, values: NDArray[np.float64]) -> tuple[u.UnitBase, bool]:
        """The unit, and whether the header tells it."""
        label = _WAT_UNITS.search(self._wat) or (
            _WAT_LABEL.search(self._wat) if "ngstrom" in self._wat.lower() else None
        )
        bracket = re.search(r"[\[(](\w+)[\])]", self.ctype)
        texts = (self._header.get("CUNIT1"), bracket[1] if bracket else None, label[1] if label else None, self.ctype)
        for text in texts:
            word = str(text or "").strip().split(" (")[0]
            if not word or word.upper() in ("LINEAR", "WAVELENGTH", "PIXEL"):
                continue
            known = {"A": "Angstrom", "ANGSTROMS": "Angstrom", "ANGSTROM": "Angstrom"}.get(word.upper(), word)
            unit = parse_unit(known)
            if unit is not None and (unit.is_equivalent(u.m, u.spectral()) or unit.is_equivalent(u.m / u.s)):
                return unit, True
        if self.ctype.upper() in VELOCITIES:
            return u.m / u.s, False
        return _guessed(values), False


def _guessed(values: NDArray[np.float64]) -> u.UnitBase:
    """The unit that makes the numbers those of ultraviolet to infrared light."""
    top = float(np.nanmax(np.abs(values)))
    return u.m if top < 1e-3 else u.um if top < 100 else u.Angstrom if top < 1e6 else u.Hz


def _medium(keywords: Keywords, ctype: str) -> Medium:
    if ctype.upper().startswith("AWAV"):
        return "air"
    told = keywords.find("VACUUM", "AIRORVAC")
    if told is not None:
        word = str(told[0]).strip().lower()
        return "vacuum" if word in ("true", "t", "1", "vac", "vacuum") else "air"
    instrument = str((keywords.find("INSTRUME") or ("", ""))[0]).upper().split("/")[0].strip()
    if instrument in IN_AIR:
        return "air"
    return "vacuum" if ctype.upper()[:4] in ("WAVE", "FREQ", "ENER") and ctype.upper() != "WAVELENGTH" else "unknown"


def _wat(header: fits.Header, axis: int) -> str:
    """The text of IRAF's WATn_nnn cards of an axis, joined."""
    cards = sorted(key for key in header if re.match(rf"WAT{axis}_\d{{3}}$", key))
    return "".join(str(header[key]).ljust(WAT_CARD_LENGTH) for key in cards)


def _multispec(file: FitsFile, hdu: Hdu) -> Found:
    """IRAF MULTISPEC: each row's aperture, beam, type, first wavelength, step, number of samples, redshift."""
    ranges, log = [], False
    unit = _WAT_UNITS.search(_wat(hdu.header, 1))
    parsed = parse_unit({"angstroms": "Angstrom"}.get(unit[1].lower(), unit[1])) if unit else u.Angstrom
    medium = _medium(file.keywords(hdu.index), "")
    for text in _SPEC.findall(_wat(hdu.header, 2)):
        words = text.split()
        if len(words) < 7 or int(float(words[2])) < 0:
            continue
        kind, first, step, count, redshift = (float(word) for word in words[2:7])
        ends = np.array([first, first + step * (count - 1)]) / (1 + redshift)
        log = log or kind == 1
        found = samples(wavelengths(10.0**ends if kind == 1 else ends, parsed or u.Angstrom, medium))
        if found is not None:
            ranges.append(Samples(found.low, found.high, int(count)))
    why = f"IRAF MULTISPEC, {len(ranges)} orders" + (", air to vacuum" if medium == "air" else "")
    return Found((hdu.index,), union(ranges), f"{hdu.label} WAT2", why, medium,
                 flux_unit=str(hdu.header.get("BUNIT", "")).strip() or None,
                 missing="WAT2 describes no wavelength-calibrated order.")  # fmt: skip


def _harps(file: FitsFile, hdu: Hdu) -> Found:
    """HARPS DRS: a polynomial of the column for each order, in air, Angstrom; a CCF has the orders it was made from."""
    header = hdu.header
    degree = int(header["ESO DRS CAL TH DEG LL"])
    is_ccf = any(key.startswith("ESO DRS CCF") for key in header) and hdu.shape[-1] < 2000
    orders = hdu.shape[0] - (1 if is_ccf else 0)
    columns = np.arange(4096 if is_ccf else hdu.shape[-1], dtype=np.float64)
    ranges = []
    for order in range(orders):
        terms: list[Any] = [
            header.get(f"ESO DRS CAL TH COEFF LL{order * (degree + 1) + term}") for term in range(degree + 1)
        ]
        if any(term is None for term in terms):
            break
        found = samples(wavelengths(np.polynomial.polynomial.polyval(columns, terms), u.Angstrom, "air"))
        if found is not None:
            ranges.append(found)
    source = f"{hdu.label} ESO DRS CAL TH COEFF LLn"
    if is_ccf:
        return Found((hdu.index,), union(ranges), source, "a cross-correlation function over the spectrum's orders",
                     "air", is_spectrum=False, subtype="ccf")  # fmt: skip
    return Found((hdu.index,), union(ranges), source, f"polynomials of {len(ranges)} orders, air to vacuum", "air",
                 flux_unit="adu" if not header.get("BUNIT") else str(header["BUNIT"]))  # fmt: skip
