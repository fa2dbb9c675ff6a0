"""What the reading and the writing processes of a soak have in common: how they begin, look, dawdle and die."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import random
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

# The first of these sets Django up.
from tests.caching.processes.child import configure  # isort: skip
from django.db import Error, connection

from perfkit.caching import coherence
from perfkit.signals import cache_read
from tests.caching.processes.points import put_database_points, put_points
from tests.soak.history import problems
from tests.soak.looks import LOOKS
from tests.soak.names import DOOMS, REASONS, SEVERED
from tests.soak.plot import BOUND_SECONDS, Plot, Role

SIGNALS: Final = {"die": signal.SIGKILL, "freeze": signal.SIGSTOP}

USUAL_DAWDLE_SECONDS: Final = 0.015
MOST_DAWDLED_SECONDS: Final = 0.2
DAWDLES: Final = 0.004
"""How often a process takes its time at a point."""

DAWDLES_IN_WINDOWS: Final = dict.fromkeys(
    (
        "after read",
        "after tokens",
        "after statement",
        "before fill",
        "after mark",
        "before COMMIT",
        "after COMMIT",
        "before done",
    ),
    0.05,
)
"""How often at the points where it matters most."""

PAST_EVERY_SECONDS: Final = 0.01

NOTICE_SECONDS: Final = 4.0
"""How long a notice holds: long enough that most writes of an outage rely on one, also where the first waits."""


class Own(threading.local):
    """What belongs to one thread.

    Attributes:
        outcomes: Of the cached reads of the present look.
        past: Floors, and when they were taken.
    """

    def __init__(self) -> None:
        self.outcomes: list[str] = []
        self.past: deque[tuple[float, tuple[int, ...]]] = deque()


class Actor:
    """A process that takes part: it looks, checks what it sees, and can be made to end at any point."""

    def __init__(self, plot: Plot, role: Role, *, redis_url: str, generation: int) -> None:
        self.plot = plot
        self.layout = plot.layout
        self.role = role
        self.board = plot.board()
        self.random = random.Random(f"{plot.seed} {role.name} {generation}")
        self._own = Own()
        logging.basicConfig(
            filename=plot.folder / f"{role.name}.log",
            format="%(asctime)s %(process)d %(message)s",
            force=True,
        )
        connection.settings_dict["OPTIONS"]["application_name"] = f"soak {role.name}"
        configure(
            {**plot.database},
            redis_url,
            plot.lease_ms,
            {"CACHE_TIMEOUT": 0.25, "CACHE_RETRY_AFTER": 0.1, "CACHE_OUTAGE_WRITES": plot.policy},
        )
        coherence.silence.notice_seconds = NOTICE_SECONDS
        put_points(self.passes)
        cache_read.connect(self._note)

    @property
    def is_on(self) -> bool:
        """Whether the run goes on; a process whose run is gone ends too."""
        parent = multiprocessing.parent_process()
        return time.monotonic() < self.plot.ends and (parent is None or parent.is_alive())

    def count(self, name: str) -> None:
        self.board.count(self.role.number, name)

    def passes(self, point: str) -> None:
        """Take one's time here now and then; die or stand still, if that is what was asked for."""
        if point == "after put":
            self.count("outbox")
        doom = self.board.dooms[self.role.number]
        if doom:
            for deed, number in SIGNALS.items():
                if doom == DOOMS.get((deed, point)):
                    self.board.dooms[self.role.number] = 0
                    os.kill(os.getpid(), number)
        if self.random.random() < DAWDLES_IN_WINDOWS.get(point, DAWDLES):
            time.sleep(min(self.random.expovariate(1 / USUAL_DAWDLE_SECONDS), MOST_DAWDLED_SECONDS))

    def floors(self) -> Sequence[int]:
        """Return the floors that a read which starts now must keep.

        Where a commit may have returned before others were told, those of a second ago.
        """
        floors = tuple(self.board.floors)
        if self.plot.held_to == "wait":
            return floors
        now = time.monotonic()
        past = self._own.past
        if not past or past[-1][0] + PAST_EVERY_SECONDS <= now:
            past.append((now, floors))
        while len(past) > 1 and past[1][0] + BOUND_SECONDS <= now:
            past.popleft()
        is_old_enough = past[0][0] + BOUND_SECONDS <= now
        return past[0][1] if is_old_enough else (0,) * len(floors)

    def look(
        self, kind: str, station: int, key: int, *, place: str, floors: Sequence[int] | None = None
    ) -> None:
        """Read in one way, and tell of all that is wrong with the answer.

        Args:
            place: Whether it is inside a scope or a transaction.
            floors: Those of this moment, where left out.
        """
        floors = self.floors() if floors is None else floors
        self._own.outcomes.clear()
        began = time.monotonic()
        answer = LOOKS[kind](self.layout, station, key)
        known = self.board.known(floors)
        outcomes = ", ".join(self._own.outcomes)
        self.count(f"look {kind}")
        self.count(f"look {place}")
        if outcomes and all(outcome == "hit" for outcome in self._own.outcomes):
            self.count(f"hit {kind}")
            self.count(f"hit {place}")
        for problem in problems(answer, known, twins=self.layout.twins):
            where = f"station {station}" if problem.register is None else self.layout.name(problem.register)
            self.fault(
                problem.text,
                began=began,
                read=f"{kind}, {place}, {outcomes}",
                row=where,
                floor=problem.floor,
                seen=problem.seen,
                ceiling=problem.ceiling,
            )

    def fault(self, problem: str, **facts: Any) -> None:
        """Tell of something that must not be."""
        facts = {"problem": problem, "by": self.role.name, "at": time.monotonic(), **facts}
        with (self.plot.folder / f"{self.role.name}.faults").open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(facts)}\n")
        self.board.fault_found()

    def act(self) -> None:
        """Do one's part until the run is over."""
        raise NotImplementedError

    def run(self) -> None:
        with self._told_of_crashes():
            self.act()

    @contextmanager
    def beside(self, act: Callable[[], None], *, threads: int) -> Iterator[None]:
        """Have further threads do something meanwhile; it must end by itself."""

        def run() -> None:
            with self._told_of_crashes():
                put_database_points(self.passes)
                act()

        others = [threading.Thread(target=run) for _ in range(threads)]
        for other in others:
            other.start()
        yield
        for other in others:
            other.join()

    @contextmanager
    def _told_of_crashes(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            if isinstance(error, Error) and self.board.dooms[self.role.number] == SEVERED:
                os._exit(1)  # it does not know how its last statement ended
            self.fault("crashed", trace=traceback.format_exc())
            raise
        finally:
            connection.close()

    def _note(self, outcome: str, reason: str, **_: Any) -> None:
        if outcome == "bypass":
            self.count(f"bypass {reason if reason in REASONS else 'for another reason'}")
        else:
            self.count(outcome)
        self._own.outcomes.append(f"{outcome} {reason}".strip())
