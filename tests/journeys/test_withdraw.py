"""What is withdrawn is gone from every answer, is told of with its reason, and its bytes stay until told."""

from pathlib import Path

import pytest
from click.testing import CliRunner

import uraniborg
from archive.access.identity import ANONYMOUS
from archive.app.withdraw_command import withdraw_command
from archive.vo.errors import NotFoundError, UsageError
from datalink.service import DataLinkService
from tests.journeys.archives import Archive, csv, deliver, image


@pytest.fixture
def filled(archive: Archive) -> Archive:
    """A file in two versions, another file, and a catalogue."""
    for name, seed in (("one.fits", 1), ("two.fits", 2), ("one.fits", 3)):
        deliver(archive.drop, f"sky/{name}", image(seed))
        archive.watch_once()
    deliver(archive.drop, "sky/sources.csv", csv(20))
    archive.watch_once()
    return archive


def withdraw(archive: Archive, *words: str) -> str:
    """The command, in this process; what it said."""
    context = uraniborg.new_context()
    context.__dict__["archive"] = archive.opened
    done = CliRunner().invoke(withdraw_command, list(words), obj=context)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


def objects(archive: Archive, file_id: str) -> list[bool]:
    """Of each object of a file: whether it is there."""
    keys = archive.rows("SELECT object_key FROM arc.file WHERE file_id = :id ORDER BY version", id=file_id)
    return [(archive.data_dir / "store" / "objects" / key).is_file() for (key,) in keys]


def given(archive: Archive, file_id: str, version: int | None = None) -> bool:
    """Whether anybody would get the file."""
    service = DataLinkService(archive.opened.engines.writer, archive.opened.access, archive.opened.store, max_ids=10)
    try:
        return service.file(file_id, version, ANONYMOUS).file_id == file_id
    except NotFoundError:
        return False


def test_a_withdrawn_file_is_in_no_answer_in_none_of_its_versions_and_its_bytes_stay(filled: Archive) -> None:
    assert given(filled, "sky/one.fits") and given(filled, "sky/one.fits", 1)
    assert withdraw(filled, "sky/one.fits", "--reason", "wrong field") == "sky/one.fits, version 2: withdrawn\n"
    assert [given(filled, "sky/one.fits", version) for version in (None, 1, 2)] == [False] * 3
    assert given(filled, "sky/two.fits")
    assert filled.seen("SELECT dp_id FROM ivoa.obscore WHERE dp_id LIKE '%.fits'") == [("sky/two.fits",)]
    assert objects(filled, "sky/one.fits") == [True, True]
    (event,) = [event for event in filled.feed() if event.kind == "withdrawn"]
    assert (event.file_id, event.version, event.detail["reason"]) == ("sky/one.fits", 2, "wrong field")
    audited = filled.rows("SELECT subject, object_id, reason FROM acl.audit WHERE deed = 'withdraw'")
    assert audited == [("operator", "sky/one.fits", "wrong field")]
    assert filled.findings() == []


def test_a_withdrawn_catalogues_table_goes_too(filled: Archive) -> None:
    said = withdraw(filled, "sky/sources.csv", "--reason", "magnitudes are wrong")
    assert "cat.sources: no longer published" in said
    assert filled.rows("SELECT to_regclass('cat.sources') IS NULL") == [(True,)]
    assert filled.seen("SELECT count(*) FROM tap_schema.columns WHERE table_name = 'cat.sources'") == [(0,)]


def test_the_same_bytes_do_not_come_in_again_and_mended_ones_are_the_next_version(filled: Archive) -> None:
    withdraw(filled, "sky/one.fits", "--reason", "wrong field")
    for seed in (3, 1):
        deliver(filled.drop, "sky/one.fits", image(seed))
        (report,) = filled.watch_once()
        assert (report.outcome, report.findings[-1].code) == ("quarantined", "withdrawn")
    deliver(filled.drop, "sky/one.fits", image(4))
    assert [(report.outcome, report.version) for report in filled.watch_once()] == [("new_version", 3)]
    assert given(filled, "sky/one.fits")


def test_bytes_are_removed_when_told_and_after_their_row(filled: Archive) -> None:
    keys = [key for (key,) in filled.rows("SELECT object_key FROM arc.file WHERE file_id = 'sky/one.fits'")]
    with pytest.raises(UsageError, match="not withdrawn"):
        withdraw(filled, "sky/one.fits", "--purge")
    assert objects(filled, "sky/one.fits") == [True, True]
    withdraw(filled, "sky/one.fits", "--reason", "not ours")
    assert withdraw(filled, "sky/one.fits", "--purge") == "sky/one.fits: 2 objects removed\n"
    assert filled.rows("SELECT count(*) FROM arc.file WHERE file_id = 'sky/one.fits'") == [(0,)]
    assert filled.rows("SELECT count(*) FROM store.copy WHERE key = ANY(:keys)", keys=keys) == [(0,)]
    assert [Path(filled.data_dir / "store" / "objects" / key).exists() for key in keys] == [False, False]
    assert [event.kind for event in filled.feed()][-2:] == ["withdrawn", "removed"]
    assert filled.findings() == []


def test_mistakes_are_told_and_change_nothing(filled: Archive) -> None:
    assert "--reason" in withdraw(filled, "sky/one.fits")
    with pytest.raises(UsageError, match="reason"):
        withdraw(filled, "sky/one.fits", "--reason", " ")
    with pytest.raises(NotFoundError):
        withdraw(filled, "sky/nothing.fits", "--reason", "x")
    withdraw(filled, "sky/one.fits", "--reason", "x")
    with pytest.raises(UsageError, match="already"):
        withdraw(filled, "sky/one.fits", "--reason", "x")
    assert given(filled, "sky/two.fits")
