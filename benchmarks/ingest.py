"""Ingest of 500 FITS images of 2 MB against their floor, in one run: `python benchmarks/ingest.py`.

Floor: what nobody can do without who promises that a file is kept: copied, its SHA-256 taken, file and folder flushed
(fsync), one file after the other, on the same disk. Over against it `uraniborg ingest FOLDER`, as a user types it: the
seconds are of the whole command, and without its start (which is that of ingesting one file).
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from helpers import SEED, prepared, show

from tests.live import PROGRAM, ROOT
from tests.made.files import image_file, image_files


def floor(sources: list[Path], folder: Path) -> float:
    """Seconds for cp, sha256 and fsync of each."""
    folder.mkdir()
    began = time.perf_counter()
    for source in sources:
        copy = folder / source.name
        shutil.copyfile(source, copy)
        with copy.open("rb") as file:
            hashlib.file_digest(file, "sha256")
            os.fsync(file.fileno())
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(descriptor)
        os.close(descriptor)
    return time.perf_counter() - began


def ingested(folder: Path, data_dir: Path, *options: str) -> tuple[float, Counter[str]]:
    """Seconds of `uraniborg ingest FOLDER`, and how many files came to which end."""
    began = time.perf_counter()
    done = subprocess.run(
        [*PROGRAM, "ingest", str(folder), "--json", "--data-dir", str(data_dir), *options],
        cwd=ROOT, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"ingest ended with status {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    outcomes = Counter(line.split('"outcome": "')[1].split('"')[0] for line in done.stdout.splitlines())
    return seconds, outcomes


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
            start, _ = ingested(work / "one", work / "data")
            least = floor(sources, work / "copies")
            whole, outcomes = ingested(work / "many", work / "data")
            again, unchanged = ingested(work / "many", work / "data")
        if outcomes != Counter(accepted=chosen.files) or unchanged != Counter(unchanged=chosen.files):
            raise SystemExit(f"not every file was taken in: {outcomes}, then {unchanged}")
        rows = [
            (what, seconds, chosen.files / seconds, chosen.files * chosen.megabytes / seconds, seconds / least)
            for what, seconds in (
                ("cp + sha256 + fsync", least),
                ("uraniborg ingest", whole),
                ("  without its start", whole - start),
                ("uraniborg ingest, again (unchanged)", again),
            )
        ]
        show(
            f"{chosen.files} FITS images of {chosen.megabytes:g} MB, 1 process, on {work.parent}",
            ("", "s", "files/s", "MB/s", "ratio"),
            rows,
        )


if __name__ == "__main__":
    main()
    sys.exit(0)
