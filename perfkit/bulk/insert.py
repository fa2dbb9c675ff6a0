"""The public call: any rows in, all of them in the table or none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence, Sized
from dataclasses import dataclass
from typing import Any

from django.db import connections, models, router
from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.bulk.chunks import ChunkLoop, ChunkWriter, OnError, SkippedRow, checked_size
from perfkit.bulk.copy import CopyWriter
from perfkit.bulk.explain import noting
from perfkit.bulk.foreign_keys import own_check
from perfkit.bulk.ignoring import ignoring_writer
from perfkit.bulk.outcomes import Outcome
from perfkit.bulk.plan import RowPlan, plan_for, require_table
from perfkit.bulk.shapes import Row
from perfkit.bulk.statements import InstanceWriter, ParameterWriter, goes_singly
from perfkit.bulk.table import has_copy
from perfkit.bulk.telling import told
from perfkit.conf import options
from perfkit.errors import UnsupportedModelError, UsageError
from perfkit.signals import bulk_written


@dataclass(frozen=True)
class InsertResult:
    """What a `bulk_insert` did.

    Attributes:
        rows: Rows written.
        seconds: Wall-clock time of the whole call, the reading of the rows included.
        rows_per_second: `rows / seconds`.
        method: `"copy"`, `"insert"`, or `"copy+insert"` where some chunks were not copied; "" for no rows.
            With `ignore_conflicts` as of an upsert.
        ids: The primary keys in the order of the rows, None for a row that was skipped;
            or None where they were not asked for.
        ignored: Rows that met a unique constraint, where `ignore_conflicts` is set.
        skipped: Rows that were refused, where `on_error` is `"report"`.
        slow_columns: Where `explain` is set: why a field's values, or `"(rows)"`, took a slower way.
    """

    rows: int
    seconds: float
    rows_per_second: float
    method: str
    ids: list[Any] | None
    ignored: int
    skipped: list[SkippedRow]
    slow_columns: dict[str, str] | None


@told("insert")
def bulk_insert(
    model: type[models.Model],
    rows: Iterable[Row],
    *,
    fields: Sequence[str] | None = None,
    chunk_rows: int | None = None,
    return_ids: bool = False,
    ignore_conflicts: bool = False,
    on_error: OnError = "raise",
    explain: bool = False,
    using: str | None = None,
    progress: Callable[[int], object] | None = None,
    after_chunk: Callable[[list[Any]], object] | None = None,
) -> InsertResult:
    """Insert `rows`, all of them or, where one fails, none, unless `on_error` says otherwise.

    What reaches the table is what Django's bulk_create would write: defaults, auto_now, `pre_save` and
    `get_db_prep_save` are honoured, generated columns are left out, a database default fills what is not given.
    No signals are sent per row, and `full_clean` is not called.
    Stricter than Django in one thing: text longer than `max_length` is refused on SQLite too.

    One chunk is in memory at a time, and by COPY some megabytes of encoded rows (with `return_ids`, the ids too).
    PostgreSQL takes binary COPY, other databases INSERT; so do rows that hold expressions, and tables with
    column types of other makers, with rules or with row security.
    Instances get what `pre_save` sets; those whose key is known afterwards are marked as saved.

    Args:
        model: A proxy stands for its own model. One whose rows are spread over several tables, by
            multi-table inheritance, is written by an INSERT for each of them.
        rows: Dicts by field name, instances of the model, named tuples, or objects of dataclasses, msgspec or
            pydantic, in any iterable, consumed once; they may be mixed.
            A row may name a foreign key `airline=airline` or `airline_id="UA"`;
            what it leaves out takes its default.
        fields: The names of the fields, where rows are plain tuples.
        chunk_rows: Rows read at once; PERFKIT["BULK_INSERT_CHUNK_SIZE"] where not given.
        return_ids: Whether the result holds the primary keys; instances get theirs too.
        ignore_conflicts: Whether rows that meet a unique constraint are left out, and counted.
        on_error: `"raise"`, or `"report"`: bad rows are skipped and told in the result, the others are written,
            chunk by chunk, each in a transaction of its own (in yours, where there is one).
            In a table that refers to itself the rows referred to must come first then.
        explain: Whether the result says which columns took a slower way, and why.
        using: The alias of the database; the router's choice where not given.
        progress: Called after each chunk with the number of rows read so far.
        after_chunk: Called within the transaction with the rows of each chunk, once they are in the table:
            what `post_save` would be for one. An error of its own ends the call.

    Raises:
        UnsupportedModelError: The model is abstract; before any row is read.
        RowShapeError: A row is not one of the model's, or has an unknown key; nothing is written.
        RowDataError: A value does not fit (a `django.db.DataError`); nothing is written.
        RowIntegrityError: A constraint is broken (a `django.db.IntegrityError`); nothing is written.
            Inside a transaction of yours the database checks foreign keys at its end:
            then Django's IntegrityError comes from your COMMIT, without a row.

    Queries:
        PostgreSQL: one about the table, then a COPY for up to four megabytes of rows, and a draw of ids per chunk
        with `return_ids`, or one for all where their number is known.
        Where foreign keys are checked by set: four more before the first COPY, and three for each.

    Example:
        >>> bulk_insert(Airline, [{"code": "UA", "name": "United"}]).rows  # doctest: +SKIP
        1
    """
    started = time.perf_counter()
    require_table(model, "bulk_insert")
    plan = plan_for(model, fields)
    if return_ids and plan.pk is None:
        raise UnsupportedModelError(
            plan.label, "bulk_insert(return_ids=True)", "its primary key is composite."
        )
    if return_ids and ignore_conflicts:
        raise UsageError(
            "return_ids and ignore_conflicts exclude each other: bulk_upsert(return_rows=True) tells."
        )
    connection = connections[using or router.db_for_write(model)]
    loop = ChunkLoop(
        plan,
        connection,
        checked_size(chunk_rows, options.BULK_INSERT_CHUNK_SIZE),
        on_error,
        progress,
        after_chunk,
    )
    ids: list[Any] = []
    total = Outcome()
    writer: ChunkWriter[Row, Any]
    with noting(is_wanted=explain) as notes:
        if ignore_conflicts:
            writer = ignoring_writer(plan, connection, chunk_rows=loop.size, is_own=loop.is_own)
            loop.run(rows, writer, take=total.add_counts)
        else:
            total_rows = len(rows) if isinstance(rows, Sized) else 0
            writer = _writer(
                plan, connection, return_ids=return_ids, total_rows=total_rows, is_own=loop.is_own
            )
            loop.run(rows, writer, take=ids.extend, skip=lambda: ids.append(None))
    written = loop.rows - len(loop.skipped) - total.untouched
    seconds = time.perf_counter() - started
    result = InsertResult(
        rows=written,
        seconds=seconds,
        rows_per_second=written / seconds,
        method="+".join(sorted(writer.methods)),
        ids=ids if return_ids else None,
        ignored=total.untouched,
        skipped=loop.skipped,
        slow_columns=notes,
    )
    if bulk_written.receivers:
        bulk_written.send(model, call="insert", result=result)
    return result


def _writer(
    plan: RowPlan, connection: BaseDatabaseWrapper, *, return_ids: bool, total_rows: int, is_own: bool
) -> ChunkWriter[Row, list[Any]]:
    if goes_singly(plan):
        return InstanceWriter(plan, connection)
    if has_copy(connection):
        check = own_check(plan, connection, is_own=is_own)
        return CopyWriter(plan, connection, return_ids=return_ids, total_rows=total_rows, foreign_keys=check)
    if connection.vendor == "sqlite" and not return_ids:
        return ParameterWriter(plan, connection)
    return InstanceWriter(plan, connection)
