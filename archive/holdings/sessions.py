"""The reader role's sessions: what each remembers, so that PostgreSQL is not asked again, or told what it knows.

A small answer takes PostgreSQL a millisecond; each question more on its way there would cost a tenth of that.
"""

import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import Connection
from psycopg.pq import TransactionStatus
from psycopg_pool import ConnectionPool

FRESH_S = 1.0  # for as long a session that has answered is taken to be alive


class Session(Connection[tuple[Any, ...]]):
    """A connection of the reader's pool: read only, by its settings, and autocommit, so that a query that needs nothing
    before it in its transaction waits for no BEGIN and no ROLLBACK."""

    _bound: tuple[int | None, str | None] = (None, None)
    _answered = float("-inf")

    def bind(self, timeout_ms: int, role: str | None) -> None:
        """Let each statement from here on last so long at most, and run as the role; None: as the reader itself.

        This outlasts the use of the session: for what all users have in common.
        """
        if (timeout_ms, role) != self._bound:
            self.unbind()  # other roles may not set anything
            self.execute(
                "SELECT set_config('statement_timeout', %s, false), set_config('role', %s, false)",
                (str(timeout_ms), role or "none"),
            )
            self._bound = (timeout_ms, role)

    def unbind(self) -> None:
        """Be the reader itself again."""
        if self._bound[1] is not None:
            self.execute("RESET ROLE")
            self._bound = (self._bound[0], None)

    def begin(self, timeout_ms: int, role: str | None) -> None:
        """For the transaction that is begun, and no longer: the time of each statement, and the role."""
        self.execute(
            "SELECT set_config('statement_timeout', %s, true), set_config('role', coalesce(%s, 'none'), true)",
            (str(timeout_ms), role),
        )

    def rest(self) -> None:
        """End what is under way, before the pool has it back. psycopg.Error: it is lost."""
        if self.info.transaction_status != TransactionStatus.IDLE:
            self.rollback()
        if not self.autocommit:
            self.autocommit = True
        self._answered = time.monotonic()

    def lives(self) -> bool:
        """Whether there is still somebody on the other side."""
        looked = select.poll()
        looked.register(self.fileno(), select.POLLIN)
        # Where nobody asked anything there is nothing to read, but that the other side has hung up.
        if not looked.poll(0) and time.monotonic() - self._answered <= FRESH_S:
            return True
        try:
            self.execute("")
        except psycopg.Error:
            return False
        return True


class Sessions(ConnectionPool[Session]):
    """The pool of them."""

    def getconn(self, timeout: float | None = None) -> Session:
        """One that lives. psycopg_pool.PoolTimeout after so many seconds, None: as is set for the pool.

        The pool's own `check` pauses after each one that is dead, and a restart of the database leaves all of them so.
        """
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            session = super().getconn(deadline - time.monotonic())
            if session.lives():
                return session
            session.close()  # by which the pool knows that it needs another
            self.putconn(session)


@contextmanager
def reading(pool: Sessions, *, patience_s: float, role: str | None = None) -> Iterator[Session]:
    """A session in a transaction of the role, None for the reader itself, whose statements last patience_s at most, as
    does the wait for it. psycopg_pool.PoolTimeout, PoolClosed, psycopg.Error."""
    with pool.connection(timeout=patience_s) as session:
        session.unbind()
        session.autocommit = False
        try:
            session.begin(max(1, int(patience_s * 1000)), role)
            yield session
        finally:
            session.rest()
