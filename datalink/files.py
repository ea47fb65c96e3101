"""A file as it lies: conditional and range requests, validators, digests, a name to save it under (RFC 9110, 9530).

Pure: from a held file and a request's headers to the status, the headers and the bytes' bounds of the answer.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import quote

from archive.holdings.queries import HeldFile
from archive.vo.validators import http_date, not_modified

_RANGE = re.compile(r"bytes=([0-9]*)-([0-9]*)", re.IGNORECASE)
_DIGITS = 18  # of a position that a file may have; what is longer lies beyond any end


@dataclass(frozen=True, slots=True)
class Answer:
    """status: 200, 206, 304, 412 or 416; start, stop: the bytes to send, stop excluded (both 0 where none are sent)."""

    status: int
    headers: dict[str, str]
    start: int = 0
    stop: int = 0


def answer(file: HeldFile, request: Mapping[str, str], method: str = "GET") -> Answer:
    """What to answer to a GET or HEAD with these headers (names in lower case).

    One range of a GET is honoured; several, or one in another unit, are answered with the whole file, as RFC 9110
    §14.2 allows.
    """
    headers = validators(file)
    if _is_another(file, request):
        return Answer(412, headers | {"content-length": "0"})
    if _unchanged(file, request):
        return Answer(304, headers)
    headers |= {
        "content-type": file.media_type,
        "content-disposition": disposition(file.file_name),
        "accept-ranges": "bytes",
        "content-length": str(file.size_bytes),
    }
    span = _RANGE.fullmatch(request.get("range", "").strip())
    if method != "GET" or span is None or span.groups() == ("", "") or not _range_still_holds(file, request):
        return Answer(200, headers, 0, file.size_bytes)
    first, last = (_position(digits) for digits in span.groups())
    if first is not None and last is not None and last < first:
        return Answer(200, headers, 0, file.size_bytes)  # no range at all (§14.1.1), and ignored as one
    if first is None:
        start, stop = max(file.size_bytes - (last or 0), 0), file.size_bytes
    else:
        start, stop = first, file.size_bytes if last is None else min(last + 1, file.size_bytes)
    if start >= stop:
        return Answer(416, validators(file) | {"content-range": f"bytes */{file.size_bytes}", "content-length": "0"})
    headers |= {
        "content-range": f"bytes {start}-{stop - 1}/{file.size_bytes}",
        "content-length": str(stop - start),
    }
    return Answer(206, headers, start, stop)


def _position(digits: str) -> int | None:
    digits = digits.lstrip("0") or digits[:1]
    return (int(digits) if len(digits) <= _DIGITS else 10**_DIGITS) if digits else None


def validators(file: HeldFile) -> dict[str, str]:
    """What tells a client whether it has these very bytes: ETag, date, digests of the whole file."""
    sha256 = base64.b64encode(bytes.fromhex(file.sha256)).decode()
    md5 = base64.b64encode(bytes.fromhex(file.md5)).decode()
    return {
        "etag": _etag(file),
        "last-modified": format_datetime(_modified(file), usegmt=True),
        "repr-digest": f"sha-256=:{sha256}:, md5=:{md5}:",
        "digest": f"SHA-256={sha256},MD5={md5}",
    }


def disposition(name: str) -> str:
    """Content-Disposition for a file's name; the plain form for old clients, RFC 6266's for the others."""
    plain = name.encode("ascii", "replace").decode().replace("?", "_")
    plain = re.sub(r'["\\\x00-\x1f\x7f]', "_", plain)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _etag(file: HeldFile) -> str:
    return f'"{file.sha256}"'


def _modified(file: HeldFile) -> datetime:
    return file.arrived.astimezone(UTC).replace(microsecond=0)


def _is_another(file: HeldFile, request: Mapping[str, str]) -> bool:
    """If-Match, and else If-Unmodified-Since: the client wants these bytes or none (RFC 9110 §13.1.1, §13.1.4)."""
    tags = request.get("if-match")
    if tags is not None:
        return tags.strip() != "*" and _etag(file) not in [tag.strip() for tag in tags.split(",")]
    since = http_date(request.get("if-unmodified-since"))
    return since is not None and _modified(file) > since


def _unchanged(file: HeldFile, request: Mapping[str, str]) -> bool:
    """If-None-Match comes before If-Modified-Since (RFC 9110 §13.2.2)."""
    return not_modified(request, _etag(file), _modified(file))


def _range_still_holds(file: HeldFile, request: Mapping[str, str]) -> bool:
    """If-Range: a range of other bytes than the client has would spoil its file."""
    condition = request.get("if-range")
    if condition is None:
        return True
    return condition.strip() == _etag(file) or http_date(condition) == _modified(file)
