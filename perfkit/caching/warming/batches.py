"""What is filled at once, and what came of it."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from django.db import InterfaceError, OperationalError
from django.utils import timezone, translation

from perfkit.caching.entries import held_until
from perfkit.caching.memory import Tokens
from perfkit.caching.places import Place, stamp

FRESH_SHARE: Final = 0.5
"""Of its time to live, that an entry must have before it to be left as it is."""

WORLD_FAILED: Final[tuple[type[BaseException], ...]] = (OperationalError, InterfaceError)
"""Errors of a database that does not answer: what is asked next would fail too."""


class Manner(NamedTuple):
    """How a batch is filled.

    Args:
        force: Whether what holds is made anew.
        stop_on: Errors that are none of what is being made, and end the run.
    """

    force: bool = False
    stop_on: tuple[type[BaseException], ...] = ()


@dataclass(slots=True)
class Filled:
    """What came of a batch.

    Args:
        entries: Stored.
        size_bytes: Of these.
        held: Those that were in the cache, and hold.
        problems: Why others could not be stored, a line for each.
    """

    entries: int = 0
    size_bytes: int = 0
    held: int = 0
    problems: list[str] = field(default_factory=list)


class Batch(ABC):
    """Some of what a warmer wants."""

    size: int
    """How many entries it would make."""

    @abstractmethod
    def keys(self) -> Iterable[str]:
        """Return what tells it from other batches, the same on every host."""

    @abstractmethod
    def fill(self, manner: Manner) -> Filled:
        """Store what does not hold already. What somebody writes at the moment is left out.

        Raises:
            Bypass: Nothing can be stored now.
            StoreError: The cache server does not answer.
            DatabaseError: The rows cannot be read.
        """


class Setting(NamedTuple):
    """The language and the time zone in which a warmer wants something."""

    language: str | None
    zone: Any

    @classmethod
    def current(cls) -> Setting:
        """Return those of this moment."""
        return cls(translation.get_language(), timezone.get_current_timezone())


def is_fresh(place: Place, stored: bytes | None, found: Tokens, *, ttl_seconds: int) -> bool:
    """Say whether an entry was made with tokens just found, and has time enough before it.

    Args:
        found: The tokens of the tags of `place`, or of its first ones.
    """
    if stored is None:
        return False
    ends = max(held_until(stored, stamp(place.key, found[:count])) for count in {place.lasting, len(found)})
    return has_time(ends, ttl_seconds=ttl_seconds)


def has_time(ends: float, *, ttl_seconds: int) -> bool:
    """Say whether what ends then need not be made anew yet."""
    return ends - time.time() > FRESH_SHARE * ttl_seconds
