"""Lists that cached querysets and cached queries yield."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.models import Model
from django.utils import timezone, translation

from perfkit.caching.bypass import Bypass
from perfkit.caching.coherence import breaker
from perfkit.caching.fills import fill
from perfkit.caching.places import Place, Rows
from perfkit.caching.queries import compiled
from perfkit.caching.queryset import CachedQuerySet, required_place
from perfkit.caching.store import Store, current_store
from perfkit.caching.tokens import is_in_flight
from perfkit.caching.trust import has_own_session, require_committed_view, usable_store
from perfkit.caching.warming.batches import Batch, Filled, Manner, Setting, is_fresh

BATCH_ANSWERS: Final = 10

Answers = dict[str, tuple[Rows, tuple[bytes, ...]]]
"""Rows by the keys of their entries, with the tokens that were taken before."""


class WantedAnswer(NamedTuple):
    """A list that a warmer wants, and the setting in which it does.

    Args:
        place: Where it is kept, None where it has no rows whatever the database holds.
        ttl_seconds: How long.
        problem: Why it may not be kept.
    """

    queryset: CachedQuerySet[Any]
    setting: Setting
    place: Place | None
    ttl_seconds: int
    problem: str


def wanted_answer(queryset: CachedQuerySet[Any]) -> WantedAnswer:
    """Return what is known of a list before it is read. Queries: none."""
    setting = Setting.current()
    try:
        place, ttl_seconds = required_place(queryset)
    except EmptyResultSet:
        return WantedAnswer(queryset, setting, None, 0, "")
    except Bypass as bypass:
        return WantedAnswer(queryset, setting, None, 0, str(bypass))
    return WantedAnswer(queryset, setting, place, ttl_seconds, "")


class AnswerBatch(Batch):
    """Some lists, each read by a query of its own.

    Queries:
        One for each that does not hold, and those of what it prefetches.
    """

    def __init__(self, answers: Sequence[WantedAnswer]) -> None:
        self.size = len(answers)
        self._answers = answers

    def keys(self) -> Iterable[str]:
        """Return the keys of the entries."""
        return [answer.place.key for answer in self._answers if answer.place is not None]

    def fill(self, manner: Manner) -> Filled:
        """Store the lists; see `Batch.fill`."""
        filled = Filled()
        store = current_store()
        if store is None:
            raise Bypass("disabled")
        read: defaultdict[tuple[type[Model], int], Answers] = defaultdict(dict)
        for answer in self._answers:
            label = answer.queryset.model._meta.label
            if answer.problem:
                filled.problems.append(f"an answer about {label} cannot be kept: {answer.problem}")
            elif answer.place is None:
                filled.held += 1
            else:
                with translation.override(answer.setting.language), timezone.override(answer.setting.zone):
                    found = _read(answer, answer.place, manner)
                if found is None:
                    filled.held += 1
                else:
                    read[answer.queryset.model, answer.ttl_seconds] |= found
        for (model, ttl_seconds), answers in read.items():
            if answers:
                stored = fill(store, model, answers, ttl_seconds=ttl_seconds)
                filled.entries += stored.entries
                filled.size_bytes += stored.size_bytes
                filled.problems += [
                    f"an answer about {model._meta.label} cannot be kept: {reason}"
                    for reason in stored.refused
                ]
        for answer in self._answers:
            if answer.queryset._prefetch_related_lookups:  # type: ignore[attr-defined]  # noqa: SLF001  # no public name
                with translation.override(answer.setting.language), timezone.override(answer.setting.zone):
                    list(answer.queryset.all())  # its prefetched lists are cached reads of their own
        return filled


def _read(answer: WantedAnswer, place: Place, manner: Manner) -> Answers | None:
    """Read a list from the database, with the tokens from before; None where what the cache has holds.

    Returns:
        By its key; nothing where somebody is writing what it depends on.
    """
    queryset = answer.queryset
    connection = connections[queryset.db]
    store = usable_store(queryset.model, connection, place.tags[: place.lasting])
    require_committed_view(connection)
    stored, taken = _looked_up(store, place)
    breaker.succeeded()
    if not manner.force and is_fresh(place, stored, taken, ttl_seconds=answer.ttl_seconds):
        return None
    if any(map(is_in_flight, taken[: place.lasting])):
        return {}
    try:
        rows = compiled(queryset.query, queryset.db).rows()
    except EmptyResultSet:  # whoever asks for it asks nobody
        return None
    used = taken[: place.lasting] if rows else taken
    return {} if any(map(is_in_flight, used)) or has_own_session(connection) else {place.key: (rows, used)}


def _looked_up(store: Store, place: Place) -> tuple[bytes | None, tuple[bytes, ...]]:
    """Return the entry, if there is one, and the tokens to fill with, taken now."""
    stored, found = store.read(place.key, place.tags)
    complete = tuple(token for token in found if token is not None)
    return stored, complete if len(complete) == len(found) else store.take(place.tags)
