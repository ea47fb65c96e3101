"""A node elsewhere, by its REST face: the client of `uraniborg store put --url` against a real server."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine

from storage.checksums import Expected
from storage.client import RemoteFiles
from storage.commands import make_commands
from storage.errors import CatalogueUnavailable, ChecksumMismatch, ObjectNotFound, StorageError
from storage.transfer import get_file, put_file
from tests.storage.disks import content, file_of, flip, put
from tests.storage.nodes import TOKEN, Node, node

pytestmark = pytest.mark.parametrize("postgres", ["embedded"], indirect=True)


@pytest.fixture
def place(writer: Engine, tmp_path: Path) -> Iterator[Node]:
    with node(writer, tmp_path, "one", "two") as it:
        yield it


def test_files_go_to_a_node_and_come_back_by_command(
    place: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("URANIBORG_TOKEN", TOKEN)
    group = make_commands(
        lambda context: pytest.fail("opened the store of this machine"), lambda context: pytest.fail("ran a node")
    )
    data = {f"ü {number}.fits": random.Random(number).randbytes(size) for number, size in enumerate((0, 9, 3_000_000))}
    for name, each in data.items():
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(each)

    def run(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(group, [words[0], "--url", place.url, *words[1:]], catch_exceptions=False)
        assert done.exit_code == code, done.output
        return done.stdout

    assert run("put", str(tmp_path / "in"), "--under", "a b/").count("created") == 3
    assert run("put", str(tmp_path / "in"), "--under", "a b/").count("unchanged") == 3
    assert run("ls", "a b/").count("a b/in/") == 3
    assert "one  ok" in run("info", "a b/in/ü 1.fits")
    run("get", "--prefix", "a b/in/", "--output", str(tmp_path / "out"))
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == data
    assert {name: content(place.service, f"a b/in/{name}") for name in data} == data
    with pytest.raises(ObjectNotFound, match=r"^there is no file nothing \(404\)$"):
        run("info", "nothing")


def test_a_node_is_gone_on_with_by_range_and_what_it_says_is_checked(place: Node, tmp_path: Path) -> None:
    remote, data = RemoteFiles(place.url, TOKEN), random.Random(5).randbytes(2_000_000)
    (tmp_path / "f").write_bytes(data)
    done = put_file(remote, tmp_path / "f", "f")
    assert (done.outcome, done.version) == ("created", 1)
    version, target = remote.stat("f"), tmp_path / "out" / "f"
    target.parent.mkdir()
    (target.parent / f".f.{version.sha256[:16]}.part").write_bytes(data[:777_777])
    assert get_file(remote, version, target).resumed_bytes == 777_777 and target.read_bytes() == data
    with pytest.raises(ChecksumMismatch), (tmp_path / "f").open("rb") as file:
        remote.put("g", file, expected=Expected(len(data), "0" * 64))
    put(place.service, "bad", bytes(900_000))
    flip(file_of(place.service, "one", place.service.stat("bad").copies[0].key), 899_999)
    with pytest.raises(StorageError):
        get_file(remote, remote.stat("bad"), tmp_path / "bad")
    assert not (tmp_path / "bad").exists()
    with pytest.raises(StorageError, match="401"):
        put_file(RemoteFiles(place.url), tmp_path / "f", "new")
    with pytest.raises(CatalogueUnavailable, match=r"http://127.0.0.1:1 gave no answer \(.*refused"):
        RemoteFiles("http://127.0.0.1:1").stat("f")
    with pytest.raises(StorageError, match="begins with http"):
        RemoteFiles("archive.example")


def test_what_gives_no_parts_is_gone_on_with_by_leaving_out_what_is_there(place: Node) -> None:
    """S3, where a node redirects there, knows the file by another ETag, and sends all of it."""
    remote, data = RemoteFiles(place.url, TOKEN), random.Random(6).randbytes(2_000_000)
    put(place.service, "f", data)
    other = replace(remote.stat("f"), sha256="0" * 64)
    assert b"".join(remote.blocks(other, 1_500_000)) == data[1_500_000:]
