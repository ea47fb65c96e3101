"""Shapes on the sky, ICRS degrees: from DALI text and STC-S, to the portable array and to text.

Positions are degrees; a shape is valid from birth. Questions between shapes in SQL are archive.sphere's.
"""

from dataclasses import dataclass
from typing import Self

from archive.vo.errors import UsageError


@dataclass(frozen=True, slots=True)
class Circle:
    """A circle on the sky, ICRS (DALI 1.1 §3.3.6).

    ra, dec: centre, degrees; 0 <= ra <= 360, -90 <= dec <= 90.
    radius: degrees along a great circle; 0 < radius <= 180.
    """

    ra: float
    dec: float
    radius: float

    def __post_init__(self) -> None:
        # Written so that NaN, which compares false with everything, is refused too.
        if not (0 <= self.ra <= 360 and -90 <= self.dec <= 90 and 0 < self.radius <= 180):
            raise UsageError(f"not a circle on the sky: {self}")

    @classmethod
    def from_dali(cls, text: str) -> Self:
        """Read ``"ra dec radius"``."""
        try:
            ra, dec, radius = (float(word) for word in text.split())
        except ValueError:
            raise UsageError(f"CIRCLE takes three numbers, not {text!r}") from None
        return cls(ra, dec, radius)

    def as_array(self) -> list[float]:
        """The portable form: [ra, dec, radius]."""
        return [self.ra, self.dec, self.radius]


@dataclass(frozen=True, slots=True)
class Polygon:
    """A polygon of great-circle edges, ICRS; vertices counter-clockwise seen from inside the sphere (DALI 1.2 §3.10).

    vertices: (ra, dec) in degrees, at least three, not closed explicitly.
    """

    vertices: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        if len(self.vertices) < 3:
            raise UsageError(f"a polygon has at least three vertices, not {len(self.vertices)}")
        for ra, dec in self.vertices:
            if not (0 <= ra <= 360 and -90 <= dec <= 90):
                raise UsageError(f"not a position on the sky: {ra} {dec}")

    def as_array(self) -> list[float]:
        """The portable form: [ra1, dec1, ra2, dec2, ...]."""
        return [number for vertex in self.vertices for number in vertex]
