"""Waiting in line for what there are few of: so many at once, the others in the order they came.

For one event loop. Who waits costs a task, no thread and no connection, and may go away at any time.
"""

import asyncio
import contextlib
import contextvars
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import anyio
from anyio import CapacityLimiter, WouldBlock

from archive.vo.errors import UnavailableError

SPARE_THREADS = 4
Given = TypeVar("Given")


class Line:
    """Places, and a line before them.

    places: how many are served at once. most_waiting: how many may wait; who comes then is refused. wait_s: seconds
    that one waits at most.

    Those who are served do what blocks on threads of the line's own (`run`). There are more than places, so that who
    has left a place early, with little to do but to hand over what it got, never waits for those who still block.
    """

    def __init__(self, places: int, *, most_waiting: int, wait_s: float) -> None:
        self._places = CapacityLimiter(places)
        self._most_waiting = most_waiting
        self._wait_s = wait_s
        self.told: Callable[[int], None] = lambda more: None
        """Called with 1 when one begins to wait, and with -1 when that is over; for an observer to be put here."""
        self._threads = ThreadPoolExecutor(places + SPARE_THREADS, thread_name_prefix="line")

    @property
    def waiting(self) -> int:
        """How many wait now."""
        return self._places.statistics().tasks_waiting

    def enter_now(self, who: object) -> bool:
        """Take a place if one is free."""
        with contextlib.suppress(WouldBlock):
            self._places.acquire_on_behalf_of_nowait(who)
            return True
        return False

    async def enter(self, who: object) -> None:
        """Wait for a place. UnavailableError (503, when to come again): the line is too long, or it took too long."""
        if self.enter_now(who):
            return
        if self.waiting >= self._most_waiting:
            raise self._refusal(f"{self.waiting} requests wait already")
        self.told(1)
        try:
            with anyio.fail_after(self._wait_s):
                await self._places.acquire_on_behalf_of(who)
        except TimeoutError:
            raise self._refusal(f"no turn came within {self._wait_s:g} s") from None
        finally:
            self.told(-1)

    def run(self, function: Callable[[], Given]) -> "asyncio.Future[Given]":
        """Call what blocks on a thread, in the caller's context."""
        context = contextvars.copy_context()
        return asyncio.get_running_loop().run_in_executor(self._threads, context.run, function)

    def leave(self, who: object) -> None:
        """Give the place to the next; who has none, or has left it already, changes nothing. On the event loop."""
        with contextlib.suppress(RuntimeError):
            self._places.release_on_behalf_of(who)

    def _refusal(self, why: str) -> UnavailableError:
        return UnavailableError(f"the archive is busy: {why}; try again shortly", math.ceil(self._wait_s))
