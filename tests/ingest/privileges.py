"""Being somebody who may not do everything, also where the tests run as root."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65_534


@contextmanager
def without_privileges(folder: Path) -> Iterator[None]:
    """Act as `nobody` if we are root; the folders above `folder` are made passable for that, and closed again."""
    if os.geteuid() != 0:
        yield
        return
    modes = {each: each.stat().st_mode for each in (folder, *folder.parents)}
    shut = {each: mode for each, mode in modes.items() if mode & 0o055 != 0o055 and each.stat().st_uid == 0}
    for each, mode in shut.items():
        each.chmod(mode | 0o055)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        for each, mode in shut.items():
            each.chmod(mode)
