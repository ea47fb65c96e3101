"""`uraniborg store ...` as an operator types it. Oracles: hashlib, the disk, the bagit library's own validation."""

import hashlib
import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import bagit
import click
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, text

from storage.client import LocalFiles
from storage.commands import StoreTools, make_commands
from storage.errors import ObjectNotFound, ReadFailed, VolumeUnavailable
from storage.evict import CacheRule
from storage.model import ObjectVersion
from storage.objects import ObjectService
from storage.replicate import Policy
from storage.transfer import Progress, Transferred, at_once, get_file
from storage.upkeep import Upkeep
from tests.storage.disks import content, copies_of, file_of, flip, put, service_on

pytestmark = pytest.mark.parametrize("postgres", ["embedded"], indirect=True)
Run = Callable[..., Result]


@pytest.fixture
def service(writer: Engine, tmp_path: Path) -> ObjectService:
    return service_on(writer, tmp_path / "volumes", "one", "two")


@pytest.fixture
def run(service: ObjectService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """A command of the group, in a folder of its own."""
    upkeep = Upkeep(policy=Policy(2), cache=CacheRule(max_bytes=0))

    @contextmanager
    def open_tools(context: click.Context) -> Iterator[StoreTools]:
        yield StoreTools(service, upkeep)

    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    group = make_commands(open_tools, lambda context: pytest.fail("ran a node"))

    def ran(*words: str, code: int = 0) -> Result:
        done = CliRunner().invoke(group, words, catch_exceptions=False)
        assert done.exit_code == code, done.output
        return done

    return ran


def lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def night(tmp_path: Path) -> dict[str, bytes]:
    """A folder of files of all sizes, two deep."""
    rng = random.Random(7)
    data = {f"{part}/image {number}.fits": rng.randbytes(size) for part in ("a", "b")
            for number, size in enumerate((0, 1, 70_000, 3_000_000))}  # fmt: skip
    for name, each in data.items():
        path = tmp_path / "night" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(each)
    return data


def test_a_folder_goes_in_comes_out_and_is_not_sent_twice(
    run: Run, night: dict[str, bytes], tmp_path: Path, service: ObjectService
) -> None:
    done = lines(run("put", str(tmp_path / "night"), "--under", "survey/", "--json"))
    assert {(each["outcome"], each["version"]) for each in done} == {("created", 1)}
    assert {each["file_id"]: each["sha256"] for each in done} == {
        f"survey/night/{name}": hashlib.sha256(data).hexdigest() for name, data in night.items()
    }
    (tmp_path / "night/a/image 1.fits").write_bytes(b"changed")
    done = lines(run("put", str(tmp_path / "night"), "--under", "survey/", "--json"))
    assert sorted(each["outcome"] for each in done) == ["created", *["unchanged"] * 7]
    assert service.stat("survey/night/a/image 1.fits").version == 2
    assert service.stat("survey/night/a/image 2.fits").media_type == "image/fits"

    run("get", "--prefix", "survey/night/", "--output", "out")
    night["a/image 1.fits"] = b"changed"
    got = {path.relative_to("out").as_posix(): path.read_bytes() for path in Path("out").rglob("*") if path.is_file()}
    assert got == night
    done = lines(run("get", "--prefix", "survey/night/", "--output", "out", "--json"))
    assert {each["outcome"] for each in done} == {"unchanged"}
    run("get", "survey/night/a/image 1.fits", "--version", "1", "--output", "former.fits")
    assert len(Path("former.fits").read_bytes()) == 1


class Breaking(LocalFiles):
    """The line breaks each time after so many bytes."""

    def __init__(self, service: ObjectService, after_bytes: int) -> None:
        super().__init__(service)
        self.after_bytes, self.starts = after_bytes, list[int]()

    def blocks(self, version: ObjectVersion, start: int = 0) -> Iterator[bytes]:
        self.starts.append(start)
        sent = 0
        for block in super().blocks(version, start):
            if sent >= self.after_bytes:
                raise ReadFailed("the line broke")
            sent += len(block)
            yield block


def test_a_transfer_that_breaks_goes_on_where_it_was(service: ObjectService, tmp_path: Path) -> None:
    data = random.Random(1).randbytes(3_000_000)
    version = put(service, "f", data)
    breaking, target = Breaking(service, 800_000), tmp_path / "out/f"
    got = get_file(breaking, version, target)
    assert target.read_bytes() == data and got.outcome == "fetched"
    assert len(breaking.starts) > 2 and breaking.starts == sorted(set(breaking.starts))
    target.unlink()
    # Cut off altogether: what is there stays, and another process goes on with it.
    with pytest.raises(ReadFailed):
        get_file(Breaking(service, 0), version, target)
    part = next(target.parent.glob(".f.*.part"))
    part.write_bytes(data[:1_234_567])
    breaking = Breaking(service, 1 << 30)
    assert get_file(breaking, version, target).resumed_bytes == 1_234_567 and breaking.starts == [1_234_567]
    assert target.read_bytes() == data and list(target.parent.glob(".*")) == []
    # What lay there was not of this file: it is noticed, and got anew.
    target.unlink()
    part.write_bytes(bytes(1000))
    assert get_file(LocalFiles(service), version, target).outcome == "fetched" and target.read_bytes() == data


def test_what_fails_is_told_and_the_others_go_on(run: Run, service: ObjectService) -> None:
    for name in ("good", "bad"):
        put(service, f"x/{name}", name.encode() * 100)
    (copy,) = service.stat("x/bad").copies
    flip(file_of(service, "one", copy.key), 3)
    done = lines(run("get", "x/", "--prefix", "--json", code=1))
    assert {each["file_id"]: each["outcome"] for each in done} == {"x/good": "fetched", "x/bad": "failed"}
    assert Path("good").exists() and not Path("bad").exists()
    put(service, "a/../../etc/passwd", b"x")
    with pytest.raises(Exception, match="no way below a folder"):
        run("get", "a/", "--prefix")


def test_a_slip_does_not_look_like_success(run: Run, service: ObjectService) -> None:
    put(service, "night/1", b"1")
    for words in (["get", "nigth/", "--prefix"], ["verify", "nigth/", "--prefix"], ["export", "nigth/", "bag"]):
        with pytest.raises(ObjectNotFound, match="begins with 'nigth/'"):
            run(*words)
    for command in ("scrub", "reconcile"):
        with pytest.raises(VolumeUnavailable, match="no volume 'tow' is configured, only one, two"):
            run(command, "--volume", "tow")


def test_a_link_that_leads_nowhere_fails_and_the_rest_is_put(run: Run, night: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "night" / "gone").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "night" / "pipe")
    done = lines(run("put", str(tmp_path / "night"), "--json", code=1))
    told = Counter(each["outcome"] for each in done)
    assert told == {"created": len(night), "failed": 1}
    assert [each["file_id"] for each in done if each["outcome"] == "failed"] == ["night/gone"]


def test_what_is_broken_off_ends_at_its_next_block(service: ObjectService, tmp_path: Path) -> None:
    """Ctrl-C does not wait until the files that are under way are through."""
    version, progress, begun = put(service, "f", bytes(3 << 20)), Progress(), Event()

    class Endless(LocalFiles):
        def blocks(self, version: ObjectVersion, start: int = 0) -> Iterator[bytes]:
            for _ in range(600):
                yield bytes(1)
                begun.set()
                time.sleep(0.1)

    def jobs() -> Iterator[str]:
        yield "f"
        assert begun.wait(10)
        raise KeyboardInterrupt

    def work(name: str) -> Transferred:
        return get_file(Endless(service), version, tmp_path / name, progress)

    with pytest.raises(KeyboardInterrupt):
        list(at_once(jobs(), work, lambda job, error: pytest.fail(str(error)), 2, progress.stop))
    (part,) = tmp_path.glob(".f.*.part")
    assert 0 < part.stat().st_size < 600, "what came of it stays"


def test_files_are_listed_and_told_and_verified(run: Run, service: ObjectService) -> None:
    put(service, "night/1.fits", b"one", copies=2)
    put(service, "night/1.fits", b"two", copies=2)
    put(service, "other", b"x")
    assert [each["file_id"] for each in lines(run("ls", "night/", "--json"))] == ["night/1.fits"]
    assert "night/1.fits" in run("ls").output and "other" in run("ls").output
    (told,) = lines(run("info", "night/1.fits", "--json"))
    assert told["sha256"] == hashlib.sha256(b"two").hexdigest() and len(told["copies"]) == 2
    assert [each["version"] for each in told["versions"]] == [2, 1]
    flip(file_of(service, "two", service.stat("night/1.fits", 1).copies[1].key), 0)
    (finding,) = lines(run("verify", "night/", "--prefix", "--json"))
    assert (finding["kind"], finding["version"], finding["done"]) == ("corrupt", 1, "repaired")
    assert "4 copies" in run("verify", "night/1.fits").output
    assert "verified" in run("info", "night/1.fits").output
    flip(file_of(service, "one", service.stat("other").copies[0].key), 0)
    run("verify", "other", code=1)


def test_operators_look_after_the_store(run: Run, service: ObjectService, tmp_path: Path) -> None:
    for number in range(3):
        put(service, f"f{number}", bytes(1000))
    assert "0 findings" in run("scrub", "--rate-mib-s", "100").output
    assert len(lines(run("replicate", "--json"))) == 3
    flip(file_of(service, "two", service.stat("f0").copies[1].key), 5)
    (finding,) = lines(run("scrub", "--all", "--volume", "two", "--json"))
    assert finding["done"] == "repaired"
    file_of(service, "one", service.stat("f1").copies[0].key).unlink()
    assert "repaired" in run("reconcile").output
    assert [each["name"] for each in lines(run("volumes", "--json"))] == ["one", "two"]
    assert "readonly" in run("volumes", "two", "readonly", "--reason", "a test").output
    run("volumes", "two", "online")
    run("drain", "one", code=1)  # two copies are wanted, and there are two volumes
    assert copies_of(service, "f0") == {"one": "ok", "two": "ok"}
    run("volumes", "one", "online")
    assert run("evict").output == run("janitor").output == "0 findings, 0 of them left open\n"
    (status,) = lines(run("status", "--json"))
    assert status["is_sound"] and {each["name"]: each["copies"] for each in status["volumes"]} == {
        "one": {"ok": 3}, "two": {"ok": 3}
    }  # fmt: skip
    assert {each["process"] for each in status["runs"]} == {"scrub", "replicate", "reconcile", "drain"}
    (tmp_path / "volumes/two").rename(tmp_path / "away")
    told = run("status", code=1).output
    assert "does not answer" in told and "3 ok" in told
    run("volumes", "two", "offline")
    run("volumes", "two", "online", "--make")
    assert (
        len(lines(run("reconcile", "--volume", "two", "--json"))) == 3 and "is_sound" in run("status", "--json").output
    )


def test_a_lost_catalogue_comes_back_by_command(run: Run, service: ObjectService, writer: Engine) -> None:
    put(service, "f", b"a"), put(service, "f", b"b")
    with writer.begin() as connection:
        connection.execute(text("DELETE FROM store.object"))
    (told,) = lines(run("rebuild", "--json"))
    assert (told["versions"], told["copies"]) == (2, 2)
    assert content(service, "f") == b"b" and content(service, "f", 1) == b"a"


def test_a_prefix_leaves_as_a_bag_that_other_archives_accept(run: Run, service: ObjectService) -> None:
    data = {f"survey/{name}": name.encode() * 999 for name in ("a.fits", "ü/b c.fits", "d/../e.fits", "f//g.fits")}
    for file_id, each in data.items():
        put(service, file_id, each, media_type="image/fits")
    put(service, "other", b"not of it")
    run("export", "survey/", "bag", "--info", "Source-Organization=Hven")
    bag = bagit.Bag("bag")
    bag.validate()
    assert bag.info["Source-Organization"] == "Hven" and bag.info["Payload-Oxum"].endswith(".4")
    told = [json.loads(line) for line in Path("bag/objects.jsonl").read_text().splitlines()]
    assert {each["file_id"]: Path("bag", each["path"]).read_bytes() for each in told} == data
    assert all(hashlib.md5(data[each["file_id"]]).hexdigest() == each["md5"] for each in told)
    assert not Path("e.fits").exists() and "objects.jsonl" in Path("bag/tagmanifest-sha256.txt").read_text()
    with pytest.raises(Exception, match="is a bag already"):
        run("export", "survey/", "bag")
    number = service.create_container("for them").container_id
    service.place("survey/a.fits", number)
    assert "1 files" in run("export", "", "second", "--container", str(number)).output
    bagit.Bag("second").validate()
    assert [path.name for path in Path("second/data/survey").iterdir()] == ["a.fits"]
