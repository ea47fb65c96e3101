"""The two databases that the tests run on: the embedded server with the plain sphere, PostgreSQL of the system with
pgSphere. Each test process makes its own clusters, without fsync, and ends them by their ids."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from psycopg import sql
from sqlalchemy import text
from sqlalchemy.engine import URL

from archive.database.embedded import EmbeddedServer
from archive.database.engines import ROLES, DatabaseUrls, Engines, psycopg_dsn
from archive.database.roles import create_roles, grant
from archive.sphere.pgsphere import PgSphere
from archive.sphere.plain import PlainSphere
from archive.sphere.sphere import Sphere

TEMPLATE = "prepared"
PATIENCE_S = 60


@dataclass(frozen=True)
class Postgres:
    """One database: where its roles find it, the superuser's URL of it, the adapter that is installed in it."""

    name: str
    urls: DatabaseUrls
    admin: URL
    sphere: Sphere

    def engines(self, **options: Any) -> Engines:
        """Engines of the three roles; the caller disposes of them."""
        return Engines(self.urls, **options)

    def fresh_database(self) -> "Postgres":
        """A new database beside this one: roles, extension and sphere are there, PUBLIC has no rights, no tables."""
        database = f"fresh_{uuid4().hex[:12]}"
        owner = sql.Identifier(str(self.urls.owner.username))
        with psycopg.connect(psycopg_dsn(self.admin, dbname="postgres"), autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}").format(
                    sql.Identifier(database), owner, sql.Identifier(TEMPLATE)
                )
            )
        made = replace(self, urls=self.urls.with_database(database), admin=self.admin.set(database=database))
        with made.engines() as engines:
            grant(engines, published=(), working=(), creatable=())
        return made

    def drop(self) -> None:
        """Drop this database, whoever is still connected."""
        with psycopg.connect(psycopg_dsn(self.admin, dbname="postgres"), autocommit=True) as connection:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(str(self.admin.database)))
            )


@contextmanager
def embedded() -> Iterator[Postgres]:
    """The embedded server, as a newcomer gets it."""
    folder = Path(tempfile.mkdtemp(prefix="uraniborg-test-"))
    server = EmbeddedServer(
        folder / "data", database=TEMPLATE, durable=False, shared_buffers_mib=128, max_connections=60
    )
    try:
        urls = server.acquire()
        try:
            yield _prepared("embedded", urls, server.admin_url(TEMPLATE), PlainSphere())
        finally:
            # Nobody wants it any more: no checkpoint of all that the tests made.
            os.kill(int((folder / "data/db/postmaster.pid").read_text().split()[0]), signal.SIGQUIT)
            server.release()
    finally:
        shutil.rmtree(folder)


@contextmanager
def pgsphere() -> Iterator[Postgres]:
    """The system's newest PostgreSQL that pgSphere is installed for."""
    with system_cluster(system_binaries("pg_sphere.control")) as admin:
        urls = create_roles(admin, dict.fromkeys(ROLES, "test"), database=TEMPLATE)
        admin = admin.set(database=TEMPLATE)
        with psycopg.connect(psycopg_dsn(admin), autocommit=True) as connection:
            connection.execute("CREATE EXTENSION pg_sphere")
        yield _prepared("pgsphere", urls, admin, PgSphere())


DATABASES: dict[str, Callable[[], Any]] = {"embedded": embedded, "pgsphere": pgsphere}


def _prepared(name: str, urls: DatabaseUrls, admin: URL, sphere: Sphere) -> Postgres:
    prepared = Postgres(name, urls, admin, sphere)
    with prepared.engines() as engines, engines.begin("owner") as connection:
        for statement in sphere.install():
            connection.execute(text(statement.replace(":", r"\:")))
    return prepared


def system_binaries(control: str) -> Path:
    """The newest /usr/lib/postgresql/N/bin for which an extension's control file is installed, else a failure."""
    found = sorted(int(path.parts[-3]) for path in Path("/usr/share/postgresql").glob(f"*/extension/{control}"))
    for version in reversed(found):
        binaries = Path(f"/usr/lib/postgresql/{version}/bin")
        if (binaries / "postgres").exists():
            return binaries
    raise AssertionError(
        f"the tests need a PostgreSQL of the system with {control} (Debian: postgresql-15-pgsphere); `make test` as "
        "root installs it"
    )


@contextmanager
def system_cluster(binaries: Path) -> Iterator[URL]:
    """A cluster of the system's PostgreSQL on a socket of its own; its superuser's URL. Ended at the end by its id."""
    folder = Path(tempfile.mkdtemp(prefix="ug-", dir="/tmp"))  # short: a socket's path has 107 bytes
    identity: list[str] = []
    if os.geteuid() == 0:
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
        identity = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    data = folder / "db"
    # --pdeathsig: a test run that is killed takes its server along.
    setpriv = ["setpriv", *identity, "--pdeathsig", "QUIT", "--"]
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(folder),
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
        "shared_buffers": "128MB",
        "max_connections": "60",
        "log_line_prefix": "%m [%p] %u@%d %a ",
    }
    try:
        subprocess.run(
            [*setpriv, str(binaries / "initdb"), "-D", str(data), "-U", "admin", "--auth=trust", "--no-sync",
             "--encoding=UTF8", "--locale=C"],
            cwd="/", check=True, capture_output=True, text=True,
        )  # fmt: skip
        words = [str(binaries / "postgres"), "-D", str(data), *(f"--{key}={value}" for key, value in settings.items())]
        with (
            (folder / "log").open("wb") as log,
            subprocess.Popen([*setpriv, *words], cwd="/", stdout=log, stderr=subprocess.STDOUT) as server,
        ):
            admin = URL.create("postgresql+psycopg", username="admin", database="postgres", query={"host": str(folder)})
            try:
                _wait_for(admin, server, folder / "log")
                yield admin
            finally:
                server.send_signal(signal.SIGQUIT)
                server.wait(PATIENCE_S)
    finally:
        shutil.rmtree(folder)


def _wait_for(admin: URL, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            psycopg.connect(psycopg_dsn(admin)).close()
            return
        except psycopg.OperationalError:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
