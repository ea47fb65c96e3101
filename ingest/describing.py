"""`uraniborg ingest`, and `ingest describe`: what would be recorded of a file, and why. Needs no server."""

import json
import sys
from pathlib import Path

import click

from archive.app.context import Context
from archive.app.lazy import LazyGroup
from ingest.describe import describe_path
from ingest.describe.facts import RefusedError
from ingest.instruments import Mapping, load_mappings

SHIPPED = Path(__file__).parent / "instruments" / "mappings"
ingest_commands = LazyGroup(
    "ingest",
    lazy={
        "files": "ingest.commands:files",
        "watch": "ingest.commands:watch",
        "previews": "ingest.preview.commands:previews_command",
        "describe": "ingest.describing:describe",
    },
    default="files",
    help="Take files in: `ingest FILE|DIR...`, or watch a drop folder.",
)


@click.command("describe")
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
