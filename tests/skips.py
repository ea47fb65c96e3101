"""A skipped test is a test that nobody runs: where CI is set in the environment, a skip fails the run, unless its node
id is listed in allowed_skips.txt with a reason. A plugin of pytest, loaded by conftest.py."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

ALLOWED = Path(__file__).with_name("allowed_skips.txt")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--allowed-skips", type=Path, default=ALLOWED, help="file that lists tests CI may skip")


def pytest_configure(config: pytest.Config) -> None:
    # With xdist the workers report to the one that was started, and that one judges.
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Skips(config.getoption("--allowed-skips")), "uraniborg-skips")


class Skips:
    """Collects the node ids that were skipped."""

    def __init__(self, allowed: Path) -> None:
        self._allowed = dict(read_allowed(allowed))
        self._skipped: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self._skipped[report.nodeid] = str(report.longrepr)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._skipped[report.nodeid] = str(report.longrepr)

    @property
    def unexpected(self) -> dict[str, str]:
        if os.environ.get("CI", "").lower() not in ("1", "true", "yes"):
            return {}
        return {
            node: why for node, why in self._skipped.items() if not {node, node.partition("[")[0]} & {*self._allowed}
        }

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.unexpected and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.unexpected:
            terminalreporter.section("skipped, which CI does not allow (tests/allowed_skips.txt)", red=True)
            for node, why in self.unexpected.items():
                terminalreporter.line(f"{node}: {why}")


def read_allowed(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (node id, reason) of lines `node id  # reason`; a line without a reason is an error."""
    for line in path.read_text(encoding="utf-8").splitlines():
        node, hash_, reason = (part.strip() for part in line.partition(" # "))
        if not node or node.startswith("#"):
            continue
        if not hash_ or not reason:
            raise pytest.UsageError(
                f"{path}: {node} is allowed to be skipped without a reason: write `node id # reason`"
            )
        yield node, reason
