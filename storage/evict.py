"""Making room on caches: copies that nobody uses go, those longest unused first, and never what is not safe elsewhere.

When a copy was last used, the file system says (atime; with `relatime`, the usual mount option, to a day). Where it
cannot say (S3), the copy's age stands for it.
"""

import heapq
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from storage import rounds
from storage.errors import StorageError
from storage.findings import Finding, Pace
from storage.model import CACHE_CLASS, ObjectVersion
from storage.objects import ObjectService
from storage.replicate import give_up
from storage.volume import Volume

PAGE = 2_000
# What is looked at again after so many: memory stays bounded however large the cache is.
ROUND = 10_000


@dataclass(frozen=True, slots=True)
class CacheRule:
    """What a cache keeps. None: no such rule.

    max_bytes: of all copies on one cache. max_age_s: since the copy was made. max_idle_s: since it was last used.
    keep: independent copies that must lie elsewhere before one goes.
    """

    max_bytes: int | None = None
    max_age_s: float | None = None
    max_idle_s: float | None = None
    keep: int = 1


def evict(service: ObjectService, rule: CacheRule, *, pace: Pace | None = None) -> Iterator[Finding]:
    """Apply the rule to every volume of class cache; repeatable, may be broken off."""
    pace = pace or Pace()
    for name, row in service.volumes().items():
        ours = next((volume for volume in service.store.volumes if volume.name == name), None)
        if ours is None or row.storage_class != CACHE_CLASS or row.state == "offline":
            continue
        try:
            yield from _evict(service, ours, rule, pace)
        except StorageError as error:
            yield Finding("volume_unavailable", name, "", str(error))


@dataclass(frozen=True, slots=True, order=True)
class _Held:
    used: datetime
    object_id: int
    size_bytes: int
    reason: str


def _evict(service: ObjectService, volume: Volume, rule: CacheRule, pace: Pace) -> Iterator[Finding]:
    kept: set[int] = set()  # what could not go in an earlier round of this run
    while not pace.is_over:
        total = 0
        old, idlest = list[_Held](), list[tuple[float, _Held]]()
        for version in _held(service, volume.name):
            total += version.size_bytes
            if version.object_id in kept:
                continue
            held = _look(volume, version, rule)
            if held.reason:
                if len(old) < ROUND:
                    old.append(held)
            else:
                # A heap of the longest unused: its top is the one used last of these.
                push = heapq.heappush if len(idlest) < ROUND else heapq.heappushpop
                push(idlest, (-held.used.timestamp(), held))
        going = old
        over = total - sum(held.size_bytes for held in old) - (total if rule.max_bytes is None else rule.max_bytes)
        for _, held in sorted(idlest, reverse=True):
            if over <= 0:
                break
            over -= held.size_bytes
            going.append(_Held(held.used, held.object_id, held.size_bytes, "the cache is over its size"))
        if not going:
            return
        gone = 0
        for held in going:
            if not pace.begin():
                return
            with service.engine.connect() as connection:
                versions = rounds.with_copies(connection, [held.object_id])
            for version in versions:
                for finding in give_up(
                    service, version, volume.name, rule.keep, service.volumes(), "to_evict", held.reason
                ):
                    gone += bool(finding.done)
                    if not finding.done:
                        kept.add(held.object_id)
                    yield finding
        if not gone:
            return


def _held(service: ObjectService, volume: str) -> Iterator[ObjectVersion]:
    after = ""
    while True:
        with service.engine.connect() as connection:
            page = rounds.objects_of(connection, volume, after=after, most=PAGE)
        for version in page:
            after = version.copies[0].key
            if version.removed is None:
                yield version
        if len(page) < PAGE:
            return


def _look(volume: Volume, version: ObjectVersion, rule: CacheRule) -> _Held:
    (copy,) = version.copies
    used = max(_used(volume, copy.key) or copy.created, copy.created)
    moment, reason = datetime.now(UTC), ""
    if rule.max_age_s is not None and moment - copy.created > timedelta(seconds=rule.max_age_s):
        reason = f"it is here since {copy.created:%Y-%m-%d %H:%M}"
    elif rule.max_idle_s is not None and moment - used > timedelta(seconds=rule.max_idle_s):
        reason = f"it is unused since {used:%Y-%m-%d %H:%M}"
    return _Held(used, version.object_id, version.size_bytes, reason)


def _used(volume: Volume, key: str) -> datetime | None:
    if volume.kind != "posix":
        return None
    try:
        with volume.reader(key) as file:
            return datetime.fromtimestamp(os.fstat(file.fileno()).st_atime, UTC)
    except StorageError:
        return None
