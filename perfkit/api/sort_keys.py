"""The keys of a sort, as a request writes them: `airline,-time_hour`."""

from __future__ import annotations

from typing import Any

SortKeys = tuple[tuple[str, bool], ...]
"""Names of the API, each with whether it is descending."""


def listed(value: Any) -> list[Any]:
    """Return what is given in one parameter, or in several of the same name."""
    given = list(value) if isinstance(value, list | tuple) else [value]
    return [part.strip() if isinstance(part, str) else part for each in given for part in _parts(each)]


def _parts(value: Any) -> list[Any]:
    return value.split(",") if isinstance(value, str) else [value]


def split_sign(key: Any) -> tuple[Any, bool]:
    """Return the name of a key, and whether it is descending; what is no text is left to be refused."""
    return (key.removeprefix("-"), key.startswith("-")) if isinstance(key, str) else (key, False)


def query_of(keys: SortKeys) -> str:
    """Return an order as a request asks for it."""
    if len(keys) == 1:
        return f"sort_by={keys[0][0]}&sort_order={'desc' if keys[0][1] else 'asc'}"
    return f"sort_by={','.join(('-' if descending else '') + name for name, descending in keys)}"
