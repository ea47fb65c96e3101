"""The REST face of the store, asked by real clients over a real socket. Oracles: hashlib, email's parser, the bytes."""

import base64
import email
import email.policy
import hashlib
import json
import logging
import os
import random
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from urllib.parse import quote

import crc32c
import httpx
import pytest
from sqlalchemy import Engine, text

from storage.client import RemoteFiles
from storage.web.settings import WebSettings
from tests.object_store import ObjectStoreServer
from tests.served import wait_until
from tests.storage.nodes import BEARER, Node, descriptors, node
from tests.storage.test_objects import content, file_of, flip, put
from tests.storage.test_s3 import volume_on

pytestmark = pytest.mark.parametrize("postgres", ["embedded"], indirect=True)
MIB = 1 << 20
DATA = random.Random(7).randbytes(300_000)


@pytest.fixture
def served(writer: Engine, tmp_path: Path) -> Iterator[Node]:
    with node(writer, tmp_path, settings=WebSettings(stall_s=1.5, largest_bytes=64 * MIB)) as one:
        yield one


def b64(algorithm: str, data: bytes) -> str:
    return base64.b64encode(hashlib.new(algorithm, data).digest()).decode()


@pytest.mark.parametrize("size", [0, 1, 64 << 10, MIB, MIB + 1, 9 * MIB + 5])
def test_what_was_put_is_got_with_its_validators_and_digests(served: Node, size: int) -> None:
    data = random.Random(size).randbytes(size)
    with served.client() as client:
        made = client.put("/objects/night/a.fits", content=data, headers={"Content-Type": "image/fits"})
        assert made.status_code == 201, made.text
        told = made.json()
        assert told["sha256"] == hashlib.sha256(data).hexdigest() and told["md5"] == hashlib.md5(data).hexdigest()
        assert (told["version"], told["size_bytes"], told["outcome"]) == (1, size, "created")
        assert told["crc32c"] == f"{crc32c.crc32c(data):08x}"
        got = client.get(made.headers["location"].removeprefix("/store/v1"))
        assert (got.status_code, got.content) == (200, data)
        assert got.headers["content-length"] == str(size) and got.headers["etag"] == f'"{told["sha256"]}"'
        assert got.headers["content-type"] == "image/fits" and got.headers["accept-ranges"] == "bytes"
        assert got.headers["repr-digest"] == f"sha-256=:{b64('sha256', data)}:, md5=:{b64('md5', data)}:"
        assert got.headers["content-disposition"] == "attachment; filename=\"a.fits\"; filename*=UTF-8''a.fits"
        head = client.head("/objects/night/a.fits")
        volatile = {"date", "content-encoding"}
        assert {k: v for k, v in head.headers.items() if k not in volatile} == {
            k: v for k, v in got.headers.items() if k not in volatile
        }
        assert head.content == b""
        again = client.put("/objects/night/a.fits", content=data)
        assert (again.status_code, again.json()["outcome"], again.json()["version"]) == (200, "unchanged", 1)


def test_a_chunked_body_is_an_object_too(served: Node) -> None:
    with served.client() as client:
        for number, pieces in enumerate(([], [b"x"], [DATA] * 20)):
            made = client.put(f"/objects/c{number}", content=iter(pieces))
            assert made.status_code == 201, made.text
            assert client.get(f"/objects/c{number}").content == b"".join(pieces)


def test_versions_are_kept_and_each_is_had_by_its_number(served: Node) -> None:
    with served.client() as client:
        numbers = [client.put("/objects/f", content=data).json()["version"] for data in (b"a", b"b", b"a")]
        assert numbers == [1, 2, 3]
        assert [client.get(f"/objects/f?version={n}").content for n in numbers] == [b"a", b"b", b"a"]
        gone = client.delete("/objects/f")
        assert gone.status_code == 200 and gone.json()["version"] == 3 and gone.json()["removed"]
        assert client.get("/objects/f").content == b"b"
        assert client.get("/objects/f?version=3").status_code == 404
        told = client.get("/versions/f").json()["versions"]
        assert [(each["version"], each["removed"] is None) for each in told] == [(3, False), (2, True), (1, True)]
        assert client.put("/objects/f", content=b"c").json()["version"] == 4


def test_a_file_id_is_read_from_the_raw_path(served: Node) -> None:
    """Slashes as they are or escaped, double ones, spaces, signs, every alphabet: no two ids are mixed up."""
    ids = [
        "a/b",
        "a//b",
        "/a",
        "a/",
        "a b",
        "a+b",
        "a%2Fb",
        "a?b",
        "a#b",
        "ü/Ω/星",
        "x" * 1024,
        "copies",
        "a;b=c",
        ".hidden",
    ]
    with served.client() as client:
        for number, file_id in enumerate(ids):
            path = quote(file_id, safe="/" if number % 2 else "")
            made = client.put(f"/objects/{path}", content=file_id.encode())
            assert (made.status_code, made.json()["file_id"]) == (201, file_id), made.text
        for file_id in ids:
            for safe in ("", "/"):
                got = client.get(f"/objects/{quote(file_id, safe=safe)}")
                assert got.content == file_id.encode(), file_id
        listed = client.get("/objects").json()
        assert [each["file_id"] for each in listed["objects"]] == sorted(ids, key=str.encode)


def test_conditions_hold_as_the_rfc_says(served: Node) -> None:
    with served.client() as client:
        made = client.put("/objects/f", content=b"first", headers={"If-None-Match": "*"})
        etag = made.headers["etag"]
        modified = client.get("/objects/f").headers["last-modified"]
        later = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
        earlier = "Mon, 01 Jan 2001 00:00:00 GMT"
        asked = {
            ("If-None-Match", etag): 304, ("If-None-Match", "*"): 304, ("If-None-Match", '"other"'): 200,
            ("If-Modified-Since", modified): 304, ("If-Modified-Since", later): 304,
            ("If-Modified-Since", earlier): 200,
            ("If-Match", etag): 200, ("If-Match", "*"): 200, ("If-Match", '"other"'): 412,
            ("If-Match", f"W/{etag}"): 412, ("If-Unmodified-Since", earlier): 412, ("If-Unmodified-Since", later): 200,
        }  # fmt: skip
        for (name, value), status in asked.items():
            assert client.get("/objects/f", headers={name: value}).status_code == status, (name, value)
        assert client.put("/objects/f", content=b"x", headers={"If-None-Match": "*"}).status_code == 412
        assert client.put("/objects/f", content=b"x", headers={"If-None-Match": etag}).status_code == 412
        assert client.put("/objects/f", content=b"x", headers={"If-Match": '"other"'}).status_code == 412
        assert client.put("/objects/new", content=b"x", headers={"If-Match": "*"}).status_code == 412
        big = bytes(2 * MIB)
        assert client.put("/objects/f", content=big, headers={"If-Match": '"other"'}).status_code == 412
        assert client.put("/objects/f", content=b"second", headers={"If-Match": etag}).json()["version"] == 2
        assert client.delete("/objects/f", headers={"If-Match": etag}).status_code == 412
        assert client.delete("/objects/f?version=1", headers={"If-Match": etag}).status_code == 200
        assert client.get("/objects/f").content == b"second"
    assert served.kept() == 1


def test_of_eight_who_would_make_a_file_one_does(served: Node) -> None:
    """If-None-Match: * is decided under the file's lock, not before."""

    def make(number: int) -> int:
        return httpx.put(
            f"{served.objects}/f", content=b"%d" % number * 2000, headers={**BEARER, "If-None-Match": "*"}, timeout=30
        ).status_code

    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(make, range(8))) == [201, *[412] * 7]
    assert len(served.service.versions("f")) == 1 and served.kept() == 1


def test_ranges_are_those_of_the_bytes(served: Node) -> None:
    with served.client() as client:
        client.put("/objects/f", content=DATA)
        size = len(DATA)
        for text, wanted in {
            "0-0": DATA[:1], "100-199": DATA[100:200], "-5": DATA[-5:], "299990-": DATA[299_990:],
            "0-": DATA, "299999-9999999999999999999999": DATA[-1:], "-999999999999": DATA,
        }.items():  # fmt: skip
            got = client.get("/objects/f", headers={"Range": f"bytes={text}"})
            assert (got.status_code, got.content) == (206, wanted), text
            start = size - len(wanted) if text[0] == "-" else int(text.split("-")[0])
            assert got.headers["content-range"] == f"bytes {start}-{start + len(wanted) - 1}/{size}"
        for text in (f"{size}-", "-0", "99999999999999999999999-"):
            got = client.get("/objects/f", headers={"Range": f"bytes={text}"})
            assert (got.status_code, got.headers["content-range"]) == (416, f"bytes */{size}"), text
        for text in ("bytes=5-1", "items=0-1", "bytes=a-b", "bytes", "bytes=-"):
            assert client.get("/objects/f", headers={"Range": text}).status_code == 200, text
        etag = client.head("/objects/f").headers["etag"]
        for tag, status in ((etag, 206), ('"other"', 200)):
            got = client.get("/objects/f", headers={"Range": "bytes=0-9", "If-Range": tag})
            assert got.status_code == status


def test_a_part_is_given_by_date_only_where_no_other_version_has_that_date(served: Node) -> None:
    """Dates have seconds, and two versions may come within one: the parts of two would make a file that never was."""
    with served.client() as client:
        for number, data in enumerate((DATA, DATA[::-1]), 1):
            client.put("/objects/f", content=data)
            ask = {"Range": "bytes=0-9", "If-Range": client.head("/objects/f").headers["last-modified"]}
            assert client.get("/objects/f", headers=ask).status_code == (206 if number == 1 else 200)
            named = client.get("/objects/f", params={"version": number}, headers=ask)
            assert (named.status_code, named.content) == (206, data[:10])
            ask["If-Range"] = "Thu, 01 Jan 1970 00:00:00 GMT"
            assert client.get("/objects/f", params={"version": number}, headers=ask).status_code == 200


def test_several_ranges_come_in_parts_that_any_mail_parser_reads(served: Node) -> None:
    with served.client() as client:
        client.put("/objects/f", content=DATA, headers={"Content-Type": "image/fits"})
        got = client.get("/objects/f", headers={"Range": "bytes=0-9, , 270000-299999,-4, 500000-"})
        assert got.status_code == 206 and int(got.headers["content-length"]) == len(got.content)
        head = f"Content-Type: {got.headers['content-type']}\r\n\r\n".encode()
        parts = email.message_from_bytes(head + got.content, policy=email.policy.HTTP).get_payload()
        assert isinstance(parts, list)
        ranges = [part["content-range"] for part in parts]  # type: ignore[index]
        assert ranges == ["bytes 0-9/300000", "bytes 270000-299999/300000", "bytes 299996-299999/300000"]
        # Line ends are the parser's to change; so where each part lies is found in the bytes themselves.
        for start, stop in ((0, 10), (270_000, 300_000), (299_996, 300_000)):
            assert f"bytes {start}-{stop - 1}/300000\r\n\r\n".encode() + DATA[start:stop] + b"\r\n--" in got.content
        assert client.get("/objects/f", headers={"Range": "bytes=" + "0-1," * 65 + "3-4"}).status_code == 416
        assert client.get("/objects/f", headers={"Range": "bytes=0-,0-,0-"}).status_code == 200


def test_a_put_that_does_not_say_how_long_it_is_makes_no_version(served: Node) -> None:
    """A body without a length is none in HTTP/1.1, and in HTTP/1.0 it would be lost: neither is an empty file."""
    for version, data in (("1.1", b""), ("1.0", b"bytes")):
        head = f"PUT /store/v1/objects/f HTTP/{version}\r\nHost: x\r\nAuthorization: {BEARER['Authorization']}\r\n\r\n"
        assert b" 411 " in served.raw(head.encode() + data).partition(b"\r\n")[0]
    assert served.kept() == 0


def test_what_is_promised_is_checked_and_what_is_not_so_is_not_kept(served: Node) -> None:
    crc = base64.b64encode(crc32c.crc32c(DATA).to_bytes(4)).decode()
    right = {
        "Content-MD5": b64("md5", DATA),
        "Digest": f"SHA-256={b64('sha256', DATA)},MD5={b64('md5', DATA)},unixsum=30637",
        "Repr-Digest": f"sha-256=:{b64('sha256', DATA)}:;q=1, crc32c=:{crc}:, sha-512=:{b64('sha512', DATA)}:",
    }
    wrong = {
        "Content-MD5": b64("md5", b"other"),
        "Digest": f"sha-256={b64('sha256', b'other')}",
        "Repr-Digest": f"md5=:{b64('md5', b'other')}:",
    }
    with served.client() as client:
        for data in (DATA, DATA * 5):
            for name, value in wrong.items():
                refused = client.put("/objects/bad", content=data, headers={name: value})
                assert (refused.status_code, refused.headers["content-type"]) == (400, "application/problem+json")
                assert "promised" in refused.json()["detail"] and "volume" not in refused.json()["detail"]
        for name in ("Content-MD5", "Digest", "Repr-Digest"):
            assert client.put("/objects/bad", content=b"", headers={name: "md5=:AAA:"}).status_code == 400
        for name in ("Digest", "Repr-Digest", "Content-Digest"):  # what nobody checks must not look checked
            refused = client.put("/objects/bad", content=DATA, headers={name: f"sha-512=:{b64('sha512', b'other')}:"})
            assert refused.status_code == 400 and "sha-256" in refused.json()["detail"]
        both = {"Content-MD5": b64("md5", DATA), "Digest": f"md5={b64('md5', b'other')}"}
        assert client.put("/objects/bad", content=DATA, headers=both).status_code == 400
        assert client.get("/objects/bad").status_code == 404 and served.kept() == 0
        assert client.put("/objects/good", content=DATA, headers=right).status_code == 201
    assert served.staged() == []


@pytest.mark.fault
def test_a_flipped_bit_never_ends_with_success(served: Node) -> None:
    """Small: an error before the first byte. Large: the connection breaks. With a sound copy: the sound bytes."""
    for size in (1000, 5 * MIB):
        data = random.Random(size).randbytes(size)
        for at in (0, size // 2, size - 1):
            held = put(served.service, f"{size}/{at}", data)
            flip(served.service, held.copies[0], at)
            with pytest.raises(httpx.HTTPError):
                httpx.get(f"{served.objects}/{size}/{at}", timeout=30).raise_for_status()
            again = httpx.get(f"{served.objects}/{size}/{at}", timeout=30)
            assert again.status_code == 500, "a copy known to be corrupt is not served"
        held = put(served.service, f"{size}/part", data)
        flip(served.service, held.copies[0], size - 1)
        part = {"Range": "bytes=-500"}
        for _ in range(2):
            answer = httpx.get(f"{served.objects}/{size}/part", headers=part, timeout=30)
            assert answer.status_code == 500, "nor is a part of it"


def test_a_sound_copy_goes_on_where_another_is_not(writer: Engine, tmp_path: Path) -> None:
    data = random.Random(3).randbytes(3 * MIB)
    with node(writer, tmp_path, "one", "two", copies=2) as served:
        for at in (0, len(data) - 1):
            held = put(served.service, f"f{at}", data)
            flip(served.service, held.copies[0], at)
        # The flaw is found before the last block is sent, and the sound copy begins with what was.
        assert httpx.get(f"{served.objects}/f{len(data) - 1}", timeout=30).content == data
        with pytest.raises(httpx.RemoteProtocolError):  # wrong bytes are on their way already
            httpx.get(f"{served.objects}/f0", timeout=30)
        assert httpx.get(f"{served.objects}/f0", timeout=30).content == data
        truncated = put(served.service, "short", data)
        os.truncate(file_of(served.service, truncated.copies[0]), 100)
        assert httpx.get(f"{served.objects}/short", timeout=30).content == data


def test_reading_needs_nobody_and_writing_the_operators_token(served: Node) -> None:
    put(served.service, "f", b"public")
    basic = base64.b64encode(b"anyone:" + BEARER["Authorization"][7:].encode()).decode()
    wrong = ("Bearer wrong", "Basic wrong", "Digest x", "Bearer", "Basic " + base64.b64encode(b"x:y").decode())
    assert httpx.get(f"{served.objects}/f").content == b"public"
    for method, path in (("PUT", "f"), ("DELETE", "f")):
        for told in (None, *wrong):
            headers = {} if told is None else {"Authorization": told}
            refused = httpx.request(method, f"{served.objects}/{path}", content=b"x", headers=headers)
            assert refused.status_code == 401, told
            assert [each.split()[0] for each in refused.headers.get_list("www-authenticate")] == ["Bearer", "Basic"]
            assert BEARER["Authorization"][7:] not in refused.text
    assert httpx.get(f"{served.objects}/f", headers={"Authorization": "Bearer wrong"}).status_code == 401
    for path in ("containers", "volumes/one", "copies/f?volume=one"):
        method = "POST" if path == "containers" else "PUT"
        assert httpx.request(method, f"{served.url}/store/v1/{path}", content=b"{}").status_code == 401
    assert (
        httpx.put(f"{served.objects}/f", content=b"x", headers={"Authorization": f"Basic {basic}"}).status_code == 201
    )


def test_files_are_listed_by_prefix_page_by_page(served: Node) -> None:
    for number in range(12):
        put(served.service, f"{'ab'[number % 2]}/{number:02}", b"x")
    url = f"{served.url}/store/v1/objects"
    first = httpx.get(url, params={"prefix": "a/", "limit": 4}).json()
    assert [each["file_id"] for each in first["objects"]] == ["a/00", "a/02", "a/04", "a/06"]
    rest = httpx.get(url, params={"prefix": "a/", "limit": 4, "after": first["next"]}).json()
    assert [each["file_id"] for each in rest["objects"]] == ["a/08", "a/10"] and rest["next"] is None
    lines = httpx.get(url, headers={"Accept": "application/x-ndjson"})
    assert lines.headers["content-type"] == "application/x-ndjson"
    assert len([json.loads(line) for line in lines.text.splitlines()]) == 12
    assert httpx.get(url, params={"prefix": "zz"}).json() == {"objects": [], "next": None}


def test_volumes_containers_copies_and_events_are_told_and_changed(writer: Engine, tmp_path: Path) -> None:
    with node(writer, tmp_path, "one", "two") as served, served.client() as client:
        top = client.post("/containers", json={"name": "night"})
        assert top.status_code == 201
        number = top.json()["container_id"]
        inner = client.post("/containers", json={"name": "raw", "parent_id": number}).json()
        assert client.put(f"/objects/f?container={number}", content=b"x").json()["container_id"] == number
        assert client.get(f"/containers/{number}").json()["containers"] == [inner]
        assert [e["file_id"] for e in client.get(f"/objects?container={number}").json()["objects"]] == ["f"]
        assert client.delete(f"/containers/{number}").status_code == 409
        assert (
            client.put(f"/containers/{inner['container_id']}/objects/f").json()["container_id"] == inner["container_id"]
        )
        assert client.delete(f"/containers/{inner['container_id']}/objects/f").json()["container_id"] is None
        assert client.delete(f"/containers/{inner['container_id']}").status_code == 200
        assert client.put("/objects/g?container=999999", content=b"x").status_code == 404

        (copy,) = client.get("/copies/f").json()["copies"]
        assert (copy["volume"], copy["state"]) == ("one", "ok")
        assert client.delete("/copies/f?volume=one").status_code == 409
        assert {e["volume"] for e in client.put("/copies/f?volume=two").json()["copies"]} == {"one", "two"}
        assert [e["volume"] for e in client.delete("/copies/f?volume=one").json()["copies"]] == ["two"]
        assert client.put("/copies/f?volume=three").status_code == 400

        assert (
            client.put("/volumes/one", json={"state": "readonly", "reason": "a new disk"}).json()["state"] == "readonly"
        )
        told = {each["name"]: each for each in client.get("/volumes").json()["volumes"]}
        assert told["one"]["state"] == "readonly" and told["two"]["free_bytes"] > 0 and told["two"]["answers"]
        assert client.put("/volumes/one", json={"state": "gone"}).status_code == 400
        assert client.get("/volumes/none").status_code == 404
        for state in ("offline", "readonly"):
            client.put("/volumes/two", json={"state": state})
        assert client.put("/objects/h", content=b"x").status_code == 503

        kinds, after = [], 0
        while page := client.get(f"/events?after={after}&limit=2").json()["events"]:
            kinds += [each["kind"] for each in page]
            after = page[-1]["event_id"]
        assert kinds == ["archived", "replicated", "removed", "volume", "volume", "volume"]


def test_a_full_store_says_507_and_one_without_its_disk_503(writer: Engine, tmp_path: Path) -> None:
    with node(writer, tmp_path) as served, served.client() as client:
        served.service.register("one", watermark_bytes=1 << 60)
        for data in (b"x", bytes(3 * MIB)):
            assert client.put("/objects/f", content=data).status_code == 507
        served.service.register("one")
        put(served.service, "f", b"x")
        (tmp_path / "one").rename(tmp_path / "away")
        gone = client.put("/objects/g", content=b"x")
        assert gone.status_code == 503 and gone.headers["retry-after"]
        assert client.get("/objects/f").status_code in (500, 503)
        assert client.get("/../../health").status_code == 503
        (tmp_path / "away").rename(tmp_path / "one")
        assert client.get("/objects/f").content == b"x"


def test_files_are_handed_to_the_proxy_or_to_s3_where_the_settings_say_so(writer: Engine, tmp_path: Path) -> None:
    with node(writer, tmp_path, settings=WebSettings(accel_prefix="/internal/")) as served:
        held = put(served.service, "a/b.fits", b"xyz", media_type="image/fits")
        # Which parts are sent is the proxy's affair; it is told the type of the whole.
        got = httpx.get(f"{served.objects}/a/b.fits", headers={"Range": "bytes=0-0,2-2"})
        assert got.headers["content-type"] == "image/fits"
        assert got.headers["x-accel-redirect"] == f"/internal/one/{held.copies[0].key}" and got.content == b""
        assert "b.fits" in got.headers["content-disposition"]


def test_a_signed_url_gives_the_file_under_its_name(
    writer: Engine, tmp_path: Path, object_store: ObjectStoreServer
) -> None:
    bucket = volume_on(object_store, object_store.bucket())
    with node(writer, tmp_path, settings=WebSettings(redirect=True), further=[bucket]) as served:
        put(served.service, "a/ü.fits", DATA, media_type="image/fits")
        moved = httpx.get(f"{served.objects}/a/ü.fits")
        assert moved.status_code == 302 and moved.headers["cache-control"] == "no-store"
        assert object_store.secret_key not in moved.headers["location"]
        got = httpx.get(moved.headers["location"])
        assert (got.status_code, got.content, got.headers["content-type"]) == (200, DATA, "image/fits")
        assert "%C3%BC.fits" in got.headers["content-disposition"]
        assert httpx.head(f"{served.objects}/a/ü.fits").headers["content-length"] == str(len(DATA))
        remote = RemoteFiles(served.url)  # S3 knows the file by another ETag: what is there already is left out
        assert b"".join(remote.blocks(remote.stat("a/ü.fits"), 100_000)) == DATA[100_000:]
        remote.close()


def test_a_database_that_was_restarted_costs_no_reader_anything(served: Node) -> None:
    put(served.service, "f", b"x")
    for _ in range(3):
        assert httpx.get(f"{served.objects}/f").content == b"x"
        with served.service.engine.connect() as connection:
            # Its own sessions may be ended by every role.
            ended = "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE usename = current_user"
            assert connection.execute(text(f"{ended} AND pid <> pg_backend_pid()")).scalar_one() >= 1


def test_the_node_tells_of_itself(served: Node) -> None:
    assert httpx.get(f"{served.url}/health").json()["status"] == "ready"
    assert httpx.get(f"{served.url}/health/live").status_code == 200
    assert httpx.get(f"{served.url}/metrics").status_code == 401
    httpx.get(f"{served.objects}/none")
    told = httpx.get(f"{served.url}/metrics", headers=BEARER).text
    assert 'uraniborg_http_requests_total{method="GET",route="/store/v1/objects/{file_id}",status="404"} 1.0' in told
    assert 'uraniborg_store_free_bytes{volume="one"}' in told
    paths = httpx.get(f"{served.url}/openapi.json").json()["paths"]
    assert {"get", "head", "put", "delete"} <= set(paths["/store/v1/objects/{file_id}"])
    assert httpx.options(f"{served.objects}/f").headers["allow"] == "GET, PUT, DELETE, HEAD, OPTIONS"
    assert httpx.get(f"{served.url}/store/v1/nothing").status_code == 404
    assert httpx.get(f"{served.url}/elsewhere").status_code == 404
    assert httpx.post(f"{served.objects}/f", headers=BEARER).status_code == 405


# ---- who means no good


def hostile(number: int, draw: random.Random) -> bytes:
    """A request that must not be answered with success. Kinds in turn, their contents by the draw."""
    line, headers, body = "", {"Host": "x", **BEARER, "Connection": "close"}, b""
    climbs = ["..", "%2e%2e", "%2E.", ".", "..%2f..", "a/../b", "a/..", "%2e"]
    match number % 20:
        case 0:
            line = f"PUT /store/v1/objects/{'/'.join(draw.choices(climbs[:5], k=draw.randint(1, 9)))}/etc/passwd"
            headers["Content-Length"] = "1"
            body = b"x"
        case 1:
            line = f"{draw.choice(['GET', 'HEAD', 'DELETE'])} /store/v1/objects/{draw.choice(climbs)}%2Fshadow"
        case 2:
            line = f"PUT /store/v1/objects/a{draw.choice(['%00', '%0a', '%1f', '%7f', '%c2%85', '%c2%9f'])}b"
            headers["Content-Length"] = "1"
            body = b"x"
        case 3:
            root = draw.choice(["store/v1", "%73tore/v1", "store%2fv1", "store/%761"])
            line = f"GET /{root}/objects/{draw.choice(['%ff', '%c3%28', '%ed%a0%80', '%f8%80', '%', '%zz', '%4'])}"
        case 4:
            line = f"PUT /store/v1/objects/{'y' * draw.randint(1025, 9000)}"
            headers["Content-Length"] = "0"
        case 5:
            line = "GET /store/v1/objects/there"
            headers["Range"] = draw.choice(
                [
                    f"bytes={10**30}-",
                    f"bytes={10**19}-{10**20}",
                    "bytes=-0",
                    "bytes=" + "0-0," * 5000 + "0-0",
                    "bytes=1000-2000",
                ]
            )
        case 6:
            line = f"PUT /store/v1/objects/cut{number}"  # promises more than it sends, then leaves
            headers["Content-Length"] = str(draw.choice([10, 70_000, 2 * MIB]))
            body = draw.randbytes(draw.randint(0, 9))
        case 7:
            line = f"PUT /store/v1/objects/cut{number}"
            headers["Transfer-Encoding"] = "chunked"
            body = draw.choice(
                [b"5\r\nabc", b"zz\r\nabc\r\n", b"ffffffffffffffffff\r\nabc", b"3\r\nabc\r\n", b"-1\r\n\r\n"]
            )
        case 8:
            line = f"PUT /store/v1/objects/length{number}"
            headers["Content-Length"] = draw.choice(["-1", "1e9", "0x10", "9" * 30, "1, 2", "٣", str(10**15)])
            body = b"x"
        case 9:
            line = f"PUT /store/v1/objects/lie{number}"
            name = draw.choice(["Content-MD5", "Digest", "Repr-Digest", "Content-Digest"])
            lie = b64(draw.choice(["md5", "sha256"]), draw.randbytes(9))
            headers[name] = draw.choice([lie, f"sha-256={lie}", f"sha-256=:{lie}:", f"md5={lie}", f"md5=:{lie}:"])
            headers["Digest"] = f"sha-256={b64('sha256', draw.randbytes(9))}"
            headers["Content-Length"] = "1000"
            body = draw.randbytes(1000)
        case 10:
            version = draw.choice(["0", "-1", "1.5", "x", "9" * 40, "2147483648", "%00", "2"])
            line = f"GET /store/v1/objects/there?version={version}"
        case 11:
            query = draw.choice(["prefix=%00", "limit=0", "limit=x", "after=%ff", "a=1", "prefix=a&prefix=b"])
            line = f"GET /store/v1/objects?{query}"
        case 12:
            line = f"GET /store/v1/events?after={draw.choice(['-1', '9' * 25, 'x', '%00'])}"
        case 13:
            line = f"{draw.choice(['POST', 'PATCH', 'TRACE', 'PROPFIND'])} /store/v1/objects/there"
        case 14:
            line = "POST /store/v1/containers"
            body = draw.choice([b"", b"[]", b"{", b'{"name":""}', b'{"name":1}', b'{"name":"a\\u0000"}', b"[" * 60_000,
                                b'{"name":"a","parent_id":99999999999999999999}', b'{"x":1}',
                                b'{"name":"a","parent_id":true}'])  # fmt: skip
            headers["Content-Length"] = str(len(body))
        case 15:
            line = f"PUT /store/v1/objects/n{number}"
            del headers["Authorization"]
            headers["Content-Length"] = str(draw.choice([1, 3 * MIB]))
            body = b"x"
        case 16:
            name = draw.choice([*climbs, "%00", "f" * 32])
            line = f"{draw.choice(['GET', 'PATCH', 'HEAD', 'DELETE'])} /store/v1/uploads/{name}"
            headers |= {"Tus-Resumable": "1.0.0", "Upload-Offset": "0"}
        case 17:
            line = f"PUT /store/v1/objects/t{number}"
            headers["Content-Length"] = "1"
            headers |= draw.choice(
                [{"Content-Type": "not a type"}, {"Content-Encoding": "gzip"}, {"Content-Range": "bytes 0-0/2"},
                 {"Content-Type": "a/" + "b" * 400}, {"If-Match": "*"}]
            )  # fmt: skip
            body = b"x"
        case 18:
            return draw.randbytes(draw.randint(1, 200)) + b"\r\n\r\n"
        case 19:
            line = f"PUT /store/v1/objects/?{draw.choice(['', 'container=x', 'copies=0', 'copies=99'])}"
            headers["Content-Length"] = "1"
            body = b"x"
    told = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{line} HTTP/1.1\r\n{told}\r\n".encode() + body


@pytest.mark.fault
@pytest.mark.parametrize("first", [0, *(pytest.param(n * 1000, marks=pytest.mark.slow) for n in range(1, 6))])
def test_a_thousand_hostile_requests_are_refused_and_leave_nothing(
    writer: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture, first: int
) -> None:
    settings = WebSettings(stall_s=1.0, largest_bytes=64 * MIB, uploads=tmp_path / "uploads")
    with node(writer, tmp_path, settings=settings) as served:
        put(served.service, "there", b"x" * 1000)
        whole = b"GET /store/v1/objects/there HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        assert served.raw(whole).endswith(b"x" * 1000)
        before, held = {path for path in tmp_path.rglob("*") if path.is_file()}, descriptors()

        def ask(number: int) -> tuple[int, bytes, bytes]:
            request = hostile(number, random.Random(number))
            return number, request, served.raw(request, cut=number % 20 in (6, 7))

        with ThreadPoolExecutor(8) as threads:
            for number, request, answer_ in threads.map(ask, range(first, first + 1000)):
                # A body that is cut off has nobody to be told; all else is refused in words.
                status = answer_[9:12]
                assert status[:1] == b"4" or (not answer_ and number % 20 in (6, 7, 18)), (request[:300], answer_[:300])
        assert {path for path in tmp_path.rglob("*") if path.is_file()} == before
        assert served.kept() == 1 and served.staged() == []
        deadline = time.monotonic() + 10
        while descriptors() > held + 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert descriptors() <= held + 2, "a descriptor was left open"
        assert content(served.service, "there") == b"x" * 1000
    assert not [record for record in caplog.records if record.exc_info], "a hostile request is no fault of ours"


@pytest.mark.fault
def test_a_body_that_stalls_is_given_up_and_one_that_is_cut_keeps_nothing(
    served: Node, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "uraniborg.access")
    head = f"Host: x\r\nAuthorization: {BEARER['Authorization']}\r\n".encode()
    for size in (1000, 8 * MIB):
        with served.connect() as connection:
            connection.sendall(b"PUT /store/v1/objects/slow HTTP/1.1\r\n" + head + b"Content-Length: %d\r\n\r\n" % size)
            connection.sendall(b"x" * (size // 2))
            assert connection.recv(1000).startswith(b"HTTP/1.1 408")
        with served.connect() as connection:
            connection.sendall(b"PUT /store/v1/objects/cut HTTP/1.1\r\n" + head + b"Content-Length: %d\r\n\r\n" % size)
            connection.sendall(b"x" * (size // 2))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    wait_until(lambda: sum("/objects/cut" in line for line in caplog.messages) == 2)  # both have come to their end
    assert served.staged() == [] and served.kept() == 0
    huge = b"PUT /store/v1/objects/huge HTTP/1.1\r\n" + head + b"Content-Length: %d\r\n\r\n" % (65 * MIB)
    assert served.raw(huge).startswith(b"HTTP/1.1 413")
    chunk = b"%x\r\n" % MIB + bytes(MIB) + b"\r\n"
    with served.connect() as connection:
        connection.sendall(b"PUT /store/v1/objects/huge HTTP/1.1\r\n" + head + b"Transfer-Encoding: chunked\r\n\r\n")
        connection.sendall(chunk * 65)
        assert connection.recv(1000).startswith(b"HTTP/1.1 413")
    assert served.kept() == 0


def test_who_waits_to_be_told_sends_nothing_that_is_refused(served: Node) -> None:
    """Expect: 100-continue, as curl does with large bodies."""
    ask = b"PUT /store/v1/objects/f HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\nExpect: 100-continue\r\n%b\r\n"
    with served.connect() as connection:
        connection.sendall(ask % b"")
        assert connection.recv(1000).startswith(b"HTTP/1.1 401")
    with served.connect() as connection:
        connection.sendall(ask % f"Authorization: {BEARER['Authorization']}\r\nConnection: close\r\n".encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 100")
        connection.sendall(bytes(5_000_000))
        assert connection.recv(1000).startswith(b"HTTP/1.1 201")


@pytest.mark.fault
def test_who_leaves_in_the_middle_of_a_file_lets_go_of_it(served: Node) -> None:
    put(served.service, "big", random.Random(1).randbytes(16 * MIB))
    held = descriptors()
    for _ in range(5):
        with served.connect() as connection:
            connection.sendall(b"GET /store/v1/objects/big HTTP/1.1\r\nHost: x\r\n\r\n")
            connection.recv(1000)
    deadline = time.monotonic() + 10
    while descriptors() > held and time.monotonic() < deadline:
        time.sleep(0.02)
    assert descriptors() <= held
