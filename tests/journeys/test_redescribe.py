"""A mapping is mended: what its files' rows say is mended from the stored bytes, and nothing else of them changes."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import uraniborg
from archive.access.identity import ANONYMOUS
from archive.vo.errors import NotFoundError
from datalink.service import DataLinkService
from ingest.preview.service import PreviewService
from ingest.redescribing import redescribe_command
from tests.journeys.archives import Archive, csv, deliver, image
from tests.live import ROOT

MAPPING = """
description = "the tests' camera"
priority = 30
[match]
OBJECT = "/^field/"
[fields]
facility_name = { value = "Stjerneborg" }
em_min = { value = %s, unit = "nm" }
em_max = { value = 600, unit = "nm" }
release_date = { value = "2001-01-01T00:00:00" }
"""
# Ends its own process as the event of the third changed row is written, inside the transaction.
KILLED = """
import os, signal
import uraniborg
from archive.holdings import redescription
append, seen = redescription.append_event, []
def fatal(*arguments):
    append(*arguments)
    seen.append(arguments)
    if len(seen) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
redescription.append_event = fatal
uraniborg.cli()
"""


@pytest.fixture
def mended(tmp_path: Path) -> Path:
    """A folder with a mapping that the archive's files were not described by."""
    folder = tmp_path / "mappings"
    folder.mkdir()
    (folder / "camera.toml").write_text(MAPPING % 500)
    return folder


def redescribe(archive: Archive, mappings: Path, *words: str, answer: str = "") -> Result:
    """The command, in this process."""
    context = uraniborg.new_context()
    context.data_dir = archive.data_dir
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**archive.env, "URANIBORG_INGEST__MAPPINGS": str(mappings)}.items():
            patch.setenv(name, value)
        return CliRunner().invoke(redescribe_command, list(words), obj=context, input=answer)


def table(archive: Archive, name: str) -> list[dict[str, Any]]:
    return [dict(row._mapping) for row in archive.rows(f"SELECT * FROM {name} ORDER BY 1, 2")]


def stars(archive: Archive) -> list[Any]:
    """The catalogue's rows, and what is published of its columns."""
    return [
        *archive.seen("SELECT * FROM cat.stars ORDER BY 1"),
        *archive.seen("SELECT * FROM tap_schema.columns WHERE table_name = 'cat.stars' ORDER BY column_name"),
    ]


def links(archive: Archive, file_id: str) -> list[Any]:
    opened = archive.opened
    service = DataLinkService(opened.engines.writer, opened.access, opened.store, max_ids=10)
    did = archive.rows("SELECT obs_publisher_did FROM arc.file WHERE file_id = :id", id=file_id)[0][0]
    return list(service.links([did], ANONYMOUS, "http://here").rows)


def test_a_mended_mapping_changes_what_the_header_tells_and_nothing_else(archive: Archive, mended: Path) -> None:
    for name, content in (("a.fits", image(1)), ("b.fits", image(2)), ("stars.csv", csv(20)), ("b.fits", image(3))):
        deliver(archive.drop, f"sky/{name}", content)
        archive.watch_once()
    PreviewService(archive.opened.engines.writer, archive.opened.store).make("sky/a.fits", 1)
    until = datetime(2050, 1, 1, tzinfo=UTC)
    with archive.opened.engines.begin("owner") as connection:  # by hand
        connection.exec_driver_sql(
            "UPDATE arc.file SET rights = 'proprietary', release_date = %s WHERE file_id = 'sky/b.fits'", (until,)
        )
    before, pictures, others = table(archive, "arc.file"), table(archive, "arc.preview"), stars(archive)
    linked, events = links(archive, "sky/a.fits"), len(archive.feed())

    shown = redescribe(archive, mended, "--all", "--json")
    assert shown.exit_code == 0, shown.output
    told = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [(one["file_id"], one["version"], one["outcome"]) for one in told] == [
        ("sky/a.fits", 1, "would_change"), ("sky/b.fits", 2, "would_change")
    ]  # fmt: skip
    assert told[0]["changes"] == {
        "facility_name": {"old": None, "new": "Stjerneborg"},
        "em_min": {"old": None, "new": pytest.approx(500e-9)},
        "em_max": {"old": None, "new": pytest.approx(600e-9)},
    }
    assert [finding["where"] for finding in told[1]["findings"] if finding["code"] == "kept"] == ["release_date"]
    assert table(archive, "arc.file") == before and len(archive.feed()) == events

    done = redescribe(archive, mended, "--collection", "sky", "--yes")
    assert done.exit_code == 0, done.output
    assert "2 changed, 1 unchanged" in done.stderr
    after = table(archive, "arc.file")
    changed = {(row["file_id"], row["version"]): {name for name in row if row[name] != old[name]}
               for row, old in zip(after, before, strict=True) if row != old}  # fmt: skip
    columns = {"facility_name", "em_min", "em_max", "last_mod"}
    assert changed == {("sky/a.fits", 1): columns, ("sky/b.fits", 2): columns}
    seen = archive.seen("SELECT facility_name, em_max, data_rights, last_mod_date > publication_date"
                        " FROM ivoa.obscore WHERE dp_id LIKE '%.fits' ORDER BY dp_id")  # fmt: skip
    assert [tuple(row) for row in seen] == [
        ("Stjerneborg", pytest.approx(600e-9), "public", True),
        ("Stjerneborg", pytest.approx(600e-9), "proprietary", True),
    ]
    assert (table(archive, "arc.preview"), stars(archive)) == (pictures, others)
    assert links(archive, "sky/a.fits") == linked
    assert [(event.kind, event.file_id, event.version, event.detail) for event in archive.feed()[events:]] == [
        ("redescribed", name, version, {"columns": ["em_max", "em_min", "facility_name"]})
        for name, version in (("sky/a.fits", 1), ("sky/b.fits", 2))
    ]
    again = redescribe(archive, mended, "--all", "--yes")
    assert again.stderr.splitlines()[-1] == "3 unchanged"
    assert table(archive, "arc.file") == after and len(archive.feed()) == events + 2


@pytest.mark.parametrize("postgres", ["embedded"], indirect=True)
def test_what_is_refused_is_told_and_left_and_a_kill_leaves_every_row_whole(
    archive: Archive, mended: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        deliver(archive.drop, f"sky/{number}.fits", image(number))
    archive.watch_once()
    before = table(archive, "arc.file")
    (mended / "camera.toml").write_text(MAPPING % 700)  # above em_max
    refused = redescribe(archive, mended, "sky/1.fits", "--yes")
    assert refused.exit_code == 1
    assert "refused       sky/1.fits, version 1" in refused.stdout and "em_min" in refused.stdout
    assert table(archive, "arc.file") == before

    (mended / "camera.toml").write_text(MAPPING % 500)
    words = ["redescribe", "--all", "--yes", "--data-dir", str(archive.data_dir)]
    env = {**os.environ, **archive.env, "URANIBORG_INGEST__MAPPINGS": str(mended)}
    killed = subprocess.run([sys.executable, "-c", KILLED, *words], env=env, cwd=ROOT, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    rows = archive.rows("SELECT facility_name, em_min IS NULL, em_max IS NULL, last_mod = arrived FROM arc.file"
                        " ORDER BY file_id")  # fmt: skip
    assert [tuple(row) for row in rows] == [("Stjerneborg", False, False, False)] * 2 + [(None, True, True, True)] * 4
    told = [event.file_id for event in archive.feed() if event.kind == "redescribed"]
    assert told == ["sky/0.fits", "sky/1.fits"]

    monkeypatch.setattr("ingest.parallel.FILES_A_WORKER", 2)  # two processes
    rest = redescribe(archive, mended, "--all", "--after", "sky/1.fits", "--yes")
    assert "4 changed (" in rest.stderr.splitlines()[-1]
    assert archive.rows("SELECT count(*) FROM arc.file WHERE facility_name = 'Stjerneborg'") == [(6,)]
    unknown = redescribe(archive, mended, "sky/7.fits")
    assert isinstance(unknown.exception, NotFoundError) and "no current files" in str(unknown.exception)
    nothing = redescribe(archive, mended)
    assert nothing.exit_code == 2 and "--all" in nothing.stderr


@pytest.mark.parametrize("postgres", ["embedded"], indirect=True)
def test_it_asks_after_it_has_shown_and_a_no_changes_nothing(archive: Archive, mended: Path) -> None:
    deliver(archive.drop, "sky/a.fits", image(1))
    archive.watch_once()
    refused = redescribe(archive, mended, "--all", answer="n\n")
    assert 'facility_name        null -> "Stjerneborg"' in refused.stdout and "Write this?" in refused.stderr
    assert redescribe(archive, mended, "--all").exit_code == 1  # nobody there to answer
    assert archive.rows("SELECT facility_name FROM arc.file") == [(None,)]
    assert redescribe(archive, mended, "--all", answer="y\n").exit_code == 0
    assert archive.rows("SELECT facility_name FROM arc.file") == [("Stjerneborg",)]
    assert "no file" in redescribe(archive, mended, "--instrument", "none").stderr
