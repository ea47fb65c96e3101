"""Spectra of many instruments, event lists and light curves: wavelengths, places and times held against astropy."""

from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st

from archive.vo.regions import Circle
from ingest.describe.spectral import air_to_vacuum
from ingest.describe.wavelengths import velocity_wavelengths, wavelengths
from tests.ingest.described import described
from tests.shared import shared_data

A = 1e-10
# First and last wavelength as the README of the shared data tells them (metres), and the medium they are in.
RANGES = [
    ("18sco_hst_stis.fits", 1710.18 * A, 318999 * A, "vacuum"),
    ("ADP.2016-07-15T08:22:40.678_XQ100_J2349-3712_NIR.fits.gz", 981.751e-9, 1823.5e-9, "vacuum"),
    ("HARPS.2010-09-18T23:42:36.178_s1d_A.fits.gz", 3781.19 * A, 6912.32 * A, "air"),
    ("a1689_keck_lris.fits", 6550 * A, 9120 * A, "vacuum"),
    ("efosc2_sn2010f_gr11.fits", 3356.53 * A, 7464.6 * A, "air"),
    ("fors1_sn1979c_sky.fits", 3634.93 * A, 6053.4 * A, "air"),
    ("fors2_sn2007uy.fits", 3755.33 * A, 8880.23 * A, "air"),
    ("hd122563.fits.gz", 3400.03 * A, 9164.01 * A, "vacuum"),
    ("hd140283_magellan_mike.fits", 3351.59 * A, 9404.38 * A, "vacuum"),
    ("ngc4151_hst.fits", 917.186 * A, 1005.47 * A, "vacuum"),
    ("sdss_ngc3073_dr18.fits", 10**3.5793 * A, 10**3.964 * A, "vacuum"),
    ("sdss_qso_J2202+1236.fits", 3553.86 * A, 10356.2 * A, "vacuum"),
    ("sdss_spSpec_2003.fits", 3798.39 * A, 9221.47 * A, "vacuum"),
    ("sun_ganymede_harps_s1d.fits", 3783.14 * A, 6913.32 * A, "air"),
    ("um184_nF.fits", 3042.35 * A, 10271.9 * A, "vacuum"),
    ("uves_red_science_2001.fits", 3281.08 * A, 4562.46 * A, "air"),
    ("wasp109_uves_2017.fits.gz", 4727.14 * A, 6836.05 * A, "vacuum"),
    ("xsl_X0360_xshooter_uvb.fits", 298.904e-9, 555.989e-9, "vacuum"),
]


def vacuum_by_wcslib(metres: float) -> float:
    """wcslib's own conversion of an air wavelength."""
    wcs = WCS(naxis=1)
    wcs.wcs.ctype, wcs.wcs.cunit = ["AWAV"], ["m"]
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = [metres], [1.0], [1e-12]
    wcs.wcs.set()
    wcs.wcs.sptr("WAVE-A2W")
    return float(wcs.wcs.crval[0])


@pytest.mark.parametrize(("name", "low", "high", "medium"), RANGES)
def test_the_wavelengths_are_those_of_the_readme_in_vacuum(name: str, low: float, high: float, medium: str) -> None:
    product = described(shared_data("spectra", name)).product
    if medium == "air":
        low, high = vacuum_by_wcslib(low), vacuum_by_wcslib(high)
    assert product.dataproduct_type == "spectrum"
    assert product.em_min == pytest.approx(low, rel=2e-5)
    assert product.em_max == pytest.approx(high, rel=2e-5)
    assert product.em_xel is not None
    assert product.em_xel > 100


@given(st.floats(200e-9, 5e-6))
def test_air_wavelengths_become_those_of_wcslib_to_ten_metres_a_second(metres: float) -> None:
    assert float(air_to_vacuum(np.array([metres]))[0]) == pytest.approx(vacuum_by_wcslib(metres), rel=3e-8)


@given(st.floats(0.01, 1e4), st.sampled_from([u.keV, u.GHz, u.nm, u.AA, u.um, 1 / u.cm]))
def test_any_spectral_unit_becomes_metres_as_astropy_says(value: float, unit: u.UnitBase) -> None:
    expected = (value * unit).to_value(u.m, u.spectral())
    assert float(wavelengths([value], unit)[0]) == pytest.approx(expected, rel=1e-12)


@given(st.floats(-0.3, 0.3), st.sampled_from(["radio", "optical", "relativistic"]))
def test_velocities_become_wavelengths_as_astropy_says(beta: float, how: str) -> None:
    rest, velocity = 0.21106 * u.m, beta * 299_792.458 * u.km / u.s
    rule = {"radio": u.doppler_radio, "optical": u.doppler_optical, "relativistic": u.doppler_relativistic}[how]
    expected = velocity.to_value(u.m, rule(rest))
    found = velocity_wavelengths([velocity.value], velocity.unit, rest.value, how)  # type: ignore[arg-type]
    assert float(found[0]) == pytest.approx(expected, rel=1e-10)


def test_a_phase_3_spectrum_has_everything_its_standard_promises() -> None:
    product = described(shared_data("spectra", RANGES[1][0])).product
    assert product.file_id == "ADP.2016-07-15T08:22:40.678"
    assert (product.target_name, product.proposal_id, product.instrument_name) == \
        ("BR J2349-3712", "189.A-0424(B)", "XSHOOTER")  # fmt: skip
    assert (product.t_min, product.t_exptime) == (56215.01080095, 3600.0)
    assert product.t_max == pytest.approx(56215.05353924666)
    assert (product.em_res_power, product.em_xel) == (5300.0, 9771)
    assert product.snr == pytest.approx(21.667, abs=1e-3)
    assert product.progenitors == (
        "XSHOO.2012-10-15T00:15:33.202", "XSHOO.2012-10-15T00:31:05.173", "XSHOO.2012-10-15T00:46:35.149",
        "XSHOO.2012-10-15T01:02:05.791",
    )  # fmt: skip
    assert isinstance(product.s_region, Circle)
    assert product.s_region.radius == pytest.approx(0.000125)
    assert product.o_unit == "erg.nm**-1.s**-1.cm**-2"


@pytest.mark.parametrize(
    ("name", "ra", "dec"),
    [
        ("a1689_keck_lris.fits", "13h11m33.59s", "-1d20m05.5s"),
        ("hd140283_magellan_mike.fits", "15h43m02.3s", "-10d56m03.0s"),
        ("vega_apo_echelle_multispec.fits", "18h36m56.30s", "38d47m01.0s"),
        ("um184_nF.fits", "23h50m57.6s", "-0d52m00.4s"),
        ("alfalfa_hi_sp.fits", "2.0037095d", "14.839847d"),
        ("HARPS.2003-12-13T06:19:48.371_e2ds_A.fits.gz", "111.852458d", "5.22063d"),
        ("sdss_spSpec_2003.fits", "149.46417d", "10.976277d"),
        ("sdss_ngc3073_dr18.fits", "150.21698d", "55.618834d"),
        ("gbt_3c286_sdfits.fits", "202.78352781d", "30.51328478d"),
        ("3c273_chandra_pha.fits", "187.277917d", "2.052389d"),
    ],
)
def test_the_place_is_the_objects_in_degrees(name: str, ra: str, dec: str) -> None:
    product = described(shared_data("spectra", name)).product
    told = SkyCoord(ra, dec)
    # FK5 and ICRS differ by 0.02 arcsec.
    assert told.separation(SkyCoord(product.s_ra, product.s_dec, unit="deg")).arcsec < 0.1


def test_a_spectrum_in_galactic_coordinates_is_placed_in_icrs() -> None:
    product = described(shared_data("spectra", "gbt_nh3_11_G032.751.fits")).product
    told = SkyCoord(l=32.751255, b=-0.07118302, unit="deg", frame="galactic")
    assert told.separation(SkyCoord(product.s_ra, product.s_dec, unit="deg")).arcsec < 0.01


def test_a_radio_velocity_axis_becomes_wavelengths_of_its_line() -> None:
    product = described(shared_data("spectra", "gbt_nh3_11_G032.751.fits")).product
    velocities = (67.826813 + (np.array([1, 8192]) - 4096) * -0.077232678) * u.km / u.s
    expected = velocities.to_value(u.m, u.doppler_radio(23.6945 * u.GHz))
    assert [product.em_min, product.em_max] == pytest.approx(sorted(expected), rel=1e-9)


def test_a_velocity_axis_without_a_line_has_no_wavelengths_and_says_why(tmp_path: Path) -> None:
    with fits.open(shared_data("spectra", "n2hp_vla1623_iram.fits")) as hdus:
        header, data = hdus[0].header.copy(), hdus[0].data
        del header["RESTFREQ"]
        fits.PrimaryHDU(data, header).writeto(tmp_path / "lost.fits", output_verify="silentfix")
    description = described(tmp_path / "lost.fits")
    assert description.product.em_min is None
    assert any(finding.code == "spectral_range_unknown" and "RESTFRQ" in finding.what
               for finding in description.findings)  # fmt: skip


def test_the_orders_of_an_echelle_are_those_that_the_pipelines_polynomials_say() -> None:
    path = shared_data("spectra", "HARPS.2003-12-13T06:19:48.371_e2ds_A.fits.gz")
    product = described(path).product
    header = fits.getheader(path)
    terms = [header[f"ESO DRS CAL TH COEFF LL{index}"] for index in range(4)]
    first = sum(term * 0.0**power for power, term in enumerate(terms)) * A
    last = sum(header[f"ESO DRS CAL TH COEFF LL{71 * 4 + power}"] * 4095.0**power for power in range(4)) * A
    assert product.em_min == pytest.approx(vacuum_by_wcslib(first), rel=3e-8)
    assert product.em_max == pytest.approx(vacuum_by_wcslib(last), rel=3e-8)
    assert product.em_xel == 72 * 4096


def test_multispec_orders_of_iraf_cover_what_their_first_and_last_say() -> None:
    product = described(shared_data("spectra", "vega_apo_echelle_multispec.fits")).product
    assert product.em_max == pytest.approx((10025.712754933 + 0.12939426408953 * 2047) * A, rel=1e-9)
    assert product.em_min is not None
    assert 3000 * A < product.em_min < 3600 * A
    assert product.em_xel == 107 * 2048


def test_every_order_and_detector_of_crires_counts() -> None:
    path = shared_data("spectra", "crires_cd-40_9712_220325_sgc.fits")
    product = described(path).product
    with fits.open(path) as hdus:
        all_waves = np.concatenate([
            np.asarray(hdu.data[name], float) for hdu in hdus[1:] for name in hdu.columns.names if name.endswith("_WL")
        ])  # fmt: skip
    assert product.em_min == pytest.approx(np.nanmin(all_waves) * 1e-9)
    assert product.em_max == pytest.approx(np.nanmax(all_waves) * 1e-9)


def test_desi_fibres_lie_in_the_circle_and_the_exposures_in_the_times() -> None:
    path = shared_data("spectra", "desi_coadd_sv3_26065.fits.gz")
    product = described(path).product
    assert isinstance(product.s_region, Circle)
    with fits.open(path) as hdus:
        fibres = SkyCoord(hdus["FIBERMAP"].data["TARGET_RA"], hdus["FIBERMAP"].data["TARGET_DEC"], unit="deg")
        waves = [hdus[f"{arm}_WAVELENGTH"].data for arm in "BRZ"]
        exposures = hdus["EXP_FIBERMAP"].data
        begin = exposures["MJD"].min()
        end = (exposures["MJD"] + exposures["EXPTIME"] / 86400).max()
    centre = SkyCoord(product.s_region.ra, product.s_region.dec, unit="deg")
    assert fibres.separation(centre).deg.max() < product.s_region.radius
    assert product.em_min == pytest.approx(min(wave.min() for wave in waves) * A)
    assert product.em_max == pytest.approx(max(wave.max() for wave in waves) * A)
    assert (product.t_min, product.t_max) == pytest.approx((begin, end), abs=1e-9)


def test_sdss_exposures_are_counted_in_tai() -> None:
    path = shared_data("spectra", "sdss_ngc3073_dr18.fits")
    with fits.open(path) as hdus:
        begins = [hdu.header["TAI-BEG"] for hdu in hdus if "TAI-BEG" in hdu.header]
    expected = Time(min(begins) / 86_400, format="mjd", scale="tai").utc.mjd
    assert described(path).product.t_min == pytest.approx(expected, abs=1e-8)


def test_a_single_dish_table_tells_frequency_polarisation_and_times() -> None:
    product = described(shared_data("spectra", "gbt_3c286_sdfits.fits")).product
    assert product.em_max == pytest.approx(299_792_458.0 / (839918721.4697266 + (1 - 8193) * 762.939453125))
    assert (product.pol_states, product.pol_xel, product.em_xel) == ("/I/", 1, 16384)
    assert product.t_min == pytest.approx(Time("2012-01-21T06:02:19", scale="utc").mjd)
    assert product.proposal_id == "AGBT12A_134_01"


def test_an_effective_area_is_no_spectrum_but_has_its_energies() -> None:
    product = described(shared_data("spectra", "3c273_chandra_arf.fits")).product
    assert (product.kind, product.dataproduct_type, product.dataproduct_subtype) == ("ancillary", None, "arf")
    with fits.open(shared_data("spectra", "3c273_chandra_arf.fits")) as hdus:
        low = (hdus[1].data["ENERG_HI"].max() * u.keV).to_value(u.m, u.spectral())
    assert product.em_min == pytest.approx(low, rel=1e-6)


def test_channels_of_pulse_height_say_that_their_energies_lie_elsewhere() -> None:
    description = described(shared_data("spectra", "xmm_mnlup_emos1_bg.fits"))
    assert "channels_without_energies" in {finding.code for finding in description.findings}
    assert description.product.em_ucd == "em.energy"
    assert description.product.t_exptime == pytest.approx(42589.374)


def test_a_spectrum_extracted_from_a_raw_frame_is_another_file_than_the_frame() -> None:
    product = described(shared_data("spectra", "efosc2_sn2010f_gr11.fits")).product
    assert product.file_id == "tests/efosc2_sn2010f_gr11.fits"
    assert product.progenitors == ("EFOSC.2010-02-18T07:52:49.985",)
    assert (product.kind, product.calib_level) == ("product", 2)


def test_an_image_with_a_vector_beside_it_is_no_spectrum() -> None:
    product = described(shared_data("images", "47tuc_hst_acs_distortion_lookup.fits.gz")).product
    assert product.dataproduct_type == "image"


def test_gamma_ray_events_are_round_the_axis_and_have_energies_and_times() -> None:
    path = shared_data("catalogues", "hess_dl3_dr1", "hess_dl3_dr1_obs_id_023523.fits.gz")
    product = described(path).product
    assert (product.dataproduct_type, product.target_name, product.obs_id) == ("event", "Crab Nebula", "23523")
    axis = SkyCoord(83.633333333333, 21.514444444444, unit="deg")
    assert axis.separation(SkyCoord(product.s_ra, product.s_dec, unit="deg")).arcsec < 0.1
    with fits.open(path) as hdus:
        top = (hdus["EVENTS"].data["ENERGY"].max() * u.TeV).to_value(u.m, u.spectral())
    assert product.em_min == pytest.approx(top, rel=1e-6)
    # The header's own DATE-OBS and TIME-OBS are in its TT.
    assert product.t_min == pytest.approx(Time("2004-12-04T22:08:10.184", scale="tt").utc.mjd, abs=2e-5)
    assert product.t_exptime == pytest.approx(1581.737, abs=1e-3)


def test_a_light_curve_is_a_time_series_of_days_not_seconds() -> None:
    product = described(shared_data("catalogues", "lightcurve_tess_tic25155310.fits.gz")).product
    assert (product.dataproduct_type, product.t_xel) == ("timeseries", 20076)
    assert product.t_exptime == pytest.approx(22.083701445106 * 86_400)
    assert product.t_min == pytest.approx(Time("2018-07-25T19:01:42.709", scale="utc").mjd, abs=1e-3)
    assert product.t_resolution == pytest.approx(120, abs=1)
