"""What the database does for a queryset, and what of it costs more than it should."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connections, models, transaction

from perfkit.errors import UsageError
from perfkit.postgres.plan_table import plan_lines
from perfkit.postgres.plan_warnings import PlanWarning, warnings_of
from perfkit.postgres.plans import Plan, plan_of


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
    return ExplainReport(list(plan_lines(plan)), warnings_of(plan), plan)


class ExplainQuerySetMixin:
    """Gives a queryset `explain_report()`."""

    def explain_report(self, *, analyze: bool = True) -> ExplainReport:
        """Return what the database does for this queryset; see `explain_report`."""
        assert isinstance(self, models.QuerySet)  # noqa: S101  # what it is mixed into
        return explain_report(self, analyze=analyze)


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
