"""`uraniborg ingest previews`: draw what is held, now and here, without a worker."""

import sys
from collections import Counter

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from archive.app.context import Context
from archive.holdings import previews
from archive.vo.errors import NotFoundError
from ingest import failures
from ingest.preview.service import PreviewService, UndrawableError


@click.command("previews")
@click.option("--missing", is_flag=True, help="Only of files that have none.")
@click.pass_obj
def previews_command(context: Context, missing: bool) -> None:
    """Draw preview and thumbnail of every image, spectrum and cube held. Exit status 1 if some could not be drawn."""
    archive = context.archive
    with failures.told():
        writer = archive.engines.writer
    service = PreviewService(writer, archive.store)
    with writer.connect() as connection:
        wanted = list(previews.pictured_files(connection, missing=missing))
    console = Console(stderr=True)
    counts: Counter[str] = Counter()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        for file_id, version in progress.track(wanted, description="drawing"):
            try:
                counts[service.make(file_id, version)] += 1
            except (UndrawableError, NotFoundError) as problem:
                counts["failed"] += 1
                click.echo(str(problem), err=True)
    click.echo(f"{counts['made']} drawn, {counts['nothing']} with nothing to see, {counts['failed']} failed")
    if counts["failed"]:
        sys.exit(1)
