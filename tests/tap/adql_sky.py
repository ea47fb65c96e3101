"""A small published schema to ask, and a sphere that spells out what it was asked."""

from archive.sphere.sphere import MocSql, PointSql, Shape
from archive.vo.columns import Column, Table
from tap.adql.names import CheckedQuery, PublishedSchema, PublishedTable, check
from tap.adql.parser import parse
from tap.adql.postgres import SqlQuery, translate

STARS = Table(
    "sky.stars",
    (
        Column("id", "long", ucd="meta.id;meta.main", description="Number of the star"),
        Column("ra", "double", unit="deg", ucd="pos.eq.ra;meta.main", utype="a.b"),
        Column("dec", "double", unit="deg", ucd="pos.eq.dec;meta.main"),
        Column("mag", "float", unit="mag", ucd="phot.mag"),
        Column("name", "char", "*"),
        Column("seen", "char", "*", "timestamp"),
        Column("valid", "boolean"),
        Column("frames", "int"),
        Column("s_region", "char", "*", "adql:REGION"),
    ),
)
OBSERVED = Table(
    "sky.observed", (Column("id", "long"), Column("t_exptime", "double", unit="s"), Column("Run", "char", "12*"))
)
TARGETS = Table("tap_upload.targets", (Column("name", "char", "*"), Column("p", "double", "2", "point")))
OTHER_STARS = Table("cat.stars2", (Column("id", "long"),))
OTHER_OBSERVED = Table("cat.observed", (Column("id", "long"),))
SCHEMA = PublishedSchema(
    {
        "sky.stars": PublishedTable(STARS, '"sky"."stars"'),
        "sky.observed": PublishedTable(OBSERVED, '"sky"."observed"'),
        "tap_upload.targets": PublishedTable(TARGETS, '"upload_1"'),
        "cat.stars2": PublishedTable(OTHER_STARS, '"cat"."stars2"'),
        "cat.observed": PublishedTable(OTHER_OBSERVED, '"cat"."observed"'),
    }
)


class SpelledSphere:
    """Every question as a function call of its name."""

    name = "spelled"

    def contains(self, inner: Shape | MocSql, outer: Shape | MocSql) -> str:
        return f"contains({spelled(inner)}, {spelled(outer)})"

    def intersects(self, a: Shape | MocSql, b: Shape | MocSql) -> str:
        return f"intersects({spelled(a)}, {spelled(b)})"

    def within(self, a: PointSql, b: PointSql, radius: str) -> str:
        return f"within({spelled(a)}, {spelled(b)}, {radius})"

    def distance(self, a: PointSql, b: PointSql) -> str:
        return f"distance({spelled(a)}, {spelled(b)})"

    def area(self, shape: Shape | MocSql) -> str:
        return f"area({spelled(shape)})"

    def centroid(self, shape: Shape) -> PointSql:
        return PointSql(f"middle_ra({spelled(shape)})", f"middle_dec({spelled(shape)})")

    def nearest(self, position: PointSql, to: PointSql) -> str:
        return f"nearest({spelled(position)}, {spelled(to)})"

    def region(self, shape: Shape) -> str:
        return f"region({spelled(shape)})"

    def moc(self, order: str, shape: Shape) -> MocSql:
        return MocSql(f"moc({order}, {spelled(shape)})")

    def install(self) -> list[str]:
        return []

    def point_index(self, table: str, ra: str, dec: str) -> list[str]:
        return []

    def region_index(self, table: str, region: str) -> list[str]:
        return []

    def drop_indexes(self, table: str) -> list[str]:
        return []


def spelled(shape: Shape | MocSql) -> str:
    given = {name: getattr(shape, name) for name in shape.__slots__ if name != "sought"}
    fields = [value for value in given.values() if value is not None]
    parts = [part for item in fields for part in (item if isinstance(item, tuple) else (item,))]
    return f"{type(shape).__name__}[{', '.join(part if isinstance(part, str) else spelled(part) for part in parts)}]"


def checked(query: str) -> CheckedQuery:
    return check(parse(query), SCHEMA)


def translated(query: str, maxrec: int | None = None) -> SqlQuery:
    return translate(checked(query), SpelledSphere(), maxrec)
