"""Jobs as a browser shows them, jobs that are aborted, and many users at once, on the live archive."""

import re
from urllib.parse import urlsplit

import httpx
import pytest

from archive.app.opened import OpenedArchive
from archive.settings import Loaded
from tests.live import Live
from tests.served import wait_until
from tests.soak import ENDLESS, Inside, database_options, soak

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
FREED_WITHIN_S = 2.0


def ask(live: Live, adql: str, **more: str) -> str:
    """The URL of a new job."""
    answer = httpx.post(f"{live.url}/tap/async", data={"LANG": "ADQL", "QUERY": adql, **more})
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def page(url: str, headers: dict[str, str] | None = None) -> str:
    """The page that a browser gets: it asks no other host, and says what its address depends on."""
    answer = httpx.get(url, headers={"Accept": BROWSER, **(headers or {})})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert "Accept" in answer.headers["vary"]
    named = {urlsplit(found).netloc for found in re.findall(r'(?:src|action|href)="(http[^"]+)"', answer.text)}
    assert named <= {urlsplit(url).netloc}
    return answer.text


@pytest.mark.parametrize("live", ["embedded"], indirect=True)
def test_a_browser_shows_a_job_with_its_query_its_end_and_what_may_be_done(live: Live) -> None:
    job = ask(live, "SELECT TOP 1 '<b>' AS bold FROM tap_schema.tables", RUNID="mine & yours")
    path = urlsplit(job).path
    told = page(job)
    assert "mine &amp; yours: PENDING" in told
    assert "&lt;b&gt;" in told and "<b>" not in told
    assert f'action="{path}/phase"' in told and 'value="RUN"' in told and 'value="ABORT"' in told
    assert httpx.post(f"{job}/phase", data={"PHASE": "RUN"}, headers={"Accept": BROWSER}).headers["location"] == job
    wait_until(lambda: httpx.get(f"{job}/phase").text == "COMPLETED")
    told = page(job)
    assert "COMPLETED" in told and f'href="{path}/results/result"' in told and 'value="ABORT"' not in told
    # Whoever does not ask for a page gets the document: STILTS and Java say text/html too.
    for accept in ("*/*", "text/html, image/gif, */*; q=.2", "text/xml"):
        answer = httpx.get(job, headers={"Accept": accept})
        assert answer.headers["content-type"].startswith("text/xml")
    assert httpx.post(job, data={"ACTION": "DELETE"}).status_code == 303


@pytest.mark.parametrize("live", ["embedded"], indirect=True)
def test_a_browser_shows_ones_own_jobs_and_nobody_elses(live: Live) -> None:
    own = {"Authorization": f"Bearer {live.operator_token}"}
    form = {"LANG": "ADQL", "QUERY": "SELECT TOP 1 table_name FROM tap_schema.tables"}
    job = httpx.post(f"{live.url}/tap/async", data=form, headers=own).headers["location"]
    assert urlsplit(job).path in page(f"{live.url}/tap/async", own)
    told = page(f"{live.url}/tap/async")
    assert urlsplit(job).path not in told and "no jobs here that are yours" in told
    assert httpx.delete(job, headers=own).status_code == 303


def test_postgresql_stops_working_on_a_job_that_is_aborted(live: Live) -> None:
    with OpenedArchive(Loaded.load(live.data_dir, database_options(live)).settings) as archive:
        inside = Inside(live, archive)
        job = ask(live, ENDLESS, PHASE="RUN")
        wait_until(lambda: inside.held()["users' queries"] > 0)  # parallel workers are counted too
        assert httpx.post(f"{job}/phase", data={"PHASE": "ABORT"}).status_code == 303
        wait_until(lambda: inside.held()["users' queries"] == 0, FREED_WITHIN_S)
    assert httpx.get(f"{job}/phase").text == "ABORTED"
    httpx.delete(job)


@pytest.mark.parametrize("live", ["embedded"], indirect=True)
def test_many_users_at_once_are_all_answered_and_leave_nothing_behind(live: Live) -> None:
    """The small form of `make soak`."""
    report = soak(live, users=8, seconds=3)
    assert not report.wrong, "\n".join(report.wrong)
    assert {deed for deed, _ in report.answers} >= {"cone", "job"}
