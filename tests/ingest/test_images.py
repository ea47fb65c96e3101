"""Images of many telescopes are described to what their headers and astropy say of them."""

import json
import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS

from archive.vo.regions import Circle, Polygon
from ingest.describe import RefusedError
from tests.ingest.portraits import described, shared_files
from tests.shared import shared_data

FILES = shared_files("images", "cubes", "allsky")
# Bytes above 0x7F were replaced by U+FFFD before we got it: nothing of the pixels is left.
DAMAGED = "allsky/hips_tile_hpx_Npix418374.fits.gz"
NO_FOOTPRINT = ("saao_ste3_nowcs.fits", "P-GALEXGR6", "P-SDSS9", "STMoc")
FITS_FILES = [name for name in FILES if ".fits" in name and name != DAMAGED]

warnings.filterwarnings("ignore", module="astropy")


@pytest.mark.parametrize("name", [name for name in FILES if name != DAMAGED])
def test_every_shared_image_cube_and_map_is_described(name: str) -> None:
    product = described(name).product
    assert product.file_id
    assert product.obs_collection == "shared"
    assert product.obs_id
    json.dumps(product.header, allow_nan=False)
    if ".fits" not in name:
        assert product.kind in ("preview", "document", "log")
        assert product.s_ra is None and product.s_region is None
        return
    assert product.header[0]["cards"][0][0] in ("SIMPLE", "XTENSION")
    if any(part in name for part in NO_FOOTPRINT):
        assert product.s_region is None
    else:
        assert isinstance(product.s_region, Circle | Polygon)
        assert product.s_fov is not None and product.s_fov > 0


def test_a_file_mangled_by_a_text_tool_is_refused_and_says_so() -> None:
    with pytest.raises(RefusedError, match="converted as if they were text") as refused:
        described(DAMAGED)
    assert {finding.code for finding in refused.value.findings if finding.level == "error"} == {"text_converted"}


# Centres as the README of the shared data gives them, computed there with astropy on the centre of the frame.
CENTRES = {
    "images/47tuc_hst_acs_distortion_lookup.fits.gz": (5.52943, -72.05211),
    "images/a478_hst_wfpc2_sip_mef.fits.gz": (63.35577, 10.46517),
    "images/decam_g_c4d_181104_072440_ooi.fits": (110.31197, 23.91992),
    "images/euma_amateur_sip.fits.gz": (135.02108, 49.60867),
    "images/first_vla_1p4ghz.fits": (162.52981, 30.67692),
    "images/gc_msx_e.fits": (266.40760, -28.93049),
    "images/gp_effelsberg_11cm.fits": (272.19877, -19.85305),
    "images/m13_dss_rice.fits": (250.42260, 36.46020),
    "images/m13_dss_hcompress.fits": (250.42260, 36.46020),
    "images/m1_ukirt_wfcam_k_zpn.fits": (83.63307, 22.01451),
    "images/m51_irsa_dust.fits": (202.49523, 47.23164),
    "images/m67_poss1_dss.fits.gz": (132.83395, 11.81183),
    "images/rho_oph_allwise_w3.fits.gz": (246.18360, -24.82060),
    "images/rxj1713_hess_sfl.fits.gz": (258.38799, -39.76220),
    "images/sdss_g_field.fits.bz2": (313.17019, -5.69335),
    "images/spitzer_irac_galplane.fits.gz": (275.83520, -12.96550),
    "cubes/ngc2903_wsrt_hi.fits.gz": (143.04327, 21.48387),
    "cubes/l1448_13co_fcrao.fits": (51.33377, 30.63417),
    "cubes/muse_abell478_crop16x16x3681.fits": (63.35566, 10.46567),
}


@pytest.mark.parametrize("name", CENTRES)
def test_the_position_is_the_centre_of_the_frame(name: str) -> None:
    product = described(name).product
    here = SkyCoord(product.s_ra, product.s_dec, unit="deg")
    there = SkyCoord(*CENTRES[name], unit="deg")
    assert here.separation(there).arcsec < 0.1 + 0.02 * product.s_pixel_scale


def test_a_mosaic_is_one_footprint_around_all_its_chips() -> None:
    product = described("images/bok90prime_mask_mef.fits.fz").product
    assert isinstance(product.s_region, Polygon)
    assert product.s_ra == pytest.approx(169.475, abs=0.02)
    assert product.s_dec == pytest.approx(57.75, abs=0.02)
    assert product.s_fov == pytest.approx(1.49, abs=0.02)


@pytest.mark.parametrize(
    ("name", "start_utc", "end_utc", "exposure_s"),
    [
        # TIMESYS TT, 64.184 s ahead of UTC in 2000.
        ("g21.5-0.9_chandra_acis.fits", "2000-09-02T01:09:09.816", "2000-09-02T03:50:17.816", 7854.4664748687),
        # DATE-OBS of the old form dd/mm/yy and UT apart, exposure in minutes.
        ("m101_dss.fits", "1955-04-24T06:58:00", "1955-04-24T07:48:00", 3000),
        # MJD-OBS is a whole number; DATE-OBS and UT know the time.
        ("saao_ste3_nowcs.fits", "2013-07-13T00:57:33", "2013-07-13T01:00:03.04", 150.04),
        # Only the day is known: it lasts a day.
        ("first_vla_1p4ghz.fits", "1993-04-17T00:00:00", "1993-04-18T00:00:00", None),
        ("decam_g_c4d_181104_072440_ooi.fits", "2018-11-04T07:24:40.376", "2018-11-04T07:27:00.377", 140.0),
        ("m1_ukirt_wfcam_k_zpn.fits", "2007-10-11T13:12:05.18", "2007-10-11T13:12:16.71", 10.0),
    ],
)
def test_times_are_utc(name: str, start_utc: str, end_utc: str, exposure_s: float | None) -> None:
    product = described(f"images/{name}").product
    assert product.t_min == pytest.approx(Time(start_utc, scale="utc").mjd, abs=0.02 / 86400)
    assert product.t_max == pytest.approx(Time(end_utc, scale="utc").mjd, abs=0.02 / 86400)
    assert product.t_exptime == (None if exposure_s is None else pytest.approx(exposure_s))


def test_sdss_clocks_are_atomic_time() -> None:
    product = described("images/ic3478_sdss_r.fits").product
    header = fits.getheader(shared_data("images", "ic3478_sdss_r.fits"))
    # SDSS's own TAI card: seconds since MJD 0 by the atomic clock, at the start.
    start = Time(header["TAI"] / 86400, format="mjd", scale="tai").utc
    assert abs(product.t_min - start.mjd) * 86400 < 1


@pytest.mark.parametrize(
    ("name", "low", "high", "unit"),
    [
        ("decam_g_c4d_181104_072440_ooi.fits", 396, 548, "nm"),
        ("gc_2mass_k.fits", 2.028, 2.290, "um"),
        ("w5_wise.fits.gz", 7.443, 17.261, "um"),
        ("ngc5419_hst_wfpc2_f555w.fits", 459.0, 581.3, "nm"),
        ("gc_msx_e.fits", 18.2, 25.1, "um"),
        ("first_vla_1p4ghz.fits", 21.79, 22.142, "cm"),
        ("horsehead_dss_uks.fits", 590, 690, "nm"),
        ("g21.5-0.9_chandra_acis.fits", 0.12398, 6.1992, "nm"),
    ],
)
def test_bands_are_vacuum_metres(name: str, low: float, high: float, unit: str) -> None:
    product = described(f"images/{name}").product
    assert product.em_min == pytest.approx((low * u.Unit(unit)).to_value(u.m), rel=1e-3)
    assert product.em_max == pytest.approx((high * u.Unit(unit)).to_value(u.m), rel=1e-3)


def test_an_eso_product_has_the_archives_name_and_its_programme() -> None:
    name = "images/phase3_MUSE_ADP.2016-06-01T14:07:30.134/ADP.2016-06-01T14:07:30.135.fits"
    product = described(name).product
    header = fits.getheader(shared_data(*name.split("/")))
    assert product.file_id == "ADP.2016-06-01T14:07:30.135"
    assert product.kind == "ancillary"
    assert product.obs_id == str(header["HIERARCH ESO OBS ID"])
    assert product.proposal_id == header["HIERARCH ESO OBS PROG ID"]
    assert product.prodcatg == "ANCILLARY.IMAGE.WHITELIGHT"
    assert product.t_min == pytest.approx(header["MJD-OBS"], abs=1e-9)


def test_a_product_that_inherited_the_name_of_its_raw_frame_is_not_that_frame() -> None:
    description = described("cubes/muse_abell478_crop16x16x3681.fits")
    assert description.product.file_id == "shared/cubes/muse_abell478_crop16x16x3681.fits"
    assert "arcfile_inherited" in {finding.code for finding in description.findings}


@pytest.mark.parametrize(
    "name", ["rosat_xrb_allsky_ait.fits", "wham_halpha_int_car.fits.gz", "wmap_V_7yr_nside32.fits"]
)
def test_maps_of_the_whole_sky_are_a_circle_of_180_degrees(name: str) -> None:
    region = described(f"allsky/{name}").product.s_region
    assert isinstance(region, Circle)
    assert region.radius == 180


def test_every_fact_says_where_it_comes_from() -> None:
    description = described("images/decam_r_c4d_181215_051332_ooi.fits")
    sources = {fact.field: fact.source for fact in description.facts}
    assert sources["t_min"] == "[0] MJD-OBS"
    assert sources["t_exptime"] == "[0] EXPTIME"
    assert sources["filter"] == "[0] FILTER"
    assert sources["s_region"] == "WCS of [1] S9"
    assert all(fact.source for fact in description.facts)


@pytest.mark.parametrize("name", [name for name in FITS_FILES if name.startswith("images/")])
def test_pixel_scales_agree_with_astropy(name: str) -> None:
    product = described(name).product
    if product.s_pixel_scale is None or "bok90prime_mask" in name:
        return
    with fits.open(shared_data(*name.split("/"))) as hdus, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hdu = next(h for h in hdus if h.is_image and h.shape and len(h.shape) >= 2)
        header = hdu.header.copy()
        wcs = WCS(header, hdus).celestial
        here = SkyCoord(product.s_ra, product.s_dec, unit="deg")
        x, y = wcs.world_to_pixel(here)
        step = [wcs.pixel_to_world(x + dx, y + dy) for dx, dy in ((0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5))]
        across, up = step[0].separation(step[1]).arcsec, step[2].separation(step[3]).arcsec
    assert product.s_pixel_scale == pytest.approx(np.sqrt(across * up), rel=0.01)
