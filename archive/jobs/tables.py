"""The table of UWS jobs. procrastinate's own tables, in schema jobs, are made by queue.install."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

SCHEMA = "uws"
metadata = sa.MetaData(
    schema=SCHEMA,
    naming_convention={
        "ix": "%(table_name)s_%(column_0_name)s_idx",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "pk": "%(table_name)s_pkey",
    },
)
# Milliseconds, as UWS documents tell them: what a client is shown and what AFTER and LAST compare is one value.
_moment = sa.dialects.postgresql.TIMESTAMP(timezone=True, precision=3)
_list = sa.text("'[]'::jsonb")

job = sa.Table(
    "job",
    metadata,
    sa.Column("job_id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("run_id", sa.Text),
    sa.Column("owner", sa.Text),
    sa.Column("phase", sa.Text, nullable=False, server_default="PENDING"),
    sa.Column("quote", _moment),
    sa.Column("creation_time", _moment, nullable=False, server_default=sa.func.now()),
    sa.Column("start_time", _moment),
    sa.Column("end_time", _moment),
    sa.Column("execution_duration_s", sa.Integer, nullable=False, server_default="0"),
    sa.Column("destruction", _moment),
    sa.Column("parameters", JSONB, nullable=False, server_default=_list),
    sa.Column("uploads", JSONB, nullable=False, server_default=_list),
    sa.Column("results", JSONB, nullable=False, server_default=_list),
    sa.Column("error", JSONB),
    sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
    # Which entry of the queue may run this job. A worker that was taken for dead and comes back has an older one.
    sa.Column("procrastinate_id", sa.BigInteger),
    sa.CheckConstraint("execution_duration_s >= 0", name="execution_duration_s"),
    sa.CheckConstraint(
        "phase IN ('PENDING', 'QUEUED', 'EXECUTING', 'COMPLETED', 'ERROR', 'ABORTED', 'UNKNOWN', 'HELD', 'SUSPENDED',"
        " 'ARCHIVED')",
        name="phase",
    ),
    sa.Index("job_owner_creation_time_idx", "owner", "kind", "creation_time"),
    sa.Index("job_destruction_idx", "destruction"),
    sa.Index("job_active_idx", "phase", postgresql_where=sa.text("phase IN ('QUEUED', 'EXECUTING')")),
)
