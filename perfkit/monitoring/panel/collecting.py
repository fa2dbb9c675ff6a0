"""Hears what perfkit tells outward while a request is answered, and keeps it for that request alone.

What is kept is plain text and numbers from the beginning: no value of the project's, no queryset and no row.

# Note [Who ends the listening]
Connecting the signals for each request would cost each, and staying connected would cost those that nobody looks
at. So they stay connected from one request that is looked at to the next, until one of them tells of what nobody
looks at: that is the last that is heard, and what comes after it costs nothing.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Any, Final

from django.db.models import Model, QuerySet
from django.dispatch import Signal

from perfkit import signals
from perfkit.caching.locks import fork_safe_lock
from perfkit.limiting.limiter import Verdict
from perfkit.loading import EagerPlan, Finding
from perfkit.making import own_of_a_run
from perfkit.monitoring.panel.redaction import loaded_with, plan_text, shown_key, shown_tags
from perfkit.rates import Rate
from perfkit.watching import as_text, calling_line, normalised, quoted_names, watch_connections

MOST_EVENTS: Final = 500
"""Of one request that are kept; the others are counted."""

MOST_LABELS: Final = 200
OTHER: Final = "other"
NAME: Final = "perfkit.monitoring.panel"

_current: Final[ContextVar[Collector | None]] = own_of_a_run(
    ContextVar("perfkit_panel_collector", default=None)
)
_keeping: Final = fork_safe_lock()
"""Of all collectors: one of its own in each might be held by a thread that a forked process does not have."""


@dataclass(slots=True)
class Statement:
    """The statements of a request that differ in values alone.

    Attributes:
        line: Of the project, that has sent the first.
    """

    sql: str
    alias: str
    line: str
    count: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class Sums:
    """The cached reads of one model or function, added up.

    Attributes:
        saved_seconds: Of hits on what is known to take so long to make, less what the hits took.
        unknown_hits: Hits on what nobody has measured, and `unknown_seconds` what these took.
    """

    hits: int = 0
    misses: int = 0
    bypasses: int = 0
    miss_seconds: float = 0.0
    measured_hits: int = 0
    saved_seconds: float = 0.0
    unknown_hits: int = 0
    unknown_seconds: float = 0.0


@dataclass(slots=True)
class Collector:
    """What has happened in one request; safe in threads.

    Attributes:
        kept: Lists of events by kind, each a dict of texts and numbers.
        left_out: How many events were not kept, by kind.
        sums: By model or function.
        tiers: How many hits came from where.
        asked: How often the cache server was spoken to: `awaited`, `told` without waiting, `failed`.
    """

    kept: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    sums: dict[str, Sums] = field(default_factory=dict)
    tiers: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    asked_seconds: float = 0.0
    statements: dict[tuple[str, str], Statement] = field(default_factory=dict)
    queries: int = 0
    query_seconds: float = 0.0
    has_outage: bool = False
    _events: int = 0

    def keep(self, name: str, /, **event: Any) -> None:
        """Keep an event in the list of a name, if there is room."""
        with _keeping:
            if self._has_room(name):
                self.kept.setdefault(name, []).append(event)

    def read(
        self,
        label: str,
        *,
        outcome: str,
        reason: str,
        key: str,
        tags: list[str],
        tier: str,
        seconds: float | None,
        rebuild_seconds: float | None,
    ) -> None:
        """Note a cached read. A bypass right after the miss of the same entry says why that was not stored."""
        with _keeping:
            reads = self.kept.setdefault("reads", [])
            is_afterthought = (outcome == "bypass" and key and reads and reads[-1]["key"] == key) and reads[
                -1
            ]["outcome"] == "miss"
            if is_afterthought:
                reads[-1]["reason"] = reason
                return
            self._add(label, outcome, seconds, rebuild_seconds)
            if outcome == "hit":
                self.tiers[tier] += 1
            self.has_outage = self.has_outage or reason == "outage"
            if self._has_room("reads"):
                reads.append(
                    {
                        "label": label,
                        "outcome": outcome,
                        "reason": reason,
                        "key": key,
                        "tags": tags,
                        "tier": tier,
                        "seconds": seconds,
                        "rebuild_seconds": rebuild_seconds,
                    }
                )

    def query(self, sql: str, alias: str, seconds: float, *, line: Callable[[], str]) -> None:
        """Note a statement that was sent."""
        with _keeping:
            self.queries += 1
            self.query_seconds += seconds
            known = self.statements.get((alias, sql))
            if known is None:
                if not self._has_room("statements"):
                    return
                known = self.statements[alias, sql] = Statement(sql, alias, line())
            known.count += 1
            known.seconds += seconds

    def ask(self, seconds: float, *, is_awaited: bool, has_failed: bool) -> None:
        """Note that the cache server was spoken to."""
        with _keeping:
            self.asked["failed" if has_failed else "awaited" if is_awaited else "told"] += 1
            self.asked_seconds += seconds

    def _has_room(self, kind: str) -> bool:
        if self._events >= MOST_EVENTS:
            self.left_out[kind] += 1
            return False
        self._events += 1
        return True

    def _add(self, label: str, outcome: str, seconds: float | None, rebuild_seconds: float | None) -> None:
        if label not in self.sums and len(self.sums) >= MOST_LABELS:
            label = OTHER
        sums = self.sums.setdefault(label, Sums())
        if outcome == "miss":
            sums.misses += 1
            sums.miss_seconds += seconds or 0.0
        elif outcome == "bypass":
            sums.bypasses += 1
        else:
            sums.hits += 1
            if rebuild_seconds is None:
                sums.unknown_hits += 1
                sums.unknown_seconds += seconds or 0.0
            else:
                sums.measured_hits += 1
                sums.saved_seconds += max(0.0, rebuild_seconds - (seconds or 0.0))


@contextmanager
def collecting(collector: Collector) -> Iterator[None]:
    """Have `collector` hear what this thread or task does within the block, and what these start."""
    listeners.begin()
    token = _current.set(collector)
    try:
        yield
    finally:
        _current.reset(token)
        listeners.end()


def install() -> None:
    """Put what times statements onto every connection; it does nothing where nobody collects."""
    watch_connections(timed, name=NAME)


def timed(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """Run a statement, and note it."""
    collector = _current.get()
    if collector is None:
        return execute(sql, params, many, context)
    begun = perf_counter()
    try:
        return execute(sql, params, many, context)
    finally:
        seconds = perf_counter() - begun
        connection = context["connection"]
        try:
            text = normalised(as_text(sql, connection), names=quoted_names(connection.alias))
        except ValueError as error:  # only the connection itself can write it; the error says why
            text = str(error)
        collector.query(text, connection.alias, seconds, line=calling_line)


def _label(sender: Any) -> str:
    """Return what a model is called, or a function that has a name."""
    label = getattr(getattr(sender, "_meta", None), "label", None) or getattr(sender, "name", None)
    return label if isinstance(label, str) else OTHER


def _read(collector: Collector, sender: Any, *, key: str, tags: Sequence[str], **told: Any) -> None:
    told = {name: told[name] for name in ("outcome", "reason", "tier", "seconds", "rebuild_seconds")}
    collector.read(_label(sender), key=shown_key(key), tags=shown_tags(tags), **told)


def _asked(
    collector: Collector, _: Any, *, seconds: float, is_awaited: bool, has_failed: bool, **__: Any
) -> None:
    collector.ask(seconds, is_awaited=is_awaited, has_failed=has_failed)


def _outage(collector: Collector, _: Any, *, is_down: bool, **__: Any) -> None:
    collector.has_outage = collector.has_outage or is_down


def _query(collector: Collector, _: Any, *, using: str, sql: str, seconds: float, **__: Any) -> None:
    collector.query(normalised(sql), using, seconds, line=calling_line)


def _found(collector: Collector, _: Any, *, finding: Finding, **__: Any) -> None:
    collector.keep("findings", **told_finding(finding))


def _planned(collector: Collector, sender: type[Model], *, plan: EagerPlan, **_: Any) -> None:
    collector.keep("plans", label=sender._meta.label, text=plan_text(plan))


def _hydrated(
    collector: Collector,
    sender: type[Model],
    *,
    queryset: QuerySet[Any],
    rows: int | None,
    reason: str,
    **_: Any,
) -> None:
    loaded = loaded_with(queryset)
    collector.keep("hydrated", label=sender._meta.label, rows=rows, reason=reason, loaded=loaded)


def _limited(
    collector: Collector,
    _: Any,
    *,
    scope: str,
    rates: tuple[Rate, ...],
    verdict: Verdict | None,
    reason: str,
    seconds: float,
    **__: Any,
) -> None:
    rate, remaining = ", ".join(map(str, rates)), None
    if verdict is not None:
        tightest, standing = verdict.tightest
        rate, remaining = str(tightest), standing.remaining
    collector.keep(
        "limits",
        scope=scope,
        rate=rate,
        is_admitted=verdict is None or verdict.is_admitted,
        remaining=remaining,
        retry_seconds=None if verdict is None else verdict.retry_after_seconds,
        reason=reason,
        seconds=seconds,
    )


def _answered(collector: Collector, _: Any, *, route: str, reason: str, columns: int, **__: Any) -> None:
    collector.keep("answers", route=route, reason=reason, columns=columns)


def _written(collector: Collector, sender: type[Model], *, call: str, result: Any, **_: Any) -> None:
    collector.keep(
        "writes",
        label=sender._meta.label,
        call=call,
        rows=result.rows,
        method=getattr(result, "method", ""),
        seconds=result.seconds,
        skipped=len(getattr(result, "skipped", ())),
    )


def told_finding(finding: Finding) -> dict[str, Any]:
    """Return a finding as plain values."""
    told = asdict(finding)
    return {**told, "kind": finding.kind.value, "lines": list(finding.lines), "functions": []}


HEARD: Final[tuple[tuple[Signal, Callable[..., None]], ...]] = (
    (signals.cache_read_detailed, _read),
    (signals.cache_server_asked, _asked),
    (signals.cache_outage, _outage),
    (signals.query_timed, _query),
    (signals.n_plus_one_found, _found),
    (signals.relations_planned, _planned),
    (signals.rows_hydrated, _hydrated),
    (signals.limit_applied, _limited),
    (signals.answer_made, _answered),
    (signals.bulk_written, _written),
)


class Listeners:
    """Connects the signals with the first request that is looked at, and for as long as one follows another.

    See Note [Who ends the listening].
    """

    def __init__(self) -> None:
        self._lock = fork_safe_lock()
        self._receivers = [(signal, self._receiver(hear)) for signal, hear in HEARD]
        self._looked_at = 0
        self._is_connected = False
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin_anew)

    def begin(self) -> None:
        """Listen, for a request is looked at."""
        with self._lock:
            self._looked_at += 1
            if not self._is_connected:
                self._is_connected = True
                for signal, receive in self._receivers:
                    signal.connect(receive, weak=False)

    def end(self) -> None:
        """Note that a request is looked at no more."""
        with self._lock:
            self._looked_at = max(
                0, self._looked_at - 1
            )  # a forked process may end what its parent has begun

    def rest(self) -> None:
        """Listen no more, unless a request is looked at."""
        with self._lock:
            if self._is_connected and not self._looked_at:
                self._is_connected = False
                for signal, receive in self._receivers:
                    signal.disconnect(receive)

    def _begin_anew(self) -> None:
        """Know in a child of the process of no request of the parent's."""
        self._looked_at = 0

    def _receiver(self, hear: Callable[..., None]) -> Callable[..., None]:
        def receive(sender: Any, **told: Any) -> None:
            collector = _current.get()
            if collector is None:
                self.rest()
            else:
                hear(collector, sender, **{name: told[name] for name in told if name != "signal"})

        return receive


listeners: Final = Listeners()
