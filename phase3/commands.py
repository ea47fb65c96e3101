"""`uraniborg phase3`: what authors of reduced data do with their files. `check` needs no server."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from archive.app.lazy import LazyGroup
from archive.vo.errors import UsageError

phase3_commands = LazyGroup(
    "phase3",
    lazy={"check": "phase3.commands:check"},
    help="Reduced data from their authors: check files against the ESO Science Data Products Standard.",
)


@click.command("check")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE|DIR...")
@click.option("--json", "form", flag_value="json", help="One JSON object a file, one line each.")
@click.option("--html", "form", flag_value="html", help="One page of HTML, which needs nothing from elsewhere.")
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file.")
@click.option("--category", default="", help="Check as this category, whatever PRODCATG says.")
@click.option("--publisher", default="ESO/SAF", show_default=True, help="What VOPUB of spectra must say.")
@click.option(
    "--level",
    type=click.Choice(["error", "warning", "info"]),
    default="info",
    show_default=True,
    help="Least level that the text shows.",
)
@click.option("--workers", type=click.IntRange(0, 256), default=0, help="Processes.  [default: as many as help]")
def check(
    paths: tuple[Path, ...],
    form: str | None,
    output: Path | None,
    category: str,
    publisher: str,
    level: str,
    workers: int,
) -> None:
    """Check files of reduced data: their form, keywords, values, and what they say of each other.

    Several files, or a folder, are a delivery: associations and precursors among them are checked too.

    Exit status 0: no errors; 1: a file has errors; 2: something could not be checked at all.
    """
    from phase3 import report as reporting
    from phase3.check import Asked, check_files, check_together, find_files, now_mjd, rules_to_use

    rules = rules_to_use()
    if category and category not in (*rules.category_ids(), *rules.ancillaries):
        raise UsageError(f"{category!r} is no category; there are {', '.join(rules.category_ids())}, and ANCILLARY...")
    found = find_files(paths)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    reports = []
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("checking", total=len(found.fits))
        for each in check_files(found, Asked(now_mjd(), category, publisher), rules, workers=workers):
            reports.append(each)
            progress.advance(task)
    if found.whole:
        reports = check_together(reports, found.others, rules)
    with click.open_file(str(output) if output else "-", "w", encoding="utf-8") as stream:
        if form == "json":
            stream.writelines(reporting.as_json_line(each) + "\n" for each in reports)
        elif form == "html":
            stream.write(reporting.as_html(reports, standard=rules.standard, made=datetime.now(UTC)))
        else:
            text = Console(file=stream, width=None if stream.isatty() else 140)
            for each in reports:
                reporting.print_report(text, each, least=level)
            text.print(reporting.summary(reports), soft_wrap=True)
    if any(each.unreadable for each in reports):
        sys.exit(2)
    sys.exit(0 if all(each.passed for each in reports) else 1)
