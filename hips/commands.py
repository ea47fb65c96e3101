"""`uraniborg hips build`, `list` and `withdraw`."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from archive.app.context import Context
from archive.vo.errors import UsageError
from hips.build import Advance, Result, Step
from hips.properties import About
from hips.service import Gathered, HipsService, Proposal, both, cores, gathered_files, gathered_holdings, propose
from hips.shelf import Shelf

MiB = 1024 * 1024
_WORDS: dict[Step, str] = {"tiles": "resampling", "pyramid": "folding", "pictures": "drawing"}


@click.group("hips")
def hips_commands() -> None:
    """Hierarchical progressive surveys (HiPS): the images of a collection as one zoomable sky."""


@hips_commands.command("build")
@click.argument("images", nargs=-1, required=True)
@click.option("--name", help="Of the survey, part of its URL.  [default: the collection's, or the only file's]")
@click.option("--title", help="As people read it.  [default: the name]")
@click.option("--description", help="What is to be seen.")
@click.option("--copyright", "copyright_", help="Whose the images are.")
@click.option("--licence", help="Terms of use, e.g. CC BY 4.0.")
@click.option("--regime", help="Of the spectrum: Radio, Infrared, Optical, ...  [default: from the wavelengths]")
@click.option("--order", type=click.IntRange(3, 20), help="Of the finest tiles.  [default: the images' resolution]")
@click.option(
    "--width", type=click.Choice(["64", "128", "256", "512"]), help="Pixels of a tile's side.  [default: 512]"
)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Build here, and do not publish.")
@click.option("--threads", type=click.IntRange(1, 256), help="[default: one a core]")
@click.option("--memory", "memory_mib", type=click.IntRange(64), default=1024, show_default=True,
              help="For images that are kept while tiles need them, MiB.")  # fmt: skip
@click.option("--max-tiles", type=click.IntRange(1), default=1_000_000, show_default=True, help="Of the finest order.")
@click.option("--again", is_flag=True, help="Build anew what is published already.")
@click.option("--dry-run", is_flag=True, help="Only tell the plan.")
@click.option("--brief", is_flag=True, help="Tell the outcome only.")
@click.option("--json", "as_json", is_flag=True, help="Tell the plan as JSON.")
@click.pass_obj
def build(
    context: Context, images: tuple[str, ...], name: str | None, title: str | None, description: str | None,
    copyright_: str | None, licence: str | None, regime: str | None, order: int | None, width: str | None,
    out: Path | None, threads: int | None, memory_mib: int, max_tiles: int, again: bool, dry_run: bool, as_json: bool,
    brief: bool,
) -> None:  # fmt: skip
    """Make a HiPS of IMAGES: collections or files of the archive (public ones only), or FITS files and folders on disk.

    Stopped, by Ctrl-C or otherwise, the same command goes on where it was. The survey is served when it is complete.
    """
    gathered = _gathered(context, images)
    name = name or _name(images)
    about = About(title or name, description, copyright=copyright_, licence=licence, regime=regime)
    threads = threads or cores()
    proposal = propose(
        name, gathered, about, order=order, width=int(width) if width else None, threads=threads, max_tiles=max_tiles
    )
    if not brief:
        _tell_plan(proposal, as_json)
    if dry_run:
        return
    service = HipsService(_shelf(context), authority=context.settings.access.authority)
    with _progress(shown=not brief) as advance:
        if out is not None:
            result: Result | None = service.build_into(
                proposal, out, threads=threads, memory_bytes=memory_mib * MiB, advance=advance
            )
        else:
            result = service.build(
                proposal, threads=threads, memory_bytes=memory_mib * MiB, advance=advance, again=again
            )
    if result is None:
        click.echo(f"{name} is published already, and its images are the same")
        return
    tiles = sum(result.tiles.values())
    where = str(out) if out else f"{context.settings.public_url}/hips/{name}"
    click.echo(f"{tiles} tiles, {100 * result.sky_fraction:.3g} % of the sky: {where}")


@hips_commands.command("list")
@click.pass_obj
def list_command(context: Context) -> None:
    """The surveys that are published."""
    for each in _shelf(context).all_published():
        told = each.properties(context.settings.public_url)
        click.echo(f"{each.name:24} order {told['hips_order']:>2}  {told['obs_title']}  {told['hips_service_url']}")


@hips_commands.command("withdraw")
@click.argument("name")
@click.pass_obj
def withdraw(context: Context, name: str) -> None:
    """Serve the survey NAME no more. Its tiles stay until it is built again."""
    _shelf(context).withdraw(name)
    click.echo(f"{name} is withdrawn")


def _shelf(context: Context) -> Shelf:
    return Shelf(context.settings.hips_path)


def _gathered(context: Context, images: tuple[str, ...]) -> Gathered:
    paths = [Path(word) for word in images if Path(word).exists()]
    names = [word for word in images if not Path(word).exists()]
    found = gathered_files(paths)
    if names:  # the archive is opened only for what it holds
        found = both(found, gathered_holdings(context.archive.engines.writer, context.archive.store, names))
    return found


def _name(images: tuple[str, ...]) -> str:
    if len(images) > 1:
        raise UsageError("several collections or files make one survey: name it with --name")
    return Path(images[0]).name.partition(".fit")[0]


def _tell_plan(proposal: Proposal, as_json: bool) -> None:
    plan = proposal.plan
    if as_json:
        click.echo(json.dumps({**plan.as_json(), "build_id": plan.build_id, "refused": list(proposal.refused)}))
        return
    counts = " ".join(f"{order}:{len(plan.tiles_of(order))}" for order in range(plan.order + 1))
    withheld = proposal.gathered.withheld
    click.echo(f"{plan.name}: {len(plan.images)} images of {len(plan.sources)} files, plan {plan.build_id}")
    click.echo(f"  order {plan.order}, tiles of {plan.width} x {plan.width} pixels")
    click.echo(f"  tiles at the most, by order: {counts}; {plan.size_bytes / 1e6:,.0f} MB of FITS at the most")
    if withheld:
        click.echo(f"  left out: {withheld} images that not everyone may have yet")
    for reason in proposal.refused[:10]:
        click.echo(f"  not used: {reason}")
    if len(proposal.refused) > 10:
        click.echo(f"  not used: {len(proposal.refused) - 10} more")


@contextmanager
def _progress(*, shown: bool) -> Iterator[Advance]:
    columns = (TextColumn("  {task.description:11}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    lock = threading.Lock()
    with Progress(*columns, console=Console(stderr=True), disable=not shown) as progress:
        tasks: dict[Step, TaskID] = {}

        def advance(step: Step, done: int, total: int) -> None:
            with lock:
                if step not in tasks:
                    tasks[step] = progress.add_task(_WORDS[step], total=total)
                progress.update(tasks[step], completed=done, total=total)

        yield advance
