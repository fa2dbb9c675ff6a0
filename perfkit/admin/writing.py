"""Rows into the table, by the bulk call of what was chosen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import models

from perfkit.admin.links import WrittenRow
from perfkit.admin.rows import Values
from perfkit.admin.ways import INSERT, UPDATE, Way
from perfkit.bulk import SkippedRow, bulk_insert, bulk_update, bulk_upsert
from perfkit.bulk.chunks import OnError


@dataclass
class Written:
    """What became of rows.

    Attributes:
        rows: Of each row, None where it was refused; empty where that was not asked for.
    """

    created: int = 0
    updated: int = 0
    untouched: int = 0
    skipped: Sequence[SkippedRow] = ()
    rows: list[WrittenRow | None] = field(default_factory=list)


def write_rows(
    model: type[models.Model],
    rows: Iterable[Values],
    way: Way,
    *,
    on_error: OnError,
    using: str,
    tells_rows: bool,
) -> Written:
    """Write `rows`, consumed once, as one of the bulk calls does.

    Args:
        tells_rows: Whether the result says what became of each.
    """
    if way.kind == INSERT:
        inserted = bulk_insert(model, rows, on_error=on_error, using=using, return_ids=tells_rows)
        told = [None if pk is None else WrittenRow(pk, is_untouched=False) for pk in inserted.ids or ()]
        return Written(created=inserted.rows, skipped=inserted.skipped, rows=told)
    if way.kind == UPDATE:
        return _update(model, rows, on_error=on_error, using=using)
    upserted = bulk_upsert(
        model,
        rows,
        conflict_columns=way.key,
        skip_unchanged=True,
        return_rows=tells_rows,
        on_error=on_error,
        using=using,
    )
    return Written(
        created=upserted.created,
        updated=upserted.updated,
        untouched=upserted.untouched,
        skipped=upserted.skipped,
        rows=[
            None if row is None else WrittenRow(row.pk, row.outcome == "untouched")
            for row in upserted.returned or ()
        ],
    )


def _update(model: type[models.Model], rows: Iterable[Values], *, on_error: OnError, using: str) -> Written:
    pk = model._meta.pk.attname
    told: list[WrittenRow | None] = []

    def pairs() -> Iterator[tuple[Any, Values]]:
        for row in rows:
            changes = {name: value for name, value in row.items() if name != pk}
            told.append(WrittenRow(row[pk], is_untouched=not changes))
            yield row[pk], changes

    updated = bulk_update(model, pairs(), on_error=on_error, using=using)
    for row in updated.skipped:
        told[row.row_number] = None
    untouched = sum(row is not None and row.is_untouched for row in told)
    return Written(updated=updated.updated, untouched=untouched, skipped=updated.skipped, rows=told)
