"""Locks of files that vanish with their holder, however it dies: who is changing something, and who is using it.

flock(2): the kernel lets go when the last copy of the descriptor is closed, kill -9 included, so a lock that is held
is held by somebody alive. A child that a process forks keeps its parent's lease; a program it executes does not.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from archive.vo.errors import UnavailableError

POLL_S = 0.03


def make_private(path: Path, like: Path) -> None:
    """As root: give what was made in a folder to the folder's owner, so that they can still use it without root."""
    if os.geteuid() == 0:
        owner = like.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def open_lock_file(path: Path) -> int:
    """A descriptor of the file, made with mode 600 if it was not there; closed on exec."""
    new = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if new:
        make_private(path, path.parent)
    return descriptor


def try_lock(path: Path) -> int | None:
    """Lock the file and return the descriptor that holds the lock; None when somebody else has it."""
    descriptor = open_lock_file(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def alive(path: Path) -> bool:
    """Whether anybody holds the file's lock."""
    descriptor = try_lock(path)
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is None


@contextmanager
def locked(path: Path, *, timeout_s: float) -> Iterator[None]:
    """Hold the file's lock; UnavailableError when another process keeps it longer than timeout_s."""
    deadline = time.monotonic() + timeout_s
    while (descriptor := try_lock(path)) is None:
        if time.monotonic() > deadline:
            raise UnavailableError(
                f"another process has held {path} for more than {timeout_s:g} s: it is starting or stopping the "
                "database; try again, and if none runs, look who has the file open (fuser)"
            )
        time.sleep(POLL_S)
    try:
        yield
    finally:
        os.close(descriptor)


class Users:
    """Who uses a thing: a locked file a user in one folder. Ask and change only while holding the thing's own lock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def register(self) -> "Lease":
        """This process is a user until the lease is released, or the process is gone."""
        path = self.folder / f"{os.getpid()}-{uuid4().hex[:8]}.lock"
        descriptor = try_lock(path)
        if descriptor is None:
            raise UnavailableError(f"{path} is locked by another process, which nobody should know of; try again")
        return Lease(path, descriptor)

    def living(self) -> int:
        """How many users there are; what dead ones left is swept away."""
        count = 0
        for path in self.folder.glob("*.lock"):
            descriptor = try_lock(path)
            if descriptor is None:
                count += 1
            else:
                path.unlink(missing_ok=True)
                os.close(descriptor)
        return count


class Lease:
    """One user's place among the users."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the place up."""
        self.path.unlink(missing_ok=True)
        os.close(self._descriptor)
