"""The transaction of one put: the file's next number, taken while its bytes lie on a disk and are not visible yet."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from storage import catalogue, feed
from storage.checksums import Stored
from storage.errors import ContainerNotFound
from storage.labels import Label
from storage.model import Copy, ObjectVersion
from storage.sessions import CatalogueSessions, commit

log = logging.getLogger(__name__)

Outcome = Literal["created", "unchanged", "repaired"]
# What a put must find: it raises, and then nothing is kept.
Condition = Callable[[ObjectVersion | None], None]


class Unchanged(Exception):
    """Not an error: these bytes are there already."""

    def __init__(self, version: ObjectVersion) -> None:
        super().__init__()
        self.version = version


class Filing:
    """The transaction of one put: begun when the bytes are in, ended by the put.

    version, text: of the object that is being made, and its label, once label() was called.
    """

    def __init__(
        self,
        sessions: CatalogueSessions,
        file_id: str,
        key: str,
        media_type: str | None,
        container_id: int | None,
        condition: Condition | None,
        number: int | None,
    ) -> None:
        self._sessions, self._condition, self._number = sessions, condition, number
        self._file_id, self._key = file_id, key
        self._media_type, self._container_id = media_type, container_id
        self._connection: Connection | None = None
        self.outcome: Outcome = "created"
        self.committing = False
        self.version: ObjectVersion
        self.text = b""

    def label(self, stored: Stored, volume: str) -> bytes:
        """Take the file's next number, for bytes on this volume; Unchanged if its newest version has these bytes."""
        self.end()  # where the first volume failed after it had asked
        self.outcome = "created"
        connection = self._connection = self._sessions.begin(catalogue.file_lock(self._file_id))
        if self._condition is not None:
            self._condition(catalogue.find_version(connection, self._file_id))
        if self._container_id is not None and catalogue.find_container(connection, self._container_id) is None:
            raise ContainerNotFound(f"there is no container {self._container_id}")
        version = catalogue.take_version(
            connection, self._file_id, stored, volume, self._key, media_type=self._media_type,
            container_id=self._container_id, number=self._number,
        )  # fmt: skip
        if version is None:
            version = catalogue.find_version(connection, self._file_id, self._number, removed=self._number is not None)
            assert version is not None, "it was found under a lock that is held"
            if version.removed or any(copy.state == "ok" for copy in version.copies):
                raise Unchanged(version)
            catalogue.note_blocks(connection, version.object_id, stored.blocks)
            self.outcome = "repaired"
        self.version = version
        self.text = Label.of(version, catalogue.way_to(connection, version.container_id)).write()
        return self.text

    def record(self, volumes: Sequence[str]) -> tuple[ObjectVersion, list[tuple[str, str]]]:
        """Have rows of all copies; the version, and where bytes lie that these replace."""
        connection, version = self._connection, self.version
        assert connection is not None
        if self.outcome == "created":
            return catalogue.further_copies(connection, version, volumes[1:], self._key), []
        former = catalogue.put_copies(connection, version.object_id, volumes, self._key)
        feed.append_event(connection, "repaired", self._file_id, version.version, {"volumes": list(volumes)})
        return replace(version, copies=tuple(sound_copy(name, self._key, version) for name in volumes)), former

    def commit(self) -> None:
        assert self._connection is not None
        self.committing = True
        commit(self._connection)

    def end(self) -> None:
        """Give the connection back; what was not committed is rolled back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                self._sessions.give_back(connection)
            except DBAPIError as error:
                log.warning("the catalogue's connection could not be given back: %s", error.orig)


def sound_copy(volume: str, key: str, version: ObjectVersion) -> Copy:
    """A copy of a version that has just been written."""
    return Copy(volume, key, "ok", None, version.created)
