from __future__ import annotations

import sys
import threading

import msgspec
import pytest

from perfkit.caching.store import StoreError
from perfkit.monitoring.boards import (
    DAY_SECONDS,
    GONE_SECONDS,
    LOOPS,
    MOST_AT_ONCE,
    MOST_NOTES,
    MOST_STATEMENTS,
    PROCESSES,
    RENEW_SECONDS,
    STATEMENTS,
    Boards,
    Process,
    Seen,
    boards_of,
    living,
    read_all,
    read_notes,
    role_of,
)
from perfkit.monitoring.ledgers import LocalLedger
from perfkit.monitoring.recording import recorder
from perfkit.monitoring.work import timed
from tests.monitoring.conftest import Measured


class Clock:
    seconds = 1_800_000_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(clock: Clock) -> LocalLedger:
    return LocalLedger(clock=clock, now=clock)


def seen(number: int = 1) -> Seen:
    return Seen(f"SELECT {'a' * number}", "default", "/view", "app.py:1")


def posted(ledger: LocalLedger, board: str = STATEMENTS, *, days_ago: int = 0) -> dict[str, Seen]:
    moment = ledger._now() - days_ago * DAY_SECONDS
    return read_all(ledger.posted(boards_of(board, moment, moment)), Seen)


def test_notes_are_put_up_a_hundred_at_once(clock: Clock, ledger: LocalLedger) -> None:
    boards = Boards(now=clock, clock=clock)
    for number in range(MOST_AT_ONCE + 5):
        boards.note(STATEMENTS, str(number), seen(number))
    boards.post(ledger, lost=0)
    assert len(posted(ledger)) == MOST_AT_ONCE
    boards.post(ledger, lost=0)
    assert posted(ledger) == {str(number): seen(number) for number in range(MOST_AT_ONCE + 5)}


def test_a_server_that_was_emptied_knows_them_again_within_the_hour(
    clock: Clock, ledger: LocalLedger
) -> None:
    boards = Boards(now=clock, clock=clock)
    boards.note(STATEMENTS, "one", seen())
    boards.post(ledger, lost=0)
    ledger.clear([*boards_of(STATEMENTS, clock.seconds, clock.seconds), PROCESSES])
    boards.post(ledger, lost=0)
    assert posted(ledger) == {}
    clock.seconds += RENEW_SECONDS
    boards.post(ledger, lost=0)
    assert posted(ledger) == {"one": seen()}


def test_each_day_has_what_was_used_on_it(clock: Clock, ledger: LocalLedger) -> None:
    boards = Boards(now=clock, clock=clock)
    for name in ("busy", "idle"):
        boards.note(STATEMENTS, name, seen())
    for _ in range(30):
        boards.use(STATEMENTS, ["busy", "unknown"])
        boards.post(ledger, lost=0)
        clock.seconds += 3600
    assert posted(ledger) == {"busy": seen()}
    assert posted(ledger, days_ago=1) == {"busy": seen(), "idle": seen()}


def test_a_board_that_was_full_has_room_for_what_is_new_on_the_next_day(
    clock: Clock, ledger: LocalLedger
) -> None:
    for process in range(5):
        boards = Boards(now=clock, clock=clock)
        for number in range(MOST_NOTES):
            boards.note(STATEMENTS, f"{process} {number}", seen())
        for _ in range(MOST_NOTES // MOST_AT_ONCE):
            boards.post(ledger, lost=0)
    boards.forget(STATEMENTS, "4 0")
    boards.note(STATEMENTS, "new", seen(7))
    boards.post(ledger, lost=0)
    assert len(posted(ledger)) == MOST_STATEMENTS
    assert "new" not in posted(ledger)
    clock.seconds += DAY_SECONDS
    boards.use(STATEMENTS, ["new"])
    boards.post(ledger, lost=0)
    assert posted(ledger) == {"new": seen(7)}


def test_what_could_not_be_put_up_waits(clock: Clock, ledger: LocalLedger) -> None:
    class Away(LocalLedger):
        def post(self, *_: object, **__: object) -> None:
            raise StoreError("away")

    boards = Boards(now=clock, clock=clock)
    boards.note(STATEMENTS, "one", seen())
    with pytest.raises(StoreError):
        boards.post(Away(), lost=0)
    boards.post(ledger, lost=0)
    assert posted(ledger) == {"one": seen()}


def test_notes_without_end_are_bounded(clock: Clock, ledger: LocalLedger) -> None:
    boards = Boards(now=clock, clock=clock)
    for number in range(MOST_NOTES * 2):
        boards.note(LOOPS, str(number), seen())
    for _ in range(20):
        boards.post(ledger, lost=0)
    assert 0 < len(posted(ledger, LOOPS)) <= MOST_NOTES


def test_clocks_that_differ_take_nobody_down(clock: Clock, ledger: LocalLedger) -> None:
    """The clock of the ledger's server is the one that counts."""
    skewed = [Clock() for _ in range(2)]
    skewed[0].seconds -= 5_000
    skewed[1].seconds += 5_000
    there = [Boards(now=each, clock=each) for each in (*skewed, clock)]
    for each in there:
        each.post(ledger, lost=0)
    found = ledger.posted([PROCESSES])[0]
    for reader in there:
        assert len(living(ledger, found, now=reader.ledger_seconds())) == 3
    new = Boards(now=skewed[1], clock=clock)
    assert len(living(ledger, found, now=new.ledger_seconds())) == 3


def test_a_process_that_says_nothing_is_gone(clock: Clock, ledger: LocalLedger) -> None:
    one, other = Boards(now=clock, clock=clock), Boards(now=clock, clock=clock)
    one.post(ledger, lost=0)
    clock.seconds += GONE_SECONDS
    other.post(ledger, lost=3)
    clock.seconds += 1
    (left,) = living(ledger, ledger.posted([PROCESSES])[0], now=clock.seconds)
    assert left.lost == 3
    assert list(ledger.posted([PROCESSES])[0]) == [other.name]


def test_a_process_that_ends_takes_its_note_down(measured: Measured) -> None:
    with timed("something"):
        pass
    assert len(measured.ledger().posted([PROCESSES])[0]) == 1
    recorder.end()
    assert measured.ledger().posted([PROCESSES])[0] == {}
    assert measured.summary().timed[0].timing.count == 1


def test_notes_of_another_version_are_left_alone() -> None:
    found = {
        "mine": msgspec.msgpack.encode(seen()),
        "theirs": msgspec.msgpack.encode({"text": 1}),
        "none": b"?",
    }
    assert read_notes(found, Seen) == {"mine": seen()}


def test_a_process_says_how_it_stands(clock: Clock) -> None:
    process = Boards(now=clock, clock=clock).process(lost=2)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(process), type=Process) == process
    assert (process.moment, process.lost, process.active) == (clock.seconds, 2, 0)


@pytest.mark.parametrize(
    ("arguments", "role"),
    [
        (["/srv/bin/celery", "-A", "project", "worker"], "worker"),
        (["/lib/celery/__main__.py", "-A", "project", "beat"], "command"),
        (["uvicorn", "project.asgi"], "web"),
        (["manage.py", "perfkit_stats"], "command"),
        ([], "web"),
    ],
)
def test_it_knows_what_was_started(arguments: list[str], role: str) -> None:
    assert role_of(arguments) == role


def test_notes_are_renewed_while_other_threads_add_some(clock: Clock) -> None:
    boards = Boards(now=clock, clock=clock)
    for number in range(MOST_NOTES - 50):
        boards.note(STATEMENTS, f"{number}", Seen("SELECT ?", "default", "", ""))
    failures: list[RuntimeError] = []
    is_done = threading.Event()

    def add() -> None:
        number = 0
        while not is_done.is_set():
            boards.note(STATEMENTS, f"new {number}", Seen("SELECT ?", "default", "", ""))
            boards.forget(STATEMENTS, f"new {number - 7}")
            number += 1

    def renew() -> None:
        try:
            for _ in range(2_000):
                boards.renew()
        except RuntimeError as error:
            failures.append(error)
        finally:
            is_done.set()

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=each) for each in (add, renew)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    finally:
        sys.setswitchinterval(before)
    assert not failures
