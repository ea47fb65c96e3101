"""Many users for minutes, and what is left when they are gone: `python -m tests.soak` (`make soak`).

The demo is served by the command that a newcomer types. Users ask for cones and whole catalogues, run, abort and delete
jobs, upload tables, read slowly, and go away in the middle. At the end every answer must have been what was asked for,
or 503 with the time to come again; no query, connection, job, temporary table or file may be left; and no process may
hold more memory than after the first third (of two minutes or more). Ends with another status than 0 otherwise.
"""

import argparse
import contextlib
import http.client
import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import psutil
import psycopg

from archive.app.opened import OpenedArchive
from archive.database.engines import psycopg_dsn
from archive.settings import Loaded
from tests.live import Live, serving, words_of

TABLE = "cat.tycho2_vt9_8"  # 231,224 rows, the largest of the demo
BULK_ROWS = 50_000
# Minutes, by the planner's estimate too: what is longer is refused before it runs.
ENDLESS = f"SELECT COUNT(*) AS n FROM {TABLE} a, cat.openngc_ngc b WHERE a.ra + b.ra_deg > a.dec"
WARM_S = 40.0  # until allocators, pools and caches have what they need
READY_S, SETTLING_S = 180.0, 15.0
SAMPLE_S = 1.0
GROWTH, GROWTH_BYTES = 1.15, 24 << 20  # that allocators and caches may still come to after the first third
UPLOAD = "name,ra,dec\n" + "".join(f"star {n},{n % 360}.5,{n % 80}.25\n" for n in range(500))


@dataclass
class Seen:
    """What users met. answers: how many by deed and status; wrong: what must not be, in words."""

    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def note(self, deed: str, status: int, wrong: str = "") -> None:
        with self.guard:
            self.answers[deed, status] += 1
            if wrong:
                self.wrong.append(f"{deed}: {wrong}")


class Busy(Exception):
    """503: come again in so many seconds."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(retry_after_s)
        self.retry_after_s = retry_after_s


class User:
    """One who does one thing after the other, each on a connection of its own, until the time is over."""

    def __init__(self, live: Live, seen: Seen, seed: int, until: float) -> None:
        self._place = urlsplit(live.url).netloc
        self._seen = seen
        self._chance = random.Random(seed)
        self._until = until
        self._job = ""
        self._deeds: Mapping[str, tuple[int, Callable[[], None]]] = {
            "cone": (40, self._cone),
            "SCS": (12, self._scs),
            "bulk": (6, self._bulk),
            "upload": (6, self._upload),
            "job": (12, self._run_job),
            "abort": (6, self._abort_job),
            "leave at once": (6, self._leave_at_once),
            "leave in the middle": (6, self._leave_in_the_middle),
            "slow reader": (2, self._read_slowly),
            "page": (4, self._page),
        }
        self._weights = [weight for weight, _ in self._deeds.values()]

    def run(self) -> None:
        while time.monotonic() < self._until:
            deed = self._chance.choices(list(self._deeds), self._weights)[0]
            try:
                self._deeds[deed][1]()
                self._seen.note(deed, 200)
            except Busy as busy:
                self._seen.note(deed, 503)
                self._pause(min(busy.retry_after_s, 5) * self._chance.random())
            except Exception as problem:
                self._seen.note(deed, 0, f"{type(problem).__name__}: {str(problem)[:300]}")
            finally:
                self._forget_job()
            self._pause(self._chance.random())

    def _pause(self, seconds: float) -> None:
        time.sleep(max(0.0, min(seconds, self._until - time.monotonic())))

    # ---- what users do

    def _cone(self) -> None:
        ra, dec = self._place_on_the_sky()
        adql = f"SELECT * FROM {TABLE} WHERE DISTANCE(POINT(ra, dec), POINT({ra}, {dec})) < 1"
        self._whole("GET", f"/tap/sync?{_query(adql)}")

    def _scs(self) -> None:
        ra, dec = self._place_on_the_sky()
        self._whole("GET", f"/scs/{TABLE}/query?{urlencode({'RA': ra, 'DEC': dec, 'SR': 0.5})}")

    def _bulk(self) -> None:
        form = self._chance.choice(["csv", "votable", "votable/td", "parquet", "fits"])
        body = self._whole("GET", f"/tap/sync?{_query(f'SELECT TOP {BULK_ROWS} * FROM {TABLE}', FORMAT=form)}")
        if form == "csv" and body.count(b"\n") != BULK_ROWS + 1:
            raise ValueError(f"{body.count(bytes([10]))} lines of CSV")

    def _upload(self) -> None:
        adql = f"SELECT u.name FROM tap_upload.mine u JOIN {TABLE} t ON DISTANCE(u.ra, u.dec, t.ra, t.dec) < 0.1"
        boundary = "soak"
        parts = {"LANG": "ADQL", "FORMAT": "csv", "QUERY": adql, "UPLOAD": "mine,param:table"}
        body = "".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in parts.items()
        )
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="table"; filename="mine.csv"\r\n'
        body += f"Content-Type: text/csv\r\n\r\n{UPLOAD}\r\n--{boundary}--\r\n"
        self._whole("POST", "/tap/sync", body, f"multipart/form-data; boundary={boundary}")

    def _run_job(self) -> None:
        self._make_job(f"SELECT TOP 2000 * FROM {TABLE} WHERE ra > {self._chance.uniform(0, 300)}")
        document = b""
        for _ in range(100):
            document = self._whole("GET", f"{self._job}?WAIT=10")
            if not any(phase in document for phase in (b"phase>QUEUED", b"phase>EXECUTING")):
                break
        if b"phase>COMPLETED" not in document:
            raise ValueError(f"a job did not complete: {document[:1000].decode()}")
        self._whole("GET", f"{self._job}/results/result")

    def _abort_job(self) -> None:
        self._make_job(ENDLESS)
        self._pause(self._chance.choice([0, 0.2, 2]))
        self._whole("POST", f"{self._job}/phase", "PHASE=ABORT", wanted=303)
        if (phase := self._whole("GET", f"{self._job}/phase")) != b"ABORTED":
            raise ValueError(f"an aborted job is {phase.decode()}")

    def _leave_at_once(self) -> None:
        with self._asked(f"/tap/sync?{_query(ENDLESS)}"):
            time.sleep(self._chance.choice([0, 0.05, 0.5]))

    def _leave_in_the_middle(self) -> None:
        with self._answered(f"/tap/sync?{_query(f'SELECT * FROM {TABLE}', MAXREC='1000000')}") as answer:
            answer.read(self._chance.randrange(1, 1_000_000))

    def _read_slowly(self) -> None:
        with self._answered(f"/tap/sync?{_query(f'SELECT * FROM {TABLE}')}") as answer:
            for _ in range(10):
                answer.read(100_000)
                self._pause(0.3)

    def _page(self) -> None:
        self._whole("GET", self._chance.choice(["/", "/tap/tables", "/tap/capabilities", "/availability", "/query"]))

    # ---- how they ask

    def _place_on_the_sky(self) -> tuple[float, float]:
        return self._chance.uniform(0, 360), self._chance.uniform(-80, 80)

    def _make_job(self, adql: str) -> None:
        form = f"{_query(adql)}&PHASE=RUN"
        self._whole("POST", "/tap/async", form, wanted=303)

    def _forget_job(self) -> None:
        job, self._job = self._job, ""
        if job:
            try:
                self._whole("DELETE", job, wanted=303)
            except Exception as problem:
                self._seen.note("delete", 0, f"{type(problem).__name__}: {problem}")

    def _whole(self, method: str, path: str, body: str = "", media_type: str = "", wanted: int = 200) -> bytes:
        """The whole answer; Busy for 503; ValueError for another status than wanted, or an error within."""
        connection = http.client.HTTPConnection(self._place, timeout=120)
        with contextlib.closing(connection):
            typed = {"Content-Type": media_type or "application/x-www-form-urlencoded"} if body else {}
            connection.request(method, path, body or None, typed)
            answer = connection.getresponse()
            told = answer.read()
        _demand(answer, told, wanted)
        if method == "POST" and path == "/tap/async":
            self._job = urlsplit(str(answer.headers["Location"])).path
        return told

    @contextlib.contextmanager
    def _asked(self, path: str) -> Iterator[http.client.HTTPConnection]:
        connection = http.client.HTTPConnection(self._place, timeout=120)
        with contextlib.closing(connection):
            connection.request("GET", path)
            yield connection

    @contextlib.contextmanager
    def _answered(self, path: str) -> Iterator[http.client.HTTPResponse]:
        """An answer of which only a part may be read."""
        with self._asked(path) as connection, connection.getresponse() as answer:
            if answer.status != 200:
                _demand(answer, answer.read(), 200)
            yield answer


def _query(adql: str, **more: str) -> str:
    return urlencode({"LANG": "ADQL", "QUERY": adql, **more})


def _demand(answer: http.client.HTTPResponse, told: bytes, wanted: int) -> None:
    if answer.status == 503:
        raise Busy(float(answer.headers["Retry-After"]))
    if answer.status != wanted or b'name="QUERY_STATUS" value="ERROR"' in told:
        raise ValueError(f"status {answer.status}: {told[:600].decode(errors='replace')}")


class Inside:
    """What lies within the archive, as its own roles and the operating system see it."""

    def __init__(self, live: Live, archive: OpenedArchive) -> None:
        self._live = live
        self._archive = archive

    def held(self) -> dict[str, int]:
        """What must be as before when nobody is there any more."""
        return {
            "users' queries": self._count("reader", "application_name = 'uraniborg-tap' AND state <> 'idle'"),
            "transactions": self._count("writer", "state LIKE 'idle in transaction%'"),
            "temporary tables": self._ask("writer", "SELECT count(*) FROM pg_class WHERE relpersistence = 't'"),
            "jobs": self._ask("writer", "SELECT count(*) FROM uws.job"),
            "entries of the queue": self._ask(
                "writer",
                # Of the users': the store's standing processes always come again.
                "SELECT count(*) FROM jobs.procrastinate_jobs"
                " WHERE status IN ('todo', 'doing') AND queue_name <> 'store'",
            ),
            "objects on record": self._ask("writer", "SELECT count(*) FROM store.copy"),
            "objects": sum(1 for path in (self._archive.settings.store_path / "objects").rglob("*") if path.is_file()),
            "files being written": sum(1 for _ in (self._archive.settings.store_path / "staging").iterdir()),
            "clients' sockets": sum(
                1 for process in self._ours() for each in process.net_connections("tcp") if each.status == "ESTABLISHED"
            ),
        }

    def open_files(self) -> dict[str, int]:
        return {name: process.num_fds() for name, process in self._named().items()}

    def memory(self) -> dict[str, int]:
        """Bytes a process of the archive; of PostgreSQL's the sum of what each has for itself."""
        found = {name: process.memory_info().rss for name, process in self._named().items()}
        found["PostgreSQL"] = sum(_own_bytes(process) for process in self._postgres())
        return found

    def _ours(self) -> list[psutil.Process]:
        below = psutil.Process(self._live.process.pid).children()
        return [process for process in below if {"web", "worker"} & set(words_of(process))]

    def _named(self) -> dict[str, psutil.Process]:
        return {
            f"{'web' if 'web' in words_of(process) else 'worker'} {process.pid}": process for process in self._ours()
        }

    def _postgres(self) -> list[psutil.Process]:
        """The embedded server's processes; none where the server is another's."""
        if self._archive.embedded_server is None:
            return []
        pid = next((self._live.data_dir / "db").rglob("postmaster.pid")).read_text().split("\n", 1)[0]
        postmaster = psutil.Process(int(pid))
        return [postmaster, *postmaster.children(recursive=True)]

    def _count(self, role: str, where: str) -> int:
        others = "usename = current_user AND pid <> pg_backend_pid()"
        return self._ask(role, f"SELECT count(*) FROM pg_stat_activity WHERE {others} AND {where}")

    def _ask(self, role: str, statement: str) -> int:
        with psycopg.connect(psycopg_dsn(self._archive.urls.of(role))) as connection:  # type: ignore[arg-type]
            row = connection.execute(statement.encode()).fetchone()
        assert row is not None
        return int(row[0])


def _own_bytes(process: psutil.Process) -> int:
    """What a process has for itself, without what it shares; 0 if it has ended."""
    try:
        return int(process.memory_full_info().uss)
    except psutil.Error:
        return 0


@dataclass(frozen=True)
class Report:
    """What a run showed. wrong: what must not be; empty if all is well."""

    answers: Mapping[tuple[str, int], int]
    wrong: list[str]
    memory_mib: Mapping[str, tuple[float, float]]


def soak(live: Live, users: int, seconds: float, *, seed: int = 1) -> Report:
    """So many users for so long. Whether memory grows is judged if the first third is long enough to warm up in."""
    with OpenedArchive(Loaded.load(live.data_dir, database_options(live)).settings) as archive:
        inside = Inside(live, archive)
        # The demo makes its pictures first.
        passing = ("entries of the queue", "transactions", "users' queries")
        before = _settled(inside.held, lambda held: not any(held[what] for what in passing), READY_S)
        files_before = inside.open_files()
        seen, began = Seen(), time.monotonic()
        threads = [
            threading.Thread(target=User(live, seen, seed * 10_000 + number, began + seconds).run, daemon=True)
            for number in range(users)
        ]
        for thread in threads:
            thread.start()
            time.sleep(min(0.05, seconds / 10 / users))
        samples: list[tuple[float, dict[str, int]]] = []
        while any(thread.is_alive() for thread in threads):
            time.sleep(SAMPLE_S)
            samples.append((time.monotonic() - began, inside.memory()))
        wrong = [*seen.wrong]
        for what, number in _settled(inside.held, lambda held: held == before, SETTLING_S).items():
            if number != before[what]:
                wrong.append(f"{what}: {before[what]} before, {number} afterwards")
        wrong += _open_files(files_before, inside.open_files(), archive)
        growth = _growth(samples, seconds)
        if seconds >= 3 * WARM_S:
            wrong += _grown(growth)
    return Report(seen.answers, wrong, growth)


def database_options(live: Live) -> dict[str, str]:
    """The database's URLs as the served archive was told them."""
    return {
        name.removeprefix("URANIBORG_").lower().replace("__", "."): value
        for name, value in live.env.items()
        if name.startswith("URANIBORG_DATABASE__")
    }


def _settled(
    look: Callable[[], dict[str, int]], is_settled: Callable[[dict[str, int]], bool], patience_s: float
) -> dict[str, int]:
    """What is seen once it is as it should be; else at the end of patience."""
    end = time.monotonic() + patience_s
    while not is_settled(found := look()) and time.monotonic() < end:
        time.sleep(0.25)
    return found


def _open_files(before: Mapping[str, int], after: Mapping[str, int], archive: OpenedArchive) -> list[str]:
    """Pools may have filled meanwhile; a process that died and was started again is wrong too."""
    pools = 4 * archive.settings.database.pool_size
    wrong = [f"{name} died" for name in before.keys() - after.keys()]
    wrong += [
        f"{name}: {number} files open before, {after[name]} afterwards"
        for name, number in before.items()
        if after.get(name, 0) > number + pools
    ]
    return wrong


def _growth(samples: list[tuple[float, dict[str, int]]], seconds: float) -> dict[str, tuple[float, float]]:
    """MiB a process at a third of the time and at its end: the median of what was seen around then."""

    def around(moment: float) -> dict[str, float]:
        near = [found for at, found in samples if abs(at - moment) <= max(seconds / 20, 1.5 * SAMPLE_S)]
        names = set.intersection(*(set(found) for found in near)) if near else set()
        return {name: statistics.median(found[name] for found in near) / 2**20 for name in names}

    early, late = around(seconds / 3), around(seconds * 0.95)
    return {name: (early[name], late[name]) for name in early if name in late}


def _grown(growth: Mapping[str, tuple[float, float]]) -> list[str]:
    return [
        f"{name}: {early:.0f} MiB after a third of the time, {late:.0f} MiB at the end"
        for name, (early, late) in growth.items()
        if late > early * GROWTH + GROWTH_BYTES / 2**20
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the server is to end, too
    with tempfile.TemporaryDirectory(prefix="uraniborg-soak-") as name:
        data_dir = Path(name) / "data"
        with serving(data_dir, {}, "embedded", "demo") as live:
            report = soak(live, chosen.users, chosen.seconds, seed=chosen.seed)
        log = data_dir.with_suffix(".log").read_text()
    for (deed, status), number in sorted(report.answers.items()):
        print(f"{deed:22}{status or 'wrong':>6} {number:8}")
    for process, (early, late) in sorted(report.memory_mib.items()):
        print(f"{process:22}{early:8.0f} MiB after a third, {late:.0f} MiB at the end")
    wrong = report.wrong + [line for line in log.splitlines() if "Traceback" in line]
    for line, number in Counter(wrong).most_common(40):
        print(f"WRONG ({number}): {line}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
