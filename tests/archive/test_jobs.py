"""UWS 1.1 as a client meets it: a live web server, workers in processes of their own, both databases."""

import asyncio
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import httpx
import psycopg
import pytest
import sqlalchemy as sa

from archive.access.identity import ANONYMOUS, User
from archive.access.service import add_user, create_token
from archive.database.engines import Engines, psycopg_dsn
from archive.jobs import queries, queue
from archive.jobs.context import JobCancelled, JobContext, JobKind, Kinds, Why
from archive.jobs.janitor import Janitor
from archive.jobs.job import Parameter, Phase
from archive.jobs.service import JobService
from tests.archive.uws_service import FolderStore, eventually, kinds, prepare, served, ticks, worker
from tests.databases import Postgres

# What no difference between the servers can touch is asked of one of them.
embedded_only = pytest.mark.parametrize("postgres", ["embedded"], indirect=True)

UWS = "{http://www.ivoa.net/xml/UWS/v1.0}"
XLINK = "{http://www.w3.org/1999/xlink}"


@pytest.fixture(scope="module")
def engines(database: Postgres) -> Iterator[Engines]:
    prepare(database.urls)
    with database.engines(pool_sizes={"writer": 10}) as engines:
        yield engines


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def service(engines: Engines, folder: Path) -> Iterator[SimpleNamespace]:
    with served(engines, folder) as service:
        yield service


@pytest.fixture(scope="module")
def working(database: Postgres, service: SimpleNamespace, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with worker(database.urls, folder) as process:
        yield process


@pytest.fixture
def client(service: SimpleNamespace) -> Iterator[httpx.Client]:
    with httpx.Client(timeout=30.0, trust_env=False) as client:
        yield client


def create(client: httpx.Client, service: SimpleNamespace, **parameters: object) -> str:
    answer = client.post(service.url, data=parameters)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def document(client: httpx.Client, job_url: str, **query: object) -> ElementTree.Element:
    answer = client.get(job_url, params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/xml")
    return ElementTree.fromstring(answer.content)


def phase(client: httpx.Client, job_url: str) -> str:
    return client.get(f"{job_url}/phase").text


def ended(client: httpx.Client, job_url: str) -> ElementTree.Element:
    def look() -> ElementTree.Element | None:
        job = document(client, job_url, WAIT=-1)
        return job if job.findtext(f"{UWS}phase") in ("COMPLETED", "ERROR", "ABORTED") else None

    return eventually(look)


def sleeping(postgres: Postgres) -> int:
    """How many queries wait in pg_sleep in this database, as its superuser sees it."""
    statement = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
    with psycopg.connect(psycopg_dsn(postgres.admin)) as connection:
        row = connection.execute(statement).fetchone()
        assert row is not None
        return int(row[0])


# ---- with a worker ---------------------------------------------------------------------------------


def test_tasks_of_rooms_below_run_at_their_times_beside_the_jobs(folder: Path, working: object) -> None:
    told = ticks(folder)
    times = eventually(lambda: (done := told.read_text().split() if told.exists() else [])[2:] and done)
    assert len(set(times)) == len(times)


def test_a_job_is_made_run_and_its_result_fetched_as_pyvo_does(
    client: httpx.Client, service: SimpleNamespace, working: object
) -> None:
    job_url = create(client, service, DO="write", WORD=["two", "words"], RUNID="mine")
    assert phase(client, job_url) == "PENDING"
    assert client.post(f"{job_url}/phase", data={"PHASE": "RUN"}).headers["location"] == job_url
    job = ended(client, job_url)
    assert job.get("version") == "1.1"
    assert job.findtext(f"{UWS}phase") == "COMPLETED"
    assert job.findtext(f"{UWS}jobId") == job_url.rsplit("/", 1)[1]
    assert job.findtext(f"{UWS}runId") == "mine"
    result = job.find(f"{UWS}results/{UWS}result")
    assert result is not None
    assert result.get("id") == "result"
    assert result.get(f"{XLINK}href") == f"{job_url}/results/result"
    answer = client.get(f"{job_url}/results/result")
    assert (answer.status_code, answer.headers["content-type"], answer.text) == (200, "text/x-words", "two words\n")


def test_a_job_created_with_phase_run_needs_no_second_request(
    client: httpx.Client, service: SimpleNamespace, working: object
) -> None:
    job = ended(client, create(client, service, DO="spool", phase="RUN"))
    result = job.find(f"{UWS}results/{UWS}result")
    assert result is not None
    assert (result.get("id"), result.get("size")) == ("big", "3000000")
    assert client.get(str(result.get(f"{XLINK}href"))).content == b"x" * 3_000_000


def test_a_file_sent_with_the_job_reaches_it_and_goes_when_the_job_goes(
    client: httpx.Client, service: SimpleNamespace, working: object
) -> None:
    before = service.store.keys()
    answer = client.post(
        service.url,
        data={"DO": "upload", "UPLOAD": "stars,param:Part1", "PHASE": "RUN"},
        files={"Part1": ("stars.xml", b"<VOTABLE/>", "application/x-votable+xml")},
    )
    job_url = answer.headers["location"]
    ended(client, job_url)
    assert client.get(f"{job_url}/results/stars").content == b"<VOTABLE/>"
    assert len(service.store.keys() - before) == 2
    assert client.delete(job_url).status_code == 303
    assert service.store.keys() == before


def test_an_error_of_a_job_is_told_in_its_document_and_at_error(
    client: httpx.Client, service: SimpleNamespace, working: object
) -> None:
    job_url = create(client, service, DO="refuse", PHASE="RUN")
    summary = ended(client, job_url).find(f"{UWS}errorSummary")
    assert summary is not None
    assert (summary.get("type"), summary.get("hasDetail")) == ("fatal", "true")
    assert summary.findtext(f"{UWS}message") == "there is a <fault> at line 3"
    answer = client.get(f"{job_url}/error")
    assert answer.status_code == 200
    assert "there is a &lt;fault&gt; at line 3" in answer.text
    missing = client.get(f"{job_url}/results/result")
    assert missing.status_code == 404
    assert "at line 3" in missing.text


def test_a_fault_of_ours_ends_the_job_without_showing_its_insides(
    client: httpx.Client, service: SimpleNamespace, working: object
) -> None:
    job_url = create(client, service, DO="break", PHASE="RUN")
    job = ended(client, job_url)
    assert job.findtext(f"{UWS}phase") == "ERROR"
    assert b"secret internals" not in ElementTree.tostring(job)
    assert job_url.rsplit("/", 1)[1] in str(job.findtext(f"{UWS}errorSummary/{UWS}message"))


def test_abort_cancels_the_query_that_the_job_waits_for(
    client: httpx.Client, service: SimpleNamespace, working: object, database: Postgres
) -> None:
    before = service.store.keys()
    job_url = create(client, service, DO="sleep", SECONDS="500", PHASE="RUN")
    eventually(lambda: sleeping(database) == 1)
    assert client.post(f"{job_url}/phase", data={"PHASE": "ABORT"}).status_code == 303
    assert phase(client, job_url) == "ABORTED"
    eventually(lambda: sleeping(database) == 0, patience_s=2.0)
    eventually(lambda: service.store.keys() == before)
    job = document(client, job_url)
    assert job.findtext(f"{UWS}phase") == "ABORTED"
    assert job.findall(f"{UWS}results/{UWS}result") == []
    assert client.post(f"{job_url}/phase", data={"PHASE": "ABORT"}).status_code == 403


def test_deleting_a_running_job_stops_it_and_leaves_nothing(
    client: httpx.Client, service: SimpleNamespace, working: object, database: Postgres
) -> None:
    before = service.store.keys()
    job_url = create(client, service, DO="sleep", SECONDS="501", PHASE="RUN")
    eventually(lambda: sleeping(database) == 1)
    answer = client.post(job_url, data={"ACTION": "DELETE"})
    assert (answer.status_code, answer.headers["location"]) == (303, service.url)
    assert client.get(job_url).status_code == 404
    eventually(lambda: sleeping(database) == 0)
    eventually(lambda: service.store.keys() == before)


def test_a_job_over_its_execution_duration_is_aborted_and_says_why(
    client: httpx.Client, service: SimpleNamespace, working: object, database: Postgres
) -> None:
    job = ended(client, create(client, service, DO="dawdle", EXECUTIONDURATION=1, PHASE="RUN"))
    assert job.findtext(f"{UWS}phase") == "ABORTED"
    assert "executionduration of 1 s" in str(job.findtext(f"{UWS}errorSummary/{UWS}message"))


def test_wait_returns_when_the_phase_changes_and_at_once_in_a_phase_not_asked_for(
    client: httpx.Client, service: SimpleNamespace, working: object
) -> None:
    job_url = create(client, service, DO="dawdle", PHASE="RUN")
    eventually(lambda: phase(client, job_url) == "EXECUTING")
    began = time.monotonic()
    assert document(client, job_url, WAIT=8, PHASE="QUEUED").findtext(f"{UWS}phase") == "EXECUTING"
    assert time.monotonic() - began < 5
    assert document(client, job_url, wait="1").findtext(f"{UWS}phase") == "EXECUTING"
    assert time.monotonic() - began >= 1
    with httpx.Client(timeout=30, trust_env=False) as other:
        other.post(f"{job_url}/phase", data={"PHASE": "ABORT"})
    assert document(client, job_url, WAIT=8).findtext(f"{UWS}phase") == "ABORTED"


def test_a_hundred_waiters_leave_the_server_free_for_others(
    client: httpx.Client, service: SimpleNamespace, working: object
) -> None:
    job_url = create(client, service, DO="write")

    async def crowd() -> tuple[set[int], str]:
        limits = httpx.Limits(max_connections=150)
        async with httpx.AsyncClient(timeout=30, trust_env=False, limits=limits) as many:
            waiters = [asyncio.create_task(many.get(job_url, params={"WAIT": "-1"})) for _ in range(100)]
            while service.jobs.watcher.waiting < 100:
                await asyncio.sleep(0.05)
            await many.post(f"{job_url}/phase", data={"PHASE": "RUN"})
            answers = await asyncio.gather(*waiters)
            seen = {ElementTree.fromstring(answer.content).findtext(f"{UWS}phase") for answer in answers}
            return {answer.status_code for answer in answers}, ",".join(sorted(map(str, seen)))

    statuses, phases = asyncio.run(crowd())
    assert statuses == {200}
    assert "PENDING" not in phases


# ---- without a worker, or with one of their own -------------------------------------------------------


@pytest.fixture
def quiet(database: Postgres) -> Iterator[Postgres]:
    """A database that no worker works on."""
    fresh = database.fresh_database()
    prepare(fresh.urls)
    yield fresh
    fresh.drop()


@pytest.fixture
def still(quiet: Postgres, tmp_path: Path) -> Iterator[SimpleNamespace]:
    with quiet.engines() as engines, served(engines, tmp_path / "results") as service:
        service.engines = engines
        service.postgres = quiet
        service.folder = tmp_path / "results"
        yield service


@embedded_only
def test_a_job_whose_worker_is_killed_is_run_again_by_another(client: httpx.Client, still: SimpleNamespace) -> None:
    job_url = create(client, still, DO="die", TIMES="1", PHASE="RUN")
    with worker(still.postgres.urls, still.folder) as process:
        assert process.wait(30) == -signal.SIGKILL
    assert phase(client, job_url) == "EXECUTING"
    with worker(still.postgres.urls, still.folder):
        job = ended(client, job_url)
    assert job.findtext(f"{UWS}phase") == "COMPLETED"
    assert client.get(f"{job_url}/results/result").content == b"survived"


@embedded_only
def test_a_job_that_kills_every_worker_ends_in_error_with_the_reason(
    client: httpx.Client, still: SimpleNamespace
) -> None:
    job_url = create(client, still, DO="die", TIMES="9", PHASE="RUN")
    for _ in range(2):
        with worker(still.postgres.urls, still.folder) as process:
            assert process.wait(30) == -signal.SIGKILL
    with worker(still.postgres.urls, still.folder):
        job = ended(client, job_url)
    assert job.findtext(f"{UWS}phase") == "ERROR"
    assert "died, in attempt 2 of 2" in str(job.findtext(f"{UWS}errorSummary/{UWS}message"))


@embedded_only
@pytest.mark.parametrize("deed", ["sleep", "ignore"])
def test_a_worker_that_is_told_to_stop_gives_its_running_job_back_even_if_it_does_not_heed(
    client: httpx.Client, still: SimpleNamespace, deed: str
) -> None:
    job_url = create(client, still, DO=deed, SECONDS="503", PHASE="RUN")
    with worker(still.postgres.urls, still.folder) as process:
        eventually(lambda: phase(client, job_url) == "EXECUTING")
        # As long in its grace as it takes to be held for dead, were there no sign of life.
        process.terminate()
        assert process.wait(15) == 0
    assert phase(client, job_url) == "QUEUED"
    eventually(lambda: sleeping(still.postgres) == 0)
    assert still.store.keys() == set()
    with still.engines.writer.connect() as connection:
        job = queries.job_with_id(connection, job_url.rsplit("/", 1)[1])
    assert job is not None
    assert (job.attempt, job.results) == (0, ())


def test_a_transaction_that_is_rolled_back_takes_its_job_along(still: SimpleNamespace) -> None:
    waiting = sa.text("SELECT count(*) FROM jobs.procrastinate_jobs")
    with still.engines.writer.connect() as connection:
        path = connection.execute(sa.text("SHOW search_path")).scalar_one()
        job_id = still.jobs.submit(connection, "test", [Parameter("DO", "write")])
        assert connection.execute(waiting).scalar_one() == 1
        assert connection.execute(sa.text("SHOW search_path")).scalar_one() == path
        connection.rollback()
        assert connection.execute(waiting).scalar_one() == 0
        assert queries.job_with_id(connection, job_id) is None
    with still.engines.begin("writer") as connection:
        job_id = still.jobs.submit(connection, "test", [Parameter("DO", "write")], owner=None)
    with still.engines.writer.connect() as connection:
        assert connection.execute(waiting).scalar_one() == 1
        assert queries.job_with_id(connection, job_id) is not None


def test_what_nobody_waits_for_does_not_keep_users_waiting(still: SimpleNamespace) -> None:
    background = JobKind("background", lambda context: None, priority=-1)
    jobs = JobService(still.engines.writer, still.store, [*still.jobs.kinds, background])
    with still.engines.begin("writer") as connection:
        drawn = jobs.submit(connection, "background", [])
        asked = jobs.submit(connection, "test", [])
    fetch = sa.text("SELECT args->>'job_id' FROM jobs.procrastinate_fetch_job_v2(NULL, NULL)")
    with still.engines.writer.connect() as connection:
        connection.execute(sa.text("SET LOCAL search_path = jobs"))
        assert [connection.execute(fetch).scalar_one() for _ in range(2)] == [asked, drawn]


def test_a_hundred_jobs_of_one_user_do_not_keep_the_others_waiting(still: SimpleNamespace) -> None:
    ann, bob, eve = (User(name) for name in ("ann", "bob", "eve"))
    whose: dict[str, str] = {}

    def make(count: int, name: str, user: User, address: str = "") -> None:
        for _ in range(count):
            whose[still.jobs.create("test", user, [], run=True, address=address).job_id] = name

    make(100, "ann", ann)
    make(2, "bob", bob)
    make(20, "someone", ANONYMOUS, "192.0.2.1")
    make(1, "somebody else", ANONYMOUS, "192.0.2.2")
    with still.engines.begin("writer") as connection:
        connection.execute(sa.text("SET LOCAL search_path = jobs"))
        worker_id = connection.execute(
            sa.text("INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id")
        ).scalar_one()
    fetch = sa.text("SELECT args->>'job_id' FROM procrastinate_fetch_job_v2(NULL, :worker)")

    def fetched(count: int) -> list[str]:
        with still.engines.begin("writer") as connection:
            connection.execute(sa.text("SET LOCAL search_path = jobs"))
            return [whose[connection.execute(fetch, {"worker": worker_id}).scalar_one()] for _ in range(count)]

    assert fetched(8) == ["ann", "bob", "someone", "somebody else", "ann", "bob", "someone", "ann"]
    # Who comes late begins with those who run now, neither behind the hundred nor before all for good.
    make(3, "eve", eve)
    assert fetched(7) == ["someone", "eve", "ann", "someone", "eve", "ann", "someone"]
    make(1, "ann", ann)
    left = fetched(len(whose) - 15)
    assert left[:3] == ["eve", "ann", "someone"]
    assert left[-1] == "ann"


@embedded_only
def test_taking_ones_turn_reads_no_more_than_a_few_rows_however_many_wait(still: SimpleNamespace) -> None:
    fill = """INSERT INTO jobs.procrastinate_jobs (queue_name, task_name, priority, args)
              SELECT 'default', 'uws.test', -n / 10, jsonb_build_object('share', 'user ' || n % 1000)
              FROM generate_series(0, 99999) AS n"""
    with psycopg.connect(psycopg_dsn(still.postgres.admin), autocommit=True) as admin:
        admin.execute("ALTER TABLE jobs.procrastinate_jobs DISABLE TRIGGER USER")
        admin.execute(fill)
        admin.execute("ALTER TABLE jobs.procrastinate_jobs ENABLE TRIGGER USER")
        admin.execute("ANALYZE jobs.procrastinate_jobs")
    with still.engines.begin("writer") as connection:
        entry = queue.defer(connection, "uws.test", {}, share="user 7")
        read = sa.text("SELECT priority FROM jobs.procrastinate_jobs WHERE id = :id")
        assert connection.execute(read, {"id": entry}).scalar_one() == -9901  # one turn after the last of theirs
        scans = connection.execute(
            sa.text("SELECT seq_scan, idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'procrastinate_jobs'")
        ).one()
    assert scans.seq_scan == 0
    assert scans.idx_tup_fetch < 20


def test_installing_the_queue_again_changes_nothing_and_an_older_one_is_brought_up(quiet: Postgres) -> None:
    with quiet.engines() as engines:
        with engines.begin("owner") as connection:
            assert not queue.install(connection)
        with engines.begin("owner") as connection:
            connection.execute(sa.text("DROP SCHEMA jobs CASCADE"))
            assert queue.install(connection)
            # As procrastinate 3.3 left it: without what 3.4 added.
            connection.execute(sa.text("COMMENT ON SCHEMA jobs IS 'procrastinate 3.3.0'"))
            connection.execute(
                sa.text("ALTER TYPE jobs.procrastinate_job_event_type RENAME VALUE 'retried' TO 'unused'")
            )
            connection.execute(
                sa.text(
                    "DROP FUNCTION jobs.procrastinate_retry_job_v2"
                    "(bigint, timestamptz, integer, character varying, character varying)"
                )
            )
        with engines.begin("owner") as connection:
            assert queue.install(connection)
            found = sa.text("SELECT count(*) FROM pg_proc WHERE proname = 'procrastinate_retry_job_v2'")
            assert connection.execute(found).scalar_one() == 1


def test_expired_jobs_are_deleted_with_their_files_and_others_are_not(
    client: httpx.Client, still: SimpleNamespace
) -> None:
    files = {"a": ("a", b"abc", "text/plain")}
    gone = client.post(still.url, data={"DO": "write"}, files=files).headers["location"]
    kept = client.post(still.url, data={"DO": "write"}, files=files).headers["location"]
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    assert client.post(f"{gone}/destruction", data={"DESTRUCTION": past}).status_code == 303
    assert len(still.store.keys()) == 2
    known = Kinds(kinds(still.engines, still.folder))
    Janitor(still.engines.writer, FolderStore(still.folder), known).sweep()
    assert client.get(gone).status_code == 404
    assert client.get(kept).status_code == 200
    assert len(still.store.keys()) == 1


@embedded_only
def test_the_children_of_a_job_are_text_equal_to_its_document(client: httpx.Client, still: SimpleNamespace) -> None:
    job_url = create(client, still, DO="write")
    job = document(client, job_url)
    for child in ("phase", "executionDuration", "destruction"):
        answer = client.get(f"{job_url}/{child.lower()}")
        assert answer.headers["content-type"].startswith("text/plain")
        assert answer.text == job.findtext(f"{UWS}{child}")
    assert answer.text.endswith("Z")
    assert client.get(f"{job_url}/quote").text == client.get(f"{job_url}/owner").text == ""
    assert client.get(f"{job_url}/error").status_code == 200
    assert client.get(f"{job_url}/oddity").status_code == 404
    assert client.get(f"{still.url}/unknown").status_code == 404


@embedded_only
def test_execution_duration_and_destruction_can_be_set_within_limits(
    client: httpx.Client, still: SimpleNamespace
) -> None:
    job_url = create(client, still, DO="write")
    for asked, told in (("77", "77"), ("0", "86400"), ("99999999", "86400")):
        assert client.post(f"{job_url}/executionduration", data={"EXECUTIONDURATION": asked}).status_code == 303
        assert client.get(f"{job_url}/executionduration").text == told
    assert client.post(f"{job_url}/executionduration", data={"EXECUTIONDURATION": "-3"}).status_code == 400
    client.post(f"{job_url}/destruction", data={"destruction": "2999-01-01T00:00:00Z"})
    assert client.get(f"{job_url}/destruction").text < "2999"
    created = datetime.fromisoformat(str(document(client, job_url).findtext(f"{UWS}creationTime")))
    soon = (created + timedelta(days=2, milliseconds=5)).strftime("%Y-%m-%dT%H:%M:%S")
    client.post(f"{job_url}/destruction", data={"DESTRUCTION": soon})
    assert client.get(f"{job_url}/destruction").text == f"{soon}.000Z"
    assert client.post(f"{job_url}/destruction", data={"DESTRUCTION": "tomorrow"}).status_code == 400


@embedded_only
def test_a_quote_says_when_the_job_would_end_and_follows_its_parameters(
    client: httpx.Client, still: SimpleNamespace
) -> None:
    def ahead(job_url: str) -> float:
        """Hours until the job is quoted to end."""
        told = client.get(f"{job_url}/quote").text
        assert document(client, job_url).findtext(f"{UWS}quote") == told
        return (datetime.fromisoformat(told) - datetime.now(UTC)).total_seconds() / 3600

    job_url = create(client, still, DO="sleep", SECONDS=7_200)
    assert ahead(job_url) == pytest.approx(2, abs=0.1)
    client.post(f"{job_url}/parameters", data={"SECONDS": "1e99"})
    assert ahead(job_url) > 80_000
    client.post(f"{job_url}/parameters", data={"SECONDS": "36000"})
    client.post(f"{job_url}/phase", data={"PHASE": "RUN"})
    assert ahead(job_url) == pytest.approx(10, abs=0.1)
    assert ahead(create(client, still, DO="sleep", SECONDS=3_600, PHASE="RUN")) == pytest.approx(1, abs=0.1)


@embedded_only
def test_parameters_are_taken_while_pending_only_at_their_place_and_leniently_at_the_job(
    client: httpx.Client, still: SimpleNamespace
) -> None:
    job_url = create(client, still, DO="write", WORD="one")
    assert client.post(f"{job_url}/parameters", data={"word": ["two", "three\x01"]}).status_code == 303
    assert client.post(job_url, data={"LANG": "ADQL"}).status_code == 303
    parameters = ElementTree.fromstring(client.get(f"{job_url}/parameters").content)
    told = [(p.get("id"), p.text) for p in parameters.iter(f"{UWS}parameter")]
    assert sorted(told) == [("DO", "write"), ("LANG", "ADQL"), ("WORD", "three\ufffd"), ("WORD", "two")]
    client.post(job_url, data={"PHASE": "RUN"})
    assert phase(client, job_url) == "QUEUED"
    assert client.post(f"{job_url}/parameters", data={"WORD": "late"}).status_code == 403
    assert client.post(f"{job_url}/phase", data={"PHASE": "RUN"}).status_code == 403
    assert client.post(f"{job_url}/phase", data={"PHASE": "HELD"}).status_code == 400


@embedded_only
def test_a_refused_job_leaves_no_row_and_no_file(client: httpx.Client, still: SimpleNamespace) -> None:
    files = {"a": ("a", b"abc", "text/plain")}
    answer = client.post(still.url, data={"DO": "forbidden", "PHASE": "RUN"}, files=files)
    assert answer.status_code == 400
    large = {"a": ("a", b"x" * 1_000_001, "text/plain")}
    assert client.post(still.url, data={"DO": "write"}, files=large).status_code == 413
    assert client.post(still.url, data={"DO": "a\0b"}, files=files).status_code == 400
    assert still.store.keys() == set()
    with still.engines.writer.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM uws.job")).scalar_one() == 0


@embedded_only
def test_each_user_sees_their_own_jobs_and_nobody_elses(client: httpx.Client, still: SimpleNamespace) -> None:
    headers = {}
    for name in ("alice", "bob"):
        add_user(still.engines.writer, name)
        headers[name] = {"Authorization": f"Bearer {create_token(still.engines.writer, name).text}"}
    urls = [
        client.post(still.url, data={"DO": "write"}, headers=headers["alice"]).headers["location"] for _ in range(3)
    ]
    client.post(f"{urls[1]}/phase", data={"PHASE": "ABORT"}, headers=headers["alice"])
    anonymous = create(client, still, DO="write")

    def listed(who: str | None, **query: object) -> list[str]:
        answer = client.get(still.url, params=query, headers=headers[who] if who else {})
        return [str(ref.get(f"{XLINK}href")) for ref in ElementTree.fromstring(answer.content)]

    assert listed("alice") == urls
    assert listed("bob") == listed(None) == []
    assert listed("alice", LAST=2) == [urls[2], urls[1]]
    assert listed("alice", PHASE="ABORTED") == [urls[1]]
    assert set(listed("alice", PHASE=["ABORTED", "PENDING"])) == set(urls)
    first = document_time(client, urls[0], headers["alice"])
    assert listed("alice", AFTER=first) == urls[1:]
    assert listed("alice", AFTER=first, PHASE="PENDING", LAST=5) == [urls[2]]
    for answer in (
        client.get(urls[0], headers=headers["bob"]),
        client.get(urls[0]),
        client.get(f"{urls[0]}/results", headers=headers["bob"]),
        client.delete(urls[0], headers=headers["bob"]),
        client.post(f"{urls[0]}/phase", data={"PHASE": "RUN"}, headers=headers["bob"]),
    ):
        assert answer.status_code == 403
    assert client.get(f"{urls[0]}/owner", headers=headers["alice"]).text == "alice"
    assert client.get(anonymous).status_code == 200
    assert client.get(still.url, params={"PHASE": "ODD"}).status_code == 400
    assert client.get(still.url, params={"LAST": "0"}).status_code == 400


def document_time(client: httpx.Client, url: str, headers: dict[str, str]) -> str:
    return str(ElementTree.fromstring(client.get(url, headers=headers).content).findtext(f"{UWS}creationTime"))


@embedded_only
def test_a_worker_taken_for_dead_that_comes_back_changes_nothing(still: SimpleNamespace) -> None:
    with still.engines.begin("writer") as connection:
        job_id = still.jobs.submit(connection, "test", [Parameter("DO", "write")])
        first = connection.execute(sa.text("SELECT procrastinate_id FROM uws.job")).scalar_one()
    with still.engines.begin("writer") as connection:
        assert queries.claim(connection, job_id, first) is not None
        assert queries.claim(connection, job_id, first) is None
    # No worker holds the entry, so the janitor takes it from the one who claimed it.
    Janitor(still.engines.writer, still.store, Kinds(kinds(still.engines, still.folder))).sweep()
    with still.engines.begin("writer") as connection:
        second = connection.execute(sa.text("SELECT procrastinate_id FROM uws.job")).scalar_one()
        assert second != first
        assert queries.claim(connection, job_id, first) is None
        assert not queries.finish(connection, job_id, first, Phase.COMPLETED)
        assert queries.still_running(connection, [(job_id, first)]) == {}
        job = queries.claim(connection, job_id, second)
        assert job is not None
        assert (job.phase, job.attempt) == (Phase.EXECUTING, 2)


@embedded_only
def test_a_hook_is_called_on_cancel_and_never_once_it_was_taken_back(still: SimpleNamespace) -> None:
    job = still.jobs.create("test", ANONYMOUS, [])
    context = JobContext(job, ANONYMOUS, still.store)
    calls: list[str] = []
    take_back = context.on_cancel(lambda: calls.append("first"))
    context.on_cancel(lambda: 1 / 0)
    context.cancel(Why.TIMEOUT)
    context.on_cancel(lambda: calls.append("late"))
    context.cancel(Why.ABORTED)
    assert calls == ["first", "late", "first", "late"]
    take_back()
    context.cancel(Why.ABORTED)
    assert calls[4:] == ["late"]
    assert context.why is Why.TIMEOUT
    with pytest.raises(JobCancelled):
        context.raise_if_cancelled()
    with pytest.raises(ValueError, match="no name for a result"):
        context.store_result("../x", "text/plain", [])
