"""The store over HTTP against its floors, in one run: `python benchmarks/store_http.py [folder]`. Ratios, not seconds.

The store: `uraniborg store serve` with two web processes and its own database. Floors: the same bytes written and
flushed (file and folder) by plain Python threads; and the same uvicorn, two processes too, that streams files without
catalogue or check. Clients share the machine with what they measure: wrk for small requests; raw sockets, kept alive,
in processes of their own, for large ones, because wrk copies bodies and reads 8 KiB at a time.
"""

import contextlib
import hashlib
import multiprocessing
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
CLIENTS, THREADS = 8, 2
LOAD_S = 4
BLOB = random.Random(1).randbytes(8 * MIB)
PLAIN = """
import asyncio, os, sys
async def app(scope, receive, send):
    path = sys.argv[1] + scope["path"]
    loop = asyncio.get_running_loop()
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        headers = [(b"content-length", str(size).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        while size > 0:
            block = await loop.run_in_executor(None, file.read, 512 << 10)
            size -= len(block)
            await send({"type": "http.response.body", "body": block, "more_body": size > 0})
"""


# Each of wrk's threads has a Lua of its own: thread k makes the requests k, k + THREADS, ...
DRIVER = f"""
local threads = {{}}
function setup(thread)
    thread:set("n", #threads)
    table.insert(threads, thread)
end
function init()
    math.randomseed(n + 1)
end
function request()
    local method, path, headers, body = make(n)
    n = n + {THREADS}
    return wrk.format(method, path, headers, body)
end
function done(summary)
    local failed = 0
    for _, count in pairs(summary.errors) do failed = failed + count end
    print(string.format("%d %d %d", summary.requests, summary.duration, failed))
end
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Client:
    """One kept-alive connection."""

    def __init__(self, port: int, token: str = "") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._told = f"Host: x\r\n{f'Authorization: Bearer {token}' if token else 'A: b'}\r\n".encode()
        self._buffer = bytearray(MIB)

    def put(self, path: str, pieces: Sequence[memoryview | bytes]) -> int:
        size = sum(map(len, pieces))
        head = b"PUT %b HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n" % (path.encode(), self._told, size)
        if size <= MIB:
            self._socket.sendall(head + b"".join(pieces))
        else:
            self._socket.sendall(head)
            for piece in pieces:
                self._socket.sendall(piece)
        return self._answer()[0]

    def get(self, path: str) -> tuple[int, int]:
        """Status, and bytes of the body."""
        self._socket.sendall(f"GET {path} HTTP/1.1\r\n".encode() + self._told + b"\r\n")
        return self._answer()

    def _answer(self) -> tuple[int, int]:
        view, have = memoryview(self._buffer), 0
        while (end := self._buffer.find(b"\r\n\r\n", 0, have)) < 0:
            got = self._socket.recv_into(view[have:])
            if not got:
                raise ConnectionError("broken off")
            have += got
        head = bytes(view[:end]).lower()
        at = head.index(b"content-length: ") + 16
        size = int(head[at:].split(b"\r", 1)[0])
        left = size - (have - end - 4)
        while left > 0:
            got = self._socket.recv_into(view, min(left, MIB))
            if not got:
                raise ConnectionError("broken off")
            left -= got
        return int(head[9:12]), size


def at_once(work: Callable[..., None], count: int, *arguments: object) -> float:
    """Seconds that CLIENTS processes take for the numbers below count, begun together."""
    line = multiprocessing.Barrier(CLIENTS + 1)

    def run(first: int) -> None:
        line.wait()
        work(range(first, count, CLIENTS), *arguments)

    context = multiprocessing.get_context("fork")
    children = [context.Process(target=run, args=(first,)) for first in range(CLIENTS)]
    for child in children:
        child.start()
    line.wait()
    began = time.perf_counter()
    for child in children:
        child.join()
        assert child.exitcode == 0, "a client failed"
    return time.perf_counter() - began


def by_wrk(port: int, script: str) -> float:
    """Requests a second that CLIENTS connections of wrk make in LOAD_S seconds, of a script's make(n), n = 0, 1, ...

    An answer other than 2xx is an error.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script + DRIVER)
        file.flush()
        words = ["wrk", f"-t{THREADS}", f"-c{CLIENTS}", f"-d{LOAD_S}s", "--timeout", "60s", "-s", file.name]
        told = subprocess.run([*words, f"http://127.0.0.1:{port}/"], check=True, capture_output=True, text=True).stdout
    requests, microseconds, failed = (int(word) for word in told.splitlines()[-1].split())
    assert requests and not failed, told
    return requests / microseconds * 1e6


def put_small(port: int, token: str, size: int, name: str) -> float:
    return by_wrk(
        port,
        f"""
        local file = io.open("/dev/urandom", "rb")
        local rest = file:read({size} - 20)
        file:close()
        local headers = {{ ["Authorization"] = "Bearer {token}" }}
        function make(n)
            return "PUT", "/store/v1/objects/{name}/" .. n, headers, string.format("%020d", n) .. rest
        end
        """,
    )


def get_small(port: int, prefix: str, count: int) -> float:
    """Those of the numbers below count, again and again."""
    return by_wrk(port, f'function make(n) return "GET", "{prefix}/" .. n % {count} end')


def get_ranges(port: int, path: str, size: int) -> float:
    return by_wrk(
        port,
        f"""
        local headers = {{}}
        function make()
            local start = math.random(0, {size - 64 * KIB})
            headers["Range"] = "bytes=" .. start .. "-" .. start + {64 * KIB - 1}
            return "GET", "{path}", headers
        end
        """,
    )


def own_bytes(number: int, size: int) -> list[memoryview | bytes]:
    """Bytes that no other number has, without the cost of drawing them."""
    head = number.to_bytes(8)
    pieces: list[memoryview | bytes] = [head]
    left = size - len(head)
    while left > 0:
        pieces.append(memoryview(BLOB)[: min(left, len(BLOB))])
        left -= len(pieces[-1])
    return pieces


def put_all(numbers: range, port: int, token: str, size: int, name: str) -> None:
    client = Client(port, token)
    for number in numbers:
        assert client.put(f"/store/v1/objects/{name}/{number}", own_bytes(number, size)) == 201


def get_all(numbers: range, port: int, prefix: str, size: int) -> None:
    client = Client(port)
    for number in numbers:
        assert client.get(f"{prefix}/{number}") == (200, size)


def floor(folder: Path, count: int, size: int, *, hashed: bool = False) -> float:
    """Seconds for plain threads that write and flush the same files."""
    folder.mkdir()

    def write(number: int) -> None:
        pieces = own_bytes(number, size)
        if hashed:
            digest = hashlib.sha256()
            for piece in pieces:
                digest.update(piece)
        with (folder / str(number)).open("wb", buffering=0) as file:
            for piece in pieces:
                file.write(piece)
            os.fsync(file.fileno())
        descriptor = os.open(folder, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)

    with ThreadPoolExecutor(CLIENTS) as pool:
        began = time.perf_counter()
        list(pool.map(write, range(count)))
        return time.perf_counter() - began


def digests(size: int) -> float:
    """Seconds for nothing but the two digests of as many bytes, a thread each: a bound for any writer."""

    def digest(algorithm: str) -> None:
        running = hashlib.new(algorithm)
        for piece in own_bytes(0, size):
            running.update(piece)

    with ThreadPoolExecutor(2) as pool:
        began = time.perf_counter()
        list(pool.map(digest, ("sha256", "md5")))
        return time.perf_counter() - began


@contextlib.contextmanager
def running(words: Sequence[str], port: int) -> Iterator[int]:
    """A server, until the block ends; its process id."""
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            assert process.poll() is None and time.monotonic() < deadline, "the server did not start"
            time.sleep(0.1)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@contextlib.contextmanager
def plain(folder: Path) -> Iterator[int]:
    """The same uvicorn, which streams the files of a folder and does nothing else; its port."""
    module = folder / "plain_server.py"
    port = free_port()
    options = f"port={port}, workers=2, log_level='error', access_log=False"
    module.write_text(
        f"{PLAIN}if __name__ == '__main__':\n    __import__('uvicorn').run('plain_server:app', {options})\n"
    )
    # Workers are spawned with the same arguments.
    with running([sys.executable, str(module), str(folder)], port):
        time.sleep(2)
        yield port


def memory(pid: int) -> list[int]:
    """Bytes that each process of a server holds for itself."""
    root = psutil.Process(pid)
    return [
        each.memory_info().rss - each.memory_info().shared
        for each in [root, *root.children(recursive=True)]
        if "store web" in " ".join(each.cmdline())
    ]


def main() -> None:
    if shutil.which("wrk") is None:
        sys.exit("small requests are made by wrk: install Debian's package wrk")
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as name:
        folder = Path(name)
        data, port = folder / "data", free_port()
        words = [sys.executable, "-m", "uraniborg", "store", "serve", "--port", str(port), "--workers", "2"]
        with running([*words, "--data-dir", str(data)], port) as pid, plain(folder) as plain_port:
            deadline = time.monotonic() + 60
            while Client(port).get("/health/live")[0] != 200 and time.monotonic() < deadline:
                time.sleep(0.2)
            token = (data / "operator.token").read_text().strip()
            measure(folder, port, plain_port, token, pid)


def measure(folder: Path, port: int, plain_port: int, token: str, pid: int) -> None:
    small, large = f"/{64 * KIB}", f"/{4 * MIB}"
    stored = "/store/v1/objects"
    at_once(put_all, 2000, port, token, 64 * KIB, f"{64 * KIB}")  # warms up, and is read
    base = 2000 / floor(folder / small[1:], 2000, 64 * KIB)
    tell("64 KiB in", 64 * KIB, put_small(port, token, 64 * KIB, "small"), base, "write + fsync")
    base = get_small(plain_port, small, 2000)
    tell("64 KiB out", 64 * KIB, get_small(port, stored + small, 2000), base, "plain uvicorn")
    at_once(put_all, CLIENTS * 4, port, token, 4 * MIB, "warm")
    base = 200 / floor(folder / large[1:], 200, 4 * MIB, hashed=True)
    rate = 200 / at_once(put_all, 200, port, token, 4 * MIB, large[1:])
    tell("4 MiB in", 4 * MIB, rate, base, "write + fsync + sha256")
    base = 200 / at_once(get_all, 200, plain_port, large, 4 * MIB)
    tell("4 MiB out", 4 * MIB, 200 / at_once(get_all, 200, port, stored + large, 4 * MIB), base, "plain uvicorn")
    before = memory(pid)
    base = floor(folder / "floor", 1, GIB)
    began = time.perf_counter()
    assert Client(port, token).put("/store/v1/objects/big/0", own_bytes(0, GIB)) == 201
    took = time.perf_counter() - began
    alone = digests(GIB)
    print(
        f"1 GiB in: {GIB / took / 1e6:.0f} MB/s; write + fsync: {GIB / base / 1e6:.0f} MB/s; ratio {base / took:.2f}; "
        f"SHA-256 and MD5 of it alone, a thread each: {GIB / alone / 1e6:.0f} MB/s"
    )
    # By turns, because the machine is not the same from second to second.
    turns = [(timed(port, "/store/v1/objects/big/0"), timed(plain_port, "/floor/0")) for _ in range(5)]
    took, base = (min(each) for each in zip(*turns, strict=True))
    print(
        f"1 GiB out: {GIB / took / 1e6:.0f} MB/s; plain uvicorn: {GIB / base / 1e6:.0f} MB/s; ratio {base / took:.2f}"
    )
    grown = max(after - first for first, after in zip(before, memory(pid), strict=True))
    print(f"memory of a web process grew by {grown / 1e6:.0f} MB")
    rate = get_ranges(port, "/store/v1/objects/big/0", GIB)
    print(f"ranges of 64 KiB out of 1 GiB: {rate:.0f}/s")


def tell(what: str, size: int, rate: float, base: float, of: str) -> None:
    print(f"files of {what}: {rate:.0f}/s, {rate * size / 1e6:.0f} MB/s; {of}: {base:.0f}/s; ratio {rate / base:.2f}")


def timed(port: int, path: str) -> float:
    began = time.perf_counter()
    assert Client(port).get(path) == (200, GIB)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
