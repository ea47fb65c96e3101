"""Trips to threads and back, for what blocks.

A file of 64 KiB is served in less than a millisecond, of which a trip by concurrent.futures, whose futures are made for
any number of waiters of any kind, is a tenth. These have one waiter, on one event loop, and cost a fifth of that.
"""

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class Threads:
    """So many threads, made as work comes; what waits for one is taken up in the order in which it came.

    They end with the process, wherever they are: what they do must bear that, as it must bear a lost machine.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most, self._name = most, name
        self._made = 0
        self._waiting: SimpleQueue[tuple[asyncio.Future[Any], Callable[..., Any], tuple[Any, ...]]] = SimpleQueue()

    def run(self, work: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        """What the work gives or raises. To be called on the event loop; work that was begun cannot be cancelled."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if self._made < self._most:
            self._made += 1
            threading.Thread(target=self._work, name=f"{self._name}-{self._made}", daemon=True).start()
        self._waiting.put((future, work, arguments))
        return future

    def _work(self) -> None:
        while True:
            future, work, arguments = self._waiting.get()
            result: Any = None
            failure: BaseException | None = None
            try:
                result = work(*arguments)
            except BaseException as error:
                failure = error
            try:
                future.get_loop().call_soon_threadsafe(_settle, future, result, failure)
            except RuntimeError:  # the loop was closed: nobody waits
                return
            # Until the next comes, hold nothing of this one.
            del future, work, arguments, result, failure


def _settle(future: asyncio.Future[Any], result: Any, failure: BaseException | None) -> None:
    if future.done():
        return
    if failure is not None:
        future.set_exception(failure)
    else:
        future.set_result(result)
