"""Where files lie, and where they come from: volumes; sites that are followed; and a node that serves them."""

from typing import get_args

import click

from storage import sites
from storage.commands.doors import node_of, tools_of
from storage.commands.telling import as_json_option, as_line
from storage.commands.upkeep import run
from storage.errors import ObjectNotFound
from storage.model import VolumeState
from storage.posix import PosixVolume


@click.command("volumes")
@click.argument("name", required=False)
@click.argument("state", required=False, type=click.Choice(get_args(VolumeState)))
@click.option("--reason", default="", help="Told in the feed of events.")
@click.option(
    "--make", is_flag=True, help="Make a volume's empty folder a volume: on the new disk after one that died."
)
@as_json_option
@click.pass_context
def volumes_command(
    context: click.Context, name: str | None, state: VolumeState | None, reason: str, make: bool, as_json: bool
) -> None:
    """List the volumes; with NAME and STATE: change a volume's state.

    online: read and written. readonly: read. draining: read, and emptied. offline: left alone.
    """
    with tools_of(context) as tools:
        service = tools.objects
        if name is not None and name not in service.volumes():
            raise ObjectNotFound(f"no volume {name} is on record, only {', '.join(service.volumes())}")
        if make:
            volume = service.store.volume(name or "")
            if not isinstance(volume, PosixVolume):
                raise click.UsageError("--make is for a folder: a bucket is made where its server is")
            volume.make()
        if name is not None and state is not None:
            service.set_volume_state(name, state, reason)
        for row in service.volumes().values():
            if name in (None, row.name):
                told = f"{row.name}  {row.kind}  {row.state}  site {row.site}  class {row.storage_class}"
                click.echo(as_line(row) if as_json else told)


@click.command("follow")
@click.argument("site")
@click.option("--url", help="Where it answers, e.g. https://archive.example: it is followed from now on.")
@click.option("--prefix", default="", help="With --url: only files whose file_id begins so.")
@click.option("--after", type=click.IntRange(0), default=0, help="With --url: only what is behind this event.")
@as_json_option
@click.pass_context
def follow_command(context: click.Context, site: str, url: str | None, prefix: str, after: int, as_json: bool) -> None:
    """Bring here what another site has, as far as its feed goes now; a job goes on with it. Tokens are settings.

    Exit status 1 if it cannot be reached, or has other bytes under a number that is taken here.
    """
    with tools_of(context) as tools:
        rule = tools.upkeep.follow
        if rule is None:
            raise click.UsageError("this store follows no sites")
        if url is not None:
            try:
                sites.subscribe(tools.objects.engine, site, url, prefix=prefix, after=after)
            except ValueError as error:
                raise click.BadParameter(str(error), param_hint="--url") from None
        elif prefix or after:
            raise click.UsageError("--prefix and --after go with --url")
    run(context, "follow", as_json, lambda tools, pace: sites.follow_all(tools.objects, rule, pace=pace, only=site))


@click.command("unfollow")
@click.argument("site")
@click.pass_context
def unfollow_command(context: click.Context, site: str) -> None:
    """Follow a site no more; what came from it stays."""
    with tools_of(context) as tools:
        if not sites.unsubscribe(tools.objects.engine, site):
            raise ObjectNotFound(f"no site {site} is followed")


@click.command("sites")
@as_json_option
@click.pass_context
def sites_command(context: click.Context, as_json: bool) -> None:
    """The sites that are followed, how far, and what went wrong last."""
    with tools_of(context) as tools:
        for each in sites.sites(tools.objects.engine):
            told = f"{each.name}  {each.url}  {each.prefix or '*'}  up to event {each.last_event}"
            click.echo(as_line(each) if as_json else told + (f"  {each.problem}" if each.problem else ""))


@click.command("serve")
@click.option("--host", help="Address to listen on.  [default: server.host]")
@click.option("--port", type=int, help="TCP port of the REST face; 0 takes a free one.  [default: server.port]")
@click.option("--ngas-port", type=int, help="TCP port of the NGAS face.  [default: none is served]")
@click.option("--workers", type=int, help="Web processes.  [default: server.web_workers]")
@click.pass_context
def serve_command(
    context: click.Context, host: str | None, port: int | None, ngas_port: int | None, workers: int | None
) -> None:
    """Serve the store without the rest of the archive: /store/v1, /health, /metrics, and NGAS's commands."""
    context.exit(node_of(context).serve(host, port, ngas_port, workers))


@click.command("web", hidden=True)
@click.option("--socket", "descriptors", type=int, multiple=True, help="An open listening socket to serve on.")
@click.pass_context
def web_command(context: click.Context, descriptors: tuple[int, ...]) -> None:
    """One web process, as `serve` starts it."""
    node_of(context).web(descriptors)


@click.command("keep", hidden=True)
@click.pass_context
def keep_command(context: click.Context) -> None:
    """What looks after a node's store, as `serve` starts it."""
    node_of(context).keep()
