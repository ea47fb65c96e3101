"""A node elsewhere, by its REST face: the client of `uraniborg store put --url` against a real server."""

import random
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine

from storage.checksums import Expected
from storage.client import RemoteFiles
from storage.commands import make_commands
from storage.errors import CatalogueUnavailable, ChecksumMismatch, ObjectNotFound, StorageError
from storage.objects import ObjectService
from storage.transfer import get_file, put_file
from tests.storage.disks import content, file_of, flip, put, service_on

rest = pytest.importorskip("storage.web.rest")
authorizer = pytest.importorskip("storage.web.authorizer")
settings = pytest.importorskip("storage.web.settings")
uvicorn = pytest.importorskip("uvicorn")
pytestmark = pytest.mark.parametrize("postgres", ["embedded"], indirect=True)


@dataclass
class Node:
    url: str
    token: str
    service: ObjectService


@pytest.fixture
def node(writer: Engine, tmp_path: Path) -> Iterator[Node]:
    service = service_on(writer, tmp_path / "volumes", "one", "two")
    (tmp_path / "token").write_text("s3cret\n")
    app = rest.StoreApp(service, authorizer.TokenAuthorizer(tmp_path / "token"), settings.WebSettings())
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield Node(f"http://127.0.0.1:{listening.getsockname()[1]}", "s3cret", service)
        server.should_exit = True
        thread.join(30)


def test_files_go_to_a_node_and_come_back_by_command(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("URANIBORG_TOKEN", node.token)
    group = make_commands(lambda context: pytest.fail("opened the store of this machine"))
    data = {f"ü {number}.fits": random.Random(number).randbytes(size) for number, size in enumerate((0, 9, 3_000_000))}
    for name, each in data.items():
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(each)

    def run(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(group, [words[0], "--url", node.url, *words[1:]], catch_exceptions=False)
        assert done.exit_code == code, done.output
        return done.stdout

    assert run("put", str(tmp_path / "in"), "--under", "a b/").count("created") == 3
    assert run("put", str(tmp_path / "in"), "--under", "a b/").count("unchanged") == 3
    assert run("ls", "a b/").count("a b/in/") == 3
    assert "one  ok" in run("info", "a b/in/ü 1.fits")
    run("get", "--prefix", "a b/in/", "--output", str(tmp_path / "out"))
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == data
    assert {name: content(node.service, f"a b/in/{name}") for name in data} == data
    with pytest.raises(ObjectNotFound, match="404"):
        run("info", "nothing")


def test_a_node_is_gone_on_with_by_range_and_what_it_says_is_checked(node: Node, tmp_path: Path) -> None:
    remote, data = RemoteFiles(node.url, node.token), random.Random(5).randbytes(2_000_000)
    (tmp_path / "f").write_bytes(data)
    done = put_file(remote, tmp_path / "f", "f")
    assert (done.outcome, done.version) == ("created", 1)
    version, target = remote.stat("f"), tmp_path / "out" / "f"
    target.parent.mkdir()
    (target.parent / f".f.{version.sha256[:16]}.part").write_bytes(data[:777_777])
    assert get_file(remote, version, target).resumed_bytes == 777_777 and target.read_bytes() == data
    with pytest.raises(ChecksumMismatch), (tmp_path / "f").open("rb") as file:
        remote.put("g", file, expected=Expected(len(data), "0" * 64))
    put(node.service, "bad", bytes(900_000))
    flip(file_of(node.service, "one", node.service.stat("bad").copies[0].key), 899_999)
    with pytest.raises(StorageError):
        get_file(remote, remote.stat("bad"), tmp_path / "bad")
    assert not (tmp_path / "bad").exists()
    with pytest.raises(StorageError, match="401"):
        put_file(RemoteFiles(node.url), tmp_path / "f", "new")
    with pytest.raises(CatalogueUnavailable, match="no answer"):
        RemoteFiles("http://127.0.0.1:1").stat("f")
