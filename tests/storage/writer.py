"""Processes that archive until they are killed: `python -m tests.storage.writer URL FOLDER...` (test_faults_store.py).

This one imports everything and then forks a writer for each line of its input: "seed seam passing". A writer has eight
threads, prints what was acknowledged, one line each in one write, and dies by SIGKILL when it passes the seam for the
passing'th time ("none": it lives until it is killed).
"""

import hashlib
import io
import itertools
import os
import random
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine

from storage import filing, posix
from storage.objects import ObjectService
from storage.posix import PosixVolume
from storage.service import ObjectStore

CLIENTS = 8
# What is patched, and whether death comes before or after it.
SEAMS: dict[str, tuple[Any, str, bool]] = {
    "bytes are in staging, no number is taken": (filing.Filing, "label", True),
    "a number is taken": (filing.Filing, "label", False),
    "the file is flushed, with its label": (PosixVolume, "_publish", True),
    "the first copy is visible": (PosixVolume, "_publish", False),
    "further copies are to come": (ObjectService, "_copy_on", True),
    "all copies are there, no row": (filing.Filing, "record", True),
    "rows are written, not committed": (filing.Filing, "commit", True),
    "committed, and not told": (filing.Filing, "commit", False),
    "a removal is committed, its bytes are there": (ObjectService, "finish_removal", True),
    "a tombstone lies beside its object": (PosixVolume, "_bury", False),
    "a removed object's bytes are gone, its copies on record": (PosixVolume, "delete", False),
    "staging is being cleared": (posix, "_remove_stale", True),
}


def data_of(seed: int, client: int, number: int) -> bytes:
    """What a writer puts: each content is of one file and one number alone."""
    size = random.Random(f"{seed} {client} {number}").choice((0, 100, 100, 30_000, 30_000, 64 << 10, 1_100_000))
    return (f"{seed}/{client}/{number} ".encode() * (size // 8 + 1))[: size + 24]


def file_of(seed: int, client: int, number: int) -> str:
    """A third of all puts are further versions, of a file that all clients share."""
    return f"shared/{seed}" if number % 3 == 0 else f"{seed}/{client}/{number}"


def write(url: str, folders: list[Path], seed: int, seam: str, passing: int) -> None:
    if seam in SEAMS:
        die_at(*SEAMS[seam], passing)
    engine = create_engine(url, pool_size=CLIENTS + 2)
    service = ObjectService(ObjectStore([PosixVolume(f, f.name, reserve_bytes=0) for f in folders]), engine, copies=2)

    def client(number: int) -> None:
        for turn in itertools.count():
            data, file_id = data_of(seed, number, turn), file_of(seed, number, turn)
            version = service.put(file_id, io.BytesIO(data)).version.version
            tell(f"ack {hashlib.sha256(data).hexdigest()} {version} {file_id}")
            if turn % 3 == 2:
                service.remove(file_id)
                tell(f"gone - 1 {file_id}")
            if turn % 5 == 4:
                for volume in service.store.volumes:
                    volume.janitor(grace_s=0)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def tell(line: str) -> None:
    os.write(1, line.encode() + b"\n")


def die_at(owner: Any, name: str, before: bool, passing: int) -> None:
    real: Callable[..., Any] = getattr(owner, name)
    left, lock = itertools.count(1), threading.Lock()

    def patched(*arguments: Any, **named: Any) -> Any:
        done = None if before else real(*arguments, **named)
        with lock:
            if next(left) == passing:
                os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **named) if before else done

    setattr(owner, name, patched)


def main() -> None:
    url, *folders = sys.argv[1:]
    for line in sys.stdin:
        seed, passing, seam = line.rstrip("\n").split(" ", 2)
        pid = os.fork()
        if pid == 0:
            write(url, [Path(folder) for folder in folders], int(seed), seam, int(passing))
            os._exit(1)  # a thread raised: never done
        tell(f"pid {pid}")
        _, status = os.waitpid(pid, 0)
        tell(f"end {os.waitstatus_to_exitcode(status)}")


if __name__ == "__main__":
    main()
