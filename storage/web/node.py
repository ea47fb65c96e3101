"""A storage node: the store's faces without the rest of the archive, with /health, /metrics and /openapi.json.

One process serves on the sockets that it is given: the first is for REST, the second, if any, for NGAS, whose client
knows hosts and ports but no paths.
"""

import logging
import os
import socket
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import uvicorn
from anyio import to_thread
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from storage.errors import StorageError
from storage.metrics import METHODS, of_requests, of_status
from storage.objects import ObjectService
from storage.packing import packed
from storage.status import store_status
from storage.web.authorizer import Authorizer
from storage.web.bodies import raw, send_whole
from storage.web.openapi import document
from storage.web.requests import ROOT, Refused, Request, json_headers, problem
from storage.web.rest import StoreApp
from storage.web.settings import WebSettings

log = logging.getLogger(__name__)
access_log = logging.getLogger("uraniborg.access")

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0, 3600.0)
KEEP_ALIVE_S = 30
STOP_S = 20
BACKLOG = 512


class NodeApp:
    """ASGI application of a node. ngas: another face, for what comes in by ngas_port."""

    def __init__(
        self,
        service: ObjectService,
        authorizer: Authorizer,
        settings: WebSettings,
        *,
        version: str = "",
        ngas: ASGIApp | None = None,
        ngas_port: int | None = None,
    ) -> None:
        self._service, self._authorizer = service, authorizer
        self._store = StoreApp(service, authorizer, settings)
        self._ngas, self._ngas_port = ngas, ngas_port
        self._counted = _Counted()
        self._volumes = CollectorRegistry()
        self._volumes.register(_Volumes(service))
        self._openapi = packed(document(version))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        status, sent, began = 0, 0, time.monotonic()

        async def counting(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                sent += len(message.get("body", b""))
            await send(message)

        scope["state"] = {}
        try:
            await self._answer(scope, receive, counting)
        finally:
            route = scope["state"].get("route") or "other"
            self._counted.ended(route, scope["method"], status, sent, time.monotonic() - began)
            # What succeeds is counted, and what it changed is in the feed: a line would cost a tenth of serving it.
            if not 200 <= status < 400:
                access_log.info("%s %s %s %d", scope["method"], scope["path"], status or "broken off", sent)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if self._ngas is not None and (scope.get("server") or ("", 0))[1] == self._ngas_port:
            scope["state"]["route"] = "ngas"
            await self._ngas(scope, receive, send)
        elif path == ROOT or path.startswith(f"{ROOT}/"):
            await self._store(scope, receive, send)
        elif scope["method"] not in ("GET", "HEAD"):
            await send_whole(send, 405, raw({"allow": "GET, HEAD", "content-length": 0}))
        else:
            scope["state"]["route"] = path if path in ("/health", "/health/live", "/metrics", "/openapi.json") else ""
            status, headers, body = await to_thread.run_sync(partial(self._tell, scope))
            await send_whole(send, status, headers, b"" if scope["method"] == "HEAD" else body)

    def _tell(self, scope: Scope) -> tuple[int, Any, bytes]:
        match scope["path"]:
            case "/health/live":
                return self._json(200, {"status": "alive"})
            case "/health":
                return self._health()
            case "/openapi.json":
                return 200, json_headers(self._openapi), self._openapi
            case "/metrics":
                try:
                    # It names volumes and tells their load: for those who run the node.
                    self._authorizer.allow("administer", None, Request.of(scope, "").headers)
                except StorageError as error:
                    told = problem(error)
                    assert told is not None
                    return told
                body = self._counted.exposition() + generate_latest(self._volumes)
                return 200, raw({"content-type": CONTENT_TYPE_LATEST, "content-length": len(body)}), body
        told = problem(Refused(404, f"a storage node has {ROOT}, /health, /metrics and /openapi.json"))
        assert told is not None
        return told

    def _health(self) -> tuple[int, Any, bytes]:
        """200 if the catalogue and at least one volume answer: then something can be served. 503 else."""
        try:
            self._service.volumes()
            catalogue = True
        except StorageError as error:
            log.warning("not ready: %s", error)
            catalogue = False
        volumes = {volume.name: _answers(volume) for volume in self._service.store.volumes}
        ready = catalogue and any(volumes.values())
        told = {"status": "ready" if ready else "unavailable", "catalogue": catalogue, "volumes": volumes}
        return self._json(200 if ready else 503, told)

    @staticmethod
    def _json(status: int, told: Any) -> tuple[int, Any, bytes]:
        body = packed(told)
        return status, json_headers(body, {"cache-control": "no-store"}), body


def _answers(volume: Any) -> bool:
    try:
        volume.exists("health/probe")  # a key that no object has
    except StorageError as error:
        log.warning("volume %s does not answer: %s", volume.name, error)
        return False
    return True


class _Counted:
    """What the processes of a node count; together where PROMETHEUS_MULTIPROC_DIR names a folder for it."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests, self._seconds, self._bytes = of_requests(self._registry, SECONDS)

    def ended(self, route: str, method: str, status: int, size_bytes: int, seconds: float) -> None:
        method = method if method in METHODS else "other"
        self._requests.labels(route, method, str(status) if status else "none").inc()
        self._seconds.labels(route, method).observe(seconds)
        self._bytes.labels(route, method).inc(size_bytes)

    def exposition(self) -> bytes:
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]  # the package has no types there
        return generate_latest(together)


class _Volumes(Collector):
    """What the volumes say of themselves, and the catalogue of them."""

    def __init__(self, service: ObjectService) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        free = GaugeMetricFamily("uraniborg_store_free_bytes", "Room of a volume.", labels=("volume",))
        up = GaugeMetricFamily("uraniborg_store_volume_up", "Whether a volume answers.", labels=("volume",))
        for volume in self._service.store.volumes:
            try:
                room = volume.free_bytes()
            except StorageError:
                up.add_metric((volume.name,), 0)
                continue
            up.add_metric((volume.name,), int(_answers(volume)))
            if room is not None:
                free.add_metric((volume.name,), room)
        yield from (free, up)
        try:
            yield from of_status(store_status(self._service, wait=False))
        except (StorageError, SQLAlchemyError) as error:  # that the volumes answer is true while the catalogue does not
            log.warning("no metrics of the catalogue: %s", error)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, which children inherit; port 0 takes a free one. OSError."""
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
    except OSError:
        made.close()
        raise
    made.listen(BACKLOG)
    made.set_inheritable(True)
    return made


def server(app: ASGIApp) -> uvicorn.Server:
    """The web server of a node: no log of its own."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=STOP_S,
        backlog=BACKLOG,
    )
    return uvicorn.Server(config)


def run(app: ASGIApp, sockets: Sequence[socket.socket]) -> None:
    """Serve until SIGTERM or SIGINT."""
    server(app).run(sockets=list(sockets))
