"""Access tokens: what one looks like, how it is hashed, how an Authorization header carries it. No database.

A token is ``ub_<id>_<secret>``. The id finds its row; of the secret only an argon2id hash is kept. No message made here
holds a token, so that none can reach a log.
"""

import base64
import binascii
import hashlib
import re
import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from archive.vo.errors import AuthenticationError

_FORM = re.compile(r"ub_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


class InvalidTokenError(AuthenticationError):
    """A credential was sent and is not valid (RFC 6750 §3.1: 401, invalid_token). Never answered as anonymous."""

    problem = "invalid_token"


@dataclass(frozen=True, slots=True)
class Token:
    """A token in the clear, for the one moment between being made, or sent, and being forgotten."""

    token_id: str
    secret: str = field(repr=False)

    @property
    def text(self) -> str:
        return f"ub_{self.token_id}_{self.secret}"

    @classmethod
    def new(cls) -> "Token":
        """48 bits of id, 256 bits of secret."""
        return cls(secrets.token_hex(6), secrets.token_urlsafe(32))

    @classmethod
    def from_text(cls, text: str) -> "Token":
        match = _FORM.fullmatch(text)
        if match is None:
            raise InvalidTokenError(
                "What was sent is no access token, which looks like ub_<id>_<secret>: copy it again as it was shown."
            )
        return cls(match[1], match[2])


@dataclass(frozen=True, slots=True)
class Credentials:
    """What an Authorization header says. user_name: the Basic scheme's, None for Bearer or when left empty."""

    token: Token
    user_name: str | None = None


def credentials(authorization: str | None) -> Credentials | None:
    """Read an Authorization header; None when there is none (anonymous).

    Bearer (RFC 6750 §2.1) and Basic with the token as password (RFC 7617) are known. Anything else raises
    InvalidTokenError, for one who sends a credential must not silently be served as anonymous.
    """
    if authorization is None or not authorization.strip():
        return None
    scheme, _, value = authorization.strip().partition(" ")
    if scheme.lower() == "bearer":
        return Credentials(Token.from_text(value.strip()))
    if scheme.lower() == "basic":
        try:
            user_name, colon, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise InvalidTokenError("The Basic credential is not base64 of NAME:TOKEN.") from None
        if not colon:
            raise InvalidTokenError("The Basic credential is not base64 of NAME:TOKEN.")
        return Credentials(Token.from_text(password), user_name or None)
    raise InvalidTokenError(
        "Only the schemes Bearer (with an access token) and Basic (with an access token as password) are accepted here."
    )


class Secrets:
    """Hashes secrets with argon2id and checks them, remembering those that were right.

    A check costs tens of milliseconds by design; a client asks many times a second. What is remembered is which hash a
    secret was right for, under the SHA-256 of the secret, so a row that is gone, expired or changed is never served
    from here. ttl_s: seconds; size: entries kept, the least recently used go first.
    """

    def __init__(self, *, ttl_s: float = 300.0, size: int = 1024) -> None:
        self._hasher = PasswordHasher()
        self._ttl_s = ttl_s
        self._size = size
        self._known: OrderedDict[bytes, tuple[str, float]] = OrderedDict()
        self._lock = threading.Lock()

    def hashed(self, token: Token) -> str:
        return self._hasher.hash(token.secret)

    def matches(self, token: Token, secret_hash: str) -> bool:
        digest = hashlib.sha256(token.text.encode()).digest()
        now = time.monotonic()
        with self._lock:
            known = self._known.get(digest)
            if known is not None and known[0] == secret_hash and now < known[1]:
                self._known.move_to_end(digest)
                return True
        try:
            self._hasher.verify(secret_hash, token.secret)
        except (VerificationError, InvalidHashError):
            return False
        with self._lock:
            self._known[digest] = (secret_hash, now + self._ttl_s)
            self._known.move_to_end(digest)
            while len(self._known) > self._size:
                self._known.popitem(last=False)
        return True
