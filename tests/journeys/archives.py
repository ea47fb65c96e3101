"""An archive of its own for a test: an empty database made ready, a store, a drop folder; and small files to put in."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from sqlalchemy import text

import uraniborg
from archive.app.opened import OpenedArchive
from archive.app.setup import prepare
from archive.settings import Loaded
from ingest.commands import take_claims
from ingest.dropfolder import DropFolder
from ingest.opening import ingest_service
from ingest.service import IngestService, Report
from storage.feed import Event, read_events
from storage.findings import Finding
from storage.reconcile import reconcile
from storage.scrub import scrub
from tests.databases import Postgres
from tests.journeys.folders import deliver, files_below
from tests.live import PROGRAM, ROOT, database_environment

__all__ = ["Archive", "csv", "deliver", "empty_archive", "files_below", "image"]
WORKER = [sys.executable, "-m", "tests.journeys.worker"]


@dataclass(frozen=True)
class Archive:
    """An archive that stands open in this process; env: what another process needs to work on it."""

    opened: OpenedArchive
    postgres: Postgres
    data_dir: Path
    drop: Path
    env: Mapping[str, str]

    def service(self, **options: Any) -> IngestService:
        return ingest_service(self.opened, **options)

    def watch_once(self, folder: Path | None = None, *, collection: str | None = None) -> list[Report]:
        """What `uraniborg ingest watch --once` does, in this process."""
        folder = folder or self.drop
        with DropFolder(folder) as drop:
            return take_claims(self.service(replace=True), drop, folder, collection, "default")

    def run(self, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        """A command of the archive as a user types it; settings: variables of its environment."""
        return subprocess.run(
            [*PROGRAM, *arguments, "--data-dir", str(self.data_dir)],
            env={**os.environ, **self.env, **settings}, cwd=ROOT, capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    def start_worker(self, *arguments: str) -> "subprocess.Popen[str]":
        """A process that ingests from the drop folder (tests.journeys.worker)."""
        return subprocess.Popen(
            [*WORKER, str(self.data_dir), str(self.drop), *arguments],
            env={**os.environ, **self.env}, cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def rows(self, sql: str, **parameters: Any) -> list[Any]:
        """What the owner sees."""
        with self.opened.engines.owner.connect() as connection:
            return list(connection.execute(text(sql), parameters))

    def seen(self, sql: str) -> list[Any]:
        """What the reader, which users' queries run as, sees."""
        with self.opened.engines.reader.connect() as connection:
            return list(connection.execute(text(sql)))

    def feed(self) -> list[Event]:
        with self.opened.engines.writer.begin() as connection:
            return read_events(connection, limit=10_000)

    def file_events(self) -> list[Event]:
        """The events of files: not that a catalogue became a table, nor that the store was looked after."""
        return [event for event in self.feed() if event.kind not in ("published", "unpublished", "verified", "upkeep")]

    def findings(self, *, grace_s: float = 0.0, delete: bool = False) -> list[Finding]:
        """What is not as it should be in the store, by comparing and by reading all of it."""
        objects = self.opened.objects
        return [*reconcile(objects, grace_s=grace_s, delete=delete), *scrub(objects, cycle_s=0, again=True)]

    def reconcile(self, *arguments: str, **settings: str) -> list[dict[str, Any]]:
        """The findings of `uraniborg store reconcile --json`."""
        done = self.run("store", "reconcile", "--json", *arguments, **settings)
        assert done.returncode in (0, 1), done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


@contextmanager
def empty_archive(postgres: Postgres, folder: Path) -> Iterator[Archive]:
    """An archive in a fresh database, its data and its drop folder below `folder`; closed and dropped at the end."""
    fresh = postgres.fresh_database()
    env = database_environment(fresh.urls)
    options = {f"database.{role}_url": env[f"URANIBORG_DATABASE__{role.upper()}_URL"]
               for role in ("owner", "writer", "reader")}  # fmt: skip
    data_dir, drop = folder / "data", folder / "incoming"
    drop.mkdir(parents=True)
    with OpenedArchive(Loaded.load(data_dir, options).settings) as opened:
        prepare(opened, uraniborg.metadata())
        yield Archive(opened, fresh, data_dir, drop, env)
    fresh.drop()


def image(seed: int, *, ra: float = 150.0, dec: float = 2.0, size: int = 16) -> bytes:
    """A FITS image of noise with a TAN projection, as bytes."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [(size + 1) / 2, (size + 1) / 2]
    wcs.wcs.cdelt = [-1e-3, 1e-3]
    header = wcs.to_header()
    header["DATE-OBS"] = "2021-03-04T05:06:07"
    header["EXPTIME"] = 30.0
    header["OBJECT"] = f"field {seed}"
    pixels = np.random.default_rng(seed).normal(size=(size, size)).astype(">f4")
    hdu = fits.PrimaryHDU(pixels, header)
    return bytes(hdu.header.tostring().encode("ascii")) + _padded(pixels.tobytes())


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 2880)


def csv(rows: int, *, seed: int = 1) -> bytes:
    """A catalogue as CSV: id, ra, dec, mag; positions within a degree of (150, 2)."""
    rng = np.random.default_rng(seed)
    lines = ["id,ra,dec,mag"]
    lines += [f"s{n},{150 + rng.uniform(-1, 1):.6f},{2 + rng.uniform(-1, 1):.6f},{rng.uniform(10, 20):.3f}"
              for n in range(rows)]  # fmt: skip
    return ("\n".join(lines) + "\n").encode()
