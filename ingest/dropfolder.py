"""A folder that files are dropped into: claiming, accepting and quarantining are renames, so a kill loses nothing.

A file is there when its writer renamed it (`x.fits.part` to `x.fits`). It is claimed by a rename into
`.claimed/<claim>/`, and leaves by a rename into `accepted/` or, with its findings beside it as text, `quarantine/`.
A claim belongs to the process that holds its lock; the claims of the dead are taken over. What a file holds, and
whether it is any good, is not known here.
"""

import fcntl
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

CLAIMED, ACCEPTED, QUARANTINE = ".claimed", "accepted", "quarantine"
UNFINISHED = (".part", ".tmp", ".filepart", ".crdownload")
_LOCK = ".lock"
_FRESH = ".fresh-"


@dataclass(frozen=True, slots=True)
class Claim:
    """A file that is ours now: where it lies, and the path below the folder under which it came."""

    path: Path
    relative_path: str


class DropFolder:
    """One process's view of a drop folder. Use as a context manager: leaving gives up what is still claimed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._claims = self._folder / CLAIMED / f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
        self._lock: IO[bytes] | None = None

    def __enter__(self) -> Self:
        # Locked before it is visible under a name that others look at: an unlocked claim is a dead one.
        fresh = self._claims.with_name(f"{_FRESH}{self._claims.name}")
        for folder in (fresh, self._folder / ACCEPTED, self._folder / QUARANTINE):
            folder.mkdir(parents=True, exist_ok=True)
        self._lock = (fresh / _LOCK).open("wb")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        fresh.rename(self._claims)
        return self

    def __exit__(self, *_: object) -> None:
        for path in list(_files(self._claims)):
            self._move(path, self._folder / path.relative_to(self._claims))
        self._discard(self._claims)
        if self._lock is not None:
            self._lock.close()

    def claim(self) -> Iterator[Claim]:
        """Yield files as ours, first those that a dead process had claimed. Ends when none is left."""
        yield from self._inherit()
        for path in sorted(_files(self._folder, top=True)):
            relative = path.relative_to(self._folder)
            target = self._claims / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                path.rename(target)
            except FileNotFoundError:  # another process was faster
                continue
            yield Claim(target, relative.as_posix())

    def accept(self, claim: Claim) -> Path:
        """The farewell: the file is in the archive now."""
        return self._move(claim.path, self._folder / ACCEPTED / claim.relative_path)

    def quarantine(self, claim: Claim, report: str) -> Path:
        """Put the file aside, its report beside it as `<name>.findings.txt`; report first, so that no file lacks one."""
        target = _free(self._folder / QUARANTINE / claim.relative_path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.with_name(target.name + ".findings.txt").write_text(report, encoding="utf-8")
        claim.path.rename(target)
        return target

    def _inherit(self) -> Iterator[Claim]:
        for former in sorted((self._folder / CLAIMED).iterdir()):
            if former == self._claims or former.name.startswith(_FRESH) or not former.is_dir():
                continue
            with (former / _LOCK).open("ab") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:  # its process lives
                    continue
                for path in sorted(_files(former)):
                    relative = path.relative_to(former)
                    target = self._claims / relative
                    target.parent.mkdir(parents=True, exist_ok=True)
                    path.rename(target)
                    yield Claim(target, relative.as_posix())
                self._discard(former)

    def _move(self, path: Path, target: Path) -> Path:
        target = _free(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
        return target

    def _discard(self, claims: Path) -> None:
        """Remove a claim's empty folders and its lock."""
        for folder, _, _ in os.walk(claims, topdown=False):
            path = Path(folder)
            if path == claims:
                (path / _LOCK).unlink(missing_ok=True)
            if not any(path.iterdir()):
                path.rmdir()


def is_finished(name: str) -> bool:
    """Whether a file of this name has been written to its end, by the convention of rename."""
    return not name.startswith(".") and not name.endswith(UNFINISHED)


def _files(folder: Path, *, top: bool = False) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        if top and Path(root) == folder:
            folders[:] = [name for name in folders if name not in (ACCEPTED, QUARANTINE)]
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(root) / name for name in names if is_finished(name))


def _free(target: Path) -> Path:
    """The path, or with a number if something lies there: nothing is overwritten."""
    number, path = 0, target
    while path.exists():
        number += 1
        path = target.with_name(f"{target.name}.{number}")
    return path
