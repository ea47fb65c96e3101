"""`uraniborg store serve`, as a user types it: a storage node without the rest of the archive."""

import contextlib
import os
import re
import signal
import subprocess
from pathlib import Path

import httpx
import psutil
import pytest
from sqlalchemy import inspect

from storage.tables import metadata
from tests.databases import Postgres
from tests.live import PROGRAM, ROOT, database_environment, free_port
from tests.served import wait_until

pytestmark = pytest.mark.parametrize("postgres", ["embedded"], indirect=True)


def test_a_node_makes_what_it_needs_serves_survives_kill_9_and_ends_when_told(
    postgres: Postgres, tmp_path: Path
) -> None:
    fresh, port, data_dir = postgres.fresh_database(), free_port(), tmp_path / "data"
    with fresh.engines() as engines, engines.owner.begin() as connection:
        # What a release left that had fewer tables and indexes.
        connection.exec_driver_sql("CREATE SCHEMA store")
        metadata.create_all(connection)
        connection.exec_driver_sql("DROP TABLE store.counted")
        connection.exec_driver_sql("DROP INDEX store.copy_sound_idx")
    url = f"http://127.0.0.1:{port}"
    words = ["store", "serve", "--port", str(port), "--workers", "1", "--data-dir", str(data_dir)]
    environment = {**os.environ, **database_environment(fresh.urls)}
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen([*PROGRAM, *words], cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT)

    def is_ready() -> bool:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{url}/health", timeout=5).status_code == 200
        return False

    try:
        wait_until(is_ready, 60)
        token = data_dir / "operator.token"
        assert token.stat().st_mode & 0o777 == 0o600
        headers = {"Authorization": f"Bearer {token.read_text().strip()}"}
        assert httpx.put(f"{url}/store/v1/objects/a/b", content=b"x", headers=headers).status_code == 201
        assert httpx.put(f"{url}/store/v1/objects/a/b", content=b"y").status_code == 401
        web = [each.pid for each in psutil.Process(process.pid).children() if "web" in each.cmdline()]
        for pid in web:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(map(psutil.pid_exists, web)) and is_ready(), 60)
        assert httpx.get(f"{url}/store/v1/objects/a/b").content == b"x"
        assert "uraniborg_http_requests_total" in httpx.get(f"{url}/metrics", headers=headers).text
        with fresh.engines() as engines, engines.owner.connect() as connection:
            schemas = connection.exec_driver_sql("SELECT nspname FROM pg_namespace").scalars().all()
            assert "store" in schemas and not {"arc", "acl", "uws"} & set(schemas)
            found = inspect(connection)
            assert found.has_table("counted", "store") and found.has_index("copy", "copy_sound_idx", "store")
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert not re.search("Traceback", log.read_text()), log.read_text()
    fresh.drop()
