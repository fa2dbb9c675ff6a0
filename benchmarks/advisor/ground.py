"""Where indexes are tried: each is built in a transaction that is rolled back, and statements are explained."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

SETTINGS: Final = (
    "SET maintenance_work_mem = '256MB'",
    "SET max_parallel_maintenance_workers = 0",  # the machine is shared
    "SET jit = off",
    "SET synchronous_commit = off",
)
EXPRESSION: Final = re.compile(r"\(\(|, \(|\b(?:upper|lower|to_tsvector)\(", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a statement took when it was run: milliseconds, and pages touched."""

    milliseconds: float
    pages: int


class Ground:
    """Tries indexes on the shop's tables."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self._changed: set[str] = set()
        self.builds = 0
        for statement in SETTINGS:
            self._run(statement)

    @contextmanager
    def built(self, ddls: Sequence[str]) -> Iterator[None]:
        """Have these indexes for a while."""
        with self._undone():
            for ddl in ddls:
                self._run(ddl)
                self.builds += 1
            for table in sorted({ddl.split(" ON ")[1].split()[0] for ddl in ddls if has_expression(ddl)}):
                self._run(f"ANALYZE {table}")  # an expression has statistics from then on
            yield

    def cost(self, statements: Sequence[str]) -> float:
        """Return the planner's cost, on average over the statements."""
        return sum(float(self._plan(each)["Plan"]["Total Cost"]) for each in statements) / len(statements)

    def indexes(self, statement: str) -> set[str]:
        """Return the names of the indexes that its plan uses."""
        return set(_named(self._plan(statement)["Plan"]))

    def measure(self, statements: Sequence[str], *, times: int = 3) -> Measured:
        """Run the statements, changes too, and undo them; return the best of several times, added up."""
        total, pages = 0.0, 0
        for statement in statements:
            plans = [self._plan(statement, "ANALYZE, BUFFERS, TIMING OFF, ") for _ in range(times)]
            total += min(plan["Execution Time"] for plan in plans)
            last = plans[-1]["Plan"]
            if last["Node Type"] == "ModifyTable":
                self._changed.add(last["Relation Name"])
            pages += last["Shared Hit Blocks"] + last["Shared Read Blocks"]
        return Measured(total, pages)

    def settle(self) -> None:
        """Take away what changes have left, though they were undone; an index alone answers only after that."""
        for table in sorted(self._changed):
            self._run(f"VACUUM {table}")
        self._changed.clear()

    def _plan(self, statement: str, options: str = "") -> dict[str, Any]:
        explain = f"EXPLAIN ({options}FORMAT JSON) {statement}"
        with self._undone():  # it may be a change
            found = self._run(explain)
        assert found is not None
        plan: dict[str, Any] = found[0][0][0]
        return plan

    @contextmanager
    def _undone(self) -> Iterator[None]:
        """Undo what is done within."""
        alias = self._connection.alias
        with transaction.atomic(using=alias):
            yield
            transaction.set_rollback(True, using=alias)

    def _run(self, statement: str) -> list[tuple[Any, ...]] | None:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else None


def has_expression(ddl: str) -> bool:
    """Tell whether an index has statistics of its own, which are gathered only after it was built."""
    return EXPRESSION.search(ddl) is not None


def _named(plan: dict[str, Any]) -> Iterator[str]:
    if "Index Name" in plan:
        yield plan["Index Name"]
    for child in plan.get("Plans", ()):
        yield from _named(child)
