"""UWS documents against the schema (by STILTS, with the XSDs it brings) and as pyvo's strict parser reads them."""

import io
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyvo.io.uws import parse_job

from archive.jobs.documents import job_document, jobs_document, parameters_document, results_document
from archive.jobs.job import (
    FINISHED,
    TRANSITIONS,
    Job,
    JobError,
    JobReference,
    Parameter,
    Phase,
    Result,
    demand_transition,
    time_from_text,
    time_text,
)
from archive.vo.errors import StateError, UsageError

URL = "https://archive.example/tap/async"
BORN = datetime(2026, 3, 1, 12, 0, 0, 5_000, tzinfo=UTC)
BARE = Job(
    job_id="a1",
    kind="tap",
    run_id=None,
    owner=None,
    phase=Phase.PENDING,
    quote=None,
    creation_time=BORN,
    start_time=None,
    end_time=None,
    execution_duration_s=3600,
    destruction=None,
)
FULL = replace(
    BARE,
    run_id="run <1> & more",
    owner="alice",
    phase=Phase.ERROR,
    quote=BORN,
    start_time=BORN,
    end_time=BORN + timedelta(seconds=1),
    destruction=BORN + timedelta(days=7),
    parameters=(
        Parameter("QUERY", "SELECT '<ü>' FROM t WHERE a < 3 & b \x07"),
        Parameter("X", "1"),
        Parameter("X", "2"),
    ),
    results=(
        Result("result", "key", "application/x-votable+xml", 12_345_678_901),
        Result("log", "k2", "text/plain", 0),
    ),
    error=JobError("line 1: <expected> FROM", is_transient=True),
)
REFERENCE = JobReference("a1", Phase.PENDING, None, None, BORN)


@pytest.mark.parametrize(
    ("element", "text"),
    [
        ("job", job_document(BARE, f"{URL}/a1")),
        ("job", job_document(FULL, f"{URL}/a1")),
        ("jobs", jobs_document([REFERENCE, replace(REFERENCE, run_id="run <1> & \x07", owner="alice")], URL)),
        ("jobs", jobs_document([], URL)),
        ("parameters", parameters_document(FULL)),
        ("results", results_document(BARE, f"{URL}/a1")),
    ],
)
def test_each_document_is_valid_by_the_uws_schema(element: str, text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "document.xml"
    path.write_bytes(text)
    top = "{http://www.ivoa.net/xml/UWS/v1.0}" + element
    command = ["stilts", "xsdvalidate", f"doc={path}", f"topel={top}", "uselocals=true"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_pyvo_reads_every_value_of_a_job() -> None:
    job = parse_job(io.BytesIO(job_document(FULL, f"{URL}/a1")))
    assert (job.jobid, job.runid, job.ownerid, job.phase) == ("a1", FULL.run_id, "alice", "ERROR")
    assert [result.href for result in job.results] == [f"{URL}/a1/results/result", f"{URL}/a1/results/log"]
    assert job.results[0].size == 12_345_678_901
    assert [(parameter.id_, parameter.content) for parameter in job.parameters] == [
        ("QUERY", "SELECT '<ü>' FROM t WHERE a < 3 & b \ufffd"),
        ("X", "1"),
        ("X", "2"),
    ]
    assert job.errorsummary.message.content == "line 1: <expected> FROM"
    assert job.executionduration.to_value("s") == 3600
    assert job.creationtime.isot == "2026-03-01T12:00:00.005"


@given(
    moment=st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2999, 1, 1)),
    hours=st.integers(-14, 14),
)
def test_a_time_read_again_is_the_time_that_was_told(moment: datetime, hours: int) -> None:
    text = time_text(moment.replace(tzinfo=timezone(timedelta(hours=hours))))
    assert text.endswith("Z")
    assert time_text(time_from_text(text, "DESTRUCTION")) == text
    assert abs((time_from_text(text, "X") + timedelta(hours=hours)).replace(tzinfo=None) - moment) < timedelta(
        milliseconds=1
    )


def test_a_text_that_is_no_time_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="DESTRUCTION='soon'"):
        time_from_text("soon", "DESTRUCTION")


def test_nothing_follows_the_end_of_a_job() -> None:
    for old in FINISHED:
        for new in Phase:
            with pytest.raises(StateError):
                demand_transition("a1", old, new)
    for old, followers in TRANSITIONS.items():
        assert Phase.ABORTED in followers
        for new in followers:
            demand_transition("a1", old, new)
