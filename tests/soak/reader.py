"""A process that reads: alone, in scopes, in transactions and in snapshots, as fast as it can."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from tests.soak.actors import Actor  # isort: skip  # sets Django up
from django.db import connection, transaction

from perfkit.caching import token_scope
from tests.soak.board import Phase
from tests.soak.layout import ZONES
from tests.soak.looks import LOOKS, OF_ONE_ROW
from tests.soak.names import SWEEPS

REST_SECONDS: Final = 0.005

Target = tuple[str, int, int]
"""A way to read, a station, a gauge of it."""


class Reader(Actor):
    """Looks at all stations."""

    def act(self) -> None:
        with self.beside(self.look_on, threads=self.role.threads - 1):
            self.look_on()
        self.count("rests")
        while self.is_on and self.board.phase == Phase.REST:
            time.sleep(REST_SECONDS)
        if self.is_on and self.board.phase == Phase.SWEEP:
            self.sweep()

    def look_on(self) -> None:
        """Look at everything in every way, again and again."""
        ways: list[Callable[[], None]] = [
            *[self.look_alone] * 4,
            *[self.look_in_scope] * 3,
            self.look_in_transaction,
            self.look_in_snapshot,
        ]
        while self.is_on and self.board.phase == Phase.RUN:
            self.random.choice(ways)()

    def look_alone(self) -> None:
        for target in self.targets():
            self.look(*target, place="alone")

    def look_in_scope(self) -> None:
        """See Note [The promise within a scope] in `perfkit.caching.scope`."""
        floors = self.floors()
        with token_scope():
            for target in self.targets():
                self.look(*target, place="in a scope", floors=floors)

    def look_in_transaction(self) -> None:
        with transaction.atomic():
            for target in self.targets():
                self.look(*target, place="in a transaction")

    def look_in_snapshot(self) -> None:
        """Time stands still in it; the danger is what it may leave in the cache for others."""
        floors = self.floors()
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            for target in self.targets()[:2]:
                self.look(*target, place="in a snapshot", floors=floors)

    def sweep(self) -> None:
        """Look at everything that might still be in the cache, twice: now only one answer is right for each."""
        floors = tuple(self.board.floors)
        for place in SWEEPS:
            for kind in LOOKS:
                for station in self.layout.stations:
                    keys = self.layout.gauges_of(station)
                    for key in keys if kind in OF_ONE_ROW else keys[:ZONES]:
                        self.look(kind, station, key, place=place, floors=floors)

    def targets(self) -> list[Target]:
        """Return what to look at next; some of it again, for that is what a cache is for."""
        keys = self.layout.gauges if self.random.random() < 0.5 else self.board.recent_keys()
        key = self.random.choice(keys or self.layout.gauges)
        kinds = self.random.sample(sorted(LOOKS), k=3)
        targets = [(kind, self.layout.station_of(key), key) for kind in ("get", "get of a dial", *kinds)]
        return [*targets, *self.random.sample(targets, k=self.random.randrange(4))]


def run(**arguments: Any) -> None:
    """Read until the run is over."""
    Reader(**arguments).run()
