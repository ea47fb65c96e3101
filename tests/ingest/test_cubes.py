"""Cubes: wavelengths in vacuum metres, polarisations and beams, against hand values and astropy."""

from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits

from archive.holdings.model import DataProduct
from ingest.describe import describe_path
from ingest.describe.spectral import air_to_vacuum
from tests.ingest.portraits import described, mappings
from tests.shared import shared_data

C = 299_792_458.0


@pytest.mark.parametrize(
    ("air_nm", "vacuum_nm"),
    # Lines of hydrogen and oxygen as atomic data lists give them in air and in vacuum.
    [(656.279, 656.4602), (486.135, 486.2708), (500.684, 500.8236), (372.882, 372.9880)],
)
def test_air_becomes_vacuum(air_nm: float, vacuum_nm: float) -> None:
    assert float(air_to_vacuum(np.array(air_nm * 1e-9))) * 1e9 == pytest.approx(vacuum_nm, abs=0.0005)


def test_a_muse_cube_in_air_is_recorded_in_vacuum() -> None:
    product = described("cubes/muse_abell478_crop16x16x3681.fits").product
    # README: channel centres 474.989 to 934.989 nm in air, 0.125 nm apart; vacuum is 0.0280 and 0.0274 % longer.
    assert product.em_min == pytest.approx(475.0595e-9, abs=0.01e-9)
    assert product.em_max == pytest.approx(935.308e-9, abs=0.01e-9)
    assert product.em_xel == 3681
    assert product.dataproduct_type == "cube"
    assert product.em_res_power == pytest.approx(705 / 0.125, rel=0.01)
    assert (product.s_xel1, product.s_xel2) == (16, 16)


@pytest.mark.parametrize(
    ("name", "first_hz", "last_hz"),
    [
        ("m17sw_alma_unittest.fits", 8.67514e10, 8.67504e10),
        ("sdc335_alma_perplanebeam.fits", 9.07363e10, 9.0736e10),
    ],
)
def test_frequencies_become_wavelengths(name: str, first_hz: float, last_hz: float) -> None:
    product = described(f"cubes/{name}").product
    assert product.em_min == pytest.approx(C / first_hz, rel=2e-6)
    assert product.em_max == pytest.approx(C / last_hz, rel=2e-6)


def test_a_beam_per_plane_gives_the_median_resolution() -> None:
    product = described("cubes/sdc335_alma_perplanebeam.fits").product
    beams = fits.getdata(shared_data("cubes", "sdc335_alma_perplanebeam.fits"), "BEAMS")
    assert product.s_resolution == pytest.approx(float(np.median(beams["BMAJ"])))


def test_a_velocity_axis_without_its_line_has_no_wavelength_and_says_so() -> None:
    description = described("cubes/l1448_13co_fcrao.fits")
    assert description.product.em_min is None
    assert "line_unknown" in {finding.code for finding in description.findings}


def made_cube(path: Path, ctype: str, unit: str, start: float, step: float, **cards: object) -> DataProduct:
    header = fits.Header()
    for i, (name, value, delta) in enumerate(
        [("RA---SIN", 40.0, -0.01), ("DEC--SIN", 5.0, 0.01), (ctype, start, step)], 1
    ):
        header[f"CTYPE{i}"], header[f"CRVAL{i}"], header[f"CDELT{i}"], header[f"CRPIX{i}"] = name, value, delta, 1.0
    header["CUNIT3"] = unit
    header.update(cards)
    shape = (3, 10, 6, 5) if "CTYPE4" in cards else (10, 6, 5)
    fits.PrimaryHDU(np.ones(shape, dtype="f4"), header).writeto(path, overwrite=True)
    found = describe_path(
        path, collection="made", relative_path=path.name, mappings=mappings(), authority="example.org"
    )
    return found.product


@pytest.mark.parametrize(
    ("ctype", "convention"),
    [("VRAD", u.doppler_radio), ("VOPT", u.doppler_optical), ("VELO", u.doppler_relativistic)],
)
def test_velocities_become_wavelengths_by_their_convention(tmp_path: Path, ctype: str, convention: object) -> None:
    rest = 1.420405751e9 * u.Hz
    product = made_cube(tmp_path / "v.fits", ctype, "m/s", 1.0e6, 5.0e5, RESTFRQ=rest.value)
    edges = np.array([1.0e6 - 2.5e5, 1.0e6 + 9.5 * 5.0e5]) * u.m / u.s
    expected = np.sort(edges.to_value(u.m, equivalencies=convention(rest)))  # type: ignore[operator]
    assert product.em_min == pytest.approx(expected[0], rel=1e-6)
    assert product.em_max == pytest.approx(expected[1], rel=1e-6)


@pytest.mark.parametrize(("unit", "metres"), [("nm", 1e-9), ("Angstrom", 1e-10), ("um", 1e-6)])
def test_wavelengths_keep_their_unit(tmp_path: Path, unit: str, metres: float) -> None:
    product = made_cube(tmp_path / "w.fits", "WAVE", unit, 6000.0, 2.0)
    assert product.em_min == pytest.approx(5999.0 * metres)
    assert product.em_max == pytest.approx(6019.0 * metres)
    assert product.em_ucd == "em.wl"


def test_stokes_planes_become_polarisation_states(tmp_path: Path) -> None:
    stokes = {"CTYPE4": "STOKES", "CRVAL4": 1.0, "CDELT4": 1.0, "CRPIX4": 1.0}
    product = made_cube(tmp_path / "s.fits", "FREQ", "Hz", 1.4e9, 1e6, **stokes)
    assert product.pol_states == "/I/Q/U/"
    assert product.pol_xel == 3
    assert product.em_xel == 10
