"""How each protocol's client hears of an error, and how a handler gets its service.

A router takes the route class of its protocol: `APIRouter(route_class=DaliRoute)`. Handlers raise archive.vo.errors
and catch nothing. A fault that is no ArchiveError is ours: its traceback goes to the log, and the client gets a 500
that does not show it.
"""

from collections.abc import Callable, Coroutine, Mapping
from inspect import get_annotations, iscoroutinefunction
from typing import Any, TypeVar, cast

import structlog
from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from archive.vo.errors import (
    ArchiveError,
    AuthenticationError,
    AuthorizationError,
    NotFoundError,
    TooLargeError,
    UnavailableError,
    UsageError,
)
from archive.vo.streaming import StreamedResponse
from archive.vo.votable import Info, votable_error

logger = structlog.get_logger(__name__)

REALM = "Uraniborg"
CHALLENGES = (f'Bearer realm="{REALM}"', f'Basic realm="{REALM}", charset="UTF-8"')
INTERNAL = "The service failed; this has been logged, and is not a fault of the request."

Service = TypeVar("Service")
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class InternalError(ArchiveError):
    """Stands for a fault of ours where a client hears of it: no details."""


def archive_error(error: Exception) -> ArchiveError:
    """The error in the archive's own words. What nobody foresaw is logged here with its traceback."""
    if isinstance(error, ArchiveError):
        return error
    if isinstance(error, RequestValidationError):
        return UsageError("; ".join(_complaint(detail) for detail in error.errors()))
    if isinstance(error, HTTPException):
        kinds: dict[int, type[ArchiveError]] = {
            401: AuthenticationError,
            403: AuthorizationError,
            404: NotFoundError,
            413: TooLargeError,
            503: UnavailableError,
        }
        told = kinds.get(error.status_code, UsageError if error.status_code < 500 else InternalError)(error.detail)
        told.status = error.status_code
        return told
    logger.error("unexpected failure", exc_info=error)
    return InternalError(INTERNAL)


def _complaint(detail: Mapping[str, Any]) -> str:
    """One finding of pydantic's, as "CIRCLE: what is wrong"."""
    place = [str(part) for part in detail.get("loc", ()) if part not in ("query", "body", "path", "header", "form")]
    cause = detail.get("ctx", {}).get("error")
    message = str(cause) if isinstance(cause, Exception) else str(detail.get("msg", "is not valid"))
    return f"{'.'.join(place)}: {message}" if place else message


def error_headers(error: ArchiveError) -> dict[str, str]:
    """What HTTP itself wants to be told: when to come again, and how to say who one is (RFC 9110 §10.2.3, §11.6.1)."""
    headers = {}
    if isinstance(error, UnavailableError):
        headers["Retry-After"] = str(error.retry_after_s)
    if error.status == AuthenticationError.status:
        bearer, *others = CHALLENGES
        problem = error.problem if isinstance(error, AuthenticationError) else None
        headers["WWW-Authenticate"] = ", ".join([bearer + (f', error="{problem}"' if problem else ""), *others])
    return headers


def is_browser(request: Request) -> bool:
    """Whether a page is wanted. Java says text/html too, and wants none."""
    return "application/xhtml+xml" in request.headers.get("accept", "")


def request_id(request: Request) -> str:
    """What the log knows the request by, and X-Request-ID tells (archive.app.wire); empty where nobody gave it one."""
    return str(request.scope.get("state", {}).get("request_id", ""))


def words(error: ArchiveError, request: Request) -> str:
    """The error's text. Of what is ours to mend it ends with what an operator needs to find it in the log."""
    known = request_id(request)
    return f"{error} [request {known}]" if known and error.status >= InternalError.status else str(error)


def _identified(request: Request) -> tuple[Info, ...]:
    known = request_id(request)
    return (Info("request_id", known),) if known else ()


def votable_document(error: ArchiveError, request: Request) -> Response:
    """The error as TAP, SIA and DataLink clients read it (DALI 1.1 §4.2, §4.4.2)."""
    body = votable_error(words(error, request), infos=_identified(request))
    return Response(body, error.status, error_headers(error), media_type="application/x-votable+xml")


def soda_text(error: ArchiveError, request: Request) -> Response:
    """The error as SODA has it: plain text that begins with the error's code (SODA 1.0 §5.2)."""
    return PlainTextResponse(f"{error.code}: {words(error, request)}\n", error.status, error_headers(error))


SIA_FAULTS = ("UsageFault", "TransientFault", "FatalFault", "DefaultFault")


def sia_document(error: ArchiveError, request: Request) -> Response:
    """The error as SIA has it: a VOTable whose text begins with the kind of fault (SIA 2.0 §3.2)."""
    fault = error.fault if error.fault in SIA_FAULTS else UsageError.fault
    body = votable_error(f"{fault}: {words(error, request)}", infos=_identified(request))
    return Response(body, error.status, error_headers(error), media_type="application/x-votable+xml")


def sia1_document(error: ArchiveError, request: Request) -> Response:
    """The error as SIA 1 has it (SIA 1.0 §6.2): text/xml, a mistake in the request with 200, as of SSA."""
    return Response(votable_error(str(error)), _older(error), error_headers(error), media_type="text/xml")


def ssa_document(error: ArchiveError, request: Request) -> Response:
    """The error as SSA has it (SSA 1.1 §8.10): a mistake in the request with 200, or its clients show no text."""
    service = Info("SERVICE_PROTOCOL", "1.1", "SSAP")
    body = votable_error(words(error, request), infos=(service, *_identified(request)))
    return Response(body, _older(error), error_headers(error), media_type="application/x-votable+xml")


def scs_document(error: ArchiveError, request: Request) -> Response:
    """The error as Simple Cone Search has it (SCS 1.03 §2.3): INFO name="Error", text/xml, 200 as of SSA."""
    text = words(error, request)
    body = votable_error(text, infos=(Info("Error", text, id="Error"), *_identified(request)))
    return Response(body, _older(error), error_headers(error), media_type="text/xml")


def _older(error: ArchiveError) -> int:
    return 200 if error.status == UsageError.status else error.status


def plain_document(error: ArchiveError, request: Request) -> Response:
    """The error for the archive's own faces: JSON (RFC 9457) where the client asks for JSON, else text."""
    headers = error_headers(error)
    if "json" in request.headers.get("accept", "").lower():
        problem = {"title": error.code, "status": error.status, "detail": str(error), "request_id": request_id(request)}
        return JSONResponse(problem, error.status, headers, media_type="application/problem+json")
    return PlainTextResponse(f"{words(error, request)}\n", error.status, headers)


def _asks_for_the_request_alone(endpoint: Callable[..., Any]) -> bool:
    """Whether it is `async def endpoint(request: Request) -> Response`, which needs nobody before it."""
    told = get_annotations(endpoint, eval_str=True)
    return iscoroutinefunction(endpoint) and list(told.items()) == [("request", Request), ("return", Response)]


class TellingRoute(APIRoute):
    """A route that answers errors in its protocol's form, those of a streamed answer too."""

    @staticmethod
    def document(error: ArchiveError, request: Request) -> Response:
        raise NotImplementedError

    def get_route_handler(self) -> Handler:
        # What FastAPI would look for, a small query would wait for.
        handler = self.endpoint if _asks_for_the_request_alone(self.endpoint) else super().get_route_handler()

        async def handle(request: Request) -> Response:
            async def tell(error: Exception) -> Response:
                # What the archive stands on, the database for one, has errors of its own: the front door knows them.
                translate = getattr(request.app.state, "translate_error", None)
                return self.document(archive_error(translate(error) if translate else error), request)

            try:
                response = await handler(request)
            except Exception as error:
                return await tell(error)
            if isinstance(response, StreamedResponse):
                response.tell_error = tell
            return response

        return handle


class DaliRoute(TellingRoute):
    """TAP, DataLink: a VOTable document with QUERY_STATUS=ERROR."""

    document = staticmethod(votable_document)


class SiaRoute(TellingRoute):
    """SIA 2: the same, its text beginning with UsageFault and the like."""

    document = staticmethod(sia_document)


class Sia1Route(TellingRoute):
    """SIA 1: the same as text/xml, and 200 for a mistake in the request."""

    document = staticmethod(sia1_document)


class SsaRoute(TellingRoute):
    """SSA: the same, with SSA's INFO, and 200 for a mistake in the request."""

    document = staticmethod(ssa_document)


class ScsRoute(TellingRoute):
    """Simple Cone Search: a VOTable with an INFO named Error."""

    document = staticmethod(scs_document)


class SodaRoute(TellingRoute):
    """SODA: text that begins with a code."""

    document = staticmethod(soda_text)


class PlainRoute(TellingRoute):
    """Files, the store, UWS children, VOSI: text, or JSON where asked."""

    document = staticmethod(plain_document)


def provided(kind: type[Service]) -> Any:
    """A dependency that gives the handler its service: `Annotated[CutoutService, provided(CutoutService)]`.

    The front door puts each room's services into `app.state.services`, a mapping from type to object.
    """

    async def give(request: Request) -> Service:  # async, because nothing blocks: no trip to a thread
        return service(request, kind)

    return Depends(give)


def service(request: Request, kind: type[Service]) -> Service:
    """The service that `provided` gives."""
    services = cast(Mapping[type[Any], Any], request.app.state.services)
    return cast(Service, services[kind])
