"""Sessions for what every put and every read asks of the catalogue: kept at hand, and asked by psycopg itself.

A pooled connection costs a question before (does it still answer?), and SQLAlchemy's own work on a statement twice what
the statement costs. These stay out of the pool while they are wanted often. One that turns out dead is given up with
all that are kept, and what was begun on it, which has changed nothing, is begun on a new one.
"""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import psycopg
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

# Kept between uses, a process; the rest goes back to the pool.
KEPT = 6

T = TypeVar("T")


def execute(connection: Connection, statement: str, told: Mapping[str, Any] | None = None) -> psycopg.Cursor[Any]:
    """Ask by psycopg, within whatever transaction there is; results come in binary. Its errors are SQLAlchemy's.

    For text that is prepared once: of that SQLAlchemy would make the same, at twice the cost.
    """
    session = connection.connection.driver_connection
    assert isinstance(session, psycopg.Connection)
    try:
        return session.cursor(binary=True).execute(statement, told)
    except psycopg.Error as error:
        if session.closed:
            connection.invalidate(error)
        raise DBAPIError.instance(
            statement, None, error, psycopg.Error, hide_parameters=True, connection_invalidated=bool(session.closed)
        ) from error


class Sessions:
    """Sessions of an engine's database. Safe between threads."""

    def __init__(self, engine: Engine) -> None:
        # A transaction is begun in so many words, so that a question needs none.
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._idle: deque[Connection] = deque()

    def ask(self, question: Callable[[Connection], T]) -> T:
        """The answer to a question that changes nothing and asks one thing: there is no transaction around it."""
        connection, answer = self._first(question)
        self.give_back(connection)
        return answer

    def begin(self) -> Connection:
        """A session in a transaction. Commit it, or not; and give it back."""
        return self._first(_begin)[0]

    def give_back(self, connection: Connection) -> None:
        """A session whose transaction was committed, or is to be rolled back."""
        try:
            connection.rollback()
        except DBAPIError:
            connection.close()
            raise
        if len(self._idle) < KEPT and not connection.invalidated:
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Give up what is kept; new ones are made when they are needed."""
        while (connection := self._kept()) is not None:
            connection.close()

    def _first(self, question: Callable[[Connection], T]) -> tuple[Connection, T]:
        """A session, and what it says to its first question."""
        connection = self._kept()
        if connection is not None:
            try:
                return connection, question(connection)
            except DBAPIError as error:
                connection.close()
                if not error.connection_invalidated:
                    raise
                self.close()
            except BaseException:
                connection.close()
                raise
        connection = self._engine.connect()
        try:
            return connection, question(connection)
        except BaseException:
            connection.close()
            raise

    def _kept(self) -> Connection | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None


def _begin(connection: Connection) -> None:
    connection.begin()
    execute(connection, "BEGIN")
