"""What all processes of a soak see and change: numbers in a file that is mapped into each of them.

They outlive whoever wrote them: a process that is killed takes nothing with it.
"""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path
from typing import Final

from tests.soak.history import Known
from tests.soak.layout import Layout

WORD_BYTES: Final = 8

RECENT: Final = 3
"""Keys that are remembered of each writer as written last."""


class Phase(IntEnum):
    """What the processes are to do."""

    RUN = 1
    REST = 2
    """Writers end; readers do nothing."""
    SWEEP = 3
    """Readers look at everything once again, and end."""
    STOP = 4


class Board:
    """The shared numbers.

    Args:
        path: Of the file, made by the first one.
        actors: How many processes have counters of their own; one that replaces another goes on with its.
        counters: The names of what they count.
    """

    def __init__(self, path: Path, layout: Layout, *, actors: int, counters: Sequence[str]) -> None:
        self.layout = layout
        self._places = {name: place for place, name in enumerate(counters)}
        sizes = [layout.registers] * 4 + [2, RECENT * actors] + [actors] + [len(counters)] * actors
        if not path.exists():
            path.write_bytes(bytes(sum(sizes) * WORD_BYTES))
        with path.open("r+b") as file:
            words = memoryview(mmap.mmap(file.fileno(), 0)).cast("q")
        parts = []
        for size in sizes:
            parts.append(words[:size])
            words = words[size:]
        self.floors, self.ceilings, self.graves, self.last, *parts = parts
        self._control, self._recent, self.dooms, *self._counters = parts

    @property
    def phase(self) -> int:
        return int(self._control[0])

    @phase.setter
    def phase(self, phase: Phase) -> None:
        self._control[0] = phase

    @property
    def has_faults(self) -> bool:
        """Whether anybody has found a read that breaks the promise."""
        return bool(self._control[1])

    def fault_found(self) -> None:
        self._control[1] = 1

    def known(self, floors: Sequence[int]) -> Known:
        """Return what is known at the end of a read before which `floors` were taken."""
        return Known(floors, tuple(self.ceilings), tuple(self.graves))

    def next_state(self, registers: Sequence[int], *, is_there: bool) -> int:
        """Return the next state of registers that change together, and note that a writer begins to write it."""
        state = max(self.last[register] for register in registers) + 1
        state += state % 2 if is_there else 1 - state % 2
        for register in registers:
            self.last[register] = self.ceilings[register] = state
            if not is_there:
                self.graves[register] = state
        return state

    def settled(self, register: int, state: int) -> None:
        """Note that a state is the only one a read may yield, for nobody reads or writes at this moment."""
        self.floors[register] = self.ceilings[register] = state
        self.last[register] = max(self.last[register], state)
        self.graves[register] = state if state % 2 else 0

    def committed(self, register: int, state: int, *, by: int) -> None:
        """Note that the commit of a state has returned to the actor `by`."""
        self.floors[register] = max(self.floors[register], state)
        place = by * RECENT
        self._recent[place + 1 : place + RECENT] = self._recent[place : place + RECENT - 1]
        self._recent[place] = self.layout.key_of(register)

    def recent_keys(self) -> list[int]:
        """Return keys of gauges of which something was committed last: where anything stale is found first."""
        return [key for key in self._recent if key]

    def count(self, actor: int, name: str, number: int = 1) -> None:
        self._counters[actor][self._places[name]] += number

    def counts(self) -> Counter[str]:
        """Return what all have counted together."""
        return Counter(
            {name: sum(own[place] for own in self._counters) for name, place in self._places.items()}
        )

    def counted_by(self, actor: int, name: str) -> int:
        return int(self._counters[actor][self._places[name]])
