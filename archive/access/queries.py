"""What this room asks of schema acl. Each function takes a connection, whose transaction is the caller's."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from archive.access.identity import User
from archive.access.rights import Grant
from archive.access.tables import audit, grant_rule, token, user


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token as it is kept, without its secret; times have a zone."""

    token_id: str
    user: User
    secret_hash: str
    label: str
    scope: str
    created: datetime
    expires: datetime | None
    last_used: datetime | None


def _user(row: sa.RowMapping) -> User:
    return User(row["name"], frozenset(row["groups"]), is_operator=row["is_operator"])


def user_named(connection: Connection, name: str) -> User | None:
    row = connection.execute(sa.select(user).where(user.c.name == name)).mappings().one_or_none()
    return None if row is None else _user(row)


def is_there(connection: Connection, kind: str, name: str) -> bool:
    """Whether there is a user of this name, or one in the group of this name. kind: "user" or "group"."""
    found = user.c.name == name if kind == "user" else sa.literal(name) == sa.any_(user.c.groups)
    return bool(connection.execute(sa.select(sa.exists().where(found))).scalar_one())


def users(connection: Connection) -> list[User]:
    return [_user(row) for row in connection.execute(sa.select(user).order_by(user.c.name)).mappings()]


def add_user(connection: Connection, name: str, groups: Sequence[str], *, is_operator: bool) -> bool:
    """Make the user, or add groups and office to one who is there; true if they are new. Takes nothing away."""
    values = {"name": name, "groups": sorted(set(groups)), "is_operator": is_operator}
    made = connection.execute(insert(user).values(values).on_conflict_do_nothing().returning(user.c.name)).first()
    if made is None and (groups or is_operator):
        statement = sa.select(user.c.groups, user.c.is_operator).where(user.c.name == name).with_for_update()
        old_groups, was_operator = connection.execute(statement).one()
        new = {"groups": sorted({*old_groups, *groups}), "is_operator": was_operator or is_operator}
        connection.execute(sa.update(user).where(user.c.name == name).values(new))
    return made is not None


def add_token(connection: Connection, values: dict[str, Any]) -> None:
    connection.execute(sa.insert(token).values(values))


def token_with_id(connection: Connection, token_id: str) -> TokenRow | None:
    statement = sa.select(token, user).join(user, user.c.name == token.c.user_name).where(token.c.token_id == token_id)
    row = connection.execute(statement).first()
    return None if row is None else _token(row)


def tokens(connection: Connection) -> list[TokenRow]:
    statement = sa.select(token, user).join(user, user.c.name == token.c.user_name).order_by(token.c.created)
    return [_token(row) for row in connection.execute(statement)]


def _token(row: sa.Row[Any]) -> TokenRow:
    # Both tables have a column "created", so values are taken by column, never by name.
    at = row._mapping
    return TokenRow(
        at[token.c.token_id],
        User(at[user.c.name], frozenset(at[user.c.groups]), is_operator=at[user.c.is_operator]),
        at[token.c.secret_hash],
        at[token.c.label],
        at[token.c.scope],
        at[token.c.created],
        at[token.c.expires],
        at[token.c.last_used],
    )


def note_use(connection: Connection, token_id: str, now: datetime) -> None:
    connection.execute(sa.update(token).where(token.c.token_id == token_id).values(last_used=now))


def delete_token(connection: Connection, token_id: str) -> bool:
    return connection.execute(sa.delete(token).where(token.c.token_id == token_id)).rowcount > 0


def delete_tokens_labelled(connection: Connection, user_name: str, label: str) -> None:
    connection.execute(sa.delete(token).where(token.c.user_name == user_name, token.c.label == label))


def grants_of(connection: Connection, subjects: frozenset[str], now: datetime) -> list[Grant]:
    """The grants to any of the subjects that hold at `now`."""
    g = grant_rule.c
    statement = sa.select(g.subject, g.scope_kind, g.scope, g.what, g.valid_from, g.valid_to).where(
        g.subject.in_(sorted(subjects)),
        sa.or_(g.valid_from.is_(None), g.valid_from <= now),
        sa.or_(g.valid_to.is_(None), g.valid_to > now),
    )
    return [Grant(*row) for row in connection.execute(statement)]


def add_grant(connection: Connection, grant: Grant, granted_by: str) -> int:
    values = {
        "subject": grant.subject,
        "scope_kind": grant.scope_kind,
        "scope": grant.scope,
        "what": grant.what,
        "valid_from": grant.valid_from,
        "valid_to": grant.valid_to,
        "granted_by": granted_by,
    }
    return int(connection.execute(sa.insert(grant_rule).values(values).returning(grant_rule.c.grant_id)).scalar_one())


def delete_grant(connection: Connection, grant_id: int) -> bool:
    return connection.execute(sa.delete(grant_rule).where(grant_rule.c.grant_id == grant_id)).rowcount > 0


def note(connection: Connection, subject: str, deed: str, object_id: str, decision: str, reason: str = "") -> None:
    """Write a line of the audit."""
    values = {"subject": subject, "deed": deed, "object_id": object_id, "decision": decision, "reason": reason}
    connection.execute(sa.insert(audit).values(values))


USE_RESOLUTION = timedelta(minutes=1)
