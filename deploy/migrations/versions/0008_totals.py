"""what takes long to count is kept; indexes for what is to be read again, and for removals to be finished."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0008"
down_revision = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "counted",
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("moment", sa.DateTime(timezone=True), nullable=False, comment="when it was counted"),
        sa.Column("took", sa.Interval(), nullable=False),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("what", name=op.f("counted_pkey")),
        schema="store",
    )
    op.create_index(
        "copy_sound_idx",
        "copy",
        ["volume", sa.literal_column("verified NULLS FIRST")],
        schema="store",
        postgresql_where=sa.text("state = 'ok'"),
    )
    op.drop_index("copy_volume_verified_idx", table_name="copy", schema="store")
    op.create_index(
        "object_removed_idx",
        "object",
        ["object_id"],
        schema="store",
        postgresql_where=sa.text("removed IS NOT NULL"),
    )
