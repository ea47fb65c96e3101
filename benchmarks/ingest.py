"""Ingest of 500 FITS images of 2 MB against their floor, in one run: `python benchmarks/ingest.py`.

Floor: what nobody can do without who promises that a file is kept: copied, its SHA-256 taken, file and folder flushed
(fsync), one file after the other, on the same disk. Over against it `uraniborg ingest FOLDER`, as a user types it: the
seconds are of the whole command, and without its start (which is that of ingesting one file).
"""

import argparse
import hashlib
import os
import resource
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from helpers import SEED, prepared, show

from tests.live import PROGRAM, ROOT
from tests.made.files import image_file, image_files


class Spent(NamedTuple):
    """Seconds by the clock, and of CPU: where others use the machine, the second tells more."""

    clock_s: float
    cpu_s: float


def floor(sources: list[Path], folder: Path) -> Spent:
    """What cp, sha256 and fsync of each file take."""
    folder.mkdir()
    began, cpu = time.perf_counter(), time.process_time()
    for source in sources:
        copy = folder / source.name
        shutil.copyfile(source, copy)
        with copy.open("rb") as file:
            hashlib.file_digest(file, "sha256")
            os.fsync(file.fileno())
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(descriptor)
        os.close(descriptor)
    return Spent(time.perf_counter() - began, time.process_time() - cpu)


def ingested(folder: Path, data_dir: Path, *options: str) -> tuple[Spent, Counter[str]]:
    """What `uraniborg ingest FOLDER` took, and how many files came to which end."""
    began, cpu = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [*PROGRAM, "ingest", str(folder), "--json", "--data-dir", str(data_dir), *options],
        cwd=ROOT, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - cpu.ru_utime - cpu.ru_stime
    if done.returncode:
        raise SystemExit(f"ingest ended with status {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    outcomes = Counter(line.split('"outcome": "')[1].split('"')[0] for line in done.stdout.splitlines())
    return Spent(seconds, cpu_s), outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", help="where to work; default the system's folder for temporary files")
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--megabytes", type=float, default=2.0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="uraniborg-bench-", dir=chosen.folder) as name:
        work = Path(name)
        for folder in ("many", "one"):
            (work / folder).mkdir()
        size = int(chosen.megabytes * 1e6)
        sources = list(image_files(work / "many", chosen.files, size_bytes=size, seed=SEED))
        image_file(work / "one" / "first.fits", size_bytes=size, number=chosen.files, seed=SEED)
        os.sync()
        with prepared(work, 0):  # held open, so that the database runs throughout
            start = min(ingested(work / "one", work / "data")[0] for _ in range(2))  # the first reads every module cold
            least = floor(sources, work / "copies")
            whole, outcomes = ingested(work / "many", work / "data")
            again, unchanged = ingested(work / "many", work / "data")
        if outcomes != Counter(accepted=chosen.files) or unchanged != Counter(unchanged=chosen.files):
            raise SystemExit(f"not every file was taken in: {outcomes}, then {unchanged}")
        files, total_mb = chosen.files, chosen.files * chosen.megabytes
        rows = [
            (what, clock_s, cpu_s, cpu_s / files * 1e3, files / clock_s, total_mb / clock_s, clock_s / least.clock_s)
            for what, (clock_s, cpu_s) in (
                ("cp + sha256 + fsync", least),
                ("uraniborg ingest", whole),
                ("  without its start", Spent(whole.clock_s - start.clock_s, whole.cpu_s - start.cpu_s)),
                ("uraniborg ingest, again (unchanged)", again),
            )
        ]
        show(
            f"{chosen.files} FITS images of {chosen.megabytes:g} MB, 1 process, on {work.parent}",
            ("", "s", "CPU s", "CPU ms/file", "files/s", "MB/s", "ratio"),
            rows,
        )


if __name__ == "__main__":
    main()
