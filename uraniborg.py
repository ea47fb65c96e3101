"""The front door: the only module that knows every room. `create_app` for uvicorn, `cli` for the shell."""

import logging
import sys
from collections.abc import Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import click
import structlog
from sqlalchemy import MetaData
from starlette.types import ASGIApp

from archive.access import tables as access_tables
from archive.access.commands import COMMANDS as ACCESS_COMMANDS
from archive.access.service import AccessService
from archive.app.application import application
from archive.app.commands import COMMANDS as APP_COMMANDS
from archive.app.context import Context, with_data_dir
from archive.app.opened import OpenedArchive
from archive.app.results import StoredResults
from archive.holdings.published import PublishedTables
from archive.holdings.tables import metadata as holdings_metadata
from archive.jobs import tables as jobs_tables
from archive.jobs.context import JobKind
from archive.jobs.service import JobService
from archive.jobs.worker import WorkerLimits, run_worker
from archive.settings import MiB, Settings
from archive.vo.capability import Limit
from archive.vo.dali import RequestLimits
from archive.vo.errors import ArchiveError
from datalink import protocol as datalink
from datalink.service import DataLinkService
from ingest.commands import ingest_commands
from ingest.demo import demo_command
from storage import tables as store_tables
from storage.commands import StoreTools, make_commands
from storage.errors import StorageError
from storage.service import ObjectStore
from tap import jobs as tap_jobs
from tap import protocol as tap
from tap.service import Limits, TapService
from tap.upload import Fetcher

VERSION = version("uraniborg")
DAY_S = 86_400


def metadata() -> Sequence[MetaData]:
    """The tables of every room: what migrations compare the database with."""
    return (holdings_metadata, store_tables.metadata, access_tables.metadata, jobs_tables.metadata)


def tap_limits(settings: Settings) -> Limits:
    chosen = settings.tap
    return Limits(
        default_maxrec=chosen.default_maxrec,
        hard_maxrec=chosen.hard_maxrec,
        sync_timeout_s=chosen.sync_timeout_s,
        batch_rows=chosen.batch_rows,
        upload_max_rows=chosen.upload_max_rows,
        upload_max_bytes=chosen.upload_max_mib * MiB,
        max_depth=chosen.max_depth,
        max_query_bytes=chosen.max_query_kib * 1024,
    )


def tap_service(archive: OpenedArchive) -> TapService:
    chosen = archive.settings.tap
    fetcher = Fetcher(timeout_s=chosen.upload_timeout_s, allowed_hosts=tuple(chosen.upload_allowed_hosts))
    return TapService(archive.reader_pool, archive.published, archive.sphere, tap_limits(archive.settings), fetcher)


def job_kinds(archive: OpenedArchive) -> tuple[JobKind, ...]:
    """Every kind of job that a worker must know."""
    return (tap_jobs.job_kind(tap_service(archive), execution_duration_s=archive.settings.tap.async_timeout_s),)


def create_app(settings: Settings, archive: OpenedArchive | None = None) -> ASGIApp:
    """The archive as an ASGI application; opens the archive itself if it is not given one."""
    archive = archive or OpenedArchive(settings)
    retention = Limit(int(settings.jobs.retention_d * DAY_S), int(settings.jobs.retention_max_d * DAY_S))
    jobs = JobService(
        archive.engines.writer,
        StoredResults(archive.store, archive.engines.writer),
        job_kinds(archive),
        execution_duration_s=settings.tap.async_timeout_s,
        max_execution_duration_s=settings.tap.async_timeout_max_s,
        retention_s=retention.default or DAY_S,
        max_retention_s=retention.hard or DAY_S,
        max_wait_s=settings.jobs.wait_max_s,
        max_upload_bytes=settings.tap.upload_max_mib * MiB,
    )
    links = DataLinkService(archive.engines.writer, archive.access, archive.store, max_ids=settings.datalink.max_ids)
    services: dict[type, Any] = {
        AccessService: archive.access,
        TapService: tap_service(archive),
        JobService: jobs,
        DataLinkService: links,
        ObjectStore: archive.store,
        PublishedTables: archive.published,
        RequestLimits: RequestLimits(body_bytes=settings.server.max_body_mib * MiB),
    }
    async_s = Limit(settings.tap.async_timeout_s, settings.tap.async_timeout_max_s)
    protocols = (tap.protocol(tap_limits(settings), async_s=async_s, retention_s=retention), *datalink.protocols())
    return application(archive, protocols, services, version=VERSION)


def run_jobs(archive: OpenedArchive) -> None:
    """One job process, until SIGTERM."""
    settings = archive.settings
    run_worker(
        archive.engines.writer,
        job_kinds(archive),
        StoredResults(archive.store, archive.engines.writer),
        access=archive.access,
        limits=WorkerLimits(
            concurrency=settings.jobs.concurrency,
            grace_s=settings.server.stop_timeout_s,
            stalled_after_s=settings.jobs.stalled_after_s,
        ),
    )


@contextmanager
def _store_tools(context: click.Context) -> Any:
    archive = context.find_object(Context).archive  # type: ignore[union-attr]
    yield StoreTools(archive.store, archive.engines.writer)


@click.group()
@click.version_option(VERSION, prog_name="uraniborg")
@click.option("--verbose", is_flag=True, help="Tell more of what is done.")
@click.pass_context
def commands(context: click.Context, verbose: bool) -> None:
    """Uraniborg: an observatory archive in one service. `uraniborg demo` shows it."""
    configure_logging(verbose)
    context.obj = Context(create_app, run_jobs, metadata)


for _command in (demo_command, ingest_commands, *APP_COMMANDS, *ACCESS_COMMANDS, make_commands(_store_tools)):
    commands.add_command(_command)
with_data_dir(commands)


def configure_logging(verbose: bool) -> None:
    """Lines of key and value on standard error, for people on a terminal and JSON for machines elsewhere."""
    level = logging.DEBUG if verbose else logging.INFO
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: Any = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            *shared,
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processor=last))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING if not verbose else level)
    logging.getLogger("uraniborg.access").setLevel(logging.INFO)


def cli() -> None:
    """The console script: an error that is told needs no traceback."""
    try:
        commands(standalone_mode=True)
    except (ArchiveError, StorageError) as problem:
        click.echo(f"uraniborg: {problem}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    cli()
