"""The front door: the only module that knows every room. `create_app` for uvicorn, `cli` for the shell.

Rooms are imported when they are needed: the base install has no server, and still checks and describes files.
"""

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import click

from archive.app.context import Context
from archive.app.lazy import LazyGroup
from archive.settings import GiB, KiB, MiB, Settings
from archive.vo.errors import ArchiveError
from storage.errors import StorageError

if TYPE_CHECKING:
    from sqlalchemy import MetaData
    from starlette.types import ASGIApp

    from archive.app.opened import OpenedArchive
    from archive.discovery.service import DiscoveryService
    from archive.jobs.context import JobKind
    from archive.jobs.service import JobService
    from archive.vo.answers import Answers
    from datalink.service import DataLinkService
    from storage.commands import Node, StoreTools
    from storage.ngas.settings import NgasSettings
    from storage.objects import ObjectService
    from storage.upkeep import Upkeep
    from tap.own_tables import OwnTablesService
    from tap.service import Limits, TapService

VERSION = version("uraniborg")
DAY_S = 86_400
HOUR_S = 3_600
PRELOADED = (
    "archive.app.application",
    "archive.jobs.worker",
    "archive.portal.pages",
    "archive.vo.formats",
    "astropy.coordinates",
    "datalink.protocol",
    "hips.protocol",
    "ingest.preview.service",
    "tap.jobs",
    "tap.protocol",
    "tap.self_test",
    "uvicorn.protocols.http.httptools_impl",
    "uvloop",
)


def metadata() -> "Sequence[MetaData]":
    """The tables of every room: what migrations compare the database with."""
    from archive.access import tables as access
    from archive.holdings import tables as holdings
    from archive.jobs import tables as jobs
    from storage import tables as store

    return (holdings.metadata, store.metadata, access.metadata, jobs.metadata)


def tap_limits(settings: Settings) -> "Limits":
    from tap.service import Limits

    chosen = settings.tap
    return Limits(
        default_maxrec=chosen.default_maxrec,
        hard_maxrec=chosen.hard_maxrec,
        sync_timeout_s=chosen.sync_timeout_s,
        sync_estimate_s=chosen.sync_estimate_s,
        batch_rows=chosen.batch_rows,
        upload_max_rows=chosen.upload_max_rows,
        upload_max_bytes=chosen.upload_max_mib * MiB,
        max_depth=chosen.max_depth,
        max_query_bytes=chosen.max_query_kib * KiB,
        cost_per_s=chosen.cost_per_s,
    )


def tap_service(archive: "OpenedArchive") -> "TapService":
    from tap.service import TapService
    from tap.upload import Fetcher

    chosen = archive.settings.tap
    fetcher = Fetcher(timeout_s=chosen.upload_timeout_s, allowed_hosts=tuple(chosen.upload_allowed_hosts))
    return TapService(
        archive.reader_pool,
        archive.published,
        archive.sphere,
        tap_limits(archive.settings),
        fetcher,
        archive.settings.public_url,
        archive.settings.title,
        archive.own_views,
    )


def own_tables_service(archive: "OpenedArchive") -> "OwnTablesService":
    from tap.own_tables import OwnTablesService

    chosen = archive.settings.own_tables
    return OwnTablesService(
        archive.own_views,
        archive.own_tables,
        archive.access,
        max_bytes=chosen.load_max_mib * MiB,
        at_once=chosen.loads,
    )


def discovery_service(archive: "OpenedArchive") -> "DiscoveryService":
    from archive.discovery.service import DiscoveryService, Limits

    settings = archive.settings
    chosen = settings.discovery
    limits = Limits(
        default_maxrec=chosen.default_maxrec,
        hard_maxrec=chosen.hard_maxrec,
        timeout_s=chosen.timeout_s,
        batch_rows=settings.tap.batch_rows,
        max_radius_deg=chosen.max_radius_deg,
    )
    return DiscoveryService(archive.reader_pool, archive.published, archive.sphere, limits, publisher=settings.title)


def portal_services(archive: "OpenedArchive", tap: "TapService", links: "DataLinkService") -> dict[type, Any]:
    """The portal, which asks what any client may ask: ADQL, links, surveys."""
    from collections.abc import Mapping

    import pyarrow as pa

    from archive.access.identity import User
    from archive.jobs.pages import JobPages
    from archive.portal.coverage import Coverages
    from archive.portal.jobs import PortalJobPages
    from archive.portal.names import ArchiveNames
    from archive.portal.pages import Pages
    from archive.portal.service import Limits, PortalService
    from archive.portal.sesame import Sesame
    from archive.portal.sources import DataLink, Sources
    from hips.shelf import Shelf

    settings = archive.settings
    chosen = settings.portal
    shelf = Shelf(settings.hips_path)

    def ask(adql: str, *, maxrec: int) -> pa.Table:
        return tap.table(adql, maxrec=maxrec, timeout_s=chosen.timeout_s)

    def links_of(dids: Sequence[str], user: User) -> Mapping[str, Sequence[DataLink]]:
        found: dict[str, list[DataLink]] = {}
        for link in links.links(dids, user, settings.public_url).rows:
            if link.access_url is not None:
                told = (link.content_type, link.content_length, bool(link.link_authorized))
                row = DataLink(link.semantics, link.local_semantics, link.access_url, link.description or "", *told)
                found.setdefault(link.id, []).append(row)
        return found

    def surveys() -> Sequence[tuple[str, Mapping[str, str]]]:
        return [(each.name, each.properties(settings.public_url)) for each in shelf.all_published()]

    service = PortalService(
        Sources(ask, links_of, surveys),
        ArchiveNames(ask, archive.published, most=chosen.names, look_again_s=chosen.look_again_s),
        Coverages(ask, order=chosen.coverage_order, most=chosen.coverage_footprints, look_again_s=chosen.look_again_s),
        archive.published,
        Sesame(chosen.sesame_url, timeout_s=chosen.sesame_timeout_s) if chosen.sesame_url else None,
        Limits(page_rows=chosen.page_rows, facet_rows=chosen.facet_rows),
    )
    pages = Pages(title=settings.title, description=chosen.description, public_url=settings.public_url, version=VERSION)
    return {PortalService: service, Pages: pages, JobPages: PortalJobPages(pages)}


def job_kinds(archive: "OpenedArchive") -> "tuple[JobKind, ...]":
    """Every kind of job that a worker must know."""
    from ingest.preview import service as preview
    from tap import jobs, own_tables

    return (
        jobs.job_kind(tap_service(archive), execution_duration_s=archive.settings.tap.async_timeout_s),
        own_tables.job_kind(own_tables_service(archive)),
        preview.job_kind(preview.PreviewService(archive.engines.writer, archive.store)),
    )


def job_service(archive: "OpenedArchive") -> "JobService":
    from archive.app.results import StoredResults
    from archive.jobs.service import JobService

    settings = archive.settings
    return JobService(
        archive.engines.writer,
        StoredResults(archive.store, archive.engines.writer),
        job_kinds(archive),
        execution_duration_s=settings.tap.async_timeout_s,
        max_execution_duration_s=settings.tap.async_timeout_max_s,
        retention_s=int(settings.jobs.retention_d * DAY_S),
        max_retention_s=int(settings.jobs.retention_max_d * DAY_S),
        max_wait_s=settings.jobs.wait_max_s,
        max_upload_bytes=settings.tap.upload_max_mib * MiB,
    )


def kept_answers(archive: "OpenedArchive") -> "Answers":
    from archive.holdings.state import DataState
    from archive.vo.answers import Answers

    chosen = archive.settings.tap
    return Answers(
        DataState(archive.engines.writer).now,
        keep_s=chosen.keep_s,
        answer_bytes=chosen.keep_answer_kib * KiB,
        all_bytes=chosen.keep_mib * MiB,
    )


def create_app(settings: Settings, archive: "OpenedArchive | None" = None) -> "ASGIApp":
    """The archive as an ASGI application; opens the archive itself if it is not given one."""
    from archive.access.service import AccessService
    from archive.app import store
    from archive.app.application import application
    from archive.app.opened import OpenedArchive
    from archive.discovery import protocol as discovery
    from archive.discovery.service import DiscoveryService
    from archive.holdings.published import PublishedTables
    from archive.holdings.table_documents import TableDocuments
    from archive.jobs.service import JobService
    from archive.portal import router as portal
    from archive.registry.feed import Feed
    from archive.registry.router import router as registry
    from archive.served import ServedProtocol
    from archive.vo.answers import Answers
    from archive.vo.capability import Limit
    from archive.vo.dali import RequestLimits
    from archive.vo.line import Line
    from datalink import protocol as datalink
    from datalink.service import DataLinkService
    from hips import protocol as hips
    from hips.shelf import Shelf
    from storage.objects import ObjectService
    from tap import protocol as tap
    from tap.own_tables import OwnTablesService
    from tap.self_test import self_test
    from tap.service import TapService

    archive = archive or OpenedArchive(settings)
    writer = archive.engines.writer
    retention = Limit(int(settings.jobs.retention_d * DAY_S), int(settings.jobs.retention_max_d * DAY_S))
    async_s = Limit(settings.tap.async_timeout_s, settings.tap.async_timeout_max_s)
    searches = discovery_service(archive)
    queries = tap_service(archive)
    links = DataLinkService(writer, archive.access, archive.store, max_ids=settings.datalink.max_ids)
    services: dict[type, Any] = {
        AccessService: archive.access,
        DiscoveryService: searches,
        TapService: queries,
        OwnTablesService: own_tables_service(archive),
        Line: Line(
            settings.database.pool_size,
            most_waiting=settings.tap.queue_max,
            wait_s=settings.tap.queue_timeout_s,
        ),
        JobService: job_service(archive),
        DataLinkService: links,
        ObjectService: archive.objects,
        Shelf: Shelf(settings.hips_path),
        Feed: Feed(writer, max_events=settings.registry.max_events),
        PublishedTables: archive.published,
        TableDocuments: TableDocuments(archive.published),
        Answers: kept_answers(archive),
        RequestLimits: RequestLimits(
            body_bytes=settings.server.max_body_mib * MiB,
            value_bytes=2 * settings.tap.max_query_kib * KiB,  # TAP itself says what is too long
        ),
        **portal_services(archive, queries, links),
    }
    protocols = (
        tap.protocol(
            tap_limits(settings),
            async_s=async_s,
            retention_s=retention,
            failed=self_test(archive.reader_pool, archive.sphere).failed,
        ),
        *datalink.protocols(),
        *discovery.protocols(searches.limits),
        *hips.protocols(),
        ServedProtocol("/events", "Feed of changes", registry),
        store.protocol(archive),
        ServedProtocol("", "Pages", portal.pages_router),
        ServedProtocol("", "What pages ask", portal.data_router),
    )
    return application(archive, protocols, services, version=VERSION)


def new_context() -> Context:
    """What a command is given."""
    return Context(create_app, run_jobs, metadata, preload, cli)


def preload() -> None:
    """Import what web and job processes are made of, and what they would else import for their first requests."""
    for name in PRELOADED:
        import_module(name)


def run_jobs(archive: "OpenedArchive") -> None:
    """One job process, until SIGTERM."""
    from archive.app.results import StoredResults
    from archive.jobs.worker import WorkerLimits, run_worker
    from storage.jobs import blueprint

    settings = archive.settings
    run_worker(
        archive.engines.writer,
        job_kinds(archive),
        StoredResults(archive.store, archive.engines.writer),
        access=archive.access,
        blueprints={"store": blueprint(lambda: archive.objects, upkeep(settings))},
        limits=WorkerLimits(
            concurrency=settings.jobs.concurrency,
            grace_s=settings.server.stop_timeout_s,
            stalled_after_s=settings.jobs.stalled_after_s,
        ),
    )


def upkeep(settings: Settings) -> "Upkeep":
    """How the store is looked after, as the settings say."""
    from archive.app.store import ngas_settings
    from storage.evict import CacheRule
    from storage.replicate import Policy
    from storage.sites import FollowRule
    from storage.upkeep import Upkeep

    chosen = settings.upkeep

    def days(value: float | None) -> float | None:
        return None if value is None else value * DAY_S

    return Upkeep(
        policy=Policy(max(chosen.copies, settings.store.copies), chosen.sites),
        cycle_s=chosen.scrub_cycle_d * DAY_S,
        all_s=chosen.replicate_all_d * DAY_S,
        rate_bytes_s=chosen.scrub_mib_s * MiB,
        max_load=chosen.scrub_max_load,
        run_s=chosen.run_s,
        grace_s=settings.store.orphan_grace_h * HOUR_S,
        delete_orphans=chosen.delete_orphans,
        cache=CacheRule(
            max_bytes=None if chosen.cache_max_gib is None else int(chosen.cache_max_gib * GiB),
            max_age_s=days(chosen.cache_max_age_d),
            max_idle_s=days(chosen.cache_max_idle_d),
            keep=chosen.cache_keep_copies,
        ),
        follow=FollowRule(
            settings.data_dir / "transfers",
            {name: token.get_secret_value() for name, token in chosen.site_tokens.items()},
            chosen.site_stall_s,
            chosen.site_retried_events,
        ),
        subscribers=ngas_settings(settings, VERSION),
        schedule={
            "scrub": chosen.scrub_at,
            "reconcile": chosen.reconcile_at,
            "replicate": chosen.replicate_at,
            "drain": chosen.drain_at,
            "janitor": chosen.janitor_at,
            "evict": chosen.evict_at,
            "follow": chosen.follow_at,
            "deliver": chosen.deliver_at,
        },
    )


@contextmanager
def store_tools(context: click.Context) -> "Iterator[StoreTools]":
    """What the commands of the store, which knows nothing of the archive, work with."""
    from storage.commands import StoreTools

    ours = context.find_object(Context)
    assert ours is not None
    yield StoreTools(ours.archive.objects, upkeep(ours.settings))


@contextmanager
def store_delivery(context: click.Context) -> "Iterator[tuple[ObjectService, NgasSettings]]":
    """What deliveries to NGAS subscribers are made from."""
    from archive.app.store import ngas_settings

    ours = context.find_object(Context)
    assert ours is not None
    yield ours.archive.objects, ngas_settings(ours.settings, VERSION)


def store_node(context: click.Context) -> "Node":
    """What runs a storage node."""
    from archive.app.store import StoreNode

    ours = context.find_object(Context)
    assert ours is not None
    return StoreNode(ours, VERSION, upkeep)


def __getattr__(name: str) -> Any:
    """`store_commands`, `tap_query`, `tap_explain`, made when asked for: they take their tools from here."""
    if name == "store_commands":
        from storage.commands import make_commands
        from storage.ngas.deliver_command import make_deliver_command

        group = make_commands(store_tools, store_node)
        group.add_command(make_deliver_command(store_delivery))
        return group
    if name in ("tap_query", "tap_explain"):
        from tap.query_command import make_explain_command, make_query_command

        make = make_query_command if name == "tap_query" else make_explain_command
        return make(lambda context: tap_service(context.archive))
    raise AttributeError(name)


tap_commands = LazyGroup(
    "tap",
    lazy={
        "check": "tap.commands:check_command",
        "explain": "uraniborg:tap_explain",
        "query": "uraniborg:tap_query",
    },
    help="Queries in ADQL.",
)


@click.group(
    cls=LazyGroup,
    lazy={
        "demo": "ingest.demo:demo_command",
        "serve": "archive.app.commands:serve_command",
        "worker": "archive.app.commands:worker_command",
        "web": "archive.app.commands:web_command",
        "ingest": "ingest.describing:ingest_commands",
        "db": "archive.app.commands:database_commands",
        "hips": "hips.commands:hips_commands",
        "store": "uraniborg:store_commands",
        "user": "archive.access.commands:user_commands",
        "table": "ingest.table_commands:table_commands",
        "tap": "uraniborg:tap_commands",
        "token": "archive.access.commands:token_commands",
        "grant": "archive.access.commands:grant_commands",
        "phase3": "phase3.commands:phase3_commands",
        "portal": "archive.portal.commands:portal_commands",
        "doctor": "archive.app.commands:doctor_command",
        "backup": "archive.app.backup_commands:backup_command",
        "restore": "archive.app.backup_commands:restore_command",
        "redescribe": "ingest.redescribing:redescribe_command",
        "withdraw": "archive.app.withdraw_command:withdraw_command",
        "settings": "archive.app.settings_command:settings_command",
    },
)
@click.version_option(VERSION, prog_name="uraniborg")
@click.option("--verbose", is_flag=True, help="Tell more of what is done.")
@click.pass_context
def commands(context: click.Context, verbose: bool) -> None:
    """Uraniborg: an observatory archive in one service. `uraniborg demo` shows it."""
    from archive.app.logs import configure_logging

    configure_logging(logging.DEBUG if verbose else logging.WARNING)
    context.obj = new_context()


def cli(words: Sequence[str] | None = None) -> None:
    """The console script: an error that is told needs no traceback. words: None for those of the process."""
    try:
        commands(args=words)
    except (ArchiveError, StorageError) as problem:
        click.echo(f"uraniborg: {problem}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    cli()
