"""Every malformed file of the shared data has docs/explanation/malformed.md's verdict; no damage raises another."""

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.describe import RefusedError, describe_path
from ingest.findings import errors
from tests.ingest.portraits import mappings, shared_files
from tests.shared import shared_data

TABLE = Path(__file__).resolve().parents[2] / "docs/explanation/malformed.md"
ROW = re.compile(r"^\| `(?P<file>[^`]+)` \| (?P<verdict>accepted|quarantined)[^|]* \| (?P<codes>[^|]*) \|")


def verdicts() -> dict[str, tuple[str, set[str]]]:
    """File to (verdict, codes of findings) as the documentation has them."""
    found = {}
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        if (row := ROW.match(line)) is not None:
            found[row["file"]] = (row["verdict"], set(re.findall(r"`(\w+)`", row["codes"])))
    return found


FILES = [name.removeprefix("malformed/") for name in shared_files("malformed")]


def test_the_table_lists_every_file() -> None:
    assert set(verdicts()) == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_a_malformed_file_has_the_verdict_of_the_documentation(name: str) -> None:
    verdict, codes = verdicts()[name]
    path = shared_data("malformed", *name.split("/"))
    try:
        description = describe_path(
            path, collection="malformed", relative_path=name, mappings=mappings(), authority="example.org"
        )
    except RefusedError as refused:
        assert verdict == "quarantined", str(refused)
        found = errors(refused.findings)
        assert {finding.code for finding in found} == codes
        for finding in found:
            assert finding.where and finding.what and finding.mend, "says what, where, and what would mend it"
        return
    assert verdict == "accepted"
    assert {finding.code for finding in description.findings if finding.level == "warning"} == codes


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(
        ["images/small_sip_apogee.fits", "cubes/m17sw_alma_unittest.fits", "images/m13_dss_rice.fits"]
    ),
    cards=st.lists(
        st.tuples(st.integers(0, 70), st.sampled_from(["1E308", "NaN", "-9", "'x'", "T", "0", "(1,2)"])), max_size=8
    ),
)
def test_no_nonsense_in_a_header_harms_the_run(tmp_path: Path, name: str, cards: list[tuple[int, str]]) -> None:
    data = bytearray(shared_data(*name.split("/")).read_bytes())
    for index, value in cards:
        data[index * 80 + 10 : index * 80 + 30] = value.rjust(20).encode()
    (tmp_path / "odd.fits").write_bytes(bytes(data))
    try:
        describe_path(
            tmp_path / "odd.fits", collection="c", relative_path="odd.fits", mappings=mappings(), authority="a.org"
        )
    except RefusedError as refused:
        assert errors(refused.findings)
        assert "description_failed" not in {finding.code for finding in refused.findings}
