"""What is there against what should be, and the commands that tell it."""

import io
import json
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from storage import catalogue
from storage.commands import StoreTools, make_commands, scrub_store, status
from storage.posix import PosixVolume
from storage.scrub import Finding, compare, reconcile
from storage.service import ObjectStore, StoredObject
from storage.volume import Entry

HOUR_S = 3600.0


@given(
    there=st.dictionaries(st.text("abc/", max_size=3), st.integers(0, 2)),
    rows=st.dictionaries(st.text("abc/", max_size=3), st.integers(0, 2)),
)
def test_the_comparison_finds_all_differences_and_only_those(there: dict[str, int], rows: dict[str, int]) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    entries = [Entry(key, size, moment) for key, size in sorted(there.items())]
    recorded = [StoredObject(key, "v", size, "0", "0") for key, size in sorted(rows.items())]
    found = {(finding.kind, finding.key) for finding in compare("v", iter(entries), iter(recorded))}
    assert found == (
        {("object_without_row", key) for key in there.keys() - rows.keys()}
        | {("row_without_object", key) for key in rows.keys() - there.keys()}
        | {("wrong_size", key) for key in there.keys() & rows.keys() if there[key] != rows[key]}
    )


@pytest.fixture
def tools(writer: Engine, tmp_path: Path) -> StoreTools:
    return StoreTools(ObjectStore([PosixVolume(tmp_path / "volume", create=True)]), writer)


def put(tools: StoreTools, data: bytes, *, row: bool = True, age_s: float = 0, key: str | None = None) -> StoredObject:
    stored = tools.store.store(io.BytesIO(data), key=key)
    if row:
        with tools.engine.begin() as connection:
            catalogue.add_object(connection, stored)
    if age_s:
        path = file_of(tools, stored.key)
        os.utime(path, (path.stat().st_mtime - age_s,) * 2)
    return stored


def file_of(tools: StoreTools, key: str) -> Path:
    (volume,) = tools.store.volumes
    assert isinstance(volume, PosixVolume)
    with volume.reader(key) as file:
        return Path(f"/proc/self/fd/{file.fileno()}").resolve()


def told(findings: Iterator[Finding]) -> dict[str, str]:
    return {finding.key: finding.kind for finding in findings}


def test_a_store_in_order_gives_no_findings(tools: StoreTools) -> None:
    for size in (0, 10, 3_000_000):
        put(tools, random.Random(size).randbytes(size), age_s=2 * HOUR_S)
    # Order of listing and of the database's own sorting may differ on these.
    for key in ("a-b", "a/b", "a0", "B", "a.b", "z_z"):
        put(tools, b"x", key=key, age_s=2 * HOUR_S)
    assert told(scrub_store(tools, grace_s=HOUR_S, delete=True)) == {}


def test_each_fault_is_found_and_named(tools: StoreTools) -> None:
    sound, gone, flipped, cut = (put(tools, bytes([n]) * 2_000_000) for n in range(4))
    orphan = put(tools, b"orphan", row=False, age_s=2 * HOUR_S)
    file_of(tools, gone.key).unlink()
    with file_of(tools, flipped.key).open("r+b") as file:
        file.seek(1_234_567)
        file.write(b"\xff")
    os.truncate(file_of(tools, cut.key), 1_999_999)
    findings = list(scrub_store(tools, grace_s=HOUR_S))
    assert {(finding.kind, finding.key) for finding in findings} == {
        ("row_without_object", gone.key),
        ("corrupt", flipped.key),
        ("wrong_size", cut.key),
        ("corrupt", cut.key),
        ("object_without_row", orphan.key),
    }
    (corrupt,) = [f for f in findings if f.key == flipped.key]
    assert flipped.sha256 in corrupt.text
    assert not any(finding.deleted for finding in findings) and tools.store.exists(orphan.key)
    assert tools.store.exists(sound.key)


def test_an_object_without_row_is_removed_only_when_asked_and_only_after_the_grace(tools: StoreTools) -> None:
    young, old = put(tools, b"young", row=False, age_s=HOUR_S / 2), put(tools, b"old", row=False, age_s=2 * HOUR_S)
    kept = put(tools, b"kept", age_s=2 * HOUR_S)
    assert told(scrub_store(tools, grace_s=HOUR_S)) == {old.key: "object_without_row"}
    (finding,) = scrub_store(tools, grace_s=HOUR_S, delete=True)
    assert finding.deleted and finding.key == old.key
    assert not tools.store.exists(old.key) and tools.store.exists(young.key) and tools.store.exists(kept.key)
    assert told(scrub_store(tools, grace_s=HOUR_S, delete=True)) == {}


def test_a_row_that_commits_while_the_listing_runs_saves_its_object(tools: StoreTools) -> None:
    """The put's object is listed, its row not yet; the second look asks anew."""
    stored = put(tools, b"late", row=False, age_s=2 * HOUR_S)
    (volume,) = tools.store.volumes

    def find_row(key: str) -> StoredObject | None:
        with tools.engine.begin() as connection:  # the writer commits just now
            catalogue.add_object(connection, stored)
            return catalogue.find_object(connection, volume.name, key)

    assert list(reconcile(volume, iter(()), find_row, grace_s=HOUR_S, delete=True)) == []
    assert tools.store.exists(stored.key)


def test_an_object_removed_in_order_while_scrub_runs_is_no_finding(tools: StoreTools) -> None:
    stored = put(tools, b"bye")
    tools.store.delete(stored.key)
    (volume,) = tools.store.volumes
    assert list(reconcile(volume, iter([stored]), lambda _: None)) == []


def test_rows_say_what_was_stored_and_can_be_struck(tools: StoreTools) -> None:
    stored = put(tools, b"bytes")
    with tools.engine.begin() as connection:
        assert catalogue.find_object(connection, "posix", stored.key) == stored
        assert catalogue.find_object(connection, "other", stored.key) is None
        assert list(catalogue.objects_of(connection, "posix", stored.key[:9])) == [stored]
        assert list(catalogue.objects_of(connection, "posix", "x%")) == []
        assert catalogue.remove_objects(connection, [stored.key]) == [("posix", stored.key)]
        assert catalogue.remove_objects(connection, [stored.key]) == []
        assert catalogue.find_object(connection, "posix", stored.key) is None


@pytest.fixture
def commands(tools: StoreTools) -> click.Group:
    @contextmanager
    def open_tools(context: click.Context) -> Iterator[StoreTools]:
        yield tools

    return make_commands(open_tools)


def test_the_commands_tell_an_operator_and_a_script(tools: StoreTools, commands: click.Group) -> None:
    stored = put(tools, bytes(1_000))
    answer = CliRunner().invoke(commands, ["status"], catch_exceptions=False)
    assert answer.exit_code == 0 and "posix" in answer.output and "1 objects" in answer.output
    (line,) = CliRunner().invoke(commands, ["status", "--json"], catch_exceptions=False).output.splitlines()
    assert json.loads(line)["size_bytes"] == 1_000
    assert status(tools)[0]["state"] == "online"

    answer = CliRunner().invoke(commands, ["scrub"], catch_exceptions=False)
    assert answer.exit_code == 0 and answer.output.startswith("0 findings")
    tools.store.delete(stored.key)
    answer = CliRunner().invoke(commands, ["scrub", "--no-read", "--json"], catch_exceptions=False)
    assert answer.exit_code == 1
    assert json.loads(answer.output)["kind"] == "row_without_object"
