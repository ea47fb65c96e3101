"""Where the embedded server's socket lies: in the data folder where that can be, else in a folder of our own in /tmp.

run: the folder that the place is noted in, so that it stays the same from one start to the next.
"""

import os
import socket
import stat
import tempfile
from pathlib import Path

from archive.database.cluster import SOCKET_NAME, SOCKET_PATH_BYTES
from archive.database.leases import make_private


def socket_folder(run: Path) -> Path:
    """Where the socket was put; the note is written before a server first uses it."""
    try:
        return Path(os.fsdecode((run / "socket-folder").read_bytes()))
    except FileNotFoundError:
        return run / "socket"


def choose_socket_folder(run: Path, uid: int) -> Path:
    """A folder for the socket of a server that runs as uid: in the data folder unless its path is too long there."""
    sockets = run / "socket"
    sockets.mkdir(mode=0o700, exist_ok=True)
    if not _takes_sockets(sockets):
        sockets = socket_folder(run)
        if sockets.parent == run or not _ours_alone(sockets, uid):
            # Not below XDG_RUNTIME_DIR: that vanishes when its user logs out, and the service stays.
            sockets = Path(tempfile.mkdtemp(prefix="uraniborg-", dir="/tmp"))
    if os.geteuid() == 0:
        os.chown(sockets, uid, uid)
    note = run / "socket-folder"
    note.write_bytes(os.fsencode(sockets))
    make_private(note, run)
    return sockets


def _takes_sockets(folder: Path) -> bool:
    """Whether a socket's path fits, and the filesystem can hold one (shared folders of virtual machines cannot)."""
    if len(os.fsencode(folder / SOCKET_NAME)) > SOCKET_PATH_BYTES or not str(folder).isprintable():
        return False
    trial = folder / ".s.trial"
    trial.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            listener.bind(os.fsencode(trial))
        except OSError:
            return False
    trial.unlink()
    return True


def _ours_alone(folder: Path, uid: int) -> bool:
    """In /tmp anybody may put a folder of any name: it must be a true folder, of this user, shut to all others."""
    try:
        there = folder.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(there.st_mode) and there.st_uid == uid and stat.S_IMODE(there.st_mode) == 0o700
