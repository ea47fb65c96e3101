"""What looks after the store, done now: scrub, reconcile, replicate, drain, evict, janitor; rebuild; and status."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace

import click

from storage.commands.doors import StoreTools, tools_of
from storage.commands.telling import as_json_option, as_line, end, tell_findings
from storage.evict import evict
from storage.findings import Finding, Pace
from storage.janitor import janitor
from storage.reconcile import reconcile
from storage.replicate import drain, replicate
from storage.scrub import scrub
from storage.status import StoreStatus, VolumeStatus, store_status
from storage.upkeep import Process, recorded

HOUR_S = 3_600.0
MIB = 1 << 20

volume_option = click.option("--volume", "volumes", multiple=True, help="This volume only; may be given again.")


def run(
    context: click.Context,
    process: Process,
    as_json: bool,
    work: Callable[[StoreTools, Pace], Iterator[Finding]],
    pace: Pace | None = None,
) -> None:
    """Do a standing process's work and note it; exit status 1 if any finding is left open."""
    pace = pace or Pace()
    with tools_of(context) as tools:
        broken = tell_findings(recorded(tools.objects, process, work(tools, pace), pace), as_json)
    end(context, broken)


@click.command("scrub")
@click.option("--all", "again", is_flag=True, help="Every copy, however lately it was verified.")
@click.option("--rate-mib-s", type=click.FloatRange(0, min_open=True), help="Read no faster.  [default: any rate]")
@volume_option
@as_json_option
@click.pass_context
def scrub_command(
    context: click.Context, again: bool, rate_mib_s: float | None, volumes: tuple[str, ...], as_json: bool
) -> None:
    """Read all copies that are due (upkeep.scrub_cycle_d), compare all checksums, repair out of sound copies.

    Exit status 1 if anything is left that could not be repaired.
    """
    pace = Pace(rate_bytes_s=None if rate_mib_s is None else rate_mib_s * MIB)
    run(
        context, "scrub", as_json,
        lambda tools, pace: scrub(
            tools.objects, cycle_s=tools.upkeep.cycle_s, pace=pace, volumes=volumes or None, again=again
        ),
        pace,
    )  # fmt: skip


@click.command("reconcile")
@click.option("--grace-h", type=click.FloatRange(0), help="Leave younger bytes alone (hours).  [default: as set]")
@click.option("--delete", is_flag=True, help="Remove bytes without a row that are past the grace.")
@volume_option
@as_json_option
@click.pass_context
def reconcile_command(
    context: click.Context, grace_h: float | None, delete: bool, volumes: tuple[str, ...], as_json: bool
) -> None:
    """Compare what lies on the volumes with what is on record.

    Exit status 1 if promised bytes are missing and could not be repaired.
    """
    run(
        context, "reconcile", as_json,
        lambda tools, pace: reconcile(
            tools.objects,
            grace_s=tools.upkeep.grace_s if grace_h is None else grace_h * HOUR_S,
            delete=delete,
            volumes=volumes or None,
            pace=pace,
        ),
    )  # fmt: skip


@click.command("replicate")
@click.option("--copies", type=click.IntRange(1, 10), help="[default: upkeep.copies]")
@as_json_option
@click.pass_context
def replicate_command(context: click.Context, copies: int | None, as_json: bool) -> None:
    """Bring every object to its copies, and repair those that are marked. Exit status 1 if any lacks one still."""

    def work(tools: StoreTools, pace: Pace) -> Iterator[Finding]:
        policy = tools.upkeep.policy
        return replicate(tools.objects, policy if copies is None else replace(policy, copies=copies), pace=pace)

    run(context, "replicate", as_json, work)


@click.command("drain")
@click.argument("volume")
@as_json_option
@click.pass_context
def drain_command(context: click.Context, volume: str, as_json: bool) -> None:
    """Empty a volume: its copies move to others. Exit status 1 if any has to stay; the same command goes on."""
    run(
        context, "drain", as_json, lambda tools, pace: drain(tools.objects, volume, tools.upkeep.policy, pace=pace)
    )  # fmt: skip


@click.command("evict")
@as_json_option
@click.pass_context
def evict_command(context: click.Context, as_json: bool) -> None:
    """Make room on volumes of class cache, by the rules of upkeep.cache_*; never the last copies."""
    run(context, "evict", as_json, lambda tools, pace: evict(tools.objects, tools.upkeep.cache, pace=pace))


@click.command("janitor")
@as_json_option
@click.pass_context
def janitor_command(context: click.Context, as_json: bool) -> None:
    """Clear what writes that were broken off left behind, and finish removals."""
    run(
        context, "janitor", as_json,
        lambda tools, pace: janitor(tools.objects, grace_s=tools.upkeep.grace_s, pace=pace),
    )  # fmt: skip


@click.command("status")
@as_json_option
@click.pass_context
def status_command(context: click.Context, as_json: bool) -> None:
    """Volumes, what lies on them, what is wrong, when it was looked after. Exit status 1 if all is not well."""
    with tools_of(context) as tools:
        found = store_status(tools.objects)
    for line in (as_line(found.as_json()),) if as_json else _status_lines(found):
        click.echo(line)
    context.exit(0 if found.is_sound else 1)


@click.command("rebuild")
@as_json_option
@click.pass_context
def rebuild_command(context: click.Context, as_json: bool) -> None:
    """Make an empty catalogue again from the volumes alone, by the labels that lie with the objects."""
    from storage.rebuild import rebuild

    with tools_of(context) as tools:
        made = rebuild(tools.objects)
    for name, value in asdict(made).items() if not as_json else ():
        click.echo(f"{name:12} {value}")
    if as_json:
        click.echo(as_line(made))


def _status_lines(found: StoreStatus) -> Iterator[str]:
    for volume in found.volumes:
        yield _volume_line(volume)
    yield f"counted {found.counted:%Y-%m-%d %H:%M} UTC; what is marked and what was verified longest ago are as of now"
    for run in found.runs:
        counts = ", ".join(f"{number} {kind}" for kind, number in run.detail["found"].items()) or "no findings"
        seen = f"{run.detail['objects']} objects in {run.detail['seconds']} s"
        yield f"{run.process}  last {run.ended:%Y-%m-%d %H:%M}  {seen}  {counts}  {run.detail['open']} left open"
    yield from found.findings


def _volume_line(volume: VolumeStatus) -> str:
    free = "" if volume.free_bytes is None else f"  free {volume.free_bytes / 1e9:.1f} GB"
    state = volume.state if volume.problem is None else f"{volume.state}, does not answer: {volume.problem}"
    copies = ", ".join(f"{number} {each}" for each, number in sorted(volume.copies.items())) or "none"
    oldest = "" if volume.oldest_verified is None else f", the oldest on {volume.oldest_verified:%Y-%m-%d}"
    return (
        f"{volume.name}  {volume.kind}  {state}{free}  copies: {copies}, {volume.size_bytes / 1e9:.3f} GB on record"
        f"  verified: all but {volume.unverified}{oldest}"
    )
