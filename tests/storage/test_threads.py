"""Trips to threads: everything that work may do comes back to the one who waits, and the threads go on."""

import asyncio
import threading

import pytest

from storage.web.threads import Threads
from tests.served import wait_until


def test_whatever_work_does_is_told_and_the_next_is_done() -> None:
    threads = Threads(1, "t")

    def fails(error: BaseException) -> None:
        raise error

    async def main() -> None:
        assert await threads.run(divmod, 7, 3) == (2, 1)
        for error in (ValueError("x"), SystemExit(3)):
            with pytest.raises(type(error)):
                await threads.run(fails, error)
        with pytest.raises(RuntimeError, match="StopIteration"):
            await threads.run(next, iter(()))
        told = await asyncio.gather(*(threads.run(abs, -number) for number in range(100)))
        assert told == list(range(100))

    asyncio.run(main())
    asyncio.run(main())  # another loop, the same threads


def test_work_that_nobody_waits_for_any_more_is_done_to_its_end() -> None:
    threads, go_on, done = Threads(1, "t"), threading.Event(), threading.Event()

    def work() -> None:
        go_on.wait(10)
        done.set()

    async def main() -> None:
        waiting = threads.run(work)
        waiting.cancel()
        go_on.set()
        assert await threads.run(done.wait, 10)
        assert waiting.cancelled()

    asyncio.run(main())


def test_they_end_when_nobody_holds_them() -> None:
    async def main() -> None:
        threads = Threads(3, "to-end")
        assert await asyncio.gather(*(threads.run(abs, -number) for number in range(9))) == list(range(9))

    asyncio.run(main())
    wait_until(lambda: not any(each.name.startswith("to-end") for each in threading.enumerate()))


def test_a_thread_that_cannot_be_had_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = Threads(1, "t")

    async def main() -> None:
        with monkeypatch.context() as short, pytest.raises(RuntimeError, match="can't start"):
            short.setattr(threading.Thread, "start", _cannot)
            threads.run(abs, -1)
        assert await threads.run(abs, -2) == 2

    asyncio.run(main())


def _cannot(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
