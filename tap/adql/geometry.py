"""ADQL's geometry (ADQL 2.1 §4.2): which functions there are, how their arguments read, which frames are taken.

What a shape is in SQL is shapes.py's, and the answer to a question between shapes is archive.sphere's.
"""

from dataclasses import dataclass

from tap.adql.functions import GRAMMAR_FEATURES
from tap.adql.user_functions import USER_DEFINED

# How one argument list reads: n a number, p a point, g any shape, m a coverage map, s a string literal.
NUMBER, POINT, SHAPE, MOC, STRING = "n", "p", "g", "m", "s"


@dataclass(frozen=True, slots=True)
class GeometryFunction:
    """forms: the argument lists taken, one letter an argument. coosys: may begin with a coordinate system (ADQL-20).

    returns: an ADQL type. predicate: gives 1 or 0. declared: how capabilities tell a function that ADQL does not have.
    """

    name: str
    forms: tuple[str, ...]
    returns: str
    description: str
    usage: str
    coosys: bool = False
    predicate: bool = False
    declared: tuple[str, ...] = ()


WITH_MOC = "; where one is a MOC, the other is a POINT or a MOC, as MOC(order, shape)"

GEOMETRY = {
    function.name: function
    for function in (
        GeometryFunction("AREA", ("g", "m"), "DOUBLE PRECISION", "area in square degrees", "AREA(shape)"),
        GeometryFunction("BOX", ("nnnn", "pnn"), "POLYGON", "box in coordinates around a centre (deprecated)",
                         "BOX(ra, dec, width, height) or BOX(point, width, height)", coosys=True),
        GeometryFunction("CENTROID", ("g",), "POINT", "centre of a shape", "CENTROID(shape)"),
        GeometryFunction("CIRCLE", ("nnn", "pn"), "CIRCLE", "circle around a centre",
                         "CIRCLE(ra, dec, radius) or CIRCLE(point, radius), in degrees", coosys=True),
        GeometryFunction("CONTAINS", ("gg", "pm", "mm"), "INTEGER",
                         "1 if the first shape lies wholly in the second, else 0",
                         f"CONTAINS(inner, outer){WITH_MOC}", predicate=True),
        GeometryFunction("COORD1", ("p",), "DOUBLE PRECISION", "right ascension of a point", "COORD1(point)"),
        GeometryFunction("COORD2", ("p",), "DOUBLE PRECISION", "declination of a point", "COORD2(point)"),
        GeometryFunction("COORDSYS", ("g",), "VARCHAR", "coordinate system of a shape (deprecated)",
                         "COORDSYS(shape)"),
        GeometryFunction("DISTANCE", ("pp", "nnnn"), "DOUBLE PRECISION", "degrees along a great circle",
                         "DISTANCE(point, point) or DISTANCE(ra1, dec1, ra2, dec2)"),
        GeometryFunction("INTERSECTS", ("gg", "pm", "mp", "mm"), "INTEGER",
                         "1 if the shapes share at least a point, else 0",
                         f"INTERSECTS(shape, shape){WITH_MOC}", predicate=True),
        # No function of ADQL 2.1: RegTAP queries use it (ADQL-26).
        GeometryFunction("MOC", ("s", "ng"), "MOC", "coverage map (MOC 2.0) from text, or of a shape to an order",
                         "MOC('6/3-7 9') or MOC(order, shape)",
                         declared=("MOC(ascii VARCHAR(*)) -> MOC", "MOC(order INTEGER, geo GEOMETRY) -> MOC")),
        GeometryFunction("POINT", ("nn",), "POINT", "position on the sky", "POINT(ra, dec), in degrees", coosys=True),
        # Any number of vertices: the forms are worked out from the number of arguments.
        GeometryFunction("POLYGON", (), "POLYGON", "polygon of great-circle edges",
                         "POLYGON(ra1, dec1, ra2, dec2, ra3, dec3, ...) or POLYGON(point, point, point, ...)",
                         coosys=True),
        GeometryFunction("REGION", ("s",), "REGION", "shape from an STC-S literal", "REGION('Circle ICRS 1 2 3')"),
    )
}  # fmt: skip


def forms(name: str, count: int) -> tuple[str, ...]:
    """The argument lists that the function takes with so many arguments; none if it takes none."""
    if name != "POLYGON":
        return tuple(form for form in GEOMETRY[name].forms if len(form) == count)
    coordinates = (NUMBER * count,) if count >= 6 and count % 2 == 0 else ()
    points = (POINT * count,) if count >= 3 else ()
    return coordinates + points


# Frames that mean ICRS to better than 0.03 arcsec; the reference position changes nothing at this archive's precision.
ICRS_LIKE = frozenset({"", "ICRS", "FK5", "J2000", "UNKNOWNFRAME", "UNKNOWN"})


def is_icrs(coosys: str) -> bool:
    """Whether a coordinate-system argument ("ICRS GEOCENTER", "fk5", "") leaves coordinates as they are."""
    words = coosys.split()
    return (words[0].upper() if words else "") in ICRS_LIKE


def feature_list() -> list[tuple[str, str, str]]:
    """(feature type after "#", form, description) of all that ADQL leaves to a service's choice, for TAPRegExt."""
    functions = GEOMETRY.values()
    geometry = [("features-adqlgeo", one.name, one.description) for one in functions if not one.declared]
    more = [("features-udf", form, one.description) for one in functions for form in one.declared]
    udfs = [("features-udf", function.form, function.description) for function in USER_DEFINED]
    return [*geometry, *GRAMMAR_FEATURES, *udfs, *more]
