"""A file as it lies: conditional and range requests, validators, digests, a name (RFC 9110, 9530, 6266).

Pure: from what a file is and a request's headers to the status, the headers and the pieces of the answer's body.
"""

import base64
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from urllib.parse import quote

_RANGES = re.compile(r"bytes=(.*)", re.IGNORECASE | re.DOTALL)
_RANGE = re.compile(r"([0-9]*)-([0-9]*)")
_DIGITS = 18  # of a position that a file may have; what is longer lies beyond any end
OCTETS = "application/octet-stream"

Span = tuple[int, int]
Piece = bytes | Span
"""Of a body: bytes as they are, or those of the file from start to stop, stop excluded."""


@dataclass(frozen=True, slots=True)
class Representation:
    """The file that is asked for. sha256, md5: in hexadecimal; modified: with a time zone.

    date_is_strong: whether no other bytes can have been told with this date, to the second (RFC 9110 §8.8.2.2).
    """

    media_type: str
    file_name: str
    size_bytes: int
    sha256: str
    md5: str
    modified: datetime
    date_is_strong: bool = True

    @property
    def etag(self) -> str:
        """Strong: the same bytes, whatever their name."""
        return f'"{self.sha256}"'

    @property
    def dated(self) -> datetime:
        """modified, as a header tells it."""
        return self.modified.astimezone(UTC).replace(microsecond=0)


@dataclass(frozen=True, slots=True)
class Answer:
    """status: 200, 206, 304, 412 or 416; pieces: of the body to send, none where there is none."""

    status: int
    headers: dict[str, str]
    pieces: tuple[Piece, ...] = ()

    @property
    def start(self) -> int:
        """Of a body that is one span, its first byte; 0 where there is none."""
        return self._only[0]

    @property
    def stop(self) -> int:
        """And the byte behind its last."""
        return self._only[1]

    @property
    def _only(self) -> Span:
        match self.pieces:
            case ((int(start), int(stop)),):
                return start, stop
        return 0, 0


def answer(file: Representation, request: Mapping[str, str], method: str = "GET", *, most_ranges: int = 1) -> Answer:
    """What to answer to a GET or HEAD with these headers (names in lower case).

    most_ranges: of one GET; of several the answer is multipart/byteranges. Where only one is taken, several are
    answered with the whole file, as RFC 9110 §14.2 allows, and so are ranges that overlap to more than it; where
    several are, too many are refused (416).
    """
    headers = validators(file)
    if _is_another(file, request):
        return Answer(412, headers | {"content-length": "0"})
    if not_modified(request, file.etag, file.dated):  # comes before If-Modified-Since (§13.2.2)
        return Answer(304, headers)
    headers |= {
        "content-type": file.media_type,
        "content-disposition": disposition(file.file_name),
        "accept-ranges": "bytes",
        "content-length": str(file.size_bytes),
    }
    whole = Answer(200, headers, ((0, file.size_bytes),))
    if method != "GET" or "range" not in request or not _range_still_holds(file, request):
        return whole
    wanted = _ranges(request["range"])
    if not wanted or (len(wanted) > most_ranges == 1):
        return whole
    spans = [span for each in wanted if (span := _span(each, file.size_bytes)) is not None]
    if not spans or len(wanted) > most_ranges:
        refused = {"content-range": f"bytes */{file.size_bytes}", "content-length": "0"}
        return Answer(416, validators(file) | refused)
    if len(spans) > 1 and sum(stop - start for start, stop in spans) > file.size_bytes:
        return whole
    if len(spans) > 1:
        return _multipart(file, headers, spans)
    start, stop = spans[0]
    headers |= {"content-range": _content_range(file, spans[0]), "content-length": str(stop - start)}
    return Answer(206, headers, ((start, stop),))


def may_write(current: Representation | None, request: Mapping[str, str]) -> bool:
    """Whether the conditions of a PUT or DELETE hold for what is there now (RFC 9110 §13.1; None: nothing is)."""
    if current is None:
        return "if-match" not in request
    tags = request.get("if-none-match")
    if _is_another(current, request):
        return False
    return tags is None or not not_modified({"if-none-match": tags}, current.etag, None)


def validators(file: Representation) -> dict[str, str]:
    """What tells a client whether it has these very bytes: ETag, date, digests of the whole file."""
    sha256, md5 = (base64.b64encode(bytes.fromhex(digest)).decode() for digest in (file.sha256, file.md5))
    return {
        "etag": file.etag,
        "last-modified": format_datetime(file.dated, usegmt=True),
        "repr-digest": f"sha-256=:{sha256}:, md5=:{md5}:",
        "digest": f"SHA-256={sha256},MD5={md5}",
    }


def disposition(name: str) -> str:
    """Content-Disposition for a file's name; the plain form for old clients, RFC 6266's for the others."""
    plain = name.encode("ascii", "replace").decode().replace("?", "_")
    plain = re.sub(r'["\\\x00-\x1f\x7f]', "_", plain)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def not_modified(request: Mapping[str, str], etag: str, modified: datetime | None) -> bool:
    """Whether the client has what it asks for. request: its headers, names in lower case."""
    tags = request.get("if-none-match")
    if tags is not None:
        bare = etag.removeprefix("W/")
        return tags.strip() == "*" or bare in [tag.strip().removeprefix("W/") for tag in tags.split(",")]
    since = http_date(request.get("if-modified-since"))
    return since is not None and modified is not None and modified.replace(microsecond=0) <= since


def http_date(text: str | None) -> datetime | None:
    """A date of a header; None for none, and for what cannot be read."""
    if not text:
        return None
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _ranges(text: str) -> list[tuple[int | None, int | None]]:
    """The ranges that a header names, (None, n) for the last n bytes; [] for what is to be ignored (§14.1.1)."""
    named = _RANGES.fullmatch(text.strip())
    found = []
    for word in named[1].split(",") if named else ():
        if not word.strip():  # of a list empty elements are passed over (§5.6.1.2)
            continue
        span = _RANGE.fullmatch(word.strip())
        if span is None or span.groups() == ("", ""):
            return []
        first, last = (_position(digits) for digits in span.groups())
        if first is not None and last is not None and last < first:
            return []
        found.append((first, last))
    return found


def _position(digits: str) -> int | None:
    digits = digits.lstrip("0") or digits[:1]
    return (int(digits) if len(digits) <= _DIGITS else 10**_DIGITS) if digits else None


def _span(wanted: tuple[int | None, int | None], size_bytes: int) -> Span | None:
    """What of a file a range names; None if nothing."""
    first, last = wanted
    if first is None:
        start, stop = max(size_bytes - (last or 0), 0), size_bytes
    else:
        start, stop = first, size_bytes if last is None else min(last + 1, size_bytes)
    return (start, stop) if start < stop else None


def _content_range(file: Representation, span: Span) -> str:
    return f"bytes {span[0]}-{span[1] - 1}/{file.size_bytes}"


def _multipart(file: Representation, headers: dict[str, str], spans: Sequence[Span]) -> Answer:
    """multipart/byteranges (RFC 9110 §14.6)."""
    boundary = secrets.token_hex(16)
    pieces: list[Piece] = []
    for span in spans:
        told = f"Content-Type: {file.media_type}\r\nContent-Range: {_content_range(file, span)}\r\n\r\n"
        pieces += [f"\r\n--{boundary}\r\n{told}".encode("latin-1"), span]
    pieces.append(f"\r\n--{boundary}--\r\n".encode())
    size = sum(len(piece) if isinstance(piece, bytes) else piece[1] - piece[0] for piece in pieces)
    told_as = {"content-type": f"multipart/byteranges; boundary={boundary}", "content-length": str(size)}
    return Answer(206, headers | told_as, tuple(pieces))


def _is_another(file: Representation, request: Mapping[str, str]) -> bool:
    """If-Match, and else If-Unmodified-Since: the client wants these bytes or none (RFC 9110 §13.1.1, §13.1.4)."""
    tags = request.get("if-match")
    if tags is not None:
        return tags.strip() != "*" and file.etag not in [tag.strip() for tag in tags.split(",")]
    since = http_date(request.get("if-unmodified-since"))
    return since is not None and file.dated > since


def _range_still_holds(file: Representation, request: Mapping[str, str]) -> bool:
    """If-Range: a range of other bytes than the client has would spoil its file."""
    condition = request.get("if-range")
    if condition is None:
        return True
    return condition.strip() == file.etag or (file.date_is_strong and http_date(condition) == file.dated)
