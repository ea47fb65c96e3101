"""A PostgreSQL cluster on disk and its processes: made, configured, started, watched, stopped.

Here: what one process does to the cluster while it holds the data folder's lock. Not here: the lock, who else uses the
server, the archive's roles in it (embedded.py); as whom the programs run (confinement.py).
"""

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg

from archive.database.confinement import Binaries, Place, find_place, give_tree, server_uid
from archive.database.leases import POLL_S, alive, make_private, try_lock
from archive.vo.errors import ConfigurationError, UnavailableError

MAJOR_VERSION = 18
PORT = 5432  # of the socket's name only: nothing listens on TCP
SOCKET_NAME = f".s.PGSQL.{PORT}"
SUPERUSER = "uraniborg_admin"

# sun_path of sockaddr_un holds 108 bytes, its closing zero among them (unix(7)).
SOCKET_PATH_BYTES = 107

# The builtin provider sorts by code point and knows Unicode's letters, the same on every machine.
LOCALE = ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")

# An emptied environment: neither the operator's PG* variables nor their locale may change what the server does.
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}


@dataclass(frozen=True, slots=True)
class Tuning:
    """What the embedded server may use. Defaults suit a machine with 4 GB that does other things too.

    max_connections: of all roles together. *_mib: mebibytes (PostgreSQL 18 documentation, chapter 19.4).
    random_page_cost: of a page from anywhere, a page in sequence being 1; near 1 for solid state.
    durable: fsync at each commit; False survives a kill but no power cut, and is for a test's throw-away only.
    """

    max_connections: int = 80
    shared_buffers_mib: int = 256
    work_mem_mib: int = 16
    maintenance_work_mem_mib: int = 128
    effective_cache_size_mib: int = 1024
    max_wal_size_mib: int = 2048
    random_page_cost: float = 1.1
    durable: bool = True

    def configuration(self, sockets: Path) -> str:
        """The text of our part of postgresql.conf."""
        # A folder's name may hold commas and quotes: double quotes for the list, single ones for the file.
        listed = '"' + str(sockets).replace('"', '""') + '"'
        durable = "on" if self.durable else "off"
        values = {
            "listen_addresses": "''",
            "port": PORT,
            "unix_socket_directories": "'" + listed.replace("'", "''") + "'",
            "unix_socket_permissions": "0700",
            "max_connections": self.max_connections,
            "password_encryption": "scram-sha-256",
            "shared_buffers": f"{self.shared_buffers_mib}MB",
            "work_mem": f"{self.work_mem_mib}MB",
            "maintenance_work_mem": f"{self.maintenance_work_mem_mib}MB",
            "effective_cache_size": f"{self.effective_cache_size_mib}MB",
            "dynamic_shared_memory_type": _shared_memory_type(),
            "max_wal_size": f"{self.max_wal_size_mib}MB",
            "random_page_cost": self.random_page_cost,
            "fsync": durable,
            "synchronous_commit": "on",
            "full_page_writes": durable,
            "jit": "off",
            "timezone": "'UTC'",
            "log_timezone": "'UTC'",
            "cluster_name": "'uraniborg'",
            # One file a weekday, begun anew each week: the log cannot fill the disk by growing old.
            "logging_collector": "on",
            "log_directory": "'log'",
            "log_filename": "'postgresql-%a.log'",
            "log_rotation_age": "1d",
            "log_truncate_on_rotation": "on",
            "log_line_prefix": "'%m [%p] %u@%d %a '",
            "log_lock_waits": "on",
            "default_text_search_config": "'pg_catalog.english'",
        }
        lines = [f"{name} = {value}" for name, value in values.items()]
        return (
            "# Written at each start by uraniborg; put your own settings below its include.\n" + "\n".join(lines) + "\n"
        )


def _shared_memory_type() -> str:
    """posix, unless /dev/shm is as small as containers make it: parallel queries then fail in the middle."""
    try:
        room = os.statvfs("/dev/shm")  # noqa: S108
    except OSError:
        return "mmap"
    return "posix" if room.f_blocks * room.f_frsize >= 256 * 2**20 else "mmap"


class Cluster:
    """The cluster of one data folder. Every method wants the data folder's lock held by the caller.

    folder: the cluster (PGDATA). run: where locks, the start's log and the socket go. password: the superuser's.
    """

    def __init__(
        self,
        binaries: Binaries,
        folder: Path,
        run: Path,
        *,
        password: str,
        tuning: Tuning,
        start_timeout_s: float,
        stop_timeout_s: float,
    ) -> None:
        self.binaries = binaries
        self.folder = folder
        self.run = run
        self.password = password
        self.tuning = tuning
        self.start_timeout_s = start_timeout_s
        self.stop_timeout_s = stop_timeout_s
        self.uid = server_uid(folder.parent, folder)
        # Held by every process of the server, for it inherits the descriptor: free means that none of them is left,
        # whatever postmaster.pid says, and whoever now has the number written there.
        self.life = run / "server.lock"
        self.log = run / "server-start.log"

    # --- making

    def exists(self) -> bool:
        """Whether the cluster was made. ConfigurationError when another version of PostgreSQL made it."""
        version = version_of(self.folder)
        if version not in (None, str(MAJOR_VERSION)):
            raise ConfigurationError(
                f"{self.folder} was made by PostgreSQL {version}, and this release brings {MAJOR_VERSION}: run "
                "`uraniborg db upgrade` once, which brings the data over and keeps the former cluster"
            )
        return version is not None

    def create(self, sockets: Path) -> None:
        """initdb beside the place, then rename: a cluster that is there is whole."""
        growing = self.folder.with_name(self.folder.name + ".new")
        shutil.rmtree(growing, ignore_errors=True)
        growing.mkdir(mode=0o700)
        password_file = sockets / "password"
        password_file.unlink(missing_ok=True)
        self._give(growing)
        place = find_place(self.binaries, growing, sockets, self.uid)
        descriptor = os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            os.write(descriptor, self.password.encode())
            if os.geteuid() == 0:
                os.fchown(descriptor, self.uid, self.uid)
            self._initdb(place)
        finally:
            os.close(descriptor)
            password_file.unlink(missing_ok=True)
        configuration = growing / "postgresql.conf"
        configuration.write_text("include = 'uraniborg.conf'\n# Your own settings below: what comes later wins.\n")
        growing.rename(self.folder)

    def _initdb(self, place: Place) -> None:
        words = place.command(
            "initdb",
            f"--pgdata={place.data}",
            f"--username={SUPERUSER}",
            f"--pwfile={place.sockets / 'password'}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            *LOCALE,
            *([] if self.tuning.durable else ["--no-sync"]),
        )
        done = subprocess.run(  # noqa: S603
            words, cwd="/", env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode:
            said = _last_lines(done.stdout + done.stderr)
            advice = (
                "; give that user number a name in /etc/passwd" if "could not look up effective user" in said else ""
            )
            raise ConfigurationError(f"initdb could not make a database in {self.folder}: {said}{advice}")

    def take(self, file: Path) -> None:
        """A copy of another cluster's file, if that is there."""
        if file.is_file():
            self._give(Path(shutil.copyfile(file, self.folder / file.name)))

    def discard(self) -> None:
        """End the server, and remove the folder, of a cluster that nobody counts on."""
        self.stop()
        for folder in (self.folder, self.folder.with_name(self.folder.name + ".new")):
            shutil.rmtree(folder, ignore_errors=True)

    def _give(self, path: Path) -> None:
        if os.geteuid() == 0:
            os.chown(path, self.uid, self.uid)

    # --- living

    def running(self) -> bool:
        """Whether any process of the server is alive."""
        # An operator who starts the cluster by hand does not hold our lock.
        return alive(self.life) or bool(self.processes())

    def processes(self) -> list[int]:
        """Ids of the server's processes that this process can see."""
        return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if self._at_home(entry)]

    def postmaster(self) -> int | None:
        """The postmaster's id by postmaster.pid, if that process is alive and serves this folder."""
        try:
            pid = int((self.folder / "postmaster.pid").read_text().split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            return None
        return pid if self._at_home(Path(f"/proc/{pid}")) else None

    def _at_home(self, process: Path) -> bool:
        """Whether a process is PostgreSQL's and works in the cluster's folder, which is told from a number reused."""
        try:
            # Compared as inodes, for the server may see its folder under another name.
            same = (process / "cwd").samefile(self.folder)
            return same and (process / "exe").readlink().name.startswith("postgres")
        except OSError:
            return False  # gone meanwhile, a zombie, or somebody else's

    def start(self, sockets: Path, dsn: str) -> None:
        """Start the server, or wait for one that is starting, until it answers. dsn: how the superuser reaches it.

        UnavailableError: it is not ready within start_timeout_s. ConfigurationError: it ended instead.
        """
        deadline = time.monotonic() + self.start_timeout_s
        launched = False
        while True:
            if not self.running():
                if launched:
                    raise ConfigurationError(
                        f"the database in {self.folder} ended while it was starting: "
                        f"{_last_lines(self.log.read_text(errors='replace'))} (more in {self.folder / 'log'})"
                    )
                launched = self._launch(sockets)
            elif not launched and self.postmaster() is None and self.processes():
                # Its postmaster was killed; backends notice and leave, and one that does not would keep the cluster
                # from recovering.
                self._end_leftovers()
                continue
            try:
                psycopg.connect(dsn, connect_timeout=5).close()
                return
            except psycopg.OperationalError as error:
                self._complain(error, deadline)
            time.sleep(POLL_S)

    def _complain(self, error: psycopg.OperationalError, deadline: float) -> None:
        if "password authentication failed" in str(error):
            raise ConfigurationError(
                f"the database in {self.folder} does not take the password in db-roles.json beside it: the two belong "
                "to different archives, or one was restored without the other; restore both from one backup"
            ) from error
        if time.monotonic() > deadline:
            raise UnavailableError(
                f"the database in {self.folder} is not ready after {self.start_timeout_s:g} s: {error}; it may still "
                f"be recovering from a crash ({self.folder / 'log'} tells), then wait and try again",
                retry_after_s=30,
            ) from error

    def _launch(self, sockets: Path) -> bool:
        """Start the server's first process; False when somebody has just looked whether it lives (leases.alive)."""
        descriptor = try_lock(self.life)
        if descriptor is None:
            return False
        try:
            # With the lock in hand nobody lives who could have written these; a number in them may be anyone's by now.
            (self.folder / "postmaster.pid").unlink(missing_ok=True)
            for stale in sockets.glob(SOCKET_NAME + "*"):
                stale.unlink()
            give_tree(self.folder, self.uid)
            place = find_place(self.binaries, self.folder, sockets, self.uid)
            configuration = self.folder / "uraniborg.conf"
            configuration.write_text(self.tuning.configuration(place.sockets))
            self._give(configuration)
            with self.log.open("wb") as log:
                make_private(self.log, self.run)
                # Through a shell's background, so that the server is nobody's child: it outlives whoever started it,
                # and init collects it, dead, where a busy parent would leave a zombie.
                subprocess.run(  # noqa: S603
                    ["/bin/sh", "-c", '"$@" &', "uraniborg", *place.command("postgres", "-D", str(place.data))],
                    cwd="/",
                    env=ENVIRONMENT,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=(descriptor,),
                    start_new_session=True,
                    umask=0o077,
                    check=True,
                )
            return True
        finally:
            os.close(descriptor)

    # --- ending

    def stop(self) -> None:
        """End the server, gently, then firmly: fast shutdown, immediate shutdown, kill. Nothing to do: fine."""
        for sent, patience_s in ((signal.SIGINT, self.stop_timeout_s), (signal.SIGQUIT, 5.0)):
            if (pid := self.postmaster()) is None:
                break
            _send(pid, sent)
            if self._ended_within(patience_s):
                return
        self._end_leftovers()

    def _end_leftovers(self) -> None:
        for sent in (signal.SIGTERM, signal.SIGKILL):
            if self._ended_within(1.0):
                return
            for pid in self.processes():
                _send(pid, sent)
        if not self._ended_within(self.stop_timeout_s):
            raise UnavailableError(
                f"processes of the database in {self.folder} do not end ({self.processes() or 'not seen from here'}); "
                "they may run in another container on the same folder: stop that one first"
            )

    def _ended_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.running():
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        return True


def version_of(folder: Path) -> str | None:
    """The major version of PostgreSQL that made the cluster in a folder; None: there is none."""
    try:
        return (folder / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        return None


def _send(pid: int, sent: signal.Signals) -> None:
    try:
        os.kill(pid, sent)
    except ProcessLookupError:
        return  # it was quicker


def _last_lines(text: str, count: int = 6) -> str:
    return " / ".join(line.strip() for line in text.strip().splitlines()[-count:]) or "it said nothing"
