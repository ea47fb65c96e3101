"""The feed of changes: what happened in the archive, for mirrors, registries, caches and people's alerts.

The store keeps the feed (storage.feed), which promises that whoever goes on from the last event_id misses none.
Here it is read for everybody: events of files whose existence is protected are left out, their numbers with them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Engine

from archive.holdings import queries
from storage.feed import Event, read_events


@dataclass(frozen=True, slots=True)
class Page:
    """Events in the feed's order. next_after: what to ask from for what comes after, even if all were left out."""

    events: tuple[Event, ...]
    next_after: int


class Feed:
    """Reads the feed; max_events: events of one answer at the most."""

    def __init__(self, writer: Engine, *, max_events: int) -> None:
        self._writer = writer
        self.max_events = max_events

    def page(self, after: int, limit: int) -> Page:
        """The events after `after` (0: from the beginning). An empty page means nothing yet, not the end."""
        # The transaction gives events their places; they are told after its commit, or another could get the same.
        with self._writer.begin() as connection:
            found = read_events(connection, after, min(limit, self.max_events))
        with self._writer.connect() as connection:
            hidden = queries.secure_files(connection, _files(found))
        events = tuple(event for event in found if event.file_id not in hidden)
        return Page(events, found[-1].event_id if found else after)


def _files(events: Sequence[Event]) -> list[str]:
    return sorted({event.file_id for event in events if event.file_id is not None})
