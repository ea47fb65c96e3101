"""Whose fault a failure is: the file's, which is put aside, or the archive's, which ends the run.

A run over a hundred thousand files must not end at the one that nobody thought of, nor put all of them aside because
the database is away.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from archive.vo.errors import ArchiveError, UnavailableError
from ingest.findings import Finding
from storage.errors import StorageError

# Classes of SQLSTATE that speak of the values we sent (PostgreSQL 17, appendix A): data, integrity, syntax or names,
# limits of a statement. In the third there are codes that speak of a database that was not made ready.
_ABOUT_VALUES = ("22", "23", "42", "54")
_ABOUT_DATABASE = ("42501", "42P01", "42883", "42704")
_TRANSIENT = ("40001", "40P01")
_OF_THE_MACHINE = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EROFS, errno.ENOMEM, errno.ENOLCK)
)


def of_the_archive(error: Exception) -> Exception | None:
    """The error to end the run with, if it is not the file's fault; its text says what is gone and what to do."""
    if isinstance(error, StorageError | UnavailableError):
        return error
    if isinstance(error, OSError) and error.errno in _OF_THE_MACHINE:
        return UnavailableError(f"this machine cannot go on: {error}; mend that and run it again")
    if not isinstance(error, SQLAlchemyError | psycopg.Error):
        return None
    state = sqlstate(error)
    if state is not None and state.startswith(_ABOUT_VALUES) and state not in _ABOUT_DATABASE:
        return None
    if isinstance(error, SQLAlchemyError) and not isinstance(error, DBAPIError) and not _is_timeout(error):
        return None
    return UnavailableError(
        f"the database does not do its part: {_first_line(error)}; `uraniborg doctor` says more. Run it again when it "
        "is back: what has been taken in is recognised"
    )


def is_transient(error: Exception) -> bool:
    """Whether the same transaction may well succeed a moment later: a deadlock, a serialisation failure."""
    return sqlstate(error) in _TRANSIENT


def rolled_back(error: Exception) -> bool:
    """Whether it is sure that the transaction this came out of was not committed.

    False for a lost connection: the server may have committed before its answer was lost.
    """
    if not isinstance(error, SQLAlchemyError | psycopg.Error):
        return True
    state = sqlstate(error)
    return state is not None and not state.startswith(("08", "57"))


def sqlstate(error: Exception) -> str | None:
    """PostgreSQL's code, if the server itself has spoken."""
    origin = error.orig if isinstance(error, DBAPIError) else error
    return origin.sqlstate if isinstance(origin, psycopg.Error) else None


def of_the_file(error: Exception) -> Finding:
    """What to tell of a file that failed in a way of its own."""
    if isinstance(error, FileNotFoundError):
        return Finding(
            "error", "vanished", "file", "it was removed or renamed while it was taken in", "offer it once more."
        )
    if isinstance(error, OSError) and error.errno is not None:
        mend = "make it readable for the user that ingests, or copy it anew."
        return Finding("error", "unreadable", "file", f"it cannot be read: {error.strerror}", mend)
    what = f"this program failed on it: {type(error).__name__}: {_first_line(error)}"
    return Finding("error", "internal_error", "file", what, "report it, with the traceback in the log.")


@contextmanager
def told() -> Iterator[None]:
    """Raise a failure of the database as the archive's own error, which needs no traceback."""
    try:
        yield
    except (ArchiveError, StorageError):
        raise
    except Exception as error:
        failure = of_the_archive(error)
        if failure is None:
            raise
        raise failure from error


def _is_timeout(error: SQLAlchemyError) -> bool:
    from sqlalchemy.exc import DisconnectionError, TimeoutError

    return isinstance(error, DisconnectionError | TimeoutError)


def _first_line(error: Exception) -> str:
    origin = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    lines = str(origin).strip().splitlines()
    return lines[0] if lines else type(origin).__name__
