"""Sessions for what every put and every read asks of the catalogue: kept at hand, and asked by libpq itself.

A pooled connection costs a question before (does it still answer?), and the work of SQLAlchemy and psycopg on a
statement twice what the statement costs. These stay out of the pool while they are wanted often. One that turns out
dead is given up with all that are kept, and what was begun on it, which has changed nothing, is begun on a new one.
"""

import contextlib
import itertools
import logging
from collections.abc import Callable, Mapping
from functools import partial
from queue import Empty, LifoQueue
from typing import Any, TypeVar

import psycopg
from psycopg import sql
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import InFailedSqlTransaction, lookup
from psycopg.pq import DiagnosticField, ExecStatus, Format, TransactionStatus
from psycopg.pq.abc import PGresult
from sqlalchemy import Connection, Engine, QueuePool, text
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

log = logging.getLogger(__name__)

_BEGIN = sql.SQL("BEGIN; SELECT pg_advisory_xact_lock({})")
_POSITIONS = PGDialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]  # SQLAlchemy has no types there
# Of a Connection that is kept: what is prepared in it, and its name there.
_PREPARED = "storage_prepared"
_numbers = itertools.count(1)
_DONE = {ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK}

T = TypeVar("T")


class Statement:
    """One statement with parameters (:name), which a kept session prepares once.

    types: of each parameter, as PostgreSQL calls it.
    """

    def __init__(self, words: str, /, **types: str) -> None:
        compiled = text(words).compile(dialect=_POSITIONS)
        self.words = str(compiled).encode()
        self.parameters: tuple[str, ...] = tuple(compiled.positiontup or ())
        self.types = [_oid(types[name]) for name in self.parameters]
        # As text all but bytes, whose text depends on a setting of the server.
        self.formats = [PyFormat.BINARY if types[name] == "bytea" else PyFormat.TEXT for name in self.parameters]


def ask(connection: Connection, statement: Statement, told: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """The rows that a statement gives, within whatever transaction there is. Its errors are SQLAlchemy's."""
    session = _driven(connection)
    adapter = Transformer(session)
    values = adapter.dump_sequence([told[name] for name in statement.parameters], statement.formats)
    prepared: dict[Statement, bytes] | None = connection.get_execution_options().get(_PREPARED)
    if prepared is None:
        # In a session that is not ours psycopg may drop what is prepared.
        asked = partial(session.pgconn.exec_params, statement.words, param_types=statement.types)
    else:
        if statement not in prepared:
            name = b"store_%d" % next(_numbers)
            _answered(connection, partial(session.pgconn.prepare, name, statement.words, statement.types))
            prepared[statement] = name
        asked = partial(session.pgconn.exec_prepared, prepared[statement])
    asked = partial(asked, param_values=values, param_formats=adapter.formats, result_format=Format.BINARY)
    result = _answered(connection, asked)
    adapter.set_pgresult(result)
    return adapter.load_rows(0, result.ntuples, tuple)


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

        commit() it, or not; and give it back.
        """
        # In one trip, which takes no parameters: so psycopg writes the number.
        begin = _BEGIN.format(sql.Literal(lock)).as_bytes()
        return self._first(lambda connection: _command(connection, begin))[0]

    def give_back(self, connection: Connection) -> None:
        """A session whose transaction was committed, or is to be rolled back."""
        kept: Connection | None = None
        try:
            if not connection.invalidated:
                if not _is_idle(connection):
                    # Not by psycopg, which then drops what was prepared.
                    _command(connection, b"ROLLBACK")
                connection.rollback()  # what SQLAlchemy believes to have begun
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
            connection = self._engine.connect().execution_options(**{_PREPARED: {}})
            return connection, question(connection)
        except BaseException:
            if connection is not None:
                _close(connection)
            self._free.put(None)
            raise


def commit(connection: Connection) -> None:
    """Make what was done in a transaction that CatalogueSessions began last."""
    if _command(connection, b"COMMIT").command_status != b"COMMIT":
        raise _told(connection, InFailedSqlTransaction("the transaction had failed, and was rolled back"))


def _command(connection: Connection, words: bytes) -> PGresult:
    return _answered(connection, partial(_driven(connection).pgconn.exec_, words))


def _answered(connection: Connection, asked: Callable[[], PGresult]) -> PGresult:
    """What libpq answers; an error of it, or of the server, as SQLAlchemy tells it."""
    try:
        result = asked()
    except psycopg.Error as error:
        raise _told(connection, error) from error
    if result.status in _DONE:
        return result
    state = result.error_field(DiagnosticField.SQLSTATE)
    kind = lookup(state.decode()) if state else psycopg.OperationalError
    raise _told(connection, kind(result.get_error_message()))


def _told(connection: Connection, error: psycopg.Error) -> BaseException:
    closed = _driven(connection).closed
    if closed:
        connection.invalidate(error)
    return DBAPIError.instance("", None, error, psycopg.Error, hide_parameters=True, connection_invalidated=closed)


def _oid(name: str) -> int:
    found = psycopg.adapters.types[name.removesuffix("[]")]
    return found.array_oid if name.endswith("[]") else found.oid


def _driven(connection: Connection) -> psycopg.Connection[Any]:
    session = connection.connection.driver_connection
    assert isinstance(session, psycopg.Connection)
    return session


def _is_idle(connection: Connection) -> bool:
    return _driven(connection).pgconn.transaction_status == TransactionStatus.IDLE


def _close(connection: Connection) -> None:
    try:
        connection.close()
    except DBAPIError as error:
        log.warning("a session of the catalogue could not be closed: %s", error.orig)
