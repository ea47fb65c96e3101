"""`uraniborg user`, `token` and `grant`. Each command calls a plain function of service.py with the writer's engine.

The front door puts an object with an attribute `writer` (an Engine) into click's context.
"""

from datetime import UTC, datetime
from typing import Protocol

import click
from sqlalchemy import Engine

from archive.access import queries, service
from archive.access.rights import SCOPE_KINDS, WHATS, Grant


class HasWriter(Protocol):
    """What the front door gives each command."""

    @property
    def writer(self) -> Engine: ...


@click.group("user")
def user_commands() -> None:
    """Who is known here."""


@user_commands.command("add")
@click.argument("name")
@click.option("--group", "groups", multiple=True, help="A group to put the user into; may be given again.")
@click.option("--operator", is_flag=True, help="May see and do everything.")
@click.pass_obj
def user_add(context: HasWriter, name: str, groups: tuple[str, ...], operator: bool) -> None:
    """Make a user, or add groups to one who is there."""
    is_new = service.add_user(context.writer, name, groups, is_operator=operator)
    click.echo(f"{name}: {'made' if is_new else 'was there, groups added'}")


@user_commands.command("list")
@click.pass_obj
def user_list(context: HasWriter) -> None:
    """Name, groups, and whether an operator; one a line."""
    with context.writer.connect() as connection:
        for user in queries.users(connection):
            click.echo("\t".join((user.name, ",".join(sorted(user.groups)), "operator" if user.is_operator else "")))


@click.group("token")
def token_commands() -> None:
    """Access tokens of users."""


@token_commands.command("create")
@click.argument("name")
@click.option("--expires-days", type=float, default=365.0, show_default=True, help="Days it lives; 0 for ever.")
@click.option("--label", default="", help="What it is for.")
@click.pass_obj
def token_create(context: HasWriter, name: str, expires_days: float, label: str) -> None:
    """Print a new token of user NAME. It is shown this once: only a hash is kept."""
    made = service.create_token(context.writer, name, expires_days=expires_days or None, label=label)
    click.echo(made.text)


@token_commands.command("list")
@click.pass_obj
def token_list(context: HasWriter) -> None:
    """Id, user, label, created, expires, last used; one a line."""
    with context.writer.connect() as connection:
        for row in queries.tokens(connection):
            times = (_text(row.created), _text(row.expires), _text(row.last_used))
            click.echo("\t".join((row.token_id, row.user.name, row.label, *times)))


@token_commands.command("revoke")
@click.argument("token_id")
@click.pass_obj
def token_revoke(context: HasWriter, token_id: str) -> None:
    """Make a token worthless, at once."""
    service.revoke_token(context.writer, token_id)
    click.echo(f"{token_id.removeprefix('ub_')[:12]}: revoked")


@click.group("grant")
def grant_commands() -> None:
    """Rights to data that are not public."""


@grant_commands.command("add")
@click.argument("subject")
@click.argument("scope_kind", type=click.Choice(SCOPE_KINDS))
@click.argument("scope", default="")
@click.option("--what", type=click.Choice(WHATS), default="data", show_default=True)
@click.option("--from", "valid_from", type=click.DateTime(), help="UTC.")
@click.option("--to", "valid_to", type=click.DateTime(), help="UTC.")
@click.option("--by", "granted_by", default="operator", show_default=True, help="Who decided it.")
@click.pass_obj
def grant_add(
    context: HasWriter,
    subject: str,
    scope_kind: str,
    scope: str,
    what: str,
    valid_from: datetime | None,
    valid_to: datetime | None,
    granted_by: str,
) -> None:
    """Grant SUBJECT (user:NAME or group:NAME) the data of a run, programme, collection, instrument, or of all."""
    grant = Grant(subject, scope_kind, scope, what, _utc(valid_from), _utc(valid_to))
    click.echo(f"grant {service.add_grant(context.writer, grant, granted_by=granted_by)}")


@grant_commands.command("revoke")
@click.argument("grant_id", type=int)
@click.pass_obj
def grant_revoke(context: HasWriter, grant_id: int) -> None:
    """Take a grant back, at once."""
    service.revoke_grant(context.writer, grant_id)
    click.echo(f"grant {grant_id}: revoked")


COMMANDS: tuple[click.Group, ...] = (user_commands, token_commands, grant_commands)


def _text(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)
