"""objects that may lack a copy are noted when a copy changes, and found without going through all."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0009"
down_revision = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "unsettled",
        sa.Column("object_id", sa.BigInteger(), nullable=False),
        sa.Column("noted", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        schema="store",
    )
    op.create_index("unsettled_object_id_idx", "unsettled", ["object_id"], schema="store")
    op.create_index("unsettled_noted_idx", "unsettled", ["noted"], schema="store")
    op.execute(
        """
        CREATE FUNCTION store.note_copy() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO store.unsettled (object_id) VALUES (coalesce(NEW.object_id, OLD.object_id));
            RETURN NULL;
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER copy_noted AFTER INSERT OR DELETE OR UPDATE OF state ON store.copy"
        " FOR EACH ROW EXECUTE FUNCTION store.note_copy()"
    )
    # Without a row here the first run goes through all that is there already.
    op.create_table(
        "walk",
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column(
            "wanted",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="of every object; if that is another now, it begins again",
        ),
        sa.Column("after", sa.BigInteger(), nullable=True, comment="object_id up to which it went; null: through all"),
        sa.Column("moment", sa.DateTime(timezone=True), nullable=False, comment="when it went so far"),
        sa.PrimaryKeyConstraint("what", name=op.f("walk_pkey")),
        schema="store",
    )
