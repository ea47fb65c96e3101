"""OIFITS of the VLTI's instruments: position, band and times held against the tables as astropy reads them."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits

from tests.ingest.described import described
from tests.shared import shared_data

FILES = {
    "AMBER_DelSco_2010-04-15.fits": "AMBER",
    "GRAVITY_HD58647_2020-01-28.fits.gz": "GRAVITY",
    "MATISSE_HD45677_2018-12-07.fits": "MATISSE",
    "MATISSE_V892Tau_2018-09-25.fits": "MATISSE",
    "PIONI.2015-11-27T03:57:11.870_Achernar.fits": "PIONIER",
    "PIONI.2016-10-14T02:45:22.642_Achernar.fits": "PIONIER",
}


@pytest.mark.parametrize(("name", "instrument"), FILES.items())
def test_position_band_and_times_are_those_of_the_tables(name: str, instrument: str) -> None:
    path = shared_data("spectra", "interferometry", name)
    product = described(path).product
    assert (product.dataproduct_type, product.kind, product.instrument_name) == ("visibility", "product", instrument)
    with fits.open(path) as hdus:
        target = hdus["OI_TARGET"].data[0]
        waves = np.concatenate([np.atleast_1d(hdu.data["EFF_WAVE"]) for hdu in hdus if hdu.name == "OI_WAVELENGTH"])
        moments = np.concatenate([
            hdu.data["MJD"] for hdu in hdus if hdu.name in ("OI_VIS2", "OI_VIS", "OI_T3", "OI_FLUX")
        ])  # fmt: skip
        pointing = SkyCoord(hdus[0].header["RA"], hdus[0].header["DEC"], unit="deg")
    place = SkyCoord(product.s_ra, product.s_dec, unit="deg")
    assert place.separation(SkyCoord(target["RAEP0"], target["DECEP0"], unit="deg")).arcsec < 1e-3
    assert place.separation(pointing).arcsec < 60
    assert product.em_min is not None
    assert product.em_max is not None
    assert product.em_min <= waves.min() * 1.0001
    assert product.em_max >= waves.max() * 0.9999
    assert product.em_max - product.em_min < 1.4 * (waves.max() - waves.min())
    assert product.t_min is not None
    assert product.t_max is not None
    assert product.t_min <= moments.min()
    assert moments.max() <= product.t_max < moments.max() + 0.01
    assert product.em_res_power is not None
    assert product.em_res_power > 5


def test_the_edges_of_the_channels_are_counted_in() -> None:
    path = shared_data("spectra", "interferometry", "MATISSE_HD45677_2018-12-07.fits")
    with fits.open(path) as hdus:
        rows = hdus["OI_WAVELENGTH"].data
        low = (rows["EFF_WAVE"] - rows["EFF_BAND"] / 2).min()
    assert described(path).product.em_min == pytest.approx(low, rel=1e-6)


def test_what_the_pipeline_made_it_from_is_kept() -> None:
    path = shared_data("spectra", "interferometry", "GRAVITY_HD58647_2020-01-28.fits.gz")
    assert described(path).product.progenitors[0] == "GRAVI.2020-01-28T04:03:22.360"


def test_visibilities_without_a_calibrator_are_level_one() -> None:
    product = described(shared_data("raw_eso", "matisse_target_raw_int_0001.fits")).product
    assert (product.dataproduct_type, product.calib_level, product.pro_catg) == ("visibility", 1, "TARGET_RAW_INT")
    assert product.o_calib_status is None
