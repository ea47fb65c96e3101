"""Trips to threads and back, for what blocks.

A file of 64 KiB is served in less than a millisecond, of which a trip by concurrent.futures, whose futures are made for
any number of waiters of any kind, is a tenth. These have one waiter, on one event loop, and cost a fifth of that.
"""

import asyncio
import contextlib
import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


_Work = tuple[asyncio.Future[Any], Callable[..., Any], tuple[Any, ...]]


class Threads:
    """So many threads, made as work comes; what waits for one is taken up in the order in which it came.

    They end when nobody holds this any more, and with the process, wherever they are: what they do must bear that, as
    it must bear a lost machine.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most, self._name = most, name
        self._made = 0
        self._waiting: SimpleQueue[_Work | None] = SimpleQueue()
        weakref.finalize(self, self._waiting.put, None)

    def run(self, work: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        """What the work gives or raises. To be called on the event loop; work is done though nobody waits any more."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if self._made < self._most:
            name = f"{self._name}-{self._made}"
            threading.Thread(target=_work_on, args=(self._waiting,), name=name, daemon=True).start()
            self._made += 1
        self._waiting.put((future, work, arguments))
        return future


def _work_on(waiting: SimpleQueue[_Work | None]) -> None:
    while (taken := waiting.get()) is not None:
        future, work, arguments = taken
        result: Any = None
        failure: BaseException | None = None
        try:
            result = work(*arguments)
        except StopIteration as error:  # which no future takes
            failure = RuntimeError(f"work ended by {error!r}")
        except BaseException as error:
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits
            future.get_loop().call_soon_threadsafe(_settle, future, result, failure)
        # Until the next comes, hold nothing of this one.
        del taken, future, work, arguments, result, failure
    waiting.put(None)  # for the others


def _settle(future: asyncio.Future[Any], result: Any, failure: BaseException | None) -> None:
    if future.done():
        return
    if failure is not None:
        future.set_exception(failure)
    else:
        future.set_result(result)
