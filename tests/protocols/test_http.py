"""What curl, browsers and download tools rely on: files in parts, rights, HEAD, CORS, errors with a status."""

import hashlib
import json
import re
import subprocess
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import httpx
import psycopg
import pytest
from lxml import etree

from archive.app.opened import OpenedArchive
from archive.database.engines import psycopg_dsn
from archive.settings import Loaded
from tests.live import Live


def query(live: Live, adql: str) -> list[list[str]]:
    answer = httpx.get(f"{live.url}/tap/sync", params={"LANG": "ADQL", "FORMAT": "csv", "QUERY": adql})
    assert answer.status_code == 200, answer.text
    return [line.split(",") for line in answer.text.split()[1:]]


@pytest.fixture(scope="module")
def file_id(live: Live) -> str:
    return query(live, "SELECT TOP 1 dp_id FROM ivoa.obscore WHERE dataproduct_type = 'image' ORDER BY access_estsize")[
        0
    ][0]


def test_a_download_that_broke_goes_on_and_is_whole(live: Live, file_id: str) -> None:
    url = f"{live.url}/files/{file_id}"
    whole = httpx.get(url)
    half = len(whole.content) // 2
    assert whole.headers["accept-ranges"] == "bytes"
    first = httpx.get(url, headers={"Range": f"bytes=0-{half - 1}"})
    rest = httpx.get(url, headers={"Range": f"bytes={half}-", "If-Range": whole.headers["etag"]})
    assert (first.status_code, rest.status_code) == (206, 206)
    assert first.content + rest.content == whole.content
    assert rest.headers["content-range"] == f"bytes {half}-{len(whole.content) - 1}/{len(whole.content)}"
    assert hashlib.sha256(whole.content).hexdigest() == whole.headers["etag"].strip('"')
    changed = httpx.get(url, headers={"Range": f"bytes={half}-", "If-Range": '"another"'})
    assert changed.status_code == 200
    assert changed.content == whole.content


def test_head_conditions_and_impossible_ranges(live: Live, file_id: str) -> None:
    url = f"{live.url}/files/{file_id}"
    head = httpx.head(url)
    assert head.status_code == 200
    assert int(head.headers["content-length"]) == len(httpx.get(url).content)
    assert head.headers["repr-digest"].startswith("sha-256=:")
    assert "filename=" in head.headers["content-disposition"]
    assert httpx.get(url, headers={"If-None-Match": head.headers["etag"]}).status_code == 304
    assert httpx.get(url, headers={"If-Modified-Since": head.headers["last-modified"]}).status_code == 304
    impossible = httpx.get(url, headers={"Range": "bytes=999999999999-"})
    assert impossible.status_code == 416
    assert impossible.headers["content-range"].startswith("bytes */")


def test_a_header_comes_as_text_and_as_json(live: Live, file_id: str) -> None:
    text = httpx.get(f"{live.url}/headers/{file_id}")
    assert "SIMPLE" in text.text
    assert "END" in text.text
    document = httpx.get(f"{live.url}/headers/{file_id}", params={"format": "json"}).json()
    assert document["hdus"][0]["cards"][0][0] == "SIMPLE"


def test_an_unknown_file_is_a_plain_404(live: Live) -> None:
    answer = httpx.get(f"{live.url}/files/no/such.fits")
    assert answer.status_code == 404
    assert "no/such.fits" in answer.text
    problem = httpx.get(f"{live.url}/files/no/such.fits", headers={"Accept": "application/json"})
    assert problem.json()["status"] == 404


def test_a_proprietary_file_says_when_it_becomes_public_and_opens_to_those_who_may(live: Live) -> None:
    """401 without a token, 403 with one that does not help, 200 for the operator and for who was granted it."""
    name = query(live, "SELECT TOP 1 dp_id FROM ivoa.obscore WHERE dataproduct_type = 'spectrum'")[0][0]
    until = datetime.now(UTC) + timedelta(days=100)
    url = f"{live.url}/files/{name}"
    try:
        set_release_date(live, name, "proprietary", until)
        anonymous = httpx.get(url)
        assert anonymous.status_code == 401
        assert f"{until:%Y-%m-%d}" in anonymous.text
        assert "Bearer" in anonymous.headers["www-authenticate"]
        live.run("user", "add", "visitor")
        token = live.run("token", "create", "visitor").stdout.strip()
        theirs = {"Authorization": f"Bearer {token}"}
        assert httpx.get(url, headers=theirs).status_code == 403
        operator = httpx.get(url, headers={"Authorization": f"Bearer {live.operator_token}"})
        assert operator.status_code == 200
        assert operator.headers["x-vo-authenticated"] == "operator"
        assert query(live, f"SELECT data_rights FROM ivoa.obscore WHERE dp_id = '{name}'") == [["proprietary"]]
        collection = query(live, f"SELECT obs_collection FROM ivoa.obscore WHERE dp_id = '{name}'")[0][0]
        live.run("grant", "add", "user:visitor", "collection", collection)
        assert httpx.get(url, headers=theirs).status_code == 200
        assert httpx.get(url, auth=("visitor", token)).status_code == 200
    finally:
        set_release_date(live, name, "public", datetime(2000, 1, 1, tzinfo=UTC))
    assert httpx.get(url).status_code == 200


def set_release_date(live: Live, file_id: str, rights: str, date: datetime) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in live.env.items():
            patch.setenv(name, value)
        settings = Loaded.load(live.data_dir).settings
        with OpenedArchive(settings) as archive, psycopg.connect(psycopg_dsn(archive.urls.owner)) as connection:
            connection.execute(
                "UPDATE arc.file SET release_date = %s, rights = %s WHERE file_id = %s", (date, rights, file_id)
            )


def test_a_token_that_is_wrong_is_refused_everywhere(live: Live) -> None:
    for path in ("/tap/sync?LANG=ADQL&QUERY=SELECT+1", "/datalink/links", "/tap/async"):
        answer = httpx.get(f"{live.url}{path}", headers={"Authorization": "Bearer ub_wrong_wrong"})
        assert answer.status_code == 401, path


def test_browsers_may_ask_from_anywhere(live: Live) -> None:
    preflight = httpx.options(
        f"{live.url}/tap/sync",
        headers={"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"},
    )
    assert preflight.status_code == 204
    assert "Authorization" in preflight.headers["access-control-allow-headers"]
    assert httpx.get(f"{live.url}/tap/capabilities").headers["access-control-allow-origin"] == "*"


def test_head_works_where_get_does(live: Live) -> None:
    query_path = "/tap/sync?LANG=ADQL&QUERY=SELECT+1+AS+a+FROM+ivoa.obscore"
    for path in ("/", "/capabilities", "/tap", "/tap/tables", "/tap/examples", query_path):
        assert httpx.head(f"{live.url}{path}").status_code == 200, path


def test_slashes_too_many_change_nothing_not_even_for_post(live: Live) -> None:
    form = {"LANG": "ADQL", "QUERY": "SELECT TOP 1 dp_id FROM ivoa.obscore", "FORMAT": "csv"}
    for path in ("/tap/sync", "/tap/sync/", "/tap//sync"):
        answer = httpx.post(f"{live.url}{path}", data=form)
        assert answer.status_code == 200, path


def test_results_come_compressed_to_those_who_ask(live: Live) -> None:
    params = {"LANG": "ADQL", "QUERY": "SELECT * FROM ivoa.obscore", "FORMAT": "csv"}
    plain = httpx.get(f"{live.url}/tap/sync", params=params, headers={"Accept-Encoding": "identity"})
    packed = httpx.get(f"{live.url}/tap/sync", params=params, headers={"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.text == plain.text


@pytest.mark.parametrize(
    ("params", "status", "told"),
    [
        ({"QUERY": "SELECT 1"}, 400, "LANG"),
        ({"LANG": "OOBLECK", "QUERY": "SELECT 1"}, 400, "OOBLECK"),
        ({"LANG": "ADQL"}, 400, "QUERY"),
        ({"LANG": "ADQL", "QUERY": "DUFF QUERY"}, 400, "line 1"),
        ({"LANG": "ADQL", "QUERY": "SELECT 1 AS a FROM ivoa.obscore", "FORMAT": "papyrus"}, 400, "papyrus"),
        ({"LANG": "ADQL", "QUERY": "SELECT 1 AS a FROM ivoa.obscore", "MAXREC": "many"}, 400, "MAXREC"),
        ({"LANG": "ADQL", "QUERY": "SELECT 1/0 AS a FROM ivoa.obscore"}, 400, "zero"),
        ({"LANG": "ADQL", "QUERY": "SELECT dp_id, COUNT(*) AS n FROM ivoa.obscore"}, 400, "GROUP BY"),
        ({"LANG": "ADQL", "QUERY": "SELECT file_id FROM arc.alias"}, 400, "arc.alias"),
    ],
)
def test_a_bad_request_is_a_votable_that_says_why(live: Live, params: dict[str, str], status: int, told: str) -> None:
    answer = httpx.get(f"{live.url}/tap/sync", params=params)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("application/x-votable+xml")
    assert 'name="QUERY_STATUS" value="ERROR"' in answer.text
    assert told in answer.text


def test_the_reader_role_sees_published_views_and_nothing_else(live: Live) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in live.env.items():
            patch.setenv(name, value)
        with (
            OpenedArchive(Loaded.load(live.data_dir).settings) as archive,
            psycopg.connect(psycopg_dsn(archive.urls.reader), autocommit=True) as reader,
        ):
            assert reader.execute("SELECT count(*) FROM ivoa.obscore").fetchone() is not None
            for hidden in ("arc.file", "store.event", "acl.token", "uws.job", "jobs.procrastinate_jobs"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    reader.execute(f"SELECT 1 FROM {hidden}")
            for forbidden in ("CREATE TABLE public.mine (a int)", "CREATE TABLE cat.mine (a int)",
                              "DELETE FROM ivoa.obscore", "UPDATE tap_schema.tables SET description = ''"):  # fmt: skip
                with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction)):
                    reader.execute("SET default_transaction_read_only = off")
                    reader.execute(forbidden)


def test_curl_gets_a_csv_as_the_demo_prints_it(live: Live) -> None:
    url = f"{live.url}/tap/sync?LANG=ADQL&FORMAT=csv&QUERY=SELECT+TOP+5+dp_id,target_name+FROM+ivoa.obscore"
    done = subprocess.run(["curl", "-sS", "--fail", url], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "dp_id,target_name"
    assert len(done.stdout.splitlines()) == 6


def test_the_log_of_the_running_archive_has_each_request_and_no_secret_of_it(live: Live) -> None:
    secret = "known-to-me-alone"
    params = {"LANG": "ADQL", "QUERY": f"SELECT '{secret}' AS a FROM ivoa.obscore"}
    headers = {"Authorization": f"Bearer {live.operator_token}", "X-Request-ID": "find-me-in-the-log"}
    assert httpx.get(f"{live.url}/tap/sync", params=params, headers=headers).status_code == 200
    assert httpx.get(f"{live.url}/tap/sync", params=params, auth=("operator", secret)).status_code == 401
    log = live.data_dir.with_suffix(".log").read_text()
    assert "find-me-in-the-log" in log
    for hidden in (secret, live.operator_token, *(url.partition("@")[0] for url in live.env.values() if "://" in url)):
        assert hidden not in log


# ---- every door


def with_position(live: Live) -> str:
    """A table that a cone can be searched in."""
    return query(live, "SELECT TOP 1 table_name FROM tap_schema.columns WHERE table_name LIKE 'cat.%'"
                 " AND ucd LIKE 'pos.eq.ra%meta.main'")[0][0]  # fmt: skip


def endpoints(live: Live) -> dict[str, str]:
    """Each GET of the OpenAPI document, and those that it leaves out, with a path and a query that are answered."""
    data_set = query(live, "SELECT TOP 1 dp_id, obs_publisher_did, obs_collection FROM ivoa.obscore"
                     " WHERE dataproduct_type = 'image' AND access_estsize < 3000 ORDER BY dp_id")[0]  # fmt: skip
    deadline = time.monotonic() + 60
    while httpx.get(f"{live.url}/thumbnails/{data_set[0]}").status_code == 404:
        assert time.monotonic() < deadline, "its pictures are not drawn"
        time.sleep(0.2)
    table = with_position(live)
    form = {"LANG": "ADQL", "QUERY": "SELECT TOP 3 * FROM ivoa.obscore", "PHASE": "RUN"}
    job = httpx.post(f"{live.url}/tap/async", data=form).headers["location"].rpartition("/")[2]
    done = httpx.get(f"{live.url}/tap/async/{job}", params={"WAIT": "40"})
    while ">COMPLETED<" not in done.text:
        assert ">ERROR<" not in done.text and ">ABORTED<" not in done.text, done.text
        done = httpx.get(f"{live.url}/tap/async/{job}", params={"WAIT": "40"}, timeout=60)
    survey = httpx.get(f"{live.url}/hips/hipslist").text.partition("hips_service_url")[2].split()[1].rpartition("/")[2]
    asked = {
        "/tap/sync": "?LANG=ADQL&FORMAT=csv&QUERY=SELECT+*+FROM+ivoa.obscore",
        "/datalink/links": f"?ID={quote(data_set[1], safe='')}",
        "/sia2/query": "?MAXREC=3",
        "/sia/query": "?POS=10,10&SIZE=1",
        "/resolve": "?name=10+10",
        "/names": "?prefix=pup",
        "/ssa/query": "?REQUEST=queryData&MAXREC=3",
        "/scs/{table}/query": "?RA=10&DEC=10&SR=0.1",
    }
    values = {"file_id": data_set[0], "table": table, "job_id": job, "path": "properties", "dp_id": data_set[0]}
    names = {
        "/tap/tables/{name}": table,
        "/tap/async/{job_id}/results/{name}": "result",
        "/collections/{name}": data_set[2],
        "/store/v1/volumes/{name}": "posix",
    }
    made = httpx.post(
        f"{live.url}/store/v1/containers",
        json={"name": "a"},
        headers={"Authorization": f"Bearer {live.operator_token}"},
    )
    values["container_id"] = str(made.json()["container_id"])
    told = httpx.get(f"{live.url}/openapi.json").json()["paths"]
    # Left out: what is for a table's owner, and the same tree of jobs as /tap/async (test_own_tables.py has both).
    owners = ("/tap/tables/{name}/access", "/tap/table-update/")
    templates = [path for path, methods in told.items() if "get" in methods and not path.startswith(owners)]
    static = re.findall(r'"[^"]*(/static/[^"]+)"', httpx.get(live.url).text)
    return {
        template: template.format(**values, name=names.get(template, survey)) + asked.get(template, "")
        for template in [*templates, "/hips", "/openapi.json", *static]
    }


# What differs from one answer to the next by itself.
PASSING = {"date", "x-request-id", "connection", "transfer-encoding", "keep-alive"}
GET = ("get",)  # of what the document leaves out
# As pictures are drawn, files come in, time passes.
CHANGING = (
    "/metrics",
    "/health",
    "/events",
    "/store/v1/events",
    "/",
    "/search",
    "/datasets/{dp_id}",
    "/collections/{name}",
)


def _is_long_text(template: str, answer: httpx.Response) -> bool:
    """Whether an answer should come as gzip; files lie in the store as they are sent."""
    kinds = ("text/", "application/json", "application/x-votable")
    file = "etag" in answer.headers or template == "/tap/async/{job_id}/results/{name}"
    return not file and len(answer.content) >= 1000 and answer.headers["content-type"].startswith(kinds)


def test_every_endpoint_answers_head_as_get_opens_itself_to_browsers_and_compresses_text(live: Live) -> None:
    """HEAD has GET's headers (X-04), CORS is open on each, on errors and preflights too (X-01), text comes as gzip."""
    wrong: list[str] = []
    told = httpx.get(f"{live.url}/openapi.json").json()["paths"]
    with httpx.Client(base_url=live.url, timeout=60) as client:
        for template, path in endpoints(live).items():
            browser = {"Origin": "https://elsewhere.example", "Accept-Encoding": "gzip"}
            if template.startswith(("/metrics", "/store/v1/")):  # for insiders
                browser["Authorization"] = f"Bearer {live.operator_token}"
            got = client.get(path, headers=browser)
            head = client.head(path, headers=browser)
            preflight = client.options(path, headers={**browser, "Access-Control-Request-Method": "GET"})
            mistaken = client.request("PATCH", path, headers=browser)
            volatile = PASSING | ({"content-length"} if template in CHANGING else set())
            headers = [{k: v for k, v in answer.headers.items() if k not in volatile} for answer in (got, head)]
            held = {
                f"is answered: {got.status_code}": got.status_code < 400,
                f"HEAD is GET: {head.status_code} {headers}": head.status_code == got.status_code
                and headers[0] == headers[1]
                and not head.content,
                f"text is compressed: {got.headers}": not _is_long_text(template, got)
                or (got.headers.get("content-encoding") == "gzip" and "Accept-Encoding" in got.headers["vary"]),
                f"browsers may ask: {preflight.status_code}": preflight.status_code == 204,
                "all of them open": all(
                    answer.headers.get("access-control-allow-origin") == "*" and "x-request-id" in answer.headers
                    for answer in (got, head, preflight, mistaken)
                ),
                f"PATCH is told what may be: {mistaken.status_code} {mistaken.headers}": mistaken.status_code == 405
                and set(mistaken.headers["allow"].lower().split(", "))
                == {"head", "options", *told.get(template, ["get"])},
            }
            wrong += [f"{template}: {what}" for what, holds in held.items() if not holds]
            if _is_long_text(template, got):
                plain = client.get(path, headers={"Accept-Encoding": "identity"})
                assert "content-encoding" not in plain.headers, template
    assert not wrong, "\n".join(wrong)


def test_each_service_tells_its_capabilities_and_whether_it_is_available_at_urls_that_answer(live: Live) -> None:
    paths = httpx.get(f"{live.url}/openapi.json").json()["paths"]
    services = {path.removesuffix("/capabilities") for path in paths if path.endswith("/capabilities")}
    assert services == {"", "/tap", "/datalink", "/sia", "/sia2", "/ssa", "/scs/{table}", "/hips"}
    told = set()
    for service in services:
        url = f"{live.url}{service.format(table=with_position(live))}"
        available = etree.fromstring(httpx.get(f"{url}/availability").content)
        assert available.findtext("{*}available") == "true", url
        document = etree.fromstring(httpx.get(f"{url}/capabilities").content)
        told |= {str(node.text) for node in document.iter("accessURL")}
        assert {f"{url}/availability", f"{url}/capabilities"} <= told
    for url in told:
        assert httpx.get(url, timeout=60).status_code in (200, 400), url  # 400: a query without its parameters


def test_errors_tell_the_id_by_which_the_log_knows_the_request(live: Live) -> None:
    mine = {"X-Request-ID": "from-a-proxy.1"}
    as_json = httpx.get(f"{live.url}/files/no/such.fits", headers={**mine, "Accept": "application/json"})
    assert (as_json.headers["x-request-id"], as_json.json()["request_id"]) == ("from-a-proxy.1",) * 2
    mistakes = ("/tap/sync", "/sia2/query?POS=nowhere", "/ssa/query?POS=x", "/scs/no.table/query",
                "/datalink/links?RESPONSEFORMAT=no")  # fmt: skip
    for path in mistakes:
        answer = httpx.get(live.url + path, headers=mine)
        assert '<INFO name="request_id" value="from-a-proxy.1"' in answer.text, path
    unrouted = httpx.get(f"{live.url}/nothing/here", headers={"Accept": "application/json"})
    assert unrouted.headers["content-type"] == "application/problem+json"
    assert unrouted.json()["request_id"] == unrouted.headers["x-request-id"]


def test_the_log_joins_a_request_with_the_job_that_it_made(live: Live) -> None:
    form = {"LANG": "ADQL", "QUERY": "SELECT TOP 1 * FROM ivoa.obscore", "PHASE": "RUN"}
    made = httpx.post(f"{live.url}/tap/async", data=form, headers={"X-Request-ID": "made-a-job"})
    job = made.headers["location"].rpartition("/")[2]
    while httpx.get(f"{live.url}/tap/async/{job}/phase").text not in ("COMPLETED", "ERROR", "ABORTED"):
        httpx.get(f"{live.url}/tap/async/{job}", params={"WAIT": "40"}, timeout=60)
    deadline = time.monotonic() + 30
    while True:
        lines = [line for line in live.data_dir.with_suffix(".log").read_text().splitlines() if line.startswith("{")]
        jobs = [line for line in map(json.loads, lines) if line["logger"].startswith("archive.jobs")]
        told = [line for line in jobs if job in line["event"]]
        if len(told) == 2:
            break
        assert time.monotonic() < deadline, told
        time.sleep(0.1)
    begun, ended = told
    assert (begun["event"], begun["request_id"]) == (f"job {job} (tap): made", "made-a-job")
    assert (ended["event"], ended["job_id"], ended["job_kind"]) == (f"job {job}: COMPLETED", job, "tap")
