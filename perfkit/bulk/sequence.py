"""Rows of equal keys follow each other, each in a statement of its own. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from perfkit.bulk.plan import Batch
from perfkit.bulk.shapes import Column

Key = tuple[Any, ...]


def keys_of(batch: Batch, columns: Sequence[Column]) -> list[Key]:
    """Return the rows' keys; of a row that leaves a part to the database, one that is like no other."""
    places = {column: place for place, column in enumerate(batch.columns)}
    if any(column not in places for column in columns):
        return [(None, number) for number in batch.numbers]
    if not columns:
        return [()] * len(batch.numbers)
    return list(zip(*(batch.values[places[column]] for column in columns), strict=True))


def repeats(
    batches: Sequence[Batch], columns: Sequence[Column], *, has_equal_nulls: bool = False
) -> dict[int, int]:
    """Return, by the number of each row whose key earlier ones have, how many have it.

    Args:
        columns: Those of the key; their values are prepared, so that equal ones name one row.
        has_equal_nulls: Whether a key with a NULL may be equal to another.
    """
    if not columns:
        return {}
    if _are_distinct(batches, columns):
        return {}
    keys = [pair for batch in batches for pair in zip(batch.numbers, keys_of(batch, columns), strict=True)]
    seen: dict[Key, int] = {}
    earlier = {}
    for number, key in sorted(keys, key=lambda pair: pair[0]):
        if has_equal_nulls or None not in key:
            earlier[number] = seen.get(key, 0)
            seen[key] = earlier[number] + 1
    return {number: count for number, count in earlier.items() if count}


def _are_distinct(batches: Sequence[Batch], columns: Sequence[Column]) -> bool:
    """Say whether no key comes twice, at the least cost where the rows are one batch with a key of one part."""
    if len(batches) == len(columns) == 1 and columns[0] in batches[0].columns:
        values = batches[0].values[batches[0].columns.index(columns[0])]
        return len(set(values)) == len(values)
    keys = [key for batch in batches for key in keys_of(batch, columns)]
    return len(set(keys)) == len(keys)


def divided(
    batches: Sequence[Batch],
    repeated: dict[int, int],
    label: Callable[[int], Hashable] = lambda _number: None,
) -> list[tuple[Batch, Any]]:
    """Return parts of `batches` with their labels: rows of one label, and none whose key another of its part has.

    Rows whose key comes again are in later parts.

    Args:
        repeated: What `repeats` found.
        label: Of a row, by its number.
    """
    parts: dict[tuple[int, int, Hashable], list[int]] = {}
    for place, batch in enumerate(batches):
        for position, number in enumerate(batch.numbers):
            parts.setdefault((repeated.get(number, 0), place, label(number)), []).append(position)
    ordered = sorted(parts.items(), key=lambda part: part[0][:2])
    return [(chosen(batches[place], positions), name) for (_, place, name), positions in ordered]


def in_order(
    batches: Sequence[Batch],
    columns: Sequence[Column],
    label: Callable[[int], Hashable] = lambda _number: None,
    *,
    has_equal_nulls: bool = False,
) -> list[tuple[Batch, Any]]:
    """Return parts of `batches` with their labels, as `divided` does, but all rows in their order.

    Args:
        columns: Those of the key.
        label: Of a row, by its number.
    """
    rows = [
        (number, place, position, key)
        for place, batch in enumerate(batches)
        for position, (number, key) in enumerate(zip(batch.numbers, keys_of(batch, columns), strict=True))
    ]
    runs: list[tuple[int, Hashable, list[int]]] = []
    seen: set[Key] = set()
    for number, place, position, key in sorted(rows, key=lambda row: row[0]):
        name = label(number)
        if not runs or runs[-1][:2] != (place, name) or key in seen:
            runs.append((place, name, []))
            seen = set()
        runs[-1][2].append(position)
        if has_equal_nulls or None not in key:
            seen.add(key)
    return [(chosen(batches[place], positions), name) for place, name, positions in runs]


def chosen(batch: Batch, positions: Sequence[int]) -> Batch:
    """Return some rows of a batch."""
    if len(positions) == len(batch.numbers):
        return batch
    return Batch(
        [batch.numbers[at] for at in positions],
        batch.columns,
        [[values[at] for at in positions] for values in batch.values],
    )
