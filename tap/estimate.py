"""How long a query will take, as PostgreSQL's planner sees it, put right where it cannot know the sky. Nothing is run.

The planner takes every condition on the sky to keep about a hundredth of the rows. For a search that costs little; in a
match of two tables it makes every probe of the sky's index ten thousand times too dear. So a probe is counted here as
what it was measured to be, and all that the planner built upon it is brought down by as much.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg_pool import PoolClosed, PoolTimeout

from archive.holdings.running import Statement
from archive.holdings.sessions import Sessions, reading

log = logging.getLogger(__name__)

PATIENCE_S = 0.5
"""Seconds to wait for a free connection, and for the plan: who asks for a quote must not wait for it."""

PROBE_COST, PROBE_ROWS = 3.0, 3.0
"""One look into a sky's index for a row of another table: the planner's units (25 microseconds), and rows found."""

Plan = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a node of a plan costs, in the planner's units (PostgreSQL, 19.7.2), and the rows it gives."""

    cost: float
    rows: float


def explained(pool: Sessions, statement: Statement, options: str, patience_s: float) -> list[Any]:
    """What EXPLAIN gives, a line of text or a whole JSON document each. options: its own words, never a user's."""
    with reading(pool, patience_s=patience_s, role=statement.role) as connection:
        explain = f"EXPLAIN ({options}) {statement.sql}".encode()
        return [row[0] for row in connection.execute(explain, dict(statement.parameters))]


def plan_of(pool: Sessions, statement: Statement) -> Plan | None:
    """The plan; None if it cannot be told now, or, for a query with uploads, at all."""
    try:
        plan: Plan = explained(pool, statement, "FORMAT JSON", PATIENCE_S)[0][0]["Plan"]
    except (PoolTimeout, PoolClosed, psycopg.Error) as problem:
        log.info("no plan for an estimate: %s", problem)  # the query itself will say what is wrong with it
        return None
    return plan


def estimate(plan: Plan) -> Estimate:
    """The whole answer's cost, the probes of the sky's indexes put right."""
    told = Estimate(plan["Total Cost"], max(plan["Plan Rows"], 1.0))
    if _is_probe(plan):
        return Estimate(min(told.cost, PROBE_COST), min(told.rows, PROBE_ROWS))
    aside, children = _parted(plan.get("Plans", ()))
    if aside:  # subqueries that run once and for all: the topmost node has them beside what it is made of
        once, asides = sum(child["Total Cost"] for child in aside), [estimate(child) for child in aside]
        rest = estimate({**plan, "Total Cost": max(0.0, told.cost - once), "Plans": children})
        return Estimate(rest.cost + sum(each.cost for each in asides), rest.rows)
    below = [estimate(child) for child in children]
    if not below:
        return told
    if plan["Node Type"] == "Nested Loop" and len(below) == 2:
        return _nested_loop(told, children, below)
    if plan["Node Type"] == "Limit":
        return _limited(told, children[0], below[0])
    fewer = max(now.rows / max(child["Plan Rows"], 1.0) for child, now in zip(children, below, strict=True))
    own = max(0.0, told.cost - sum(child["Total Cost"] for child in children))
    return Estimate(sum(each.cost for each in below) + own * fewer, told.rows * fewer)


def _parted(children: Sequence[Plan]) -> tuple[list[Plan], list[Plan]]:
    """Subqueries that run by themselves, and the nodes that a node takes its rows from."""
    aside = [child for child in children if child.get("Parent Relationship") in ("InitPlan", "SubPlan")]
    return aside, [child for child in children if child not in aside]


def _is_probe(plan: Plan) -> bool:
    """Whether a node asks a sky's index, with what another table's row gives: constants would be written out."""
    below = (plan, *plan.get("Plans", ())) if plan["Node Type"] == "Bitmap Heap Scan" else (plan,)
    return any(
        each.get("Index Name", "").startswith("sphere_") and "sphere." in each.get("Index Cond", "") for each in below
    )


def _nested_loop(told: Estimate, children: Sequence[Plan], below: list[Estimate]) -> Estimate:
    outer, inner = below
    outer_rows, inner_rows = (max(child["Plan Rows"], 1.0) for child in children)
    outer_cost, inner_cost = (child["Total Cost"] for child in children)
    # What is kept (Materialize, Memoize) costs less the second time: the planner's own sum is the most.
    loops = min(outer_rows * inner_cost, max(0.0, told.cost - outer_cost))
    own = max(0.0, told.cost - outer_cost - loops)
    fewer = outer.rows / outer_rows
    fewer_pairs = fewer * inner.rows / inner_rows
    dearer = inner.cost / inner_cost if inner_cost else 1.0
    return Estimate(outer.cost + loops * fewer * dearer + own * fewer_pairs, told.rows * fewer_pairs)


def _limited(told: Estimate, child: Plan, below: Estimate) -> Estimate:
    """So many rows of the child, which has a start that is paid whole."""
    start = below.cost * (child["Startup Cost"] / child["Total Cost"] if child["Total Cost"] else 0.0)
    share = min(1.0, told.rows / max(below.rows, 1.0))
    return Estimate(start + (below.cost - start) * share, min(told.rows, below.rows))
