"""Whether a FITS file's bytes can be trusted: checksums, structure, coordinates that contradict each other.

Findings come back; what they lead to is decided by their level. Real archive frames break the standard in harmless ways
(of 139 sound files of our test data 39 fail fitsverify), so only that is an error which makes bytes untrustworthy or a
file impossible to describe. What the keywords mean is ingest.describe's.
"""

import re
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from ingest.describe.blocks import BLOCK, padded
from ingest.describe.facts import RefusedError
from ingest.describe.header import FitsFile, Hdu, open_fits
from ingest.describe.wcs import Celestial, WcsError, celestial, has_plate_solution, read_wcs
from ingest.findings import Finding, Level

CHUNK_BYTES = 1 << 22  # a multiple of 4, the word of the checksum
ONES = 0xFFFFFFFF
REPLACEMENT = b"\xef\xbf\xbd"  # U+FFFD in UTF-8: what text tools write for a byte that is no text
TFORM = re.compile(r"^\s*(\d*)([LXBIJKAEDCMPQ])")
SumState = Literal["absent", "right", "stale", "damaged"]
WIDTHS = {"L": 1, "B": 1, "I": 2, "J": 4, "K": 8, "A": 1, "E": 4, "D": 8, "C": 8, "M": 16, "P": 8, "Q": 16}


def check_path(path: Path, relative_path: str | None = None, *, verify_sums: bool = True) -> list[Finding]:
    """All findings about a FITS file, whatever is wrong with it: never raises for a bad file.

    verify_sums: False leaves out CHECKSUM and DATASUM, which read every byte.
    """
    try:
        with open_fits(path, relative_path) as file:
            return [*file.findings, *check_open(file, verify_sums=verify_sums)]
    except RefusedError as error:
        return list(error.findings)


def check_open(file: FitsFile, *, verify_sums: bool = True, strict_sums: bool = False) -> list[Finding]:
    """Findings about a file whose structure was found sound: sums, tables, coordinates, bytes turned to text.

    verify_sums: False leaves out CHECKSUM and DATASUM, which read every byte. strict_sums: any wrong sum is an error,
    as it should be for data that come from their authors for the first time.
    """
    findings: list[Finding] = []
    with file.plain.open("rb") as stream:
        if verify_sums:
            findings += _sums(file, stream, strict=strict_sums)
        for hdu in file.hdus:
            findings += _text_conversion(stream, hdu)
    for hdu in file.hdus:
        findings += _table_form(hdu)
        findings += _coordinates(file, hdu)
        if hdu.kind == "image" and len(hdu.shape) >= 2:
            findings += _two_systems(file, hdu)
    if not any(hdu.span[1] > hdu.span[0] for hdu in file.hdus):
        findings.append(Finding("warning", "no_data", "file", "the file has headers but no data."))
    return findings


def ones_complement(stream: BinaryIO, start: int, size: int, total: int = 0) -> int:
    """The 32-bit ones' complement sum of bytes, padded with zeros to whole words (FITS 4.0 §J)."""
    stream.seek(start)
    left = size
    while left > 0:
        chunk = stream.read(min(CHUNK_BYTES, left))
        if not chunk:
            break
        left -= len(chunk)
        words = np.frombuffer(chunk + b"\0" * (-len(chunk) % 4), dtype=">u4")
        total += int(words.sum(dtype=np.uint64))
        while total > ONES:
            total = (total & ONES) + (total >> 32)
    return total


def sum_state(stream: BinaryIO, hdu: Hdu) -> SumState:
    """What CHECKSUM and DATASUM say of an HDU (FITS 4.0 §4.4.2.7).

    CHECKSUM signs the header together with the DATASUM written in it. Header and declared DATASUM that still agree
    while the data do not are the mark of damaged data; where header and CHECKSUM disagree, a program that does not keep
    sums wrote the header anew.
    """
    raw = hdu.raw_header
    datasum, checksum = str(raw.get("DATASUM", "")).strip(), str(raw.get("CHECKSUM", "")).strip()
    declared = int(datasum) if datasum.isdigit() else None
    if declared is None and not checksum:
        return "absent"
    start, end = hdu.span
    total = ones_complement(stream, start, padded(end - start))
    header = ones_complement(stream, hdu.header_start, start - hdu.header_start)
    data_right = declared is None or declared % ONES == total % ONES
    if not checksum:
        return "right" if data_right else "stale"
    if data_right:
        return "right" if (header + total) % ONES == 0 else "stale"
    return "damaged" if declared is not None and (header + declared) % ONES == 0 else "stale"


def _sums(file: FitsFile, stream: BinaryIO, *, strict: bool) -> list[Finding]:
    """Findings about the sums of all HDUs.

    Sums that are wrong because a program changed the file and did not renew them are common in sound files: a warning.
    An error: the data of an HDU changed under an intact signature, in a file without any such neglect.
    """
    states = {hdu.index: sum_state(stream, hdu) for hdu in file.hdus}
    neglected = "stale" in states.values()
    findings = []
    for hdu in file.hdus:
        state = states[hdu.index]
        if state == "damaged" and not neglected:
            what = "the data are not those that were signed: DATASUM and the bytes disagree, CHECKSUM and header agree."
            mend = "send the file again; if the data were changed on purpose, renew DATASUM and CHECKSUM."
            findings.append(Finding("error", "datasum_wrong", f"{hdu.label} DATASUM", what, mend))
        elif state in ("stale", "damaged"):
            what = (
                "the sums are not those of the bytes; the header was changed as well, so they were not kept up to date."
            )
            mend = "renew DATASUM and CHECKSUM."
            level: Level = "error" if strict else "warning"
            findings.append(Finding(level, "sums_stale", f"{hdu.label} DATASUM, CHECKSUM", what, mend))
    return findings


def _text_conversion(stream: BinaryIO, hdu: Hdu) -> list[Finding]:
    """Binary data that went through a text tool: bytes above 0x7F have become the UTF-8 of U+FFFD."""
    start, end = hdu.span
    stream.seek(start)
    head = stream.read(min(end - start, 64 * BLOCK))
    if head.count(REPLACEMENT) * 3 < 0.05 * max(len(head), 1000):
        return []
    return [
        Finding(
            "error", "text_converted", f"{hdu.label} data",
            "the data were converted as if they were text: bytes were replaced by U+FFFD and are lost.",
            "fetch the original in binary.",
        )
    ]  # fmt: skip


def _table_form(hdu: Hdu) -> list[Finding]:
    """The columns of a binary table fill its rows (FITS 4.0 §7.3.1)."""
    header = hdu.raw_header
    if hdu.kind != "table" or header.get("ZIMAGE") is True:
        return []
    width, count = 0, header.get("TFIELDS")
    if not isinstance(count, int):
        what = "the number of columns is not told."
        return [Finding("error", "structure_invalid", f"{hdu.label} TFIELDS", what, "write TFIELDS (FITS 4.0 §7.3.1).")]
    for i in range(1, count + 1):
        form = TFORM.match(str(header.get(f"TFORM{i}", "")))
        if form is None:
            return [Finding("warning", "tform_unknown", f"{hdu.label} TFORM{i}", "the column has no readable TFORM.")]
        repeat = int(form[1]) if form[1] else 1
        width += -(-repeat // 8) if form[2] == "X" else repeat * WIDTHS[form[2]]
    if width == header.get("NAXIS1"):
        return []
    what = f"the columns are {width} bytes wide, NAXIS1 says {header.get('NAXIS1')}."
    return [Finding("warning", "table_width", f"{hdu.label} NAXIS1, TFORMn", what, "correct TFORMn or NAXIS1.")]


def _coordinates(file: FitsFile, hdu: Hdu) -> list[Finding]:
    """World coordinates that wcslib rejects: no place or wavelength taken from them can be believed (FITS 4.0 §8)."""
    named = any(str(hdu.header.get(f"CTYPE{i}", "")).strip() for i in range(1, len(hdu.shape) + 1))
    if hdu.kind != "image" or not named:
        return []
    try:
        read_wcs(file, hdu)
    except WcsError as error:
        return [error.finding]
    return []


def _two_systems(file: FitsFile, hdu: Hdu, tolerance_arcsec: float = 60.0) -> list[Finding]:
    """A DSS plate solution beside standard WCS cards: they must mean the same place, or neither can be believed.

    Readers differ in which of the two they take; plate solutions and their linear approximation differ by arcseconds.
    """
    cards = [key for key in ("CTYPE1", "CTYPE2", "CRVAL1", "CRVAL2") if key in hdu.header]
    if not has_plate_solution(hdu.header) or not cards:
        return []
    try:
        plate = celestial(file, hdu)
    except WcsError as error:
        return [error.finding]
    what = ""
    if plate is None or len(cards) < 4:
        what = f"{', '.join(cards)} without the other cards of a WCS, beside a plate solution"
    else:
        apart = _separation_arcsec(hdu, plate)
        if apart is None or apart > tolerance_arcsec:
            what = f"CRVALn and the plate solution are {'?' if apart is None else f'{apart:.0f}'} arcsec apart"
    if not what:
        return []
    return [
        Finding(
            "error",
            "wcs_contradictory",
            f"{hdu.label} {', '.join(cards)}",
            f"{what}: which one is meant cannot be told.",
            "remove the one that is wrong.",
        )
    ]  # fmt: skip


def _separation_arcsec(hdu: Hdu, plate: Celestial) -> float | None:
    """How far the plate solution's place of CRPIX is from CRVAL."""
    header = hdu.header
    numbers = [header.get(key, 1.0) for key in ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2")]
    if not all(isinstance(number, int | float) for number in numbers):
        return None
    lon, lat = float(numbers[0]), float(numbers[1])
    if not str(header["CTYPE1"]).upper().startswith("RA") or not -90 <= lat <= 90:
        return None
    x, y = (np.array([float(number) - 1]) for number in numbers[2:])
    vector = plate.to_icrs(x, y)[0]
    if not np.isfinite(vector).all():
        return None
    from astropy.coordinates import SkyCoord  # half a second, which most files need not

    there = SkyCoord(*vector, representation_type="cartesian")
    there.representation_type = "unitspherical"
    return float(SkyCoord(lon, lat, unit="deg").separation(there).arcsec)
