"""How commands tell what came of their work: lines for people, JSON for programs, progress on stderr, exit status."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import datetime
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from storage import transfer
from storage.findings import Finding

as_json_option = click.option("--json", "as_json", is_flag=True, help="JSON, one object a line.")


@contextmanager
def progress(what: str, total: int, *, shown: bool) -> Iterator[transfer.Progress]:
    """A bar on stderr, of total bytes, if it is to be shown; what moves tells it."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), disable=not shown) as bar:
        task = bar.add_task(what, total=total)
        yield transfer.Progress(lambda size_bytes: bar.advance(task, size_bytes))


def tell_findings(findings: Iterable[Finding], as_json: bool) -> int:
    """Tell each as it comes; how many want an operator."""
    found = still_open = 0
    for finding in findings:
        found += 1
        still_open += finding.is_open
        click.echo(as_line(finding) if as_json else finding.told())
    if not as_json:
        click.echo(f"{found} findings, {still_open} of them left open")
    return still_open


def end(context: click.Context, problems: int) -> None:
    """Leave the command, with status 1 if there were problems."""
    context.exit(1 if problems else 0)


def as_line(value: Any) -> str:
    """A value, with the fields of dataclasses and ISO 8601 of moments in it, as JSON on one line."""
    return json.dumps(_plain(value), ensure_ascii=False)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value.isoformat() if isinstance(value, datetime) else value
