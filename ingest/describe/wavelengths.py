"""Samples of a spectrum as vacuum wavelengths in metres: arrays in any unit, medium and velocity convention.

Arrays and values only; where a header says which of them applies is spectra.py's, axes that a WCS describes are
spectral.py's.
"""

from dataclasses import dataclass
from typing import Literal

import astropy.units as u
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ingest.describe.spectral import SPEED_OF_LIGHT, air_to_vacuum

Medium = Literal["vacuum", "air", "unknown"]
Convention = Literal["radio", "optical", "relativistic"]


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
