"""Between shapes as values (archive.vo.regions) and shapes in SQL (sphere.py): constants in, text out."""

from collections.abc import Callable

from archive.sphere.sphere import CircleSql, PointSql, PolygonSql, RangeSql, Shape
from archive.vo.regions import Circle, Point, Range, Region

# Degrees that are none: PostgreSQL raises an error where the square of a number is too small for a double.
TINY = 1e-100


def shape_of(region: Region, bind: Callable[[float], str]) -> Shape:
    """A constant shape. bind: keeps a number as a parameter, and gives the SQL expression that stands for it."""
    numbers = [bind(number if abs(number) > TINY else 0.0) for number in region.as_array()]
    if isinstance(region, Point):
        return PointSql(numbers[0], numbers[1])
    if isinstance(region, Circle):
        return CircleSql(PointSql(numbers[0], numbers[1]), numbers[2])
    if isinstance(region, Range):
        return RangeSql(*numbers)
    return PolygonSql(tuple(PointSql(*pair) for pair in zip(numbers[::2], numbers[1::2], strict=True)))


def stcs_of(array: str) -> str:
    """A region's STC-S text in SQL, as archive.vo.regions.to_stcs writes it. array: SQL; NULL for NULL."""
    return (
        f"(CASE array_length({array}, 1) WHEN 4 THEN 'POSITIONINTERVAL ICRS ' ||"
        f" concat_ws(' ', ({array})[1], ({array})[3], ({array})[2], ({array})[4])"
        f" ELSE CASE array_length({array}, 1) WHEN 2 THEN 'POSITION' WHEN 3 THEN 'CIRCLE' ELSE 'POLYGON' END"
        f" || ' ICRS ' || array_to_string({array}, ' ') END)"
    )
