"""What `perfkit_stats` prints: a summary as tables, at most 100 columns wide. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from django.utils.timezone import localtime

from perfkit.monitoring.figures import QueryFigures, RequestFigures, Timing, connected
from perfkit.monitoring.plain import FAILED
from perfkit.monitoring.summary import Summary, alerts

WIDTH: Final = 100
LEAST_FIRST: Final = 20
MEGABYTE: Final = 1_000_000
RANGE_TEXTS: Final = {"15m": "15 minutes", "1h": "hour", "6h": "6 hours", "24h": "24 hours"}
NOTHING: Final = "Nothing was measured."
STANDING: Final = frozenset({"connections"})
"""Sections of how things are at the moment, whatever was measured."""

Row = Sequence[str]


def summary_lines(summary: Summary, *, sections: Sequence[str] = (), most: int = 10) -> Iterator[str]:
    """Yield the alerts and the sections, each with its tables.

    Args:
        sections: Names of `SECTIONS`; where left out, all that have something to say.
        most: Rows of a table.
    """
    yield from _wrapped(_heading(summary))
    if summary.problem:
        yield from _wrapped(f"! {_printable(summary.problem)}", indent="  ")
    for alert in alerts(summary):
        yield from _wrapped(f"! {alert.name}: {alert.text}", indent="  ")
        yield from _wrapped(f"  {alert.advice}", indent="  ")
    has_said = bool(sections)
    for name in sections or SECTIONS:
        lines = list(SECTIONS[name](summary, most))
        if lines or sections:
            has_said = has_said or name not in STANDING
            yield ""
            yield from lines or [f"{name}: {NOTHING[0].lower()}{NOTHING[1:]}"]
    if not has_said and not summary.problem:
        yield ""
        yield NOTHING
        yield "Requests are measured where `perfkit.monitoring.metrics` stands in MIDDLEWARE, all else by itself."


def _heading(summary: Summary) -> str:
    roles = [each.role for each in summary.processes]
    counted = ", ".join(f"{roles.count(role):,} {role}" for role in sorted(set(roles)))
    whose = f"all processes ({counted})" if summary.is_shared else "this process alone"
    begun = f"{localtime(summary.since):%Y-%m-%d %H:%M}"
    return f"The last {RANGE_TEXTS.get(summary.range, summary.range)}, since {begun}, of {whose}"


def _requests(summary: Summary, most: int) -> Iterator[str]:
    if not summary.requests.timing.count:
        return
    yield from _table(
        (
            "requests",
            "count",
            "mean ms",
            "P50 ms",
            "P95 ms",
            "P99 ms",
            "queries each",
            "in database %",
            "errors",
        ),
        [
            (f"all, {summary.requests_per_second:,.2f} a second", *_request_cells(summary.requests)),
            *((f"{each.method} {each.view}".strip(), *_request_cells(each)) for each in summary.views[:most]),
        ],
    )
    yield from _more(len(summary.views), most)


def _request_cells(found: RequestFigures) -> Row:
    each = "-" if found.queries_each is None else f"{found.queries_each:,.1f}"
    return (
        f"{found.timing.count:,}",
        *_milliseconds(found.timing),
        each,
        _percent(found.database_share, digits=0),
        f"{found.failed:,}",
    )


def _queries(summary: Summary, most: int) -> Iterator[str]:
    if not summary.queries.timing.count:
        return
    yield from _table(
        ("queries", "count", "mean ms", "P50 ms", "P95 ms", "P99 ms", "slow", "slow %", "failed"),
        [
            ("all", *_query_cells(summary.queries)),
            *((f"{each.alias} {each.verb}".strip(), *_query_cells(each)) for each in summary.by_verb[:most]),
        ],
    )


def _query_cells(found: QueryFigures) -> Row:
    return (
        f"{found.timing.count:,}",
        *_milliseconds(found.timing),
        f"{found.slow:,}",
        _percent(found.slow_share),
        f"{found.failed:,}",
    )


def _statements(summary: Summary, most: int) -> Iterator[str]:
    found = summary.statements[:most]
    if not found:
        return
    table = _table(
        ("statements that took the most time", "count", "all s", "mean ms", "P95 ms", "slow"),
        [
            (
                f"{each.fingerprint} {each.seen.line if each.seen is not None else ''}".strip(),
                f"{each.timing.count:,}",
                f"{each.timing.total_seconds:,.1f}",
                _ms(each.timing.mean_seconds),
                _ms(each.timing.p95_seconds),
                f"{each.slow:,}",
            )
            for each in found
        ],
    )
    yield next(table)
    for line, each in zip(table, found, strict=True):
        yield line
        if each.seen is not None:
            yield f"  {_cut(_printable(each.seen.text), WIDTH - 2)}"
    yield from _more(len(summary.statements), most)


def _cache(summary: Summary, most: int) -> Iterator[str]:
    if not summary.reads and not summary.outages:
        return
    yield from _table(
        ("cached reads", "hits", "misses", "hit rate %", "bypasses"),
        [
            (
                each.label or "all",
                f"{each.hits:,}",
                f"{each.misses:,}",
                _percent(each.hit_rate),
                f"{each.bypassed:,}",
            )
            for each in (summary.cache, *summary.reads[:most])
        ],
    )
    yield from _more(len(summary.reads), most)
    if summary.outages:
        yield f"outages noticed by processes: {summary.outages:,}"


def _tasks(summary: Summary, most: int) -> Iterator[str]:
    if summary.tasks:
        yield from _table(
            (
                "tasks and jobs, by queue",
                "runs",
                "mean ms",
                "P50 ms",
                "P95 ms",
                "P99 ms",
                "retries",
                "failed",
            ),
            [
                (
                    f"{each.name} ({each.queue})" if each.queue else each.name,
                    f"{each.timing.count:,}",
                    *_milliseconds(each.timing),
                    f"{each.retries:,}",
                    f"{sum(each.outcomes.get(outcome, 0) for outcome in FAILED):,}",
                )
                for each in summary.tasks[:most]
            ],
        )
        yield from _more(len(summary.tasks), most)
    yield from _timings(
        "waited in a queue", "begun", [(each.name, each.timing, None) for each in summary.waits]
    )


def _timed(summary: Summary, most: int) -> Iterator[str]:
    rows = [(each.name, each.timing, each.second) for each in summary.timed]
    yield from _timings("timed", "runs", rows[:most], "raised")
    yield from _more(len(rows), most)


def _models(summary: Summary, most: int) -> Iterator[str]:
    rows = [(each.name, each.timing, each.second) for each in summary.models]
    yield from _timings("models", "asked", rows[:most], "tokens")
    yield from _more(len(rows), most)


def _timings(
    what: str, number: str, rows: Sequence[tuple[str, Timing, int | None]], second: str = ""
) -> Iterator[str]:
    if rows:
        yield from _table(
            (what, number, "mean ms", "P50 ms", "P95 ms", "P99 ms", *([second] if second else [])),
            [
                (
                    name,
                    f"{timing.count:,}",
                    *_milliseconds(timing),
                    *([] if more is None else [f"{more:,}"]),
                )
                for name, timing, more in rows
            ],
        )


def _loops(summary: Summary, most: int) -> Iterator[str]:
    found = summary.loops[:most]
    if not found:
        return
    table = _table(
        ("loops of queries", "found", "queries"),
        [(f"{each.kind} {each.name}", f"{each.found:,}", f"{each.queries:,}") for each in found],
    )
    yield next(table)
    for line, each in zip(table, found, strict=True):
        yield line
        if each.known is not None:
            yield from _wrapped(f"  {_printable(', '.join(each.known.lines))}", indent="  ")
            yield from _wrapped(f"  {_printable(each.known.fix)}", indent="  ")
    yield from _more(len(summary.loops), most)


def _limits(summary: Summary, most: int) -> Iterator[str]:
    found = sorted(summary.limited.items(), key=lambda item: (-item[1], item[0]))
    if found:
        yield from _table(
            ("rate limits", "requests"),
            [(" ".join(labels), f"{number:,}") for labels, number in found[:most]],
        )
        yield from _more(len(found), most)


def _pools(summary: Summary, _: int) -> Iterator[str]:
    if summary.pools:
        yield from _table(
            ("pools, over all processes", "in use %", "now in use", "of", "waiting"),
            [
                (each.alias, _percent(each.share, digits=0), *(f"{number:,}" for number in each.now))
                for each in summary.pools
            ],
        )


def _connections(summary: Summary, _: int) -> Iterator[str]:
    found = connected(summary.processes)
    if found:
        yield from _table(
            ("connections, over all processes", "open", "active", "in transaction", "idle"),
            [
                (
                    each.alias,
                    *(f"{number:,}" for number in (each.open, each.active, each.in_transaction, each.idle)),
                )
                for each in found.values()
            ],
        )


def _processes(summary: Summary, most: int) -> Iterator[str]:
    found = summary.processes if summary.is_shared else ()
    if found:
        yield from _table(
            ("processes", "pid", "busy with", "cache MB", "since"),
            [
                (
                    f"{each.role} on {each.host}",
                    str(each.pid),
                    f"{each.active:,}",
                    f"{each.memory_bytes / MEGABYTE:,.1f}",
                    f"{localtime(datetime.fromtimestamp(each.begun, tz=UTC)):%m-%d %H:%M}",
                )
                for each in found[:most]
            ],
        )
        yield from _more(len(found), most)


SECTIONS: Final[dict[str, Callable[[Summary, int], Iterator[str]]]] = {
    "requests": _requests,
    "queries": _queries,
    "statements": _statements,
    "cache": _cache,
    "tasks": _tasks,
    "timed": _timed,
    "models": _models,
    "loops": _loops,
    "limits": _limits,
    "pools": _pools,
    "connections": _connections,
    "processes": _processes,
}


def _table(headings: Row, rows: Sequence[Row]) -> Iterator[str]:
    """Yield rows whose first cells are texts, cut where they are too long, and whose others are numbers."""
    everything = [headings, *rows]
    widths = [max(map(len, column)) for column in list(zip(*everything, strict=True))[1:]]
    room = max(LEAST_FIRST, WIDTH - sum(width + 2 for width in widths))
    firsts = [_cut(_printable(row[0]), room) for row in everything]
    width = max(map(len, firsts))
    for first, row in zip(firsts, everything, strict=True):
        numbers = [f"{cell:>{each}}" for cell, each in zip(row[1:], widths, strict=True)]
        yield "  ".join([f"{first:<{width}}", *numbers])


def _more(number: int, most: int) -> Iterator[str]:
    if number > most:
        yield f"… and {number - most:,} more"


def _milliseconds(timing: Timing) -> Row:
    found = (timing.mean_seconds, timing.p50_seconds, timing.p95_seconds, timing.p99_seconds)
    return [_ms(each) for each in found]


def _ms(seconds: float | None) -> str:
    """Return milliseconds: with one digit behind the point, and with two below one.

    Example:
        >>> _ms(0.0421), _ms(0.000314), _ms(12.5), _ms(None)
        ('42.1', '0.31', '12,500.0', '-')
    """
    if seconds is None:
        return "-"
    milliseconds = seconds * 1000
    return f"{milliseconds:,.2f}" if milliseconds < 1 else f"{milliseconds:,.1f}"


def _percent(share: float | None, *, digits: int = 1) -> str:
    return "-" if share is None else f"{share * 100:.{digits}f}"


def _cut(text: str, most: int) -> str:
    """Return a text without its middle where it is too long."""
    if len(text) <= most:
        return text
    head = (most - 1) // 2
    return f"{text[:head]}…{text[head + 1 - most :]}"


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(each if each.isprintable() else "�" for each in text)


def _wrapped(text: str, *, indent: str = "") -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_on_hyphens=False)
