"""Uploads by URL: what is fetched, and that nobody reaches our own network through us (TAP 1.1 §2.7.6; CWE-918).

Nothing leaves this machine: names are resolved by the test, connections go to a server on loopback or nowhere.
"""

import http.server
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from archive.vo.errors import TooLargeError, UsageError
from tap import upload
from tap.upload import Fetcher, is_public

Handler = Callable[[http.server.BaseHTTPRequestHandler], None]
LOCAL = ("127.0.0.1",)


@contextmanager
def server(handle: Handler) -> Iterator[str]:
    """A web server on loopback; gives its address as host:port."""

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            handle(self)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answers) as made:
        made.daemon_threads = True
        thread = threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"127.0.0.1:{made.server_address[1]}"
        made.shutdown()
        thread.join()


def answer(body: bytes, status: int = 200, **headers: str) -> Handler:
    def handle(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(body)

    return handle


def fetched(fetcher: Fetcher, url: str, max_bytes: int = 1 << 20) -> bytes:
    with fetcher.fetch(url, max_bytes=max_bytes) as (body, _):
        return body.read()


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Where connections would have gone; none is made."""
    asked: list[tuple[str, int]] = []

    def connect(address: tuple[str, int], timeout: float | None = None, **_: Any) -> socket.socket:
        asked.append(address)
        raise ConnectionRefusedError("not in a test")

    monkeypatch.setattr(upload.socket, "create_connection", connect)
    return asked


def resolve(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
    """Names resolve to these addresses, look-up after look-up; the last stays."""
    left = list(answers)

    def getaddrinfo(host: str, port: int, *_: object, **__: object) -> list[tuple[Any, ...]]:
        found = left.pop(0) if len(left) > 1 else left[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(upload.socket, "getaddrinfo", getaddrinfo)


# ---- whom we do not ask

PRIVATE = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "169.254.169.254", "100.64.0.1", "192.0.0.8", "198.18.0.1", "224.0.0.1", "239.1.2.3", "240.0.0.1",
    "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%1", "fc00::1", "fd12:3456::1", "fec0::1", "ff02::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1", "2001:0:7f00:1::1", "2001:db8::1",
]  # fmt: skip
PUBLIC = ["8.8.8.8", "130.79.128.13", "2001:41d0::1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_of_no_public_host_is_not_asked(
    address: str, connections: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_public(address)
    resolve(monkeypatch, [address])
    with pytest.raises(UsageError, match="private network"):
        fetched(Fetcher(), "http://innocent.example/table.vot")
    assert not connections


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_asked_and_no_other(
    address: str, connections: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve(monkeypatch, [address])
    with pytest.raises(UsageError, match="does not answer"):
        fetched(Fetcher(), "http://archive.example/table.vot")
    assert connections == [(address, 80)]


def test_one_private_address_among_public_ones_is_enough_to_refuse(
    connections: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve(monkeypatch, ["8.8.8.8", "10.0.0.1"])
    with pytest.raises(UsageError, match="private network"):
        fetched(Fetcher(), "http://both.example/")
    assert not connections


def test_a_name_that_turns_private_after_it_was_judged_changes_nothing(
    connections: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the connection goes to the address that was judged, not to what the name means by then."""
    resolve(monkeypatch, ["8.8.8.8"], ["127.0.0.1"])
    with pytest.raises(UsageError, match="does not answer"):
        fetched(Fetcher(), "http://rebinding.example/")
    assert connections == [("8.8.8.8", 80)]


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "http://[::1]/", "http://2130706433/", "http://0x7f.1/",
                                 "http://127.1/", "http://localhost/", "http://[::ffff:7f00:1]/"])  # fmt: skip
def test_loopback_is_loopback_however_it_is_written(url: str, connections: list[tuple[str, int]]) -> None:
    with pytest.raises(UsageError):
        fetched(Fetcher(), url)
    assert not connections


@pytest.mark.parametrize(
    "url",
    [
        "", "http://", "http:///t.vot", "//x/t", "file:///etc/passwd", "ftp://archive.example/t.vot",
        "gopher://archive.example/", "http://[::1", "http://archive.example:99999/", "http://archive.example:0/",
        "http://archive.example:no/", "http://user:secret@archive.example/t", "http://" + "a" * 300 + ".example/",
    ],
)  # fmt: skip
def test_what_is_no_plain_http_url_is_refused(url: str, connections: list[tuple[str, int]]) -> None:
    with pytest.raises(UsageError) as refused:
        fetched(Fetcher(), url)
    assert "secret" not in str(refused.value)
    assert not connections


def test_a_redirect_is_judged_like_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """A public host that sends us to a private one; the first is allowed here by name, because it runs on loopback."""
    reached: list[str] = []

    def secret(request: http.server.BaseHTTPRequestHandler) -> None:
        reached.append(request.path)
        answer(b"secret")(request)

    with server(secret) as inner, server(answer(b"", 302, Location=f"http://{inner}/secret")) as outer:
        port = int(outer.rpartition(":")[2])
        resolve(monkeypatch, ["127.0.0.1"])
        fetcher = Fetcher(allowed_hosts=("outer.example",))
        with pytest.raises(UsageError, match="private network"):
            fetched(fetcher, f"http://outer.example:{port}/")
    assert not reached


def test_redirects_to_other_schemes_and_in_circles_end() -> None:
    fetcher = Fetcher(allowed_hosts=LOCAL)
    with server(answer(b"", 302, Location="file:///etc/passwd")) as address, pytest.raises(UsageError, match="no http"):
        fetched(fetcher, f"http://{address}/")
    with server(answer(b"", 301, Location="/again")) as address, pytest.raises(UsageError, match="redirects"):
        fetched(fetcher, f"http://{address}/")


# ---- what we take


def test_a_table_is_fetched_from_where_a_redirect_leads_with_its_query() -> None:
    asked: list[str] = []

    def handle(request: http.server.BaseHTTPRequestHandler) -> None:
        asked.append(request.path)
        body = answer(b"", 302, Location="/t/a%20b.vot?x=1&y=é") if request.path == "/" else answer(b"<VOTABLE/>")
        body(request)

    with server(handle) as address:
        assert fetched(Fetcher(allowed_hosts=LOCAL), f"http://{address}") == b"<VOTABLE/>"
    assert asked[0] == "/"
    assert asked[1].startswith("/t/a%20b.vot?x=1&y=%C3%")


def test_a_name_with_capitals_is_allowed_as_it_was_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(answer(b"table")) as address:
        resolve(monkeypatch, ["127.0.0.1"])
        port = address.rpartition(":")[2]
        assert fetched(Fetcher(allowed_hosts=("Inside.Example",)), f"http://INSIDE.example:{port}/t") == b"table"


@pytest.mark.parametrize("declared", [True, False])
def test_no_more_is_read_than_may_be(declared: bool) -> None:
    def endless(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        if declared:
            request.send_header("Content-Length", str(1 << 40))
        request.end_headers()
        while True:
            request.wfile.write(b"x" * 65536)

    with server(quiet(endless)) as address, pytest.raises(TooLargeError, match="200000"):
        fetched(Fetcher(allowed_hosts=LOCAL), f"http://{address}/", max_bytes=200_000)


def quiet(handle: Handler) -> Handler:
    def handled(request: http.server.BaseHTTPRequestHandler) -> None:
        try:
            handle(request)
        except OSError:
            request.close_connection = True

    return handled


@pytest.mark.parametrize("slow_part", ["headers", "body"])
def test_a_server_that_trickles_does_not_outlast_the_time_limit(slow_part: str) -> None:
    """A byte now and then keeps a socket's own time-out away for ever."""

    def trickle(request: http.server.BaseHTTPRequestHandler) -> None:
        if slow_part == "body":
            request.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n")
        else:
            request.wfile.write(b"HTTP/1.0 200 OK\r\nX: ")
        while True:
            request.wfile.write(b"x")
            time.sleep(0.05)

    with server(quiet(trickle)) as address, pytest.raises(UsageError, match="too long"):
        fetched(Fetcher(timeout_s=0.5, allowed_hosts=LOCAL), f"http://{address}/")


def test_a_server_that_says_nothing_does_not_outlast_the_time_limit() -> None:
    with server(lambda request: time.sleep(3)) as address, pytest.raises(UsageError, match="too long"):
        fetched(Fetcher(timeout_s=0.3, allowed_hosts=LOCAL), f"http://{address}/")


def test_half_a_table_is_none() -> None:
    with (
        server(answer(b"<VOTABLE>", Content_Length="1000")) as address,
        pytest.raises(UsageError, match=r"broke off|cannot be fetched"),
    ):
        fetched(Fetcher(allowed_hosts=LOCAL), f"http://{address}/")


def test_an_answer_other_than_200_is_told() -> None:
    with server(answer(b"gone", 404)) as address, pytest.raises(UsageError, match="answered 404"):
        fetched(Fetcher(allowed_hosts=LOCAL), f"http://{address}/t.vot")
