"""DALI's parameters as pyvo, astroquery, STILTS and curl send them."""

import io
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI
from fastapi.responses import Response
from fastapi.testclient import TestClient

from archive.vo.dali import MultiValuedError, Parameters, RequestLimits, UploadedFile, parameters
from archive.vo.errors import UsageError
from archive.vo.routes import DaliRoute
from archive.vo.streaming import StreamedResponse

STILTS_BOUNDARY = "<<<--------------MULTIPART-BOUNDARY------->>>"


@pytest.fixture
def client() -> Iterator[TestClient]:
    router = APIRouter(route_class=DaliRoute)

    @router.api_route("/echo", methods=["GET", "POST"])
    def echo(asked: Annotated[Parameters, Depends(parameters)]) -> dict[str, Any]:
        return {
            "items": list(asked.items()),
            "uploads": [
                [upload.name, upload.url, upload.file and [upload.file.media_type, upload.file.file.read().decode()]]
                for upload in asked.uploads()
            ],
        }

    @router.post("/later")
    def later(asked: Annotated[Parameters, Depends(parameters)]) -> Response:
        (upload,) = asked.uploads()
        assert upload.file is not None
        return StreamedResponse(lambda file=upload.file.file: iter([file.read()]), media_type="text/plain")

    app = FastAPI()
    app.include_router(router)
    app.state.services = {RequestLimits: RequestLimits(body_bytes=5000, value_bytes=1000)}
    with TestClient(app) as test_client:
        yield test_client


def test_query_and_form_are_one_set_of_parameters_in_any_case(client: TestClient) -> None:
    answer = client.post("/echo?lang=ADQL&Empty=", data={"Query": "SELECT 'Ærø'", "maxRec": "5"}).json()
    assert sorted(answer["items"]) == [["LANG", "ADQL"], ["MAXREC", "5"], ["QUERY", "SELECT 'Ærø'"]]


def parts(boundary: str, lead: str = "") -> bytes:
    """The body that STILTS sends (captured): text parts with a charset, the table in a part of its own."""
    text = "Content-Type: text/plain; charset=UTF-8\r\n"
    body = lead
    for name, value in (("QUERY", "SELECT 1"), ("UPLOAD", "up1,param:upload_up1")):
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n{text}\r\n{value}\r\n'
    body += (
        f'--{boundary}\r\nContent-Disposition: form-data; name="upload_up1"; filename="upload_up1"\r\n'
        f"Content-Type: application/x-votable+xml\r\n\r\n<VOTABLE/>\r\n--{boundary}--\r\n"
    )
    return body.encode()


@pytest.mark.parametrize("lead", ["", "\r\n"])
@pytest.mark.parametrize("boundary", [STILTS_BOUNDARY, "===1795329761858===", "0123456789abcdef0123456789abcdef"])
@pytest.mark.parametrize("quote", ['"', ""])
def test_multipart_is_read_as_the_clients_send_it(client: TestClient, boundary: str, lead: str, quote: str) -> None:
    body = parts(boundary, lead)
    content_type = f"multipart/form-data; boundary={quote}{boundary}{quote}"

    def chunks() -> Iterator[bytes]:
        for start in range(0, len(body), 100):
            yield body[start : start + 100]

    for content in (body, chunks()):
        answer = client.post("/echo", content=content, headers={"Content-Type": content_type}).json()
        assert answer["items"] == [["QUERY", "SELECT 1"], ["UPLOAD", "up1,param:upload_up1"]]
        assert answer["uploads"] == [["up1", None, ["application/x-votable+xml", "<VOTABLE/>"]]]


def test_an_uploaded_part_can_be_read_while_the_answer_is_streamed(client: TestClient) -> None:
    headers = {"Content-Type": f'multipart/form-data; boundary="{STILTS_BOUNDARY}"'}
    assert client.post("/later", content=parts(STILTS_BOUNDARY), headers=headers).text == "<VOTABLE/>"


def test_a_request_beyond_the_limits_is_refused_with_and_without_a_length(client: TestClient) -> None:
    def endless() -> Iterator[bytes]:
        yield parts(STILTS_BOUNDARY)[:-60]
        for _ in range(1000):
            yield b"x" * 100

    headers = {"Content-Type": f'multipart/form-data; boundary="{STILTS_BOUNDARY}"'}
    assert client.post("/echo", content=endless(), headers=headers).status_code == 413
    answer = client.post("/echo", content=b"x" * 6000, headers=headers)
    assert answer.status_code == 413 and b"5000" in answer.content
    answer = client.post("/echo", data={"QUERY": "x" * 2000})
    assert answer.status_code == 413 and b'value="ERROR"' in answer.content


def test_a_broken_form_is_the_users_error(client: TestClient) -> None:
    for content_type in ("multipart/form-data", "multipart/form-data; boundary=x"):
        answer = client.post("/echo", content=b"--y\r\n", headers={"Content-Type": content_type})
        assert answer.status_code == 400 and b"form of the request" in answer.content


def test_several_values_of_one_parameter_are_an_error_unless_they_agree() -> None:
    asked = Parameters([("MAXREC", "1"), ("maxrec", "2"), ("FORMAT", "csv"), ("RESPONSEFORMAT", "csv"), ("POL", "I")])
    with pytest.raises(MultiValuedError, match="MAXREC takes one value"):
        asked.single("maxrec")
    assert asked.responseformat().media_type == "text/csv;header=present"
    assert asked.all("pol") == ("I",) and "Pol" in asked and asked.single("nothing") is None
    with pytest.raises(UsageError, match="QUERY is missing"):
        asked.required("QUERY")


@pytest.mark.parametrize(
    ("given", "expected"), [(None, 100), ("0", 0), ("50", 50), ("1000", 500), (" 7 ", 7), ("999999999999999999", 500)]
)
def test_maxrec_is_what_was_asked_within_the_hard_limit(given: str | None, expected: int) -> None:
    asked = Parameters([("MAXREC", given)] if given is not None else [])
    assert asked.maxrec(default=100, hard=500) == expected


@pytest.mark.parametrize("given", ["-1", "ten", "1.5", "1e3", "٣"])
def test_a_maxrec_that_is_no_count_is_refused(given: str) -> None:
    with pytest.raises(UsageError, match="MAXREC"):
        Parameters([("MAXREC", given)]).maxrec(100, 500)


FILE = UploadedFile(io.BytesIO(b""))


def uploads(*values: str) -> list[tuple[str, str | None, bool]]:
    asked = Parameters([("Part", FILE), *(("UPLOAD", value) for value in values)])
    return [(upload.name, upload.url, upload.file is FILE) for upload in asked.uploads()]


def test_upload_takes_parts_and_urls_several_times_and_in_the_way_of_tap_1_0() -> None:
    assert uploads() == []
    assert uploads("a,param:part") == [("a", None, True)]
    expected = [("a", None, True), ("b_2", "http://h/x?y;z", False)]
    assert uploads("a,param:Part", " b_2 , http://h/x?y;z") == expected
    assert uploads("a,param:Part;b_2,http://h/x?y;z;") == expected
    assert uploads("c,https://h/a,b") == [("c", "https://h/a,b", False)]


@pytest.mark.parametrize(
    "value",
    ["a", "a,", ",param:part", "1a,param:part", "a b,param:part", "a.b,param:part", "a,param:other", "a,ftp://h/x",
     "a,file:///etc/passwd", "a,http:///x", "a,part", "a,param:part;A,param:part"],
)  # fmt: skip
def test_an_upload_that_cannot_be_meant_is_refused(value: str) -> None:
    with pytest.raises(UsageError, match="UPLOAD"):
        uploads(value)
