from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.caching.processes import CONTEXT
from tests.soak.crew import Crew, Member
from tests.soak.layout import Layout
from tests.soak.names import DOOMS, SEVERED
from tests.soak.plot import Plot, Role
from tests.soak.stage import furnish
from tests.testapp.soak import Dial, Gauge, Panel

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres, pytest.mark.redis]

LAYOUT = Layout(1)
KEY = 7
REGISTERS = (LAYOUT.gauge(KEY), LAYOUT.dial(KEY), LAYOUT.member(KEY))


@pytest.fixture
def crew(tmp_path: Path) -> Crew:
    """One without processes, in whose database are the rows of a beginning."""
    plot = Plot(LAYOUT, 2, time.monotonic() + 60, "wait", "wait", "seed", tmp_path, "", 1000)
    board = plot.board()
    furnish(board)
    return Crew(plot, board, [], lambda _: None, random.Random(0))


def settled(crew: Crew) -> list[int]:
    states = crew.settle(0)
    return [states[register] for register in REGISTERS]


def write(key: int, version: int) -> None:
    Gauge.plain.filter(pk=key).update(version=version)


def test_it_finds_what_the_board_begins_with(crew: Crew) -> None:
    assert crew.settle(0) == {
        register: crew.board.floors[register] for register in range(LAYOUT.registers) if register % 16 < 8
    }


def test_it_finds_what_was_committed_and_not_told(crew: Crew) -> None:
    write(KEY, crew.board.next_state([LAYOUT.gauge(KEY)], is_there=True))
    crew.board.next_state([LAYOUT.member(KEY)], is_there=True)
    Panel(pk=1).gauges.add(KEY)
    assert settled(crew) == [4, 2, 2]


def test_it_finds_what_was_begun_and_not_committed(crew: Crew) -> None:
    crew.board.next_state([LAYOUT.gauge(KEY)], is_there=True)
    crew.board.next_state([LAYOUT.dial(KEY)], is_there=False)
    crew.board.next_state([LAYOUT.member(KEY)], is_there=True)
    assert settled(crew) == [2, 2, 1]


def test_it_finds_what_is_gone(crew: Crew) -> None:
    for register in REGISTERS[:2]:
        crew.board.next_state([register], is_there=False)
    Dial.plain.filter(pk=KEY).delete()
    Gauge.plain.filter(pk=KEY).delete()
    assert settled(crew) == [3, 3, 1]
    crew.settle_for_good()
    assert [crew.board.known(crew.board.floors).may_be_present(register) for register in REGISTERS[:2]] == [
        False
    ] * 2


def test_it_finds_a_place_in_the_panel_that_was_given_up_in_vain(crew: Crew) -> None:
    member = LAYOUT.member(KEY)
    crew.board.committed(member, crew.board.next_state([member], is_there=True), by=0)
    Panel(pk=1).gauges.add(KEY)
    crew.board.next_state([member], is_there=False)  # its writer is killed before the commit
    assert settled(crew)[2] == 2
    crew.settle_for_good()
    assert not crew.board.known(crew.board.floors).may_be_absent(member)


def test_a_spared_writer_forgets_where_to_die_and_not_that_it_is_cut_off(crew: Crew) -> None:
    doomed, severed = (
        Member(Role(number, name, station=0), "", process=CONTEXT.Process(), killed="writer")
        for number, name in enumerate(("doomed", "severed"))
    )
    crew.members = [doomed, severed]
    crew.board.dooms[0], crew.board.dooms[1] = DOOMS["die", "after mark"], SEVERED
    with crew.writers_spared():
        assert list(crew.board.dooms)[:2] == [0, SEVERED]
    assert list(crew.board.dooms)[:2] == [DOOMS["die", "after mark"], SEVERED]
