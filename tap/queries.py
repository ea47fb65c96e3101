"""Running a translated query as the reader role, and giving its rows back column by column, a page at a time.

One transaction a query: uploads first (temporary tables that end with it), then read only, then the SELECT. The rows
come by libpq's chunked mode, so neither side holds more than a page. Knows SQL, not ADQL; nothing of HTTP.
"""

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import psycopg
import pyarrow as pa
from psycopg import Connection, sql
from psycopg.rows import scalar_row
from psycopg_pool import ConnectionPool, PoolTimeout

from archive.holdings.catalogues import copy_batches, position_columns, postgres_type
from archive.holdings.published import quoted
from archive.sphere.sphere import Sphere
from archive.vo.arrow import arrow_schema
from archive.vo.columns import Column, Table
from archive.vo.errors import ArchiveError, QueryError, QueryTimeoutError, UnavailableError
from tap.rows import as_records, record_batch

log = logging.getLogger(__name__)

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
    psycopg.errors.StatementTooComplex,
)


@dataclass(frozen=True, slots=True)
class Upload:
    """A table that lives as long as the query; table.name is "tap_upload.<name>"."""

    table: Table
    batches: Sequence[pa.RecordBatch]
    sql_name: str


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL with psycopg placeholders, what they stand for, and the columns that come out."""

    sql: str
    parameters: Mapping[str, object]
    columns: tuple[Column, ...]
    uploads: tuple[Upload, ...] = ()


class RunningQuery:
    """A query on its way: open it, take its batches, close it. `cancel` may be called from any thread, at any time."""

    def __init__(
        self,
        pool: ConnectionPool[Connection[tuple[object, ...]]],
        statement: Statement,
        sphere: Sphere,
        *,
        timeout_s: float,
        batch_rows: int,
        maxrec: int,
    ) -> None:
        self.columns = statement.columns
        self.overflow = False
        self.rows = 0
        self._pool = pool
        self._statement = statement
        self._sphere = sphere
        self._timeout_s = timeout_s
        self._batch_rows = batch_rows
        self._maxrec = maxrec
        self._schema = arrow_schema(statement.columns)
        self._connection: Connection[tuple[object, ...]] | None = None
        self._rows: Iterator[bytes] = iter(())
        self._first: pa.RecordBatch | None = None
        self._cancelled = False

    def open(self) -> None:
        """Run up to the first page, so that most failures are known before the first byte is sent."""
        try:
            self._connection = self._pool.getconn()
        except PoolTimeout:
            raise UnavailableError("all connections of this service are busy; try again in a moment") from None
        try:
            self._stop_if_cancelled()
            self._begin(self._connection)
            self._stop_if_cancelled()  # it may have come between two statements, when there was nothing to cancel
            self._first = self._next_batch()
        except BaseException as problem:
            self.close()
            raise self._told(problem) from None

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows; at most maxrec, `overflow` says afterwards whether there were more."""
        batch, self._first = self._first, None
        try:
            while batch is not None:
                self.rows += batch.num_rows
                yield batch
                batch = self._next_batch()
        except GeneratorExit:
            raise
        except BaseException as problem:
            raise self._told(problem) from None
        finally:
            self.close()

    def cancel(self) -> None:
        """End the query in PostgreSQL; whoever waits for its rows gets an error."""
        self._cancelled = True
        connection = self._connection
        if connection is not None:
            try:
                connection.cancel_safe(timeout=5.0)
            except psycopg.Error as problem:
                log.warning("a query could not be cancelled: %s", problem)

    def _stop_if_cancelled(self) -> None:
        if self._cancelled:
            raise ArchiveError("the query was cancelled")

    def close(self) -> None:
        """Give the connection back, its transaction ended; repeatable."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            close = getattr(self._rows, "close", None)
            if close is not None and not connection.closed:
                if connection.info.transaction_status == psycopg.pq.TransactionStatus.ACTIVE:
                    connection.cancel_safe(timeout=5.0)  # rows are still coming that nobody wants
                close()
            connection.rollback()
        except psycopg.Error as problem:
            log.info("a connection was given up: %s", problem)
            connection.close()
        finally:
            self._pool.putconn(connection)

    def _begin(self, connection: Connection[tuple[object, ...]]) -> None:
        if self._statement.uploads:  # first of all, as PostgreSQL wants it; taken back below
            connection.execute("SET TRANSACTION READ WRITE")
        timeout_ms = str(max(1, int(self._timeout_s * 1000)))
        connection.execute("SELECT set_config('statement_timeout', %s, true)", (timeout_ms,))
        for upload in self._statement.uploads:
            _fill(connection, upload, self._sphere)
        connection.execute("SET TRANSACTION READ ONLY")
        cursor = connection.cursor(binary=True, row_factory=scalar_row)
        self._rows = cursor.stream(
            as_records(self._statement.sql).encode(), dict(self._statement.parameters), size=self._batch_rows
        )

    def _next_batch(self) -> pa.RecordBatch | None:
        if self.overflow:
            return None
        rows = list(itertools.islice(self._rows, self._batch_rows))
        if not rows:
            return None
        room = self._maxrec - self.rows
        if len(rows) > room:
            self.overflow = True
            rows = rows[:room]
            if not rows:
                return None
        assert self._connection is not None
        return record_batch(rows, self._schema, self._connection)

    def _told(self, problem: BaseException) -> BaseException:
        """The failure in words for who asked; what is no fault of theirs stays as it is and is logged above."""
        if isinstance(problem, psycopg.errors.QueryCanceled):
            if self._cancelled:
                return ArchiveError("the query was cancelled")
            return QueryTimeoutError(
                f"the query did not end within {self._timeout_s:g} s; run it asynchronously (/tap/async), "
                "where it may take longer, or narrow it"
            )
        if isinstance(problem, _USERS_FAULT):
            return QueryError(f"PostgreSQL refuses the query: {problem.diag.message_primary or problem}")
        if isinstance(problem, psycopg.errors.InsufficientResources):
            return UnavailableError("the query needs more memory or disk than there is; narrow it")
        if isinstance(problem, psycopg.OperationalError):
            log.error("the database failed during a query: %s", problem)
            return UnavailableError("the database is not there at the moment; try again shortly")
        return problem


def _fill(connection: Connection[tuple[object, ...]], upload: Upload, sphere: Sphere) -> None:
    """Make an uploaded table: COPY in, its position indexed, its statistics known, gone with the transaction."""
    table = upload.table
    columns = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(column.name), sql.SQL(postgres_type(column))) for column in table.columns
    )
    name = sql.SQL(upload.sql_name)
    connection.execute(sql.SQL("CREATE TEMPORARY TABLE {} ({}) ON COMMIT DROP").format(name, columns))
    copy_batches(connection, name, upload.batches)
    position = position_columns(table)
    if position is not None:
        for statement in sphere.point_index(upload.sql_name, quoted(position[0]), quoted(position[1])):
            connection.execute(statement.encode())
    connection.execute(sql.SQL("ANALYZE {}").format(name))
