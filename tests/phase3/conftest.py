"""Checking made files: a function from a made file to what was found."""

from collections.abc import Callable
from pathlib import Path

import pytest

from phase3.check import Asked, Report, check_file, rules_to_use
from phase3.rules.model import Rules
from tests.phase3.made import NOW_MJD, Made


@pytest.fixture(scope="session")
def rules() -> Rules:
    return rules_to_use()


@pytest.fixture
def checked(tmp_path: Path, rules: Rules) -> Callable[[Made], Report]:
    """The report on a made file, at a fixed time."""
    return lambda made: check_file(made.write(tmp_path), Asked(NOW_MJD), rules)
