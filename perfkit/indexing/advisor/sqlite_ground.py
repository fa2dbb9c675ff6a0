"""Candidates that are really built, on a copy of an SQLite database in a temporary file.

SQLite tells no costs, but it counts: the steps of its virtual machine are the same at each run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from django.db import DatabaseError

from perfkit.indexing.advisor.evidence import described
from perfkit.indexing.advisor.samples import Sample, as_read
from perfkit.indexing.advisor.sessions import OutOfTimeError
from perfkit.indexing.advisor.specs import BTREE, IndexSpec
from perfkit.indexing.advisor.trials import Explained

NAME: Final = "perfkit_candidate_"
INDEX: Final = re.compile(r"USING (?:COVERING )?INDEX (\S+)")
STEPS: Final = 10
"""Of the virtual machine in one unit of cost."""

MOST_UNITS: Final = 3_000_000
SAVEPOINT: Final = "perfkit_trial"


@dataclass
class SqliteGround:
    """See `trials.Ground`.

    Args:
        wrapper: Django's, connected to the copy.
        is_analyzed: Whether the live database has statistics, so that the copy should.
        ratio: How many rows of the live database stand behind one of the copy.
    """

    wrapper: Any
    left_seconds: Callable[[], float]
    is_analyzed: bool
    ratio: float = 1.0
    refused: dict[IndexSpec, str] = field(default_factory=dict)
    _built: dict[IndexSpec, tuple[str, int]] = field(default_factory=dict)

    def run(self, sql: str) -> list[tuple[Any, ...]]:
        """Send one statement to the copy, and return its rows."""
        with self.wrapper.wrap_database_errors:
            return list(self.wrapper.connection.execute(sql).fetchall())

    @contextmanager
    def among(self, specs: Sequence[IndexSpec]) -> Iterator[tuple[IndexSpec, ...]]:
        """Within the block exactly these are there, beside the existing ones; yields those that could be built."""
        for spec in specs:
            if spec not in self._built and spec not in self.refused:
                self._build(spec)
        with self._undone():
            self._drop([spec for spec in self._built if spec not in specs])
            yield tuple(spec for spec in specs if spec in self._built)

    @contextmanager
    def without(self, specs: Sequence[IndexSpec]) -> Iterator[None]:
        """Within the block these are not there either."""
        with self._undone():
            self._drop(specs)
            yield

    def explain(self, samples: Sequence[Sample]) -> Explained:
        """Run the reads, which can write nothing here, and count their steps; return the average.

        Raises:
            DatabaseError: A statement is none of this database's.
        """
        plans, used, total = [], set(), 0.0
        self.run("PRAGMA query_only = ON")
        try:
            for sample in samples:
                read = as_read(sample)
                if read is None:
                    raise DatabaseError("its rows cannot be found by a read")
                units = self._units(read.sql)
                total += units
                rows = self.run(f"EXPLAIN QUERY PLAN {read.sql}")
                used |= {
                    spec
                    for *_, detail in rows
                    if (match := INDEX.search(detail)) and (spec := self.spec_named(match[1])) is not None
                }
                plans.append(self._plan(rows, units))
        finally:
            self.run("PRAGMA query_only = OFF")
        return Explained(total / len(samples), frozenset(used), tuple(plans))

    def spec_named(self, name: str) -> IndexSpec | None:
        """Return which candidate has a name; None for an index that was there already."""
        return next((spec for spec, (given, _) in self._built.items() if given == name), None)

    def size_bytes(self, spec: IndexSpec) -> int | None:
        """How large it would be on the whole table; None where it was never built."""
        return int(self._built[spec][1] * self.ratio) if spec in self._built else None

    def _build(self, spec: IndexSpec) -> None:
        if self.left_seconds() <= 0:
            raise OutOfTimeError
        if spec.method != BTREE or spec.include or any(key.operator_class for key in spec.keys):
            self.refused[spec] = "SQLite has no such index"
            return
        name = f"{NAME}{len(self._built) + len(self.refused) + 1}"
        before = self._bytes()
        try:
            self.run(spec.sql(name, self.wrapper.ops.quote_name))
        except DatabaseError:
            self.refused[spec] = "SQLite does not take it"
            return
        self._built[spec] = (name, max(0, self._bytes() - before))
        if self.is_analyzed:
            self.run(f"ANALYZE {name}")

    def _drop(self, specs: Sequence[IndexSpec]) -> None:
        for spec in specs:
            if spec in self._built:
                self.run(f"DROP INDEX {self._built[spec][0]}")

    @contextmanager
    def _undone(self) -> Iterator[None]:
        self.run(f"SAVEPOINT {SAVEPOINT}")
        try:
            yield
        finally:
            self.run(f"ROLLBACK TO {SAVEPOINT}")
            self.run(f"RELEASE {SAVEPOINT}")

    def _units(self, sql: str) -> float:
        """Return the steps of a statement that is run to its end, or up to a limit."""
        units = 0

        def count() -> int:
            nonlocal units
            units += 1
            return int(units >= MOST_UNITS or (units % 10_000 == 0 and self.left_seconds() <= 0))

        driver = self.wrapper.connection
        driver.set_progress_handler(count, STEPS)
        try:
            with self.wrapper.wrap_database_errors:
                for _ in driver.execute(sql):
                    pass
        except DatabaseError:
            if self.left_seconds() <= 0:
                raise OutOfTimeError from None
            if units < MOST_UNITS:
                raise
        finally:
            driver.set_progress_handler(None, STEPS)
        return 1.0 + units

    def _plan(self, rows: Sequence[tuple[int, int, int, str]], units: float) -> Mapping[str, Any]:
        """Return the steps as a plan of PostgreSQL's form."""
        root: dict[str, Any] = {"Node Type": "Statement", "Total Cost": units, "Plan Rows": 0, "Plans": []}
        nodes = {0: root}
        for number, parent, _, detail in rows:
            match = INDEX.search(detail)
            spec = self.spec_named(match[1]) if match else None
            text = detail.replace(match[1], f"new {described(spec)}") if match and spec else detail
            nodes[number] = {"Node Type": text, "Total Cost": units, "Plan Rows": 0, "Plans": []}
            nodes.get(parent, root)["Plans"].append(nodes[number])
        return root

    def _bytes(self) -> int:
        pages, size, free = (
            self.run(f"PRAGMA {name}")[0][0] for name in ("page_count", "page_size", "freelist_count")
        )
        return int((pages - free) * size)
