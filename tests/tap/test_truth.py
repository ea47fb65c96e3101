"""What a result says of itself, and that no answer is older than the data (journey ii).

On both databases, through the very server that `uraniborg web` starts.
"""

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import httpx
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.io.votable import parse
from astropy.io.votable.dataorigin import extract_data_origin
from click.testing import CliRunner

from archive.database.roles import RoleNames
from archive.holdings import catalogues, published
from archive.vo.columns import Column, Table
from archive.vo.origin import UNKNOWN, Origin
from ingest.table_commands import table_commands
from storage.feed import append_event
from tests.databases import Postgres
from tests.live import ROOT, database_environment
from tests.made.holdings import hold
from tests.served import Served, served

ORIGIN = Origin(
    creator="Brahe, T.", citation="doi:10.0000/stars", article="1598stel.book....B", rights="CC0 1.0",
    reference_url="https://example.org/stars",
)  # fmt: skip
COLUMNS = (
    Column("id", "int", ucd="meta.id;meta.main"),
    Column("ra", "double", unit="deg", ucd="pos.eq.ra;meta.main"),
    Column("dec", "double", unit="deg", ucd="pos.eq.dec;meta.main"),
)


@pytest.fixture(scope="module")
def archive(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An archive that keeps answers, with cat.stars of ten rows."""
    options = {"tap__max_query_kib": 64, "tap__keep_s": 60.0, "tap__keep_answer_kib": 64, "title": "Stjerneborg"}
    with served(postgres, tmp_path_factory.mktemp("truth"), **options) as running:
        publish(running, "cat.stars", 10, ORIGIN)
        publish(running, "cat.twins", 1, ORIGIN)
        with running.archive.engines.begin("writer") as connection:
            hold(connection, "sky/a.fits", bib_reference="2016A&A...594A..91L", obs_collection="spectra")
            hold(connection, "sky/b.fits", bib_reference="2016A&A...594A..91L", obs_collection="spectra")
            hold(connection, "sky/c.fits", obs_collection="other")
        yield running


def publish(archive: Served, name: str, rows: int, origin: Origin = UNKNOWN) -> None:
    """By connections of the test's own: to the server, another process."""
    ours = archive.archive
    values = [pa.array(range(rows), pa.int32()), *(pa.array([float(n) for n in range(rows)]) for _ in range(2))]
    batch = pa.RecordBatch.from_arrays(values, names=[column.name for column in COLUMNS])
    reader = RoleNames.of(ours.urls).reader
    with ours.engines.begin("writer") as connection:
        catalogues.create(
            connection, Table(name, COLUMNS, origin=origin), [batch], ours.sphere, reader=reader, file_id=None
        )


def get(archive: Served, adql: str, headers: dict[str, str] | None = None, **more: str) -> httpx.Response:
    params = {"LANG": "ADQL", "FORMAT": "csv", "QUERY": adql, **more}
    return httpx.get(f"{archive.url}/tap/sync", params=params, headers=headers, timeout=30)


def infos(answer: httpx.Response) -> dict[str, list[tuple[str, str]]]:
    """The INFOs of a VOTable, as astropy reads them: value and content by name."""
    found: dict[str, list[tuple[str, str]]] = {}
    resource = parse(io.BytesIO(answer.content)).resources[0]
    for info in (*resource.infos, *resource.tables[0].infos):
        found.setdefault(info.name, []).append((info.value, info.content or ""))
    return found


# ---- what a result says


def test_a_result_tells_query_identity_time_software_rows_limit_and_what_to_cite(archive: Served) -> None:
    adql = "SELECT TOP 3 * FROM cat.stars"
    answer = get(archive, adql, FORMAT="votable", MAXREC="7")
    origin = extract_data_origin(parse(io.BytesIO(answer.content)))
    assert origin.query.publisher == "Stjerneborg"
    assert origin.query.query == adql
    assert origin.query.service_protocol == "ivo://ivoa.net/std/TAP"
    software = str(origin.query.server_software)
    assert software.startswith("Uraniborg/") and " PostgreSQL/" in software
    assert ("pgSphere/" in software) is (archive.archive.sphere.name == "pgsphere")
    asked = datetime.strptime(str(origin.query.request_date), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert abs(datetime.now(UTC) - asked) < timedelta(minutes=2)
    (dataset,) = origin.origin
    assert (dataset.creator, dataset.citation, dataset.article) == (
        ["Brahe, T."], ["doi:10.0000/stars"], ["1598stel.book....B"],
    )  # fmt: skip
    assert (dataset.rights, dataset.reference_url) == (["CC0 1.0"], ["https://example.org/stars"])
    told = infos(answer)
    assert told["IDENTITY"][0][0] == "anonymous"
    assert told["MAXREC"][0][0] == "7"
    assert "20000000" in told["MAXREC"][0][1]
    assert told["rows"] == [("3", "rows of this table")]
    assert told["citation"][0][1].startswith("cat.stars:")
    both = json.loads(get(archive, "SELECT a.id FROM cat.stars a, cat.twins b", FORMAT="json").content)["info"]
    assert both["creator"] == ["Brahe, T."] * 2


def test_a_result_of_data_sets_names_each_article_of_its_rows_once(archive: Served) -> None:
    told = infos(get(archive, "SELECT dp_id, bib_reference FROM ivoa.obscore", FORMAT="votable"))
    assert [value for value, _ in told["article"]] == ["2016A&A...594A..91L"]
    assert told["rows"][0][0] == "3"
    assert "article" not in infos(get(archive, "SELECT dp_id FROM ivoa.obscore", FORMAT="votable"))


def test_the_rows_are_counted_as_they_were_given(archive: Served) -> None:
    for maxrec, rows, status in ((9, "9", ["OK", "OVERFLOW"]), (10, "10", ["OK"]), (11, "10", ["OK"])):
        answer = get(archive, "SELECT * FROM cat.stars", FORMAT="votable", MAXREC=str(maxrec))
        told = infos(answer)
        assert told["rows"][0][0] == rows
        assert [value for value, _ in told["QUERY_STATUS"]] == status


def status_of(form: str, body: bytes) -> str:
    """Whether rows were cut, as each format says it, by a reader of its own."""
    if form == "json":
        return str(json.loads(body)["status"])
    if form == "fits":
        return str(fits.getheader(io.BytesIO(body), 1).get("QSTATUS", "OK"))
    if form == "parquet":
        header = pq.read_metadata(pa.BufferReader(body)).metadata[b"IVOA.VOTable-Parquet.content"]
        return "OVERFLOW" if b'value="OVERFLOW"' in header else "OK"
    with pa.ipc.open_stream(body) as stream:
        said = [batch.custom_metadata for batch in stream.iter_batches_with_custom_metadata() if batch.custom_metadata]
    return said[-1][b"QUERY_STATUS"].decode() if said else "OK"


@pytest.mark.parametrize("form", ["json", "fits", "parquet", "arrow"])
def test_a_cut_is_told_exactly_where_rows_were_cut_in_every_format(archive: Served, form: str) -> None:
    for top, there in (("", 10), ("TOP 9 ", 9), ("TOP 11 ", 10)):
        for maxrec in (0, there - 1, there, there + 1):
            answer = get(archive, f"SELECT {top}* FROM cat.stars", FORMAT=form, MAXREC=str(maxrec))
            wanted = "OVERFLOW" if maxrec < there else "OK"
            assert status_of(form, answer.content) == answer.headers["x-query-status"] == wanted, (top, maxrec)


def test_a_query_that_is_too_long_is_413_and_a_token_that_is_none_401(archive: Served) -> None:
    for letters, told in ((70_000, "65536 bytes"), (140_000, "larger than is taken")):
        long = archive.query(f"SELECT id FROM cat.stars WHERE 'a' = '{'a' * letters}'")
        assert long.status_code == 413
        assert 'value="ERROR"' in long.text
        assert told in long.text
    unknown = get(archive, "SELECT id FROM cat.stars", headers={"Authorization": "Bearer nobody"})
    assert unknown.status_code == 401
    assert 'value="ERROR"' in unknown.text and "Bearer" in unknown.headers["www-authenticate"]


def test_a_limit_beyond_the_services_own_is_cut_to_it_and_told(archive: Served) -> None:
    told = infos(get(archive, "SELECT TOP 1 id FROM cat.stars", FORMAT="votable", MAXREC="999999999"))
    assert told["MAXREC"][0][0] == "20000000"


def test_a_new_version_of_a_table_is_cited_as_the_former_was(archive: Served) -> None:
    publish(archive, "cat.again", 2, ORIGIN)
    publish(archive, "cat.again", 3, Origin(resource_version="2"))
    with archive.archive.engines.writer.connect() as connection:
        table = published.read_set(connection)["cat.again"].table
    assert table.origin == Origin(**ORIGIN.items(), resource_version="2")
    assert table.rows == 3


# ---- metadata, and whether a client has them


DOCUMENTS = ("/capabilities", "/tap/capabilities", "/tap/tables", "/tap/tables?detail=min", "/tap/tables/cat.stars",
             "/scs/cat.stars/capabilities", "/hips/hipslist")  # fmt: skip


@pytest.mark.parametrize("path", DOCUMENTS)
def test_a_client_that_has_a_document_is_told_so(archive: Served, path: str) -> None:
    time.sleep(1.1 if path.startswith("/tap/tables") else 0)  # what was published a moment ago is known by then
    first = httpx.get(archive.url + path)
    assert first.status_code == 200
    etag = first.headers["etag"]
    for packed in ("identity", "gzip"):
        again = httpx.get(archive.url + path, headers={"If-None-Match": f'"x", {etag}', "Accept-Encoding": packed})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    other = httpx.get(archive.url + path, headers={"If-None-Match": '"another"'})
    assert (other.status_code, other.content) == (200, first.content)


def test_the_tableset_has_the_date_of_its_last_change_once_it_has_settled(archive: Served) -> None:
    url = f"{archive.url}/tap/tables"
    archive.change("UPDATE store.event SET event_time = event_time - interval '1 hour' WHERE kind = 'published'")
    publish(archive, "cat.dated", 1)
    time.sleep(1.1)  # it looks once a second
    young = httpx.get(url)
    assert "last-modified" not in young.headers
    archive.change("UPDATE store.event SET event_time = event_time - interval '1 minute' WHERE kind = 'published'")
    publish(archive, "cat.dated2", 1)
    archive.change("UPDATE store.event SET event_time = event_time - interval '1 minute' WHERE kind = 'published'")
    time.sleep(1.1)
    settled = httpx.get(url)
    assert settled.headers["etag"] != young.headers["etag"]
    modified = parsedate_to_datetime(settled.headers["last-modified"])
    ago = datetime.now(UTC) - modified
    assert timedelta(seconds=55) < ago < timedelta(minutes=2)
    assert httpx.get(url, headers={"If-Modified-Since": settled.headers["last-modified"]}).status_code == 304
    before = format_datetime(modified - timedelta(seconds=1), usegmt=True)
    assert httpx.get(url, headers={"If-Modified-Since": before}).status_code == 200


def test_the_tableset_is_another_after_a_publication_and_after_a_drop(archive: Served) -> None:
    def told() -> tuple[str, bool]:
        time.sleep(1.1)
        answer = httpx.get(f"{archive.url}/tap/tables")
        return answer.headers["etag"], b"<name>cat.passing</name>" in answer.content

    etag, there = told()
    assert not there
    publish(archive, "cat.passing", 1)
    with_it, there = told()
    assert there and with_it != etag
    with archive.archive.engines.begin("writer") as connection:
        published.withdraw(connection, "cat.passing")
    assert told() == (etag, False)


def test_geometry_and_functions_are_told_under_both_spellings_of_their_ivoid(archive: Served) -> None:
    """ADQL-30: clients of TAPRegExt 1.0 know the one, ADQL 2.1 writes the other."""
    root = ElementTree.fromstring(httpx.get(f"{archive.url}/tap/capabilities").content)
    told = {each.get("type"): [form.text for form in each.iter("form")] for each in root.iter("languageFeatures")}
    for kind in ("adqlgeo", "udf"):
        older = told[f"ivo://ivoa.net/std/TAPRegExt#features-{kind}"]
        assert len(older) > 10
        assert told[f"ivo://ivoa.net/std/tapregext#features-{kind}"] == older


# ---- answers that are given again


def rows(answer: httpx.Response) -> int:
    return len(answer.text.split()) - 1


def test_the_same_question_is_answered_from_memory_until_the_data_change(archive: Served) -> None:
    adql = "SELECT id FROM cat.kept"
    publish(archive, "cat.kept", 2)
    first, second = get(archive, adql), get(archive, adql)
    assert (first.status_code, rows(first), "age" in first.headers) == (200, 2, False)
    assert (second.content, second.headers["age"]) == (first.content, "0")
    for name in ("content-type", "content-disposition", "x-maxrec", "x-query-status"):
        assert second.headers[name] == first.headers[name]
    publish(archive, "cat.kept", 5)
    assert rows(get(archive, adql)) == 5  # at once: no clock helps
    assert "age" in get(archive, adql).headers


def test_what_a_command_publishes_cites_and_drops_ends_what_is_kept(archive: Served, tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        ours = SimpleNamespace(archive=archive.archive, writer=archive.archive.engines.writer)
        result = CliRunner().invoke(table_commands, [*arguments], obj=ours)
        assert result.exit_code == 0, result.output
        return result.output

    adql = "SELECT n FROM cat.mine"

    def told() -> dict[str, list[tuple[str, str]]]:
        get(archive, adql, FORMAT="votable")
        answer = get(archive, adql, FORMAT="votable")
        assert "age" in answer.headers
        return infos(answer)

    file = tmp_path / "mine.csv"
    for lines in (3, 4):
        file.write_text("n,m\n" + "1,2\n" * lines)
        run("publish", str(file), "--name", "cat.mine", "--yes", "--creator", "Sophia Brahe")
        assert told()["rows"][0][0] == str(lines)
    assert told()["creator"][0][0] == "Sophia Brahe"
    run("cite", "cat.mine", "--article", "1573star.book....B", "--creator", "")
    assert told()["article"][0][0] == "1573star.book....B" and "creator" not in told()
    assert "article: 1573star.book....B" in run("describe", "cat.mine")
    run("drop", "cat.mine", "--yes")
    assert get(archive, adql).status_code == 400


@pytest.mark.parametrize("postgres", ["embedded"], indirect=True)
def test_what_another_process_publishes_ends_what_is_kept(archive: Served, tmp_path: Path) -> None:
    publish(archive, "cat.theirs", 2)
    adql = "SELECT * FROM cat.theirs"
    assert [rows(get(archive, adql)) for _ in range(2)] == [2, 2]
    file = tmp_path / "theirs.csv"
    file.write_text("n,m\n1,2\n1,2\n1,2\n")
    command = [sys.executable, "-m", "uraniborg", "table", "publish", str(file), "--name", "cat.theirs", "--yes"]
    folder = ["--data-dir", str(archive.archive.settings.data_dir)]
    env = {**os.environ, **database_environment(archive.archive.urls)}
    subprocess.run([*command, *folder], env=env, cwd=ROOT, capture_output=True, check=True, timeout=120)
    assert get(archive, adql).text.split() == ["n,m", "1,2", "1,2", "1,2"]


def test_an_ingest_ends_what_is_kept_and_so_does_a_release_date_that_passes(archive: Served) -> None:
    adql = "SELECT dp_id, data_rights FROM ivoa.obscore"
    before = rows(get(archive, adql))
    assert get(archive, adql).headers["age"]
    with archive.archive.engines.begin("writer") as connection:
        soon = datetime.now(UTC) + timedelta(seconds=2)
        hold(connection, "sky/new.fits", release_date=soon)
        append_event(connection, "archived", "sky/new.fits", 1)
    after = get(archive, adql)
    assert rows(after) == before + 1
    assert "sky/new.fits,proprietary" in after.text
    time.sleep(max(0.0, (soon - datetime.now(UTC)).total_seconds()) + 0.2)
    assert "sky/new.fits,public" in get(archive, adql).text


def test_each_format_coding_and_parameter_has_an_answer_of_its_own(archive: Served) -> None:
    adql = "SELECT id, ra FROM cat.stars WHERE id < 100"
    plain = get(archive, adql, headers={"Accept-Encoding": "identity"})
    for coding in ("gzip", "zstd", "identity"):
        packed = get(archive, adql, headers={"Accept-Encoding": coding})
        assert "age" in packed.headers
        assert packed.headers.get("content-encoding", "identity") == coding
        assert packed.headers["vary"] == "Accept-Encoding"
        body = packed.content
        if coding == "zstd":  # which httpx does not unpack
            body = pa.CompressedInputStream(pa.BufferReader(body), "zstd").read()
        assert body == plain.content
    assert "age" not in get(archive, adql, MAXREC="3").headers
    assert "age" not in get(archive, adql, FORMAT="tsv").headers
    assert rows(get(archive, adql, MAXREC="3")) == 3


@pytest.mark.parametrize(
    "adql", ["SELECT RAND() AS x FROM cat.stars", "SELECT ivo_normal_random(0, 1) AS x FROM cat.stars"]
)
def test_chance_is_not_kept(archive: Served, adql: str) -> None:
    first, second = get(archive, adql), get(archive, adql)
    assert "age" not in second.headers
    assert first.text != second.text


def test_nothing_is_kept_of_somebodys_answers_of_posts_of_mistakes_and_of_large_ones(archive: Served) -> None:
    token = archive.archive.operator_token_path.read_text().strip()
    whose: dict[str, Any] = {"headers": {"Authorization": f"Bearer {token}"}}
    adql = "SELECT id FROM cat.stars WHERE id < 4"
    for _ in range(2):
        mine = get(archive, adql, FORMAT="votable", **whose)
        assert "age" not in mine.headers
        assert infos(mine)["IDENTITY"][0][0] == "operator"
    anonymous = get(archive, adql, FORMAT="votable")
    assert infos(anonymous)["IDENTITY"][0][0] == "anonymous"
    assert "age" in get(archive, adql, FORMAT="votable").headers
    assert "age" not in get(archive, adql, FORMAT="votable", **whose).headers
    for _ in range(2):
        assert "age" not in archive.query(adql).headers
        assert "age" not in get(archive, "SELECT nothing FROM cat.stars").headers
        large = get(archive, "SELECT a.*, b.*, c.*, d.* FROM cat.stars a, cat.stars b, cat.stars c, cat.stars d")
        assert len(large.content) > 64 * 1024
        assert "age" not in large.headers


def test_a_search_is_answered_from_memory_too_until_the_table_is_another(archive: Served) -> None:
    publish(archive, "cat.cones", 3)
    ask = {"RA": "1", "DEC": "1", "SR": "30", "RESPONSEFORMAT": "csv"}

    def search() -> httpx.Response:
        return httpx.get(f"{archive.url}/scs/cat.cones/query", params=ask, timeout=30).raise_for_status()

    assert "age" not in search().headers
    assert rows(search()) == 3 and "age" in search().headers
    publish(archive, "cat.cones", 4)
    assert rows(search()) == 4
