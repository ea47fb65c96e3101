"""Mapping files: what an operator writes is what is recorded; what is wrong in one is told by file and key."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from archive.vo.errors import ConfigurationError
from ingest.describe import Description, describe_path
from ingest.instruments import builtin_mappings, load_mappings

MINE = """
priority = 50

[match]
TELESCOP = "X-1m"
INSTRUME = "/^Ycam/"

[fields]
facility_name = { value = "Mount X 1m" }
t_exptime = { keyword = "EXPMIN", unit = "min" }
proposal_id = { keyword = ["PROPID", "ESO OBS PROG ID"] }
obs_id = { keyword = "FILENAME", pattern = "^([a-z]+)_" }
calib_level = { keyword = "STATE", map = { RAW = 1, REDUCED = 2 }, default = 3 }

[defaults]
target_name = { keyword = "FIELD", default = "unnamed" }
em_min = { keyword = "FREQHI", unit = "GHz" }

[[band]]
keyword = "FILTER"
system = "mine"
map = { 2 = "blue" }
"""
BANDS = '[mine]\nunit = "nm"\nblue = [400, 500]\n'


def described(folder: Path, mapping: str = MINE, **cards: object) -> Description:
    (folder / "mine.toml").write_text(mapping)
    (folder / "bands.toml").write_text(BANDS)
    header = fits.Header({"TELESCOP": "X-1M ", "INSTRUME": "Ycam2"})
    header.update(cards)
    path = folder / "image.fits"
    fits.PrimaryHDU(np.zeros((4, 5), dtype="i2"), header).writeto(path, overwrite=True)
    mappings = (*builtin_mappings(), *load_mappings(folder))
    return describe_path(path, collection="c", relative_path="image.fits", mappings=mappings, authority="example.org")


def test_what_an_operator_writes_is_what_is_recorded(tmp_path: Path) -> None:
    description = described(
        tmp_path, EXPMIN=1.5, PROPID="P-7", FILENAME="abc_001.fits", STATE="reduced", FILTER="2", OBJECT="M 1"
    )
    product = description.product
    assert product.facility_name == "Mount X 1m"
    assert product.instrument_name == "Ycam2"
    assert product.t_exptime == pytest.approx(90)
    assert (product.proposal_id, product.obs_id, product.calib_level) == ("P-7", "abc", 2)
    assert (product.em_min, product.em_max) == (pytest.approx(400e-9), pytest.approx(500e-9))
    assert product.em_res_power == pytest.approx(4.5)
    assert product.filter == "blue"
    sources = {fact.field: fact.source for fact in description.facts}
    assert sources["t_exptime"] == "[0] EXPMIN"
    assert sources["facility_name"] == "mapping mine"


def test_defaults_stand_where_nothing_is_known(tmp_path: Path) -> None:
    product = described(tmp_path).product
    assert product.calib_level == 3
    assert product.target_name == "unnamed"
    assert product.em_min is None


def test_frequencies_are_converted_to_metres(tmp_path: Path) -> None:
    assert described(tmp_path, FREQHI=300.0).product.em_min == pytest.approx(299_792_458 / 300e9)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[match\n", "not TOML"),
        ("[match]\n[felds]\n", "unknown key 'felds'"),
        ("fields = 3\n[match]\n", "fields: expected a table"),
        ("[match]\n[fields]\nexptime = { keyword = 'A' }\n", "exptime: no such field"),
        ("[match]\n[fields]\nt_exptime = 'A'\n", r"fields.t_exptime: expected \{ keyword"),
        ("[match]\n[fields]\nt_exptime = { keyword = 'A', unit = 'kg' }\n", "'kg' does not convert to s"),
        ("[match]\n[fields]\nem_min = { keyword = 'A', unit = 'nanometers' }\n", "'nanometers' does not convert"),
        ("[match]\n[fields]\ntarget_name = { keyword = 'A', unit = 'm' }\n", "target_name has no unit"),
        ("[match]\n[fields]\nt_exptime = { value = 'long' }\n", "'long' is no value for t_exptime"),
        ("[match]\n[fields]\nt_exptime = { }\n", "expected either keyword or value"),
        ("[match]\n[fields]\nobs_id = { keyword = 'A', pattern = '(' }\n", "no regular expression"),
        ("[match]\n[fields]\nobs_id = { keyword = 'A', pater = 'x' }\n", "unknown key 'pater'"),
        ("[match]\nA = '/(/'\n", "match A: .* no regular expression"),
        ("[fields]\n", r"match: expected \[match\]"),
        ("[match]\n[[band]]\nkeyword = 'F'\nsystem = 'jonson'\n", "'jonson' is in no bands.toml; known: mine"),
        ("[match]\n[[band]]\nvalue = 'red'\nsystem = 'mine'\n", "filter 'red' is not in system 'mine'"),
        ("priority = 'high'\n[match]\n", "priority: expected a whole number"),
    ],
)
def test_an_error_names_file_key_and_what_is_expected(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "bands.toml").write_text(BANDS)
    (tmp_path / "wrong.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=told) as error:
        load_mappings(tmp_path)
    assert "wrong.toml" in str(error.value)


@pytest.mark.parametrize("text", ["[x]\na = [1, 2]\n", '[x]\nunit = "nm"\na = [1]\n', '[x]\nunit = "kg"\na = [1, 2]\n'])
def test_wrong_bands_are_told_too(tmp_path: Path, text: str) -> None:
    (tmp_path / "bands.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=r"bands\.toml"):
        load_mappings(tmp_path)


def test_a_later_folder_replaces_a_mapping_of_the_same_name(tmp_path: Path) -> None:
    for folder, facility in (("one", "A"), ("two", "B")):
        (tmp_path / folder).mkdir()
        text = f"[match]\n[fields]\nfacility_name = {{ value = '{facility}' }}\n"
        (tmp_path / folder / "same.toml").write_text(text)
    mappings = load_mappings(tmp_path / "one", tmp_path / "two")
    assert [rule.value for mapping in mappings for rule in mapping.fields] == ["B"]
