"""Commands that work on what is published, beside the running server: `uraniborg table` and `uraniborg tap query`."""

import csv
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from astropy.io.votable import parse
from astropy.table import Table

from tests.live import Live

# Each command is a process of its own, which takes seconds; what they do to a database is tested on both elsewhere.
pytestmark = pytest.mark.parametrize("live", ["embedded"], indirect=True)

NAME = "cat.operators_stars"


@pytest.fixture
def stars(live: Live, tmp_path: Path) -> Iterator[Path]:
    """A file of three stars, published for the test."""
    file = tmp_path / "stars.fits"
    Table({"id": [1, 2, 3], "alpha": [10.0, 10.5, 350.0], "delta": [20.0, 20.1, -5.0]}).write(file)
    live.run("table", "publish", str(file), "--name", NAME, "--ra", "alpha", "--dec", "delta", "--yes")
    yield file
    live.run("table", "drop", NAME, "--yes", check=False)


def asked(live: Live, adql: str) -> list[list[str]]:
    """The rows that the server answers, once it has seen what was published (it looks once a second)."""
    deadline = time.monotonic() + 10
    while True:
        answer = httpx.post(f"{live.url}/tap/sync", data={"LANG": "ADQL", "FORMAT": "csv", "QUERY": adql})
        if answer.status_code == 200 or time.monotonic() > deadline:
            assert answer.status_code == 200, answer.text
            return list(csv.reader(io.StringIO(answer.text)))[1:]
        time.sleep(0.2)


def test_a_table_published_by_command_is_asked_on_the_sky_and_told_of(live: Live, stars: Path) -> None:
    cone = f"SELECT id FROM {NAME} WHERE 1 = CONTAINS(POINT(alpha, delta), CIRCLE(10.2, 20, 1)) ORDER BY id"
    assert asked(live, cone) == [["1"], ["2"]]
    assert f"{NAME}\t3\t3\t" in live.run("table", "list").stdout
    told = live.run("table", "describe", NAME).stdout
    assert f"{NAME}, 3 rows" in told
    assert "  alpha  double  deg  pos.eq.ra;meta.main  (indexed)" in told


def test_what_changes_is_shown_before_it_is_done_and_not_done_without_consent(live: Live, stars: Path) -> None:
    Table({"id": ["a"], "alpha": [1.0], "delta": [2.0], "mag": [3.0]}).write(stars, overwrite=True)
    command = ("table", "publish", str(stars), "--name", NAME, "--ra", "alpha", "--dec", "delta")
    refused = live.run(*command, check=False)
    assert refused.returncode == 1
    lines = refused.stdout.splitlines()
    assert "~ rows: 3 -> 1" in lines
    assert "~ id: datatype long -> char" in lines
    assert "+ mag  double" in lines
    assert asked(live, f"SELECT COUNT(*) AS n FROM {NAME}") == [["3"]]
    live.run(*command, "--yes")
    assert live.run("tap", "query", f"SELECT id, mag FROM {NAME}").stdout.split() == ["id,mag", "a,3"]


def test_a_dropped_table_is_gone_and_the_holdings_own_are_left_alone(live: Live, stars: Path) -> None:
    live.run("table", "drop", NAME, "--yes")
    assert NAME not in live.run("table", "list").stdout
    again = live.run("table", "drop", NAME, "--yes", check=False)
    assert (again.returncode, again.stdout) == (2, "")
    ((held, _),) = asked(live, "SELECT TOP 1 table_name, schema_name FROM tap_schema.tables WHERE schema_name = 'cat'")
    for command in (("drop", held), ("publish", str(stars), "--name", held)):
        kept = live.run("table", *command, "--yes", check=False)
        assert kept.returncode == 2
        assert "is the catalogue of the file" in kept.stderr
    elsewhere = live.run("table", "publish", str(stars), "--name", "ivoa.obscore", "--yes", check=False)
    assert "tables are published in schema cat" in elsewhere.stderr


def test_a_query_is_answered_in_the_shell_as_the_server_answers_it(live: Live, stars: Path, tmp_path: Path) -> None:
    query = "SELECT TOP 5 dp_id, s_ra FROM ivoa.obscore ORDER BY dp_id"
    rows = list(csv.reader(io.StringIO(live.run("tap", "query", query).stdout)))[1:]
    assert rows == asked(live, query)
    cut = live.run("tap", "query", "SELECT dp_id FROM ivoa.obscore", "--maxrec", "2", "--format", "votable/td")
    assert "cut at 2 rows" in cut.stderr
    assert len(parse(io.BytesIO(cut.stdout.encode())).get_first_table().array) == 2
    upload = ("--upload", f"mine={stars}")
    assert live.run("tap", "query", "SELECT SUM(id) AS n FROM tap_upload.mine", *upload).stdout.split() == ["n", "6"]
    wrong = live.run("tap", "query", "SELECT * FORM ivoa.obscore", check=False)
    assert wrong.returncode == 2
    assert "line 1, column 10" in wrong.stderr
    plan = live.run("tap", "explain", query).stdout
    assert "Limit" in plan
    assert plan.rstrip().endswith("s by estimate")
    told = json.loads(live.run("tap", "explain", "--analyze", "--json", query).stdout)
    assert "actual time" in told["plan"][0]
    assert told["estimate_s"] < told["sync_estimate_s"]
