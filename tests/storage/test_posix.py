"""What is special to a volume on a disk: crashes, full disks, links, lost mounts."""

import errno
import fcntl
import hashlib
import io
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.errors import InvalidKey, OutOfSpace, VolumeUnavailable
from storage.posix import PosixVolume
from storage.volume import new_key

REPOSITORY = Path(__file__).resolve().parents[2]
MIB = 1 << 20


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "volume"


def listed(volume: PosixVolume) -> list[str]:
    return [entry.key for entry in iter(volume.keys(""))]


def files_below(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file() and path.name != "volume.json"]


def run_python(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_folder_that_is_no_volume_is_refused_and_a_strangers_folder_is_never_made_one(root: Path) -> None:
    with pytest.raises(VolumeUnavailable, match="Is its disk mounted"):
        PosixVolume(root)
    root.mkdir()
    (root / "thesis.tex").write_text("mine")
    with pytest.raises(VolumeUnavailable, match="not empty"):
        PosixVolume(root, create=True)


def test_a_volume_is_found_again_where_it_was_moved(root: Path, tmp_path: Path) -> None:
    key = new_key()
    PosixVolume(root, create=True).put(key, io.BytesIO(b"bytes"))
    root.rename(tmp_path / "moved")
    with PosixVolume(tmp_path / "moved").open(key) as stream:
        assert stream.read() == b"bytes"


def test_a_volume_whose_disk_is_taken_away_is_unavailable_not_empty(root: Path, tmp_path: Path) -> None:
    volume, key = PosixVolume(root, create=True), new_key()
    volume.put(key, io.BytesIO(b"bytes"))
    root.rename(tmp_path / "unplugged")
    root.mkdir()  # the mount point stays
    with pytest.raises(VolumeUnavailable):
        volume.put(new_key(), io.BytesIO(b"x"))
    with pytest.raises(VolumeUnavailable):
        volume.open(key)
    with pytest.raises(VolumeUnavailable):
        volume.exists(key)
    with pytest.raises(VolumeUnavailable):
        list(volume.keys())
    assert not any(root.iterdir()), "nothing was written beneath the mount point"


def test_links_out_of_the_volume_are_not_followed(root: Path, tmp_path: Path) -> None:
    volume = PosixVolume(root, create=True)
    secret = tmp_path / "outside"
    secret.mkdir()
    (secret / "secret").write_text("secret")
    (root / "objects" / "door").symlink_to(secret)
    (root / "objects" / "window").symlink_to(secret / "secret")
    for ask in (volume.open, volume.reader, volume.size, volume.delete):
        with pytest.raises(VolumeUnavailable, match="symbolic link"):
            ask("door/secret")
    with pytest.raises(VolumeUnavailable, match="symbolic link"):
        volume.put("door/new", io.BytesIO(b"x"))
    assert not volume.exists("window")
    assert list(volume.keys()) == []
    assert sorted(path.name for path in secret.iterdir()) == ["secret"]


def test_a_key_below_an_object_is_refused_with_a_reason(root: Path) -> None:
    volume = PosixVolume(root, create=True)
    volume.put("a/b", io.BytesIO(b"x"))
    with pytest.raises(InvalidKey, match="is an object itself"):
        volume.put("a/b/c", io.BytesIO(b"x"))
    assert len(files_below(root)) == 1


def test_a_put_leaves_one_file_and_no_staging(root: Path) -> None:
    volume, key = PosixVolume(root, create=True), new_key()
    volume.put(key, io.BytesIO(b"bytes"))
    assert files_below(root) == [root / "objects" / key]
    assert (root / "objects" / key).stat().st_nlink == 1


def test_where_files_have_no_attributes_the_label_is_a_file_beside_the_object(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOTSUP, "not supported")

    volume, key = PosixVolume(root, create=True), new_key()
    monkeypatch.setattr(os, "setxattr", refuse)
    volume.put(key, io.BytesIO(b"bytes"), label=lambda _: b"label")
    path = root / "objects" / key
    assert volume.label(key) == b"label" and listed(volume) == [key]
    assert sorted(files_below(root)) == [path.with_name(f".{path.name}.label"), path]
    volume.relabel(key, b"another")
    assert volume.label(key) == b"another"
    monkeypatch.undo()  # the volume was copied to a disk that has them
    volume.relabel(key, b"third")
    assert volume.label(key) == b"third" and files_below(root) == [path]
    volume.relabel(key, bytes(5_000))
    assert volume.delete(key) and files_below(root) == []


def test_an_object_that_cannot_fit_is_refused_before_its_first_byte(root: Path) -> None:
    volume = PosixVolume(root, create=True)

    class Untouched:
        def read(self, size: int, /) -> bytes:
            raise AssertionError("not to be read")

    with pytest.raises(OutOfSpace, match="above the reserve"):
        volume.put(new_key(), Untouched(), size_hint=volume.free_bytes() + 1)
    full = PosixVolume(root, reserve_bytes=1 << 60)
    assert full.free_bytes() == 0
    with pytest.raises(OutOfSpace):
        full.put(new_key(), Untouched())


def test_a_write_that_fails_half_way_leaves_nothing(root: Path) -> None:
    """RLIMIT_FSIZE stands for the full disk where nobody may mount one: the write itself fails, after 2 MiB."""
    PosixVolume(root, create=True)
    child = run_python(
        """
        import io, resource, sys
        from pathlib import Path
        from storage.errors import OutOfSpace
        from storage.posix import PosixVolume
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, 2 << 20))
        volume = PosixVolume(Path(sys.argv[1]))
        try:
            volume.put("a/b", io.BytesIO(bytes(5 << 20)))
        except OutOfSpace as error:
            print(error)
        volume.put("a/c", io.BytesIO(b"small"))
        """,
        root,
    )
    told, _ = child.communicate(timeout=60)
    assert child.returncode == 0 and "add a volume" in told
    assert files_below(root) == [root / "objects" / "a" / "c"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no right to mount a small disk: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_keeps_what_it_had_and_nothing_of_what_did_not_fit(small_disk: Path) -> None:
    volume = PosixVolume(small_disk, create=True, reserve_bytes=0)
    first, second = new_key(), new_key()
    volume.put(first, io.BytesIO(bytes(4 * MIB)))
    with pytest.raises(OutOfSpace, match=second):
        volume.put(second, io.BytesIO(bytes(6 * MIB)))
    assert listed(volume) == [first]
    assert files_below(small_disk) == [small_disk / "objects" / first]
    volume.put(second, io.BytesIO(bytes(3 * MIB)))
    with pytest.raises(OutOfSpace):
        for _ in range(10_000):
            volume.put(new_key(), io.BytesIO(bytes(40_000)))
    assert set(map(volume.size, listed(volume))) <= {4 * MIB, 3 * MIB, 40_000}
    assert volume.janitor(grace_s=0) == 0


def test_a_disk_remounted_read_only_is_unavailable(small_disk: Path) -> None:
    volume, key = PosixVolume(small_disk, create=True, reserve_bytes=0), new_key()
    volume.put(key, io.BytesIO(b"bytes"))
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(VolumeUnavailable, match=r"[Rr]ead-only"):
        volume.put(new_key(), io.BytesIO(b"x"))
    with volume.open(key) as stream:
        assert stream.read() == b"bytes"


HALF_A_PUT = """
    import sys, time
    from pathlib import Path
    from storage.posix import PosixVolume
    class Slow:
        sent = 0
        def read(self, size):
            self.sent += 1
            if self.sent == 3:
                print("half", flush=True)
                time.sleep(120)
            return bytes(size)
    PosixVolume(Path(sys.argv[1])).put("a/b", Slow())
    """


def test_the_janitor_clears_what_a_killed_put_left_and_spares_one_that_runs(root: Path) -> None:
    volume = PosixVolume(root, create=True)
    child = run_python(HALF_A_PUT, root)
    try:
        assert child.stdout is not None and child.stdout.readline() == "half\n"
        assert list(volume.keys()) == [] and len(files_below(root)) == 1
        assert volume.janitor(grace_s=0) == 0, "its writer lives"
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait(30)
    assert volume.janitor(grace_s=3600) == 0, "within the grace"
    assert list(volume.keys()) == []
    assert volume.janitor(grace_s=0) == 1
    assert files_below(root) == []


def test_a_put_whose_file_the_janitor_takes_before_it_is_locked_takes_another(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume, cleared = PosixVolume(root, create=True), list[int]()
    real = fcntl.flock

    def flock(descriptor: int, how: int) -> None:
        if not cleared:
            cleared.append(0)
            cleared.append(volume.janitor(grace_s=0))
        real(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    volume.put("a/b", io.BytesIO(b"bytes"))
    assert cleared == [0, 1] and files_below(root) == [root / "objects" / "a" / "b"]


KEEP_PUTTING = """
    import io, sys
    from pathlib import Path
    from storage.posix import PosixVolume
    from storage.volume import new_key
    volume = PosixVolume(Path(sys.argv[1]))
    number = 0
    while True:
        number += 1
        key, data = new_key(), (str(number) * 40_000).encode()
        stored = volume.put(key, io.BytesIO(data))
        print(key, stored.sha256, flush=True)
    """


@pytest.mark.fault
def test_whatever_was_acknowledged_before_a_kill_is_there_and_sound(root: Path) -> None:
    volume, acknowledged = PosixVolume(root, create=True), {}
    for moment_s in (0.0, 0.1, 0.23, 0.37):
        child = run_python(KEEP_PUTTING, root)
        assert child.stdout is not None
        first = child.stdout.readline()  # it is at work
        time.sleep(moment_s)
        child.send_signal(signal.SIGKILL)
        told = first + child.stdout.read()  # not communicate(), which misses what came in with the first line
        child.wait(30)
        acknowledged |= dict(line.split() for line in told.splitlines() if len(line.split()) == 2)
    there = set(listed(volume))
    assert acknowledged and set(acknowledged) <= there
    assert len(there) - len(acknowledged) <= 4, "at most one a kill was whole and not yet told"
    for key, sha256 in acknowledged.items():
        with volume.open(key) as stream:
            assert hashlib.sha256(stream.read()).hexdigest() == sha256
    volume.janitor(grace_s=0)
    assert {path.relative_to(root / "objects").as_posix() for path in files_below(root)} == there
