"""What the store knows of objects, as plain values; and the grammar of file_ids.

A file_id names a file to its users; a version of it is an object; a copy is where an object's bytes lie. Keys of copies
are the store's own (volume.py).
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from storage.errors import InvalidFileId
from storage.volume import Kind

MAX_FILE_ID_BYTES = 1_024
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
"""Control characters: C0, DEL, C1."""

CopyState = Literal["ok", "pending", "missing", "corrupt"]
VolumeState = Literal["online", "readonly", "draining", "offline"]
CACHE_CLASS = "cache"


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object that lies in the store: key, the name of its volume, bytes, digests in lower-case hexadecimal.

    crc32c: None of objects that are older than this digest. created: UTC; None where the catalogue says. blocks: as
    checksums.Stored has them, when it has just been written.
    """

    key: str
    volume: str
    size_bytes: int
    sha256: str
    md5: str
    crc32c: str | None = None
    created: datetime | None = None
    blocks: bytes = b""


@dataclass(frozen=True, slots=True)
class Copy:
    """Where an object's bytes lie. verified: when they were last read and found right, UTC; None: never since."""

    volume: str
    key: str
    state: CopyState
    verified: datetime | None
    created: datetime


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """A version of a file, 1 and up, as the catalogue has it. Digests in lower-case hexadecimal; times in UTC.

    removed: since when its bytes are no longer promised; None of what is there. copies: empty in listings, which do not
    ask for them.
    """

    object_id: int
    file_id: str
    version: int
    container_id: int | None
    size_bytes: int
    media_type: str | None
    sha256: str
    md5: str
    crc32c: str | None
    created: datetime
    removed: datetime | None = None
    copies: tuple[Copy, ...] = ()


@dataclass(frozen=True, slots=True)
class Container:
    """A container of files and of containers; a file is in one at most, with all its versions."""

    container_id: int
    name: str
    parent_id: int | None
    created: datetime


@dataclass(frozen=True, slots=True)
class VolumeRow:
    """A volume as the catalogue has it. site: where it stands; storage_class: what kind of place it is.

    watermark_bytes: free bytes that puts leave alone. capacity_bytes: None where the volume cannot say.
    New objects go to volumes that are online; all but those offline are read from; draining ones are to be emptied.
    """

    name: str
    kind: Kind
    site: str
    storage_class: str
    state: VolumeState = "online"
    capacity_bytes: int | None = None
    watermark_bytes: int = 0


def check_file_id(file_id: str) -> str:
    """The file_id itself, if it is one: 1 to 1,024 bytes of UTF-8, no control characters (C0, DEL, C1)."""
    try:
        size_bytes = len(file_id.encode())
    except UnicodeEncodeError:
        raise InvalidFileId("a file_id is text in UTF-8, and this has half a character (a surrogate)") from None
    if not 1 <= size_bytes <= MAX_FILE_ID_BYTES:
        raise InvalidFileId(f"a file_id has 1 to {MAX_FILE_ID_BYTES} bytes in UTF-8, and this has {size_bytes}")
    if CONTROL.search(file_id):
        raise InvalidFileId(f"a file_id has no control characters, and this has: {file_id[:80]!r}")
    return file_id
