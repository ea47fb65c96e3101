"""What a request asks for, in the store's own values, BadRequest where it is none; what an answer tells, as JSON."""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, quote, unquote_to_bytes

from starlette.types import Scope

from storage import errors
from storage.checksums import Expected
from storage.model import CONTROL, Container, ObjectVersion, VolumeRow, check_file_id
from storage.packing import packed
from storage.web.authorizer import challenges
from storage.web.bodies import BodyBroken, raw

ROOT = "/store/v1"
BIGINT = 2**63 - 1
MAX_VERSION = 2**31 - 1
MAX_MEDIA_TYPE = 255
MAX_PARAMETERS = 32
_MEDIA_TYPE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+([ \t]*;[\t\x20-\x7e]*)?", re.ASCII)
_NO_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
# RFC 3230 and RFC 9530 name them so, in any case.
_DIGESTS = {"sha-256": ("sha256", 32), "md5": ("md5", 16), "crc32c": ("crc32c", 4)}
Headers = list[tuple[bytes, bytes]]

STATUSES: Mapping[type[Exception], int] = {
    errors.InvalidFileId: 400,
    errors.InvalidKey: 400,
    errors.ChecksumMismatch: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.ObjectNotFound: 404,
    errors.ContainerNotFound: 404,
    errors.ContainerNotEmpty: 409,
    errors.CopyNeeded: 409,
    errors.ObjectExists: 409,
    errors.InvalidRange: 416,
    errors.OutOfSpace: 507,
    errors.VolumeUnavailable: 503,
    errors.CatalogueUnavailable: 503,
}


class Refused(Exception):
    """A request that is answered with this status. headers: sent with it."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.headers = status, dict(headers or {})


class BadRequest(Refused):
    """The request is none that this service knows; sent again, it fails again."""

    def __init__(self, message: str) -> None:
        super().__init__(400, message)


@dataclass(frozen=True, slots=True)
class Request:
    """headers: names in lower case, repeated ones joined. path: behind the face's own, as it was sent, undecoded."""

    method: str
    path: bytes
    query: Mapping[str, str]
    headers: Mapping[str, str]

    @classmethod
    def of(cls, scope: Scope, below: str) -> "Request":
        """From an ASGI scope; below: the path under which the face is served."""
        headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            key, text = name.decode("latin-1"), value.decode("latin-1")
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
        path = scope.get("raw_path") or quote(scope["path"]).encode()
        if not path.startswith(below.encode()):  # escaped where nothing needs to be: then nobody knows where it begins
            raise Refused(404, f"what lies here is written {below}/..., unescaped")
        return cls(scope["method"], path[len(below) :], _query(scope["query_string"]), headers)

    def known(self, *names: str) -> None:
        """BadRequest for a parameter of the query that is not one of these: a slip must not be answered as if it were
        not there."""
        for name in self.query:
            if name not in names:
                offered = f"known here: {', '.join(names)}" if names else "none is known here"
                raise BadRequest(f"unknown parameter {name[:40]!r}; {offered}")

    def number(self, name: str, *, most: int, least: int = 0) -> int | None:
        """A whole number of the query; None where it is not given."""
        text = self.query.get(name)
        return None if text is None else whole_number(name, text, most=most, least=least)

    def text(self, name: str, default: str = "") -> str:
        """Text of the query, which has no control characters."""
        return clean_text(name, self.query.get(name, default))

    @property
    def size_bytes(self) -> int | None:
        """Content-Length; None of a chunked body."""
        text = self.headers.get("content-length")
        return None if text is None else whole_number("Content-Length", text, most=BIGINT)

    def expected(self) -> Expected:
        """What the sender promised of the body: Content-Length, Content-MD5 (RFC 1864), Digest (RFC 3230), Repr-Digest
        and Content-Digest (RFC 9530), which are the same of a body without coding. Other algorithms are passed over
        beside one that is known; alone they are refused, for who promised them would take them for checked."""
        promised: dict[str, str] = {}
        told = self.headers.get("content-md5")
        if told is not None:
            promised["md5"] = _digest("Content-MD5", "md5", told)
        for header in ("digest", "repr-digest", "content-digest"):
            if header not in self.headers:
                continue
            words = [word.strip().partition("=") for word in self.headers[header].split(",")]
            known = [(name, value) for name, _, value in words if name.lower() in _DIGESTS]
            if not known:
                raise BadRequest(f"{header}: none of these digests is checked here, but {', '.join(_DIGESTS)}")
            for name, told in known:
                value = told.partition(";")[0].strip()  # parameters, of which none is defined (RFC 8941 §3.1.2)
                if header != "digest":
                    if not (len(value) > 1 and value[0] == value[-1] == ":"):
                        raise BadRequest(f"{header}: {name} is no byte sequence (RFC 8941 §3.3.5)")
                    value = value[1:-1]
                field = _DIGESTS[name.lower()][0]
                found = _digest(header, name.lower(), value)
                if promised.setdefault(field, found) != found:
                    raise BadRequest(f"{header}: two different digests {name} are promised")
        return Expected(size_bytes=self.size_bytes, **promised)

    def media_type(self) -> str | None:
        """Content-Type; None where it is not told."""
        told = self.headers.get("content-type")
        return None if told is None else checked_media_type(told)


def _query(text: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(text.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise BadRequest("the query is no percent-encoded UTF-8, or has too many parameters") from None
    query = dict(pairs)
    if len(query) != len(pairs):
        raise BadRequest("a parameter of the query is given twice")
    return query


def _digest(header: str, name: str, text: str) -> str:
    """A digest in base64, as hexadecimal."""
    try:
        value = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        value = b""
    if len(value) != _DIGESTS[name][1]:
        raise BadRequest(f"{header}: {text[:60]!r} is no {name} in base64")
    return value.hex()


def whole_number(name: str, text: str, *, most: int, least: int = 0) -> int:
    """A whole number in ASCII digits, within bounds; else BadRequest."""
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and least <= int(text) <= most):
        raise BadRequest(f"{name} is a whole number from {least} to {most}, not {text[:40]!r}")
    return int(text)


def clean_text(name: str, text: str) -> str:
    """Text without control characters; else BadRequest."""
    if CONTROL.search(text):
        raise BadRequest(f"{name} has a control character in it")
    return text


def checked_media_type(text: str) -> str:
    """A media type (RFC 9110 §8.3.1); else BadRequest."""
    if len(text) > MAX_MEDIA_TYPE or not _MEDIA_TYPE.fullmatch(text):
        raise BadRequest(f"{text[:60]!r} is no media type")
    return text


def file_id_of(path: bytes) -> str:
    """A file_id out of a path as it was sent, its slashes escaped or not. BadRequest, InvalidFileId.

    "." and ".." between slashes are legal in a file_id, but clients and proxies take them out of paths (RFC 3986
    §5.2.4), so that one could never be sure which file is meant: over HTTP they are refused.
    """
    if _NO_ESCAPE.search(path):
        raise BadRequest("the path has a % that no two hexadecimal digits follow")
    try:
        file_id = unquote_to_bytes(path).decode()
    except UnicodeDecodeError:
        raise BadRequest("the path is no percent-encoded UTF-8") from None
    check_file_id(file_id)
    if not {".", ".."}.isdisjoint(file_id.split("/")):
        raise BadRequest("a file_id with . or .. between slashes cannot be named in a URL")
    return file_id


def url_path(file_id: str) -> str:
    """A file_id as a part of a URL."""
    return quote(file_id, safe="/:@!$&'()*,;=~")


# --- what is told


def moment(when: datetime | None) -> str | None:
    """ISO 8601, UTC."""
    return None if when is None else when.isoformat().replace("+00:00", "Z")


def version_document(held: ObjectVersion, *, copies: bool = False) -> dict[str, Any]:
    """A version as JSON tells it. copies: where it lies, too."""
    told: dict[str, Any] = {
        "file_id": held.file_id,
        "version": held.version,
        "size_bytes": held.size_bytes,
        "media_type": held.media_type,
        "sha256": held.sha256,
        "md5": held.md5,
        "crc32c": held.crc32c,
        "created": moment(held.created),
        "removed": moment(held.removed),
        "container_id": held.container_id,
    }
    if copies:
        told["copies"] = [
            {
                "volume": c.volume,
                "key": c.key,
                "state": c.state,
                "verified": moment(c.verified),
                "created": moment(c.created),
            }
            for c in held.copies
        ]
    return told


def volume_document(row: VolumeRow, free_bytes: int | None, problem: str | None) -> dict[str, Any]:
    """A volume as JSON tells it. problem: why it does not answer now."""
    return {
        "name": row.name,
        "kind": row.kind,
        "site": row.site,
        "class": row.storage_class,
        "state": row.state,
        "capacity_bytes": row.capacity_bytes,
        "watermark_bytes": row.watermark_bytes,
        "free_bytes": free_bytes,
        "answers": problem is None,
    }


def container_document(held: Container) -> dict[str, Any]:
    """A container as JSON tells it."""
    return {
        "container_id": held.container_id,
        "name": held.name,
        "parent_id": held.parent_id,
        "created": moment(held.created),
    }


def json_headers(body: bytes, extra: Mapping[str, str] | None = None) -> Headers:
    """Of a whole JSON document."""
    return raw({"content-type": "application/json", "content-length": len(body), **(extra or {})})


def problem(error: Exception) -> tuple[int, Headers, bytes] | None:
    """An error as a problem document (RFC 9457): status, headers, body; None of what is a fault of ours."""
    extra: dict[str, str] = {}
    if isinstance(error, Refused):
        status, extra = error.status, error.headers
    elif isinstance(error, BodyBroken):
        status = error.status
    else:
        status = next((STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES), 0)
        if not status and isinstance(error, errors.StorageError):
            status = 500
    if not status:
        return None
    if status == 503:
        extra = {"retry-after": "5", **extra}
    body = packed(
        {
            "title": HTTPStatus(status).phrase if status != 460 else "Checksum Mismatch",
            "status": status,
            "detail": str(error),
        }
    )
    headers = raw({"content-type": "application/problem+json", "content-length": len(body), **extra})
    if isinstance(error, errors.Unauthenticated):
        headers += [(b"www-authenticate", each.encode()) for each in challenges(error)]
    return status, headers, body


def lines(documents: Iterable[Any]) -> Iterable[bytes]:
    """Documents as JSON lines, one each."""
    return (packed(each) + b"\n" for each in documents)
