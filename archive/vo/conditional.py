"""What a client that has a document already is told: 304 (RFC 9110 §13), by the validators it sends."""

import hashlib
from collections.abc import Callable
from datetime import datetime

from fastapi import Request
from fastapi.responses import Response

from archive.vo.validators import Validators


def answered(request: Request, validators: Validators, answer: Callable[[], Response]) -> Response:
    """The answer, or 304 for a client that has it; the validators are told with either."""
    headers = validators.headers()
    response = Response(status_code=304) if validators.are_known_to(request.headers) else answer()
    response.headers.update(headers)
    return response


def document(request: Request, body: bytes, media_type: str, modified: datetime | None = None) -> Response:
    """A document that is at hand: its ETag is its content's."""
    validators = Validators.of(hashlib.sha256(body).hexdigest(), modified=modified)
    return answered(request, validators, lambda: Response(body, media_type=media_type))
