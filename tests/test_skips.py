"""A skip in CI fails the run unless it is listed with its reason (tests/skips.py)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULE = """
import pytest
def test_that_runs(): pass
@pytest.mark.parametrize("n", [1, 2])
def test_that_is_left_out(n): pytest.skip("no telescope")
@pytest.mark.xfail
def test_that_is_known_to_fail(): assert False
"""


def run(folder: Path, allowed: str, *, ci: str, workers: str = "0") -> "subprocess.CompletedProcess[str]":
    (folder / "test_made.py").write_text(MODULE)
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "allowed.txt").write_text(allowed)
    words = [sys.executable, "-m", "pytest", "-q", "-p", "tests.skips", "-n", workers, "--allowed-skips", "allowed.txt"]
    environment = {**os.environ, "CI": ci, "PYTHONPATH": str(ROOT)}
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


def test_a_skip_that_is_not_listed_fails_the_run_in_ci(tmp_path: Path) -> None:
    done = run(tmp_path, "", ci="true", workers="1")
    assert done.returncode == 1
    assert "test_made.py::test_that_is_left_out[1]: " in done.stdout
    assert "no telescope" in done.stdout
    assert "test_that_is_known_to_fail" not in done.stdout


def test_a_skip_that_is_listed_with_a_reason_is_let_be(tmp_path: Path) -> None:
    done = run(tmp_path, "# why\ntest_made.py::test_that_is_left_out # there is no telescope in CI\n", ci="true")
    assert done.returncode == 0, done.stdout


def test_a_listed_skip_needs_a_reason(tmp_path: Path) -> None:
    done = run(tmp_path, "test_made.py::test_that_is_left_out\n", ci="true")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "without a reason" in done.stdout + done.stderr


def test_elsewhere_a_skip_is_a_skip(tmp_path: Path) -> None:
    assert run(tmp_path, "", ci="").returncode == 0
