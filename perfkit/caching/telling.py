"""Tells outward what a cached read came to: in a word, and in detail where somebody listens."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from time import perf_counter
from typing import Any

from perfkit.caching.flights import durations
from perfkit.signals import cache_read, cache_read_detailed


def read_begins() -> float:
    """Return the time for `tell_read`; 0 where nobody wants to know it."""
    return perf_counter() if cache_read_detailed.receivers else 0.0


def tell_read(
    sender: Any,
    outcome: str,
    reason: str = "",
    *,
    key: str = "",
    tags: Iterable[str] = (),
    tier: str = "",
    begun: float = 0.0,
    family: Hashable = None,
    made_seconds: float = 0.0,
) -> None:
    """Tell `cache_read`, and `cache_read_detailed` where it has receivers.

    Args:
        begun: What `read_begins` has returned.
        family: What takes about as long to make; see `flights`.
        made_seconds: How long this very answer took, where it says so itself.
    """
    cache_read.send(sender=sender, outcome=outcome, reason=reason)
    if cache_read_detailed.receivers:
        cache_read_detailed.send(
            sender,
            outcome=outcome,
            reason=reason,
            key=key,
            tags=tuple(tags),
            tier=tier,
            seconds=perf_counter() - begun if begun else None,
            rebuild_seconds=made_seconds or durations.usual_seconds(family),
        )
