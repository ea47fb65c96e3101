"""Samples of a spectrum as vacuum wavelengths in metres: arrays in any unit, medium and velocity convention.

Arrays and values only; where a header says which of them applies is spectra.py's, axes that a WCS describes are
wavelengths.py's.
"""

from dataclasses import dataclass
from typing import Literal

import astropy.units as u
import numpy as np
from numpy.typing import ArrayLike, NDArray

SPEED_OF_LIGHT = 299_792_458.0  # m/s, exact
Medium = Literal["vacuum", "air", "unknown"]
Convention = Literal["radio", "optical", "relativistic"]


def air_to_vacuum(wavelength: ArrayLike) -> NDArray[np.float64]:
    """Vacuum wavelengths (m) of wavelengths in standard air (m).

    The index is that of the IUGG, which FITS prescribes for AWAV; below 185 nm, where air is opaque and wavelengths are
    given in vacuum, the wavelength stays. Source: Greisen et al. 2006, A&A 446, 747, eq. 65 (FITS 4.0 §8.4, AWAV).
    """
    air = np.asarray(wavelength, np.float64)
    vacuum = air.copy()
    # The index is a function of vacuum wavelength; it varies so slowly that three rounds settle it to 1e-12.
    for _ in range(3):
        with np.errstate(divide="ignore", invalid="ignore"):
            wave_number = 1e-6 / vacuum
            index = 1 + 1e-6 * (287.6155 + 1.62887 * wave_number**2 + 0.01360 * wave_number**4)
            vacuum = np.where(air > 185e-9, air * index, air)
    return vacuum


@dataclass(frozen=True, slots=True)
class Samples:
    """The spectral range of a set of samples: low <= high, vacuum wavelength, m; count: how many samples."""

    low: float
    high: float
    count: int


def wavelengths(values: ArrayLike, unit: u.UnitBase, medium: Medium = "vacuum") -> NDArray[np.float64]:
    """Vacuum metres of wavelengths, frequencies, wave numbers or energies; NaN for what is not positive.

    unit: of the values; UnitConversionError if it is none of those. medium: only of wavelengths.
    """
    numbers = np.asarray(values, np.float64)
    good = np.isfinite(numbers) & (numbers > 0)
    metres = np.full(numbers.shape, np.nan)
    metres[good] = (numbers[good] * unit).to_value(u.m, equivalencies=u.spectral())
    if medium == "air" and unit.is_equivalent(u.m):
        metres[good] = air_to_vacuum(metres[good])
    return metres


def velocity_wavelengths(values: ArrayLike, unit: u.UnitBase, rest: float, how: Convention) -> NDArray[np.float64]:
    """Vacuum metres of velocities. rest: of the line, m. Source: Greisen et al. 2006, table 3 (VRAD, VOPT, VELO)."""
    beta = (np.asarray(values, np.float64) * unit).to_value(u.m / u.s) / SPEED_OF_LIGHT
    if how == "radio":
        return np.asarray(rest / (1 - beta))
    if how == "optical":
        return np.asarray(rest * (1 + beta))
    return np.asarray(rest * np.sqrt((1 + beta) / (1 - beta)))


def samples(metres: ArrayLike) -> Samples | None:
    """The range of these wavelengths, NaN left out; None if nothing is left. count: all of them, NaN too."""
    array = np.asarray(metres, np.float64).ravel()
    good = array[np.isfinite(array)]
    if good.size == 0:
        return None
    return Samples(float(good.min()), float(good.max()), int(array.size))
