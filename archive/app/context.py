"""What every command is given: the settings, and the archive, opened when first used and closed at the end."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archive.settings import Loaded, Settings

if TYPE_CHECKING:  # the base install has none of these, and runs the commands that need none
    from sqlalchemy import Engine, MetaData
    from starlette.types import ASGIApp

    from archive.app.opened import OpenedArchive


class Context:
    """click's `ctx.obj`. Options of the command line are put in before the settings are first read."""

    def __init__(
        self,
        create_app: "Callable[[Settings, OpenedArchive], ASGIApp]",
        run_jobs: "Callable[[OpenedArchive], None]",
        metadata: "Callable[[], Sequence[MetaData]]",
        preload: Callable[[], None],
        command: Callable[[Sequence[str]], None],
    ) -> None:
        """What only the front door knows, because it knows every room: the application, its jobs, its tables.

        preload: imports what its processes will need. command: does what the words of a command line say.
        """
        self.create_app = create_app
        self.run_jobs = run_jobs
        self.metadata = metadata
        self.preload = preload
        self.command = command
        self.data_dir: Path | None = None
        self.options: dict[str, Any] = {}

    def take(self, options: Mapping[str, Any]) -> None:
        """Options of a command, by settings' key; None is not given."""
        self.options.update(options)

    @cached_property
    def loaded(self) -> Loaded:
        return Loaded.load(self.data_dir, self.options)

    @property
    def settings(self) -> Settings:
        return self.loaded.settings

    @cached_property
    def archive(self) -> "OpenedArchive":
        from archive.app.opened import OpenedArchive

        archive = OpenedArchive(self.settings)
        click.get_current_context().find_root().call_on_close(archive.close)
        return archive

    @property
    def writer(self) -> "Engine":
        return self.archive.engines.writer


def with_data_dir(command: click.Command) -> click.Command:
    """Give a command, and all below it, the option --data-dir."""
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            with_data_dir(inner)
    if not any(parameter.name == "data_dir" for parameter in command.params):
        command.params.append(
            click.Option(
                ["--data-dir"],
                type=click.Path(file_okay=False, path_type=Path),
                expose_value=False,
                is_eager=True,
                callback=_take_data_dir,
                help="Folder that holds everything the archive keeps.  [default: data, or URANIBORG_DATA_DIR]",
            )
        )
    return command


def _take_data_dir(context: click.Context, parameter: click.Parameter, value: Path | None) -> None:
    if value is not None:
        context.find_root().obj.data_dir = value
