"""What a command gives back: a message with elements, or data."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from storage.ngas.status import Element


@dataclass(frozen=True, slots=True)
class Told:
    """A status document. attributes: further ones of its element Status."""

    message: str
    elements: tuple[Element, ...] = ()
    attributes: Mapping[str, object] = field(default_factory=dict)
    ok: bool = True
    status: int = 200


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes: blocks, which have size_bytes in all, and are closed at the end if they can be."""

    media_type: str
    size_bytes: int
    blocks: Iterator[bytes]
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200

    @classmethod
    def of(cls, media_type: str, body: bytes, headers: Mapping[str, str] | None = None) -> "Data":
        """Bytes that are at hand."""
        return cls(media_type, len(body), iter((body,)), headers or {})


Answer = Told | Data
