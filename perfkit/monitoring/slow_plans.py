"""The plan of a slow SELECT, asked of PostgreSQL on the connection that ran it, without any value in it.

# Note [A plan breaks nothing]
The question goes past Django, through a cursor of the driver's own: it is no query of the project's, the caller's
cursor keeps its rows, and what Django knows of the transaction stays.
It stands in a transaction of its own, or in a savepoint where one is open, which is always rolled back: so an
EXPLAIN that fails leaves nothing behind, nor do the short time limits for it.
Within it nothing can be written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from perfkit.conf import options
from perfkit.postgres.plans import Plan, PlanNode, plan_of
from perfkit.watching import fingerprint, normalised

LIMITS: Final = (
    "SELECT set_config('lock_timeout', '100ms', true), set_config('statement_timeout', '1s', true), "
    "set_config('transaction_read_only', 'on', true)"
)
MOST_SQL: Final = 20_000
"""Characters of a statement that is looked at whole; see `fingerprint`."""

MOST_TEXT: Final = 2_000
READY: Final = frozenset({"IDLE", "INTRANS"})
"""How a connection stands that can be asked something."""

OWN: Final = '"perfkit_'
"""Begins the names of perfkit's own tables."""


def plan_text(connection: Any, sql: str, params: Any) -> str:
    """Return the plan on one line, or an empty text where there is none.

    There is one with `QUERY_SLOW_PLAN`, on PostgreSQL, of a SELECT that is none of perfkit's own.

    Args:
        sql: As it was sent.
        params: The values for its placeholders.

    Queries:
        None of Django's; up to four round trips past it. See Note [A plan breaks nothing].
    """
    if not options.QUERY_SLOW_PLAN or connection.vendor != "postgresql" or not has_plan(sql):
        return ""
    driver = connection.connection
    if (
        driver is None
        or not hasattr(driver.info, "pipeline_status")  # psycopg2
        or driver.info.transaction_status.name not in READY
        or driver.info.pipeline_status.name != "OFF"
    ):
        return ""
    try:
        with driver.transaction(force_rollback=True), driver.cursor() as cursor:
            cursor.execute(LIMITS)
            cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}", params, prepare=False)
            said = cursor.fetchone()[0]
    except connection.Database.Error as error:  # its text may have a value in it
        return f"(none: {type(error).__name__})"
    return text_of(plan_of((json.loads(said) if isinstance(said, str) else said)[0]))


def has_plan(sql: str) -> bool:
    """Say whether a statement is one SELECT, and none of perfkit's own tables.

    Example:
        >>> [has_plan(sql) for sql in ("SELECT 1", "(select ';')", "SELECT 1; DELETE FROM t", "DELETE FROM t")]
        [True, True, False, False]
    """
    if len(sql) > MOST_SQL:
        return False
    text = fingerprint(sql)
    verb = text.lstrip("( ").partition(" ")[0].upper()
    # With a second statement behind it, EXPLAIN would run that.
    return verb in {"SELECT", "WITH"} and ";" not in text.rstrip("; ") and OWN not in text


def text_of(plan: Plan) -> str:
    """Return a plan on one line, each step with those below it in parentheses, literals as `?`.

    Rows and costs are what the planner expects.
    """
    text = _step(plan.root)
    return text if len(text) <= MOST_TEXT else f"{text[: MOST_TEXT - 1]}…"


def _step(node: PlanNode) -> str:
    parts = [
        node.title,
        *_conditions(node),
        f"rows={node.estimated_rows:.0f}",
        f"cost={float(node.said.get('Total Cost', 0)):.0f}",
    ]
    if node.children:
        parts.append(f"({'; '.join(map(_step, node.children))})")
    return " ".join(parts)


def _conditions(node: PlanNode) -> Iterator[str]:
    for name, said in node.said.items():
        if name.endswith(("Cond", "Filter", "Key")):
            text = ", ".join(map(str, said)) if isinstance(said, list) else str(said)
            yield f"[{name}: {normalised(text, most=300)}]"
