"""The catalogue made again from the volumes alone, compared with the one that was lost."""

import io
import os
import random
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from storage import catalogue, feed
from storage.errors import StorageError
from storage.model import ObjectVersion
from storage.objects import ObjectService
from storage.posix import PosixVolume
from storage.rebuild import rebuild, renew_labels
from storage.s3 import S3Volume
from storage.service import ObjectStore
from storage.volume import Volume, new_key
from tests.object_store import ObjectStoreServer

pytestmark = pytest.mark.parametrize("postgres", ["embedded"], indirect=True)
MIB = 1 << 20


@pytest.fixture
def service(writer: Engine, tmp_path: Path, object_store: ObjectStoreServer) -> ObjectService:
    volumes: list[Volume] = [
        PosixVolume(tmp_path / "disk", "disk", create=True, reserve_bytes=0),
        S3Volume(
            name="bucket",
            endpoint_url=object_store.endpoint_url,
            bucket=object_store.bucket(),
            access_key=object_store.access_key,
            secret_key=object_store.secret_key,
            part_bytes=5 * MIB,
        ),
    ]
    return ObjectService(ObjectStore(volumes), writer)


def put(service: ObjectService, file_id: str, data: bytes, **options: Any) -> ObjectVersion:
    return service.put(file_id, io.BytesIO(data), **options).version


def recorded(service: ObjectService) -> list[Any]:
    """All that the catalogue says of objects, copies and containers, but when these were made or last verified."""
    asked = (
        "SELECT * FROM store.object ORDER BY object_id",
        "SELECT object_id, volume, key, state FROM store.copy ORDER BY object_id, volume",
        "SELECT container_id, name, parent_id FROM store.container ORDER BY 1",
        "SELECT * FROM store.volume ORDER BY name",
    )
    with service.engine.connect() as connection:
        return [[tuple(row) for row in connection.execute(text(each))] for each in asked]


def lose(service: ObjectService) -> None:
    with service.engine.begin() as connection:
        for table in ("event", "copy", "object", "container", "volume"):
            connection.execute(text(f"DELETE FROM store.{table}"))


def test_a_lost_catalogue_comes_back_from_the_volumes_and_is_the_same(service: ObjectService) -> None:
    for volume in service.store.volumes:
        service.register(volume.name)
    run = service.create_container("run")
    night = service.create_container("night", run.container_id)
    for number in range(10):
        for version in range(1, 4):
            data = f"{number} {version}".encode()
            put(service, f"ESO/ä {number}.fits", data, media_type="image/fits", copies=1 + (number < 3))
    put(service, "a" * 1_024, b"long", container_id=night.container_id)
    put(service, 'é"\\' * 256, random.Random(1).randbytes(11 * MIB), copies=2)
    service.place("ESO/ä 3.fits", run.container_id)
    put(service, "ESO/ä 3.fits", b"in the same container")
    for number in (1, 2):
        service.place(f"ESO/ä {number}.fits", night.container_id)
    service.remove("ESO/ä 1.fits"), service.remove("ESO/ä 1.fits", 1)
    service.remove("ESO/ä 2.fits", 3), service.remove("ESO/ä 2.fits", 2), service.remove("ESO/ä 2.fits")
    service.drop_copy("ESO/ä 0.fits", 1, "disk")
    with service.engine.begin() as connection:  # a preview, or a result of a job
        stored = service.store.store(io.BytesIO(b"preview"))
        catalogue.add_object(connection, stored)
        sequence = connection.scalar(text("SELECT max(object_id) FROM store.object"))
    before = recorded(service)
    lose(service)
    told = rebuild(service)
    after = recorded(service)
    # What goes by its key has no number of its own.
    anonymous = [row for row in after[0] if row[1] == stored.key]
    assert len(anonymous) == 1
    renumbered = {anonymous[0][0]: next(row[0] for row in before[0] if row[1] == stored.key)}
    for table in (0, 1):
        after[table] = sorted((renumbered.get(row[0], row[0]), *row[1:]) for row in after[table])
    assert after == before
    assert (told.versions, told.removed, told.containers) == (10 * 3 + 4, 5, 2)
    assert (told.copies, told.left_over, told.unlabelled) == (len(before[1]), 0, 0)
    with service.open("ESO/ä 3.fits") as stream:
        assert stream.read() == b"in the same container"
    assert put(service, "ESO/ä 1.fits", b"new").version == 4
    assert put(service, "ESO/ä 2.fits", b"new").object_id > sequence
    with service.engine.begin() as connection:
        assert len(feed.read_events(connection)) == 10 * 3 + 3 - 5 + 2
    with pytest.raises(StorageError, match="only an empty one"):
        rebuild(service)


def test_labels_that_are_missing_are_written_and_those_that_hold_are_left(
    service: ObjectService, tmp_path: Path
) -> None:
    disk = service.store.volume("disk")
    night = service.create_container("night")
    versions = [put(service, name, name.encode(), container_id=night.container_id) for name in ("kept", "lost", "gone")]
    keys = [version.copies[0].key for version in versions]
    with service.engine.begin() as connection:
        catalogue.add_object(connection, service.store.store(io.BytesIO(b"preview")))
    labels = [disk.label(key) for key in keys]
    os.removexattr(tmp_path / "disk" / "objects" / keys[1], "user.uraniborg")
    disk.delete(keys[2])
    assert disk.label(keys[1]) is None
    assert renew_labels(service) == 1
    assert [disk.label(key) for key in keys[:2]] == labels[:2]
    assert renew_labels(service) == 0


def test_what_was_never_acknowledged_does_not_take_the_place_of_what_was(
    service: ObjectService, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = service.store.volume("disk")
    put(service, "f", b"1")
    with monkeypatch.context() as killed:  # between the object and its row, as a killed process is
        killed.setattr(catalogue, "further_copies", lambda *_: 1 / 0)
        killed.setattr(ObjectService, "_forget", lambda *_: None)
        for data, file_id in ((b"lost", "f"), (b"late", "g")):
            with pytest.raises(ZeroDivisionError):
                put(service, file_id, data)
    put(service, "f", b"2")
    disk.put(new_key(), io.BytesIO(b"a stranger's"))
    disk.put("z/broken", io.BytesIO(b"x"), label=lambda _: b"{")
    lose(service)
    told = rebuild(service)
    assert [(each.file_id, each.version) for each in service.files(every=True)] == [("f", 2), ("f", 1), ("g", 1)]
    with service.open("f", 2) as stream:
        assert stream.read() == b"2"
    assert (told.left_over, told.unlabelled, len(told.examples)) == (1, 2, 3)


def test_a_copy_that_is_not_as_long_as_its_label_says_is_corrupt_at_once(
    service: ObjectService, tmp_path: Path
) -> None:
    (copy, _) = reversed(put(service, "f", b"12345", copies=2).copies)
    path = tmp_path / "disk" / "objects" / copy.key
    with path.open("r+b") as file:
        file.truncate(3)
    lose(service)
    rebuild(service)
    assert {each.volume: each.state for each in service.stat("f").copies} == {"disk": "corrupt", "bucket": "ok"}
    with service.open("f") as stream:
        assert stream.read() == b"12345"
