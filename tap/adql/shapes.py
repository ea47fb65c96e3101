"""Shapes in SQL: ADQL's geometry as the values that archive.sphere's Protocol takes, and shapes from literals.

Which shape contains which is the Sphere's answer; which forms the functions take is geometry.py's.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

from archive.sphere.sphere import BoxSql, CircleSql, MocSql, PointSql, PolygonSql, RegionSql, Shape, Sphere
from archive.sphere.values import shape_of
from archive.vo.errors import UsageError
from archive.vo.mocs import ranges_of
from archive.vo.regions import Circle, Point, Polygon, Region, from_stcs
from tap.adql.nodes import Call, Expression, Node, Null
from tap.adql.types import Kind

# Edges of a literal polygon are compared in pairs, to see that none cross: it costs the square of this.
MOST_VERTICES = 1_000


def region_from_dali(text: str, target: str) -> Region:
    """CAST('1 2 3' AS CIRCLE): DALI 1.1 §3.3.5-7 (ADQL-33). UsageError if the numbers are no such shape."""
    readers: dict[str, Callable[[str], Region]] = {
        "POINT": Point.from_dali,
        "CIRCLE": Circle.from_dali,
        "POLYGON": Polygon.from_dali,
    }
    return readers[target](of_bearable_size(text))


def region_from_stcs(text: str, target: str) -> Region:
    """REGION('Circle ICRS 10 20 0.5'), as archive.vo.regions reads it (TAP 1.0 §6). UsageError for anything else."""
    return from_stcs(of_bearable_size(text))


def cells_from_moc(text: str) -> str:
    """MOC('6/3-7 9') as the text of an int8multirange. UsageError for anything else."""
    return "{" + ",".join(f"[{low},{high})" for low, high in ranges_of(text)) + "}"


def of_bearable_size(text: str) -> str:
    """The literal, unless it has more vertices than are read."""
    if len(text.split()) > 2 * MOST_VERTICES + 10:
        raise UsageError(f"a literal shape has at most {MOST_VERTICES} vertices; upload it as a table's column")
    return text


def kind_of(region: Region) -> str:
    """The ADQL type of a literal shape."""
    return {Point: "POINT", Circle: "CIRCLE", Polygon: "POLYGON"}.get(type(region), "REGION")


class ShapeWriter(ABC):
    """Makes shapes of expressions; how a value is written it asks of its subclass."""

    sphere: Sphere

    @abstractmethod
    def value(self, node: Expression) -> str:
        """SQL of a value."""

    @abstractmethod
    def kind(self, node: Expression) -> Kind:
        """What the checked tree knows of a value."""

    @abstractmethod
    def form(self, node: Call) -> str:
        """How the arguments of a geometry function were read: one letter each (geometry.py)."""

    @abstractmethod
    def is_sought(self, ra: Expression) -> bool:
        """Whether an index is to be asked for the positions whose right ascension this is."""

    @abstractmethod
    def parameter(self, value: object, sql_type: str) -> str:
        """SQL of a bound value."""

    @abstractmethod
    def constant_moc_of(self, node: Node) -> str | None:
        """The text of the multirange of cells that a literal MOC was read as."""

    @abstractmethod
    def constant_shape_of(self, node: Node) -> Region | None:
        """The shape that a literal was read as."""

    def shape(self, node: Expression) -> Shape:
        """The shape that a geometry expression stands for."""
        constant = self.constant_shape_of(node)
        if constant is not None:
            return self._constant(constant)
        if isinstance(node, Call):
            made = self._made(node)
            if made is not None:
                return made
        if isinstance(node, Null):
            return RegionSql("NULL::double precision[]")
        array = self.value(node)
        if self.kind(node) is Kind.POINT:
            return PointSql(f"({array})[1]", f"({array})[2]")
        return RegionSql(array)

    def extent(self, node: Expression) -> Shape | MocSql:
        """The shape or the coverage map that an expression stands for."""
        return self.moc(node) if self.kind(node) is Kind.MOC else self.shape(node)

    def moc(self, node: Expression) -> MocSql:
        """The coverage map that a MOC expression stands for."""
        constant = self.constant_moc_of(node)
        if constant is not None:
            return MocSql(self.parameter(constant, "int8multirange"))
        if isinstance(node, Call) and node.function == "MOC":
            order, shape = node.arguments
            return self.sphere.moc(f"({self.value(order)})::integer", self.shape(shape))
        return MocSql(f"sphere.moc({self.value(node)})")

    def point(self, node: Expression) -> PointSql:
        """The position that a POINT expression stands for."""
        shape = self.shape(node)
        if isinstance(shape, PointSql):
            return shape
        # NULL stands where a point was wanted.
        return PointSql("NULL::double precision", "NULL::double precision")

    def shape_value(self, shape: Shape) -> str:
        """double precision[] in the portable form; a point as [ra, dec] (DALI 1.1 §3.3.5)."""
        if isinstance(shape, PointSql):
            return f"ARRAY[{shape.ra}, {shape.dec}]::double precision[]"
        if isinstance(shape, RegionSql):
            return shape.array
        return self.sphere.region(shape)

    def _constant(self, region: Region) -> Shape:
        return shape_of(region, lambda number: self.parameter(number, "double precision"))

    def _made(self, node: Call) -> Shape | None:
        """What POINT, CIRCLE, BOX, POLYGON and CENTROID make; None for anything else."""
        arguments = node.arguments
        if node.function == "CENTROID":
            return self.sphere.centroid(self.shape(arguments[0]))
        if node.function == "POLYGON":
            if self.form(node).startswith("p"):
                return PolygonSql(tuple(self.point(argument) for argument in arguments))
            numbers = [self.value(argument) for argument in arguments]
            return PolygonSql(tuple(PointSql(*pair) for pair in zip(numbers[::2], numbers[1::2], strict=True)))
        if node.function not in ("POINT", "CIRCLE", "BOX"):
            return None
        if self.form(node).startswith("p"):
            centre, rest = self.point(arguments[0]), arguments[1:]
        else:
            centre, rest = self._position(arguments[0], arguments[1]), arguments[2:]
        sizes = [self.value(argument) for argument in rest]
        if node.function == "POINT":
            return centre
        return CircleSql(centre, *sizes) if node.function == "CIRCLE" else BoxSql(centre, *sizes)

    def separation(self, node: Expression) -> tuple[PointSql, PointSql] | None:
        """The two positions of DISTANCE(...), or None if this is no DISTANCE (ADQL-22)."""
        if not isinstance(node, Call) or node.function != "DISTANCE":
            return None
        if len(node.arguments) == 2:
            return self.point(node.arguments[0]), self.point(node.arguments[1])
        ra, dec, other_ra, other_dec = node.arguments
        return self._position(ra, dec), self._position(other_ra, other_dec)

    def _position(self, ra: Expression, dec: Expression) -> PointSql:
        return PointSql(self.value(ra), self.value(dec), sought=self.is_sought(ra))

    def geometry_test(self, node: Expression) -> str | None:
        """The bare boolean behind CONTAINS and INTERSECTS, or None if this is neither."""
        if not isinstance(node, Call) or node.function not in ("CONTAINS", "INTERSECTS"):
            return None
        first, second = (self.extent(argument) for argument in node.arguments)
        ask = self.sphere.contains if node.function == "CONTAINS" else self.sphere.intersects
        return ask(first, second)
