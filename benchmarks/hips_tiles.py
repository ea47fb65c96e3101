"""Building a HiPS of 20 made images of 2k x 2k against its floor, in one run: `python benchmarks/hips_tiles.py`.

Floor: what numpy alone needs to put as many pixels in place: for each pixel of each tile four values gathered and
weighted (bilinear), the tile written, on one thread; no coordinates, no pyramid, no pictures. Over against it the
build as `uraniborg hips build` runs it, on as many threads as there are cores, and, where it is installed, CDS's
Hipsgen on the same files (Debian's package aladin has it; HIPSGEN names another jar). Mpix/s are of input.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from helpers import SEED, show

from hips.build import Build
from hips.images import ImageReader, find_images
from hips.plan import Plan, Source, make_plan
from hips.properties import About, Coverage

ALADIN = "/usr/share/java/aladin.jar"
SIDE = 2048
SCALE_DEG = 0.285 / 3600  # the pixels of the tiles are half as large in area, as they are on the average


def make_images(folder: Path, number: int) -> list[Path]:
    """A mosaic of images that overlap by a tenth: noise and stars, TAN, every second one with SIP's distortion."""
    rng = np.random.default_rng(SEED)
    paths = []
    for place in range(number):
        row, column = divmod(place, 5)
        wcs = WCS(naxis=2)
        dec = -20 + row * 0.9 * SIDE * SCALE_DEG
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.crval = [150 + column * 0.9 * SIDE * SCALE_DEG / np.cos(np.radians(dec)), dec]
        wcs.wcs.crpix = [(SIDE + 1) / 2] * 2
        wcs.wcs.cdelt = [-SCALE_DEG, SCALE_DEG]
        header = wcs.to_header()
        if place % 2:
            header["CTYPE1"], header["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
            header.update({"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-6, "B_0_2": -1e-6, "A_1_1": 5e-7})
        pixels = rng.normal(100, 5, (SIDE, SIDE)).astype(np.float32)
        x, y = rng.integers(0, SIDE, (2, 2000))
        pixels[y, x] += rng.pareto(1.5, 2000).astype(np.float32) * 100
        path = folder / f"image{place:02}.fits"
        fits.writeto(path, pixels, header)
        paths.append(path)
    return paths


def floor(plan: Plan, pixels: np.ndarray, folder: Path) -> float:
    """Seconds to gather, weight and write every (tile, image) pair's pixels; the places are given."""
    width = plan.width
    rng = np.random.default_rng(SEED)
    y, x = np.indices((width, width)) + rng.uniform(0, 1, (2, width, width))
    flat = pixels.ravel()
    folder.mkdir()
    began = time.perf_counter()
    for npix, images in plan.tiles.items():
        for _ in images:
            column, row = x.astype(np.intp), y.astype(np.intp)
            fx, fy = (x - column).astype(np.float32), (y - row).astype(np.float32)
            first = row * SIDE + column
            south = flat[first] * (1 - fx) + flat[first + 1] * fx
            north = flat[first + SIDE] * (1 - fx) + flat[first + SIDE + 1] * fx
            tile = south * (1 - fy) + north * fy
        (folder / str(npix)).write_bytes(tile.astype(">f4").tobytes())
    return time.perf_counter() - began


def hipsgen(jar: str, images: Path, out: Path) -> float:
    """Seconds of Hipsgen: tiles, PNG, MOC."""
    began = time.perf_counter()
    subprocess.run(
        ["java", "-Djava.awt.headless=true", "-cp", jar, "cds.allsky.HipsGen", f"in={images}", f"out={out}",
         "creator_did=ivo://made/bench", "INDEX", "TILES", "PNG"],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=1800,
    )  # fmt: skip
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", help="where to work; default the system's folder for temporary files")
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="uraniborg-bench-", dir=chosen.folder) as name:
        work = Path(name)
        (work / "in").mkdir()
        paths = make_images(work / "in", chosen.images)
        megapixels = chosen.images * SIDE * SIDE / 1e6
        openers = {path.name: (lambda path=path: nullcontext(path)) for path in paths}
        began = time.perf_counter()
        found = [image for path in paths for image in find_images(path.name, openers[path.name])[0]]
        plan = make_plan("bench", [Source(path.name, path.name) for path in paths], found)
        planned = time.perf_counter() - began
        least = floor(plan, fits.getdata(paths[0]).astype(np.float32), work / "floor")
        shutil.rmtree(work / "floor")
        steps: dict[str, float] = {}
        began = time.perf_counter()
        Build(
            plan, ImageReader(openers, memory_bytes=1 << 30), work / "out", threads=chosen.threads,
            advance=lambda step, done, total: steps.update({step: time.perf_counter() - began}),
        ).run(About("bench"), Coverage(), "ivo://made/bench")  # fmt: skip
        built = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        rows = [("numpy floor, 1 thread", least, megapixels / least, 1.0)]
        rows += [(f"  until {step} were done", at, megapixels / at, at / least) for step, at in steps.items()]
        rows += [(f"hips build, {chosen.threads} threads", planned + built, megapixels / (planned + built),
                  (planned + built) / least)]  # fmt: skip
        jar = os.environ.get("HIPSGEN", ALADIN)
        if Path(jar).exists():
            seconds = hipsgen(jar, work / "in", work / "hipsgen")
            rows.append(("Hipsgen, on all cores", seconds, megapixels / seconds, seconds / least))
        show(
            f"{chosen.images} images of {SIDE} x {SIDE}: {len(plan.tiles)} tiles of order {plan.order}, "
            f"{plan.tile_count} in all, peak memory {peak:.1f} GiB",
            ("", "s", "Mpix/s", "ratio"), rows,
        )  # fmt: skip


if __name__ == "__main__":
    main()
    sys.exit(0)
