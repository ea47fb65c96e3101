"""`uraniborg settings`: what is in force, and where it came from. Needs no server."""

import json
from collections.abc import Mapping
from typing import Any

import click

from archive.app.context import Context
from archive.settings import CONFIG_VARIABLE, PREFIX, Settings, known_keys


@click.command("settings")
@click.option("--json", "as_json", is_flag=True, help="As a JSON object by key.")
@click.option("--markdown", is_flag=True, help="All keys with their defaults, as Markdown.")
@click.pass_obj
def settings_command(context: Context, as_json: bool, markdown: bool) -> None:
    """The settings in force, and where each came from. Secrets are masked."""
    if markdown:
        click.echo(settings_page(), nl=False)
        return
    rows = list(context.loaded.rows())
    if as_json:
        click.echo(json.dumps({key: {"value": value, "origin": origin} for key, value, origin, _ in rows}, indent=2))
        return
    width = max(len(key) for key, *_ in rows)
    for key, value, origin, description in rows:
        click.echo(f"{key:{width}}  {value or '-':24}  {origin:20}  {description}")


def settings_page() -> str:
    """The reference page of settings: every key, by section, with its default and meaning."""
    sections: dict[str, dict[str, Any]] = {}
    for key, field in known_keys().items():
        section, _, name = key.rpartition(".")
        sections.setdefault(section, {})[name] = field
    return "\n".join([_PREFACE, *(_section(name, fields) for name, fields in sections.items())])


_PREFACE = f"""# Settings

`uraniborg settings` shows what is in force and where each value came from; this page is what
`uraniborg settings --markdown` prints. The later wins: defaults, `uraniborg.toml` (in the data folder, or the file that
`{CONFIG_VARIABLE}` names), variables of the environment, options of the command line.

In the file a key is `name` under `[section]`; in the environment it is `{PREFIX}SECTION__NAME`, a list with commas
between its words. The unit ends a key's name: `_s` seconds, `_h` hours, `_d` days, `_mib` 1024 x 1024 bytes.
"""


def _section(name: str, fields: Mapping[str, Any]) -> str:
    rows = [f"| `{key}` | {_default(field)} | {field.description} |" for key, field in fields.items()]
    about = (Settings.model_fields[name].default.__doc__ or "") if name else "Outside of any section."
    title = f"[{name}]" if name else "The archive"
    return "\n".join([f"## {title}", "", about, "", "| key | default | meaning |", "|---|---|---|", *rows, ""])


def _default(field: Any) -> str:
    if field.default is None:
        return "none"
    return f"`{', '.join(field.default)}`" if isinstance(field.default, list) else f"`{field.default}`"
