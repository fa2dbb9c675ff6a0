"""What a soak begins with: the processes by their roles, and the rows, as the board knows them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

from tests.soak.board import Board
from tests.soak.crew import Member
from tests.soak.layout import FIRST_VERSION, Layout, code_of, zone_of
from tests.soak.plot import Plot, Role
from tests.soak.report import Plan
from tests.testapp.soak import Dial, Gauge, Panel

READER_WITH_THREADS: Final = "reader 0"
THREADS: Final = 3


LEASE_MS: Final = 1_500
"""Long beside a commit, and short enough that what the dead have written is soon cached again."""

MOST_TIMES: Final = 3
"""How many times as long as planned a run may take to prove what it must."""

PATIENCE_SECONDS: Final = 120


def plot_of(plan: Plan, *, database: dict[str, Any], folder: Path) -> Plot:
    """Return what the processes must know of a run that begins now."""
    return Plot(
        layout=Layout(plan.writers),
        actors=plan.writers + plan.readers,
        ends=time.monotonic() + MOST_TIMES * plan.seconds + PATIENCE_SECONDS,
        policy=plan.policy,
        held_to=plan.held_to or plan.policy,
        seed=plan.seed,
        folder=folder,
        database=database,
        lease_ms=LEASE_MS,
    )


def members(plan: Plan, *, redis_url: str, cut_off_url: str) -> list[Member]:
    """Return who takes part: half of the writers reach the cache server by a way that can be cut."""
    found = []
    for number in range(plan.writers + plan.readers):
        is_writer = number < plan.writers
        name = f"writer {number}" if is_writer else f"reader {number - plan.writers}"
        threads = THREADS if name == READER_WITH_THREADS else 2 if is_writer else 1
        is_cut_off = number < (plan.writers + 1) // 2
        url = cut_off_url if is_cut_off else redis_url
        found.append(Member(Role(number, name, number if is_writer else None, threads), url, is_cut_off))
    return found


def furnish(board: Board) -> None:
    """Make the rows, and say on the board that they are there."""
    layout = board.layout
    stations = {key: layout.station_of(key) for key in layout.gauges}
    Gauge.plain.bulk_create(
        Gauge(
            pk=key,
            station=station,
            zone=zone_of(FIRST_VERSION),
            code=code_of(key),
            version=FIRST_VERSION,
        )
        for key, station in stations.items()
    )
    Dial.plain.bulk_create(Dial(pk=key, gauge_id=key, version=FIRST_VERSION) for key in stations)
    Panel.plain.bulk_create(Panel(pk=layout.panel(station)) for station in layout.stations)
    for key in layout.gauges:
        for register in (layout.gauge(key), layout.dial(key)):
            board.settled(register, FIRST_VERSION)
        board.settled(layout.member(key), FIRST_VERSION - 1)
