"""From a file that comes in to its pictures in the archive: queued with its row, drawn by a worker, served as links."""

import io
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from archive.holdings import previews
from archive.vo.errors import UnavailableError
from ingest.preview.service import PreviewService
from storage.errors import VolumeUnavailable
from storage.service import ObjectStore
from tests.journeys.archives import Archive, csv, deliver, image
from tests.live import PROGRAM, ROOT

DEMO = ROOT / "demo" / "data"
PATIENCE_S = 90.0
EMBEDDED = pytest.mark.parametrize("postgres", ["embedded"], indirect=True)
DRAWN = "SELECT file_id, version, role, width, height FROM arc.preview ORDER BY file_id, version, role"
JOBS = "SELECT phase, parameters, error FROM uws.job WHERE kind = 'preview' ORDER BY creation_time"


@contextmanager
def worker(archive: Archive) -> Iterator[None]:
    """A job process, as `uraniborg serve` runs it."""
    process = subprocess.Popen(
        [*PROGRAM, "worker", "--data-dir", str(archive.data_dir)], env={**os.environ, **archive.env}, cwd=ROOT
    )
    try:
        yield
    finally:
        process.terminate()
        assert process.wait(60) == 0


def wait_for_jobs(archive: Archive) -> list[str]:
    """The phases of all preview jobs, once they have ended."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        phases = [row[0] for row in archive.rows(JOBS)]
        if not set(phases) & {"PENDING", "QUEUED", "EXECUTING"}:
            return phases
        time.sleep(0.1)
    raise AssertionError(f"the jobs did not end: {archive.rows(JOBS)}")


def picture(archive: Archive, file_id: str, version: int, role: previews.Role) -> Image.Image:
    with archive.opened.engines.writer.connect() as connection:
        row = previews.of_file(connection, file_id, version, role)
    assert row is not None
    with archive.opened.store.reader(row.object_key) as stream:
        content = stream.read()
    assert len(content) == row.size_bytes
    drawn = Image.open(io.BytesIO(content))
    drawn.load()
    assert (drawn.size, drawn.format, row.media_type) == ((row.width, row.height), "PNG", "image/png")
    return drawn


def test_what_came_in_is_drawn_by_a_worker(archive: Archive) -> None:
    deliver(archive.drop, "survey/field.fits", image(1, size=40))
    deliver(archive.drop, "survey/star.fits", (DEMO / "spectra" / "efosc2_sn2010f_gr11.fits").read_bytes())
    deliver(archive.drop, "survey/cube.fits", (DEMO / "radio" / "m17sw_alma_unittest.fits").read_bytes())
    deliver(archive.drop, "survey/sources.csv", csv(5))
    assert {report.outcome for report in archive.watch_once()} == {"accepted"}
    assert len(archive.rows(JOBS)) == 3, "a catalogue is nothing to look at"
    assert archive.rows(DRAWN) == []
    with worker(archive):
        assert wait_for_jobs(archive) == ["COMPLETED"] * 3
    held = {(row.file_id, row.role) for row in archive.rows(DRAWN)}
    names = {row[0] for row in archive.rows("SELECT file_id FROM arc.file WHERE media_type = 'application/fits'")}
    assert held == {(name, role) for name in names for role in ("preview", "thumbnail")}
    for name, role in held:
        drawn = picture(archive, name, 1, role)  # type: ignore[arg-type]
        assert max(drawn.size) <= (1024 if role == "preview" else 256)
        assert np.asarray(drawn.convert("L"), float).std() > 5
    assert archive.findings() == []


@EMBEDDED
def test_a_new_version_has_pictures_of_its_own_and_drawing_again_leaves_nothing_behind(archive: Archive) -> None:
    service = PreviewService(archive.opened.engines.writer, archive.opened.store)
    for seed in (1, 2):
        deliver(archive.drop, "survey/field.fits", image(seed))
        archive.watch_once()
        assert service.make("survey/field.fits", seed) == "made"
    first, second = (np.asarray(picture(archive, "survey/field.fits", n, "preview")) for n in (1, 2))
    assert (first != second).any()
    former = {row[0] for row in archive.rows("SELECT object_key FROM arc.preview")}
    assert service.make("survey/field.fits", 2) == "made"
    now = {row[0] for row in archive.rows("SELECT object_key FROM arc.preview")}
    assert len(former & now) == 2
    assert len(now) == 4
    assert archive.findings() == []
    (rows,) = archive.rows("SELECT count(*) FROM store.object")[0]
    assert rows == 2 + 4


@EMBEDDED
def test_a_file_that_is_not_taken_in_leaves_no_job(archive: Archive) -> None:
    deliver(archive.drop, "survey/cut.fits", image(1)[:3000])
    deliver(archive.drop, "survey/field.fits", image(2))
    assert sorted(report.outcome for report in archive.watch_once()) == ["accepted", "quarantined"]
    ((_, parameters, _),) = archive.rows(JOBS)
    assert parameters == [["FILE_ID", "survey/field.fits"], ["VERSION", "1"]]
    deliver(archive.drop, "survey/field.fits", image(2))
    assert [report.outcome for report in archive.watch_once()] == ["unchanged"]
    assert len(archive.rows(JOBS)) == 1


@EMBEDDED
def test_a_file_that_cannot_be_drawn_is_noted_and_stays_what_it_is(archive: Archive) -> None:
    """Its object is gone from the volume: the job says so, and the other file is drawn."""
    for n in (1, 2):
        deliver(archive.drop, f"survey/{n}.fits", image(n))
    archive.watch_once()
    ((key,),) = archive.rows("SELECT object_key FROM arc.file WHERE file_id = 'survey/1.fits'")
    archive.opened.store.delete(key)
    with worker(archive):
        phases = wait_for_jobs(archive)
    assert sorted(phases) == ["COMPLETED", "ERROR"]
    ((error,),) = [(row.error,) for row in archive.rows(JOBS) if row.phase == "ERROR"]
    assert "survey/1.fits" in error["message"]
    assert {row.file_id for row in archive.rows(DRAWN)} == {"survey/2.fits"}
    assert archive.seen("SELECT count(*) FROM ivoa.obscore") == [(2,)]


class Faltering(ObjectStore):
    """A store that cannot be read the first `failures` times."""

    def __init__(self, store: ObjectStore, failures: int) -> None:
        super().__init__(store.volumes)
        self.failures = failures

    def reader(self, key: str, *, volume: str | None = None) -> "io.BufferedReader":  # type: ignore[override]
        if self.failures:
            self.failures -= 1
            raise VolumeUnavailable("the disk is away")
        return super().reader(key, volume=volume)  # type: ignore[return-value]


@EMBEDDED
def test_what_fails_by_the_archives_fault_is_tried_twice_and_not_thrice(archive: Archive) -> None:
    deliver(archive.drop, "survey/field.fits", image(1))
    archive.watch_once()
    writer, store = archive.opened.engines.writer, archive.opened.store
    with pytest.raises(UnavailableError, match=r"survey/field\.fits"):
        PreviewService(writer, Faltering(store, 2)).make("survey/field.fits", 1)
    assert archive.rows(DRAWN) == []
    assert PreviewService(writer, Faltering(store, 1)).make("survey/field.fits", 1) == "made"


@EMBEDDED
def test_the_command_draws_what_is_missing(archive: Archive, tmp_path: Path) -> None:
    for n in (1, 2):
        deliver(archive.drop, f"survey/{n}.fits", image(n))
    archive.watch_once()
    PreviewService(archive.opened.engines.writer, archive.opened.store).make("survey/1.fits", 1)
    made = "SELECT made FROM arc.preview WHERE file_id = 'survey/1.fits' AND role = 'preview'"
    before = archive.rows(made)
    done = archive.run("ingest", "previews", "--missing")
    assert (done.returncode, done.stdout) == (0, "1 drawn, 0 with nothing to see, 0 failed\n"), done.stderr
    assert len(archive.rows(DRAWN)) == 4
    assert archive.rows(made) == before
    done = archive.run("ingest", "previews")
    assert done.stdout.startswith("2 drawn"), done.stderr
    assert archive.rows(made) > before
    assert archive.findings() == []
