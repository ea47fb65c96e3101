"""Connections for the one question that every read asks: which version, and where it lies.

A pooled connection costs a question before (does it still answer?), the begin of a transaction and its end: four
trips for one. These stay out of the pool while they are asked often, without transactions; one that turns out dead is
given up, and the question, which changes nothing, asked once more of a new one.
"""

from collections import deque
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

# Kept between questions; the rest goes back to the pool, for those who write.
KEPT = 4

T = TypeVar("T")


class Asking:
    """Asks an engine's database. Safe between threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._idle: deque[Connection] = deque()

    def ask(self, question: Callable[[Connection], T]) -> T:
        """The answer to a question that changes nothing and asks one thing: there is no transaction around it."""
        connection = self._kept()
        if connection is not None:
            try:
                return self._put(connection, question)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                self.close()
        return self._put(self._engine.connect(), question)

    def close(self) -> None:
        """Give up what is kept; new ones are made when they are needed."""
        while (connection := self._kept()) is not None:
            connection.close()

    def _put(self, connection: Connection, question: Callable[[Connection], T]) -> T:
        try:
            answer = question(connection)
            connection.rollback()  # SQLAlchemy's own transaction, of which the database knows nothing
        except BaseException:
            connection.close()
            raise
        if len(self._idle) < KEPT:
            self._idle.append(connection)
        else:
            connection.close()
        return answer

    def _kept(self) -> Connection | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None
