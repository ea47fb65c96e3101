"""What every request goes through, on real sockets: ids, logs, proxies, limits, and a database that is not there."""

import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from lxml import etree
from psycopg import sql
from psycopg.conninfo import make_conninfo
from structlog.testing import capture_logs

from archive.access import service as access
from tests.databases import Postgres
from tests.served import Served, beside, served, wait_until

PUBLIC_URL = "https://archive.example/tycho"
QUERY = {"LANG": "ADQL", "FORMAT": "csv", "QUERY": "SELECT TOP 1 table_name FROM tap_schema.tables"}


@pytest.fixture(scope="module")
def archive(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    options = {"server__public_url": PUBLIC_URL, "server__max_body_mib": 1, "server__trusted_proxies": "192.0.2.7",
               "database__pool_timeout_s": 2.0}  # fmt: skip
    with served(postgres, tmp_path_factory.mktemp("wire"), **options) as made:
        yield made


def by_hand(url: str, request: bytes) -> bytes:
    """Bytes to a socket, and all that comes back until the server closes it."""
    parts = urlsplit(url)
    with socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=20) as client:
        client.sendall(request)
        return b"".join(iter(lambda: client.recv(65536), b""))


# ---- what is said to the client


def test_each_answer_has_an_id_the_clients_own_if_it_is_one(archive: Served) -> None:
    def told(**headers: str) -> str:
        return httpx.get(f"{archive.url}/availability", headers=headers).headers["x-request-id"]

    assert told() != told()
    assert told(**{"X-Request-ID": "mine-1.2_3"}) == "mine-1.2_3"
    for bad in ("x" * 65, "a b", 'a"b', "<script>"):
        assert told(**{"X-Request-ID": bad}) != bad


def test_paths_are_tidied_except_where_they_are_identifiers(archive: Served) -> None:
    for path in ("/tap/capabilities", "/tap/capabilities/", "//tap///capabilities//"):
        assert httpx.get(archive.url + path).status_code == 200
    assert "a//b/" in httpx.get(f"{archive.url}/files/a//b/").text


@pytest.mark.parametrize(
    "smuggled", ["a=\r\nX-Evil: 1", "a=\n\n<script>", "charset=\r\n\r\nHTTP/1.1 200 OK", "a=é", "a=\0"]
)
def test_no_parameter_becomes_a_header(archive: Served, smuggled: str) -> None:
    form = QUERY | {"FORMAT": f"application/x-votable+xml;{smuggled}"}
    answer = httpx.post(f"{archive.url}/tap/sync", data=form)
    assert answer.headers["content-type"] == "application/x-votable+xml"
    assert "x-evil" not in answer.headers
    links = httpx.get(f"{archive.url}/datalink/links", params={"ID": "x", "RESPONSEFORMAT": form["FORMAT"]})
    assert "x-evil" not in links.headers
    assert links.status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/files/a%00b", "/headers/a%00b", "/files/a?version=99999999999999999999", "/datalink/links?ID=a%00b",
        "/tap/tables/a%00b", "/files/%FF%FE", "/tap/async/a%00b",
    ],
)  # fmt: skip
def test_nonsense_is_the_clients_mistake_not_ours(archive: Served, path: str) -> None:
    assert httpx.get(archive.url + path).status_code in (200, 400, 404)


# ---- bodies


@pytest.mark.parametrize("path", ["/tap/sync", "/tap/async", "/datalink/links"])
def test_a_body_beyond_the_limit_is_a_413_that_the_client_gets_to_read(archive: Served, path: str) -> None:
    body = b"QUERY=" + b"a" * (3 << 20)
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    declared = httpx.post(archive.url + path, content=body, headers=kind)
    chunked = httpx.post(
        archive.url + path, content=(body[n : n + 65536] for n in range(0, len(body), 65536)), headers=kind
    )
    file = httpx.post(archive.url + path, data=QUERY, files={"t": ("t.vot", body)})
    for answer in (declared, chunked, file):
        assert answer.status_code == 413
        assert "1048576" in answer.text
        assert 'value="ERROR"' in answer.text
    assert httpx.get(f"{archive.url}/tap/sync", params=QUERY).status_code == 200


def test_a_query_beyond_the_limit_is_a_413_too(archive: Served) -> None:
    with beside(archive, tap__max_query_kib=1) as strict:
        answer = httpx.post(f"{strict.url}/tap/sync", data=QUERY | {"QUERY": "SELECT 1" + " " * 1100})
    assert answer.status_code == 413
    assert "1024 bytes" in answer.text


# ---- URLs


def test_every_url_that_is_told_begins_with_the_public_one_whatever_the_request_says(archive: Served) -> None:
    forged = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "gopher",
              "Forwarded": "host=evil.example"}  # fmt: skip
    job = httpx.post(f"{archive.url}/tap/async", data=QUERY, headers=forged)
    assert job.status_code == 303
    assert job.headers["location"].startswith(f"{PUBLIC_URL}/tap/async/")
    path = job.headers["location"].removeprefix(PUBLIC_URL)
    documents = ["/", "/capabilities", "/tap", "/tap/capabilities", "/datalink/capabilities", "/tap/async", path]
    for document in documents:
        text = httpx.get(archive.url + document, headers=forged).text
        assert "evil.example" not in text, document
        assert archive.url not in text, document
        if "capabilities" in document:
            urls = [node.text or "" for node in etree.fromstring(text.encode()).iter("accessURL")]
            assert urls and all(url.startswith(PUBLIC_URL) for url in urls)


def requests_in(log: Sequence[Mapping[str, Any]], count: int = 0) -> list[Mapping[str, Any]]:
    """The log's lines of requests. count: once there are so many, for a line is written after its answer was sent."""
    wait_until(lambda: sum(line["event"] == "request" for line in log) >= count)
    return [line for line in log if line["event"] == "request"]


def test_forwarded_addresses_are_believed_of_trusted_proxies_alone(archive: Served) -> None:
    headers = {"X-Forwarded-For": "198.51.100.1"}
    with capture_logs() as log:
        httpx.get(f"{archive.url}/availability", headers=headers)
        requests_in(log, 1)
    assert [line["client"] for line in requests_in(log)] == ["127.0.0.1"]
    with beside(archive, server__trusted_proxies="127.0.0.1") as proxied, capture_logs() as log:
        httpx.get(f"{proxied.url}/availability", headers=headers)
        requests_in(log, 1)
    assert [line["client"] for line in requests_in(log)] == ["198.51.100.1"]


# ---- what is written down


def test_the_log_tells_of_a_request_without_its_values_and_tokens(archive: Served) -> None:
    writer = archive.archive.engines.writer
    access.add_user(writer, "tycho")
    token = access.create_token(writer, "tycho", expires_days=1, label="test").text
    secret = "only-i-know-this"
    with capture_logs() as log:
        params = QUERY | {"QUERY": f"SELECT '{secret}' AS a FROM ivoa.obscore"}
        answer = httpx.get(f"{archive.url}/tap/sync", params=params, headers={"Authorization": f"Bearer {token}"})
        httpx.get(f"{archive.url}/tap/sync", params=params, auth=("tycho", f"{token}-{secret}"))
        httpx.get(f"{archive.url}/tap/sync", params=params | {"QUERY": f"SELECT {secret}"})
        httpx.post(f"{archive.url}/tap/async", data=params, headers={"Authorization": f"Bearer {token}"})
        requests_in(log, 4)
    assert answer.headers["x-vo-authenticated"] == "tycho"
    lines = requests_in(log)
    assert [(line["status"], line["user"], line["path"]) for line in lines] == [
        (200, "tycho", "/tap/sync"), (401, "", "/tap/sync"), (400, "", "/tap/sync"), (303, "tycho", "/tap/async"),
    ]  # fmt: skip
    written = json.dumps(log, default=str)
    assert secret not in written
    assert token not in written


def test_a_fault_of_ours_shows_no_sql_and_no_password(archive: Served) -> None:
    """A table that is missing, as after a botched migration: every door that asks for it."""
    writer = archive.archive.engines.writer
    access.add_user(writer, "kepler")
    headers = {"Authorization": f"Bearer {access.create_token(writer, 'kepler').text}"}
    archive.change("ALTER TABLE acl.token RENAME TO mislaid")
    try:
        with capture_logs():
            answers = [
                httpx.get(archive.url + path, headers=headers) for path in ("/tap/sync", "/files/x", "/tap/async")
            ]
    finally:
        archive.change("ALTER TABLE acl.mislaid RENAME TO token")
    for answer in answers:
        assert answer.status_code == 500
        for word in ("SELECT", "acl.", "psycopg", "Traceback", "postgresql://"):
            assert word not in answer.text


# ---- a database that is not there


@contextmanager
def database_away(archive: Served) -> Iterator[None]:
    """Connections are ended and refused, as while a server is started anew."""
    name = psycopg.conninfo.conninfo_to_dict(archive.dsn)["dbname"]
    with psycopg.connect(make_conninfo(archive.dsn, dbname="postgres"), autocommit=True) as admin:
        allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
        admin.execute(allow.format(sql.Identifier(str(name)), sql.SQL("false")))
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        try:
            yield
        finally:
            admin.execute(allow.format(sql.Identifier(str(name)), sql.SQL("true")))


def test_without_its_database_the_archive_says_so_and_is_back_when_it_is_back(archive: Served) -> None:
    def ask(path: str, **more: Any) -> httpx.Response:
        return httpx.get(archive.url + path, timeout=30, **more)

    paths = ["/availability", "/tap/availability", "/files/x", "/datalink/links?ID=x", "/tap/async/x"]
    with database_away(archive), capture_logs():
        answers = {path: ask(path) for path in paths} | {"/tap/sync": ask("/tap/sync", params=QUERY)}
        still = ask("/tap/capabilities")
    assert {path: answer.status_code for path, answer in answers.items()} == dict.fromkeys(answers, 503)
    assert "<vosi:available>false" in answers["/availability"].text or ">false<" in answers["/availability"].text
    for path in ("/files/x", "/tap/sync", "/datalink/links?ID=x"):
        assert int(answers[path].headers["retry-after"]) > 0
        assert "psycopg" not in answers[path].text
    assert still.status_code == 200
    # At once, and on every connection: none that died is given to anybody.
    with ThreadPoolExecutor(8) as clients:
        back = list(clients.map(lambda _: ask("/tap/sync", params=QUERY).status_code, range(24)))
    assert set(back) == {200}
    assert ask("/availability").status_code == 200
    wait_until(lambda: ask("/files/x").status_code == 404, 5)


def test_a_request_that_is_no_http_ends_alone(archive: Served) -> None:
    assert by_hand(archive.url, b"\x16\x03\x01nonsense\r\n\r\n").startswith(b"HTTP/1.1 400")
    assert httpx.get(f"{archive.url}/availability").status_code == 200
