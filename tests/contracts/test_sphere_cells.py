"""HEALPix cells, coverage maps, stars that move, in SQL: against healpy, mocpy, astropy on every adapter."""

from typing import Any

import astropy.units as u
import healpy
import numpy as np
import psycopg
import pytest
from astropy.coordinates import SkyCoord
from astropy.time import Time
from mocpy import MOC
from psycopg import sql

from archive.sphere.sphere import MocSql, PointSql, RegionSql, Sphere
from tests.contracts import sky_oracle

Database = tuple[psycopg.Connection[Any], Sphere]
ROWS = 4_000
PLACE = PointSql("t.ra", "t.dec")


@pytest.fixture(scope="module")
def sky(sphere_database: Database) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Positions over the sky, many at the poles and at 0, in a table `places` with its index; ra, dec in degrees."""
    connection, sphere = sphere_database
    rng = np.random.default_rng(4)
    ra = np.concatenate([rng.uniform(-10, 370, ROWS), rng.choice([0.0, 45.0, 90.0, 360.0, -1e-20], 200)])
    dec = np.degrees(np.arcsin(rng.uniform(-1, 1, len(ra))))
    dec[:300] = np.sign(dec[:300]) * (90 - 10.0 ** rng.uniform(-9, 0, 300))
    dec[300:310] = [90, -90, 0, np.degrees(np.arcsin(2 / 3)), 41, -41, 45, -45, 0, 0]
    connection.execute("CREATE TABLE places (i int, ra float8, dec float8, footprint float8[])")
    with connection.cursor().copy("COPY places FROM STDIN") as copy:
        for i, (a, d) in enumerate(zip(ra.tolist(), dec.tolist(), strict=True)):
            copy.write_row((i, a, d, [a % 360, max(min(d, 89.0), -89.0), 0.5]))
    for statement in (*sphere.point_index("places", "ra", "dec"), *sphere.region_index("places", "footprint")):
        connection.execute(statement)
    connection.execute("ANALYZE places")
    return ra, dec


def column(
    connection: psycopg.Connection[Any], expression: str, where: str = "true", table: str = "places"
) -> list[Any]:
    query = f"SELECT {expression} FROM {table} t WHERE {where} ORDER BY i"
    return [row[0] for row in connection.execute(query.encode())]


@pytest.mark.parametrize("order", [0, 1, 5, 12, 24])
def test_a_position_lies_in_the_cell_that_healpy_says(sphere_database: Database, sky: Any, order: int) -> None:
    connection, _ = sphere_database
    found = np.array(column(connection, f"sphere.healpix({order}, ra, dec)"))
    told = healpy.ang2pix(2**order, *sky, nest=True, lonlat=True)
    # On a boundary either cell is right.
    for i in np.flatnonzero(found != told):
        centres = np.array(healpy.pix2ang(2**order, [found[i], told[i]], nest=True, lonlat=True))
        near = SkyCoord(*centres, unit="deg").separation(SkyCoord(sky[0][i], sky[1][i], unit="deg"))
        assert (near.deg <= healpy.max_pixrad(2**order, degrees=True) + 1e-9).all()
    assert (found != told).sum() <= 60


@pytest.mark.parametrize("order", [0, 2, 9, 20, 29])
def test_the_centre_of_a_cell_is_healpys_and_lies_in_it(sphere_database: Database, order: int) -> None:
    connection, _ = sphere_database
    cells = np.random.default_rng(5).integers(0, 12 * 4**order, 500)
    rows = connection.execute(
        "SELECT a[1], a[2], sphere.healpix(%(k)s, a[1], a[2]) FROM (SELECT sphere.healpix_center(%(k)s, p) AS a"
        " FROM unnest(%(cells)s::bigint[]) WITH ORDINALITY AS u(p, n) ORDER BY n) AS c",
        {"k": order, "cells": cells.tolist()},
    ).fetchall()
    ra, dec, back = map(np.array, zip(*rows, strict=True))
    told = SkyCoord(*healpy.pix2ang(2**order, cells, nest=True, lonlat=True), unit="deg")
    assert SkyCoord(ra, dec, unit="deg").separation(told).deg.max() < 1e-11
    assert (back == cells).all()


def test_what_is_no_order_cell_or_position_is_null(sphere_database: Database) -> None:
    connection, _ = sphere_database
    for call in ("healpix(30, 1, 2)", "healpix(-1, 1, 2)", "healpix(3, 'NaN', 2)", "healpix(3, 1, 91)",
                 "healpix_center(1, 48)", "healpix_center(1, -1)", "moc('6/3-')", "moc('1/48')", "moc('30/1')",
                 "moc('6/5-3')", "moc('x')", "moc('5')"):  # fmt: skip
        assert connection.execute(f"SELECT sphere.{call}").fetchone() == (None,), call


@pytest.mark.parametrize("text", ["6/3-7 9 8/5", "0/0-11", "29/0 3458764513820540927", "0/", "3/1 2 4/12-15 5/64"])
def test_a_map_is_read_and_written_as_mocpy_does(sphere_database: Database, text: str) -> None:
    connection, _ = sphere_database
    row = connection.execute("SELECT sphere.moc_text(sphere.moc(%s)), sphere.moc_area(sphere.moc(%s))", (text, text))
    written, area = row.fetchone() or ("", -1)
    told = MOC.from_string(text)
    assert MOC.from_string(written or "0/") == told
    assert area == pytest.approx(told.sky_fraction * 41252.96124941927)


def test_the_map_of_a_shape_covers_it_and_hardly_more(sphere_database: Database) -> None:
    """Every cell that healpy's closer look finds touched is there; what is more lies within an eighth of a cell."""
    connection, sphere = sphere_database
    rng = np.random.default_rng(6)
    for order, radius in ((3, 20.0), (6, 3.0), (6, 0.01), (2, 100.0), (9, 0.4)):
        ra, dec = rng.uniform(0, 360), np.degrees(np.arcsin(rng.uniform(-1, 1)))
        moc = sphere.moc(f"{order}", RegionSql(f"'{{{ra}, {dec}, {radius}}}'::float8[]"))
        row = connection.execute(f"SELECT sphere.moc_text({moc.cells})".encode()).fetchone()
        assert row is not None
        ours = set(MOC.from_string(row[0]).to_order(order).flatten().tolist())
        side = 2**order
        centre = healpy.ang2vec(ra, dec, lonlat=True)
        closely = healpy.query_disc(side, centre, np.radians(radius), inclusive=True, fact=32, nest=True)
        corners = {p for p in closely if touched(p, side, centre, radius)}
        assert corners <= ours
        wider = radius + healpy.max_pixrad(side * 8, degrees=True) * 2
        assert ours <= set(healpy.query_disc(side, centre, np.radians(min(wider, 180)), True, 32, True).tolist())


def touched(cell: int, side: int, centre: np.ndarray[Any, Any], radius: float) -> bool:
    """Whether a point of the cell's boundary lies in the cone: certain for those that do."""
    along = healpy.boundaries(side, cell, step=16, nest=True)
    return bool((along.T @ centre >= np.cos(np.radians(radius))).any())


@pytest.mark.usefixtures("sky")
def test_the_map_of_a_polygon_holds_its_points_and_nothing_far_from_it(sphere_database: Database) -> None:
    connection, _ = sphere_database
    checked = 0
    for a, *_ in sky_oracle.random_pairs(seed=7, count=60):
        if len(a) < 6:
            continue
        row = connection.execute(
            b"SELECT sphere.moc_of(4, %(p)s) @> (SELECT int8multirange(range_agg(r)) FROM (SELECT sphere.cell_range(4,"
            b" sphere.healpix(4, ra, dec)) r FROM places WHERE sphere.contains(ARRAY[ra, dec], %(p)s::float8[])) x),"
            b" count(*), sphere.moc_area(sphere.moc_of(4, %(p)s)), sphere.area(%(p)s::float8[]), bool_and("
            b" sphere.intersects(ARRAY[c[1], c[2], sphere.cell_radius(4)], %(p)s::float8[])) FROM (SELECT"
            b" sphere.healpix_center(4, generate_series(lower(one) >> 50, (upper(one) - 1) >> 50)) AS c"
            b" FROM unnest(sphere.moc_of(4, %(p)s)) AS one) AS cells",
            {"p": a},
        ).fetchone()
        assert row is not None
        holds, cells, covered, area, near = row
        assert holds is not False and cells > 0 and covered >= area * (1 - 1e-9) and near, a
        checked += 1
    assert checked > 10


@pytest.mark.parametrize(
    "text", ["3/1-9 77 500 5/6000-6020", "0/4", "29/3000000000000000000", "8/0-99", "0/0-11", "1/0 5/300 9/1000000"]
)
def test_positions_in_a_map_are_those_of_mocpy_and_the_index_loses_none(
    sphere_database: Database, sky: Any, text: str
) -> None:
    connection, sphere = sphere_database
    condition = sphere.contains(PLACE, MocSql(f"sphere.moc('{text}')"))
    found = column(connection, "i", condition)
    told = MOC.from_string(text).contains_lonlat(sky[0] * u.deg, sky[1] * u.deg)
    different = set(found) ^ set(np.flatnonzero(told).tolist())
    # mocpy asks at the map's order: at a cell's edge rounding may differ.
    assert len(different) <= 0.01 * ROWS
    exact = column(connection, "i", f"sphere.healpix(29, ra, dec) <@ sphere.moc('{text}')")
    assert found == exact
    if len(found) < 200:
        plan = connection.execute(f"EXPLAIN SELECT i FROM places t WHERE {condition}".encode()).fetchall()
        assert any("sphere_" in line for (line,) in plan), plan


def test_regions_whose_map_meets_another_are_found_by_index_and_none_is_lost(
    sphere_database: Database, sky: Any
) -> None:
    connection, sphere = sphere_database
    connection.execute("CREATE TEMP TABLE few AS SELECT * FROM places WHERE i < 450")
    for statement in sphere.region_index("few", "footprint"):
        connection.execute(statement)
    connection.execute("ANALYZE few")
    mine = sphere.moc("7", RegionSql("t.footprint"))
    theirs = MocSql("sphere.moc('4/100-163 3/400-500')")
    for condition, exact in (
        (sphere.intersects(mine, theirs), f"{mine.cells} && {theirs.cells}"),
        (sphere.intersects(theirs, mine), f"{mine.cells} && {theirs.cells}"),
        (sphere.contains(mine, theirs), f"{mine.cells} <@ {theirs.cells}"),
    ):
        found = column(connection, "i", condition, table="few")
        assert found == column(connection, "i", exact, table="few")
        assert found
        plan = connection.execute(f"EXPLAIN SELECT i FROM few t WHERE {condition}".encode()).fetchall()
        assert any("sphere_" in line for (line,) in plan), plan


def test_a_map_of_too_many_cells_is_refused_with_advice(sphere_database: Database) -> None:
    connection, _ = sphere_database
    with pytest.raises(psycopg.errors.DataError, match="take a lower order"):
        connection.execute("SELECT sphere.moc_of(20, ARRAY[10, 20, 30])")


def test_a_star_moves_as_in_astropy(sphere_database: Database) -> None:
    connection, _ = sphere_database
    rng = np.random.default_rng(8)
    for _ in range(60):
        ra, dec = rng.uniform(0, 360), rng.uniform(-89, 89)
        parallax, pmra, pmdec, rv, years = rng.uniform((1, -5e3, -5e3, -300, -500), (700, 5e3, 5e3, 300, 500))
        row = connection.execute(
            "SELECT sphere.moved(%s, %s, %s, %s, %s, %s, %s)", (ra, dec, parallax, pmra, pmdec, rv, years)
        ).fetchone()
        assert row is not None
        star = SkyCoord(
            ra * u.deg,
            dec * u.deg,
            distance=(1000 / parallax) * u.pc,
            pm_ra_cosdec=pmra * u.mas / u.yr,
            pm_dec=pmdec * u.mas / u.yr,
            radial_velocity=rv * u.km / u.s,
            obstime=Time(2000, format="jyear"),
        )
        told = star.apply_space_motion(dt=years * u.yr)
        # astropy's pmsafe accounts for relativistic effects of the observed motion, a few parts in 10^7 here.
        moved = SkyCoord(*row[0], unit="deg").separation(SkyCoord(told.ra, told.dec)).arcsec
        way = star.separation(told).arcsec
        assert moved <= 1e-6 * way * max(1, abs(rv)) + 1e-7, (row, told)


def test_what_is_not_known_of_a_motion_is_nothing(sphere_database: Database) -> None:
    connection, _ = sphere_database
    row = connection.execute(
        "SELECT sphere.moved(10, 20, NULL, NULL, NULL, NULL, 100), sphere.moved(NULL, 1, 1, 1, 1, 1, 1)"
    )
    moved, unknown = row.fetchone() or (None, None)
    assert moved == pytest.approx([10, 20], abs=1e-12)
    assert unknown is None


def test_a_histogram_counts_as_numpy_does(sphere_database: Database, sky: Any) -> None:
    connection, _ = sphere_database
    row = connection.execute("SELECT sphere.histogram(dec, -30, 60, 9) FROM places").fetchone()
    counts, _ = np.histogram(sky[1], bins=np.linspace(-30, 60, 10))
    assert row is not None
    assert row[0] == [(sky[1] < -30).sum(), *counts, (sky[1] >= 60).sum()]
    assert connection.execute("SELECT sphere.histogram(NULL, 0, 1, 2)").fetchone() == ([0, 0, 0, 0],)
    with pytest.raises(psycopg.errors.DataError, match="bins"):
        connection.execute(sql.SQL("SELECT sphere.histogram(1, 1, 0, 3)"))
