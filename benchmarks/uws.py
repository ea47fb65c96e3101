"""Asynchronous queries, one by one and as a burst, beside the same query asked at once: `python benchmarks/uws.py`.

Floors: the query by psycopg as the reader role, and over HTTP by /tap/sync. A job is made, run, waited for and fetched
as pyvo does it (four kinds of request on a kept connection). In the burst some clients make and run jobs of one owner,
while another asks for the phase of any of them, and one for the list of the newest.
"""

import argparse
import random
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from urllib.parse import urlencode

from helpers import SEED, Client, Served, in_turns, quantile, served, show, show_turns, timed

QUERY = "SELECT TOP 1 table_name FROM tap_schema.tables"
FORM = {"LANG": "ADQL", "QUERY": QUERY}
LIST = "/tap/async"
PATIENCE_S = 120.0


def one_by_one(bench: Served, count: int) -> list[tuple[str, list[float]]]:
    """Each way so many times, in turns. Milliseconds."""
    client = Client(bench)
    with bench.reader() as reader:

        def raw() -> None:
            reader.execute(b"SELECT table_name FROM tap_schema.tables LIMIT 2").fetchall()
            reader.rollback()

        def as_pyvo_does() -> None:
            job = client.post(LIST, FORM)
            client.post(f"{job}/phase", {"PHASE": "RUN"})
            wait_for(client, job)
            client.get(f"{job}/results/result")

        ways = {
            "raw SQL": raw,
            "/tap/sync over HTTP": partial(client.get, f"/tap/sync?{urlencode(FORM)}"),
            "phase of a job": partial(client.get, f"{client.post(LIST, FORM)}/phase"),
            "create, run, wait, result": as_pyvo_does,
        }
        return in_turns(lambda _: ways, range(count))


def wait_for(client: Client, job: str) -> None:
    """Until the job is COMPLETED; SystemExit if it ends otherwise."""
    while True:
        document = client.get(f"{job}?WAIT=-1")
        if b"<uws:phase>COMPLETED" in document:
            return
        if not any(phase in document for phase in (b">PENDING<", b">QUEUED<", b">EXECUTING<")):
            raise SystemExit(document.decode())


class Burst:
    """So many jobs at once, made by some clients, watched by another."""

    def __init__(self, bench: Served, count: int, clients: int, headers: Mapping[str, str]) -> None:
        self._bench = bench
        self._count = count
        self._clients = clients
        self._headers = headers
        self._made: list[str] = []
        self._local = threading.local()
        self.phase_ms: list[float] = []
        self.list_ms: list[float] = []

    def run(self) -> tuple[float, float]:
        """Seconds until all were made, and until all had completed."""
        began = time.perf_counter()
        over = threading.Event()
        watchers = [threading.Thread(target=self._watch, args=(over, self.phase_ms, self._ask_phase), daemon=True)]
        watchers.append(threading.Thread(target=self._watch, args=(over, self.list_ms, self._ask_list), daemon=True))
        for watcher in watchers:
            watcher.start()
        with ThreadPoolExecutor(self._clients) as pool:
            list(pool.map(self._make, range(self._count)))
        made_s = time.perf_counter() - began
        self._until_completed(began + PATIENCE_S)
        completed_s = time.perf_counter() - began
        over.set()
        for watcher in watchers:
            watcher.join()
        return made_s, completed_s

    def _make(self, _: int) -> None:
        if not hasattr(self._local, "client"):
            self._local.client = Client(self._bench)
        self._made.append(self._local.client.post(LIST, {**FORM, "PHASE": "RUN"}, self._headers))

    def _until_completed(self, deadline: float) -> None:
        client = Client(self._bench)
        while b"<uws:jobref" in (document := client.get(f"{LIST}?PHASE=QUEUED&PHASE=EXECUTING", headers=self._headers)):
            if time.perf_counter() > deadline:
                raise SystemExit(f"{document.count(b'<uws:jobref')} jobs have not ended")
            time.sleep(0.1)
        done = client.get(f"{LIST}?PHASE=COMPLETED", headers=self._headers)
        missing = [job for job in self._made if job.rsplit("/", 1)[1].encode() not in done]
        if missing:
            raise SystemExit(f"{len(missing)} jobs did not complete, such as {missing[0]}")

    def _watch(self, over: threading.Event, spent: list[float], ask: Callable[[Client, random.Random], object]) -> None:
        client, chance = Client(self._bench), random.Random(SEED)
        while not over.is_set():
            if self._made:
                spent.append(timed(partial(ask, client, chance)))
            time.sleep(0.02)

    def _ask_phase(self, client: Client, chance: random.Random) -> None:
        client.get(f"{chance.choice(self._made)}/phase", headers=self._headers)

    def _ask_list(self, client: Client, chance: random.Random) -> None:
        client.get(f"{LIST}?LAST=100", headers=self._headers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100, help="one after the other")
    parser.add_argument("--burst", type=int, default=500)
    parser.add_argument("--clients", type=int, default=4, help="that make the burst")
    parser.add_argument("--web-workers", type=int, default=2)
    parser.add_argument("--job-workers", type=int, default=1)
    chosen = parser.parse_args()
    with served(0, web_workers=chosen.web_workers, job_workers=chosen.job_workers) as bench:
        processes = f"{chosen.web_workers} web, {chosen.job_workers} job workers"
        show_turns(f"a trivial query, {chosen.jobs} times, 1 client, {processes}", one_by_one(bench, chosen.jobs))
        headers = {"Authorization": f"Bearer {bench.live.operator_token}"}
        burst = Burst(bench, chosen.burst, chosen.clients, headers)
        made_s, completed_s = burst.run()
        show(
            f"{chosen.burst} jobs made by {chosen.clients} clients at once, {processes}; seconds",
            ("", "all made", "all completed", "jobs/s"),
            [("burst", made_s, completed_s, chosen.burst / completed_s)],
        )
        show(
            "meanwhile; ms",
            ("", "asked", "p50", "p95", "most"),
            [
                (name, len(ms), quantile(ms, 0.5), quantile(ms, 0.95), max(ms))
                for name, ms in (("phase of a job", burst.phase_ms), ("list of the newest 100", burst.list_ms))
            ],
        )


if __name__ == "__main__":
    main()
