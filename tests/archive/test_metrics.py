"""/metrics: what is counted is what happened, in all web processes together, and only insiders see it."""

import contextlib
import io
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from threading import Thread

import httpx
import psutil
import psycopg
import pytest
from lxml import html
from prometheus_client.parser import text_string_to_metric_families

from archive.app.metrics import ArchiveMetrics
from storage import totals
from storage.scrub import scrub
from storage.upkeep import Upkeep, run_job
from tests.databases import Postgres
from tests.journeys.archives import image
from tests.live import PROGRAM, ROOT, serving, words_of
from tests.served import Served, served, wait_until

RAW_FILE = (
    "INSERT INTO arc.file (file_id, version, kind, calib_level, obs_collection, obs_id, obs_publisher_did, source,"
    " object_key, file_name, file_id_encoded, media_type, file_size, sha256, md5, rights)"
    " VALUES ('one.fits', 1, 'raw', 1, 'c', 'o', 'ivo://a/ID?one.fits', '/x', 'k', 'one.fits', 'one.fits',"
    " 'image/fits', 7, repeat('a', 64), repeat('b', 32), 'public')"
)
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def metrics(url: str) -> Samples:
    """Samples by name and labels, as Prometheus' own parser reads them."""
    answer = httpx.get(f"{url}/metrics", timeout=30).raise_for_status()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def requests(found: Samples, route: str) -> dict[tuple[str, str], float]:
    """Requests of a route, by method and status."""
    named = {key: value for key, value in found.items() if key[0] == "uraniborg_http_requests_total"}
    told = [(dict(labels), value) for (_, labels), value in named.items()]
    return {(labels["method"], labels["status"]): value for labels, value in told if labels["route"] == route}


def looked(archive: Served) -> Samples:
    """What is true of the whole archive now: /metrics itself tells what was so some seconds ago."""
    families = ArchiveMetrics(archive.archive, look_again_s=0).collect()
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for family in families for one in family.samples}


@pytest.fixture(scope="module")
def archive(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(postgres, tmp_path_factory.mktemp("metrics")) as made:
        yield made


def test_requests_are_counted_by_the_routes_template_method_and_status(archive: Served) -> None:
    for name in ("a", "b/c", "d"):
        httpx.get(f"{archive.url}/files/{name}")
        httpx.get(f"{archive.url}/tap/async/{name[0]}")
        httpx.get(f"{archive.url}/no/such/{name}")
    size = int(httpx.get(f"{archive.url}/tap//capabilities/").headers["content-length"])  # as sent: compressed
    httpx.head(f"{archive.url}/tap/capabilities")
    httpx.request("PROPFIND", f"{archive.url}/tap/capabilities")
    found = metrics(archive.url)
    assert requests(found, "/files/{file_id:path}") == {("GET", "404"): 3}
    assert requests(found, "/tap/async/{job_id}") == {("GET", "404"): 3}
    assert requests(found, "unmatched") == {("GET", "404"): 3}
    assert requests(found, "/tap/capabilities") == {("GET", "200"): 1, ("HEAD", "200"): 1, ("other", "405"): 1}
    labels = (("method", "GET"), ("route", "/tap/capabilities"))
    assert found[("uraniborg_http_response_bytes_total", labels)] == size
    assert found[("uraniborg_http_request_duration_seconds_count", labels)] == 1
    assert found[("uraniborg_http_requests_in_progress", ())] == 1  # this very one


def test_a_running_query_is_seen_while_it_runs(archive: Served) -> None:
    def run() -> None:
        with contextlib.suppress(psycopg.errors.QueryCanceled):
            slow.execute("SELECT pg_sleep(60)")

    with archive.archive.reader_pool.connection() as slow:
        asking = Thread(target=run)
        asking.start()
        wait_until(lambda: archive.running_queries() == 1)
        found = looked(archive)
        slow.cancel()
        asking.join(30)
    labels = (("application", "uraniborg-tap"), ("role", "reader"), ("state", "active"))
    assert found[("uraniborg_queries_running", ())] == 1
    assert found[("uraniborg_database_connections", labels)] == 1


def test_a_part_that_does_not_answer_is_told_and_hides_nothing_else(archive: Served) -> None:
    archive.change("ALTER TABLE uws.job RENAME TO gone")
    found = looked(archive)
    archive.change("ALTER TABLE uws.gone RENAME TO job")
    assert found[("uraniborg_up", (("part", "database"),))] == 0
    assert found[("uraniborg_up", (("part", "store"),))] == 1
    assert looked(archive)[("uraniborg_up", (("part", "database"),))] == 1


def test_files_whose_counting_takes_long_are_counted_for_the_next_who_asks_and_told_with_the_moment(
    archive: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, moment = ("uraniborg_files", (("kind", "raw"),)), ("uraniborg_files_counted_timestamp_seconds", ())
    monkeypatch.setattr(totals, "QUICK", timedelta(0))
    monkeypatch.setattr(totals, "SHARE", 1e5)
    first = looked(archive)
    archive.change(RAW_FILE)
    again = looked(archive)
    assert files not in first and files not in again and again[moment] == first[moment] > time.time() - 3600
    archive.change("UPDATE store.counted SET moment = moment - interval '1 day'")
    assert files not in looked(archive), "nobody waits for it"
    wait_until(lambda: looked(archive).get(files) == 1)
    monkeypatch.undo()
    archive.change("DELETE FROM store.counted; DELETE FROM arc.file")
    assert files not in looked(archive), "what is quick to count is counted each time"


@pytest.mark.parametrize(
    "headers",
    [{"X-Forwarded-For": "127.0.0.1"}, {"X-Real-IP": "127.0.0.1"}, {"Forwarded": "for=127.0.0.1"},
     {"Origin": "https://evil.example"}, {"Via": "1.1 proxy"}],
)  # fmt: skip
def test_a_proxy_on_the_same_machine_makes_nobody_an_insider(archive: Served, headers: dict[str, str]) -> None:
    answer = httpx.get(f"{archive.url}/metrics", headers=headers)
    assert answer.status_code == 403
    assert "uraniborg_" not in answer.text
    operator = {"Authorization": f"Bearer {archive.archive.operator_token_path.read_text().strip()}"}
    assert httpx.get(f"{archive.url}/metrics", headers=headers | operator).status_code == 200
    unknown = {"Authorization": "Bearer ub_000000000000_nonsense"}
    assert httpx.get(f"{archive.url}/metrics", headers=headers | unknown).status_code == 401


def test_those_who_run_the_archive_see_the_store_as_a_page(archive: Served) -> None:
    service = archive.archive.objects
    key = service.put("page/f", io.BytesIO(b"x" * 1000)).version.copies[0].key
    assert list(scrub(service, cycle_s=0)) == []
    assert httpx.get(f"{archive.url}/store", headers={"X-Real-IP": "192.0.2.1"}).status_code == 403
    page = html.document_fromstring(httpx.get(f"{archive.url}/store").raise_for_status().text)
    (row,) = page.xpath("//table[1]//tbody/tr[contains(., 'posix')]")
    assert 0 < float(row.xpath(".//meter/@value")[0]) <= float(row.xpath(".//meter/@max")[0])
    today = page.xpath("//section//svg/rect[last()]/title/text()")[0]
    assert int(today.rpartition(" ")[2]) >= 1 and len(page.xpath("//section//svg/rect")) == 30
    assert "online" in row.text_content() and not page.xpath("//h3")
    (archive.archive.settings.store_path / "objects" / key).write_bytes(b"y" * 1000)
    try:
        run_job(service, Upkeep(max_load=1e9, cycle_s=0), "scrub")
        page = html.document_fromstring(httpx.get(f"{archive.url}/store").text)
        assert [each.text_content() for each in page.xpath("//h3")] == ["Left by scrub"]
        assert any("page/f version 1" in each.text_content() for each in page.xpath("//li"))
        assert metrics(archive.url)[("uraniborg_store_volume_up", (("volume", "posix"),))] == 1
    finally:
        service.remove("page/f")


@pytest.mark.slow
def test_all_web_processes_count_together_and_a_death_takes_no_count_away(tmp_path: Path) -> None:
    data_dir, sky = tmp_path / "data", tmp_path / "sky"
    sky.mkdir()
    size = (sky / "one.fits").write_bytes(image(1))
    for words in (("db", "init"), ("ingest", str(sky))):
        subprocess.run([*PROGRAM, *words, "--data-dir", str(data_dir)], cwd=ROOT, check=True, capture_output=True)
    # Without job workers: the pictures that they draw would be counted too, when they are done.
    with serving(data_dir, {}, "embedded", "serve", "--web-only") as live:
        for _ in range(20):
            assert httpx.get(f"{live.url}/capabilities").status_code == 200
        found = metrics(live.url)
        assert requests(found, "/capabilities") == {("GET", "200"): 20}
        assert found[("uraniborg_files", (("kind", "product"),))] == 1
        assert found[("uraniborg_files_bytes", (("kind", "product"),))] == size
        assert found[("uraniborg_store_bytes", (("volume", "posix"),))] == size
        assert found[("uraniborg_events_waiting", ())] + found[("uraniborg_events_total", ())] == 1
        web = [child for child in psutil.Process(live.process.pid).children() if "web" in words_of(child)]
        assert len(web) == 2
        os.kill(web[0].pid, signal.SIGKILL)
        wait_until(lambda: not web[0].is_running())
        found = metrics(live.url)
        assert requests(found, "/capabilities") == {("GET", "200"): 20}
        assert found[("uraniborg_http_requests_in_progress", ())] == 1
