"""What must outlive a power cut: a file's bytes, and a folder's names."""

import ctypes
import os
from pathlib import Path

_SYNC_FILE_RANGE_WRITE = 2
_start_writing = getattr(ctypes.CDLL(None), "sync_file_range", None)
if _start_writing is not None:
    _start_writing.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)


def flush(path: Path) -> None:
    """Return when the bytes of a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def start_writing(descriptor: int, start: int, size: int) -> None:
    """Have the disk begin with bytes that were written, so that less is left to be flushed (sync_file_range(2)).

    A hint, that promises nothing: errors are told by the flush.
    """
    if _start_writing is not None:
        _start_writing(descriptor, start, size, _SYNC_FILE_RANGE_WRITE)
