"""The sky by PostgreSQL alone: for the embedded server and managed ones, where pgSphere cannot be installed.

The filter is a box in right ascension and declination, by GiST on point and box. Several boxes (the crossing of 0) are
asked for as ANY of an array, which a bitmap index scan takes as it is, for constants and for each row of a join.
"""

from archive.sphere.exact import ExactSphere, number
from archive.sphere.sphere import PointSql


class PlainSphere(ExactSphere):
    """archive.sphere.sphere.Sphere by core types only; needs PostgreSQL 15 or later with plpgsql."""

    name = "plain"

    def indexed_point(self, ra: str, dec: str) -> str:
        # 360 and what lies below 0 are brought into one turn, as the boxes are.
        ra, dec = number(ra), number(dec)
        return f"point({ra} - 360 * floor({ra} / 360), {dec})"

    def point_filter(self, point: PointSql, shape: str) -> str:
        return f"{self.indexed_point(point.ra, point.dec)} <@ ANY(sphere.point_boxes({shape}))"

    def moc_point_filter(self, point: PointSql, cells: str) -> str:
        return f"{self.indexed_point(point.ra, point.dec)} <@ ANY(sphere.moc_point_boxes({cells}))"
