"""A process that writes its own station in every way there is, and looks at what it wrote."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from tests.soak.actors import Actor  # isort: skip  # sets Django up
from perfkit.caching import token_scope
from tests.soak.board import Phase
from tests.soak.history import NEVER
from tests.soak.layout import LASTING, MORTAL, TWINS
from tests.soak.looks import LOOKS
from tests.soak.writes import WRITES
from tests.testapp.soak import Dial, Gauge, Panel

MOST_REST_SECONDS: Final = 0.3
"""Between two writes: any write to a table voids each list of it, and lists must be hits at times."""

OFTEN: Final = ("save", "save of a dial", "update by key", "atomic block", "savepoint rolled back")
"""Writes to rows by their keys: where one is missed, nothing but the next write to that row mends it."""

LOOKS_OF_A_SCOPE: Final = 50
MOST_PAUSE_SECONDS: Final = 0.02
"""Between two looks of a thread that watches."""


class Writer(Actor):
    """Knows what there is of its station, and tells the board of each state: before its commit, and after it.

    Attributes:
        gauges: Keys of those that are there; likewise `dials` and `members`, the gauges in the station's panel.
    """

    gauges: set[int]
    dials: set[int]
    members: set[int]

    def act(self) -> None:
        assert self.role.station is not None
        self.station = self.role.station
        self._changed: dict[int, int] = {}
        self.gauges = set(Gauge.plain.filter(station=self.station).values_list("pk", flat=True))
        self.dials = set(Dial.plain.filter(gauge__station=self.station).values_list("pk", flat=True))
        panel = Panel(pk=self.layout.panel(self.station))
        self.members = set(Gauge.plain.filter(panels=panel).values_list("pk", flat=True))
        with self.beside(self.watch, threads=self.role.threads - 1):
            for kind in self._shuffled_for_ever():
                if not self.is_on or self.board.phase != Phase.RUN:
                    return
                time.sleep(self.random.random() * MOST_REST_SECONDS)
                self.write_and_look(kind)

    def watch(self) -> None:
        """In another thread and in long scopes, see at once whatever the process has written."""
        while self.is_on and self.board.phase == Phase.RUN:
            looks = [self._some_look() for _ in range(4)]  # few, so that each is looked at many times
            with token_scope():
                for _ in range(LOOKS_OF_A_SCOPE):
                    self.look_at_own(*self.random.choice(looks), place="beside own writes")
                    time.sleep(self.random.random() * MOST_PAUSE_SECONDS)

    def write_and_look(self, kind: str) -> None:
        """Write in one way; see it at once, also within a scope that has seen what was there before."""
        look, key = self._some_look()
        if self.random.random() < 0.5:
            self.write(kind)
            self.look_at_own(look, key)
            return
        with token_scope():
            self.look_at_own(look, key)
            self.write(kind)
            self.look_at_own(look, key)
            self.look_at_own("get", key)

    def look_at_own(self, kind: str, key: int, *, place: str = "after own write") -> None:
        """Look at the own station, where nothing older than the last write may be seen, whatever the policy.

        What others write is looked at elsewhere: within a scope it may be as old as the scope.
        """
        self.look(kind, self.station, key, place=place, floors=self._own_floors())

    def _own_floors(self) -> Sequence[int]:
        floors = [0] * self.layout.registers
        for key in self.layout.gauges_of(self.station):
            for register in (self.layout.gauge(key), self.layout.dial(key), self.layout.member(key)):
                floors[register] = self.board.floors[register]
        return floors

    def _some_look(self) -> tuple[str, int]:
        return self.random.choice(sorted(LOOKS)), self.random.choice(self.layout.gauges_of(self.station))

    def write(self, kind: str) -> None:
        WRITES[kind](self)
        self.commit_returned()
        self.count(f"write {kind}")

    # What the ways to write call.

    def next(self, *registers: int) -> int:
        """Return the next version of rows that are about to be written, the same for all of them."""
        return self._next(registers, is_there=True)

    def gone(self, *registers: int) -> None:
        """Note that these are about to go."""
        self._next(registers, is_there=False)

    def never(self) -> int:
        """Return a version that is going to be rolled back."""
        return NEVER + self.random.randrange(1_000_000)

    def commit_returned(self) -> None:
        """Tell the board that what was noted since the last time is committed."""
        for register, state in self._changed.items():
            self.board.committed(register, state, by=self.role.number)
        if self._changed:
            self.count("commits")
        self._changed.clear()

    def some(self, places: Sequence[int]) -> int:
        """Return the key of a gauge at one of these places of the station."""
        return self.random.choice(self.layout.places(self.station, places))

    @property
    def lasting(self) -> int:
        """The key of a gauge that is never deleted."""
        return self.some(LASTING)

    @property
    def mortal(self) -> int:
        """The key of a gauge that may not be there."""
        return self.some(MORTAL)

    @property
    def twins(self) -> list[int]:
        return self.layout.places(self.station, TWINS)

    def _next(self, registers: Sequence[int], *, is_there: bool) -> int:
        state = self.board.next_state(registers, is_there=is_there)
        self._changed.update(dict.fromkeys(registers, state))
        return state

    def _shuffled_for_ever(self) -> Iterator[str]:
        kinds = [*WRITES, *OFTEN, *OFTEN]
        while True:
            yield from self.random.sample(kinds, k=len(kinds))


def run(**arguments: Any) -> None:
    """Write until the run is over."""
    Writer(**arguments).run()
