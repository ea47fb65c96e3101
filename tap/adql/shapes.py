"""Shapes in SQL: ADQL's geometry as the values that archive.sphere's Protocol takes, and shapes from literals.

Which shape contains which is the Sphere's answer; which forms the functions take is geometry.py's.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from archive.sphere.sphere import BoxSql, CircleSql, PointSql, PolygonSql, RegionSql, Shape, Sphere
from archive.vo.errors import UsageError
from archive.vo.regions import Circle, Polygon
from tap.adql.nodes import Call, Expression, Node
from tap.adql.types import Kind


@dataclass(frozen=True, slots=True)
class ConstantShape:
    """A shape from a literal. kind: POINT, CIRCLE, POLYGON; numbers: its portable form, degrees ICRS."""

    kind: str
    numbers: tuple[float, ...]


def region_from_dali(text: str, target: str) -> ConstantShape:
    """CAST('1 2 3' AS CIRCLE): DALI 1.1 §3.3.5-7 (ADQL-33). UsageError if the numbers are no such shape."""
    try:
        numbers = tuple(float(word) for word in text.split())
    except ValueError:
        raise UsageError(f"numbers with blanks between are wanted, not {text[:60]!r}") from None
    return constant_shape(target, numbers)


# The words that STC-S 1.33 allows between a shape's name and its numbers.
_FRAMES = frozenset({"ICRS", "FK5", "J2000", "UNKNOWNFRAME"})
_POSITIONS = frozenset({"GEOCENTER", "BARYCENTER", "HELIOCENTER", "TOPOCENTER", "LSR", "RELOCATABLE", "UNKNOWNREFPOS"})
_FLAVOURS = frozenset({"SPHERICAL2", "SPHER2"})
_STCS_SHAPES = {"POSITION": "POINT", "CIRCLE": "CIRCLE", "POLYGON": "POLYGON", "BOX": "BOX"}


def region_from_stcs(text: str, target: str) -> ConstantShape:
    """REGION('Circle ICRS 10 20 0.5'): Position, Circle or Polygon (TAP 1.0 §6). UsageError for other shapes."""
    words = text.replace(",", " ").split()
    kind = _STCS_SHAPES.get(words[0].upper()) if words else None
    if kind is None or kind == "BOX":
        raise UsageError(f"Position, Circle or Polygon in STC-S is wanted, not {text[:60]!r}")
    words = words[1:]
    while words and not _is_number(words[0]):
        word = words.pop(0).upper()
        if word not in _FRAMES | _POSITIONS | _FLAVOURS:
            raise UsageError(f"this service reads ICRS only, not {word[:30]!r}")
    if not all(_is_number(word) for word in words):
        raise UsageError("numbers only are wanted after the frame")
    return constant_shape(kind, tuple(float(word) for word in words))


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def constant_shape(kind: str, numbers: tuple[float, ...]) -> ConstantShape:
    """A valid shape; UsageError says what is wrong."""
    if kind == "POINT":
        if len(numbers) != 2 or not (0 <= numbers[0] <= 360 and -90 <= numbers[1] <= 90):
            raise UsageError("a point has a right ascension of 0 to 360 and a declination of -90 to 90 degrees")
    elif kind == "CIRCLE":
        if len(numbers) != 3:
            raise UsageError(f"a circle has 3 numbers, not {len(numbers)}")
        Circle(*numbers)
    elif len(numbers) % 2:
        raise UsageError(f"a polygon has pairs of numbers, not {len(numbers)} of them")
    else:
        Polygon(tuple(zip(numbers[::2], numbers[1::2], strict=True)))
    return ConstantShape(kind, numbers)


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
    def parameter(self, value: object, sql_type: str) -> str:
        """SQL of a bound value."""

    @abstractmethod
    def constant_shape_of(self, node: Node) -> ConstantShape | None:
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
        array = self.value(node)
        if self.kind(node) is Kind.POINT:
            return PointSql(f"({array})[1]", f"({array})[2]")
        return RegionSql(array)

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

    def _constant(self, constant: ConstantShape) -> Shape:
        numbers = [self.parameter(number, "double precision") for number in constant.numbers]
        if constant.kind == "POINT":
            return PointSql(numbers[0], numbers[1])
        if constant.kind == "CIRCLE":
            return CircleSql(PointSql(numbers[0], numbers[1]), numbers[2])
        return PolygonSql(tuple(PointSql(*pair) for pair in zip(numbers[::2], numbers[1::2], strict=True)))

    def _made(self, node: Call) -> Shape | None:
        """What POINT, CIRCLE, BOX, POLYGON and CENTROID make; None for anything else."""
        arguments = node.arguments
        if node.function == "CENTROID":
            return self.sphere.centroid(self.shape(arguments[0]))
        if node.function == "POLYGON":
            if self.kind(arguments[0]) is Kind.POINT:
                return PolygonSql(tuple(self.point(argument) for argument in arguments))
            numbers = [self.value(argument) for argument in arguments]
            return PolygonSql(tuple(PointSql(*pair) for pair in zip(numbers[::2], numbers[1::2], strict=True)))
        if node.function not in ("POINT", "CIRCLE", "BOX"):
            return None
        if self.kind(arguments[0]) is Kind.POINT:
            centre, rest = self.point(arguments[0]), arguments[1:]
        else:
            centre, rest = PointSql(self.value(arguments[0]), self.value(arguments[1])), arguments[2:]
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
        numbers = [self.value(argument) for argument in node.arguments]
        return PointSql(numbers[0], numbers[1]), PointSql(numbers[2], numbers[3])

    def geometry_test(self, node: Expression) -> str | None:
        """The bare boolean behind CONTAINS and INTERSECTS, or None if this is neither."""
        if not isinstance(node, Call) or node.function not in ("CONTAINS", "INTERSECTS"):
            return None
        first, second = (self.shape(argument) for argument in node.arguments)
        ask = self.sphere.contains if node.function == "CONTAINS" else self.sphere.intersects
        return ask(first, second)
