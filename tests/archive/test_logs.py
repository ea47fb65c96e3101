"""What is written to the log, whoever writes it: one line of JSON each, with all that an operator needs of a fault."""

import json
import subprocess
import sys

from tests.live import ROOT

WRITING = """
import logging, warnings
import structlog
from archive.app.logs import configure_logging
configure_logging(logging.WARNING)
with structlog.contextvars.bound_contextvars(job_id="j1"):
    try:
        {}["missing"]
    except KeyError as error:
        logging.getLogger("a.library").exception("line one\\nline %d", 2)
        structlog.get_logger("ours").error("worse", exc_info=error)
logging.getLogger("a.library").info("chatter")
logging.getLogger("archive.jobs.runner").info("job %s: COMPLETED", "j2")
warnings.warn("is old", DeprecationWarning, stacklevel=1)
"""


def test_each_line_is_json_with_its_traceback_and_what_it_belongs_to() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", WRITING], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    foreign, ours, job, warned = lines
    assert (foreign["event"], foreign["logger"], foreign["level"]) == ("line one\nline 2", "a.library", "error")
    for line in (foreign, ours):
        assert line["job_id"] == "j1" and line["exception"].splitlines()[-1] == "KeyError: 'missing'"
    assert (job["event"], job["level"]) == ("job j2: COMPLETED", "info") and "job_id" not in job
    assert "is old" in warned["event"]
