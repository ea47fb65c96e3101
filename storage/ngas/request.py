"""A request as its command sees it: parameters from the query and from Content-Disposition. And how it is refused."""

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from pathlib import PurePosixPath
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit
from uuid import uuid4

MAX_PARAMETERS = 100
# What a client sends when it does not know the type.
PLACEHOLDER = "ngas/archive-request"
PULLED = ("file:", "http:", "https:", "ftp:")
_ITEM = re.compile(r';\s*([A-Za-z_-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;]*)')


class Refused(Exception):
    """A command is not done: what the client is told, and the status."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


def said(name: str, number: int, level: str, text: str) -> str:
    """A message of NGAS; programs look for its name."""
    return f"NGAMS_{name}:{number}:{level}: {text}"


@dataclass(frozen=True, slots=True)
class Request:
    """name: of the command. parameters: first value of each. headers: names in lower case."""

    name: str
    method: str
    parameters: Mapping[str, str]
    headers: Mapping[str, str]
    host_id: str
    request_id: str = field(default_factory=lambda: str(uuid4()))
    received: datetime = field(default_factory=lambda: datetime.now(UTC))

    def text(self, name: str) -> str | None:
        """A parameter; None if it is not there or empty."""
        return self.parameters.get(name) or None

    def needed(self, name: str) -> str:
        """A parameter that must be there."""
        value = self.text(name)
        if value is None:
            raise Refused(said("ER_CMD_SYNTAX", 4035, "ERROR", f"{self.name} needs the parameter {name}"))
        return value

    def number(self, name: str, default: int | None = None) -> int | None:
        """A whole number; -1, which some clients send for nothing, is nothing."""
        value = self.text(name)
        if value is None:
            return default
        # Nine digits: what the database calls an integer.
        if not re.fullmatch(r"-?[0-9]{1,9}", value, re.ASCII):
            raise Refused(f"Invalid parameter: {name} is a whole number of up to 9 digits, not {value[:40]!r}")
        return default if int(value) == -1 else int(value)

    def flag(self, name: str) -> bool:
        """Whether a parameter says yes."""
        return self.parameters.get(name, "0").lower() not in ("", "0", "false", "no")

    def pattern(self, name: str) -> str | None:
        """A pattern of LIKE."""
        return None if (value := self.text(name)) is None else checked_pattern(value)

    def date(self, name: str) -> datetime | None:
        """A moment in UTC."""
        value = self.text(name)
        if value is None:
            return None
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise Refused(
                f"Invalid parameter: {name} is a date as 2026-11-22T07:55:44.518, not {value[:40]!r}"
            ) from None
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)

    @property
    def version(self) -> int | None:
        """file_version; None: the newest."""
        return self.number("file_version")

    @property
    def file_id(self) -> str | None:
        """Of the file that is spoken of: by default the last segment of its name, where there is one."""
        named = self.text("file_id")
        if named is not None or self.name not in ("ARCHIVE", "QARCHIVE"):
            return named
        name = self.text("filename") or ""
        return _file_id_in(name) or base_name(name) or None


def checked_pattern(pattern: str) -> str:
    """The pattern itself, if LIKE takes it: a backslash escapes what follows, so none stands at the end."""
    if (len(pattern) - len(pattern.rstrip("\\"))) % 2:
        raise Refused(f"Invalid parameter: a pattern does not end with one backslash: {pattern[:80]!r}")
    return pattern


def base_name(name: str) -> str:
    """The last segment of a name, or of a URL's path, or of the file_id that a URL asks another NGAS for."""
    if name.startswith(PULLED):
        name = _file_id_in(name) or unquote(split_uri(name).path)
    return PurePosixPath(name).name


def _file_id_in(uri: str) -> str | None:
    if not uri.startswith(PULLED):
        return None
    return dict(parse_qsl(split_uri(uri).query, max_num_fields=MAX_PARAMETERS)).get("file_id")


def split_uri(uri: str) -> SplitResult:
    """The parts of a URI; Refused for what is none."""
    try:
        return urlsplit(uri)
    except ValueError:
        raise Refused(f"{uri[:80]!r} is no URI") from None


def parse(name: str, method: str, query: bytes, headers: Mapping[str, str], host_id: str) -> Request:
    """The request; Refused for parameters that are no text in UTF-8."""
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise Refused(f"Invalid parameters: up to {MAX_PARAMETERS} are taken, in UTF-8 and percent-encoded") from None
    parameters: dict[str, str] = {}
    for key, value in pairs:
        if "\0" in value:
            raise Refused(f"Invalid parameter: {key[:40]} has the character NUL in it")
        parameters.setdefault(key, value)
    for key, value in _disposition(headers.get("content-disposition", "")).items():
        parameters.setdefault(key, value)
    if "authorization" in parameters and "authorization" not in headers:
        # The client sends no header with GET.
        headers = {**headers, "authorization": parameters["authorization"]}
    return Request(name, method, parameters, headers, host_id)


def _disposition(header: str) -> dict[str, str]:
    """The items of a Content-Disposition as NGAS writes it: values may have blanks and slashes and no quotes, and a
    header that is not ASCII is one encoded word (RFC 2047)."""
    with contextlib.suppress(UnicodeError):
        # Header values come as Latin-1; some senders write UTF-8.
        header = header.encode("latin-1").decode()
    if header.startswith("=?"):
        try:
            header = str(make_header(decode_header(header)))
        except (HeaderParseError, LookupError, ValueError):
            raise Refused("Content-Disposition is an encoded word that cannot be read") from None
    items: dict[str, str] = {}
    for match in _ITEM.finditer(header):
        value = match[2].strip()
        if value.startswith('"') and value.endswith('"') and len(value) > 1:
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        items.setdefault(match[1], value)
    return items
