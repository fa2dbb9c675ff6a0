"""What a soak begins with: the processes by their roles, and the rows, as the board knows them."""

from __future__ import annotations

from typing import Final

from tests.soak.board import Board
from tests.soak.crew import Member
from tests.soak.layout import FIRST_VERSION, code_of, zone_of
from tests.soak.plot import Role
from tests.testapp.soak import Dial, Gauge, Panel

READER_WITH_THREADS: Final = "reader 0"
THREADS: Final = 3


def members(*, writers: int, readers: int, redis_url: str, cut_off_url: str) -> list[Member]:
    """Return who takes part: half of the writers reach the cache server by a way that can be cut."""
    found = []
    for number in range(writers + readers):
        is_writer = number < writers
        name = f"writer {number}" if is_writer else f"reader {number - writers}"
        is_cut_off = number < (writers + 1) // 2
        found.append(
            Member(
                Role(
                    number,
                    name,
                    number if is_writer else None,
                    THREADS if name == READER_WITH_THREADS else 2 if is_writer else 1,
                ),
                cut_off_url if is_cut_off else redis_url,
                is_cut_off=is_cut_off,
            )
        )
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
