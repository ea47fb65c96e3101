"""A seekable file made of ranged reads, with read-ahead: what astropy.io.fits opens on an object store.

Knows nothing of any store: it is given a function that fetches bytes start <= i < stop.
"""

import io
from collections.abc import Callable
from typing import Any, BinaryIO, cast

READ_AHEAD_BYTES = 256 << 10
MAX_READ_AHEAD_BYTES = 8 << 20


class RangedReader(io.RawIOBase):
    """A read-only file of size_bytes whose bytes come from fetch(start, stop).

    read_ahead_bytes: what one fetch asks for at least; doubled up to max_read_ahead_bytes while reading goes straight
    on, and back to the start after a jump, so that a header costs one small request and a whole image few large ones.
    """

    mode = "rb"

    def __init__(
        self,
        fetch: Callable[[int, int], bytes],
        size_bytes: int,
        name: str,
        *,
        read_ahead_bytes: int = READ_AHEAD_BYTES,
        max_read_ahead_bytes: int = MAX_READ_AHEAD_BYTES,
    ) -> None:
        super().__init__()
        self.name = name
        self._fetch, self._size = fetch, size_bytes
        self._first_ahead, self._max_ahead = read_ahead_bytes, max(read_ahead_bytes, max_read_ahead_bytes)
        self._ahead = read_ahead_bytes
        self._position = 0
        self._window, self._window_start = b"", 0

    def buffered(self) -> BinaryIO:
        """This file with a small buffer before it, as open() gives one."""
        return cast(BinaryIO, io.BufferedReader(self, 64 << 10))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"{self.name}: cannot seek to byte {base + offset}")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), self._size - self._position)
        if wanted <= 0:
            return 0
        offset = self._position - self._window_start
        if not 0 <= offset < len(self._window):
            self._fill(wanted)
            offset = 0
        piece = self._window[offset : offset + wanted]
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def _fill(self, wanted: int) -> None:
        straight_on = self._position == self._window_start + len(self._window)
        self._ahead = min(2 * self._ahead, self._max_ahead) if straight_on and self._window else self._first_ahead
        stop = min(self._size, self._position + max(wanted, self._ahead))
        self._window, self._window_start = self._fetch(self._position, stop), self._position
