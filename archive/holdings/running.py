"""Running a user's query as the reader role, and giving its rows back column by column, a page at a time.

One transaction a query: the query alone, or its temporary tables first (TAP's uploads, which end with it), then read
only, then the SELECT. The rows come by libpq's chunked mode, a page read ahead while the one before is written, so that
PostgreSQL and the writer work at once and neither side holds more than two. Knows SQL, not what it was made from (ADQL
in tap, parameters in archive.discovery); nothing of HTTP.
"""

import itertools
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

import psycopg
import pyarrow as pa
from psycopg import Connection
from psycopg.rows import scalar_row
from psycopg_pool import PoolClosed, PoolTimeout

from archive.holdings.lines import as_lines
from archive.holdings.rows import as_records, record_batch
from archive.holdings.sessions import Session, Sessions
from archive.holdings.temporary import TemporaryTable, fill
from archive.sphere.sphere import Sphere
from archive.vo.arrow import arrow_schema
from archive.vo.columns import Column
from archive.vo.errors import ArchiveError, AuthorizationError, QueryError, QueryTimeoutError, UnavailableError
from archive.vo.formats.separated import LINES

log = logging.getLogger(__name__)
_CLOCK_MARGIN_S = 1.0  # PostgreSQL comes first where it can
_CANCEL_TRIES, _CANCEL_PAUSE_S = 3, 0.2
# More than a process ever has connections, so that no page waits for another query's; made as they are needed.
_AHEAD = ThreadPoolExecutor(1024, thread_name_prefix="page-ahead")

# What a user's query can bring about, as opposed to what is our fault. Classes of SQLSTATE (PostgreSQL, appendix A).
_USERS_FAULT = (
    psycopg.errors.DataError,
    psycopg.errors.GroupingError,
    psycopg.errors.WindowingError,
    psycopg.errors.DatatypeMismatch,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.AmbiguousFunction,
    psycopg.errors.IndeterminateDatatype,
    psycopg.errors.CannotCoerce,
    psycopg.errors.CardinalityViolation,
    psycopg.errors.InvalidColumnReference,
    psycopg.errors.ProgramLimitExceeded,
    psycopg.errors.StatementTooComplex,
    psycopg.errors.TooManyArguments,
    psycopg.errors.TooManyColumns,
)


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL with psycopg placeholders, what they stand for, and the columns that come out.

    role: the database's role that it runs as, which the reader may become; None: the reader itself.
    is_own: whether the role is a user's, so that no session may keep it.
    """

    sql: str
    parameters: Mapping[str, object]
    columns: tuple[Column, ...]
    temporary: tuple[TemporaryTable, ...] = ()
    role: str | None = None
    is_own: bool = False

    @property
    def stands_alone(self) -> bool:
        """Whether nothing comes before it in its transaction."""
        return not self.temporary and not self.is_own


class RunningQuery:
    """A query on its way: open it, take its batches, close it. `cancel` may be called from any thread, at any time."""

    def __init__(
        self,
        pool: Sessions,
        statement: Statement,
        sphere: Sphere,
        *,
        timeout_s: float,
        batch_rows: int,
        maxrec: int,
        too_late: str = "narrow it",
        separator: str | None = None,
    ) -> None:
        """timeout_s: from the first page's asking to the last row; too_late: what to do about it, told when it ends.

        separator: give the rows as lines of text with this between their cells, where that can be (`has_lines`).
        """
        self.columns = statement.columns
        self.overflow = False
        self.ended = False  # the last row has come, and `overflow` is final
        self.rows = 0
        self._pool = pool
        self._statement = statement
        self._sphere = sphere
        self._timeout_s = timeout_s
        self._batch_rows = batch_rows
        self._maxrec = maxrec
        self._advice = too_late
        self._schema = arrow_schema(statement.columns)
        self._lines = as_lines(statement.sql, statement.columns, separator) if separator else None
        self._connection: Session | None = None
        self._rows: Iterator[bytes] = iter(())
        self._first: pa.RecordBatch | None = None
        self._ahead: Future[pa.RecordBatch | None] | None = None
        self._cancelled = False
        self._expired = False
        self._guard = threading.Lock()  # whose the connection is: given back by one thread, cancelled by another
        self._talking = threading.RLock()  # who speaks on it: the reader of a page, or the clock
        self._closed = threading.Event()
        self._clock: threading.Timer | None = None
        self._freed: Callable[[], None] = lambda: None

    def when_freed(self, call: Callable[[], None]) -> None:
        """Have `call` called, on whatever thread, once the connection is given back; before `open`."""
        self._freed = call

    @property
    def has_lines(self) -> bool:
        """Whether its batches are of LINES."""
        return self._lines is not None

    def open(self) -> None:
        """Run up to the first page, so that most failures are known before the first byte is sent.

        With maxrec 0 nothing is run, and the answer counts as cut (DALI-05).
        """
        if self._maxrec == 0:
            self.overflow = self.ended = True
            return
        try:
            connection = self._pool.getconn()
        except (PoolTimeout, PoolClosed):
            raise UnavailableError("no connection to the database is free; try again in a moment") from None
        with self._guard:
            self._connection = connection
        try:
            self._stop_if_cancelled()
            self._begin(connection)
            self._stop_if_cancelled()  # it may have come between two statements, when there was nothing to cancel
            self._first = self._next_batch()
        except BaseException as problem:
            self.close()
            raise self._told(problem) from None
        if self._connection is not None:
            # PostgreSQL's own timeout does not reach a backend that waits for a client that has stopped reading.
            self._clock = threading.Timer(self._timeout_s + _CLOCK_MARGIN_S, self._expire)
            self._clock.daemon = True
            self._clock.start()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows; at most maxrec, `overflow` says afterwards whether there were more."""
        batch, self._first = self._first, None
        try:
            while batch is not None:
                self.rows += batch.num_rows
                ahead = self._ahead = None if self.ended else _AHEAD.submit(self._next_batch)
                yield batch
                batch = ahead.result() if ahead else None
        except GeneratorExit:
            raise
        except BaseException as problem:
            raise self._told(problem) from None
        finally:
            self.close()

    def cancel(self) -> None:
        """End the query in PostgreSQL; whoever waits for its rows gets an error."""
        self._cancelled = True
        for _ in range(_CANCEL_TRIES):  # the first may come just before the query is sent, and meet nothing
            if not self._interrupt():
                return
            if self._closed.wait(_CANCEL_PAUSE_S):
                return

    def _interrupt(self) -> bool:
        """Ask PostgreSQL to end the query; False if there is none."""
        with self._guard:  # not given back meanwhile, or the next one's query would be cancelled
            if self._connection is None:
                return False
            try:
                self._connection.cancel_safe(timeout=5.0)
            except psycopg.Error as problem:
                log.warning("a query could not be cancelled: %s", problem)
            return True

    def _expire(self) -> None:
        """Time is up, and nobody asks for the next page: the connection goes to others."""
        with self._talking:
            self._expired = self._connection is not None
            self._release()

    def _stop_if_cancelled(self) -> None:
        if self._cancelled:
            raise ArchiveError("the query was cancelled")

    def close(self) -> None:
        """Give the connection back, its transaction ended; repeatable, from any thread that is not reading."""
        ahead = self._ahead
        while ahead is not None and not ahead.cancel() and not ahead.done():
            self._interrupt()  # a page that nobody wants any more
            wait([ahead], _CANCEL_PAUSE_S)
        self._release()

    def _release(self) -> None:
        with self._guard:
            connection, self._connection = self._connection, None
            if connection is not None:
                self._give_back(connection)
        self._closed.set()
        self._freed()
        if self._clock is not None:
            self._clock.cancel()

    def _give_back(self, connection: Session) -> None:
        try:
            close = getattr(self._rows, "close", None)
            if close is not None and not connection.closed:
                if connection.info.transaction_status == psycopg.pq.TransactionStatus.ACTIVE:
                    connection.cancel_safe(timeout=5.0)  # rows are still coming that nobody wants
                close()
            connection.rest()
        except psycopg.Error as problem:
            log.info("a connection was given up: %s", problem)
            connection.close()
        finally:
            self._rows = iter(())
            self._pool.putconn(connection)

    def _begin(self, connection: Session) -> None:
        timeout_ms = max(1, int(self._timeout_s * 1000))
        if self._statement.stands_alone:
            connection.bind(timeout_ms, self._statement.role)
        else:
            connection.unbind()
            connection.autocommit = False
            # Sessions of the pool are read only; where a table is made, first of all, as PostgreSQL wants it.
            if self._statement.temporary:
                connection.execute("SET TRANSACTION READ WRITE")
            connection.begin(timeout_ms, self._statement.role)
            for table in self._statement.temporary:
                fill(connection, table, self._sphere)
            if self._statement.temporary:
                connection.execute("SET TRANSACTION READ ONLY")
        cursor = connection.cursor(binary=True, row_factory=scalar_row)
        self._rows = cursor.stream(
            (self._lines or as_records(self._statement.sql)).encode(),
            dict(self._statement.parameters),
            size=self._batch_rows,
        )

    def _next_batch(self) -> pa.RecordBatch | None:
        with self._talking:
            if self._expired:
                raise self._too_late()
            if self._connection is None:
                return None
            rows = list(itertools.islice(self._rows, self._batch_rows))
            is_last = len(rows) < self._batch_rows
            room = self._maxrec - self.rows
            if len(rows) > room:
                self.overflow = is_last = True
                rows = rows[:room]
            batch = self._batch(rows, self._connection) if rows else None
            if is_last:
                self.ended = True
                self._release()  # before the rows are sent: a slow client keeps no connection for what has ended
            return batch

    def _batch(self, rows: list[bytes], connection: Connection[tuple[object, ...]]) -> pa.RecordBatch:
        if self._lines is not None:
            return pa.RecordBatch.from_arrays([pa.array(rows, LINES.field(0).type)], schema=LINES)
        return record_batch(rows, self._schema, connection)

    def _too_late(self) -> QueryTimeoutError:
        return QueryTimeoutError(f"the query did not end within {self._timeout_s:g} s; {self._advice}")

    def _told(self, problem: BaseException) -> BaseException:
        """The failure in words for who asked; what is no fault of theirs stays as it is and is logged above."""
        if isinstance(problem, psycopg.errors.QueryCanceled):
            if self._cancelled:
                return ArchiveError("the query was cancelled")
            return self._too_late()
        if isinstance(problem, psycopg.errors.UndefinedTable):
            return QueryError("a table of the query was dropped meanwhile")
        if isinstance(problem, psycopg.errors.InsufficientPrivilege) and self._statement.is_own:
            return AuthorizationError("a table of the query is not shared with you any more")
        if isinstance(problem, _USERS_FAULT):
            return QueryError(f"PostgreSQL refuses the query: {problem.diag.message_primary or problem}")
        if isinstance(problem, psycopg.errors.InsufficientResources):
            return UnavailableError("the query needs more memory or disk than there is; narrow it")
        if isinstance(problem, psycopg.OperationalError | psycopg.InterfaceError):
            log.error("the database failed during a query: %s", problem)
            return UnavailableError("the database is not there at the moment; try again shortly")
        return problem
