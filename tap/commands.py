"""`uraniborg tap check`: queries checked on the command line, with neither server nor database."""

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO

import click

from archive.app.context import Context
from archive.vo.errors import QueryError

if TYPE_CHECKING:
    from tap.adql.nodes import Query


@click.command("check")
@click.argument("queries", type=click.File(encoding="utf-8"), default="-", metavar="[FILE]")
@click.option("--names", is_flag=True, help="Check tables, columns and functions against what this archive publishes.")
@click.pass_context
def check_command(context: click.Context, queries: TextIO, names: bool) -> None:
    """Check ADQL queries: JSON lines with "query" in, from FILE or standard input, a JSON line each out, in order.

    Each has "ok"; a query that is refused has "error", "line", "column" and "expected", what would have been accepted
    there. By the grammar alone any name of a table, column or function goes.

    Exit status 0: all are accepted; 1: some are refused; 2: it could not be asked.
    """
    from tap.adql.parser import parse

    understand = _names(context) if names else None
    all_ok = True
    for line in queries:
        if not line.strip():
            continue
        told = _told(line, parse, understand)
        all_ok = all_ok and told["ok"]
        click.echo(json.dumps(told, ensure_ascii=False))
    sys.exit(0 if all_ok else 1)


def _names(context: click.Context) -> "Callable[[Query], object]":
    """The check of names against the tables that are published now."""
    from tap.adql.names import check
    from tap.service import published_schema

    ours = context.find_object(Context)
    assert ours is not None
    schema = published_schema(ours.archive.published.tables())
    return lambda tree: check(tree, schema)


def _told(line: str, parse: "Callable[[str], Query]", understand: "Callable[[Query], object] | None") -> dict[str, Any]:
    """The answer to one line. expected: empty where the grammar was not the trouble."""
    try:
        given = json.loads(line)
        query = given["query"]
        if not isinstance(query, str):
            raise TypeError
    except (ValueError, TypeError, KeyError):
        return _refused('a line is a JSON object with a text "query"')
    try:
        tree = parse(query)
        if understand is not None:
            understand(tree)
    except QueryError as problem:
        return _refused(str(problem), problem.line, problem.column, problem.expected)
    return {"ok": True}


def _refused(error: str, line: int = 0, column: int = 0, expected: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"ok": False, "error": error, "line": line, "column": column, "expected": list(expected)}
