"""The processes of a running archive: what `serve` supervises, and what each child does."""

import gc
import logging
import os
import shutil
import socket
import urllib.request
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from archive.app.context import Context
from archive.app.supervisor import ChildSpec, Chore, Supervisor
from archive.settings import PREFIX, Settings
from archive.vo.errors import ConfigurationError
from storage.janitor import clear_after_death

log = logging.getLogger(__name__)
FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client reads it when it is imported
STOP_MARGIN_S = 10.0  # on top of what streams and jobs get: for a stubborn job to be stopped and queued again


def serve(context: Context, *, ready: Callable[[str], None] | None = None) -> int:
    """Run the archive until SIGTERM or SIGINT; returns the exit status.

    ready: called once, with the public URL, when the web server answers.
    """
    settings = context.settings
    listening = _listen(settings)
    try:
        port = listening.getsockname()[1]
        os.environ[FOLDER_VARIABLE] = str(_counts_folder(settings.data_dir, port))
        context.preload()
        gc.collect()
        gc.freeze()  # what is imported stays as it is, and its memory is the children's too
        if settings.server.port != port:  # port 0: a free one was taken, and children must name the same
            context.take({"server.port": port})
            context.__dict__.pop("loaded", None)
            settings = context.settings
        archive = context.archive
        archive.urls  # noqa: B018 (starts the database: children then only join it)
        url = settings.server.base_url
        server = archive.embedded_server
        chores = [Chore("database", server.ensure)] if server else []
        if ready is not None:
            chores.append(Chore("telling", partial(_tell_when_ready, url, settings.public_url, ready), every_s=0.2))
        return Supervisor(
            _children(settings, listening.fileno(), context),
            chores=chores,
            stop_timeout_s=settings.server.stop_timeout_s + STOP_MARGIN_S,
            restart_min_s=settings.server.restart_min_s,
            restart_max_s=settings.server.restart_max_s,
        ).run()
    finally:
        listening.close()


def _counts_folder(data_dir: Path, port: int) -> Path:
    """An empty folder where web processes keep their counts: nobody else serves on this port of this machine."""
    folder = data_dir.absolute() / "run" / f"metrics-{socket.gethostname()}-{port}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    return folder


def _children(settings: Settings, descriptor: int, context: Context) -> list[ChildSpec]:
    environment = child_environment(context)

    def child(name: str, *words: str, pass_fds: Sequence[int] = ()) -> ChildSpec:
        line = [*words, "--data-dir", str(settings.data_dir)]
        return ChildSpec(name, ["uraniborg", *line], environment, pass_fds, partial(context.command, line))

    web, jobs = (range(1, 1 + count) for count in (settings.server.web_workers, settings.server.job_workers))
    return [
        *(child(f"web-{number}", "web", "--socket", str(descriptor), pass_fds=(descriptor,)) for number in web),
        *(child(f"worker-{number}", "worker") for number in jobs),
    ]


def child_environment(context: Context) -> dict[str, str]:
    """The command's options, as a child reads them."""
    given = {key: value for key, value in context.options.items() if value is not None}
    return {f"{PREFIX}{key.replace('.', '__').upper()}": str(value) for key, value in given.items()}


def run_web(context: Context, descriptor: int | None) -> None:
    """One web process: the application on an open socket, or on one of its own."""
    settings = context.settings
    listening = socket.socket(fileno=descriptor) if descriptor is not None else _listen(settings)
    clear_after_death(context.archive.store)
    uvicorn.Server(server_config(settings, context.create_app(settings, context.archive))).run(sockets=[listening])


def server_config(settings: Settings, app: ASGIApp) -> uvicorn.Config:
    """How the web server serves: no log of its own, forwarded headers from trusted proxies only."""
    return uvicorn.Config(
        app,
        host=settings.server.host,
        port=settings.server.port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=True,
        forwarded_allow_ips=settings.server.trusted_proxies,
        timeout_graceful_shutdown=max(1, int(settings.server.stop_timeout_s)),
        timeout_keep_alive=30,
        h11_max_incomplete_event_size=256 * 1024,
    )


def _listen(settings: Settings) -> socket.socket:
    host, port = settings.server.host, settings.server.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as problem:
        listening.close()
        raise ConfigurationError(
            f"cannot listen on {host} port {port}: {problem.strerror}; choose another with --port (0 takes a free one)"
        ) from None
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # Linux ends a connection whose other side takes nothing for as long; accepted sockets inherit it.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(settings.server.stalled_s * 1000))
    listening.listen(512)
    listening.set_inheritable(True)
    return listening


def _tell_when_ready(url: str, public_url: str, ready: Callable[[str], None]) -> bool:
    """Ask whether the archive says that it is available, and tell it once."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/availability", timeout=1) as response:
            is_ready = bool(response.status == 200)
    except OSError:
        return False
    if is_ready:
        ready(public_url)
    return is_ready
