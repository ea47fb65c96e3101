"""previews."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "preview",
        sa.Column("file_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("object_key", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False, comment="pixel"),
        sa.Column("height", sa.Integer(), nullable=False, comment="pixel"),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("md5", sa.Text(), nullable=False),
        sa.Column("made", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("role IN ('preview','thumbnail')", name=op.f("ck_preview_role")),
        sa.ForeignKeyConstraint(
            ["file_id", "version"],
            ["arc.file.file_id", "arc.file.version"],
            name=op.f("fk_preview_file_id_version"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("file_id", "version", "role", name=op.f("pk_preview")),
        schema="arc",
    )
