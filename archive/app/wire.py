"""What every request goes through, whatever room answers it: plain ASGI, so that streams and disconnects pass.

Paths are tidied (X-05), HEAD works wherever GET does (X-04), text is compressed for those who ask, CORS is open (X-01),
each request has an id, and one line of the access log tells of it, without query values: people put tokens there.
"""

import gzip
import re
import time
import uuid
from collections.abc import Iterable, MutableMapping
from typing import Any, Protocol
from urllib.parse import quote

import anyio
import structlog
from anyio import to_thread
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from archive.vo.origin import SOFTWARE
from archive.vo.streaming import GZIP_LEVEL, content_coding

access_log = structlog.get_logger("uraniborg.access")

EXPOSED = (
    "Location, Content-Length, Content-Disposition, Content-Range, ETag, Repr-Digest, WWW-Authenticate, "
    "X-VO-Authenticated, X-Request-ID, X-Maxrec, X-Query-Status, X-Object-Version, "
    "Tus-Resumable, Tus-Version, Tus-Extension, Tus-Max-Size, Upload-Offset, Upload-Length, Upload-Expires"
)
ALLOWED = (
    "Authorization, Content-Type, Range, If-Match, If-Modified-Since, If-None-Match, If-Range, X-Request-ID, "
    "Content-MD5, Digest, Repr-Digest, Tus-Resumable, Upload-Offset, Upload-Length, Upload-Metadata, Upload-Checksum"
)
SERVER = SOFTWARE.encode()
_IN_FILES = ("/files/", "/headers/", "/previews/", "/thumbnails/")
_OWN_HEAD = (*_IN_FILES, "/store/v1/objects/", "/store/v1/uploads/")  # these answer HEAD themselves
_IDS = (*_IN_FILES, "/datasets/")  # below these a path is an identifier, slashes and all
MIN_GZIP_BYTES = 500  # below this an answer is one packet either way
THREAD_BYTES = 256 << 10  # above this compressing takes milliseconds, in which nobody else would be served
SLICE_BYTES = 64 << 10
_TEXT = re.compile(r"(text/|application/(json|xml|javascript|[\w.-]+\+(json|xml))|image/svg\+xml)", re.ASCII)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class TidyPaths:
    """`/tap/`, `/tap//sync` are `/tap`, `/tap/sync`: answered, not redirected, since a redirect turns POST into GET."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] == "http" and not path.startswith(_IDS):
            tidy = re.sub("/{2,}", "/", path).rstrip("/") or "/"
            if tidy != path:
                scope = {**scope, "path": tidy, "raw_path": quote(tidy).encode()}
        await self._app(scope, receive, send)


class Under:
    """All that lies under a path goes to an application of its own, as it was sent; all else on."""

    def __init__(self, path: str, below: ASGIApp, app: ASGIApp) -> None:
        self._path, self._start = path, f"{path}/"
        self._below, self._app = below, app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        ours = scope["type"] == "http" and (path == self._path or path.startswith(self._start))
        await (self._below if ours else self._app)(scope, receive, send)


class ClientStalled(Exception):
    """Who was to read does not: the answer ends, and with it whatever it was made of."""


class Paced:
    """Leaves clients that have stopped reading, or read so slowly that they keep from others what their answer holds.

    stalled_s: seconds in which a client must take the next SLICE_BYTES. What lies in the kernel's buffers by then ends
    with the socket's own time-out (archive.app.processes).
    """

    def __init__(self, app: ASGIApp, *, stalled_s: float) -> None:
        self._app = app
        self._stalled_s = stalled_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def paced(message: Message) -> None:
            if message["type"] != "http.response.body":
                await send(message)
                return
            body, more = message.get("body", b""), message.get("more_body", False)
            for start in range(0, max(len(body), 1), SLICE_BYTES):
                stop = start + SLICE_BYTES
                part = {**message, "body": body[start:stop], "more_body": more or stop < len(body)}
                try:
                    with anyio.fail_after(self._stalled_s):
                        await send(part)
                except TimeoutError:
                    raise ClientStalled from None

        try:
            await self._app(scope, receive, paced)
        except ClientStalled:
            # The server, which misses the answer's end, breaks the connection off.
            access_log.info("a client stopped reading", path=scope["path"])


class HeadAsGet:
    """HEAD is GET whose body stays here; once the headers are known, the work behind it is told to stop."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD" or scope["path"].startswith(_OWN_HEAD):
            await self._app(scope, receive, send)
            return
        told = False

        async def without_body(message: Message) -> None:
            nonlocal told
            if message["type"] == "http.response.start":
                await send(message)
            elif message["type"] == "http.response.body" and not told:
                told = True
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        async def gone_once_told() -> Message:
            return {"type": "http.disconnect"} if told else await receive()

        await self._app({**scope, "method": "GET"}, gone_once_told, without_body)


class Compressed:
    """Text that comes whole is sent as gzip to those who ask; streams do so by themselves (archive.vo.streaming).

    Left as they are: small answers, and files, whose ETag and ranges are of the bytes that lie in the store.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = content_coding(_header(scope, b"accept-encoding"), ("gzip",)) is not None
        held: Message | None = None

        async def compressing(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start" and _is_text(message["headers"]):
                held = message
                return
            if held is not None and message["type"] == "http.response.body":
                start, held = held, None
                start, message = await _packed(start, message, asked=asked)
                await send(start)
            await send(message)

        await self._app(scope, receive, compressing)


def _is_text(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    told = dict(headers)
    if any(name in told for name in (b"content-encoding", b"accept-ranges", b"content-range")):
        return False
    if not told.get(b"etag", b"W/").startswith(b"W/"):
        return False
    return _TEXT.match(told.get(b"content-type", b"").decode("latin-1")) is not None


async def _packed(start: Message, body: Message, *, asked: bool) -> tuple[Message, Message]:
    """Both messages of a whole answer, compressed if it was asked for."""
    content = body.get("body", b"")
    if body.get("more_body") or len(content) < MIN_GZIP_BYTES:
        return start, body
    headers = list(start["headers"])
    if not any(name == b"vary" and b"accept-encoding" in value.lower() for name, value in headers):
        headers.append((b"vary", b"Accept-Encoding"))
    if asked:
        large = len(content) > THREAD_BYTES
        content = await to_thread.run_sync(_gzip, content) if large else _gzip(content)
        headers = [(name, value) for name, value in headers if name != b"content-length"]
        headers += [(b"content-encoding", b"gzip"), (b"content-length", str(len(content)).encode())]
    return {**start, "headers": headers}, {**body, "body": content}


def _gzip(content: bytes) -> bytes:
    return gzip.compress(content, GZIP_LEVEL, mtime=0)


class Observer(Protocol):
    """Who is told of each request as it begins and ends (archive.app.metrics)."""

    def began(self) -> None: ...
    def ended(self, route: str, method: str, status: int, size_bytes: int, seconds: float) -> None: ...


class Courtesies:
    """CORS, request id, who was recognised, the access log, and an observer if one is given."""

    def __init__(self, app: ASGIApp, observer: Observer | None = None) -> None:
        self._app = app
        self._observer = observer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = _header(scope, b"x-request-id")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        if scope["method"] == "OPTIONS" and (
            _header(scope, b"access-control-request-method") or not _own_options(scope)
        ):
            await _preflight(scope, send, request_id)
            return
        scope.setdefault("state", {})["request_id"] = request_id
        status, sent, began = 0, 0, time.monotonic()
        if self._observer:
            self._observer.began()

        async def courteous(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message["headers"], *_courtesies(scope, request_id)]}
            elif message["type"] == "http.response.body":
                sent += len(message.get("body", b""))
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, courteous)
            finally:
                seconds = time.monotonic() - began
                if self._observer:
                    route = str(scope["state"].get("route", ""))
                    self._observer.ended(route, scope["method"], status, sent, seconds)
                access_log.info(
                    "request",
                    method=scope["method"],
                    path=scope["path"],
                    status=status,
                    bytes=sent,
                    ms=round(seconds * 1000, 1),
                    client=(scope.get("client") or ("",))[0],
                    user=_user(scope),
                    agent=_header(scope, b"user-agent")[:120],
                )


def _own_options(scope: Scope) -> bool:
    """Whether what is asked says itself what it takes: uploads tell of themselves so (tus 1.0.0, OPTIONS)."""
    return str(scope["path"]).startswith("/store/v1/")


def _courtesies(scope: Scope, request_id: str) -> list[tuple[bytes, bytes]]:
    headers = [
        (b"access-control-allow-origin", b"*"),
        (b"access-control-expose-headers", EXPOSED.encode()),
        (b"x-request-id", request_id.encode()),
        (b"server", SERVER),
    ]
    user = _user(scope)
    if user:
        headers.append((b"x-vo-authenticated", user.encode("ascii", "replace")))
    return headers


async def _preflight(scope: Scope, send: Send, request_id: str) -> None:
    headers = [
        *_courtesies(scope, request_id),
        (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
        (b"access-control-allow-headers", ALLOWED.encode()),
        (b"access-control-max-age", b"86400"),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _user(scope: MutableMapping[str, Any]) -> str:
    return str(scope.get("state", {}).get("user") or "")


def _header(scope: Scope, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")
