"""Tables that this process writes without telling the cache server, and what others have been told of that.

# Note [Writing in silence]
While the server cannot be told, the first write to a table leaves a notice in the outbox, in its own transaction:
this table is written in silence.
Every process that finds the notice, at most a second later, reads the table from the database and stores nothing
of it, so that further writes need say nothing.
When the server answers again, the process voids all that depends on the table, and takes its notice back.
One that dies never does: its notice ends, and whoever finds it ended voids and removes it.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from typing import Final, NamedTuple

from perfkit.caching.locks import fork_safe_lock
from perfkit.caching.tokens import new_writer

LOOK_EVERY_SECONDS: Final = 1.0
"""How often a process looks for notices at most: the bound on staleness elsewhere after a write in an outage."""

NOTICE_SECONDS: Final = 60.0
"""How long a notice holds, on the database's clock.

Writes begin to rely on it for half of that, and have the rest to commit.
"""


class Notice(NamedTuple):
    """When a notice was put into the outbox, and when that was committed, on the monotonic clock."""

    put: float
    committed: float


class Silence:
    """Which notices of this process hold, and how many writes rely on them at this moment; by database.

    Args:
        notice_seconds: How long a notice holds.
        clock: Seconds that only grow.
    """

    def __init__(
        self, *, notice_seconds: float = NOTICE_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.notice_seconds = notice_seconds
        self.now = clock
        self._lock = fork_safe_lock()
        self._notices: dict[tuple[str, str], Notice] = {}
        self._relying: defaultdict[str, int] = defaultdict(int)
        self._ends: defaultdict[str, int] = defaultdict(int)
        self._writers: dict[str, str] = {}
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin_anew)

    def writer(self, alias: str) -> str:
        """Return who this process is to others, by the way on which it reaches the database.

        Two aliases may lead to one database; each takes back its own notices alone.
        """
        return self._writers.setdefault(alias, new_writer())

    def moment(self, alias: str) -> int:
        """Return a number that changes when notices end; one that is put before does not hold after."""
        return self._ends[alias]

    def rely(self, alias: str, tables: Collection[str]) -> float | None:
        """Let a write to these tables say nothing; return when all others must know of its notices.

        It is to be followed by `let_go`, or `lose`.

        Returns:
            A time on the clock, 0.0 where it is over, None where the write must leave a notice itself.
        """
        with self._lock:
            now = self.now()
            earliest = now - self.notice_seconds / 2
            newest = None
            for table in tables:
                notice = self._notices.get((alias, table))
                if notice is None or notice.put <= earliest:
                    return None
                newest = notice.committed if newest is None else max(newest, notice.committed)
            if newest is None:
                return None
            self._relying[alias] += 1
            known_at = newest + LOOK_EVERY_SECONDS
            return known_at if known_at > now else 0.0

    def let_go(self, alias: str) -> None:
        """Note that a write which relied on notices has ended."""
        with self._lock:
            self._relying[alias] -= 1

    def lose(self, alias: str, *, is_relying: bool) -> None:
        """Note that nobody knows how a write has ended: the notices stay until their own end."""
        with self._lock:
            self._relying[alias] -= is_relying
            self._drop(alias)
            self._writers.pop(alias, None)

    def committed(self, alias: str, tables: Iterable[str], *, put: float, moment: int) -> None:
        """Note that a notice is in the outbox, unless all were taken back since `moment`."""
        with self._lock:
            if moment == self._ends[alias]:
                for table in tables:
                    self._notices[alias, table] = Notice(put, self.now())

    def end(self, alias: str) -> bool:
        """Rely on no notice from now on; say whether none is relied on at this moment, so that all may go."""
        with self._lock:
            if self._relying[alias] > 0:
                return False
            self._ends[alias] += 1
            self._drop(alias)
            return True

    def forget(self) -> None:
        """Begin anew, as a process that has just started."""
        with self._lock:
            self._begin_anew()

    def _drop(self, alias: str) -> None:
        for known in [known for known in self._notices if known[0] == alias]:
            del self._notices[known]

    def _begin_anew(self) -> None:
        self._notices.clear()
        self._relying.clear()
        self._writers.clear()
