"""The images that a HiPS is made of: found in FITS files, their pixels read and kept within bounds of memory.

What an image is called and where its bytes are is the caller's (an `Opener`); what its world coordinates say is read
here, by astropy; resample.py asks where its pixels lie.
"""

import bz2
import gzip
import re
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from hips.frames import frame_of
from hips.resample import Celestial, Pixels, Window

Opener = Callable[[], AbstractContextManager[BinaryIO | Path]]
# HDUs that stand beside an image and are none themselves.
_BESIDE = re.compile(
    r"^(ERR|ERROR|SIGMA|STAT|DQ|FLAGS?|MASK|BPM|CONF(IDENCE)?|W(EIGH|H)T(MAP)?|IVAR|VAR(IANCE)?|EXP(MAP|TIME)?|CTX|"
    r"CONTEXT|SEGM?(ENTATION)?|CTX.*|.*_?(WEIGHT|MASK|CONF|ERR|RMS|VAR))$",
    re.IGNORECASE,
)
_PERIODIC = ("CAR", "CEA", "MER")


class NotAnImage(Exception):
    """An HDU that no tile can be made of; the text says why."""


@dataclass(frozen=True, slots=True)
class ImageKey:
    """Which image: source is what the plan calls the file, hdu its number in it."""

    source: str
    hdu: int


@dataclass(frozen=True, slots=True)
class FoundImage:
    """An image with its place on the sky. scale_deg: the side of a pixel in its middle, degrees."""

    key: ImageKey
    celestial: Celestial
    scale_deg: float
    header: fits.Header


def find_images(source: str, opener: Opener) -> tuple[list[FoundImage], list[str]]:
    """The images of a file, and why its other HDUs are none (of those that hold pixels)."""
    found, refused = [], []
    with _opened(opener) as hdus:
        for number, hdu in enumerate(hdus):
            if not hdu.is_image or not hdu.header.get("NAXIS") or not _shape(hdu):
                continue
            try:
                place = place_of(hdu, hdus)
                found.append(FoundImage(ImageKey(source, number), place, scale_of(place), hdu.header.copy()))
            except NotAnImage as why:
                refused.append(f"{source}[{number}]: {why}")
    return found, refused


@contextmanager
def _opened(opener: Opener) -> Iterator[fits.HDUList]:
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")  # headers that are not to the letter; what matters is found out below
        file = stack.enter_context(opener())
        if not isinstance(file, Path):
            file = stack.enter_context(_inflated(file))
        # Threads share no map of the file, and a map cannot be scaled.
        yield stack.enter_context(fits.open(file, memmap=False, lazy_load_hdus=True))


def _inflated(file: BinaryIO) -> BinaryIO:
    """The file, decompressed as it is read if it is gzip or bzip2: astropy does so for files on disk only."""
    magic = file.read(3)
    file.seek(0)
    if magic[:2] == b"\x1f\x8b":
        return cast("BinaryIO", gzip.GzipFile(fileobj=file))
    return cast("BinaryIO", bz2.BZ2File(file)) if magic == b"BZh" else file


def _shape(hdu: Any) -> tuple[int, ...]:
    return tuple(int(length) for length in hdu.shape)


def place_of(hdu: Any, hdus: fits.HDUList | None = None) -> Celestial:
    """Where an HDU lies on the sky. NotAnImage: no celestial axes, a cube, something beside an image."""
    shape = _shape(hdu)
    name = str(hdu.header.get("EXTNAME", ""))
    if _BESIDE.match(name):
        raise NotAnImage(f"{name} stands beside an image")
    if len(shape) < 2 or any(length != 1 for length in shape[:-2]):
        raise NotAnImage(f"its shape {shape} is that of no image")
    header = _for_wcs(hdu.header)
    tabulated = any(f"{key}{axis}" in header for key in ("CPDIS", "CQDIS", "D2IMDIS") for axis in (1, 2))
    tabulated |= any(str(header.get(f"CTYPE{axis}", "")).endswith("-TAB") for axis in range(1, len(shape) + 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            wcs = WCS(header, fobj=hdus if tabulated else None)
            if not wcs.has_celestial:
                raise NotAnImage("its header names no place on the sky")
            if {wcs.wcs.lng, wcs.wcs.lat} != {0, 1}:
                raise NotAnImage("its first two axes are not those of the sky")
            if wcs.naxis > 2:
                wcs = wcs.celestial
            wcs.wcs.set()
            frame = frame_of(wcs)
        except NotAnImage:
            raise
        # wcslib and astropy raise many kinds for headers they reject.
        except Exception as problem:
            raise NotAnImage(f"its world coordinates are rejected: {' '.join(str(problem).split())[:200]}") from None
    ny, nx = shape[-2:]
    place = Celestial(wcs, (ny, nx), frame, tabulated=tabulated)
    return Celestial(wcs, (ny, nx), frame, _shifts(wcs, (ny, nx)), tabulated) if not place.distorted else place


def _for_wcs(header: fits.Header) -> fits.Header:
    """The cards that matter for coordinates: a thousand others cost wcslib a second, and broken ones an error."""
    clean = fits.Header()
    for card in header.cards:
        if len(card.rawkeyword) > 8 and "." not in card.rawkeyword:
            continue
        if card.keyword in ("", "COMMENT", "HISTORY", "CONTINUE"):
            continue
        try:
            value = card.value
        except fits.VerifyError:  # no card of the standard's form, and so none about coordinates
            continue
        if not isinstance(value, fits.card.Undefined) and not (isinstance(value, str) and len(value) > 68):
            clean.append(card, end=True)
    return clean


def _shifts(wcs: WCS, shape: tuple[int, int]) -> tuple[tuple[float, float], ...]:
    """The turns by which a cylindrical image reaches beyond native longitude +-180, where wcslib's answers end."""
    still = (0.0, 0.0)
    if str(wcs.wcs.ctype[wcs.wcs.lng])[5:8] not in _PERIODIC:
        return (still,)
    ny, nx = shape
    corners = np.array([(x, y) for x in (-0.5, nx - 0.5) for y in (-0.5, ny - 0.5)])
    matrix = wcs.pixel_scale_matrix
    turned = ((corners + 1 - wcs.wcs.crpix) @ matrix.T)[:, wcs.wcs.lng]
    along = np.zeros(2)
    along[wcs.wcs.lng] = 360.0
    turn = np.linalg.solve(matrix, along)
    turns = [still]
    if turned.max() > 180 + 1e-9:
        turns.append((float(turn[0]), float(turn[1])))
    if turned.min() < -180 - 1e-9:
        turns.append((-float(turn[0]), -float(turn[1])))
    return tuple(turns)


def scale_of(place: Celestial) -> float:
    """The side of a pixel, degrees: the median over a grid. NotAnImage: no pixel of it lies on the sky."""
    ny, nx = place.shape
    x, y = (grid.ravel() for grid in np.meshgrid(np.linspace(0, nx - 1, 9), np.linspace(0, ny - 1, 9)))
    at, east, north = (place.to_sky(x + dx, y + dy) for dx, dy in ((0, 0), (0.01, 0), (0, 0.01)))
    area = np.linalg.norm(np.cross(east - at, north - at), axis=1) * 1e4
    area = area[np.isfinite(area) & (area > 0)]
    if not area.size:
        raise NotAnImage("none of its pixels lies on the sky")
    return float(np.degrees(np.sqrt(np.median(area))))


@dataclass(frozen=True, slots=True)
class _Held:
    place: Celestial
    pixels: Pixels | None


class ImageReader:
    """Pixels of images, read by several threads; whole images are kept while they fit.

    memory_bytes: of all that is kept. An image of more than a quarter of it is never kept: each tile reads the rows
    that it needs (a compressed file is then read anew each time: give it more memory).
    """

    def __init__(self, openers: Mapping[str, Opener], *, memory_bytes: int) -> None:
        self._openers = openers
        self._memory = memory_bytes
        self._kept: OrderedDict[ImageKey, _Held] = OrderedDict()
        self._lock = threading.Lock()
        self._reading: dict[ImageKey, threading.Lock] = {}

    def place(self, key: ImageKey) -> Celestial:
        return self._held(key).place

    def window(self, key: ImageKey, rows: slice, columns: slice) -> Window:
        """Pixels of an image, float32, NaN where it has none: these at the least, all of it if it is kept."""
        held = self._held(key)
        if held.pixels is not None:
            return Window(held.pixels, 0, 0, held.place.shape)
        with _opened(self._openers[key.source]) as hdus:
            hdu = hdus[key.hdu]
            leading = (0,) * (len(hdu.shape) - 2)
            pixels = _as_floats(hdu.section[(*leading, rows, columns)])
        return Window(pixels, columns.start, rows.start, held.place.shape)

    def _held(self, key: ImageKey) -> _Held:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            reading = self._reading.setdefault(key, threading.Lock())
        with reading:  # one thread reads it, the others wait for what it found
            with self._lock:
                if key in self._kept:
                    return self._kept[key]
            held = self._read(key)
            with self._lock:
                self._kept[key] = held
                self._reading.pop(key, None)
                while sum(_size(each) for each in self._kept.values()) > self._memory and len(self._kept) > 1:
                    self._kept.popitem(last=False)
            return held

    def _read(self, key: ImageKey) -> _Held:
        with _opened(self._openers[key.source]) as hdus:
            hdu = hdus[key.hdu]
            place = place_of(hdu, hdus)
            if 4 * place.shape[0] * place.shape[1] > self._memory // 4:
                return _Held(place, None)
            return _Held(place, _as_floats(hdu.data.reshape(place.shape)))


def _size(held: _Held) -> int:
    return 0 if held.pixels is None else held.pixels.nbytes


def _as_floats(data: NDArray[Any]) -> Pixels:
    """In the machine's order of bytes; infinite values are none."""
    pixels = np.ascontiguousarray(data, dtype=np.float32)
    infinite = np.isinf(pixels)
    if infinite.any():
        pixels = np.where(infinite, np.float32(np.nan), pixels)
    return pixels
