"""`uraniborg serve`, `worker`, `db` and `doctor`: running the archive and looking after it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from archive.app.context import Context
from archive.app.opened import embedded_server
from archive.app.processes import run_web, serve
from archive.app.setup import prepare, sky_tables
from archive.database.commands import DatabaseTools, make_commands, show
from archive.database.doctor import Finding, examine
from archive.database.embedded import EmbeddedServer
from archive.holdings import published
from storage.errors import StorageError
from storage.janitor import clear_after_death


def _server_options(function: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--host", help="Address to listen on."),
        click.option("--port", type=int, help="TCP port to listen on."),
        click.option("--public-url", help="What users type, e.g. https://archive.example."),
        click.option("--web-workers", type=int, help="Web processes."),
    ):
        function = option(function)
    return function


@click.command("serve")
@_server_options
@click.option("--job-workers", type=int, help="Job processes.")
@click.option("--web-only", is_flag=True, help="No job processes: they run elsewhere (`uraniborg worker`).")
@click.pass_obj
def serve_command(
    context: Context,
    host: str | None,
    port: int | None,
    public_url: str | None,
    web_workers: int | None,
    job_workers: int | None,
    web_only: bool,
) -> None:
    """Serve the archive: its database if embedded, web workers, job workers; restarts what dies."""
    context.take(
        {
            "server.host": host,
            "server.port": port,
            "server.public_url": public_url,
            "server.web_workers": web_workers,
            "server.job_workers": 0 if web_only else job_workers,
        }
    )
    sys.exit(serve(context))


@click.command("worker")
@click.pass_obj
def worker_command(context: Context) -> None:
    """Run jobs until told to stop: one process of those that `serve` starts, for another machine."""
    clear_after_death(context.archive.store)
    context.run_jobs(context.archive)


@click.command("web", hidden=True)
@_server_options
@click.option("--socket", "descriptor", type=int, help="An open listening socket to serve on.")
@click.pass_obj
def web_command(
    context: Context,
    host: str | None,
    port: int | None,
    public_url: str | None,
    web_workers: int | None,
    descriptor: int | None,
) -> None:
    """One web process, as `serve` starts it."""
    context.take({"server.host": host, "server.port": port, "server.public_url": public_url})
    run_web(context, descriptor)


@click.command("doctor")
@click.pass_obj
def doctor_command(context: Context) -> None:
    """Look at server, adapter of the sky, roles, disk, store and clock; each finding says what to do."""
    archive = context.archive
    findings = examine(
        archive.engines,
        archive.sphere,
        data_dir=archive.settings.data_dir,
        published=published.READER_SCHEMAS,
    )
    if not show([*findings, *_store_findings(context)]):
        sys.exit(1)


def _store_findings(context: Context) -> list[Finding]:
    found = []
    try:
        for volume in context.archive.store.volumes:
            free = volume.free_bytes()
            next(iter(volume.keys()), None)
            room = "" if free is None else f", {free / 1e9:.1f} GB free"
            found.append(Finding("ok", f"volume {volume.name} answers{room}"))
    except StorageError as problem:
        found.append(Finding("error", str(problem), "mount or repair the volume, or name another in store.path"))
    return found


@contextmanager
def _database_tools(context: click.Context) -> Iterator[DatabaseTools]:
    ours = context.find_object(Context)
    assert ours is not None
    archive = ours.archive
    yield DatabaseTools(
        engines=archive.engines,
        sphere=archive.sphere,
        prepare=lambda: prepare(archive, ours.metadata()),
        metadata=ours.metadata(),
        sky_tables=lambda: sky_tables(archive),
    )


def _embedded_server(context: click.Context) -> EmbeddedServer:
    ours = context.find_object(Context)
    assert ours is not None
    return embedded_server(ours.settings)


database_commands = make_commands(_database_tools, _embedded_server)
