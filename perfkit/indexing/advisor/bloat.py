"""Estimates how much of a B-tree no row needs. Pure."""

from __future__ import annotations

import math
from typing import Final

from perfkit.indexing.advisor.standing import StandingIndex

PAGE_BYTES: Final = 8192
PAGE_HEAD_BYTES: Final = 24 + 16
"""The page's own and that of the B-tree."""
TUPLE_HEAD_BYTES: Final = 8
NULL_MAP_BYTES: Final = 8
"""Four of them, aligned with the head."""
POINTER_BYTES: Final = 4
ALIGNMENT: Final = 8
LEAST_PAGES: Final = 2


def wasted_part(index: StandingIndex) -> float | None:
    """Return the part of an index's pages that its rows do not need, None where the statistics do not tell.

    It takes each row for an entry of its own. PostgreSQL keeps rows with equal values together,
    so an index may need less than is thought here, and is never called worse than it is.

    Source:
        PostgreSQL manual, "B-Tree Implementation" and "Database Page Layout".
    """
    if index.spec.method != "btree" or index.is_partitioned or not index.size_bytes:
        return None
    if index.rows is None or index.figures is None:
        return None
    head = TUPLE_HEAD_BYTES + (NULL_MAP_BYTES if any(each.null_part for each in index.figures) else 0)
    width = sum((1 - each.null_part) * each.width_bytes for each in index.figures)
    row_bytes = _aligned(head + width) + POINTER_BYTES
    room = (PAGE_BYTES - PAGE_HEAD_BYTES) * index.fill_percent / 100
    needed = max(LEAST_PAGES, math.ceil(index.rows / max(1, room // row_bytes)) + 1)
    return max(0.0, 1 - needed * PAGE_BYTES / index.size_bytes)


def _aligned(size: float) -> int:
    return math.ceil(size / ALIGNMENT) * ALIGNMENT
