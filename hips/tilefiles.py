"""Tiles as files: FITS images written and read whole, each appearing under its name only when it is complete."""

import os
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hips.pyramid import Pixels
from hips.tile import Tile
from hips.tiling import tile_wcs

_BLOCK = 2880


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file such that nobody ever sees part of it; makes its folder."""
    being = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        being.write_bytes(content)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        being.write_bytes(content)
    being.replace(path)


def fits_image(pixels: Pixels, cards: Mapping[str, float | str | int]) -> bytes:
    """A FITS file with one image of BITPIX -32 (FITS 4.0 §3, §4). cards: beyond those that describe the array."""
    ny, nx = pixels.shape
    mandatory: dict[str, float | str | int | bool] = {
        "SIMPLE": True, "BITPIX": -32, "NAXIS": 2, "NAXIS1": nx, "NAXIS2": ny,
    }  # fmt: skip
    header = "".join(_card(name, value) for name, value in {**mandatory, **cards}.items()) + f"{'END':80}"
    data = pixels.astype(">f4").tobytes()
    return _padded(header.encode("ascii"), b" ") + _padded(data, b"\0")


def _padded(content: bytes, filler: bytes) -> bytes:
    return content + filler * (-len(content) % _BLOCK)


def _card(name: str, value: float | str | int | bool) -> str:
    """A card in fixed format (FITS 4.0 §4.2)."""
    if isinstance(value, bool):
        text = f"{'T' if value else 'F':>20}"
    elif isinstance(value, str):
        text = "'" + f"{value:8}" + "'"
    elif isinstance(value, int):
        text = f"{value:>20}"
    else:
        text = f"{value:>20.13E}" if abs(value) < 1e9 else f"{value:>20.15G}"
    return f"{name:8}= {text}".ljust(80)


def tile_fits(tile: Tile, pixels: Pixels) -> bytes:
    """A tile with its own coordinates (HIPS-11)."""
    return fits_image(pixels, {"ORDER": tile.order, "NPIX": tile.npix, **tile_wcs(tile, len(pixels))})


def read_tile(path: Path, width: int) -> Pixels | None:
    """The pixels of a tile that tile_fits made; None if it is not there."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    start = _BLOCK * (1 + content[: _BLOCK * 4].find(b"END" + b" " * 77) // _BLOCK)
    pixels = np.frombuffer(content, ">f4", width * width, start).reshape(width, width)
    return pixels.astype(np.float32)


def file_size(width: int) -> int:
    """Bytes of a tile's FITS file."""
    return _BLOCK + 4 * width * width + (-4 * width * width) % _BLOCK
