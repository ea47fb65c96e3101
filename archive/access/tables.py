"""The tables of schema acl: who is known, their tokens (hashes only), what was granted, what was done."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

SCHEMA = "acl"
metadata = sa.MetaData(
    schema=SCHEMA,
    naming_convention={
        "ix": "%(table_name)s_%(column_0_name)s_idx",
        "uq": "%(table_name)s_%(column_0_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "pk": "%(table_name)s_pkey",
    },
)
_moment = sa.DateTime(timezone=True)

user = sa.Table(
    "user",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("groups", ARRAY(sa.Text), nullable=False, server_default=sa.text("'{}'::text[]")),
    sa.Column("is_operator", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("created", _moment, nullable=False, server_default=sa.func.now()),
)

token = sa.Table(
    "token",
    metadata,
    sa.Column("token_id", sa.Text, primary_key=True),
    sa.Column("user_name", sa.Text, sa.ForeignKey("acl.user.name", ondelete="CASCADE"), nullable=False, index=True),
    # argon2id of the secret part; the token itself is shown once, to the one who asked for it, and kept nowhere
    sa.Column("secret_hash", sa.Text, nullable=False),
    sa.Column("label", sa.Text, nullable=False, server_default=""),
    sa.Column("scope", sa.Text, nullable=False, server_default="all"),
    sa.Column("created", _moment, nullable=False, server_default=sa.func.now()),
    sa.Column("expires", _moment),
    sa.Column("last_used", _moment),
)

grant_rule = sa.Table(
    "grant_rule",
    metadata,
    sa.Column("grant_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("subject", sa.Text, nullable=False, index=True),
    sa.Column("scope_kind", sa.Text, nullable=False),
    sa.Column("scope", sa.Text, nullable=False),
    sa.Column("what", sa.Text, nullable=False),
    sa.Column("valid_from", _moment),
    sa.Column("valid_to", _moment),
    sa.Column("granted_by", sa.Text, nullable=False),
    sa.Column("granted_at", _moment, nullable=False, server_default=sa.func.now()),
    sa.CheckConstraint("scope_kind IN ('run', 'programme', 'collection', 'instrument', 'all')", name="scope_kind"),
    sa.CheckConstraint("what IN ('data', 'metadata', 'phase3', 'curate')", name="what"),
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("audit_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("audit_time", _moment, nullable=False, server_default=sa.func.now(), index=True),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("deed", sa.Text, nullable=False),
    sa.Column("object_id", sa.Text, nullable=False),
    sa.Column("decision", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
)
