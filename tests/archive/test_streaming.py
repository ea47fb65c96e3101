"""Streams against a real uvicorn on loopback: clients that leave, errors before and after the first byte, gzip."""

import asyncio
import contextlib
import gzip
import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pyarrow as pa
import pytest
import uvicorn
from fastapi import APIRouter, FastAPI
from fastapi.responses import Response

from archive.vo.errors import QueryTimeoutError, UnavailableError
from archive.vo.line import Line
from archive.vo.routes import DaliRoute
from archive.vo.streaming import StreamedResponse, content_coding

PROMPTLY_S = 1.0


class Work:
    """What a handler does: blocks like psycopg until it is cancelled, and notes what happened to it."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.begun = threading.Event()
        self.cancelled = threading.Event()
        self.closed = threading.Event()

    def cancel(self) -> None:
        self.cancelled.set()

    def blocks_before_the_first_byte(self) -> Iterator[bytes]:
        self.begun.set()
        if self.cancelled.wait(20):
            raise QueryTimeoutError("cancelled")
        return iter([b"never"])

    def blocks_in_the_middle(self) -> Iterator[bytes]:
        try:
            yield b"first"
            self.begun.set()
            if self.cancelled.wait(20):
                raise QueryTimeoutError("cancelled")
        finally:
            self.closed.set()

    def flows_for_ever(self) -> Iterator[bytes]:
        try:
            while True:
                self.begun.set()
                yield b"x" * 65536
        finally:
            self.closed.set()


WORK = Work()


def breaks_late() -> Iterator[bytes]:
    yield b"a" * 300_000
    raise RuntimeError("late")


def refuses() -> Iterator[bytes]:
    raise UnavailableError("too many queries now", retry_after_s=7)


def fails() -> Iterator[bytes]:
    yield from ()
    raise RuntimeError("password=hunter2")


OPENERS: dict[str, Callable[[], Iterator[bytes] | Response]] = {
    "before": WORK.blocks_before_the_first_byte,
    "middle": WORK.blocks_in_the_middle,
    "endless": WORK.flows_for_ever,
    "late": breaks_late,
    "refuses": refuses,
    "fails": fails,
    "nothing": lambda: Response(status_code=204),
    "empty": lambda: iter(()),
    "words": lambda: (b"word %d\n" % number for number in range(100_000)),
}


def application() -> FastAPI:
    app = FastAPI()
    router = APIRouter(route_class=DaliRoute)

    @router.api_route("/{name}", methods=["GET", "HEAD", "POST"])
    def stream(name: str) -> Response:
        return StreamedResponse(OPENERS[name], media_type="text/xml", cancel=WORK.cancel, headers={"X-Name": name})

    app.include_router(router)
    return app


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        number = int(listener.getsockname()[1])
        server = uvicorn.Server(uvicorn.Config(application(), log_level="critical", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield number
        server.should_exit = True
        thread.join(10)


@pytest.fixture(autouse=True)
def fresh() -> None:
    WORK.reset()


def connect(port: int, name: str, body: bytes = b"") -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=10)
    method = "POST" if body else "GET"
    head = f"{method} /{name} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    client.sendall(head.encode() + body)
    return client


def get(port: int, name: str, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        connection.request(method, f"/{name}", headers=headers)
        response = connection.getresponse()
        return response, response.read()


def test_places_are_given_in_the_order_that_people_came_and_who_gave_up_is_passed_over() -> None:
    async def crowd() -> list[int]:
        line, served, told = Line(1, most_waiting=5, wait_s=5), [], []
        line.told = told.append

        async def one(number: int) -> None:
            await line.enter(number)
            served.append(number)
            line.leave(number)

        await line.enter("first")
        others = [asyncio.create_task(one(number)) for number in range(5)]
        await asyncio.sleep(0.05)
        with pytest.raises(UnavailableError, match="5 requests wait already"):
            await line.enter("late")
        others[2].cancel()
        line.leave("first")
        line.leave("first")  # changes nothing: nobody gets a second place
        await asyncio.gather(*others, return_exceptions=True)
        assert (line.waiting, sum(told), told.count(1)) == (0, 0, 5)
        return served

    assert asyncio.run(crowd()) == [0, 1, 3, 4]


@pytest.mark.parametrize("body", [b"", b"QUERY=SELECT"])
@pytest.mark.parametrize("name", ["before", "middle", "endless"])
def test_a_client_that_leaves_has_its_work_cancelled_at_once(port: int, name: str, body: bytes) -> None:
    client = connect(port, name, body)
    if name != "before":
        assert client.recv(20)
    assert WORK.begun.wait(5)
    client.close()
    assert WORK.cancelled.wait(PROMPTLY_S)
    if name != "before":
        assert WORK.closed.wait(PROMPTLY_S)


def test_a_client_that_stops_reading_and_then_leaves_is_noticed_too(port: int) -> None:
    client = connect(port, "endless")
    assert WORK.begun.wait(5)
    time.sleep(0.3)  # buffers fill: the server waits in its send
    assert not WORK.cancelled.is_set()
    client.close()
    assert WORK.cancelled.wait(PROMPTLY_S) and WORK.closed.wait(PROMPTLY_S)


def test_work_that_comes_to_its_end_is_not_cancelled(port: int) -> None:
    response, body = get(port, "words")
    assert response.status == 200 and body.count(b"\n") == 100_000
    assert response.headers["Content-Type"] == "text/xml" and response.headers["X-Name"] == "words"
    assert not WORK.cancelled.wait(0.2)


def test_what_fails_before_the_first_byte_has_a_status_and_the_form_of_its_protocol(port: int) -> None:
    response, body = get(port, "refuses")
    assert (response.status, response.headers["Retry-After"]) == (503, "7")
    assert b'value="ERROR">too many queries now<' in body
    response, body = get(port, "fails")
    assert response.status == 500 and b"QUERY_STATUS" in body and b"hunter2" not in body


def test_what_fails_after_the_first_byte_does_not_look_whole(port: int) -> None:
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        get(port, "late")


def test_an_opener_may_answer_with_a_whole_response(port: int) -> None:
    response, body = get(port, "nothing")
    assert (response.status, body) == (204, b"")


def test_a_stream_of_nothing_is_an_empty_answer(port: int) -> None:
    response, body = get(port, "empty")
    assert (response.status, body) == (200, b"")


def test_head_has_the_headers_and_closes_the_work(port: int) -> None:
    response, body = get(port, "middle", "HEAD")
    assert (response.status, body, response.headers["Content-Type"]) == (200, b"", "text/xml")
    assert WORK.closed.wait(PROMPTLY_S)
    assert get(port, "refuses", "HEAD")[0].status == 503


def test_zstd_is_sent_where_it_is_asked_for(port: int) -> None:
    _, body = get(port, "words")
    packed, small = get(port, "words", **{"Accept-Encoding": "gzip;q=0.8, zstd"})
    assert packed.headers["Content-Encoding"] == "zstd" and len(small) < len(body) / 2
    with pa.CompressedInputStream(pa.BufferReader(small), "zstd") as stream:
        assert stream.read() == body


def test_gzip_is_sent_where_it_is_asked_for_and_only_there(port: int) -> None:
    plain, body = get(port, "words")
    assert plain.headers["Content-Encoding"] is None and plain.headers["Vary"] == "Accept-Encoding"
    packed, small = get(port, "words", **{"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip" and len(small) < len(body) / 2
    assert gzip.decompress(small) == body


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_the_first_bytes_of_a_slow_compressed_stream_come_at_once(port: int, coding: str) -> None:
    client = socket.create_connection(("127.0.0.1", port), timeout=5)
    client.sendall(f"GET /middle HTTP/1.1\r\nHost: x\r\nAccept-Encoding: {coding}\r\n\r\n".encode())
    seen = b""
    while b"\r\n\r\n" not in seen or len(seen.split(b"\r\n\r\n", 1)[1]) < 14:
        seen += client.recv(4096)
    assert not WORK.cancelled.is_set()
    client.close()
    assert WORK.cancelled.wait(PROMPTLY_S)


@pytest.mark.parametrize(
    ("header", "expected"),
    [("gzip", "gzip"), ("gzip, deflate", "gzip"), ("x-gzip", "gzip"), ("*", "gzip"), ("identity", None), ("", None),
     ("gzip;q=0", None), ("*;q=0.5, gzip;q=0", None), ("GZIP; q=0.1", "gzip"), ("gzip;q=x", None), ("br", None),
     ("gzip, deflate, br, zstd", "zstd"), ("zstd;q=0.5, gzip", "gzip"), ("zstd;q=0, gzip;q=0.2", "gzip"),
     ("zstd", "zstd"), ("identity;q=1, gzip;q=0.5", None), ("gzip;q=1, identity;q=0.5", "gzip"), ("zstd;q=0", None)],
)  # fmt: skip
def test_accept_encoding_is_read_as_http_means_it(header: str, expected: str | None) -> None:
    assert content_coding(header) == expected
