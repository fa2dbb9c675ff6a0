"""Events of everything that is measured, of more kinds than there is room for."""

from __future__ import annotations

import time

from perfkit.monitoring.boards import Pool, Process
from perfkit.monitoring.ledgers import Told
from perfkit.monitoring.ledgers.contract import Ledger
from perfkit.monitoring.open_connections import Connected
from perfkit.monitoring.prometheus.families import Lag, Snapshot
from perfkit.monitoring.series import TOTALS, Event, Series, pages_of, total_page, vector_of

MANY = 150
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "OTHER")
STATUSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
VERBS = ("SELECT", "INSERT", "UPDATE", "DELETE", "OTHER")
OUTCOMES = ("success", "failure", "retry", "revoked", "rejected", "done", "failed", "retried", "cancelled")
PROMPTS = ("hit", "miss", "limited", "failure", "abandoned")
QUOTED = 'say "hi"\\'
"""Stands in labels, where it must be escaped."""


def all_series() -> list[Series]:
    """Return more series than there is room for, of each kind."""
    names = [f"{QUOTED} {number}" for number in range(MANY)]
    found = [Series("request", (m, f"/{name}", s)) for name in names for m in METHODS for s in STATUSES]
    found += [Series("query", (name, verb, "fingerprint")) for name in names for verb in VERBS]
    found += [Series("task", (name, name, outcome)) for name in names for outcome in OUTCOMES]
    found += [Series("model", (name, outcome)) for name in names for outcome in PROMPTS]
    found += [Series(kind, (name,)) for name in names for kind in ("wait", "timed", "queue", "pool")]
    found += [Series("cache", (name, outcome, "")) for name in names for outcome in ("hit", "miss")]
    found += [Series("cache", (name, "bypass", name)) for name in names]
    found += [Series("cache", ("", "outage", "")), Series("lost", ())]
    found += [Series("loop", (name, name)) for name in names]
    found += [
        Series("limit", (name, each)) for name in names for each in ("admitted", "refused", "uncounted")
    ]
    return found


def told(events: list[tuple[Series, tuple[int, int, int]]], *, number: int = 1, writer: str = "me") -> Told:
    """Return what a process tells of events."""
    found: dict[Series, list[Event]] = {}
    for series, numbers in events:
        found.setdefault(series, []).append(numbers)
    sums = {series: vector_of(series.kind, each) for series, each in found.items()}
    moment = time.time()
    return Told(writer, number, int(moment // 86_400), pages_of(sums, moment))


def saturate(ledger: Ledger) -> int:
    """Tell a ledger of one event of each series, each process of a part of them; return how many there are."""
    series = all_series()
    size = 500
    for number, begin in enumerate(range(0, len(series), size), 1):
        part = [(each, (3_000, 2, 1)) for each in series[begin : begin + size]]
        ledger.add(told(part, number=number))
    return len(series)


def snapshot_of(ledger: Ledger, *, processes: int = 20) -> Snapshot:
    """Return what Prometheus is told of a ledger, with the most that there is beside it."""
    pages = dict(zip(TOTALS, ledger.read([total_page(kind) for kind in TOTALS]), strict=True))
    pools = tuple(Pool(f"alias {number}", 3, 5, 10, 1, 100, 10, 1.5, 1) for number in range(20))
    connected = tuple(Connected(f"alias {number}", 1, 2, 3) for number in range(20))
    living = [
        Process(1.0, "host", number, role, 1.0, 2, 1024, pools, 0, connected)
        for number in range(processes)
        for role in ("web", "worker", "command")
    ]
    aliases = [f"alias {number}" for number in range(6)]
    return Snapshot(pages, living, Lag(3, 1.5, dict.fromkeys(aliases, 2), dict.fromkeys(aliases, 2.5)))
