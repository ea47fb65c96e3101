"""Connections to the database, one SQLAlchemy engine a role: owner, writer, reader.

Here: the URLs of the three roles, their engines (made when first asked for), transactions. Not here: which rights a
role has (roles.py), where an embedded server comes from (embedded.py), what is asked of the database (queries.py of
each room).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from threading import Lock
from types import MappingProxyType, TracebackType
from typing import Any, Literal, Self

from psycopg.conninfo import make_conninfo
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from archive.vo.errors import ConfigurationError

Role = Literal["owner", "writer", "reader"]
ROLES: tuple[Role, ...] = ("owner", "writer", "reader")

DRIVER = "postgresql+psycopg"

# Set as the session starts, for every role. UTC: a timestamptz reads the same on every machine. jit: short queries
# would wait longer for the compiler than for their rows, and PostgreSQL's estimate of that is poor for the sky's.
SESSION = {"timezone": "UTC", "jit": "off"}
# A reader that forgot to say what it wants may not write, whatever a grant says.
READER_SESSION = {"default_transaction_read_only": "on"}

DEFAULT_POOL_SIZES: Mapping[Role, int] = MappingProxyType({"owner": 1, "writer": 5, "reader": 10})


def database_url(value: str | URL) -> URL:
    """A URL of PostgreSQL for psycopg 3, from what an operator wrote (`postgres://`, `postgresql://` too).

    ConfigurationError for another database or another driver.
    """
    try:
        url = make_url(value)
    except (ArgumentError, ValueError) as error:
        raise ConfigurationError(
            "the database URL cannot be read: write postgresql://user:password@host:5432/database"
        ) from error
    if url.drivername not in ("postgres", "postgresql", DRIVER):
        raise ConfigurationError(
            f"the database URL begins with {url.drivername}://; the archive needs PostgreSQL: "
            "write postgresql://user:password@host:5432/database"
        )
    return url.set(drivername=DRIVER)


@dataclass(frozen=True, slots=True)
class DatabaseUrls:
    """Where each role finds the database. Passwords are masked in repr, as SQLAlchemy's URL does."""

    owner: URL
    writer: URL
    reader: URL

    @classmethod
    def parse(cls, owner: str | URL, writer: str | URL, reader: str | URL) -> Self:
        """From three URLs as text. ConfigurationError when one of them is no PostgreSQL URL."""
        return cls(database_url(owner), database_url(writer), database_url(reader))

    def of(self, role: Role) -> URL:
        """The URL of a role."""
        urls: dict[Role, URL] = {"owner": self.owner, "writer": self.writer, "reader": self.reader}
        return urls[role]

    def with_database(self, name: str) -> "DatabaseUrls":
        """The same roles in another database of the same server."""
        return replace(self, **{field.name: getattr(self, field.name).set(database=name) for field in fields(self)})


def psycopg_dsn(url: str | URL, **options: str) -> str:
    """The URL as libpq's conninfo, for a plain psycopg connection. options: libpq's keywords, over the URL's own."""
    url = database_url(url)
    wanted: dict[str, Any] = {
        "host": url.host,
        "port": url.port,
        "user": url.username,
        "password": url.password,
        "dbname": url.database,
    }
    # A socket's folder does not fit into the host part of a URL; it travels as ?host=/path, and wins.
    wanted |= {key: ",".join(value) if isinstance(value, tuple) else value for key, value in url.query.items()}
    wanted |= options
    return make_conninfo("", **{key: value for key, value in wanted.items() if value is not None})


@contextmanager
def begin_unflushed(engine: Engine) -> Iterator[Connection]:
    """One transaction whose commit does not wait for the disk.

    For what is done over if the database server itself crashes within a second of it: steps of a job, which is then
    found as it was before and run again. Commits reach the disk in their order, so a later one that does wait takes
    all before it along (PostgreSQL, 30.4 Asynchronous Commit).
    """
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL synchronous_commit TO off"))
        yield connection


class Engines:
    """The engines of the three roles. Nothing is connected until a role is first used; safe between threads.

    pool_sizes: connections kept a role; max_overflow: how many more may be opened under load, and are closed again.
    pool_timeout_s, connect_timeout_s: seconds to wait for a free connection, and for the server to answer.
    application_name: what pg_stat_activity shows, followed by the role.
    """

    def __init__(
        self,
        urls: DatabaseUrls,
        *,
        pool_sizes: Mapping[Role, int] = DEFAULT_POOL_SIZES,
        max_overflow: int = 5,
        pool_timeout_s: float = 30.0,
        connect_timeout_s: int = 10,
        application_name: str = "uraniborg",
    ) -> None:
        self.urls = urls
        self._pool_sizes = {**DEFAULT_POOL_SIZES, **pool_sizes}
        self._max_overflow = max_overflow
        self._pool_timeout_s = pool_timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._application_name = application_name
        self._engines: dict[Role, Engine] = {}
        self._lock = Lock()

    def engine(self, role: Role) -> Engine:
        """The engine of a role, made when first asked for."""
        with self._lock:
            if role not in self._engines:
                self._engines[role] = self._make(role)
            return self._engines[role]

    @property
    def owner(self) -> Engine:
        """Owns schemas and tables; for migrations only."""
        return self.engine("owner")

    @property
    def writer(self) -> Engine:
        """Reads and writes the working tables; makes tables in `cat` alone."""
        return self.engine("writer")

    @property
    def reader(self) -> Engine:
        """Reads what is published; temporary tables in a transaction that asked to write (begin, read_only=False)."""
        return self.engine("reader")

    @contextmanager
    def begin(self, role: Role, *, read_only: bool | None = None) -> Iterator[Connection]:
        """One transaction: committed at the end, rolled back by an exception.

        read_only: None keeps the role's own way (the reader's transactions are read-only). False lets a reader make
        temporary tables for an upload; `SET TRANSACTION READ ONLY` then closes that door within the same transaction,
        and PostgreSQL does not let it be opened again.
        """
        with self.engine(role).begin() as connection:
            if read_only is not None:
                connection.execute(text("SET TRANSACTION READ ONLY" if read_only else "SET TRANSACTION READ WRITE"))
            yield connection

    def dispose(self) -> None:
        """Close every pooled connection; the engines make new ones when they are used again."""
        with self._lock:
            for engine in self._engines.values():
                engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.dispose()

    def _make(self, role: Role) -> Engine:
        session = SESSION | (READER_SESSION if role == "reader" else {})
        options = " ".join(f"-c {name}={value}" for name, value in session.items())
        url = self.urls.of(role)
        asked = url.query.get("options", "")
        return create_engine(
            url.difference_update_query(["options"]),
            pool_size=self._pool_sizes[role],
            max_overflow=self._max_overflow,
            pool_timeout=self._pool_timeout_s,
            # One round trip when a connection leaves the pool, so that a restarted server costs no request.
            pool_pre_ping=True,
            # Errors end in logs; queries and hashes of tokens have no place there.
            hide_parameters=True,
            connect_args={
                "application_name": f"{self._application_name} {role}",
                "connect_timeout": self._connect_timeout_s,
                # The operator's own options come last and win, except that a reader stays a reader.
                "options": f"{options} {asked}".strip() if role != "reader" else f"{asked} {options}".strip(),
            },
        )
