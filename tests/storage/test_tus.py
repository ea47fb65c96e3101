"""Uploads that are taken up again, by the words of tus 1.0.0; the server is cut off, killed and started again."""

import base64
import hashlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine

from storage.errors import OutOfSpace
from storage.web.settings import WebSettings
from tests.live import ROOT, free_port
from tests.served import wait_until
from tests.storage.nodes import BEARER, TOKEN, Node, node
from tests.storage.test_objects import content

pytestmark = pytest.mark.parametrize("postgres", ["embedded"], indirect=True)
MIB = 1 << 20
TUS = {"Tus-Resumable": "1.0.0"}
CHUNK = {"Content-Type": "application/offset+octet-stream"}
DATA = random.Random(11).randbytes(3 * MIB + 17)


@pytest.fixture
def served(writer: Engine, tmp_path: Path) -> Iterator[Node]:
    settings = WebSettings(stall_s=2, largest_bytes=64 * MIB, uploads=tmp_path / "uploads", uploads_kept_s=3600)
    with node(writer, tmp_path, settings=settings) as one:
        yield one


def metadata(**words: str) -> str:
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in words.items())


def begin(client: httpx.Client, length: int = len(DATA), **words: str) -> str:
    headers = {"Upload-Length": str(length), "Upload-Metadata": metadata(**{"file_id": "night/big.fits", **words})}
    made = client.post("/uploads", headers=headers)
    assert made.status_code == 201, made.text
    return made.headers["location"].removeprefix("/store/v1")


def send(client: httpx.Client, place: str, offset: int, data: bytes, **headers: str) -> httpx.Response:
    return client.patch(place, content=data, headers={**CHUNK, "Upload-Offset": str(offset), **headers})


def offset(client: httpx.Client, place: str) -> int:
    return int(client.head(place).headers["upload-offset"])


def test_an_upload_in_pieces_becomes_a_version(served: Node, tmp_path: Path) -> None:
    with served.client(**TUS) as client:
        place = begin(client, filetype="image/fits", sha256=hashlib.sha256(DATA).hexdigest())
        for start in range(0, len(DATA), MIB):
            assert offset(client, place) == start
            told = send(client, place, start, DATA[start : start + MIB])
            assert told.status_code == 204 and told.headers["upload-expires"]
        assert (
            told.headers["etag"] == f'"{hashlib.sha256(DATA).hexdigest()}"' and told.headers["x-object-version"] == "1"
        )
        head = client.head(place)
        assert head.headers["upload-offset"] == head.headers["upload-length"] == str(len(DATA))
        assert head.headers["cache-control"] == "no-store" and head.headers["tus-resumable"] == "1.0.0"
        assert "filetype" in head.headers["upload-metadata"]
        # Whoever missed the last answer asks again, and is told.
        assert send(client, place, len(DATA), b"").headers["etag"] == told.headers["etag"]
        got = client.get("/objects/night/big.fits")
        assert got.content == DATA and got.headers["content-type"] == "image/fits"
        assert not list(tmp_path.glob("uploads/*/data")), "what is in the store is not kept twice"


def test_the_service_tells_what_it_can(served: Node) -> None:
    told = httpx.options(f"{served.url}/store/v1/uploads")
    assert told.status_code == 204 and told.headers["tus-version"] == "1.0.0"
    assert set(told.headers["tus-extension"].split(",")) == {"creation", "checksum", "termination", "expiration"}
    assert told.headers["tus-max-size"] == str(64 * MIB) and "sha1" in told.headers["tus-checksum-algorithm"]
    with served.client() as client:
        refused = client.post("/uploads", headers={"Upload-Length": "1"})
        assert refused.status_code == 412 and refused.headers["tus-version"] == "1.0.0"


def test_an_empty_upload_is_an_object_at_once(served: Node) -> None:
    with served.client(**TUS) as client:
        begin(client, 0)
        assert client.get("/objects/night/big.fits").content == b""


def test_a_cut_connection_loses_nothing_that_came(served: Node) -> None:
    with served.client(**TUS) as client:
        place = begin(client)
        with sent_in_part(served.port, place, 0, DATA[: 2 * MIB]):
            data = next(served.volumes[0].parent.glob("uploads/*/data"))
            wait_until(lambda: data.stat().st_size >= MIB)
            assert send(client, place, 0, b"x").status_code == 423, "two at once would mix their bytes"
        wait_until(lambda: offset(client, place) > 0)
        at = offset(client, place)
        assert MIB <= at <= 2 * MIB and data.read_bytes()[:at] == DATA[:at]
        assert send(client, place, at, DATA[at:]).status_code == 204
    assert content(served.service, "night/big.fits") == DATA


def test_checksums_of_pieces_are_checked_and_wrong_pieces_forgotten(served: Node) -> None:
    with served.client(**TUS) as client:
        place = begin(client)
        for name in ("sha1", "sha256", "md5"):
            wrong = f"{name} {base64.b64encode(hashlib.new(name, b'other').digest()).decode()}"
            refused = send(client, place, 0, DATA[:MIB], **{"Upload-Checksum": wrong})
            assert (refused.status_code, offset(client, place)) == (460, 0)
        assert send(client, place, 0, b"x", **{"Upload-Checksum": "sha3 AAAA"}).status_code == 400
        right = f"sha1 {base64.b64encode(hashlib.sha1(DATA[:MIB]).digest()).decode()}"
        assert send(client, place, 0, DATA[:MIB], **{"Upload-Checksum": right}).status_code == 204
        assert offset(client, place) == MIB
        whole = begin(client, file_id="lie", sha256=hashlib.sha256(b"other").hexdigest())
        assert send(client, whole, 0, DATA).status_code == 400
        assert client.get("/objects/lie").status_code == client.head(whole).status_code == 404


def test_an_upload_is_not_told_to_be_whole_before_it_is_stored(served: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that learn by HEAD that all bytes are there take the upload for done, and send nothing more."""
    with served.client(**TUS) as client:
        place = begin(client)
        with monkeypatch.context() as broken:
            broken.setattr(served.service, "put", lambda *_, **__: (_ for _ in ()).throw(OutOfSpace("no room")))
            assert send(client, place, 0, DATA).status_code == client.head(place).status_code == 507
        told = client.head(place)
        assert (told.status_code, told.headers["upload-offset"]) == (200, str(len(DATA)))
        assert told.headers["etag"] == f'"{hashlib.sha256(DATA).hexdigest()}"'
        assert client.get("/objects/night/big.fits").content == DATA


def test_what_does_not_fit_is_refused(served: Node) -> None:
    with served.client(**TUS) as client:
        place = begin(client, 10)
        assert send(client, place, 5, b"x").status_code == 409
        assert send(client, place, 0, b"x" * 11).status_code == 413
        assert send(client, place, 0, b"x", **{"Content-Type": "text/plain"}).status_code == 415
        assert (
            client.patch(place, content=(b"x" for _ in range(11)), headers={**CHUNK, "Upload-Offset": "0"}).status_code
            == 413
        )
        assert offset(client, place) == 0
        for headers in (
            {"Upload-Length": "-1"}, {"Upload-Length": str(65 * MIB)}, {"Upload-Defer-Length": "1"},
            {"Upload-Length": "1", "Upload-Metadata": "file_id !!"}, {"Upload-Length": "1"},
            {"Upload-Length": "1", "Upload-Metadata": metadata(file_id="../x")},
            {"Upload-Length": "1", "Upload-Metadata": metadata(file_id="a\0b")},
            {"Upload-Length": "1", "Upload-Metadata": metadata(file_id="x", container_id="9")},
        ):  # fmt: skip
            assert client.post("/uploads", headers=headers).status_code in (400, 404, 413), headers
        strangers = {**CHUNK, "Upload-Offset": "0", "Authorization": "Bearer wrong"}
        assert client.patch(place, content=b"x", headers=strangers).status_code == 401
        assert client.head(place, headers={"Authorization": "Bearer wrong"}).status_code == 401


def test_an_upload_is_given_up_by_its_sender_or_by_time(served: Node, tmp_path: Path) -> None:
    with served.client(**TUS) as client:
        place = begin(client)
        assert client.delete(place).status_code == 204
        assert client.head(place).status_code == 404 and client.delete(place).status_code == 404
        old = begin(client)
        (folder,) = (tmp_path / "uploads").iterdir()
        os.utime(folder / "offset", (time.time() - 4000,) * 2)
        assert client.head(old).status_code == 410
        assert (
            client.post("/uploads", headers={"Upload-Length": "1", "X-HTTP-Method-Override": "PUT"}).status_code == 405
        )
    from storage.web.authorizer import TokenAuthorizer
    from storage.web.tus import Uploads

    swept = Uploads(
        served.service,
        TokenAuthorizer(tmp_path / "operator.token"),
        WebSettings(uploads=tmp_path / "uploads", uploads_kept_s=3600),
    )
    assert swept.sweep() == 1 and list((tmp_path / "uploads").iterdir()) == []


def test_offsets_are_true_after_kill_9_and_the_upload_goes_on(writer: Engine, tmp_path: Path) -> None:
    """The server, a process of its own, is killed in the middle of a PATCH and started again."""
    url = writer.url.render_as_string(hide_password=False)
    data = random.Random(5).randbytes(24 * MIB)
    acknowledged = 0
    place = ""
    stays_open: socket.socket | None = None
    for round_ in range(2):
        port = free_port()
        words = [sys.executable, "-m", "tests.storage.nodes", url, str(tmp_path), str(port), str(4 * MIB)]
        process = subprocess.Popen(words, cwd=ROOT, env={**os.environ, "NODE_TOKEN": TOKEN})
        try:
            wait_until(lambda port=port: answers(port))
            with httpx.Client(
                base_url=f"http://127.0.0.1:{port}/store/v1", headers={**BEARER, **TUS}, timeout=60
            ) as client:
                place = place or begin(client, len(data))
                at = offset(client, place)
                stored = next(tmp_path.glob("uploads/*/data")).read_bytes()
                assert at >= acknowledged and stored[:at] == data[:at]
                if round_ == 1:
                    assert at > 0, "what was flushed on the way counts"
                    assert send(client, place, at, data[at:]).status_code == 204
                    assert client.get("/objects/night/big.fits").content == data
                    break
                acknowledged = at + 2 * MIB
                assert send(client, place, at, data[at:acknowledged]).status_code == 204
                stays_open = sent_in_part(port, place, acknowledged, data[acknowledged : acknowledged + 9 * MIB])
                folder = next(tmp_path.glob("uploads/*"))
                wait_until(lambda folder=folder, least=acknowledged: int((folder / "offset").read_text()) > least)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(10)
            if stays_open is not None:
                stays_open.close()


def sent_in_part(port: int, place: str, start: int, data: bytes) -> socket.socket:
    """A PATCH that promises more than it has sent, still open."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    head = {**TUS, **CHUNK, **BEARER, "Host": "x", "Upload-Offset": str(start), "Content-Length": str(len(data) + MIB)}
    told = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    connection.sendall(f"PATCH /store/v1{place} HTTP/1.1\r\n{told}\r\n".encode() + data)
    return connection


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False
