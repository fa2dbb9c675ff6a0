"""Rows that are written past the cursor, by whoever then tells of them: `perfkit.signals.rows_written`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import connections
from django.db.models import Model

from perfkit.caching.databases import tag_scope
from perfkit.caching.registry import TrackedTable, table_name
from perfkit.caching.sources import watched_table
from perfkit.caching.statements import MOST_ROW_TAGS
from perfkit.caching.tags import any_write_tag, row_tag, table_tag
from perfkit.caching.writes import tracker_of


def rows_were_written(
    *, sender: type[Model], using: str, pks: Iterable[Any] | None, operation: str, **_: object
) -> None:
    """Have the rows announced when their transaction commits; receiver of the signal."""
    connection = connections[using]
    tracker = tracker_of(connection)
    if tracker is None:
        return  # a database that nothing is cached from
    if not tracker.visibility.in_transaction:
        raise RuntimeError(
            f"rows_written was sent for {sender._meta.label} outside the transaction that writes them"
        )
    table = watched_table(table_name(sender))
    tracker.wrote(frozenset() if table is None else _tags_of(table, tag_scope(connection), pks, operation))


def _tags_of(table: TrackedTable, scope: str, pks: Iterable[Any] | None, operation: str) -> frozenset[str]:
    changed = table.changes if operation in {"insert", "update"} else table.changes | table.cascades
    tags = {tag(scope, name) for name in changed for tag in (any_write_tag, table_tag)}
    if not table.is_read:
        return frozenset(tags)
    tags.add(any_write_tag(scope, table.name))
    if table.declared:
        tags.add(table_tag(scope, table.name))  # nobody says which values the rows have, or had
    elif pks is not None:
        keys = [table.to_pk(pk) for pk in pks]
        if len(keys) > MOST_ROW_TAGS or any(key is None for key in keys):
            tags.add(table_tag(scope, table.name))
        else:
            tags |= {row_tag(scope, table.name, key) for key in keys if key is not None}
    elif operation != "insert":  # on new rows no read that found a row by its key depends
        tags.add(table_tag(scope, table.name))
    return frozenset(tags)
