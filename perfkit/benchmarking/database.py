"""Measures reads of models, and writes where they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.db import Error, connections
from django.db.models import QuerySet

from perfkit.benchmarking.chosen import Chosen, chosen
from perfkit.benchmarking.declared import compared
from perfkit.benchmarking.pairs import COLUMNS, Effort, Pair, measured
from perfkit.benchmarking.reads import Reads
from perfkit.benchmarking.sections import Cell, Chart, Section
from perfkit.benchmarking.writes import write_pairs
from perfkit.errors import BenchmarkError, PerfkitError

Told = Callable[[str], object]

HOW = (
    "Both ways of a row take turns in one process, in a new order each round, and are checked to return the same; "
    "a figure is the median of the rounds, the first of which is not counted. "
    "A hit is the first read of a request: the cache server is asked whether what is kept still holds. "
    "Before each miss everything that depends on the table is made void, as a write to it would. "
)
HOW_WRITTEN = (
    "Rows are written into a temporary table without foreign keys and triggers, in a transaction that is rolled "
    "back: nothing of it is left."
)
NOT_WRITTEN = "Nothing is written; --writes measures that too."


def database_section(
    labels: Sequence[str], *, using: str, effort: Effort, with_writes: bool, told: Told
) -> Section:
    """Measure models, and what the project has declared.

    Args:
        labels: Of models; the project's own where there are none.
        told: Called with what is measured next.

    Raises:
        BenchmarkError: There is no such model, or no row to measure with.
    """
    models, notes = chosen(labels, using=using)
    table = _Table(effort, told, notes)
    reads = [found for each in models if (found := table.read(each, using=using)) is not None]
    if not reads:
        raise BenchmarkError(f"No model could be measured. {' '.join(notes)}")
    for pair in compared():
        before, after = read_whole(pair.before), read_whole(pair.after)
        table.measure([Pair("declared", pair.name, "before", before, "after", after)])
    for found in reads if with_writes else ():
        table.write(found)
    return Section(
        name="database",
        title=f"Database: {connections[using].display_name}",
        how=HOW + (HOW_WRITTEN if with_writes else NOT_WRITTEN),
        columns=COLUMNS,
        rows=table.rows,
        chart=Chart("Median time of each work", "work", ("before_ms", "after_ms")),
        warnings=_loops(table.rows),
        notes=[f"{found.chosen.label} has {found.rows:,} rows." for found in reads] + notes,
    )


class _Table:
    """Rows, and notes on what could not be measured."""

    def __init__(self, effort: Effort, told: Told, notes: list[str]) -> None:
        self.rows: list[dict[str, Cell]] = []
        self._effort = effort
        self._told = told
        self._notes = notes

    def measure(self, pairs: Iterable[Pair]) -> None:
        """Measure pairs, one after the other."""
        for pair in pairs:
            self._told(f"{pair.subject}: {pair.work}")
            row, reason = measured(pair, self._effort)
            if row is None:
                self._notes.append(f"Not measured: {pair.subject}, {pair.work}: {reason}.")
            else:
                self.rows.append(row)

    def read(self, model: Chosen, *, using: str) -> Reads | None:
        """Measure the reads of a model; return them, None where it could not be read."""
        try:
            found = Reads(model, using=using)
            if not found.rows:
                self._notes.append(f"Not measured: {model.label}: its manager shows no rows.")
                return None
            self.measure(found.pairs())
        except (PerfkitError, Error) as error:
            self._notes.append(f"Not measured further: {model.label}: {str(error).splitlines()[0]}")
            return None
        return found

    def write(self, reads: Reads) -> None:
        """Measure the writes of a model."""
        try:
            with write_pairs(reads) as pairs:
                self.measure(pairs)
        except PerfkitError as error:
            self._notes.append(str(error))


def read_whole(work: Callable[[], Any]) -> Callable[[], Any]:
    """Return what does some work, and reads the queryset that it may return."""

    def run() -> Any:
        found = work()
        return list(found) if isinstance(found, QuerySet) else found

    return run


def _loops(rows: Sequence[dict[str, Cell]]) -> list[str]:
    return [
        f"N+1: {row['subject']}, {row['work']}, sends {row['before_queries']} queries where nobody says what is "
        f"loaded; with eager() {row['after_queries']}."
        for row in rows
        if row["before_way"] == "lazy, N+1"
        and isinstance(row["before_queries"], int)
        and row["before_queries"] > 1
    ]
