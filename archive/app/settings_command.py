"""`uraniborg settings`: what is in force, and where it came from. Needs no server."""

import json

import click

from archive.app.context import Context


@click.command("settings")
@click.option("--json", "as_json", is_flag=True, help="As a JSON object by key.")
@click.pass_obj
def settings_command(context: Context, as_json: bool) -> None:
    """The settings in force, and where each came from. Secrets are masked."""
    rows = list(context.loaded.rows())
    if as_json:
        click.echo(json.dumps({key: {"value": value, "origin": origin} for key, value, origin, _ in rows}, indent=2))
        return
    width = max(len(key) for key, *_ in rows)
    for key, value, origin, description in rows:
        click.echo(f"{key:{width}}  {value or '-':24}  {origin:20}  {description}")
