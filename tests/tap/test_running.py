"""Queries as they run: who runs them, what they hold, how they end, and that they hold nothing afterwards (journey ii).

On both databases, through the very server that `uraniborg web` starts; PostgreSQL's own views say what goes on in it.
"""

import io
import json
import socket
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode, urlsplit

import astropy.units as u
import httpx
import numpy as np
import pyarrow as pa
import pytest
from astropy.coordinates import SkyCoord
from astropy.io.votable import parse
from astropy.io.votable.tree import VOTableFile
from astropy.table import Table as AstropyTable
from click.testing import CliRunner

import uraniborg
from archive.access.identity import ANONYMOUS
from archive.app.context import Context
from archive.database.roles import RoleNames
from archive.holdings import catalogues
from archive.vo.columns import Column, Table
from archive.vo.dali import Parameters
from archive.vo.errors import ArchiveError, QueryTimeoutError
from archive.vo.formats import FORMATS
from tap.commands import check_command
from tap.service import Limits, Prepared, TapService
from tap.upload import Fetcher
from tests.databases import Postgres
from tests.served import Served, beside, served, wait_until

STARS = 20_000
FREED_WITHIN_S = 2.0
ENDLESS = "SELECT COUNT(*) AS n FROM cat.stars a, cat.stars b, cat.stars c WHERE a.mag + b.mag > c.mag"
HUGE = "SELECT a.*, b.id AS other FROM cat.stars a, cat.stars b"
SKY = SkyCoord(
    np.random.default_rng(1).uniform(149, 151, STARS) * u.deg, np.random.default_rng(2).uniform(1, 3, STARS) * u.deg
)


@pytest.fixture(scope="module")
def sky(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An archive of three connections for queries, with cat.stars (20,000 rows) and cat.ten (10)."""
    folder = tmp_path_factory.mktemp("running")
    options = {"database__pool_size": 3, "database__pool_timeout_s": 1.0, "tap__sync_timeout_s": 30.0}
    with served(postgres, folder, **options) as archive:
        publish_stars(archive)
        yield archive


def publish_stars(archive: Served) -> None:
    rng = np.random.default_rng(3)
    columns = (
        Column("id", "int", ucd="meta.id;meta.main"),
        Column("ra", "double", unit="deg", ucd="pos.eq.ra;meta.main"),
        Column("dec", "double", unit="deg", ucd="pos.eq.dec;meta.main"),
        Column("mag", "float", unit="mag"),
        Column("name", "char", arraysize="*"),
    )
    ids = np.arange(STARS)
    values = [ids, SKY.ra.deg, SKY.dec.deg, rng.uniform(10, 20, STARS), [f"star {n}" for n in ids]]
    types = [pa.int32(), pa.float64(), pa.float64(), pa.float32(), pa.string()]
    arrays = [pa.array(value, type_) for value, type_ in zip(values, types, strict=True)]
    stars = pa.RecordBatch.from_arrays(arrays, names=[column.name for column in columns])
    reader = RoleNames.of(archive.archive.urls).reader
    with archive.archive.engines.begin("writer") as connection:
        for name, rows in (("stars", stars), ("ten", stars.slice(0, 10))):
            table = Table(f"cat.{name}", columns)
            catalogues.create(connection, table, [rows], archive.archive.sphere, reader=reader, file_id=f"{name}.fits")
    wait_until(lambda: archive.query("SELECT TOP 1 id FROM cat.ten").status_code == 200)


def ask_by_hand(url: str, adql: str, **more: str) -> socket.socket:
    """A request on a socket of its own, that can be left at any time. A small window: nothing is read ahead of us."""
    parts = urlsplit(url)
    body = urlencode({"LANG": "ADQL", "FORMAT": "csv", "QUERY": adql, **more})
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect((str(parts.hostname), int(parts.port or 0)))
    client.sendall(
        f"POST /tap/sync HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
    )
    return client


def prepared(sky: Served, adql: str, *, timeout_s: float = 30.0, batch_rows: int = 1000, **more: str) -> Prepared:
    """A checked query without HTTP, its pages as small as wanted."""
    archive = sky.archive
    limits = Limits(batch_rows=batch_rows)
    tap = TapService(archive.reader_pool, archive.published, archive.sphere, limits, Fetcher())
    given = {"LANG": "ADQL", "QUERY": adql, "FORMAT": "votable/td", **more}
    return tap.prepare(Parameters(given.items()), ANONYMOUS, timeout_s=timeout_s)


def nothing_is_held(sky: Served) -> bool:
    """No query runs, every connection is back in the pool, no temporary table is left."""
    temporary = sky.ask("SELECT count(*) FROM pg_class WHERE relpersistence = 't'")[0][0]
    stats = sky.archive.reader_pool.get_stats()
    return sky.running_queries() == 0 == temporary and stats["pool_available"] == stats["pool_size"]


# ---- who, and who goes away


def test_queries_run_as_the_reader_in_a_transaction_that_may_only_read(sky: Served) -> None:
    client = ask_by_hand(sky.url, ENDLESS)
    wait_until(lambda: sky.running_queries() == 1)
    who = sky.ask("SELECT usename FROM pg_stat_activity WHERE application_name = 'uraniborg-tap' AND state = 'active'")
    client.close()
    assert who == [(RoleNames.of(sky.archive.urls).reader,)]
    with sky.archive.reader_pool.connection() as connection:
        assert connection.execute("SHOW transaction_read_only").fetchone() == ("on",)


def test_a_client_that_leaves_before_the_first_row_frees_its_query(sky: Served) -> None:
    client = ask_by_hand(sky.url, ENDLESS)
    wait_until(lambda: sky.running_queries() == 1)
    client.close()
    wait_until(lambda: nothing_is_held(sky), FREED_WITHIN_S)


def test_a_client_that_leaves_in_the_middle_of_the_stream_frees_its_query(sky: Served) -> None:
    client = ask_by_hand(sky.url, HUGE, MAXREC="20000000")
    assert client.recv(1000).startswith(b"HTTP/1.1 200")
    assert sky.running_queries() == 1
    client.close()
    wait_until(lambda: nothing_is_held(sky), FREED_WITHIN_S)


def test_head_tells_the_headers_and_runs_no_further(sky: Served) -> None:
    params = {"LANG": "ADQL", "QUERY": HUGE, "MAXREC": "20000000", "FORMAT": "csv"}
    answer = httpx.head(f"{sky.url}/tap/sync", params=params, timeout=20)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/csv;header=present"
    assert answer.content == b""
    wait_until(lambda: nothing_is_held(sky), FREED_WITHIN_S)


def test_a_client_that_stops_reading_keeps_no_connection_beyond_the_time_limit(sky: Served) -> None:
    """PostgreSQL's own time-out does not end a backend that waits for its client to read."""
    query = prepared(sky, HUGE, timeout_s=0.5, MAXREC="20000000")
    chunks = query.open(late_failures="raised")
    next(chunks)
    assert sky.running_queries() == 1
    wait_until(lambda: nothing_is_held(sky), 5)
    with pytest.raises(QueryTimeoutError, match=r"0\.5 s"):
        list(chunks)


def test_a_result_that_was_read_whole_keeps_no_connection_while_it_is_sent(sky: Served) -> None:
    query = prepared(sky, "SELECT * FROM cat.ten")
    chunks = query.open()
    wait_until(lambda: nothing_is_held(sky), FREED_WITHIN_S)
    assert b"star 9" in b"".join(chunks)


def test_the_check_of_names_asks_what_is_published(sky: Served) -> None:
    context = Context(uraniborg.create_app, uraniborg.run_jobs, uraniborg.metadata)
    context.__dict__["archive"] = sky.archive
    queries = ["SELECT id FROM cat.stars", "SELECT idd FROM cat.stars", "SELECT id FROM cat.starz"]
    lines = "\n".join(json.dumps({"query": query}) for query in queries)
    result = CliRunner().invoke(check_command, ["--names"], obj=context, input=lines)
    told = [json.loads(line) for line in result.stdout.splitlines()]
    assert [answer["ok"] for answer in told] == [True, False, False]
    assert "did you mean id" in told[1]["error"]
    assert "cat.stars" in told[2]["error"]


# ---- time, and cancelling


def test_a_query_that_takes_too_long_is_a_504_that_points_to_async(sky: Served) -> None:
    with beside(sky, tap__sync_timeout_s=0.5, database__pool_size=2) as impatient:
        answer = impatient.query(ENDLESS)
    assert answer.status_code == 504
    assert answer.headers["content-type"].startswith("application/x-votable+xml")
    assert 'value="ERROR"' in answer.text
    assert "/tap/async" in answer.text
    wait_until(lambda: sky.running_queries() == 0, FREED_WITHIN_S)


def test_a_query_cancelled_before_it_is_opened_never_runs(sky: Served) -> None:
    query = prepared(sky, ENDLESS)
    query.cancel()
    with pytest.raises(ArchiveError, match="cancelled"):
        query.open()
    wait_until(lambda: nothing_is_held(sky), FREED_WITHIN_S)


def test_a_cancel_that_comes_late_does_not_meet_the_next_user_of_the_connection(sky: Served) -> None:
    first = prepared(sky, "SELECT TOP 5000 a.id FROM cat.stars a", batch_rows=100)
    rest = first.open()
    next(rest)
    rest.close()
    second = prepared(sky, "SELECT COUNT(*) AS n FROM cat.stars a, cat.ten b")
    first.cancel()
    assert f"<TD>{STARS * 10}</TD>".encode() in b"".join(second.open())


def test_a_cancelled_query_ends_at_once_and_says_so(sky: Served) -> None:
    query = prepared(sky, ENDLESS)
    with ThreadPoolExecutor(1) as other:
        opened = other.submit(query.open)
        wait_until(lambda: sky.running_queries() == 1)
        query.cancel()
        with pytest.raises(ArchiveError, match="cancelled"):
            opened.result(FREED_WITHIN_S)
    wait_until(lambda: nothing_is_held(sky), FREED_WITHIN_S)


# ---- rows, and how many


@pytest.mark.parametrize("batch_rows", [1, 3, 5, 10, 11])
def test_as_many_rows_come_as_top_and_maxrec_allow_and_a_cut_is_told_exactly_when_there_were_more(
    sky: Served, batch_rows: int
) -> None:
    for top in (None, 0, 3, 10, 12):
        for maxrec in (None, 0, 2, 3, 9, 10, 11):
            head = "" if top is None else f"TOP {top} "
            more = {} if maxrec is None else {"MAXREC": str(maxrec)}
            document = b"".join(prepared(sky, f"SELECT {head}* FROM cat.ten", batch_rows=batch_rows, **more).open())
            there = min(10, 10 if top is None else top)
            wanted = there if maxrec is None else min(there, maxrec)
            is_cut = maxrec == 0 or (maxrec is not None and there > maxrec)
            assert document.count(b"<TR>") == wanted, (top, maxrec)
            assert (b'value="OVERFLOW"' in document) is is_cut, (top, maxrec)


def test_maxrec_0_gives_the_columns_and_runs_nothing(sky: Served) -> None:
    """DALI-05: metadata only, with the overflow told; the query itself would never end."""
    answer = sky.query("SELECT a.*, b.mag + c.mag AS total FROM cat.stars a, cat.stars b, cat.stars c "
                       "ORDER BY a.mag * b.mag + c.mag", MAXREC="0", FORMAT="votable")  # fmt: skip
    table = next(iter(parse(io.BytesIO(answer.content)).iter_tables()))
    assert [field.name for field in table.fields] == ["id", "ra", "dec", "mag", "name", "total"]
    assert len(table.array) == 0
    assert 'value="OVERFLOW"' in answer.text
    wrong = sky.query("SELECT nothing FROM cat.stars", MAXREC="0")
    assert wrong.status_code == 400


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl"])
def test_a_cut_is_told_in_a_header_where_the_format_has_no_place_and_it_is_known_in_time(
    sky: Served, form: str
) -> None:
    def told(adql: str, maxrec: int) -> tuple[str | None, str | None]:
        headers = sky.query(adql, FORMAT=form, MAXREC=str(maxrec)).headers
        return headers.get("x-maxrec"), headers.get("x-query-status")

    assert told("SELECT * FROM cat.ten", 10) == ("10", "OK")
    assert told("SELECT * FROM cat.ten", 9) == ("9", "OVERFLOW")
    assert told("SELECT * FROM cat.ten", 0) == ("0", "OVERFLOW")
    # Longer than the first page: the headers leave before anybody knows.
    assert told("SELECT * FROM cat.stars", STARS - 1) == (str(STARS - 1), None)


def test_every_format_comes_over_http_as_its_media_type(sky: Served) -> None:
    for form in FORMATS:
        answer = sky.query("SELECT * FROM cat.ten", FORMAT=form.aliases[0])
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == form.media_type
        assert answer.headers["content-disposition"].endswith(f'.{form.extension}"')
        assert ("content-encoding" in answer.headers) is not form.is_packed
    listed = httpx.get(f"{sky.url}/tap/capabilities").text
    for form in FORMATS:
        assert f"<mime>{form.media_type}</mime>" in listed
        assert all(f"<alias>{name}</alias>" in listed for name in form.short_names)
    answer = sky.query("SELECT * FROM cat.ten", FORMAT="word")
    assert answer.status_code == 400
    assert all(form.aliases[0] in answer.text for form in FORMATS)


@pytest.mark.parametrize(
    ("form", "few", "many"),
    [("votable/b2", 20_000, 200_000), ("arrow", 20_000, 200_000), ("fits", 20_000, 200_000), ("json", 20_000, 200_000),
     ("parquet", 150_000, 450_000)],  # a row group, and several
)  # fmt: skip
def test_memory_does_not_grow_with_the_number_of_rows(sky: Served, form: str, few: int, many: int) -> None:
    def peak_bytes(rows: int) -> int:
        chunks = prepared(sky, f"SELECT TOP {rows} a.*, b.id AS other FROM cat.stars a, cat.stars b", MAXREC=str(rows),
                          FORMAT=form).open()  # fmt: skip
        tracemalloc.start()
        arrow = max(pa.total_allocated_bytes() for _ in chunks)
        python = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return python + arrow

    peak_bytes(2_000)
    assert peak_bytes(many) < 1.5 * peak_bytes(few)


# ---- uploads


def document(table: AstropyTable, form: str) -> bytes:
    votable = VOTableFile.from_table(table)
    votable.get_first_table().format = form
    out = io.BytesIO()
    votable.to_xml(out)
    return out.getvalue()


def upload(sky: Served, adql: str, **tables: bytes) -> httpx.Response:
    form: dict[str, Any] = {"LANG": "ADQL", "FORMAT": "csv", "QUERY": adql}
    form["UPLOAD"] = [f"{name},param:{name}" for name in tables]
    files = {name: (f"{name}.vot", content) for name, content in tables.items()}
    return httpx.post(f"{sky.url}/tap/sync", data=form, files=files, timeout=60)


@pytest.mark.parametrize("form", ["tabledata", "binary", "binary2"])
def test_an_upload_in_any_serialization_is_matched_with_the_sky_as_astropy_matches_it(sky: Served, form: str) -> None:
    mine = AstropyTable({"n": np.arange(50), "ra": SKY.ra.deg[::400] + 0.003, "dec": SKY.dec.deg[::400]})
    answer = upload(
        sky,
        "SELECT m.n, s.id FROM tap_upload.mine AS m JOIN cat.stars AS s "
        "ON 1 = CONTAINS(POINT(s.ra, s.dec), CIRCLE(m.ra, m.dec, 0.02))",
        mine=document(mine, form),
    )
    assert answer.status_code == 200, answer.text
    found = {tuple(map(int, line.split(","))) for line in answer.text.split()[1:]}
    theirs = SkyCoord(mine["ra"] * u.deg, mine["dec"] * u.deg)
    near = theirs[:, None].separation(SKY[None, :]) < 0.02 * u.deg
    assert found == {(int(n), int(star)) for n, star in np.argwhere(near)} != set()
    wait_until(lambda: nothing_is_held(sky), FREED_WITHIN_S)


def test_two_uploads_are_joined_with_each_other_and_with_the_archive(sky: Served) -> None:
    left = AstropyTable({"id": [3, 4, 5], "flag": ["a", "b", "c"]})
    right = AstropyTable({"id": [4, 5, 6], "weight": [0.5, 0.25, 0.125]})
    answer = upload(
        sky,
        'SELECT l.flag, r.weight, s.name FROM tap_upload."left" AS l JOIN tap_upload."right" AS r ON l.id = r.id '
        "JOIN cat.ten AS s ON s.id = r.id ORDER BY l.flag",
        left=document(left, "tabledata"), right=document(right, "binary2"),
    )  # fmt: skip
    assert answer.text.split("\r\n") == ["flag,weight,name", "b,0.5,star 4", "c,0.25,star 5", ""]


def test_an_upload_may_call_its_columns_as_it_likes(sky: Served) -> None:
    """PostgreSQL has columns of its own, cuts long names, and psycopg has a sign that is not a text's."""
    names = ["xmin", "ctid", 'a"b', "100%", "%(p0)s", "select", "ra (deg)", "é", "x" * 70 + "1", "x" * 70 + "2", "C1"]
    table = AstropyTable({name: [number] for number, name in enumerate(names)})
    answer = upload(sky, "SELECT * FROM tap_upload.odd", odd=document(table, "binary2"))
    assert answer.status_code == 200, answer.text
    assert answer.text.split("\r\n")[1] == ",".join(str(number) for number in range(len(names)))
    chosen = upload(sky, 'SELECT xmin, "a""b", "100%" FROM tap_upload.odd WHERE ctid = 1 AND "select" = 5',
                    odd=document(table, "binary2"))  # fmt: skip
    assert chosen.text.split("\r\n")[1] == "0,2,3"


def test_arrays_and_missing_values_of_an_upload_come_back_as_they_went(sky: Served) -> None:
    text = b"""<VOTABLE version="1.4"><RESOURCE><TABLE>
      <FIELD name="n" datatype="int"><VALUES null="-1"/></FIELD>
      <FIELD name="f" datatype="float"/><FIELD name="a" datatype="double" arraysize="3"/>
      <FIELD name="i" datatype="int" arraysize="*"/><FIELD name="s" datatype="char" arraysize="*"/>
      <DATA><TABLEDATA>
      <TR><TD>7</TD><TD>NaN</TD><TD>1.5 NaN -Inf</TD><TD>1 2 3 4</TD><TD>a,"b",{c}\\d</TD></TR>
      <TR><TD>-1</TD><TD></TD><TD></TD><TD></TD><TD></TD></TR>
      </TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"""
    answer = upload(sky, "SELECT * FROM tap_upload.t ORDER BY n", t=text)
    assert answer.status_code == 200, answer.text
    first, second = answer.text.split("\r\n")[1:3]
    assert first.startswith("7,NaN,1.5 NaN -Inf")
    assert first.endswith('"a,""b"",{c}\\d"')
    assert second.startswith(",")


def test_an_upload_too_wide_for_a_relation_is_the_users_mistake(sky: Served) -> None:
    fields = "".join(f'<FIELD name="c{number}" datatype="int"/>' for number in range(1601))
    wide = f'<VOTABLE version="1.4"><RESOURCE><TABLE>{fields}</TABLE></RESOURCE></VOTABLE>'
    answer = upload(sky, "SELECT c1 FROM tap_upload.wide", wide=wide.encode())
    assert answer.status_code == 400
    assert "1601 columns" in answer.text


# ---- many at once


def test_more_queries_than_connections_wait_for_each_other(sky: Served) -> None:
    with ThreadPoolExecutor(16) as clients:
        answers = list(clients.map(lambda n: sky.query(f"SELECT TOP 1 name FROM cat.stars WHERE id = {n}"), range(48)))
    assert [answer.text.split("\r\n")[1] for answer in answers] == [f"star {n}" for n in range(48)]
    wait_until(lambda: nothing_is_held(sky), FREED_WITHIN_S)


def test_when_no_connection_comes_free_in_time_the_answer_is_503_and_when_to_come_again(sky: Served) -> None:
    busy = [ask_by_hand(sky.url, ENDLESS) for _ in range(3)]
    wait_until(lambda: sky.running_queries() == 3)
    answer = sky.query("SELECT TOP 1 id FROM cat.ten")
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert 'value="ERROR"' in answer.text
    # What asks no question of the catalogue is answered all the while.
    assert httpx.get(f"{sky.url}/tap/capabilities").status_code == 200
    for client in busy:
        client.close()
    wait_until(lambda: nothing_is_held(sky), FREED_WITHIN_S)
    assert sky.query("SELECT TOP 1 id FROM cat.ten").status_code == 200
    where = "application_name = 'uraniborg-tap' AND datname = current_database()"
    assert sky.ask(f"SELECT count(*) FROM pg_stat_activity WHERE {where}")[0][0] <= 3
