"""What statements really do on a copy: run, where they can do nothing but read, and counted in work, not time.

The planner may be wrong about an index, most of all where it hopes to find a few rows early.
Pages and rows are the same at each run; times are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django.db import DatabaseError

from perfkit.indexing.advisor.built import BuiltGround, ForeignReadError
from perfkit.indexing.advisor.samples import SELECT, Sample
from perfkit.indexing.advisor.sessions import Session
from perfkit.indexing.advisor.trials import nodes_of

LONGEST_RUN_SECONDS: Final = 3.0
ROW: Final = 0.01
"""Of a page, as the planner has it by default."""

AGAIN: Final = 0.05
"""Of a page, that a step has read before and finds in memory."""

VOLATILE_SQL: Final = """
SELECT wanted.name FROM unnest(%s::text[]) AS wanted (name)
WHERE NOT EXISTS (SELECT FROM pg_proc p WHERE p.proname = wanted.name)
   OR EXISTS (SELECT FROM pg_proc p WHERE p.proname = wanted.name AND p.provolatile = 'v')
"""
UNSAFE_TYPES_SQL: Final = """
SELECT EXISTS (SELECT FROM pg_operator o JOIN pg_proc p ON p.oid = o.oprcode
               WHERE o.oprnamespace <> 'pg_catalog'::regnamespace AND p.provolatile = 'v')
    OR EXISTS (SELECT FROM pg_cast c JOIN pg_proc p ON p.oid = c.castfunc
               WHERE p.pronamespace <> 'pg_catalog'::regnamespace AND p.provolatile = 'v')
"""


@dataclass
class Safety:
    """Tells which statements do nothing but read, by what the catalogue says of all that they may call."""

    session: Session
    _volatile: dict[str, bool] = field(default_factory=dict)
    _is_unsafe: bool | None = None

    def is_runnable(self, sample: Sample) -> bool:
        """Tell whether it is a SELECT without locks that calls nothing volatile.

        A function counts as volatile where any of that name is, or none is known.
        """
        if sample.kind != SELECT or sample.has_locks or sample.has_named_operators:
            return False
        if self._is_unsafe is None:
            self._is_unsafe = bool(self.session.value(UNSAFE_TYPES_SQL))
        return not self._is_unsafe and not self.may_write(sample.functions)

    def may_write(self, names: Iterable[str]) -> bool:
        """Tell whether any of these functions is volatile, or not known."""
        plain = {name.rsplit(".", 1)[-1] for name in names}
        unknown = sorted(plain - set(self._volatile))
        if unknown:
            found = {name for (name,) in self.session.run(VOLATILE_SQL, [unknown])}
            self._volatile |= {name: name in found for name in unknown}
        return any(self._volatile[name] for name in plain)


def work_of(ground: BuiltGround, samples: Iterable[Sample]) -> float | None:
    """Return the work of some statements, run on the copies within `among`; None where one took too long.

    Raises:
        OutOfTimeError: There is no time left to find it out.
    """
    total = 0.0
    pages = {name: copy.pages for name, copy in ground.copies.items()}
    options = "ANALYZE, BUFFERS, TIMING OFF, SUMMARY OFF, VERBOSE, FORMAT JSON"
    for sample in samples:
        ground.session.limit(LONGEST_RUN_SECONDS)
        try:
            with ground.session.aside(read_only=True):
                ground.plan_of(sample, "FORMAT JSON, VERBOSE")  # it reads nothing but copies
                total += work_in(ground.plan_of(sample, options), pages)
        except (DatabaseError, ForeignReadError):
            if ground.session.wrapper.connection.closed:
                raise
            return None
    return total


def work_in(plan: Mapping[str, Any], table_pages: Mapping[str, int] | None = None) -> float:
    """Return the pages that a plan has touched and a little for each row that it has looked at.

    A step that reads a table by an index may come to the same page for each of its rows.
    Beyond as many pages as the table has, it was there before, and that is cheaper.

    Args:
        table_pages: Of each table, how many pages it fills.
    """
    pages = 0.0
    rows = 0.0
    for node in nodes_of(plan):
        touched = _pages_in(node) - sum(_pages_in(child) for child in node.get("Plans", ()))
        most = (table_pages or {}).get(str(node.get("Relation Name")), touched)
        pages += min(touched, most) + AGAIN * max(0, touched - most)
        looked = sum(
            node.get(name, 0)
            for name in (
                "Actual Rows",
                "Rows Removed by Filter",
                "Rows Removed by Index Recheck",
                "Rows Removed by Join Filter",
            )
        )
        rows += looked * node.get("Actual Loops", 1)
    return pages + ROW * rows


def _pages_in(node: Mapping[str, Any]) -> int:
    """Return the pages that a step and those below it have touched."""
    names = ("Shared Hit Blocks", "Shared Read Blocks", "Temp Read Blocks", "Temp Written Blocks")
    return sum(int(node.get(name, 0)) for name in names)
