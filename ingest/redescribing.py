"""`uraniborg redescribe`: what held files would be described as now, and, once agreed to, their rows."""

import json
import shlex
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import partial
from itertools import islice
from typing import IO, Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from archive.app.context import Context
from archive.app.opened import OpenedArchive
from archive.holdings.queries import HeldFile
from archive.holdings.redescription import Selection
from archive.settings import Settings
from archive.vo.errors import NotFoundError
from ingest import failures
from ingest.describing import mappings_of
from ingest.parallel import in_processes, processes
from ingest.preview.service import PreviewQueue
from ingest.redescribe import PAGE_FILES, RedescribeService, Redescription

WIDTH = 100  # letters of a value on a terminal
Pages = Iterable[Sequence[HeldFile]]


@click.command("redescribe")
@click.argument("file_ids", metavar="[FILE_ID]...", nargs=-1)
@click.option("--collection", help="Only files of this collection.")
@click.option("--instrument", help="Only files whose instrument_name is this one now.")
@click.option("--all", "everything", is_flag=True, help="All files.")
@click.option("--after", metavar="FILE_ID", help="Only what comes behind this file: goes on where a run was stopped.")
@click.option("--yes", is_flag=True, help="Write without asking.")
@click.option("--workers", type=click.IntRange(1, 64), help="Processes.  [default: ingest.workers]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a file that differs; nothing is asked.")
@click.pass_obj
def redescribe_command(
    context: Context,
    file_ids: tuple[str, ...],
    collection: str | None,
    instrument: str | None,
    everything: bool,
    after: str | None,
    yes: bool,
    workers: int | None,
    as_json: bool,
) -> None:
    """Describe held files anew from their stored bytes, after a mapping was mended; the change is shown first.

    Names, rights, release dates, versions and published tables stay as they are. Exit status 1 if a file was refused:
    its row is left as it was.
    """
    if not (file_ids or collection or instrument or everything):
        raise click.UsageError("name files, a --collection, an --instrument, or --all")
    context.take({"ingest.workers": workers})
    selection = Selection(file_ids, collection, instrument, after)
    service = redescribe_service(context.archive)
    wanted = service.number(selection)
    if file_ids and wanted < len(set(file_ids)) and not (collection or instrument or after):
        raise NotFoundError("some of these are no current files: give file_ids, as dp_id in ivoa.obscore")
    run = Run(context.settings, service, as_json)
    if yes:
        tally = run.go_over(service.pages(selection), wanted, write=True)
    else:
        with tempfile.TemporaryFile("w+") as differing:
            tally = run.go_over(service.pages(selection), wanted, write=False, note=differing)
            found = tally.outcomes["would_change"]
            if found and not as_json and click.confirm(f"{tally}\nWrite this?", err=True):
                written = run.go_over(_named(service, differing), found, write=True, quiet=True)
                tally = Tally(written.outcomes + Counter(refused=tally.outcomes["refused"]), written.columns)
    click.echo(str(tally), err=True)
    if tally.outcomes["refused"]:
        sys.exit(1)


def redescribe_service(archive: OpenedArchive) -> RedescribeService:
    """The service as the archive's settings make it. UnavailableError: its database is not there."""
    settings = archive.settings
    with failures.told():
        writer = archive.engines.writer
    return RedescribeService(
        writer,
        archive.store,
        mappings=mappings_of(settings.ingest.mappings),
        authority=settings.access.authority,
        queue_preview=PreviewQueue(writer, archive.store).queue,
    )


@dataclass
class Tally:
    """How many files had which outcome, and how often each column differed."""

    outcomes: Counter[str] = field(default_factory=Counter)
    columns: Counter[str] = field(default_factory=Counter)

    def add(self, one: Redescription) -> None:
        self.outcomes[one.outcome] += 1
        self.columns.update(list(one.changes))

    def __str__(self) -> str:
        outcomes = ", ".join(f"{number} {outcome}" for outcome, number in self.outcomes.most_common() if number)
        columns = ", ".join(f"{column} {number}" for column, number in self.columns.most_common())
        return f"{outcomes.replace('_', ' ') or 'no file'}" + (f" ({columns})" if columns else "")


@dataclass(frozen=True)
class Run:
    """One command's way over many files."""

    settings: Settings
    service: RedescribeService
    as_json: bool

    def go_over(
        self, pages: Pages, number: int, *, write: bool, note: IO[str] | None = None, quiet: bool = False
    ) -> Tally:
        """Describe the files, and change their rows if `write`. Told are those that differ.

        number: of files, for the progress bar. note: takes the file_ids that would change, a line each. quiet: what
        changed was told before.
        """
        tally, last = Tally(), ""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), disable=self.as_json) as progress:
            task = progress.add_task("writing" if write else "describing", total=number)
            try:
                for one in self._done(pages, number, write=write):
                    tally.add(one)
                    if not (quiet and one.outcome == "changed"):
                        self._tell(one)
                    if note is not None and one.outcome == "would_change":
                        note.write(json.dumps(one.file_id) + "\n")
                    last = one.file_id
                    progress.advance(task)
            except BaseException:  # Ctrl-C too
                progress.stop()
                go_on = f"; --after {shlex.quote(last)} goes on there" if last else ""
                click.echo(f"stopped at {tally.outcomes.total()} of {number} files{go_on}", err=True)
                raise
        return tally

    def _done(self, pages: Pages, number: int, *, write: bool) -> Iterator[Redescription]:
        workers = processes(self.settings.ingest.workers, number)
        if workers > 1:
            return in_processes(self.settings, workers, partial(_worker, write=write), pages)
        work = self.service.write if write else self.service.look
        return (work(held) for page in pages for held in page)

    def _tell(self, one: Redescription) -> None:
        if one.outcome == "unchanged" and not one.findings:
            return
        click.echo(json.dumps(_as_json(one), default=_plain) if self.as_json else "\n".join(_as_text(one)))


def _worker(archive: OpenedArchive, *, write: bool) -> Callable[[HeldFile], Redescription]:
    service = redescribe_service(archive)
    return service.write if write else service.look


def _named(service: RedescribeService, file_ids: IO[str]) -> Iterator[list[HeldFile]]:
    """The files of a list, a page at a time."""
    file_ids.seek(0)
    while lines := list(islice(file_ids, PAGE_FILES)):
        yield from service.pages(Selection(tuple(json.loads(line) for line in lines)))


def _as_json(one: Redescription) -> dict[str, Any]:
    return {
        "file_id": one.file_id,
        "version": one.version,
        "outcome": one.outcome,
        "changes": {
            name: {"old": _short(name, old), "new": _short(name, new)} for name, (old, new) in one.changes.items()
        },
        "findings": [asdict(finding) for finding in one.findings],
        "tables": list(one.tables),
    }


def _as_text(one: Redescription) -> Iterator[str]:
    yield f"{one.outcome.replace('_', ' '):13} {one.file_id}, version {one.version}"
    for name, (old, new) in sorted(one.changes.items()):
        yield f"    {name:20} {_word(name, old)} -> {_word(name, new)}"
    for finding in one.findings:
        if finding.level == "error" or finding.code == "kept":
            yield f"    {finding}"
    for table in one.tables:
        yield f"    {table}: the table and its columns' metadata stay as they are"


def _short(name: str, value: Any) -> Any:
    """The value; of a whole file's header how many cards it has."""
    if name != "header":
        return value
    return f"{sum(len(hdu['cards']) for hdu in value or ())} cards in {len(value or ())} HDUs"


def _plain(value: object) -> str:
    """What JSON has no form for."""
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _word(name: str, value: Any) -> str:
    text = json.dumps(_short(name, value), default=_plain, ensure_ascii=False)
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"
