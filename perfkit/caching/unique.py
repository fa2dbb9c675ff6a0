"""Rows by the value of a unique field, found by their keys.

# Note [A remembered key is never trusted]
The process remembers which key the row with a value had, and reads that row as `get(pk=…)` does.
Where the row, as it is now, still has the value, it is the answer, for no other row can have it.
Where it has not, nothing follows, and the query is asked.
So nobody need be told when a value moves to another row, and a read depends on one row only.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

from django.db import connections

from perfkit.caching.locks import fork_safe_lock
from perfkit.caching.registry import TrackedModel, UniqueColumn
from perfkit.caching.rows import layout_of
from perfkit.caching.tags import PrimaryKey

MOST_KEYS: Final = 20_000
"""Remembered in a process; the one asked for longest ago goes first."""

_keys: Final[OrderedDict[tuple[type, str, PrimaryKey, str], PrimaryKey]] = OrderedDict()
_lock: Final = fork_safe_lock()


def read_by_unique(
    tracked: TrackedModel, column: UniqueColumn, value: PrimaryKey, *, alias: str, ttl_seconds: int
) -> Any:
    """Return the instance with this value, None where its key is not known.

    See Note [A remembered key is never trusted].

    Queries:
        As many as `read_one`.
    """
    pk = _keys.get((tracked.model, column.name, value, alias))
    if pk is None:
        return None
    connection = connections[alias]
    layout = layout_of(tracked, connection)
    row = layout.row(pk, connection=connection, ttl_seconds=ttl_seconds)
    if row is None or column.to_key(row[column.place]) != value:
        return None
    return layout.instance(row, connection)


def remember_key(
    tracked: TrackedModel, column: UniqueColumn, value: PrimaryKey, *, alias: str, pk: object
) -> None:
    """Remember the key of the row that has this value."""
    key = tracked.to_pk(pk)
    if key is None:
        return
    with _lock:
        place = (tracked.model, column.name, value, alias)
        _keys[place] = key
        _keys.move_to_end(place)
        if len(_keys) > MOST_KEYS:
            _keys.popitem(last=False)


def forget_keys() -> None:
    """Forget every key."""
    with _lock:
        _keys.clear()
