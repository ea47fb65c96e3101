"""/metrics, for Prometheus: what the web processes counted, and what the database and the store say of themselves.

Several web processes answer on one socket, so each request for /metrics meets only one of them. `serve` therefore names
a folder of its own (PROMETHEUS_MULTIPROC_DIR) in which each process keeps its counts, and whoever is asked adds up all
of them, those of dead processes too, because a counter must not fall. What is true of the whole archive (running
queries, connections, jobs, files, events) is asked of the database, by whoever is asked, at most every few seconds.

Labels have few values: a route's template, never its path; a known method.
"""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import structlog
from fastapi import APIRouter, Depends
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from archive.app.insiders import insiders_only
from archive.app.opened import OpenedArchive
from archive.app.processes import FOLDER_VARIABLE
from archive.vo.errors import ArchiveError
from archive.vo.routes import PlainRoute
from storage import totals
from storage.errors import StorageError
from storage.metrics import METHODS, of_requests, of_status
from storage.status import ask, store_status

log = structlog.get_logger(__name__)

LOOK_AGAIN_S = 10.0
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class RequestMetrics:
    """What one process counts of its requests."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests, self._seconds, self._bytes = of_requests(self.registry, SECONDS)
        self._running = Gauge(
            "uraniborg_http_requests_in_progress",
            "Requests being answered.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self._waiting = Gauge(
            "uraniborg_queries_waiting",
            "Queries that wait in line for a connection to the database.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )

    def waiting(self, more: int) -> None:
        """more: 1 when one begins to wait, -1 when that is over."""
        self._waiting.inc(more)

    def began(self) -> None:
        self._running.inc()

    def ended(self, route: str, method: str, status: int, size_bytes: int, seconds: float) -> None:
        """route: its template, "" if none matched. status: 0 when the client was gone before there was one."""
        route = route or "unmatched"
        method = method if method in METHODS else "other"
        self._running.dec()
        self._requests.labels(route, method, str(status) if status else "none").inc()
        self._seconds.labels(route, method).observe(seconds)
        self._bytes.labels(route, method).inc(size_bytes)


class NamesRoute:
    """Innermost: leaves the template of the route that answered where Courtesies, outermost, finds it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        finally:
            if scope["type"] == "http":
                scope["state"]["route"] = template(scope)


def template(scope: Scope) -> str:
    """The template of the route that answered, with the prefix that its router was given; "" if none did.

    The route itself does not know the prefix: it is what stands before the part of the path that the route matches.
    """
    route, path = scope.get("route"), str(scope["path"])
    if not isinstance(route, Route):
        return ""
    begins = (place for place, letter in enumerate(path) if letter == "/" and route.path_regex.match(path[place:]))
    prefix = path[: next(begins, 0)]
    names = {str(value): f"{{{name}}}" for name, value in scope.get("path_params", {}).items()}
    return "/".join(names.get(word, word) for word in prefix.split("/")) + route.path


class ArchiveMetrics(Collector):
    """What is true of the whole archive, whichever process is asked."""

    def __init__(self, archive: OpenedArchive, *, look_again_s: float = LOOK_AGAIN_S) -> None:
        """look_again_s: seconds for which an answer stands, because counting a large archive takes a while."""
        self._archive = archive
        self._look_again_s = look_again_s
        self._lock = threading.Lock()
        self._looked = float("-inf")
        self._found: list[Metric] = []

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            if time.monotonic() - self._looked >= self._look_again_s:
                self._found = self._look()
                self._looked = time.monotonic()
            yield from self._found

    def _look(self) -> list[Metric]:
        up = GaugeMetricFamily("uraniborg_up", "Whether a part of the archive answers.", labels=("part",))
        found: list[Metric] = [up]
        for part, look in (("database", self._database), ("store", self._store)):
            try:
                answers, metrics = look()
                found += metrics
                up.add_metric((part,), answers)
            except (SQLAlchemyError, StorageError, ArchiveError) as problem:
                log.error("no metrics", part=part, exc_info=problem)
                up.add_metric((part,), 0)
        return found

    def _database(self) -> tuple[bool, list[Metric]]:
        engines = self._archive.engines
        with engines.writer.connect() as writer, engines.reader.connect() as reader:
            found = [_connections(writer, reader), _queries(reader), _jobs(writer), *_events(writer)]
        found += _files(engines.writer)
        status = store_status(self._archive.objects, wait=False)
        return True, [*found, *of_status(status)]

    def _store(self) -> tuple[bool, list[Metric]]:
        """By the volumes themselves: that they answer is true while the database does not."""
        up = GaugeMetricFamily("uraniborg_store_volume_up", "Whether a volume answers.", labels=("volume",))
        free = GaugeMetricFamily("uraniborg_store_free_bytes", "Room of a volume.", labels=("volume",))
        answer = True
        for volume in self._archive.store.volumes:
            problem, room = ask(volume)
            up.add_metric((volume.name,), problem is None)
            answer = answer and (problem is None or self._is_offline(volume.name))
            if room is not None:
                free.add_metric((volume.name,), room)
        return answer, [up, free]

    def _is_offline(self, volume: str) -> bool:
        try:
            return self._archive.objects.volumes()[volume].state == "offline"
        except (StorageError, KeyError):
            return False


# Only a role itself sees what its sessions do (pg_stat_activity), so each is asked for its own.
_SESSIONS = text(
    "SELECT application_name, coalesce(state, 'unknown'), count(*) FROM pg_stat_activity"
    " WHERE usename = current_user AND datname = current_database() AND pid <> pg_backend_pid() GROUP BY 1, 2"
)


def _connections(writer: Connection, reader: Connection) -> Metric:
    found = GaugeMetricFamily(
        "uraniborg_database_connections",
        "Connections that pools of all processes hold; state idle: free for the next request.",
        labels=("role", "application", "state"),
    )
    for role, connection in (("writer", writer), ("reader", reader)):
        for application, state, number in connection.execute(_SESSIONS):
            found.add_metric((role, application, state), number)
    return found


def _queries(reader: Connection) -> Metric:
    statement = text(
        "SELECT count(*) FROM pg_stat_activity WHERE usename = current_user AND datname = current_database()"
        " AND application_name = 'uraniborg-tap' AND state <> 'idle'"
    )
    running = reader.execute(statement).scalar_one()
    return GaugeMetricFamily("uraniborg_queries_running", "Users' queries at work, of all doors.", value=running)


def _jobs(writer: Connection) -> Metric:
    found = GaugeMetricFamily("uraniborg_jobs", "Jobs on record.", labels=("kind", "phase"))
    for kind, phase, number in writer.execute(text("SELECT kind, phase, count(*) FROM uws.job GROUP BY 1, 2")):
        found.add_metric((kind, phase), number)
    return found


_FILES = text("SELECT kind, count(*), sum(file_size)::bigint FROM arc.file WHERE superseded_at IS NULL GROUP BY 1")


def _files(engine: Engine) -> list[Metric]:
    found = totals.count(engine, "files", _FILES, wait=False)
    files = GaugeMetricFamily("uraniborg_files", "Current files.", labels=("kind",))
    size = GaugeMetricFamily("uraniborg_files_bytes", "Bytes of current files.", labels=("kind",))
    for kind, number, size_bytes in found.rows:
        files.add_metric((kind,), number)
        size.add_metric((kind,), size_bytes)
    counted = GaugeMetricFamily(
        "uraniborg_files_counted_timestamp_seconds",
        "When current files were counted, Unix time.",
        value=found.moment.timestamp(),
    )
    return [files, size, counted]


def _events(writer: Connection) -> list[Metric]:
    statement = text(
        "SELECT coalesce(max(event_id), 0), (SELECT count(*) FROM store.event WHERE event_id IS NULL) FROM store.event"
    )
    numbered, waiting = writer.execute(statement).one()
    return [
        CounterMetricFamily("uraniborg_events", "Events that the feed tells.", value=numbered),
        GaugeMetricFamily("uraniborg_events_waiting", "Events without a place in the feed yet.", value=waiting),
    ]


def exposition(counted: RequestMetrics, archive: ArchiveMetrics) -> bytes:
    """Everything, as Prometheus reads it."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        return generate_latest(counted.registry) + generate_latest(_registry(archive))
    _forget_the_dead(Path(folder))
    processes = CollectorRegistry()
    MultiProcessCollector(processes, path=folder)  # type: ignore[no-untyped-call]  # the package has no types there
    return generate_latest(processes) + generate_latest(_registry(archive))


def _registry(collector: Collector) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(collector)
    return registry


def _forget_the_dead(folder: Path) -> None:
    """Drop what processes were at when they died: requests in progress, not what they had counted."""
    for path in folder.glob("gauge_live*_*.db"):
        pid = int(path.stem.rpartition("_")[2])
        if not Path(f"/proc/{pid}").exists():
            path.unlink(missing_ok=True)


def metrics_router(counted: RequestMetrics, archive: ArchiveMetrics) -> APIRouter:
    router = APIRouter(route_class=PlainRoute, tags=["Operations"])

    @router.get("/metrics", dependencies=[Depends(insiders_only)])
    def metrics() -> Response:
        """Counters and gauges in the text format of Prometheus; for insiders only."""
        return Response(exposition(counted, archive), media_type=CONTENT_TYPE_LATEST)

    return router
