"""Commands that are imported when they are asked for: `--help` is quick, and the base install, which has no server,
still runs those that need none."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from archive.app.context import with_data_dir
from archive.vo.errors import ConfigurationError

OURS = ("archive", "tap", "datalink", "hips", "ingest", "storage", "phase3", "uraniborg")


class LazyGroup(click.Group):
    """A group whose commands are named as "module:attribute" and imported at their first use.

    default: the command that a word stands for which names none (`ingest FILE` is `ingest files FILE`).
    """

    def __init__(self, *arguments: Any, lazy: Mapping[str, str], default: str | None = None, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._lazy = dict(lazy)
        self._default = default

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._lazy)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        place = self._lazy.get(name)
        if place is None:
            return None
        module, _, attribute = place.partition(":")
        try:
            command = getattr(import_module(module), attribute)
        except ModuleNotFoundError as problem:
            if (problem.name or "").partition(".")[0] in OURS:
                raise
            raise ConfigurationError(
                f"`{ctx.command_path} {name}` needs {problem.name}, which is not here: pip install 'uraniborg[server]'"
            ) from None
        return with_data_dir(command)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if self._default and args and args[0] not in self._lazy and args[0] not in ("--help", "--data-dir"):
            args = [self._default, *args]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        # After an option of the group (`ingest --data-dir D FILE`) the first word comes to light only here.
        if self._default and args and args[0] not in self._lazy:
            args = [self._default, *args]
        return super().resolve_command(ctx, args)
