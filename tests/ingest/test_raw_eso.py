"""ESO's frames: what is on the sky and what is not, exposures, setups, products of calibrations."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS

from archive.vo.regions import Polygon
from tests.ingest.described import described
from tests.shared import shared_data

RUN = sorted(shared_data("raw_eso", "efosc2_108.22F6.001").iterdir())


@pytest.mark.parametrize("path", RUN, ids=lambda path: path.name)
def test_every_frame_of_a_real_run_keeps_its_name_run_block_and_times(path) -> None:  # type: ignore[no-untyped-def]
    product = described(path).product
    header = fits.getheader(path)
    assert product.file_id == header["ARCFILE"].removesuffix(".fits")
    assert (product.kind, product.calib_level, product.rights) == ("raw", 1, "public")
    assert (product.proposal_id, product.ob_id) == ("108.22F6.001", header["ESO OBS ID"])
    assert product.obs_id == str(header["ESO OBS ID"])
    assert (product.dp_cat, product.dp_type, product.dp_tech) == tuple(
        header[f"ESO DPR {key}"] for key in ("CATG", "TYPE", "TECH")
    )
    assert (product.tpl_id, product.tpl_expno, product.tpl_nexp) == tuple(
        header[f"ESO TPL {key}"] for key in ("ID", "EXPNO", "NEXP")
    )
    assert product.t_min == pytest.approx(header["MJD-OBS"], abs=1e-9)
    assert product.t_exptime == header["EXPTIME"]
    assert product.t_max == pytest.approx(header["MJD-OBS"] + header["EXPTIME"] / 86_400, abs=1e-8)
    if header["ESO DPR CATG"] == "CALIB":
        assert (product.s_ra, product.s_region) == (None, None)
    else:
        pointing = SkyCoord(header["RA"], header["DEC"], unit="deg")
        assert pointing.separation(SkyCoord(product.s_ra, product.s_dec, unit="deg")).arcsec < 60


def test_the_footprint_of_a_science_image_is_that_of_its_wcs_and_of_a_spectrum_there_is_none() -> None:
    image = next(path for path in RUN if "28T04:54:24" in path.name)
    region = described(image).product.s_region
    assert isinstance(region, Polygon)
    with fits.open(image) as hdus:
        corners = WCS(hdus[0].header).calc_footprint(center=False, axes=(1030, 1030))
    ours = SkyCoord(np.array(region.vertices), unit="deg")
    for corner in SkyCoord(corners, unit="deg"):
        assert ours.separation(corner).arcsec.min() < 1
    spectrum = next(path for path in RUN if "27T02:31:32" in path.name)
    assert described(spectrum).product.s_region is None


def test_the_setup_by_which_calibrations_are_matched_is_kept() -> None:
    product = described(next(path for path in RUN if "27T02:31:32" in path.name)).product
    assert product.setup["INS GRIS1 NAME"] == "Gr#3"
    assert product.setup["INS SLIT1 NAME"] == "slit#1.2"
    assert (product.setup["DET WIN1 BINX"], product.setup["DET READ SPEED"]) == (2, "fastL")
    # EFOSC2 manual: Gr#3 covers 3050 to 6100 Angstrom.
    assert (product.em_min, product.em_max) == pytest.approx((305e-9, 610e-9))


def test_an_infrared_frame_is_exposed_for_all_its_integrations() -> None:
    product = described(shared_data("raw_eso", "ISAAC.2006-04-13T06:32:38.944.fits.gz")).product
    assert product.t_exptime == 100.0  # 25 times 4 s; EXPTIME says 4
    assert product.filter == "NB_2.25"
    assert product.t_max == pytest.approx(53838.27267296 + 100 / 86_400)


def test_a_frame_of_1993_has_its_times_from_seconds_of_the_day() -> None:
    product = described(shared_data("raw_eso", "irac2a_1993.fits")).product
    midnight = Time("1993-05-13T00:00:00", scale="utc").mjd
    assert product.t_min == pytest.approx(midnight + 69932 / 86_400)
    assert product.t_max == pytest.approx(midnight + 70121 / 86_400)
    assert product.kind == "raw"


@pytest.mark.parametrize(
    "name",
    ["HARPS.2003-12-12T21:47:59.366_wave_A.fits.gz", "fors1_STD_2005_qc_table.fits", "uves_order_table_2000.fits"],
)
def test_products_of_calibrations_are_master_calibrations(name: str) -> None:
    product = described(shared_data("raw_eso", name)).product
    assert (product.kind, product.dp_cat) == ("mcalib", "CALIB")
    assert product.file_id == f"tests/{name}"


def test_quality_parameters_and_progenitors_come_with_a_pipelines_product() -> None:
    product = described(shared_data("raw_eso", "fors1_STD_2005_qc_table.fits")).product
    assert product.setup["qc"]["QC ZPOINT"] == pytest.approx(28.06)
    assert product.progenitors[:2] == ("FORS1.2005-01-04T00:20:07.313", "F1_MBIA_050103A_fhi_1x1.fits")


def test_a_lamps_frame_has_no_place_on_the_sky_and_a_standard_star_has() -> None:
    assert described(shared_data("raw_eso", "emmi_hear_gr2_2004.fits.gz")).product.s_ra is None
    star = described(shared_data("raw_eso", "fors1_STD_2005_qc_table.fits")).product
    assert (star.s_ra, star.s_dec) == pytest.approx((38.41583, 5.31047), abs=1e-4)


def test_raw_interferograms_are_visibilities_at_their_target() -> None:
    product = described(shared_data("raw_eso", "MATIS.2019-08-28T23:28:25.205.fits")).product
    assert (product.kind, product.dataproduct_type, product.proposal_id) == ("raw", "visibility", "0103.D-0153(H)")
    assert (product.s_ra, product.s_dec) == pytest.approx((242.879958, -18.64079), abs=1e-4)


def test_at_most_one_file_of_the_three_folders_is_refused() -> None:
    from ingest.describe import RefusedError

    refused = []
    for folder in ("spectra", "raw_eso", "catalogues"):
        for path in sorted(shared_data(folder).rglob("*")):
            if path.is_file():
                try:
                    described(path)
                except RefusedError as error:
                    refused.append((path.name, str(error)))
    # The text of a header is no FITS file, though it begins like one.
    assert [name for name, _ in refused] in ([], ["MUSE_ABELL478_primary_header.hdr.txt"]), refused
