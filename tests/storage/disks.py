"""Services on folders, and how tests do harm to what lies there."""

import io
import os
from pathlib import Path

from sqlalchemy import Engine

from storage.model import ObjectVersion
from storage.objects import ObjectService
from storage.posix import PosixVolume
from storage.service import ObjectStore


def service_on(writer: Engine, folder: Path, *names: str, copies: int = 1) -> ObjectService:
    """A service on posix volumes of these names below a folder, each on record."""
    volumes = [PosixVolume(folder / name, name, create=True, reserve_bytes=0) for name in names]
    service = ObjectService(ObjectStore(volumes), writer, copies=copies)
    for name in names:
        service.register(name)
    return service


def put(service: ObjectService, file_id: str, data: bytes, **options: object) -> ObjectVersion:
    return service.put(file_id, io.BytesIO(data), **options).version  # type: ignore[arg-type]


def content(service: ObjectService, file_id: str, version: int | None = None) -> bytes:
    with service.open(file_id, version) as stream:
        return b"".join(stream)


def file_of(service: ObjectService, volume: str, key: str) -> Path:
    with service.store.reader(key, volume=volume) as file:
        return Path(f"/proc/self/fd/{file.fileno()}").resolve()


def flip(path: Path, at: int) -> None:
    """Turn one bit, and leave the times as they were, as a disk does."""
    was = path.stat()
    with path.open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))


def age(path: Path, seconds: float) -> None:
    was = path.stat()
    os.utime(path, (was.st_atime - seconds, was.st_mtime - seconds))


def copies_of(service: ObjectService, file_id: str) -> dict[str, str]:
    """Volume and state of each copy of the newest version."""
    return {copy.volume: copy.state for copy in service.stat(file_id).copies}
