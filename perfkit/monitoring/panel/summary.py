"""What a request came to, added up: plain values that JSON can hold. Pure.

# Note [Time saved]
What a hit has saved is what its answer would have taken to make, less what the hit took, and nobody has made it.
Where the answer, or this process, remembers how long such an answer took, that is taken; else the mean of what the
misses of the same model or function took in this request. Where there is neither, nothing is claimed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from perfkit.monitoring.panel.collecting import Collector, Sums
from perfkit.monitoring.panel.reasons import advice_on

MILLI: Final = 1000.0
TIERS: Final = {
    "request": "known in this request",
    "process": "held in this process",
    "store": "from the store",
    "": "elsewhere",
}
OUTCOMES: Final = {"hit": "hit", "miss": "miss", "bypass": "bypass"}
LIMIT_REASONS: Final = {
    "off": "limits are off (RATE_LIMIT_ENABLED)",
    "free": "the request costs nothing",
    "outage": "the cache server does not answer",
}


def summary(collector: Collector, *, state: str = "", problem: str = "") -> dict[str, Any]:
    """Return what the panel shows.

    Args:
        state: `"down"` where the cache server does not answer, `"off"` where there is no cache, `"unusable"` where
            the settings name one that perfkit cannot use, else empty.
        problem: What is wrong with the settings.
    """
    kept = collector.kept
    statements = sorted(collector.statements.values(), key=lambda each: -each.seconds)
    sums = collector.sums.values()
    return {
        "state": state,
        "problem": problem,
        "hits": sum(each.hits for each in sums),
        "misses": sum(each.misses for each in sums),
        "bypasses": sum(each.bypasses for each in sums),
        "labels": [_label(label, each) for label, each in sorted(collector.sums.items())],
        "tiers": [{"name": TIERS.get(tier, tier), "count": count} for tier, count in collector.tiers.items()],
        "saved": _saved(sums),
        "asked": {
            "awaited": collector.asked["awaited"],
            "told": collector.asked["told"],
            "failed": collector.asked["failed"],
            "ms": _ms(collector.asked_seconds),
        },
        "reads": [_read(each) for each in kept.get("reads", ())],
        "queries": collector.queries,
        "query_ms": _ms(collector.query_seconds),
        "duplicates": sum(each.count - 1 for each in statements),
        "statements": [
            {
                "sql": each.sql,
                "alias": each.alias,
                "line": each.line,
                "count": each.count,
                "ms": _ms(each.seconds),
            }
            for each in statements
        ],
        "findings": kept.get("findings", []),
        "plans": _counted(kept.get("plans", ())),
        "hydrated": _counted(kept.get("hydrated", ())),
        "answers": kept.get("answers", []),
        "limits": [_limit(each) for each in kept.get("limits", ())],
        "writes": [{**each, "ms": _ms(each["seconds"])} for each in kept.get("writes", ())],
        "left_out": collector.left_out.total(),
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * MILLI, 3)


def _label(label: str, sums: Sums) -> dict[str, Any]:
    mean = sums.miss_seconds / sums.misses if sums.misses else None
    return {
        "label": label,
        "hits": sums.hits,
        "misses": sums.misses,
        "bypasses": sums.bypasses,
        "miss_ms": _ms(mean),
    }


def _saved(sums: Iterable[Sums]) -> dict[str, Any]:
    """Return the time saved; see Note [Time saved]."""
    seconds = 0.0
    measured = assumed = unknown = 0
    for each in sums:
        seconds += each.saved_seconds
        measured += each.measured_hits
        if each.misses and each.unknown_hits:
            mean = each.miss_seconds / each.misses
            seconds += max(0.0, mean * each.unknown_hits - each.unknown_seconds)
            assumed += each.unknown_hits
        else:
            unknown += each.unknown_hits
    return {"ms": _ms(seconds), "measured": measured, "assumed": assumed, "unknown": unknown}


def _read(read: dict[str, Any]) -> dict[str, Any]:
    words, remedy = advice_on(read["reason"]) if read["reason"] else ("", "")
    return {
        "label": read["label"],
        "outcome": OUTCOMES.get(read["outcome"], read["outcome"]),
        "is_unkept": read["outcome"] == "miss" and bool(read["reason"]),
        "reason": read["reason"],
        "words": words,
        "remedy": remedy,
        "key": read["key"],
        "tags": read["tags"],
        "tier": TIERS.get(read["tier"], "") if read["outcome"] == "hit" else "",
        "ms": _ms(read["seconds"]),
        "rebuild_ms": _ms(read["rebuild_seconds"]),
    }


def _limit(limit: dict[str, Any]) -> dict[str, Any]:
    return {
        **limit,
        "reason": LIMIT_REASONS.get(limit["reason"], limit["reason"]),
        "ms": _ms(limit["seconds"]),
    }


def _counted(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return equal events once, with how often they came."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for event in events:
        key = tuple(event.values())
        known = found.setdefault(key, {**event, "count": 0})
        known["count"] += 1
    return list(found.values())
