"""A backup, restored into an empty place, is the archive again: its rows, its bytes, its answers."""

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
from sqlalchemy.exc import ProgrammingError

import uraniborg
from archive.access import service as access
from archive.access.rights import Grant
from archive.app import backup as saving
from archive.app.restore import chosen, restore
from archive.jobs import queue
from archive.vo.columns import Column, Table
from archive.vo.errors import ArchiveError, ConfigurationError
from storage.errors import ObjectNotFound
from storage.rebuild import renew_labels
from tests.databases import DATABASES
from tests.journeys.archives import Archive, csv, deliver, empty_archive, image
from tests.live import PROGRAM, ROOT

QUERIES = (
    "SELECT * FROM ivoa.obscore ORDER BY obs_publisher_did",
    "SELECT id, ra, dec, mag FROM cat.sources ORDER BY id",
    "SELECT COUNT(*) AS n FROM cat.sources WHERE CONTAINS(POINT('ICRS', ra, dec), CIRCLE('ICRS', 150, 2, 0.5)) = 1",
    "SELECT obs_id FROM ivoa.obscore WHERE INTERSECTS(s_region, CIRCLE('ICRS', 151, 2, 0.1)) = 1",
    "SELECT table_name, column_name, ucd FROM tap_schema.columns ORDER BY table_name, column_name",
)


def fill(archive: Archive) -> None:
    """Files, a second version, a catalogue, a user with a right, and a task that waits."""
    for number in range(3):
        deliver(archive.drop, f"sky/{number}.fits", image(number, ra=150.0 + number))
    deliver(archive.drop, "sky/sources.csv", csv(200))
    archive.watch_once()
    deliver(archive.drop, "sky/0.fits", image(17))
    assert [report.outcome for report in archive.watch_once()] == ["new_version"]
    archive.feed()
    writer = archive.opened.engines.writer
    access.add_user(writer, "tycho", ["hven"])
    access.create_token(writer, "tycho", expires_days=9, label="quadrant")
    access.add_grant(writer, Grant("user:tycho", "collection", "sky", "data"), granted_by="operator")
    access.add_user(writer, "sophie", ["hven"])
    columns = (Column("ra", "double", unit="deg"), Column("dec", "double", unit="deg"), Column("xmin", "char", "*"))
    stars = pa.record_batch([[10.0, 20.0], [1.0, 2.0], ["a", None]], ["ra", "dec", "xmin"])
    archive.opened.own_tables.create("tycho", Table("user_tycho.stars", columns), [stars])
    archive.opened.own_tables.index("user_tycho.stars", "xmin")
    archive.opened.own_tables.share("user_tycho.stars", ["group:hven"])
    with writer.begin() as connection:
        queue.defer(connection, "hips.update", {"file_id": "sky/0.fits"})


def rows(archive: Archive) -> dict[str, list[Any]]:
    """Every row of every table, as text; of its own is what each archive makes for its operator, and that the copies of
    all objects that were restored are to be looked at."""
    own = {
        "acl.token": "WHERE label <> 'operator.token'",
        "acl.audit": "WHERE subject <> 'user:operator'",
        "store.unsettled": "WHERE false",
    }
    tables = [f"{schema}.{name}" for schema, name in saving.declared(uraniborg.metadata())]
    # A job's place in the queue is of the queue that it waits in.
    asked = "SELECT (to_jsonb(t) - 'procrastinate_id')::text COLLATE \"C\" FROM {} AS t {} ORDER BY 1"
    found = {table: archive.rows(asked.format(table, own.get(table, ""))) for table in tables}
    return {"cat.sources": archive.seen("SELECT * FROM cat.sources ORDER BY id")} | found


def own(archive: Archive) -> list[Any]:
    """What a user's table is for her who may read it by her group, and how it is indexed."""
    view = archive.opened.own_views.of("sophie", frozenset({"user:sophie", "group:hven"}))
    with archive.opened.engines.begin("reader") as connection:
        with pytest.raises(ProgrammingError, match="permission denied"), connection.begin_nested():
            connection.exec_driver_sql("SELECT * FROM user_tycho.stars")
        connection.exec_driver_sql(f"SET LOCAL ROLE {view.role}")
        found = connection.exec_driver_sql("SELECT * FROM user_tycho.stars ORDER BY c1").all()
        told = connection.exec_driver_sql("SELECT count(*) FROM tap_schema.columns WHERE table_name ~ '^user'").all()
    indexes = archive.rows("SELECT count(*) FROM pg_indexes WHERE schemaname = 'user_tycho'")
    return [view, found, told, indexes]


def stored(archive: Archive) -> dict[str, bytes]:
    store = archive.data_dir / "store" / "objects"
    return {str(path.relative_to(store)): path.read_bytes() for path in store.rglob("*") if path.is_file()}


def answers(archive: Archive) -> list[tuple[int, bytes]]:
    """What clients are told."""
    app = uraniborg.create_app(archive.opened.settings, archive.opened)

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)  # no socket: both archives have the same public URL
        async with httpx.AsyncClient(transport=transport, base_url="http://archive") as client:
            forms = [{"LANG": "ADQL", "FORMAT": "csv", "QUERY": query} for query in QUERIES]
            told = [await client.post("/tap/sync", data=form) for form in forms]
            paths = ("/files/sky/0.fits", "/files/sky/0.fits?version=1", "/events")
            return told + [await client.get(path) for path in paths]

    told = asyncio.run(ask())
    assert [answer.status_code for answer in told] == [200] * len(told), [answer.text[:300] for answer in told]
    return [(answer.status_code, answer.content) for answer in told]


def back_up(archive: Archive, folder: Path) -> saving.Done:
    return saving.backup(archive.opened, uraniborg.metadata(), folder, version="test")


def test_a_restored_archive_has_the_same_rows_bytes_and_answers(archive: Archive, tmp_path: Path) -> None:
    fill(archive)
    before = rows(archive), stored(archive), answers(archive)
    kept = own(archive)
    assert kept[1:] == [[(10.0, 1.0, "a"), (20.0, 2.0, None)], [(3,)], [(2,)]]
    assert len(before[1]) == 5 and before[2][2][1].split()[1] not in (b"0", b"200")
    done = back_up(archive, tmp_path / "backup")
    assert (done.copied, done.kept, list(saving.verify(tmp_path / "backup", done.snapshot))) == (5, 0, [])
    with empty_archive(archive.postgres, tmp_path / "other") as other:
        restore(other.opened, uraniborg.metadata(), tmp_path / "backup")
        assert rows(other) == before[0]
        assert stored(other) == before[1]
        assert answers(other) == before[2]
        assert own(other) == kept
        assert other.findings() == []
        unsettled = "SELECT object_id FROM store.object EXCEPT SELECT object_id FROM store.unsettled"
        assert other.rows(unsettled) == []
        assert renew_labels(other.opened.objects) == 0, "the labels that lie with the bytes say what the catalogue says"
        waiting = "SELECT task_name, args->>'file_id' FROM jobs.procrastinate_jobs WHERE task_name = 'hips.update'"
        assert other.rows(waiting) == [("hips.update", "sky/0.fits")]
        # and it lives on: versions and events are counted on from where they were
        deliver(other.drop, "sky/0.fits", image(18))
        assert [(report.outcome, report.version) for report in other.watch_once()] == [("new_version", 3)]
        numbers = [event.event_id for event in other.feed()]
        assert numbers == list(range(1, len(numbers) + 1))
        with pytest.raises(ConfigurationError, match="empty place"):
            restore(other.opened, uraniborg.metadata(), tmp_path / "backup")


@pytest.mark.parametrize("postgres", ["embedded"], indirect=True)
def test_the_next_backup_copies_what_is_new_and_each_state_can_be_had(archive: Archive, tmp_path: Path) -> None:
    fill(archive)
    first = back_up(archive, tmp_path / "backup")
    deliver(archive.drop, "sky/new.fits", image(99))
    archive.watch_once()
    second = back_up(archive, tmp_path / "backup")
    assert (second.copied, second.kept) == (1, 5)
    assert saving.snapshots(tmp_path / "backup") == [first.snapshot, second.snapshot]
    assert chosen(tmp_path / "backup", None) == second.snapshot
    with empty_archive(archive.postgres, tmp_path / "other") as other:
        restore(other.opened, uraniborg.metadata(), tmp_path / "backup", snapshot=first.snapshot.name)
        assert other.rows("SELECT count(*) FROM arc.file WHERE file_id = 'sky/new.fits'") == [(0,)]


@pytest.mark.parametrize("postgres", ["embedded"], indirect=True)
def test_what_was_damaged_is_found_and_not_restored(archive: Archive, tmp_path: Path) -> None:
    fill(archive)
    done = back_up(archive, tmp_path / "backup")
    one = next(saving.listed(done.snapshot))
    path = tmp_path / "backup" / "objects" / one.key
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert [str(path) in problem for problem in saving.verify(tmp_path / "backup", done.snapshot)] == [True]
    with empty_archive(archive.postgres, tmp_path / "other") as other:
        with pytest.raises(Exception, match="sha256"):
            restore(other.opened, uraniborg.metadata(), tmp_path / "backup")
        assert other.rows("SELECT count(*) FROM arc.file") == [(0,)]
        path.write_bytes(whole)  # mended, and begun again: what came already stays
        restore(other.opened, uraniborg.metadata(), tmp_path / "backup")
        assert stored(other) == stored(archive)
    table = done.snapshot / done.manifest.tables[0].file_name
    table.write_bytes(table.read_bytes() + b"\0")
    with (
        empty_archive(archive.postgres, tmp_path / "third") as third,
        pytest.raises(ConfigurationError, match="not what"),
    ):
        restore(third.opened, uraniborg.metadata(), tmp_path / "backup")


@pytest.mark.parametrize("postgres", ["embedded"], indirect=True)
def test_bytes_that_the_store_has_lost_are_no_backup_and_tables_nobody_knows_neither(
    archive: Archive, tmp_path: Path
) -> None:
    fill(archive)
    lost = archive.data_dir / "store" / "objects" / max(stored(archive))
    whole = lost.read_bytes()
    lost.unlink()
    with pytest.raises(ObjectNotFound):
        back_up(archive, tmp_path / "backup")
    lost.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ArchiveError, match="not what was stored"):
        back_up(archive, tmp_path / "backup")
    assert saving.snapshots(tmp_path / "backup") == []
    lost.write_bytes(whole)
    with archive.opened.engines.begin("owner") as connection:
        connection.exec_driver_sql("CREATE SCHEMA mine; CREATE TABLE mine.notes (n integer)")
    with pytest.raises(ConfigurationError, match=r"mine\.notes"):
        back_up(archive, tmp_path / "backup")
    with archive.opened.engines.begin("owner") as connection:
        connection.exec_driver_sql("DROP SCHEMA mine CASCADE")
    assert back_up(archive, tmp_path / "backup").kept == 4  # of those that were cut off


@pytest.mark.parametrize("postgres", ["embedded"], indirect=True)
def test_by_commands_into_a_data_folder_that_is_not_there_and_into_another_kind_of_database(
    archive: Archive, tmp_path: Path
) -> None:
    fill(archive)
    before = answers(archive)
    folder = str(tmp_path / "backup")
    assert archive.run("backup", folder).returncode == 0
    assert archive.run("backup", folder, "--verify").stdout == "the backup is whole\n"
    fresh = tmp_path / "fresh"
    words = [*PROGRAM, "restore", folder, "--data-dir", str(fresh)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert "5 objects" in done.stdout
    assert (fresh / "operator.token").stat().st_mode & 0o777 == 0o600
    assert {path.name for path in (fresh / "store" / "objects").rglob("*") if path.is_file()} == {
        Path(key).name for key in stored(archive)
    }
    with DATABASES["pgsphere"]() as postgres, empty_archive(postgres, tmp_path / "sphere") as other:
        assert other.opened.sphere.name == "pgsphere"
        restore(other.opened, uraniborg.metadata(), tmp_path / "backup")
        assert answers(other) == before
        assert own(other) == own(archive)
        indexed = "SELECT count(*) FROM pg_indexes WHERE tablename = 'sources' AND indexdef LIKE '%spoint%'"
        assert other.rows(indexed) == [(1,)]
