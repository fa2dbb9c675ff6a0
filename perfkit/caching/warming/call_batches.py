"""Calls of cached functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from django.utils import timezone, translation

from perfkit.caching.bypass import Bypass
from perfkit.caching.coherence import breaker
from perfkit.caching.entries import FAULTS
from perfkit.caching.functions.cached import CachedFunction
from perfkit.caching.memory import Tokens
from perfkit.caching.named.entries import decoded_entry
from perfkit.caching.named.heads import tokens_in
from perfkit.caching.named.recipes import Named
from perfkit.caching.named.trust import Trust, require_committed_views
from perfkit.caching.store import Store, StoreError
from perfkit.caching.tokens import is_in_flight
from perfkit.caching.warming.batches import WORLD_FAILED, Batch, Filled, Manner, Setting, has_time

BATCH_CALLS: Final = 10

PASSING: Final = frozenset({"write in flight"})
"""Why a value is not kept at this moment, though the next one may be."""


class WantedCall(NamedTuple):
    """A call that a warmer wants made, and the setting in which it does."""

    function: CachedFunction[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    named: Named
    setting: Setting


def wanted_call(
    function: CachedFunction[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> WantedCall:
    """Return what is known of a call before it is made.

    Raises:
        TypeError: The function does not take these arguments.
        UncacheableArgumentError: One of them names no call.
    """
    return WantedCall(function, args, kwargs, function.named(*args, **kwargs), Setting.current())


class CallBatch(Batch):
    """Some calls, looked for together and made one by one.

    Queries:
        Those of the functions that are called. Round trips: one to see what holds, and for each call that is made
        those of a miss.
    """

    def __init__(self, calls: Sequence[WantedCall]) -> None:
        self.size = len(calls)
        self._calls = calls

    def keys(self) -> Iterable[str]:
        """Return the keys of the entries."""
        return [call.named.key for call in self._calls]

    def fill(self, manner: Manner) -> Filled:
        """Make the calls, and store what they return; see `Batch.fill`.

        One that raises is a problem of its own.
        """
        trust = Trust()
        store = trust.usable_store()
        require_committed_views()
        held = set() if manner.force else self._held(store, trust)
        filled = Filled(held=len(held))
        made = set(held)
        for call in self._calls:
            if call.named.key in made:
                continue
            made.add(call.named.key)
            try:
                with translation.override(call.setting.language), timezone.override(call.setting.zone):
                    kept = call.function.kept(call.named, call.args, call.kwargs, replaces=manner.force)
            except manner.stop_on + WORLD_FAILED:
                raise
            except Exception as error:  # noqa: BLE001  # whatever the project's function raises is told
                filled.problems.append(f"{call.named.path}: {type(error).__name__}: {error}")
                continue
            if breaker.is_open:
                raise StoreError("it stopped answering")
            if kept.size_bytes:
                filled.entries += 1
                filled.size_bytes += kept.size_bytes
            elif kept.refusal and kept.refusal not in PASSING:
                filled.problems.append(f"{call.named.path} cannot be kept: {kept.refusal}")
        return filled

    def _held(self, store: Store, trust: Trust) -> set[str]:
        keys = list(self.keys())
        found = store.recall(keys, ()).entries
        breaker.succeeded()
        return {
            call.named.key
            for call, (stored, tokens) in zip(self._calls, found, strict=True)
            if stored is not None and _is_fresh(call, stored, tokens, trust)
        }


def _is_fresh(call: WantedCall, stored: bytes, found: Tokens, trust: Trust) -> bool:
    """Say whether an entry was made with tokens just found, can be read, and has time enough before it."""
    recipe, named = call.function.recipe, call.named
    entry = decoded_entry(named.key, stored)
    if entry is None or tokens_in(stored) != found or entry.tags[: len(named.tags)] != named.tags:
        return False
    if any(token is None or is_in_flight(token) for token in found):
        return False
    try:
        trust.require(entry.tags)
        value = recipe.codec.unpacked(entry.kind, entry.payload)
    except (Bypass, *FAULTS):
        return False
    return has_time(entry.ends, ttl_seconds=recipe.ttl_seconds(value))
