"""A summary as plain values, the same for the command, the API and the log. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

from perfkit.monitoring.boards import Process
from perfkit.monitoring.figures import (
    CacheFigures,
    LoopFigures,
    NamedTiming,
    Point,
    PoolUse,
    QueryFigures,
    RequestFigures,
    TaskFigures,
    Timing,
    connected,
)
from perfkit.monitoring.summary import Summary, alerts

DIGITS: Final = 6
"""Of seconds and shares."""

TOP_IN_LINE: Final = 3


def as_dict(summary: Summary, *, most: int | None = None) -> dict[str, Any]:
    """Return a summary as values that JSON has.

    Durations are in seconds, shares from 0 to 1, and what is unknown is None.

    Args:
        most: Rows of each list, those of the charts, pools and processes excepted.
    """

    def listed(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        return list(islice(rows, most))

    return {
        "range": summary.range,
        "since": summary.since.isoformat(),
        "seconds": _rounded(summary.seconds),
        "is_shared": summary.is_shared,
        "is_away": summary.is_away,
        "problem": summary.problem,
        "alerts": [_fields(each, "name", "text", "advice") for each in alerts(summary)],
        "requests": {"per_second": _rounded(summary.requests_per_second), **_requests(summary.requests)},
        "views": listed({**_fields(each, "method", "view"), **_requests(each)} for each in summary.views),
        "queries": _queries(summary.queries),
        "by_verb": listed({**_fields(each, "alias", "verb"), **_queries(each)} for each in summary.by_verb),
        "statements": listed(map(_statement, summary.statements)),
        "cache": _reads(summary.cache),
        "reads": listed({"label": each.label, **_reads(each)} for each in summary.reads),
        "outages": summary.outages,
        "tasks": listed(map(_task, summary.tasks)),
        "waits": listed(_named(each, "queue") for each in summary.waits),
        "timed": listed(_named(each, "name", second="failed") for each in summary.timed),
        "models": listed(_named(each, "name", second="tokens") for each in summary.models),
        "loops": listed(map(_loop, summary.loops)),
        "limits": listed(_limits(summary)),
        "pools": list(map(_pool, summary.pools)),
        "connections": [
            _fields(each, "alias", "active", "in_transaction", "idle")
            for each in connected(summary.processes).values()
        ],
        "processes": list(map(_process, summary.processes)),
        "points": list(map(_point, summary.points)),
    }


def as_line(summary: Summary) -> dict[str, Any]:
    """Return the figures that one line of a log has room for, by short names; what is unknown is left out."""
    found = as_dict(summary, most=TOP_IN_LINE)
    requests, queries, cache = found["requests"], found["queries"], found["cache"]
    tasks = summary.tasks
    line = {
        "range": found["range"],
        "requests": requests["count"],
        "requests_per_second": requests["per_second"],
        "request_mean_ms": _milliseconds(requests["mean_seconds"]),
        "request_p95_ms": _milliseconds(requests["p95_seconds"]),
        "request_errors": requests["failed"],
        "queries": queries["count"],
        "query_mean_ms": _milliseconds(queries["mean_seconds"]),
        "query_p95_ms": _milliseconds(queries["p95_seconds"]),
        "slow_queries": queries["slow"],
        "cache_hits": cache["hits"],
        "cache_misses": cache["misses"],
        "cache_hit_rate": cache["hit_rate"],
        "tasks": sum(each.timing.count for each in tasks),
        "task_errors": sum(each.outcomes.get(outcome, 0) for each in tasks for outcome in FAILED),
        "processes": len(found["processes"]),
        "top": "; ".join(
            f"{each['method']} {each['view']} {_milliseconds(each['mean_seconds'])}"
            f"/{_milliseconds(each['p95_seconds'])} ms"
            for each in found["views"]
        ),
        "alerts": ",".join(each["name"] for each in found["alerts"]),
        "problem": found["problem"],
    }
    return {name: value for name, value in line.items() if value not in {None, ""}}


FAILED: Final = ("failure", "failed")
"""Outcomes of tasks and of jobs."""


def line_text(line: dict[str, Any]) -> str:
    """Return figures as `key=value`, with quotes where a value has blanks.

    Example:
        >>> print(line_text({"requests": 12, "request_mean_ms": 8.5, "top": 'GET /"a"'}))
        requests=12 request_mean_ms=8.5 top="GET /'a'"
    """
    return " ".join(f"{name}={_quoted(str(value))}" for name, value in line.items())


def _quoted(text: str) -> str:
    plain = "".join(each if each.isprintable() else "�" for each in text)
    if not any(each in ' "=' for each in plain):
        return plain
    return '"' + plain.replace('"', "'") + '"'


def _timing(timing: Timing) -> dict[str, Any]:
    return _fields(
        timing, "count", "total_seconds", "mean_seconds", "p50_seconds", "p95_seconds", "p99_seconds"
    )


def _named(found: NamedTiming, label: str, *, second: str = "") -> dict[str, Any]:
    return {
        label: found.name,
        **({second: found.second} if second else {}),
        **_timing(found.timing),
    }


def _requests(found: RequestFigures) -> dict[str, Any]:
    return {
        **_timing(found.timing),
        **_fields(found, "failed", "refused", "failed_share", "queries", "queries_each"),
        **_fields(found, "database_seconds", "database_share"),
    }


def _queries(found: QueryFigures) -> dict[str, Any]:
    return {**_timing(found.timing), **_fields(found, "slow", "slow_share", "failed")}


def _statement(found: QueryFigures) -> dict[str, Any]:
    seen = found.seen
    return {
        "fingerprint": found.fingerprint,
        "alias": found.alias,
        "text": None if seen is None else seen.text,
        "line": None if seen is None else seen.line,
        "view": None if seen is None else seen.view,
        **_queries(found),
    }


def _reads(found: CacheFigures) -> dict[str, Any]:
    return {
        **_fields(found, "hits", "misses", "hit_rate", "bypassed"),
        "bypasses": dict(found.bypasses),
    }


def _task(found: TaskFigures) -> dict[str, Any]:
    return {
        **_fields(found, "name", "queue"),
        **_timing(found.timing),
        "outcomes": dict(found.outcomes),
        "retries": found.retries,
    }


def _loop(found: LoopFigures) -> dict[str, Any]:
    known = found.known
    return {
        **_fields(found, "kind", "name", "found", "queries"),
        "lines": [] if known is None else list(known.lines),
        "statement": None if known is None else known.statement,
        "fix": None if known is None else known.fix,
    }


def _limits(summary: Summary) -> Iterator[dict[str, Any]]:
    for labels, number in sorted(summary.limited.items(), key=lambda item: (-item[1], item[0])):
        yield {"rule": labels[0], "outcome": labels[1] if len(labels) > 1 else "", "requests": number}


def _pool(found: PoolUse) -> dict[str, Any]:
    in_use, most, waiting = found.now
    return {
        "alias": found.alias,
        "share": _rounded(found.share),
        "in_use": in_use,
        "most": most,
        "waiting": waiting,
    }


def _process(found: Process) -> dict[str, Any]:
    return _fields(found, "role", "host", "pid", "begun", "moment", "active", "memory_bytes", "lost")


def _point(found: Point) -> dict[str, Any]:
    return {
        **_fields(found, "moment", "seconds"),
        "requests": _requests(found.requests),
        "queries": _queries(found.queries),
        "cache": _reads(found.cache),
    }


def _fields(found: object, *names: str) -> dict[str, Any]:
    """Return attributes by their names, seconds and shares rounded."""
    values = {name: getattr(found, name) for name in names}
    return {name: _rounded(each) if isinstance(each, float) else each for name, each in values.items()}


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(float(number), DIGITS)


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)
