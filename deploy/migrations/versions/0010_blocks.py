"""checksums of an object's blocks, by which parts of it are verified."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    # What is there already has its rows when its bytes are read again.
    op.create_table(
        "block",
        sa.Column("object_id", sa.BigInteger(), nullable=False),
        sa.Column("crc32c", sa.LargeBinary(), nullable=False, comment="of each 256 KiB: big-endian, four bytes each"),
        sa.ForeignKeyConstraint(
            ["object_id"], ["store.object.object_id"], name=op.f("block_object_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("object_id", name=op.f("block_pkey")),
        schema="store",
    )
