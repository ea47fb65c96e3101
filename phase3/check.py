"""Files in, reports out: which files of a delivery are checked, in how many processes, and what came of each.

The rules themselves are phase3.rules'; how a report is written, phase3.report's.
"""

import hashlib
import multiprocessing
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from astropy.time import Time

from archive.vo.errors import UsageError
from ingest.describe.facts import RefusedError
from ingest.describe.header import open_fits
from phase3.rules.breach import Breach
from phase3.rules.checks import check_product
from phase3.rules.conditions import require_known
from phase3.rules.delivery import Delivery, Entry, entry
from phase3.rules.model import Rules, load_rules
from phase3.rules.product import Product

SUFFIXES = (".fits", ".fit", ".fts", ".oifits", ".fits.fz", ".fits.gz", ".fits.bz2")
FILES_A_PROCESS = 40  # fewer, and starting another process takes longer than it saves


@dataclass(frozen=True, slots=True)
class Asked:
    """What a check needs to know besides the file. category: instead of PRODCATG. now: MJD, UTC. publisher: VOPUB's."""

    now: float
    category: str = ""
    publisher: str = "ESO/SAF"


@dataclass(frozen=True, slots=True)
class Report:
    """What was found about one file. path: as it was named. unreadable: it could not be opened at all."""

    path: str
    category: str
    findings: tuple[Breach, ...]
    entry: Entry | None = None
    unreadable: bool = False

    def __post_init__(self) -> None:
        """Errors first, each level in the order of the checks."""
        order = {"error": 0, "warning": 1, "info": 2}
        object.__setattr__(self, "findings", tuple(sorted(self.findings, key=lambda finding: order[finding.level])))

    def count(self, level: str) -> int:
        return sum(finding.level == level for finding in self.findings)

    @property
    def passed(self) -> bool:
        """True without errors; warnings and remarks do not refuse a file."""
        return not self.count("error") and not self.unreadable

    def as_json(self) -> dict[str, Any]:
        return {
            "file": self.path,
            "category": self.category,
            "passed": self.passed,
            "errors": self.count("error"),
            "warnings": self.count("warning"),
            "findings": [finding.as_json() for finding in self.findings],
        }


def rules_to_use() -> Rules:
    """The shipped rules, all of whose conditions are understood. RulesError: they have mistakes."""
    rules = load_rules()
    require_known(rules)
    return rules


def now_mjd() -> float:
    return float(Time.now().mjd)


def check_file(path: Path, asked: Asked, rules: Rules, key: str | None = None) -> Report:
    """Check one FITS file by itself; never raises for a bad file. key: what the report calls it."""
    key = key or str(path)
    try:
        with open_fits(path, path.name) as file:
            product = Product(file, rules, path.name, asked.now, asked.publisher, asked.category)
            findings = tuple(check_product(product))
            name = product.category.id if product.category else product.prodcatg
            return Report(key, name, findings, entry(product, key))
    except RefusedError as refusal:
        return Report(key, "", tuple(Breach.of(finding, "FITS") for finding in refusal.findings))
    except OSError as error:
        finding = Breach(
            "error", "file_unreadable", "file", f"the file cannot be read ({error.strerror}).",
            "check that it is there and that you may read it.", rule="FITS",
        )  # fmt: skip
        return Report(key, "", (finding,), unreadable=True)


@dataclass(frozen=True)
class Found:
    """The files of a delivery, in order. whole: they are one, so what they say of each other is checked too."""

    fits: tuple[Path, ...]
    others: tuple[Path, ...]
    whole: bool


def find_files(paths: Sequence[Path]) -> Found:
    """Files as named, and all below folders, but for hidden ones. A single file is checked whatever it is.

    UsageError: a path does not exist, or nothing is found.
    """
    listed: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(each for each in path.rglob("*") if each.is_file())
            listed += [each for each in inside if not any(p.startswith(".") for p in each.relative_to(path).parts)]
        elif path.exists():
            listed.append(path)
        else:
            raise UsageError(f"{path}: there is no such file or folder")
    listed = list(dict.fromkeys(listed))
    if not listed:
        raise UsageError(f"no files in {', '.join(map(str, paths))}")
    alone = len(paths) == 1 and not paths[0].is_dir()
    fits = tuple(path for path in listed if alone or _is_fits(path))
    taken = set(fits)
    return Found(fits, tuple(path for path in listed if path not in taken), not alone)


def _is_fits(path: Path) -> bool:
    if path.name.lower().endswith(SUFFIXES):
        return True
    try:
        with path.open("rb") as stream:
            return stream.read(9) == b"SIMPLE  ="
    except OSError:
        return False


def check_files(found: Found, asked: Asked, rules: Rules, *, workers: int = 0) -> Iterator[Report]:
    """A report for each FITS file, in order, as they are done. workers: processes; 0 chooses as many as help."""
    count = workers or min(os.cpu_count() or 1, 1 + len(found.fits) // FILES_A_PROCESS)
    if count <= 1 or len(found.fits) < 2:
        for path in found.fits:
            yield check_file(path, asked, rules)
        return
    # Spawned, not forked: the one that asks may run threads (a progress bar does).
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=(asked,)) as pool:
        chunk = max(1, min(25, len(found.fits) // (count * 4)))
        yield from pool.map(_check_one, map(str, found.fits), chunksize=chunk)


_ASKED: list[Asked] = []


def _begin(asked: Asked) -> None:
    """What a process is told once."""
    _ASKED[:] = [asked]


def _check_one(path: str) -> Report:
    return check_file(Path(path), _ASKED[0], load_rules())


def check_together(reports: Iterable[Report], others: Sequence[Path], rules: Rules) -> list[Report]:
    """The reports, with what the files of a delivery say of each other; files that are not FITS appear if anything is
    wrong with them."""
    reports = list(reports)
    entries = [report.entry for report in reports if report.entry is not None]
    claimed = {name for each in entries for name, _, md5 in each.associated.values() if md5}
    sums = {path.name: _md5(path) if path.name in claimed else "" for path in others}
    added: dict[str, list[Breach]] = {}
    for key, breach in Delivery(entries, sums, rules).breaches():
        added.setdefault(key, []).append(breach)
    whole = [replace(report, findings=(*report.findings, *added.pop(report.path, ()))) for report in reports]
    places = {path.name: str(path) for path in others}
    return [*whole, *(Report(places.get(key, key), "", tuple(breaches)) for key, breaches in added.items())]


def _md5(path: Path) -> str:
    """The sum that ASSOMi is compared with; "" if the file cannot be read, which then is a difference."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError:
        return ""
