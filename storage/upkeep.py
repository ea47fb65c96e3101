"""The standing processes by name, each with what the settings say of it: what jobs and commands run alike.

Each run that has anything new to tell leaves one event in the feed: `verified` of scrub, `upkeep` of the others.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from storage import feed
from storage.evict import CacheRule, evict
from storage.findings import Finding, Pace, Tally
from storage.janitor import janitor
from storage.ngas.delivery import delivered
from storage.ngas.settings import NgasSettings
from storage.objects import ObjectService
from storage.reconcile import GRACE_S, reconcile
from storage.replicate import Policy, drain_all, keep_up
from storage.scrub import scrub
from storage.sites import FollowRule, follow_all
from storage.status import last_runs

log = logging.getLogger(__name__)

DAY_S = 86_400.0
MIB = 1 << 20
Process = Literal["scrub", "reconcile", "replicate", "drain", "janitor", "evict", "follow", "deliver"]


@dataclass(frozen=True, slots=True)
class Upkeep:
    """How the store is looked after.

    policy: of copies. cycle_s: seconds within which every copy is to be read again. all_s: seconds after which the job
    that replicates goes through all objects, not only those that changed. rate_bytes_s: at which scrub reads at most;
    None: any. max_load: load average a processor above which scrub waits. run_s: seconds after which a job begins no
    new object. grace_s: for which bytes without a row, and broken-off writes, are left alone. delete_orphans:
    whether the job that reconciles deletes them then. cache: what caches keep. follow: how other sites are followed;
    None: they are not. subscribers: to whom, and how, what comes in is pushed as NGAS does. schedule: when each process
    is run as a job, as cron says it (UTC); what is not in it is not.
    """

    policy: Policy = field(default_factory=Policy)
    cycle_s: float = 30 * DAY_S
    all_s: float = DAY_S
    rate_bytes_s: float | None = 50.0 * MIB
    max_load: float = 1.0
    run_s: float = 540.0
    grace_s: float = GRACE_S
    delete_orphans: bool = False
    cache: CacheRule = field(default_factory=CacheRule)
    follow: FollowRule | None = None
    subscribers: NgasSettings = field(default_factory=NgasSettings)
    schedule: Mapping[str, str] = field(default_factory=dict)

    def is_busy(self) -> bool:
        """Has the machine more to do than it should have, for scrub to add to it?"""
        return os.getloadavg()[0] > self.max_load * (os.cpu_count() or 1)

    def pace(self, process: Process, stopped: Callable[[], bool] = lambda: False) -> Pace:
        """How a job of this process works."""
        if process == "scrub":
            return Pace(rate_bytes_s=self.rate_bytes_s, run_s=self.run_s, is_busy=self.is_busy, stopped=stopped)
        # The catalogue is compared with the volumes from the beginning each time: half of it would never be seen.
        return Pace(run_s=None if process == "reconcile" else self.run_s, stopped=stopped)


PROCESSES: Mapping[Process, Callable[[ObjectService, Upkeep, Pace], Iterator[Finding]]] = {
    "scrub": lambda service, upkeep, pace: scrub(service, cycle_s=upkeep.cycle_s, pace=pace),
    "reconcile": lambda service, upkeep, pace: reconcile(
        service, grace_s=upkeep.grace_s, delete=upkeep.delete_orphans, pace=pace
    ),
    "replicate": lambda service, upkeep, pace: keep_up(service, upkeep.policy, again_s=upkeep.all_s, pace=pace),
    "drain": lambda service, upkeep, pace: drain_all(service, upkeep.policy, pace=pace),
    "janitor": lambda service, upkeep, pace: janitor(service, grace_s=upkeep.grace_s, pace=pace),
    "evict": lambda service, upkeep, pace: evict(service, upkeep.cache, pace=pace),
    "follow": lambda service, upkeep, pace: (
        follow_all(service, upkeep.follow, pace=pace) if upkeep.follow else iter(())
    ),
    "deliver": lambda service, upkeep, pace: delivered(service, upkeep.subscribers, pace),
}


def run_job(
    service: ObjectService, upkeep: Upkeep, process: Process, stopped: Callable[[], bool] = lambda: False
) -> Tally:
    """One run of a process as its job has it: what it left open is logged."""
    pace = upkeep.pace(process, stopped)
    tally = Tally.new()
    for finding in recorded(service, process, PROCESSES[process](service, upkeep, pace), pace):
        tally.add(finding)
        if finding.is_open:
            log.warning("store %s: %s", process, finding.told())
    return tally


def recorded(service: ObjectService, process: Process, findings: Iterator[Finding], pace: Pace) -> Iterator[Finding]:
    """The findings of a run as they come; at its end it is told in the feed, unless there is nothing new to tell.

    What cannot be mended is found by each run, every few minutes, and told once.
    """
    tally = Tally.new()
    for finding in findings:
        tally.add(finding)
        yield finding
    told = tally.as_json()
    seen: dict[str, Any] = {"objects": pace.objects, "size_bytes": pace.size_bytes, "seconds": round(pace.ran_s, 1)}
    with service.engine.begin() as connection:
        if process in ("scrub", "reconcile"):
            new = bool(pace.objects or tally.found)
        else:
            last = next((run.detail for run in last_runs(connection) if run.process == process), {})
            new = bool(tally.done) or (last.get("open", 0), last.get("examples", [])) != (
                told["open"],
                told["examples"],
            )
        if not new:
            return
        kind = "verified" if process == "scrub" else "upkeep"
        feed.append_event(connection, kind, detail={"process": process, **seen, **told})
