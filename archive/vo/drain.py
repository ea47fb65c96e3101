"""A file to write to whose content is taken out as it comes: streams through libraries that know files alone."""

import io
from typing import Any


class Drain(io.RawIOBase):
    """A file for libraries that want one: what they write is taken out again, so that it is never whole in memory."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._pieces.append(bytes(data))
        self._size += len(self._pieces[-1])
        return len(self._pieces[-1])

    def tell(self) -> int:
        return self._size

    def take(self) -> bytes:
        """What was written since the last time."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
