"""Files in and out, and what is on record of them: put, get, ls, info, verify, export."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from storage import transfer
from storage.client import Files, LocalFiles
from storage.commands.doors import files_of, node_options, tools_of
from storage.commands.telling import as_json_option, as_line, end, progress, tell_findings
from storage.errors import ObjectNotFound
from storage.findings import Finding, Pace
from storage.model import ObjectVersion
from storage.scrub import verify_version
from storage.transfer import Transferred


@click.command("put")
@click.argument("sources", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--under", default="", help="What the file_ids begin with, e.g. survey/2026/")
@click.option("--threads", type=click.IntRange(1, 64), default=4, show_default=True, help="Files at a time.")
@as_json_option
@node_options
def put_command(
    context: click.Context, sources: tuple[Path, ...], under: str, threads: int, as_json: bool,
    url: str | None, token_file: Path | None,
) -> None:  # fmt: skip
    """Put files, and folders with all in them: the file_id is UNDER, the source's own name, the way within it.

    What is there with the same bytes is not sent again; other bytes make the next version. Exit status 1 if any
    failed: the same command goes on.
    """
    found = list(transfer.to_put(sources, under))
    with (
        files_of(context, url, token_file) as place,
        progress("putting", sum(transfer.size_of(path) for path, _ in found), shown=not as_json) as advance,
    ):
        done = transfer.at_once(
            found,
            lambda job: transfer.put_file(place, *job, advance),
            lambda job, error: Transferred(job[1], str(job[0]), "failed", problem=str(error)),
            threads,
            advance.stop,
        )
        end(context, _tell_transfers(done, as_json))


@click.command("get")
@click.argument("file_ids", nargs=-1, required=True)
@click.option("--output", type=click.Path(path_type=Path), help="Folder, or of one file its name.  [default: .]")
@click.option("--version", type=click.IntRange(1), help="Of one file.  [default: the newest]")
@click.option("--prefix", "by_prefix", is_flag=True, help="FILE_IDS are prefixes: all files that begin so.")
@click.option("--threads", type=click.IntRange(1, 64), default=4, show_default=True, help="Files at a time.")
@as_json_option
@node_options
def get_command(
    context: click.Context, file_ids: tuple[str, ...], output: Path | None, version: int | None, by_prefix: bool,
    threads: int, as_json: bool, url: str | None, token_file: Path | None,
) -> None:  # fmt: skip
    """Get files, verified by SHA-256. What was cut off goes on where it was; what is there already stays.

    Exit status 1 if any failed.
    """
    with files_of(context, url, token_file) as place:
        jobs = list(_to_get(place, file_ids, version, output, by_prefix))
        with progress("getting", sum(each.size_bytes for each, _ in jobs), shown=not as_json) as advance:
            done = transfer.at_once(
                jobs,
                lambda job: transfer.get_file(place, *job, advance),
                lambda job, error: Transferred(job[0].file_id, str(job[1]), "failed", problem=str(error)),
                threads,
                advance.stop,
            )
            end(context, _tell_transfers(done, as_json))


@click.command("ls")
@click.argument("prefix", default="")
@as_json_option
@node_options
def ls_command(context: click.Context, prefix: str, as_json: bool, url: str | None, token_file: Path | None) -> None:
    """List the files whose file_id begins with PREFIX, of each the newest version."""
    with files_of(context, url, token_file) as place:
        for version in place.files(prefix):
            click.echo(as_line(_shown(version)) if as_json else _line(version))


@click.command("info")
@click.argument("file_id")
@click.option("--version", type=click.IntRange(1), help="[default: the newest]")
@as_json_option
@node_options
def info_command(
    context: click.Context, file_id: str, version: int | None, as_json: bool, url: str | None,
    token_file: Path | None,
) -> None:  # fmt: skip
    """What is on record of a file: its digests, its copies, its versions."""
    with files_of(context, url, token_file) as place:
        held, versions = place.stat(file_id, version), place.versions(file_id)
    if as_json:
        numbers = [{"version": each.version, "removed": each.removed} for each in versions]
        click.echo(as_line({**_shown(held), "copies": held.copies, "versions": numbers}))
        return
    for name, value in _shown(held).items():
        click.echo(f"{name:13} {'' if value is None else value}")
    for copy in held.copies:
        verified = "never verified" if copy.verified is None else f"verified {copy.verified:%Y-%m-%d %H:%M}"
        click.echo(f"copy          {copy.volume}  {copy.state}  {verified}  {copy.key}")
    removed = ", ".join(str(each.version) for each in versions if each.removed)
    click.echo(f"versions      {len(versions)}" + (f", of which removed: {removed}" if removed else ""))


@click.command("verify")
@click.argument("file_ids", nargs=-1, required=True)
@click.option("--prefix", "by_prefix", is_flag=True, help="FILE_IDS are prefixes: all files that begin so.")
@as_json_option
@click.pass_context
def verify_command(context: click.Context, file_ids: tuple[str, ...], by_prefix: bool, as_json: bool) -> None:
    """Read all copies of files now, of all their versions, and repair them. Exit status 1 if anything is left."""
    with tools_of(context) as tools:
        service, pace = tools.objects, Pace()

        def findings() -> Iterator[Finding]:
            for file_id in _named(LocalFiles(service), file_ids, by_prefix):
                for version in service.versions(file_id):
                    if version.removed is None:
                        held = service.stat(file_id, version.version)
                        yield from verify_version(service, held, pace)

        broken = tell_findings(findings(), as_json)
    if not as_json:
        click.echo(f"{pace.objects} copies, {pace.size_bytes / 1e6:.1f} MB read")
    end(context, broken)


@click.command("export")
@click.argument("prefix")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--container", type=click.IntRange(1), help="Number of a container: only its files.")
@click.option("--info", "infos", multiple=True, metavar="NAME=VALUE", help="For bag-info.txt; may be given again.")
@click.option("--threads", type=click.IntRange(1, 64), default=4, show_default=True, help="Files at a time.")
@as_json_option
@click.pass_context
def export_command(
    context: click.Context, prefix: str, folder: Path, container: int | None, infos: tuple[str, ...], threads: int,
    as_json: bool,
) -> None:  # fmt: skip
    """Write the files that begin with PREFIX (newest versions) into FOLDER as a BagIt bag, for another archive."""
    from storage.export import export

    info = dict(_pair(each) for each in infos)
    with tools_of(context) as tools:
        chosen = list(tools.objects.files(prefix, container_id=container))
        if not chosen:
            raise ObjectNotFound(f"there is no file whose file_id begins with {prefix!r} to be exported")
        with progress("exporting", sum(each.size_bytes for each in chosen), shown=not as_json) as advance:
            told = (lambda one: click.echo(as_line(one))) if as_json else (lambda one: None)
            files = LocalFiles(tools.objects)
            number = export(files, chosen, folder, info=info, threads=threads, advance=advance, told=told)
    if not as_json:
        click.echo(f"{number} files in {folder}")


def _to_get(
    place: Files, file_ids: Iterable[str], version: int | None, output: Path | None, by_prefix: bool
) -> Iterator[tuple[ObjectVersion, Path]]:
    named = list(file_ids)
    if by_prefix:
        for prefix in named:
            for held in _beginning(place, prefix):
                yield held, transfer.place_of(held.file_id, prefix, output or Path())
        return
    if version is not None and len(named) > 1:
        raise click.UsageError("--version is of one file")
    for file_id in named:
        held = place.stat(file_id, version)
        if output is not None and len(named) == 1 and not output.is_dir():
            yield held, output
        else:
            yield held, transfer.place_of(file_id, file_id[: file_id.rfind("/") + 1], output or Path())


def _named(place: Files, file_ids: Iterable[str], by_prefix: bool) -> Iterator[str]:
    for file_id in file_ids:
        if not by_prefix:
            place.stat(file_id)  # there is such a file, or who asked is told
            yield file_id
            continue
        for held in _beginning(place, file_id):
            yield held.file_id


def _beginning(place: Files, prefix: str) -> Iterator[ObjectVersion]:
    """The files that begin so; ObjectNotFound if none does, for a slip must not look like success."""
    held = None
    for held in place.files(prefix):
        yield held
    if held is None:
        raise ObjectNotFound(f"there is no file whose file_id begins with {prefix!r}")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"--info takes NAME=VALUE, not {text!r}")
    return name, value


def _tell_transfers(done: Iterable[Transferred], as_json: bool) -> int:
    """Tell each as it is done; how many failed."""
    failed = 0
    for one in done:
        failed += one.outcome == "failed"
        told = one.problem or f"version {one.version}  {one.size_bytes} bytes  sha256 {one.sha256}"
        click.echo(as_line(one) if as_json else f"{one.outcome:10} {one.file_id}  {told}")
    return failed


def _shown(version: ObjectVersion) -> dict[str, Any]:
    names = (
        "file_id",
        "version",
        "size_bytes",
        "media_type",
        "sha256",
        "md5",
        "crc32c",
        "created",
        "removed",
        "container_id",
    )
    return {name: getattr(version, name) for name in names}


def _line(version: ObjectVersion) -> str:
    return f"{version.created:%Y-%m-%d %H:%M}  {version.size_bytes:>14}  {version.version:>4}  {version.file_id}"
