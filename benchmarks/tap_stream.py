"""A million rows of 15 columns over HTTP against COPY, in one run: `python benchmarks/tap_stream.py`.

Floor: `COPY (SELECT ...) TO STDOUT` by psycopg as the reader role, each piece written to /dev/null: FORMAT csv for
formats that are text (CSV, TABLEDATA, JSON), FORMAT binary for the others. The bodies that come over HTTP go to
/dev/null too. Best of the rounds. CPU: of the web worker, for one answer. Memory: its resident set, before and the most
while it streams (asked for every 20 ms).
"""

import argparse
import http.client
import threading
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlencode, urlsplit

import psutil
from helpers import TABLE, Served, served, show

# RESPONSEFORMAT, the floor, and how a whole body ends.
FORMATS = {
    "BINARY2": ("votable", "binary", b"</VOTABLE>"),
    "BINARY": ("votable/binary", "binary", b"</VOTABLE>"),
    "Parquet": ("parquet", "binary", b"PAR1"),
    "Arrow": ("arrow", "binary", b"\xff\xff\xff\xff\0\0\0\0"),
    "FITS": ("fits", "binary", b""),
    "CSV": ("csv", "csv", b""),
    "TABLEDATA": ("votable/td", "csv", b"</VOTABLE>"),
    "JSON": ("json", "csv", b'"status": "OK"}'),
    "JSON lines": ("jsonl", "csv", b"}"),
}
MIB = 2**20
Told = TypeVar("Told", bound=tuple[float, ...])


class Watched:
    """The most memory that a process had within the block, MiB, and the CPU seconds that it took."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.before = self.most = process.memory_info().rss / MIB
        self.cpu_s = -sum(process.cpu_times()[:2])

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            self.most = max(self.most, self._process.memory_info().rss / MIB)

    def __enter__(self) -> "Watched":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.cpu_s += sum(self._process.cpu_times()[:2])


def copied(bench: Served, sql: str, form: str) -> tuple[float, int]:
    """Seconds and bytes of COPY to /dev/null."""
    began, size = time.perf_counter(), 0
    with (
        bench.reader() as reader,
        reader.cursor() as cursor,
        Path("/dev/null").open("wb", buffering=0) as sink,
        cursor.copy(f"COPY ({sql}) TO STDOUT (FORMAT {form})".encode()) as copy,
    ):
        for piece in copy:
            size += sink.write(piece)
    return time.perf_counter() - began, size


def streamed(url: str, query: str, rows: int, form: str, end: bytes = b"") -> tuple[float, float, int]:
    """Seconds to the first byte of the body and to its end, bytes. Not compressed: what is measured is the archive.

    By http.client, the client that costs least: it shares the cores with what it measures.
    """
    asked = urlencode({"LANG": "ADQL", "QUERY": query, "RESPONSEFORMAT": form, "MAXREC": str(rows)})
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=300)
    began, size, last = time.perf_counter(), 0, b""
    with closing(connection), Path("/dev/null").open("wb", buffering=0) as sink:
        connection.request("GET", f"/tap/sync?{asked}", headers={"Accept-Encoding": "identity"})
        answer = connection.getresponse()
        size += sink.write(answer.read(1))
        first = time.perf_counter() - began
        while piece := answer.read(256 << 10):
            size += sink.write(piece)
            last = piece
    if answer.status != 200 or not last.rstrip().endswith(end):
        raise SystemExit(f"status {answer.status}, and the answer in {form} ends with {last[-200:]!r}")
    return first, time.perf_counter() - began, size


def least(rounds: int, work: Callable[[], Told], by: int) -> Told:
    """What the quickest of the rounds told; by: where the seconds stand in it."""
    return min((work() for _ in range(rounds)), key=lambda told: told[by])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--formats", nargs="*", default=list(FORMATS), choices=list(FORMATS), metavar="FORMAT")
    chosen = parser.parse_args()
    query = f"SELECT * FROM {TABLE}"
    with served(chosen.rows, web_workers=1) as bench:
        (worker,) = bench.web_processes()
        floors = {form: least(chosen.rounds, partial(copied, bench, query, form), 0) for form in ("binary", "csv")}
        streamed(bench.live.url, query, 10, "votable")
        rows = []
        for name in chosen.formats:
            form, floor_form, end = FORMATS[name]
            with Watched(worker) as memory:
                first, seconds, size = least(
                    chosen.rounds, partial(streamed, bench.live.url, query, chosen.rows, form, end), 1
                )
            floor, floor_size = floors[floor_form]
            rows.append((name, seconds, size / 1e6, size / 1e6 / seconds, first * 1e3, floor, floor_size / 1e6,
                         seconds / floor, memory.cpu_s / chosen.rounds,
                         memory.before, memory.most - memory.before))  # fmt: skip
        show(
            f"{chosen.rows} rows x 15 columns, 1 client, 1 web worker",
            ("", "s", "MB", "MB/s", "first byte ms", "COPY s", "COPY MB", "ratio", "CPU s", "RSS MiB", "growth MiB"),
            rows,
        )


if __name__ == "__main__":
    main()
