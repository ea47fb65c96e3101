"""Results and uploads of jobs in the object store, with their rows, as archive.jobs wants them kept."""

from typing import IO, BinaryIO, cast

from sqlalchemy import Connection, Engine

from archive.database.engines import begin_unflushed
from archive.jobs.results import Laid
from archive.vo.errors import NotFoundError, UnavailableError
from storage import catalogue
from storage.errors import CatalogueUnavailable, ObjectNotFound, OutOfSpace, VolumeUnavailable
from storage.service import ObjectStore


class StoredResults:
    """archive.jobs.results.ResultStore over the object store: object first, row second; in deleting, row first."""

    def __init__(self, store: ObjectStore, writer: Engine) -> None:
        self._store = store
        self._writer = writer

    def lay(self, stream: BinaryIO) -> Laid:
        try:
            stored = self._store.store(stream)
        except (OutOfSpace, VolumeUnavailable, CatalogueUnavailable) as problem:
            raise UnavailableError(f"the result could not be kept: {problem}") from None

        def record(connection: Connection) -> None:
            catalogue.add_object(connection, stored)

        return Laid(
            stored.key,
            record=record,
            discard=lambda: self._store.delete(stored.key, volume=stored.volume),
        )

    def put(self, stream: BinaryIO) -> str:
        laid = self.lay(stream)
        with begin_unflushed(self._writer) as connection:  # the job that refers to it is written after it
            laid.record(connection)
        return laid.key

    def open(self, key: str) -> IO[bytes]:
        try:
            return cast("IO[bytes]", self._store.reader(key))
        except ObjectNotFound:
            raise NotFoundError("this result is not kept any more") from None

    def delete(self, key: str) -> None:
        with self._writer.begin() as connection:
            held = catalogue.remove_objects(connection, [key])
        for name, key in held:
            self._store.delete(key, volume=name)
