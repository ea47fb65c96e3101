"""What users' schemas and tables are called. Pure."""

import hashlib
import re

from archive.vo.columns import OWN
from archive.vo.errors import UsageError

_TABLE = re.compile(r"[a-z][a-z0-9_]*")
_HASHED = re.compile(r".*_[0-9a-f]{8}")
LONGEST = 63  # bytes, PostgreSQL's own


def schema_of(user: str) -> str:
    """The schema of a user: `user_NAME`, or what is left of an odd name with a hash of the whole."""
    safe = re.sub(r"[^a-z0-9_]", "_", user.lower())
    if safe == user and len(safe) <= 40 and not _HASHED.fullmatch(safe):
        return OWN + safe
    return f"{OWN}{safe[:40]}_{hashlib.sha256(user.encode()).hexdigest()[:8]}"


def checked_name(name: str) -> str:
    """The whole name of a table as it is kept: lower case. UsageError where it cannot be one.

    Quotes are refused rather than taken off: what has to be quoted is no name here.
    """
    schema, dot, table = name.lower().partition(".")
    if not dot or not _TABLE.fullmatch(schema) or not _TABLE.fullmatch(table) or len(table) > LONGEST:
        raise UsageError(
            f"{name!r} is no name of a table: SCHEMA.TABLE, where TABLE is a letter, then letters, digits and "
            f"underscores, {LONGEST} at most"
        )
    return f"{schema}.{table}"
