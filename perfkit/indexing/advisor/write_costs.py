"""What an index costs whoever writes rows, measured in pages touched; time would be another at each run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from django.db import DatabaseError

from perfkit.indexing.advisor.copies import COLUMNS_SQL, INDEXES_SQL, Copy
from perfkit.indexing.advisor.samples import INSERT, UPDATE, Sample
from perfkit.indexing.advisor.sessions import OutOfTimeError, Session
from perfkit.indexing.advisor.specs import IndexSpec

CLONE_ROWS: Final = 20_000
WRITTEN_ROWS: Final = 200


@dataclass
class WriteCosts:
    """Measures by writing rows into a small clone of a copy, with and without the index, and undoing it."""

    session: Session
    schema: str
    copies: dict[str, Copy]
    _clones: dict[str, str | None] = field(default_factory=dict)
    _pages: dict[tuple[str, IndexSpec | None], int] = field(default_factory=dict)

    def ratio(self, spec: IndexSpec) -> float | None:
        """Return how much longer an inserted row takes, as a part of what it takes now; None where not known."""
        before, after = self._both(spec)
        return None if before is None or after is None else max(0.0, after / max(before, 1) - 1)

    def pages_of_row(self, spec: IndexSpec) -> float | None:
        """Return how many pages more are touched by each row that is written; None where not known."""
        before, after = self._both(spec)
        return None if before is None or after is None else max(0.0, (after - before) / WRITTEN_ROWS)

    def _both(self, spec: IndexSpec) -> tuple[int | None, int | None]:
        """Return the pages touched without the index and with it."""
        copy = self.copies.get(spec.table)
        if copy is None or not copy.rows:
            return None, None
        try:
            return self._inserted(spec.table, None), self._inserted(spec.table, spec)
        except OutOfTimeError:
            return None, None

    def _inserted(self, table: str, spec: IndexSpec | None) -> int | None:
        """Return the pages touched by inserting some rows."""
        if (table, spec) not in self._pages:
            try:
                clone = self._clone(table)
                if clone is None:
                    return None
                self._pages[table, spec] = self._measure(table, clone, spec)
            except DatabaseError:
                if self.session.wrapper.connection.closed:
                    raise
                return None
        return self._pages[table, spec]

    def _measure(self, table: str, clone: str, spec: IndexSpec | None) -> int:
        quote, columns = self.session.quote, self._columns(table)
        self.session.limit()
        with self.session.transaction():
            if spec is not None:
                self.session.run(spec.on(clone).sql("perfkit_written", quote, schema=self.schema))
                if spec.method == "gin":  # else what is written is only put off
                    self.session.run(f"ALTER INDEX {self.schema}.perfkit_written SET (fastupdate = off)")
            name = f"{self.schema}.{quote(clone)}"
            rows = f"{self.schema}.{quote(clone + '_rows')}"
            self.session.run(f"DELETE FROM {name} USING {rows} r WHERE {name}.ctid = r.perfkit_place")
            said = self.session.value(
                "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, SUMMARY OFF, FORMAT JSON) "
                f"INSERT INTO {name} ({columns}) SELECT {columns} FROM {rows} ORDER BY perfkit_place"
            )
        plan: dict[str, Any] = (json.loads(said) if isinstance(said, str) else said)[0]["Plan"]
        return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])

    def _clone(self, table: str) -> str | None:
        """Return the clone of a table, made at the first call; None where that has failed, then or before."""
        if table not in self._clones:
            self._clones[table] = None
            clone = self._made(table, f"perfkit_clone_{len(self._clones)}")
            self._measure(table, clone, None)  # what the first writer finds is not what later ones do
            self._clones[table] = clone
        return self._clones[table]

    def _made(self, table: str, clone: str) -> str:
        """Make a small copy of the copy, with the indexes that the table has."""
        quote, copy, columns = self.session.quote, self.copies[table], self._columns(table)
        source, name = f"{self.schema}.{quote(table)}", f"{self.schema}.{clone}"
        self.session.limit()
        self.session.run(f"CREATE UNLOGGED TABLE {name} (LIKE {source}) WITH (autovacuum_enabled = false)")
        step = max(1, copy.rows // CLONE_ROWS)
        self.session.run(
            f"INSERT INTO {name} ({columns}) SELECT {columns} FROM "
            f"(SELECT *, row_number() OVER () AS perfkit_n FROM {source}) s WHERE perfkit_n % {step} = 0"
        )
        for _, definition, beginning, is_unique, *_ in self.session.run(INDEXES_SQL, [copy.table.oid]):
            self.session.run(
                f"CREATE {'UNIQUE ' if is_unique else ''}INDEX ON {name} {definition[len(beginning) :]}"
            )
        step = max(1, copy.rows // step // WRITTEN_ROWS)
        self.session.run(
            f"CREATE UNLOGGED TABLE {name}_rows AS SELECT * FROM "
            f"(SELECT t.ctid AS perfkit_place, t.*, row_number() OVER () AS perfkit_n FROM {name} t) s "
            f"WHERE perfkit_n % {step} = 0 LIMIT {WRITTEN_ROWS}"
        )
        self.session.run(f"ANALYZE {name}, {name}_rows")
        return clone

    def _columns(self, table: str) -> str:
        """Return the names of all columns; what the table generates is in a copy a value as any other."""
        found = self.session.run(COLUMNS_SQL, [self.copies[table].table.oid])
        return ", ".join(self.session.quote(name) for name, *_ in found)


def rows_found(plans: Sequence[Mapping[str, Any]]) -> float:
    """Return how many rows changes find to change, on average, as their plans say."""
    found = [
        plan["Plans"][0] if plan["Node Type"] == "ModifyTable" and plan.get("Plans") else plan
        for plan in plans
    ]
    return sum(float(each["Plan Rows"]) for each in found) / max(1, len(found))


def is_written_by(spec: IndexSpec, samples: Sequence[Sample]) -> bool:
    """Tell whether such a statement writes into an index: every INSERT does, an UPDATE of what is in it."""
    return any(
        sample.target == spec.table
        and (
            sample.kind == INSERT
            or (sample.kind == UPDATE and not sample.set_columns.isdisjoint(names_in(spec)))
        )
        for sample in samples
    )


def names_in(spec: IndexSpec) -> frozenset[str]:
    """Return all names that stand in an index; columns are among them."""
    texts: Iterable[str] = [*spec.columns, *spec.include, spec.condition]
    plain = {*spec.columns, *spec.include}
    return frozenset(plain | {name for text in texts for name in re.findall(r"[\w$]+", text)})
