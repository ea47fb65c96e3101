"""What is true on the sphere, by another road than the archive's: triangles and wedges in long double numpy.

Nothing of archive.sphere is used. A polygon made here is star-shaped around its centre, so that it is a fan of
triangles. Each answer comes with its margin in radians: how far the two shapes are from the arrangement at which the
answer would change.

Shapes are arrays as stored: 2 numbers a position, 3 a circle, 4 a range, 6 or more a polygon, degrees.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.longdouble]
PI = np.longdouble("3.14159265358979323846264338327950288")
DEGREE = PI / 180


def unit(ra: object, dec: object) -> Vector:
    """Unit vectors, shape (..., 3), of degrees."""
    a, d = np.asarray(ra, np.longdouble) * DEGREE, np.asarray(dec, np.longdouble) * DEGREE
    return np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=-1)


def norm(a: Vector) -> Vector:
    return np.sqrt((a * a).sum(axis=-1))


def direction(a: Vector) -> Vector:
    return a / norm(a)[..., None]


def angle(a: Vector, b: Vector) -> Vector:
    """Radians between unit vectors (..., 3), by half chords (Kahan): accurate from 0 to pi."""
    return 2 * np.arctan2(norm(a - b), norm(a + b))


def arc_distance(p: Vector, starts: Vector, ends: Vector) -> Vector:
    """Radians from points (p, 3) to minor arcs (a, 3), neither zero nor half a turn long: shape (p, a)."""
    normals, middle, half = (
        direction(np.cross(starts - ends, starts + ends)),
        direction(starts + ends),
        angle(starts, ends) / 2,
    )
    p = p[:, None, :]
    s = (p * normals).sum(axis=-1)
    foot = p - s[..., None] * normals
    length = norm(foot)
    beside = angle(foot / np.maximum(length, 1e-30)[..., None], middle) <= half
    return np.where(beside, np.arctan2(np.abs(s), length), np.minimum(angle(p, starts), angle(p, ends)))


def arcs_cross(a: Vector, b: Vector, c: Vector, d: Vector) -> bool:
    """Does a minor arc a-b (n, 3) meet one of c-d (m, 3)? By the two points where their great circles meet."""
    meet = np.cross(direction(np.cross(a - b, a + b))[:, None, :], direction(np.cross(c - d, c + d))[None, :, :])
    meet = meet / np.maximum(norm(meet), 1e-30)[..., None]
    first, second = direction(a + b)[:, None, :], direction(c + d)[None, :, :]
    for x in (meet, -meet):
        near = (angle(x, first) <= (angle(a, b) / 2)[:, None]) & (angle(x, second) <= (angle(c, d) / 2)[None, :])
        if near.any():
            return True
    return False


@dataclass(frozen=True)
class Disc:
    centre: Vector
    radius: np.longdouble

    def holds(self, p: Vector) -> NDArray[np.bool_]:
        return angle(p, self.centre) <= self.radius


@dataclass(frozen=True)
class Fan:
    """A star-shaped polygon, either winding: vertices (n, 3)."""

    centre: Vector
    vertices: Vector

    @property
    def following(self) -> Vector:
        return np.roll(self.vertices, -1, axis=0)

    def holds(self, p: Vector) -> NDArray[np.bool_]:
        """Is each point in one of the triangles, each the meeting of three hemispheres?"""
        a, b = self.vertices, self.following
        c = np.broadcast_to(self.centre, a.shape)
        turn = np.sign((c * np.cross(a - c, b - c)).sum(-1))
        sides = [
            ((p[:, None, :] - u) * np.cross(u - v, u + v)).sum(-1) * turn >= 0 for u, v in ((c, a), (a, b), (b, c))
        ]
        return (sides[0] & sides[1] & sides[2]).any(axis=1)

    def edge_distance(self, p: Vector) -> Vector:
        return arc_distance(p, self.vertices, self.following).min(axis=1)


@dataclass(frozen=True)
class Patch:
    """A coordinate range, degrees: ra from west over width (360: all), dec from south to north."""

    west: np.longdouble
    width: np.longdouble
    south: np.longdouble
    north: np.longdouble

    @property
    def everywhere(self) -> bool:
        return bool(self.width >= 360)

    @property
    def parallels(self) -> list[np.longdouble]:
        return [dec for dec in (self.south, self.north) if abs(dec) < 90]

    def meridians(self) -> tuple[Vector, Vector]:
        """Starts and ends of the bounding arcs, each in two halves so that none is half a turn."""
        if self.everywhere:
            return np.empty((0, 3), np.longdouble), np.empty((0, 3), np.longdouble)
        middle = (self.south + self.north) / 2
        sides = [self.west, self.west + self.width]
        starts = [unit(ra, dec) for ra in sides for dec in (self.south, middle)]
        ends = [unit(ra, dec) for ra in sides for dec in (middle, self.north)]
        return np.array(starts), np.array(ends)

    def beside(self, p: Vector) -> NDArray[np.bool_]:
        """Between the meridians, whatever the declination?"""
        along = (np.arctan2(p[..., 1], p[..., 0]) / DEGREE - self.west) % 360
        return (along <= self.width) | (np.hypot(p[..., 0], p[..., 1]) < 1e-17) | self.everywhere

    def holds(self, p: Vector) -> NDArray[np.bool_]:
        dec = np.arctan2(p[..., 2], np.hypot(p[..., 0], p[..., 1])) / DEGREE
        return self.beside(p) & (dec >= self.south) & (dec <= self.north)

    def edge_distance(self, p: Vector) -> Vector:
        dec = np.arctan2(p[..., 2], np.hypot(p[..., 0], p[..., 1]))
        nearest = np.full(p.shape[:-1], np.inf, np.longdouble)
        starts, ends = self.meridians()
        if len(starts):
            nearest = arc_distance(p, starts, ends).min(axis=1)
        for parallel in self.parallels:
            nearest = np.where(self.beside(p), np.minimum(nearest, abs(dec - parallel * DEGREE)), nearest)
        return nearest

    @property
    def inner_point(self) -> Vector:
        return unit(self.west + self.width / 2, (self.south + self.north) / 2)

    @property
    def outer_points(self) -> Vector:
        """Points that are not in it, one in each part of the rest of the sky; none when there is no rest."""
        if not self.everywhere:
            return unit([self.west + self.width / 2 + 180], [0])
        return np.array(
            [
                unit(0, 90 * np.sign(dec - middle))
                for middle in [(self.south + self.north) / 2]
                for dec in self.parallels
            ]
        )

    def crossed_by(self, fan: Fan) -> tuple[bool, np.longdouble]:
        """Does an edge cross the boundary; and how far is the nearest miss or graze, radians?"""
        a, b = fan.vertices, fan.following
        starts, ends = self.meridians()
        margin = min(
            [
                self.edge_distance(a).min(),
                *([fan.edge_distance(starts).min(), fan.edge_distance(ends).min()] if len(starts) else []),
            ]
        )
        crossed = bool(len(starts)) and arcs_cross(a, b, starts, ends)
        apex = np.arccos(np.minimum(np.abs(direction(np.cross(a - b, a + b))[:, 2]), 1))
        for parallel in self.parallels:
            height = np.sin(parallel * DEGREE)
            margin = min(margin, np.abs(apex - abs(parallel) * DEGREE).min())
            # On the chord a + s (b - a): z^2 = height^2 |.|^2, and z of height's sign.
            d = b - a
            qa = d[:, 2] ** 2 - height**2 * (d * d).sum(-1)
            qb = 2 * (a[:, 2] * d[:, 2] - height**2 * (a * d).sum(-1))
            qc = a[:, 2] ** 2 - height**2
            root = np.sqrt(np.maximum(qb**2 - 4 * qa * qc, 0))
            large = -(qb + np.where(qb >= 0, root, -root)) / 2
            for s in (large / qa, qc / np.where(large == 0, 1e-30, large)):
                x = direction(a + s[:, None] * d)
                on = (s >= 0) & (s <= 1) & (qb**2 >= 4 * qa * qc) & (x[:, 2] * height >= 0) & self.beside(x)
                crossed |= bool(on.any())
        return crossed, margin


Body = Disc | Fan | Patch


def contains(inner: Body, outer: Body) -> tuple[bool, float]:
    """Whether inner lies in outer, and the margin."""
    match inner, outer:
        case Disc(), Disc():
            gap = outer.radius - angle(inner.centre, outer.centre) - inner.radius
            return bool(gap >= 0 or outer.radius >= PI), float(abs(gap))
        case Disc(), _:
            gap = outer.edge_distance(inner.centre[None])[0] - inner.radius
            return bool(outer.holds(inner.centre[None])[0] and gap >= 0), float(abs(gap))
        case _, Disc():
            far = -outer.centre[None]
            gap = inner.edge_distance(far)[0] - (PI - outer.radius)
            return bool(outer.radius >= PI or (gap >= 0 and not inner.holds(far)[0])), float(abs(gap))
        case Fan(), Fan():
            margin = min(outer.edge_distance(inner.vertices).min(), inner.edge_distance(outer.vertices).min())
            crossed = arcs_cross(inner.vertices, inner.following, outer.vertices, outer.following)
            return bool(
                not crossed and outer.holds(inner.vertices).all() and not inner.holds(outer.vertices).any()
            ), float(margin)
        case Fan(), Patch():
            crossed, margin = outer.crossed_by(inner)
            rest = outer.outer_points
            return bool(
                not crossed and outer.holds(inner.vertices).all() and not (len(rest) and inner.holds(rest).any())
            ), float(margin)
        case Patch(), Fan():
            crossed, margin = inner.crossed_by(outer)
            return bool(
                not crossed and outer.holds(inner.inner_point[None])[0] and not inner.holds(outer.vertices).any()
            ), float(margin)
    west = (inner.west - outer.west) % 360
    gaps = [inner.south - outer.south, outer.north - inner.north]
    if not outer.everywhere:
        gaps += [-np.longdouble(1)] if inner.everywhere else [outer.width - west - inner.width]
    return bool(min(gaps) >= 0), float(min(abs(gap) for gap in [*gaps, west, 360 - west]) * DEGREE)


def intersects(a: Body, b: Body) -> tuple[bool, float]:
    """Whether they share a point, and the margin."""
    match a, b:
        case Disc(), Disc():
            gap = a.radius + b.radius - angle(a.centre, b.centre)
            return bool(gap >= 0), float(abs(gap))
        case Disc(), _:
            gap = a.radius - b.edge_distance(a.centre[None])[0]
            return bool(b.holds(a.centre[None])[0] or gap >= 0), float(abs(gap))
        case _, Disc():
            return intersects(b, a)
        case Fan(), Fan():
            margin = min(a.edge_distance(b.vertices).min(), b.edge_distance(a.vertices).min())
            crossed = arcs_cross(a.vertices, a.following, b.vertices, b.following)
            return bool(crossed or a.holds(b.vertices).any() or b.holds(a.vertices).any()), float(margin)
        case Fan(), Patch():
            crossed, margin = b.crossed_by(a)
            return bool(crossed or b.holds(a.vertices).any() or a.holds(b.inner_point[None])[0]), float(margin)
        case Patch(), Fan():
            return intersects(b, a)
    gaps = [a.north - b.south, b.north - a.south]
    beside = a.everywhere or b.everywhere
    ahead, behind = (b.west - a.west) % 360, (a.west - b.west) % 360
    beside = beside or ahead <= a.width or behind <= b.width
    pole = min(a.north, b.north) >= 90 or max(a.south, b.south) <= -90
    near = [abs(ahead - a.width), abs(behind - b.width)]
    return bool(min(gaps) >= 0 and (beside or pole)), float(min(abs(gap) for gap in [*gaps, *near]) * DEGREE)


# Making shapes


def offset(centre: Vector, position_angle: object, distance: object) -> Vector:
    """Points at distances (radians) from a unit vector."""
    pole = np.array([0, 0, 1], np.longdouble) if abs(centre[2]) < 0.9 else np.array([1, 0, 0], np.longdouble)
    east = direction(np.cross(pole, centre))
    north = np.cross(centre, east)
    pa, d = np.asarray(position_angle, np.longdouble)[..., None], np.asarray(distance, np.longdouble)[..., None]
    return np.cos(d) * centre + np.sin(d) * (np.cos(pa) * north + np.sin(pa) * east)


def degrees_of(v: Vector) -> NDArray[np.float64]:
    """(..., 2) of ra, dec in double precision: what the database is given."""
    ra = (np.arctan2(v[..., 1], v[..., 0]) / DEGREE) % 360
    return np.stack([ra, np.arctan2(v[..., 2], np.hypot(v[..., 0], v[..., 1])) / DEGREE], axis=-1).astype(float)


def random_place(rng: np.random.Generator) -> Vector:
    """Anywhere; one in four at a pole, on the meridian 0 or close to them."""
    if rng.random() < 0.25:
        return unit(rng.choice([0, 360, 1e-7, 359.9999, 180]), rng.choice([0, 90, -90, 89.99999, -60, 1e-9]))
    return unit(rng.uniform(0, 360), np.degrees(np.arcsin(rng.uniform(-1, 1))))


def random_shape(rng: np.random.Generator, kind: str, centre: Vector, size: float) -> tuple[list[float], Body]:
    """A shape of about the size (radians) around the centre: as an array, and as the oracle has it."""
    ra, dec = degrees_of(centre)
    if kind == "point":
        return [ra, dec], Disc(unit(ra, dec), np.longdouble(0))
    if kind == "circle":
        radius = float(np.degrees(size))
        return [ra, dec, radius], Disc(unit(ra, dec), radius * DEGREE)
    if kind == "range":
        half = np.degrees(size)
        south, north = max(dec - half, -90.0), min(dec + half * rng.uniform(0.2, 1), 90.0)
        width = min(2 * half * rng.uniform(0.2, 1.5) / max(np.cos(np.radians(dec)), 1e-3), 360)
        west, east = (0.0, 360.0) if width == 360 else (float((ra - width / 2) % 360), float((ra + width / 2) % 360))
        exact = np.longdouble(360) if width == 360 else (np.longdouble(east) - np.longdouble(west)) % 360
        return [west, east, south, north], Patch(*(np.longdouble(x) for x in (west, exact, south, north)))
    n = int(rng.integers(3, 9))
    steps = (np.arange(n) + rng.uniform(-0.2, 0.2, n)) * 2 * np.pi / n
    corners = degrees_of(offset(centre, steps[:: rng.choice([1, -1])], size * rng.uniform(0.3, 1, n)))
    return [float(x) for x in corners.ravel()], Fan(centre, unit(corners[:, 0], corners[:, 1]))


def random_pairs(seed: int, count: int) -> list[tuple[list[float], list[float], Body, Body]]:
    """Pairs of every two kinds, 0.1 arcsec to beyond a hemisphere, mostly near one another's boundary."""
    rng = np.random.default_rng(seed)
    kinds, limits = (
        ("point", "circle", "range", "polygon"),
        {"point": 0.1, "circle": 3.1, "range": 1.5, "polygon": 1.55},
    )
    pairs = []
    for _ in range(count):
        first, second = rng.choice(kinds, 2)
        scale = 10 ** rng.uniform(np.log10(np.radians(0.1 / 3600)), np.log10(3.1))
        sizes = [min(scale * 10 ** rng.uniform(-1, 0.3), limits[kind]) for kind in (first, second)]
        place = random_place(rng)
        spread = sizes[0] * (first != "point") + sizes[1] * (second != "point")
        apart = min(rng.uniform(0.01, 1.3) * (spread or sizes[0]), np.pi)
        other = direction(offset(place, rng.uniform(0, 2 * np.pi), apart))
        a, b = random_shape(rng, first, place, sizes[0]), random_shape(rng, second, other, sizes[1])
        pairs.append((a[0], b[0], a[1], b[1]))
    return pairs


def area(body: Body) -> np.longdouble:
    """Square degrees: of a fan the sum of its triangles (l'Huilier), of a disc and a patch by Archimedes' hat-box."""
    if isinstance(body, Disc):
        return 4 * PI * np.sin(body.radius / 2) ** 2 / DEGREE**2
    if isinstance(body, Patch):
        rise = 2 * np.cos((body.north + body.south) / 2 * DEGREE) * np.sin((body.north - body.south) / 2 * DEGREE)
        return body.width * rise / DEGREE
    a, b = angle(body.centre, body.vertices), angle(body.centre, body.following)
    c = angle(body.vertices, body.following)
    s = (a + b + c) / 2
    product = np.tan(s / 2) * np.tan((s - a) / 2) * np.tan((s - b) / 2) * np.tan((s - c) / 2)
    return (4 * np.arctan(np.sqrt(np.maximum(product, 0)))).sum() / DEGREE**2
