"""The public call: rows that the table may have already, written, all of them or none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connections, models, router

from perfkit.bulk.chunks import ChunkLoop, ChunkWriter, OnError, SkippedRow, checked_size
from perfkit.bulk.conflict import Conflict
from perfkit.bulk.explain import noting
from perfkit.bulk.foreign_keys import own_check
from perfkit.bulk.outcomes import Outcome, UpsertedRow
from perfkit.bulk.parameter_upserter import ParameterUpserter
from perfkit.bulk.plan import plan_for, require_table
from perfkit.bulk.queryset_upserter import QuerySetUpserter
from perfkit.bulk.shapes import Row
from perfkit.bulk.statement_upserter import StatementUpserter
from perfkit.bulk.statements import goes_singly
from perfkit.bulk.table import has_copy
from perfkit.bulk.telling import told
from perfkit.conf import options
from perfkit.signals import bulk_written


@dataclass(frozen=True)
class UpsertResult:
    """What a `bulk_upsert` did.

    Attributes:
        rows: Rows read.
        created: Rows that the table had not.
        updated: Rows that it had, and that were written; one whose key comes twice counts twice.
        untouched: Rows that it had, and that were left alone.
        skipped: Rows that were refused, where `on_error` is `"report"`.
        slow_columns: Where `explain` is set: why a field's values, or `"(rows)"`, took a slower way.
        seconds: Wall-clock time of the whole call, the reading of the rows included.
        rows_per_second: `rows / seconds`.
        method: `"staged"`, `"unnest"` (few rows at once), `"upsert"` (SQLite) or `"update"` (row by row, by
            Django), several of them with `+` between; "" for no rows.
        returned: What became of each row, in their order, None for one that was skipped;
            or None where it was not asked for.
    """

    rows: int
    created: int
    updated: int
    untouched: int
    skipped: list[SkippedRow]
    slow_columns: dict[str, str] | None
    seconds: float
    rows_per_second: float
    method: str
    returned: list[UpsertedRow | None] | None


@told("upsert")
def bulk_upsert(
    model: type[models.Model],
    rows: Iterable[Row],
    *,
    conflict_columns: Sequence[str],
    fields: Sequence[str] | None = None,
    update_columns: Sequence[str] | Mapping[str, Any] | None = None,
    where: models.Q | None = None,
    skip_unchanged: bool = False,
    return_rows: bool = False,
    on_error: OnError = "raise",
    explain: bool = False,
    take_turns: bool = True,
    chunk_rows: int | None = None,
    using: str | None = None,
    progress: Callable[[int], object] | None = None,
    after_chunk: Callable[[list[Any]], object] | None = None,
) -> UpsertResult:
    """Insert rows, and update those whose key the table has; all of them or, where one fails, none.

    It is as if row came after row: of rows with equal keys the later holds, at any `chunk_rows`,
    on every database.
    A key with a NULL is equal to no other, unless its constraint says `nulls_distinct=False`.
    New rows are what bulk_create would write. In rows that exist the given columns change, and those with
    `auto_now`; the primary key and what has `auto_now_add` stay.
    No signals are sent per row. One chunk is in memory at a time.

    Args:
        model: A model with one table of its own; a proxy stands for its own model.
        rows: As for `bulk_insert`.
        conflict_columns: Names of the fields of one unique constraint, or of the primary key.
        fields: The names of the fields, where rows are plain tuples.
        update_columns: Names of the fields that change in rows that exist; those that a row gives where not given,
            none for `[]`. Or values by name: expressions may hold `F` (what the table has) and
            `Excluded` (what the row brings), as in `{"visits": F("visits") + Excluded("visits")}`.
        where: Which rows of the table may change, as in `Q(changed__lt=Excluded("changed"))`.
        skip_unchanged: Whether a row that would be as it was is left alone, so that it costs no write.
        return_rows: Whether the result says what became of each row; instances get their keys too.
        on_error: `"raise"`, or `"report"`: bad rows are skipped and told in the result, as for `bulk_insert`.
        take_turns: Whether calls that need several statements wait for each other where they concern one table
            of PostgreSQL, so that none of them can deadlock. False lets loads of different keys run side by side.
        chunk_rows: Rows read and written at once; PERFKIT["BULK_UPDATE_CHUNK_SIZE"] where not given.
        explain: Whether the result says which columns took a slower way, and why.
        using: The alias of the database; the router's choice where not given.
        progress: Called after each chunk with the number of rows read so far.
        after_chunk: Called within the transaction with the rows of each chunk, once they are in the table:
            what `post_save` would be for one. An error of its own ends the call.

    Raises:
        UnsupportedModelError: The model is abstract; before any row is read.
        UsageError: No unique constraint has the `conflict_columns`, or a name or an expression is wrong;
            before any row is read.
        RowShapeError: A row is not one of the model's, or has an unknown key; nothing is written.
        RowDataError: A value does not fit (a `django.db.DataError`); nothing is written.
        RowIntegrityError: Another constraint is broken (a `django.db.IntegrityError`); nothing is written.
            Inside a transaction of yours the database checks foreign keys at its end, as for `bulk_insert`.

    Queries:
        PostgreSQL: one about the table, then one per chunk (and set of columns), three where it has 300 rows
        or more. SQLite: two per row, inside the process.

    Example:
        >>> rows = [{"code": "UA", "name": "United"}]
        >>> bulk_upsert(Airline, rows, conflict_columns=["code"]).created  # doctest: +SKIP
        1
    """
    started = time.perf_counter()
    require_table(model, "bulk_upsert")
    plan = plan_for(model, fields)
    connection = connections[using or router.db_for_write(model)]
    conflict = Conflict(
        plan,
        connection,
        key=conflict_columns,
        updates=update_columns,
        where=where,
        skip_unchanged=skip_unchanged,
    )
    loop = ChunkLoop(
        plan,
        connection,
        checked_size(chunk_rows, options.BULK_UPDATE_CHUNK_SIZE),
        on_error,
        progress,
        after_chunk,
    )
    upserter = _upserter(
        conflict, loop.size, return_rows=return_rows, take_turns=take_turns, is_own=loop.is_own
    )
    total = Outcome()
    returned: list[UpsertedRow | None] = []

    def take(outcome: Outcome) -> None:
        total.add_counts(outcome)
        if return_rows:
            returned.extend(row for _, row in sorted(outcome.by_number.items()))

    with noting(is_wanted=explain) as notes:
        loop.run(rows, upserter, take=take, skip=lambda: returned.append(None))
    seconds = time.perf_counter() - started
    result = UpsertResult(
        rows=loop.rows,
        created=total.created,
        updated=total.updated,
        untouched=total.untouched,
        skipped=loop.skipped,
        slow_columns=notes,
        seconds=seconds,
        rows_per_second=loop.rows / seconds,
        method="+".join(sorted(upserter.methods)),
        returned=returned if return_rows else None,
    )
    if bulk_written.receivers:
        bulk_written.send(model, call="upsert", result=result)
    return result


def _upserter(
    conflict: Conflict, size: int, *, return_rows: bool, take_turns: bool, is_own: bool
) -> ChunkWriter[Row, Outcome]:
    plan, connection = conflict.plan, conflict.connection
    if goes_singly(plan):
        return QuerySetUpserter(conflict)
    if has_copy(connection):
        return StatementUpserter(
            conflict,
            QuerySetUpserter(conflict),
            chunk_rows=size,
            return_rows=return_rows,
            take_turns=take_turns,
            foreign_keys=None if conflict.has_expressions else own_check(plan, connection, is_own=is_own),
        )
    if connection.vendor == "sqlite":
        return ParameterUpserter(conflict, QuerySetUpserter(conflict), return_rows=return_rows)
    return QuerySetUpserter(conflict)
