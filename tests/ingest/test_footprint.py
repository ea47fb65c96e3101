"""Footprints: on the sky where astropy puts the pixels, simple, counter-clockwise from inside, tight."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archive.vo.regions import Circle, Polygon
from ingest.describe.footprint import Footprint, footprint, outline
from ingest.describe.header import open_fits
from ingest.describe.healpix import nested_corners
from ingest.describe.wcs import celestial
from tests.ingest.portraits import described, shared_files
from tests.ingest.sky_oracle import area, crossings, distance_to_edges, vectors, winding
from tests.shared import shared_data

PROJECTIONS = ("TAN", "SIN", "ARC", "STG", "ZEA", "CAR", "SFL", "AIT", "MER", "CEA")
# Masks and weights among the shared images, and what has no polygon, are looked at elsewhere.
REAL = [
    name
    for name in shared_files("images", "cubes")
    if ".fits" in name and "nowcs" not in name and "bok90prime_mask" not in name
]


def ring_of(region: Circle | Polygon | None) -> np.ndarray:
    assert isinstance(region, Polygon)
    return vectors(*np.array(region.vertices).T)


def valid_pixels(name: str) -> tuple[WCS, np.ndarray, tuple[int, int], float]:
    """The celestial WCS, some valid pixels (x, y), the shape and the part of valid pixels, read by astropy alone."""
    with fits.open(shared_data(*name.split("/"))) as hdus, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hdu = next(h for h in hdus if h.is_image and h.shape and min(h.shape[-2:]) > 1)
        header = fits.Header([card for card in hdu.header.cards if len(card.keyword) <= 8 or "." in card.keyword])
        wcs = WCS(header, hdus).celestial
        data = hdu.data.reshape((-1, *hdu.shape[-2:]))
        valid = np.isfinite(data).any(axis=0)
    rows, columns = np.nonzero(valid)
    chosen = np.random.default_rng(1).integers(0, len(rows), 300)
    return wcs, np.column_stack([columns[chosen], rows[chosen]]), valid.shape, float(valid.mean())


@pytest.mark.parametrize("name", REAL)
def test_a_real_footprint_holds_the_valid_pixels_and_no_more_than_their_hull(name: str) -> None:
    product = described(name).product
    ring = ring_of(product.s_region)
    wcs, pixels, (ny, nx), part = valid_pixels(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sky = wcs.pixel_to_world(*pixels.T).icrs
        frame_x, frame_y = np.linspace(-0.5, nx - 0.5, 60), np.linspace(-0.5, ny - 0.5, 60)
        edge = np.vstack([
            np.column_stack([frame_x, np.full(60, -0.5)]), np.column_stack([np.full(60, nx - 0.5), frame_y]),
            np.column_stack([frame_x[::-1], np.full(60, ny - 0.5)]),
            np.column_stack([np.full(60, -0.5), frame_y[::-1]]),
        ])  # fmt: skip
        frame_sky = wcs.pixel_to_world(*edge.T).icrs
    points = vectors(sky.ra.deg, sky.dec.deg)
    scale = product.s_pixel_scale / 3600
    outside = np.abs(winding(ring, points)) < 0.5
    assert (distance_to_edges(ring, points[outside]) < scale).all(), "valid pixels lie outside"
    assert area(ring) < 0, "the winding is clockwise seen from inside"
    assert crossings(ring) == 0
    frame_ring = vectors(frame_sky.ra.deg, frame_sky.dec.deg)
    if np.isfinite(frame_ring).all():
        whole = abs(area(frame_ring))
        assert abs(area(ring)) <= whole * 1.01
        assert abs(area(ring)) >= whole * part * 0.99 - 4 * scale * np.sqrt(whole)
        if part == 1:
            assert abs(area(ring)) == pytest.approx(whole, rel=2e-3)


@pytest.mark.parametrize(
    "name",
    [
        "images/gc_2mass_k.fits",
        "images/dss_ukst_23357.fits",
        "images/hdfs_hst_wfpc2_f606w.fits",
        "images/w5_wise.fits.gz",
    ],
)
def test_the_corners_of_a_plain_image_are_those_of_astropy(name: str) -> None:
    product = described(name).product
    wcs, _, shape, _ = valid_pixels(name)
    ny, nx = shape
    corners = wcs.pixel_to_world([-0.5, nx - 0.5, nx - 0.5, -0.5], [-0.5, -0.5, ny - 0.5, ny - 0.5]).icrs
    ring = ring_of(product.s_region)
    assert len(ring) == 4
    near = distance_to_edges(ring, vectors(corners.ra.deg, corners.dec.deg)) * 3600
    assert (near < 0.3 * product.s_pixel_scale).all()


def made(
    path: Path, projection: str, ra: float, dec: float, angle: float, scale: float, **cards: object
) -> fits.Header:
    """Write an image of 40 x 24 pixels about a place on the sky; its header."""
    header = fits.Header()
    header["CTYPE1"], header["CTYPE2"] = f"RA---{projection}", f"DEC--{projection}"
    header["CRPIX1"], header["CRPIX2"] = 20.5, 12.5
    header["CRVAL1"], header["CRVAL2"] = ra, dec
    header["CDELT1"], header["CDELT2"] = -scale, scale
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    header["PC1_1"], header["PC1_2"], header["PC2_1"], header["PC2_2"] = cos, -sin, sin, cos
    header["RADESYS"] = "ICRS"
    header.update(cards)
    fits.PrimaryHDU(np.ones((24, 40), dtype="f4"), header).writeto(path, overwrite=True)
    return header


def footprint_of(path: Path) -> Footprint:
    with open_fits(path) as file:
        sky = celestial(file, file.primary)
        assert sky is not None
        found = outline(file, file.primary, sky)
        assert found is not None
        return footprint([found])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    projection=st.sampled_from(PROJECTIONS),
    ra=st.floats(0, 359.9),
    dec=st.floats(-90, 90),
    angle=st.floats(0, 360),
    scale=st.floats(1e-5, 0.8),
)
def test_any_projection_anywhere_gives_a_simple_tight_polygon(
    tmp_path: Path, projection: str, ra: float, dec: float, angle: float, scale: float
) -> None:
    path = tmp_path / "made.fits"
    header = made(path, projection, ra, dec, angle, scale)
    found = footprint_of(path)
    assert 0 <= found.ra < 360 and -90 <= found.dec <= 90
    ring = ring_of(found.region)
    wcs = WCS(header)
    columns, rows = np.meshgrid(np.arange(40), np.arange(24))
    sky = wcs.pixel_to_world(columns.ravel(), rows.ravel())
    points = vectors(sky.ra.deg, sky.dec.deg)
    turns = winding(ring, points)
    # Curved edges are followed to a fifth of a pixel; pixel centres lie half a pixel inside.
    assert (np.abs(turns) > 0.5).all() or (distance_to_edges(ring, points[np.abs(turns) < 0.5]) < 0.3 * scale).all()
    assert (turns[np.abs(turns) > 0.5] < 0).all(), "not counter-clockwise seen from inside"
    assert crossings(ring) == 0
    cells = sum_of_cells(wcs)
    perimeter = np.linalg.norm(ring - np.roll(ring, 1, axis=0), axis=1).sum()
    assert abs(area(ring)) == pytest.approx(cells, rel=1e-3, abs=np.radians(0.25 * scale) * perimeter)
    away = np.degrees(np.arccos(np.clip(points @ vectors(found.ra, found.dec)[0], -1, 1)))
    assert found.fov >= away.max() - 1e-6


def sum_of_cells(wcs: WCS) -> float:
    """Steradians: the pixels' quadrangles, one by one."""
    columns, rows = np.meshgrid(np.arange(41) - 0.5, np.arange(25) - 0.5)
    sky = wcs.pixel_to_world(columns.ravel(), rows.ravel())
    corner = vectors(sky.ra.deg, sky.dec.deg).reshape(25, 41, 3)
    diagonals = np.cross(corner[1:, 1:] - corner[:-1, :-1], corner[1:, :-1] - corner[:-1, 1:])
    return float(np.linalg.norm(diagonals, axis=-1).sum() / 2)


def test_an_image_over_the_pole_contains_the_pole(tmp_path: Path) -> None:
    made(tmp_path / "pole.fits", "ZEA", 12.0, 89.99, 30.0, 0.01)
    found = footprint_of(tmp_path / "pole.fits")
    assert abs(winding(ring_of(found.region), vectors(0.0, 90.0))[0]) > 0.5


def test_an_image_wider_than_a_hemisphere_is_a_circle(tmp_path: Path) -> None:
    made(tmp_path / "wide.fits", "ZEA", 200.0, 10.0, 0.0, 5.0)
    found = footprint_of(tmp_path / "wide.fits")
    assert isinstance(found.region, Circle)
    assert found.region.radius > 90


@pytest.mark.parametrize(
    ("system", "cards"),
    [
        ("galactic", {"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN"}),
        ("fk4", {"RADESYS": "FK4", "EQUINOX": 1950.0}),
        ("fk5", {"RADESYS": "FK5", "EQUINOX": 1975.0}),
        ("barycentricmeanecliptic", {"CTYPE1": "ELON-TAN", "CTYPE2": "ELAT-TAN"}),
    ],
)
def test_other_frames_become_icrs(tmp_path: Path, system: str, cards: dict[str, object]) -> None:
    made(tmp_path / "frame.fits", "TAN", 120.0, -35.0, 0.0, 0.001, **cards)
    equinox = {"fk4": {"equinox": "B1950"}, "fk5": {"equinox": "J1975"}}.get(system, {})
    there = SkyCoord(120.0, -35.0, unit="deg", frame=system, **equinox).icrs
    found = footprint_of(tmp_path / "frame.fits")
    assert SkyCoord(found.ra, found.dec, unit="deg").separation(there).arcsec < 0.01


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    left=st.integers(0, 15),
    right=st.integers(0, 15),
    low=st.integers(0, 10),
    high=st.integers(0, 10),
    whole=st.booleans(),
)
def test_blank_borders_are_cut(tmp_path: Path, left: int, right: int, low: int, high: int, whole: bool) -> None:
    header = made(tmp_path / "full.fits", "TAN", 80.0, -60.0, 20.0, 0.001)
    pixels = np.full((24, 40), np.nan, dtype="f4")
    pixels[low : 24 - high, left : 40 - right] = 1
    if whole:
        pixels = np.where(np.isfinite(pixels), pixels, -1).astype("i2")
        header["BLANK"] = -1
    fits.PrimaryHDU(pixels, header).writeto(tmp_path / "cut.fits", overwrite=True)
    found = footprint_of(tmp_path / "cut.fits")
    x = np.array([left - 0.5, 39.5 - right, 39.5 - right, left - 0.5])
    y = np.array([low - 0.5, low - 0.5, 23.5 - high, 23.5 - high])
    sky = WCS(header).pixel_to_world(x, y)
    ring = ring_of(found.region)
    assert (distance_to_edges(ring, vectors(sky.ra.deg, sky.dec.deg)) < 1e-7).all()
    assert abs(area(ring)) == pytest.approx(abs(area(vectors(sky.ra.deg, sky.dec.deg))), rel=1e-6)


def test_a_large_image_is_looked_at_with_a_stride(tmp_path: Path) -> None:
    header = made(tmp_path / "small.fits", "TAN", 80.0, -60.0, 20.0, 0.001)
    pixels = np.full((400, 600), np.nan, dtype="f4")
    pixels[50:350, 100:500] = 1
    fits.PrimaryHDU(pixels, header).writeto(tmp_path / "large.fits")
    areas = []
    for limit in (100_000_000, 2_000):
        with open_fits(tmp_path / "large.fits") as file:
            sky = celestial(file, file.primary)
            assert sky is not None
            found = outline(file, file.primary, sky, max_pixels=limit)
            assert found is not None
            areas.append(abs(area(ring_of(footprint([found]).region))))
    assert areas[1] == pytest.approx(areas[0], rel=0.1)


@settings(max_examples=100, deadline=None)
@given(order=st.integers(0, 12), fraction=st.floats(0, 0.999999))
def test_corners_of_healpix_pixels_are_those_of_healpy(order: int, fraction: float) -> None:
    healpy = pytest.importorskip("healpy")
    npix = int(fraction * 12 * 4**order)
    ours = nested_corners(order, npix)
    theirs = healpy.boundaries(1 << order, npix, step=1, nest=True).T
    apart = np.linalg.norm(ours[:, None] - theirs[None, :], axis=-1)
    assert (apart.min(axis=0) < 1e-12).all() and (apart.min(axis=1) < 1e-12).all()
    assert area(ours) < 0
