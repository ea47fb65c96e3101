"""`uraniborg store ...`: what an operator asks of the store on a shell. Each command calls plain functions.

make_commands() is given the way to a store and a catalogue by the front door, which knows the settings.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import click
from sqlalchemy import Engine

from storage import catalogue, scrub
from storage.errors import StorageError
from storage.service import ObjectStore, StoredObject


@dataclass(frozen=True, slots=True)
class StoreTools:
    """What the commands work on: the store, and an engine of role writer. grace_s: scrub's, if none is asked for."""

    store: ObjectStore
    engine: Engine
    grace_s: float = scrub.GRACE_S


class Node(Protocol):
    """What the front door does for a storage node: it knows settings, processes and rights."""

    def serve(self, host: str | None, port: int | None, ngas_port: int | None, workers: int | None) -> int:
        """Make ready what is not, and keep the node's web processes running until SIGTERM; the exit status."""

    def web(self, descriptors: Sequence[int]) -> None:
        """One web process, on listening sockets: that of REST, and that of NGAS if there are two."""


def status(tools: StoreTools) -> list[dict[str, Any]]:
    """Per volume: name, kind, whether it answers, free_bytes (None: it cannot say), objects and bytes on record."""
    with tools.engine.connect() as connection:
        recorded = catalogue.totals(connection)
    found = []
    for volume in tools.store.volumes:
        state, free = "online", None
        try:
            free = volume.free_bytes()
            next(iter(volume.keys()), None)
        except StorageError as error:
            state = f"offline: {error}"
        objects, size_bytes = recorded.get(volume.name, (0, 0))
        found.append(
            {
                "volume": volume.name,
                "kind": type(volume).__name__,
                "state": state,
                "free_bytes": free,
                "objects": objects,
                "size_bytes": size_bytes,
            }
        )
    return found


def scrub_store(
    tools: StoreTools, *, grace_s: float = scrub.GRACE_S, delete: bool = False, read: bool = True
) -> Iterator[scrub.Finding]:
    """Compare every volume with its rows, clear staging past the grace, and, if read, re-read every object."""
    for volume in tools.store.volumes:
        name = volume.name

        def find_row(key: str, name: str = name) -> StoredObject | None:
            # A connection of its own: the answer must be of now, not of when the listing began.
            with tools.engine.connect() as fresh:
                return catalogue.find_object(fresh, name, key)

        volume.janitor(grace_s=grace_s)
        with tools.engine.connect() as connection:
            rows = catalogue.objects_of(connection, name)
            yield from scrub.reconcile(volume, rows, find_row, grace_s=grace_s, delete=delete)
        if read:
            with tools.engine.connect() as connection:
                yield from scrub.verify_all(volume, catalogue.objects_of(connection, name))


def make_commands(
    open_tools: Callable[[click.Context], AbstractContextManager[StoreTools]], node: Callable[[click.Context], Node]
) -> click.Group:
    """The group `store`; open_tools opens store and catalogue for one command and closes them after it."""

    @click.group("store")
    def group() -> None:
        """Where the bytes lie: volumes, checksums, what is missing."""

    @group.command("status")
    @click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
    @click.pass_context
    def status_command(context: click.Context, as_json: bool) -> None:
        """Each volume: does it answer, how full is it, what is on record."""
        with open_tools(context) as tools:
            for line in status(tools):
                click.echo(json.dumps(line) if as_json else _status_line(line))

    @group.command("scrub")
    @click.option("--grace-s", type=float, help="Leave younger objects alone (seconds).  [default: as configured]")
    @click.option("--delete", is_flag=True, help="Remove objects without a row that are past the grace.")
    @click.option("--read/--no-read", default=True, show_default=True, help="Re-read every object and its checksums.")
    @click.option("--json", "as_json", is_flag=True, help="One JSON object a finding.")
    @click.pass_context
    def scrub_command(context: click.Context, grace_s: float | None, delete: bool, read: bool, as_json: bool) -> None:
        """Compare what is there with what should be; exit 1 if promised bytes are missing or wrong."""
        broken = found = 0
        with open_tools(context) as tools:
            grace = tools.grace_s if grace_s is None else grace_s
            for finding in scrub_store(tools, grace_s=grace, delete=delete, read=read):
                found += 1
                broken += finding.kind != "object_without_row"
                click.echo(json.dumps(asdict(finding), default=str) if as_json else _finding_line(finding))
        if not as_json:
            click.echo(f"{found} findings, {broken} of them promised bytes that are missing or wrong")
        context.exit(1 if broken else 0)

    @group.command("serve")
    @click.option("--host", help="Address to listen on.  [default: server.host]")
    @click.option("--port", type=int, help="TCP port of the REST face; 0 takes a free one.  [default: server.port]")
    @click.option("--ngas-port", type=int, help="TCP port of the NGAS face.  [default: none is served]")
    @click.option("--workers", type=int, help="Web processes.  [default: server.web_workers]")
    @click.pass_context
    def serve_command(
        context: click.Context, host: str | None, port: int | None, ngas_port: int | None, workers: int | None
    ) -> None:
        """Serve the store without the rest of the archive: /store/v1, /health, /metrics, and NGAS's commands."""
        context.exit(node(context).serve(host, port, ngas_port, workers))

    @group.command("web", hidden=True)
    @click.option("--socket", "descriptors", type=int, multiple=True, help="An open listening socket to serve on.")
    @click.pass_context
    def web_command(context: click.Context, descriptors: tuple[int, ...]) -> None:
        """One web process, as `serve` starts it."""
        node(context).web(descriptors)

    return group


def _status_line(line: dict[str, Any]) -> str:
    free = "unknown" if line["free_bytes"] is None else f"{line['free_bytes'] / 1e9:.1f} GB"
    return (
        f"{line['volume']}  {line['kind']}  {line['state']}  free {free}  "
        f"{line['objects']} objects, {line['size_bytes'] / 1e9:.3f} GB on record"
    )


def _finding_line(finding: scrub.Finding) -> str:
    done = " (deleted)" if finding.deleted else ""
    return f"{finding.volume}  {finding.kind}  {finding.key}  {finding.text}{done}"
