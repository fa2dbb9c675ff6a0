"""What one process has counted since it last wrote it down; safe in threads. Pure."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from perfkit.workload.texts import digest_of


@dataclass(frozen=True, slots=True)
class Sighting:
    """One statement as it was sent.

    Attributes:
        statement: With its values; empty where they are not kept.
        caller: The project's line that sent it.
        at: When, in seconds since 1970.
        takings: How often in a row the same statement came into its slot.
    """

    statement: str = field(repr=False)
    caller: str
    at: float
    takings: int = 1

    def after(self, former: Sighting | None) -> Sighting:
        """Return what is in the slot where this one comes after the former."""
        if former is None or former.statement != self.statement:
            return self
        return replace(self, takings=former.takings + self.takings)


@dataclass(slots=True)
class Counter:
    """A shape, and what was counted of it.

    Attributes:
        may_keep: Whether its statements may be kept with their values.
        is_seen: Whether one of them was kept already.
        sightings: By slot; a later one takes the place of an earlier.
    """

    fingerprint: str
    digest: str
    may_keep: bool
    is_seen: bool = False
    calls: int = 0
    seconds: float = 0.0
    sightings: dict[int, Sighting] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Addition:
    """What is to be added to a shape."""

    fingerprint: str
    digest: str
    calls: int
    seconds: float
    sightings: Mapping[int, Sighting] = field(default_factory=dict, repr=False)


class Counters:
    """The counters of all shapes, by database."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._counters: dict[str, dict[str, Counter]] = {}

    def counter(self, alias: str, fingerprint: str, *, most: int, may_keep: bool) -> Counter | None:
        """Return the counter of a shape, a new one where there is room for it, else None."""
        with self.lock:
            of_alias = self._counters.setdefault(alias, {})
            known = of_alias.get(fingerprint)
            if known is None and len(of_alias) < most:
                known = Counter(fingerprint, digest_of(fingerprint), may_keep)
                of_alias[fingerprint] = known
            return known

    def judge(self, may_keep: Callable[[str], bool]) -> None:
        """Find anew whether statements may be kept with their values, and forget those that were."""
        with self.lock:
            for of_alias in self._counters.values():
                for counter in of_alias.values():
                    counter.may_keep = may_keep(counter.fingerprint)
                    counter.sightings = {}
                    counter.is_seen = False

    def aliases(self) -> list[str]:
        """Return the databases of which something may have been counted."""
        with self.lock:
            return sorted(self._counters)

    def take(self, alias: str) -> list[Addition]:
        """Return what was counted since the last time, in the order of the digests, and begin at nothing."""
        taken = []
        with self.lock:
            for counter in self._counters.get(alias, {}).values():
                if counter.calls:
                    taken.append(
                        Addition(
                            counter.fingerprint,
                            counter.digest,
                            counter.calls,
                            counter.seconds,
                            counter.sightings,
                        )
                    )
                    counter.calls, counter.seconds, counter.sightings = 0, 0.0, {}
        return sorted(taken, key=lambda each: each.digest)

    def put_back(self, alias: str, additions: Iterable[Addition]) -> None:
        """Count once more what was taken and could not be written down."""
        with self.lock:
            of_alias = self._counters.get(alias, {})
            for each in additions:
                counter = of_alias.get(each.fingerprint)
                if counter is not None:
                    counter.calls += each.calls
                    counter.seconds += each.seconds
                    later = {
                        slot: seen.after(each.sightings.get(slot)) for slot, seen in counter.sightings.items()
                    }
                    counter.sightings = {**each.sightings, **later}

    def forget_idle(self, alias: str, *, most: int) -> bool:
        """Make room where there is none, by what nobody has sent since it was taken; say whether this was done."""
        with self.lock:
            of_alias = self._counters.get(alias, {})
            if len(of_alias) < most:
                return False
            self._counters[alias] = {text: each for text, each in of_alias.items() if each.calls}
            return True
