"""Pictures of real files, against what astropy makes of the same pixels; and of made ones where truth must be known."""

import warnings
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import block_reduce
from astropy.visualization import AsinhStretch, ImageNormalize, ZScaleInterval
from astropy.wcs import WCS
from PIL import Image

from ingest.describe import RefusedError, open_fits
from ingest.preview import images, spectra
from ingest.preview.drawing import draw, draw_file
from ingest.preview.orientation import Compass, Sight
from ingest.preview.pictures import Pictures, image_pictures
from ingest.preview.plot import Trace, heights, plot, spans_decades, sparkline, thinned
from tests.shared import shared_data

DEMO = Path(__file__).resolve().parents[2] / "demo" / "data"
# One of each: raw with BZERO and gzip, SIP, lookup distortion, Rice, ZPN, NaNs, AIT, Float, an order of magnitude more.
IMAGES = (
    ("efosc2-108.22F6/EFOSC.2022-01-28T05:05:25.843.fits.gz", 0),
    ("high-energy/puppisA_erosita.fits.gz", 0),
    ("legacy-surveys/mosaic3_z_k4m_160319_ooi.fits", 1),
    ("optical-infrared/47tuc_hst_acs_distortion_lookup.fits.gz", 1),
    ("optical-infrared/euma_amateur_sip.fits.gz", 0),
    ("optical-infrared/m13_dss_rice.fits", 1),
    ("optical-infrared/m1_ukirt_wfcam_k_zpn.fits", 1),
    ("optical-infrared/orion_panstarrs_g_rotated_car.fits.gz", 0),
    ("radio/lmc_parkes_1904-66_ait.fits", 0),
)
SPECTRA = (
    ("spectra/ADP.2016-07-15T08:22:40.678_XQ100_J2349-3712_NIR.fits.gz", "Wavelength (nm)"),
    ("spectra/HARPS.2010-09-18T23:42:36.178_s1d_A.fits.gz", "Wavelength (Å)"),
    ("spectra/efosc2_sn2010f_gr11.fits", "Wavelength (Å)"),
    ("spectra/sdss_qso_J2202+1236.fits", "Wavelength (Å)"),
    ("spectra/xsl_X0360_xshooter_uvb.fits", "Wavelength (nm)"),
    ("radio/alfalfa_hi_sp.fits", "Frequency (MHz)"),
)


def drawn(path: Path) -> Pictures:
    made = draw_file(path)
    assert made is not None
    return made


def grey(picture: Image.Image) -> np.ndarray:
    """Grey levels as an array in FITS's order."""
    return np.asarray(picture.convert("LA"), float)[::-1, :, 0]


def turned(values: np.ndarray) -> list[np.ndarray]:
    """An image by all quarter turns, as it is and mirrored."""
    return [np.rot90(each, turns) for each in (values, values.T) for turns in range(4)]


def astropys(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Astropy's own rendering, reduced or enlarged to a shape by sampling it; what fills it is not burnt out."""
    finite = values[np.isfinite(values)]
    low, high = ZScaleInterval().get_limits(finite)
    top = np.percentile(finite, 99.5) if np.mean(finite > high) > 0.03 else high
    stretch = AsinhStretch(0.1 * (high - low) / (top - low))
    shown = ImageNormalize(vmin=low, vmax=top, stretch=stretch, clip=True)(np.nan_to_num(values, nan=finite.min()))
    rows = ((np.arange(shape[0]) + 0.5) * values.shape[0] / shape[0]).astype(int)
    columns = ((np.arange(shape[1]) + 0.5) * values.shape[1] / shape[1]).astype(int)
    return np.asarray(shown, float)[np.ix_(rows, columns)]


@pytest.mark.parametrize(("name", "hdu"), IMAGES)
def test_an_image_looks_as_astropy_shows_it(name: str, hdu: int) -> None:
    pictures = drawn(DEMO / name)
    with fits.open(DEMO / name, memmap=False) as file:
        values = np.squeeze(np.asarray(file[hdu].data, float))
    levels = grey(pictures.preview)
    seen = np.asarray(pictures.preview.convert("LA"))[::-1, :, 1] > 0
    alike = [np.corrcoef(levels[seen], astropys(each, levels.shape)[seen])[0, 1] for each in turned(values)]
    assert max(alike) > 0.9
    assert levels[seen].std() > 10, "it is not blank"
    assert max(pictures.preview.size) <= 1024
    assert 128 <= max(pictures.thumbnail.size) <= 256
    small = np.asarray(pictures.thumbnail.convert("LA").resize(pictures.preview.size), float)[::-1]
    assert np.corrcoef(small[..., 0][seen], levels[seen])[0, 1] > 0.75


def test_a_large_image_is_reduced_by_means_of_its_values(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    pixels = rng.normal(100, 5, (2100, 3000)).astype(np.float32)
    pixels[700:760, 2000:2060] += 200
    pixels[1500:1800, 100:400] = np.nan
    fits.PrimaryHDU(pixels).writeto(tmp_path / "large.fits")
    with open_fits(tmp_path / "large.fits") as file:
        reduced = images.reduced(file, file.primary, 2, lambda: None)
    expected = block_reduce(pixels.astype(float), 2, np.mean)
    np.testing.assert_allclose(reduced, expected, rtol=1e-6)
    picture = drawn(tmp_path / "large.fits").preview
    assert picture.size == (1024, 717)
    levels = np.asarray(picture)
    assert levels[717 - int(730 / 2100 * 717), int(2030 / 3000 * 1024), 0] == 255, "the bright square, row 0 below"
    assert levels[717 - int(1650 / 2100 * 717), int(250 / 3000 * 1024), 1] == 0, "NaN is transparent"
    assert levels[10, 10, 1] == 255


@pytest.mark.parametrize("kind", ["scaled", "blank", "unsigned", "compressed"])
def test_integers_are_scaled_and_blank_is_no_value(tmp_path: Path, kind: str) -> None:
    stored = np.random.default_rng(1).integers(0, 1000, (60, 70)).astype(np.int16)
    stored[:9, :7] = -32768
    hdu = fits.PrimaryHDU(stored)
    if kind == "unsigned":
        hdu = fits.PrimaryHDU((stored.astype(int) + 32768).astype(np.uint16))
    else:
        hdu.header["BLANK"] = -32768
    if kind == "scaled":
        hdu.header["BSCALE"], hdu.header["BZERO"] = 0.5, 7.0
    path = tmp_path / "integers.fits"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "compressed":
            fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(stored.astype(np.float32), quantize_level=0)]).writeto(
                path
            )
        else:
            hdu.writeto(path)
        with fits.open(path, memmap=False) as file:
            truth = np.asarray(file[-1].data, float)
    with open_fits(path) as file:
        got = images.reduced(file, file.hdus[-1], 1, lambda: None)
    np.testing.assert_allclose(got, truth, rtol=1e-6)


def test_a_mosaic_shows_each_star_where_its_coordinates_say(tmp_path: Path) -> None:
    """Four detectors, one turned by half a circle, with gaps; north up, east to the left."""
    stars = SkyCoord([150.06, 149.95, 150.05, 149.94] * u.deg, [2.05, 2.06, 1.95, 1.94] * u.deg)
    hdus = [fits.PrimaryHDU()]
    for number, (east, north) in enumerate([(1, 1), (-1, 1), (1, -1), (-1, -1)]):
        wcs = WCS(naxis=2)
        wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [150.0, 2.0]
        turn = -1 if number == 2 else 1
        wcs.wcs.cdelt = [-2.5e-4 * turn, 2.5e-4 * turn]
        wcs.wcs.crpix = [200 + turn * east * 220, 200 - turn * north * 220]
        rows, columns = np.indices((400, 400))
        pixels = np.random.default_rng(number).normal(0, 1, (400, 400))
        for x, y in zip(*wcs.world_to_pixel(stars), strict=True):
            pixels += 500 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 18)
        hdus.append(fits.ImageHDU(pixels.astype(np.float32), wcs.to_header(), name=f"CCD{number}"))
    fits.HDUList(hdus).writeto(tmp_path / "mosaic.fits")
    with open_fits(tmp_path / "mosaic.fits") as file:
        sight = images.image(file, lambda: None)
    assert sight is not None
    values = sight.values
    # The field is 840 pixels of 2.5e-4 degrees wide, its middle (150, 2); east to the left.
    rows, columns = values.shape
    pitch = 840 * 2.5e-4 / columns
    for star in stars:
        x = columns / 2 - (star.ra.deg - 150) * np.cos(np.radians(2)) / pitch
        y = rows / 2 + (star.dec.deg - 2) / pitch
        around = values[int(y) - 6 : int(y) + 7, int(x) - 6 : int(x) + 7]
        top = np.unravel_index(np.nanargmax(around), around.shape)
        assert np.nanmax(around) > 200
        assert max(abs(top[0] - 6), abs(top[1] - 6)) <= 3
    assert np.isnan(values[rows // 2, columns // 2]), "the gap stays a gap"
    assert np.isfinite(values).mean() > 0.85


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("angle", [0, 20, 90, 135, 170, 200, 270, 314])
@pytest.mark.parametrize("axes", [("RA---TAN", "DEC--TAN"), ("DEC--TAN", "RA---TAN"), ("GLON-TAN", "GLAT-TAN")])
def test_north_is_up_and_east_left_to_the_nearest_quarter_and_the_rest_is_told(
    tmp_path: Path, axes: tuple[str, str], angle: float, mirrored: bool
) -> None:
    """Two stars, north and east of the middle, found again in the picture where its arms point."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crpix = list(axes), [61.0, 61.0]
    wcs.wcs.crval = [40.0, 150.0] if axes[0].startswith("DEC") else [150.0, 40.0]
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    wcs.wcs.cd = 1e-3 * np.array([[-c, s], [s, c]]) @ np.diag([-1 if mirrored else 1, 1])
    places = [(150.0, 40.04), (150.0 + 0.04 / np.cos(np.radians(40)), 40.0)]
    pixels = np.zeros((121, 121), np.float32)
    for value, (lon, lat) in zip((5, 9), places, strict=True):
        column, row = wcs.wcs_world2pix([(lat, lon) if axes[0].startswith("DEC") else (lon, lat)], 0)[0].round()
        pixels[int(row), int(column)] = value
    fits.PrimaryHDU(pixels, wcs.to_header()).writeto(tmp_path / "two.fits")
    with open_fits(tmp_path / "two.fits") as file:
        sight = images.image(file, lambda: None)
    assert sight is not None and sight.compass is not None
    for value, told, ideal in zip((5, 9), (sight.compass.north, sight.compass.east), (0, 90), strict=True):
        row, column = (int(place[0]) - 60 for place in np.nonzero(sight.values == value))
        seen = np.degrees(np.arctan2(-column, row))
        assert abs((seen - told + 180) % 360 - 180) < 2
        assert abs((told - ideal + 180) % 360 - 180) < 45.1
    assert sight.compass.letters == (("b", "l") if axes[0].startswith("GLON") else ("N", "E"))


def test_arms_are_drawn_on_previews_that_are_large_enough_and_on_no_thumbnail() -> None:
    values = np.random.default_rng(1).normal(size=(600, 600))
    with_arms, without = image_pictures(Sight(values, Compass())), image_pictures(Sight(values))
    changed = np.asarray(with_arms.preview).astype(int) != np.asarray(without.preview)
    rows, columns = np.nonzero(changed)
    assert changed.any() and rows.min() > 600 - 110 and columns.max() < 110
    assert (np.asarray(with_arms.thumbnail) == np.asarray(without.thumbnail)).all()
    small = Image.new("LA", (100, 300))
    assert Compass().drawn_on(small) is small


def test_a_nebula_that_fills_the_image_is_not_burnt_out() -> None:
    for name in ("high-energy/puppisA_erosita.fits.gz", "high-energy/cygnusloop_galex.fits.gz"):
        levels = grey(drawn(DEMO / name).thumbnail)
        assert np.mean(levels >= 254) < 0.02
        assert levels.std() > 30


def test_spectra_over_decades_have_a_logarithmic_axis_and_dark_fibres_are_passed_over() -> None:
    assert spans_decades(np.array([1e3, 3e5])) and not spans_decades(np.array([3e3, 1e4]))
    assert not spans_decades(np.array([-250.0, 380.0])) and not spans_decades(np.array([np.nan]))
    trace = Trace(np.geomspace(1e3, 3e5, 50), np.ones(50), "Wavelength (Å)", "Flux")
    assert plot(trace, (820, 400)).size == (820, 400) and sparkline(trace, (256, 160)).size == (256, 160)
    with open_fits(shared_data("spectra/desi_coadd_sv3_26065.fits.gz")) as file:
        fibre = spectra.spectrum(file)
    assert fibre is not None and np.nanstd(fibre.y) > 0
    assert "fibre 3 of 5" in fibre.title


def test_detectors_without_coordinates_show_the_largest(tmp_path: Path) -> None:
    sizes = (50, 80, 60)
    extensions = [fits.ImageHDU(np.full((n, n), n, np.float32) + np.eye(n, dtype=np.float32)) for n in sizes]
    fits.HDUList([fits.PrimaryHDU(), *extensions]).writeto(tmp_path / "three.fits")
    with open_fits(tmp_path / "three.fits") as file:
        sight = images.image(file, lambda: None)
    assert sight is not None
    values = sight.values
    assert values.shape == (80, 80)


def test_two_far_fields_are_no_mosaic(tmp_path: Path) -> None:
    hdus = [fits.PrimaryHDU()]
    for ra, size in ((10.0, 40), (14.0, 50)):
        wcs = WCS(naxis=2)
        wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [ra, 0.0]
        wcs.wcs.cdelt, wcs.wcs.crpix = [-1e-4, 1e-4], [20.0, 20.0]
        hdus.append(fits.ImageHDU(np.ones((size, size), np.float32), wcs.to_header()))
    fits.HDUList(hdus).writeto(tmp_path / "far.fits")
    with open_fits(tmp_path / "far.fits") as file:
        sight = images.image(file, lambda: None)
    assert sight is not None
    values = sight.values
    assert values.shape == (50, 50)


@pytest.mark.parametrize(("name", "label"), SPECTRA)
def test_a_spectrum_is_a_labelled_plot_in_the_files_own_units(name: str, label: str) -> None:
    with open_fits(DEMO / name) as file:
        trace = spectra.spectrum(file)
        pictures = draw(file)
    assert trace is not None and pictures is not None
    assert trace.x_label == label
    assert trace.y_label.startswith("Flux")
    assert trace.title
    assert pictures.preview.size == (1024, 600)
    assert pictures.thumbnail.size == (256, 160)
    for picture in (pictures.preview, pictures.thumbnail):
        blue = np.asarray(picture).astype(int)
        line = (blue[..., 2] - blue[..., 0]) > 40
        assert line.any(axis=0).mean() > 0.7, "the line runs from left to right"


def test_samples_of_a_spectrum_are_those_of_the_file() -> None:
    """Against the columns and the header as astropy reads them."""
    with open_fits(DEMO / "spectra/xsl_X0360_xshooter_uvb.fits") as file:
        trace = spectra.spectrum(file)
    with fits.open(DEMO / "spectra/xsl_X0360_xshooter_uvb.fits") as file:
        rows = file[1].data
        assert trace is not None
        np.testing.assert_array_equal(trace.x, rows["WAVE"].astype(float))
        np.testing.assert_array_equal(trace.y, rows["FLUX"].astype(float))
    with open_fits(DEMO / "spectra/efosc2_sn2010f_gr11.fits") as file:
        trace = spectra.spectrum(file)
    with fits.open(DEMO / "spectra/efosc2_sn2010f_gr11.fits") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        axis = WCS(file[0].header).sub([1]).pixel_to_world_values(np.arange(len(trace.x)))  # type: ignore[union-attr]
        assert trace is not None
        np.testing.assert_allclose(trace.x, np.ravel(axis), rtol=1e-7)


@pytest.mark.parametrize("name", ["radio/m17sw_alma_unittest.fits", "radio/sdc335_alma_perplanebeam.fits"])
def test_a_cube_is_its_mean_image_over_its_mean_spectrum(name: str) -> None:
    with fits.open(DEMO / name) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = np.asarray(file[0].data, float)
        mean_image, mean_spectrum = np.nanmean(data, axis=0), np.nanmean(data, axis=(1, 2))
        frequency = WCS(file[0].header).sub([3]).pixel_to_world_values(np.arange(len(data)))
    with open_fits(DEMO / name) as file:
        hdu = images.cube_hdu(file)
        assert hdu is not None
        values, means, axis = images.collapsed(file, hdu, lambda: None)
        trace = spectra.mean_spectrum(file, hdu, means, axis)
        pictures = draw(file)
    np.testing.assert_allclose(values, mean_image, rtol=1e-5)
    np.testing.assert_allclose(means, mean_spectrum, rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(trace.x, np.ravel(frequency) / 1e9, rtol=1e-9)
    assert trace.x_label == "Frequency (GHz)"
    assert pictures is not None
    assert pictures.preview.mode == "RGB"
    assert max(pictures.preview.size) <= 1024
    assert np.asarray(pictures.thumbnail.convert("L"), float).std() > 10


@pytest.mark.parametrize(
    "name", ["catalogues/fermi_extended_14yr.fits", "vlti/PIONI.2015-11-27T03:57:11.870_Achernar.fits"]
)
def test_what_is_nothing_to_look_at_is_not_drawn(name: str) -> None:
    assert draw_file(DEMO / name) is None


def test_an_image_without_a_value_is_not_drawn(tmp_path: Path) -> None:
    fits.PrimaryHDU(np.full((20, 30), np.nan, np.float32)).writeto(tmp_path / "nothing.fits")
    assert draw_file(tmp_path / "nothing.fits") is None


def test_what_is_no_fits_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.fits").write_text("<html>")
    with pytest.raises(RefusedError):
        draw_file(tmp_path / "page.fits")


def test_drawing_stops_when_it_is_told_to() -> None:
    class Stopped(Exception):
        pass

    def stop() -> None:
        raise Stopped

    with pytest.raises(Stopped):
        draw_file(DEMO / "optical-infrared/m13_dss_rice.fits", check=stop)


@pytest.mark.parametrize("shape", [(1, 2), (3, 5000), (5000, 3), (1030, 1030), (37, 900)])
def test_no_shape_is_drawn_larger_than_allowed_nor_as_a_hairline(shape: tuple[int, int]) -> None:
    pictures = image_pictures(Sight(np.random.default_rng(3).normal(size=shape)))
    for picture, most in ((pictures.preview, 1024), (pictures.thumbnail, 256)):
        assert max(picture.size) <= most
        assert max(picture.size) / min(picture.size) <= 8.3


def test_a_constant_image_is_of_one_grey_and_infinities_have_no_value() -> None:
    values = np.full((40, 40), 3.0)
    values[0, 0] = np.inf
    levels = np.asarray(image_pictures(Sight(values)).thumbnail)
    assert set(np.unique(levels[..., 0][levels[..., 1] == 255])) == {128}
    assert (levels[..., 1] == 0).any()


def test_thinning_keeps_every_spike() -> None:
    x, y = np.arange(100_000.0), np.zeros(100_000)
    y[[12_345, 77_777]] = 5.0, -7.0
    y[50_000:51_000] = np.nan
    thin_x, thin_y = thinned(x, y, bins=500)
    assert len(thin_x) <= 1_000
    assert set(thin_x[np.nan_to_num(thin_y) != 0]) == {12_345.0, 77_777.0}
    assert np.isnan(thin_y).any()
    assert (np.diff(thin_x) >= 0).all()


def test_lines_in_emission_are_shown_whole_and_noise_at_the_ends_is_not() -> None:
    rng = np.random.default_rng(2)
    y = rng.normal(1.0, 0.05, 4000)
    y[2000:2010] = 50.0
    assert heights(y)[1] >= 40.0
    y[:60] = rng.normal(0, 1000, 60)
    assert heights(y)[1] < 10.0


def test_text_of_headers_is_drawn_as_it_is_written() -> None:
    """A dollar, a broken formula, 300 letters: none of them is an error or moves the plot."""
    trace = Trace(np.arange(5.0), np.arange(5.0), "x $\\frac{", "flux $ per $_", "A$" * 150)
    assert plot(trace, (820, 400)).size == (820, 400)
    assert sparkline(trace, (256, 160)).size == (256, 160)
