"""A stored file is described as it was on the disk that it came from, wherever it lies, and little of it is read."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from astropy.io import fits

from ingest.describe import Description, describe_path
from ingest.describe.facts import RefusedError
from ingest.describing import mappings_of
from ingest.stored import stored_file
from storage.errors import VolumeUnavailable
from storage.posix import PosixVolume
from storage.ranged import RangedReader
from storage.service import ObjectStore
from tests.shared import shared_data


class FarVolume(PosixVolume):
    """A volume whose objects are no files of this machine; counts the bytes that are asked of it."""

    asked = 0
    fails = False

    def reader(self, key: str) -> BinaryIO:
        def fetch(start: int, stop: int) -> bytes:
            if self.fails and start:
                raise VolumeUnavailable("the line is cut")
            self.asked += stop - start
            with self.open(key, start, stop) as stream:
                return stream.read()

        return RangedReader(fetch, self.size(key), key).buffered()


@pytest.fixture
def far(tmp_path: Path) -> FarVolume:
    return FarVolume(tmp_path / "far", create=True)


def described(path: Path, volume: PosixVolume, **options: object) -> Description:
    store = ObjectStore([volume])
    with path.open("rb") as stream:
        stored = store.store(stream)
    with stored_file(store, stored.key, path.name, stored.size_bytes) as (there, fill):
        return describe_path(
            there, collection="c", relative_path=path.name, mappings=mappings_of(None), authority="a", fill=fill,
            verify_sums=False,
        )  # fmt: skip


def real_files() -> Iterator[Path]:
    """One of each kind: packed, tile-compressed, with many extensions, tables, spectra, cubes, catalogues."""
    for folder in ("images", "spectra", "cubes", "raw_eso", "catalogues", "allsky"):
        files = [path for path in shared_data(folder).rglob("*") if path.is_file()]
        yield from sorted(path for path in files if path.stat().st_size < 5 << 20)[::4]


@pytest.mark.parametrize("path", list(real_files()), ids=lambda path: path.name)
def test_a_file_far_away_is_described_as_one_at_hand(path: Path, far: FarVolume, tmp_path: Path) -> None:
    near = PosixVolume(tmp_path / "near", create=True)
    expected = outcome(path, near)
    assert outcome(path, far) == expected


def outcome(path: Path, volume: PosixVolume) -> object:
    try:
        found = described(path, volume)
    except RefusedError as refusal:
        return [finding.code for finding in refusal.findings]
    return found.product, found.media_type, [finding.code for finding in found.findings]


def test_of_a_file_far_away_only_headers_are_read_where_they_tell_all(far: FarVolume, tmp_path: Path) -> None:
    path = tmp_path / "many.fits"
    pixels = np.zeros((1000, 2000), ">i2")  # without BLANK: all are valid
    fits.HDUList([fits.PrimaryHDU(), *(fits.ImageHDU(pixels, name=f"D{n}") for n in range(8))]).writeto(path)
    assert len(described(path, far).product.header) == 9
    assert path.stat().st_size > 32e6 > 10 * far.asked


def test_a_line_that_is_cut_is_no_fault_of_the_file(far: FarVolume, tmp_path: Path) -> None:
    path = tmp_path / "image.fits"
    fits.PrimaryHDU(np.ones((1000, 1000), ">f4"), fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"})).writeto(
        path
    )
    far.fails = True
    with pytest.raises(VolumeUnavailable, match="cut"):
        described(path, far)
