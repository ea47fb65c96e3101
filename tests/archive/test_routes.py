"""Each protocol hears of an error in its own form, and never of our insides."""

from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from typing import Annotated, Any

import pytest
from astropy.io import votable
from fastapi import APIRouter, Depends, FastAPI, Query
from fastapi.testclient import TestClient
from structlog.testing import capture_logs

from archive.vo.errors import (
    AuthenticationError,
    NotFoundError,
    ProprietaryError,
    QueryError,
    UnavailableError,
    UsageError,
)
from archive.vo.routes import DaliRoute, PlainRoute, SodaRoute, provided

ERRORS: dict[str, Exception] = {
    "query": QueryError("expected FROM", 1, 10),
    "missing": NotFoundError("no such product: <x>"),
    "who": AuthenticationError("say who you are"),
    "secret": ProprietaryError("public from 2030", anonymous=False, release_date=datetime(2030, 1, 1, tzinfo=UTC)),
    "early": ProprietaryError("public from 2030", anonymous=True, release_date=None),
    "busy": UnavailableError("too many", retry_after_s=3),
    "ours": RuntimeError("password=hunter2"),
}


class Greeter:
    word = "hello"


def circle(value: Annotated[str, Query(alias="CIRCLE")] = "0 0 1") -> str:
    if value != "0 0 1":
        raise UsageError(f"CIRCLE takes three numbers, not {value!r}")
    return value


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    app = FastAPI()
    app.state.services = {Greeter: Greeter()}
    for prefix, route in (("/dali", DaliRoute), ("/soda", SodaRoute), ("/plain", PlainRoute)):
        router = APIRouter(prefix=prefix, route_class=route)

        @router.get("/raise/{name}")
        def raises(name: str) -> None:
            raise ERRORS[name]

        @router.get("/checked")
        def checked(where: Annotated[str, Depends(circle)], n: Annotated[int, Query(alias="N", le=9)]) -> int:
            return n

        @router.get("/greet")
        def greet(greeter: Annotated[Greeter, provided(Greeter)]) -> str:
            return greeter.word

        app.include_router(router)
    with TestClient(app) as test_client:
        yield test_client


def told(content: bytes) -> tuple[str, str | None]:
    resource = votable.parse(BytesIO(content)).resources[0]
    (info,) = resource.infos
    assert (resource.type, info.name) == ("results", "QUERY_STATUS")
    return info.value, info.content


@pytest.mark.parametrize(
    ("name", "status", "text"),
    [
        ("query", 400, "line 1, column 10: expected FROM"),
        ("missing", 404, "no such product: <x>"),
        ("who", 401, "say who you are"),
        ("secret", 403, "public from 2030"),
        ("early", 401, "public from 2030"),
        ("busy", 503, "too many"),
    ],
)
def test_an_error_has_its_status_and_its_text_in_every_form(
    client: TestClient, name: str, status: int, text: str
) -> None:
    dali = client.get(f"/dali/raise/{name}")
    assert dali.status_code == status and told(dali.content) == ("ERROR", text)
    assert dali.headers["Content-Type"] == "application/x-votable+xml"
    soda = client.get(f"/soda/raise/{name}")
    assert soda.status_code == status and text in soda.text and soda.headers["Content-Type"].startswith("text/plain")
    plain = client.get(f"/plain/raise/{name}")
    assert plain.status_code == status and plain.text == text + "\n"
    as_json: dict[str, Any] = client.get(f"/plain/raise/{name}", headers={"Accept": "application/json"}).json()
    assert as_json["status"] == status and as_json["detail"] == text


@pytest.mark.parametrize(
    ("name", "code"),
    [("query", "UsageError"), ("missing", "Error"), ("who", "AuthenticationError"), ("secret", "AuthorizationError"),
     ("busy", "ServiceUnavailable"), ("ours", "Error")],
)  # fmt: skip
def test_soda_errors_begin_with_their_code(client: TestClient, name: str, code: str) -> None:
    """SODA-05."""
    assert client.get(f"/soda/raise/{name}").text.startswith(f"{code}: ")


@pytest.mark.parametrize("form", ["dali", "soda", "plain"])
def test_a_fault_of_ours_is_logged_whole_and_told_without_details(client: TestClient, form: str) -> None:
    with capture_logs() as logs:
        answer = client.get(f"/{form}/raise/ours")
    assert answer.status_code == 500 and "hunter2" not in answer.text and "RuntimeError" not in answer.text
    (entry,) = logs
    assert entry["log_level"] == "error" and "hunter2" in str(entry["exc_info"])


@pytest.mark.parametrize("form", ["dali", "soda", "plain"])
def test_http_is_told_when_to_come_again_and_how_to_say_who_one_is(client: TestClient, form: str) -> None:
    assert client.get(f"/{form}/raise/busy").headers["Retry-After"] == "3"
    for name in ("who", "early"):
        challenge = client.get(f"/{form}/raise/{name}").headers["WWW-Authenticate"]
        assert 'Bearer realm="' in challenge and 'Basic realm="' in challenge
    assert "WWW-Authenticate" not in client.get(f"/{form}/raise/secret").headers


def test_a_parameter_that_fastapi_refuses_is_told_in_the_same_form(client: TestClient) -> None:
    answer = client.get("/dali/checked", params={"N": "ten"})
    assert answer.status_code == 400 and (told(answer.content)[1] or "").startswith("N: ")
    assert client.get("/soda/checked").text.startswith("UsageError: N: ")
    answer = client.get("/plain/checked", params={"N": "10"})
    assert answer.status_code == 400 and answer.text.startswith("N: ")
    assert told(client.get("/dali/checked?N=1&CIRCLE=x").content) == ("ERROR", "CIRCLE takes three numbers, not 'x'")
    assert client.get("/dali/checked?N=1").json() == 1


def test_a_handler_gets_the_service_that_the_front_door_provided(client: TestClient) -> None:
    assert client.get("/plain/greet").json() == "hello"
