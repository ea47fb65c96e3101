"""Recognising who asks, deciding what they may have, and keeping users, tokens and grants."""

import contextlib
import os
import secrets as random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Engine

from archive.access import queries
from archive.access.identity import ANONYMOUS, OPERATOR, User
from archive.access.rights import SCOPE_KINDS, WHATS, Decision, Grant, ProductFacts, may_download, refusal
from archive.access.tokens import Credentials, InvalidTokenError, Secrets, Token, credentials
from archive.vo.errors import NotFoundError, UsageError

OPERATOR_TOKEN_LABEL = "operator.token"  # noqa: S105 - a label, not a secret
SCOPES = ("all",)
_OPERATOR_TOKEN_LOCK = 0x75726F_746F6B  # "uro" "tok": any number no other advisory lock of ours has


def utc_now() -> datetime:
    return datetime.now(UTC)


class AccessService:
    """writer: an engine that may write schema acl. secrets: checks token secrets, remembering the right ones."""

    def __init__(self, writer: Engine, *, secrets: Secrets | None = None) -> None:
        self._writer = writer
        self._secrets = secrets or Secrets()

    def user_of(self, authorization: str | None, now: datetime | None = None) -> User:
        """The user whose token the Authorization header carries; ANONYMOUS without a header.

        Raises InvalidTokenError (401) for a credential that is malformed, unknown, revoked or expired. The token's row
        is read at each request, so a revocation counts at once.
        """
        given = credentials(authorization)
        if given is None:
            return ANONYMOUS
        moment = now or utc_now()
        with self._writer.connect() as connection:
            row = queries.token_with_id(connection, given.token.token_id)
        if row is None or not self._secrets.matches(given.token, row.secret_hash):
            raise InvalidTokenError("The access token is not known here: it may have been revoked. Ask for a new one.")
        if row.expires is not None and row.expires <= moment:
            raise InvalidTokenError(f"The access token expired on {row.expires:%Y-%m-%dT%H:%M:%SZ}. Ask for a new one.")
        _check_name(given, row.user)
        if row.last_used is None or moment - row.last_used > queries.USE_RESOLUTION:
            with self._writer.begin() as connection:
                queries.note_use(connection, row.token_id, moment)
        return row.user

    def user_named(self, name: str | None) -> User:
        """The user with this name, as of now; None is the anonymous. Raises NotFoundError if there is none such."""
        if name is None:
            return ANONYMOUS
        with self._writer.connect() as connection:
            found = queries.user_named(connection, name)
        if found is None:
            raise NotFoundError(f"There is no user {name} any more.")
        return found

    def demand_subject(self, subject: str) -> None:
        """UsageError, NotFoundError unless it is "user:NAME" of a user or "group:NAME" of a group with a user in it."""
        kind, _, name = subject.partition(":")
        if kind not in ("user", "group") or not name:
            raise UsageError(f"{subject!r} names nobody: write user:NAME or group:NAME.")
        with self._writer.connect() as connection:
            if not queries.is_there(connection, kind, name):
                raise NotFoundError(f"There is no {kind} {name}.")

    def decide(self, user: User, product: ProductFacts, now: datetime | None = None) -> Decision:
        """May the user download the product? Reads grants only when the product is not public."""
        return self.decide_all(user, [product], now)[0]

    def decide_all(self, user: User, products: Sequence[ProductFacts], now: datetime | None = None) -> list[Decision]:
        """A decision for each product, in their order, with one query for all."""
        moment = now or utc_now()
        decisions = [may_download(user, product, (), moment) for product in products]
        # An operator is asked again too: a grant that covers the file is a better reason than the office.
        if user.is_anonymous or all(decision.reason == "public" for decision in decisions):
            return decisions
        with self._writer.connect() as connection:
            grants = queries.grants_of(connection, user.subjects, moment)
        return [may_download(user, product, grants, moment) for product in products]

    def demand(
        self, user: User, product: ProductFacts, deed: str = "download", now: datetime | None = None
    ) -> Decision:
        """decide(), raising ProprietaryError on a refusal. What is allowed but not public is audited."""
        decision = self.decide(user, product, now)
        if not decision.allowed:
            raise refusal(user, product, decision)
        if decision.reason != "public":
            with self._writer.begin() as connection:
                queries.note(connection, f"user:{user.name}", deed, product.file_id, "allowed", decision.reason)
        return decision


def _check_name(given: Credentials, user: User) -> None:
    # Clients without a field for "none" send "token" or repeat the scheme's name; another user's name is a mistake.
    if given.user_name not in (None, "token", user.name):
        raise InvalidTokenError("The user name sent with the access token is not that of its owner.")


def add_user(writer: Engine, name: str, groups: Sequence[str] = (), *, is_operator: bool = False) -> bool:
    """Make a user, or put one who exists into more groups; true if they are new."""
    for word in (name, *groups):
        # ":" would break a subject ("user:NAME") and the Basic scheme, which ends the name at the first one.
        if not word or not word.isprintable() or any(letter in ":," or letter.isspace() for letter in word):
            raise UsageError(
                f"{word!r} is no name for a user or group: no blanks, commas or colons, at least a letter."
            )
    with writer.begin() as connection:
        is_new = queries.add_user(connection, name, groups, is_operator=is_operator)
        queries.note(connection, f"user:{name}", "user add", name, "done", ",".join(groups))
    return is_new


def create_token(
    writer: Engine, user_name: str, *, expires_days: float | None = 365.0, label: str = "", scope: str = "all"
) -> Token:
    """Make a token for a user who exists; its text is seen here and never again. expires_days: None is never."""
    if scope not in SCOPES:
        raise UsageError(f"{scope!r} is no scope of a token: one of {', '.join(SCOPES)}.")
    if expires_days is not None and not 0 < expires_days <= 36_500:
        raise UsageError(f"A token lives more than 0 and at most 36500 days, not {expires_days}.")
    made = Token.new()
    expires = None if expires_days is None else utc_now() + timedelta(days=expires_days)
    with writer.begin() as connection:
        if queries.user_named(connection, user_name) is None:
            raise NotFoundError(f"There is no user {user_name}: make one with `uraniborg user add {user_name}`.")
        values = {"token_id": made.token_id, "user_name": user_name, "secret_hash": Secrets().hashed(made)}
        queries.add_token(connection, {**values, "label": label, "scope": scope, "expires": expires})
        queries.note(connection, f"user:{user_name}", "token create", made.token_id, "done", label)
    return made


def revoke_token(writer: Engine, token_id: str) -> None:
    """Delete a token by its id, or by its whole text; NotFoundError if there is none such."""
    short = token_id.removeprefix("ub_")[:12]
    with writer.begin() as connection:
        if not queries.delete_token(connection, short):
            raise NotFoundError(f"There is no token {short}: `uraniborg token list` shows those that are there.")
        queries.note(connection, "operator", "token revoke", short, "done")


def add_grant(writer: Engine, grant: Grant, *, granted_by: str) -> int:
    """Record a grant; its id. Raises UsageError for a subject, scope or deed that no rule knows."""
    kind, colon, name = grant.subject.partition(":")
    if kind not in ("user", "group") or not colon or not name:
        raise UsageError(f"{grant.subject!r} is no subject of a grant: write user:NAME or group:NAME.")
    if grant.scope_kind not in SCOPE_KINDS or grant.what not in WHATS:
        raise UsageError(f"A grant is of {', '.join(WHATS)} by {', '.join(SCOPE_KINDS)}.")
    if (grant.scope == "") != (grant.scope_kind == "all"):
        raise UsageError("A grant by run, programme, collection or instrument names which; one by all names none.")
    with writer.begin() as connection:
        if kind == "user" and queries.user_named(connection, name) is None:
            raise NotFoundError(f"There is no user {name}: make one with `uraniborg user add {name}`.")
        grant_id = queries.add_grant(connection, grant, granted_by)
        queries.note(connection, grant.subject, "grant", f"{grant.scope_kind} {grant.scope}", "done", grant.what)
    return grant_id


def revoke_grant(writer: Engine, grant_id: int) -> None:
    with writer.begin() as connection:
        if not queries.delete_grant(connection, grant_id):
            raise NotFoundError(f"There is no grant {grant_id}.")
        queries.note(connection, "operator", "grant revoke", str(grant_id), "done")


def ensure_operator_token(writer: Engine, path: Path) -> bool:
    """See to it that `path` (mode 600) holds a token of the operator that works; true if a new one was made.

    The file is written beside and renamed, so it is there whole or not at all; a crash between the row and the file
    leaves a token nobody knows, which the next call removes.
    """
    with writer.begin() as connection:
        # Two processes that start together must not each revoke the token that the other writes down.
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_OPERATOR_TOKEN_LOCK)))
        return _ensure_operator_token(writer, path)


def _ensure_operator_token(writer: Engine, path: Path) -> bool:
    if path.exists():
        try:
            if AccessService(writer).user_of(f"Bearer {path.read_text().strip()}").is_operator:
                path.chmod(0o600)
                return False
        except InvalidTokenError:
            path.unlink()
    add_user(writer, OPERATOR, is_operator=True)
    with writer.begin() as connection:
        queries.delete_tokens_labelled(connection, OPERATOR, OPERATOR_TOKEN_LABEL)
    made = create_token(writer, OPERATOR, expires_days=None, label=OPERATOR_TOKEN_LABEL)
    beside = path.with_name(f".{path.name}.{random.token_hex(4)}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(made.text + "\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()
    return True
