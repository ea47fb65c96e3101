"""Clearing up after what was cut off: puts that never ended, removals that did not come to their end; notes that nobody
takes."""

import logging
from collections.abc import Iterator

from storage import rounds
from storage.errors import StorageError
from storage.findings import Finding, Pace
from storage.objects import ObjectService
from storage.service import ObjectStore

log = logging.getLogger(__name__)


def clear_after_death(store: ObjectStore) -> None:
    """Clear the staging of posix volumes when a process starts: there a file's lock tells the dead from the living, and
    nothing wants a grace."""
    for volume in store.volumes:
        if volume.kind == "posix":
            try:
                volume.janitor(grace_s=0)
            except StorageError as error:
                log.warning("the staging of volume %s is not cleared: %s", volume.name, error)


def janitor(service: ObjectService, *, grace_s: float, pace: Pace | None = None) -> Iterator[Finding]:
    """Clear the staging of every volume that is not offline, and finish removals; repeatable.

    grace_s: what was touched less than so many seconds ago is left alone. What a living put holds is left alone always.
    """
    pace, rows = pace or Pace(), service.volumes()
    for volume in service.store.volumes:
        if volume.name in rows and rows[volume.name].state == "offline":
            continue
        try:
            cleared = volume.janitor(grace_s=grace_s)
        except StorageError as error:
            yield Finding("volume_unavailable", volume.name, "", str(error))
            continue
        if cleared:
            yield Finding("left_over", volume.name, "", f"{cleared} unfinished writes", done="deleted")
    with service.engine.begin() as connection:
        rounds.forget_unsettled(connection)
    after = 0
    while not pace.is_over:
        with service.engine.connect() as connection:
            page = rounds.unfinished_removals(connection, after=after)
        if not page:
            return
        for version in page:
            if not pace.begin():
                return
            after = version.object_id
            service.finish_removal(version)
            with service.engine.connect() as connection:
                left = {copy.volume for one in rounds.with_copies(connection, [after]) for copy in one.copies}
            for copy in version.copies:
                why = "its volume does not let it go yet" if copy.volume in left else "its removal had been cut off"
                done = "" if copy.volume in left else "deleted"
                yield Finding("to_remove", copy.volume, copy.key, why, version.file_id, version.version, done)  # type: ignore[arg-type]
