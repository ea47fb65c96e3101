"""Journey (i): a file, from the drop folder to a row of ivoa.obscore and an object in the store."""

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from archive.holdings import queries
from ingest.commands import ingest_all
from ingest.describe import describe_path
from ingest.describe.facts import Description
from ingest.service import Report, offers
from storage.rebuild import renew_labels
from tests.journeys.archives import Archive, csv, deliver, files_below, image


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def stored_bytes(archive: Archive, file_id: str, version: int | None = None) -> bytes:
    """The bytes that the archive would send of a version."""
    with archive.opened.engines.writer.connect() as connection:
        held = queries.file(connection, file_id, version)
    assert held is not None
    with archive.opened.store.open(held.object_key) as stream:
        return b"".join(stream)


def ingest(archive: Archive, *paths: Path, root: Path | None = None, replace: bool = False) -> list[Report]:
    """`uraniborg ingest PATH...` in this process."""
    found = offers(paths, collection=None, root=root, default_collection="default")
    return ingest_all(archive.service(replace=replace), found, show=False, quiet=True)


def test_a_file_put_into_the_drop_folder_has_a_row_an_object_and_an_event(archive: Archive) -> None:
    content = image(1)
    deliver(archive.drop, "survey/f1/image.fits", content)
    (report,) = archive.watch_once()
    assert (report.outcome, report.file_id, report.version) == ("accepted", "survey/f1/image.fits", 1)
    with archive.opened.objects.open("survey/f1/image.fits", 1) as stream:
        assert (b"".join(stream), stream.version.media_type) == (content, "application/fits")
    assert renew_labels(archive.opened.objects) == 0, "the label that lies with the bytes says whose they are"
    ((ra, dec, exposure, collection),) = archive.seen(
        "SELECT s_ra, s_dec, t_exptime, obs_collection FROM ivoa.obscore WHERE dp_id = 'survey/f1/image.fits'"
    )
    assert SkyCoord(ra, dec, unit="deg").separation(SkyCoord(150, 2, unit="deg")).arcsec < 0.1
    assert (exposure, collection) == (30.0, "survey")
    assert sha256(stored_bytes(archive, "survey/f1/image.fits")) == sha256(content)
    (event,) = archive.file_events()
    assert (event.event_id, event.kind, event.file_id, event.version) == (1, "archived", "survey/f1/image.fits", 1)
    assert event.detail["sha256"] == sha256(content)
    assert files_below(archive.drop) == ["accepted/survey/f1/image.fits"]


def test_equal_bytes_change_nothing_and_other_bytes_are_the_next_version(archive: Archive) -> None:
    first, second = image(1), image(2)
    outcomes = []
    for content in (first, first, second):
        deliver(archive.drop, "survey/image.fits", content)
        outcomes += [(report.outcome, report.version) for report in archive.watch_once()]
    assert outcomes == [("accepted", 1), ("unchanged", 1), ("new_version", 2)]
    assert archive.seen("SELECT dp_version, target_name FROM ivoa.obscore") == [(2, "field 2")]
    assert stored_bytes(archive, "survey/image.fits", 1) == first
    assert stored_bytes(archive, "survey/image.fits", 2) == second
    assert stored_bytes(archive, "survey/image.fits") == second
    assert [(event.kind, event.version) for event in archive.file_events()] == [("archived", 1), ("archived", 2)]
    assert files_below(archive.drop / "accepted") == [f"survey/image.fits{n}" for n in ("", ".1", ".2")]


def test_files_of_one_name_from_two_folders_are_two_files(archive: Archive) -> None:
    deliver(archive.drop, "a/image.fits", image(1))
    deliver(archive.drop, "b/image.fits", image(2))
    assert {report.outcome for report in archive.watch_once()} == {"accepted"}
    assert archive.seen("SELECT dp_id, dp_version FROM ivoa.obscore ORDER BY dp_id") == [
        ("a/image.fits", 1),
        ("b/image.fits", 1),
    ]


@pytest.mark.parametrize("postgres", ["embedded"], indirect=True)
def test_another_file_never_takes_a_name_unless_that_is_said(archive: Archive, tmp_path: Path) -> None:
    """Two nights below two roots, both with survey/image.fits: the second is told, not made a version of the first."""
    one = deliver(tmp_path / "night1", "survey/image.fits", image(1))
    two = deliver(tmp_path / "night2", "survey/image.fits", image(2))
    assert [report.outcome for report in ingest(archive, one, root=one.parents[1])] == ["accepted"]
    (report,) = ingest(archive, two, root=two.parents[1])
    assert (report.outcome, [finding.code for finding in report.findings]) == ("quarantined", ["name_taken"])
    assert str(one) in report.findings[0].what
    assert two.exists()
    one.write_bytes(image(3))
    assert [report.outcome for report in ingest(archive, one, root=one.parents[1])] == ["new_version"]
    assert [r.outcome for r in ingest(archive, two, root=two.parents[1], replace=True)] == ["new_version"]


def test_a_broken_file_is_put_aside_with_a_report_beside_it_and_the_others_go_in(archive: Archive) -> None:
    whole = image(1)
    deliver(archive.drop, "s/a_cut.fits", whole[:3000])
    deliver(archive.drop, "s/whole.fits", whole)
    assert sorted(report.outcome for report in archive.watch_once()) == ["accepted", "quarantined"]
    assert files_below(archive.drop) == [
        "accepted/s/whole.fits",
        "quarantine/s/a_cut.fits",
        "quarantine/s/a_cut.fits.findings.txt",
    ]
    report = (archive.drop / "quarantine/s/a_cut.fits.findings.txt").read_text()
    assert "error: " in report and "To mend: " in report and "s/a_cut.fits: quarantined" in report
    assert archive.rows("SELECT count(*) FROM arc.file") == [(1,)]


@pytest.mark.parametrize("postgres", ["embedded"], indirect=True)
def test_unfinished_and_hidden_files_are_left_alone(archive: Archive) -> None:
    for name in ("s/a.fits.part", "s/b.fits.tmp", "s/.c.fits"):
        (archive.drop / name).parent.mkdir(exist_ok=True)
        (archive.drop / name).write_bytes(image(1))
    assert archive.watch_once() == []
    assert ingest(archive, archive.drop) == []
    assert files_below(archive.drop) == ["s/.c.fits", "s/a.fits.part", "s/b.fits.tmp"]


def test_a_catalogue_becomes_a_table_that_readers_may_query_with_an_index_on_the_sky(archive: Archive) -> None:
    content = csv(500)
    deliver(archive.drop, "lists/sources.csv", content)
    (report,) = archive.watch_once()
    assert report.outcome == "accepted", report
    told = np.array([line.split(b",")[1:3] for line in content.splitlines()[1:]], dtype=float)
    assert archive.seen("SELECT count(*), min(ra), max(dec) FROM cat.sources") == [
        (500, told[:, 0].min(), told[:, 1].max())
    ]
    columns = archive.seen(
        "SELECT column_name, ucd, indexed FROM tap_schema.columns WHERE table_name = 'cat.sources' "
        "ORDER BY column_index"
    )
    assert ("ra", "pos.eq.ra;meta.main", 1) in columns and ("dec", "pos.eq.dec;meta.main", 1) in columns
    assert [name for name, *_ in columns] == ["id", "ra", "dec", "mag"]
    access = (
        "SELECT am.amname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am am ON am.oid = c.relam"
    )
    assert ("gist",) in archive.rows(f"{access} WHERE i.indrelid = to_regclass('cat.sources')")
    deliver(archive.drop, "lists/sources.csv", csv(20, seed=2))
    assert [report.outcome for report in archive.watch_once()] == ["new_version"]
    assert archive.seen("SELECT count(*) FROM cat.sources") == [(20,)]


def test_catalogues_of_one_name_from_two_folders_are_two_tables(archive: Archive) -> None:
    """The second must not replace the first, and a new version finds its own table again."""
    deliver(archive.drop, "a/sources.csv", csv(30, seed=1))
    deliver(archive.drop, "b/sources.csv", csv(40, seed=2))
    first, second = archive.watch_once()
    assert [finding.code for finding in second.findings if finding.code == "table_renamed"] == ["table_renamed"]
    assert first.outcome == second.outcome == "accepted"
    deliver(archive.drop, "b/sources.csv", csv(41, seed=3))
    archive.watch_once()
    assert archive.seen("SELECT (SELECT count(*) FROM cat.sources), (SELECT count(*) FROM cat.sources_2)") == [(30, 41)]


@pytest.mark.parametrize("postgres", ["embedded"], indirect=True)
def test_the_command_tells_one_line_of_json_a_file(archive: Archive, tmp_path: Path) -> None:
    deliver(tmp_path / "night", "s/good.fits", image(1))
    deliver(tmp_path / "night", "s/broken.fits", image(1)[:3000])
    done = archive.run("ingest", str(tmp_path / "night"), "--json")
    assert done.returncode == 1, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {Path(line["path"]).name: line["outcome"] for line in lines} == {
        "good.fits": "accepted",
        "broken.fits": "quarantined",
    }
    for line in lines:
        assert set(line) == {"path", "outcome", "file_id", "version", "findings"}
        assert all(set(found) == {"level", "code", "where", "what", "mend"} for found in line["findings"])


@pytest.mark.parametrize("postgres", ["embedded"], indirect=True)
def test_an_archive_without_database_is_an_error_of_one_line(archive: Archive, tmp_path: Path) -> None:
    path = deliver(tmp_path / "night", "s/good.fits", image(1))
    archive.postgres.drop()
    done = archive.run("ingest", str(path))
    assert done.returncode == 2
    assert "database" in done.stderr and "Traceback" not in done.stderr


def test_a_catalogue_that_is_not_public_is_kept_but_its_rows_are_not_published(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A published table is everybody's: a mapping that makes a catalogue proprietary must keep its rows from it."""

    def proprietary(*arguments: Any, **more: Any) -> Description:
        description = describe_path(*arguments, **more)
        product = replace(description.product, rights="proprietary", release_date=datetime(2099, 1, 1, tzinfo=UTC))
        return replace(description, product=product)

    monkeypatch.setattr("ingest.service.describe_path", proprietary)
    deliver(archive.drop, "lists/closed.csv", csv(10))
    (report,) = archive.watch_once()
    assert report.outcome == "accepted"
    assert "table_not_public" in {finding.code for finding in report.findings}
    assert archive.rows("SELECT to_regclass('cat.closed') IS NULL") == [(True,)]
    assert archive.seen("SELECT count(*) FROM tap_schema.tables WHERE table_name = 'cat.closed'") == [(0,)]


@pytest.mark.parametrize("postgres", ["embedded"], indirect=True)
def test_two_processes_share_a_long_run_and_a_second_run_finds_all_unchanged(archive: Archive, tmp_path: Path) -> None:
    for number in range(40):
        deliver(tmp_path / "many", f"survey/{number:02d}.fits", image(number))
    once = [archive.run("ingest", "--json", "--workers", "2", str(tmp_path / "many")) for _ in range(2)]
    outcomes = [[json.loads(line) for line in done.stdout.splitlines()] for done in once]
    names = [f"survey/{number:02d}.fits" for number in range(40)]
    assert [[each["file_id"] for each in run] for run in outcomes] == [names, names]
    assert [{each["outcome"] for each in run} for run in outcomes] == [{"accepted"}, {"unchanged"}]
    assert archive.rows("SELECT count(*), max(version) FROM arc.file WHERE obs_collection = 'survey'") == [(40, 1)]
