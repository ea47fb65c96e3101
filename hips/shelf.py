"""Where HiPS lie and which of them are served: a folder a survey, in it a folder a build, and a link to the one that is
published. The link is switched by one rename, so that whoever reads sees one build or the other.

    DATA/hips/<name>/<build_id>/...      a build that was finished
    DATA/hips/<name>/.building-<id>/...  one that is going on, or was stopped
    DATA/hips/<name>/current             what is served
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from archive.vo.errors import NotFoundError, StateError, UsageError
from hips.properties import checked_name, parsed

_CURRENT, _BUILDING = "current", ".building-"


@dataclass(frozen=True, slots=True)
class Published:
    """A HiPS that is served. folder: of its build, whose name is the build_id."""

    name: str
    folder: Path

    @property
    def build_id(self) -> str:
        return self.folder.name

    def properties(self, public_url: str) -> dict[str, str]:
        """What `properties` says, with the place where it is served now (never stored)."""
        told = parsed((self.folder / "properties").read_text("utf-8"))
        return told | {"hips_service_url": f"{public_url}/hips/{self.name}"}


class Shelf:
    """The archive's HiPS, below one folder, which all its machines share."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def published(self, name: str) -> Published:
        """NotFoundError if nothing of that name is published."""
        try:
            target = (self._root / checked_name(name) / _CURRENT).readlink()
        except (OSError, UsageError):
            raise NotFoundError(f"there is no HiPS {name}; /hips/hipslist names those there are") from None
        return Published(name, self._root / name / target)

    def all_published(self) -> list[Published]:
        """In the order of their names."""
        names = sorted(path.parent.name for path in self._root.glob(f"*/{_CURRENT}"))
        return [self.published(name) for name in names]

    def is_published(self, name: str, build_id: str) -> bool:
        try:
            return self.published(name).build_id == build_id
        except NotFoundError:
            return False

    @contextmanager
    def workspace(self, name: str, build_id: str) -> Iterator[Path]:
        """The folder to build in, where a stopped build goes on; StateError while another process is at it."""
        folder = self._root / checked_name(name)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StateError(f"{name} is being built by another process; wait for it, or stop it") from None
            yield folder / f"{_BUILDING}{build_id}"

    def publish(self, name: str, build_id: str) -> Published:
        """Serve what was built in the workspace, from now on. The former build stays, older ones go."""
        folder = self._root / name
        former = (folder / _CURRENT).readlink().name if (folder / _CURRENT).is_symlink() else None
        finished = folder / build_id
        if finished.exists():
            shutil.rmtree(finished)
        (folder / f"{_BUILDING}{build_id}").rename(finished)
        switch = folder / f".switch-{os.getpid()}"
        switch.unlink(missing_ok=True)
        switch.symlink_to(build_id)
        switch.replace(folder / _CURRENT)
        for other in folder.iterdir():
            if other.is_dir() and not other.is_symlink() and other.name not in (build_id, former):
                shutil.rmtree(other)
        return Published(name, finished)

    def withdraw(self, name: str) -> None:
        """Serve it no more; its files stay until the next build."""
        self.published(name)
        (self._root / name / _CURRENT).unlink()
