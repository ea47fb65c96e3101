"""The NGAS face on the wire, as its clients send and read it, by http.client; and what NGAS loses is not lost here.

Oracles: the bytes, zlib, gzip, tarfile, ElementTree.
"""

import base64
import gzip
import http.client
import io
import json
import random
import socket
import tarfile
import threading
import time
import zlib
from ast import literal_eval
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, func, update
from starlette.types import ASGIApp, Receive, Scope, Send

from storage.model import Copy
from storage.ngas.app import ngas_app
from storage.ngas.deliver_command import make_deliver_command
from storage.ngas.delivery import deliver
from storage.ngas.settings import NgasSettings, below
from storage.objects import ObjectService
from storage.posix import PosixVolume
from storage.service import ObjectStore
from storage.tables import undelivered
from storage.web.authorizer import TokenAuthorizer
from storage.web.node import NodeApp, server
from storage.web.settings import WebSettings
from tests.storage.nodes import descriptors

pytestmark = pytest.mark.parametrize("postgres", ["embedded"], indirect=True)
TOKEN = "operators-token"
BASIC = {"Authorization": "Basic " + base64.b64encode(f"anyone:{TOKEN}".encode()).decode()}
HELLO = b"hello ngas world\n"
HELLO_CRC32C, HELLO_CRC32 = "3156273052", "1951057688"
REQUIRED = {"Date", "Version", "HostId", "Message", "Status", "State", "SubState"}
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> ElementTree.Element:
        assert self.headers["content-type"] == "text/xml" and self.body.startswith(b"<?xml")
        return ElementTree.fromstring(self.body)

    @property
    def told(self) -> Mapping[str, str]:
        """Attributes of the element Status."""
        element = self.document.find("Status")
        assert element is not None and set(element.attrib) >= REQUIRED
        return element.attrib

    @property
    def verdict(self) -> tuple[int, str]:
        return self.status, self.told["Status"]

    @property
    def message(self) -> str:
        return self.told["Message"]

    @property
    def file(self) -> Mapping[str, str]:
        element = self.document.find("DiskStatus/FileStatus")
        assert element is not None
        return element.attrib


class Ngas:
    """An NGAS server, and a client as plain as NGAS's own: one connection a request."""

    def __init__(self, service: ObjectService, settings: NgasSettings, folder: Path, subscriber: socket.socket) -> None:
        self.service, self.settings, self.folder = service, settings, folder
        self.port = int(settings.host_id.partition(":")[2])
        # Bound, and listening to nobody yet; what is delivered may go there.
        self.subscriber = subscriber

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self,
        command: str,
        method: str = "GET",
        body: bytes | Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        **parameters: object,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            query = urlencode({name: str(value) for name, value in parameters.items()})
            # What the client's own options add must not matter.
            target = f"/{command}?{query}&time_out=4&time_out=4&reload=1&async=0"
            connection.request(method, target, body, dict(headers or {}), encode_chunked=isinstance(body, Iterator))
            answer = connection.getresponse()
            told = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, told, answer.read())
        finally:
            connection.close()

    def do(self, command: str, **parameters: object) -> Answer:
        """With the operator's credential, in the query: the client sends no header with GET."""
        parameters.setdefault("authorization", BASIC["Authorization"])
        return self.ask(command, **parameters)  # type: ignore[arg-type]

    def archive(
        self,
        data: bytes | Iterator[bytes],
        filename: str,
        command: str = "ARCHIVE",
        media_type: str = "ngas/archive-request",
        headers: Mapping[str, str] | None = None,
        **parameters: object,
    ) -> Answer:
        sent = {"Content-Type": media_type, **BASIC, **(headers or {})}
        return self.ask(command, "POST", data, sent, filename=filename, **parameters)

    def retrieve(self, file_id: str, **parameters: object) -> bytes:
        answer = self.ask("RETRIEVE", file_id=file_id, **parameters)
        assert answer.status == 200, answer.body
        assert len(answer.body) == int(answer.headers["content-length"])
        return answer.body

    def flip(self, copy: Copy, at: int = 0) -> None:
        with self.service.store.reader(copy.key, volume=copy.volume) as reader:
            path = Path(f"/proc/self/fd/{reader.fileno()}").resolve()
        with path.open("r+b") as file:
            file.seek(at)
            (byte,) = file.read(1)
            file.seek(at)
            file.write(bytes([byte ^ 1]))


def settings_for(folder: Path, port: int, subscriber_port: int) -> NgasSettings:
    return NgasSettings(
        host_id=f"host1:{port}",
        pull_prefixes=(f"file://{folder}/in/", f"http://127.0.0.1:{port}/"),
        register_prefixes=(f"{folder}/in",),
        deliver_prefixes={f"http://127.0.0.1:{subscriber_port}/": "ngas:secret"},
        max_rows=1_000,
        drain_s=5,
    )


@pytest.fixture(scope="module")
def ngas(catalogue_writer: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ngas]:
    """A server on three disks and one that is a cache, for all tests of the module."""
    folder = tmp_path_factory.mktemp("ngas")
    (folder / "token").write_text(TOKEN)
    (folder / "in").mkdir()
    names = ("one", "two", "three", "fast")
    volumes = [PosixVolume(folder / name, name, create=True, reserve_bytes=0) for name in names]
    service = ObjectService(ObjectStore(volumes), catalogue_writer)
    for name in names:
        service.register(name, storage_class="cache" if name == "fast" else "online")
    with socket.socket() as listening, socket.socket() as subscriber:
        ports = []
        for each in (listening, subscriber):
            each.bind(("127.0.0.1", 0))
            ports.append(each.getsockname()[1])
        settings = settings_for(folder, *ports)
        authorizer = TokenAuthorizer(folder / "token")
        face = ngas_app(service, authorizer, settings)
        with served(NodeApp(service, authorizer, WebSettings(), ngas=face, ngas_port=ports[0]), listening):
            yield Ngas(service, settings, folder, subscriber)


@contextmanager
def served(app: ASGIApp, listening: socket.socket) -> Iterator[None]:
    running = server(app)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not running.started:
        assert thread.is_alive()
        time.sleep(0.02)
    try:
        yield
    finally:
        running.should_exit = True
        thread.join(20)


# --- ARCHIVE, QARCHIVE, RETRIEVE


def test_what_is_archived_is_told_as_ngas_tells_it_and_comes_back(ngas: Ngas) -> None:
    answer = ngas.archive(HELLO, "hello.txt", no_versioning=0, file_version=-1)
    assert answer.verdict == (200, "SUCCESS") and answer.headers["connection"] == "close"
    assert answer.message == "Successfully handled Archive Push Request for data file with URI: hello.txt"
    assert answer.told["RequestId"] and not answer.told["Date"].endswith("Z") and answer.told["Date"][-4] == "."
    (disk,) = answer.document.findall("DiskStatus")
    assert disk.attrib["DiskId"] == "one" and int(disk.attrib["AvailableMb"]) > 0 and disk.attrib["Mounted"] == "1"
    told = {name: answer.file[name] for name in ("FileId", "FileVersion", "FileSize", "Format", "Checksum")}
    assert told == {
        "FileId": "hello.txt",
        "FileVersion": "1",
        "FileSize": "17",
        "Format": "text/plain",
        "Checksum": HELLO_CRC32C,
    }
    assert answer.file["ChecksumPlugIn"] == "crc32c" and answer.file["UncompressedFileSize"] == "17"
    back = ngas.ask("RETRIEVE", file_id="hello.txt")
    assert (back.status, back.body) == (200, HELLO)
    assert back.headers["content-type"] == "text/plain"
    assert back.headers["content-disposition"] == 'attachment; filename="hello.txt"'
    assert back.headers["ngas-file-crc"] == HELLO_CRC32C
    other = ngas.archive(b"other", "hello.txt", no_versioning=1)
    assert other.file["FileVersion"] == "2", "nothing is ever overwritten"
    assert ngas.retrieve("hello.txt") == b"other" and ngas.retrieve("hello.txt", file_version=1) == HELLO


def test_writing_and_administration_need_the_token_and_reading_needs_nobody(ngas: Ngas) -> None:
    ngas.archive(HELLO, "mine.txt")
    for command, parameters in [
        ("ARCHIVE", {"filename": "file:///etc/hostname"}),
        ("OFFLINE", {}),
        ("DISCARD", {"file_id": "mine.txt", "disk_id": "one", "file_version": 1, "execute": 1}),
        ("SUBSCRIBE", {"url": "http://127.0.0.1/QARCHIVE"}),
        ("CCREATE", {"container_name": "c"}),
        ("QUERY", {"query": "subscribers_list"}),
    ]:
        answer = ngas.ask(command, **parameters)  # type: ignore[arg-type]
        assert answer.verdict == (401, "FAILURE") and "Unauthorized request received" in answer.message, command
        # A browser that is asked for a password would send it with every page's requests.
        assert answer.headers["www-authenticate"].startswith("Bearer ")
    wrong = {"Authorization": "Basic " + base64.b64encode(b"anyone:wrong").decode()}
    for headers in ({}, wrong, {"Authorization": "Digest x"}):
        answer = ngas.ask("QARCHIVE", "POST", bytes(3 * MIB), headers, filename="big.fits")
        assert answer.verdict == (401, "FAILURE")
    assert TOKEN not in str(answer.body)
    for command in ("STATUS", "CHECKFILE", "RETRIEVE"):
        assert ngas.ask(command, file_id="mine.txt").status == 200
    assert ngas.ask("OFFLINE", headers={**BASIC, "Sec-Fetch-Site": "cross-site"}).status == 403
    assert ngas.ask("STATUS").told["State"] == "ONLINE"


def test_a_media_type_is_given_or_derived_from_the_name(ngas: Ngas) -> None:
    assert ngas.archive(b"a", "a.fits").file["Format"] == "application/fits"
    assert ngas.archive(b"b", "b.fits", "QARCHIVE", "image/x-given").file["Format"] == "image/x-given"
    assert ngas.archive(b"c", "c.odd", media_type="a/b", mime_type="c/d").file["Format"] == "c/d"
    assert ngas.archive(b"d", "d.fits.gz").file["Format"] == "application/gzip"
    for wrong in ("text/html\r\nX-Injected: 1", "text", "é/é", "a/b c"):
        answer = ngas.archive(b"w", "w.txt", mime_type=wrong)
        assert answer.verdict == (400, "FAILURE") and "NGAMS_ER_UNKNOWN_MIME_TYPE2:4047" in answer.message
    unknown = ngas.archive(b"d", "d.odd")
    assert unknown.verdict == (400, "FAILURE") and "NGAMS_ER_UNKNOWN_MIME_TYPE1:4014" in unknown.message
    assert ngas.do("ARCHIVE", probe=1, mime_type="text/plain").message.startswith("NGAMS_INFO_ARCH_REQ_OK:4068")


def test_name_and_file_id_also_come_in_content_disposition_as_ngas_delivers_them(ngas: Ngas) -> None:
    plain = 'attachment; filename="hello.txt"; file_id=my/id with space'
    encoded = "=?utf-8?b?" + base64.b64encode('attachment; filename="é.txt"; file_id=é/ü.txt'.encode()).decode() + "?="
    for header, file_id in [(plain, "my/id with space"), (encoded, "é/ü.txt")]:
        headers = {**BASIC, "Content-Type": "text/ascii", "Content-Disposition": header, "NGAS-File-CRC": HELLO_CRC32C}
        for _ in range(2):  # a delivery can come twice
            answer = ngas.ask("QARCHIVE", "POST", HELLO, headers, crc_variant="crc32c")
            assert answer.verdict == (200, "SUCCESS")
            assert (answer.file["FileId"], answer.file["FileVersion"]) == (file_id, "1")
        assert ngas.retrieve(file_id) == HELLO
    back = ngas.ask("RETRIEVE", file_id="é/ü.txt")
    assert back.headers["content-disposition"] == 'attachment; filename="_.txt"'


def test_a_wrong_checksum_is_refused_and_nothing_is_kept(ngas: Ngas) -> None:
    for variant, right in [("crc32c", HELLO_CRC32C), ("1", HELLO_CRC32C), ("crc32z", HELLO_CRC32), ("0", HELLO_CRC32)]:
        file_id = f"crc-{variant}.txt"
        wrong = ngas.archive(HELLO, file_id, headers={"NGAS-File-CRC": "1"}, crc_variant=variant)
        assert wrong.verdict == (400, "FAILURE") and wrong.message.startswith(f"Checksum error for file {file_id}")
        assert ngas.service.versions(file_id) == []
        headers = {"NGAS-File-CRC": str(int(right) - (1 << 32))}  # signed, as older data have it
        assert ngas.archive(HELLO, file_id, headers=headers, crc_variant=variant).status == 200
    assert zlib.crc32(HELLO) == int(HELLO_CRC32)
    assert ngas.archive(HELLO, "m.txt", crc_variant="md5").verdict == (400, "FAILURE")
    assert ngas.archive(HELLO, "m.txt", headers={"NGAS-File-CRC": "x"}).status == 400


def test_chunked_bodies_empty_objects_and_large_ones_are_taken(ngas: Ngas) -> None:
    data = random.Random(1).randbytes(5 * MIB + 17)
    blocks = (data[at : at + 70_000] for at in range(0, len(data), 70_000))
    assert ngas.archive(blocks, "chunked.fits").file["FileSize"] == str(len(data))
    assert ngas.archive(data, "large.fits", command="QARCHIVE").status == 200
    assert ngas.retrieve("chunked.fits") == ngas.retrieve("large.fits") == data
    assert ngas.archive(b"", "empty.txt").verdict == (200, "SUCCESS")
    assert ngas.retrieve("empty.txt") == b""
    connection = http.client.HTTPConnection("127.0.0.1", ngas.port, timeout=20)
    connection.putrequest("POST", "/QARCHIVE?filename=x.txt")
    connection.endheaders()
    assert connection.getresponse().status == 411
    connection.close()


def test_a_body_that_is_cut_leaves_nothing(ngas: Ngas) -> None:
    head = f"POST /QARCHIVE?filename=cut.fits HTTP/1.1\r\nHost: h\r\nContent-Length: {8 * MIB}\r\n"
    with socket.create_connection(("127.0.0.1", ngas.port), 10) as raw:
        raw.sendall(f"{head}Authorization: {BASIC['Authorization']}\r\n\r\n".encode() + bytes(3 * MIB))
    assert ngas.archive(HELLO, "after.txt").status == 200
    assert ngas.service.versions("cut.fits") == []


def test_ranges_are_answered_as_the_client_can_take_them(ngas: Ngas) -> None:
    """The client takes 206 as a failure, and sends bytes=N- alone; whoever asks as RFC 9110 allows gets 206."""
    ngas.archive(HELLO, "range.txt")
    told = []
    for header in ("bytes=6-", "bytes=0-", "bytes=6-9", "bytes=-5", "bytes=9-99"):
        answer = ngas.ask("RETRIEVE", file_id="range.txt", headers={"Range": header})
        told.append((answer.status, answer.headers.get("content-range"), answer.body))
    assert told == [
        (200, "bytes 6-16/17", HELLO[6:]),
        (200, None, HELLO),
        (206, "bytes 6-9/17", HELLO[6:10]),
        (206, "bytes 12-16/17", HELLO[-5:]),
        (206, "bytes 9-16/17", HELLO[9:]),
    ]
    for header, status in [("bytes=17-", 416), ("bytes=9-5", 416), ("bytes=a-", 400), ("bytes=0-1,3-4", 400)]:
        answer = ngas.ask("RETRIEVE", file_id="range.txt", headers={"Range": header})
        assert answer.verdict == (status, "FAILURE"), header


def test_refusals_of_retrieve_have_the_names_that_programs_look_for(ngas: Ngas) -> None:
    ngas.archive(HELLO, "there.txt")
    for parameters, name in [
        ({"file_id": "nope.txt"}, "NGAMS_ER_UNAVAIL_FILE:4019:ERROR: File with ID: nope.txt appears"),
        ({"file_id": "there.txt", "file_version": 777}, "File with ID: there.txt/Version: 777 appears not"),
        ({"file_id": "there.txt", "disk_id": "two"}, "NGAMS_ER_UNAVAIL_FILE:4019"),
        ({}, "NGAMS_ER_RETRIEVE_CMD:4018"),
        ({"file_id": "there.txt", "processing": "P"}, "NGAMS_ER_ILL_DPPI:4034"),
        ({"file_id": "there.txt", "file_version": "one"}, "file_version is a whole number"),
        ({"file_id": "\x01"}, "no control characters"),
        ({"file_id": "a\x00b"}, "NUL"),
        ({"file_id": "x" * 1025}, "1 to 1024 bytes"),
        ({"file_id": "../../../etc/passwd"}, "NGAMS_ER_UNAVAIL_FILE"),
    ]:
        answer = ngas.ask("RETRIEVE", **parameters)  # type: ignore[arg-type]
        assert answer.verdict == (400, "FAILURE") and name in answer.message, parameters
    assert ngas.archive(b"", "").message.startswith("NGAMS_ER_MISSING_URI:4013")
    for command in ("NOPE", "status", "prefix/STATUS", ""):
        assert ngas.ask(command).verdict == (404, "FAILURE")
    assert ngas.ask("STATUS", "DELETE").status == 405
    assert ngas.ask("RETRIEVE?file_id=%ff").verdict == (400, "FAILURE")


# --- what NGAS loses


@pytest.mark.fault
def test_eight_clients_archive_one_file_id_at_once_and_nothing_is_lost(ngas: Ngas) -> None:
    line = threading.Barrier(8)

    def client(number: int) -> list[tuple[str, str, bytes]]:
        told = []
        for round_ in range(10):
            data = f"round {round_} client {number}".encode() * 500
            line.wait()
            answer = ngas.archive(data, "same.txt", "QARCHIVE", "text/plain", file_id=f"race {round_}")
            assert answer.verdict == (200, "SUCCESS")
            told.append((answer.file["FileId"], answer.file["FileVersion"], data))
        return told

    with ThreadPoolExecutor(8) as clients:
        told = [each for answers in clients.map(client, range(8)) for each in answers]
    assert len(told) == 80
    assert {each[:2] for each in told} == {(f"race {one}", str(two)) for one in range(10) for two in range(1, 9)}
    assert all(ngas.retrieve(file_id, file_version=version) == data for file_id, version, data in told)


@pytest.mark.fault
def test_eight_file_ids_with_one_filename_are_eight_contents(ngas: Ngas) -> None:
    contents = {f"id {number}": f"content {number}".encode() for number in range(8)}
    with ThreadPoolExecutor(8) as clients:
        told = list(clients.map(lambda each: ngas.archive(each[1], "one-name.txt", file_id=each[0]), contents.items()))
    assert [(each.file["FileId"], each.file["FileVersion"]) for each in told] == [(name, "1") for name in contents]
    assert {file_id: ngas.retrieve(file_id) for file_id in contents} == contents


@pytest.mark.fault
@pytest.mark.parametrize("size", [100, 3 * MIB])
def test_a_flipped_bit_is_never_served_with_success_and_checkfile_says_failure(ngas: Ngas, size: int) -> None:
    file_id, data = f"flipped-{size}.fits", random.Random(size).randbytes(size)
    ngas.archive(data, file_id)
    (copy,) = ngas.service.stat(file_id).copies
    good = ngas.ask("CHECKFILE", file_id=file_id)
    assert good.verdict == (200, "SUCCESS") and good.message.startswith("NGAMS_INFO_FILE_OK:4056:INFO: Checked file")
    assert f"File Version: 1/Disk ID: {copy.volume}" in good.message
    assert ngas.service.stat(file_id).copies[0].verified is not None
    ngas.flip(copy, size - 1)
    try:
        answer = ngas.ask("RETRIEVE", file_id=file_id)
    except http.client.IncompleteRead as broken:
        assert size > MIB and len(broken.partial) < size
    else:
        assert answer.verdict == (500, "FAILURE")
    bad = ngas.ask("CHECKFILE", file_id=file_id)
    assert bad.verdict == (400, "FAILURE") and "NGAMS_ER_FILE_NOK:4057" in bad.message
    assert "NGAMS_INFO_FILE_OK" not in bad.message
    again = ngas.ask("RETRIEVE", file_id=file_id)
    assert again.verdict == (500, "FAILURE"), "a copy that is known to be corrupt is not served at all"
    assert ngas.archive(data, file_id).file["FileVersion"] == "1", "its bytes, sent again, repair it"
    assert ngas.retrieve(file_id) == data


def test_checkfile_reads_every_copy_and_says_which_is_not_right(ngas: Ngas) -> None:
    ngas.archive(HELLO, "two-copies.txt")
    assert ngas.do("CLONE", file_id="two-copies.txt", target_disk_id="two").status == 200
    ngas.flip(next(copy for copy in ngas.service.stat("two-copies.txt").copies if copy.volume == "two"))
    assert ngas.ask("CHECKFILE", file_id="two-copies.txt", disk_id="one").verdict == (200, "SUCCESS")
    bad = ngas.ask("CHECKFILE", file_id="two-copies.txt")
    assert bad.verdict == (400, "FAILURE") and "Disk ID: two" in bad.message
    assert ngas.retrieve("two-copies.txt") == HELLO
    assert ngas.ask("CHECKFILE").message == "Must specify a File ID for the CHECKFILE command."
    assert "NGAMS_ER_UNAVAIL_FILE" in ngas.ask("CHECKFILE", file_id="nope").message


# --- what the client names


def test_pulling_reads_only_what_the_settings_allow(ngas: Ngas) -> None:
    (ngas.folder / "in" / "pulled.fits").write_bytes(HELLO)
    (ngas.folder / "in" / "way-out.fits").symlink_to(ngas.folder / "token")
    uri = f"file://{ngas.folder}/in/pulled.fits"
    answer = ngas.do("ARCHIVE", filename=uri, no_versioning=0)
    assert answer.message == "Successfully handled Archive Pull Request for data file with URI: pulled.fits"
    assert ngas.retrieve("pulled.fits") == HELLO
    other = ngas.do("QARCHIVE", filename=f"{ngas.url}/RETRIEVE?file_id=pulled.fits", file_id="over/http")
    assert other.verdict == (200, "SUCCESS") and ngas.retrieve("over/http") == HELLO
    for refused in (
        f"file://{ngas.folder}/token",
        f"file://{ngas.folder}/in/../token",
        f"file://{ngas.folder}/in/%2e%2e/token",
        f"file://{ngas.folder}/in/way-out.fits",
        f"file://{ngas.folder}/in/nope",
        "file:///etc/passwd",
        "http://127.0.0.2:1/x",
        f"http://127.0.0.1:{ngas.port}@evil.example/x",
        f"{ngas.url}/RETRIEVE?file_id=nope",
        "ftp://127.0.0.1/x",
        f"{ngas.folder}/in/pulled.fits",
    ):
        answer = ngas.do("ARCHIVE", filename=refused, mime_type="text/plain", file_id="stolen")
        assert answer.verdict == (400, "FAILURE"), refused
    assert ngas.service.versions("stolen") == []


def test_prefixes_are_whole_segments(ngas: Ngas) -> None:
    prefixes = ("http://host/in", "http://host/in/deep/")
    assert below("http://host/in/x", prefixes) == "http://host/in"
    assert below("http://host/in/deep/x", prefixes) == "http://host/in/deep/"
    for other in ("http://host/inner", "http://host/in/../x", "http://host/in/%2E%2e/x", "http://host.evil/in/x"):
        assert below(other, prefixes) is None


def test_register_takes_in_files_of_an_allowed_folder(ngas: Ngas) -> None:
    folder = ngas.folder / "in" / "reg"
    (folder / "sub").mkdir(parents=True)
    (folder / "reg-one.txt").write_bytes(b"one")
    (folder / "sub" / "reg-two.txt").write_bytes(b"two")
    (folder / "link.txt").symlink_to(ngas.folder / "token")
    answer = ngas.do("REGISTER", path=folder)
    assert answer.verdict == (200, "SUCCESS") and answer.message == "Successfully handled command REGISTER"
    assert (answer.told["ExpectedCount"], answer.told["ActualCount"]) == ("2", "2")
    assert (ngas.retrieve("reg-one.txt"), ngas.retrieve("reg-two.txt")) == (b"one", b"two")
    assert (folder / "reg-one.txt").exists()
    for path in ("/etc/hostname", f"{ngas.folder}/token", f"{folder}/../../token", f"{folder}/nope"):
        assert "NGAMS_ER_FILE_REG_FAILED:4055" in ngas.do("REGISTER", path=path).message


# --- STATUS, the state, and disks


def test_status_tells_of_files_disks_and_requests(ngas: Ngas) -> None:
    ngas.archive(HELLO, "status.txt")
    ngas.archive(b"2", "status.txt")
    assert ngas.ask("STATUS").told["HostId"] == f"host1:{ngas.port}"
    assert ngas.ask("STATUS", file_id="status.txt").file["FileVersion"] == "2"
    assert ngas.ask("STATUS", file_id="status.txt", file_version=1).file["FileSize"] == "17"
    disk = ngas.ask("STATUS", disk_id="two").document.find("DiskStatus")
    assert disk is not None and disk.attrib["LogicalName"] == "two" and len(disk) == 0
    assert "NGAMS_ER_UNKNOWN_DISK:4020" in ngas.ask("STATUS", disk_id="nope").message
    assert ngas.ask("STATUS", file_access="status.txt").message == (
        "NGAMS_INFO_FILE_AVAIL:4029:INFO: File with File ID: status.txt/Version: 2, is available on NGAS Host with "
        f"Host ID: host1:{ngas.port}."
    )
    assert "NGAMS_ER_ILL_REQ_ID:4059" in ngas.ask("STATUS", request_id="nope").message
    assert ngas.ask("STATUS", configuration_file=1).document.find("NgamsCfgFile") is not None
    assert ngas.do("LABEL", slot_id="one", host_id="h").verdict == (200, "SUCCESS")


def test_file_list_is_a_gzip_file_that_goes_on_where_it_was_cut(ngas: Ngas) -> None:
    wanted = [f"listed {number}" for number in range(5)]
    for file_id in wanted:
        ngas.archive(file_id.encode(), "listed.txt", file_id=file_id)
    ngas.do("CLONE", file_id=wanted[2], target_disk_id="two")
    since = ngas.ask("STATUS", file_id=wanted[0]).file["IngestionDate"]
    for unique, expected in [(1, 5), (0, 6)]:
        found, more, pages = [], {"from_ingestion_date": since}, 0
        while True:
            answer = ngas.ask("STATUS", file_list=1, unique=unique, max_elements=4, **more)
            assert answer.headers["content-type"] == "application/x-gxml"
            assert answer.headers["content-disposition"].endswith('.xml.gz"')
            file_list = ElementTree.fromstring(gzip.decompress(answer.body)).find("FileList")
            assert file_list is not None
            found += [(each.attrib["FileId"], each.attrib.get("DiskId")) for each in file_list]
            pages += 1
            remaining = int(file_list.attrib["Status"].removeprefix("REMAINING_DATA_OBJECTS: "))
            assert remaining == expected - len(found)
            if not remaining:
                break
            more = {"file_list_id": file_list.attrib["Id"]}
        assert pages == 2 and len(set(found)) == expected
        assert [file_id for file_id, _ in dict.fromkeys(found)] == sorted(file_id for file_id, _ in found)
    assert ngas.ask("STATUS", file_list=1, file_list_id="'; DROP").status == 400


def test_offline_refuses_until_online_or_init(ngas: Ngas) -> None:
    assert ngas.do("ONLINE").message.startswith(
        "NGAMS_ER_IMPROPER_STATE:4015:ERROR: Command ONLINE not allowed when in"
    )
    for way_back in ("ONLINE", "INIT"):
        assert ngas.do("OFFLINE", force=0).told["State"] == "OFFLINE"
        refused = ngas.archive(HELLO, "offline.txt")
        assert refused.verdict == (400, "FAILURE") and "NGAMS_ER_IMPROPER_STATE:4015" in refused.message
        assert ngas.ask("STATUS").verdict == (200, "SUCCESS")
        assert ngas.do(way_back).told["State"] == "ONLINE"
    assert ngas.archive(HELLO, "offline.txt").status == 200


def test_clone_makes_a_copy_on_another_disk(ngas: Ngas) -> None:
    ngas.archive(HELLO, "clone.txt")
    answer = ngas.do("CLONE", file_id="clone.txt")
    assert answer.verdict == (200, "SUCCESS") and answer.message == "Successfully handled command CLONE"
    assert answer.told["CompletionPercent"] == "100.00" and answer.told["CompletionTime"]
    assert len(ngas.service.stat("clone.txt").copies) == 2
    parameters = {"file_id": "clone.txt", "target_disk_id": "fast", "async": 1}
    accepted = ngas.do("CLONE", **parameters)
    # async=0, which the client's helper sends too, comes second, and the first is taken.
    assert accepted.message == "Accepted CLONE command for execution"
    for _ in range(100):
        told = ngas.ask("STATUS", request_id=accepted.told["RequestId"]).told
        if told.get("CompletionTime"):
            break
        time.sleep(0.05)
    assert told["ActualCount"] == "1"
    assert {copy.volume for copy in ngas.service.stat("clone.txt").copies} >= {"one", "fast"}
    assert "NGAMS_ER_CMD_EXEC:4036" in ngas.do("CLONE", file_id="nope").message
    assert "NGAMS_ER_CMD_SYNTAX:4035" in ngas.do("CLONE").message
    assert "NGAMS_ER_UNKNOWN_DISK:4020" in ngas.do("CLONE", file_id="clone.txt", target_disk_id="nope").message


def test_removing_never_takes_what_is_needed(ngas: Ngas) -> None:
    ngas.archive(HELLO, "remove.txt")
    named = {"file_id": "remove.txt", "disk_id": "one"}
    few = ngas.do("REMFILE", **named, execute=1)
    assert few.verdict == (200, "FAILURE") and "NGAMS_WA_FILE_COPIES:4046:WARNING" in few.message
    for target in ("two", "three", "fast"):
        ngas.do("CLONE", file_id="remove.txt", target_disk_id=target)
    for execute, deleted in [(0, 0), (1, 1)]:
        answer = ngas.do("REMFILE", **named, execute=execute)
        assert (
            f"NGAMS_INFO_FILE_DEL_STAT:4040:INFO: File deletion status. Files Selected: 1, Files Deleted: {deleted}"
            in (answer.message)
        )
    assert "Files Selected: 0" in ngas.do("REMFILE", **named, execute=1).message
    assert "NGAMS_ER_CMD_SYNTAX" in ngas.do("REMFILE", file_id="remove.txt").message

    cached = {"file_id": "remove.txt", "file_version": 1}
    assert "is no cache" in ngas.do("CACHEDEL", **cached, disk_id="two").message
    assert ngas.do("CACHEDEL", **cached, disk_id="fast").message == "Successfully handled request"
    assert "NGAMS_ER_UNAVAIL_FILE" in ngas.do("CACHEDEL", **cached, disk_id="fast").message
    assert "Must specify disk_id" in ngas.do("CACHEDEL", file_id="remove.txt").message

    for disk in ("two", "three"):
        discarded = {**cached, "disk_id": disk}
        assert "NGAMS_INFO_DISCARD_GRANTED:4065" in ngas.do("DISCARD", **discarded).message
        assert ngas.retrieve("remove.txt") == HELLO
        assert "NGAMS_INFO_DISCARD_OK:4066" in ngas.do("DISCARD", **discarded, execute=1).message
        gone = ngas.do("DISCARD", **discarded, execute=1)
        assert gone.verdict == (200, "FAILURE") and "NGAMS_ER_DISCARD_NOT_FOUND:4063" in gone.message
    assert ngas.ask("RETRIEVE", file_id="remove.txt").status == 400
    assert ngas.do("DISCARD", path="/etc/passwd", execute=1).status == 400

    assert "NGAMS_INFO_DEL_DISK_SEL:4044" in ngas.do("REMDISK", disk_id="three", execute=0).message
    assert ngas.service.volumes()["three"].state == "online"
    assert ngas.do("REMDISK", disk_id="three", execute=1).verdict == (200, "SUCCESS")
    assert ngas.service.volumes()["three"].state == "draining"
    ngas.service.set_volume_state("three", "online")


def test_queries_come_as_text_json_and_python(ngas: Ngas) -> None:
    for number in range(3):
        ngas.archive(f"{number}".encode(), "q.txt", file_id=f"query/{number}")
    rows = json.loads(ngas.ask("QUERY", query="files_like", like="query/%", format="json").body)
    assert [(row["file_id"], row["file_version"], row["checksum"]) for row in rows] == [
        (f"query/{number}", 1, ngas.ask("STATUS", file_id=f"query/{number}").file["Checksum"]) for number in range(3)
    ]
    python = ngas.ask("QUERY", query="files_like", like="query/%")
    assert python.headers["content-type"] == "application/python-list"
    assert [tuple(row.values()) for row in rows] == literal_eval(python.body.decode())
    text = ngas.ask("QUERY", query="files_like", like="query/%", format="list")
    assert text.headers["content-type"] == "text/plain"
    rule, names, again, *lines = text.body.decode().split("\n")
    assert rule == again and set(rule) == {"-", " "} and names.split() == list(rows[0])
    assert [line.split()[2] for line in lines] == ["query/0", "query/1", "query/2"]
    since = rows[1]["ingestion_date"]
    between = json.loads(ngas.ask("QUERY", query="files_between", start=since, format="json").body)
    assert [row["file_id"] for row in between] == ["query/1", "query/2"]
    recent = json.loads(ngas.ask("QUERY", query="files_list_recent", format="json").body)
    assert [row["file_id"] for row in recent[:3]] == ["query/2", "query/1", "query/0"]
    ngas.archive(b"newer", "q.txt", file_id="query/0")
    for query, versions in [("files_location", [1, 2]), ("lastver_location", [2])]:
        found = json.loads(ngas.ask("QUERY", query=query, like="query/0", format="json").body)
        assert [row["file_version"] for row in found] == versions
    disks = json.loads(ngas.ask("QUERY", query="disks_list", format="json").body)
    assert [row["disk_id"] for row in disks] == ["one", "two", "three", "fast"]
    (stats,) = json.loads(ngas.ask("QUERY", query="files_stats", format="json").body)
    assert set(stats) == {"Number of files", "Total volume [MB]"}
    (host,) = json.loads(ngas.ask("QUERY", query="hosts_list", format="json").body)
    assert (host["host_id"], host["srv_state"]) == (f"host1:{ngas.port}", "ONLINE")
    for wrong in ({}, {"query": "files_between"}, {"query": "nope"}, {"query": "files_like", "like": "\\"}):
        assert ngas.ask("QUERY", **wrong).verdict == (400, "FAILURE")  # type: ignore[arg-type]


# --- containers


TREE = (
    b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; container_name="tree"; boundary="VL1O+/MMj8Pe2A=="\r\n\r\n'
    b"\r\n--VL1O+/MMj8Pe2A==\r\n"
    b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; container_name="sub"; boundary="mTCbUnVm3hIviQ=="\r\n\r\n'
    b"\r\n--mTCbUnVm3hIviQ==\r\n"
    b'Content-Type: text/ascii\r\nContent-Disposition: attachment; filename="tree-b.txt"\r\n\r\n'
    b"bb\r\n--mTCb"
    b"\r\n--mTCbUnVm3hIviQ==--"
    b"\r\n--VL1O+/MMj8Pe2A==\r\n"
    b'Content-Type: text/ascii\r\nContent-Disposition: attachment; filename="tree-a.bin"\r\n\r\n%s'
    b"\r\n--VL1O+/MMj8Pe2A==\r\n"
    b'Content-Type: text/ascii\r\nContent-Disposition: attachment; filename="tree-empty.txt"\r\n\r\n'
    b"\r\n--VL1O+/MMj8Pe2A==--"
)


def test_a_tree_of_files_goes_in_and_comes_back_as_multipart_and_tar(ngas: Ngas) -> None:
    large = random.Random(4).randbytes(2 * MIB) + b"\r\n--VL1O"
    answer = ngas.ask("CARCHIVE", "POST", TREE % large, {"Content-Type": "ngas/container", **BASIC})
    assert answer.verdict == (200, "SUCCESS")
    (disk,) = answer.document.findall("DiskStatus")
    assert len(disk) == 0
    files = {"tree-a.bin": large, "tree-empty.txt": b"", "tree-b.txt": b"bb\r\n--mTCb"}
    assert {name: ngas.retrieve(name) for name in files} == files

    (tree,) = ngas.ask("CLIST", container_name="tree").document.findall("Container")
    assert (tree.attrib["name"], tree.attrib["size"]) == ("tree", str(len(large)))
    assert [each.attrib["FileId"] for each in tree.findall("FileStatus")] == ["tree-a.bin", "tree-empty.txt"]
    sub = tree.find("Container")
    assert sub is not None and [each.attrib["FileId"] for each in sub] == ["tree-b.txt"]

    back = ngas.ask("CRETRIEVE", container_id=tree.attrib["id"])
    assert back.headers["content-type"] == "ngas/container" and len(back.body) == int(back.headers["content-length"])
    assert parts_of(back.body) == {
        "tree/tree-a.bin": large,
        "tree/tree-empty.txt": b"",
        "tree/sub/tree-b.txt": b"bb\r\n--mTCb",
    }
    tar = ngas.ask("CRETRIEVE", container_name="tree", format="application/x-tar")
    assert tar.headers["content-type"] == "application/x-tar" and len(tar.body) == int(tar.headers["content-length"])
    with tarfile.open(fileobj=io.BytesIO(tar.body)) as archive:
        assert archive.getnames()[0] == "tree"
        got = {each.name: archive.extractfile(each).read() for each in archive if each.isfile()}  # type: ignore[union-attr]
    assert got == parts_of(back.body)


def parts_of(body: bytes) -> dict[str, bytes]:
    """Files of a multipart body by their way: as the NGAS client reads it, at its boundaries and nothing else."""
    head, _, rest = body.partition(b"\r\n\r\n")
    boundary = head.split(b'boundary="')[1].split(b'"')[0]
    name = head.split(b'container_name="')[1].split(b'"')[0].decode()
    assert rest.endswith(b"\r\n--" + boundary + b"--")
    found: dict[str, bytes] = {}
    for part in rest.removesuffix(b"--").split(b"\r\n--" + boundary)[1:-1]:
        part = part.removeprefix(b"\r\n")
        if part.startswith(b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed"):
            found |= {f"{name}/{way}": data for way, data in parts_of(part).items()}
            continue
        inner, _, data = part.partition(b"\r\n\r\n")
        found[f"{name}/{inner.split(b'filename=' + bytes([34]))[1].split(bytes([34]))[0].decode()}"] = data
    return found


def test_what_is_no_tree_is_refused_and_a_cut_one_says_what_was_kept(ngas: Ngas) -> None:
    headers = {"Content-Type": "ngas/container", **BASIC}
    for body in (b"", b"no multipart at all", b"Content-Type: text/plain\r\n\r\nx", b"x" * 100_000):
        assert ngas.ask("CARCHIVE", "POST", body, headers).verdict == (400, "FAILURE")
    cut = ngas.ask("CARCHIVE", "POST", (TREE % b"cut")[:-10].replace(b"tree-", b"cut-"), headers)
    assert cut.verdict == (400, "FAILURE") and "2 files that came before are kept" in cut.message
    assert ngas.ask("RETRIEVE", file_id="cut-empty.txt").status == 400
    evil = (TREE % b"x").replace(b'"tree"', b'"../up"')
    assert "no name of a container" in ngas.ask("CARCHIVE", "POST", evil, headers).message


def test_containers_are_made_filled_emptied_and_destroyed(ngas: Ngas) -> None:
    made = ngas.do("CCREATE", container_name="cont")
    assert made.message == "Successfully created container(s)"
    (element,) = made.document.findall("Container")
    assert element.attrib["name"] == "cont" and element.attrib["size"] == "0"
    tree = b'<Container name="h1"><Container name="h2"/><Container name="h3"><Container name="h4"/></Container>'
    nested = ngas.ask("CCREATE", "POST", tree + b"</Container>", {"Content-Type": "text/xml", **BASIC})
    assert [each.attrib["name"] for each in nested.document.iter("Container")] == ["h1", "h2", "h3", "h4"]
    for file_id in ("in 1", "in 2"):
        ngas.archive(file_id.encode(), "in.txt", file_id=file_id)

    assert ngas.do("CAPPEND", container_name="cont", file_id="in 1").message == "Successfully handled request"
    listed = b'<?xml version="1.0" encoding="utf-8"?><FileList><File FileId="in 1"/><File FileId="in 2"/></FileList>'
    other = ngas.ask("CAPPEND", "POST", listed, BASIC, container_name="h1")
    assert other.message == (
        f"File 'in 1' is already associated to container '{element.attrib['id']}'. "
        "To override the 'force' parameter must be given"
    )
    assert ngas.ask("CLIST", container_name="h1").document.find("Container/FileStatus") is None, "all or none"
    assert ngas.ask("CAPPEND", "POST", listed, BASIC, container_name="h1", force=1).status == 200
    inside = ngas.ask("CLIST", container_name="h1").document.findall("Container/FileStatus")
    assert [each.attrib["FileId"] for each in inside] == ["in 1", "in 2"]
    assert ngas.do("CREMOVE", container_name="cont", file_id="in 1").status == 200, "also if it is not in it"
    assert ngas.do("CREMOVE", container_name="h1", file_id="in 1").status == 200

    unknown = ngas.do("CAPPEND", container_name="cont", file_id="nope")
    assert unknown.message == "No file with fileId 'nope' found, cannot append it to container"
    assert ngas.do("CLIST").message == "Invalid parameter: container_id or container_name needed"
    assert ngas.do("CLIST", container_name="nosuch").message == "No container found with name nosuch"
    ngas.do("CCREATE", container_name="cont")
    assert ngas.do("CLIST", container_name="cont").message == (
        "More than one container with name cont found, cannot proceed with unique fetching"
    )
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa">]><Container name="&a;"/>'
    for wrong in (bomb, b"<Container", b"<Other/>", b""):
        assert ngas.ask("CCREATE", "POST", wrong, BASIC).verdict == (400, "FAILURE")

    held = ngas.do("CDESTROY", container_name="h1")
    assert held.status == 400 and "has sub-containers, use the recursive option to remove them" in held.message
    assert ngas.do("CDESTROY", container_name="h1", recursive=1).status == 200
    assert ngas.do("CLIST", container_name="h4").status == 400
    assert ngas.retrieve("in 2") == b"in 2"


# --- subscriptions


@pytest.fixture
def no_subscriptions(ngas: Ngas) -> Iterator[None]:
    yield
    for row in json.loads(ngas.do("QUERY", query="subscribers_list", format="json").body):
        ngas.do("UNSUBSCRIBE", subscr_id=row["subscr_id"])


@pytest.mark.usefixtures("no_subscriptions")
def test_subscriptions_are_made_found_again_and_ended(ngas: Ngas) -> None:
    url = f"http://127.0.0.1:{ngas.subscriber.getsockname()[1]}/QARCHIVE"
    past = {"url": url, "start_date": "2026-01-01T00:00:00.000", "priority": 1}
    assert ngas.do("SUBSCRIBE", **past).message == "Handled SUBSCRIBE command"
    assert ngas.do("SUBSCRIBE", **past).verdict == (201, "SUCCESS")
    different = ngas.do("SUBSCRIBE", url=url)
    assert different.verdict == (409, "FAILURE")
    assert different.message == f"Different subscription with ID '{url}' existed"
    (row,) = json.loads(ngas.do("QUERY", query="subscribers_list", format="json").body)
    assert (row["subscr_id"], row["subscr_url"], row["subscr_prio"]) == (url, url, 1)
    assert row["subscr_start_date"] == "2026-01-01T00:00:00.000"
    assert ngas.do("UNSUBSCRIBE", url=url).message == "Successfully handled UNSUBSCRIBE command"
    assert ngas.do("UNSUBSCRIBE", url=url).verdict == (200, "FAILURE")
    for wrong, status in [
        ({}, 400),
        ({"url": "host2:8000/QARCHIVE"}, 400),
        ({"url": url, "start_date": "soon"}, 400),
        ({"url": url, "filter_plug_in": "os.system"}, 400),
        ({"url": "http://169.254.169.254/latest"}, 403),
        ({"url": f"http://user:password@127.0.0.1:{ngas.port}/QARCHIVE"}, 400),
    ]:
        assert ngas.do("SUBSCRIBE", **wrong).verdict == (status, "FAILURE"), wrong
    assert "NGAMS_ER_CMD_SYNTAX" in ngas.do("UNSUBSCRIBE").message


class Subscriber:
    """A server that takes what is pushed to it, or answers as told; with what it was sent."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: dict[str, int] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        self.got.append((f"{scope['path']}?{scope['query_string'].decode()}", headers, body))
        status = next((code for key, code in self.answers.items() if key in headers["content-disposition"]), 200)
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})


@pytest.mark.usefixtures("no_subscriptions")
def test_what_comes_in_is_delivered_as_ngas_delivers_it_and_what_is_refused_comes_again(ngas: Ngas) -> None:
    subscriber = Subscriber()
    url = f"http://127.0.0.1:{ngas.subscriber.getsockname()[1]}/QARCHIVE?x=1"
    start = ngas.archive(b"before", "before.txt").file["IngestionDate"]
    chosen = {"filter_plug_in": "file_id_like", "plug_in_pars": "like=sent/%"}
    assert ngas.do("SUBSCRIBE", url=url, start_date=start, **chosen).status == 200
    contents = {f"sent/{number} é" if number == 2 else f"sent/{number} x": bytes([number]) for number in range(4)}
    for file_id, data in contents.items():
        ngas.archive(data, "sent.txt", file_id=file_id)
    (away,) = deliver(ngas.service, ngas.settings)
    assert "gave no answer" in away.problem and away.taken == 0, "nobody listens yet, so nothing is gone past"

    with served(subscriber, ngas.subscriber):
        subscriber.answers["sent/1"] = 500
        (told,) = deliver(ngas.service, ngas.settings)
        assert (told.taken, told.refused, told.waiting, told.problem) == (3, 1, 1, "")
        assert [body for _, _, body in subscriber.got] == list(contents.values())
        target, headers, body = subscriber.got[0]
        assert target == "/QARCHIVE?x=1&crc_variant=crc32c"
        assert headers["content-disposition"] == 'attachment; filename="0 x"; file_id=sent/0 x'
        assert headers["ngas-file-crc"] == ngas.ask("STATUS", file_id="sent/0 x").file["Checksum"]
        assert headers["authorization"] == "Basic " + base64.b64encode(b"ngas:secret").decode()
        assert (headers["content-type"], headers["content-length"]) == ("text/plain", str(len(body)))
        assert subscriber.got[2][1]["content-disposition"].startswith("=?utf-8?b?")

        subscriber.got.clear()
        (idle,) = deliver(ngas.service, ngas.settings)
        assert subscriber.got == [] and idle.waiting == 1, "its time has not come"
        with ngas.service.engine.begin() as connection:
            connection.execute(update(undelivered).values(next_try=func.now()))
        subscriber.answers.clear()
        (again,) = deliver(ngas.service, ngas.settings)
        assert (again.taken, again.waiting) == (1, 0) and [body for _, _, body in subscriber.got] == [b"\x01"]

        subscriber.got.clear()
        command = make_deliver_command(lambda _: nullcontext((ngas.service, ngas.settings)))
        run = CliRunner().invoke(command, ["--subscription", url, "--after", "0", "--json"])
        assert run.exit_code == 0 and json.loads(run.output)["taken"] == 4, run.output
        assert [body for _, _, body in subscriber.got] == list(contents.values())
    (none,) = deliver(ngas.service, NgasSettings())
    assert "the settings allow no delivery" in none.problem


# --- who means no good


def hostile(number: int, draw: random.Random, folder: Path) -> bytes:
    """A request that must not be answered with success, but for the first kind: climbing names are names as others."""
    climb = "/".join(draw.choices(["..", "%2e%2e", ".", "%2e", ""], k=draw.randint(1, 9))) + "/etc/passwd"
    method, headers, body = "GET", {"Host": "x", "Connection": "close", **BASIC}, b""
    match number % 20:
        case 0:
            method, body = "POST", draw.randbytes(9)
            line = f"QARCHIVE?filename={climb}&file_id=climb/{number}/{climb}&mime_type=a/b"
        case 1:
            line = f"RETRIEVE?file_id={climb}"
        case 2:
            method, line = (
                "POST",
                f"QARCHIVE?filename=a.txt&file_id=a{draw.choice(['%00', '%0a', '%1f', '%7f', '%c2%9f'])}b",
            )
        case 3:
            line = f"RETRIEVE?file_id={draw.choice(['%ff', '%c3%28', '%ed%a0%80', '%f8%80'])}"
        case 4:
            method, line = "POST", f"QARCHIVE?filename=a.txt&file_id={'y' * draw.randint(1025, 9000)}"
        case 5:
            line = "RETRIEVE?file_id=hostile/there"
            first = draw.choice(
                [f"{10**30}-", "17-", f"{10**19}-{10**20}", "9-5", "a-", "0-1,3-4", "0-0," * 5000 + "0-0"]
            )
            headers["Range"] = f"bytes={first}"
        case 6:  # promises more than it sends, then leaves
            method, line = "POST", "QARCHIVE?filename=cut.txt"
            headers["Content-Length"] = str(draw.choice([10, 70_000, 2 * MIB]))
            body = draw.randbytes(draw.randint(0, 9))
        case 7:
            method, line = "POST", "QARCHIVE?filename=cut.txt"
            headers["Transfer-Encoding"] = "chunked"
            body = draw.choice([b"5\r\nabc", b"zz\r\nabc\r\n", b"f" * 18 + b"\r\nabc", b"3\r\nabc\r\n", b"-1\r\n\r\n"])
        case 8:
            method, line = "POST", "QARCHIVE?filename=length.txt"
            headers["Content-Length"] = draw.choice(["-1", "1e9", "0x10", "9" * 30, "1, 2"])
        case 9:
            method, body = "POST", draw.randbytes(1000)
            headers["NGAS-File-CRC"] = draw.choice(["1", "-1", "9" * 40, "x"])
            line = f"QARCHIVE?filename=lie.txt&crc_variant={draw.choice(['crc32c', 'crc32z'])}"
        case 10:
            url = draw.choice(
                ["file:///etc/passwd", f"file://{folder}/in/../token", f"file://{folder}/in/%252e%252e/token",
                 f"file://{folder}/token", "http://127.0.0.2:1/x", "ftp://127.0.0.1/x", "http://[", "file:token"]
            )  # fmt: skip
            line = f"ARCHIVE?filename={url}&mime_type=a/b&file_id=stolen"
        case 11:
            path = draw.choice(["/etc/passwd", "/proc/self/environ", f"{folder}/in/../token", "%00", "."])
            line = f"REGISTER?path={path}"
        case 12:
            method = draw.choice(["TRACE", "DELETE", "GET"])
            line = draw.choice(["NOPE", "../STATUS", "retrieve", "STATUS/x", "%53TATUS", "//x", ""])
        case 13:
            method = "POST"
            line = f"CARCHIVE?{draw.choice(['', 'container_name=..'])}"
            headers["Content-Type"] = "ngas/container"
            body = draw.choice(
                [TREE[:200], TREE.replace(b'"tree"', b'"../up"'), draw.randbytes(3000), b"\r\n\r\n" * 99, b""]
            )
        case 14:
            method, line = "POST", "CCREATE"
            bomb = b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><Container name="&a;"/>'
            deep = b'<Container name="a">' * 20_000
            body = draw.choice([bomb, deep, b"<", b"<Container/>", b'<Container name=""/>', draw.randbytes(99)])
        case 15:
            method, line, body = "POST", "QARCHIVE?filename=a.txt", b"x"
            other = draw.choice(
                ["", "Basic", "Basic !", "Basic " + base64.b64encode(b"anyone:guess").decode(), "Bearer x"]
            )
            headers["Authorization"] = other
        case 16:
            line = f"QUERY?query={draw.choice(['passwords', '%27', 'files_list;', '..', ''])}&format=json"
        case 17:
            line = (
                f"SUBSCRIBE?url={draw.choice(['http://127.0.0.2:1/QARCHIVE', 'file:///etc', 'x', 'http://[', '%00'])}"
            )
        case 18:
            return draw.randbytes(draw.randint(1, 200)) + b"\r\n\r\n"
        case _:
            command = draw.choice(["CLONE", "DISCARD", "CACHEDEL", "CHECKFILE", "REMDISK", "CDESTROY", "CAPPEND"])
            version, container = (draw.choice(["0", "x", "9" * 30, "..", "%00"]) for _ in range(2))
            line = f"{command}?file_id={climb}&disk_id=..&file_version={version}&container_id={container}&execute=1"
    if method == "POST" and number % 20 not in (6, 7, 8):
        headers["Content-Length"] = str(len(body))
    told = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{method} /{line} HTTP/1.1\r\n{told}\r\n".encode() + body


@pytest.mark.fault
@pytest.mark.parametrize("numbers", [range(200), pytest.param(range(200, 3200), marks=pytest.mark.slow)], ids=len)
def test_hostile_requests_are_refused_and_leave_nothing(
    ngas: Ngas, numbers: range, caplog: pytest.LogCaptureFixture
) -> None:
    ngas.archive(HELLO, "there.txt", file_id="hostile/there")
    before, held = {path for path in ngas.folder.rglob("*") if path.is_file()}, descriptors()
    caplog.clear()

    def ask(number: int) -> tuple[int, bytes, bytes]:
        request, answer = hostile(number, random.Random(number), ngas.folder), b""
        with socket.create_connection(("127.0.0.1", ngas.port), 20) as connection, suppress(ConnectionError):
            connection.sendall(request)
            if number % 20 in (6, 7):
                connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(1 << 16):
                answer += piece
        return number, request, answer

    climbed = 0
    with ThreadPoolExecutor(8) as threads:
        for number, request, answer in threads.map(ask, numbers):
            kind, status = number % 20, answer[9:12]
            climbed += kind == 0 and status == b"200"
            refused = status[:1] == b"4" or (not answer and kind in (6, 7, 18))
            refused |= kind == 19 and b'Status="FAILURE"' in answer  # DISCARD says so with 200, as NGAS does
            assert refused or (kind == 0 and status == b"200"), (request[:300], answer[-600:])
    new = {path for path in ngas.folder.rglob("*") if path.is_file()} - before
    assert len(new) == climbed and all(path.relative_to(ngas.folder).parts[1] == "objects" for path in new)
    assert ngas.service.versions("stolen") == ngas.service.versions("cut.txt") == []
    until = time.monotonic() + 20
    while descriptors() > held + 2 and time.monotonic() < until:
        time.sleep(0.05)
    assert descriptors() <= held + 2, "a descriptor was left open"
    assert ngas.retrieve("hostile/there") == HELLO
    assert not [record for record in caplog.records if record.exc_info], "a hostile request is no fault of ours"
