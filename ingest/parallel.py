"""Taking files in with several processes: each opens the archive for itself, and the database keeps them in step.

Describing a file is Python's work and a commit is the disk's: one process leaves cores and disks idle.
"""

import atexit
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from archive.app.opened import OpenedArchive
from archive.settings import Settings
from archive.vo.errors import UnavailableError
from ingest.opening import ingest_service
from ingest.service import IngestService, Offer, Report

FILES_A_WORKER = 16  # below this a process is not worth its start


@dataclass(frozen=True, slots=True)
class Parallel:
    """How several processes are to take files in; replace: as of IngestService."""

    settings: Settings
    replace: bool
    workers: int

    def is_worth_it(self, files: int) -> bool:
        return self._processes(files) > 1

    def take(self, found: Sequence[Offer]) -> Iterator[Report]:
        """Reports in the order of the offers. UnavailableError, StorageError: as of IngestService.take."""
        pool = ProcessPoolExecutor(
            self._processes(len(found)),
            mp_context=multiprocessing.get_context("spawn"),  # a fork would share sockets and locks
            initializer=_begin,
            initargs=(self.settings, self.replace),
        )
        try:
            yield from pool.map(_take, found, chunksize=2)
        except BrokenProcessPool:
            raise UnavailableError("an ingesting process died; run it again: what is in stays in") from None
        finally:
            pool.shutdown(cancel_futures=True)

    def _processes(self, files: int) -> int:
        return min(self.workers, files // FILES_A_WORKER)


_service: IngestService | None = None


def _begin(settings: Settings, replace: bool) -> None:
    """In each process of the pool, once."""
    global _service
    archive = OpenedArchive(settings)
    atexit.register(archive.close)
    _service = ingest_service(archive, replace=replace)


def _take(offered: Offer) -> Report:
    assert _service is not None
    return _service.take(offered)
