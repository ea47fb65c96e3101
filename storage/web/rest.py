"""The store over HTTP, under /store/v1: what goes to whom, and objects by file_id, in and out.

Plain ASGI, because a file of 64 KiB leaves no time for more: one trip to a thread for all that a request asks of
catalogue and disk, and one answer. What a request means is in requests.py, what of a file is sent in conditional.py,
how large bodies move in bodies.py, uploads that can be taken up again in tus.py, and in documents.py what is told in
JSON: lists, copies, volumes, events, containers.
"""

import io
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import quote

from starlette.types import Receive, Scope, Send

from storage.errors import ObjectNotFound
from storage.model import ObjectVersion
from storage.objects import ObjectService, Written
from storage.packing import packed
from storage.web.authorizer import Authorizer
from storage.web.bodies import SMALL_BYTES, BodyBroken, ClientGone, Incoming, Outgoing, Pipe, fed, raw, send_whole
from storage.web.conditional import OCTETS, Answer, answer, may_write
from storage.web.documents import TEMPLATES, Documents, Streamed, Whole, methods, not_allowed
from storage.web.requests import (
    BIGINT,
    MAX_VERSION,
    ROOT,
    BadRequest,
    Refused,
    Request,
    file_id_of,
    json_headers,
    problem,
    version_document,
)
from storage.web.settings import WebSettings
from storage.web.threads import Threads
from storage.web.tus import VERSION as TUS_VERSION
from storage.web.tus import Uploads
from storage.web.versions import place, representation, written_headers

log = logging.getLogger(__name__)

MAX_RANGES = 64
DOCUMENT_BYTES = 64 << 10
_EXPOSED = {"cache-control": "no-cache", "x-content-type-options": "nosniff"}


class StoreApp:
    """ASGI application of everything under /store/v1."""

    def __init__(self, service: ObjectService, authorizer: Authorizer, settings: WebSettings) -> None:
        self._service, self._authorizer, self._settings = service, authorizer, settings
        self._threads = Threads(settings.threads, "store")
        # Of their own: they are held for as long as a body takes to come, which is the sender's affair.
        self._large = Threads(settings.threads, "store-body")
        self._uploads = None if settings.uploads is None else Uploads(service, authorizer, settings)
        self._documents = Documents(service, authorizer)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        started = False

        async def watched(message: Any) -> None:
            nonlocal started
            started = True
            await send(message)

        body = Incoming(receive, largest=self._settings.largest_bytes, stall_s=self._settings.stall_s)
        try:
            request = Request.of(scope, ROOT)
            await self._answer(scope, request, body, receive, watched)
        except ClientGone:
            return
        except Exception as error:
            if started:
                # The end that HTTP needs is missing, so the server breaks the connection off: no half answer is taken
                # for a whole one.
                raise
            await _tell(error, scope, body, watched)

    async def _answer(self, scope: Scope, request: Request, body: Incoming, receive: Receive, send: Send) -> None:
        _, resource, rest = [*request.path.split(b"/", 2), b"", b""][:3]
        word = resource.decode("latin-1")
        if word == "containers" and b"/" in rest:
            word = "placed"
        scope.setdefault("state", {})["route"] = ROOT + TEMPLATES.get((word, bool(rest)), "")
        if word == "uploads" and self._uploads is not None:
            await self._uploads.answer(request, rest, body, send, self._threads, self._large)
        elif request.method == "OPTIONS":
            await _options(word, rest, send)
        elif word == "objects" and rest:
            match request.method:
                case "GET" | "HEAD":
                    await self._get(request, rest, receive, send)
                case "PUT":
                    await self._put(request, rest, body, send)
                case "DELETE":
                    status, headers, told = await self._threads.run(self._delete, request, file_id_of(rest))
                    await send_whole(send, status, headers, told)
                case _:
                    raise not_allowed(word, rest)
        else:
            told = b"" if request.method in ("GET", "HEAD", "DELETE") else await _document(body)
            found = await self._threads.run(self._documents.answer, request, word, rest, told)
            await self._send(found, request, receive, send)

    async def _send(self, found: Whole | Streamed, request: Request, receive: Receive, send: Send) -> None:
        if len(found) == 3:
            status, headers, content = found
            await send_whole(send, status, headers, b"" if request.method == "HEAD" else content)
            return
        status, headers, outgoing, page, more = found
        await send({"type": "http.response.start", "status": status, "headers": headers})
        if not more:
            await send({"type": "http.response.body", "body": page, "more_body": False})
            return
        await outgoing.send(page, receive, send, self._threads, stall_s=self._settings.stall_s)

    # --- reading

    async def _get(self, request: Request, path: bytes, receive: Receive, send: Send) -> None:
        await self._send(await self._threads.run(self._read, request, path), request, receive, send)

    def _read(self, request: Request, path: bytes) -> Whole | Streamed:
        """Who asks, what for, which part, and its first page: all that blocks, in one trip."""
        request.known("version")
        file_id, version = file_id_of(path), request.number("version", least=1, most=MAX_VERSION)
        user = self._authorizer.allow("read", file_id, request.headers)
        held = self._service.stat(file_id, version)
        file = representation(held, named=version is not None)
        told = answer(file, request.headers, request.method, most_ranges=MAX_RANGES)
        headers = told.headers | _EXPOSED | place(held)
        if user is not None:
            headers["cache-control"] = "private, no-cache"
        if request.method == "HEAD" or not told.pieces:
            return told.status, raw(headers), b""
        elsewhere = self._elsewhere(held, headers)
        if elsewhere is not None:
            return elsewhere
        outgoing = Outgoing(self._blocks(held, told), int(headers["content-length"]))
        page, more = outgoing.page()
        return told.status, raw(headers), outgoing, page, more

    def _blocks(self, held: ObjectVersion, told: Answer) -> Iterator[bytes]:
        for piece in told.pieces:
            if isinstance(piece, bytes):
                yield piece
                continue
            with self._service.read(held, *piece) as stream:
                yield from stream

    def _elsewhere(self, held: ObjectVersion, headers: Mapping[str, str]) -> Whole | None:
        """Where the settings let another server send the bytes: the answer that says so."""
        if not (self._settings.redirect or self._settings.accel_prefix):
            return None
        copy = next(iter(self._service.readable(held)), None)
        if copy is None:
            return None
        volume = self._service.store.volume(copy.volume)
        if self._settings.accel_prefix and volume.kind == "posix":
            kept = {name: headers[name] for name in ("content-disposition", "etag", "cache-control")}
            kept["content-type"] = held.media_type or OCTETS  # of the whole, even where parts are asked for
            place = f"{self._settings.accel_prefix.rstrip('/')}/{quote(copy.volume)}/{copy.key}"
            return 200, raw(kept | {"x-accel-redirect": place}), b""
        sign = getattr(volume, "signed_url", None)
        if self._settings.redirect and sign is not None:
            url = sign(
                copy.key,
                timedelta(seconds=self._settings.signed_s),
                media_type=held.media_type or OCTETS,
                disposition=headers["content-disposition"],
            )
            kept = {name: headers[name] for name in ("etag", "repr-digest")}
            return 302, raw(kept | {"location": url, "cache-control": "no-store", "content-length": "0"}), b""
        return None

    # --- writing

    async def _put(self, request: Request, path: bytes, body: Incoming, send: Send) -> None:
        put = _Put.of(request, path)
        if (put.size_bytes or 0) > self._settings.largest_bytes:
            raise BodyBroken(
                f"the body is larger than the {self._settings.largest_bytes} bytes that are taken here", 413
            )
        if put.size_bytes is not None and put.size_bytes <= SMALL_BYTES:
            content = await body.page(SMALL_BYTES + 1)
            written = await self._threads.run(self._store, put, io.BytesIO(content), True)
        else:
            # Whoever may not write, or asks for what does not hold, hears of it before sending much.
            await self._threads.run(self._admit, put)
            first = await body.page(SMALL_BYTES)
            if body.ended:
                written = await self._threads.run(self._store, put, io.BytesIO(first), False)
            else:
                written = await fed(body, first, partial(self._store_pipe, put), self._large)
        status, headers, told = _written(written)
        await send_whole(send, status, headers, told)

    def _admit(self, put: "_Put") -> None:
        self._authorizer.allow("write", put.file_id, put.request.headers)
        if put.is_conditional:
            put.condition(self._newest(put.file_id))

    def _store_pipe(self, put: "_Put", pipe: Pipe) -> Written:
        return self._store(put, pipe, False)

    def _store(self, put: "_Put", stream: Any, ask: bool) -> Written:
        """ask: whether the sender may is still to be asked."""
        if ask:
            self._authorizer.allow("write", put.file_id, put.request.headers)
        return self._service.put(
            put.file_id,
            stream,
            media_type=put.media_type,
            size_hint=put.size_bytes,
            expected=put.expected,
            container_id=put.container_id,
            storage_class=put.storage_class,
            copies=put.copies,
            condition=put.condition if put.is_conditional else None,
        )

    def _newest(self, file_id: str) -> ObjectVersion | None:
        try:
            return self._service.stat(file_id)
        except ObjectNotFound:
            return None

    def _delete(self, request: Request, file_id: str) -> Whole:
        request.known("version")
        version = request.number("version", least=1, most=MAX_VERSION)
        self._authorizer.allow("write", file_id, request.headers)
        held = self._service.stat(file_id, version)
        if not may_write(representation(held), request.headers):
            raise Refused(412, f"{file_id} is in version {held.version} now, which is not the one that was meant")
        told = packed(version_document(self._service.remove(file_id, held.version)))
        return 200, json_headers(told), told


@dataclass(frozen=True, slots=True)
class _Put:
    """What a PUT asks for."""

    request: Request
    file_id: str
    size_bytes: int | None
    media_type: str | None
    expected: Any
    container_id: int | None
    storage_class: str | None
    copies: int | None

    @classmethod
    def of(cls, request: Request, path: bytes) -> "_Put":
        request.known("container", "class", "copies")
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise Refused(415, "a body with a Content-Encoding is not taken: send the bytes that are to be kept")
        if "content-range" in request.headers:
            raise BadRequest("a PUT of a part is not taken (RFC 9110 §14.5); resumable uploads go by /store/v1/uploads")
        if request.size_bytes is None and "transfer-encoding" not in request.headers:
            # Taken for an empty body it would be an empty version over the file that was meant.
            raise Refused(411, "how long is the body? Send Content-Length (0 of an empty one), or a chunked body")
        return cls(
            request,
            file_id_of(path),
            request.size_bytes,
            request.media_type(),
            request.expected(),
            request.number("container", least=1, most=BIGINT),
            request.text("class") or None,
            request.number("copies", least=1, most=10),
        )

    @property
    def is_conditional(self) -> bool:
        return not {"if-match", "if-none-match", "if-unmodified-since"}.isdisjoint(self.request.headers)

    def condition(self, newest: ObjectVersion | None) -> None:
        """Refused (412) unless the sender's conditions hold for the newest version there is."""
        if not may_write(None if newest is None else representation(newest), self.request.headers):
            now = "is not there" if newest is None else f"is in version {newest.version} now"
            raise Refused(
                412, f"{self.file_id} {now}, and so a condition of the request does not hold; nothing was kept"
            )


def _written(written: Written) -> Whole:
    held = written.version
    told = packed({**version_document(held), "outcome": written.outcome})
    extra = written_headers(held)
    if written.outcome == "created":
        extra["location"] = extra["content-location"]
    return 201 if written.outcome == "created" else 200, json_headers(told, extra), told


async def _document(body: Incoming) -> bytes:
    content = await body.page(DOCUMENT_BYTES)
    if not body.ended:
        raise BodyBroken(f"a document of more than {DOCUMENT_BYTES} bytes is not taken here", 413)
    return content


async def _options(resource: str, rest: bytes, send: Send) -> None:
    allowed = methods(resource, rest)
    await send_whole(send, 204, raw({"allow": allowed, "access-control-allow-methods": allowed}))


async def _tell(error: Exception, scope: Scope, body: Incoming, send: Send) -> None:
    """Answer with an error. One that comes before the body's end is sent first; then some of the body is taken, for a
    client that is cut off while it sends may not read."""
    told = problem(error)
    if told is None:
        log.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
        told = 500, raw({"content-type": "text/plain", "content-length": 15}), b"internal error\n"
    elif told[0] >= 500:
        log.warning("%s %s: %s", scope["method"], scope["path"], error)
    status, headers, content = told
    if scope["method"] == "HEAD":
        content = b""
    if scope["path"].startswith(f"{ROOT}/uploads"):
        headers = [*headers, (b"tus-resumable", TUS_VERSION.encode())]
    if body.ended or not _is_sending(scope):
        await send_whole(send, status, headers, content)
        return
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]})
    await send({"type": "http.response.body", "body": content, "more_body": True})
    await body.linger()
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _is_sending(scope: Scope) -> bool:
    """Whether a client sends a body without waiting to be told so (Expect: 100-continue)."""
    headers = dict(scope["headers"])
    return b"expect" not in headers and (
        headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers
    )
