"""FITS as blocks of 2880 bytes: where each HDU's header and data lie, and what is wrong with that.

Pure structure, by our own scan: astropy stops at the first oddity, an archive has to say which it is and go on where it
may. What an HDU is, header.py says.
"""

import re
import warnings
from dataclasses import dataclass
from typing import Protocol

from astropy.io import fits

from ingest.describe.facts import RefusedError
from ingest.findings import Finding

BLOCK, CARD = 2880, 80
BITPIX = (8, 16, 32, 64, -32, -64)
BLANK_BYTES = b" \x00\n\r\t\x1a"
UNPRINTABLE = re.compile(rb"[^\x20-\x7e]")


class Seekable(Protocol):
    """As much of a file as a scan needs."""

    def seek(self, offset: int, /) -> int: ...
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class RawHdu:
    """axes: NAXIS1, NAXIS2, ...; header_start, start (of the data), size (of the data, padding not counted): bytes."""

    index: int
    header: fits.Header
    header_start: int
    axes: tuple[int, ...]
    start: int
    size: int


def scan(stream: Seekable, name: str, file_size: int, findings: list[Finding], max_header_bytes: int) -> list[RawHdu]:
    """All HDUs of a file of file_size bytes, in order; oddities go to findings.

    RefusedError: the first HDU is no FITS, a header has no END, or the data are shorter than their header says.
    Source: FITS 4.0 §3.1 to §3.5, §4.4.1.
    """
    hdus: list[RawHdu] = []
    position = 0
    while position < file_size:
        stream.seek(position)
        head = stream.read(CARD)
        if not _begins_hdu(head, first=not hdus):
            if not hdus:
                raise RefusedError(name, (not_fits(head + stream.read(400)),))
            findings.append(_trailing(stream, position, file_size, head))
            break
        stream.seek(position)
        block = _header_bytes(stream, name, len(hdus), max_header_bytes)
        header = _header(block, len(hdus), findings)
        axes, size = _data_size(header, name, len(hdus))
        start = position + len(block)
        _check_size(name, len(hdus), header, start, size, file_size)
        if start + size <= file_size < start + padded(size):
            findings.append(
                Finding(
                    "warning", "padding_missing", f"[{len(hdus)}]",
                    f"the last block has {file_size % BLOCK} bytes instead of {BLOCK}; all data are there.",
                    "pad the file with zeros to a multiple of 2880 bytes.",
                )
            )  # fmt: skip
        hdus.append(RawHdu(len(hdus), header, position, axes, start, size))
        position = start + padded(size)
    return hdus


def padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def not_fits(head: bytes) -> Finding:
    """What a file without SIMPLE really is, in words that help its sender."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    what = "not a FITS file: it does not begin with SIMPLE."
    if text.startswith((b"<!doctype html", b"<html")):
        what = "not a FITS file but an HTML page, perhaps the error page of a download."
    elif b"<votable" in text:
        what = "not a FITS file but a VOTable."
    elif text.startswith(b"xtension"):
        what = "the header of a FITS extension without its primary HDU."
    elif text.startswith(b"<?xml"):
        what = "not a FITS file but XML."
    return Finding("error", "not_fits", "file", what, "fetch or export the file again as FITS.")


def _begins_hdu(head: bytes, *, first: bool) -> bool:
    return head.startswith(b"SIMPLE  =" if first else b"XTENSION=")


def _trailing(stream: Seekable, position: int, file_size: int, head: bytes) -> Finding:
    rest = file_size - position
    stream.seek(position)
    blank = not stream.read(min(rest, BLOCK * 10)).strip(BLANK_BYTES)
    if blank:
        return Finding("info", "trailing_blank", f"byte {position}", f"{rest} blank bytes after the last HDU.")
    return Finding(
        "warning", "trailing_bytes", f"byte {position}",
        f"{rest} bytes after the last HDU that are no HDU (they begin {head[:24]!r}).",
        "cut the file there.",
    )  # fmt: skip


def _header_bytes(stream: Seekable, name: str, index: int, limit: int) -> bytes:
    """A header with its END, whole blocks."""
    header = bytearray()
    while len(header) < limit:
        block = stream.read(BLOCK)
        header += block
        if any(_is_end(block[i : i + CARD]) for i in range(0, len(block), CARD)):
            return bytes(header)
        if len(block) < BLOCK:
            break
    finding = Finding(
        "error", "header_end_missing", f"[{index}]",
        f"the header has no END card: it was cut after {len(header)} bytes, or END was overwritten.",
        "send the file again; if the original has none either, add END to its header.",
    )  # fmt: skip
    raise RefusedError(name, (finding,))


def _is_end(card: bytes) -> bool:
    return card.startswith(b"END") and not card[3:].strip(BLANK_BYTES)


def _header(block: bytes, index: int, findings: list[Finding]) -> fits.Header:
    """The header, with bytes FITS forbids replaced and cards that cannot be read left out, each with a finding."""
    where = f"[{index}]"
    if UNPRINTABLE.search(block.rstrip(BLANK_BYTES)):
        cards = sorted({block[i : i + 8].decode("latin-1").strip() for i in _unprintable_cards(block)})
        findings.append(
            Finding(
                "warning", "header_not_ascii", where,
                f"bytes outside printable ASCII in {', '.join(map(repr, cards[:5]))}; read as blanks.",
                "FITS 4.0 §4.1.2 allows 0x20 to 0x7E only: rewrite these cards.",
            )
        )  # fmt: skip
        block = UNPRINTABLE.sub(b" ", block)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = fits.Header.fromstring(block.decode("ascii"))
        bad = [i for i, card in enumerate(header.cards) if not readable(card)]
        names = [str(header.cards[i].rawkeyword)[:30] for i in bad]
        for i in reversed(bad):
            del header[i]
    if bad:
        findings.append(
            Finding(
                "warning", "card_unreadable", where,
                f"{len(bad)} cards cannot be read and are left out: {', '.join(map(repr, names[:5]))}.",
                "write them as FITS 4.0 §4.2 says.",
            )
        )  # fmt: skip
    return header


def _unprintable_cards(block: bytes) -> set[int]:
    return {match.start() // CARD * CARD for match in UNPRINTABLE.finditer(block)}


def readable(card: fits.Card) -> bool:
    """True if astropy can tell the card's keyword, value and comment, and write it again."""
    # Commentary is any text, and headers hold thousands of such cards.
    if card.rawkeyword in ("HISTORY", "COMMENT", ""):
        return True
    try:
        _ = card.keyword, card.value, card.comment
        str(card)
    # Card parsing raises VerifyError, ValueError or TypeError, depending on which part is wrong.
    except (ValueError, TypeError, KeyError, AttributeError, fits.VerifyError):
        return False
    return True


def _data_size(header: fits.Header, name: str, index: int) -> tuple[tuple[int, ...], int]:
    """Axes and bytes of data (FITS 4.0 §4.4.1.1, §7.2.1; random groups §6.1.1)."""
    try:
        bitpix, naxis = header["BITPIX"], header["NAXIS"]
        axes = tuple(header[f"NAXIS{i}"] for i in range(1, naxis + 1))
    except (KeyError, TypeError) as error:
        raise _unsized(name, index, f"a mandatory keyword is missing ({error})") from error
    if bitpix not in BITPIX:
        raise _unsized(name, index, f"BITPIX is {bitpix!r}")
    if not all(isinstance(axis, int) and not isinstance(axis, bool) and axis >= 0 for axis in axes):
        raise _unsized(name, index, f"NAXISn are {axes!r}")
    groups = index == 0 and header.get("GROUPS") is True and axes[:1] == (0,)
    count = 1 if axes else 0
    for axis in axes[1:] if groups else axes:
        count *= axis
    extended = groups or index > 0
    pcount, gcount = (header.get("PCOUNT", 0), header.get("GCOUNT", 1)) if extended else (0, 1)
    if not (isinstance(pcount, int) and isinstance(gcount, int) and pcount >= 0 and gcount >= 0):
        raise _unsized(name, index, f"PCOUNT is {pcount!r}, GCOUNT {gcount!r}")
    return axes, abs(bitpix) // 8 * gcount * (pcount + count)


def _unsized(name: str, index: int, why: str) -> RefusedError:
    finding = Finding(
        "error", "structure_invalid", f"[{index}]", f"the size of the data cannot be told: {why}.",
        "write the mandatory keywords of FITS 4.0 §4.4.1.",
    )  # fmt: skip
    return RefusedError(name, (finding,))


def _check_size(name: str, index: int, header: fits.Header, start: int, size: int, file_size: int) -> None:
    if start + size <= file_size:
        return
    axes = " x ".join(str(header[f"NAXIS{i}"]) for i in range(1, header["NAXIS"] + 1))
    finding = Finding(
        "error", "data_short", f"[{index}] NAXISn",
        f"the header promises {size} bytes of data ({axes}, BITPIX {header['BITPIX']}), "
        f"the file has {max(0, file_size - start)}: it was cut, or NAXISn are wrong.",
        "send the file again; if its size is that of the original, correct NAXISn.",
    )  # fmt: skip
    raise RefusedError(name, (finding,))
