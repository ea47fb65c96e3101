"""Small images with known skies for the tests of HiPS, and the shortest way from files to a build."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from hips.build import Advance, Build
from hips.images import FoundImage, ImageReader, Opener, find_images
from hips.plan import Plan, Source, make_plan
from hips.properties import About, Coverage


def tan_header(
    ra: float, dec: float, scale_deg: float, side: int, *, sip: bool = False, turned: float = 0
) -> fits.Header:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [(side + 1) / 2] * 2
    c, s = np.cos(np.radians(turned)), np.sin(np.radians(turned))
    wcs.wcs.cd = scale_deg * np.array([[-c, s], [s, c]])
    header = wcs.to_header()
    if sip:
        header["CTYPE1"], header["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
        header.update({"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 4e-5, "A_1_1": -2e-5, "B_0_2": 3e-5, "B_1_1": 1e-5})
    return header


def stars(
    header: fits.Header, side: int, ra: NDArray[Any], dec: NDArray[Any], sigma: float = 1.8
) -> NDArray[np.float32]:
    """Gaussians of height 1000 where the stars are, by astropy's whole WCS, on a background of 50."""
    px, py = WCS(header).all_world2pix(ra, dec, 0)
    y, x = np.indices((side, side))
    image = np.full((side, side), 50.0)
    for cx, cy in zip(px, py, strict=True):
        image += 1000 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2))
    return image.astype(np.float32)


def openers_of(paths: Sequence[Path]) -> dict[str, Opener]:
    def opener(path: Path) -> Opener:
        return lambda: nullcontext(path)

    return {path.name: opener(path) for path in paths}


def found_in(*paths: Path) -> list[FoundImage]:
    openers = openers_of(paths)
    return [image for name, opener in openers.items() for image in find_images(name, opener)[0]]


def planned(*paths: Path, name: str = "sky", **options: Any) -> Plan:
    return make_plan(name, [Source(path.name, "1") for path in paths], found_in(*paths), **options)


def reader_of(*paths: Path, memory_bytes: int = 1 << 28) -> ImageReader:
    return ImageReader(openers_of(paths), memory_bytes=memory_bytes)


def build_of(plan: Plan, folder: Path, *paths: Path, advance: Advance | None = None, threads: int = 2) -> Build:
    more = {"advance": advance} if advance else {}
    return Build(plan, reader_of(*paths), folder, threads=threads, **more)


def run(build: Build) -> Any:
    return build.run(About("A sky"), Coverage(), "ivo://made.example/hips/sky")
