"""`uraniborg backup` and `uraniborg restore`."""

import sys
from pathlib import Path

import click

from archive.app.context import Context

_FOLDER = click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
_SNAPSHOT = click.option("--snapshot", metavar="TIME", help="One of DIR/snapshots.  [default: the newest]")


@click.command("backup")
@_FOLDER
@click.option("--verify", "only_verify", is_flag=True, help="Write nothing: read DIR and compare all checksums.")
@_SNAPSHOT
@click.pass_obj
def backup_command(context: Context, folder: Path, only_verify: bool, snapshot: str | None) -> None:
    """Save the whole archive, rows and bytes, into DIR, beside what was saved there before. The archive may run.

    Settings (uraniborg.toml) are yours to keep: they may hold secrets.
    """
    from archive.app import backup, restore

    if only_verify:
        wrong = 0
        for problem in backup.verify(folder, restore.chosen(folder, snapshot)):
            wrong += 1
            click.echo(problem)
        click.echo(f"{wrong} problems" if wrong else "the backup is whole")
        sys.exit(1 if wrong else 0)
    if snapshot is not None:
        raise click.UsageError("--snapshot goes with --verify: a new snapshot gets its time as its name")
    done = backup.backup(context.archive, context.metadata(), folder, version=_version())
    click.echo(
        f"{done.snapshot}: {sum(table.rows for table in done.manifest.tables)} rows, {done.manifest.objects} objects "
        f"({done.manifest.size_bytes} bytes; {done.copied} copied now, {done.kept} were there, "
        f"{len(done.gone)} removed meanwhile)"
    )


@click.command("restore")
@_FOLDER
@_SNAPSHOT
@click.pass_obj
def restore_command(context: Context, folder: Path, snapshot: str | None) -> None:
    """Restore what `uraniborg backup` saved in DIR into an empty archive (--data-dir, and its database)."""
    from archive.app.restore import restore

    manifest = restore(context.archive, context.metadata(), folder, snapshot=snapshot)
    click.echo(
        f"restored the state of {manifest.taken}: {sum(table.rows for table in manifest.tables)} rows, "
        f"{manifest.objects - len(manifest.gone)} objects ({manifest.size_bytes} bytes)"
    )


def _version() -> str:
    from importlib.metadata import version

    return version("uraniborg")
