"""What every process of a soak must know: of the run, and of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.soak.board import Board
from tests.soak.layout import Layout
from tests.soak.names import COUNTERS

BOUND_SECONDS: Final = 1.0
"""How late others may learn of a write during an outage; perfkit's promise, whatever its own constant says."""


class Role(NamedTuple):
    """Who a process is; the same for the one that replaces it.

    Args:
        number: Of its counters on the board.
        name: What the database and people call it.
        station: The one it writes; None for a reader.
        threads: In which it reads; a writer has one beside that in which it writes.
    """

    number: int
    name: str
    station: int | None = None
    threads: int = 1


class Plot(NamedTuple):
    """What a process must know of the run.

    Args:
        ends: When a process that nobody has stopped ends by itself, on the clock that never goes back.
        policy: `CACHE_OUTAGE_WRITES` of all.
        held_to: The policy whose promise reads are held to.
        folder: For the board, the faults and the logs.
        database: Its name, and the way to it.
        lease_ms: How long a writer that dies keeps what it wrote out of the cache.
    """

    layout: Layout
    actors: int
    ends: float
    policy: str
    held_to: str
    seed: str
    folder: Path
    database: dict[str, Any]
    lease_ms: int

    def board(self) -> Board:
        return Board(self.folder / "board", self.layout, actors=self.actors, counters=COUNTERS)
