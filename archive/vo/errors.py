"""What can go wrong, in the archive's own words. Pure: how a protocol's client hears of it is told in routes.py.

Each error says what happened, where, and what to do, because its text is shown to the person who asked.
"""

from datetime import datetime


class ArchiveError(Exception):
    """A failure whose message may be shown to the person who asked.

    status: the HTTP status of a synchronous answer. code: SODA's and UWS's word for it (SODA 1.0 §5.2).
    fault: DataLink's and SIA's word for it (DataLink 1.1 §3.4, SIA 2.0 §3.2).
    """

    status = 500
    code = "Error"
    fault = "FatalFault"


class UsageError(ArchiveError):
    """The request breaks its protocol; sent again, it fails again."""

    status, code, fault = 400, "UsageError", "UsageFault"


class QueryError(UsageError):
    """An ADQL query that cannot be run as written.

    line, column: where, counted from 1; 0 when the whole query is meant.
    expected: what would have been accepted there, as short words.
    """

    def __init__(self, message: str, line: int = 0, column: int = 0, expected: tuple[str, ...] = ()) -> None:
        place = f"line {line}, column {column}: " if line else ""
        super().__init__(place + message)
        self.line = line
        self.column = column
        self.expected = expected


class NotFoundError(ArchiveError):
    """What was asked for is not here, or may not be known to be here."""

    status, code, fault = 404, "Error", "NotFoundFault"


class AuthenticationError(ArchiveError):
    """It is not known who asks, and it must be (401). problem: the challenge's error, if any (RFC 6750 §3.1)."""

    status, code, fault = 401, "AuthenticationError", "DefaultFault"
    problem: str | None = None


class AuthorizationError(ArchiveError):
    """It is known who asks, and they may not (403)."""

    status, code, fault = 403, "AuthorizationError", "DefaultFault"


class ProprietaryError(AuthorizationError):
    """The data are not public yet. Anonymous: 401, known but without the right: 403."""

    def __init__(self, message: str, *, anonymous: bool, release_date: datetime | None) -> None:
        super().__init__(message)
        self.release_date = release_date
        if anonymous:
            self.status, self.code = AuthenticationError.status, AuthenticationError.code


class StateError(ArchiveError):
    """Illegal in the state that the job or object is in (UWS 1.1 §2.2.1: 403)."""

    status, code, fault = 403, "UsageError", "UsageFault"


class ConflictError(ArchiveError):
    """What was to be made is there already (409)."""

    status, code, fault = 409, "UsageError", "UsageFault"


class TooLargeError(ArchiveError):
    """More than a limit of this service allows (413)."""

    status, code, fault = 413, "UsageError", "UsageFault"


class NotOfferedError(ArchiveError):
    """A part of the protocol that this service does not have, or not yet (501)."""

    status, code, fault = 501, "UsageError", "UsageFault"


class QueryTimeoutError(ArchiveError):
    """The query took longer than it may (504): an asynchronous job may take longer."""

    status, code, fault = 504, "Error", "TransientFault"


class UnavailableError(ArchiveError):
    """Not now (503); retry_after_s says when to try again, in seconds."""

    status, code, fault = 503, "ServiceUnavailable", "TransientFault"

    def __init__(self, message: str, retry_after_s: int = 10) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ConfigurationError(ArchiveError):
    """The archive's own settings or surroundings are wrong: for its operator, before it serves."""
