"""A FITS file's HDUs, read without their pixels: structure by our own scan, values by astropy.

The scan forgives what archives are full of (bad cards, newlines, Latin-1 in comments) and says so; it refuses what
makes the bytes untrustworthy (no END, less data than promised, a cut gzip stream). What the keywords mean is
keywords.py's, times.py's and wcs.py's; verdicts on checksums and coordinates are ingest.checks'.
"""

import bz2
import contextlib
import gzip
import tempfile
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ingest.describe import blocks
from ingest.describe.facts import RefusedError
from ingest.describe.keywords import Keywords, json_value
from ingest.findings import Finding

HduKind = Literal["image", "table", "ascii", "groups", "other"]
GZIP, BZIP2, LZW, ZIP, XZ = b"\x1f\x8b", b"BZh", b"\x1f\x9d", b"PK\x03\x04", b"\xfd7zXZ"
COPY_BYTES = 1 << 20
# Called with start and stop before bytes start <= i < stop are read: for a file that lies elsewhere and comes by parts.
Fill = Callable[[int, int], None]


def nothing(start: int, stop: int) -> None:
    """The fill of a file that is whole."""


@dataclass(frozen=True, slots=True)
class Hdu:
    """One HDU without its data.

    shape: numpy order, slowest axis first; () without data; (rows,) for tables. compressed: a tile-compressed image,
    whose header and shape are those of the image. columns: TTYPEn in order. span: of the data in the file, bytes,
    without padding. header_start: byte where its header begins.
    """

    index: int
    name: str
    kind: HduKind
    header: fits.Header
    shape: tuple[int, ...]
    columns: tuple[str, ...] = ()
    compressed: bool = False
    span: tuple[int, int] = (0, 0)
    header_start: int = 0
    stored_header: fits.Header | None = None

    @property
    def raw_header(self) -> fits.Header:
        """The header as it lies in the file: of the table, where the image is compressed into one."""
        return self.header if self.stored_header is None else self.stored_header

    @property
    def label(self) -> str:
        return f"[{self.index}]" + (f" {self.name}" if self.name else "")

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """The type of the pixels as they lie in an uncompressed image; None for everything else."""
        if self.kind != "image" or self.compressed or not self.shape:
            return None
        bitpix = self.header["BITPIX"]
        return np.dtype(f">f{-bitpix // 8}" if bitpix < 0 else "u1" if bitpix == 8 else f">i{bitpix // 8}")


@dataclass(slots=True)
class FitsFile:
    """An open FITS file. relative_path: with '/', below the folder that was ingested, as the file was named there.

    plain: where the uncompressed bytes lie: path itself, or a temporary file that goes with the context.
    fill: brings bytes of plain, before they are read.
    """

    path: Path
    relative_path: str
    plain: Path
    hdus: tuple[Hdu, ...]
    findings: list[Finding] = field(default_factory=list)
    fill: Fill = nothing
    _astropy: fits.HDUList | None = None
    # World coordinates by HDU, since checks and describers both read them and large headers take long (wcs.read_wcs).
    wcs: dict[int, Any] = field(default_factory=dict)

    @property
    def primary(self) -> Hdu:
        return self.hdus[0]

    def keywords(self, *indices: int) -> Keywords:
        """Keywords of these HDUs in this order, then of the primary (its keywords hold for all: FITS's INHERIT)."""
        order = list(dict.fromkeys([*indices, 0]))
        return Keywords(tuple((index, self.hdus[index].header) for index in order))

    def astropy(self) -> fits.HDUList:
        """The file as astropy sees it: memory-mapped, opened once, closed with the context."""
        self.fill_all()
        return self._opened()

    def fill_all(self) -> None:
        """For who reads the file by itself, not through this class."""
        self.fill(0, self.plain.stat().st_size)

    def _opened(self) -> fits.HDUList:
        """The same, with the headers alone; data only after `fill`."""
        if self._astropy is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._astropy = fits.open(self.plain, memmap=True, ignore_missing_simple=True)
        return self._astropy

    def table(self, index: int) -> Any:
        """Rows of a table (astropy's FITS_rec, memory-mapped). RefusedError: they cannot be read."""
        return self._data(index)

    def pixels(self, index: int) -> NDArray[Any]:
        """Pixels of an image, scaled; of numpy's order. RefusedError: they cannot be read."""
        data: NDArray[Any] = self._data(index)
        return data

    def stored_pixels(self, index: int) -> NDArray[Any]:
        """Pixels as they lie in the file: memory-mapped and unscaled where the image is not compressed."""
        hdu = self.hdus[index]
        if hdu.dtype is None:
            return self.pixels(index)
        self.fill(*hdu.span)
        return np.memmap(self.plain, dtype=hdu.dtype, mode="r", offset=hdu.span[0], shape=hdu.shape)

    def _data(self, index: int) -> Any:
        self.fill(*self.hdus[index].span)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return self._opened()[index].data
        # astropy meets a damaged HDU with whatever its parser trips over; for us each of them means the same.
        except Exception as error:
            finding = Finding(
                "error",
                "data_unreadable",
                self.hdus[index].label,
                f"the data cannot be read ({error}).",
                "write the HDU anew from the original.",
            )
            raise RefusedError(self.relative_path, (finding,)) from error

    def close(self) -> None:
        if self._astropy is not None:
            self._astropy.close()


@contextlib.contextmanager
def open_fits(
    path: Path,
    relative_path: str | None = None,
    *,
    scratch: Path | None = None,
    max_plain_bytes: int = 1 << 36,
    max_header_bytes: int = 1 << 24,
    fill: Fill = nothing,
) -> Iterator[FitsFile]:
    """Open a FITS file (plain, .gz, .bz2; tile-compressed HDUs too) and read its headers, not its data.

    scratch: folder for decompressed copies (default: the system's). max_plain_bytes: of a decompressed file.
    max_header_bytes: of one header. The suffix is not believed: the first bytes tell the compression.
    fill: brings the bytes of path, of which only those that are asked for need be there.

    Raises
    ------
    RefusedError
        Empty, not FITS, compressed in a way FITS does not know, a header without END, less data than its header
        promises, a compressed stream cut short. The findings say where.

    Source: FITS 4.0 §3 (blocks, extensions), §4.4.1 (mandatory keywords), §10 (tile compression).
    """
    name = relative_path or path.name
    with contextlib.ExitStack() as stack:
        plain = _plain(path, name, stack, scratch, max_plain_bytes, fill)
        if plain != path:
            fill = nothing
        findings: list[Finding] = []
        with plain.open("rb") as stream:
            scanned = blocks.scan(_Filled(stream, fill), name, plain.stat().st_size, findings, max_header_bytes)
        file = FitsFile(path, name, plain, tuple(_hdu(raw, findings) for raw in scanned), findings, fill)
        stack.callback(file.close)
        file.hdus = tuple(_decompressed(file, hdu) for hdu in file.hdus)
        yield file


class _Filled:
    """A stream whose bytes are brought before they are read."""

    def __init__(self, stream: IO[bytes], fill: Fill) -> None:
        self._stream, self._fill = stream, fill
        self.seek = stream.seek

    def read(self, size: int) -> bytes:
        start = self._stream.tell()
        self._fill(start, start + size)
        return self._stream.read(size)


def _plain(path: Path, name: str, stack: contextlib.ExitStack, scratch: Path | None, limit: int, fill: Fill) -> Path:
    """The path of the uncompressed bytes, decompressing to a temporary file where needed."""
    fill(0, 512)
    with path.open("rb") as stream:
        head = stream.read(512)
    if not head:
        raise _refused(name, "empty_file", "file", "the file has no bytes.", "send it again.")
    for magic, what in ((LZW, "Unix compress (.Z)"), (ZIP, "zip"), (XZ, "xz")):
        if head.startswith(magic):
            raise _refused(
                name, "compression_unknown", "file", f"compressed by {what}, which FITS readers need not know.",
                "uncompress it, or use gzip or fpack.",
            )  # fmt: skip
    if not head.startswith((GZIP, BZIP2)):
        return path
    fill(0, path.stat().st_size)
    opener: Any = gzip.open if head.startswith(GZIP) else bz2.open
    folder = stack.enter_context(tempfile.TemporaryDirectory(dir=scratch, prefix="uraniborg-"))
    copy = Path(folder) / "plain.fits"
    try:
        with opener(path, "rb") as packed, copy.open("wb") as plain:
            _copy(packed, plain, name, limit)
    except (EOFError, OSError, zlib.error) as error:
        raise _refused(
            name, "compressed_stream_damaged", "file", f"the compressed stream is cut or damaged ({error}).",
            "send it again; compare its size and checksum with the original.",
        ) from error  # fmt: skip
    return copy


def _copy(packed: IO[bytes], plain: IO[bytes], name: str, limit: int) -> None:
    size = 0
    while chunk := packed.read(COPY_BYTES):
        size += len(chunk)
        if size > limit:
            raise _refused(
                name, "too_large", "file", f"decompresses to more than {limit} bytes.",
                "send it uncompressed or tile-compressed, or raise the limit.",
            )  # fmt: skip
        plain.write(chunk)


def _refused(name: str, code: str, where: str, what: str, mend: str) -> RefusedError:
    return RefusedError(name, (Finding("error", code, where, what, mend),))


def _hdu(raw: blocks.RawHdu, findings: list[Finding]) -> Hdu:
    """The HDU of a scanned header."""
    header = raw.header
    xtension = str(header.get("XTENSION", "")).strip()
    kind: HduKind = "other"
    if raw.index == 0 and header.get("GROUPS") is True and raw.axes[:1] == (0,):
        kind = "groups"
    elif raw.index == 0 or xtension in ("IMAGE", "IUEIMAGE"):
        kind = "image"
    elif xtension in ("BINTABLE", "A3DTABLE"):
        kind = "table"
    elif xtension == "TABLE":
        kind = "ascii"
    else:
        findings.append(
            Finding("warning", "extension_unknown", f"[{raw.index}]", f"extension type {xtension!r} is not standard.")
        )
    shape = tuple(reversed(raw.axes)) if raw.size else ()
    columns: tuple[str, ...] = ()
    if kind in ("table", "ascii"):
        shape = (raw.axes[1],) if len(raw.axes) > 1 else (0,)
        count = header.get("TFIELDS", 0)
        columns = tuple(
            str(header.get(f"TTYPE{i}", "")).strip() for i in range(1, (count if isinstance(count, int) else 0) + 1)
        )
    name = str(header.get("EXTNAME", "")).strip().upper()
    return Hdu(
        raw.index, name, kind, header, shape, columns, False, (raw.start, raw.start + raw.size), raw.header_start
    )


def _decompressed(file: FitsFile, hdu: Hdu) -> Hdu:
    """A tile-compressed image as the image it is (FITS 4.0 §10.1); other HDUs as they are."""
    if hdu.kind != "table" or hdu.header.get("ZIMAGE") is not True:
        return hdu
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            unpacked = file._opened()[hdu.index]
            header, shape = unpacked.header.copy(), tuple(unpacked.shape)
            if not all(isinstance(axis, int) and axis >= 0 for axis in shape):
                raise ValueError(f"ZNAXISn are {shape!r}")
            for index in reversed([i for i, card in enumerate(header.cards) if not blocks.readable(card)]):
                del header[index]
    # As in FitsFile._data: one meaning for every way the library has of saying it.
    except Exception as error:
        raise _refused(
            file.relative_path, "data_unreadable", hdu.label, f"the compressed image cannot be read ({error}).",
            "compress it again from the original.",
        ) from error  # fmt: skip
    name = str(header.get("EXTNAME", "")).strip().upper().replace("COMPRESSED_IMAGE", "")
    return Hdu(hdu.index, name, "image", header, shape, (), True, hdu.span, hdu.header_start, hdu.header)


def header_json(file: FitsFile) -> list[dict[str, Any]]:
    """All cards of all HDUs, ready for JSON: {"index", "name", "kind", "shape", "cards": [[keyword, value, comment]]}.

    NaN and infinities become text, since JSON has none; COMMENT, HISTORY and blank cards keep their order.
    """
    return [
        {
            "index": hdu.index,
            "name": hdu.name,
            "kind": hdu.kind,
            "shape": list(hdu.shape),
            "cards": [[card.keyword, json_value(card.value), json_value(card.comment)] for card in hdu.header.cards],
        }
        for hdu in file.hdus
    ]
