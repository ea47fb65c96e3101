"""A process that ingests from a drop folder as `uraniborg ingest watch --once` does, and can be told where to die.

    python -m tests.journeys.worker DATA_DIR DROP [SEAM:N]

It kills itself with SIGKILL when it passes the seam for the N-th time: one of journey (i)'s seams, or `transaction`,
which lies inside the transaction after all is written and before it is committed. It says "ready" once it stands
open. Told "wait" instead of a seam it goes on at a line on standard input; told "watch", too, and then never ends.
"""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from archive.app.opened import OpenedArchive
from archive.settings import Loaded
from ingest import service as ingest_service_module
from ingest.commands import take_claims
from ingest.dropfolder import DropFolder
from ingest.opening import ingest_service


class Fate:
    """Counts how often the fatal seam is passed."""

    def __init__(self, seam: str, passings: int) -> None:
        self._seam = seam
        self._left = passings

    def __call__(self, seam: str) -> None:
        if seam == self._seam:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def main(data_dir: str, drop_folder: str, fate: str = "none:1") -> None:
    seam, _, passings = fate.partition(":")
    passed = Fate(seam, int(passings or 1))
    append_event = ingest_service_module.append_event

    def fatal_append_event(*arguments: Any) -> None:
        append_event(*arguments)
        passed("transaction")

    setattr(ingest_service_module, "append_event", fatal_append_event)  # noqa: B010 (mypy would not have it replaced)
    with OpenedArchive(Loaded.load(Path(data_dir)).settings) as archive:
        service = ingest_service(archive, replace=True, passed=passed)
        with archive.engines.writer.connect():
            pass
        print("ready", flush=True)
        if seam in ("wait", "watch"):
            sys.stdin.readline()
        with DropFolder(Path(drop_folder)) as drop:
            take_claims(service, drop, Path(drop_folder), None, "default", passed=passed)
            while seam == "watch":
                time.sleep(0.01)
                take_claims(service, drop, Path(drop_folder), None, "default", passed=passed)


if __name__ == "__main__":
    main(*sys.argv[1:])
