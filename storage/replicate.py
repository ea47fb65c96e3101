"""Copies: as many, and where, as the policy wants; and none on a volume that is to be emptied.

Only independent copies count: sound ones on volumes that are to be had, are not emptied, and are no caches.

Going through 10^7 objects takes a minute. So the job looks at those alone that are noted as unsettled, which the
catalogue does whenever a copy comes, goes or changes its state, in the same transaction; and goes through all when the
policy, or a volume, is another than before. What lacks a copy stays noted until it has it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from sqlalchemy import Connection

from storage import rounds
from storage.errors import CopyNeeded, ObjectNotFound, OutOfSpace, StorageError, VolumeUnavailable
from storage.findings import Deed, Finding, FindingKind, Pace
from storage.model import CACHE_CLASS, Copy, ObjectVersion, VolumeRow
from storage.objects import ObjectService

PAGE = 500


@dataclass(frozen=True, slots=True)
class Policy:
    """On how many volumes an object is to lie, and on how many sites these are to stand.

    classes: of the volumes that count and are copied to; (): any but caches.
    """

    copies: int = 1
    sites: int = 1
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.sites <= self.copies:
            raise ValueError(f"{self.copies} copies cannot stand on {self.sites} sites")

    def counts(self, row: VolumeRow) -> bool:
        """May a copy on this volume count?"""
        fits = row.storage_class in self.classes if self.classes else row.storage_class != CACHE_CLASS
        return fits and row.state in ("online", "readonly")


def replicate(service: ObjectService, policy: Policy, *, pace: Pace | None = None) -> Iterator[Finding]:
    """Bring every object to its copies, and repair those that are marked; repeatable, may be broken off."""
    pace, after = pace or Pace(), 0
    while not pace.is_over:
        rows = service.volumes()
        with service.engine.connect() as connection:
            last, found = rounds.lacking(connection, after, _wanted(service, policy, rows))
        if last is None:
            return
        after = last
        yield from _bring_all(service, found, policy, rows, pace)


def keep_up(
    service: ObjectService, policy: Policy, *, again_s: float = 86_400.0, pace: Pace | None = None
) -> Iterator[Finding]:
    """The same of what may lack a copy since the last time, as a job does every few minutes; one at a time.

    again_s: seconds after which it goes through all, whatever is noted. What was broken off goes on with the next.
    """
    pace = pace or Pace()
    with service.engine.connect() as connection:
        began = rounds.now(connection)
    # In turns, so that neither waits for what the other finds to be copied.
    turns: list[Callable[[Connection, rounds.Wanted], list[int] | None]] = [
        partial(rounds.take_unsettled, before=began),
        partial(rounds.walk_on, again_s=again_s),
    ]
    while turns and not pace.is_over:
        look, rows = turns.pop(0), service.volumes()
        with service.engine.begin() as connection:
            found = look(connection, _wanted(service, policy, rows))
        if found is not None:
            turns.append(look)
            yield from _bring_all(service, found, policy, rows, pace)


def drain(service: ObjectService, name: str, policy: Policy, *, pace: Pace | None = None) -> Iterator[Finding]:
    """Empty a volume: it takes nothing more, and each copy goes once the policy's number lies elsewhere.

    Repeatable, may be broken off. What has to stay (no room elsewhere, no sound copy) is a finding. VolumeUnavailable:
    there is no such volume.
    """
    service.store.volume(name)
    if service.volumes()[name].state != "draining":
        service.set_volume_state(name, "draining", "to be emptied")
    pace, after = pace or Pace(), ""
    while not pace.is_over:
        rows = service.volumes()
        with service.engine.connect() as connection:
            page = rounds.objects_of(connection, name, after=after, most=PAGE)
            versions = rounds.with_copies(connection, [version.object_id for version in page])
        if not page:
            return
        after = page[-1].copies[0].key
        for version in versions:
            if not pace.begin():
                return
            if version.removed is not None:
                service.finish_removal(version)
                continue
            yield from _bring(service, version, policy, rows, pace)
            yield from give_up(service, version, name, policy.copies, rows, "to_move")


def drain_all(service: ObjectService, policy: Policy, *, pace: Pace | None = None) -> Iterator[Finding]:
    """Go on with every volume that is to be emptied."""
    for name, row in service.volumes().items():
        if row.state == "draining" and _is_ours(service, name):
            yield from drain(service, name, policy, pace=pace)


def give_up(
    service: ObjectService,
    version: ObjectVersion,
    name: str,
    keep: int,
    rows: dict[str, VolumeRow],
    kind: FindingKind,
    text: str = "",
) -> Iterator[Finding]:
    """Give up the copy on a volume if `keep` independent ones are left, each of which is really there just now."""
    key = next((copy.key for copy in version.copies if copy.volume == name), "")
    try:
        current = service.stat(version.file_id, version.version)
        there = [
            copy.volume
            for copy in independent(current, rows)
            if copy.volume != name and _is_there(service, current, copy)
        ]
        if len(there) < keep:
            raise CopyNeeded(f"{len(there)} sound copies lie elsewhere, and {keep} are needed")
        service.drop_copy(version.file_id, version.version, name, keep=keep, among=there)
    except ObjectNotFound:
        return  # removed meanwhile
    except StorageError as error:
        yield Finding(kind, name, key, f"{text}: {error}" if text else str(error), version.file_id, version.version)
        return
    told = text or f"{len(there)} sound copies lie elsewhere"
    yield Finding(kind, name, key, told, version.file_id, version.version, "deleted")


def independent(version: ObjectVersion, rows: dict[str, VolumeRow], policy: Policy | None = None) -> list[Copy]:
    """The copies that count."""
    policy = policy or Policy()
    return [
        copy
        for copy in version.copies
        if copy.state == "ok" and copy.volume in rows and policy.counts(rows[copy.volume])
    ]


def _wanted(service: ObjectService, policy: Policy, rows: dict[str, VolumeRow]) -> rounds.Wanted:
    ours = [row for name, row in rows.items() if _is_ours(service, name)]
    good = {row.name: row.site for row in ours if policy.counts(row)}
    return rounds.Wanted(policy.copies, policy.sites, good, tuple(row.name for row in ours if row.state == "online"))


def _bring_all(
    service: ObjectService, object_ids: Sequence[int], policy: Policy, rows: dict[str, VolumeRow], pace: Pace
) -> Iterator[Finding]:
    for start in range(0, len(object_ids), PAGE):
        if pace.is_over:
            return
        with service.engine.connect() as connection:
            versions = rounds.with_copies(connection, object_ids[start : start + PAGE])
        for version in versions:
            if not pace.begin():
                return
            if version.removed is None:
                yield from _bring(service, version, policy, rows, pace)


def _bring(
    service: ObjectService, version: ObjectVersion, policy: Policy, rows: dict[str, VolumeRow], pace: Pace
) -> Iterator[Finding]:
    """What is marked is repaired where it lies; then further copies until there are enough."""
    if not any(copy.state == "ok" for copy in version.copies):
        yield Finding("too_few_copies", "", "", "no sound copy is left", version.file_id, version.version)
        return
    missing = [copy.volume for copy in version.copies if copy.state != "ok"]
    for name in missing:
        if name in rows and rows[name].state == "online" and _is_ours(service, name):
            yield from _copy(service, version, name, "repaired", pace)
    try:
        version = service.stat(version.file_id, version.version)
        while (lack := _lack(version, rows, policy)) is not None:
            name = _target(service, version, policy, rows, other_site=lack == "site")
            done = list(_copy(service, version, name, "copied", pace))
            yield from done
            if not all(finding.done for finding in done):
                return
            version = service.stat(version.file_id, version.version)
    except ObjectNotFound:
        return  # removed meanwhile
    except (OutOfSpace, VolumeUnavailable) as error:
        yield Finding("too_few_copies", "", "", str(error), version.file_id, version.version)


def _lack(version: ObjectVersion, rows: dict[str, VolumeRow], policy: Policy) -> Literal["site", "copy"] | None:
    sound = independent(version, rows, policy)
    sites = {rows[copy.volume].site for copy in sound}
    if len(sites) < policy.sites:
        return "site"
    return "copy" if len(sound) < policy.copies else None


def _target(
    service: ObjectService, version: ObjectVersion, policy: Policy, rows: dict[str, VolumeRow], *, other_site: bool
) -> str:
    """The volume for the next copy: online, of a class that counts, without a copy, with the most room."""
    taken = {copy.volume for copy in version.copies}
    sites = {rows[copy.volume].site for copy in independent(version, rows, policy)}
    best: tuple[bool, float, str] | None = None
    reasons = []
    for volume in service.store.volumes:
        row = rows.get(volume.name)
        if row is None or row.state != "online" or not policy.counts(row) or volume.name in taken:
            continue
        if other_site and row.site in sites:
            continue
        try:
            free = volume.free_bytes()
        except VolumeUnavailable as error:
            reasons.append(str(error))
            continue
        if free is not None and free - version.size_bytes <= row.watermark_bytes:
            reasons.append(f"{row.name} has no room")
            continue
        best = max(filter(None, [best, (row.site not in sites, free or float("inf"), row.name)]))
    if best is None:
        where = "of another site " if other_site else ""
        told = "; ".join(reasons) or "none is configured that is online and has no copy yet"
        raise VolumeUnavailable(f"no volume {where}can take another copy: {told}")
    return best[2]


def _copy(service: ObjectService, version: ObjectVersion, name: str, deed: Deed, pace: Pace) -> Iterator[Finding]:
    former = next((copy for copy in version.copies if copy.volume == name), None)
    text = f"{version.size_bytes} bytes" if former is None else f"it was {former.state}"
    try:
        made = service.add_copy(version.file_id, version.version, name)
    except ObjectNotFound:
        return  # removed meanwhile
    except StorageError as error:
        yield Finding("too_few_copies", name, "", str(error), version.file_id, version.version)
        return
    pace.size_bytes += version.size_bytes
    key = next(copy.key for copy in made.copies if copy.volume == name)
    yield Finding("too_few_copies", name, key, text, version.file_id, version.version, deed)


def _is_ours(service: ObjectService, name: str) -> bool:
    """Is it configured, not only on record?"""
    return any(volume.name == name for volume in service.store.volumes)


def _is_there(service: ObjectService, version: ObjectVersion, copy: Copy) -> bool:
    try:
        return service.store.size(copy.key, volume=copy.volume) == version.size_bytes
    except StorageError:
        return False
