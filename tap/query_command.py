"""`uraniborg tap query` and `uraniborg tap explain`: what /tap answers, and how, asked from the shell without a server.

The front door gives the service, for it knows the settings that it is made of.
"""

import json
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


def make_explain_command(service: Callable[[Context], TapService]) -> click.Command:
    """The command. service: the TAP service of the archive that it works on."""

    @click.command("explain")
    @click.argument("adql", metavar="ADQL")
    @click.option("--analyze", is_flag=True, help="Run the query too, and tell what each step of it took.")
    @click.option("--maxrec", type=click.IntRange(min=0), help="Rows at the most; the settings' default, if not given.")
    @click.option("--json", "as_json", is_flag=True, help="As JSON, with the SQL and its parameters.")
    @click.pass_obj
    def explain(context: Context, adql: str, analyze: bool, maxrec: int | None, as_json: bool) -> None:
        """Tell how PostgreSQL would answer a query: its plan, and how long it is expected to take.

        The estimate is the planner's, with matches on the sky put right, which it takes to be far too dear; it is what
        quotes of jobs tell, and what a synchronous query is refused by (tap.sync_estimate_s).
        """
        tap = service(context)
        chosen = context.settings.tap
        rows = chosen.default_maxrec if maxrec is None else maxrec
        told = tap.explain(adql, maxrec=rows, analyze=analyze, timeout_s=chosen.async_timeout_s)
        if as_json:
            document = {
                "estimate_s": told.estimate_s,
                "sync_estimate_s": chosen.sync_estimate_s,
                "sql": told.statement.sql,
                "parameters": told.statement.parameters,
                "plan": told.plan,
            }
            click.echo(json.dumps(document, indent=2, default=str))
            return
        click.echo("\n".join(told.plan))
        if told.estimate_s is not None:
            refused = told.estimate_s > chosen.sync_estimate_s
            verdict = f", more than /tap/sync takes ({chosen.sync_estimate_s:g} s): /tap/async does" if refused else ""
            click.echo(f"about {told.estimate_s:.2g} s by estimate{verdict}")

    return explain
