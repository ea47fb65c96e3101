"""own tables."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "own_space",
        sa.Column("owner", sa.Text(), nullable=False, comment="name of the user whose schema it is"),
        sa.Column("schema_name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("owner", name=op.f("pk_own_space")),
        sa.UniqueConstraint("schema_name", name=op.f("uq_own_space_schema_name")),
        schema="arc",
    )
    op.create_table(
        "own_table",
        sa.Column("table_name", sa.Text(), nullable=False, comment="as a user types it"),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("row_count", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False, comment="of its cells, as the quota counts them"),
        sa.Column("made", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["owner"], ["arc.own_space.owner"], name=op.f("fk_own_table_owner")),
        sa.PrimaryKeyConstraint("table_name", name=op.f("pk_own_table")),
        schema="arc",
    )
    op.create_index(op.f("ix_own_table_owner"), "own_table", ["owner"], unique=False, schema="arc")
    op.create_table(
        "own_share",
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False, comment="user:NAME or group:NAME, who may read it"),
        sa.ForeignKeyConstraint(
            ["table_name"], ["arc.own_table.table_name"], name=op.f("fk_own_share_table_name"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("table_name", "subject", name=op.f("pk_own_share")),
        schema="arc",
    )
    op.create_index(op.f("ix_own_share_subject"), "own_share", ["subject"], unique=False, schema="arc")
