"""`uraniborg tap query`: what /tap answers, asked from the shell without a server.

The front door gives the service, for it knows the settings that it is made of.
"""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import click

from archive.access.identity import ANONYMOUS
from archive.app.context import Context
from archive.vo.dali import Parameters, UploadedFile
from tap.service import TapService


def make_query_command(service: Callable[[Context], TapService]) -> click.Command:
    """The command. service: the TAP service of the archive that it works on."""

    @click.command("query")
    @click.argument("adql", metavar="ADQL")
    @click.option("--format", "form", default="csv", show_default=True, help="As in RESPONSEFORMAT.")
    @click.option("--maxrec", type=click.IntRange(min=0), help="Rows at the most; the settings' default, if not given.")
    @click.option("--upload", multiple=True, metavar="NAME=FILE", help="A table of TAP_UPLOAD; may be given again.")
    @click.pass_obj
    def query(context: Context, adql: str, form: str, maxrec: int | None, upload: tuple[str, ...]) -> None:
        """Answer a query with what anybody may see, on standard output."""
        tap = service(context)
        items: list[tuple[str, str | UploadedFile]] = [("LANG", "ADQL"), ("QUERY", adql), ("RESPONSEFORMAT", form)]
        if maxrec is not None:
            items.append(("MAXREC", str(maxrec)))
        with ExitStack() as stack:
            for pair in upload:
                name, _, path = pair.partition("=")
                if not path or not Path(path).is_file():
                    raise click.UsageError(f"--upload takes NAME=FILE, not {pair!r}")
                file = stack.enter_context(Path(path).open("rb"))
                items += [("UPLOAD", f"{name},param:{name}"), (name, UploadedFile(file))]
            prepared = tap.prepare(Parameters(items), ANONYMOUS, timeout_s=context.settings.tap.async_timeout_s)
        for chunk in prepared.open(late_failures="raised"):
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
        if prepared.running.overflow:
            click.echo(f"uraniborg: cut at {prepared.running.rows} rows; --maxrec takes more", err=True)

    return query
