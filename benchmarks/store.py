"""The store against its floor, in one run: `python benchmarks/store.py [folder]`. Ratios, because disks differ.

Floor: the same bytes written, flushed (file and folder) and hashed (SHA-256) by plain Python.
"""

import hashlib
import io
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from storage.checksums import Hashing
from storage.posix import PosixVolume
from storage.volume import new_key

ROUNDS = 3


def plain_write(folder: Path, name: str, data: bytes, *, hashed: bool) -> None:
    """What nobody who promises durability can do without."""
    if hashed:
        hashlib.sha256(data).hexdigest()
    with (folder / name).open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(descriptor)
    os.close(descriptor)


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def compare_puts(folder: Path, *, count: int, size_bytes: int, threads: int, hashed: bool) -> str:
    """Best of a few rounds of each, taken in turns so that both meet the same disk."""
    blobs = [os.urandom(size_bytes) for _ in range(min(count, 16))]
    volume = PosixVolume(folder / "volume", create=True)
    floors, stores = [], []
    plain = Path(tempfile.mkdtemp(dir=folder))

    def floor(number: int) -> None:
        plain_write(plain, str(number), blobs[number % len(blobs)], hashed=hashed)

    def put(number: int) -> None:
        volume.put(new_key(), io.BytesIO(blobs[number % len(blobs)]), size_hint=size_bytes)

    def all_of(work: Callable[[int], None]) -> float:
        with ThreadPoolExecutor(threads) as pool:
            return seconds(lambda: list(pool.map(work, range(count))))

    for _ in range(ROUNDS):
        floors.append(all_of(floor))
        stores.append(all_of(put))
        for path in [*plain.iterdir(), *(folder / "volume" / "objects").rglob("*")]:
            if path.is_file():
                path.unlink()
    a, b = min(floors), min(stores)
    what = "write + fsync + sha256" if hashed else "write + fsync"
    megabytes = count * size_bytes / 1e6
    return (
        f"{count} x {size_bytes >> 10} KiB, {threads} threads: store {count / b:.0f}/s, {megabytes / b:.0f} MB/s; "
        f"{what} {count / a:.0f}/s, {megabytes / a:.0f} MB/s; ratio {a / b:.2f}"
    )


def digests() -> str:
    """Two digests beside the copying against one."""
    block = os.urandom(1 << 20)

    def run(*algorithms: str) -> float:
        with Hashing(algorithms) as hashing:
            return seconds(lambda: ([hashing.update(block) for _ in range(512)], hashing.hexdigests()))

    one, other, both = (min(run(*names) for _ in range(ROUNDS)) for names in (("sha256",), ("md5",), ("sha256", "md5")))
    return (
        f"512 MiB: sha256 {512 / one:.0f} MiB/s, md5 {512 / other:.0f} MiB/s, both {512 / both:.0f} MiB/s: "
        f"{both / max(one, other):.2f} x the slower one"
    )


def main() -> None:
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as name:
        folder = Path(name)
        print(digests())
        print(compare_puts(folder, count=200, size_bytes=4 << 20, threads=1, hashed=True))
        print(compare_puts(folder, count=200, size_bytes=4 << 20, threads=8, hashed=True))
        print(compare_puts(folder, count=1000, size_bytes=64 << 10, threads=8, hashed=False))


if __name__ == "__main__":
    main()
