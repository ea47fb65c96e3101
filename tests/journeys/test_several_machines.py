"""The same parts on several machines: PostgreSQL by URL, a real S3 server for the bytes, web and jobs apart.

Each "machine" has a data folder of its own and knows of the others by its settings alone.
"""

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from archive.database.engines import psycopg_dsn
from tests.databases import Postgres
from tests.live import PROGRAM, ROOT, Live, database_environment, serving
from tests.object_store import ObjectStoreServer
from tests.shared import shared_data

PICTURE = shared_data("images", "gc_2mass_k.fits")

# The database that several machines use is an external one; what differs by its kind, the contract suites look at.
pytestmark = pytest.mark.parametrize("postgres", ["pgsphere"], indirect=True)


@pytest.fixture(scope="module")
def environment(database: Postgres, object_store: ObjectStoreServer) -> dict[str, str]:
    return {
        **database_environment(database.urls),
        "URANIBORG_STORE__KIND": "s3",
        "URANIBORG_STORE__S3_ENDPOINT": object_store.endpoint_url,
        "URANIBORG_STORE__S3_BUCKET": object_store.bucket(),
        "URANIBORG_STORE__S3_ACCESS_KEY": object_store.access_key,
        "URANIBORG_STORE__S3_SECRET_KEY": object_store.secret_key,
        "URANIBORG_SERVER__WEB_WORKERS": "1",
    }


@pytest.fixture(scope="module")
def web(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A machine that only serves, beside one that took a picture in and one that runs jobs."""
    folder = tmp_path_factory.mktemp("machines")
    ingest = folder / "ingest"
    run(environment, "db", "init", "--data-dir", str(ingest))
    run(environment, "ingest", "--collection", "twomass", str(PICTURE), "--data-dir", str(ingest))
    jobs = subprocess.Popen(
        [*PROGRAM, "worker", "--data-dir", str(folder / "jobs")], env={**os.environ, **environment}, cwd=ROOT
    )
    try:
        with serving(folder / "web", environment, "external", "serve", "--web-only") as live:
            yield live
    finally:
        jobs.terminate()
        assert jobs.wait(60) == 0


def run(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [*PROGRAM, *arguments], env={**os.environ, **environment}, cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_what_one_machine_took_in_another_serves(web: Live) -> None:
    form = {"LANG": "ADQL", "FORMAT": "csv", "QUERY": "SELECT dp_id FROM ivoa.obscore"}
    (name,) = httpx.post(f"{web.url}/tap/sync", data=form).raise_for_status().text.split()[1:]
    body = httpx.get(f"{web.url}/files/{name}")
    assert hashlib.sha256(body.content).digest() == hashlib.sha256(PICTURE.read_bytes()).digest()
    part = httpx.get(f"{web.url}/files/{name}", headers={"Range": "bytes=2880-5759"})
    assert part.content == PICTURE.read_bytes()[2880:5760]


def test_a_job_asked_for_here_runs_there_and_its_result_comes_back(web: Live) -> None:
    form = {"LANG": "ADQL", "FORMAT": "csv", "QUERY": "SELECT obs_collection FROM ivoa.obscore", "PHASE": "RUN"}
    job = httpx.post(f"{web.url}/tap/async", data=form).headers["location"]
    for _ in range(20):
        if "<uws:phase>COMPLETED" in httpx.get(f"{job}?WAIT=5", timeout=30).text:
            break
    assert httpx.get(f"{job}/results/result").text.split() == ["obs_collection", "twomass"]


def test_the_web_machine_keeps_nothing_of_its_own(web: Live) -> None:
    """But for what its processes count while they run (`/metrics`), which the next start clears."""
    left = [path.relative_to(web.data_dir) for path in web.data_dir.rglob("*") if path.is_file()]
    kept = {path.as_posix() for path in left if not path.parent.as_posix().startswith("run/metrics-")}
    assert kept <= {"operator.token"}


def test_secrets_are_masked_where_settings_are_shown(environment: dict[str, str], tmp_path: Path) -> None:
    shown = run(environment, "settings", "--data-dir", str(tmp_path))
    assert environment["URANIBORG_STORE__S3_SECRET_KEY"] not in shown
    assert environment["URANIBORG_DATABASE__WRITER_URL"] not in shown
    assert "URANIBORG_STORE__S3_SECRET_KEY" in shown


def test_the_writer_may_not_touch_what_is_the_owners(database: Postgres, web: Live) -> None:
    with psycopg.connect(psycopg_dsn(database.urls.writer), autocommit=True) as writer:
        for forbidden in ("CREATE TABLE arc.mine (a int)", "DROP VIEW ivoa.obscore", "CREATE SCHEMA mine"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                writer.execute(forbidden)
