"""What the store promises when it is killed, when disks rot, fill up, go away, and when its servers die.

Small forms run with all tests; the long ones, marked slow, by `make faults`.
"""

import fcntl
import hashlib
import io
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.schema import CreateSchema

from archive.database.embedded import EmbeddedServer
from archive.database.engines import Engines
from archive.database.roles import grant
from storage import feed
from storage.errors import CatalogueUnavailable, NoSoundCopy, OutOfSpace, VolumeUnavailable
from storage.findings import tallied
from storage.janitor import janitor
from storage.objects import ObjectService
from storage.posix import PosixVolume
from storage.reconcile import reconcile
from storage.replicate import Policy, replicate
from storage.s3 import S3Volume
from storage.scrub import scrub
from storage.service import ObjectStore
from storage.tables import metadata
from storage.volume import Volume
from tests.object_store import ObjectStoreServer
from tests.storage import writer as writing
from tests.storage.disks import content, file_of, put, service_on
from tests.storage.line import Line
from tests.storage.writer import CLIENTS, SEAMS

EMBEDDED = pytest.mark.parametrize("postgres", ["embedded"], indirect=True)
ROOT = Path(__file__).parents[2]
MIB = 1 << 20


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: killing processes and harming files need no disk, and are many."""
    place = Path(tempfile.mkdtemp(prefix="uraniborg-test-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    try:
        yield place
    finally:
        shutil.rmtree(place)


# --- kill -9


class Writers:
    """Processes that archive on two folders until they die (writer.py), and what they were told."""

    def __init__(self, writer: Engine, folder: Path) -> None:
        self.service = service_on(writer, folder, "one", "two", copies=2)
        self.acknowledged: dict[tuple[str, int], str] = {}
        self.gone: set[str] = set()
        self.unknown = 0
        folders = [str(folder / name) for name in ("one", "two")]
        url = writer.url.render_as_string(hide_password=False)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.storage.writer", url, *folders],
            cwd=ROOT, text=True, bufsize=1, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)

    def run(self, seed: int, *, seam: str = "none", passing: int = 1, after_s: float | None = None) -> None:
        """Let one archive until it dies at a seam, or is killed so many seconds after its first put."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{seed} {passing} {seam}\n")
        word, pid = self._process.stdout.readline().split()
        assert word == "pid"
        for number, line in enumerate(self._process.stdout):
            if number == 0 and after_s is not None:  # it is at work
                threading.Timer(after_s, os.kill, (int(pid), signal.SIGKILL)).start()
            word, *rest = line.rstrip("\n").split(" ", 3)
            if word == "end":
                assert rest == [str(-signal.SIGKILL)], "it was killed, and did not fail before"
                return
            sha256, version, file_id = rest
            if word == "gone":
                self.gone.add(file_id)
            else:
                self.acknowledged[file_id, int(version)] = sha256
        raise AssertionError("the writers' parent ended")

    def _sent(self, file_id: str) -> set[str]:
        """SHA-256 of all that a writer may have put under a name: how far it came, its other files tell."""
        word, *rest = file_id.split("/")
        if word != "shared":
            return {hashlib.sha256(writing.data_of(int(word), *map(int, rest))).hexdigest()}
        (seed,) = rest
        came = [int(name.split("/")[2]) for name, _ in self.acknowledged if name.startswith(f"{seed}/")]
        numbers = [(client, number) for client in range(CLIENTS) for number in range(0, max(came, default=0) + 6, 3)]
        return {hashlib.sha256(writing.data_of(int(seed), *each)).hexdigest() for each in numbers}

    def check(self, seeds: list[int]) -> None:
        """As after a restart: all that was acknowledged is there, sound; what was not is whole or not there."""
        service = self.service
        assert tallied(janitor(service, grace_s=0)).left_open == 0
        for volume in ("one", "two"):
            root = service.store.volume(volume)._root  # type: ignore[attr-defined]
            assert list((root / "staging").iterdir()) == []
        found = list(reconcile(service, grace_s=-60, delete=True))
        assert {(finding.kind, finding.done) for finding in found} <= {("object_without_row", "deleted")}
        # Eight puts on two volumes each may have been under way at each death.
        assert len(found) <= 2 * CLIENTS * len(seeds)
        assert list(scrub(service, cycle_s=0, again=True)) == [] == list(reconcile(service, grace_s=-60))
        there = {(each.file_id, each.version): each for each in service.files(every=True)}
        for (file_id, version), sha256 in self.acknowledged.items():
            held = there[file_id, version]
            assert held.sha256 == sha256
            if held.removed is None:
                assert hashlib.sha256(content(service, file_id, version)).hexdigest() == sha256
            else:
                assert version == 1 and not file_id.startswith("shared")
        untold = [each for key, each in there.items() if key not in self.acknowledged]
        assert all(each.sha256 in self._sent(each.file_id) for each in untold) and len(untold) <= CLIENTS * len(seeds)
        assert all(there[file_id, 1].removed for file_id in self.gone if (file_id, 1) in there)
        for file_id in {file_id for file_id, _ in there}:
            numbers = sorted(version for name, version in there if name == file_id)
            assert numbers == list(range(1, len(numbers) + 1))
        for volume in service.store.volumes:
            assert len(list(volume.keys())) == sum(1 for each in there.values() if each.removed is None)


@pytest.fixture
def writers(writer: Engine, memory: Path) -> Iterator[Writers]:
    made = Writers(writer, memory)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.fault
@EMBEDDED
def test_killed_in_each_seam_it_keeps_all_that_it_acknowledged_and_nothing_half(writers: Writers) -> None:
    for seed, seam in enumerate(SEAMS):
        writers.run(seed, seam=seam, passing=1 + seed % 4)
    writers.check(list(range(len(SEAMS))))
    assert writers.acknowledged and writers.gone


@pytest.mark.fault
@pytest.mark.parametrize("kills", [2, pytest.param(50, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])])
@EMBEDDED
def test_killed_at_any_moment_it_keeps_all_that_it_acknowledged_and_nothing_half(writers: Writers, kills: int) -> None:
    moments = random.Random(kills)
    for seed in range(kills):
        writers.run(seed, after_s=moments.uniform(0.0, 0.5))
    writers.check(list(range(kills)))
    assert len(writers.acknowledged) > kills


# --- rot


def harm(service: ObjectService, rng: random.Random, number: int) -> set[tuple[str, str]]:
    """Flip bits, cut off, delete, and swap with one another, so many copies in all; which."""
    left = [(copy.volume, copy.key) for each in service.files() for copy in service.stat(each.file_id).copies]
    rng.shuffle(left)
    done: set[tuple[str, str]] = set()
    while len(done) < number:
        place = left.pop()
        path = file_of(service, *place)
        size = path.stat().st_size
        match len(done) % 5:
            case 0 | 1:
                bit = rng.randrange(size * 8)
                with path.open("r+b") as file:
                    file.seek(bit // 8)
                    (byte,) = file.read(1)
                    file.seek(bit // 8)
                    file.write(bytes([byte ^ 1 << bit % 8]))
            case 2:
                os.truncate(path, rng.randrange(size))
            case 3:
                path.unlink()
            case 4:
                other = next(
                    each for each in left
                    if each[0] != place[0] and file_of(service, *each).read_bytes() != path.read_bytes()
                )  # fmt: skip
                left.remove(other)
                second = file_of(service, *other)
                between = path.with_name(f".{path.name}.between")
                path.rename(between), second.rename(path), between.rename(second)
                done.add(other)
        done.add(place)
    return done


@pytest.mark.fault
@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 12))])
@EMBEDDED
def test_a_hundred_harmed_copies_are_found_and_each_with_a_sound_one_is_repaired(
    writer: Engine, memory: Path, seed: int
) -> None:
    rng = random.Random(seed)
    names = ("one", "two", "three")
    service = service_on(writer, memory, *names)
    in_turn = [service_on(writer, memory, *names[n:], *names[:n], copies=2) for n in range(3)]
    data = {f"f{number}": rng.randbytes(rng.choice((5_000, 5_000, 90_000))) for number in range(120)}
    for number, (file_id, each) in enumerate(data.items()):
        put(in_turn[number % 3], file_id, each)
    before = {file_id: service.stat(file_id) for file_id in data}
    harmed = harm(service, rng, 100)
    found = [*reconcile(service), *scrub(service, cycle_s=0)]
    with service.engine.begin() as connection:
        events = feed.read_events(connection, limit=10_000)
    marked = {(event.detail["volume"], event.detail["key"]) for event in events if event.kind == "corrupted"}
    assert marked == harmed and len(marked) >= 100
    lost = {name for name, each in before.items() if all((c.volume, c.key) in harmed for c in each.copies)}
    assert lost, "the test would show nothing about what cannot be repaired"
    assert {finding.file_id for finding in found if finding.is_open} == lost
    for file_id, each in data.items():
        held = service.stat(file_id)
        if file_id in lost:
            assert {copy.state for copy in held.copies} <= {"corrupt", "missing"}
            with pytest.raises(NoSoundCopy):
                service.open(file_id)
            continue
        assert content(service, file_id) == each and {copy.state for copy in held.copies} == {"ok"}
        assert {file_of(service, copy.volume, copy.key).read_bytes() for copy in held.copies} == {each}
    assert list(scrub(service, cycle_s=0, again=True)) == []
    # Whoever has the bytes still sends them again, and all is well.
    for file_id in lost:
        assert service.put(file_id, io.BytesIO(data[file_id])).outcome == "repaired"
    list(replicate(service, Policy(2)))
    assert {copy.state for file_id in data for copy in service.stat(file_id).copies} == {"ok"}


# --- disks


class Archiving:
    """Threads that archive, and send again what failed, until told to stop; what was acknowledged."""

    def __init__(self, service: ObjectService, *, size: int = 20_000, threads: int = 4) -> None:
        self.service, self.size = service, size
        self.acknowledged: dict[str, str] = {}
        self.failures: list[Exception] = []
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(threads)
        self._running = [self._pool.submit(self._archive, number) for number in range(threads)]

    def _archive(self, client: int) -> None:
        number = 0
        while not self._stop.is_set():
            file_id = f"{client}/{number}"
            data = random.Random(file_id).randbytes(self.size)
            try:
                version = self.service.put(file_id, io.BytesIO(data)).version
            except (OutOfSpace, VolumeUnavailable, CatalogueUnavailable) as error:
                self.failures.append(error)
                time.sleep(0.05)
                continue
            assert version.version == 1
            self.acknowledged[file_id] = hashlib.sha256(data).hexdigest()
            number += 1

    def wait(self, happened: Callable[[], object], what: str) -> None:
        until = time.monotonic() + 60
        while not happened():
            for each in self._running:
                if each.done():
                    each.result()
            assert time.monotonic() < until, f"{what} did not happen; failures: {self.failures[-3:]}"
            time.sleep(0.01)

    def more(self, number: int = 20) -> None:
        """Wait until so many more are acknowledged."""
        wanted = len(self.acknowledged) + number
        self.wait(lambda: len(self.acknowledged) >= wanted, f"{number} more puts")

    def outlive(self, kill: Callable[[], object], start: Callable[[], object]) -> None:
        """Something that is needed is killed: it is noticed; and started again: it goes on."""
        self.more(20)
        kill()
        failed = len(self.failures)
        self.wait(lambda: len(self.failures) > failed, "a failure")
        start()
        self.more(20)

    def stop(self) -> None:
        self._stop.set()
        for each in self._running:
            each.result(60)
        self._pool.shutdown()

    def check(self) -> None:
        """All that was acknowledged is there and sound; on the volumes lies nothing else."""
        for file_id, sha256 in self.acknowledged.items():
            assert hashlib.sha256(content(self.service, file_id)).hexdigest() == sha256
        list(janitor(self.service, grace_s=0))
        found = [finding for finding in reconcile(self.service, grace_s=-60) if finding.kind != "object_without_row"]
        assert found == [] and list(scrub(self.service, cycle_s=0, again=True)) == []


@contextmanager
def loop_disk(folder: Path, size_mib: int) -> Iterator[Path]:
    """A small ext4 of its own, on a file; for root, where loop devices may be had."""
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        pytest.skip("only root may mount a small disk, with mkfs.ext4")
    image, place = folder / "disk.img", folder / "disk"
    with image.open("wb") as file:
        file.truncate(size_mib * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-o", "loop", str(image), str(place)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no right to mount a small disk: {mounted.stderr.strip()}")
    (place / "lost+found").rmdir()
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def cut_power(place: Path) -> None:
    """The disk is gone in mid-write, and with it what it was not told to flush (ext4's EXT4_IOC_SHUTDOWN)."""
    shutdown, without_the_log = 0x8004587D, 2
    descriptor = os.open(place, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, shutdown, struct.pack("I", without_the_log))
    finally:
        os.close(descriptor)


def fail(place: Path) -> None:
    """The file system finds an error in itself and goes read-only, whoever is writing."""
    subprocess.run(["mount", "-o", "remount,errors=remount-ro", str(place)], check=True)
    device = place.stat().st_dev
    name = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve().name
    Path(f"/sys/fs/ext4/{name}/trigger_fs_error").write_text("a test")


def mount_again(place: Path) -> None:
    """As after a restart of the machine: what the disk was not told to flush is not there."""
    until = time.monotonic() + 60
    while subprocess.run(["umount", str(place)], capture_output=True, check=False).returncode:  # it may be in use
        assert time.monotonic() < until
    image = place.with_name("disk.img")
    checked = subprocess.run(["e2fsck", "-p", str(image)], capture_output=True, text=True, check=False)
    assert checked.returncode in (0, 1), checked.stdout
    subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with loop_disk(tmp_path, 16) as place:
        yield place


def on(writer: Engine, *volumes: Volume) -> ObjectService:
    service = ObjectService(ObjectStore(volumes), writer)
    for volume in volumes:
        service.register(volume.name)
    return service


@pytest.mark.fault
@EMBEDDED
def test_a_disk_that_fills_up_is_passed_over_and_alone_it_refuses_cleanly(
    writer: Engine, small_disk: Path, tmp_path: Path
) -> None:
    small = PosixVolume(small_disk, "small", create=True, reserve_bytes=0)
    alone = Archiving(on(writer, small), size=300_000)
    try:
        alone.wait(lambda: len(alone.failures) > 8, "a full disk")
        assert {type(error) for error in alone.failures} == {OutOfSpace}
        # Room is made, and it goes on. A tombstone wants a little room itself: then the janitor finishes the removal.
        before = len(alone.acknowledged)
        alone.service.remove("0/0"), alone.service.remove("1/0")
        alone.wait(lambda: tallied(janitor(alone.service, grace_s=3600)).left_open == 0, "room")
        alone.wait(lambda: len(alone.acknowledged) > before, "a put into the room that was made")
    finally:
        alone.stop()
    del alone.acknowledged["0/0"], alone.acknowledged["1/0"]
    alone.check()
    assert len(list(small.keys())) == len(alone.acknowledged)
    large = PosixVolume(tmp_path / "large", "large", create=True, reserve_bytes=0)
    both = on(writer, small, large)
    taken = [put(both, f"more/{number}", os.urandom(300_000)).copies[0].volume for number in range(6)]
    assert taken == sorted(taken, reverse=True) and taken[-1] == "large"  # small, while there is room, then large
    # One that does not say how long it is: the disk fills up in mid-stream, and the next volume is tried.
    assert put(both, "long", bytes(8 * MIB)).copies[0].volume == "large"


@pytest.mark.fault
@EMBEDDED
def test_a_disk_that_goes_read_only_while_it_is_written_loses_nothing(
    writer: Engine, small_disk: Path, tmp_path: Path
) -> None:
    small = PosixVolume(small_disk, "small", create=True, reserve_bytes=0)
    archiving = Archiving(on(writer, small, PosixVolume(tmp_path / "other", "other", create=True)), size=5_000)
    try:
        archiving.more(20)
        for _ in range(2_000):  # it may not be while a file is being written
            remount = ["mount", "-o", "remount,ro", str(small_disk)]
            if subprocess.run(remount, capture_output=True, check=False).returncode == 0:
                break
        else:
            raise AssertionError("it never became read-only")
        archiving.more(20)
    finally:
        archiving.stop()
        subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    held = [archiving.service.stat(file_id).copies[0].volume for file_id in archiving.acknowledged]
    assert {"small", "other"} == set(held)
    archiving.check()


@pytest.mark.fault
@pytest.mark.parametrize("times", [1, pytest.param(10, marks=pytest.mark.slow)])
@pytest.mark.parametrize("die", [cut_power, fail])
@EMBEDDED
def test_a_disk_that_dies_while_it_is_written_has_all_that_it_acknowledged_when_it_is_back(
    writer: Engine, tmp_path: Path, die: Callable[[Path], None], times: int
) -> None:
    with loop_disk(tmp_path, 64) as place:
        archiving = Archiving(on(writer, PosixVolume(place, "small", create=True, reserve_bytes=0)))
        try:
            for _ in range(times):
                archiving.outlive(lambda: die(place), lambda: mount_again(place))
        finally:
            archiving.stop()
        assert {type(error) for error in archiving.failures} == {VolumeUnavailable}
        archiving.check()
        subprocess.run(["umount", str(place)], check=True)
        beneath = list(place.iterdir())
        subprocess.run(["mount", "-o", "loop", str(place.with_name("disk.img")), str(place)], check=True)
        assert beneath == [], "while the disk was away nothing was written where it had been"


@pytest.mark.fault
@EMBEDDED
def test_a_volume_taken_away_while_it_is_written_loses_nothing(writer: Engine, tmp_path: Path) -> None:
    volumes = [PosixVolume(tmp_path / name, name, create=True, reserve_bytes=0) for name in ("one", "two")]
    archiving = Archiving(on(writer, *volumes))
    try:
        for _ in range(3):
            archiving.more(15)
            (tmp_path / "one").rename(tmp_path / "away")
            archiving.more(15)
            (tmp_path / "away").rename(tmp_path / "one")
    finally:
        archiving.stop()
    archiving.check()
    assert {archiving.service.stat(each).copies[0].volume for each in archiving.acknowledged} == {"one", "two"}


# --- servers


@pytest.mark.fault
@pytest.mark.parametrize("kills", [1, pytest.param(6, marks=pytest.mark.slow)])
def test_a_database_killed_while_files_come_in_loses_nothing_that_was_acknowledged(tmp_path: Path, kills: int) -> None:
    folder = Path(tempfile.mkdtemp(prefix="uraniborg-test-"))
    server = EmbeddedServer(folder / "data", shared_buffers_mib=64, max_connections=30)
    try:
        with Engines(server.acquire(), pool_sizes={"writer": 8}) as engines:
            with engines.owner.begin() as connection:
                connection.execute(CreateSchema("store", if_not_exists=True))
                metadata.create_all(connection)
            grant(engines, published=(), working=("store",), creatable=())
            engine = create_engine(engines.writer.url, pool_size=8, pool_pre_ping=True)
            archiving = Archiving(on(engine, PosixVolume(tmp_path / "one", "one", create=True)))
            try:
                pid = folder / "data/db/postmaster.pid"
                for _ in range(kills):
                    archiving.outlive(lambda: os.kill(int(pid.read_text().split()[0]), signal.SIGKILL), server.ensure)
            finally:
                archiving.stop()
            assert {type(error) for error in archiving.failures} == {CatalogueUnavailable}
            archiving.check()
            numbers = [each.version for each in archiving.service.files(every=True)]
            assert numbers == [1] * len(numbers), "what was sent again made no second version"
            engine.dispose()
    finally:
        server.release()
        shutil.rmtree(folder)


@pytest.mark.fault
@pytest.mark.slow
@EMBEDDED
def test_an_s3_server_killed_while_files_come_in_loses_nothing_that_was_acknowledged(writer: Engine) -> None:
    folder = Path(tempfile.mkdtemp(prefix="weed-"))
    server = ObjectStoreServer(folder)
    try:
        server.start()
        volume = S3Volume(
            name="bucket", endpoint_url=server.endpoint_url, bucket=server.bucket(), access_key=server.access_key,
            secret_key=server.secret_key, attempts=2, connect_timeout_s=1,
        )  # fmt: skip
        archiving = Archiving(on(writer, volume))
        try:
            for _ in range(2):
                archiving.outlive(server.kill, server.start)
        finally:
            archiving.stop()
        assert {type(error) for error in archiving.failures} == {VolumeUnavailable}
        archiving.check()
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.fault
@pytest.mark.slow
@pytest.mark.parametrize("size", [20_000, 6 * MIB])  # one request, and a multipart upload
@EMBEDDED
def test_an_s3_server_that_is_slow_stalls_and_loses_answers_loses_nothing_that_was_acknowledged(
    writer: Engine, object_store: ObjectStoreServer, size: int
) -> None:
    with Line(object_store.ports[0]) as line:
        volume = S3Volume(
            name="bucket", endpoint_url=f"http://127.0.0.1:{line.port}", bucket=object_store.bucket(),
            access_key=object_store.access_key, secret_key=object_store.secret_key, part_bytes=5 * MIB,
            attempts=2, connect_timeout_s=1, read_timeout_s=3,
        )  # fmt: skip
        archiving = Archiving(on(writer, volume), size=size)
        try:
            line.delay_s = 0.02
            archiving.more(20)
            assert archiving.failures == []
            archiving.outlive(line.stall, line.go_on)
            line.delay_s, line.loses = 0.0, 0.2
            archiving.more(100)
        finally:
            line.go_on()
            line.loses = 0.0
            archiving.stop()
        assert {type(error) for error in archiving.failures} == {VolumeUnavailable}
        archiving.check()
