"""What is measured: kinds of series, the numbers of their events, and the pages of the ledger that hold them.

| kind | labels | numbers of an event |
|---|---|---|
| `request` | method, view, class of the status | microseconds, those in the database, queries |
| `query` | alias, verb, fingerprint | microseconds, 1 if it was slow, 1 if it failed |
| `task` | name, queue, outcome | microseconds, retries |
| `wait` | queue | microseconds until a task began |
| `timed` | name | microseconds, 1 if it raised |
| `model` | model, outcome | microseconds, tokens, those of the answer among them |
| `cache` | model or function, outcome, reason | how many |
| `loop` | kind, relation | how many, queries in all |
| `limit` | rule, outcome | how many |
| `pool` | alias | 1, connections in use, those that there may be |
| `queue` | alias | how often a connection was waited for, microseconds, how often in vain |
| `lost` | | minutes of measurements |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from django.conf import settings

from perfkit.caching.windows import Window
from perfkit.monitoring.buckets import buckets_of_all, coarse, standard
from perfkit.monitoring.ledgers import Addition, Vector, add_to

FIRST_BUCKET: Final = 16
"""Index of the first bucket in a vector; those before it hold the sums of an event's numbers."""

TIMES: Final = frozenset({"request", "query", "task", "wait", "timed", "model"})
"""Kinds whose first number is a duration, which goes into buckets."""

MINUTES: Final = Window("M", 60, 24 * 60 + 1)
TWENTIES: Final = Window("W", 1200, 73)
"""What minutes come to, for the chart of a day: it would read twenty times as many pages otherwise."""

FIVES: Final = Window("S", 300, 13)
HOURS: Final = Window("H", 3600, 25)
WINDOWS: Final = (MINUTES, TWENTIES, FIVES, HOURS)
TOTALS: Final = {
    "view": 45,
    "request": 230,
    "query": 12,
    "run": 15,
    "task": 45,
    "wait": 6,
    "timed": 15,
    "model": 6,
    "answer": 15,
    "read": 80,
    "bypass": 15,
    "outage": 1,
    "loop": 5,
    "limit": 30,
    "queue": 6,
    "lost": 1,
}
"""Pages of all that was counted since the server began, and the names that each has room for.

Each name comes to some series in Prometheus: with all pages full there are fewer than 2,000, and some more where
a project has more than two databases: see `room_of`.
Which names have a place of their own is decided here, by who comes first: what moved from or to `other` would look
as if it had been counted twice. Only who was not seen for a day gives its place up, and its numbers with it.
"""

MOST_ALIASES: Final = 6
"""Of databases that are told apart in Prometheus."""

MOST_IN_MINUTE: Final = 60
MOST_IN_PART: Final = 1_100
TOTAL_SECONDS: Final = 7 * 86_400

VERBS: Final = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"})


class Series(NamedTuple):
    """One thing that is measured."""

    kind: str
    labels: tuple[str, ...]


def minute_names(series: Series) -> tuple[str, ...]:
    """Return what a minute knows it as: only what does not grow with the project, for there are many minutes."""
    kind, labels = series
    match kind:
        case "request":
            names: tuple[str, ...] = (f"request\t{labels[2]}",)
        case "query":
            names = (f"query\t{labels[0]}\t{labels[1]}",)
        case "task":
            names = (f"task\t{labels[1]}\t{labels[2]}",)
        case "cache" | "limit":
            names = (f"{kind}\t{labels[1]}",)
        case "wait" | "pool":
            names = (name_of(series),)
        case _:
            names = ()
    return names


def part_names(series: Series) -> tuple[str, ...]:
    """Return what five minutes and hours know it as."""
    if series.kind == "query":
        alias, verb, fingerprint = series.labels
        return f"query\t{alias}\t{verb}", f"statement\t{alias}\t{fingerprint}"
    return (name_of(series),)


def total_page(kind: str) -> str:
    """Return the name of a page of `TOTALS`."""
    return f"T:{kind}"


def room_of(kind: str) -> int:
    """Return how many names a page of `TOTALS` has room for; for queries at least each verb of each database."""
    verbs = len(VERBS) + 1
    return max(TOTALS[kind], verbs * min(len(settings.DATABASES), MOST_ALIASES) if kind == "query" else 0)


def total_parts(series: Series, vector: Vector) -> Iterator[tuple[str, str, Vector]]:
    """Yield the pages of `TOTALS` that a series goes into, its name there, and what is added to that.

    The first word of a name is what is still told where there is no room for it.
    """
    timed = _timed_name(series)
    if timed is not None:
        yield timed.partition("\t")[0], timed, _with_buckets(vector, standard)
    kind, labels = series
    match kind:
        case "request":
            yield kind, f"{labels[2]}\t{labels[0]}\t{labels[1]}", {0: count_of(vector)}
        case "task":
            yield kind, f"{labels[2]}\t{labels[0]}\t{labels[1]}", {0: count_of(vector)}
        case "model":
            tokens: Vector = {index: vector[index] for index in (1, 2) if index in vector}
            yield "answer", f"{labels[1]}\t{labels[0]}", {0: count_of(vector), **tokens}
        case "cache":
            yield from _read_parts(labels, {0: vector.get(0, 0)})
        case "loop":
            yield kind, f"loop\t{labels[0]}", vector
        case "limit":
            yield kind, f"{labels[1]}\t{labels[0]}", vector
        case "queue" | "lost":
            yield kind, name_of(series), vector


def _timed_name(series: Series) -> str | None:
    """Return the name whose durations a series is one of."""
    kind, labels = series
    match kind:
        case "request":
            return f"view\t{labels[1]}"
        case "query":
            return f"query\t{labels[0]}\t{labels[1]}"
        case "task":
            return f"run\t{labels[0]}\t{labels[1]}"
        case "model":
            return f"model\t{labels[0]}"
        case "wait" | "timed":
            return name_of(series)
    return None


def _read_parts(labels: tuple[str, ...], count: Vector) -> Iterator[tuple[str, str, Vector]]:
    if "outage" in labels[:2]:
        yield "outage", "outage", count
        return
    label, outcome, reason = labels
    yield "read", f"{outcome}\t{label}", count
    if outcome == "bypass":
        yield "bypass", f"bypass\t{reason}", count


def name_of(series: Series) -> str:
    """Return the name of all of it."""
    return "\t".join([series.kind, *series.labels])


Event = tuple[int, int, int]
"""The numbers of an event."""


def vector_of(kind: str, events: list[Event]) -> Vector:
    """Return what the events of one series come to.

    Example:
        >>> vector_of("cache", [(2, 0, 0), (3, 1, 0)])
        {0: 5, 1: 1}
    """
    firsts, *others = zip(*events, strict=True)
    vector = {0: sum(firsts)}
    for index, numbers in enumerate(others, 1):
        if number := sum(numbers):
            vector[index] = number
    if kind in TIMES:
        for bucket, number in buckets_of_all(firsts).items():
            vector[FIRST_BUCKET + bucket] = number
    return vector


def pages_of(
    sums: Mapping[Series, Vector], moment: float, *, now: float | None = None
) -> dict[str, Addition]:
    """Return what is added to each page.

    Args:
        moment: When it was measured, in seconds since 1970.
        now: When it is told; pages that nobody looks at any more are left out. None for the same moment.
    """
    told = moment if now is None else now
    minute: dict[str, Vector] = {}
    part: dict[str, Vector] = {}
    totals: dict[str, dict[str, Vector]] = {}
    for series, vector in sums.items():
        _add(minute, minute_names(series), _with_buckets(vector, coarse))
        _add(part, part_names(series), vector)
        for kind, name, rest in total_parts(series, vector):
            _add(totals.setdefault(kind, {}), [name], rest)
    pages = {
        window.name(window.part(moment)): Addition(vectors, window.kept_seconds, most)
        for window, vectors, most in (
            (MINUTES, minute, MOST_IN_MINUTE),
            (TWENTIES, minute, MOST_IN_MINUTE),
            (FIVES, part, MOST_IN_PART),
            (HOURS, part, MOST_IN_PART),
        )
        if window.part(told) - window.part(moment) < window.parts
    }
    for kind, vectors in totals.items():
        pages[total_page(kind)] = Addition(vectors, TOTAL_SECONDS, room_of(kind), is_lasting=True)
    return pages


def pages_until(now: float) -> list[str]:
    """Return the names of all pages of stretches of time that may be kept at a moment."""
    return [window.name(window.part(now) - ago) for window in WINDOWS for ago in range(-1, window.parts + 2)]


def total_pages() -> list[str]:
    """Return the names of the pages of all that was counted since the server began."""
    return [total_page(kind) for kind in TOTALS]


def buckets_of(vector: Vector) -> dict[int, int]:
    """Return the buckets of a vector alone."""
    return {index - FIRST_BUCKET: number for index, number in vector.items() if index >= FIRST_BUCKET}


def count_of(vector: Vector) -> int:
    """Return how many durations a vector holds."""
    return sum(number for index, number in vector.items() if index >= FIRST_BUCKET)


def summed(vectors: Iterable[Vector]) -> Vector:
    """Return the sum of vectors."""
    sums: Vector = {}
    for vector in vectors:
        add_to(sums, vector.items())
    return sums


def _with_buckets(vector: Vector, rougher: Callable[[int], int]) -> Vector:
    found: Vector = {}
    for index, number in vector.items():
        place = index if index < FIRST_BUCKET else FIRST_BUCKET + rougher(index - FIRST_BUCKET)
        found[place] = found.get(place, 0) + number
    return found


def _add(names: dict[str, Vector], those: Iterable[str], vector: Vector) -> None:
    for name in those:
        add_to(names.setdefault(name, {}), vector.items())
