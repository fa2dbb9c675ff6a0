"""Storing what was read from the database, with the tokens that were taken before.

# Note [Why a fill cannot be stale]
The tokens are taken before the rows are read and stored inside the entry.
A write that commits later changes a token, so that the entry no longer equals what the server holds:
it is dead, even if it arrives after the write is done.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple

from django.db.models import Model

from perfkit.caching import tokens
from perfkit.caching.bypass import Bypass
from perfkit.caching.coherence import breaker
from perfkit.caching.entries import UnstorableError, encoded
from perfkit.caching.flights import durations
from perfkit.caching.memory import Tokens
from perfkit.caching.places import Place, Rows, stamp
from perfkit.caching.store import Store, StoreError
from perfkit.caching.trust import tell_bypass, warn_once


class Stored(NamedTuple):
    """What was stored of some answers.

    Args:
        refused: Why others were not, a reason for each.
    """

    entries: int
    size_bytes: int
    refused: tuple[str, ...]


def offer(
    store: Store,
    model: type[Model],
    place: Place,
    rows: Rows,
    taken: tuple[bytes, ...],
    *,
    ttl_seconds: int,
    is_awaited: bool,
) -> None:
    """Store what a miss has fetched; nobody who does not wait for it need know whether that went well."""
    used = taken[: place.lasting] if rows else taken
    if any(map(tokens.is_in_flight, used)):
        return  # somebody writes the table; of an answer with rows nobody would get so far
    try:
        entry = _entry(place.key, rows, used, ttl_seconds)
    except UnstorableError as error:
        durations.cannot_keep(place.key, error)
        tell_bypass(model, error.reason, place)
        reason = "it is larger than a megabyte" if error.reason == "size" else error.reason
        warn_once(f"an answer about {model._meta.label} cannot be kept: {reason}.")
        return
    try:
        if is_awaited:
            store.fill({place.key: entry}, ttl_seconds=ttl_seconds)
        else:
            store.offer(place.key, entry, ttl_seconds=ttl_seconds)
    except StoreError as error:
        breaker.failed(str(error))


def fill(
    store: Store,
    model: type[Model],
    answers: Mapping[str, tuple[Rows, tuple[bytes, ...]]],
    *,
    ttl_seconds: int,
) -> Stored:
    """Store answers by key, each with the tokens taken before its rows were read.

    Raises:
        StoreError: The server does not answer; some of them may be stored.
    """
    entries = {}
    refused = []
    for key, (rows, taken) in answers.items():
        try:
            entries[key] = _entry(key, rows, taken, ttl_seconds)
        except UnstorableError as error:
            tell_bypass(model, error.reason)
            refused.append(error.reason)
    if entries:
        store.fill(entries, ttl_seconds=ttl_seconds)
    return Stored(len(entries), sum(map(len, entries.values())), tuple(refused))


def usable_tokens(store: Store, place: Place, found: Tokens) -> tuple[bytes, ...]:
    """Return the tokens a fill may use: those just read, or newly taken where some are missing.

    Raises:
        Bypass: Somebody is writing what the answer depends on.
    """
    complete = tuple(token for token in found if token is not None)
    taken = complete if len(complete) == len(place.tags) else store.take(place.tags)
    if any(map(tokens.is_in_flight, taken[: place.lasting])):
        raise Bypass("write in flight")
    return taken


def _entry(key: str, rows: Rows, taken: tuple[bytes, ...], ttl_seconds: int) -> bytes:
    return encoded(rows, stamp(key, taken), ends=time.time() + ttl_seconds)
