"""Sessions for what every put and every read asks of the catalogue: kept at hand, and asked by psycopg itself.

A pooled connection costs a question before (does it still answer?), and SQLAlchemy's own work on a statement twice what
the statement costs. These stay out of the pool while they are wanted often. One that turns out dead is given up with
all that are kept, and what was begun on it, which has changed nothing, is begun on a new one.
"""

import contextlib
import logging
from collections.abc import Callable, Mapping
from queue import Empty, LifoQueue
from typing import Any, TypeVar

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Engine, QueuePool
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

log = logging.getLogger(__name__)

_BEGIN = sql.SQL("BEGIN; SELECT pg_advisory_xact_lock({})")

T = TypeVar("T")


def execute(connection: Connection, statement: str, told: Mapping[str, Any] | None = None) -> psycopg.Cursor[Any]:
    """Ask by psycopg, within whatever transaction there is; results come in binary. Its errors are SQLAlchemy's.

    For text that is prepared once: of that SQLAlchemy would make the same, at twice the cost.
    """
    session = _driven(connection)
    try:
        return session.cursor(binary=told is not None).execute(statement, told)
    except psycopg.Error as error:
        if session.closed:
            connection.invalidate(error)
        raise DBAPIError.instance(
            statement, None, error, psycopg.Error, hide_parameters=True, connection_invalidated=bool(session.closed)
        ) from error


class CatalogueSessions:
    """Sessions of an engine's database, as many as its pool keeps. Safe between threads, first come first served.

    Whoever finds none free within the pool's own time gets PoolTimeout.
    """

    def __init__(self, engine: Engine) -> None:
        # A transaction is begun in so many words, so that a question needs none.
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        assert isinstance(engine.pool, QueuePool)
        self._timeout_s = engine.pool.timeout()
        # None: a place without a session. The one given back last is taken first.
        self._free: LifoQueue[Connection | None] = LifoQueue()
        for _ in range(max(engine.pool.size(), 1)):
            self._free.put(None)

    def ask(self, question: Callable[[Connection], T]) -> T:
        """The answer to a question that changes nothing and asks one thing: there is no transaction around it."""
        connection, answer = self._first(question)
        self.give_back(connection)
        return answer

    def begin(self, lock: int) -> Connection:
        """A session in a transaction that holds an advisory lock, so that what it reads was so when it had it.

        Commit it, or not; and give it back.
        """
        # In one trip, which takes no parameters: so psycopg itself writes the number.
        begin = _BEGIN.format(sql.Literal(lock)).as_string()

        def begun(connection: Connection) -> None:
            connection.begin()
            execute(connection, begin)

        return self._first(begun)[0]

    def give_back(self, connection: Connection) -> None:
        """A session whose transaction was committed, or is to be rolled back."""
        kept: Connection | None = None
        try:
            connection.rollback()
            if not connection.invalidated and _is_idle(connection):
                kept = connection
        finally:
            if kept is None:
                _close(connection)
            self._free.put(kept)

    def close(self) -> None:
        """Give up what is kept; new ones are made when they are needed."""
        kept = []
        with contextlib.suppress(Empty):
            while True:
                kept.append(self._free.get_nowait())
        for connection in kept:
            if connection is not None:
                _close(connection)
            self._free.put(None)

    def _first(self, question: Callable[[Connection], T]) -> tuple[Connection, T]:
        """A session, and what it says to its first question."""
        try:
            connection = self._free.get(timeout=self._timeout_s)
        except Empty:
            raise PoolTimeout(f"no session of the catalogue was free within {self._timeout_s:g} s") from None
        try:
            if connection is not None:
                try:
                    return connection, question(connection)
                except DBAPIError as error:
                    if not error.connection_invalidated:
                        raise
                    _close(connection)
                    self.close()
            connection = self._engine.connect()
            return connection, question(connection)
        except BaseException:
            if connection is not None:
                _close(connection)
            self._free.put(None)
            raise


def _driven(connection: Connection) -> psycopg.Connection[Any]:
    session = connection.connection.driver_connection
    assert isinstance(session, psycopg.Connection)
    return session


def _is_idle(connection: Connection) -> bool:
    """Is there no transaction left, whatever SQLAlchemy believes?"""
    return _driven(connection).info.transaction_status is TransactionStatus.IDLE


def _close(connection: Connection) -> None:
    try:
        connection.close()
    except DBAPIError as error:
        log.warning("a session of the catalogue could not be closed: %s", error.orig)
