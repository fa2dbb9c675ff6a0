"""Where requests are counted: on the cache server for all processes together, or inside this one."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, ClassVar, Final

from perfkit.caching.locks import fork_safe_lock
from perfkit.caching.store import ScriptedStore
from perfkit.caching.store.beside import Beside
from perfkit.caching.store.packing import Words
from perfkit.caching.store.scripts import ScriptForms
from perfkit.limiting.gcra import Gcra
from perfkit.limiting.rules import MICROSECONDS, Rule, Standing, taken
from perfkit.limiting.windows import Window
from perfkit.rates import Rate

MOST_KNOWN: Final = 100_000
"""Clients and rates of which one process remembers something; those not seen for longest go first."""

ADMIT: Final = ScriptForms.loaded("admit", package=__package__)
TOLD: Final = 4
"""Numbers that the script returns for each rate: those of a `Standing`."""


class Plan:
    """Rates, and all that can be known of them before anybody is counted.

    Attributes:
        rules: How each is counted.
        ends: How each one's keys end on the server.
    """

    __slots__ = ("_numbers", "_once", "ends", "rates", "rules")

    def __init__(self, rates: tuple[Rate, ...]) -> None:
        self.rates = rates
        self.rules: tuple[Rule[Any], ...] = tuple(
            Window(rate) if rate.burst is None else Gcra(rate) for rate in rates
        )
        self.ends = tuple(":".join(map(str, (rule.letter, *rule.numbers))) for rule in self.rules)
        self._numbers = [part for rule in self.rules for part in (rule.letter, *rule.numbers)]
        self._once = Words.of(1, *self._numbers)

    def words(self, cost: int) -> Words:
        """Return what the script is told of a request."""
        return self._once if cost == 1 else Words.of(cost, *self._numbers)


class Counter(ABC):
    """Counts the requests of clients against rates."""

    is_shared: ClassVar[bool]
    """Whether other processes count there too, over something that can fail."""

    @abstractmethod
    def take(self, client: str, plan: Plan, *, cost: int = 1) -> list[Standing]:
        """Count a request against all rates, or against none where one of them does not admit it.

        One round trip, in which nobody else comes between.

        Args:
            client: Who asks, and for what; any text without braces.
            plan: The rates.
            cost: At least 1.

        Raises:
            StoreError: The server did not answer in time; it may have counted the request.
        """


class LocalCounter(Counter):
    """Counts what comes to this process.

    Args:
        most_known: Bound on the clients and rates of which something is remembered.
        clock: Seconds that only grow.
    """

    is_shared: ClassVar[bool] = False

    def __init__(self, *, most_known: int = MOST_KNOWN, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = fork_safe_lock()
        self._known: OrderedDict[tuple[str, Rate], tuple[Any, int]] = OrderedDict()
        self._most_known = most_known
        self._clock = clock

    def take(self, client: str, plan: Plan, *, cost: int = 1) -> list[Standing]:
        """Count as the contract says; the lock is held meanwhile."""
        keys = [(client, rate) for rate in plan.rates]
        with self._lock:
            now_us = int(self._clock() * MICROSECONDS)
            states = [self._known.get(key, (None, 0))[0] for key in keys]
            known, standings = taken(plan.rules, states, cost, now_us)
            for key, each in zip(keys, known, strict=True):
                self._known[key] = each
                self._known.move_to_end(key)
            while len(self._known) > self._most_known or self._is_over(now_us):
                self._known.popitem(last=False)
        return standings

    def _is_over(self, now_us: int) -> bool:
        """Say whether nothing counts any more of what was not asked for longest."""
        return bool(self._known) and next(iter(self._known.values()))[1] <= now_us


class ServerCounter(Counter):
    """Counts on the server, by the server's clock.

    The keys outlive a restart of a server that keeps its data, and clearing the cache leaves them alone.
    A command whose connection breaks before its answer is sent once more: a request may then count twice,
    but never not at all.
    """

    is_shared: ClassVar[bool] = True

    __slots__ = ("_store",)

    def __init__(self, store: ScriptedStore) -> None:
        self._store = store

    def take(self, client: str, plan: Plan, *, cost: int = 1) -> list[Standing]:
        """Count as the contract says."""
        # The braces put all keys of a client into one slot of a cluster.
        keys = [f"limit:{{{client}}}:{end}" for end in plan.ends]
        told = [int(number) for number in self._store.run_script(ADMIT, keys, plan.words(cost)).split()]
        return [
            Standing(told[at] == 1, told[at + 1], told[at + 2], told[at + 3])
            for at in range(0, len(told), TOLD)
        ]


_counters: Final[Beside[Counter]] = Beside(on_server=ServerCounter, in_process=LocalCounter)


def current_counter() -> Counter:
    """Return where this process counts: on the server of the cache alias, or else by itself.

    Raises:
        SettingsError: The alias does not exist, or its back end is none that perfkit speaks to.
    """
    return _counters.current()
