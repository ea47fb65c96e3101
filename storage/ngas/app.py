"""The NGAS face as an ASGI application: from a request to its command, on a thread, and from its answer to the wire.

Every answer has a Content-Length and ends its connection, for NGAS clients leave theirs open. Errors are status
documents too, and come after the body was read, for a client reads no answer before it has written all.
"""

import asyncio
import io
import logging
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.types import ASGIApp, Receive, Scope, Send

from storage.checksums import Readable
from storage.errors import (
    CatalogueUnavailable,
    ChecksumMismatch,
    Forbidden,
    InvalidRange,
    ObjectNotFound,
    OutOfSpace,
    ReadFailed,
    StorageError,
    Unauthenticated,
    VolumeUnavailable,
)
from storage.ngas.answers import Answer, Data, Told
from storage.ngas.commands import COMMANDS
from storage.ngas.node import Node, unavailable
from storage.ngas.request import Refused, Request, parse
from storage.ngas.settings import NgasSettings
from storage.ngas.status import MEDIA_TYPE, Element, date_text, write_document
from storage.objects import ObjectService
from storage.web.authorizer import Authorizer, challenges
from storage.web.bodies import SMALL_BYTES, BodyBroken, ClientGone, Incoming, Outgoing, Pipe, fed, raw, send_whole
from storage.web.threads import Threads

log = logging.getLogger(__name__)

_STATUS: dict[type[StorageError], int] = {
    Unauthenticated: 401,
    Forbidden: 403,
    InvalidRange: 416,
    ReadFailed: 500,
    VolumeUnavailable: 503,
    CatalogueUnavailable: 503,
    OutOfSpace: 507,
}


@dataclass(frozen=True, slots=True)
class _Made:
    """An answer on its way: the first page of its body, and what gives the rest."""

    status: int
    headers: Mapping[str, str]
    page: bytes
    rest: Outgoing | None = None


def ngas_app(service: ObjectService, authorizer: Authorizer, settings: NgasSettings | None = None) -> ASGIApp:
    """NGAS at the root of a port; commands are the whole path. See NgasSettings for what it may do."""
    return _App(Node(service, authorizer, settings or NgasSettings()))


class _App:
    def __init__(self, node: Node) -> None:
        self._node = node
        self._threads = Threads(node.settings.threads, "ngas")
        # Of their own: they are held for as long as a body takes to come, which is the sender's affair.
        self._large = Threads(node.settings.threads, "ngas-body")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host_id = self._node.settings.host_id or _host_id(scope)
        incoming = Incoming(receive, largest=self._node.settings.max_body_bytes, stall_s=self._node.settings.stall_s)
        blank = Request(scope["path"].strip("/"), scope["method"], {}, headers, host_id)
        try:
            request = _request(scope, headers, host_id)
            made = await self._made(request, incoming)
        except ClientGone:
            return
        except Refused as refused:
            made = self._told(blank, Told(str(refused), ok=False, status=refused.status))
        except BodyBroken as broken:
            made = self._told(blank, Told(str(broken), ok=False, status=broken.status))
        # Who waits for 100 Continue has sent nothing, and who stalled sends no more.
        if not incoming.ended and headers.get("expect", "").lower() != "100-continue" and made.status != 408:
            await self._drain(incoming)
        await self._send(made, receive, send)

    async def _made(self, request: Request, incoming: Incoming) -> _Made:
        """The answer's head and first page, with as few trips to threads as can be."""
        first = await incoming.page(SMALL_BYTES)
        if incoming.ended:
            return await self._threads.run(self._work, request, io.BytesIO(first))

        def work(body: Pipe) -> _Made:
            return self._work(request, body)

        return await fed(incoming, first, work, self._large)

    def _work(self, request: Request, body: Readable) -> _Made:
        """Do the command, blocking; whatever goes wrong becomes an answer."""
        node = self._node
        try:
            command = COMMANDS[request.name]
            cross_site = request.headers.get("sec-fetch-site") == "cross-site"
            if command.action not in (None, "read") and cross_site:
                raise Refused("Unauthorized access denied: this is asked from the page of another site", 403)
            if command.action is not None:
                node.allow(request, command.action, request.file_id)
            if command.online:
                node.require(request, "ONLINE")
            answer: Answer = command.run(node, request, body)
            if isinstance(answer, Data):
                return self._data(answer)
            return self._told(request, answer)
        except (BodyBroken, ClientGone):
            raise
        except Refused as refused:
            return self._told(request, Told(str(refused), ok=False, status=refused.status))
        except StorageError as error:
            return self._failed(request, error)
        except (OperationalError, InterfaceError, PoolTimeout) as error:
            log.error("%s: the catalogue gave no answer", request.name, exc_info=error)
            told = "the catalogue is not to be had, or the question took too long; try again later, or ask for less"
            return self._told(request, Told(told, ok=False, status=503))
        except Exception:
            log.exception("%s failed", request.name)
            told = f"Internal error while handling command {request.name}; the server's log says which"
            return self._told(request, Told(told, ok=False, status=500))

    def _failed(self, request: Request, error: StorageError) -> _Made:
        if isinstance(error, ObjectNotFound):
            refused = unavailable(request.file_id or "", request.version)
            return self._told(request, Told(str(refused), ok=False, status=refused.status))
        status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 400)
        message, headers = str(error), {}
        if isinstance(error, ChecksumMismatch):
            message = f"Checksum error for file {request.file_id}: {error}"
        elif isinstance(error, Forbidden):
            message = f"Unauthorized access denied: {error}"
        elif isinstance(error, Unauthenticated):
            message = f"Unauthorized request received: {error}"
            # Bearer alone: Basic would have browsers ask for a password, and send it with any page's requests after.
            headers = {"WWW-Authenticate": next(challenges(error))}
        if status >= 500:
            log.warning("%s: %s", request.name, error)
        return self._told(request, Told(message, ok=False, status=status), headers)

    def _told(self, request: Request, told: Told, headers: Mapping[str, str] | None = None) -> _Made:
        status = {
            "Date": date_text(datetime.now(UTC)),
            "Version": self._node.settings.version,
            "HostId": request.host_id,
            "Message": told.message,
            "Status": "SUCCESS" if told.ok else "FAILURE",
            # Who is told of a failure may be told that the catalogue is away: it is not asked again for that.
            "State": self._node.state if told.ok else self._node.last_state,
            "SubState": "IDLE",
            "RequestId": request.request_id,
            "RequestTime": date_text(request.received),
            **told.attributes,
        }
        body = write_document(Element("Status", status), *told.elements)
        return _Made(told.status, _head(MEDIA_TYPE, len(body), headers or {}), body)

    def _data(self, data: Data) -> _Made:
        outgoing = Outgoing(data.blocks, data.size_bytes)
        page, more = outgoing.page()
        return _Made(
            data.status, _head(data.media_type, data.size_bytes, data.headers), page, outgoing if more else None
        )

    async def _drain(self, incoming: Incoming) -> None:
        """Read what still comes, for a while: whoever is sending reads no answer before the end."""
        try:
            async with asyncio.timeout(self._node.settings.drain_s):
                while not incoming.ended:
                    await incoming.page(SMALL_BYTES)
        except (TimeoutError, BodyBroken, ClientGone):
            return

    async def _send(self, made: _Made, receive: Receive, send: Send) -> None:
        head = raw(dict(made.headers))
        if made.rest is None:
            await send_whole(send, made.status, head, made.page)
            return
        await send({"type": "http.response.start", "status": made.status, "headers": head})
        try:
            await made.rest.send(made.page, receive, send, self._threads, stall_s=self._node.settings.stall_s)
        except (ClientGone, TimeoutError):
            return
        except StorageError as error:
            # Less came than the Content-Length says: the server breaks the connection.
            log.error("an answer was broken off: %s", error)


def _request(scope: Scope, headers: Mapping[str, str], host_id: str) -> Request:
    name, method = (
        scope.get("raw_path", scope["path"].encode()).decode("latin-1").partition("?")[0][1:],
        scope["method"],
    )
    if name not in COMMANDS:
        raise Refused(f"Command not found: {name[:40]}", 404)
    if method not in ("GET", "POST", "PUT"):
        raise Refused(f"Method {method} is not known to NGAS; GET, POST and PUT are", 405)
    if method != "GET" and "content-length" not in headers and "transfer-encoding" not in headers:
        raise Refused("Content-Length is unknown, and the body is not chunked", 411)
    return parse(name, method, scope["query_string"], headers, host_id)


def _host_id(scope: Scope) -> str:
    _, port = scope.get("server") or ("", None)
    return f"{socket.gethostname()}:{port or 0}"


def _head(media_type: str, size_bytes: int, headers: Mapping[str, str]) -> dict[str, str]:
    return {"Content-Type": media_type, "Content-Length": str(size_bytes), "Connection": "close", **headers}
