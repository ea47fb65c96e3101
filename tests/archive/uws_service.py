"""A small UWS service for the tests: kinds of job that sleep, write, fail and die; its web server, its workers."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, BinaryIO
from uuid import uuid4

import procrastinate
import sqlalchemy as sa
import uvicorn
from fastapi import FastAPI

from archive.access import tables as access_tables
from archive.access.service import AccessService
from archive.database.engines import DatabaseUrls, Engines
from archive.database.roles import grant
from archive.jobs import queue
from archive.jobs import tables as job_tables
from archive.jobs.context import JobContext, JobKind
from archive.jobs.results import Laid
from archive.jobs.router import uws_router, votable_error_document
from archive.jobs.service import JobService
from archive.jobs.worker import WorkerLimits, run_worker
from archive.vo.errors import NotFoundError, UsageError

ROOT = Path(__file__).parents[2]
PATIENCE_S = 30.0
LIMITS = WorkerLimits(
    concurrency=3, grace_s=2.0, stop_s=1.5, heartbeat_s=0.5, stalled_after_s=2.0, watch_s=0.1, janitor_s=0.5, poll_s=1.0
)


class FolderStore:
    """A ResultStore that is a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def lay(self, stream: BinaryIO) -> Laid:
        key = self.put(stream)
        return Laid(key, record=lambda connection: None, discard=lambda: self.delete(key))

    def put(self, stream: BinaryIO) -> str:
        key = uuid4().hex
        try:
            with (self.folder / f"{key}.part").open("wb") as file:
                shutil.copyfileobj(stream, file)
        except BaseException:
            (self.folder / f"{key}.part").unlink()
            raise
        (self.folder / f"{key}.part").rename(self.folder / key)
        return key

    def open(self, key: str) -> IO[bytes]:
        try:
            return (self.folder / key).open("rb")
        except FileNotFoundError:
            raise NotFoundError(f"no object {key}") from None

    def delete(self, key: str) -> None:
        (self.folder / key).unlink(missing_ok=True)

    def keys(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}


def kinds(engines: Engines, folder: Path) -> list[JobKind]:
    """One kind "test"; its parameter DO says what a job does."""

    def run(context: JobContext) -> None:
        with context.parameters() as asked:
            deed = asked.single("DO")
            if deed == "write":
                text = " ".join(asked.all("WORD"))
                context.store_result(
                    "result", "text/x-words", (part.encode() for part in (text, "\n", context.user.name))
                )
            elif deed == "spool":
                with context.result_writer("big", "application/octet-stream") as file:
                    file.write(b"x" * 3_000_000)
            elif deed == "sleep":
                context.store_result("early", "text/plain", [b"partial"])
                with engines.reader.connect() as connection, context.cancels(connection.connection.driver_connection):
                    connection.execute(sa.text("SELECT pg_sleep(:s)"), {"s": float(asked.required("SECONDS"))})
            elif deed == "dawdle":
                while not context.cancelled:
                    time.sleep(0.02)
                context.raise_if_cancelled()
            elif deed == "ignore":
                time.sleep(600)
            elif deed == "refuse":
                raise UsageError("there is a <fault> at line 3")
            elif deed == "break":
                raise RuntimeError("secret internals")
            elif deed == "die":
                # The first so many workers that run this job die of it.
                if context.job.attempt <= int(asked.required("TIMES")):
                    os.kill(os.getpid(), signal.SIGKILL)
                context.store_result("result", "text/plain", [b"survived"])
            elif deed == "upload":
                for upload in asked.uploads():
                    assert upload.file is not None
                    context.store_result(upload.name, upload.file.media_type or "", [upload.file.file.read()])
            else:
                raise UsageError(f"DO={deed!r}")

    def check(parameters: Any, user: Any) -> None:
        if any(parameter.value == "forbidden" for parameter in parameters):
            raise UsageError("that is forbidden")

    def estimate(parameters: Any, user: Any) -> float | None:
        return next((float(parameter.value) for parameter in parameters if parameter.name == "SECONDS"), None)

    return [JobKind("test", run, check, estimate)]


def prepare(urls: DatabaseUrls) -> None:
    """Schemas, tables and rights."""
    with Engines(urls) as engines:
        with engines.begin("owner") as connection:
            for metadata in (access_tables.metadata, job_tables.metadata):
                connection.execute(sa.schema.CreateSchema(str(metadata.schema), if_not_exists=True))
                metadata.create_all(connection)
            queue.install(connection, grant_to=str(urls.writer.username))
        grant(engines, published=(), working=("acl", "uws", "jobs"), creatable=())


@contextmanager
def served(engines: Engines, folder: Path) -> Iterator[SimpleNamespace]:
    """The web server on a free port of loopback: .url of the job list, .jobs, .store."""
    store = FolderStore(folder)
    jobs = JobService(engines.writer, store, kinds(engines, folder), max_wait_s=10.0, max_upload_bytes=1_000_000)
    app = FastAPI()
    app.state.services = {JobService: jobs, AccessService: AccessService(engines.writer)}
    app.include_router(uws_router("test", error_response=votable_error_document), prefix="/tap")
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    app.state.public_url = url
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        eventually(lambda: server.started)
        yield SimpleNamespace(url=f"{url}/tap/async", jobs=jobs, store=store)
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


@contextmanager
def worker(urls: DatabaseUrls, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker in a process of its own; ended by SIGTERM, and by SIGKILL if that does not help."""
    told = {role: urls.of(role).render_as_string(hide_password=False) for role in ("owner", "writer", "reader")}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.archive.uws_service", str(folder)],
        cwd=ROOT,
        env={**os.environ, "UWS_TEST_URLS": json.dumps(told)},
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()


def eventually(happened: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """What `happened` answers once it is true; fails after a while."""
    end = time.monotonic() + patience_s
    while not (answer := happened()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)
    return answer


def ticks(folder: Path) -> Path:
    """Where the worker's periodic task writes when it was to run."""
    return folder.with_name(f"{folder.name}.ticks")


def ticking(path: Path) -> procrastinate.Blueprint:
    """A task of every second, as a room below the archive has it."""
    tasks = procrastinate.Blueprint()

    @tasks.periodic(cron="* * * * * *")
    @tasks.task(name="tick", queue="beside", queueing_lock="tick")
    def tick(timestamp: int) -> None:
        with path.open("a") as file:
            file.write(f"{timestamp}\n")

    return tasks


if __name__ == "__main__":
    import logging

    logging.basicConfig(level=logging.WARNING)
    with Engines(DatabaseUrls.parse(**json.loads(os.environ["UWS_TEST_URLS"]))) as worker_engines:
        place = Path(sys.argv[1])
        blueprints = {"beside": ticking(ticks(place))}
        run_worker(
            worker_engines.writer,
            kinds(worker_engines, place),
            FolderStore(place),
            blueprints=blueprints,
            limits=LIMITS,
        )
