"""A folder that files are dropped into: claiming, accepting and quarantining are renames, so a kill loses nothing.

A file is there when its writer renamed it (`x.fits.part` to `x.fits`). It is claimed by a rename into
`.claimed/<claim>/<number>/`, and leaves by a rename into `accepted/` or, with its findings beside it as text,
`quarantine/`. A claim belongs to the process that holds its lock; the claims of the dead are taken over, before
anything newer. What a file holds, and whether it is any good, is not known here.
"""

import fcntl
import hashlib
import logging
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from archive.vo.errors import ConfigurationError

log = logging.getLogger(__name__)
CLAIMED, ACCEPTED, QUARANTINE = ".claimed", "accepted", "quarantine"
REPORT = ".findings.txt"
UNFINISHED = (".part", ".tmp", ".filepart", ".crdownload")
NAME_BYTES = 255  # of one part of a path, on every file system in use
_LOCK = ".lock"


@dataclass(frozen=True, slots=True)
class Claim:
    """A file that is ours now: where it lies, and the path below the folder under which it came."""

    path: Path
    relative_path: str


class DropFolder:
    """One process's view of a drop folder. Use as a context manager: leaving gives up what is still claimed.

    Two locks (flock): a claim's own, held while its process lives, and `.claimed/.lock`, held for moments only, while
    claims come and go and while a free name is looked for and taken.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._claims = self._folder / CLAIMED / f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
        self._number = 0
        self._lock: IO[bytes] | None = None
        self._told: set[Path] = set()

    def __enter__(self) -> Self:
        try:
            for name in (CLAIMED, ACCEPTED, QUARANTINE):
                (self._folder / name).mkdir(parents=True, exist_ok=True)
            with self._alone():
                self._claims.mkdir()
                self._lock = (self._claims / _LOCK).open("wb")
                fcntl.flock(self._lock, fcntl.LOCK_EX)
        except OSError as error:
            raise ConfigurationError(
                f"{self._folder} cannot be a drop folder: {error.strerror} ({error.filename}); files are taken from it "
                "by renaming, so it and its folders must be writable"
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        with self._alone():
            for path in list(_files(self._claims)):
                home = self._folder / _relative(path, self._claims)
                # Where a newer file has come under its name it stays claimed, and is the first that is taken up again.
                if not os.path.lexists(home):
                    home.parent.mkdir(parents=True, exist_ok=True)
                    path.rename(home)
            _discard(self._claims)
            if self._lock is not None:
                self._lock.close()

    def claim(self) -> Iterator[Claim]:
        """Yield files as ours, first those that a dead process had claimed. Ends when none is left.

        A file that cannot be moved (it, or its folder, is another's) is told once in the log and passed over.
        """
        yield from self._inherit()
        for path in sorted(_files(self._folder, top=True)):
            claim = self._take(path, path.relative_to(self._folder))
            if claim is not None:
                yield claim

    def accept(self, claim: Claim) -> Path:
        """The farewell: the file is in the archive now."""
        with self._alone():
            target = _free(self._folder / ACCEPTED, claim.relative_path)
            try:
                claim.path.rename(target)
            except FileNotFoundError:
                log.warning("%s was removed after it had been taken in", printable(claim.relative_path))
        self._tidy(claim)
        return target

    def quarantine(self, claim: Claim, report: str) -> Path:
        """Put the file aside, its report beside it (`report_path`); report first, so that no file lacks one.

        Of a file that was removed meanwhile the report remains.
        """
        with self._alone():
            target = _free(self._folder / QUARANTINE, claim.relative_path)
            report_path(target).write_text(report, encoding="utf-8", errors="backslashreplace")
            try:
                claim.path.rename(target)
            except FileNotFoundError:
                log.warning("%s was removed before it could be put aside", printable(claim.relative_path))
        self._tidy(claim)
        return target

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with (self._folder / CLAIMED / _LOCK).open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _take(self, path: Path, relative: Path) -> Claim | None:
        # A folder of its own for each: what was `a/b.fits` yesterday may be a file `a` today.
        self._number += 1
        target = self._claims / str(self._number) / relative
        try:
            target.parent.mkdir(parents=True)
            path.rename(target)
        except FileNotFoundError:  # another process was faster
            self._tidy(Claim(target, relative.as_posix()))
            return None
        except OSError as error:
            self._tidy(Claim(target, relative.as_posix()))
            if path not in self._told:
                self._told.add(path)
                log.error("%s cannot be claimed: %s; it stays where it is", printable(str(path)), error.strerror)
            return None
        return Claim(target, relative.as_posix())

    def _inherit(self) -> Iterator[Claim]:
        for former in sorted((self._folder / CLAIMED).iterdir()):
            lock = None if former == self._claims or not former.is_dir() else self._adopt(former)
            if lock is None:
                continue
            with lock:
                for path in sorted(_files(former)):
                    claim = self._take(path, _relative(path, former))
                    if claim is not None:
                        yield claim
                with self._alone():
                    _discard(former)

    def _adopt(self, former: Path) -> IO[bytes] | None:
        """The lock of a claim whose process is dead; None if it lives, or its claim is gone."""
        with self._alone():
            try:
                lock = (former / _LOCK).open("ab")
            except FileNotFoundError:
                return None
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                return None
            return lock

    def _tidy(self, claim: Claim) -> None:
        """Remove the folders that a claim had to itself."""
        for folder in claim.path.parents:
            if folder == self._claims:
                return
            try:
                folder.rmdir()
            except OSError:  # not empty, or never made
                continue


def is_finished(name: str) -> bool:
    """Whether a file of this name has been written to its end, by the convention of rename."""
    return not name.startswith(".") and not name.endswith(UNFINISHED)


def report_path(path: Path) -> Path:
    """Where the report on a file put aside lies: `<name>.findings.txt` beside it; a very long name is cut."""
    return path.with_name(_with_suffix(path.name, REPORT))


def printable(text: str) -> str:
    """A file's name as any terminal, file and database can take it: control characters and lone bytes as escapes."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _relative(path: Path, claims: Path) -> Path:
    """A claimed file's path below the drop folder: without its claim and number."""
    return Path(*path.relative_to(claims).parts[1:])


def _files(folder: Path, *, top: bool = False) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        if top and Path(root) == folder:
            folders[:] = [name for name in folders if name not in (ACCEPTED, QUARANTINE)]
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(root) / name for name in names if is_finished(name))


def _discard(claims: Path) -> None:
    """Remove a claim's empty folders and, if nothing else is left, its lock and itself."""
    for folder, _, _ in os.walk(claims, topdown=False):
        path = Path(folder)
        left = {each.name for each in path.iterdir()}
        if path == claims and left == {_LOCK}:
            (path / _LOCK).unlink()
            left = set()
        if not left:
            path.rmdir()


def _free(folder: Path, relative_path: str) -> Path:
    """A path below folder that nothing lies under, its parents made: a number is added to what is taken."""
    *parents, name = Path(relative_path).parts
    for part in parents:
        folder = _numbered(folder, part, folder_wanted=True)
    folder.mkdir(parents=True, exist_ok=True)
    return _numbered(folder, name)


def _numbered(folder: Path, name: str, *, folder_wanted: bool = False) -> Path:
    number, path = 0, folder / name
    while os.path.lexists(path) and not (folder_wanted and path.is_dir()):
        number += 1
        path = folder / _with_suffix(name, f".{number}")
    return path


def _with_suffix(name: str, suffix: str) -> str:
    """The name with a suffix; one too long for a file system is cut, and told apart by a digest."""
    full = os.fsencode(name + suffix)
    if len(full) <= NAME_BYTES:
        return name + suffix
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:12]
    cut = os.fsencode(name)[: NAME_BYTES - len(suffix) - 13]
    # A character cut in half must not make a name that is no UTF-8.
    return f"{cut.decode('utf-8', 'ignore')}~{digest}{suffix}"
