"""Independent arithmetic on the sphere for the tests of footprints: vectors, winding, area; none of our code."""

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float64]


def vectors(ra: NDArray[np.float64] | float, dec: NDArray[np.float64] | float) -> Vectors:
    """Unit vectors, (n, 3), of degrees."""
    a, d = np.radians(np.atleast_1d(ra)), np.radians(np.atleast_1d(dec))
    return np.column_stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])


def winding(ring: Vectors, points: Vectors) -> NDArray[np.float64]:
    """Turns of a great-circle ring around each point: seen from outside, +1 is counter-clockwise, 0 is not inside."""
    turns = np.zeros(len(points))
    for a, b in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        # Directions to both ends in the tangent plane of each point.
        to_a, to_b = a - points * (points @ a)[:, None], b - points * (points @ b)[:, None]
        cross = np.einsum("ij,ij->i", points, np.cross(to_a, to_b))
        turns += np.arctan2(cross, np.einsum("ij,ij->i", to_a, to_b))
    return turns / (2 * np.pi)


def area(ring: Vectors) -> float:
    """Signed area, steradians, of a great-circle ring: positive where it runs counter-clockwise seen from outside."""
    centre = ring.mean(axis=0) / np.linalg.norm(ring.mean(axis=0))
    total = 0.0
    for a, b in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        # Van Oosterom and Strackee: the solid angle of the triangle (centre, a, b).
        numerator = float(np.dot(centre, np.cross(a, b)))
        denominator = 1 + float(centre @ a) + float(a @ b) + float(b @ centre)
        total += 2 * np.arctan2(numerator, denominator)
    return total


def distance_to_edges(ring: Vectors, points: Vectors) -> NDArray[np.float64]:
    """Degrees from each point to the nearest edge (an arc of a great circle) of a ring."""
    nearest = np.full(len(points), np.inf)
    for a, b in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        normal = np.cross(a, b)
        if np.linalg.norm(normal) < 1e-15:
            continue
        normal /= np.linalg.norm(normal)
        foot = points - (points @ normal)[:, None] * normal
        foot /= np.linalg.norm(foot, axis=1, keepdims=True)
        within = (np.cross(a, foot) @ normal >= 0) & (np.cross(foot, b) @ normal >= 0)
        to_arc = np.arcsin(np.clip(np.abs(points @ normal), 0, 1))
        ends = [2 * np.arcsin(np.clip(np.linalg.norm(points - end, axis=1) / 2, 0, 1)) for end in (a, b)]
        nearest = np.minimum(nearest, np.where(within, to_arc, np.minimum(*ends)))
    return np.degrees(nearest)


def crossings(ring: Vectors) -> int:
    """How many pairs of edges that are not neighbours cross."""
    ends = np.roll(ring, -1, axis=0)
    normals = np.cross(ring, ends)
    side_a, side_b = normals @ ring.T, normals @ ends.T  # of edge i: on which side edge j begins and ends
    parted = side_a * side_b < 0
    same_half = (ring + ends) @ (ring + ends).T > 0
    n = len(ring)
    apart = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    return int((parted & parted.T & same_half & (apart > 1) & (apart < n - 1)).sum() // 2)
