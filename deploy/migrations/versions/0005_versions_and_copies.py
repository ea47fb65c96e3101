"""objects have versions and copies.

Until here store.object had a row for each copy, found by volume and key. Its rows become objects and their copies:
files that were ingested under their file_id and version, all others under their key.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.execute("ALTER TABLE store.object RENAME TO former_object")
    for name in ("pkey", "md5_check", "sha256_check", "size_bytes_check"):
        op.execute(f"ALTER TABLE store.former_object RENAME CONSTRAINT object_{name} TO former_object_{name}")
    op.create_table(
        "container",
        sa.Column("container_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("parent_id", sa.BigInteger(), nullable=True),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("name <> ''", name=op.f("container_name_check")),
        sa.ForeignKeyConstraint(["parent_id"], ["store.container.container_id"], name=op.f("container_parent_id_fkey")),
        sa.PrimaryKeyConstraint("container_id", name=op.f("container_pkey")),
        schema="store",
    )
    op.create_index("container_parent_id_idx", "container", ["parent_id"], schema="store")
    op.create_table(
        "object",
        sa.Column("object_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("file_id", sa.Text(collation="C"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("container_id", sa.BigInteger(), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("md5", sa.Text(), nullable=False),
        sa.Column("crc32c", sa.Text(), nullable=True, comment="null of objects older than this column"),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "removed", sa.DateTime(timezone=True), nullable=True, comment="since when its bytes are no longer promised"
        ),
        sa.CheckConstraint("crc32c ~ '^[0-9a-f]{8}$'", name=op.f("object_crc32c_check")),
        sa.CheckConstraint("file_id <> ''", name=op.f("object_file_id_check")),
        sa.CheckConstraint("md5 ~ '^[0-9a-f]{32}$'", name=op.f("object_md5_check")),
        sa.CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name=op.f("object_sha256_check")),
        sa.CheckConstraint("size_bytes >= 0", name=op.f("object_size_bytes_check")),
        sa.CheckConstraint("version >= 1", name=op.f("object_version_check")),
        sa.ForeignKeyConstraint(
            ["container_id"], ["store.container.container_id"], name=op.f("object_container_id_fkey")
        ),
        sa.PrimaryKeyConstraint("object_id", name=op.f("object_pkey")),
        schema="store",
    )
    op.create_index("object_file_id_version_key", "object", ["file_id", "version"], unique=True, schema="store")
    op.create_index(
        "object_container_id_idx",
        "object",
        ["container_id", "file_id"],
        schema="store",
        postgresql_where=sa.text("container_id IS NOT NULL"),
    )
    op.create_table(
        "copy",
        sa.Column("object_id", sa.BigInteger(), nullable=False),
        sa.Column("volume", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(collation="C"), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'ok'"), nullable=False),
        sa.Column(
            "verified",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when its bytes were last read and found right",
        ),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("state IN ('ok', 'pending', 'missing', 'corrupt')", name=op.f("copy_state_check")),
        sa.ForeignKeyConstraint(
            ["object_id"], ["store.object.object_id"], name=op.f("copy_object_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("object_id", "volume", name=op.f("copy_pkey")),
        schema="store",
    )
    op.create_index("copy_volume_key_key", "copy", ["volume", "key"], unique=True, schema="store")
    op.create_index(
        "copy_volume_verified_idx", "copy", ["volume", sa.literal_column("verified NULLS FIRST")], schema="store"
    )
    op.create_index(
        "copy_state_idx", "copy", ["state", "volume"], schema="store", postgresql_where=sa.text("state != 'ok'")
    )
    op.create_table(
        "volume",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("class", sa.Text(), nullable=False, comment="what kind of place it is: online, nearline, cache, ..."),
        sa.Column("state", sa.Text(), server_default=sa.text("'online'"), nullable=False),
        sa.Column("capacity_bytes", sa.BigInteger(), nullable=True, comment="null: it cannot say"),
        sa.Column(
            "watermark_bytes",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="free bytes left alone",
        ),
        sa.CheckConstraint("capacity_bytes >= 0 AND watermark_bytes >= 0", name=op.f("volume_bytes_check")),
        sa.CheckConstraint("kind IN ('posix', 's3')", name=op.f("volume_kind_check")),
        sa.CheckConstraint("state IN ('online', 'readonly', 'draining', 'offline')", name=op.f("volume_state_check")),
        sa.PrimaryKeyConstraint("name", name=op.f("volume_pkey")),
        schema="store",
    )
    # A key is one object's on any volume, so copies of it are the rows of equal keys.
    op.execute(
        "INSERT INTO store.object (file_id, version, size_bytes, media_type, sha256, md5, created)"
        " SELECT coalesce(f.file_id, o.key), coalesce(f.version, 1), o.size_bytes, f.media_type, o.sha256, o.md5, o.created"
        " FROM (SELECT DISTINCT ON (key) * FROM store.former_object ORDER BY key, created) o"
        " LEFT JOIN arc.file f ON f.object_key = o.key ORDER BY o.created, o.key"
    )
    op.execute(
        "INSERT INTO store.copy (object_id, volume, key, created)"
        " SELECT n.object_id, o.volume, o.key, o.created FROM store.former_object o"
        " LEFT JOIN arc.file f ON f.object_key = o.key"
        " JOIN store.object n ON n.file_id = coalesce(f.file_id, o.key) AND n.version = coalesce(f.version, 1)"
    )
    op.drop_table("former_object", schema="store")
