"""How long a query will take, as PostgreSQL's planner sees it: nothing is run."""

import logging

import psycopg
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from archive.holdings.running import Statement

log = logging.getLogger(__name__)

PATIENCE_S = 0.5
"""Seconds to wait for a free connection, and for the plan: who asks for a quote must not wait for it."""


def planned_cost(pool: ConnectionPool[psycopg.Connection[tuple[object, ...]]], statement: Statement) -> float | None:
    """The cost of the whole answer in the planner's units (PostgreSQL, 19.7.2); None if it cannot be told now."""
    try:
        with pool.connection(timeout=PATIENCE_S) as connection:
            timeout_ms = str(int(PATIENCE_S * 1000))
            connection.execute("SELECT set_config('statement_timeout', %s, true)", (timeout_ms,))
            explain = f"EXPLAIN (FORMAT JSON) {statement.sql}".encode()
            row = connection.execute(explain, dict(statement.parameters)).fetchone()
    except (PoolTimeout, PoolClosed, psycopg.Error) as problem:
        log.info("no plan for a quote: %s", problem)  # the query itself will say what is wrong with it
        return None
    plans = row[0] if row else None
    return float(plans[0]["Plan"]["Total Cost"]) if isinstance(plans, list) else None
