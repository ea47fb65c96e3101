"""Taking files in: what is wrong with one file is in its report, and the next one goes in."""

import asyncio
import io
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from astropy.io.votable import parse_single_table

import uraniborg
from archive.vo.errors import ArchiveError
from ingest import service as service_module
from ingest.commands import ingest_all
from ingest.service import Offer, Report, offers
from tests.ingest.privileges import without_privileges
from tests.journeys.archives import Archive, csv, deliver, files_below, image

EMBEDDED = pytest.mark.parametrize("postgres", ["embedded"], indirect=True)
ODD_NAMES = (
    "a b+c%#é.fits",
    "100%.fits",
    "what?&x=1;y.fits",
    "%2e%2e%2f.fits",
    'it\'s "quoted" \\ back.fits',
    "星雲.fits",
    "trailing dot.",
    "[1](2){3}~^|`<>.fits",
)


def offered(path: Path, relative_path: str | None = None) -> Offer:
    return Offer(path, "survey", relative_path or path.name, str(path))


def codes(report: Report) -> list[str]:
    return [finding.code for finding in report.findings if finding.level == "error"]


@EMBEDDED
def test_whatever_a_file_is_called_its_links_lead_to_its_bytes(archive: Archive) -> None:
    """access_url of obscore to links, access_url of #this to the bytes, and the name it is saved under."""
    contents = {name: image(number) for number, name in enumerate(ODD_NAMES)}
    for name, content in contents.items():
        deliver(archive.drop, f"my survey/{name}", content)
    assert {(r.outcome, r.file_id) for r in archive.watch_once()} == {
        ("accepted", f"my survey/{name}") for name in ODD_NAMES
    }
    urls = dict(map(tuple, archive.rows("SELECT dp_id, access_url FROM ivoa.obscore")))
    links = fetched(archive, [urls[f"my survey/{name}"] for name in ODD_NAMES])
    addresses = []
    for answer in links:
        assert answer.status_code == 200
        (this,) = [row for row in _rows(answer.content) if row["semantics"] == "#this"]
        assert not this["error_message"], this
        # Nothing in the address needs guessing: it is all legal in a URI as it stands.
        assert set(this["access_url"]) <= set(_URI)
        addresses.append(this["access_url"])
    for name, answer in zip(ODD_NAMES, fetched(archive, addresses), strict=True):
        assert (answer.status_code, answer.content) == (200, contents[name]), name
        assert _saved_as(answer.headers["content-disposition"]) == name


def fetched(archive: Archive, urls: Sequence[str]) -> list[httpx.Response]:
    """What the archive answers to each URL, whatever host it names."""
    app = uraniborg.create_app(archive.opened.settings, archive.opened)

    async def fetch() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as client:
            return [await client.get(url) for url in urls]

    return asyncio.run(fetch())


_URI = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:/?#@!$&'()*+,;=%"


def _rows(document: bytes) -> list[dict[str, str]]:
    table = parse_single_table(io.BytesIO(document)).to_table()
    return [{name: str(row[name] or "") for name in ("semantics", "access_url", "error_message")} for row in table]


def _saved_as(disposition: str) -> str:
    """The name that a browser takes: filename* goes before filename (RFC 6266 §4.3)."""
    _, _, encoded = disposition.partition("filename*=UTF-8''")
    return unquote(encoded, errors="strict")


@EMBEDDED
@pytest.mark.parametrize("name", [b"caf\xe9.fits", b"bell\x07.fits", b"two\nlines.fits", "\u2028.fits".encode()])
def test_a_name_that_is_no_text_is_refused_with_a_finding(archive: Archive, name: bytes) -> None:
    folder = archive.drop / "s"
    folder.mkdir()
    Path(os.fsdecode(bytes(folder) + b"/" + name)).write_bytes(image(1))
    deliver(archive.drop, "s/good.fits", image(2))
    outcomes = {codes(report)[0] if codes(report) else report.outcome: report for report in archive.watch_once()}
    assert set(outcomes) == {"accepted", "name_unprintable"}
    told = outcomes["name_unprintable"]
    assert told.path.isprintable() and told.path.encode()
    (report,) = (archive.drop / "quarantine/s").glob("*.findings.txt")
    assert "rename it" in report.read_text()


@EMBEDDED
def test_a_name_of_any_length_is_taken_or_refused_never_cut(archive: Archive, tmp_path: Path) -> None:
    folder = tmp_path / "night"
    taken = deliver(folder, "/".join(["d" * 100] * 9) + "/image.fits", image(1))
    refused = deliver(folder, "/".join(["d" * 200] * 6) + "/image.fits", image(2))
    found = offers([folder], collection="s", root=None, default_collection="d")
    reports = {each.path: each for each in ingest_all(archive.service(), found, show=False, quiet=True)}
    assert reports[str(taken)].outcome == "accepted"
    assert reports[str(taken)].file_id == f"s/{taken.relative_to(folder)}"
    assert codes(reports[str(refused)]) == ["name_too_long"]


@EMBEDDED
def test_an_error_nobody_thought_of_puts_one_file_aside_and_is_logged_whole(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    describe = service_module.describe_path

    def failing(path: Path, **options: Any) -> Any:
        if path.name == "b.fits":
            raise KeyError("NAXIS7")
        return describe(path, **options)

    monkeypatch.setattr(service_module, "describe_path", failing)
    paths = [deliver(tmp_path / "night", name, image(number)) for number, name in enumerate(("a.fits", "b.fits", "c"))]
    found = [offered(path) for path in paths]
    reports = ingest_all(archive.service(), found, show=False, quiet=True)
    assert [report.outcome for report in reports] == ["accepted", "quarantined", "accepted"]
    assert codes(reports[1]) == ["internal_error"]
    assert "KeyError" in reports[1].findings[0].what
    (logged,) = [record for record in caplog.records if record.exc_info]
    assert "b.fits" in logged.getMessage()


@EMBEDDED
def test_what_the_database_refuses_is_one_file_s_fault_and_leaves_no_bytes_behind(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A NUL cannot be kept in text (SQLSTATE 22021); the transaction is rolled back, and the object goes too."""
    add_version = service_module.queries.add_version

    def poisoned(connection: Any, product: Any, stored: Any, **options: Any) -> Any:
        connection.exec_driver_sql("SELECT chr(0)")
        return add_version(connection, product, stored, **options)

    monkeypatch.setattr(service_module.queries, "add_version", poisoned)
    report = archive.service().take(offered(deliver(tmp_path, "a.fits", image(1))))
    assert codes(report) == ["internal_error"]
    monkeypatch.undo()
    assert archive.findings() == []
    assert archive.service().take(offered(tmp_path / "a.fits")).outcome == "accepted"


@EMBEDDED
def test_a_deadlock_is_tried_once_more(archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_version = service_module.queries.add_version
    first = iter([True])

    def deadlocked(connection: Any, product: Any, stored: Any, **options: Any) -> Any:
        if next(first, False):
            connection.exec_driver_sql("DO $$ BEGIN RAISE EXCEPTION 'victim' USING ERRCODE = '40P01'; END $$")
        return add_version(connection, product, stored, **options)

    monkeypatch.setattr(service_module.queries, "add_version", deadlocked)
    assert archive.service().take(offered(deliver(tmp_path, "a.fits", image(1)))).outcome == "accepted"
    assert archive.findings() == []


@EMBEDDED
def test_a_file_or_folder_that_may_not_be_read_is_told_and_the_others_go_in(archive: Archive, tmp_path: Path) -> None:
    folder = tmp_path / "night"
    deliver(folder, "closed.fits", image(1)).chmod(0)
    deliver(folder, "shut/image.fits", image(2))
    deliver(folder, "z.fits", image(3))
    (folder / "shut").chmod(0)
    service = archive.service()
    with without_privileges(folder):
        found = offers([folder], collection="s", root=None, default_collection="d")
        reports = [service.take(each) for each in found if each.path.name != "z.fits"]
    assert {Path(report.path).name: codes(report) for report in reports} == {
        "closed.fits": ["unreadable"],
        "shut": ["unreadable"],
    }
    assert [each.path.name for each in found] == ["closed.fits", "shut", "z.fits"]


@EMBEDDED
def test_a_file_removed_while_it_is_taken_in_is_told(archive: Archive, tmp_path: Path) -> None:
    path = deliver(tmp_path, "a.fits", image(1))
    report = archive.service(passed=lambda seam: path.unlink() if seam == "hash" else None).take(offered(path))
    assert codes(report) == ["vanished"]
    assert codes(archive.service().take(offered(path))) == ["vanished"]
    assert archive.rows("SELECT count(*) FROM arc.file") == [(0,)] and archive.findings() == []


@EMBEDDED
def test_a_file_still_being_written_is_told_and_leaves_nothing(archive: Archive, tmp_path: Path) -> None:
    path = deliver(tmp_path, "a.fits", image(1))
    report = archive.service(passed=lambda seam: path.write_bytes(image(2)) and None).take(offered(path))
    assert codes(report) == ["file_changed"]
    assert archive.rows("SELECT count(*) FROM arc.file") == [(0,)] and archive.findings() == []


@EMBEDDED
def test_pipes_and_dangling_links_are_told_and_not_waited_for(archive: Archive) -> None:
    (archive.drop / "s").mkdir()
    os.mkfifo(archive.drop / "s/pipe.fits")
    (archive.drop / "s/link.fits").symlink_to("nowhere.fits")
    assert {Path(report.path).name: codes(report) for report in archive.watch_once()} == {
        "pipe.fits": ["not_a_file"],
        "link.fits": ["vanished"],
    }
    assert {path.name for path in (archive.drop / "quarantine/s").iterdir()} == {
        f"{name}.fits{suffix}" for name in ("pipe", "link") for suffix in ("", ".findings.txt")
    }
    assert files_below(archive.drop / ".claimed") == []


def at_once(*tasks: Callable[[], Report]) -> list[Report]:
    """Run the tasks in threads of their own and give their reports."""
    reports: list[Report] = []
    threads = [threading.Thread(target=lambda task=task: reports.append(task())) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(reports) == len(tasks)
    return reports


def test_two_at_once_with_the_same_bytes_make_one_version_and_one_object(archive: Archive, tmp_path: Path) -> None:
    path = deliver(tmp_path, "a.fits", image(1))
    both = threading.Barrier(2, timeout=30)
    service = archive.service(passed=lambda seam: both.wait() and None if seam == "rename" else None)
    reports = at_once(*[lambda: service.take(offered(path))] * 2)
    assert sorted(report.outcome for report in reports) == ["accepted", "unchanged"]
    assert archive.rows("SELECT file_id, version FROM arc.file") == [("survey/a.fits", 1)]
    assert archive.findings() == []


@EMBEDDED
def test_two_at_once_with_one_name_and_other_bytes_are_not_versions_of_one(archive: Archive, tmp_path: Path) -> None:
    """Both saw the name free; the second must see in its transaction that it is taken."""
    paths = [deliver(tmp_path, f"{n}/a.fits", image(n)) for n in (1, 2)]
    both = threading.Barrier(2, timeout=30)
    service = archive.service(passed=lambda seam: both.wait() and None if seam == "rename" else None)
    reports = at_once(*[lambda path=path: service.take(offered(path)) for path in paths])  # type: ignore[misc]
    assert sorted(report.outcome for report in reports) == ["accepted", "quarantined"]
    assert [codes(report) for report in reports if report.outcome == "quarantined"] == [["name_taken"]]
    assert archive.rows("SELECT count(*) FROM arc.file") == [(1,)] and archive.findings() == []


def test_two_catalogues_of_one_name_at_once_are_two_tables(archive: Archive, tmp_path: Path) -> None:
    paths = [deliver(tmp_path, f"{n}/sources.csv", csv(10 * n, seed=n)) for n in (1, 2)]
    both = threading.Barrier(2, timeout=30)
    service = archive.service(passed=lambda seam: both.wait() and None if seam == "rename" else None)
    tasks = [lambda p=path: service.take(offered(p, f"{p.parent.name}/{p.name}")) for path in paths]  # type: ignore[misc]
    assert [report.outcome for report in at_once(*tasks)] == ["accepted", "accepted"]
    counts = archive.seen("SELECT (SELECT count(*) FROM cat.sources), (SELECT count(*) FROM cat.sources_2)")
    assert sorted(counts[0]) == [10, 20]


def test_offers_name_files_from_where_they_lie(tmp_path: Path) -> None:
    folder = tmp_path / "night"
    for name in ("survey/f1/x.fits", "top.fits", "survey/y.fits.part", ".hidden/z.fits", "survey/.z.fits"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    found = offers([folder], collection=None, root=None, default_collection="default")
    assert [(each.collection, each.relative_path) for each in found] == [("survey", "f1/x.fits"), ("night", "top.fits")]
    (one,) = offers([folder / "survey/y.fits.part"], collection=None, root=folder, default_collection="default")
    assert (one.collection, one.relative_path) == ("survey", "y.fits.part"), "a file that is named is taken at its word"
    (given,) = offers([folder / "top.fits"], collection="mine", root=folder, default_collection="default")
    assert (given.collection, given.relative_path) == ("mine", "top.fits")
    with pytest.raises(ArchiveError, match="does not lie below"):
        offers([folder], collection=None, root=tmp_path / "other", default_collection="default")
    with pytest.raises(ArchiveError, match="there is no such file"):
        offers([folder / "nothing"], collection=None, root=None, default_collection="default")
