"""`uraniborg store ...`: files in and out, and what an operator asks of the store. Each command calls plain functions.

make_commands() is given the way to a store and its upkeep by the front door, which knows the settings. What of it works
on a node elsewhere (--url) opens nothing here.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, is_dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, get_args

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from storage import sites, transfer
from storage.client import Files, LocalFiles, RemoteFiles
from storage.errors import ObjectNotFound
from storage.evict import evict
from storage.findings import Finding, Pace
from storage.janitor import janitor
from storage.model import ObjectVersion, VolumeState
from storage.objects import ObjectService
from storage.posix import PosixVolume
from storage.reconcile import reconcile
from storage.replicate import drain, replicate
from storage.scrub import scrub, verify_version
from storage.status import StoreStatus, VolumeStatus, store_status
from storage.transfer import Transferred
from storage.upkeep import Process, Upkeep, recorded

TOKEN_VARIABLE = "URANIBORG_TOKEN"  # noqa: S105 (the name of a variable)
HOUR_S = 3_600.0
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class StoreTools:
    """What the commands work on: the store, and how it is looked after."""

    objects: ObjectService
    upkeep: Upkeep


class Node(Protocol):
    """What the front door does for a storage node: it knows settings, processes and rights."""

    def serve(self, host: str | None, port: int | None, ngas_port: int | None, workers: int | None) -> int:
        """Make ready what is not, and keep the node's web processes running until SIGTERM; the exit status."""

    def web(self, descriptors: Sequence[int]) -> None:
        """One web process, on listening sockets: that of REST, and that of NGAS if there are two."""

    def keep(self) -> None:
        """Run the standing processes at their times until SIGTERM."""


OpenTools = Callable[[click.Context], AbstractContextManager[StoreTools]]

as_json_option = click.option("--json", "as_json", is_flag=True, help="JSON, one object a line.")
volume_option = click.option("--volume", "volumes", multiple=True, help="This volume only; may be given again.")


def node_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--url, --token-file: a node elsewhere instead of the store of this machine."""
    url = click.option("--url", help="Of a node, e.g. https://archive.example: not the store of this machine.")
    token = click.option(
        "--token-file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help=f"Holds the access token for --url.  [default: the variable {TOKEN_VARIABLE}]",
    )
    return url(token(click.pass_context(command)))


def make_commands(open_tools: OpenTools, node: Callable[[click.Context], Node]) -> click.Group:
    """The group `store`; open_tools opens store and catalogue for one command and closes them after it."""

    @click.group("store")
    def group() -> None:
        """Where the bytes lie: files in and out, volumes, copies, checksums."""

    @contextmanager
    def files(context: click.Context, url: str | None, token_file: Path | None) -> Iterator[Files]:
        if url is None:
            with open_tools(context) as tools:
                yield LocalFiles(tools.objects)
            return
        token = _token(token_file)
        remote = RemoteFiles(url, token)
        try:
            yield remote
        finally:
            remote.close()

    @group.command("put")
    @click.argument("sources", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
    @click.option("--under", default="", help="What the file_ids begin with, e.g. survey/2026/")
    @click.option("--threads", type=click.IntRange(1, 64), default=4, show_default=True, help="Files at a time.")
    @as_json_option
    @node_options
    def put_command(
        context: click.Context, sources: tuple[Path, ...], under: str, threads: int, as_json: bool,
        url: str | None, token_file: Path | None,
    ) -> None:  # fmt: skip
        """Put files, and folders with all in them: the file_id is UNDER, the source's own name, the way within it.

        What is there with the same bytes is not sent again; other bytes make the next version. Exit status 1 if any
        failed: the same command goes on.
        """
        found = list(transfer.to_put(sources, under))
        with (
            files(context, url, token_file) as place,
            _progress("putting", sum(transfer.size_of(path) for path, _ in found), shown=not as_json) as advance,
        ):
            done = transfer.at_once(
                found,
                lambda job: transfer.put_file(place, *job, advance),
                lambda job, error: Transferred(job[1], str(job[0]), "failed", problem=str(error)),
                threads,
                advance.stop,
            )
            _exit(context, _tell_transfers(done, as_json))

    @group.command("get")
    @click.argument("file_ids", nargs=-1, required=True)
    @click.option("--output", type=click.Path(path_type=Path), help="Folder, or of one file its name.  [default: .]")
    @click.option("--version", type=click.IntRange(1), help="Of one file.  [default: the newest]")
    @click.option("--prefix", "by_prefix", is_flag=True, help="FILE_IDS are prefixes: all files that begin so.")
    @click.option("--threads", type=click.IntRange(1, 64), default=4, show_default=True, help="Files at a time.")
    @as_json_option
    @node_options
    def get_command(
        context: click.Context, file_ids: tuple[str, ...], output: Path | None, version: int | None, by_prefix: bool,
        threads: int, as_json: bool, url: str | None, token_file: Path | None,
    ) -> None:  # fmt: skip
        """Get files, verified by SHA-256. What was cut off goes on where it was; what is there already stays.

        Exit status 1 if any failed.
        """
        with files(context, url, token_file) as place:
            jobs = list(_to_get(place, file_ids, version, output, by_prefix))
            with _progress("getting", sum(each.size_bytes for each, _ in jobs), shown=not as_json) as advance:
                done = transfer.at_once(
                    jobs,
                    lambda job: transfer.get_file(place, *job, advance),
                    lambda job, error: Transferred(job[0].file_id, str(job[1]), "failed", problem=str(error)),
                    threads,
                    advance.stop,
                )
                _exit(context, _tell_transfers(done, as_json))

    @group.command("ls")
    @click.argument("prefix", default="")
    @as_json_option
    @node_options
    def ls_command(
        context: click.Context, prefix: str, as_json: bool, url: str | None, token_file: Path | None
    ) -> None:
        """List the files whose file_id begins with PREFIX, of each the newest version."""
        with files(context, url, token_file) as place:
            for version in place.files(prefix):
                click.echo(_json(_shown(version)) if as_json else _line(version))

    @group.command("info")
    @click.argument("file_id")
    @click.option("--version", type=click.IntRange(1), help="[default: the newest]")
    @as_json_option
    @node_options
    def info_command(
        context: click.Context, file_id: str, version: int | None, as_json: bool, url: str | None,
        token_file: Path | None,
    ) -> None:  # fmt: skip
        """What is on record of a file: its digests, its copies, its versions."""
        with files(context, url, token_file) as place:
            held, versions = place.stat(file_id, version), place.versions(file_id)
        if as_json:
            numbers = [{"version": each.version, "removed": each.removed} for each in versions]
            click.echo(_json({**_shown(held), "copies": held.copies, "versions": numbers}))
            return
        for name, value in _shown(held).items():
            click.echo(f"{name:13} {'' if value is None else value}")
        for copy in held.copies:
            verified = "never verified" if copy.verified is None else f"verified {copy.verified:%Y-%m-%d %H:%M}"
            click.echo(f"copy          {copy.volume}  {copy.state}  {verified}  {copy.key}")
        removed = ", ".join(str(each.version) for each in versions if each.removed)
        click.echo(f"versions      {len(versions)}" + (f", of which removed: {removed}" if removed else ""))

    @group.command("verify")
    @click.argument("file_ids", nargs=-1, required=True)
    @click.option("--prefix", "by_prefix", is_flag=True, help="FILE_IDS are prefixes: all files that begin so.")
    @as_json_option
    @click.pass_context
    def verify_command(context: click.Context, file_ids: tuple[str, ...], by_prefix: bool, as_json: bool) -> None:
        """Read all copies of files now, of all their versions, and repair them. Exit status 1 if anything is left."""
        with open_tools(context) as tools:
            service, pace = tools.objects, Pace()

            def findings() -> Iterator[Finding]:
                for file_id in _named(LocalFiles(service), file_ids, by_prefix):
                    for version in service.versions(file_id):
                        if version.removed is None:
                            held = service.stat(file_id, version.version)
                            yield from verify_version(service, held, pace)

            broken = _tell_findings(findings(), as_json)
        if not as_json:
            click.echo(f"{pace.objects} copies, {pace.size_bytes / 1e6:.1f} MB read")
        _exit(context, broken)

    def run(
        context: click.Context,
        process: Process,
        as_json: bool,
        work: Callable[[StoreTools, Pace], Iterator[Finding]],
        pace: Pace | None = None,
    ) -> None:
        pace = pace or Pace()
        with open_tools(context) as tools:
            broken = _tell_findings(recorded(tools.objects, process, work(tools, pace), pace), as_json)
        _exit(context, broken)

    @group.command("scrub")
    @click.option("--all", "again", is_flag=True, help="Every copy, however lately it was verified.")
    @click.option("--rate-mib-s", type=click.FloatRange(0, min_open=True), help="Read no faster.  [default: any rate]")
    @volume_option
    @as_json_option
    @click.pass_context
    def scrub_command(
        context: click.Context, again: bool, rate_mib_s: float | None, volumes: tuple[str, ...], as_json: bool
    ) -> None:
        """Read all copies that are due (upkeep.scrub_cycle_d), compare all checksums, repair out of sound copies.

        Exit status 1 if anything is left that could not be repaired.
        """
        pace = Pace(rate_bytes_s=None if rate_mib_s is None else rate_mib_s * MIB)
        run(
            context, "scrub", as_json,
            lambda tools, pace: scrub(
                tools.objects, cycle_s=tools.upkeep.cycle_s, pace=pace, volumes=volumes or None, again=again
            ),
            pace,
        )  # fmt: skip

    @group.command("reconcile")
    @click.option("--grace-h", type=click.FloatRange(0), help="Leave younger bytes alone (hours).  [default: as set]")
    @click.option("--delete", is_flag=True, help="Remove bytes without a row that are past the grace.")
    @volume_option
    @as_json_option
    @click.pass_context
    def reconcile_command(
        context: click.Context, grace_h: float | None, delete: bool, volumes: tuple[str, ...], as_json: bool
    ) -> None:
        """Compare what lies on the volumes with what is on record.

        Exit status 1 if promised bytes are missing and could not be repaired.
        """
        run(
            context, "reconcile", as_json,
            lambda tools, pace: reconcile(
                tools.objects,
                grace_s=tools.upkeep.grace_s if grace_h is None else grace_h * HOUR_S,
                delete=delete,
                volumes=volumes or None,
                pace=pace,
            ),
        )  # fmt: skip

    @group.command("replicate")
    @click.option("--copies", type=click.IntRange(1, 10), help="[default: upkeep.copies]")
    @as_json_option
    @click.pass_context
    def replicate_command(context: click.Context, copies: int | None, as_json: bool) -> None:
        """Bring every object to its copies, and repair those that are marked. Exit status 1 if any lacks one still."""

        def work(tools: StoreTools, pace: Pace) -> Iterator[Finding]:
            policy = tools.upkeep.policy
            return replicate(tools.objects, policy if copies is None else replace(policy, copies=copies), pace=pace)

        run(context, "replicate", as_json, work)

    @group.command("drain")
    @click.argument("volume")
    @as_json_option
    @click.pass_context
    def drain_command(context: click.Context, volume: str, as_json: bool) -> None:
        """Empty a volume: its copies move to others. Exit status 1 if any has to stay; the same command goes on."""
        run(
            context, "drain", as_json, lambda tools, pace: drain(tools.objects, volume, tools.upkeep.policy, pace=pace)
        )  # fmt: skip

    @group.command("evict")
    @as_json_option
    @click.pass_context
    def evict_command(context: click.Context, as_json: bool) -> None:
        """Make room on volumes of class cache, by the rules of upkeep.cache_*; never the last copies."""
        run(context, "evict", as_json, lambda tools, pace: evict(tools.objects, tools.upkeep.cache, pace=pace))

    @group.command("janitor")
    @as_json_option
    @click.pass_context
    def janitor_command(context: click.Context, as_json: bool) -> None:
        """Clear what writes that were broken off left behind, and finish removals."""
        run(
            context, "janitor", as_json,
            lambda tools, pace: janitor(tools.objects, grace_s=tools.upkeep.grace_s, pace=pace),
        )  # fmt: skip

    @group.command("volumes")
    @click.argument("name", required=False)
    @click.argument("state", required=False, type=click.Choice(get_args(VolumeState)))
    @click.option("--reason", default="", help="Told in the feed of events.")
    @click.option(
        "--make", is_flag=True, help="Make a volume's empty folder a volume: on the new disk after one that died."
    )
    @as_json_option
    @click.pass_context
    def volumes_command(
        context: click.Context, name: str | None, state: VolumeState | None, reason: str, make: bool, as_json: bool
    ) -> None:
        """List the volumes; with NAME and STATE: change a volume's state.

        online: read and written. readonly: read. draining: read, and emptied. offline: left alone.
        """
        with open_tools(context) as tools:
            service = tools.objects
            if name is not None and name not in service.volumes():
                raise ObjectNotFound(f"no volume {name} is on record, only {', '.join(service.volumes())}")
            if make:
                volume = service.store.volume(name or "")
                if not isinstance(volume, PosixVolume):
                    raise click.UsageError("--make is for a folder: a bucket is made where its server is")
                volume.make()
            if name is not None and state is not None:
                service.set_volume_state(name, state, reason)
            for row in service.volumes().values():
                if name in (None, row.name):
                    told = f"{row.name}  {row.kind}  {row.state}  site {row.site}  class {row.storage_class}"
                    click.echo(_json(row) if as_json else told)

    @group.command("follow")
    @click.argument("site")
    @click.option("--url", help="Where it answers, e.g. https://archive.example: it is followed from now on.")
    @click.option("--prefix", default="", help="With --url: only files whose file_id begins so.")
    @click.option("--after", type=click.IntRange(0), default=0, help="With --url: only what is behind this event.")
    @as_json_option
    @click.pass_context
    def follow_command(
        context: click.Context, site: str, url: str | None, prefix: str, after: int, as_json: bool
    ) -> None:
        """Bring here what another site has, as far as its feed goes now; a job goes on with it. Tokens are settings.

        Exit status 1 if it cannot be reached, or has other bytes under a number that is taken here.
        """
        with open_tools(context) as tools:
            rule = tools.upkeep.follow
            if rule is None:
                raise click.UsageError("this store follows no sites")
            if url is not None:
                try:
                    sites.subscribe(tools.objects.engine, site, url, prefix=prefix, after=after)
                except ValueError as error:
                    raise click.BadParameter(str(error), param_hint="--url") from None
            elif prefix or after:
                raise click.UsageError("--prefix and --after go with --url")
        run(context, "follow", as_json, lambda tools, pace: sites.follow_all(tools.objects, rule, pace=pace, only=site))

    @group.command("unfollow")
    @click.argument("site")
    @click.pass_context
    def unfollow_command(context: click.Context, site: str) -> None:
        """Follow a site no more; what came from it stays."""
        with open_tools(context) as tools:
            if not sites.unsubscribe(tools.objects.engine, site):
                raise ObjectNotFound(f"no site {site} is followed")

    @group.command("sites")
    @as_json_option
    @click.pass_context
    def sites_command(context: click.Context, as_json: bool) -> None:
        """The sites that are followed, how far, and what went wrong last."""
        with open_tools(context) as tools:
            for each in sites.sites(tools.objects.engine):
                told = f"{each.name}  {each.url}  {each.prefix or '*'}  up to event {each.last_event}"
                click.echo(_json(each) if as_json else told + (f"  {each.problem}" if each.problem else ""))

    @group.command("rebuild")
    @as_json_option
    @click.pass_context
    def rebuild_command(context: click.Context, as_json: bool) -> None:
        """Make an empty catalogue again from the volumes alone, by the labels that lie with the objects."""
        from storage.rebuild import rebuild

        with open_tools(context) as tools:
            made = rebuild(tools.objects)
        for name, value in asdict(made).items() if not as_json else ():
            click.echo(f"{name:12} {value}")
        if as_json:
            click.echo(_json(made))

    @group.command("export")
    @click.argument("prefix")
    @click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
    @click.option("--container", type=click.IntRange(1), help="Number of a container: only its files.")
    @click.option("--info", "infos", multiple=True, metavar="NAME=VALUE", help="For bag-info.txt; may be given again.")
    @click.option("--threads", type=click.IntRange(1, 64), default=4, show_default=True, help="Files at a time.")
    @as_json_option
    @click.pass_context
    def export_command(
        context: click.Context, prefix: str, folder: Path, container: int | None, infos: tuple[str, ...], threads: int,
        as_json: bool,
    ) -> None:  # fmt: skip
        """Write the files that begin with PREFIX (newest versions) into FOLDER as a BagIt bag, for another archive."""
        from storage.export import export

        info = dict(_pair(each) for each in infos)
        with open_tools(context) as tools:
            chosen = list(tools.objects.files(prefix, container_id=container))
            if not chosen:
                raise ObjectNotFound(f"there is no file whose file_id begins with {prefix!r} to be exported")
            with _progress("exporting", sum(each.size_bytes for each in chosen), shown=not as_json) as advance:
                told = (lambda one: click.echo(_json(one))) if as_json else (lambda one: None)
                files = LocalFiles(tools.objects)
                number = export(files, chosen, folder, info=info, threads=threads, advance=advance, told=told)
        if not as_json:
            click.echo(f"{number} files in {folder}")

    @group.command("status")
    @as_json_option
    @click.pass_context
    def status_command(context: click.Context, as_json: bool) -> None:
        """Volumes, what lies on them, what is wrong, when it was looked after. Exit status 1 if all is not well."""
        with open_tools(context) as tools:
            found = store_status(tools.objects)
        for line in (_json(found.as_json()),) if as_json else _status_lines(found):
            click.echo(line)
        context.exit(0 if found.is_sound else 1)

    @group.command("serve")
    @click.option("--host", help="Address to listen on.  [default: server.host]")
    @click.option("--port", type=int, help="TCP port of the REST face; 0 takes a free one.  [default: server.port]")
    @click.option("--ngas-port", type=int, help="TCP port of the NGAS face.  [default: none is served]")
    @click.option("--workers", type=int, help="Web processes.  [default: server.web_workers]")
    @click.pass_context
    def serve_command(
        context: click.Context, host: str | None, port: int | None, ngas_port: int | None, workers: int | None
    ) -> None:
        """Serve the store without the rest of the archive: /store/v1, /health, /metrics, and NGAS's commands."""
        context.exit(node(context).serve(host, port, ngas_port, workers))

    @group.command("web", hidden=True)
    @click.option("--socket", "descriptors", type=int, multiple=True, help="An open listening socket to serve on.")
    @click.pass_context
    def web_command(context: click.Context, descriptors: tuple[int, ...]) -> None:
        """One web process, as `serve` starts it."""
        node(context).web(descriptors)

    @group.command("keep", hidden=True)
    @click.pass_context
    def keep_command(context: click.Context) -> None:
        """What looks after a node's store, as `serve` starts it."""
        node(context).keep()

    return group


def _to_get(
    place: Files, file_ids: Iterable[str], version: int | None, output: Path | None, by_prefix: bool
) -> Iterator[tuple[ObjectVersion, Path]]:
    named = list(file_ids)
    if by_prefix:
        for prefix in named:
            for held in _beginning(place, prefix):
                yield held, transfer.place_of(held.file_id, prefix, output or Path())
        return
    if version is not None and len(named) > 1:
        raise click.UsageError("--version is of one file")
    for file_id in named:
        held = place.stat(file_id, version)
        if output is not None and len(named) == 1 and not output.is_dir():
            yield held, output
        else:
            yield held, transfer.place_of(file_id, file_id[: file_id.rfind("/") + 1], output or Path())


def _named(place: Files, file_ids: Iterable[str], by_prefix: bool) -> Iterator[str]:
    for file_id in file_ids:
        if not by_prefix:
            place.stat(file_id)  # there is such a file, or who asked is told
            yield file_id
            continue
        for held in _beginning(place, file_id):
            yield held.file_id


def _beginning(place: Files, prefix: str) -> Iterator[ObjectVersion]:
    """The files that begin so; ObjectNotFound if none does, for a slip must not look like success."""
    held = None
    for held in place.files(prefix):
        yield held
    if held is None:
        raise ObjectNotFound(f"there is no file whose file_id begins with {prefix!r}")


def _token(token_file: Path | None) -> str | None:
    if token_file is not None:
        return token_file.read_text().strip()
    return os.environ.get(TOKEN_VARIABLE) or None


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"--info takes NAME=VALUE, not {text!r}")
    return name, value


@contextmanager
def _progress(what: str, total: int, *, shown: bool) -> Iterator[transfer.Progress]:
    columns = (
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), disable=not shown) as progress:
        task = progress.add_task(what, total=total)
        yield transfer.Progress(lambda size_bytes: progress.advance(task, size_bytes))


def _tell_transfers(done: Iterable[Transferred], as_json: bool) -> int:
    """Tell each as it is done; how many failed."""
    failed = 0
    for one in done:
        failed += one.outcome == "failed"
        told = one.problem or f"version {one.version}  {one.size_bytes} bytes  sha256 {one.sha256}"
        click.echo(_json(one) if as_json else f"{one.outcome:10} {one.file_id}  {told}")
    return failed


def _tell_findings(findings: Iterable[Finding], as_json: bool) -> int:
    """Tell each as it comes; how many want an operator."""
    found = still_open = 0
    for finding in findings:
        found += 1
        still_open += finding.is_open
        click.echo(_json(finding) if as_json else finding.told())
    if not as_json:
        click.echo(f"{found} findings, {still_open} of them left open")
    return still_open


def _exit(context: click.Context, problems: int) -> None:
    context.exit(1 if problems else 0)


def _shown(version: ObjectVersion) -> dict[str, Any]:
    names = (
        "file_id",
        "version",
        "size_bytes",
        "media_type",
        "sha256",
        "md5",
        "crc32c",
        "created",
        "removed",
        "container_id",
    )
    return {name: getattr(version, name) for name in names}


def _line(version: ObjectVersion) -> str:
    return f"{version.created:%Y-%m-%d %H:%M}  {version.size_bytes:>14}  {version.version:>4}  {version.file_id}"


def _json(value: Any) -> str:
    return json.dumps(_plain(value), ensure_ascii=False)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value.isoformat() if isinstance(value, datetime) else value


def _status_lines(found: StoreStatus) -> Iterator[str]:
    for volume in found.volumes:
        yield _volume_line(volume)
    yield f"counted {found.counted:%Y-%m-%d %H:%M} UTC; what is marked and what was verified longest ago are as of now"
    for run in found.runs:
        counts = ", ".join(f"{number} {kind}" for kind, number in run.detail["found"].items()) or "no findings"
        seen = f"{run.detail['objects']} objects in {run.detail['seconds']} s"
        yield f"{run.process}  last {run.ended:%Y-%m-%d %H:%M}  {seen}  {counts}  {run.detail['open']} left open"
    yield from found.findings


def _volume_line(volume: VolumeStatus) -> str:
    free = "" if volume.free_bytes is None else f"  free {volume.free_bytes / 1e9:.1f} GB"
    state = volume.state if volume.problem is None else f"{volume.state}, does not answer: {volume.problem}"
    copies = ", ".join(f"{number} {each}" for each, number in sorted(volume.copies.items())) or "none"
    oldest = "" if volume.oldest_verified is None else f", the oldest on {volume.oldest_verified:%Y-%m-%d}"
    return (
        f"{volume.name}  {volume.kind}  {state}{free}  copies: {copies}, {volume.size_bytes / 1e9:.3f} GB on record"
        f"  verified: all but {volume.unverified}{oldest}"
    )
