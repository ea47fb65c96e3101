"""procrastinate, the queue: its tables in schema jobs, and how an entry is made in the transaction that needs it.

Nothing else of the archive names procrastinate's tables or functions, but runner.py, which runs its worker.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib import resources
from pathlib import Path
from typing import Any

import procrastinate
import psycopg
import sqlalchemy as sa
from procrastinate.schema import SchemaManager
from sqlalchemy import Connection

SCHEMA = "jobs"
TASK_PREFIX = "uws."
DEFAULT_QUEUE = "default"
TURNS = 1_000_000
"""procrastinate's priorities for each of ours: within one of ours the turns of those who wait (`defer`)."""
_INSTALL_LOCK = 0x75726F_6A6F62
# What is added to procrastinate's own: indexes for `defer`, so that taking one's turn costs the same however many wait;
# and functions that find their tables by themselves, whatever the session's search_path.
_ADDED = (
    "CREATE INDEX uraniborg_turn_idx ON jobs.procrastinate_jobs (queue_name, status, priority)"
    " WHERE status IN ('todo', 'doing')",
    "CREATE INDEX uraniborg_share_idx ON jobs.procrastinate_jobs (queue_name, (args->>'share'), priority)"
    " WHERE status IN ('todo', 'doing')",
)
_FUNCTIONS = ("defer_jobs_v1", "cancel_job_v1", "finish_job_v1", "retry_job_v2")


def install(connection: Connection, *, grant_to: str | None = None) -> bool:
    """Make procrastinate's tables in schema jobs, or bring them to the version installed here; true if it did either.

    connection: of the owner role; its transaction is the caller's. grant_to: the role that will queue and run jobs.
    May be run at each start, by several processes at once.
    """
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_INSTALL_LOCK)))
    connection.execute(sa.schema.CreateSchema(SCHEMA, if_not_exists=True))
    present = connection.execute(sa.text("SELECT to_regclass('jobs.procrastinate_jobs') IS NOT NULL")).scalar_one()
    comment = connection.execute(
        sa.text("SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = :name"), {"name": SCHEMA}
    ).scalar_one()
    wanted = f"procrastinate {procrastinate.__version__}, with turns"
    if present and comment == wanted:
        _grant(connection, grant_to)
        return False
    scripts = _migrations(_version(str(comment or ""))) if present else [SchemaManager.get_schema()]
    with _in_schema(connection) as driver:
        for script in scripts:
            driver.execute(script.encode())
        driver.execute("DROP INDEX IF EXISTS uraniborg_turn_idx, uraniborg_share_idx")
        for statement in (
            *_ADDED,
            *(f"ALTER FUNCTION procrastinate_{each} SET search_path = jobs" for each in _FUNCTIONS),
        ):
            driver.execute(statement.encode())
        driver.execute(psycopg.sql.SQL("COMMENT ON SCHEMA jobs IS {}").format(wanted))
    _grant(connection, grant_to)
    return True


def _migrations(since: tuple[int, ...]) -> list[str]:
    """The scripts that bring tables of version `since` to the installed one, as procrastinate numbers them."""
    folder = Path(SchemaManager.get_migrations_path())
    with resources.as_file(resources.files("procrastinate.sql")):
        found = sorted(folder.glob("[0-9]*.sql"))
    return [script.read_text() for script in found if _version(script.name) > since]


def _version(text: str) -> tuple[int, ...]:
    match = re.search(r"(\d+)\.(\d+)\.(\d+)", text)
    return (0, 0, 0) if match is None else tuple(int(number) for number in match.groups())


def _grant(connection: Connection, role: str | None) -> None:
    if role is None:
        return
    name = connection.dialect.identifier_preparer.quote(role)
    for statement in (
        f"GRANT USAGE ON SCHEMA {SCHEMA} TO {name}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {SCHEMA} TO {name}",
        f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {SCHEMA} TO {name}",
        f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {SCHEMA} TO {name}",
    ):
        connection.execute(sa.text(statement))


@contextmanager
def _in_schema(connection: Connection) -> Iterator[psycopg.Connection[Any]]:
    """psycopg's connection under SQLAlchemy's, its search_path on procrastinate's schema until the block ends.

    procrastinate's functions name their tables without a schema. The setting is of this transaction only, and is put
    back, so that neither the caller nor the next user of the pooled connection sees it.
    """
    before = connection.execute(sa.text("SELECT current_setting('search_path')")).scalar_one()
    change = sa.text("SELECT set_config('search_path', :path, true)")
    connection.execute(change, {"path": SCHEMA})
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    yield driver
    # After an exception the transaction is lost, and the setting with it.
    connection.execute(change, {"path": before})


_ENTRY = (
    "SELECT unnest(jobs.procrastinate_defer_jobs_v1(ARRAY[ROW(CAST(:queue AS varchar), :task, {priority}, NULL, NULL,"
    " CAST(:arguments AS jsonb), NULL)::jobs.procrastinate_job_to_defer_v1]))"
)
_AMONG = (
    "FROM jobs.procrastinate_jobs"
    " WHERE queue_name = CAST(:queue AS varchar) AND priority BETWEEN :top - :turns + 1 AND :top"
)
_TURN = f"""greatest(:top - :turns + 1, least(
    coalesce(
        (SELECT min(priority) {_AMONG} AND status = 'doing' AND worker_id IS NOT NULL),
        (SELECT max(priority) {_AMONG} AND status = 'todo'),
        :top),
    (SELECT min(priority) - 1 {_AMONG} AND status IN ('todo', 'doing') AND args->>'share' = :share)))"""


def defer(
    connection: Connection,
    task: str,
    arguments: dict[str, Any],
    *,
    queue: str = DEFAULT_QUEUE,
    priority: int = 0,
    share: str | None = None,
) -> int:
    """Queue a task in the connection's transaction: rolled back with it, seen by workers when it is committed.

    The queue's entry's id. task: a full name, as registered with the worker. priority: the highest runs first.

    share: whose it is; None for what waits behind nobody of its priority. Those of the same queue and priority take
    turns. Start-time fair queueing, each entry counting 1: an entry comes one turn after the last of its share that is
    still there, but not before what runs now. So the shares alternate, however many entries one of them has; one that
    did not ask for a while has saved up nothing; and nobody waits for ever.
    Source: Goyal, Vin, Cheng 1996, Start-time Fair Queueing.
    """
    values: dict[str, Any] = {"queue": queue, "task": task, "top": priority}
    if share is not None:
        values |= {"share": share, "turns": TURNS}
        arguments = {**arguments, "share": share}
    statement = _ENTRY.format(priority=":top" if share is None else _TURN)
    return int(connection.execute(sa.text(statement), {**values, "arguments": json.dumps(arguments)}).scalar_one())


def withdraw(connection: Connection, procrastinate_id: int) -> None:
    """Take an entry back that no worker has fetched; one that runs is left alone (its job's phase stops it)."""
    statement = sa.text("SELECT jobs.procrastinate_cancel_job_v1(:id, false, true)")
    connection.execute(statement, {"id": procrastinate_id})


def give_up(connection: Connection, procrastinate_id: int) -> None:
    """Mark an entry whose worker is dead as failed, if it is still there and open."""
    statement = sa.text(
        "SELECT jobs.procrastinate_finish_job_v1(id, 'failed', false) FROM jobs.procrastinate_jobs"
        " WHERE id = :id AND status IN ('todo', 'doing')"
    )
    connection.execute(statement, {"id": procrastinate_id})


@dataclass(frozen=True, slots=True)
class LostTask:
    """An entry of the queue whose worker is dead."""

    procrastinate_id: int
    task: str
    attempts: int


def lost_tasks(connection: Connection, stalled_after: timedelta) -> list[LostTask]:
    """Entries that dead workers left open and that are no UWS jobs; locked until the transaction ends."""
    rows = connection.execute(
        sa.text(
            "SELECT j.id, j.task_name, j.attempts FROM jobs.procrastinate_jobs AS j"
            " LEFT JOIN jobs.procrastinate_workers AS w ON w.id = j.worker_id"
            " WHERE j.status = 'doing' AND NOT starts_with(j.task_name, :prefix)"
            " AND (w.id IS NULL OR w.last_heartbeat < now() - :stalled_after)"
            " FOR UPDATE OF j SKIP LOCKED"
        ).bindparams(prefix=TASK_PREFIX, stalled_after=stalled_after)
    )
    return [LostTask(*row) for row in rows]


def open_tasks(connection: Connection) -> list[dict[str, Any]]:
    """What waits or runs and is no UWS job, as arguments of `defer`: what a backup keeps of the queue."""
    rows = connection.execute(
        sa.text(
            "SELECT task_name, args, queue_name, priority FROM jobs.procrastinate_jobs"
            " WHERE status IN ('todo', 'doing') AND NOT starts_with(task_name, :prefix) ORDER BY id"
        ).bindparams(prefix=TASK_PREFIX)
    )
    return [{"task": task, "arguments": args, "queue": queue, "priority": rank} for task, args, queue, rank in rows]


def retry(connection: Connection, procrastinate_id: int) -> None:
    """Put an entry that a dead worker held back into the queue."""
    statement = sa.text("SELECT jobs.procrastinate_retry_job_v2(:id, now(), NULL, NULL, NULL)")
    connection.execute(statement, {"id": procrastinate_id})


def delete_ended(connection: Connection, older_than: timedelta) -> int:
    """Delete entries that ended longer ago than this, and their events; how many there were."""
    statement = sa.text(
        "DELETE FROM jobs.procrastinate_jobs AS j WHERE j.status NOT IN ('todo', 'doing')"
        " AND NOT EXISTS (SELECT FROM jobs.procrastinate_events AS e WHERE e.job_id = j.id AND e.at > now() - :age)"
        " AND NOT EXISTS (SELECT FROM jobs.procrastinate_periodic_defers AS p WHERE p.job_id = j.id)"
    )
    return connection.execute(statement.bindparams(age=older_than)).rowcount
