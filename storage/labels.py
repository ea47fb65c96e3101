"""The label that lies with each object on its volume: what it is, in JSON, so that the catalogue can be made again.

Names are those of the catalogue's columns. An object that is nobody's file yet has no file_id: it goes by its key.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from storage.model import ObjectVersion
from storage.packing import packed

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Label:
    """What a label says. object_id: of several with one file_id and version the greatest was acknowledged.

    container: the number and name of its container and those above it, outermost first.
    """

    size_bytes: int
    sha256: str
    md5: str
    crc32c: str | None
    created: datetime
    file_id: str | None = None
    version: int = 1
    object_id: int | None = None
    media_type: str | None = None
    container: tuple[tuple[int, str], ...] = ()
    removed: datetime | None = None

    @classmethod
    def of(cls, version: ObjectVersion, container: Sequence[tuple[int, str]] = ()) -> "Label":
        """The label of a version; container: the way to its container (catalogue.way_to)."""
        return cls(
            size_bytes=version.size_bytes,
            sha256=version.sha256,
            md5=version.md5,
            crc32c=version.crc32c,
            created=version.created,
            file_id=version.file_id,
            version=version.version,
            object_id=version.object_id,
            media_type=version.media_type,
            container=tuple(container),
            removed=version.removed,
        )

    def write(self) -> bytes:
        """The label as it lies on a volume."""
        told: dict[str, Any] = {"format": FORMAT}
        for name in self.__slots__:
            value = getattr(self, name)
            if value is not None and value != ():
                told[name] = value.isoformat() if isinstance(value, datetime) else value
        return packed(told)

    @classmethod
    def read(cls, written: bytes) -> "Label":
        """The label that was written; ValueError where this is none."""
        told = json.loads(written)
        if not isinstance(told, dict) or told.pop("format", None) != FORMAT:
            raise ValueError("this is no label of the store, or one of a later release")
        for name in ("created", "removed"):
            if name in told:
                told[name] = datetime.fromisoformat(told[name])
        told["container"] = tuple((int(number), str(name)) for number, name in told.get("container", ()))
        try:
            return cls(**{"crc32c": None, **told})
        except TypeError as error:
            raise ValueError(f"this is no label of the store: {error}") from None
