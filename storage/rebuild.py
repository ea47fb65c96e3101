"""The catalogue made again from the volumes alone: from the labels that lie with their objects.

What comes back: every version with its copies, its container and those above it, and tombstones. What does not:
containers that hold nothing, when a copy was last verified, and the feed, in which each version is said to be archived
once more. Objects that were whole and never acknowledged may come back too: as a version that nobody was told of, if no
other took its number.

Labels go into a temporary table first, for there may be 10^7; what they say together is found in SQL.
"""

import contextlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import psycopg
from sqlalchemy import Connection, text

from storage import catalogue
from storage.errors import ObjectNotFound, StorageError, VolumeUnavailable
from storage.labels import Label
from storage.objects import ObjectService
from storage.volume import Entry, Volume

EXAMPLES = 20
THREADS = 8
_CHUNK = 1_000

_COLUMNS = (
    "volume, key, there_bytes, object_id, file_id, version, size_bytes, media_type, sha256, md5, crc32c, created,"
    " container, removed"
)
_LABELS = """
    CREATE TEMPORARY TABLE label (
        volume text, key text COLLATE "C", there_bytes bigint, object_id bigint, file_id text COLLATE "C", version int,
        size_bytes bigint, media_type text, sha256 text, md5 text, crc32c text, created timestamptz, container jsonb,
        removed timestamptz
    ) ON COMMIT DROP
"""
# Of several that say they are one version of a file, the numbers of all but one were given back by puts that failed:
# numbers of objects only grow, so the greatest was acknowledged. A tombstone says what its object said, and more.
_FOUND = """
    CREATE TEMPORARY TABLE found ON COMMIT DROP AS
    SELECT DISTINCT ON (file_id, version) *
    FROM label
    ORDER BY file_id, version, object_id DESC NULLS LAST, removed NULLS LAST, created DESC, key
"""
_CONTAINERS = """
    INSERT INTO store.container (container_id, name, parent_id)
    SELECT DISTINCT ON (1) (item ->> 0)::bigint, item ->> 1,
           CASE WHEN place > 1 THEN (container -> (place::int - 2) ->> 0)::bigint END
    FROM found, jsonb_array_elements(container) WITH ORDINALITY AS way (item, place)
    ORDER BY 1
"""
# A number that two objects claim, of volumes that two catalogues knew, is the elder's.
_OBJECTS = """
    INSERT INTO store.object (object_id, file_id, version, container_id, size_bytes, media_type, sha256, md5, crc32c,
                              created, removed)
    SELECT CASE WHEN object_id IS NOT NULL AND row_number() OVER (PARTITION BY object_id ORDER BY created, file_id) = 1
           THEN object_id ELSE nextval('store.object_object_id_seq') END,
           file_id, version, (container -> -1 ->> 0)::bigint, size_bytes, media_type, sha256, md5, crc32c, created,
           removed
    FROM found
"""
_COPIES = """
    INSERT INTO store.copy (object_id, volume, key, state, created)
    SELECT DISTINCT ON (o.object_id, l.volume) o.object_id, l.volume, l.key,
           CASE WHEN l.there_bytes = f.size_bytes THEN 'ok' ELSE 'corrupt' END, f.created
    FROM found f
    JOIN store.object o USING (file_id, version)
    JOIN label l USING (file_id, version)
    WHERE l.there_bytes IS NOT NULL AND l.sha256 = f.sha256 AND l.object_id IS NOT DISTINCT FROM f.object_id
    ORDER BY o.object_id, l.volume, l.there_bytes = f.size_bytes DESC, l.key
"""
_EVENTS = """
    INSERT INTO store.event (kind, file_id, version, detail)
    SELECT 'archived', file_id, version,
           jsonb_build_object('sha256', sha256, 'size_bytes', size_bytes, 'rebuilt', true)
    FROM found WHERE object_id IS NOT NULL AND removed IS NULL ORDER BY object_id
"""
_GREATEST_CONTAINER = "SELECT max((item ->> 0)::bigint) FROM found, jsonb_array_elements(container) item"
_GREATEST_OBJECT = "SELECT max(object_id) FROM found"
_LEFT_OVER = """
    SELECT l.volume, l.key FROM label l LEFT JOIN store.copy c USING (volume, key)
    WHERE l.there_bytes IS NOT NULL AND c.key IS NULL
"""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What came back: versions (removed: how many of them are tombstones), copies, containers.

    left_over: objects that were never acknowledged, or stand in for a sound one; unlabelled: that nobody can name.
    examples: of these two, at most EXAMPLES. They lie where they lay, and reconciling reports them.
    """

    versions: int
    removed: int
    copies: int
    containers: int
    left_over: int
    unlabelled: int
    examples: tuple[str, ...]


def rebuild(service: ObjectService) -> Rebuilt:
    """Fill an empty catalogue from the labels on all volumes of the store, in one transaction.

    Every volume must be there, for what is on one alone would be lost to the catalogue. Raises StorageError if the
    catalogue is not empty, VolumeUnavailable.
    """
    examples = list[str]()
    unlabelled = 0
    with service.engine.begin() as connection:
        if connection.scalar(text("SELECT EXISTS (SELECT FROM store.object) OR EXISTS (SELECT FROM store.container)")):
            raise StorageError("the catalogue has objects: only an empty one is made again from the volumes")
        connection.execute(text(_LABELS))
        for volume in service.store.volumes:
            for key in _load(connection, volume):
                unlabelled += 1
                if len(examples) < EXAMPLES:
                    examples.append(f"{volume.name} {key}: no label")
        connection.execute(text("ANALYZE label"))
        connection.execute(text(_FOUND))
        connection.execute(text("ANALYZE found"))
        _count_on(connection, "store.container_container_id_seq", _GREATEST_CONTAINER)
        _count_on(connection, "store.object_object_id_seq", _GREATEST_OBJECT)
        containers = connection.execute(text(_CONTAINERS)).rowcount
        versions = connection.execute(text(_OBJECTS)).rowcount
        copies = connection.execute(text(_COPIES)).rowcount
        connection.execute(text(_EVENTS))
        removed = connection.scalar(text("SELECT count(*) FROM store.object WHERE removed IS NOT NULL")) or 0
        left_over = 0
        for row in connection.execute(text(_LEFT_OVER)):
            left_over += 1
            if len(examples) < EXAMPLES:
                examples.append(f"{row.volume} {row.key}: another object is this version")
    for volume in service.store.volumes:
        if volume.name not in service.volumes():
            service.register(volume.name)
    return Rebuilt(versions, removed, copies, containers, left_over, unlabelled, tuple(examples))


def renew_labels(service: ObjectService) -> int:
    """Write every label that is missing or says less than the catalogue; how many.

    For objects from before there were labels, or copied here by a tool that left them behind. What is not there, or on
    a volume that is not, is passed over: it is scrub's to find.
    """
    written = 0
    ways: dict[int | None, tuple[tuple[int, str], ...]] = {}
    for volume in service.store.volumes:
        with service.engine.connect() as connection, service.engine.connect() as other:
            for version in catalogue.copies_on(connection, volume.name):
                key, number = version.copies[0].key, version.container_id
                if number not in ways:
                    ways[number] = catalogue.way_to(other, number)
                label = Label.of(version, ways[number])
                if version.file_id == key:  # nobody's: it goes by its key
                    label = replace(label, file_id=None, object_id=None)
                with contextlib.suppress(ObjectNotFound, VolumeUnavailable):
                    if volume.label(key) != label.write():
                        volume.relabel(key, label.write())
                        written += 1
    return written


def _load(connection: Connection, volume: Volume) -> Iterator[str]:
    """Read the labels of a volume into the temporary table; yield the keys of objects without one."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)

    def read(entry: Entry) -> tuple[Entry, Label | None]:
        try:
            written = volume.label(entry.key)
            return entry, None if written is None else Label.read(written)
        except (ObjectNotFound, ValueError):
            return entry, None

    entries = iter(volume.keys())
    with (
        ThreadPoolExecutor(THREADS, thread_name_prefix="store-labels") as threads,
        driver.cursor() as cursor,
        cursor.copy(f"COPY label ({_COLUMNS}) FROM STDIN") as rows,
    ):
        while chunk := list(islice(entries, _CHUNK)):
            for entry, label in threads.map(read, chunk):
                if label is None:
                    yield entry.key
                else:
                    rows.write_row(_row(volume.name, entry.key, entry.size_bytes, label))
        for key, tombstone in volume.tombstones():
            rows.write_row(_row(volume.name, key, None, Label.read(tombstone)))


def _row(volume: str, key: str, there_bytes: int | None, label: Label) -> tuple[Any, ...]:
    return (
        volume, key, there_bytes, label.object_id, label.file_id or key, label.version, label.size_bytes,
        label.media_type, label.sha256, label.md5, label.crc32c, label.created, json.dumps(label.container),
        label.removed,
    )  # fmt: skip


def _count_on(connection: Connection, sequence: str, greatest: str) -> None:
    """Have a sequence go on after the greatest number found; by nextval, for setval is not the writer's to call."""
    last = connection.scalar(text(greatest))
    if last is not None:
        number = "nextval(CAST(CAST(:sequence AS text) AS regclass))"
        advance = text(f"SELECT count({number}) FROM generate_series({number}, :last)")  # noqa: S608 (our own words)
        connection.execute(advance, {"sequence": sequence, "last": last})
