"""The store's own tables, schema `store`. What is asked of them is in catalogue.py and feed.py.

A container holds files, an object is a version of a file, a copy is where its bytes lie, on a volume.
`event` is the one feed of the whole archive. Append to it with feed.append_event only.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Interval,
    LargeBinary,
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
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
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

container = Table(
    "container",
    metadata,
    Column("container_id", BigInteger, Identity(), primary_key=True),
    Column("name", Text, nullable=False),
    Column("parent_id", BigInteger, ForeignKey("store.container.container_id")),
    Column("created", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    CheckConstraint("name <> ''", name="name"),
)
Index("container_parent_id_idx", container.c.parent_id)

# A version of a file. One that was removed stays, so that its number is never given again.
stored_object = Table(
    "object",
    metadata,
    # Taken from its sequence while a put runs, and so greater than that of any earlier try: rebuild.py relies on it.
    Column("object_id", BigInteger, Identity(), primary_key=True),
    # Collation C sorts by bytes: a listing by prefix is a range of the index.
    Column("file_id", Text(collation="C"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("container_id", BigInteger, ForeignKey(container.c.container_id)),
    Column("size_bytes", BigInteger, nullable=False),
    Column("media_type", Text),
    Column("sha256", Text, nullable=False),
    Column("md5", Text, nullable=False),
    Column("crc32c", Text, comment="null of objects older than this column"),
    Column("created", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("removed", DateTime(timezone=True), comment="since when its bytes are no longer promised"),
    CheckConstraint("file_id <> ''", name="file_id"),
    CheckConstraint("version >= 1", name="version"),
    CheckConstraint("size_bytes >= 0", name="size_bytes"),
    CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="sha256"),
    CheckConstraint("md5 ~ '^[0-9a-f]{32}$'", name="md5"),
    CheckConstraint("crc32c ~ '^[0-9a-f]{8}$'", name="crc32c"),
)
Index("object_file_id_version_key", stored_object.c.file_id, stored_object.c.version, unique=True)
# Most objects are in no container.
Index(
    "object_container_id_idx",
    stored_object.c.container_id,
    stored_object.c.file_id,
    postgresql_where=stored_object.c.container_id.is_not(None),
)
# Removals that may be unfinished.
Index("object_removed_idx", stored_object.c.object_id, postgresql_where=stored_object.c.removed.is_not(None))

# Checksums of an object's blocks, by which parts of it are verified. Of one that is no larger than a block there is no
# row; and none, until its bytes are read again, of one that is older than this table or came by a rebuild.
block = Table(
    "block",
    metadata,
    Column("object_id", BigInteger, ForeignKey(stored_object.c.object_id, ondelete="CASCADE"), primary_key=True),
    Column("crc32c", LargeBinary, nullable=False, comment="of each 256 KiB: big-endian, four bytes each"),
)

# Where an object's bytes lie, or should lie.
copy = Table(
    "copy",
    metadata,
    Column("object_id", BigInteger, ForeignKey(stored_object.c.object_id, ondelete="CASCADE"), primary_key=True),
    Column("volume", Text, primary_key=True),
    # Collation C sorts by bytes, as the volumes list: scrub compares the two as streams.
    Column("key", Text(collation="C"), nullable=False),
    Column("state", Text, nullable=False, server_default=text("'ok'")),
    Column("verified", DateTime(timezone=True), comment="when its bytes were last read and found right"),
    Column("created", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    CheckConstraint("state IN ('ok', 'pending', 'missing', 'corrupt')", name="state"),
)
Index("copy_volume_key_key", copy.c.volume, copy.c.key, unique=True)
# Which sound copy of a volume was verified longest ago: scrub's order.
Index("copy_sound_idx", copy.c.volume, copy.c.verified.nulls_first(), postgresql_where=copy.c.state == "ok")
# Few are not as they should be.
Index("copy_state_idx", copy.c.state, copy.c.volume, postgresql_where=copy.c.state != "ok")

# Objects that may lack a copy: one of theirs came, went or changed since replicate.py looked, or they lacked one then.
# Rows are added and taken, never changed, and an object may have several: whoever changes a copy waits for nobody.
unsettled = Table(
    "unsettled",
    metadata,
    Column("object_id", BigInteger, nullable=False),
    Column("noted", DateTime(timezone=True), nullable=False, server_default=text("now()")),
)
Index("unsettled_object_id_idx", unsettled.c.object_id)
Index("unsettled_noted_idx", unsettled.c.noted)

# By the database, so that no way to change a copy is forgotten. A migration of the archive makes it; a node, its start.
NOTE_COPIES = (
    """
    CREATE FUNCTION store.note_copy() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO store.unsettled (object_id) VALUES (coalesce(NEW.object_id, OLD.object_id));
        RETURN NULL;
    END $$
    """,
    "CREATE TRIGGER copy_noted AFTER INSERT OR DELETE OR UPDATE OF state ON store.copy"
    " FOR EACH ROW EXECUTE FUNCTION store.note_copy()",
)

# How far replicate.py has gone through all objects.
walk = Table(
    "walk",
    metadata,
    Column("what", Text, primary_key=True),
    Column("wanted", JSONB, nullable=False, comment="of every object; if that is another now, it begins again"),
    Column("after", BigInteger, comment="object_id up to which it went; null: through all"),
    Column("moment", DateTime(timezone=True), nullable=False, comment="when it went so far"),
)

volume = Table(
    "volume",
    metadata,
    Column("name", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("site", Text, nullable=False),
    Column("class", Text, nullable=False, comment="what kind of place it is: online, nearline, cache, ..."),
    Column("state", Text, nullable=False, server_default=text("'online'")),
    Column("capacity_bytes", BigInteger, comment="null: it cannot say"),
    Column("watermark_bytes", BigInteger, nullable=False, server_default=text("0"), comment="free bytes left alone"),
    CheckConstraint("kind IN ('posix', 's3')", name="kind"),
    CheckConstraint("state IN ('online', 'readonly', 'draining', 'offline')", name="state"),
    CheckConstraint("capacity_bytes >= 0 AND watermark_bytes >= 0", name="bytes"),
)

# What takes long to count, as it was a while ago (totals.py).
counted = Table(
    "counted",
    metadata,
    Column("what", Text, primary_key=True),
    Column("moment", DateTime(timezone=True), nullable=False, comment="when it was counted"),
    Column("took", Interval, nullable=False),
    Column("detail", JSONB, nullable=False),
)

# Who is sent what comes in, as QARCHIVE of NGAS.
subscription = Table(
    "subscription",
    metadata,
    Column("subscr_id", Text, primary_key=True),
    Column("url", Text, nullable=False),
    Column("start", DateTime(timezone=True), nullable=False, comment="files that came in from then on"),
    Column("filter", Text, comment="pattern of LIKE for file_ids; null: all"),
    Column("priority", Integer, nullable=False, server_default=text("10"), comment="the lower goes first"),
    Column("suspended", Boolean, nullable=False, server_default=text("false")),
    Column("last_event", BigInteger, nullable=False, comment="event_id up to which the feed was gone through"),
    Column("last_date", DateTime(timezone=True), comment="when the newest of what was delivered came in"),
    Column("threads", Integer, nullable=False, server_default=text("1"), comment="deliveries at once"),
    CheckConstraint("threads >= 1", name="threads"),
)

# What a subscriber did not take, to be tried again.
undelivered = Table(
    "undelivered",
    metadata,
    Column("subscr_id", Text, ForeignKey(subscription.c.subscr_id, ondelete="CASCADE"), primary_key=True),
    Column("file_id", Text(collation="C"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("tries", Integer, nullable=False),
    Column("next_try", DateTime(timezone=True), nullable=False),
    Column("reason", Text, nullable=False),
)
Index("undelivered_subscr_id_next_try_idx", undelivered.c.subscr_id, undelivered.c.next_try)


# Another store that this one follows.
site = Table(
    "site",
    metadata,
    Column("name", Text, primary_key=True),
    Column("url", Text, nullable=False),
    Column("prefix", Text, nullable=False, server_default="", comment="of the file_ids that are wanted"),
    Column("last_event", BigInteger, nullable=False, server_default="0", comment="of its feed, dealt with here"),
    Column("suspended", Boolean, nullable=False, server_default=text("false")),
    Column("problem", Text, comment="what the last run met; null: nothing"),
    CheckConstraint("name <> ''", name="name"),
)
