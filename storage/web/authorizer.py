"""Who may do what through the store's faces. The faces ask an Authorizer; the archive gives its own, a node this one.

A credential is an access token, as Bearer (RFC 6750) or as the password of HTTP Basic (RFC 7617), the user name free.
"""

import base64
import binascii
import hmac
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, Protocol

from storage.errors import Unauthenticated

Action = Literal["read", "write", "administer"]
OPERATOR = "operator"


class Authorizer(Protocol):
    """Decides over requests. Blocking, from many threads at once; nothing that it raises tells a secret."""

    def allow(self, action: Action, file_id: str | None, headers: Mapping[str, str]) -> str | None:
        """Let the action be done to a file, or (None) to what is no single file: lists, feed, volumes, containers.

        headers: of the request, names in lower case. Gives the user's name, None for nobody in particular.
        Raises Unauthenticated (401, with both challenges()), Forbidden (403), and ObjectNotFound for a file of whose
        very existence this user must not know.
        """


class TokenAuthorizer:
    """For a node that stands alone: whoever has the token in a file may do all, others read.

    token_file: its whole text is the token; read again at each credential, so that a new one counts at once.
    public: whether reading needs nobody.
    """

    def __init__(self, token_file: Path, *, public: bool = True) -> None:
        self._token_file, self._public = token_file, public

    def allow(self, action: Action, file_id: str | None, headers: Mapping[str, str]) -> str | None:
        """See Authorizer.allow."""
        token = token_of(headers)
        if token is not None:
            self._check(token)
            return OPERATOR
        if action == "read" and self._public:
            return None
        raise Unauthenticated("this needs the operator's token, as Bearer or as the password of Basic")

    def _check(self, token: str) -> None:
        try:
            right = self._token_file.read_text().strip()
        except OSError:
            right = ""
        # A file that is empty or not there lets nobody in, whatever they send.
        if not right or not hmac.compare_digest(token.encode(), right.encode()):
            raise Unauthenticated("the access token is not known here", invalid=True)


def token_of(headers: Mapping[str, str]) -> str | None:
    """The token that a request carries; None without one. Unauthenticated for a credential that is none."""
    scheme, _, value = headers.get("authorization", "").strip().partition(" ")
    if not scheme:
        return None
    value = value.strip()
    if scheme.lower() == "basic":
        try:
            _, colon, value = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError, ValueError):
            colon = ""
        if not colon:
            raise Unauthenticated("the Basic credential is not base64 of NAME:TOKEN", invalid=True)
    elif scheme.lower() != "bearer":
        raise Unauthenticated("only the schemes Bearer and Basic are known here", invalid=True)
    if not value:
        raise Unauthenticated("the credential has no token in it", invalid=True)
    return value


def challenges(problem: Unauthenticated, realm: str = "store") -> Iterator[str]:
    """The values of WWW-Authenticate, one a header, of a 401 (RFC 9110 §11.6.1, RFC 6750 §3)."""
    error = ', error="invalid_token"' if problem.invalid else ""
    yield f'Bearer realm="{realm}"{error}'
    yield f'Basic realm="{realm}", charset="UTF-8"'
