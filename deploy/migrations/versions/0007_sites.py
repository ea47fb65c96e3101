"""other stores are followed."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "site",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), server_default="", nullable=False, comment="of the file_ids that are wanted"),
        sa.Column(
            "last_event", sa.BigInteger(), server_default="0", nullable=False, comment="of its feed, dealt with here"
        ),
        sa.Column("suspended", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True, comment="what the last run met; null: nothing"),
        sa.CheckConstraint("name <> ''", name=op.f("site_name_check")),
        sa.PrimaryKeyConstraint("name", name=op.f("site_pkey")),
        schema="store",
    )
