"""`uraniborg demo`: a small real sky, ingested and served, from nothing, with one command."""

import os
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import click

from archive.app.context import Context
from archive.app.opened import OpenedArchive
from archive.app.processes import serve
from archive.app.setup import prepare
from archive.app.supervisor import follow
from archive.database.engines import Engines
from archive.holdings.queries import published_tables
from ingest import tables
from ingest.commands import ingest_all, require_folder
from ingest.opening import ingest_service
from ingest.parallel import Parallel
from ingest.service import offers

DEMO_DATA = Path(__file__).resolve().parent.parent / "demo" / "data"

# Made by the command that a user types: `uraniborg hips build`. File, name, and what is said of it.
SURVEYS = (
    ("wham_halpha_int_car.fits.gz", {
        "name": "wham-halpha", "title": "WHAM: the sky in H-alpha", "regime": "Optical",
        "description": "The Wisconsin H-alpha Mapper's sky survey, DR1: intensity of H-alpha, rayleighs.",
        "copyright_": "WHAM-SS public release", "licence": "BSD-3-Clause (astropy-tutorials)",
    }),
    ("puppisA_erosita.fits.gz", {
        "name": "puppis-a", "title": "Puppis A in X-rays", "regime": "X-ray",
        "description": "The supernova remnant Puppis A as eROSITA saw it, a template of Fermi-LAT's catalogue.",
    }),
)  # fmt: skip

THINGS_TO_TRY = """
The archive is open:  {url}

In a browser     {url}/                     {url}/tap/examples
With curl        curl '{url}/tap/sync?LANG=ADQL&FORMAT=csv&QUERY=SELECT+TOP+5+dp_id,target_name+FROM+ivoa.obscore'
With STILTS      stilts tapquery tapurl={url}/tap adql="SELECT TOP 5 * FROM ivoa.obscore" ofmt=ascii
With Aladin      File > Open: {url}/hips/wham-halpha          all there are: {url}/hips/hipslist
With TOPCAT      VO > Table Access Protocol > TAP URL: {url}/tap
With pyvo        {python} - <<'END'
import pyvo
tap = pyvo.dal.TAPService("{url}/tap")
found = tap.search("SELECT TOP 3 * FROM ivoa.obscore WHERE dataproduct_type = 'image'")
for record in found:
    print(record["obs_publisher_did"], record["target_name"])
    for link in record.getdatalink().bysemantics("#this", include_narrower=False):
        print("   ", link["access_url"], link["content_length"], "bytes")
END

The operator's token is in {token}.  Everything the archive keeps is in {data}.
Stop it with Ctrl-C; `make demo` again goes on where it was.
"""


@click.command("demo")
@click.option("--port", type=int, help="TCP port to serve on.  [default: 8000]")
@click.option("--host", help="Address to serve on.  [default: 127.0.0.1]")
@click.option("--no-serve", is_flag=True, help="Only make the archive; serve it later with `uraniborg serve`.")
@click.pass_obj
def demo_command(context: Context, port: int | None, host: str | None, no_serve: bool) -> None:
    """Make an archive of the demo sky and serve it."""
    began = time.monotonic()
    context.take({"server.port": port, "server.host": host, "title": "Uraniborg demo"})
    settings = context.settings
    archive = context.archive
    archive.urls  # noqa: B018 (starts the database)
    if not no_serve:
        # In a process of its own: its threads and memory are nothing that the archive's processes should begin with.
        words = ["demo", "--no-serve", "--data-dir", str(settings.data_dir), "--port", str(settings.server.port)]
        made = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "uraniborg", *words, "--host", settings.server.host],
            check=False,
            preexec_fn=partial(follow, os.getpid()),
        )
        raise SystemExit(made.returncode or serve(context, ready=partial(_tell, archive, began)))
    click.echo(f"Everything is kept in {settings.data_dir}")
    click.echo("PostgreSQL is running" if settings.embedded else "Using the database that the settings name")
    click.echo("Making tables, views and roles ready")
    prepare(archive, context.metadata())
    click.echo("Ingesting the demo sky: real files of many telescopes (demo/data/README.md tells their origins)")
    found = offers([require_folder(DEMO_DATA, "the demo sky")], collection=None, root=None, default_collection="demo")
    found = [each for each in found if each.path.name != "README.md"]
    service = ingest_service(archive, replace=True)
    reports = ingest_all(
        service, found, show=True, quiet=True, parallel=Parallel(settings, True, settings.ingest.workers)
    )
    counts = Counter(report.outcome.replace("_", " ") for report in reports)
    click.echo("  " + ", ".join(f"{number} {outcome}" for outcome, number in counts.items()))
    cite(archive.engines, {Path(report.path).name: report.file_id for report in reports if report.file_id})
    _make_hips({Path(report.path).name: report.file_id for report in reports if report.file_id})


def _tell(archive: OpenedArchive, began: float, url: str) -> None:
    click.echo(f"Ready after {time.monotonic() - began:.1f} s")
    where = {"token": archive.operator_token_path, "data": archive.settings.data_dir}
    click.echo(THINGS_TO_TRY.format(url=url, python=Path(".venv/bin/python"), **where))


def cite(engines: Engines, file_ids: Mapping[str, str]) -> None:
    """Say how the demo's catalogues are cited: demo/origins.toml, by the names of their files."""
    origins = tomllib.loads((DEMO_DATA.parent / "origins.toml").read_text(encoding="utf-8"))
    with engines.begin("writer") as connection:
        for file, items in origins.items():
            for table in published_tables(connection, file_ids.get(file, "")):
                tables.cite(connection, table, items)


def _make_hips(file_ids: Mapping[str, str]) -> None:
    """The demo's HiPS: one of the whole sky, one of a field; what is published already is left alone."""
    context = click.get_current_context()
    program = context.find_root().command
    assert isinstance(program, click.Group)
    group = program.get_command(context, "hips")  # a room that this one does not know
    assert isinstance(group, click.Group)
    click.echo("Making two HiPS, zoomable images: one of the whole sky, one of a field")
    for file, about in SURVEYS:
        context.invoke(group.commands["build"], images=(file_ids[file],), brief=True, **about)
