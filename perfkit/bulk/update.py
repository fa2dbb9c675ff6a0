"""The public call: new values for many rows that are known by their keys, all of them or none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connections, models, router
from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.bulk.changes import ChangeReader, Update
from perfkit.bulk.chunks import ChunkLoop, OnError, SkippedRow, checked_size
from perfkit.bulk.explain import ROWS, note, noting
from perfkit.bulk.plan import RowPlan, compile_plan, require_table
from perfkit.bulk.statement_updater import StatementUpdater
from perfkit.bulk.statements import SEVERAL_TABLES
from perfkit.bulk.table import has_copy
from perfkit.bulk.telling import told
from perfkit.bulk.turns import take_turn
from perfkit.bulk.updaters import Outcome, ParameterUpdater, QuerySetUpdater, Updater
from perfkit.conf import options
from perfkit.signals import bulk_written


@dataclass(frozen=True)
class UpdateResult:
    """What a `bulk_update` did.

    Attributes:
        rows: Rows read.
        updated: Rows of the table that were found and written; one that several chunks name counts in each.
        unmatched: Keys that the table does not have, counted likewise.
        skipped: Rows that were refused, where `on_error` is `"report"`.
        slow_columns: Where `explain` is set: why a field's values, or `"(rows)"`, took a slower way.
        seconds: Wall-clock time of the whole call, the reading of the rows included.
        rows_per_second: `rows / seconds`.
        method: `"staged"`, `"unnest"` (few rows at once) or `"update"` (row by row), several of them with `+`
            between; "" for no rows.
    """

    rows: int
    updated: int
    unmatched: int
    skipped: list[SkippedRow]
    slow_columns: dict[str, str] | None
    seconds: float
    rows_per_second: float
    method: str


@told("update")
def bulk_update(
    model: type[models.Model],
    updates: Iterable[Update],
    *,
    fields: Sequence[str] | None = None,
    on_error: OnError = "raise",
    explain: bool = False,
    take_turns: bool = True,
    chunk_rows: int | None = None,
    using: str | None = None,
    progress: Callable[[int], object] | None = None,
    after_chunk: Callable[[list[Any]], object] | None = None,
) -> UpdateResult:
    """Give rows new values, all of them or, where one fails, none.

    What reaches the table is what Django's `update` (of pairs) or `save(update_fields=fields)` (of instances)
    would write: `get_db_prep_save` is honoured, and of instances `pre_save`. Fields with `auto_now` are set too.
    Values may be expressions, such as `F("visits") + 1`; chunks that hold one go row by row.
    No signals are sent per row. Two chunks are in memory: the next rows are read while PostgreSQL writes.
    Where a key comes twice, the later value of a field holds.

    Args:
        model: A model with one table of its own; a proxy stands for its own model.
        updates: Pairs `(pk, {field: value})`, each with fields of its own, or instances;
            in any iterable, consumed once.
        fields: The names of the fields that instances change; for pairs it is left out.
        on_error: `"raise"`, or `"report"`: bad rows are skipped and told in the result, as for `bulk_insert`.
        take_turns: Whether calls of more than one chunk wait for each other where they concern one table of
            PostgreSQL, so that none of them can deadlock.
        chunk_rows: Rows read and written at once; PERFKIT["BULK_UPDATE_CHUNK_SIZE"] where not given.
        explain: Whether the result says which columns took a slower way, and why.
        using: The alias of the database; the router's choice where not given.
        progress: Called after each chunk with the number of rows read so far.
        after_chunk: Called within the transaction with the rows of each chunk, once they are in the table:
            what `post_save` would be for one. An error of its own ends the call. No rows are read ahead then.

    Raises:
        UnsupportedModelError: The model is abstract.
        UsageError: `fields` names none, or what cannot be changed; before any row is read.
        RowShapeError: A row is neither a pair nor an instance, or names what is no field; nothing is written.
        RowDataError: A value does not fit (a `django.db.DataError`); nothing is written.
        RowIntegrityError: A constraint is broken (a `django.db.IntegrityError`); nothing is written.
            Inside a transaction of yours the database checks foreign keys at its end, as for `bulk_insert`.

    Queries:
        PostgreSQL: one about the table, then one per chunk and set of fields. SQLite: one statement per set of
        fields, run once for each row inside the driver.

    Example:
        >>> bulk_update(Airline, [("UA", {"name": "United"})]).updated  # doctest: +SKIP
        1
    """
    started = time.perf_counter()
    require_table(model, "bulk_update")
    plan = compile_plan(model)
    reader = ChangeReader(plan, fields)
    connection = connections[using or router.db_for_write(model)]
    loop = ChunkLoop(
        plan,
        connection,
        checked_size(chunk_rows, options.BULK_UPDATE_CHUNK_SIZE),
        on_error,
        progress,
        after_chunk,
    )
    updater = _updater(plan, connection)
    turns = loop.size if take_turns and connection.vendor == "postgresql" else None
    outcomes: list[Outcome] = []
    with noting(is_wanted=explain) as notes:
        loop.run(updates, ReadingUpdater(reader, updater, turns), take=outcomes.append)
    updated = sum(outcome.updated for outcome in outcomes)
    seconds = time.perf_counter() - started
    result = UpdateResult(
        rows=loop.rows,
        updated=updated,
        unmatched=sum(outcome.different for outcome in outcomes) - updated,
        skipped=loop.skipped,
        slow_columns=notes,
        seconds=seconds,
        rows_per_second=loop.rows / seconds,
        method="+".join(sorted(updater.methods)),
    )
    if bulk_written.receivers:
        bulk_written.send(model, call="update", result=result)
    return result


class ReadingUpdater:
    """Reads the rows of a chunk, and has them written.

    Args:
        turns: A chunk of so many rows is not the only one, so the call takes its turn; None for no turns.
    """

    def __init__(self, reader: ChangeReader, updater: Updater, turns: int | None) -> None:
        self.methods = updater.methods
        self._reader = reader
        self._updater = updater
        self._turns = turns
        self._has_turn = False

    def begin(self) -> None:
        """Another transaction begins: a turn ended with the last."""
        self._has_turn = False

    def write(self, rows: list[Update], *, first_row: int) -> Outcome:
        """Write one chunk."""
        if len(rows) == self._turns and not self._has_turn:
            self._has_turn = True
            take_turn(self._updater.connection, self._reader.plan.model)
        batches = self._reader.read(rows, first_row=first_row)
        return self._updater.write(batches) if batches else Outcome()

    def flush(self) -> None:
        """Wait for the rows that are under way."""
        self._updater.settle()

    def settle(self) -> None:
        """Wait for the rows that are under way."""
        self._updater.settle()

    def abandon(self) -> None:
        """Have the server stop: all is rolled back."""
        self._updater.abandon()

    def close(self) -> None:
        """Wait for the rows that are under way, and drop what was staged."""
        self._updater.close()


def _updater(plan: RowPlan, connection: BaseDatabaseWrapper) -> Updater:
    if plan.is_over_several_tables:
        note(ROWS, SEVERAL_TABLES)
        return QuerySetUpdater(plan, connection)
    if has_copy(connection):
        return StatementUpdater(plan, connection)
    if connection.vendor == "sqlite":
        return ParameterUpdater(plan, connection)
    return QuerySetUpdater(plan, connection)
