"""What both adapters share: exact great-circle predicates in SQL (the files in sql/), and how conditions are built.

A condition is a filter, which an index can serve, and the exact predicate after it. The filter is the adapter's, and
covers a little more than the shape; the predicate is the same everywhere, so both databases give the same rows.
Which shapes are what is told in sphere.py.
"""

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from importlib import resources

from archive.sphere.sphere import BoxSql, CircleSql, MocSql, PointSql, PolygonSql, RangeSql, RegionSql, Shape

# What may stand in an expression without a column in it: placeholders, numbers, casts, signs.
_WITHOUT_COLUMNS = re.compile(
    r"%\(\w+\)s|%s|'[^']*'|:\w+|\bCAST\b|\bAS\b|\bdouble precision\b|\bfloat8\b|[-+*/(),.\s\[\]]"
    r"|\d+(?:\.\d*)?(?:e[-+]?\d+)?|\bARRAY\b|\bradians\b|\bdegrees\b|\binteger\b|\bint8multirange\b|\bsphere\.\w+",
    re.IGNORECASE,
)


def number(expression: str) -> str:
    """The expression as double precision. On such a column the cast vanishes, so that the index is recognised."""
    return f"CAST({expression} AS double precision)"


def is_constant(expression: str) -> bool:
    """Whether no column stands in the expression. A wrong answer costs time, never rows."""
    return not _WITHOUT_COLUMNS.sub("", expression.replace("::", " "))


def statements_of(name: str) -> Iterator[str]:
    """The statements of a file in sql/, which are separated by lines of four dashes."""
    text = resources.files("archive.sphere").joinpath("sql", name).read_text(encoding="utf-8")
    return (statement.strip() for statement in re.split(r"^----$", text, flags=re.MULTILINE))


def array_of(shape: Shape) -> str:
    """The shape as SQL of type double precision[]: 2 numbers a position, 3 a circle, 4 a range, 6 or more a polygon."""
    match shape:
        case PointSql(ra, dec):
            return f"ARRAY[{number(ra)}, {number(dec)}]"
        case CircleSql(centre, radius):
            return f"ARRAY[{number(centre.ra)}, {number(centre.dec)}, {number(radius)}]"
        case PolygonSql(vertices):
            numbers = ", ".join(f"{number(vertex.ra)}, {number(vertex.dec)}" for vertex in vertices)
            return f"ARRAY[{numbers}]"
        case BoxSql(centre, width, height):
            sizes = ", ".join(number(size) for size in (centre.ra, centre.dec, width, height))
            return f"sphere.box_region({sizes})"
        case RangeSql(ra_min, ra_max, dec_min, dec_max):
            return f"ARRAY[{number(ra_min)}, {number(ra_max)}, {number(dec_min)}, {number(dec_max)}]"
        case RegionSql(array):
            return array


class ExactSphere(ABC):
    """The methods of archive.sphere.sphere.Sphere that do not differ; an adapter adds its index on positions."""

    name = ""
    point_operators = ""  # the operator class of the index on positions, where it is not the default

    # What an adapter has to say.

    @abstractmethod
    def indexed_point(self, ra: str, dec: str) -> str:
        """The expression over a position that is indexed."""

    @abstractmethod
    def point_filter(self, point: PointSql, shape: str) -> str:
        """boolean, by index: true for every point in the shape, and for few others."""

    @abstractmethod
    def moc_point_filter(self, point: PointSql, cells: str) -> str:
        """boolean, by index: true for every point in the MOC, and for few others."""

    def install(self) -> Sequence[str]:
        files = ("points", "polygons", "shapes", "relations", "boxes", "healpix", "mocs", "motion", "grants")
        return [statement for file in files for statement in statements_of(f"{file}.sql")]

    # Regions are filtered by their bounds in coordinates, with core types in both adapters. pgSphere's boxes were
    # tried: its && of two boxes is false where they cross like a plus sign (131 of 2,000 random pairs lost), and a
    # join of 1,000 x 100,000 regions took 486 ms against 283 ms.

    def indexed_region(self, region: str) -> str:
        """The expression over a region that is indexed."""
        return f"sphere.region_box({region})"

    def region_filter(self, region: str, shape: str) -> str:
        """boolean, by index: true for every region that meets the shape, and for few others."""
        return f"{self.indexed_region(region)} && ANY(sphere.region_boxes({shape}))"

    # Indexes. They are found again by their names.

    def point_index(self, table: str, ra: str, dec: str) -> Sequence[str]:
        return [self._index(table, f"({self.indexed_point(ra, dec)}) {self.point_operators}".rstrip())]

    def region_index(self, table: str, region: str) -> Sequence[str]:
        return [self._index(table, f"({self.indexed_region(region)})")]

    def drop_indexes(self, table: str) -> Sequence[str]:
        literal = table.replace("'", "''")
        # chr(92): a backslash, which makes the underscore after it itself and not any character.
        return [
            f"""DO $$ DECLARE found regclass; BEGIN
            FOR found IN SELECT indexrelid FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
                WHERE indrelid = '{literal}'::regclass AND starts_with(relname, '{self._prefix}') LOOP
              EXECUTE format('DROP INDEX ' || chr(37) || 's', found);
            END LOOP; END $$"""  # noqa: S608 - a table of our own declarations, quoted
        ]

    @property
    def _prefix(self) -> str:
        return f"sphere_{self.name}_"

    def _index(self, table: str, expression: str) -> str:
        digest = hashlib.sha256(f"{table} {expression}".encode()).hexdigest()[:16]
        return f'CREATE INDEX IF NOT EXISTS "{self._prefix}{digest}" ON {table} USING gist ({expression})'

    # Conditions.

    def contains(self, inner: Shape | MocSql, outer: Shape | MocSql) -> str:
        if isinstance(outer, MocSql):
            return self._in_moc(inner, outer)
        assert not isinstance(inner, MocSql)
        if isinstance(inner, PointSql) and isinstance(outer, CircleSql):
            return self.within(inner, outer.centre, outer.radius)
        exact = f"sphere.contains({array_of(inner)}, {array_of(outer)})"
        if isinstance(inner, PointSql):
            exact = _point_in(inner, outer, exact)
        elif isinstance(outer, PolygonSql):
            exact = f"sphere.polygon_contains({_prepared(outer)}, {array_of(inner)})"
        return self._filtered(inner, outer, exact)

    def intersects(self, a: Shape | MocSql, b: Shape | MocSql) -> str:
        # With a point, sharing a point is containing it.
        if isinstance(a, PointSql):
            return self.contains(a, b)
        if isinstance(b, PointSql):
            return self.contains(b, a)
        if isinstance(a, MocSql) or isinstance(b, MocSql):
            return self._mocs(a, "&&", b)
        if isinstance(b, PolygonSql):
            a, b = b, a
        exact = f"sphere.intersects({array_of(a)}, {array_of(b)})"
        if isinstance(a, PolygonSql):
            exact = f"sphere.polygon_intersects({_prepared(a)}, {array_of(b)})"
        return self._filtered(a, b, exact)

    def within(self, a: PointSql, b: PointSql, radius: str) -> str:
        exact = f"sphere.in_cone({_coordinates(a)}, {_coordinates(b)}, {number(radius)})"
        filters = [
            self.point_filter(point, array_of(CircleSql(other, radius)))
            for point, other in ((a, b), (b, a))
            if _by_index(point)
        ]
        return _all_of([*filters, exact])

    def _in_moc(self, inner: Shape | MocSql, outer: MocSql) -> str:
        if not isinstance(inner, PointSql):
            return self._mocs(inner, "<@", outer)
        exact = f"sphere.healpix(29, {_coordinates(inner)}) <@ {outer.cells}"
        # A filter made anew for each row would cost more than the predicate.
        by_index = is_constant(outer.cells) and _by_index(inner)
        return _all_of([self.moc_point_filter(inner, outer.cells), exact] if by_index else [exact])

    def _mocs(self, a: Shape | MocSql, operator: str, b: Shape | MocSql) -> str:
        """Two MOCs compared, behind a filter on the column of regions that one of them was made of."""
        assert isinstance(a, MocSql)
        assert isinstance(b, MocSql)
        filters = [
            f"{self.indexed_region(moc.of.array)} && ANY(sphere.moc_region_boxes({other.cells}, {moc.order}))"
            for moc, other in ((a, b), (b, a))
            if isinstance(moc.of, RegionSql) and not is_constant(moc.of.array) and is_constant(other.cells)
        ]
        return _all_of([*filters, f"{a.cells} {operator} {b.cells}"])

    def moc(self, order: str, shape: Shape) -> MocSql:
        return MocSql(f"sphere.moc_of({order}, {array_of(shape)})", order, shape)

    def _filtered(self, a: Shape, b: Shape, exact: str) -> str:
        """The exact predicate behind a filter on every column that stands in it."""
        filters = []
        for shape, other in ((a, b), (b, a)):
            if isinstance(shape, RegionSql) and not is_constant(shape.array):
                filters.append(self.region_filter(shape.array, array_of(other)))
            elif isinstance(shape, PointSql) and _by_index(shape):
                filters.append(self.point_filter(shape, array_of(other)))
        return _all_of([*filters, exact])

    # Measures.

    def distance(self, a: PointSql, b: PointSql) -> str:
        return f"sphere.separation({_coordinates(a)}, {_coordinates(b)})"

    def area(self, shape: Shape | MocSql) -> str:
        if isinstance(shape, MocSql):
            return f"sphere.moc_area({shape.cells})"
        return f"sphere.area({array_of(shape)})"

    def centroid(self, shape: Shape) -> PointSql:
        if isinstance(shape, PointSql | CircleSql | BoxSql):
            centre = shape if isinstance(shape, PointSql) else shape.centre
            return PointSql(number(centre.ra), number(centre.dec))
        middle = f"(sphere.centroid({array_of(shape)}))"
        return PointSql(f"{middle}[1]", f"{middle}[2]")

    def nearest(self, position: PointSql, to: PointSql) -> str:
        return self.distance(position, to)

    def region(self, shape: Shape) -> str:
        if isinstance(shape, PolygonSql | BoxSql):
            return f"sphere.normalised({array_of(shape)})"
        return array_of(shape)


def _coordinates(point: PointSql) -> str:
    return f"{number(point.ra)}, {number(point.dec)}"


def _by_index(point: PointSql) -> bool:
    """Whether a condition on the position is to be one that an index can serve."""
    return point.sought and not (is_constant(point.ra) and is_constant(point.dec))


def _prepared(polygon: PolygonSql) -> str:
    """The polygon's edges: of a constant one the planner makes them once."""
    return f"sphere.prepare({array_of(polygon)})"


def _point_in(point: PointSql, shape: Shape, exact: str) -> str:
    """The exact predicate of a point in a shape, where there is a quicker one than for shapes at large."""
    match shape:
        case PolygonSql():
            return f"sphere.in_polygon({_prepared(shape)}, {_coordinates(point)})"
        case RangeSql(ra_min, ra_max, dec_min, dec_max):
            limits = ", ".join(number(limit) for limit in (ra_min, ra_max, dec_min, dec_max))
            return f"sphere.in_range({_coordinates(point)}, {limits})"
        case BoxSql() | RegionSql():
            # Which kind it is, is known to the planner when the shape is constant: then one branch is left.
            array = array_of(shape)
            polygon = f"sphere.in_polygon(sphere.prepare({array}), {_coordinates(point)})"
            return f"CASE WHEN cardinality({array}) >= 6 THEN {polygon} ELSE {exact} END"
    return exact


def _all_of(conditions: Sequence[str]) -> str:
    return f"({' AND '.join(conditions)})"
