"""The spectral axis of a WCS as vacuum wavelengths in metres: frequency, energy, wavelength in vacuum or air, velocity.

Samples of spectra in arrays are wavelengths.py's.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import astropy.units as u
import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from ingest.describe.facts import Facts
from ingest.describe.header import FitsFile, Hdu
from ingest.describe.wcs import WcsError, read_wcs
from ingest.findings import Finding

SPEED_OF_LIGHT = 299_792_458.0
UCDS = {
    "FREQ": "em.freq", "ENER": "em.energy", "WAVN": "em.wavenumber", "WAVE": "em.wl", "AWAV": "em.wl",
    "VRAD": "spect.dopplerVeloc.radio", "VOPT": "spect.dopplerVeloc.opt", "ZOPT": "src.redshift",
    "VELO": "spect.dopplerVeloc", "BETA": "spect.dopplerVeloc",
}  # fmt: skip
OLD_NAMES = {"LAMBDA": "WAVE", "WAVELENGTH": "WAVE", "VELOCITY": "VELO", "FELO": "VOPT", "FREQUENCY": "FREQ"}


@dataclass(frozen=True, slots=True)
class SpectralAxis:
    """A spectral axis. edges: vacuum wavelengths, m, of its pixels' edges, (n + 1,); None if they cannot be told.

    kind: FREQ, WAVE, VOPT, ...; length: pixels.
    """

    kind: str
    length: int
    edges: NDArray[np.float64] | None


def spectral_axis(file: FitsFile, hdu: Hdu) -> SpectralAxis | None:
    """The spectral axis of an image HDU; None if it has none among its data's axes.

    Velocities become wavelengths by RESTFRQ or RESTWAV. Source: FITS 4.0 §8.4.
    """
    ndim = len(hdu.shape)
    types = [_kind(hdu.header.get(f"CTYPE{i}")) for i in range(1, ndim + 1)]
    index = next((i for i, kind in enumerate(types) if kind in UCDS), None)
    if index is None:
        return None
    length = hdu.shape[ndim - 1 - index]
    try:
        wcs = read_wcs(file, hdu)
    except WcsError:
        return SpectralAxis(types[index], length, None)
    edges = _edges(wcs, index, length, types[index])
    if edges is not None and not (np.isfinite(edges).all() and (edges > 0).all()):
        edges = None
    return SpectralAxis(types[index], length, edges)


def _kind(ctype: Any) -> str:
    text = str(ctype or "").strip().upper()
    return OLD_NAMES.get(text, text[:4])


def _edges(wcs: WCS, index: int, length: int, kind: str) -> NDArray[np.float64] | None:
    """Vacuum wavelengths of the edges of the pixels of WCS axis `index`, at the reference pixel of the other axes."""
    grid = np.tile(wcs.wcs.crpix - 1.0, (length + 1, 1))
    grid[:, index] = np.arange(length + 1) - 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            world = wcs.wcs_pix2world(grid, 0)[:, index]
            unit = u.Unit(wcs.wcs.cunit[index])
            fixed = _kind(wcs.wcs.ctype[index])
            return _vacuum_metres(world, unit, fixed if fixed in UCDS else kind, wcs)
        except (ValueError, u.UnitsError, MemoryError):
            return None


def _vacuum_metres(world: NDArray[Any], unit: Any, kind: str, wcs: WCS) -> NDArray[np.float64] | None:
    """Vacuum wavelengths of world coordinates; None for velocities without RESTFRQ or RESTWAV."""
    if unit == u.one:
        unit = {"FREQ": u.Hz, "ENER": u.J, "WAVN": 1 / u.m}.get(kind, u.m if kind in ("WAVE", "AWAV") else u.m / u.s)
    if kind in ("FREQ", "ENER", "WAVN", "WAVE"):
        return np.asarray((world * unit).to_value(u.m, equivalencies=u.spectral()))
    if kind == "AWAV":
        return air_to_vacuum((world * unit).to_value(u.m))
    rest = SPEED_OF_LIGHT / wcs.wcs.restfrq if wcs.wcs.restfrq > 0 else wcs.wcs.restwav
    if not rest > 0:
        return None
    if kind == "ZOPT":
        return np.asarray(rest * (1 + world))
    beta = (world if kind == "BETA" else (world * unit).to_value(u.m / u.s) / SPEED_OF_LIGHT).astype(float)
    if kind == "VRAD":
        return np.asarray(rest / (1 - beta))
    if kind == "VOPT":
        return np.asarray(rest * (1 + beta))
    return np.asarray(rest * np.sqrt((1 + beta) / (1 - beta)))


def air_to_vacuum(air: NDArray[np.float64]) -> NDArray[np.float64]:
    """Vacuum from air wavelengths, metres; below 185 nm they are taken to be vacuum already.

    Standard air: dry, 15 degrees C, 101,325 Pa, which wavelength calibrations mean by air. FITS paper III, equation 65,
    gives the index at 0 degrees C, which is 5 % too much for them (0.008 nm at 500 nm), hence not that one.
    Source: Morton 2000 (ApJS 130, 403), equation 8 (Edlén 1966; IAU), solved by iteration.
    """
    air = np.asarray(air, dtype=float)
    vacuum = air.copy()
    with np.errstate(all="ignore"):
        for _ in range(4):
            inverse = (1e-6 / vacuum) ** 2
            index = 1 + 8.34254e-5 + 2.406147e-2 / (130 - inverse) + 1.5998e-4 / (38.9 - inverse)
            vacuum = np.where(air > 185e-9, air * index, air)
    return vacuum


def add_spectral(facts: Facts, axis: SpectralAxis, source: str, *, cube: bool) -> None:
    """Add em_min, em_max, em_xel, em_res_power and em_ucd of an axis.

    em_res_power: wavelength over channel width in the middle of a cube: what its sampling allows at best.
    """
    facts.add("em_ucd", UCDS.get(axis.kind), source, "what the spectral axis counts")
    facts.add("em_xel", axis.length, source, "pixels of the spectral axis")
    if axis.edges is None:
        return
    facts.add("em_min", float(axis.edges.min()), source, "outer edge of the first or last channel, in vacuum")
    facts.add("em_max", float(axis.edges.max()), source, "outer edge of the first or last channel, in vacuum")
    middle = axis.length // 2
    width = abs(float(axis.edges[middle + 1] - axis.edges[middle]))
    if cube and width > 0:
        centre = float(axis.edges[middle + 1] + axis.edges[middle]) / 2
        facts.add("em_res_power", centre / width, source, "wavelength over channel width, in the middle")


def add_degenerate_band(file: FitsFile, facts: Facts, hdu: Hdu) -> None:
    """The wavelength of an image that says it on a degenerate axis, on an axis since dropped, or by a keyword."""
    axis = spectral_axis(file, hdu)
    if axis is not None and axis.length == 1:
        add_spectral(facts, axis, f"{hdu.label} CTYPEn of the spectral axis", cube=False)
        return
    lone = _undeclared_axis(hdu)
    frequency = file.keywords(hdu.index).number("OBSFREQ", "OBS-FREQ", "CRFREQ")
    if lone is None and frequency is not None and frequency[0] > 1e6:
        wavelength = SPEED_OF_LIGHT / frequency[0]
        lone = wavelength, wavelength, frequency[1]
    if lone is not None:
        why = "the frequency or wavelength that the header names"
        facts.add("em_min", lone[0], lone[2], why)
        facts.add("em_max", lone[1], lone[2], why)


def _undeclared_axis(hdu: Hdu) -> tuple[float, float, str] | None:
    """Wavelengths of a FREQ or LAMBDA axis beyond NAXIS, as cutouts of radio maps keep them."""
    for i in range(len(hdu.shape) + 1, 6):
        kind = _kind(hdu.header.get(f"CTYPE{i}"))
        value, step = hdu.header.get(f"CRVAL{i}"), hdu.header.get(f"CDELT{i}")
        if kind not in ("FREQ", "WAVE") or not isinstance(value, int | float) or not isinstance(step, int | float):
            continue
        if str(hdu.header.get(f"CUNIT{i}", "")).strip().upper() not in ("", "HZ", "M") or value <= 0:
            continue
        # A step of one, or larger than the value, is a filler and no width.
        half = abs(step) / 2 if abs(step) < value and abs(step) != 1 else 0.0
        edges = sorted(SPEED_OF_LIGHT / (value + s * half) if kind == "FREQ" else value + s * half for s in (-1, 1))
        return edges[0], edges[1], f"[{hdu.index}] CRVAL{i}"
    return None


def velocity_without_line(axis: SpectralAxis, where: str) -> Finding:
    """What to say of a spectral axis whose wavelengths cannot be told."""
    return Finding(
        "warning", "line_unknown", f"{where} RESTFRQ",
        f"the {axis.kind} axis has no usable RESTFRQ or RESTWAV: its wavelengths stay unknown.",
        "give RESTFRQ in Hz, or em_min and em_max in the instrument's mapping.",
    )  # fmt: skip
