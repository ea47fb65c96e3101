"""Where pixels of tiles lie, on the sky and on images: held against cdshealpix, healpy, and astropy's whole WCS."""

from pathlib import Path

import astropy.units as u
import cdshealpix.nested
import healpy
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import wcs_to_celestial_frame
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hips.images import NotAnImage, place_of
from hips.plan import tiles_touched
from hips.pyramid import allsky, fold
from hips.resample import Celestial, TileSum, Window, placed
from hips.tile import Tile, is_tile_path
from hips.tiling import order_and_width, pixel_cells, pixel_vectors, tile_wcs
from tests.hips.skies import found_in, planned, reader_of, tan_header

DEMO = Path(__file__).resolve().parents[2] / "demo" / "data"
REAL = {
    "ZPN": "optical-infrared/m1_ukirt_wfcam_k_zpn.fits",
    "rotated CAR": "optical-infrared/orion_panstarrs_g_rotated_car.fits.gz",
    "SIP": "optical-infrared/euma_amateur_sip.fits.gz",
    "lookup table": "optical-infrared/47tuc_hst_acs_distortion_lookup.fits.gz",
    "AZP": "radio/lmc_parkes_1904-66_azp.fits",
    "AIT": "radio/lmc_parkes_1904-66_ait.fits",
    "galactic": "radio/gp_effelsberg_11cm.fits",
    "SFL": "high-energy/rxj1713_hess_sfl.fits.gz",
}


@pytest.mark.parametrize("order", [0, 1, 3, 8])
def test_a_tile_s_own_coordinates_name_the_healpix_cells_that_it_draws(order: int) -> None:
    width = 64
    depth = order + 6
    for npix in np.unique(np.linspace(0, 12 * 4**order - 1, 29).astype(int)):
        header = fits.Header({"NAXIS": 2, "NAXIS1": width, "NAXIS2": width})
        header.update(tile_wcs(Tile(order, int(npix)), width))
        rows, columns = (grid.ravel() for grid in np.indices((width, width)))
        lon, lat = WCS(header).wcs_pix2world(columns, rows, 0)
        cells = cdshealpix.nested.lonlat_to_healpix(lon * u.deg, lat * u.deg, depth)
        assert (cells == pixel_cells(int(npix), width, rows, columns)).all()
        assert (cells // width**2 == npix).all()


def test_rows_and_columns_run_as_the_standard_draws_them() -> None:
    # HiPS 1.0 §4.1.2: in a picture (rows top-down) the four children stand 0 2 over 1 3, in FITS the other way up.
    rows, columns = np.indices((2, 2))
    assert pixel_cells(0, 2, rows, columns)[::-1].tolist() == [[0, 2], [1, 3]]


def test_paths_of_tiles() -> None:
    assert Tile(8, 418374).path("fits") == "Norder8/Dir410000/Npix418374.fits"
    assert is_tile_path("Norder8/Dir410000/Npix418374.png")
    for wrong in ("Norder8/Dir0/Npix418374.png", "Norder0/Dir0/Npix12.png", "Norder99/Dir0/Npix1.png",
                  "Norder3/Dir0/Npix1.png/../x", "Norder3/Allsky.png"):  # fmt: skip
        assert not is_tile_path(wrong)


def test_tiles_keep_the_resolution_of_images_and_are_narrow_where_it_is_coarse() -> None:
    assert order_and_width(0.4 / 3600)[1] == 512
    for scale in np.geomspace(1e-6, 1, 200):
        order, width = order_and_width(scale)
        pixel = np.degrees(healpy.nside2resol(width << order))
        assert order >= 3 and pixel <= 1.05001 * scale
        assert pixel > scale / 2.01 or (order, width) == (3, 128)


def test_a_parent_s_pixels_are_the_means_of_their_four_cells() -> None:
    width, rng = 64, np.random.default_rng(1)
    sky = rng.normal(size=12 * (4 * width) ** 2)
    sky[rng.random(sky.size) < 0.3] = np.nan
    quarters = sky.reshape(-1, 4)
    with np.errstate(invalid="ignore"):
        coarse = np.nansum(quarters, axis=1) / np.isfinite(quarters).sum(axis=1)
    rows, columns = np.indices((width, width))
    tile = Tile(1, 17)
    children = [sky[pixel_cells(child.npix, width, rows, columns)].astype(np.float32) for child in tile.children]
    np.testing.assert_allclose(
        fold(children, width), coarse[pixel_cells(tile.npix, width, rows, columns)], rtol=2e-5, atol=1e-6
    )
    west_missing = fold([children[0], None, None, None], width)
    assert np.isfinite(west_missing).sum() == np.isfinite(fold(children, width)[width // 2 :, : width // 2]).sum()


def test_the_allsky_mosaic_is_a_picture_with_tile_0_at_its_top_left() -> None:
    tiles = {npix: np.full((128, 128), npix, np.float32) for npix in (0, 26, 27, 767)}
    picture = allsky(tiles)[::-1]
    assert picture.shape == (29 * 64, 27 * 64)
    assert (picture[:64, :64] == 0).all() and (picture[:64, 26 * 64 :] == 26).all()
    assert (picture[64:128, :64] == 27).all() and (picture[28 * 64 :, 11 * 64 : 12 * 64] == 767).all()
    assert np.isnan(picture[:64, 64:128]).all()


def sky_of(tile: Tile, width: int, rows: np.ndarray, columns: np.ndarray) -> SkyCoord:
    lon, lat = healpy.pix2ang(width << tile.order, pixel_cells(tile.npix, width, rows, columns), nest=True, lonlat=True)
    return SkyCoord(lon, lat, unit="deg", frame="icrs")


@pytest.mark.parametrize("file", REAL.values(), ids=REAL)
def test_pixels_of_real_images_are_found_where_the_whole_wcs_says(file: str) -> None:
    path = DEMO / file
    plan = planned(path)
    place = reader_of(path).place(plan.images[0])
    frame = wcs_to_celestial_frame(place.wcs)
    rng = np.random.default_rng(3)
    seen, missed, worst = 0, 0, 0.0
    for npix in list(plan.tiles)[:: max(1, len(plan.tiles) // 8)]:
        tile = Tile(plan.order, npix)
        x, y = (np.full((plan.width, plan.width), np.nan) for _ in "xy")
        for square in placed(tile, plan.width, place):
            x[square.part], y[square.part] = square.x, square.y
        rows, columns = rng.integers(0, plan.width, (2, 9000))
        sky = sky_of(tile, plan.width, rows, columns).transform_to(frame)
        want = place.wcs.all_world2pix(sky.spherical.lon.deg, sky.spherical.lat.deg, 0, quiet=True)
        back = place.wcs.all_pix2world(*want, 0)  # what does not come back is no place on the image
        with np.errstate(invalid="ignore"):
            good = SkyCoord(*np.nan_to_num(back), unit="deg").separation(
                SkyCoord(sky.spherical.lon, sky.spherical.lat)
            ).deg < 1e-6  # fmt: skip
            inside = good & (np.abs(want[0] - (place.shape[1] - 1) / 2) < place.shape[1] / 2 - 0.02)
            inside &= np.abs(want[1] - (place.shape[0] - 1) / 2) < place.shape[0] / 2 - 0.02
        seen += inside.sum()
        missed += np.isnan(x[rows, columns][inside]).sum()
        if inside.any():
            worst = max(
                worst,
                *(np.nanmax(np.abs(got[rows, columns] - wish)[inside]) for got, wish in ((x, want[0]), (y, want[1]))),
            )
    assert seen > 200 and missed == 0 and worst < 0.02


def test_a_cylinder_that_begins_at_longitude_0_covers_the_whole_sky() -> None:
    header = fits.Header({
        "CTYPE1": "RA---CAR", "CTYPE2": "DEC--CAR", "CRVAL1": 0.0, "CRVAL2": 0.0, "CRPIX1": 0.5, "CRPIX2": 90.5,
        "CDELT1": 1.0, "CDELT2": 1.0,
    })  # fmt: skip
    wave = np.tile(np.cos(np.radians(np.arange(0.5, 360))).astype(np.float32), (180, 1))
    place = place_of(fits.PrimaryHDU(wave, header))
    assert len(place.shifts) == 2
    for tile in (Tile(1, npix) for npix in range(48)):
        total = TileSum(64, several=True)
        for square in placed(tile, 64, place):
            total.add(Window(wave, 0, 0, place.shape), square)
        rows, columns = np.indices((64, 64))
        assert (np.abs(total.pixels() - np.cos(sky_of(tile, 64, rows, columns).ra.rad)) < 2e-4).all()


@settings(max_examples=25, deadline=None)
@given(
    ra=st.floats(0, 360),
    dec=st.floats(-90, 90),
    turned=st.floats(0, 90),
    size_deg=st.floats(0.01, 60),
    sip=st.booleans(),
)
@example(ra=0.0, dec=90.0, turned=30.0, size_deg=20.0, sip=False)
@example(ra=45.0, dec=41.8, turned=0.0, size_deg=5.0, sip=True)
def test_no_pixel_of_an_image_lies_outside_the_tiles_of_the_plan(
    ra: float, dec: float, turned: float, size_deg: float, sip: bool
) -> None:
    side = 150
    header = tan_header(ra, dec, size_deg / side, side, sip=sip, turned=turned)
    place = place_of(fits.PrimaryHDU(np.zeros((side, side), np.float32), header))
    order = min(12, order_and_width(size_deg / side)[0])
    y, x = (grid.ravel() for grid in np.indices((side, side)))
    lon, lat = WCS(header).all_pix2world(x, y, 0)
    held = healpy.ang2pix(1 << order, lon, lat, nest=True, lonlat=True)
    assert np.isin(held, tiles_touched(place, order)).all()


def test_what_stands_beside_an_image_and_what_has_no_place_is_none() -> None:
    sky = tan_header(10, 10, 0.01, 8)
    flat = np.zeros((8, 8), np.float32)
    for hdu, reason in (
        (fits.ImageHDU(flat, sky, name="WEIGHT"), "beside"),
        (fits.ImageHDU(flat), "no place"),
        (fits.ImageHDU(np.zeros((3, 8, 8), np.float32), sky), "no image"),
    ):
        with pytest.raises(NotAnImage, match=reason):
            place_of(hdu)
    assert isinstance(place_of(fits.ImageHDU(np.zeros((1, 8, 8), np.float32), sky)), Celestial)


def test_a_card_that_cannot_be_read_hides_no_image(tmp_path: Path) -> None:
    path = tmp_path / "broken.fits"
    fits.writeto(path, np.zeros((8, 8), np.float32), tan_header(10, 10, 0.01, 8))
    content = path.read_bytes()
    path.write_bytes(content.replace(b"END" + b" " * 77, b"SKEW    = 1.0 2.0".ljust(80) + b"END" + b" " * 77, 1)
                     .replace(b" " * 80, b"", 1))  # fmt: skip
    with pytest.raises(fits.VerifyError):
        fits.getheader(path)["SKEW"]
    assert len(found_in(path)) == 1


def test_every_image_of_a_mosaic_is_found(tmp_path: Path) -> None:
    sky = tan_header(10, 10, 0.01, 8)
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(np.zeros((8, 8)), sky), fits.CompImageHDU(np.zeros((8, 8), np.int16), sky)]
    fits.HDUList(hdus).writeto(tmp_path / "mosaic.fits")
    assert [image.key.hdu for image in found_in(tmp_path / "mosaic.fits")] == [1, 2]
    assert pixel_vectors(Tile(3, 5), 64, np.arange(2), np.arange(2)).shape == (2, 3)
