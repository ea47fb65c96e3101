"""The store over HTTP, under /store/v1: objects by file_id, in and out; and lists, copies, volumes, events, containers.

Plain ASGI, because a file of 64 KiB leaves no time for more: one trip to a thread for all that a request asks of
catalogue and disk, and one answer. What a request means is in requests.py, what of a file is sent in conditional.py,
how large bodies move in bodies.py, uploads that can be taken up again in tus.py.
"""

import io
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import Any, get_args
from urllib.parse import quote

from starlette.types import Receive, Scope, Send

from storage import catalogue
from storage.errors import ObjectNotFound, StorageError
from storage.model import ObjectVersion, VolumeState
from storage.objects import ObjectService, Written
from storage.packing import packed
from storage.web.authorizer import Action, Authorizer
from storage.web.bodies import SMALL_BYTES, BodyBroken, ClientGone, Incoming, Outgoing, Pipe, fed, raw, send_whole
from storage.web.conditional import OCTETS, Answer, answer, may_write
from storage.web.requests import (
    BIGINT,
    ROOT,
    BadRequest,
    Headers,
    Refused,
    Request,
    clean_text,
    container_document,
    file_id_of,
    json_headers,
    lines,
    moment,
    problem,
    version_document,
    volume_document,
    whole_number,
)
from storage.web.settings import WebSettings
from storage.web.threads import Threads
from storage.web.tus import VERSION as TUS_VERSION
from storage.web.tus import Uploads
from storage.web.versions import place, representation, written_headers

log = logging.getLogger(__name__)

MAX_VERSION = 2**31 - 1
MAX_RANGES = 64
LISTED = 1_000
LISTED_MOST = 100_000
DOCUMENT_BYTES = 64 << 10
NDJSON = "application/x-ndjson"
_EXPOSED = {"cache-control": "no-cache", "x-content-type-options": "nosniff"}

Whole = tuple[int, Headers, bytes]
Streamed = tuple[int, Headers, Outgoing, bytes, bool]


class StoreApp:
    """ASGI application of everything under /store/v1."""

    def __init__(self, service: ObjectService, authorizer: Authorizer, settings: WebSettings) -> None:
        self._service, self._authorizer, self._settings = service, authorizer, settings
        self._threads = Threads(settings.threads, "store")
        # Of their own: they are held for as long as a body takes to come, which is the sender's affair.
        self._large = Threads(settings.threads, "store-body")
        self._uploads = None if settings.uploads is None else Uploads(service, authorizer, settings)
        self._documents = _Documents(service, authorizer)

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
                    raise _not_allowed(word, rest)
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


class _Documents:
    """What is told, and asked, in JSON; blocking."""

    def __init__(self, service: ObjectService, authorizer: Authorizer) -> None:
        self._service, self._authorizer = service, authorizer

    def answer(self, request: Request, resource: str, rest: bytes, body: bytes) -> Whole | Streamed:
        """The answer of a resource; Refused where there is none such, or not by this method."""
        method = "GET" if request.method == "HEAD" else request.method
        found = RESOURCES.get(resource, {}).get(bool(rest), {})
        if not found:
            known = sorted(RESOURCES.keys() - {"placed"})
            raise Refused(404, f"there is nothing under {ROOT}/{resource[:40]}; known: {', '.join(known)}")
        name = found.get(method)
        if not name:
            raise _not_allowed(resource, rest)
        told: Whole | Streamed = getattr(self, name)(request, rest, body)
        return told

    def _allow(self, action: Action, request: Request, file_id: str | None = None) -> None:
        self._authorizer.allow(action, file_id, request.headers)

    # --- lists

    def objects(self, request: Request, rest: bytes, body: bytes) -> Whole | Streamed:
        request.known("prefix", "after", "limit", "container", "format")
        self._allow("read", request)
        as_lines = _wants_lines(request)
        limit = request.number("limit", least=1, most=LISTED_MOST if not as_lines else BIGINT)
        container = request.number("container", least=1, most=BIGINT)
        listed = self._pages(request.text("prefix"), request.text("after"), container)
        if as_lines:
            return _streamed(NDJSON, lines(version_document(each) for each in islice(listed, limit)))
        limit = limit or LISTED
        return _streamed("application/json", _listing(islice(listed, limit + 1), limit))

    def _pages(self, prefix: str, after: str, container_id: int | None) -> Iterator[ObjectVersion]:
        """Files in the order of their ids, asked for page by page: a slow reader holds no connection."""
        while True:
            page = list(self._service.files(prefix, after=after, limit=LISTED, container_id=container_id))
            yield from page
            if len(page) < LISTED:
                return
            after = page[-1].file_id

    def versions(self, request: Request, rest: bytes, body: bytes) -> Whole:
        request.known()
        file_id = file_id_of(rest)
        self._allow("read", request, file_id)
        found = self._service.versions(file_id)
        if not found:
            raise ObjectNotFound(f"there is no file {file_id}")
        return _told({"versions": [version_document(each) for each in found]})

    def events(self, request: Request, rest: bytes, body: bytes) -> Whole:
        request.known("after", "limit", "format")
        self._allow("read", request)
        after = request.number("after", most=BIGINT) or 0
        limit = request.number("limit", least=1, most=10_000) or LISTED
        with self._service.engine.begin() as connection:
            found = catalogue.read_events(connection, after, limit)
        events = [
            {
                "event_id": each.event_id,
                "event_time": moment(each.event_time),
                "kind": each.kind,
                "file_id": each.file_id,
                "version": each.version,
                "detail": dict(each.detail),
            }
            for each in found
        ]
        if _wants_lines(request):
            content = b"".join(lines(events))
            return 200, raw({"content-type": NDJSON, "content-length": len(content)}), content
        return _told({"events": events, "last": found[-1].event_id if found else after})

    # --- copies

    def copies(self, request: Request, rest: bytes, body: bytes) -> Whole:
        request.known("version")
        file_id = file_id_of(rest)
        self._allow("read", request, file_id)
        held = self._service.stat(file_id, request.number("version", least=1, most=MAX_VERSION))
        return _told(version_document(held, copies=True))

    def add_copy(self, request: Request, rest: bytes, body: bytes) -> Whole:
        file_id, version, volume = self._copy_meant(request, rest)
        return _told(version_document(self._service.add_copy(file_id, version, volume), copies=True))

    def drop_copy(self, request: Request, rest: bytes, body: bytes) -> Whole:
        file_id, version, volume = self._copy_meant(request, rest)
        self._service.drop_copy(file_id, version, volume)
        return _told(version_document(self._service.stat(file_id, version), copies=True))

    def _copy_meant(self, request: Request, rest: bytes) -> tuple[str, int | None, str]:
        request.known("version", "volume")
        file_id = file_id_of(rest)
        self._allow("administer", request, file_id)
        volume = request.text("volume")
        if volume not in {each.name for each in self._service.store.volumes}:
            raise BadRequest("volume names one of this store's volumes")
        return file_id, request.number("version", least=1, most=MAX_VERSION), volume

    # --- volumes

    def volumes(self, request: Request, rest: bytes, body: bytes) -> Whole:
        request.known()
        self._allow("read", request)
        rows = self._service.volumes()
        told = [volume_document(row, *self._room(name)) for name, row in rows.items()]
        return _told({"volumes": told})

    def volume(self, request: Request, rest: bytes, body: bytes) -> Whole:
        request.known()
        self._allow("read", request)
        name, row = self._volume_named(rest)
        return _told(volume_document(row, *self._room(name)))

    def change_volume(self, request: Request, rest: bytes, body: bytes) -> Whole:
        request.known()
        self._allow("administer", request)
        name, _ = self._volume_named(rest)
        wanted = _json(body, {"state": str, "reason": str})
        if wanted.get("state") not in get_args(VolumeState):
            raise BadRequest(f"state is one of {', '.join(get_args(VolumeState))}")
        self._service.set_volume_state(name, wanted["state"], clean_text("reason", wanted.get("reason", "")))
        return _told(volume_document(self._service.volumes()[name], *self._room(name)))

    def _volume_named(self, rest: bytes) -> tuple[str, Any]:
        name = file_id_of(rest)
        row = self._service.volumes().get(name)
        if row is None:
            raise Refused(404, f"there is no volume {name}")
        return name, row

    def _room(self, name: str) -> tuple[int | None, str | None]:
        try:
            return self._service.store.volume(name).free_bytes(), None
        except StorageError as error:
            log.warning("volume %s does not answer: %s", name, error)
            return None, str(error)

    # --- containers

    def containers(self, request: Request, rest: bytes, body: bytes) -> Whole:
        request.known("name", "parent")
        self._allow("read", request)
        name, parent = request.text("name") or None, request.number("parent", least=1, most=BIGINT)
        found = self._service.containers(name=name, parent_id=parent)
        return _told({"containers": [container_document(each) for each in found]})

    def create_container(self, request: Request, rest: bytes, body: bytes) -> Whole:
        request.known()
        self._allow("write", request)
        wanted = _json(body, {"name": str, "parent_id": int})
        name = clean_text("name", wanted.get("name", ""))
        if not 0 < len(name) <= 255:
            raise BadRequest("name has 1 to 255 characters")
        parent = wanted.get("parent_id")
        if parent is not None and not 1 <= parent <= BIGINT:
            raise BadRequest("parent_id is the number of a container")
        made = self._service.create_container(name, parent)
        _, headers, content = _told(container_document(made))
        return 201, [*headers, (b"location", f"{ROOT}/containers/{made.container_id}".encode())], content

    def container(self, request: Request, rest: bytes, body: bytes) -> Whole:
        request.known()
        number = _container(rest)
        self._allow("read", request)
        held = self._service.container(number)
        inner = [container_document(each) for each in self._service.containers(parent_id=number)]
        objects = f"{ROOT}/objects?container={number}"
        return _told({**container_document(held), "containers": inner, "objects": objects})

    def remove_container(self, request: Request, rest: bytes, body: bytes) -> Whole:
        request.known()
        number = _container(rest)
        self._allow("write", request)
        self._service.remove_container(number)
        return _told({"container_id": number, "removed": True})

    def place_object(self, request: Request, rest: bytes, body: bytes) -> Whole:
        number, file_id = self._placed(request, rest)
        self._service.place(file_id, number)
        return _told(version_document(self._service.stat(file_id)))

    def take_out(self, request: Request, rest: bytes, body: bytes) -> Whole:
        number, file_id = self._placed(request, rest)
        if self._service.stat(file_id).container_id != number:
            raise Refused(404, f"{file_id} is not in container {number}")
        self._service.place(file_id, None)
        return _told(version_document(self._service.stat(file_id)))

    def _placed(self, request: Request, rest: bytes) -> tuple[int, str]:
        """NUMBER/objects/FILE_ID."""
        request.known()
        number, word, path = (*rest.split(b"/", 2), b"")[:3]
        if word != b"objects":
            raise Refused(404, f"below a container there are only {ROOT}/containers/NUMBER/objects/FILE_ID")
        file_id = file_id_of(path)
        self._allow("write", request, file_id)
        return _container(number), file_id


# A resource; whether something follows its name; by method, who answers.
RESOURCES: Mapping[str, Mapping[bool, Mapping[str, str]]] = {
    "objects": {False: {"GET": "objects"}, True: {"GET": "", "PUT": "", "DELETE": ""}},
    "versions": {True: {"GET": "versions"}},
    "copies": {True: {"GET": "copies", "PUT": "add_copy", "DELETE": "drop_copy"}},
    "volumes": {False: {"GET": "volumes"}, True: {"GET": "volume", "PUT": "change_volume"}},
    "events": {False: {"GET": "events"}},
    "containers": {
        False: {"GET": "containers", "POST": "create_container"},
        True: {"GET": "container", "DELETE": "remove_container"},
    },
    "placed": {True: {"PUT": "place_object", "DELETE": "take_out"}},
    "uploads": {},
}
# What metrics call them.
TEMPLATES = {
    ("objects", True): "/objects/{file_id}",
    ("versions", True): "/versions/{file_id}",
    ("copies", True): "/copies/{file_id}",
    ("volumes", True): "/volumes/{name}",
    ("containers", True): "/containers/{container_id}",
    ("placed", True): "/containers/{container_id}/objects/{file_id}",
    ("uploads", True): "/uploads/{upload_id}",
    **{(name, False): f"/{name}" for name in ("objects", "volumes", "events", "containers", "uploads")},
}


def _written(written: Written) -> Whole:
    held = written.version
    told = packed({**version_document(held), "outcome": written.outcome})
    extra = written_headers(held)
    if written.outcome == "created":
        extra["location"] = extra["content-location"]
    return 201 if written.outcome == "created" else 200, json_headers(told, extra), told


def _listing(listed: Iterator[ObjectVersion], limit: int) -> Iterator[bytes]:
    """{"objects": [...], "next": ...}: next is what to go on after, null at the end."""
    yield b'{"objects":['
    last, more = None, False
    for number, each in enumerate(listed):
        if number == limit:
            more = True
            break
        last = each.file_id
        yield (b",\n" if number else b"\n") + packed(version_document(each))
    yield b'\n],"next":' + packed(last if more else None) + b"}\n"


def _streamed(media_type: str, blocks: Any) -> Streamed:
    outgoing = Outgoing(iter(blocks), page_bytes=64 << 10)
    page, more = outgoing.page()
    headers = {"content-type": media_type, "cache-control": "no-cache"}
    if not more:
        headers["content-length"] = str(len(page))
    return 200, raw(headers), outgoing, page, more


def _told(document: Any) -> Whole:
    content = packed(document)
    return 200, json_headers(content, {"cache-control": "no-cache"}), content


def _wants_lines(request: Request) -> bool:
    form = request.query.get("format")
    if form not in (None, "json", "lines"):
        raise BadRequest("format is json or lines")
    return form == "lines" or (form is None and "ndjson" in request.headers.get("accept", ""))


def _json(body: bytes, fields: Mapping[str, type]) -> dict[str, Any]:
    """A JSON object with no other fields than these; BadRequest."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise BadRequest("the body is to be a JSON object")
    for name, value in document.items():
        if name not in fields or (value is not None and type(value) is not fields[name]):
            raise BadRequest(f"field {name[:40]!r} is unknown, or of another type; known: {', '.join(fields)}")
    return {name: value for name, value in document.items() if value is not None}


def _container(number: bytes) -> int:
    return whole_number("the container", number.decode("latin-1"), least=1, most=BIGINT)


async def _document(body: Incoming) -> bytes:
    content = await body.page(DOCUMENT_BYTES)
    if not body.ended:
        raise BodyBroken(f"a document of more than {DOCUMENT_BYTES} bytes is not taken here", 413)
    return content


def _methods(resource: str, rest: bytes) -> str:
    methods = RESOURCES.get(resource, {}).get(bool(rest), {})
    return ", ".join([*methods, *(["HEAD"] if "GET" in methods else []), "OPTIONS"])


def _not_allowed(resource: str, rest: bytes) -> Refused:
    return Refused(405, "this method is not taken here", {"allow": _methods(resource, rest)})


async def _options(resource: str, rest: bytes, send: Send) -> None:
    allowed = _methods(resource, rest)
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
