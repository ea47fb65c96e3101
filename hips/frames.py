"""The frame of an image's coordinates, from and to ICRS: a rotation where it is one, else astropy. Pure."""

from dataclasses import dataclass
from typing import Any

import astropy.units as u
import numpy as np
from astropy.coordinates import (
    FK4,
    FK5,
    ICRS,
    BarycentricMeanEcliptic,
    CartesianRepresentation,
    Galactic,
    SkyCoord,
    Supergalactic,
)
from astropy.time import Time
from astropy.wcs import WCS
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Frame:
    """frame: astropy's. rotation: 3 x 3, ICRS vectors to its own; None if it is more than a rotation (FK4)."""

    frame: Any
    rotation: Doubles | None

    def from_icrs(self, vectors: Doubles) -> Doubles:
        """Unit vectors, shape (n, 3)."""
        if self.rotation is not None:
            return vectors @ self.rotation.T
        return _transformed(vectors, ICRS(), self.frame)

    def to_icrs(self, vectors: Doubles) -> Doubles:
        """Unit vectors, shape (n, 3); NaN stays NaN."""
        if self.rotation is not None:
            return vectors @ self.rotation
        return _transformed(vectors, self.frame, ICRS())


def frame_of(wcs: WCS) -> Frame:
    """The frame that CTYPE, RADESYS and EQUINOX name (FITS 4.0 §8.3, defaults included)."""
    frame = _named(wcs)
    if isinstance(frame, FK4):
        return Frame(frame, None)
    return Frame(frame, np.eye(3) if isinstance(frame, ICRS) else _transformed(np.eye(3), ICRS(), frame).T)


def _named(wcs: WCS) -> Any:
    kind = str(wcs.wcs.ctype[wcs.wcs.lng]).upper()[:4]
    equinox = float(wcs.wcs.equinox)
    known = np.isfinite(equinox) and equinox > 0
    if kind in ("GLON", "SLON"):
        return Galactic() if kind == "GLON" else Supergalactic()
    if kind == "ELON":
        return BarycentricMeanEcliptic(equinox=Time(equinox if known else 2000.0, format="jyear"))
    named = str(wcs.wcs.radesys).strip().upper()
    if not named:
        named = "ICRS" if not known else "FK4" if equinox < 1984 else "FK5"
    if named.startswith("FK4"):
        return FK4(equinox=Time(equinox if known else 1950.0, format="byear"))
    if named == "FK5":
        return FK5(equinox=Time(equinox if known else 2000.0, format="jyear"))
    return ICRS()


def _transformed(vectors: Doubles, old: Any, new: Any) -> Doubles:
    answer = np.full(vectors.shape, np.nan)
    good = np.isfinite(vectors).all(axis=1)
    if good.any():
        coordinates = SkyCoord(CartesianRepresentation(vectors[good].T * u.one), frame=old).transform_to(new)
        # Without a distance only directions are meant.
        unit = coordinates.represent_as("unitspherical").to_cartesian()
        answer[good] = unit.xyz.value.T
    return answer
