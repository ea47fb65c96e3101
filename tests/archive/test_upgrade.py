"""The embedded server's next major version: the data come along, and a crash at any moment leaves the old or the new
whole. PostgreSQL 15 of the system stands for what a former release brought."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from archive.database import upgrade
from archive.database.cluster import version_of
from archive.database.embedded import EmbeddedServer
from archive.database.engines import psycopg_dsn
from archive.database.leases import Users
from archive.vo.errors import ArchiveError, ConfigurationError, UnavailableError
from tests.former import former_release
from tests.live import ROOT

# Upgrades, and kills itself as it passes a seam.
KILLED = """
import os, signal, sys
from pathlib import Path
from archive.database.embedded import EmbeddedServer
def passed(seam):
    if seam == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)
EmbeddedServer(Path(sys.argv[1]), durable=False, shared_buffers_mib=16).upgrade(passed=passed)
"""
A_USER = "uraniborg_reader_u_tycho_0123456789abcdef"
QUERIES = (
    "SELECT word, number, place::text, made FROM words ORDER BY number",
    "SELECT last_value FROM counter",
    "SELECT indexname FROM pg_indexes WHERE tablename = 'words'",
)


def server(folder: Path) -> EmbeddedServer:
    return EmbeddedServer(folder, durable=False, shared_buffers_mib=16)


def remembered(folder: Path) -> list[list[Any]]:
    with server(folder) as urls, psycopg.connect(psycopg_dsn(urls.owner)) as connection:
        return [connection.execute(query).fetchall() for query in QUERIES]


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of the former release: the archive's database, and what its operator added to the cluster."""
    folder = tmp_path_factory.mktemp("former")
    with former_release() as version:
        here = server(folder)
        with here as urls:
            with psycopg.connect(psycopg_dsn(urls.owner)) as connection:
                connection.execute("CREATE TABLE words (word text, number int, place float8[], made timestamptz)")
                connection.execute(
                    "INSERT INTO words SELECT 'CREATE ROLE uraniborg_admin;' || chr(10) || chr(233), n,"
                    " ARRAY[n / 3.0::float8, 'NaN'], '2000-01-01'::timestamptz + n * interval '1 us'"
                    " FROM generate_series(1, 1000) n"
                )
                connection.execute("CREATE INDEX words_number ON words (number)")
                connection.execute("CREATE SEQUENCE counter START 41")
                connection.execute("SELECT own_roles.provide(%s)", [A_USER])
                connection.execute(f"GRANT SELECT ON words TO {A_USER}; GRANT USAGE ON SCHEMA public TO {A_USER}")
            with psycopg.connect(psycopg_dsn(here.admin_url()), autocommit=True) as connection:
                connection.execute("CREATE ROLE watcher LOGIN PASSWORD 'sees all'")
                connection.execute("CREATE DATABASE notes OWNER watcher")
            with notes(here) as connection:
                connection.execute("CREATE TABLE note AS SELECT 'of the operator' AS said")
            with (folder / "db/postgresql.conf").open("a") as file:
                file.write("work_mem = '7MB'\n")
        assert version_of(folder / "db") == version
    return folder


@pytest.fixture
def former(made_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made_once, tmp_path / "data"))


def notes(here: EmbeddedServer) -> "psycopg.Connection[tuple[object, ...]]":
    """The operator's own database, as their own role."""
    return psycopg.connect(psycopg_dsn(here.admin_url("notes"), user="watcher", password="sees all"))


def kill(folder: Path, seam: str) -> None:
    """An upgrade that ends as it passes the seam."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder), seam], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


def processes_of(folder: Path) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cwd"):
        try:
            found += [str(entry)] * entry.resolve().is_relative_to(folder)
        except OSError:
            continue
    return found


def test_the_next_major_version_is_asked_for_and_keeps_all_that_the_cluster_had(former: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"made by PostgreSQL 15.*uraniborg db upgrade"):
        server(former).acquire()
    here = server(former)
    user = Users(former / "run/users").register()
    with pytest.raises(UnavailableError, match="1 processes use"):
        here.upgrade()
    user.release()
    with pytest.raises(ConfigurationError, match=r"postgresql-15.*--programs"):
        here.upgrade(former)
    assert version_of(former / "db") == "15"
    told: list[str] = []
    assert here.upgrade(say=told.append) == "15"
    assert "2 tables with 1001 rows" in told[-1]
    assert (version_of(former / "db"), [path.name for path in here.former()]) == ("18", ["db.former-15"])
    assert here.upgrade() is None
    words, counted, indexes = remembered(former)
    assert (len(words), counted, indexes) == (1000, [(41,)], [("words_number",)])
    with here as urls:
        with notes(here) as connection:
            assert connection.execute("SELECT said FROM note").fetchone() == ("of the operator",)
        with psycopg.connect(psycopg_dsn(urls.reader)) as connection:
            assert connection.execute("SHOW work_mem").fetchone() == ("7MB",)
            assert connection.info.server_version // 10_000 == 18
            connection.commit()
            connection.execute(f"SET ROLE {A_USER}")
            assert connection.execute("SELECT count(*) FROM words").fetchone() == (1000,)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("SELECT set_config('role', 'none', false)")
            connection.rollback()
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("SELECT count(*) FROM words")
    assert not processes_of(former)


def test_a_kill_at_any_moment_leaves_the_old_or_the_new_whole(former: Path) -> None:
    with former_release():
        before = remembered(former)
    for seam in ("made", "filled", "compared"):
        kill(former, seam)
        assert version_of(former / "db") == "15"
        with pytest.raises(ConfigurationError, match="db upgrade"):
            server(former).acquire()
    with former_release():  # whoever goes back to the former release has lost nothing
        assert remembered(former) == before
    kill(former, "ready")
    assert (version_of(former / "db"), version_of(former / "db.upgraded")) == ("15", "18")
    assert remembered(former) == before  # the next start ends what was begun
    # Cut off between the two renames, too.
    (former / "db").rename(former / "db.upgraded")
    assert remembered(former) == before
    assert sorted(path.name for path in former.glob("db*")) == ["db", "db-roles.json", "db.former-15", "db.lock"]
    assert not processes_of(former)


def test_an_upgrade_that_does_not_come_out_right_changes_nothing(former: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = iter(({("uraniborg", "public", "words"): 1000}, {("uraniborg", "public", "words"): 999}))
    with monkeypatch.context() as patch:
        patch.setattr(upgrade, "_rows", lambda served: next(counts))
        with pytest.raises(ArchiveError, match=r"differ in uraniborg\.public\.words"):
            server(former).upgrade()
    with (former / "db/postgresql.conf").open("a") as file:
        file.write("old_snapshot_threshold = 1h\n")  # which PostgreSQL 17 removed
    with pytest.raises(ConfigurationError, match="old_snapshot_threshold"):
        server(former).upgrade()
    with pytest.raises(ConfigurationError, match="no database"):
        server(former / "run").upgrade()
    assert version_of(former / "db") == "15" and not processes_of(former)
