"""SIA 2.0: every parameter against a loop over the rows in Python, and what answers and errors say."""

import io
import math
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from astropy.io.votable import parse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contracts import sky_oracle
from tests.discovery.made_sky import QUESTIONS, Sky

PATH = "/sia2/query"
CLOSE = 1e-9  # radians: how near an edge may pass before nobody can tell
QUICK = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ENDS = st.one_of(st.integers(1, 25).map(lambda n: n * 1e-7), st.just(-math.inf), st.just(math.inf))
DAYS = st.one_of(st.integers(54_998, 55_050).map(float), st.just(-math.inf), st.just(math.inf))


def images(sky: Sky, condition: Callable[[dict[str, Any]], Any]) -> set[str]:
    """What a loop over the rows finds; a comparison with None finds nothing."""
    found = set()
    for name, row in sky.rows.items():
        if row["dataproduct_type"] in ("image", "cube"):
            try:
                if condition(row):
                    found.add(name)
            except TypeError:
                continue
    return found


def dali(*numbers: float) -> str:
    return " ".join("-Inf" if n == -math.inf else "+Inf" if n == math.inf else repr(n) for n in numbers)


def fault(answer: httpx.Response) -> str:
    """The text of an error document, which must be one (SIA2-08)."""
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"].startswith("application/x-votable+xml")
    [info] = [one for one in parse(io.BytesIO(answer.content)).resources[0].infos if one.name == "QUERY_STATUS"]
    assert info.value == "ERROR"
    return str(info.content)


@QUICK
@given(low=ENDS, high=ENDS)
def test_band_finds_what_overlaps_its_ends_included(sky: Sky, low: float, high: float) -> None:
    if low > high or low == math.inf or high == -math.inf:
        assert fault(sky.ask(PATH, BAND=dali(low, high))).startswith("UsageFault: ")
        return
    expected = images(sky, lambda row: row["em_min"] <= high and row["em_max"] >= low)
    assert sky.found(PATH, BAND=dali(low, high)) == expected - {"made/later.fits"}


@QUICK
@given(low=DAYS, length=st.one_of(st.none(), st.integers(0, 30).map(float), st.just(math.inf)))
def test_time_finds_what_overlaps_and_one_number_is_an_instant(sky: Sky, low: float, length: float | None) -> None:
    if low == math.inf or (low == -math.inf and length is None):
        low = 55_010.0
    high = low if length is None else 55_020.0 if low == -math.inf and length != math.inf else low + length
    high = math.inf if math.isnan(high) else high
    text = repr(low) if length is None else dali(low, high)
    expected = images(sky, lambda row: row["t_min"] <= high and row["t_max"] >= low)
    assert sky.found(PATH, TIME=text) == expected


@QUICK
@given(question=st.integers(0, len(QUESTIONS) - 1), flip=st.booleans())
def test_pos_finds_the_footprints_that_meet_it_whatever_the_winding(sky: Sky, question: int, flip: bool) -> None:
    array, body = QUESTIONS[question]
    shape = {3: "CIRCLE", 4: "RANGE"}.get(len(array), "POLYGON")
    if flip and shape == "POLYGON":
        corners = list(zip(array[::2], array[1::2], strict=True))[::-1]
        array = [number for corner in corners for number in corner]
    found = sky.found(PATH, POS=f"{shape} {' '.join(repr(float(number)) for number in array)}")
    for name, row in sky.rows.items():
        meets, margin = sky_oracle.intersects(sky.bodies[name], body)
        if margin > CLOSE and row["dataproduct_type"] != "spectrum":
            assert (name in found) == meets, (name, margin, array)
        elif row["dataproduct_type"] == "spectrum":
            assert name not in found


def test_numbers_too_small_for_the_database_are_none(sky: Sky) -> None:
    assert sky.found(PATH, POS="CIRCLE 1e-200 4e-163 5") == sky.found(PATH, POS="CIRCLE 0 0 5")


def test_the_whole_sky_is_found_by_ranges_open_on_every_side_and_a_cap_by_one_of_them(sky: Sky) -> None:
    everything = images(sky, lambda row: True)
    for text in ("RANGE -Inf +Inf -Inf +Inf", "RANGE 0 360 -90 90", "RANGE 0.0 360.0 -Inf +Inf", "CIRCLE 10 10 180"):
        assert sky.found(PATH, POS=text) == everything, text
    cap = sky_oracle.Patch(*(sky_oracle.np.longdouble(x) for x in (0, 360, 89, 90)))
    polar = {name for name in everything if sky_oracle.intersects(sky.bodies[name], cap)[0]}
    assert polar
    assert sky.found(PATH, POS="RANGE 0 360 89.0 +Inf") == polar


@pytest.mark.parametrize(
    ("parameter", "column", "text", "holds"),
    [
        ("FOV", "s_fov", "0.5 1.25", lambda x: 0.5 <= x <= 1.25),
        ("SPATRES", "s_resolution", "-Inf 1.0", lambda x: x <= 1.0),
        ("SPECRP", "em_res_power", "4000 +Inf", lambda x: x >= 4000),
        ("EXPTIME", "t_exptime", "120", lambda x: x == 120),
        ("TIMERES", "t_resolution", "2 4", lambda x: 2 <= x <= 4),
        ("POL", "pol_states", "I", lambda x: "/I/" in x),
        ("COLLECTION", "obs_collection", "deep", lambda x: x == "deep"),
        ("COLLECTION", "obs_collection", "Wide % field", lambda x: x == "Wide % field"),
        ("FACILITY", "facility_name", "Stjerneborg", lambda x: x == "Stjerneborg"),
        ("INSTRUMENT", "instrument_name", "quadrant", lambda x: False),
        ("DPTYPE", "dataproduct_type", "cube", lambda x: x == "cube"),
        ("CALIB", "calib_level", "2", lambda x: x == 2),
        ("TARGET", "target_name", "SN 1572", lambda x: x == "SN 1572"),
    ],
)
def test_each_parameter_means_its_column_and_a_missing_value_never(
    sky: Sky, parameter: str, column: str, text: str, holds: Callable[[Any], bool]
) -> None:
    expected = images(sky, lambda row: row[column] is not None and holds(row[column]))
    assert sky.found(PATH, **{parameter: text}) == expected


def test_one_of_a_parameters_values_must_hold_and_every_parameter(sky: Sky) -> None:
    expected = images(sky, lambda row: row["calib_level"] in (1, 3) and row["instrument_name"] == "sextant")
    assert expected
    assert sky.found(PATH, CALIB=["1", "3"], INSTRUMENT=["sextant", "nobody's"]) == expected


def test_an_identifier_is_found_in_any_case(sky: Sky) -> None:
    assert sky.found(PATH, ID="IVO://Uraniborg.INVALID/ID?made/003.fits") == {"made/003.fits"}


def test_without_parameters_all_that_may_be_known_comes_and_nothing_secret(sky: Sky) -> None:
    found = sky.found(PATH)
    assert found == images(sky, lambda row: True) | {"made/later.fits"}


def test_post_and_names_in_any_case_are_the_same(sky: Sky) -> None:
    form = {"dptype": "cube", "ResponseFormat": "csv"}
    answer = httpx.post(f"{sky.served.url}{PATH}", data=form)
    assert len(answer.text.splitlines()) - 1 == len(images(sky, lambda row: row["dataproduct_type"] == "cube"))


def test_maxrec_cuts_and_says_so_and_0_asks_for_the_columns_alone(sky: Sky) -> None:
    def statuses(**parameters: Any) -> tuple[int, list[str]]:
        result = parse(io.BytesIO(sky.ask(PATH, **parameters).content)).resources[0]
        told = [one.value for one in result.infos if one.name == "QUERY_STATUS"]
        return len(result.tables[0].array), told

    assert statuses(MAXREC=3) == (3, ["OK", "OVERFLOW"])
    assert statuses(MAXREC=0) == (0, ["OK"])
    assert statuses()[1] == ["OK"]


def test_the_answer_is_obscore_and_leads_to_datalink_and_to_itself(sky: Sky) -> None:
    for parameters in ({}, {"MAXREC": 0}):
        document = parse(io.BytesIO(sky.ask(PATH, **parameters).content))
        fields = {field.name: field for field in document.resources[0].tables[0].fields}
        assert fields["em_min"].utype == "obscore:Char.SpectralAxis.Coverage.Bounds.Limits.LoLimit"
        assert (fields["s_ra"].unit, fields["s_ra"].ucd) == ("deg", "pos.eq.ra")
        links, this = document.resources[1:]
        [reference] = [param.ref for param in links.groups[0].entries]
        assert reference == fields["obs_publisher_did"].ID
        assert (this.utype, this.name) == ("adhoc:service", "this")
        inputs = {param.name: param for param in this.groups[0].entries}
        assert {"POS", "BAND", "TIME", "POL", "FOV", "SPATRES", "SPECRP", "EXPTIME", "TIMERES", "ID", "COLLECTION",
                "FACILITY", "INSTRUMENT", "DPTYPE", "CALIB", "TARGET", "FORMAT", "MAXREC", "RESPONSEFORMAT"} == set(
            inputs
        )  # fmt: skip
        assert [option for _, option in inputs["INSTRUMENT"].values.options] == ["Quadrant", "sextant"]


@pytest.mark.parametrize(
    ("parameter", "text"),
    [
        ("POS", "CIRCLE 10 10"), ("POS", "CIRCLE 10 91 1"), ("POS", "BOX 1 2 3 4"), ("POS", "10 10 1"),
        ("POS", "RANGE 10 20 30 20"), ("POS", "POLYGON 1 1 2 2"), ("POS", "POLYGON 0 0 2 2 0 2 2 0"),
        ("BAND", "a"), ("BAND", "5e-7 4e-7"), ("BAND", "NaN NaN"), ("BAND", "1 2 3"), ("TIME", "yesterday"),
        ("CALIB", "9x"), ("CALIB", "7"), ("DPTYPE", "spectrum"), ("POL", "IQ"), ("FOV", "1 b"), ("MAXREC", "-1"),
        ("MAXREC", "many"), ("RESPONSEFORMAT", "image/png"), ("TARGET", "\0"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_a_usage_fault_and_never_ignored(sky: Sky, parameter: str, text: str) -> None:
    assert fault(sky.ask(PATH, **{parameter: text})).startswith("UsageFault: ")


def test_a_polygon_of_very_many_vertices_is_refused_before_it_is_looked_at(sky: Sky) -> None:
    text = "POLYGON " + " ".join(f"{n / 100} {n % 7}" for n in range(5_000))
    answer = httpx.post(f"{sky.served.url}{PATH}", data={"POS": text})
    assert "vertices" in fault(answer)


def test_parameters_that_nobody_declared_and_empty_ones_are_left_alone(sky: Sky) -> None:
    assert sky.found(PATH, RUNID="x", BAND="", POS=" ") == sky.found(PATH)
