"""Two nodes in two network namespaces, a slow line between them that goes down in the middle: what comes over heals."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.live import ROOT

pytestmark = pytest.mark.slow

HERE, FAR = "ub-here", "ub-far"
FAR_IP = "10.213.77.2"
SIZE = 8 << 20
RATE = "16mbit"  # 4 s for the large file


def ip(*words: str, check: bool = True) -> None:
    subprocess.run(["ip", *words], check=check, capture_output=True, timeout=20)


def within(name: str, *words: str) -> list[str]:
    return ["ip", "netns", "exec", name, *words]


@dataclass(frozen=True)
class Place:
    """A store in a namespace."""

    name: str
    data: Path

    def run(self, *words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        command = within(self.name, sys.executable, "-m", "uraniborg", "store", *words, "--data-dir", str(self.data))
        environment = {**os.environ, "URANIBORG_UPKEEP__SITE_STALL_S": "2"}
        return subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=check
        )

    def files(self) -> dict[str, tuple[int, str]]:
        lines = self.run("ls", "--json").stdout.splitlines()
        return {each["file_id"]: (each["version"], each["sha256"]) for each in map(json.loads, lines)}


@pytest.fixture(scope="module")
def apart() -> Iterator[None]:
    if os.geteuid() or subprocess.run(["ip", "netns", "add", HERE], capture_output=True, check=False).returncode:
        pytest.skip("no right to make network namespaces")
    try:
        ip("netns", "add", FAR)
        ip("link", "add", "ubh", "netns", HERE, "type", "veth", "peer", "name", "ubf", "netns", FAR)
        for name, device, address in ((HERE, "ubh", "10.213.77.1"), (FAR, "ubf", FAR_IP)):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", device)
            for each in (device, "lo"):
                ip("-n", name, "link", "set", each, "up")
        shaped = [
            "tc",
            "qdisc",
            "add",
            "dev",
            "ubf",
            "root",
            "tbf",
            "rate",
            RATE,
            "burst",
            "32kbit",
            "latency",
            "400ms",
        ]
        subprocess.run(within(FAR, *shaped), check=True, capture_output=True, timeout=20)
        yield
    finally:
        for name in (HERE, FAR):
            ip("netns", "del", name, check=False)


@pytest.fixture
def places(apart: None, tmp_path: Path) -> Iterator[tuple[Place, Place]]:
    here, far = Place(HERE, tmp_path / "here"), Place(FAR, tmp_path / "far")
    with contextlib.ExitStack() as stack:
        for place in (here, far):
            command = [sys.executable, "-m", "uraniborg", "store", "serve", "--host", "0.0.0.0", "--port", "8100"]
            process = subprocess.Popen(
                within(place.name, *command, "--workers", "1", "--data-dir", str(place.data)),
                cwd=ROOT, stderr=(tmp_path / f"{place.name}.log").open("w"),
            )  # fmt: skip
            stack.callback(process.wait, 60)
            stack.callback(process.terminate)
            ask = within(place.name, "curl", "-sf", "--max-time", "2", "http://127.0.0.1:8100/health")
            until = time.monotonic() + 90
            while subprocess.run(ask, capture_output=True, check=False).returncode:
                assert time.monotonic() < until, (tmp_path / f"{place.name}.log").read_text()
                time.sleep(0.5)
        yield here, far


def test_a_line_that_is_slow_and_goes_down_costs_time_and_nothing_else(
    places: tuple[Place, Place], tmp_path: Path
) -> None:
    here, far = places
    sent = tmp_path / "sent"
    sent.mkdir()
    for number in range(20):
        (sent / f"small {number}").write_bytes(os.urandom(1000 + number))
    (sent / "large").write_bytes(os.urandom(SIZE))
    far.run("put", str(sent), "--under", "survey/")
    url = f"http://{FAR_IP}:8100"
    following = subprocess.Popen(
        within(
            HERE, sys.executable, "-m", "uraniborg", "store", "follow", "far", "--url", url,
            "--data-dir", str(here.data),
        ),
        cwd=ROOT, env={**os.environ, "URANIBORG_UPKEEP__SITE_STALL_S": "2"}, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    parts = here.data / "transfers" / "far"
    until = time.monotonic() + 60
    while not any(path.stat().st_size > 1 << 20 for path in parts.glob("*.part")):
        assert following.poll() is None and time.monotonic() < until
        time.sleep(0.02)
    ip("-n", FAR, "link", "set", "ubf", "down")
    assert following.wait(60) == 1  # it says so
    assert here.files() != far.files()
    assert "cannot be reached" in here.run("sites").stdout
    ip("-n", FAR, "link", "set", "ubf", "up")
    there = max(path.stat().st_size for path in parts.glob("*.part"))
    assert there > 1 << 20
    here.run("follow", "far")
    assert here.files() == far.files() and len(here.files()) == 21
    got = tmp_path / "got"
    here.run("get", "survey/", "--prefix", "--output", str(got))
    assert {path.name: path.read_bytes() for path in got.rglob("*") if path.is_file()} == {
        path.name: path.read_bytes() for path in sent.iterdir()
    }
