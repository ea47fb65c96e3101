"""`uraniborg ingest files` and `watch`: files by name, and a drop folder."""

import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from archive.app.context import Context
from archive.vo.errors import ArchiveError
from ingest.dropfolder import Claim, DropFolder
from ingest.opening import ingest_service
from ingest.parallel import Parallel
from ingest.service import IngestService, Offer, Report, Seam, offer, offers
from storage.errors import StorageError

log = logging.getLogger(__name__)


@click.command("files")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--collection", help="Collection of all these files, instead of the first folder's name.")
@click.option("--root", type=click.Path(file_okay=False, path_type=Path), help="Folder that files are named from.")
@click.option("--replace", is_flag=True, help="A file of the same name from elsewhere is its next version.")
@click.option("--workers", type=click.IntRange(1, 64), help="Processes.  [default: ingest.workers]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a file, one line each.")
@click.pass_obj
def files(
    context: Context,
    paths: tuple[Path, ...],
    collection: str | None,
    root: Path | None,
    replace: bool,
    workers: int | None,
    as_json: bool,
) -> None:
    """Take files in where they lie. Exit status 1 if any was quarantined (left where it is, with its findings told)."""
    context.take({"ingest.workers": workers})
    settings = context.settings
    found = offers(paths, collection=collection, root=root, default_collection=settings.ingest.default_collection)
    parallel = Parallel(settings, replace, settings.ingest.workers)
    service = ingest_service(context.archive, replace=replace)
    reports = ingest_all(service, found, show=not as_json, as_json=as_json, parallel=parallel)
    if any(report.outcome == "quarantined" for report in reports):
        sys.exit(1)


@click.command("watch")
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


def ingest_all(
    service: IngestService,
    found: Sequence[Offer],
    *,
    show: bool,
    as_json: bool = False,
    quiet: bool = False,
    parallel: Parallel | None = None,
) -> list[Report]:
    """Take all offers in, with a progress bar (show); quiet: only quarantined files are told one by one.

    parallel: processes of their own instead of this one, where there are files enough.
    What is wrong with a file is in its report. UnavailableError, StorageError: the archive failed, and the run ends.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    reports: list[Report] = []
    with Progress(*columns, console=console, disable=not show, transient=False) as progress:
        task = progress.add_task("ingesting", total=len(found))
        try:
            is_shared = parallel is not None and parallel.is_worth_it(len(found))
            for report in parallel.take(found) if parallel and is_shared else map(service.take, found):
                reports.append(report)
                progress.advance(task)
                if as_json or report.outcome == "quarantined" or not (quiet or console.is_terminal):
                    _tell(report, as_json)
        except (ArchiveError, StorageError):
            progress.stop()
            click.echo(f"stopped at {len(reports)} of {len(found)} files", err=True)
            raise
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
