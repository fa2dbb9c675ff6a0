from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.board import Board, Phase
from tests.soak.layout import GAUGES, Layout

LAYOUT = Layout(2)
GAUGE, DIAL, MEMBER = LAYOUT.gauge(3), LAYOUT.dial(3), LAYOUT.member(3)


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(tmp_path / "board", LAYOUT, actors=2, counters=["hit", "miss"])


def state(board: Board, register: int) -> tuple[int, int, int]:
    return board.floors[register], board.ceilings[register], board.graves[register]


def test_it_shows_everybody_the_same(board: Board, tmp_path: Path) -> None:
    other = Board(tmp_path / "board", LAYOUT, actors=2, counters=["hit", "miss"])
    board.phase = Phase.RUN
    board.next_state([GAUGE], is_there=True)
    board.count(0, "hit")
    other.count(1, "hit", 2)
    other.fault_found()
    assert other.phase == Phase.RUN
    assert state(other, GAUGE) == state(board, GAUGE) == (0, 2, 0)
    assert board.counts() == {"hit": 3, "miss": 0}
    assert (board.counted_by(0, "hit"), board.counted_by(1, "hit")) == (1, 2)
    assert board.has_faults


def test_states_grow_and_tell_whether_the_row_is_there(board: Board) -> None:
    board.settled(GAUGE, 2)
    assert state(board, GAUGE) == (2, 2, 0)
    assert board.next_state([GAUGE], is_there=True) == 4
    assert state(board, GAUGE) == (2, 4, 0)
    board.committed(GAUGE, 4, by=0)
    assert board.next_state([GAUGE], is_there=False) == 5
    assert state(board, GAUGE) == (4, 5, 5)
    board.settled(GAUGE, 4)  # the deletion did not take place
    assert state(board, GAUGE) == (4, 4, 0)
    assert board.next_state([GAUGE], is_there=False) == 7, "no state is used twice"
    assert board.next_state([GAUGE], is_there=True) == 8
    assert state(board, GAUGE) == (4, 8, 7)


def test_registers_that_change_together_get_one_state(board: Board) -> None:
    board.settled(GAUGE, 6)
    board.settled(DIAL, 2)
    assert board.next_state([GAUGE, DIAL], is_there=True) == 8
    assert state(board, DIAL) == (2, 8, 0)


def test_a_floor_never_falls(board: Board) -> None:
    board.committed(GAUGE, 6, by=0)
    board.committed(GAUGE, 4, by=1)
    assert board.floors[GAUGE] == 6


def test_it_remembers_what_each_has_written_last(board: Board) -> None:
    assert board.recent_keys() == []
    for key in (1, 2, 3, 4):
        board.committed(LAYOUT.member(key), 2, by=0)
    board.committed(LAYOUT.dial(GAUGES + 1), 2, by=1)
    assert board.recent_keys() == [4, 3, 2, GAUGES + 1]


def test_each_register_has_a_number_and_a_name_of_its_own() -> None:
    numbers = [kind(key) for kind in (LAYOUT.gauge, LAYOUT.dial, LAYOUT.member) for key in LAYOUT.gauges]
    assert numbers == list(range(LAYOUT.registers))
    assert len({LAYOUT.name(number) for number in numbers}) == LAYOUT.registers
    assert LAYOUT.name(LAYOUT.dial(GAUGES + 1)) == f"dial {GAUGES + 1} of station 1"
    stations = [LAYOUT.gauges_of(station) for station in LAYOUT.stations]
    assert [key for keys in stations for key in keys] == list(LAYOUT.gauges)
    assert all(LAYOUT.station_of(key) == number for number, keys in enumerate(stations) for key in keys)
