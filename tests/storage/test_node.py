"""`uraniborg store serve`, as a user types it: a storage node without the rest of the archive."""

import contextlib
import hashlib
import itertools
import json
import os
import random
import re
import signal
import subprocess
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import httpx
import psutil
import pytest
from sqlalchemy import inspect

from storage.tables import metadata
from tests.databases import Postgres
from tests.live import PROGRAM, ROOT, START_S, database_environment, free_port
from tests.served import wait_until

pytestmark = pytest.mark.parametrize("postgres", ["embedded"], indirect=True)
CLIENTS = 8


class Served:
    """A node, and what it says; a process that may be killed and started again."""

    def __init__(self, fresh: Postgres, folder: Path, *words: str) -> None:
        self.data_dir, self.log = folder / "data", folder / "log"
        self.ports = free_port(), free_port()
        self.url, self.ngas_url = (f"http://127.0.0.1:{port}" for port in self.ports)
        self.environment = {**os.environ, **database_environment(fresh.urls)}
        self._words = ["store", "serve", *words, "--data-dir", str(self.data_dir)]
        self.process: subprocess.Popen[bytes]

    def start(self) -> None:
        words = [*self._words, "--port", str(self.ports[0]), "--ngas-port", str(self.ports[1])]
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [*PROGRAM, *words], cwd=ROOT, env=self.environment, stdout=out, stderr=subprocess.STDOUT
            )
        wait_until(self.is_ready, START_S)

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/health", timeout=5).status_code == 200
        return False

    @property
    def token(self) -> str:
        return (self.data_dir / "operator.token").read_text().strip()

    def web(self) -> list[int]:
        children = psutil.Process(self.process.pid).children()
        return [each.pid for each in children if "web" in each.cmdline()]

    def kill(self) -> None:
        """All its processes at once, as a machine that dies."""
        for pid in (self.process.pid, *self.web()):
            os.kill(pid, signal.SIGKILL)
        self.process.wait(30)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*PROGRAM, "store", *words, "--data-dir", str(self.data_dir)],
            cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip


def test_a_node_makes_what_it_needs_serves_survives_kill_9_and_ends_when_told(
    postgres: Postgres, tmp_path: Path
) -> None:
    fresh = postgres.fresh_database()
    with fresh.engines() as engines, engines.owner.begin() as connection:
        # What a release left that had fewer tables and indexes.
        connection.exec_driver_sql("CREATE SCHEMA store")
        metadata.create_all(connection)
        connection.exec_driver_sql("DROP TABLE store.counted, store.unsettled, store.walk")
        connection.exec_driver_sql("DROP INDEX store.copy_sound_idx")
    node = Served(fresh, tmp_path, "--workers", "1")
    node.start()
    url = node.url
    try:
        assert (node.data_dir / "operator.token").stat().st_mode & 0o777 == 0o600
        headers = {"Authorization": f"Bearer {node.token}"}
        assert httpx.put(f"{url}/store/v1/objects/a/b", content=b"x", headers=headers).status_code == 201
        assert httpx.put(f"{url}/store/v1/objects/a/b", content=b"y").status_code == 401
        left = node.data_dir / "store" / "staging" / "left.part"
        left.write_bytes(b"half")
        assert sum("keep" in each.cmdline() for each in psutil.Process(node.process.pid).children()) == 1
        web = node.web()
        for pid in web:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(map(psutil.pid_exists, web)) and node.is_ready(), 60)
        assert not left.exists(), "staging is clean after a restart"
        assert httpx.get(f"{url}/store/v1/objects/a/b").content == b"x"
        told = httpx.get(f"{url}/metrics", headers=headers).text
        assert (
            "uraniborg_http_requests_total" in told and 'uraniborg_store_copies{state="ok",volume="posix"} 1.0' in told
        )
        with fresh.engines() as engines, engines.owner.connect() as connection:
            schemas = connection.exec_driver_sql("SELECT nspname FROM pg_namespace").scalars().all()
            assert "store" in schemas and not {"arc", "acl", "uws"} & set(schemas)
            found = inspect(connection)
            noted = "SELECT count(*) FROM pg_trigger WHERE tgname = 'copy_noted'"
            assert connection.exec_driver_sql(noted).scalar() == 1, "what may lack a copy is found without a day's wait"
            assert found.has_table("counted", "store") and found.has_index("copy", "copy_sound_idx", "store")
    finally:
        node.stop()
    assert not re.search("Traceback", node.log.read_text()), node.log.read_text()
    fresh.drop()


class Senders:
    """Eight clients, half of them NGAS's, that send until told to stop, and again what was not acknowledged."""

    def __init__(self, node: Served) -> None:
        self._node = node
        self.acknowledged: dict[tuple[str, int], str] = {}
        self.sent: set[tuple[str, str]] = set()
        self.statuses: Counter[int] = Counter()
        self.broken = 0
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(CLIENTS)
        self._running = [self._pool.submit(self._send, number) for number in range(CLIENTS)]

    def _send(self, client: int) -> None:
        draw = random.Random(client)
        for turn in itertools.count():
            if self._stop.is_set():
                return
            file_id = "shared" if turn % 3 == 0 else f"{client}/{turn}"
            data = f"{client} {turn} ".encode() + draw.randbytes(draw.choice((0, 100, 30_000, 64 << 10, 3 << 20)))
            sha256 = hashlib.sha256(data).hexdigest()
            self.sent.add((file_id, sha256))
            while (version := self._put(client, file_id, data)) is None:
                if self._stop.is_set():
                    return
                time.sleep(0.1)
            self.acknowledged[file_id, version] = sha256

    def _put(self, client: int, file_id: str, data: bytes) -> int | None:
        """The version that was acknowledged."""
        headers = {"Authorization": f"Bearer {self._node.token}"}
        try:
            if client % 2:
                url = f"{self._node.ngas_url}/QARCHIVE"
                named = {"filename": "same.bin", "file_id": file_id, "mime_type": "application/octet-stream"}
                answer = httpx.post(url, content=data, params=named, headers=headers, timeout=20)
            else:
                url = f"{self._node.url}/store/v1/objects/{quote(file_id)}"
                answer = httpx.put(url, content=data, headers=headers, timeout=20)
        except httpx.TransportError:
            self.broken += 1
            return None
        self.statuses[answer.status_code] += 1
        if answer.status_code not in (200, 201):
            return None
        if client % 2:
            found = re.search(r'FileVersion="([0-9]+)"', answer.text)
            assert found, answer.text
            return int(found[1])
        return int(answer.json()["version"])

    def more(self, number: int) -> None:
        wanted = len(self.acknowledged) + number
        wait_until(lambda: len(self.acknowledged) >= wanted or any(each.done() for each in self._running), 120)

    def stop(self) -> None:
        self._stop.set()
        for each in self._running:
            each.result(60)
        self._pool.shutdown()


@pytest.mark.fault
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_node_killed_while_clients_archive_has_all_that_it_acknowledged(postgres: Postgres, tmp_path: Path) -> None:
    fresh, moments = postgres.fresh_database(), random.Random(5)
    node = Served(fresh, tmp_path, "--workers", "2")
    node.start()
    staging = node.data_dir / "store" / "staging"
    senders = Senders(node)
    try:
        for _ in range(12):
            senders.more(20)
            time.sleep(moments.uniform(0, 0.5))
            node.kill()
            before = set(staging.iterdir())
            node.start()
            assert not before & set(staging.iterdir()), "staging is clean after a restart"
            senders.more(1)
        node.kill()
        senders.stop()
        node.start()
        assert list(staging.iterdir()) == []
        assert set(senders.statuses) <= {200, 201, 503} and senders.broken
        with httpx.Client(base_url=f"{node.url}/store/v1/objects/", timeout=60) as client:
            for (file_id, version), sha256 in senders.acknowledged.items():
                got = client.get(quote(file_id), params={"version": version})
                assert got.status_code == 200 and hashlib.sha256(got.content).hexdigest() == sha256
        held = [json.loads(line) for line in node.run("ls", "--json").stdout.splitlines()]
        assert {file_id for file_id, _ in senders.acknowledged} <= {each["file_id"] for each in held}
        assert {(each["file_id"], each["sha256"]) for each in held} <= senders.sent
        shared = [version for file_id, version in senders.acknowledged if file_id == "shared"]
        last = next(each["version"] for each in held if each["file_id"] == "shared")
        assert last - len(shared) <= 13 * CLIENTS, "an acknowledgement that was cut off, and what was sent again"
        found = [json.loads(line) for line in node.run("reconcile", "--json").stdout.splitlines()]
        assert {each["kind"] for each in found} <= {"object_without_row"}
        assert node.run("scrub", "--all", "--json").stdout == ""
    finally:
        node.stop()
    fresh.drop()
