"""Made FITS files: images with a true sky position and noise, so that every one describes itself and none compresses.

For measurements and for tests that need many files; the seed is an argument.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from astropy.io import fits

FITS_BLOCK = 2880


def image_file(path: Path, *, size_bytes: int, number: int, seed: int) -> None:
    """Write one image of 16-bit pixels, `size_bytes` to within 2 %, tangent plane, with checksums."""
    random = np.random.default_rng([seed, number])
    width = 1024
    height = max(1, round((size_bytes - 2 * FITS_BLOCK) / (2 * width)))
    pixels = random.normal(1000, 30, (height, width)).astype(">i2")
    image = fits.PrimaryHDU(pixels)
    image.header.update({
        "OBJECT": f"FIELD {number:05d}", "TELESCOP": "MADE-1M", "INSTRUME": "MADECAM", "FILTER": "R",
        "DATE-OBS": f"2026-01-{1 + number % 28:02d}T{number % 24:02d}:00:00.000", "EXPTIME": 30.0, "RADESYS": "ICRS",
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CUNIT1": "deg", "CUNIT2": "deg", "BUNIT": "adu",
        "CRVAL1": float(random.uniform(0, 360)), "CRVAL2": float(np.degrees(np.arcsin(random.uniform(-1, 1)))),
        "CRPIX1": width / 2, "CRPIX2": height / 2, "CDELT1": -2e-4, "CDELT2": 2e-4,
    })  # fmt: skip
    fits.HDUList([image]).writeto(path, checksum=True)


def image_files(folder: Path, count: int, *, size_bytes: int, seed: int) -> Iterator[Path]:
    """Write `count` images into the folder, one after the other."""
    for number in range(count):
        path = folder / f"made{number:05d}.fits"
        image_file(path, size_bytes=size_bytes, number=number, seed=seed)
        yield path
