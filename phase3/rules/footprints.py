"""Footprints of catalogues, K06: polygons on the sphere that are said by FPRAia and FPDEia (SDP 8 §5.16).

i numbers the vertices, from 1; a names the polygon, A to Z for parts that do not touch.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from phase3.rules.breach import Breach
from phase3.rules.conditions import demanded
from phase3.rules.product import Product

VERTEX = re.compile(r"(FPRA|FPDE)([1-9]\d*)([A-Z])\Z")
Vectors = NDArray[np.float64]


def footprint(product: Product) -> Iterator[Breach]:
    """K06: vertices without gaps, counter-clockwise, convex if there are four, around RA, DEC, as large as SKYSQDEG."""
    found: dict[str, dict[int, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for keyword in product.values[product.primary]:
        match = VERTEX.match(keyword)
        value = product.number(keyword) if match else None
        if match and value is not None:
            found[match[3]][int(match[2])][match[1]] = value
    kinds = {kind for vertices in found.values() for vertex in vertices.values() for kind in vertex}
    if len(kinds) == 1 and _asked_for(product):
        return  # one coordinate is missing as a whole: the keyword table tells
    polygons: dict[str, Vectors] = {}
    for letter, vertices in sorted(found.items()):
        whole = all(len(pair) == 2 for pair in vertices.values())
        if sorted(vertices) != list(range(1, len(vertices) + 1)) or not whole or len(vertices) < 3:
            yield _breach(
                product, f"FPRAi{letter}, FPDEi{letter}", "footprint_incomplete",
                f"the vertices {sorted(vertices)} of polygon {letter} are no polygon.",
                "at least three vertices, numbered from 1, each with FPRA and FPDE", "complete them.",
            )  # fmt: skip
            continue
        places = np.radians([(vertices[i]["FPRA"], vertices[i]["FPDE"]) for i in sorted(vertices)])
        polygons[letter] = np.stack(
            [np.cos(places[:, 1]) * np.cos(places[:, 0]), np.cos(places[:, 1]) * np.sin(places[:, 0]),
             np.sin(places[:, 1])], axis=1,
        )  # fmt: skip
    for letter, polygon in polygons.items():
        yield from _shape(product, letter, polygon)
    yield from _place_and_area(product, polygons)


def _asked_for(product: Product) -> bool:
    """True if the keyword table demands a footprint of this product."""
    use = product.rules.keywords["FPRAia"].use.get(product.category.id) if product.category else None
    if use is None:
        return False
    return use.level == "required" or bool(demanded(product, "FPRAia", use.condition, product.primary))


def _breach(product: Product, keyword: str, code: str, what: str, expected: str, mend: str) -> Breach:
    return product.breach("K06", product.primary, keyword, code, what, expected, mend)


def turns(polygon: Vectors) -> NDArray[np.float64]:
    """At each vertex of a polygon, unit vectors of shape (n, 3): > 0 for a left turn on the sky, east to the left."""
    before, after = np.roll(polygon, 1, axis=0), np.roll(polygon, -1, axis=0)
    turned: NDArray[np.float64] = -np.einsum("ij,ij->i", np.cross(before, polygon), after)
    return turned


def area_sqdeg(polygon: Vectors) -> float:
    """Area in square degrees of a simple polygon smaller than a hemisphere, whatever its sense.

    A fan of triangles, each by Van Oosterom and Strackee (1983).
    """
    total, a = 0.0, polygon[0]
    for b, c in pairwise(polygon[1:]):
        total += 2 * math.atan2(float(a @ np.cross(b, c)), float(1 + a @ b + b @ c + c @ a))
    return abs(math.degrees(math.degrees(total)))


def _shape(product: Product, letter: str, polygon: Vectors) -> Iterator[Breach]:
    keyword = f"FPRAi{letter}, FPDEi{letter}"
    turned = turns(polygon)
    if len(polygon) <= 4 and (turned > 0).any() and (turned < 0).any():
        yield _breach(
            product, keyword, "footprint_not_convex", f"polygon {letter} is not convex.",
            "a convex polygon, if it has four vertices", "order the vertices along the outline.",
        )  # fmt: skip
    elif turned.sum() < 0:
        yield _breach(
            product, keyword, "footprint_clockwise", f"polygon {letter} runs clockwise.",
            "counter-clockwise as seen on the sky, east to the left: north, east, south, west",
            "reverse the order of its vertices.",
        )  # fmt: skip


def _place_and_area(product: Product, polygons: dict[str, Vectors], tolerance: float = 0.1) -> Iterator[Breach]:
    """tolerance: relative, of the area; masks and overlaps make SKYSQDEG less than the polygons."""
    if not polygons:
        return
    place = product.numbers("RA", "DEC")
    if place and 0 <= place[0] <= 360 and -90 <= place[1] <= 90:
        ra, dec = map(math.radians, place)
        here = np.array([math.cos(dec) * math.cos(ra), math.cos(dec) * math.sin(ra), math.sin(dec)])
        # Between parts that do not touch the centre of the field may lie in none.
        if len(polygons) == 1 and not any(_inside(here, polygon) for polygon in polygons.values()):
            yield _breach(
                product, "RA, DEC", "position_outside", "RA, DEC lies outside the footprint.",
                "a position within FPRAi, FPDEi", "correct the position or the footprint.",
            )  # fmt: skip
    told, area = product.number("SKYSQDEG"), sum(map(area_sqdeg, polygons.values()))
    if told is not None and told > area * (1 + tolerance):
        yield _breach(
            product, "SKYSQDEG", "area_wrong", f"SKYSQDEG is {told:g}, the footprint has {area:.6g} square degrees.",
            f"at most {area:.6g}", "correct the area or the footprint.",
        )  # fmt: skip


def _inside(here: Vectors, polygon: Vectors) -> bool:
    """True if the point is in the polygon or on its edge: its edges are seen under a full turn."""
    if float(here @ polygon.mean(axis=0)) <= 0:
        return False  # behind: the angles are the same there
    around = polygon - np.outer(polygon @ here, here)
    length = np.linalg.norm(around, axis=1)
    if (length < 1e-12).any():
        return True  # a vertex
    after = np.roll(around, -1, axis=0)
    angles = np.arctan2(np.cross(around, after) @ here, np.einsum("ij,ij->i", around, after))
    return bool(abs(angles.sum()) > math.pi - 1e-6)
