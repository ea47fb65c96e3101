"""SSA 1.1: which spectra are found, by a loop over the rows in Python; columns by utype; errors and METADATA."""

import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io.votable import parse
from astropy.io.votable.tree import VOTableFile
from astropy.time import Time
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.discovery.made_sky import Sky

PATH = "/ssa/query"
QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def spectra(sky: Sky, condition: Callable[[dict[str, Any]], Any]) -> set[str]:
    """What a loop over the rows finds; a comparison with None finds nothing."""
    found = set()
    for name, row in sky.rows.items():
        if row["dataproduct_type"] == "spectrum":
            try:
                if condition(row):
                    found.add(name)
            except TypeError:
                continue
    return found


def document(sky: Sky, **parameters: Any) -> VOTableFile:
    answer = sky.ask(PATH, **parameters)
    assert answer.status_code == 200
    return parse(io.BytesIO(answer.content))


def complaint(sky: Sky, **parameters: Any) -> str:
    infos = {info.name: info for info in document(sky, **parameters).resources[0].infos}
    assert infos["QUERY_STATUS"].value == "ERROR"
    assert infos["SERVICE_PROTOCOL"].value == "1.1"
    return str(infos["QUERY_STATUS"].content)


@QUICK
@given(low=st.one_of(st.none(), st.integers(1, 25)), high=st.one_of(st.none(), st.integers(1, 25)))
def test_band_takes_ranges_open_on_either_side(sky: Sky, low: int | None, high: int | None) -> None:
    if low is None and high is None:
        assert "BAND" in complaint(sky, BAND="/")
        return
    a, b = (-math.inf if low is None else low * 1e-7), (math.inf if high is None else high * 1e-7)
    text = f"{'' if low is None else repr(a)}/{'' if high is None else repr(b)}"
    if a > b:
        assert "interval" in complaint(sky, BAND=text)
        return
    assert sky.found(PATH, BAND=text) == spectra(sky, lambda row: row["em_min"] <= b and row["em_max"] >= a)


def test_band_takes_lists_single_wavelengths_and_names(sky: Sky) -> None:
    def covers(*intervals: tuple[float, float]) -> set[str]:
        return spectra(sky, lambda row: any(row["em_min"] <= b and row["em_max"] >= a for a, b in intervals))

    everything = covers((0, 1))
    assert everything
    assert sky.found(PATH, BAND="5e-7") == covers((5e-7, 5e-7))
    assert sky.found(PATH, BAND="2e-7/3e-7,1.5e-6/") == covers((2e-7, 3e-7), (1.5e-6, math.inf))
    assert sky.found(PATH, BAND="optical") == covers((3e-7, 1e-6))
    assert sky.found(PATH, BAND="Infrared,uv") == covers((1e-6, 1e-4), (1e-7, 3e-7))


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2009-07-01/2009-07-03", "2009-07-01", "2009-07-04"),
        ("2009-06", "2009-06-01", "2009-07-01"),
        ("2009", "2009-01-01", "2010-01-01"),
        ("/2009-06-30T12:00:00", None, "2009-06-30T12:00:00"),
        ("2009-07-10T00:00:00Z/", "2009-07-10", None),
        ("2009-06-20T06:30", "2009-06-20T06:30", "2009-06-20T06:31"),
    ],
)
def test_time_takes_dates_of_any_precision(sky: Sky, text: str, first: str | None, last: str | None) -> None:
    low = -math.inf if first is None else float(Time(first, scale="utc").mjd)
    high = math.inf if last is None else float(Time(last, scale="utc").mjd)
    assert sky.found(PATH, TIME=text) == spectra(sky, lambda row: row["t_min"] <= high and row["t_max"] >= low)


def separation(row: dict[str, Any], ra: float, dec: float) -> float:
    a, b = (
        np.array([np.cos(d) * np.cos(r), np.cos(d) * np.sin(r), np.sin(d)])
        for r, d in ((np.radians(row["s_ra"]), np.radians(row["s_dec"])), (np.radians(ra), np.radians(dec)))
    )
    return float(np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b)), a @ b)))


@QUICK
@given(ra=st.floats(0, 360), dec=st.floats(-90, 90), size=st.floats(0.1, 360))
@example(ra=1e-200, dec=4e-163, size=1.0)
def test_size_is_the_diameter_around_pos(sky: Sky, ra: float, dec: float, size: float) -> None:
    distances = {name: separation(row, ra, dec) for name, row in sky.rows.items()}
    found = sky.found(PATH, POS=f"{ra!r},{dec!r}", SIZE=repr(size))
    for name in spectra(sky, lambda row: True):
        if abs(distances[name] - size / 2) > 1e-7:
            assert (name in found) == (distances[name] <= size / 2), (name, distances[name])


def test_pos_may_be_galactic(sky: Sky) -> None:
    name, row = next((name, row) for name, row in sky.rows.items() if row["dataproduct_type"] == "spectrum")
    galactic = SkyCoord(row["s_ra"], row["s_dec"], unit="deg").galactic
    assert name in sky.found(PATH, POS=f"{galactic.l.deg},{galactic.b.deg};GALACTIC", SIZE="0.001")
    assert "SUPERGALACTIC" in complaint(sky, POS="1,2;SUPERGALACTIC")


def test_the_other_parameters_mean_their_columns(sky: Sky) -> None:
    assert sky.found(PATH) == spectra(sky, lambda row: True)
    assert sky.found(PATH, REQUEST="queryData") == spectra(sky, lambda row: True)
    assert sky.found(PATH, SPECRP="4000") == spectra(sky, lambda row: row["em_res_power"] >= 4000)
    assert sky.found(PATH, SPATRES=repr(1.0 / 3600)) == spectra(sky, lambda row: row["s_resolution"] <= 1.0)
    assert sky.found(PATH, SNR="50") == spectra(sky, lambda row: row["snr"] >= 50)
    assert sky.found(PATH, COLLECTION="DEE") == spectra(sky, lambda row: "dee" in row["obs_collection"].lower())
    assert sky.found(PATH, COLLECTION="%") == spectra(sky, lambda row: "%" in row["obs_collection"])
    assert sky.found(PATH, TARGETNAME="sn 1572") == spectra(sky, lambda row: row["target_name"] == "SN 1572")
    assert sky.found(PATH, MTIME="2026-03/2026-03") == spectra(sky, lambda row: True)
    assert sky.found(PATH, MTIME="/2026-02") == set()


@pytest.mark.parametrize(
    ("text", "all_of_them"),
    [("all", True), ("fits", True), ("compliant", True), ("native", True), ("votable", False), ("graphic", False),
     ("image/fits", True), ("text/plain,image/fits", True), ("text/plain", False)],
)  # fmt: skip
def test_format_means_the_files_media_type(sky: Sky, text: str, all_of_them: bool) -> None:
    assert sky.found(PATH, FORMAT=text) == (spectra(sky, lambda row: True) if all_of_them else set())


def test_columns_have_ssas_utypes_and_rows_their_values(sky: Sky) -> None:
    result = document(sky).resources[0]
    table = result.tables[0]
    utypes = {field.utype: field.name for field in table.fields if field.utype}
    for utype in ("Access.Reference", "Access.Format", "Dataset.DataModel", "Dataset.Length", "DataID.Title",
                  "Curation.Publisher", "Curation.PublisherDID", "Char.SpatialAxis.Coverage.Location.Value",
                  "Char.SpectralAxis.Coverage.Bounds.Start", "Char.TimeAxis.Coverage.Bounds.Extent"):  # fmt: skip
        assert f"ssa:{utype}" in utypes
    assert len(utypes) == sum(1 for field in table.fields if field.utype), "two columns have one utype"
    for row in table.to_table():
        name = str(row["obs_publisher_did"]).partition("?")[2]
        assert row["access_url"] == f"{sky.served.url}/files/{name}"
        made = sky.rows[name]
        assert np.allclose(row["location"], [made["s_ra"], made["s_dec"]])
        if made["em_min"] is not None:
            assert np.isclose(row["em_extent"], made["em_max"] - made["em_min"])
            assert np.isclose(row["em_location"], (made["em_max"] + made["em_min"]) / 2)


def test_top_and_maxrec_cut_and_the_cut_is_told(sky: Sky) -> None:
    for parameters in ({"TOP": 2}, {"MAXREC": 2}, {"TOP": 2, "MAXREC": 5}):
        result = document(sky, **parameters).resources[0]
        assert len(result.tables[0].array) == 2
        assert [one.value for one in result.infos if one.name == "QUERY_STATUS"] == ["OK", "OVERFLOW"]


def test_metadata_tells_inputs_and_outputs_and_no_rows(sky: Sky) -> None:
    result = document(sky, REQUEST="queryData", FORMAT="METADATA").resources[0]
    params = {param.name: param for param in result.params} | {p.name: p for p in result.tables[0].params}
    assert {"INPUT:POS", "INPUT:SIZE", "INPUT:BAND", "INPUT:TIME", "INPUT:FORMAT"} <= set(params)
    assert params["OUTPUT:access_url"].utype == "ssa:Access.Reference"
    assert len(result.tables[0].array) == 0


@pytest.mark.parametrize(
    "parameters",
    [{"REQUEST": "getMore"}, {"POS": "10"}, {"POS": "10,95"}, {"POS": "a,b"}, {"SIZE": "-1"}, {"BAND": "a/b"},
     {"TIME": "2009-13"}, {"TIME": "0000"}, {"FORMAT": "paper"}, {"SPECRP": "high"}, {"TOP": "-1"}, {"MAXREC": "x"},
     {"BAND": "1e999"}, {"POS": "10,10", "SIZE": "400"}],
)  # fmt: skip
def test_a_wrong_value_is_told_in_ssas_form(sky: Sky, parameters: dict[str, str]) -> None:
    assert next(iter(parameters)) in complaint(sky, **parameters) or "SIZE" in parameters
