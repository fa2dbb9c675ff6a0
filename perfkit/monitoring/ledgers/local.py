"""A ledger inside the process, where no server is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from perfkit.caching.locks import fork_safe_lock
from perfkit.monitoring.ledgers.contract import Ledger, Told, Vector, add_to, is_other, other_name, room_for


class LocalLedger(Ledger):
    """Keeps what this process tells.

    Args:
        clock: Seconds that only grow.
        now: Seconds since 1970.
    """

    is_shared: ClassVar[bool] = False

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, now: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        self._now = now
        self._lock = fork_safe_lock()
        self._writers: dict[str, int] = {}
        self._pages: dict[str, dict[str, Vector]] = {}
        self._boards: dict[str, dict[str, bytes]] = {}
        self._ends: dict[str, float] = {}
        self._added: dict[str, dict[str, int]] = {}
        self._looked: dict[str, int] = {}

    def add(self, told: Told) -> bool:
        """Add it under the lock."""
        with self._lock:
            if self._writers.get(told.writer, 0) >= told.number:
                return False
            self._writers[told.writer] = told.number
            self._forget_old()
            for page, addition in told.pages.items():
                held = self._pages.setdefault(page, {})
                self._ends[page] = self._clock() + addition.kept_seconds
                for name, vector in addition.vectors.items():
                    number = len(held)
                    if addition.is_lasting and name not in held:
                        number = self._with_places(page, told.day, most=addition.most)
                    has_room = name in held or number < room_for(name, addition.most)
                    place = name if has_room else other_name(name)
                    add_to(held.setdefault(place, {}), vector.items())
                    if addition.is_lasting:
                        self._added.setdefault(page, {})[place] = told.day
            return True

    def _with_places(self, page: str, day: int, *, most: int) -> int:
        """Return how many names have places of their own, and make room at most once a day; the lock is held."""
        held, added = self._pages[page], self._added.setdefault(page, {})
        names = [name for name in held if not is_other(name)]
        if len(names) >= most and self._looked.get(page) != day:
            self._looked[page] = day
            for name in names:
                if added.setdefault(name, day) < day - 1:
                    del held[name], added[name]
            names = [name for name in names if name in held]
        return len(names)

    def read(self, pages: Sequence[str], *, names: Sequence[str] = ()) -> list[dict[str, Vector]]:
        """Return copies."""
        with self._lock:
            self._forget_old()
            return [
                {
                    name: dict(vector)
                    for name, vector in self._pages.get(page, {}).items()
                    if not names or name in names
                }
                for page in pages
            ]

    def post(self, board: str, notes: Mapping[str, bytes], *, kept_seconds: int, most: int) -> float:
        """Put them up under the lock."""
        with self._lock:
            self._forget_old()
            held = self._boards.setdefault(board, {})
            self._ends[board] = self._clock() + kept_seconds
            for name, note in notes.items():
                if name in held or len(held) < most:
                    held[name] = note
        return self._now()

    def posted(self, boards: Sequence[str], *, names: Sequence[str] = ()) -> list[dict[str, bytes]]:
        """Return copies."""
        with self._lock:
            self._forget_old()
            return [
                {
                    name: note
                    for name, note in self._boards.get(board, {}).items()
                    if not names or name in names
                }
                for board in boards
            ]

    def take_down(self, board: str, names: Sequence[str]) -> None:
        """Take them off under the lock."""
        with self._lock:
            for name in names:
                self._boards.get(board, {}).pop(name, None)

    def clear(self, pages: Sequence[str]) -> None:
        """Drop them under the lock."""
        with self._lock:
            for page in pages:
                self._drop(page)

    def _forget_old(self) -> None:
        now = self._clock()
        for name in [name for name, end in self._ends.items() if end <= now]:
            self._drop(name)

    def _drop(self, name: str) -> None:
        for held in (self._pages, self._boards, self._ends, self._added, self._looked):
            held.pop(name, None)
