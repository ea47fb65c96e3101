"""A TAP query in the order it happens: parameters, parser, names, SQL, rows (journey ii).

The same for /sync and for a job of /async: `TapService.start` makes an Answer, whose bytes the caller sends or stores.
"""

import io
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from types import MappingProxyType
from typing import BinaryIO, Literal

import pyarrow as pa

from archive.access.identity import ANONYMOUS, User
from archive.holdings.own.seeing import OwnViews, View
from archive.holdings.published import READER_SCHEMAS, Published, PublishedTables, quoted
from archive.holdings.running import RunningQuery, Statement
from archive.holdings.sessions import Sessions
from archive.holdings.temporary import TemporaryTable
from archive.sphere.sphere import Sphere
from archive.vo.arrow import arrow_schema
from archive.vo.columns import Column, Table
from archive.vo.dali import Parameters, Upload, status_headers
from archive.vo.descriptors import links_descriptor
from archive.vo.errors import ArchiveError, QueryTimeoutError, TooLargeError, UsageError
from archive.vo.formats import Writer
from archive.vo.markup import Markup
from archive.vo.origin import SOFTWARE
from archive.vo.tables.uploaded import read_upload
from archive.vo.tally import Tally
from archive.vo.votable import Info, UploadedTable, field_ids, origin_infos
from tap.adql.meanings import CheckedQuery
from tap.adql.names import PublishedSchema, PublishedTable, check
from tap.adql.nodes import Query
from tap.adql.parser import parse
from tap.adql.postgres import translate
from tap.estimate import estimate, explained, plan_of
from tap.self_test import database_software
from tap.upload import Fetcher

LANGUAGES = ("ADQL", "ADQL-2.0", "ADQL-2.1")
UPLOAD_SCHEMA = "tap_upload"
STANDARD_ID = "ivo://ivoa.net/std/TAP"
MAX_COLUMNS = 1600  # of a relation, PostgreSQL's own
UNKNOWN_ROWS = 100_000  # taken for a table of which nobody counted them
TOO_LATE = "run it asynchronously (/tap/async), where it may take longer, or narrow it"
VOLATILE = ("random(", "now(", "clock_timestamp(")  # of functions whose SQL has other values each time
PUBLISHER_DID = "curation.publisherdid"  # ObsCore's utype, which a column keeps under any name (OBS-01)
LateFailures = Literal["told", "raised"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a query may cost. Rows, seconds, bytes, the planner's units of cost; see archive.settings.Tap."""

    default_maxrec: int = 100_000
    hard_maxrec: int = 20_000_000
    sync_timeout_s: float = 60.0
    sync_estimate_s: float = 3600.0
    batch_rows: int = 10_000
    upload_max_rows: int = 1_000_000
    upload_max_bytes: int = 64 * 1024 * 1024
    max_depth: int = 64
    max_query_bytes: int = 1024 * 1024
    cost_per_s: float = 100_000.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A query that has begun: its first rows are there. `chunks` may be called once; `cancel` at any time."""

    writer: Writer
    running: RunningQuery
    infos: tuple[Info, ...]
    resources: tuple[Markup, ...]
    tally: Tally

    def chunks(self, late_failures: LateFailures) -> Generator[bytes]:
        """The document, a piece at a time, in constant memory."""
        try:
            yield from self.writer.write(
                self.running.columns,
                self.tally.seen(self.running.batches()),
                infos=self.infos,
                overflow=lambda: self.running.overflow,
                table_name="result",
                resources=self.resources,
                late_failures=late_failures,
                trailing=self.tally.infos,
            )
        finally:
            self.running.close()


class TapService:
    """Answers ADQL over what is published, and over what each user has beside it."""

    def __init__(
        self,
        pool: Sessions,
        published: PublishedTables,
        sphere: Sphere,
        limits: Limits,
        fetcher: Fetcher,
        public_url: str | None = None,
        publisher: str | None = None,
        own: OwnViews | None = None,
    ) -> None:
        """public_url: where the archive is, for service descriptors in results; publisher: its name; None for none.

        own: the users' own tables.
        """
        self._own = own
        self._publisher = publisher
        self._software: str | None = None
        self._fetcher = fetcher
        self._public_url = public_url
        self._pool = pool
        self._published = published
        self._sphere = sphere
        self.limits = limits
        # Made anew only when something was published: `tables()` gives the same mapping until then.
        self._schema: tuple[Mapping[str, Published], PublishedSchema] = ({}, PublishedSchema({}))

    def prepare(
        self, parameters: Parameters, user: User, *, timeout_s: float, most_estimate_s: float | None = None
    ) -> "Prepared":
        """Read and check a request, its uploads too; nothing has run yet, so a mistake costs nothing.

        most_estimate_s: seconds; one that would take longer by the planner's estimate is refused as too late already.
        """
        _check_language(parameters)
        text = parameters.required("QUERY")
        if len(text.encode()) > self.limits.max_query_bytes:
            raise TooLargeError(f"the query is longer than {self.limits.max_query_bytes} bytes, the limit here")
        writer = parameters.responseformat()
        maxrec = parameters.maxrec(self.limits.default_maxrec, self.limits.hard_maxrec)
        tree = parse(text, max_depth=self.limits.max_depth)  # before anything is fetched for it
        uploads, left_out = self._uploads(parameters.uploads())
        view = self._view(user)
        checked = check(tree, self.schema(uploads, view))
        statement = self._statement(checked, maxrec, uploads, view)
        if most_estimate_s is not None:
            self._refuse_hopeless(checked, statement, timeout_s, most_estimate_s)
        running = self._running(statement, maxrec, timeout_s, writer.separator)
        told = (Info("UPLOAD", "left out", each) for each in left_out)
        return Prepared(
            writer,
            running,
            maxrec,
            (
                *_infos(text, maxrec, self.limits.hard_maxrec, user, self.software(), self._publisher),
                *told,
                *(info for table in checked.tables() for info in origin_infos(table.table.name, table.table.origin)),
            ),
            descriptors(statement.columns, self._public_url) if self._public_url else (),
            is_repeatable=_is_repeatable(statement.sql, checked.tables()),
        )

    def look_again(self) -> None:
        """Ask now what is published, whenever that was asked last."""
        self._published.look_again()

    def software(self) -> str:
        """What answers here: this program, and the database as soon as it has told its version."""
        if self._software is None:
            database = database_software(self._pool, self._sphere)
            if database is None:
                return SOFTWARE
            self._software = f"{SOFTWARE} {database}"
        return self._software

    def estimate_s(self, parameters: Parameters, user: User = ANONYMOUS) -> float | None:
        """Seconds that the query will take by the planner's estimate; None for one with uploads, or that cannot be run.

        Parameters of an asynchronous query are judged when it runs (TAP 1.1 §2.3), so a mistake is not told here.
        """
        try:
            if list(parameters.uploads()):
                return None
            tree = parse(parameters.required("QUERY"), max_depth=self.limits.max_depth)
            maxrec = parameters.maxrec(self.limits.default_maxrec, self.limits.hard_maxrec)
            return self._estimated_s(self._translate(tree, maxrec, self._view(user)))
        except ArchiveError:
            return None

    def table(self, text: str, *, maxrec: int, timeout_s: float) -> pa.Table:
        """The answer to a query, whole and in memory: for what is known to be small."""
        statement = self._translate(parse(text, max_depth=self.limits.max_depth), maxrec, self._view(ANONYMOUS))
        running = self._running(statement, maxrec, timeout_s)
        running.open()
        return pa.Table.from_batches(running.batches(), schema=arrow_schema(statement.columns))

    def _running(
        self, statement: Statement, maxrec: int, timeout_s: float, separator: str | None = None
    ) -> RunningQuery:
        return RunningQuery(
            self._pool,
            statement,
            self._sphere,
            timeout_s=timeout_s,
            batch_rows=self.limits.batch_rows,
            maxrec=maxrec,
            too_late=TOO_LATE,
            separator=separator,
        )

    def schema(self, uploads: Sequence[TemporaryTable] = (), view: View | None = None) -> PublishedSchema:
        """What a query may name: what is published now, what its user sees beside it, and its own uploads."""
        published = self._published.tables()
        known, schema = self._schema
        if known is not published:
            schema = published_schema(published)
            self._schema = (published, schema)
        own = published_schema(view.tables).tables if view else {}
        if not uploads and not own:
            return schema
        theirs = {each.table.name.lower(): PublishedTable(each.table, each.sql) for each in uploads}
        return PublishedSchema(_Translated(published, {**own, **theirs}))

    def explain(self, text: str, *, maxrec: int, analyze: bool, timeout_s: float) -> "Explained":
        """A query's SQL and plan. analyze: run it too, its rows thrown away, so that the plan tells what happened."""
        statement = self._translate(parse(text, max_depth=self.limits.max_depth), maxrec, self._view(ANONYMOUS))
        options = "ANALYZE, BUFFERS" if analyze else "COSTS"
        return Explained(
            statement,
            tuple(explained(self._pool, statement, options, timeout_s)),
            self._estimated_s(statement),
        )

    def _estimated_s(self, statement: Statement) -> float | None:
        plan = plan_of(self._pool, statement)
        return None if plan is None else estimate(plan).cost / self.limits.cost_per_s

    def _refuse_hopeless(
        self, checked: CheckedQuery, statement: Statement, timeout_s: float, most_estimate_s: float
    ) -> None:
        """Tell at once who would wait in vain. A plan costs a millisecond, so most queries are spared it."""
        if checked.most_rows(UNKNOWN_ROWS) <= timeout_s * self.limits.cost_per_s:
            return  # even a look at every row, of every pair of rows of two tables, is no longer than may be
        seconds = self._estimated_s(statement)
        if seconds is not None and seconds > most_estimate_s:
            raise QueryTimeoutError(
                f"the query would take about {seconds:.2g} s by PostgreSQL's estimate, and a synchronous one ends after"
                f" {timeout_s:g} s; {TOO_LATE}"
            )

    def _view(self, user: User) -> View:
        return self._own.of(user.name, user.subjects) if self._own else View()

    def _translate(self, tree: Query, maxrec: int, view: View) -> Statement:
        return self._statement(check(tree, self.schema((), view)), maxrec, (), view)

    def _statement(
        self, checked: CheckedQuery, maxrec: int, uploads: tuple[TemporaryTable, ...], view: View
    ) -> Statement:
        query = translate(checked, self._sphere, maxrec)
        if len(uploads) == 1 and _is_matched_with_more(uploads[0], query.sql, checked):
            uploads = (replace(uploads[0], indexed=False),)
        return Statement(query.sql, query.parameters, query.columns, uploads, view.role, view.is_own)

    def _uploads(self, uploads: Sequence[Upload]) -> tuple[tuple[TemporaryTable, ...], list[str]]:
        """The tables of UPLOAD, within the limits of them all; and what was left out of them, in words."""
        rows, size = self.limits.upload_max_rows, self.limits.upload_max_bytes
        tables: list[TemporaryTable] = []
        left_out: list[str] = []
        for upload in uploads:
            with self._opened(upload, size) as (file, media_type):
                size -= file.seek(0, io.SEEK_END)
                if size < 0:
                    raise TooLargeError(
                        f"UPLOAD: the tables have more than {self.limits.upload_max_bytes} bytes, the limit here"
                    )
                file.seek(0)
                read = read_upload(
                    file, name=upload.name, media_type=media_type, max_rows=rows,
                    max_bytes=self.limits.upload_max_bytes,
                )  # fmt: skip
            rows -= read.rows
            tables.append(_as_asked(upload.name, read))
            left_out += read.left_out
        return tuple(tables), left_out

    @contextmanager
    def _opened(self, upload: Upload, max_bytes: int) -> Iterator[tuple[BinaryIO, str | None]]:
        if upload.file is not None:
            yield upload.file.file, upload.file.media_type
            return
        with self._fetcher.fetch(upload.url or "", max_bytes=max_bytes) as fetched:
            yield fetched


def _is_matched_with_more(upload: TemporaryTable, sql: str, checked: CheckedQuery) -> bool:
    """Whether an upload stands once in a query beside a larger table that the sky's index is on.

    Then it is that index which is to be asked, once for each row of the upload. PostgreSQL takes every condition on
    the sky to keep a hundredth of the rows, so both ways cost it the same, and with an index on both it has been
    seen to ask the upload's a million times.
    """
    others = [one.table for one in checked.tables() if one.sql != upload.sql]
    is_larger = any(table.rows is None or table.rows > upload.rows for table in others)
    return is_larger and sql.count(upload.sql_name) == 1


def _as_asked(name: str, read: UploadedTable) -> TemporaryTable:
    if not 1 <= len(read.columns) <= MAX_COLUMNS:
        raise UsageError(f"UPLOAD: {name} has {len(read.columns)} columns; 1 to {MAX_COLUMNS} can be taken")
    table = Table(f"{UPLOAD_SCHEMA}.{name}", told_apart(read.columns))
    return TemporaryTable.of(table, read.batches, quoted(f"{UPLOAD_SCHEMA}_{name.lower()}"))


@dataclass(frozen=True, slots=True)
class Explained:
    """A query as PostgreSQL gets it, and what it makes of it. estimate_s: None if the planner could not be asked."""

    statement: Statement
    plan: tuple[str, ...]
    estimate_s: float | None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A checked request: `open` runs it to its first page, `cancel` ends it from any thread."""

    writer: Writer
    running: RunningQuery
    maxrec: int
    infos: tuple[Info, ...]
    resources: tuple[Markup, ...] = ()
    is_repeatable: bool = False

    def is_whole(self) -> bool:
        """Whether all rows have come."""
        return self.running.ended

    def open(self, *, late_failures: LateFailures = "told") -> Generator[bytes]:
        """Run to the first page, then give the document. late_failures: "told" within it, or "raised"."""
        self.running.open()
        tally = Tally(() if self.running.has_lines else self.running.columns)  # where cells are told apart no more
        return Answer(self.writer, self.running, self.infos, self.resources, tally).chunks(late_failures)

    def headers(self) -> dict[str, str]:
        """What is known of the answer when it begins."""
        return status_headers(self.maxrec, ended=self.running.ended, overflow=self.running.overflow)

    def cancel(self) -> None:
        self.running.cancel()

    def when_freed(self, call: Callable[[], None]) -> None:
        self.running.when_freed(call)


def published_schema(published: Mapping[str, Published]) -> PublishedSchema:
    """The published tables as the translator knows them."""
    return PublishedSchema(_Translated(published))


class _Translated(Mapping[str, PublishedTable]):
    """Published tables as the translator takes them, made as they are asked for."""

    def __init__(
        self, published: Mapping[str, Published], besides: Mapping[str, PublishedTable] = MappingProxyType({})
    ) -> None:
        self._published = published
        self._besides = besides

    def __getitem__(self, name: str) -> PublishedTable:
        if name in self._besides:
            return self._besides[name]
        one = self._published[name]
        return PublishedTable(one.table, one.sql_name)

    def __contains__(self, name: object) -> bool:
        return name in self._besides or name in self._published

    def __iter__(self) -> Iterator[str]:
        return chain(self._published, self._besides)

    def __len__(self) -> int:
        return len(self._published) + len(self._besides)


def descriptors(columns: Sequence[Column], public_url: str) -> tuple[Markup, ...]:
    """Where a result leads to: DataLink, if it has the publisher DIDs of ObsCore (TAP-26)."""
    for column, field_id in zip(columns, field_ids(columns), strict=True):
        if (column.utype or "").lower().removeprefix("obscore:") == PUBLISHER_DID:
            return (links_descriptor(public_url, field_id),)
    return ()


def told_apart(columns: Sequence[Column]) -> tuple[Column, ...]:
    """The columns of an upload; of two long names that PostgreSQL would cut to one, the second with a number."""
    used: set[str] = set()
    named = []
    for column in columns:
        name, number = column.name, 1
        while _as_postgres_cuts(name) in used:
            number += 1
            name = f"{column.name[:40]}_{number}"
        used.add(_as_postgres_cuts(name))
        named.append(column if name == column.name else column.renamed(name))
    return tuple(named)


def _as_postgres_cuts(name: str) -> str:
    return name.encode()[:63].decode(errors="ignore")


def _is_repeatable(sql: str, tables: Sequence[PublishedTable]) -> bool:
    """Whether a query has the same answer until the archive's data change: no chance in it, and nobody's own tables."""
    schemas = {table.sql.partition(".")[0].strip('"') for table in tables}
    return schemas <= set(READER_SCHEMAS) and not any(call in sql for call in VOLATILE)


def _check_language(parameters: Parameters) -> None:
    language = parameters.single("LANG")
    if language is None:
        raise UsageError(f"LANG is missing; this service understands {', '.join(LANGUAGES)}")
    if language.upper() not in LANGUAGES:
        raise UsageError(f"LANG={language} is not understood here; this service understands {', '.join(LANGUAGES)}")
    request = parameters.single("REQUEST")
    if request is not None and request.lower() != "doquery":
        raise UsageError(f"REQUEST={request} is not known; TAP has doQuery only, and does not need it")


def _infos(text: str, maxrec: int, hard: int, user: User, software: str, publisher: str | None) -> tuple[Info, ...]:
    """What a result says of itself (TAP-25, user needs 2 and 9), by the names of Data Origin in the VO 1.2, table 1."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return (
        Info("standardID", STANDARD_ID),  # DALI 1.1 §4.4.4; the note's name for it is the next
        Info("service_protocol", STANDARD_ID),
        *([Info("publisher", publisher)] if publisher else []),
        Info("server_software", software),
        Info("QUERY", text),
        Info("IDENTITY", "anonymous" if user.is_anonymous else str(user.name)),
        Info("request_date", now, "UTC"),
        Info("MAXREC", str(maxrec), f"rows at the most; set MAXREC for more, up to {hard}"),
    )
