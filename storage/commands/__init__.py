"""`uraniborg store ...`: files in and out, and what an operator asks of the store. Each command calls plain functions.

make_commands() is given the way to a store and its upkeep by the front door, which knows the settings. What of it works
on a node elsewhere (--url) opens nothing here.
"""

import click

from storage.commands import files, places, upkeep
from storage.commands.doors import Node, OpenNode, OpenTools, StoreTools, give

__all__ = ["Node", "StoreTools", "make_commands"]

_COMMANDS = (
    files.put_command,
    files.get_command,
    files.ls_command,
    files.info_command,
    files.verify_command,
    files.export_command,
    places.volumes_command,
    places.follow_command,
    places.unfollow_command,
    places.sites_command,
    places.serve_command,
    places.web_command,
    places.keep_command,
    upkeep.scrub_command,
    upkeep.reconcile_command,
    upkeep.replicate_command,
    upkeep.drain_command,
    upkeep.evict_command,
    upkeep.janitor_command,
    upkeep.rebuild_command,
    upkeep.status_command,
)


def make_commands(open_tools: OpenTools, node: OpenNode) -> click.Group:
    """The group `store`; open_tools opens store and catalogue for one command and closes them after it."""

    @click.group("store")
    @click.pass_context
    def group(context: click.Context) -> None:
        """Where the bytes lie: files in and out, volumes, copies, checksums."""
        give(context, open_tools, node)

    for command in _COMMANDS:
        group.add_command(command)
    return group
