"""What the database does for a queryset, and what of it costs more than it should."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Final

from django.core.exceptions import EmptyResultSet
from django.db import connections, models, transaction

from perfkit.errors import UsageError
from perfkit.postgres.plan_warnings import PlanWarning, warnings_of
from perfkit.postgres.plans import Plan, PlanNode, plan_of

NARROW: Final = 12
WIDE: Final = 20


@dataclass(frozen=True)
class ExplainReport:
    """What the database does for a queryset; as text, a table and the warnings below it.

    Attributes:
        lines: The steps as text, those below others indented.
        warnings: What costs more than it should, and what to do; empty where the statement was not run.
        plan: PostgreSQL's; None on SQLite.
    """

    lines: list[str]
    warnings: list[PlanWarning]
    plan: Plan | None = field(repr=False)

    def __str__(self) -> str:
        told = [f"! {each.step}: {each.problem}.\n  {each.advice}" for each in self.warnings]
        return "\n".join([*self.lines, *told])


def explain_report(queryset: models.QuerySet[Any], *, analyze: bool = True) -> ExplainReport:
    """Return what the database does for a queryset.

    The queryset stays as it is, not evaluated.

    Args:
        queryset: Any, that of `values()` too.
        analyze: Whether the statement is run, so that rows and times are counted and warnings can be told;
            on SQLite it never is. Locks that it takes (`select_for_update`) are let go at once.

    Raises:
        UsageError: The database is neither PostgreSQL nor SQLite.

    Queries:
        One; none for a queryset that asks nothing, such as `none()`.

    Source:
        PostgreSQL manual, "EXPLAIN"; SQLite documentation, "EXPLAIN QUERY PLAN".
    """
    connection = connections[queryset.db]
    if connection.vendor not in {"postgresql", "sqlite"}:
        raise UsageError(
            f"explain_report reads the plans of PostgreSQL and SQLite, not of {connection.vendor}."
        )
    options: dict[str, Any] = {}
    if connection.vendor == "postgresql":
        options = {"format": "json", "analyze": analyze, "buffers": analyze}
    locks = queryset.query.select_for_update
    with transaction.atomic(using=queryset.db) if locks else nullcontext():
        try:
            sql, parameters = queryset.query.get_compiler(connection=connection).as_sql()
        except EmptyResultSet:
            return ExplainReport(["The database is not asked: nothing can match."], [], None)
        with connection.cursor() as cursor:
            cursor.execute(f"{connection.ops.explain_query_prefix(**options)} {sql}", parameters)
            rows = cursor.fetchall()
        if locks:
            transaction.set_rollback(True, using=queryset.db)
    if connection.vendor == "sqlite":
        return _of_sqlite(rows)
    said = rows[0][0]
    plan = plan_of((json.loads(said) if isinstance(said, str) else said)[0])
    return ExplainReport(list(_lines(plan)), warnings_of(plan), plan)


class ExplainQuerySetMixin:
    """Gives a queryset `explain_report()`."""

    def explain_report(self, *, analyze: bool = True) -> ExplainReport:
        """Return what the database does for this queryset; see `explain_report`."""
        assert isinstance(self, models.QuerySet)  # noqa: S101  # what it is mixed into
        return explain_report(self, analyze=analyze)


def _lines(plan: Plan) -> Iterator[str]:
    steps = [("  " * depth + node.title, node) for depth, node in plan.root.walk()]
    width = max(len(title) for title, _ in steps)
    yield (
        f"{'step':<{width}} {'rows':>{NARROW}} {'expected':>{NARROW}} {'loops':>{NARROW}} "
        f"{'ms':>{NARROW}} {'pages (read)':>{WIDE}}"
    )
    for title, node in steps:
        yield f"{title:<{width}} {_numbers(node)}".rstrip()
    if plan.execution_ms is not None and plan.planning_ms is not None:
        yield f"planned in {plan.planning_ms:.1f} ms, run in {plan.execution_ms:.1f} ms"


def _numbers(node: PlanNode) -> str:
    per_loop = node.rows_per_loop
    rows = "" if node.rows is None else "never" if per_loop is None else f"{per_loop:,.0f}"
    loops = "" if node.rows is None else f"{node.loops:,.0f}"
    time = "" if node.milliseconds is None else f"{node.milliseconds:,.2f}"
    pages = "" if node.rows is None else f"{node.hit_buffers + node.read_buffers:,} ({node.read_buffers:,})"
    narrow = [rows, f"{node.estimated_rows:,.0f}", loops, time]
    return " ".join([*(f"{each:>{NARROW}}" for each in narrow), f"{pages:>{WIDE}}"])


def _of_sqlite(rows: Sequence[Sequence[Any]]) -> ExplainReport:
    depths = {0: -1}
    lines, warnings = [], []
    for number, parent, _, title in rows:
        depths[number] = depths.get(parent, -1) + 1
        lines.append("  " * depths[number] + title)
        if title.startswith("SCAN ") and " USING " not in title and "CONSTANT ROW" not in title:
            warnings.append(
                PlanWarning(title, "the whole table is read", "Add an index on what the condition compares.")
            )
        elif title.startswith("USE TEMP B-TREE FOR ORDER BY"):
            warnings.append(PlanWarning(title, "all rows are sorted", "Index the order."))
    return ExplainReport(lines, warnings, None)
