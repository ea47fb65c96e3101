"""Real Phase 3 files: each finding is argued in docs/explanation/phase3-real-files.md, which this holds to be true."""

import gzip
import re
import shutil
from pathlib import Path

import pytest

from phase3.check import Asked, Report, check_file, check_files, check_together, find_files
from phase3.rules.model import Rules
from tests.shared import shared_data

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/explanation/phase3-real-files.md"
NOW_MJD = 61_000.0
FILES = {
    "ADP.2016-06-01T14:07:30.135.fits": ("images", "phase3_MUSE_ADP.2016-06-01T14:07:30.134"),
    "ADP.2016-07-15T08:22:40.678_XQ100_J2349-3712_NIR.fits": ("spectra",),
    "xsl_X0360_xshooter_uvb.fits": ("spectra",),
    "PIONI.2015-11-27T03:57:11.870_Achernar.fits": ("spectra", "interferometry"),
    "PIONI.2016-10-14T02:45:22.642_Achernar.fits": ("spectra", "interferometry"),
    "GRAVITY_HD58647_2020-01-28.fits": ("spectra", "interferometry"),
}


def described() -> dict[str, dict[str, object]]:
    """The document: file name to verdict and findings (level, rule, keyword)."""
    found: dict[str, dict[str, object]] = {}
    for section in DOCUMENT.read_text(encoding="utf-8").split("\n## ")[1:]:
        title, _, body = section.partition("\n")
        name = title.strip("` ")
        if name in FILES:
            rows = re.findall(r"^\| (error|warning|info) \| (\S+) \| (.*?) \|", body, re.MULTILINE)
            verdict = re.search(r"Verdict: \*\*(passes|fails)\*\*", body)
            assert verdict, name
            found[name] = {
                "passed": verdict[1] == "passes",
                "rows": {(lv, rule, kw.strip("`")) for lv, rule, kw in rows},
            }
    return found


def unpacked(folder: Path, name: str) -> Path:
    """The file as its authors delivered it: our data folder packs some with gzip."""
    source = shared_data(*FILES[name])
    if (source / name).exists():
        return source / name
    with gzip.open(source / f"{name}.gz") as packed, (folder / name).open("wb") as plain:
        shutil.copyfileobj(packed, plain)
    return folder / name


@pytest.fixture
def report(request: pytest.FixtureRequest, tmp_path: Path, rules: Rules) -> Report:
    category = "SCIENCE.VISIBILITY" if request.param.startswith("GRAVITY") else ""
    return check_file(unpacked(tmp_path, request.param), Asked(NOW_MJD, category), rules, request.param)


@pytest.mark.parametrize("report", FILES, indirect=True)
def test_each_finding_on_a_real_file_is_argued_in_the_document(report: Report) -> None:
    told = described()[report.path]
    assert {(f.level, f.rule, f.keyword) for f in report.findings} == told["rows"]
    assert report.passed == told["passed"]


def test_the_sums_of_sound_real_files_are_right(tmp_path: Path, rules: Rules) -> None:
    for name in FILES:
        if name.startswith(("PIONI", "ADP.2016-07", "xsl")):
            report = check_file(unpacked(tmp_path, name), Asked(NOW_MJD), rules)
            assert not [finding for finding in report.findings if finding.rule == "F02"], name


def test_a_delivery_without_its_cube_is_not_whole(rules: Rules) -> None:
    found = find_files([shared_data("images", "phase3_MUSE_ADP.2016-06-01T14:07:30.134")])
    reports = check_together(check_files(found, Asked(NOW_MJD), rules), found.others, rules)
    alone = {Path(r.path).suffix: r for r in reports if any(f.code == "ancillary_alone" for f in r.findings)}
    assert set(alone) == {".fits", ".log", ".png", ".txt"}
    assert not alone[".fits"].passed
    assert alone[".png"].passed, "a file that lies there is odd, not wrong"
