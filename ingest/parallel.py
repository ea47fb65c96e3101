"""Taking files in, or describing them anew, with several processes: each opens the archive for itself, and the database
keeps them in step.

Describing a file is Python's work and a commit is the disk's: one process leaves cores and disks idle.
"""

import atexit
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from archive.app.opened import OpenedArchive
from archive.settings import Settings
from archive.vo.errors import UnavailableError
from ingest.opening import ingest_service
from ingest.service import Offer, Report

FILES_A_WORKER = 16  # below this a process is not worth its start
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Parallel:
    """How several processes are to take files in; replace: as of IngestService."""

    settings: Settings
    replace: bool
    workers: int

    def is_worth_it(self, files: int) -> bool:
        return processes(self.workers, files) > 1

    def take(self, found: Sequence[Offer]) -> Iterator[Report]:
        """Reports in the order of the offers. UnavailableError, StorageError: as of IngestService.take."""
        yield from in_processes(
            self.settings, processes(self.workers, len(found)), partial(_taker, replace=self.replace), [found]
        )


def processes(workers: int, files: int) -> int:
    """How many processes are worth their start; 0 or 1: none beside this one."""
    return min(workers, files // FILES_A_WORKER)


def in_processes(
    settings: Settings,
    workers: int,
    make: Callable[[OpenedArchive], Callable[[Item], Result]],
    pages: Iterable[Sequence[Item]],
) -> Iterator[Result]:
    """What the function that `make` gives each process makes of the items, in their order, a page at a time."""
    pool = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),  # a fork would share sockets and locks
        initializer=_begin,
        initargs=(settings, make),
    )
    try:
        for page in pages:
            yield from pool.map(_work, page, chunksize=2)
    except BrokenProcessPool:
        raise UnavailableError("a process that shared the work died; run it again: what is done stays done") from None
    finally:
        pool.shutdown(cancel_futures=True)


_function: Callable[[Any], Any] | None = None


def _begin(settings: Settings, make: Callable[[OpenedArchive], Callable[[Any], Any]]) -> None:
    """In each process of the pool, once."""
    global _function
    archive = OpenedArchive(settings)
    atexit.register(archive.close)
    _function = make(archive)


def _work(item: Any) -> Any:
    assert _function is not None
    return _function(item)


def _taker(archive: OpenedArchive, *, replace: bool) -> Callable[[Offer], Report]:
    return ingest_service(archive, replace=replace).take
