"""A Sphinx extension: what the reference says is asked of the code while the site is built, so that it is true.

`{asked} settings` (or `endpoints`, `formats`, `tables`, `functions`, `errors`, `modules PACKAGE`) stands in a page for
the Markdown that a function below returns.
"""

import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from inspect import getdoc
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from docutils.nodes import Node
from psycopg_pool import ConnectionPool
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import uraniborg
from archive.app.opened import OpenedArchive, volume
from archive.app.settings_command import settings_page
from archive.holdings.declared import SCHEMAS
from archive.settings import Loaded
from archive.vo import errors
from archive.vo.formats import FORMATS
from tap.adql.functions import ADQL_FUNCTIONS
from tap.adql.geometry import GEOMETRY
from tap.adql.user_functions import USER_DEFINED


def settings() -> str:
    """Every key, as `uraniborg settings --markdown` has it, without the title."""
    return settings_page().partition("\n")[2]


def endpoints() -> str:
    """Every route by its room, from the OpenAPI document of the application."""
    sections: dict[str, list[str]] = {}
    for path, methods in openapi()["paths"].items():
        for method, operation in methods.items():
            about = " ".join(operation.get("description", "").split())
            parameters = ", ".join(f"`{one['name']}`" for one in operation.get("parameters", ()) if one["in"] != "path")
            tag = (operation.get("tags") or ["Other"])[0]
            sections.setdefault(tag, []).append(row(f"`{method.upper()} {path}`", about, parameters))
    head = ["| request | answer | parameters |", "|---|---|---|"]
    return "\n\n".join("\n".join([f"## {tag}", "", *head, *rows]) for tag, rows in sections.items())


def openapi() -> dict[str, Any]:
    """The document that a served archive answers at /openapi.json; no database is asked for it."""
    with tempfile.TemporaryDirectory() as folder:
        nowhere = "postgresql://{}@127.0.0.1:1/none"
        options = {f"database.{role}_url": nowhere.format(role) for role in ("owner", "writer", "reader")}
        chosen = Loaded.load(Path(folder), {**options, "database.sphere": "plain"}).settings
        volume(chosen, chosen.store.kind, create=True)
        archive = OpenedArchive(chosen)
        archive.reader_pool = ConnectionPool(open=False)  # an open one would begin to look for its database
        app: Any = uraniborg.create_app(chosen, archive)
        while not hasattr(app, "openapi"):
            app = app._app  # the layers that every request goes through
        with warnings.catch_warnings(action="ignore"):  # GET and HEAD of one handler share its operationId
            return dict(app.openapi())


def formats() -> str:
    """What RESPONSEFORMAT takes, in the order in which errors and capabilities list it."""
    head = ["| media type | other names | file |", "|---|---|---|"]
    names = (", ".join(f"`{alias}`" for alias in form.aliases) for form in FORMATS)
    rows = [
        row(f"`{form.media_type}`", told, f"`.{form.extension}`") for form, told in zip(FORMATS, names, strict=True)
    ]
    return "\n".join([*head, *rows])


def tables() -> str:
    """The tables that every archive publishes, column by column."""
    return "\n\n".join("\n".join(_table(table)) for schema in SCHEMAS for table in schema.tables)


def _table(table: Any) -> Iterator[str]:
    yield from (f"## {table.name}", "", table.description or "", "")
    yield from ("| column | type | unit | UCD | meaning |", "|---|---|---|---|---|")
    for column in table.columns:
        kind = column.datatype + (f"[{column.arraysize}]" if column.arraysize else "")
        yield row(f"`{column.name}`", kind, column.unit or "", column.ucd or "", column.description or "")


def functions() -> str:
    """Every function that a query may call, with the examples of the user-defined ones."""
    shapes = [row(f"`{one.usage}`", one.description) for one in GEOMETRY.values()]
    adql = [row(f"`{one.form}`", one.description) for one in ADQL_FUNCTIONS.values()]
    ours = [
        row(f"`{one.form}`", one.description, " ".join(f"`{example.call}`" for example in one.examples))
        for one in USER_DEFINED
    ]
    head = ["| function | what it gives |", "|---|---|"]
    return "\n".join(
        [
            *("## Geometry", "", *head, *shapes, ""),
            *("## Mathematics, text, aggregates", "", *head, *adql, ""),
            *("## User-defined functions", "", "| function | what it gives | example |", "|---|---|---|", *ours),
        ]
    )


def error_table() -> str:
    """What can go wrong, with the status of HTTP that tells it."""
    found = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.ArchiveError)]
    rows = [row(f"`{one.__name__}`", str(one.status), f"`{one.code}`", summary(one)) for one in found]
    return "\n".join(["| error | status | code | meaning |", "|---|---|---|---|", *rows])


def summary(one: type) -> str:
    return " ".join((getdoc(one) or "").partition("\n\n")[0].split())


def row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def modules(name: str) -> str:
    """The public modules of a package, each with its docstrings; of `archive` those that lie in no package of it."""
    package = import_module(name)
    found = [name]
    for module in iter_modules(getattr(package, "__path__", ()), f"{name}."):
        if not module.name.rpartition(".")[2].startswith("_") and not (name == "archive" and module.ispkg):
            found += [module.name]
            if module.ispkg:
                found += [inner.name for inner in iter_modules(import_module(module.name).__path__, f"{module.name}.")]
    return "\n\n".join(f"## {one}\n\n```{{eval-rst}}\n.. automodule:: {one}\n```" for one in found)


ANSWERS: Mapping[str, Callable[..., str]] = {
    "settings": settings,
    "endpoints": endpoints,
    "formats": formats,
    "tables": tables,
    "functions": functions,
    "errors": error_table,
    "modules": modules,
}


class Asked(SphinxDirective):
    """`{asked} NAME WORD...`: the Markdown that one of ANSWERS returns, in the page's place."""

    required_arguments = 1
    optional_arguments = 1

    def run(self) -> list[Node]:
        name, *words = self.arguments
        if name == "modules" and not self.config.asked_modules:
            return []
        return self.parse_text_to_nodes(ANSWERS[name](*words), allow_section_headings=True)


def as_restructured_text(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are plain English with code in backticks; what reStructuredText would read into them is escaped."""
    for number, line in enumerate(lines):
        parts = re.split(r"(``.+?``|`[^`]+`)", line)
        parts[1::2] = [f"``{part.strip('`')}``" for part in parts[1::2]]
        parts[::2] = [re.sub(r"([*|\\]|(?<=\w)_(?=\W|$))", r"\\\1", part) for part in parts[::2]]
        lines[number] = "".join(parts)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("asked", Asked)
    # Modules take three quarters of the time: a test that looks at all the rest says -D asked_modules=0.
    app.add_config_value("asked_modules", True, "env", bool)
    app.connect("autodoc-process-docstring", as_restructured_text, priority=400)  # before napoleon
    return {"parallel_read_safe": True}
