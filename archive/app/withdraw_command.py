"""`uraniborg withdraw`: a file is taken back, with a reason; its bytes go only when told."""

from datetime import UTC, datetime

import click

from archive.app.context import Context


@click.command("withdraw")
@click.argument("file_id", metavar="FILE_ID")
@click.option("--reason", help="Why. Everybody who follows /events reads it.")
@click.option("--purge", is_flag=True, help="Remove the bytes of all versions too. Nothing brings them back.")
@click.pass_obj
def withdraw_command(context: Context, file_id: str, reason: str | None, purge: bool) -> None:
    """Take a file out of every search and answer, its published catalogue too; the bytes stay unless --purge.

    A file that is withdrawn already needs no --reason to be purged.
    """
    from archive.access import queries as access
    from archive.holdings import withdrawal

    if reason is None and not purge:
        raise click.UsageError("give a --reason: those who have a copy will ask for it")
    gone = None
    with context.writer.begin() as connection:
        if reason is not None:
            done = withdrawal.withdraw(connection, file_id, reason, now=datetime.now(UTC))
            access.note(connection, "operator", "withdraw", file_id, "done", reason)
            click.echo(f"{file_id}, version {done.version}: withdrawn")
            for table in done.tables:
                click.echo(f"{table}: no longer published")
        if purge:
            gone = withdrawal.purge(connection, file_id)
            access.note(connection, "operator", "purge", file_id, "done", reason or "")
    # Row first, bytes after the commit: cut off here, they are copies of removed objects, which can be finished.
    if gone is not None:
        for version in gone.versions:
            context.archive.objects.finish_removal(version)
        for volume, key in gone.pictures:
            context.archive.store.delete(key, volume=volume)
        click.echo(f"{file_id}: {len(gone.versions) + len(gone.pictures)} objects removed")
