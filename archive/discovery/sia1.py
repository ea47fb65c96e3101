"""Simple Image Access 1.0, for clients that know no other (Aladin, older tools): parameters, columns, the statement.

Rows are those of SIA 2 that have pixels and a place; columns are sia1_columns.py's.
"""

import math
from collections.abc import Sequence

from archive.discovery import ssa_values as forms
from archive.discovery.conditions import Bound, any_of, decimal
from archive.discovery.parameters import RESPONSEFORMAT, Parameter, conditions, maxrec
from archive.discovery.sia import TYPES
from archive.discovery.sia1_columns import COLUMNS, FITS, SHOWN
from archive.holdings.running import Statement
from archive.sphere.sphere import RegionSql, Sphere
from archive.sphere.values import shape_of
from archive.vo.dali import Parameters
from archive.vo.descriptors import Input
from archive.vo.errors import UsageError
from archive.vo.regions import Point, Range

STANDARD_ID = "ivo://ivoa.net/std/SIA"
INTERSECTS = ("OVERLAPS", "COVERS", "ENCLOSED", "CENTER")
_GRAPHIC = "^image/(?!.*fits)"


def _has_format(name: str, values: Sequence[str], bound: Bound) -> str:
    """FORMAT: ALL, GRAPHIC and its kinds, or media types in a list (SIA 1.0 §4.1.3)."""
    made = []
    for member in (member.strip().lower() for text in values for member in text.split(",")):
        if member == "all":
            return "true"
        if member.startswith("graphic"):
            made.append(f"media_type ~ {bound(_GRAPHIC)}")
        elif "/" in member:
            made.append(f"lower(media_type) = ANY({bound(['application/fits', FITS] if member == FITS else [member])})")
        else:
            raise UsageError(f"{name} takes ALL, GRAPHIC, METADATA or media types, not {member!r}")
    return f"dp_id IN (SELECT file_id FROM pub.file WHERE {any_of(made)})"  # noqa: S608 - bound


def parameters(default_maxrec: int, hard_maxrec: int) -> tuple[Parameter, ...]:
    """SIA 1.0 §4.1. POS, SIZE and INTERSECT are read together, by `statement`."""
    return (
        Parameter(Input("POS", "Centre of the region, ICRS: `ra,dec`", unit="deg", ucd="pos.eq", is_required=True)),
        Parameter(
            Input("SIZE", "Full width of the region: one angle, or `width,height`; 0 for the position alone",
                  unit="deg", ucd="phys.angSize", is_required=True),
        ),
        Parameter(
            Input("INTERSECT", "How image and region lie: they overlap (if not given), the image covers the region, "
                  "is enclosed in it, or contains its centre", values=INTERSECTS),
        ),
        Parameter(
            Input("FORMAT", "ALL, GRAPHIC, media types in a list, or METADATA: what this service takes and gives, and "
                  "no rows", ucd="meta.code.mime"),
            _has_format,
        ),
        Parameter(Input("VERB", "Taken and not needed: all columns come", "int", None, minimum="0", maximum="3")),
        maxrec(default_maxrec, hard_maxrec),
        RESPONSEFORMAT,
    )  # fmt: skip


def region(asked: Parameters) -> tuple[Point, Range | None]:
    """POS and SIZE: the centre, and the region around it, None for the position alone (SIA 1.0 §4.1.1, §4.1.2).

    Sizes are angles on the sky: the region is as much wider in right ascension as its centre's parallel is shorter,
    and goes all round where it holds a pole. UsageError: no position, no size.
    """
    ra, dec = forms.position("POS", asked.required("POS"))
    sizes = [decimal("SIZE", part) for part in asked.required("SIZE").split(",")]
    if len(sizes) > 2 or min(sizes) < 0 or sizes[0] > 360 or sizes[-1] > 180 + 180 * (len(sizes) == 1):
        raise UsageError(f"SIZE takes one angle, or `width,height`, in degrees, not {asked.required('SIZE')!r}")
    width, height = sizes[0] / 2, sizes[-1] / 2
    if not width and not height:
        return Point(ra, dec), None
    south, north = max(dec - height, -90.0), min(dec + height, 90.0)
    half = math.inf if south == -90 or north == 90 else width / math.cos(math.radians(dec))
    west, east = (0.0, 360.0) if half >= 180 else ((ra - half) % 360, (ra + half) % 360)
    return Point(ra, dec), Range(west, east, south, north)


def statement(declared: Sequence[Parameter], asked: Parameters, sphere: Sphere, limit: int) -> Statement:
    """The images asked for. limit: rows at the most. UsageError: a value is wrong, or POS or SIZE missing."""
    bound = Bound(sphere)
    where = [f"dataproduct_type = ANY({bound(list(TYPES))})", *conditions(declared, asked, bound)]
    where += ["s_ra IS NOT NULL", "s_xel1 IS NOT NULL", "s_xel2 IS NOT NULL", _lies(asked, bound)]
    found = f"SELECT * FROM ivoa.obscore WHERE {' AND '.join(where)}"  # noqa: S608 - bound
    shown = ", ".join(f'{one.sql} AS "{one.column.name}"' for one in SHOWN)
    sql = f"SELECT {shown} FROM ({found}) AS o JOIN pub.file AS f ON f.file_id = o.dp_id LIMIT {bound(limit)}"  # noqa: S608
    return Statement(sql, bound.values, COLUMNS)


def _lies(asked: Parameters, bound: Bound) -> str:
    """How image and region lie (SIA 1.0 §4.1.1)."""
    how = (asked.single("INTERSECT") or "OVERLAPS").strip().upper()
    if how not in INTERSECTS:
        raise UsageError(f"INTERSECT takes {', '.join(INTERSECTS)}, not {how!r}")
    centre, around = region(asked)
    image, sphere = RegionSql("s_region"), bound.sphere
    shape = shape_of(centre if around is None or how == "CENTER" else around, bound)
    if how == "ENCLOSED":
        return sphere.contains(image, shape)
    if how == "OVERLAPS" and around is not None:
        return sphere.intersects(image, shape)
    return sphere.contains(shape, image)
