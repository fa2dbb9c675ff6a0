"""Several named values at once: what is there now, in one round trip."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perfkit.caching import tokens as token_kinds
from perfkit.caching.bypass import Bypass
from perfkit.caching.coherence import breaker
from perfkit.caching.entries import FAULTS
from perfkit.caching.memory import Tokens
from perfkit.caching.named.entries import NamedEntry, decoded_entry
from perfkit.caching.named.heads import tokens_in
from perfkit.caching.named.packing import unpacked_value
from perfkit.caching.named.reads import RELEARNT
from perfkit.caching.named.trust import Trust
from perfkit.caching.recorder import current_recorder
from perfkit.caching.store import StoreError
from perfkit.caching.tags import databases_of

Found = dict[str, tuple[NamedEntry, Tokens]]


def glances(keys: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of entries, by name; those that are not there, or may not be shown, are left out.

    Args:
        keys: Of the entries, by name.

    Queries:
        One round trip, two where a value depends on a database that nobody has looked at yet.
    """
    trust = Trust()
    try:
        found = _recalled(trust, keys)
    except Bypass:
        return {}
    except StoreError as error:
        breaker.failed(str(error))
        return {}
    return {name: value for name, entry in found.items() for value in _shown(trust, *entry)}


def _recalled(trust: Trust, keys: Mapping[str, str]) -> Found:
    store = trust.usable_store()
    found: Found = {}
    for _ in range(RELEARNT):
        recalled = store.recall(list(keys.values()), ())
        if breaker.is_open:
            breaker.succeeded()
        found = {}
        for (name, key), (stored, tokens) in zip(keys.items(), recalled.entries, strict=True):
            entry = None
            if stored is not None and tokens_in(stored) == tokens and not _is_in_flight(tokens):
                entry = decoded_entry(key, stored)
            if entry is not None:
                found[name] = entry, tokens
        databases = databases_of([tag for entry, _ in found.values() for tag in entry.tags])
        if not trust.looks_into(store, databases):
            break
    return found


def _is_in_flight(tokens: Tokens) -> bool:
    return any(token is None or token_kinds.is_in_flight(token) for token in tokens)


def _shown(trust: Trust, entry: NamedEntry, tokens: Tokens) -> list[Any]:
    """Return the value, or nothing where it may not be shown."""
    try:
        trust.require(entry.tags)
        value = unpacked_value(entry.payload) if entry.kind == "v" else None
    except (Bypass, *FAULTS):
        return []
    recorder = current_recorder()
    if recorder is not None:
        recorder.read(entry.tags, tokens, ends=entry.ends)
    return [value] if entry.kind == "v" else []
