"""The store's own tables, schema `store`. What is asked of them is in catalogue.py.

`event` is the one feed of the whole archive. Append to it with catalogue.append_event only.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

SCHEMA = "store"

metadata = MetaData(
    schema=SCHEMA,
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    },
)

event = Table(
    "event",
    metadata,
    Column("entry", BigInteger, Identity(always=True), primary_key=True, comment="order of writing, with gaps"),
    Column("event_id", BigInteger, comment="place in the feed, without gaps; null until numbered"),
    # xid8 has no cast to bigint but by text; bigint, because tools that compare schemas know it.
    Column(
        "xid",
        BigInteger,
        nullable=False,
        server_default=text("(pg_current_xact_id()::text::bigint)"),
        comment="the transaction that wrote it",
    ),
    Column("event_time", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column(
        "kind", Text, nullable=False, comment="archived, removed, published, ...: a word of the room that writes it"
    ),
    Column("file_id", Text),
    Column("version", Integer),
    Column("detail", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    CheckConstraint("kind <> ''", name="kind"),
)
Index("event_event_id_key", event.c.event_id, unique=True)
# When something of a kind happened last.
Index("event_kind_event_time_idx", event.c.kind, event.c.event_time)
# Only the few that wait for their number are in it.
Index("event_waiting_idx", event.c.xid, event.c.entry, postgresql_where=event.c.event_id.is_(None))

stored_object = Table(
    "object",
    metadata,
    Column("volume", Text, primary_key=True),
    # Collation C sorts by bytes, as the volumes list: scrub compares the two as streams.
    Column("key", Text(collation="C"), primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("md5", Text, nullable=False),
    Column("created", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    CheckConstraint("size_bytes >= 0", name="size_bytes"),
    CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="sha256"),
    CheckConstraint("md5 ~ '^[0-9a-f]{32}$'", name="md5"),
)
