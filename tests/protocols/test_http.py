"""What curl, browsers and download tools rely on: files in parts, rights, HEAD, CORS, errors with a status."""

import hashlib
import subprocess
from datetime import UTC, datetime, timedelta

import httpx
import psycopg
import pytest

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
