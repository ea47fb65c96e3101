"""subscriptions to what comes in."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "subscription",
        sa.Column("subscr_id", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("start", sa.DateTime(timezone=True), nullable=False, comment="files that came in from then on"),
        sa.Column("filter", sa.Text(), nullable=True, comment="pattern of LIKE for file_ids; null: all"),
        sa.Column(
            "priority", sa.Integer(), server_default=sa.text("10"), nullable=False, comment="the lower goes first"
        ),
        sa.Column("suspended", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "last_event", sa.BigInteger(), nullable=False, comment="event_id up to which the feed was gone through"
        ),
        sa.Column(
            "last_date",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when the newest of what was delivered came in",
        ),
        sa.Column("threads", sa.Integer(), server_default=sa.text("1"), nullable=False, comment="deliveries at once"),
        sa.CheckConstraint("threads >= 1", name=op.f("subscription_threads_check")),
        sa.PrimaryKeyConstraint("subscr_id", name=op.f("subscription_pkey")),
        schema="store",
    )
    op.create_table(
        "undelivered",
        sa.Column("subscr_id", sa.Text(), nullable=False),
        sa.Column("file_id", sa.Text(collation="C"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("next_try", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["subscr_id"],
            ["store.subscription.subscr_id"],
            name=op.f("undelivered_subscr_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("subscr_id", "file_id", "version", name=op.f("undelivered_pkey")),
        schema="store",
    )
    op.create_index("undelivered_subscr_id_next_try_idx", "undelivered", ["subscr_id", "next_try"], schema="store")
