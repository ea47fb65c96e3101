"""Which tests share a process of pytest-xdist: those of a file, and those of one live archive. A plugin of pytest.

The live archive (tests.live) takes a minute to start. By files alone each process would start both of them.
"""

import re

import pytest
from xdist.scheduler import LoadFileScheduling
from xdist.scheduler.protocol import Scheduling

LIVE = re.compile(r"tests/protocols/.*\[(?:.*-)?(embedded|pgsphere)(?:-.*)?\]$")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Scheduling | None:
    return ByArchive(config, log) if config.getoption("dist") == "loadfile" else None


class ByArchive(LoadFileScheduling):
    """Like loadfile, but that the tests of the live archive on one database are one unit, whatever their files."""

    def _split_scope(self, nodeid: str) -> str:
        live = LIVE.match(nodeid)
        return f"live-{live[1]}" if live else super()._split_scope(nodeid)
