"""The unpacked bytes of a file, whatever it is packed with: a stream, or a temporary file where one must seek."""

import bz2
import gzip
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


def _opener(path: Path) -> Any:
    with path.open("rb") as file:
        magic = file.read(2)
    return {b"\x1f\x8b": gzip.open, b"BZ": bz2.open}.get(magic)


def is_packed(path: Path) -> bool:
    """Whether `opened` unpacks the file."""
    return _opener(path) is not None


@contextmanager
def opened(path: Path, *, seekable: bool = False) -> Iterator[IO[bytes]]:
    """The unpacked bytes of a plain, .gz or .bz2 file; unpacked into a temporary file where one must seek back."""
    opener = _opener(path)
    if opener is None:
        with path.open("rb") as file:
            yield file
    elif not seekable:
        with opener(path, "rb") as packed:
            yield packed
    else:
        with opener(path, "rb") as packed, tempfile.TemporaryFile() as plain:
            shutil.copyfileobj(packed, plain, 1 << 20)
            plain.seek(0)
            yield plain
