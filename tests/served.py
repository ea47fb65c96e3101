"""An archive for tests that serve it within their own process: real sockets, and its insides within reach."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import uvicorn

import uraniborg
from archive.app.opened import OpenedArchive
from archive.app.processes import server_config
from archive.app.setup import prepare
from archive.database.engines import ROLES, psycopg_dsn
from archive.settings import Loaded
from tests.databases import Postgres
from tests.live import database_environment, free_port

PATIENCE_S = 30.0


@dataclass(frozen=True)
class Served:
    """A served archive: url is where it answers, dsn how a superuser looks into its database."""

    url: str
    archive: OpenedArchive
    dsn: str

    def query(self, adql: str, **more: Any) -> httpx.Response:
        """A synchronous query as CSV."""
        form = {"LANG": "ADQL", "FORMAT": "csv", "QUERY": adql, **more}
        return httpx.post(f"{self.url}/tap/sync", data=form, timeout=60)

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """What a superuser sees in the database."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            return connection.execute(sql.encode()).fetchall()

    def change(self, sql: str) -> None:
        """What a superuser does to the database."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(sql.encode())

    def running_queries(self) -> int:
        """Users' queries that PostgreSQL is at work on."""
        sql = """SELECT count(*) FROM pg_stat_activity
                 WHERE application_name = 'uraniborg-tap' AND datname = current_database() AND state <> 'idle'"""
        return int(self.ask(sql)[0][0])


@contextmanager
def prepared(postgres: Postgres, folder: Path, **options: Any) -> Iterator[tuple[OpenedArchive, str]]:
    """An empty archive in a fresh database, made ready. options: settings, their dots written as two underscores."""
    fresh = postgres.fresh_database()
    urls = database_environment(fresh.urls)
    given = {name.replace("__", "."): value for name, value in options.items()}
    given |= {
        f"database.{role}_url": urls[f"URANIBORG_DATABASE__{role.upper()}_URL"]
        for role in ("owner", "writer", "reader")
    }
    with OpenedArchive(Loaded.load(folder / "data", given).settings) as archive:
        prepare(archive, uraniborg.metadata())
        yield archive, psycopg_dsn(fresh.admin)
    fresh.drop()


@contextmanager
def served(postgres: Postgres, folder: Path, **options: Any) -> Iterator[Served]:
    """The same, answering on a free port, by the very server that `uraniborg web` starts."""
    port = free_port()
    with prepared(postgres, folder, server__port=port, **options) as (archive, dsn), answering(archive):
        yield Served(f"http://127.0.0.1:{port}", archive, dsn)


@contextmanager
def beside(first: Served, **options: Any) -> Iterator[Served]:
    """Another server on the same database and store, with other settings."""
    port = free_port()
    given = {name.replace("__", "."): value for name, value in options.items()}
    ours = first.archive.urls
    given |= {f"database.{role}_url": ours.of(role).render_as_string(hide_password=False) for role in ROLES}
    settings = Loaded.load(first.archive.settings.data_dir, {**given, "server.port": port}).settings
    with OpenedArchive(settings) as archive, answering(archive):
        yield Served(f"http://127.0.0.1:{port}", archive, first.dsn)


@contextmanager
def answering(archive: OpenedArchive) -> Iterator[None]:
    """The application on its port, in a thread."""
    server = uvicorn.Server(server_config(archive.settings, uraniborg.create_app(archive.settings, archive)))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "the server did not stop"


def wait_until(condition: Any, within_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not so within {within_s:g} s"
        time.sleep(0.02)
