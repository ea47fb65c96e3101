"""What standing processes find and do, how fast they may work, and how it is told.

A process is a generator of Findings: what it yields was done, or was left for an operator, when it is yielded.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

FindingKind = Literal[
    "object_without_row",  # bytes that nothing promises
    "row_without_object",  # bytes that are promised and not there
    "wrong_size",
    "corrupt",
    "unreadable",  # the volume answers, and this object cannot be read
    "wrong_label",  # the label says what another object's would
    "too_few_copies",
    "to_move",  # a copy on a volume that is to be emptied
    "to_evict",  # a copy that a cache has no room, or no use, for
    "to_remove",  # what a removal that was cut off left behind
    "left_over",  # what puts that were cut off left behind
    "volume_unavailable",
    "to_fetch",  # what another site has, and this one had not
    "conflict",  # a version that has other bytes at another site
    "site_unavailable",
    "to_deliver",  # what a subscriber had not got
    "subscriber_unavailable",
]
Deed = Literal["", "repaired", "copied", "deleted"]
# These are harmless where nothing was done about them.
_HARMLESS: frozenset[FindingKind] = frozenset({"object_without_row", "to_evict", "left_over"})


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be, and what was done about it ("": nothing, and text says why).

    key: "" where it is about a volume. volume: or the name of another site, or of a subscriber. modified: of an object
    without a row, UTC.
    """

    kind: FindingKind
    volume: str
    key: str
    text: str
    file_id: str | None = None
    version: int | None = None
    done: Deed = ""
    modified: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Does it want an operator?"""
        return not self.done and self.kind not in _HARMLESS

    def told(self) -> str:
        """One line for people."""
        what = self.key if self.file_id is None else f"{self.file_id} version {self.version}"
        done = f" ({self.done})" if self.done else ""
        return f"{self.volume}  {self.kind}  {what}  {self.text}{done}"


class Stopped(Exception):
    """Not an error: the process was told to stop, in the middle of an object."""


class Pace:
    """How fast, and how long, a standing process may work; it counts what was read.

    rate_bytes_s: bytes a second, None: as fast as it goes. run_s: seconds after which no new object is begun. is_busy:
    asked before each object; while it says so, nothing is done, for at most pause_s seconds an object, so that a
    machine that is always busy is looked after too. stopped: asked before each block.
    """

    def __init__(
        self,
        *,
        rate_bytes_s: float | None = None,
        run_s: float | None = None,
        is_busy: Callable[[], bool] = lambda: False,
        stopped: Callable[[], bool] = lambda: False,
        pause_s: float = 5.0,
    ) -> None:
        self._rate_bytes_s, self._run_s, self._pause_s = rate_bytes_s, run_s, pause_s
        self._is_busy, self._stopped = is_busy, stopped
        self._began = time.monotonic()
        self._due = self._began
        self.objects = 0
        self.size_bytes = 0

    @property
    def ran_s(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._began

    @property
    def is_over(self) -> bool:
        """Is no further object to be begun?"""
        return self._stopped() or (self._run_s is not None and self.ran_s >= self._run_s)

    def begin(self) -> bool:
        """Wait for a calm moment; False if no further object is to be begun."""
        until = time.monotonic() + self._pause_s
        while not self.is_over and self._is_busy() and time.monotonic() < until:
            time.sleep(min(0.25, self._pause_s))
        if self.is_over:
            return False
        self.objects += 1
        return True

    def read(self, size_bytes: int) -> None:
        """So many bytes were read: wait until that is no faster than the rate. Raises Stopped."""
        if self._stopped():
            raise Stopped
        self.size_bytes += size_bytes
        if self._rate_bytes_s is None:
            return
        # What was not used is not saved up: a pause must not be followed by a burst.
        self._due = max(self._due, time.monotonic() - 1.0) + size_bytes / self._rate_bytes_s
        while (ahead := self._due - time.monotonic()) > 0:
            time.sleep(min(ahead, 0.5))
            if self._stopped():
                raise Stopped


@dataclass(slots=True)
class Tally:
    """Findings, counted: all by kind, those that want an operator, what was done; and the first of those left open."""

    found: dict[str, int]
    left_open: int
    done: dict[str, int]
    examples: list[str]

    @classmethod
    def new(cls) -> "Tally":
        return cls({}, 0, {}, [])

    def add(self, finding: Finding, *, most: int = 20) -> None:
        self.found[finding.kind] = self.found.get(finding.kind, 0) + 1
        if finding.done:
            self.done[finding.done] = self.done.get(finding.done, 0) + 1
        elif finding.is_open:
            self.left_open += 1
        if not finding.done and len(self.examples) < most:
            self.examples.append(finding.told())

    def as_json(self) -> dict[str, Any]:
        return {"found": self.found, "done": self.done, "open": self.left_open, "examples": self.examples}


def tallied(findings: Iterable[Finding]) -> Tally:
    """All of them, counted."""
    tally = Tally.new()
    for finding in findings:
        tally.add(finding)
    return tally
