"""`uraniborg table`: tables published from files, listed, described, dropped."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from archive.app.context import Context
from archive.vo.origin import Origin

_ORIGIN = (
    ("creator", "Authors, as they are to be cited."),
    ("citation", "Identifier to cite: the data's DOI."),
    ("article", "Bibcode or DOI of the article to cite."),
    ("reference_url", "Landing page."),
    ("resource_version", "Version of the data."),
    ("rights", "Licence, in words."),
    ("rights_uri", "Licence, as a URI of SPDX or Creative Commons."),
)


def _origin_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """An option an item of an origin."""
    for name, about in reversed(_ORIGIN):
        command = click.option(f"--{name.replace('_', '-')}", name, metavar="TEXT", help=about)(command)
    return command


@click.group("table")
def table_commands() -> None:
    """Tables that queries can name."""


@table_commands.command("publish")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", required=True, help="Name of the table, such as cat.stars.")
@click.option("--ra", help="Column of the main position's right ascension, by its name in the file.")
@click.option("--dec", help="Column of its declination.")
@_origin_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def publish_command(
    context: Context, /, file: Path, name: str, ra: str | None, dec: str | None, yes: bool, **origin: str | None
) -> None:
    """Publish the table in FILE (FITS, VOTable, CSV, TSV, ECSV, Parquet), or publish it anew.

    What changes is shown first. Queries see the former table until the new one is there, whole. Where it comes from and
    how it is cited (--creator to --rights-uri) is told in every result; what is not given stays as it was, or as the
    file has it.
    """
    from ingest import tables

    if (ra is None) != (dec is None):
        raise click.UsageError("--ra and --dec go together")
    catalogue = tables.read(file, tables.checked_name(name), ra=ra, dec=dec, origin=Origin.from_items(origin))
    archive = context.archive
    with archive.engines.writer.connect() as connection:
        old = tables.current(connection, catalogue.table.name)
    for finding in catalogue.findings:
        click.echo(str(finding), err=True)
    for line in tables.differences(old, catalogue.table):
        click.echo(line)
    if not yes:
        click.confirm(f"Publish {catalogue.table.name}?", abort=True)
    with archive.engines.begin("writer") as connection:
        rows = tables.publish(connection, catalogue, archive.sphere, reader=archive.urls.reader.username or "")
    click.echo(f"{catalogue.table.name}: {rows} rows published")


@table_commands.command("list")
@click.option("--users", is_flag=True, help="Users' own tables: name, owner, rows, MiB, who else may read it.")
@click.pass_obj
def list_command(context: Context, users: bool) -> None:
    """Name, rows, columns and title; one a line."""
    from archive.holdings.own.keeping import all_kept
    from archive.settings import MiB
    from ingest import tables

    if users:
        with context.writer.connect() as connection:
            for kept in all_kept(connection):
                told = (kept.owner, str(kept.rows), f"{kept.size_bytes / MiB:.1f}", ",".join(kept.shared_with))
                click.echo("\t".join((kept.name, *told)))
        return
    with context.writer.connect() as connection:
        for table in tables.tables(connection):
            rows = "" if table.rows is None else str(table.rows)
            click.echo("\t".join((table.name, rows, str(len(table.columns)), table.title or "")))


@table_commands.command("describe")
@click.argument("name")
@click.pass_obj
def describe_command(context: Context, name: str) -> None:
    """What is told of a table and of each of its columns."""
    from ingest import tables

    with context.writer.connect() as connection:
        table = tables.find(connection, name)
    click.echo(table.name + ("" if table.rows is None else f", {table.rows} rows"))
    for about in (table.title, table.description):
        if about:
            click.echo(about)
    for item, value in table.origin.items().items():
        click.echo(f"{item}: {value}")
    for column in table.columns:
        click.echo(f"  {tables.described(column)}" + ("  (indexed)" if column.indexed else ""))


@table_commands.command("cite")
@click.argument("name")
@_origin_options
@click.pass_obj
def cite_command(context: Context, /, name: str, **origin: str | None) -> None:
    """Say where a published table comes from and how it is cited; every result from it tells so.

    What is not given stays as it was; an empty text takes an item away.
    """
    from ingest import tables

    given = {item: value for item, value in origin.items() if value is not None}
    with context.archive.engines.begin("writer") as connection:
        told = tables.cite(connection, name, given)
    for item, value in told.items().items():
        click.echo(f"{item}: {value}")


@table_commands.command("drop")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def drop_command(context: Context, name: str, yes: bool) -> None:
    """Take a table away for good, a user's own too; not one that belongs to a file of the holdings."""
    from archive.vo.columns import OWN
    from ingest import tables

    is_own = name.lower().startswith(OWN)
    name = name.lower() if is_own else tables.checked_name(name)
    if not yes:
        click.confirm(f"Drop {name}?", abort=True)
    if is_own:
        context.archive.own_tables.drop(name)
    else:
        with context.archive.engines.begin("writer") as connection:
            tables.drop(connection, name)
    click.echo(f"{name}: dropped")


@table_commands.command("share")
@click.argument("name")
@click.argument("subjects", nargs=-1)
@click.option("--revoke", is_flag=True, help="Take it back.")
@click.pass_obj
def share_command(context: Context, name: str, subjects: tuple[str, ...], revoke: bool) -> None:
    """Let SUBJECTS (user:NAME, group:NAME) read a user's own table NAME; without any: say who may."""
    for subject in subjects:
        context.archive.access.demand_subject(subject)
    read, taken = ((), subjects) if revoke else (subjects, ())
    kept = context.archive.own_tables.share(name.lower(), read, revoked=taken)
    click.echo(f"{kept.name} of {kept.owner}: read by {', '.join(kept.shared_with) or 'nobody else'}")
