"""What the measurements share: an archive of its own with a made catalogue, served by the command that a user types.

Everything lies in a temporary folder, on the embedded server, and is gone at the end.
"""

import http.client
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

import psutil
import psycopg

# The makers and the way to serve are the tests'; a script's own folder is all that Python puts on its path.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from archive.app.opened import OpenedArchive
from archive.app.setup import prepare
from archive.database.engines import psycopg_dsn
from archive.holdings import catalogues
from archive.settings import Loaded
from tests.live import Live, serving, words_of
from tests.made.catalogue import star_table, stars
from uraniborg import metadata

TABLE = "cat.stars"
SEED = 20261122
WARMING = 30  # items asked before the count begins
Item = TypeVar("Item")
BELT_DEG = 2.5  # a million stars as dense as the sky's mean at 17 mag: some 17 in a cone of 0.1 degree


@dataclass(frozen=True)
class Served:
    """A served archive, and a way to ask its database as the reader role, without the archive between."""

    live: Live
    archive: OpenedArchive

    def reader(self) -> psycopg.Connection[tuple[Any, ...]]:
        """A connection of the reader role; the caller closes it."""
        return psycopg.connect(psycopg_dsn(self.archive.urls.reader, options="-c jit=off -c timezone=UTC"))

    def web_processes(self) -> list[psutil.Process]:
        """The web workers, below the supervisor."""
        below = psutil.Process(self.live.process.pid).children(recursive=True)
        return [process for process in below if "web" in words_of(process)]


@contextmanager
def prepared(folder: Path, rows: int) -> Iterator[OpenedArchive]:
    """An archive with the made catalogue, not yet served. rows: 0 for no catalogue."""
    with OpenedArchive(Loaded.load(folder / "data").settings) as archive:
        prepare(archive, metadata())
        if rows:
            reader = archive.urls.reader.username or ""
            with archive.engines.begin("writer") as connection:
                catalogues.create(
                    connection, star_table(TABLE, rows), stars(rows, seed=SEED, belt_deg=BELT_DEG), archive.sphere,
                    reader=reader, file_id="made/stars",
                )  # fmt: skip
        yield archive


@contextmanager
def served(
    rows: int,
    *,
    web_workers: int = 1,
    job_workers: int = 0,
    fill: Callable[[OpenedArchive], None] = lambda archive: None,
) -> Iterator[Served]:
    """A served archive: the made catalogue, and what `fill` puts there; job workers, which take cores, if asked for."""
    with tempfile.TemporaryDirectory(prefix="uraniborg-bench-") as name, prepared(Path(name), rows) as archive:
        fill(archive)
        command = ("serve", "--web-workers", str(web_workers), "--job-workers", str(job_workers))
        with serving(Path(name) / "data", {}, "embedded", *command) as live:
            yield Served(live, archive)


class Client:
    """One connection that is kept open. http.client costs least of all: it shares the cores with what it measures."""

    def __init__(self, bench: Served) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(bench.live.url).netloc, timeout=60)

    def get(self, path: str, wanted: int = 200, headers: Mapping[str, str] | None = None) -> bytes:
        """The body; SystemExit if the status is another than `wanted`."""
        return self._ask("GET", path, None, wanted, headers or {})[1]

    def post(self, path: str, form: Mapping[str, str], headers: Mapping[str, str] | None = None) -> str:
        """Where the answer, a redirect, leads: a path."""
        typed = {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})}
        return urlsplit(self._ask("POST", path, urlencode(form), 303, typed)[0]).path

    def _ask(
        self, method: str, path: str, body: str | None, wanted: int, headers: Mapping[str, str]
    ) -> tuple[str, bytes]:
        self._connection.request(method, path, body, dict(headers))
        answer = self._connection.getresponse()
        told = answer.read()
        if answer.status != wanted:
            raise SystemExit(f"{path}: status {answer.status}\n{told[:2000].decode()}")
        return answer.headers.get("Location", ""), told


def timed(work: Callable[[], object]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1e3


def in_turns(
    ways: Callable[[Item], Mapping[str, Callable[[], object]]], items: Sequence[Item]
) -> list[tuple[str, list[float]]]:
    """Each item once by each way, in turns, so that all meet the same caches and neighbours. Milliseconds a way."""
    spent: dict[str, list[float]] = {}
    for round_, item in enumerate([*items[:WARMING], *items]):
        for name, work in ways(item).items():
            milliseconds = timed(work)
            if round_ >= WARMING:
                spent.setdefault(name, []).append(milliseconds)
    return list(spent.items())


def show_turns(title: str, spent: Iterable[tuple[str, list[float]]]) -> None:
    """What in_turns gave, the first way as the floor."""
    ways = list(spent)
    floor = quantile(ways[0][1], 0.5)
    rows = []
    for name, ms in ways:
        p10, p50, p95 = (quantile(ms, share) for share in (0.1, 0.5, 0.95))
        rows.append((name, p10, p50, p95, p50 - floor, p50 / floor))
    show(f"{title}; ms", ("", "p10", "p50", "p95", "p50 - raw", "p50 / raw"), rows)


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which that share of the values lies."""
    return statistics.quantiles(values, n=100, method="inclusive")[round(share * 100) - 1]


def machine() -> str:
    """One line on the machine and how busy it was: figures of two machines do not compare, ratios may."""
    load = os.getloadavg()[0]
    memory = psutil.virtual_memory().total / 2**30
    return f"machine: {os.cpu_count()} cores, {memory:.0f} GiB, load {load:.1f} at {time.strftime('%Y-%m-%d %H:%M')}"


def show(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table of text: the first column to the left, numbers to the right."""
    texts = [[f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[place]) for row in texts) for place in range(len(header))]
    lines = [
        "  ".join(cell.ljust(width) if not place else cell.rjust(width)
                  for place, (cell, width) in enumerate(zip(row, widths, strict=True)))
        for row in texts
    ]  # fmt: skip
    sys.stdout.write("\n".join([title, *lines, machine(), ""]) + "\n")
    sys.stdout.flush()
