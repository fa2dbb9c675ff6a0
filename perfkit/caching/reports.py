"""How well the cache serves: hits, misses and bypasses of all processes, by model and function."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from asgiref.sync import sync_to_async

from perfkit.caching.coherence import breaker
from perfkit.caching.counting import WINDOWS, counting, parsed
from perfkit.caching.store import Store, StoreError, StoreFigures, current_store
from perfkit.conf import options
from perfkit.errors import SettingsError

TOO_LARGE: Final = "size"
"""The reason of a bypass where an answer is too large to be kept."""


@dataclass(frozen=True, slots=True)
class ReadStatistics:
    """What cached reads came to.

    Args:
        label: Of the model (`app.Model`) or the cached function (its dotted name).
        hits: Reads that were answered from the cache.
        misses: Reads that asked the database, to keep its answer.
        bypasses: Reads that asked the database and kept nothing, by reason.
            An answer that turned out not to be storable counts as a miss, too.
    """

    label: str
    hits: int = 0
    misses: int = 0
    bypasses: Mapping[str, int] = field(default_factory=dict)

    @property
    def bypassed(self) -> int:
        """All bypasses together."""
        return sum(self.bypasses.values())

    @property
    def refused_for_size(self) -> int:
        """Answers that were not kept because they are too large."""
        return self.bypasses.get(TOO_LARGE, 0)

    @property
    def hit_rate(self) -> float | None:
        """Share of hits among hits and misses, from 0 to 1; None where there were neither."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else None

    @property
    def hit_percent(self) -> float | None:
        """The same in percent."""
        rate = self.hit_rate
        return None if rate is None else rate * 100


@dataclass(frozen=True, slots=True)
class CacheStatistics:
    """What the cache did in a stretch of time that ends now.

    Args:
        window: `"hour"` or `"day"`.
        since: When it began: a few minutes more than an hour ago, or up to an hour more than a day.
        labels: By model and function, those with the most reads first.
        total: Of all of them.
        outages: How often a process found that the cache server had stopped answering.
        store: What the store tells of itself, None where there is none or it does not.
        is_shared: Whether the figures are of all processes, or of this one alone.
        is_down: Whether this process believes at the moment that the server does not answer.
        problem: Why figures are missing; those that are there are then of this process alone.
    """

    window: str
    since: datetime
    labels: tuple[ReadStatistics, ...]
    total: ReadStatistics
    outages: int
    store: StoreFigures | None
    is_shared: bool
    is_down: bool
    problem: str = ""


def statistics(*, window: str = "hour", counts_keys: bool = False) -> CacheStatistics:
    """Return what the cache did in the last hour or day, in all processes that use the same server.

    A process tells what it counted every `METRICS_INTERVAL` seconds. Where nothing is measured it does so at the
    end of a request or task, at most once a second; in the middle of one, every five seconds.
    So what others did in the last seconds may be missing; what this process did is there.
    They are the numbers that `manage.py perfkit_stats` and the admin show.
    The figures begin anew when the server restarts.
    With a `LocMemCache` they are those of this process alone.

    Args:
        window: `"hour"` or `"day"`.
        counts_keys: Whether to count perfkit's keys on the server, or to estimate their number where they are
            more than 20,000; it takes up to 20 round trips.

    Raises:
        ValueError: There is no such window.

    Queries:
        None; four round trips to the cache server, and those that tell what was measured.
    """
    if window not in WINDOWS:
        raise ValueError(f"window must be one of {', '.join(map(repr, WINDOWS))}, not {window!r}.")
    chosen = WINDOWS[window]
    now = counting.moment()
    first = chosen.part(now) - chosen.parts + 1
    since = first * chosen.part_seconds
    store, problem = _told_store()
    numbers: dict[str, int] = {}
    parts = range(first, first + chosen.parts)
    figures = None
    if store is not None:
        try:
            numbers = store.counted([chosen.name(part) for part in parts])
            if counting.taker is not None:
                _add(numbers, counting.taker.counted(chosen, parts))
            figures = store.figures(counts_keys=counts_keys)
        except StoreError as error:
            problem = str(error)
    _add(numbers, counting.waiting(since=since))
    if counting.taker is not None:
        _add(numbers, counting.taker.waiting(chosen, parts))
    labels, outages = summed(numbers)
    return CacheStatistics(
        window=window,
        since=datetime.fromtimestamp(since, tz=UTC),
        labels=labels,
        total=_total(labels),
        outages=outages,
        store=figures,
        is_shared=store is not None and store.is_shared,
        is_down=breaker.is_open,
        problem=problem,
    )


def _told_store() -> tuple[Store | None, str]:
    """Tell the store what this process counted, and return it, or why there is none."""
    try:
        store = current_store() if options.CACHE_ENABLED else None
        counting.tell()
    except SettingsError as error:  # a project that caches nothing may have any back end
        return None, str(error)
    return store, "" if store is not None else "Caching is off."


def _add(numbers: dict[str, int], others: Mapping[str, int]) -> None:
    for name, number in others.items():
        numbers[name] = numbers.get(name, 0) + number


async def astatistics(*, window: str = "hour", counts_keys: bool = False) -> CacheStatistics:
    """Return what `statistics` does, from async code."""
    return await sync_to_async(statistics)(window=window, counts_keys=counts_keys)


def summed(numbers: Mapping[str, int]) -> tuple[tuple[ReadStatistics, ...], int]:
    """Return what was counted by label, those with the most reads first, and how many outages were. Pure."""
    hits: dict[str, int] = {}
    misses: dict[str, int] = {}
    bypasses: dict[str, dict[str, int]] = {}
    outages = 0
    for name, number in numbers.items():
        known = parsed(name)
        if known is None:
            continue
        outcome, reason, label = known
        if outcome == "outage":
            outages += number
            continue
        bypasses.setdefault(label, {})
        if outcome == "bypass":
            bypasses[label][reason] = bypasses[label].get(reason, 0) + number
        else:
            of_label = hits if outcome == "hit" else misses
            of_label[label] = of_label.get(label, 0) + number
    found = [
        ReadStatistics(label, hits.get(label, 0), misses.get(label, 0), _most_first(reasons))
        for label, reasons in bypasses.items()
    ]
    found.sort(key=lambda each: (-(each.hits + each.misses + each.bypassed), each.label))
    return tuple(found), outages


def _total(labels: tuple[ReadStatistics, ...]) -> ReadStatistics:
    reasons: dict[str, int] = {}
    for each in labels:
        for reason, number in each.bypasses.items():
            reasons[reason] = reasons.get(reason, 0) + number
    hits, misses = sum(each.hits for each in labels), sum(each.misses for each in labels)
    return ReadStatistics("", hits, misses, _most_first(reasons))


def _most_first(reasons: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0])))
