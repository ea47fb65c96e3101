"""The sky in SQL: what every adapter answers. One contract suite holds both to it (tests/contracts).

An adapter gives back SQL text. Coordinates go in as SQL expressions (a column, a bound parameter's placeholder, an
arithmetic expression), never as values, so nothing a user wrote is ever formatted into SQL.

The portable truth in tables is ra, dec (double precision, degrees ICRS) and region (double precision[]): 3 elements
are a circle (ra, dec, radius), an even number of 6 or more the vertices of a polygon, counter-clockwise seen from
inside the sphere; 2 are a position, 4 a coordinate range (ra_min, ra_max, dec_min, dec_max). What is no shape (a NULL
or NaN inside, two antipodes as neighbours) makes every answer NULL: a bad row in a user's table ends no query.
A polygon that crosses itself is taken by the even-odd rule; one without area is its edges. Boundaries belong to a
shape, and are 1e-12 rad wide.

Adapters add expression indexes over these columns; conditions on any expression that PostgreSQL can reduce to the
indexed one, through views, subqueries and joins, then use the index, whatever the author's form.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class PointSql:
    """A position: SQL expressions of ra and dec, degrees ICRS.

    sought: whether an index on it is to be asked. A match of two tables goes through one and asks the other's index;
    which one PostgreSQL cannot tell, since it takes every condition on the sky to keep a hundredth of the rows. Who
    knows better says so here.
    """

    ra: str
    dec: str
    sought: bool = True


@dataclass(frozen=True, slots=True)
class CircleSql:
    """radius: SQL expression, degrees along a great circle."""

    centre: PointSql
    radius: str


@dataclass(frozen=True, slots=True)
class PolygonSql:
    """At least three vertices; either winding: the smaller side is meant."""

    vertices: tuple[PointSql, ...]


@dataclass(frozen=True, slots=True)
class BoxSql:
    """ADQL's BOX (ADQL 2.1 §4.2.9): a cross with arms of half the sizes, closed by great circles at right angles.

    width, height: SQL expressions, degrees. From 180 degrees on, where no great circles close it, the coordinate range
    of that size is meant.
    """

    centre: PointSql
    width: str
    height: str


@dataclass(frozen=True, slots=True)
class RangeSql:
    """A coordinate range (DALI 1.2 range): ra_min > ra_max crosses 0; SQL expressions, degrees."""

    ra_min: str
    ra_max: str
    dec_min: str
    dec_max: str


@dataclass(frozen=True, slots=True)
class RegionSql:
    """A stored region: SQL expression of type double precision[] in the portable form above."""

    array: str


Shape = PointSql | CircleSql | PolygonSql | BoxSql | RangeSql | RegionSql


@dataclass(frozen=True, slots=True)
class MocSql:
    """A coverage map (MOC 2.0): SQL expression of type int8multirange, cells of HEALPix order 29, NESTED.

    order, of: the SQL of the order and the shape that it was made of, if it was, so that an index on the shape serves.
    """

    cells: str
    order: str | None = None
    of: Shape | None = None


class Sphere(Protocol):
    """The sky in one database. Every method returns SQL text for an expression, or statements of DDL."""

    name: str

    def install(self) -> Sequence[str]:
        """Statements, run by the owner and repeatable, that make what the adapter needs: extension, functions."""

    def point_index(self, table: str, ra: str, dec: str) -> Sequence[str]:
        """Statements that index a table's position columns. table: qualified and quoted; ra, dec: quoted names."""

    def region_index(self, table: str, region: str) -> Sequence[str]:
        """Statements that index a table's region column."""

    def drop_indexes(self, table: str) -> Sequence[str]:
        """Statements that take this adapter's indexes on the table away again (for converting between adapters)."""

    def contains(self, inner: Shape | MocSql, outer: Shape | MocSql) -> str:
        """boolean: inner lies wholly in outer, boundary included; NULL where a coordinate is (ADQL 2.1 §4.2.12).

        In a MOC lie positions and other MOCs; of shapes beside a MOC, take their MOC first.
        """

    def intersects(self, a: Shape | MocSql, b: Shape | MocSql) -> str:
        """boolean: the shapes share at least a point; a point counts as a shape (ADQL 2.1 §4.2.17). MOCs as above."""

    def moc(self, order: str, shape: Shape) -> MocSql:
        """The cells of an order (SQL, 0 to 29) that a shape touches, and hardly more; never fewer."""

    def within(self, a: PointSql, b: PointSql, radius: str) -> str:
        """boolean: distance(a, b) <= radius (degrees), by index where either side has one (ADQL-24)."""

    def distance(self, a: PointSql, b: PointSql) -> str:
        """double precision, degrees along a great circle; accurate from 0 to 180 (haversine or vector form)."""

    def area(self, shape: Shape | MocSql) -> str:
        """double precision, square degrees."""

    def centroid(self, shape: Shape) -> PointSql:
        """The centre of a shape."""

    def nearest(self, position: PointSql, to: PointSql) -> str:
        """An ORDER BY expression that grows with the distance; by KNN index where the adapter has one."""

    def region(self, shape: Shape) -> str:
        """double precision[] in the portable form: what is stored, and what a result shows."""
