"""What processes tell of themselves, and of statements and loops, beside the numbers.

| board | names | notes |
|---|---|---|
| `processes` | a name that only this process has | `Process`: what it is, and how it stands at the moment |
| `statements` | fingerprints | `Seen`: the text, and where it was seen |
| `loops` | kind and relation, as in the series `loop` | `Loop`: the lines, and what to write instead |

There is a board of statements and one of loops for each day, on which stand those of that day: see `boards_of`.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Iterable
from math import inf
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from django.db import connections

from perfkit.caching.memory import memory
from perfkit.monitoring.ledgers import Ledger
from perfkit.monitoring.middleware import active
from perfkit.monitoring.open_connections import Connected, open_connections
from perfkit.postgres import pool_figures

T = TypeVar("T", bound=msgspec.Struct)

PROCESSES: Final = "processes"
STATEMENTS: Final = "statements"
LOOPS: Final = "loops"

MOST_PROCESSES: Final = 500
MOST_STATEMENTS: Final = 2_000
MOST_LOOPS: Final = 500
DAY_SECONDS: Final = 86_400
KEPT_SECONDS: Final = 2 * DAY_SECONDS
"""After the last note; the longest range that is looked at begins 25 hours ago."""

POST_EVERY_SECONDS: Final = 5.0
GONE_SECONDS: Final = 75.0
"""After which a process that has not told of itself, while others have, is believed to have ended."""

MOST_BESIDE_SECONDS: Final = 2.0
"""That a process may be mistaken about the ledger's clock."""

MOST_AT_ONCE: Final = 100
MOST_NOTES: Final = 600
"""Of one board, that a process knows."""

RENEW_SECONDS: Final = 3_600.0
"""After which all of the day is put up once more: the server may have been emptied."""

SERVERS: Final = frozenset({"daphne", "granian", "gunicorn", "hypercorn", "uvicorn"})
"""That are started by `python -m`, as commands are too."""


class Pool(msgspec.Struct, frozen=True):
    """How a pool of one process stands."""

    alias: str
    in_use: int
    size: int
    most: int
    waiting: int
    requests: int
    queued: int
    waited_seconds: float
    timeouts: int


class Process(msgspec.Struct, frozen=True):
    """How one process stands.

    Attributes:
        moment: When it said so, in seconds since 1970, by the ledger's clock.
        role: `web`, `worker` or `command`.
        active: Requests that it is busy with.
        memory_bytes: What its tier of the cache holds.
        lost: Minutes of measurements that it could not tell.
        connections: Those that it has open, by alias.
    """

    moment: float
    host: str
    pid: int
    role: str
    begun: float
    active: int
    memory_bytes: int
    pools: tuple[Pool, ...]
    lost: int = 0
    connections: tuple[Connected, ...] = ()


class Seen(msgspec.Struct, frozen=True):
    """A statement without its values, and where a process has seen it first.

    Attributes:
        view: The pattern of the request's address, or the name of the task.
        method: Of the request; empty where it was none.
    """

    text: str
    alias: str
    view: str
    line: str
    method: str = ""


class Loop(msgspec.Struct, frozen=True):
    """A loop of queries, and what to write instead."""

    kind: str
    name: str
    lines: tuple[str, ...]
    statement: str
    fix: str
    queries: int


class Boards:
    """What this process puts up.

    Args:
        now: Seconds since 1970.
        clock: Seconds that only grow.
    """

    def __init__(
        self, *, now: Callable[[], float] = time.time, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._now = now
        self._clock = clock
        self.begin_anew()

    def begin_anew(self) -> None:
        """Know nothing, as a process that has just started."""
        self.name = os.urandom(8).hex()
        self.role = role_of(sys.argv)
        self._begun = self._now()
        self._ahead_seconds: float | None = None
        self._posted_at = -inf
        self._renewed_at = self._clock()
        self._day = day_of(self._now())
        self._notes: dict[str, dict[str, msgspec.Struct]] = {STATEMENTS: {}, LOOPS: {}}
        self._new: dict[str, dict[str, msgspec.Struct]] = {STATEMENTS: {}, LOOPS: {}}
        self._used: dict[str, set[str]] = {STATEMENTS: set(), LOOPS: set()}

    def note(self, board: str, name: str, note: msgspec.Struct) -> None:
        """Have a note put up the next time, and once more each hour of this day; beyond a bound it is dropped."""
        notes = self._notes[board]
        if len(notes) < MOST_NOTES or name in notes:
            notes[name] = self._new[board][name] = note
            self._used[board].add(name)

    def use(self, board: str, names: Iterable[str]) -> None:
        """Have the notes of what was used put up, unless they have been on this day."""
        self._begin_day()
        used, notes = self._used[board], self._notes[board]
        for name in names:
            if name not in used and name in notes:
                used.add(name)
                self._new[board][name] = notes[name]

    def forget(self, board: str, name: str) -> None:
        """Make room for others."""
        for held in (self._notes[board], self._new[board]):
            held.pop(name, None)
        self._used[board].discard(name)

    def _begin_day(self) -> None:
        day = day_of(self._now())
        if day != self._day:
            self._day = day
            for used in self._used.values():
                used.clear()

    def known(self, board: str) -> dict[str, Any]:
        """Return what this process has noted itself, also where nobody can be told of it."""
        return dict(self._notes[board])

    def renew(self) -> None:
        """Have all notes of this day put up once more."""
        self._renewed_at, self._posted_at = self._clock(), -inf
        for board, notes in self._notes.items():
            used = list(self._used[board])  # to which other threads add meanwhile
            self._new[board].update({name: notes[name] for name in used if name in notes})

    def post(self, ledger: Ledger, *, lost: int) -> None:
        """Put up what is new, at most a hundred notes a board, and now and then how this process stands.

        Raises:
            StoreError: The ledger cannot be reached; what is new stays.
        """
        self._begin_day()
        if self._clock() - self._renewed_at >= RENEW_SECONDS:
            self.renew()
        for board, most in ((STATEMENTS, MOST_STATEMENTS), (LOOPS, MOST_LOOPS)):
            waiting = dict(list(self._new[board].items())[:MOST_AT_ONCE])
            if waiting:
                notes = {name: msgspec.msgpack.encode(note) for name, note in waiting.items()}
                ledger.post(f"{board}:{self._day}", notes, kept_seconds=KEPT_SECONDS, most=most)
                for name, posted in waiting.items():
                    if self._new[board].get(name) is posted:  # else it has changed meanwhile
                        del self._new[board][name]
        if self._clock() - self._posted_at >= POST_EVERY_SECONDS:
            self._posted_at = self._clock()
            self._tell_of_itself(ledger, lost=lost)

    def _tell_of_itself(self, ledger: Ledger, *, lost: int) -> None:
        """Put up how this process stands; once more where it was mistaken about the ledger's clock."""
        for _ in range(2):
            told = self.process(lost=lost)
            note = msgspec.msgpack.encode(told)
            moment = ledger.post(PROCESSES, {self.name: note}, kept_seconds=DAY_SECONDS, most=MOST_PROCESSES)
            self._ahead_seconds = moment - self._now()
            if abs(moment - told.moment) <= MOST_BESIDE_SECONDS:
                break

    def ledger_seconds(self) -> float | None:
        """Return the time by the ledger's clock, since 1970; None where that is not known yet."""
        return None if self._ahead_seconds is None else self._now() + self._ahead_seconds

    def process(self, *, lost: int = 0) -> Process:
        """Return how this process stands."""
        return Process(
            moment=self._now() + (self._ahead_seconds or 0.0),
            host=socket.gethostname(),
            pid=os.getpid(),
            role=self.role,
            begun=self._begun,
            active=active.number(),
            memory_bytes=memory.size_bytes,
            pools=tuple(_pools()),
            lost=lost,
            connections=tuple(open_connections.figures()),
        )

    def leave(self, ledger: Ledger) -> None:
        """Take down the note of this process, which ends.

        Raises:
            StoreError: The ledger cannot be reached.
        """
        ledger.take_down(PROCESSES, [self.name])


def day_of(moment: float) -> int:
    """Return the day that a moment is in, in days since 1970."""
    return int(moment // DAY_SECONDS)


def boards_of(board: str, begin: float, end: float) -> list[str]:
    """Return the names of the boards that statements or loops of a stretch of time stand on, oldest first.

    Example:
        >>> boards_of("loops", 86_400 * 3 - 1, 86_400 * 3)
        ['loops:2', 'loops:3']
    """
    return [f"{board}:{day}" for day in range(day_of(begin), day_of(end) + 1)]


def living(ledger: Ledger, found: dict[str, bytes], *, now: float | None) -> list[Process]:
    """Return the processes that have told of themselves of late, and take down the notes of the others.

    Args:
        now: By the ledger's clock, as `Boards.ledger_seconds` knows it; None for the moment of the last note.

    Raises:
        StoreError: The ledger cannot be reached.
    """
    processes = read_notes(found, Process)
    moments = [each.moment for each in processes.values()]
    first = max(moments if now is None else [now, *moments], default=0.0) - GONE_SECONDS
    gone = [name for name in found if name not in processes or processes[name].moment < first]
    if gone:
        ledger.take_down(PROCESSES, gone)
    return sorted(
        (each for name, each in processes.items() if name not in gone),
        key=lambda each: (each.role, each.host, each.pid),
    )


def read_all(found: Iterable[dict[str, bytes]], kind: type[T]) -> dict[str, T]:
    """Return the notes of several boards, of one name the last."""
    return {name: note for board in found for name, note in read_notes(board, kind).items()}


def read_notes(found: dict[str, bytes], kind: type[T]) -> dict[str, T]:
    """Return the notes of a board, without those of another version that cannot be read."""
    notes: dict[str, T] = {}
    for name, text in found.items():
        try:
            notes[name] = msgspec.msgpack.decode(text, type=kind)
        except msgspec.DecodeError:
            continue
    return notes


def role_of(arguments: list[str]) -> str:
    """Return what kind of process was started so.

    Example:
        >>> role_of(["/bin/gunicorn", "project.wsgi"]), role_of(["celery", "-A", "project", "worker"])
        ('web', 'worker')
        >>> role_of(["manage.py", "runserver"]), role_of(["manage.py", "migrate"])
        ('web', 'command')
        >>> role_of(["/lib/gunicorn/__main__.py", "project.wsgi"]), role_of(["/lib/django/__main__.py", "check"])
        ('web', 'command')
    """
    path = Path(arguments[0] if arguments else "")
    program = path.parent.name if path.name == "__main__.py" else path.name
    if program == "celery" or "celery" in path.parts:
        return "worker" if "worker" in arguments else "command"
    if program in {"manage.py", "django-admin"} or (path.name == "__main__.py" and program not in SERVERS):
        return "web" if "runserver" in arguments else "command"
    return "web"


def _pools() -> list[Pool]:
    found = []
    for alias in connections:
        figures: Any = pool_figures(alias)
        if figures is not None:
            found.append(
                Pool(
                    alias=alias,
                    in_use=figures.in_use,
                    size=figures.size,
                    most=figures.most,
                    waiting=figures.waiting,
                    requests=figures.requests,
                    queued=figures.queued,
                    waited_seconds=figures.waited_seconds,
                    timeouts=figures.timeouts,
                )
            )
    return found


boards: Final = Boards()
