"""How the store is: volumes, what lies on them, what is wrong, when it was last looked after."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from storage import rounds
from storage.errors import StorageError
from storage.model import VolumeState
from storage.objects import ObjectService
from storage.totals import Totals, totals
from storage.volume import Kind, Volume

FINDINGS = 100

# Both from an index that is short, or of which the first entry is enough: true now, whenever the rest was counted.
_MARKED = text("SELECT volume, state, count(*) FROM store.copy WHERE state <> 'ok' GROUP BY volume, state")
_OLDEST = text("SELECT min(verified) FROM store.copy WHERE volume = :volume AND state = 'ok'")
# Each from the end of the index by kind and time.
_RUNS = text(
    """
    SELECT last.event_time, last.detail
    FROM (VALUES ('scrub'), ('reconcile'), ('replicate'), ('drain'), ('janitor'), ('evict')) AS p (process),
    LATERAL (
        SELECT event_time, detail FROM store.event
        WHERE kind = CASE p.process WHEN 'scrub' THEN 'verified' ELSE 'upkeep' END AND detail ->> 'process' = p.process
        ORDER BY event_time DESC LIMIT 1
    ) AS last
    """
)


@dataclass(frozen=True, slots=True)
class VolumeStatus:
    """A volume. problem: None, or what is wrong. copies: by state; size_bytes: of all on record.

    oldest_verified: when the sound copy that was verified longest ago was; unverified: sound ones never verified since
    they were written. configured: it is in the settings, not only on record.
    """

    name: str
    kind: Kind
    site: str
    storage_class: str
    state: VolumeState
    configured: bool
    problem: str | None
    capacity_bytes: int | None
    free_bytes: int | None
    watermark_bytes: int
    copies: dict[str, int]
    size_bytes: int
    unverified: int
    oldest_verified: datetime | None


@dataclass(frozen=True, slots=True)
class Run:
    """The last run of a standing process that saw anything: what it counted (storage.findings.Tally)."""

    process: str
    ended: datetime
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """The store as it is now, but for sound copies, bytes and those never verified, which are of the moment `counted`
    (UTC). findings: copies that are marked, at most FINDINGS of them, one line each. verified_by_day: sound copies by
    the day (UTC) on which they were verified last, of the past totals.DAYS, without days that have none."""

    counted: datetime
    volumes: tuple[VolumeStatus, ...]
    verified_by_day: dict[str, int]
    runs: tuple[Run, ...]
    findings: tuple[str, ...]

    @property
    def is_sound(self) -> bool:
        """Does every volume answer, and is no copy marked?"""
        return not self.findings and self.answers

    @property
    def answers(self) -> bool:
        """Does every volume answer that is not offline?"""
        return all(volume.problem is None or volume.state == "offline" for volume in self.volumes)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "is_sound": self.is_sound}


def store_status(service: ObjectService, *, wait: bool = True) -> StoreStatus:
    """Ask catalogue and volumes. Raises CatalogueUnavailable; a volume that does not answer is told as such.

    wait: whether to wait where what takes long is to be counted anew (totals.totals).
    """
    rows = service.volumes()
    ours = {volume.name: volume for volume in service.store.volumes}
    counted = totals(service.engine, wait=wait)
    with service.engine.connect() as connection:
        recorded = _recorded(connection, counted)
        runs = last_runs(connection)
        marked = rounds.faulty(connection, FINDINGS)
    found = []
    for name in [*ours, *(name for name in rows if name not in ours)]:
        volume, row = ours.get(name), rows.get(name)
        problem, free = (None, None) if volume is None else ask(volume)
        kind = row.kind if row is not None else ours[name].kind
        found.append(
            VolumeStatus(
                name,
                kind,
                "" if row is None else row.site,
                "" if row is None else row.storage_class,
                "online" if row is None else row.state,
                volume is not None,
                problem if volume is not None else "it is on record and not configured",
                None if row is None else row.capacity_bytes,
                free,
                0 if row is None else row.watermark_bytes,
                **recorded.get(name, {"copies": {}, "size_bytes": 0, "unverified": 0, "oldest_verified": None}),
            )
        )
    return StoreStatus(counted.moment, tuple(found), counted.by_day(), runs, tuple(_lines(marked)))


def last_runs(connection: Connection) -> tuple[Run, ...]:
    """Of each standing process the last run that had anything new to tell."""
    return tuple(Run(row.detail["process"], row.event_time, row.detail) for row in connection.execute(_RUNS))


def _recorded(connection: Connection, counted: Totals) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name, (_, size_bytes) in counted.by_volume().items():
        sound = [each for each in counted.counted if each.volume == name and each.state == "ok"]
        found[name] = {
            "copies": {"ok": sum(each.copies for each in sound)} if sound else {},
            "size_bytes": size_bytes,
            "unverified": sum(each.unverified for each in sound),
            "oldest_verified": connection.scalar(_OLDEST, {"volume": name}),
        }
    for name, state, copies in connection.execute(_MARKED):
        if name in found:
            found[name]["copies"][state] = int(copies)
    return found


def ask(volume: Volume) -> tuple[str | None, int | None]:
    """What is wrong with a volume, None if it answers; and its free bytes, where it can say."""
    try:
        next(iter(volume.keys()), None)
        return None, volume.free_bytes()
    except StorageError as error:
        return str(error), None


def _lines(marked: Sequence[Any]) -> Iterator[str]:
    for version in marked:
        (copy,) = version.copies
        yield f"{copy.volume}  {copy.state}  {version.file_id} version {version.version}  {copy.key}"
