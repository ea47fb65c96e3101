"""`uraniborg store deliver`: one round of pushing what came in to the subscribers, and going through the feed again."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict

import click

from storage.ngas import queries
from storage.ngas.delivery import deliver
from storage.ngas.settings import NgasSettings
from storage.objects import ObjectService

Opened = Callable[[click.Context], AbstractContextManager[tuple[ObjectService, NgasSettings]]]


def make_deliver_command(opened: Opened) -> click.Command:
    """The command; opened opens what it works with for one call."""

    @click.command("deliver")
    @click.option("--subscription", "subscr_id", help="Serve this one alone.  [default: all that are not suspended]")
    @click.option("--after", type=click.IntRange(0), help="First go back: what is behind this event is sent again.")
    @click.option("--json", "as_json", is_flag=True, help="One JSON object a subscription.")
    @click.pass_context
    def command(context: click.Context, subscr_id: str | None, after: int | None, as_json: bool) -> None:
        """Push what came in to NGAS subscribers; exit code 1 if one could not be served to the end."""
        with opened(context) as (service, settings):
            if after is not None:
                if subscr_id is None:
                    raise click.UsageError("--after needs --subscription")
                with service.engine.begin() as connection:
                    if not queries.rewind(connection, subscr_id, after):
                        raise click.UsageError(f"there is no subscription {subscr_id}")
            stopped = False
            for told in deliver(service, settings, only=subscr_id):
                stopped = stopped or bool(told.problem)
                if as_json:
                    click.echo(json.dumps(asdict(told)))
                    continue
                click.echo(
                    f"{told.subscr_id}: {told.taken} taken, {told.refused} refused, {told.waiting} to be tried again, "
                    f"up to event {told.last_event}{f'; {told.problem}' if told.problem else ''}"
                )
        if stopped:
            context.exit(1)

    return command
