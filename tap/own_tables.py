"""Users' own tables, in the order it happens: may they, what came, and what becomes of it.

What is not theirs and not shared with them does not exist for them. Keeping the tables is archive.holdings.own's.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

from archive.access.identity import User
from archive.access.service import AccessService
from archive.holdings.own.keeping import Kept, OwnTables
from archive.holdings.own.names import checked_name, schema_of
from archive.holdings.own.seeing import OwnViews, View
from archive.jobs.context import JobContext, JobKind
from archive.vo.columns import Column, Table
from archive.vo.errors import (
    AuthenticationError,
    AuthorizationError,
    NotFoundError,
    TooLargeError,
    UnavailableError,
    UsageError,
)
from archive.vo.tables.uploaded import form_of, read_upload
from archive.vo.vosi_reading import read_vosi_table, root_of
from archive.vo.votable import UploadedTable
from tap.service import MAX_COLUMNS, told_apart

UPDATE = "table-update"
_HEAD_BYTES = 4096
_TEXT = ("char", "unicodeChar")


class OwnTablesService:
    """max_bytes: of one table as it is sent. at_once: tables that a process takes in; patience_s: to wait for that."""

    def __init__(
        self,
        views: OwnViews,
        tables: OwnTables,
        access: AccessService,
        *,
        max_bytes: int,
        at_once: int = 2,
        patience_s: float = 30.0,
    ) -> None:
        self._views = views
        self._tables = tables
        self._access = access
        self.max_bytes = max_bytes
        self._places = threading.BoundedSemaphore(at_once)
        self._patience_s = patience_s

    def view(self, user: User) -> View:
        """What a user may read beside what is published."""
        return self._views.of(user.name, user.subjects)

    def create(self, user: User, name: str, file: BinaryIO, media_type: str | None) -> tuple[Table, Sequence[str]]:
        """Make a table of what came: VOSI's description of one, or a whole table with its rows.

        Returns it as it is told, and sentences on columns that were left out. AuthorizationError: not in one's schema.
        """
        name = self._in_own_schema(user, name)
        with self._place():
            if _is_vosi(file, media_type):
                described = read_vosi_table(file, name)
                read = UploadedTable(described.columns, ())
            else:
                read = self._read(user, file, name, media_type)
                described = Table(name, read.columns)
            table = Table(name, _nameable(read.columns), described.description, described.utype, title=described.title)
            return self._tables.create(user.name, table, read.batches), read.left_out

    def load(self, user: User, name: str, file: BinaryIO, media_type: str | None) -> tuple[int, Sequence[str]]:
        """Add rows to a table; how many, and what was left out. All of them, or none."""
        table = self._owned(user, name)
        with self._place():
            texts = {column.name.lower() for column in table.columns if column.datatype in _TEXT}
            read = self._read(user, file, table.name, media_type, texts=frozenset(texts))
            return self._tables.append(table.name, read.columns, read.batches), read.left_out

    def describe(self, user: User, name: str, file: BinaryIO) -> Table:
        """Say otherwise what a table and its columns are, by VOSI's description of it."""
        table = self._owned(user, name)
        return self._tables.describe(table.name, read_vosi_table(file, table.name))

    def index(self, user: User, name: str, column: str, *, unique: bool) -> None:
        """Index a column."""
        self._tables.index(self._owned(user, name).name, column, unique=unique)

    def drop(self, user: User, name: str) -> None:
        self._tables.drop(self._owned(user, name).name)

    def share(self, user: User, name: str, read: Sequence[str] = (), revoke: Sequence[str] = ()) -> Kept:
        """Let others read a table, or no more; who may, afterwards. Subjects: "user:NAME", "group:NAME"."""
        table = self._owned(user, name)
        for subject in read:  # whom a table is shared with no more may be gone: a group without members is none
            self._access.demand_subject(subject)
        return self._tables.share(table.name, read, revoked=revoke)

    def _read(
        self, user: User, file: BinaryIO, name: str, media_type: str | None, texts: frozenset[str] = frozenset()
    ) -> UploadedTable:
        room = self._tables.room(user.name)
        rows, size_bytes = max(0, room.rows), max(0, room.size_bytes)
        try:
            return read_upload(
                file, name=name, media_type=media_type, max_rows=rows, max_bytes=self.max_bytes,
                max_unpacked=size_bytes, texts=texts,
            )  # fmt: skip
        except TooLargeError as problem:
            raise TooLargeError(f"{problem}: your tables have room for {rows} rows and {size_bytes} bytes") from None

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(timeout=self._patience_s):
            raise UnavailableError("other tables are being taken in; try again in a moment")
        try:
            yield
        finally:
            self._places.release()

    def _in_own_schema(self, user: User, name: str) -> str:
        self._demand_known(user)
        name, schema = checked_name(name), schema_of(user.name)
        if name.partition(".")[0] != schema:
            raise AuthorizationError(f"{user.name} makes tables in the schema {schema} only: {schema}.NAME")
        return name

    def _owned(self, user: User, name: str) -> Table:
        """A table of the user's. NotFoundError for what they may not know to be there."""
        self._demand_known(user)
        name, view = checked_name(name), self.view(user)
        found = view.tables.get(name)
        if found is None:
            raise NotFoundError(f"{user.name} has no table {name}")
        if name not in view.owned:
            raise AuthorizationError(f"{name} belongs to somebody else, who lets {user.name} read it")
        return found.table

    def _demand_known(self, user: User) -> None:
        if user.is_anonymous:
            raise AuthenticationError("tables of one's own are for those who are known: send an access token")
        self._views.require_possible()


def _is_vosi(file: BinaryIO, media_type: str | None) -> bool:
    head = file.read(_HEAD_BYTES)
    file.seek(0)
    if not head:
        raise UsageError("nothing came: send a table, or a description of one (VOSI)")
    return form_of(head, media_type) == "votable" and root_of(file) != "VOTABLE"


def _nameable(columns: tuple[Column, ...]) -> tuple[Column, ...]:
    if not 1 <= len(columns) <= MAX_COLUMNS:
        raise UsageError(f"the table has {len(columns)} columns; 1 to {MAX_COLUMNS} can be taken")
    names = [column.name.lower() for column in columns]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"two columns are called {twice}; each needs a name of its own, in any case of letters")
    return told_apart(columns)


def job_kind(own: OwnTablesService) -> JobKind:
    """The kind of job that /tap/table-update makes, as pyvo asks for an index."""

    def run(context: JobContext) -> None:
        given = {name: next(iter(context.values(name)), "") for name in ("table", "index", "unique")}
        for name in ("table", "index"):
            if not given[name]:
                raise UsageError(f"{name} is missing: the table, and the column to index")
        own.index(context.user, given["table"], given["index"], unique=given["unique"].lower() in ("true", "1"))

    return JobKind(UPDATE, run)
