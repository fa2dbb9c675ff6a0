"""The processes of a soak: started, killed, and replaced."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import forkserver
from typing import Any, Final

import psutil
from django.db import connection, transaction

from perfkit.models import PendingInvalidation
from tests.caching.processes import CONTEXT
from tests.soak import reader, writer
from tests.soak.board import Board, Phase
from tests.soak.names import DOOMS, POINTS, SEVERED
from tests.soak.plot import BOUND_SECONDS, Plot, Role
from tests.testapp.soak import Dial, Gauge, Panel

PATIENCE_SECONDS: Final = 20
DOOM_SECONDS: Final = 4.0
"""How long a process may take to come to the point at which it is to die, before it is killed where it is."""

UNREAD_SECONDS: Final = 3.0
"""How long after its client's end a session that does nothing may still find something to do in its socket."""

ANYWHERE: Final = "anywhere"
FROM_DATABASE: Final = "cut off from the database"
KILLS: Final = tuple(
    f"{kind} {fate}" for kind, points in POINTS.items() for fate in (ANYWHERE, *points, FROM_DATABASE)
)
"""Who is killed, and where; one that loses the database ends by itself, not knowing how its write has ended."""


@dataclass(eq=False)
class Member:
    """One process after the other in one role.

    Args:
        is_cut_off: Whether its way to the cache server is the one that is cut at times.

    Attributes:
        killed: The kind of death that was sent to the present one, empty where none was.
        dead_since: When it was first seen to be dead, 0 before.
        is_spared: Whether none may be sent.
    """

    role: Role
    redis_url: str
    is_cut_off: bool = False
    process: Any = None
    generation: int = 0
    killed: str = ""
    killed_at: float = 0.0
    dead_since: float = 0.0
    is_spared: bool = False

    @property
    def kind(self) -> str:
        return "reader" if self.role.station is None else "writer"


@dataclass
class Crew:
    """All processes of a run.

    Args:
        note: Told what happens to them.

    Attributes:
        kills: How many have died of what.
    """

    plot: Plot
    board: Board
    members: Sequence[Member]
    note: Callable[[str], None]
    random: random.Random
    kills: Counter[str] = field(default_factory=Counter)
    crashes: list[str] = field(default_factory=list)
    _due: list[tuple[float, dict[int, int], int]] = field(default_factory=list)

    def start(self) -> None:
        CONTEXT.set_forkserver_preload(["pytest", "tests.soak.reader", "tests.soak.writer"])
        forkserver.ensure_running()
        for member in self.members:
            self._start(member)

    def kill(self, kind: str, member: Member) -> None:
        """Kill a process at once, or when it next comes to a point."""
        assert kind in KILLS
        _, _, fate = kind.partition(" ")
        member.killed, member.killed_at = kind, time.monotonic()
        if fate == ANYWHERE:
            member.process.kill()
        elif fate == FROM_DATABASE:
            self.board.dooms[member.role.number] = SEVERED
            _asked(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s", member
            )
        else:
            self.board.dooms[member.role.number] = DOOMS["die", fate]

    def freeze(self, member: Member) -> None:
        """Have a process stand still when it next comes to one of its points."""
        point = self.random.choice(POINTS[member.kind])
        self.note(f"frozen {point}: {member.role.name}")
        self.board.dooms[member.role.number] = DOOMS["freeze", point]

    def is_frozen(self, member: Member) -> bool:
        pid = member.process.pid
        return member.process.exitcode is None and psutil.Process(pid).status() == psutil.STATUS_STOPPED

    def thaw(self, member: Member) -> None:
        """Let a process go on, or not stand still after all."""
        self.board.dooms[member.role.number] = 0
        if member.process.exitcode is None:
            os.kill(member.process.pid, signal.SIGCONT)

    @contextmanager
    def writers_spared(self) -> Iterator[None]:
        """Let no writer die at a point of its own meanwhile.

        One that is cut off from the database at this moment must go on knowing that it is.
        """
        dooms = self.board.dooms
        spared = {
            each: dooms[each.role.number]
            for each in self.members
            if each.kind == "writer" and each.killed and dooms[each.role.number] != SEVERED
        }
        for each in spared:
            dooms[each.role.number] = 0
        yield
        for each, doom in spared.items():
            if each.killed and each.process.exitcode is None:
                dooms[each.role.number] = doom

    def tend(self) -> None:
        """Replace who was killed, tell of what they had committed, and take note of crashes."""
        now = time.monotonic()
        for due, states, number in self._due:
            if due <= now:
                self._publish(states, number)
        self._due = [each for each in self._due if each[0] > now]
        for member in self.members:
            if member.process.exitcode is None:
                if member.killed and now > member.killed_at + DOOM_SECONDS:
                    self.kill(f"{member.kind} {ANYWHERE}", member)
            elif not member.killed:
                is_over = self.board.phase != Phase.RUN and member.process.exitcode == 0
                if not is_over:
                    self.crashes.append(f"{member.role.name} ended with {member.process.exitcode}.")
            elif self._has_left_the_database(member):
                self._replace(member)

    def have_ended(self, kind: str) -> bool:
        """Say whether all readers, or all writers, have ended by themselves."""
        return all(member.process.exitcode == 0 for member in self.members if member.kind == kind)

    def end(self) -> None:
        """Let all end; who does not is killed, and that is a crash."""
        self.board.phase = Phase.STOP
        for member in self.members:
            member.process.join(timeout=PATIENCE_SECONDS)
            if member.process.exitcode is None:
                self.crashes.append(f"{member.role.name} did not end.")
                member.process.kill()
                member.process.join()

    def settle(self, station: int) -> dict[int, int]:
        """Return the state of each register of a station that the database shows, as the board numbers it.

        Nobody else may write the station meanwhile, except for the common one.
        """
        layout, board = self.plot.layout, self.board
        there: dict[int, int] = {}
        for key, version in Gauge.plain.filter(station=station).values_list("pk", "version"):
            there[layout.gauge(key)] = version
        for key, version in Dial.plain.filter(gauge__station=station).values_list("pk", "version"):
            there[layout.dial(key)] = version
        for key in Gauge.plain.filter(panels=Panel(pk=layout.panel(station))).values_list("pk", flat=True):
            register = layout.member(key)
            floor = board.floors[register]  # of the last one that was told; at most one more was begun since
            there[register] = floor if floor % 2 == 0 else board.last[register]
        keys = layout.gauges_of(station)
        registers = [register(key) for key in keys for register in (layout.gauge, layout.dial, layout.member)]
        return {register: there.get(register, board.graves[register]) for register in registers}

    def settle_for_good(self) -> None:
        """Make the board say exactly what the database holds, once nobody reads or writes."""
        for station in self.plot.layout.stations:
            for register, state in self.settle(station).items():
                self.board.settled(register, state)

    def _replace(self, member: Member) -> None:
        self.note(f"killed {member.killed}: {member.role.name}")
        self.kills[member.killed] += 1
        member.killed, member.dead_since = "", 0.0
        self.board.dooms[member.role.number] = 0
        if member.role.station is not None:
            self._tell_for_the_dead(member.role.number, member.role.station)
        member.generation += 1
        self._start(member)

    def _tell_for_the_dead(self, number: int, station: int) -> None:
        """Tell the board what a killed writer had committed.

        Where the outbox is not empty, readers may not have looked into it yet: a writer that lived would wait too.
        """
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            own = self.settle(station)
            common = self.settle(self.plot.layout.common)
            is_waiting = PendingInvalidation.objects.exists()
        for register, state in own.items():
            self.board.ceilings[register] = state
        if is_waiting:
            self._due.append((time.monotonic() + BOUND_SECONDS, own | common, number))
        else:
            self._publish(own | common, number)

    def _publish(self, states: Mapping[int, int], number: int) -> None:
        for register, state in states.items():
            if state > self.board.floors[register]:
                self.board.committed(register, state, by=number)

    def _has_left_the_database(self, member: Member) -> bool:
        """Say whether the server has ended the dead one's session: until then it may still commit.

        A pooler keeps it, under the name of who had it last, until somebody else needs one.
        """
        now = time.monotonic()
        member.dead_since = member.dead_since or now
        may_commit = "TRUE"
        if now > member.dead_since + UNREAD_SECONDS:
            may_commit = f"(state <> 'idle' OR state_change > now() - interval '{UNREAD_SECONDS} s')"
        sessions = f"SELECT 1 FROM pg_stat_activity WHERE {may_commit} AND application_name = %s"
        return not _asked(sessions, member)

    def _start(self, member: Member) -> None:
        module = reader if member.role.station is None else writer
        member.process = CONTEXT.Process(
            target=module.run,
            kwargs={
                "plot": self.plot,
                "role": member.role,
                "redis_url": member.redis_url,
                "generation": member.generation,
            },
        )
        member.process.start()


def _asked(sql: str, member: Member) -> list[Any]:
    """Ask the database about the sessions of a process."""
    with connection.cursor() as cursor:
        cursor.execute(f"{sql} AND datname = current_database()", [f"soak {member.role.name}"])
        return list(cursor.fetchall())
