"""What the store's REST face tells, and is asked, in JSON: lists, copies, volumes, events, containers. Blocking."""

import json
import logging
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, get_args

from storage import feed
from storage.errors import ObjectNotFound, StorageError
from storage.model import ObjectVersion, VolumeState
from storage.objects import ObjectService
from storage.packing import packed
from storage.web.authorizer import Action, Authorizer
from storage.web.bodies import Outgoing, raw
from storage.web.requests import (
    BIGINT,
    MAX_VERSION,
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
    version_document,
    volume_document,
    whole_number,
)

log = logging.getLogger(__name__)

LISTED = 1_000
LISTED_MOST = 100_000
NDJSON = "application/x-ndjson"

Whole = tuple[int, Headers, bytes]
Streamed = tuple[int, Headers, Outgoing, bytes, bool]


class Documents:
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
            raise not_allowed(resource, rest)
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
            found = feed.read_events(connection, after, limit)
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


def methods(resource: str, rest: bytes) -> str:
    """The methods that a resource takes, as Allow tells them."""
    methods = RESOURCES.get(resource, {}).get(bool(rest), {})
    return ", ".join([*methods, *(["HEAD"] if "GET" in methods else []), "OPTIONS"])


def not_allowed(resource: str, rest: bytes) -> Refused:
    """405: the resource is there, and takes no such method."""
    return Refused(405, "this method is not taken here", {"allow": methods(resource, rest)})
