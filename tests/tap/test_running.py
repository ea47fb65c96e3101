"""Queries as they run: who runs them, what they hold, how they end, and that they hold nothing afterwards (journey ii).

On both databases, through the very server that `uraniborg web` starts; PostgreSQL's own views say what goes on in it.
"""

import bz2
import contextlib
import csv
import gzip
import io
import json
import socket
import struct
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode, urlsplit

import astropy.units as u
import httpx
import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord
from astropy.io.votable import parse
from astropy.io.votable.tree import VOTableFile
from astropy.table import Table as AstropyTable
from click.testing import CliRunner

import uraniborg
from archive.access.identity import ANONYMOUS
from archive.app.opened import SPARE_CONNECTIONS
from archive.database.roles import RoleNames
from archive.holdings import catalogues
from archive.vo.columns import Column, Table
from archive.vo.dali import Parameters
from archive.vo.errors import ArchiveError, QueryTimeoutError
from archive.vo.formats import FORMATS
from archive.vo.regions import Polygon
from tap.commands import check_command
from tap.service import Limits, Prepared, TapService
from tap.upload import Fetcher
from tests.databases import Postgres
from tests.served import Served, beside, served, wait_until
from tests.tap.test_upload_url import answer as answering
from tests.tap.test_upload_url import server

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
    options["tap__queue_timeout_s"] = 1.0
    options["tap__sync_estimate_s"] = 1e9  # endless queries are to run here, not to be refused
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


def tap_of(sky: Served, **limits: Any) -> TapService:
    archive = sky.archive
    return TapService(archive.reader_pool, archive.published, archive.sphere, Limits(**limits), Fetcher())


def prepared(sky: Served, adql: str, *, timeout_s: float = 30.0, batch_rows: int = 1000, **more: str) -> Prepared:
    """A checked query without HTTP, its pages as small as wanted."""
    given = {"LANG": "ADQL", "QUERY": adql, "FORMAT": "votable/td", **more}
    return tap_of(sky, batch_rows=batch_rows).prepare(Parameters(given.items()), ANONYMOUS, timeout_s=timeout_s)


def nothing_is_held(sky: Served) -> bool:
    """No query runs, every connection is back in the pool, no temporary table is left."""
    temporary = sky.ask("SELECT count(*) FROM pg_class WHERE relpersistence = 't'")[0][0]
    stats = sky.archive.reader_pool.get_stats()
    return sky.running_queries() == 0 == temporary and stats["pool_available"] == stats["pool_size"]


# ---- what is expected of them before they run

NAMES = {"plain": "sphere.point_boxes", "pgsphere": "sphere.scircles_of"}
MATCH = "DISTANCE(a.ra, a.dec, b.ra, b.dec) < 0.0005"


@pytest.mark.parametrize(
    ("query", "hopeless"),
    [
        (ENDLESS, True),
        ("SELECT COUNT(*) AS n FROM cat.stars a, cat.stars b WHERE a.mag < b.mag", True),
        (
            "SELECT COUNT(*) AS n FROM cat.stars a, cat.stars b WHERE a.mag < b.mag + (SELECT MIN(id) FROM cat.ten)",
            True,
        ),
        ("SELECT a.mag FROM cat.stars a, cat.stars b WHERE a.mag < b.mag ORDER BY b.mag - a.mag, a.id", True),
        (f"SELECT COUNT(*) AS n FROM cat.stars a, cat.stars b WHERE {MATCH}", False),
        (f"SELECT a.id AS a, b.id AS b FROM cat.stars a LEFT JOIN cat.stars b ON {MATCH} ORDER BY a, b", False),
        ("SELECT COUNT(*) AS n FROM cat.stars a JOIN cat.stars b ON a.id = b.id", False),
        ("SELECT TOP 10 a.id AS a, b.id AS b FROM cat.stars a, cat.stars b", False),
        (f"SELECT TOP 10 COUNT(*) AS n FROM cat.ten a, cat.stars b, cat.ten c WHERE {MATCH}", False),
    ],
)
def test_a_query_that_would_never_end_is_refused_before_it_runs_and_no_other(
    sky: Served, query: str, hopeless: bool
) -> None:
    """What is not refused is run here, within less than it could have been refused for."""
    tap = tap_of(sky, cost_per_s=100_000.0)
    given = Parameters({"LANG": "ADQL", "QUERY": query, "FORMAT": "csv"}.items())
    if hopeless:
        with pytest.raises(QueryTimeoutError, match=r"would take about .* s by .*run it asynchronously"):
            tap.prepare(given, ANONYMOUS, timeout_s=1.0, most_estimate_s=10.0)
        return
    ready = tap.prepare(given, ANONYMOUS, timeout_s=10.0, most_estimate_s=10.0)
    assert b"".join(ready.open(late_failures="raised"))


def test_a_match_goes_through_the_smaller_table_and_asks_the_larger_ones_index(sky: Served) -> None:
    tap = tap_of(sky)
    for tables in ("cat.ten a, cat.stars b", "cat.stars a JOIN cat.ten b"):
        query = f"SELECT a.id AS a, b.id AS b FROM {tables} {'ON' if 'JOIN' in tables else 'WHERE'} {MATCH}"
        plan = "\n".join(tap.explain(query, maxrec=100, analyze=True, timeout_s=30).plan)
        assert "Seq Scan on ten" in plan, plan
        assert "Seq Scan on stars" not in plan, plan
    # Where no index of the larger could serve, that of the smaller is asked.
    moved = "DISTANCE(a.ra, a.dec, b.ra + 0.001, b.dec) < 0.0005"
    query = f"SELECT a.id AS a FROM cat.ten a, cat.stars b WHERE {moved}"
    sql = tap.explain(query, maxrec=100, analyze=False, timeout_s=30).statement.sql
    assert sql.count(NAMES[sky.archive.sphere.name]) == 2
    # Where the larger is narrowed by more than the match, PostgreSQL may begin with it.
    query = f"SELECT a.id AS a, b.id AS b FROM cat.ten a, cat.stars b WHERE {MATCH} AND b.id = 5"
    sql = tap.explain(query, maxrec=100, analyze=False, timeout_s=30).statement.sql
    without = tap.explain(query.replace(" AND b.id = 5", ""), maxrec=100, analyze=False, timeout_s=30).statement.sql
    name = NAMES[sky.archive.sphere.name]
    assert (sql.count(name), without.count(name)) == (2, 1)


# ---- who, and who goes away


def test_queries_run_as_the_reader_in_a_transaction_that_may_only_read(sky: Served) -> None:
    client = ask_by_hand(sky.url, ENDLESS)
    who = "SELECT usename FROM pg_stat_activity WHERE application_name = 'uraniborg-tap' AND state = 'active'"
    wait_until(lambda: sky.ask(who) == [(RoleNames.of(sky.archive.urls).reader,)])
    client.close()
    with sky.archive.reader_pool.connection() as connection:
        assert connection.execute("SHOW transaction_read_only").fetchone() == ("on",)


def test_a_restart_of_the_database_between_two_queries_is_not_noticed(sky: Served) -> None:
    """Sooner than a connection is asked whether it lives, and with many that are dead."""
    asked = {"LANG": "ADQL", "FORMAT": "csv", "QUERY": "SELECT TOP 1 schema_name FROM tap_schema.schemas"}

    def ask(_: int) -> int:
        return httpx.get(f"{sky.url}/tap/sync", params=asked, timeout=20).status_code

    for _ in range(3):
        with ThreadPoolExecutor(6) as crowd:
            assert set(crowd.map(ask, range(12))) == {200}
        others = "application_name = 'uraniborg-tap' AND datname = current_database()"
        sky.ask(f"SELECT pg_terminate_backend(pid, 20000) FROM pg_stat_activity WHERE {others}")  # ms, until it is gone


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
    context = uraniborg.new_context()
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
    # Longer than two pages: the headers leave before anybody knows; of two, the second may have been read ahead.
    assert told("SELECT a.*, b.id AS other FROM cat.stars a, cat.ten b", 5 * STARS) == (str(5 * STARS), None)


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


NASTY = [
    "plain",
    "",
    None,
    "a,b",
    'say "so"',
    "two\r\nlines",
    "\ttab\n",
    "caf\u00e9 \U0001f52d",
    " blanks ",
    "\\.",
    "NULL",
]
FLOATS = [
    0.1,
    1e-7,
    1e22,
    -0.0,
    float("nan"),
    float("inf"),
    float("-inf"),
    None,
    16777217.0,
    5e-324,
    1.7976931348623157e308,
]


def test_a_row_of_very_many_columns_is_a_line_too(sky: Served) -> None:
    columns = ", ".join(f"name AS c{n}, mag + {n} AS d{n}" for n in range(700))
    answer = sky.query(f"SELECT TOP 2 {columns} FROM cat.ten")
    assert answer.status_code == 200, answer.text
    assert [len(row) for row in csv.reader(io.StringIO(answer.text))] == [1400] * 3


@pytest.mark.parametrize("form", ["csv", "tsv"])
def test_lines_that_postgresql_makes_are_those_that_are_made_of_columns(sky: Served, form: str) -> None:
    """Beside a timestamp, for which it makes none, the very same cells go through Arrow."""
    count = len(NASTY)
    whole = [None, *range(-5, count - 6)]
    mine = pa.table({
        "t": NASTY, "d": pa.array(FLOATS, pa.float64()), "f": pa.array([*FLOATS[:9], 1e-45, 3.4e+38], pa.float32()),
        "b": [None, True, False] + [True] * (count - 3), "i": pa.array(whole, pa.int16()),
        "l": pa.array(whole, pa.int64()),
    })  # fmt: skip
    file = io.BytesIO()
    pq.write_table(mine, file)
    given = {"LANG": "ADQL", "FORMAT": form, "UPLOAD": "mine,param:mine"}
    tables = []
    for last in ("d", "CAST('2026-01-31T00:00:00' AS TIMESTAMP)"):
        asked = {**given, "QUERY": f"SELECT t, d, f, b, i, l, {last} AS x FROM tap_upload.mine"}
        answer = httpx.post(f"{sky.url}/tap/sync", data=asked, files={"mine": file.getvalue()}, timeout=60)
        assert answer.status_code == 200, answer.text
        separator = {"csv": ",", "tsv": "\t"}[form]
        reader = csv.reader if form == "csv" else lambda text, **_: (line.rstrip("\r\n").split("\t") for line in text)
        tables.append([row[:-1] for row in reader(io.StringIO(answer.text, newline=""), delimiter=separator)])
    ours, arrows = tables
    assert len(ours) == len(arrows) == count + 1
    for mine_, theirs, text in zip(ours[1:], arrows[1:], NASTY, strict=True):
        for cell, other, name in zip(mine_, theirs, ours[0], strict=True):
            if name in "df" and cell:
                assert struct.pack(">d", float(cell)) == struct.pack(">d", float(other)), (name, cell, other)
                assert cell.lstrip("+-") in ("NaN", "Infinity") or "n" not in cell.lower()
            else:
                assert cell == other, name
        assert mine_[0] == (text or "") or form == "tsv"


# ---- uploads


def document(table: AstropyTable, form: str) -> bytes:
    """The table as its own libraries write it."""
    out = io.BytesIO()
    if form in ("tabledata", "binary", "binary2"):
        votable = VOTableFile.from_table(table)
        votable.get_first_table().format = form
        votable.to_xml(out)
    elif form == "fits":
        table.write(out, format="fits")
    elif form in ("csv", "ecsv", "tab"):
        text = io.StringIO()
        table.write(text, format=f"ascii.{form}")
        return text.getvalue().encode()
    else:
        rows = pa.table({name: table[name].data for name in table.colnames})
        if form == "parquet":
            pq.write_table(rows, out)
        else:
            new = pa.ipc.new_stream if form == "arrow stream" else pa.ipc.new_file
            with new(out, rows.schema) as writer:
                writer.write_table(rows)
    return out.getvalue()


FORMS = ["tabledata", "binary", "binary2", "fits", "csv", "ecsv", "tab", "parquet", "arrow stream", "arrow file"]


def upload(sky: Served, adql: str, **tables: bytes | tuple[str, bytes, str]) -> httpx.Response:
    """A query with tables: their bytes, or as httpx takes a file, with its media type."""
    form: dict[str, Any] = {"LANG": "ADQL", "FORMAT": "csv", "QUERY": adql}
    form["UPLOAD"] = [f"{name},param:{name}" for name in tables]
    files = {name: (name, given) if isinstance(given, bytes) else given for name, given in tables.items()}
    return httpx.post(f"{sky.url}/tap/sync", data=form, files=files, timeout=60)


@pytest.mark.parametrize("form", FORMS)
def test_an_upload_in_any_format_is_matched_with_the_sky_as_astropy_matches_it(sky: Served, form: str) -> None:
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


PACKERS = {"gzip": gzip.compress, "bzip2": bz2.compress, "zstd": lambda data: pa.compress(data, "zstd", asbytes=True)}


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize("form", ["tabledata", "fits", "csv"])
def test_an_upload_may_be_packed(sky: Served, form: str, packing: str) -> None:
    packed = PACKERS[packing](document(AstropyTable({"n": np.arange(5), "x": np.arange(5) / 4}), form))
    assert upload(sky, "SELECT SUM(n) AS n, MAX(x) AS x FROM tap_upload.t", t=packed).text == "n,x\r\n10,1\r\n"


def test_what_an_upload_is_its_bytes_say_and_not_its_media_type(sky: Served) -> None:
    table = AstropyTable({"n": [1, 2, 3]})
    for form in FORMS:
        lying = ("t", document(table, form), "application/fits" if form == "csv" else "text/csv")
        if form == "csv":  # one column without a delimiter: only a media type can say that it is a table
            lying = ("t", document(table, form), "text/csv; header=present")
            refused = upload(sky, "SELECT n FROM tap_upload.t", t=("t", lying[1], "application/fits"))
            assert refused.status_code == 400
            assert "none of VOTable, FITS" in refused.text
        assert upload(sky, "SELECT SUM(n) AS n FROM tap_upload.t", t=lying).text == "n\r\n6\r\n", form


SHAPES = (
    ("POINT", "POINT(150, 2)", [150.0, 2.0]),
    ("CIRCLE", "Circle ICRS 150 2 0.25", [150.0, 2.0, 0.25]),
    ("POLYGON", "polygon 149.8 1.8 150.2 1.8 150 2.2", [149.8, 1.8, 150.2, 1.8, 150.0, 2.2]),
)


def shapes_document(kind: str, xtype: str) -> bytes:
    """A table of one shape of each sort, or of one sort twice, as VOTable would have them."""
    chosen = [shape for shape in SHAPES if kind in ("ANY", shape[0])]
    if kind == "ANY":
        field = f'datatype="char" arraysize="*" {xtype}'
        cells = [text for _, text, _ in chosen[1:]]
    else:
        size = {"POINT": "2", "CIRCLE": "3", "POLYGON": "*"}[kind]
        field = f'datatype="double" arraysize="{size}" {xtype}'
        ((_, _, numbers),) = chosen
        backwards = [*numbers[4:], *numbers[2:4], *numbers[:2]] if kind == "POLYGON" else numbers
        cells = [" ".join(map(str, each)) for each in (numbers, backwards)]
    rows = "".join(f"<TR><TD>{n}</TD><TD>{cell}</TD></TR>" for n, cell in enumerate([*cells, ""]))
    return (f'<VOTABLE version="1.4"><RESOURCE><TABLE><FIELD name="n" datatype="int"/><FIELD name="shape" {field}/>'
            f"<DATA><TABLEDATA>{rows}</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>").encode()  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "xtype"),
    [
        ("CIRCLE", 'xtype="circle"'), ("POLYGON", 'xtype="polygon"'), ("POLYGON", 'ucd="pos.outline;obs.field"'),
        ("ANY", 'xtype="adql:REGION"'), ("ANY", 'xtype="shape"'), ("ANY", 'ucd="pos.outline;obs.field"'),
    ],
)  # fmt: skip
def test_a_region_of_an_upload_is_known_by_xtype_or_ucd_and_asked_like_any_other(
    sky: Served, kind: str, xtype: str
) -> None:
    answer = upload(
        sky,
        "SELECT r.n, COUNT(*) AS stars FROM tap_upload.r AS r JOIN cat.stars AS s "
        "ON 1 = CONTAINS(POINT(s.ra, s.dec), r.shape) GROUP BY r.n ORDER BY r.n",
        r=shapes_document(kind, xtype),
    )
    assert answer.status_code == 200, answer.text
    counted = [int(line.split(",")[1]) for line in answer.text.split()[1:]]
    in_circle = int((SKY.separation(SkyCoord(150 * u.deg, 2 * u.deg)) <= 0.25 * u.deg).sum())
    in_triangle = int(Polygon.from_dali("149.8 1.8 150.2 1.8 150 2.2").contains(SKY.ra.deg, SKY.dec.deg).sum())
    assert counted == {
        "CIRCLE": [in_circle] * 2, "POLYGON": [in_triangle] * 2, "ANY": [in_circle, in_triangle]
    }[kind]  # fmt: skip


def test_points_of_an_upload_are_positions(sky: Served) -> None:
    answer = upload(
        sky, "SELECT COUNT(*) AS n FROM tap_upload.p AS p WHERE 1 = CONTAINS(p.shape, CIRCLE(150, 2, 0.1))",
        p=shapes_document("POINT", 'xtype="point"'),
    )  # fmt: skip
    assert answer.text == "n\r\n2\r\n"


def test_what_says_that_it_is_a_region_and_is_none_stays_what_it_was(sky: Served) -> None:
    text = shapes_document("ANY", 'xtype="adql:REGION"').replace(b"Circle ICRS", b"Somewhere near")
    answer = upload(sky, "SELECT shape FROM tap_upload.r WHERE shape LIKE 'Some%'", r=text)
    assert answer.text == "shape\r\nSomewhere near 150 2 0.25\r\n"
    pairs = shapes_document("POINT", 'xtype="circle"')
    assert upload(sky, "SELECT shape FROM tap_upload.p WHERE n = 0", p=pairs).text == "shape\r\n150 2\r\n"


@pytest.mark.parametrize("form", ["binary2", "parquet", "fits"])
def test_positions_that_are_none_end_no_query(sky: Served, form: str) -> None:
    ra = np.array([150.0, np.nan, 510.0, -210.0, np.nan])
    dec = np.array([2.0, 2.0, 2.0, 2.0, np.nan])
    mine = document(AstropyTable({"n": np.arange(5), "ra": ra, "dec": dec}), form)
    query = "SELECT COUNT(*) AS n FROM tap_upload.m a JOIN tap_upload.m b ON DISTANCE(a.ra, a.dec, b.ra, b.dec) < 1"
    answer = upload(sky, query, m=mine)
    assert answer.status_code == 200, answer.text
    assert answer.text == "n\r\n9\r\n"  # 150, 510 and -210 are one place


def test_a_column_that_no_database_holds_is_left_out_and_told(sky: Served) -> None:
    rows = pa.table({"n": [7], "z": [{"re": 1.0, "im": 2.0}], "blob": [b"xyz"]})
    out = io.BytesIO()
    pq.write_table(rows, out)
    complex_ = AstropyTable({"n": [7], "z": [1 + 2j]})
    for sent in (out.getvalue(), document(complex_, "binary2"), document(complex_, "fits")):
        form = {"LANG": "ADQL", "QUERY": "SELECT * FROM tap_upload.t", "UPLOAD": "t,param:t"}
        answer = httpx.post(f"{sky.url}/tap/sync", data=form, files={"t": sent})
        votable = parse(io.BytesIO(answer.content))
        assert [field.name for field in votable.get_first_table().fields] == ["n"]
        told = [info for info in votable.resources[0].infos if info.name == "UPLOAD"]
        assert "column z was left out" in str(told[0].content)


def bomb() -> bytes:
    return gzip.compress(b"<VOTABLE><!--" + b" " * (3 << 20))


def test_more_than_may_be_uploaded_is_413_and_told_in_the_capabilities(sky: Served) -> None:
    ten = document(AstropyTable({"n": np.arange(10)}), "tabledata")
    query = "SELECT COUNT(*) AS n FROM tap_upload.a"
    with beside(sky, tap__upload_max_rows=15, tap__upload_max_mib=1, database__pool_size=1) as small:
        assert upload(small, query, a=ten).text == "n\r\n10\r\n"
        long = document(AstropyTable({"n": np.arange(16)}), "binary2")
        wide = document(AstropyTable({"n": ["x" * (1 << 20)]}), "tabledata")
        two = AstropyTable({"n": np.arange(16), "m": np.arange(16)})
        longer = [{"a": document(two, form)} for form in FORMS]
        for tables in ({"a": long}, {"a": ten, "b": ten}, {"a": wide}, {"a": bomb()}, *longer):
            answer = upload(small, query, **tables)
            assert answer.status_code == 413, answer.text
            assert 'value="ERROR"' in answer.text
            assert "limit" in answer.text or "unpacked" in answer.text
        told = httpx.get(f"{small.url}/tap/capabilities").text
    assert f'<default unit="row">15</default><hard unit="byte">{1 << 20}</hard>' in told
    wait_until(lambda: nothing_is_held(sky), FREED_WITHIN_S)


@pytest.mark.parametrize("form", FORMS)
def test_a_damaged_upload_is_the_users_mistake_and_never_read_in_part(sky: Served, form: str) -> None:
    whole = document(AstropyTable({"n": np.arange(3000), "x": np.arange(3000) / 7, "s": ["a b"] * 3000}), form)
    for damaged in (whole[: len(whole) // 2], whole[:50] + b"\x00\xff\x00" + whole[60:], b"\x1f\x8b" + whole):
        answer = upload(sky, "SELECT COUNT(*) AS n FROM tap_upload.t", t=damaged)
        is_text = form in ("csv", "ecsv", "tab")
        assert answer.status_code == 400 or is_text, answer.text
        assert answer.status_code in (200, 400)


def test_a_table_is_uploaded_by_url_where_the_settings_allow_it(sky: Served) -> None:
    table = document(AstropyTable({"n": [1, 2, 3]}), "csv")
    query = {"LANG": "ADQL", "FORMAT": "csv", "QUERY": "SELECT SUM(n) AS n FROM tap_upload.t"}
    with server(answering(table, Content_Type="text/csv")) as address:
        query["UPLOAD"] = f"t,http://{address}/t.csv"
        refused = httpx.post(f"{sky.url}/tap/sync", data=query)
        assert refused.status_code == 400
        assert "private network" in refused.text
        with beside(sky, tap__upload_allowed_hosts=["127.0.0.1"], database__pool_size=1) as open_:
            assert httpx.post(f"{open_.url}/tap/sync", data=query).text == "n\r\n6\r\n"


STILTS_BOUNDARY = "<<<--------------MULTIPART-BOUNDARY------->>>"


@pytest.mark.parametrize(
    ("boundary", "quote", "lead", "part", "is_chunked"),
    [
        (STILTS_BOUNDARY, '"', "\r\n", "Content-Type: application/x-votable+xml\r\n", True),  # STILTS, TOPCAT
        ("===1795329761858===", "", "", "Content-Type: None\r\n", False),  # astroquery's TapPlus
        ("0123456789abcdef0123456789abcdef", "", "", "", False),  # pyvo
    ],
)
def test_uploads_are_understood_as_the_clients_send_them(
    sky: Served, boundary: str, quote: str, lead: str, part: str, is_chunked: bool
) -> None:
    """The requests that STILTS 3.4.7, astroquery 0.4.11 and pyvo 1.9.1 were seen to send."""
    table = document(AstropyTable({"n": [1, 2, 3]}), "tabledata")
    values = {"REQUEST": "doQuery", "LANG": "ADQL", "FORMAT": "csv", "UPLOAD": "up1,param:upload_up1",
              "QUERY": "SELECT SUM(n) AS n FROM TAP_UPLOAD.up1"}  # fmt: skip
    kind = "Content-Type: text/plain; charset=UTF-8\r\n" if is_chunked else ""
    body = lead.encode()
    for name, value in values.items():
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n{kind}\r\n{value}\r\n'.encode()
    body += f'--{boundary}\r\nContent-Disposition: form-data; name="upload_up1"; filename="up1"\r\n{part}\r\n'.encode()
    body += table + f"\r\n--{boundary}--\r\n".encode()
    pieces = (body[start : start + 1000] for start in range(0, len(body), 1000))
    answer = httpx.post(
        f"{sky.url}/tap/sync", content=pieces if is_chunked else body,
        headers={"Content-Type": f"multipart/form-data; boundary={quote}{boundary}{quote}"},
    )  # fmt: skip
    assert answer.text == "n\r\n6\r\n"


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
    assert sky.ask(f"SELECT count(*) FROM pg_stat_activity WHERE {where}")[0][0] <= 3 + SPARE_CONNECTIONS


QUICK = "SELECT TOP 1 name FROM cat.ten WHERE id = 7"


def answered(client: socket.socket) -> bytes:
    """All that comes within two seconds, at its end or not."""
    client.settimeout(FREED_WITHIN_S)
    told = b""
    with contextlib.suppress(TimeoutError):
        while not told.endswith(b"0\r\n\r\n") and (more := client.recv(65536)):
            told += more
    return told


def test_who_comes_when_all_are_busy_waits_in_line_and_who_finds_it_too_long_is_told_when_to_come_again(
    sky: Served,
) -> None:
    with beside(sky, database__pool_size=1, tap__queue_max=2, tap__sync_estimate_s=1e9) as narrow:
        busy = ask_by_hand(narrow.url, ENDLESS)
        wait_until(lambda: sky.running_queries() == 1)
        waiting = [ask_by_hand(narrow.url, QUICK) for _ in range(2)]
        time.sleep(0.5)  # nobody outside sees them wait
        refused = narrow.query(QUICK)
        cone = httpx.get(f"{narrow.url}/scs/cat.stars/query?RA=150&DEC=2&SR=0.1")
        images = httpx.get(f"{narrow.url}/sia2/query?POS=CIRCLE+150+2+1")
        waiting[0].close()  # its place in line is another's now
        time.sleep(0.2)
        waiting.append(ask_by_hand(narrow.url, QUICK))
        time.sleep(0.5)
        assert sky.running_queries() == 1
        busy.close()
        assert all(b"star 7" in answered(client) for client in waiting[1:])
    for answer in (refused, cone, images):
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert "2 requests wait already" in answer.text
    assert 'name="QUERY_STATUS" value="ERROR"' in refused.text
    assert 'name="Error"' in cone.text
    assert "TransientFault: " in images.text
    wait_until(lambda: nothing_is_held(sky), FREED_WITHIN_S)


def test_nobody_waits_in_line_longer_than_the_settings_say(sky: Served) -> None:
    with beside(sky, database__pool_size=1, tap__queue_timeout_s=0.5, tap__sync_estimate_s=1e9) as impatient:
        busy = ask_by_hand(impatient.url, ENDLESS)
        wait_until(lambda: sky.running_queries() == 1)
        answer = impatient.query(QUICK)
        busy.close()
        assert answer.status_code == 503
        assert "no turn came within 0.5 s" in answer.text
        assert impatient.query(QUICK).status_code == 200


def test_a_result_that_is_read_slowly_keeps_nobody_waiting_once_postgresql_has_given_it(sky: Served) -> None:
    with beside(sky, database__pool_size=1, tap__queue_timeout_s=1.0) as narrow:
        slow = ask_by_hand(narrow.url, "SELECT a.*, b.name AS other FROM cat.stars a, cat.ten b", MAXREC="9999")
        assert slow.recv(1000).startswith(b"HTTP/1.1 200")
        assert narrow.query(QUICK).status_code == 200
        slow.close()


def test_a_client_that_takes_nothing_is_left_and_its_query_ended(sky: Served) -> None:
    with beside(sky, server__stalled_s=0.5) as impatient:
        stalled = ask_by_hand(impatient.url, HUGE, MAXREC="20000000")
        assert stalled.recv(1000).startswith(b"HTTP/1.1 200")
        wait_until(lambda: nothing_is_held(sky), 0.5 + FREED_WITHIN_S)
        assert not answered(stalled).endswith(b"0\r\n\r\n")
