"""Users' own tables on the live demo: by pyvo as it is, by whole files, shared; and that nobody else sees them."""

import asyncio
import gzip
import io
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import pyvo
import requests
from astropy.io.votable import from_table
from astropy.table import Table
from click.testing import CliRunner
from pyvo.utils.prototype import activate_features
from sqlalchemy.exc import DBAPIError

import uraniborg
from archive.access.service import add_user, create_token
from archive.app.opened import OpenedArchive
from archive.database import doctor
from archive.database.engines import ROLES, psycopg_dsn
from archive.database.user_roles import public_role, role_of
from archive.holdings.own.keeping import OwnTables, Quota
from archive.holdings.own.names import schema_of
from archive.holdings.running import RunningQuery, Statement
from archive.holdings.sessions import reading
from archive.settings import Loaded
from archive.vo.columns import Column
from archive.vo.columns import Table as Described
from archive.vo.errors import AuthorizationError, TooLargeError
from ingest.table_commands import table_commands
from tap.adql.parser import parse
from tests.live import Live

activate_features("cadc-tb-upload")

TARGETS = b"""<?xml version="1.0"?>
<vosi:table xmlns:vosi="http://www.ivoa.net/xml/VOSITables/v1.0" xmlns:vs="http://www.ivoa.net/xml/VODataService/v1.1"
    xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" type="table">
  <name>targets</name><description>What I want to observe</description>
  <column><name>name</name><ucd>meta.id;meta.main</ucd>
    <dataType xsi:type="vs:VOTableType" arraysize="*">char</dataType></column>
  <column><name>ra</name><unit>deg</unit><ucd>pos.eq.ra;meta.main</ucd>
    <dataType xsi:type="vs:VOTableType">double</dataType></column>
  <column><name>dec</name><unit>deg</unit><ucd>pos.eq.dec;meta.main</ucd>
    <dataType xsi:type="vs:TAPType">DOUBLE</dataType></column>
  <column><name>seen</name><dataType xsi:type="vs:TAPType">TIMESTAMP</dataType></column>
</vosi:table>"""
ROWS = "name\tra\tdec\tseen\n007\t10.5\t-2\t2026-01-02T03:04:05\nM31\t10.68\t41.27\t\n"


@dataclass(frozen=True)
class Person:
    """A user with a token, and pyvo as they have it."""

    name: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def tap(self) -> pyvo.dal.TAPService:
        session = requests.Session()
        session.headers.update(self.headers)
        return pyvo.dal.TAPService(f"{self.url}/tap", session=session)

    def ask(self, method: str, path: str, media_type: str = "", **more: Any) -> httpx.Response:
        headers = {**self.headers, **({"Content-Type": media_type} if media_type else {})}
        return httpx.request(method, f"{self.url}/tap/{path}", headers=headers, timeout=60, **more)

    def query(self, adql: str, **more: str) -> httpx.Response:
        return self.ask("POST", "sync", data={"LANG": "ADQL", "FORMAT": "csv", "QUERY": adql, **more})

    def values(self, adql: str) -> list[str]:
        answer = self.query(adql)
        assert answer.status_code == 200, answer.text
        return answer.text.split("\r\n")[1:-1]

    def put(self, table: str, content: bytes, media_type: str = "text/csv") -> None:
        answer = self.ask("PUT", f"tables/{table}", content=content, media_type=media_type)
        assert answer.status_code == 201, answer.text


@dataclass(frozen=True)
class Place:
    """The live archive, its insides within reach, and people who are known there."""

    archive: OpenedArchive
    alice: Person
    bob: Person
    eve: Person
    nobody: Person

    def admin(self) -> "psycopg.Connection[tuple[Any, ...]]":
        """A superuser in its database."""
        urls = self.archive.urls
        server = self.archive.embedded_server
        url = server.admin_url(urls.owner.database or "") if server else urls.owner.set(username="admin", password=None)
        return psycopg.connect(psycopg_dsn(url), autocommit=True)


@pytest.fixture(scope="module")
def place(live: Live) -> Iterator[Place]:
    """alice, bob (in the group cosmo) and eve (in the group others), as the archive's operator makes them."""
    given = {
        f"database.{role}_url": live.env[f"URANIBORG_DATABASE__{role.upper()}_URL"]
        for role in ("owner", "writer", "reader")
        if live.env
    }
    with OpenedArchive(Loaded.load(live.data_dir, given).settings) as archive:
        people = []
        for name, groups in (("alice", []), ("bob", ["cosmo"]), ("eve", ["others"])):
            add_user(archive.engines.writer, name, groups)
            token = create_token(archive.engines.writer, name).text
            people.append(Person(name, live.url, {"Authorization": f"Bearer {token}"}))
        yield Place(archive, *people, Person("", live.url))


def test_pyvo_makes_loads_indexes_and_removes_a_table_as_it_is(place: Place) -> None:
    tap = place.alice.tap
    tap.create_table("user_alice.targets", io.BytesIO(TARGETS))
    tap.load_table("user_alice.targets", io.StringIO(ROWS))
    tap.load_table("user_alice.targets", io.StringIO("DEC,RA,name\n50.5,250.25,x\n"), format="csv")
    fits = io.BytesIO()
    Table({"name": ["fits"], "ra": [1.0], "dec": [2.0]}).write(fits, format="fits")
    fits.seek(0)
    tap.load_table("user_alice.targets", fits, format="FITSTable")
    tap.create_index("user_alice.targets", "name", unique=True)
    found = tap.search("SELECT name, seen FROM user_alice.targets WHERE DISTANCE(ra, dec, 10.5, -2) < 1").to_table()
    assert [(str(row["name"]), str(row["seen"])) for row in found] == [("007", "2026-01-02T03:04:05")]
    names = tap.search("SELECT name FROM user_alice.targets ORDER BY name")["name"]
    assert [str(name) for name in names] == ["007", "M31", "fits", "x"]
    described = {column.name: column for column in tap.tables["user_alice.targets"].columns}
    assert described["ra"].ucd == "pos.eq.ra;meta.main" and described["ra"].unit == "deg"
    indexed = "SELECT column_name FROM tap_schema.columns WHERE table_name = 'user_alice.targets' AND indexed = 1"
    assert sorted(str(name) for name in tap.search(indexed)["column_name"]) == ["dec", "name", "ra"]
    with pytest.raises(requests.HTTPError, match="400"):  # "x" is there, and is to be unique
        tap.load_table("user_alice.targets", io.StringIO("name\nnew\nx\n"), format="csv")
    assert place.alice.values("SELECT COUNT(*) AS n FROM user_alice.targets") == ["4"]
    with pytest.raises(requests.HTTPError, match="409"):
        tap.create_table("user_alice.targets", io.BytesIO(TARGETS))
    with pytest.raises(pyvo.dal.DALQueryError, match="no column nothing"):
        tap.create_index("user_alice.targets", "nothing")
    job = tap.submit_job("SELECT COUNT(*) AS n FROM user_alice.targets").run()
    job.wait(phases=["COMPLETED", "ERROR"], timeout=60)
    assert job.fetch_result()[0]["n"] == 4
    job.delete()
    tap.remove_table("user_alice.targets")
    assert place.alice.ask("GET", "tables/user_alice.targets").status_code == 404
    assert "user_alice" not in place.alice.ask("GET", "tables").text


@pytest.mark.parametrize("form", ["votable", "fits", "csv", "parquet"])
def test_a_whole_file_makes_table_and_rows_at_once(place: Place, form: str) -> None:
    rng = np.random.default_rng(5)
    ra, dec = rng.uniform(20, 21, 500), rng.uniform(-0.5, 0.5, 500)
    table = Table({"id": np.arange(500), "ra": ra, "dec": dec}, units={"ra": "deg", "dec": "deg"})
    file = io.BytesIO()
    if form == "parquet":
        pq.write_table(pa.table({name: np.asarray(table[name]) for name in table.colnames}), file)
    elif form == "votable":
        from_table(table).to_xml(file)
    else:
        text = io.StringIO()
        table.write(text if form == "csv" else file, format=form)
        file.write(text.getvalue().encode())
    name = f"user_alice.whole_{form}"
    types = {"votable": "application/x-votable+xml", "fits": "application/fits", "csv": "text/csv", "parquet": ""}
    place.alice.put(name, file.getvalue(), types[form])
    inside = f"SELECT COUNT(*) AS n FROM {name} WHERE 1 = CONTAINS(POINT(ra, dec), CIRCLE(20.5, 0, 0.25))"
    apart = np.degrees(np.arccos(np.sin(np.radians(dec)) * 0 + np.cos(np.radians(dec)) * np.cos(np.radians(ra - 20.5))))
    assert place.alice.values(inside) == [str(int(np.sum(apart <= 0.25)))]
    statement = uraniborg.tap_service(place.archive)._translate(  # the planner is told of the sky
        parse(inside), 10, place.archive.own_views.of("alice", frozenset({"user:alice"}))
    )
    with place.admin() as admin:
        admin.execute("SET enable_seqscan = off")
        plan = admin.execute(b"EXPLAIN " + statement.sql.encode(), dict(statement.parameters)).fetchall()
    assert any("sphere_" in line for (line,) in plan), plan
    assert place.alice.ask("DELETE", f"tables/{name}").status_code == 204


SECRET = "name,ra,dec\nprecious,10,20\n"


@pytest.fixture(scope="module")
def secret(place: Place) -> str:
    """A table of alice's that nobody else may know of."""
    place.alice.put("user_alice.secret", SECRET.encode())
    return "user_alice.secret"


@pytest.mark.parametrize("who", ["eve", "nobody"])
def test_by_every_route_anothers_table_is_as_if_it_were_not_there(place: Place, secret: str, who: str) -> None:
    """Every answer is, but for the name, that of a table which nobody has."""
    person: Person = getattr(place, who)

    def told(name: str) -> list[tuple[int, str]]:
        bare = name.partition(".")[2]
        answers = [
            person.query(f"SELECT * FROM {name}"),
            person.query(f"SELECT * FROM {bare}"),
            person.query(f'SELECT * FROM "user_alice"."{bare}"'),
            person.query(f"SELECT (SELECT COUNT(*) FROM {name} AS t) AS n FROM tap_schema.schemas"),
            person.query(f"SELECT COUNT(*) AS n FROM tap_schema.tables WHERE table_name = '{name}'"),
            person.query(f"SELECT COUNT(*) AS n FROM tap_schema.columns WHERE table_name LIKE '{name}%'"),
            person.query(
                "SELECT CAST(table_name AS INTEGER) AS n FROM tap_schema.tables WHERE table_name LIKE 'user%'"
            ),
            person.query("SELECT * FROM tap_schema.schemas WHERE schema_name LIKE 'user%'"),
            person.query("SELECT * FROM tap_schema.columns WHERE description IS NULL AND table_name LIKE 'user%'"),
            person.ask("GET", "tables"),
            person.ask("GET", f"tables/{name}"),
            person.ask("DELETE", f"tables/{name}"),
            person.ask("PUT", f"tables/{name}", content=SECRET),
            person.ask("POST", f"tables/{name}", content=TARGETS),
            person.ask("POST", f"load/{name}", content=SECRET, media_type="text/csv"),
            person.ask("GET", f"tables/{name}/access"),
            person.ask("POST", f"tables/{name}/access", data={"READ": "user:eve"}),
            httpx.get(
                f"{person.url}/scs", params={"TABLE": name, "RA": 10, "DEC": 20, "SR": 1}, headers=person.headers
            ),
        ]
        if who == "eve" and place.archive.sphere.name == "plain":  # jobs take seconds, and are the same on both
            answers.append(job_of(person, "async", {"LANG": "ADQL", "QUERY": f"SELECT * FROM {name}"}))
            answers.append(job_of(person, "table-update", {"table": name, "index": "name"}))
        return [(answer.status_code, plain(answer.text, name)) for answer in answers]

    theirs, none = told(secret), told("user_alice.absent")
    assert theirs == none
    assert all("precious" not in text for _, text in theirs)
    assert {status for status, _ in theirs} <= {200, 400, 401, 403, 404}
    assert place.alice.values(f"SELECT name FROM {secret}") == ["precious"]


def plain(text: str, name: str) -> str:
    """A text without the table's name, and what differs from answer to answer."""
    bare = name.partition(".")[2]
    text = text.replace(bare, "NAME").replace(bare.upper(), "NAME")
    for mark in ('name="request_id" value="', 'name="TIMESTAMP" value="'):
        head, found, rest = text.partition(mark)
        text = head + (found + rest.partition('"')[2] if found else "")
    return text.partition("did you mean")[0]


def job_of(person: Person, path: str, form: dict[str, str]) -> httpx.Response:
    """The error of a job that cannot come right."""
    made = person.ask("POST", path, data={**form, "PHASE": "RUN"})
    assert made.status_code == 303, made.text
    url = made.headers["Location"]
    job = httpx.get(url, params={"WAIT": 30}, headers=person.headers, timeout=60)
    while "ERROR" not in httpx.get(f"{url}/phase", headers=person.headers).text:
        job = httpx.get(url, params={"WAIT": 30}, headers=person.headers, timeout=60)
        assert "COMPLETED" not in job.text
    error = httpx.get(f"{url}/error", headers=person.headers)
    httpx.delete(url, headers=person.headers)
    return error


def test_postgresql_itself_keeps_one_users_table_from_another(place: Place, secret: str) -> None:
    """As if the translator were broken: SQL that names the relation, run as each user's query is."""
    reader = str(place.archive.urls.reader.username)
    shared = "user_bob.for_eve"
    place.bob.put(shared, SECRET.encode())
    place.bob.ask("POST", f"tables/{shared}/access", data={"READ": "user:eve"})
    eve, alice = (place.archive.own_views.of(name, frozenset({f"user:{name}"})).role for name in ("eve", "alice"))
    assert (eve, alice) == (role_of(reader, "user", "eve"), role_of(reader, "user", "alice"))
    column = (Column("c1", "char", "*"),)

    def run(sql: str, role: str | None) -> int:
        statement = Statement(sql, {}, column, role=role, is_own=role in (eve, alice))
        running = RunningQuery(
            place.archive.reader_pool, statement, place.archive.sphere, timeout_s=20, batch_rows=100, maxrec=100
        )
        running.open()
        return sum(batch.num_rows for batch in running.batches())

    def refusals(role: str | None) -> type[Exception]:
        """A user may have been read to until a moment ago; to others it would be a fault of ours."""
        return AuthorizationError if role == eve else psycopg.errors.InsufficientPrivilege

    theirs = "SELECT c1 FROM user_alice.secret"
    assert run(theirs, alice) == 1
    assert run("SELECT c1 FROM user_bob.for_eve", eve) == 1
    becoming = f"SELECT set_config('role', '{alice}', true) AS c1"
    xml = f"SELECT query_to_xml('{theirs}', true, false, '')::text AS c1"
    for role in (eve, public_role(reader), None):
        for sql in (theirs, xml):
            with pytest.raises(refusals(role)):
                run(sql, role)
    for role in (eve, public_role(reader)):
        with pytest.raises(refusals(role)):
            run(f"SELECT c1 FROM ({becoming}) t WHERE ({xml.removesuffix(' AS c1')}) IS NOT NULL", role)
    with reading(place.archive.reader_pool, patience_s=5) as session:  # and what was, does not stay
        assert session.execute("SELECT current_user::text").fetchone() == (reader,)
    findings = doctor.check_user_roles(place.archive.engines)
    assert [finding.level for finding in findings] == ["ok"]


def test_no_role_of_the_archive_can_become_or_make_more_than_it_must(place: Place) -> None:
    engines, urls = place.archive.engines, place.archive.urls
    for role, statement in (
        ("reader", f"SET ROLE {urls.writer.username}"),
        ("reader", f"SET ROLE {urls.owner.username}"),
        ("writer", f"SET ROLE {role_of(str(urls.reader.username), 'user', 'alice')}"),
        ("writer", "CREATE SCHEMA user_mallory"),
        ("writer", "CREATE TABLE ivoa.t (n int)"),
        ("writer", "SELECT own_roles.provide('x')"),
        ("owner", "SELECT own_roles.provide('postgres')"),
        ("owner", "SELECT own_roles.provide('uraniborg_reader_u_x_0123456789abcdef; DROP ROLE x')"),
        ("owner", "SELECT own_roles.join_groups('uraniborg_reader', ARRAY['pg_read_server_files'])"),
        ("owner", "CREATE ROLE mallory"),
        ("owner", "DROP FUNCTION own_roles.provide(text)"),
    ):
        with (
            pytest.raises(DBAPIError, match=r"permission denied|must be owner|is no name|only users"),
            engines.begin(role) as connection,
        ):
            connection.exec_driver_sql(statement)


def test_a_table_is_read_by_those_whom_its_owner_lets_and_only_as_long(place: Place) -> None:
    name = "user_alice.shared"
    place.alice.put(name, b"id,ra,dec\n1,10,20\n2,11,21\n")
    told = place.alice.ask("POST", f"tables/{name}/access", data={"READ": ["group:cosmo"]}).json()
    assert (told["read"], told["rows"]) == (["group:cosmo"], 2)
    assert place.bob.values(f"SELECT id FROM {name} ORDER BY id") == ["1", "2"]
    assert place.bob.values("SELECT table_name FROM tap_schema.tables WHERE schema_name = 'user_alice'") == [name]
    assert place.bob.ask("GET", f"tables/{name}").status_code == 200
    upload = {"UPLOAD": "t,param:f"}
    files = {"f": ("t.csv", b"a,b\n10.0001,20\n", "text/csv")}
    matched = f"SELECT id FROM {name} s JOIN tap_upload.t ON DISTANCE(s.ra, s.dec, t.a, t.b) < 0.01"
    form = {"LANG": "ADQL", "FORMAT": "csv", "QUERY": matched, **upload}
    assert place.bob.ask("POST", "sync", data=form, files=files).text.split() == ["id", "1"]
    assert place.eve.query(f"SELECT id FROM {name}").status_code == 400
    for method, path in (("DELETE", f"tables/{name}"), ("POST", f"load/{name}"), ("GET", f"tables/{name}/access")):
        assert place.bob.ask(method, path).status_code == 403
    with place.archive.engines.begin("writer") as connection:  # eve joins, bob leaves
        change = "UPDATE acl.user SET groups = %s WHERE name = %s"
        connection.exec_driver_sql(change, (["cosmo"], "eve"))
        connection.exec_driver_sql(change, (["others"], "bob"))
    assert place.eve.values(f"SELECT id FROM {name} ORDER BY id") == ["1", "2"]
    assert place.bob.query(f"SELECT id FROM {name}").status_code == 400
    place.alice.ask("POST", f"tables/{name}/access", data={"REVOKE": "group:cosmo", "READ": "user:bob"})
    assert place.eve.query(f"SELECT id FROM {name}").status_code == 400
    assert place.bob.values(f"SELECT id FROM {name} ORDER BY id") == ["1", "2"]
    reader = str(place.archive.urls.reader.username)
    with place.admin() as admin:
        asked = f"SELECT has_table_privilege(%s, '{name}', 'SELECT')"
        can = [admin.execute(asked, [role_of(reader, "user", who)]).fetchone() for who in ("alice", "bob", "eve")]
    assert can == [(True,), (True,), (False,)]
    for wrong, status in (("bob", 400), ("user:nobody", 404), ("group:nobody", 404)):
        assert place.alice.ask("POST", f"tables/{name}/access", data={"READ": wrong}).status_code == status


@pytest.mark.parametrize("live", ["embedded"], indirect=True)
@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("ivoa.obscore", 403), ("cat.mine", 403), ("tap_schema.tables", 403), ("user_bob.mine", 403),
        ("user_alice", 400), ("user_alice.", 400), ("user_alice.a.b", 400), ('user_alice."t"', 400),
        ('"user_alice".t', 400), ("user_alice.t;drop table arc.file", 400), ("user_alice.t'--", 400),
        ("user_alice.t%00", 400), ("user_alice." + "x" * 64, 400), ("user_alice.9", 400), ("user_alice.t\u00e9", 400),
        ("pg_catalog.pg_class", 403),
    ],
)  # fmt: skip
def test_a_name_that_is_none_makes_nothing(place: Place, name: str, status: int) -> None:
    answer = place.alice.ask("PUT", f"tables/{name}", content=SECRET.encode())
    assert (answer.status_code, "Traceback" in answer.text) == (status, False)


@pytest.mark.parametrize("live", ["embedded"], indirect=True)
def test_columns_may_be_called_as_their_author_likes(place: Place) -> None:
    names = [
        "a b",
        'x"y',
        "xmin",
        "select",
        "c2",
        "1; DROP TABLE arc.file",
        "é" * 40,
        "x" * 70,
        "x" * 69 + "y",
        "%s :n",
    ]
    table = Table([[float(place)] for place in range(len(names))], names=names)
    file = io.BytesIO()
    from_table(table).to_xml(file)
    place.alice.put("user_alice.odd", file.getvalue(), "application/x-votable+xml")
    answer = place.alice.query("SELECT * FROM user_alice.odd")
    assert answer.status_code == 200, answer.text
    assert answer.text.split("\r\n")[1] == ",".join(map(str, range(len(names))))
    assert place.alice.values('SELECT "x""y", "xmin", "select" FROM user_alice.odd') == ["1,2,3"]
    update = {"table": "user_alice.odd", "index": 'x"y', "PHASE": "RUN"}
    made = place.alice.ask("POST", "table-update", data=update).headers["Location"]
    while (phase := httpx.get(f"{made}/phase", headers=place.alice.headers).text) in ("QUEUED", "EXECUTING"):
        httpx.get(made, params={"WAIT": 10}, headers=place.alice.headers, timeout=60)
    assert phase == "COMPLETED"


@pytest.mark.parametrize("live", ["embedded"], indirect=True)
def test_what_is_cut_off_or_damaged_leaves_what_was(place: Place) -> None:
    name = "user_alice.whole"
    place.alice.put(name, b"n\n1\n2\n")
    url = urlsplit(place.alice.url)
    head = f"POST /tap/load/{name} HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
    head += f"Authorization: {place.alice.headers['Authorization']}\r\n"
    for more in ("Content-Length: 1000\r\n\r\nn\n3\n4\n", "Transfer-Encoding: chunked\r\n\r\n6\r\nn\n3\n4\n\r\n"):
        with socket.create_connection((url.hostname or "", url.port or 80)) as half:
            half.sendall((head + more).encode())
    fits, parquet = io.BytesIO(), io.BytesIO()
    Table({"n": np.arange(5_000)}).write(fits, format="fits")
    pq.write_table(pa.table({"n": np.arange(5_000)}), parquet)
    damaged = [
        fits.getvalue()[:-9_000],
        parquet.getvalue()[:-2_000],
        b"n\n1\nword\n",
        b"m\n1\n",
        b"",
        b"<VOTABLE>",
        b"\x1f\x8b\x00",
        b'<!DOCTYPE x [<!ENTITY e "y">]><VOTABLE>&e;</VOTABLE>',
        b"n\n99999999999999999999\n",
    ]
    for content in damaged:
        answer = place.alice.ask("POST", f"load/{name}", content=content, media_type="text/csv")
        assert answer.status_code == 400, (content[:20], answer.text)
        if not content.startswith((b"n\n", b"m\n")):  # those would do for a new table
            made = place.alice.ask("PUT", "tables/user_alice.new", content=content, media_type="text/csv")
            assert made.status_code == 400, (content[:20], made.text)
    assert place.alice.values(f"SELECT n FROM {name} ORDER BY n") == ["1", "2"]
    with place.admin() as admin:
        found = admin.execute("SELECT relname FROM pg_class WHERE relnamespace = 'user_alice'::regnamespace")
        assert "new" not in {row[0] for row in found}


def test_no_two_loads_pass_a_quota_together(place: Place) -> None:
    tables = OwnTables(place.archive.engines, place.archive.sphere, Quota(2, 1_000, 100_000))
    add_user(place.archive.engines.writer, "quota")
    columns = (Column("n", "long"),)

    def rows(number: int) -> list[pa.RecordBatch]:
        return [pa.record_batch([pa.array(range(number), pa.int64())], ["n"])]

    tables.create("quota", Described("user_quota.t", columns), rows(300))
    start = threading.Barrier(4)

    def load() -> str:
        start.wait()
        try:
            return str(tables.append("user_quota.t", columns, rows(300)))
        except TooLargeError as refused:
            return str(refused)

    with ThreadPoolExecutor(4) as pool:
        outcomes = [future.result() for future in [pool.submit(load) for _ in range(4)]]
    assert sorted(outcomes)[:2] == ["300", "300"]
    assert all(
        outcome.startswith("your tables may have 1000 rows in all; 900 are taken") for outcome in sorted(outcomes)[2:]
    )
    assert tables.room("quota") == Quota(1, 100, 100_000 - 900 * 8)
    tables.create("quota", Described("user_quota.u", columns), rows(0))
    with pytest.raises(TooLargeError, match="2 tables in all"):
        tables.create("quota", Described("user_quota.v", columns), rows(0))
    wide = [pa.record_batch([pa.array(["x" * 50_000] * 2)], ["s"])]
    tables.drop("user_quota.u")
    with pytest.raises(TooLargeError, match="100000 bytes in all"):
        tables.create("quota", Described("user_quota.w", (Column("s", "char", "*"),)), wide)
    with place.archive.engines.writer.connect() as connection:
        left = connection.exec_driver_sql(
            "SELECT relname FROM pg_class WHERE relnamespace = 'user_quota'::regnamespace"
        )
        assert [row[0] for row in left] == ["t"]


@pytest.mark.parametrize("live", ["embedded"], indirect=True)
def test_what_is_too_much_is_refused_with_413_and_makes_nothing(live: Live, place: Place) -> None:
    """By another server on the same archive, which allows less."""
    settings = {"own_tables.max_rows": 1_000, "own_tables.load_max_mib": 1}
    urls = {f"database.{role}_url": place.archive.urls.of(role).render_as_string(hide_password=False) for role in ROLES}
    add_user(place.archive.engines.writer, "mean")
    token = create_token(place.archive.engines.writer, "mean").text
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "text/csv"}
    long, big = b"n\n" + b"1\n" * 1_001, b"s\n" + b"x" * (2 << 20)

    async def ask(app: Any) -> list[tuple[int, str]]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://archive") as client:
            put = [await client.put("/tap/tables/user_mean.t", content=each, headers=headers) for each in (long, big)]
            packed = await client.put("/tap/tables/user_mean.t", content=gzip.compress(big), headers=headers)
            made = await client.put("/tap/tables/user_mean.t", content=b"n\n" + b"1\n" * 999, headers=headers)
            more = await client.post("/tap/load/user_mean.t", content=b"n\n1\n2\n", headers=headers)
            return [(answer.status_code, answer.text) for answer in (*put, packed, made, more)]

    with OpenedArchive(Loaded.load(live.data_dir, {**urls, **settings}).settings) as archive:
        answers = asyncio.run(ask(uraniborg.create_app(archive.settings, archive)))
    assert [status for status, _ in answers] == [413, 413, 413, 201, 413], answers
    assert "room for 1000 rows" in answers[0][1] and "room for 1 rows" in answers[4][1]
    with place.archive.engines.writer.connect() as connection:
        rows = connection.exec_driver_sql("SELECT row_count FROM arc.own_table WHERE owner = 'mean'").scalars().all()
    assert rows == [999]


@pytest.mark.parametrize("live", ["embedded"], indirect=True)
def test_every_user_has_a_schema_of_their_own(place: Place) -> None:
    names = [
        "alice",
        "Alice",
        "a.b@c.org",
        "a_b@c_org",
        "a-b@c.org",
        "x" * 80,
        "x" * 81,
        "é",
        "è",
        'q"; --',
        "a_0123abcd",
    ]
    schemas = [schema_of(name) for name in names]
    assert len(set(schemas)) == len(names) and schemas[0] == "user_alice"
    add_user(place.archive.engines.writer, "tycho.brahe@hven.dk")
    token = create_token(place.archive.engines.writer, "tycho.brahe@hven.dk").text
    tycho = Person("tycho.brahe@hven.dk", place.alice.url, {"Authorization": f"Bearer {token}"})
    refused = tycho.ask("PUT", "tables/user_tycho.stars", content=SECRET)
    assert refused.status_code == 403 and f"{schema_of(tycho.name)}.NAME" in refused.text
    tycho.put(f"{schema_of(tycho.name)}.stars", SECRET.encode())
    assert tycho.values(f"SELECT name FROM {schema_of(tycho.name)}.stars") == ["precious"]


@pytest.mark.parametrize("live", ["embedded"], indirect=True)
def test_the_operator_lists_shares_and_drops_users_tables_in_the_shell(place: Place) -> None:
    place.alice.put("user_alice.operated", SECRET.encode())
    context = SimpleNamespace(archive=place.archive, writer=place.archive.engines.writer)

    def run(*words: str) -> str:
        done = CliRunner().invoke(table_commands, words, obj=context, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    assert run("share", "user_alice.operated", "user:eve").endswith("read by user:eve\n")
    lines = run("list", "--users").splitlines()
    assert "user_alice.operated\talice\t1\t0.0\tuser:eve" in lines
    assert not any("user_alice" in line for line in run("list").splitlines())
    assert place.eve.values("SELECT name FROM user_alice.operated") == ["precious"]
    run("drop", "user_alice.operated", "--yes")
    assert place.alice.query("SELECT name FROM user_alice.operated").status_code == 400


def test_what_a_table_is_can_be_said_later_and_its_positions_are_then_found(place: Place) -> None:
    place.alice.put("user_alice.later", b"name,lon,lat\na,10,20\n")
    told = (
        TARGETS.replace(b"<name>ra<", b"<name>lon<")
        .replace(b"<name>dec<", b"<name>lat<")
        .partition(b"<column><name>seen")
    )[0] + b"</vosi:table>"
    answer = place.alice.ask("POST", "tables/user_alice.later", content=told, media_type="text/xml")
    assert answer.status_code == 200 and "pos.eq.ra;meta.main" in answer.text
    with place.admin() as admin:
        found = admin.execute("SELECT indexname FROM pg_indexes WHERE tablename = 'later'").fetchall()
    assert len(found) == 1 and found[0][0].startswith("sphere_")
