"""procrastinate, the queue: its tables in schema jobs, and how an entry is made in the transaction that needs it.

Nothing else of the archive names procrastinate's tables or functions, but runner.py, which runs its worker.
"""

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
"""procrastinate's priorities for each of ours: within one of ours the turns of those who wait (`turn`)."""
_INSTALL_LOCK = 0x75726F_6A6F62


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
    wanted = procrastinate.__version__
    if present and comment == f"procrastinate {wanted}":
        _grant(connection, grant_to)
        return False
    scripts = _migrations(_version(str(comment or ""))) if present else [SchemaManager.get_schema()]
    with _in_schema(connection) as driver:
        for script in scripts:
            driver.execute(script.encode())
        driver.execute(psycopg.sql.SQL("COMMENT ON SCHEMA jobs IS {}").format(f"procrastinate {wanted}"))
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


# A connector that is never opened: entries are made on connections that the callers bring.
_MANAGER = procrastinate.App(connector=procrastinate.SyncPsycopgConnector())


def turn(connection: Connection, share: str, *, queue: str, priority: int) -> int:
    """When the next entry of `share` is due among those of the same queue and priority: the lowest turn runs first.

    share: whose jobs they are. Start-time fair queueing, each job counting 1: an entry comes one turn after the last
    of its share that is still there, but not before what runs now. So the shares take turns, however many entries one
    of them has; one that did not ask for a while has saved up nothing; and nobody waits for ever.
    Source: Goyal, Vin, Cheng 1996, Start-time Fair Queueing.
    """
    statement = sa.text(
        "WITH entry AS NOT MATERIALIZED ("
        "  SELECT :top - priority AS turn, status, worker_id, args->>'share' AS share FROM jobs.procrastinate_jobs"
        "  WHERE queue_name = :queue AND priority BETWEEN :top - :turns + 1 AND :top AND status IN ('todo', 'doing'))"
        " SELECT greatest("
        "  coalesce((SELECT max(turn) FROM entry WHERE status = 'doing' AND worker_id IS NOT NULL),"
        "    (SELECT min(turn) FROM entry WHERE status = 'todo'), 0),"
        "  (SELECT max(turn) + 1 FROM entry WHERE share = :share))"
    )
    values = {"queue": queue, "top": priority * TURNS, "turns": TURNS, "share": share}
    return min(int(connection.execute(statement, values).scalar_one()), TURNS - 1)


def defer(
    connection: Connection, task: str, arguments: dict[str, Any], *, queue: str = DEFAULT_QUEUE, priority: int = 0
) -> int:
    """Queue a task in the connection's transaction: rolled back with it, seen by workers when it is committed.

    The queue's entry's id. task: a full name, as registered with the worker.
    """
    with _in_schema(connection) as driver:
        deferrer = _MANAGER.configure_task(task, queue=queue, priority=priority, connection=driver)
        return int(deferrer.defer(**arguments))


def withdraw(connection: Connection, procrastinate_id: int) -> None:
    """Take an entry back that no worker has fetched; one that runs is left alone (its job's phase stops it)."""
    with _in_schema(connection) as driver:
        driver.execute("SELECT procrastinate_cancel_job_v1(%s, false, true)", (procrastinate_id,))


def give_up(connection: Connection, procrastinate_id: int) -> None:
    """Mark an entry whose worker is dead as failed, if it is still there and open."""
    with _in_schema(connection) as driver:
        driver.execute(
            "SELECT procrastinate_finish_job_v1(id, 'failed', false) FROM procrastinate_jobs"
            " WHERE id = %s AND status IN ('todo', 'doing')",
            (procrastinate_id,),
        )


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
    with _in_schema(connection) as driver:
        driver.execute(
            "SELECT procrastinate_retry_job_v2(%s, now(), NULL, NULL, NULL)",
            (procrastinate_id,),
        )


def delete_ended(connection: Connection, older_than: timedelta) -> int:
    """Delete entries that ended longer ago than this, and their events; how many there were."""
    statement = sa.text(
        "DELETE FROM jobs.procrastinate_jobs AS j WHERE j.status NOT IN ('todo', 'doing')"
        " AND NOT EXISTS (SELECT FROM jobs.procrastinate_events AS e WHERE e.job_id = j.id AND e.at > now() - :age)"
        " AND NOT EXISTS (SELECT FROM jobs.procrastinate_periodic_defers AS p WHERE p.job_id = j.id)"
    )
    return connection.execute(statement.bindparams(age=older_than)).rowcount
