"""origins of published tables."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0004"
down_revision = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column(
        "published",
        sa.Column(
            "origin",
            postgresql.JSONB(),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
            comment="archive.vo.origin",
        ),
        schema="arc",
    )
    op.create_index("event_kind_event_time_idx", "event", ["kind", "event_time"], schema="store")
