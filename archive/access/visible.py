"""The rule of rights.py as SQL, for views and queries that must say or filter it row by row.

The texts hold no user's value: columns come from our own declarations and are quoted here, the clock is the database's
`now()` or a parameter.
"""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import ColumnElement

from archive.access.identity import User
from archive.access.tables import grant_rule

COLUMNS = ("rights", "release_date", "obs_collection", "proposal_id", "instrument_name")


def public_sql(rights: str = "rights", release_date: str = "release_date", *, table: str | None = None) -> str:
    """An SQL predicate, true (never null) where anyone may download the row's file now."""
    kind, date = _quoted(rights, table), _quoted(release_date, table)
    return (
        f"(COALESCE({kind} = 'public' AND ({date} IS NULL OR {date} <= now()), false)"
        f" OR COALESCE({kind} = 'proprietary' AND {date} <= now(), false))"
    )


def data_rights_sql(rights: str = "rights", release_date: str = "release_date", *, table: str | None = None) -> str:
    """An SQL expression for ObsCore's data_rights: 'public', 'proprietary' or 'secure', as of now()."""
    kind = _quoted(rights, table)
    return (
        f"CASE WHEN {public_sql(rights, release_date, table=table)} THEN 'public'"
        f" WHEN {kind} IN ('public', 'proprietary') THEN 'proprietary' ELSE 'secure' END"
    )


def may_download_clause(
    user: User, product: sa.FromClause, *, now: datetime | None = None, columns: tuple[str, ...] = COLUMNS
) -> ColumnElement[bool]:
    """may_download() as a condition on the rows of `product`, grants read from acl.grant_rule.

    columns: what `product` calls rights, release_date, obs_collection, proposal_id, instrument_name, in this order.
    now: with a time zone; None is the database's clock.
    """
    moment: ColumnElement[datetime] = sa.func.now() if now is None else sa.literal(now, sa.DateTime(timezone=True))
    rights, released, collection, run, instrument = (product.c[name] for name in columns)
    public = sa.or_(
        sa.and_(rights == "public", sa.or_(released.is_(None), released <= moment)),
        sa.and_(rights == "proprietary", released.is_not(None), released <= moment),
    )
    if user.is_operator:
        return sa.true()
    if user.is_anonymous:
        return public
    grant = grant_rule.alias()
    length = sa.func.length(grant.c.scope)
    covers = sa.or_(
        grant.c.scope_kind == "all",
        sa.and_(grant.c.scope_kind.in_(("run", "programme")), run == grant.c.scope),
        sa.and_(
            grant.c.scope_kind == "programme",
            sa.func.left(run, length) == grant.c.scope,
            sa.func.substr(run, length + 1, 1).in_(("(", ".")),
        ),
        sa.and_(grant.c.scope_kind == "collection", collection == grant.c.scope),
        sa.and_(grant.c.scope_kind == "instrument", instrument == grant.c.scope),
    )
    granted = sa.exists().where(
        grant.c.subject.in_(sorted(user.subjects)),
        grant.c.what == "data",
        sa.or_(grant.c.valid_from.is_(None), grant.c.valid_from <= moment),
        sa.or_(grant.c.valid_to.is_(None), moment < grant.c.valid_to),
        covers,
    )
    return sa.or_(public, granted)


def _quoted(column: str, table: str | None) -> str:
    parts = [column] if table is None else [table, column]
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)
