"""The checks of form: damage is found and named, harmless oddities are let pass; sums agree with astropy's."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.checks import check_path, ones_complement
from ingest.describe import RefusedError, open_fits
from ingest.findings import Finding


def written(path: Path, checksum: bool = True) -> bytes:
    """A small sound file: an image and a table, signed."""
    image = fits.PrimaryHDU(np.arange(600, dtype="i2").reshape(20, 30))
    image.header["OBJECT"] = "M 1"
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=np.arange(50)), fits.Column("b", "5A")])
    fits.HDUList([image, table]).writeto(path, checksum=checksum, overwrite=True)
    return path.read_bytes()


def found(path: Path, level: str = "error") -> set[str]:
    return {finding.code for finding in check_path(path) if finding.level == level}


def test_a_sound_file_has_no_findings(tmp_path: Path) -> None:
    written(tmp_path / "a.fits")
    assert check_path(tmp_path / "a.fits") == []


@pytest.mark.parametrize("suffix", [".gz", ".fz"])
def test_compressed_files_are_as_sound_as_plain_ones(tmp_path: Path, suffix: str) -> None:
    plain = written(tmp_path / "a.fits")
    path = tmp_path / f"a.fits{suffix}"
    if suffix == ".gz":
        path.write_bytes(gzip.compress(plain))
    else:
        fits.CompImageHDU(np.arange(600, dtype="i2").reshape(20, 30)).writeto(path, checksum=True)
    assert check_path(path) == []
    with open_fits(path) as file:
        assert (20, 30) in [hdu.shape for hdu in file.hdus]


def spoilt(change: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    def spoil(folder: Path) -> Path:
        path = folder / "spoilt.fits"
        path.write_bytes(change(written(folder / "sound.fits")))
        return path

    return spoil


def at(position: int, new: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data[:position] + new + data[position + len(new) :]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda data: b"", "empty_file"),
        (lambda data: b"<!DOCTYPE html><html>404</html>", "not_fits"),
        (lambda data: b"<?xml version='1.0'?><VOTABLE/>", "not_fits"),
        (lambda data: data[:400], "header_end_missing"),
        (lambda data: data[:2880].replace(b"END     ", b"        "), "header_end_missing"),
        (lambda data: data[: 2880 + 600], "data_short"),
        (lambda data: data.replace(b"NAXIS2  =                   20", b"NAXIS2  =                20000"), "data_short"),
        (lambda data: data.replace(b"BITPIX  =           ", b"BITPIX  =         17", 1), "structure_invalid"),
        (lambda data: data.replace(b"NAXIS1  =           ", b"NAXIS1  =        -3 ", 1), "structure_invalid"),
        (lambda data: gzip.compress(data)[:-900], "compressed_stream_damaged"),
        (lambda data: b"\x1f\x9d" + data, "compression_unknown"),
        (lambda data: b"PK\x03\x04" + data, "compression_unknown"),
        (at(2880 + 100, b"\xff"), "datasum_wrong"),
    ],
)  # fmt: skip
def test_damage_is_an_error_of_its_own_name(tmp_path: Path, change: Callable[[bytes], bytes], code: str) -> None:
    path = spoilt(change)(tmp_path)
    errors = [finding for finding in check_path(path) if finding.level == "error"]
    assert [finding.code for finding in errors] == [code]
    assert all(finding.where and finding.what and finding.mend for finding in errors)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda data: data + b"\r\nTransfer complete.\r\n", "trailing_bytes"),
        (lambda data: data[:-500], "padding_missing"),
        (lambda data: data.replace(b"'M 1     '", b"'M\xe9 1    '"), "header_not_ascii"),
        (lambda data: data.replace(b"OBJECT  = 'M 1     '", b"OBJECT  = 'M 2     '"), "sums_stale"),
        (lambda data: data.replace(b"OBJECT  = 'M 1     '", b"OBJECT  = M'1x     '"), "card_unreadable"),
    ],
)
def test_what_archives_are_full_of_is_a_warning(tmp_path: Path, change: Callable[[bytes], bytes], code: str) -> None:
    path = spoilt(change)(tmp_path)
    assert found(path) == set()
    assert code in found(path, "warning")


def test_headers_in_odd_conventions_are_read(tmp_path: Path) -> None:
    header = fits.Header()
    header["HIERARCH ESO OBS ID"] = 42
    header["LONG"] = "x" * 200
    header["NAN"] = "n"
    fits.PrimaryHDU(np.zeros((2, 2)), header).writeto(tmp_path / "h.fits")
    with open_fits(tmp_path / "h.fits") as file:
        keywords = file.keywords(0)
        assert keywords.number("HIERARCH ESO OBS ID") == (42.0, "[0] ESO OBS ID")
        assert keywords.text("LONG") == ("x" * 200, "[0] LONG")


def test_a_decompressed_file_may_not_outgrow_the_limit(tmp_path: Path) -> None:
    (tmp_path / "bomb.fits.gz").write_bytes(gzip.compress(bytes(3_000_000)))
    with (
        pytest.raises(RefusedError, match="more than 1000000 bytes"),
        open_fits(tmp_path / "bomb.fits.gz", max_plain_bytes=1_000_000),
    ):
        pass


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=4000))
def test_the_sum_is_that_of_astropy(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("sum") / "x"
    padded = data + b"\0" * (-len(data) % 4)
    path.write_bytes(padded)
    hdu = fits.ImageHDU(np.frombuffer(padded, dtype="u1")) if padded else fits.ImageHDU()
    with path.open("rb") as stream:
        ours = ones_complement(stream, 0, len(padded))
    assert ours == (hdu._calculate_datasum() if padded else 0)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_flipped_byte_raises_anything_but_findings(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("flip")
    sound = bytearray(written(folder / "a.fits"))
    for _ in range(3):
        sound[data.draw(st.integers(0, len(sound) - 1))] = data.draw(st.integers(0, 255))
    (folder / "b.fits").write_bytes(bytes(sound))
    findings = check_path(folder / "b.fits")
    assert all(isinstance(finding, Finding) for finding in findings)
