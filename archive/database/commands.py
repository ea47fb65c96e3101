"""`uraniborg db init|migrate|check|sphere|upgrade`: the database made, brought up to date, looked at.

Here: words in, words out. What they do is in migrate.py, roles.py, sky.py and upgrade.py, which take plain values; the
front door brings engines, adapter and what is published.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from sqlalchemy import MetaData

from archive.database import migrate, sky, user_roles
from archive.database.cluster import MAJOR_VERSION
from archive.database.doctor import Finding
from archive.database.embedded import EmbeddedServer
from archive.database.engines import ROLES, Engines, database_url
from archive.database.roles import RoleNames, make_external
from archive.database.sky import SkyTable
from archive.sphere.pgsphere import PgSphere
from archive.sphere.plain import PlainSphere
from archive.sphere.sphere import Sphere


@dataclass(frozen=True, slots=True)
class DatabaseTools:
    """What the commands work with.

    prepare: brings the whole database to what this release needs, whatever state it is in (archive.app.setup).
    metadata: the tables of every room. sky_tables: every table with a place on the sky, published catalogues too.
    """

    engines: Engines
    sphere: Sphere
    prepare: Callable[[], None]
    metadata: Sequence[MetaData]
    sky_tables: Callable[[], Sequence[SkyTable]]


OpenTools = Callable[[click.Context], AbstractContextManager[DatabaseTools]]


def make_commands(open_tools: OpenTools, embedded_server: Callable[[click.Context], EmbeddedServer]) -> click.Group:
    """The group `db`; open_tools opens the archive's database for a command, and closes it after.

    embedded_server: the one of the data folder, which nobody has started. ConfigurationError: the database is another.
    """
    group = click.Group("db", help="The database: made, migrated, checked; the sky's adapter in it.")

    @group.command("init")
    @click.option("--admin-url", envvar="URANIBORG_ADMIN_URL", help="A superuser's URL of an external PostgreSQL.")
    @click.option("--prefix", default="uraniborg", show_default=True, help="With --admin-url: of the roles' names.")
    @click.option("--database", default="uraniborg", show_default=True, help="With --admin-url: the database's name.")
    @click.pass_context
    def init(context: click.Context, admin_url: str | None, prefix: str, database: str) -> None:
        """Make everything that the archive needs in its database; repeatable.

        Without --admin-url: in the embedded server, or in the database that the settings name. With it: make roles
        and database on that server, and print the settings (with new passwords: keep them).
        """
        if admin_url is not None:
            _init_external(admin_url, prefix, database)
            return
        with open_tools(context) as tools:
            tools.prepare()
            click.echo(f"the database is ready, at revision {migrate.current(tools.engines.owner) or 'none'}")

    @group.command("own-tables")
    @click.option("--admin-url", envvar="URANIBORG_ADMIN_URL", required=True, help="A superuser's URL of the server.")
    @click.pass_context
    def own_tables(context: click.Context, admin_url: str) -> None:
        """Prepare an external database of a former release for users' own tables; repeatable, passwords stay.

        `db init --admin-url` has done it in a database that this release made, and the embedded server does it itself.
        """
        with open_tools(context) as tools:
            names = RoleNames.of(tools.engines.urls)
            admin = database_url(admin_url).set(database=tools.engines.urls.owner.database)
            user_roles.install(admin, owner=names.owner, writer=names.writer, reader=names.reader)
            tools.prepare()
        click.echo("users may keep tables of their own; start the service anew")

    @group.command("migrate")
    @click.pass_context
    def migrate_command(context: click.Context) -> None:
        """Bring the tables up to this release, and views and rights with them."""
        with open_tools(context) as tools:
            before = migrate.current(tools.engines.owner)
            tools.prepare()
            after = migrate.current(tools.engines.owner)
        same = f"the database is at revision {after or 'none'}, as before"
        click.echo(same if before == after else f"the database went from revision {before or 'none'} to {after}")

    @group.command("upgrade")
    @click.option(
        "--programs",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="Folder with the former version's PostgreSQL, if it is not found by itself.",
    )
    @click.option("--remove-former", is_flag=True, help="Remove the clusters that upgrades have left.")
    @click.pass_context
    def upgrade(context: click.Context, programs: Path | None, remove_former: bool) -> None:
        """Bring the embedded database to the PostgreSQL of this release; the former cluster is kept beside it."""
        server = embedded_server(context)
        former = server.upgrade(programs, say=lambda words: click.echo(words, err=True))
        if former is None:
            click.echo(f"the database is of PostgreSQL {MAJOR_VERSION}, as this release")
        else:
            click.echo(f"the database went from PostgreSQL {former} to {MAJOR_VERSION}")
        for left in server.former() if remove_former else ():
            shutil.rmtree(left)
            click.echo(f"{left} is removed")

    @group.command("check")
    @click.pass_context
    def check(context: click.Context) -> None:
        """Whether the database is what this release declares."""
        with open_tools(context) as tools:
            migrate.check(tools.engines.owner, metadata=tools.metadata)
        click.echo("the database is what this release declares")

    @group.command("sphere")
    @click.option("--to", "adapter", type=click.Choice(["plain", "pgsphere"]), help="Convert to this adapter.")
    @click.option("--admin-url", envvar="URANIBORG_ADMIN_URL", help="A superuser's URL of this very database.")
    @click.option("--json", "as_json", is_flag=True, help="As JSON.")
    @click.pass_context
    def sphere(context: click.Context, adapter: str | None, admin_url: str | None, as_json: bool) -> None:
        """Show the sky's indexes and their adapter, or convert to the other adapter, table by table."""
        with open_tools(context) as tools:
            if adapter is not None:
                _convert(tools, adapter, admin_url)
            found = sky.indexes(tools.engines.owner)
            name = adapter or tools.sphere.name
        if as_json:
            click.echo(json.dumps({"adapter": name, "indexes": [asdict(index) for index in found]}, indent=2))
            return
        click.echo(f"adapter: {name}")
        for index in found:
            click.echo(f"{index.table:40}  {index.adapter:8}  {index.size_bytes / 2**20:10.1f} MiB  {index.index}")

    return group


def _init_external(admin_url: str, prefix: str, database: str) -> None:
    admin = database_url(admin_url)
    urls = make_external(admin, prefix=prefix, database=database)
    # Printed before anything else may fail: the old passwords are void by now.
    click.echo("# In uraniborg.toml; afterwards: uraniborg db init\n[database]")
    for role in ROLES:
        url = urls.of(role).set(drivername="postgresql").render_as_string(hide_password=False)
        click.echo(f"{role}_url = {json.dumps(url)}")
    sky.offer_extension(admin.set(database=database))


def _convert(tools: DatabaseTools, adapter: str, admin_url: str | None) -> None:
    spheres: dict[str, Sphere] = {"plain": PlainSphere(), "pgsphere": PgSphere()}
    new = spheres.pop(adapter)
    (old,) = spheres.values()
    admin = database_url(admin_url) if admin_url else None
    sky.convert(tools.engines, tools.sky_tables(), old, new, admin=admin)


MARKS = {"ok": ("ok", "green"), "warning": ("!!", "yellow"), "error": ("NO", "red")}


def show(findings: Sequence[Finding]) -> bool:
    """Print the doctor's findings; whether there is no error among them."""
    for finding in findings:
        mark, colour = MARKS[finding.level]
        click.echo(f"{click.style(mark, fg=colour)}  {finding.what}")
        if finding.what_to_do:
            click.echo(f"    to do: {finding.what_to_do}")
    return all(finding.level != "error" for finding in findings)
