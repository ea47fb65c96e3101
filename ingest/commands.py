"""`uraniborg ingest`: files by name, a folder to watch, and what would be recorded of a file and why."""

import json
import logging
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from archive.app.context import Context
from archive.app.opened import OpenedArchive
from archive.vo.errors import ArchiveError
from ingest.describe import describe_path
from ingest.describe.facts import RefusedError
from ingest.dropfolder import Claim, DropFolder
from ingest.instruments import Mapping, load_mappings
from ingest.service import IngestService, Offer, Report, Seam, offer, offers

log = logging.getLogger(__name__)
GiB = 1024**3
SHIPPED = Path(__file__).parent / "instruments" / "mappings"


class _FilesByDefault(click.Group):
    """`ingest FILE...` is `ingest files FILE...`: the word is only needed for a file called watch or describe."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands:
            args = ["files", *args]
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, "--help"):
            args = ["files", *args]
        return super().parse_args(ctx, args)


@click.group("ingest", cls=_FilesByDefault)
def ingest_commands() -> None:
    """Take files in: `ingest FILE|DIR...`, or watch a drop folder."""


@ingest_commands.command("files")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--collection", help="Collection of all these files, instead of the first folder's name.")
@click.option("--root", type=click.Path(file_okay=False, path_type=Path), help="Folder that files are named from.")
@click.option("--replace", is_flag=True, help="A file of the same name from elsewhere is its next version.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a file, one line each.")
@click.pass_obj
def files(
    context: Context, paths: tuple[Path, ...], collection: str | None, root: Path | None, replace: bool, as_json: bool
) -> None:
    """Take files in where they lie. Exit status 1 if any was quarantined (left where it is, with its findings told)."""
    found = offers(
        paths, collection=collection, root=root, default_collection=context.settings.ingest.default_collection
    )
    reports = ingest_all(ingest_service(context.archive, replace=replace), found, show=not as_json, as_json=as_json)
    if any(report.outcome == "quarantined" for report in reports):
        sys.exit(1)


@ingest_commands.command("watch")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--collection", help="Collection of all files, instead of the first folder's name.")
@click.option("--once", is_flag=True, help="Take what is there and end.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a file, one line each.")
@click.pass_obj
def watch(context: Context, folder: Path, collection: str | None, once: bool, as_json: bool) -> None:
    """Take in what is put into FOLDER: files move to accepted/, or to quarantine/ with a report beside them."""
    from watchfiles import watch as changes

    service = ingest_service(context.archive, replace=True)
    default = collection or context.settings.ingest.default_collection
    with DropFolder(folder) as drop:
        take_claims(service, drop, folder, collection, default, as_json=as_json)
        if once:
            return
        for _ in changes(folder, recursive=True, yield_on_timeout=True, rust_timeout=5000):
            take_claims(service, drop, folder, collection, default, as_json=as_json)


def take_claims(
    service: IngestService,
    drop: DropFolder,
    folder: Path,
    collection: str | None,
    default_collection: str,
    *,
    as_json: bool = False,
    passed: Callable[[Seam], None] = lambda seam: None,
) -> list[Report]:
    """Take in all that lies in the drop folder now."""
    reports = []
    for claim in drop.claim():
        passed("claim")
        report = service.take(_offer_of(claim, folder, collection, default_collection))
        if report.outcome == "quarantined":
            drop.quarantine(claim, report.as_text())
        else:
            drop.accept(claim)
        passed("farewell")
        _tell(report, as_json)
        reports.append(report)
    return reports


def _offer_of(claim: Claim, folder: Path, collection: str | None, default_collection: str) -> Offer:
    source = str(folder.absolute() / claim.relative_path)
    return offer(claim.path, claim.relative_path, source, collection, default_collection)


@ingest_commands.command("describe")
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--collection", default="default", show_default=True)
@click.option("--json", "as_json", is_flag=True)
@click.option("--mappings", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Your own mappings.")
@click.pass_obj
def describe(context: Context, path: Path, collection: str, as_json: bool, mappings: Path | None) -> None:
    """What would be recorded of a file, and why: each field, its value, and where it came from. Nothing is stored."""
    try:
        description = describe_path(
            path,
            collection=collection,
            relative_path=path.name,
            mappings=mappings_of(mappings or context.settings.ingest.mappings),
            authority=context.settings.access.authority,
        )
    except RefusedError as refusal:
        for finding in refusal.findings:
            click.echo(str(finding))
        sys.exit(1)
    if as_json:
        rows = [{"field": f.field, "value": f.value, "source": f.source, "why": f.why} for f in description.facts]
        click.echo(json.dumps(rows, default=str, indent=2))
        return
    for fact in description.facts:
        if fact.field != "header":
            click.echo(f"{fact.field:20} {_short(fact.value):40} {fact.source}{': ' + fact.why if fact.why else ''}")
    for finding in description.findings:
        click.echo(str(finding))


def _short(value: object, width: int = 60) -> str:
    text = str(value)
    return text if len(text) <= width else text[: width - 1] + "…"


def mappings_of(folder: Path | None) -> tuple[Mapping, ...]:
    """The mappings shipped, and an operator's own, which replace those of the same name."""
    return load_mappings(SHIPPED, *([folder] if folder else []))


def ingest_service(
    archive: OpenedArchive, *, replace: bool = False, passed: Callable[[Seam], None] = lambda seam: None
) -> IngestService:
    """The service as the archive's settings make it."""
    settings = archive.settings
    return IngestService(
        archive.engines.writer,
        archive.store,
        archive.sphere,
        mappings=mappings_of(settings.ingest.mappings),
        authority=settings.access.authority,
        reader_role=archive.urls.reader.username or "",
        max_file_bytes=int(settings.ingest.max_file_gib * GiB),
        replace=replace,
        passed=passed,
    )


def ingest_all(
    service: IngestService, found: Iterable[Offer], *, show: bool, as_json: bool = False, quiet: bool = False
) -> list[Report]:
    """Take all offers in, with a progress bar (show); quiet: only quarantined files are told one by one."""
    found = list(found)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    reports: list[Report] = []
    with Progress(*columns, console=console, disable=not show, transient=False) as progress:
        task = progress.add_task("ingesting", total=len(found))
        for each in found:
            reports.append(service.take(each))
            progress.advance(task)
            if as_json or reports[-1].outcome == "quarantined" or not (quiet or console.is_terminal):
                _tell(reports[-1], as_json)
    return reports


def _tell(report: Report, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(report.as_json()))
        return
    click.echo(f"{report.outcome:12} {report.file_id or report.path}")
    for finding in report.findings:
        if finding.level == "error":
            click.echo(f"             {finding}")


def require_folder(path: Path, what: str) -> Path:
    """The folder, or an error that says what was looked for."""
    if not path.is_dir():
        raise ArchiveError(f"{path}: {what} is not here")
    return path
