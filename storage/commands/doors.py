"""What the commands are given by the front door, which knows the settings; and how each gets at it."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import click

from storage.client import Files, LocalFiles, RemoteFiles
from storage.objects import ObjectService
from storage.upkeep import Upkeep

TOKEN_VARIABLE = "URANIBORG_TOKEN"  # noqa: S105 (the name of a variable)
# Where the context of a run of the command line keeps it (click's Context.meta).
_DOORS = "storage.commands.doors"


@dataclass(frozen=True, slots=True)
class StoreTools:
    """What the commands work on: the store, and how it is looked after."""

    objects: ObjectService
    upkeep: Upkeep


class Node(Protocol):
    """What the front door does for a storage node: it knows settings, processes and rights."""

    def serve(self, host: str | None, port: int | None, ngas_port: int | None, workers: int | None) -> int:
        """Make ready what is not, and keep the node's web processes running until SIGTERM; the exit status."""

    def web(self, descriptors: Sequence[int]) -> None:
        """One web process, on listening sockets: that of REST, and that of NGAS if there are two."""

    def keep(self) -> None:
        """Run the standing processes at their times until SIGTERM."""


OpenTools = Callable[[click.Context], AbstractContextManager[StoreTools]]
OpenNode = Callable[[click.Context], Node]


def give(context: click.Context, open_tools: OpenTools, node: OpenNode) -> None:
    """Have the commands below this context find these."""
    context.meta[_DOORS] = (open_tools, node)


def tools_of(context: click.Context) -> AbstractContextManager[StoreTools]:
    """Store and catalogue of this machine, for as long as a command runs."""
    open_tools: OpenTools = context.meta[_DOORS][0]
    return open_tools(context)


def node_of(context: click.Context) -> Node:
    """What runs a storage node."""
    node: OpenNode = context.meta[_DOORS][1]
    return node(context)


def node_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--url, --token-file: a node elsewhere instead of the store of this machine."""
    url = click.option("--url", help="Of a node, e.g. https://archive.example: not the store of this machine.")
    token = click.option(
        "--token-file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help=f"Holds the access token for --url.  [default: the variable {TOKEN_VARIABLE}]",
    )
    return url(token(click.pass_context(command)))


@contextmanager
def files_of(context: click.Context, url: str | None, token_file: Path | None) -> Iterator[Files]:
    """The files of a node elsewhere; without its URL those of this machine's store."""
    if url is None:
        with tools_of(context) as tools:
            yield LocalFiles(tools.objects)
        return
    remote = RemoteFiles(url, _token(token_file))
    try:
        yield remote
    finally:
        remote.close()


def _token(token_file: Path | None) -> str | None:
    if token_file is not None:
        return token_file.read_text().strip()
    return os.environ.get(TOKEN_VARIABLE) or None
