"""An archive whose release moves on to another PostgreSQL: its rows, bytes and answers are what they were."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

import uraniborg
from archive.app.opened import OpenedArchive
from archive.app.setup import prepare
from archive.database.cluster import version_of
from archive.settings import Loaded
from archive.vo.errors import ConfigurationError
from tests.former import former_release
from tests.journeys.archives import Archive, deliver, image
from tests.journeys.test_backup import answers, fill, rows, stored
from tests.live import PROGRAM, ROOT


@contextmanager
def embedded_archive(data_dir: Path) -> Iterator[Archive]:
    """The archive of a data folder on its embedded server, as `serve` opens it."""
    (data_dir.parent / "incoming").mkdir(exist_ok=True)
    with OpenedArchive(Loaded.load(data_dir, {"database.shared_buffers_mib": 32}).settings) as opened:
        prepare(opened, uraniborg.metadata())
        yield Archive(opened, cast(Any, None), data_dir, data_dir.parent / "incoming", {})


def test_an_archive_comes_over_with_its_rows_bytes_and_answers(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with former_release(), embedded_archive(data_dir) as archive:
        fill(archive)
        before = rows(archive), stored(archive), answers(archive)
        queue = archive.rows("SELECT task_name, status FROM jobs.procrastinate_jobs ORDER BY id")
    with pytest.raises(ConfigurationError, match="uraniborg db upgrade"), embedded_archive(data_dir):
        pass
    done = subprocess.run(
        [*PROGRAM, "db", "upgrade", "--data-dir", str(data_dir)], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "the database went from PostgreSQL 15 to 18\n"
    with embedded_archive(data_dir) as archive:
        assert (rows(archive), stored(archive), answers(archive)) == before
        assert archive.rows("SELECT task_name, status FROM jobs.procrastinate_jobs ORDER BY id") == queue
        deliver(archive.drop, "sky/0.fits", image(18))
        assert [(report.outcome, report.version) for report in archive.watch_once()] == [("new_version", 3)]
        numbers = [event.event_id for event in archive.feed()]
        assert numbers == list(range(1, len(numbers) + 1))
    assert version_of(data_dir / "db.former-15") == "15"
    again = subprocess.run(
        [*PROGRAM, "db", "upgrade", "--remove-former", "--data-dir", str(data_dir)],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert not (data_dir / "db.former-15").exists()
