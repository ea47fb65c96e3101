"""Shapes on the sky, ICRS degrees: from DALI text and STC-S, to the portable array and to text.

Positions are degrees; a shape is valid from birth. Questions between shapes in SQL are archive.sphere's.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from archive.vo.errors import UsageError

SQUARE_DEGREES = (180 / math.pi) ** 2
# As wide as the boundary of a shape is in archive.sphere, radians.
ON_EDGE = 1e-12


def _numbers(text: str, name: str, count: str) -> list[float]:
    """The finite or infinite numbers of a text; UsageError names what was read."""
    try:
        numbers = [float(word) for word in text.split()]
    except ValueError:
        raise UsageError(f"{name} takes {count} numbers, not {text!r}") from None
    if any(math.isnan(number) for number in numbers):
        raise UsageError(f"{name}: NaN is no coordinate, in {text!r}")
    return numbers


def _turned(ra: float) -> float:
    """A right ascension brought to 0..360: DALI 1.2 §3.7 lets coordinates go further round."""
    return ra % 360 if math.isfinite(ra) and not 0 <= ra <= 360 else ra


def _array(numbers: Sequence[float]) -> list[float]:
    return [float(number) for number in numbers]


@dataclass(frozen=True, slots=True)
class Point:
    """A position, ICRS degrees (DALI 1.2 §3.8); 0 <= ra <= 360, -90 <= dec <= 90."""

    ra: float
    dec: float

    def __post_init__(self) -> None:
        if not (0 <= self.ra <= 360 and -90 <= self.dec <= 90):
            raise UsageError(f"not a position on the sky: {self.ra} {self.dec}")

    @classmethod
    def from_dali(cls, text: str) -> Self:
        """Read ``"ra dec"``."""
        numbers = _numbers(text, "POINT", "two")
        if len(numbers) != 2:
            raise UsageError(f"POINT takes two numbers, not {text!r}")
        return cls(_turned(numbers[0]), numbers[1])

    def as_array(self) -> list[float]:
        """The portable form: [ra, dec]."""
        return _array([self.ra, self.dec])


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
        numbers = _numbers(text, "CIRCLE", "three")
        if len(numbers) != 3:
            raise UsageError(f"CIRCLE takes three numbers, not {text!r}")
        return cls(_turned(numbers[0]), numbers[1], numbers[2])

    def as_array(self) -> list[float]:
        """The portable form: [ra, dec, radius]."""
        return _array([self.ra, self.dec, self.radius])

    @property
    def area(self) -> float:
        """Square degrees."""
        return 4 * math.pi * math.sin(math.radians(self.radius) / 2) ** 2 * SQUARE_DEGREES


@dataclass(frozen=True, slots=True)
class Range:
    """A range of coordinates, ICRS degrees (DALI 1.2 §3.11): ra_min > ra_max crosses 0; 0 to 360 is all round.

    0 <= ra_min, ra_max <= 360; -90 <= dec_min <= dec_max <= 90. Its sides are parallels and meridians.
    """

    ra_min: float
    ra_max: float
    dec_min: float
    dec_max: float

    def __post_init__(self) -> None:
        on_sky = 0 <= self.ra_min <= 360 and 0 <= self.ra_max <= 360
        if not (on_sky and -90 <= self.dec_min <= self.dec_max <= 90):
            raise UsageError(f"not a range on the sky: {self}")

    @classmethod
    def from_dali(cls, text: str) -> Self:
        """Read ``"ra_min ra_max dec_min dec_max"``; an infinite limit is the coordinate's own (SIA 2.0 §2.1.1)."""
        numbers = _numbers(text, "RANGE", "four")
        if len(numbers) != 4:
            raise UsageError(f"RANGE takes four numbers, not {text!r}")
        west, east, south, north = numbers
        if math.isinf(west) or math.isinf(east):
            west, east = (0.0 if west == -math.inf else west), (360.0 if east == math.inf else east)
        if east - west >= 360:
            west, east = 0.0, 360.0
        south, north = (-90.0 if south == -math.inf else south), (90.0 if north == math.inf else north)
        return cls(_turned(west), _turned(east), south, north)

    @property
    def width(self) -> float:
        """Degrees of right ascension."""
        return 360.0 if self.ra_max - self.ra_min >= 360 else (self.ra_max - self.ra_min) % 360

    @property
    def area(self) -> float:
        """Square degrees."""
        middle, half = math.radians(self.dec_min + self.dec_max) / 2, math.radians(self.dec_max - self.dec_min) / 2
        return 2 * math.cos(middle) * math.sin(half) * math.radians(self.width) * SQUARE_DEGREES

    def as_array(self) -> list[float]:
        """The portable form: [ra_min, ra_max, dec_min, dec_max]."""
        return _array([self.ra_min, self.ra_max, self.dec_min, self.dec_max])


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

    @classmethod
    def from_dali(cls, text: str) -> Self:
        """Read ``"ra1 dec1 ra2 dec2 ra3 dec3 ..."``, either winding: the smaller side is meant (SIA 2.0 §2.1.1).

        A last vertex that repeats the first is left out. UsageError: fewer than three vertices, an odd count, a
        vertex off the sky, edges that cross.
        """
        numbers = _numbers(text, "POLYGON", "an even count, at least six, of")
        if len(numbers) % 2 or len(numbers) < 6:
            raise UsageError(f"POLYGON takes an even count of at least six numbers, not {len(numbers)}: {text!r}")
        polygon = cls(tuple(zip(map(_turned, numbers[::2]), numbers[1::2], strict=True))).normalised()
        if not polygon.is_simple():
            raise UsageError(
                f"the edges of POLYGON {text} cross or touch: give its vertices in order around it, each once"
            )
        return polygon

    def as_array(self) -> list[float]:
        """The portable form: [ra1, dec1, ra2, dec2, ...]."""
        return _array([number for vertex in self.vertices for number in vertex])

    def unit_vectors(self) -> NDArray[np.float64]:
        """The vertices as unit vectors, shape (n, 3)."""
        ra, dec = np.radians(np.array(self.vertices, dtype=float)).T
        return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)

    def normalised(self) -> Self:
        """The same edges, counter-clockwise around the smaller side; no vertex twice in a row, not closed explicitly.

        UsageError: fewer than three different vertices are left.
        """
        kept: list[tuple[float, float]] = []
        for vertex in self.vertices:
            if not kept or not _same_place(kept[-1], vertex):
                kept.append(vertex)
        while len(kept) > 1 and _same_place(kept[0], kept[-1]):
            kept.pop()
        polygon = type(self)(tuple(kept))
        # Left seen from outside is right seen from inside: what is negative here goes counter-clockwise there.
        return polygon if _turning_area(polygon.unit_vectors()) < 0 else type(self)(tuple(reversed(kept)))

    @property
    def area(self) -> float:
        """Square degrees of the smaller side; meant for polygons whose edges do not cross."""
        return abs(_turning_area(self.unit_vectors())) * SQUARE_DEGREES

    def is_simple(self) -> bool:
        """Whether no two edges cross, touch or run back on each other, and no edge is zero or half a turn long."""
        a = self.unit_vectors()
        b = np.roll(a, -1, axis=0)
        normals = np.cross(a - b, a + b) / 2
        lengths = np.linalg.norm(normals, axis=1)
        if (lengths < 1e-13).any():
            return False
        normals /= lengths[:, None]
        count = len(a)
        gap = (np.arange(count) - np.arange(count)[:, None]) % count
        apart = (gap > 1) & (gap < count - 1)
        # Heights of every first and second vertex over every edge's great circle: [edge, vertex].
        first, second = normals @ a.T, normals @ b.T
        straddled = (first * second < 0) & (first.T * second.T < 0) & (first * first.T < 0)
        if (straddled & apart).any():
            return False
        # A vertex on an edge that it does not end: on its circle, and seeing its ends under an obtuse angle.
        to_first, to_second = a[:, None, :] - a[None, :, :], b[:, None, :] - a[None, :, :]
        between = (to_first * to_second).sum(axis=-1) <= 0
        touching = (np.abs(first) <= ON_EDGE) & between & (gap != 0) & (gap != 1)
        return not bool(touching.any())

    def contains(self, ra: ArrayLike, dec: ArrayLike) -> NDArray[np.bool_]:
        """Whether positions (degrees, any shape) lie inside; even-odd, the boundary itself either way.

        UsageError: the polygon reaches 89 degrees from its middle; such ones are asked of archive.sphere.
        """
        corners = self.unit_vectors()
        centre = corners.sum(axis=0)
        centre /= np.linalg.norm(centre) or 1.0
        if (corners @ centre).min() < math.cos(math.radians(89)):
            raise UsageError(f"a polygon as wide as half the sky cannot be asked here: {self}")
        # In the tangent plane great circles are straight lines.
        east = np.cross([0.0, 0.0, 1.0] if abs(centre[2]) < 0.9 else [1.0, 0.0, 0.0], centre)
        east /= np.linalg.norm(east)
        north = np.cross(centre, east)
        a, d = np.radians(np.asarray(ra, float)), np.radians(np.asarray(dec, float))
        p = np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=-1)
        depth = p @ centre
        ahead = depth > 1e-3
        scale = np.where(ahead, depth, 1.0)
        x, y = (p @ east) / scale, (p @ north) / scale
        u, v = (corners @ east) / (corners @ centre), (corners @ north) / (corners @ centre)
        inside = np.zeros(x.shape, dtype=bool)
        for u0, v0, u1, v1 in zip(u, v, np.roll(u, -1), np.roll(v, -1), strict=True):
            if v0 != v1:
                inside ^= ((v0 > y) != (v1 > y)) & (x < u0 + (y - v0) * (u1 - u0) / (v1 - v0))
        return np.asarray(inside & ahead, dtype=bool)


Region = Point | Circle | Range | Polygon


def from_array(array: Sequence[float]) -> Region:
    """The shape of a portable array: 2 numbers a position, 3 a circle, 4 a range, an even count from 6 a polygon."""
    numbers = _array(array)
    match len(numbers):
        case 2:
            return Point(*numbers)
        case 3:
            return Circle(*numbers)
        case 4:
            return Range(*numbers)
        case count if count >= 6 and count % 2 == 0:
            return Polygon(tuple(zip(numbers[::2], numbers[1::2], strict=True)))
    raise UsageError(f"no region has {len(numbers)} numbers")


def parse_pos(text: str) -> Circle | Range | Polygon:
    """POS of SIA and SODA, DALI's xtype shape: ``CIRCLE ...``, ``RANGE ...`` or ``POLYGON ...``, in any case.

    Source: SIA 2.0 §2.1.1; SODA 1.0 §3.3.1; DALI 1.2 §3.13.
    """
    word, _, numbers = text.strip().partition(" ")
    match word.upper():
        case "CIRCLE":
            return Circle.from_dali(numbers)
        case "RANGE":
            return Range.from_dali(numbers)
        case "POLYGON":
            return Polygon.from_dali(numbers)
    raise UsageError(f"POS starts with CIRCLE, RANGE or POLYGON, not {word!r}")


# STC-S (IVOA Note TAP 1.0 §6, the part that s_region and REGION use)

_FRAMES = {"ICRS", "FK5", "J2000", "UNKNOWNFRAME"}
_IGNORED = {
    "BARYCENTER", "GEOCENTER", "HELIOCENTER", "TOPOCENTER", "LSR", "GALACTIC_CENTER", "RELOCATABLE", "UNKNOWNREFPOS",
    "SPHERICAL2", "CARTESIAN2", "FILLFACTOR", "UNIT", "DEG",
}  # fmt: skip


def from_stcs(text: str) -> Region:
    """Read a region of STC-S: Position, Circle, Polygon, PositionInterval; words in any case, ICRS, FK5 or J2000.

    FK5 at J2000 is read as ICRS: the two differ by less than 0.03 arcsec.
    UsageError: another frame or shape (unions, ellipses), or numbers that make no shape.
    """
    words = re.findall(r"[^\s,()]+", text)
    if not words:
        raise UsageError("an empty region")
    shape, rest = words[0].upper(), words[1:]
    while rest and re.match(r"[A-Za-z]", rest[0]) and rest[0].upper() not in {"INF", "NAN"}:
        word = rest.pop(0).upper()
        if word not in _FRAMES and word not in _IGNORED:
            raise UsageError(f"STC-S frame or word {word!r} is not supported (ICRS, FK5 and J2000 are): {text!r}")
    numbers = " ".join(rest)
    match shape:
        case "POSITION" | "POINT":
            return Point.from_dali(numbers)
        case "CIRCLE":
            return Circle.from_dali(numbers)
        case "POLYGON":
            return Polygon.from_dali(numbers)
        case "RANGE":
            return Range.from_dali(numbers)
        case "POSITIONINTERVAL":
            if len(rest) != 4:
                raise UsageError(f"PositionInterval takes four numbers, not {numbers!r}")
            return Range.from_dali(" ".join([rest[0], rest[2], rest[1], rest[3]]))
    raise UsageError(f"STC-S shape {words[0]!r} is not supported (Position, Circle, Polygon, PositionInterval are)")


def to_stcs(array: Sequence[float]) -> str:
    """A portable array as STC-S text, every number as it is: ``POLYGON ICRS ra dec ...``, ``CIRCLE ICRS ra dec r``.

    Aladin Lite and ESASky read s_region so (clients.md).
    """
    match len(array):
        case 2:
            name, numbers = "POSITION", list(array)
        case 3:
            name, numbers = "CIRCLE", list(array)
        case 4:
            name, numbers = "POSITIONINTERVAL", [array[0], array[2], array[1], array[3]]
        case count if count >= 6 and count % 2 == 0:
            name, numbers = "POLYGON", list(array)
        case count:
            raise UsageError(f"no region has {count} numbers")
    return " ".join([name, "ICRS", *(repr(float(number)) for number in numbers)])


def _same_place(a: tuple[float, float], b: tuple[float, float]) -> bool:
    """Whether two vertices are one, as right ascension wraps and the poles have none of their own."""
    if a[1] != b[1]:
        return False
    return a == b or abs(a[1]) == 90 or (a[0] - b[0]) % 360 == 0


def _turning_area(a: NDArray[np.float64]) -> float:
    """Steradians of the smaller side, positive where it is on the left of the edges, seen from outside the sphere.

    a: unit vectors (n, 3) in order. Sum of the signed excesses of the triangles to the middle, by van Oosterom and
    Strackee (1983).
    """
    b = np.roll(a, -1, axis=0)
    c = a.sum(axis=0)
    length = float(np.linalg.norm(c))
    c = c / length if length > 1e-6 else np.array([0.48, 0.6, 0.64])
    volume = (c * np.cross(a - c, b - c)).sum(axis=1)
    excess = float((2 * np.arctan2(volume, 1 + a @ c + (a * b).sum(axis=1) + b @ c)).sum())
    # Brought to -2 pi .. 2 pi, where a small area of either sign keeps its digits.
    return excess - 4 * math.pi * round(excess / (4 * math.pi))
