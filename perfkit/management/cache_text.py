"""What `perfkit_cache` prints: statistics, and what is stored, as lines of text and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from django.utils.timezone import localtime

from perfkit.caching import CacheStatistics, ReadStatistics, StoreFigures
from perfkit.caching.inspection import Inspection, TagState

HEADINGS: Final = ("model or function", "hits", "misses", "hit rate", "bypasses")
SHOWN_ROWS: Final = 5
LONGEST_VALUE: Final = 80
MEGABYTE: Final = 1_000_000


def statistics_lines(found: CacheStatistics) -> Iterator[str]:
    """Yield the table of models and functions, why reads went past the cache, and what the store says."""
    yield f"Cached reads since {localtime(found.since):%Y-%m-%d %H:%M}"
    yield ""
    if found.labels:
        yield from _table([HEADINGS, *map(_cells, found.labels), ("all", *_cells(found.total)[1:])])
    else:
        yield "None were counted."
    if found.total.bypasses:
        yield ""
        reasons = [(reason, f"{number:,}") for reason, number in found.total.bypasses.items()]
        yield from _table([("why reads went past the cache", "reads"), *reasons])
    yield ""
    yield f"outages   {found.outages:,} noticed by processes{', and it is one now' if found.is_down else ''}"
    if found.store is not None:
        yield from _figures_lines(found.store, is_shared=found.is_shared)


def statistics_json(found: CacheStatistics) -> dict[str, Any]:
    """Return the same as values that JSON has."""
    store = found.store
    return {
        "window": found.window,
        "since": found.since.isoformat(),
        "total": _reads_json(found.total),
        "labels": [{"label": each.label, **_reads_json(each)} for each in found.labels],
        "outages": found.outages,
        "is_shared": found.is_shared,
        "is_down": found.is_down,
        "problem": found.problem,
        "store": None if store is None else {name: getattr(store, name) for name in store.__slots__},
    }


def inspection_lines(found: Inspection, *, columns: Sequence[str] = (), shows_values: bool) -> Iterator[str]:
    """Yield what is stored under a key.

    Args:
        columns: Names of the values of a row, where they are known.
        shows_values: Whether to show the first rows.
    """
    yield f"key       {printable(found.key)}"
    if found.database:
        yield f"database  {found.database}"
    if found.size_bytes is None:
        yield "stored    no"
    elif found.is_value:
        yield f"stored    a value, {found.size_bytes:,} bytes"
        yield f"holds     {'yes' if found.is_valid else 'no, the next read makes it anew'}"
    elif found.row_count is None:
        yield f"stored    {found.size_bytes:,} bytes that are no answer of this version"
    else:
        rows = "1 row" if found.row_count == 1 else f"{found.row_count:,} rows"
        packed = ", compressed" if found.is_compressed else ""
        yield f"stored    {rows}, {found.size_bytes:,} bytes{packed}, {found.seconds_left or 0:,.0f} s left"
        yield f"holds     {'yes' if found.is_valid else 'no, the next read asks the database'}"
    yield from tag_lines(found.tags)
    for row in found.rows[:SHOWN_ROWS] if shows_values else ():
        names = columns if len(columns) == len(row) else [str(place) for place in range(len(row))]
        yield f"row       {', '.join(f'{name}={_value(value)}' for name, value in zip(names, row, strict=True))}"
    if shows_values and len(found.rows) > SHOWN_ROWS:
        yield f"row       … and {len(found.rows) - SHOWN_ROWS:,} more"


def tag_lines(tags: Sequence[TagState]) -> Iterator[str]:
    """Yield how tags stand, one a line."""
    width = max((len(each.state) for each in tags), default=0)
    for each in tags:
        yield f"tag       {each.state:<{width}}  {printable(each.tag) or '(which one, cannot be told)'}"


def printable(text: str) -> str:
    """Return text that does nothing to a terminal."""
    return "".join(each if each.isprintable() else "�" for each in text)


def _cells(reads: ReadStatistics) -> tuple[str, ...]:
    rate = "-" if reads.hit_rate is None else f"{reads.hit_rate:.1%}"
    return (reads.label or "-", f"{reads.hits:,}", f"{reads.misses:,}", rate, f"{reads.bypassed:,}")


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield rows whose first cells are texts and whose others are numbers; the first row is the headings."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        numbers = [f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True)]
        yield "  ".join([f"{row[0]:<{widths[0]}}", *numbers])


def _figures_lines(store: StoreFigures, *, is_shared: bool) -> Iterator[str]:
    bound = "" if store.most_bytes is None else f" of {store.most_bytes / MEGABYTE:,.1f}"
    yield f"store     {store.name if is_shared else 'inside this process, whose figures these are'}"
    yield f"memory    {store.used_bytes / MEGABYTE:,.1f}{bound} MB"
    yield f"evicted   {store.evicted:,} keys since it started"
    if store.keys is not None:
        yield f"keys      {store.keys:,}"
    if store.own_keys is not None:
        yield f"own keys  {'about ' if store.is_estimate else ''}{store.own_keys:,}"


def _reads_json(reads: ReadStatistics) -> dict[str, Any]:
    return {
        "hits": reads.hits,
        "misses": reads.misses,
        "hit_rate": reads.hit_rate,
        "bypassed": reads.bypassed,
        "bypasses": dict(reads.bypasses),
        "refused_for_size": reads.refused_for_size,
    }


def _value(value: object) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"
