"""From values to pictures: cuts, stretch, PNG, JPEG (by Pillow). Arrays are in the order of FITS, pictures top-down."""

import io
import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hips.pyramid import Pixels

Stretch = Literal["asinh", "linear"]
_LEVELS = 8192
_SOFTENING = 0.1  # of asinh: where it turns from linear to logarithmic, as a part of the range


@dataclass(frozen=True, slots=True)
class Cut:
    """The values that are drawn black and white, in the images' unit, and what lies between them."""

    low: float
    high: float
    stretch: Stretch = "asinh"


def cut_of(values: NDArray[Any], *, low_percent: float = 1.0, high_percent: float = 99.7) -> Cut:
    """Cuts at percentiles of the values that are no NaN; 0 and 1 if there are none."""
    good = values[np.isfinite(values)]
    if not good.size:
        return Cut(0.0, 1.0)
    low, high = (float(value) for value in np.percentile(good, [low_percent, high_percent]))
    if high > low:
        return Cut(low, high)
    return Cut(low, low + (abs(low) or 1.0))  # all the same: drawn black


@lru_cache(maxsize=4)
def _greys(stretch: Stretch) -> NDArray[np.uint8]:
    share = np.linspace(0, 1, _LEVELS)
    if stretch == "asinh":
        share = np.arcsinh(share / _SOFTENING) / np.arcsinh(1 / _SOFTENING)
    return np.concatenate([np.rint(1 + share * 254).astype(np.uint8), np.zeros(1, np.uint8)])


def greys(pixels: Pixels, cut: Cut) -> NDArray[np.uint8]:
    """Grey levels 1..255, 0 where there is no value; rows top-down."""
    scaled = (pixels[::-1] - np.float32(cut.low)) * np.float32((_LEVELS - 1) / (cut.high - cut.low))
    np.clip(scaled, 0, _LEVELS - 1, out=scaled)
    np.nan_to_num(scaled, copy=False, nan=_LEVELS)
    return _greys(cut.stretch).take(scaled.astype(np.intp))


_PALETTE = bytes(max(level - 1, 0) for level in range(256) for _ in "rgb")


def png(levels: NDArray[np.uint8]) -> bytes:
    """A PNG with a palette of greys, level 0 transparent: a byte a pixel, read by every client.

    Written here (PNG, third edition, §5, §11): zlib lets other threads run, which Pillow's encoder does not, and noise
    is deflated three times as fast, and no worse, where only runs are looked for.
    """
    height, width = levels.shape
    lines = np.zeros((height, width + 1), np.uint8)  # each begins with its filter, 0 for none
    lines[:, 1:] = levels
    deflate = zlib.compressobj(2, zlib.DEFLATED, 15, 9, zlib.Z_RLE)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", _PALETTE),
        (b"tRNS", b"\0"),
        (b"IDAT", deflate.compress(lines.tobytes()) + deflate.flush()),
        (b"IEND", b""),
    )
    parts = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def jpeg(levels: NDArray[np.uint8]) -> bytes:
    """A grey JPEG, what has no value black."""
    written = io.BytesIO()
    Image.fromarray(levels, "L").save(written, "JPEG", quality=90)
    return written.getvalue()
