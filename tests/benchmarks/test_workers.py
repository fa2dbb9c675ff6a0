from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.rounds import play
from benchmarks.workers import Remote, Worker, WorkerError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def worker() -> Iterator[Worker]:
    variables = {"BENCHMARK_VARIABLE": "set", "PYTHONPATH": str(ROOT)}
    with Worker("echo", "tests.benchmarks.echo", variables) as worker:
        yield worker


def test_it_asks_and_is_answered_whatever_else_is_printed(worker: Worker) -> None:
    for number in range(3):
        answer = worker.ask(do="say", number=number)
        assert (answer["number"], answer["variable"]) == (number, "set")


def test_it_lets_several_messages_wait_for_their_answers(worker: Worker) -> None:
    worker.tell(do="say", number=1)
    worker.tell(do="say", number=2)
    assert [worker.answer()["number"], worker.answer()["number"]] == [1, 2]


def test_it_tells_that_a_process_has_ended(worker: Worker) -> None:
    with pytest.raises(WorkerError, match="echo"):
        worker.ask(do="end")
    with pytest.raises(WorkerError, match="echo"):
        worker.ask(do="say")


def test_it_plays_in_another_process(worker: Worker) -> None:
    player = Remote(worker, "anything", calls=7)
    assert play([player], rounds=3, budget_seconds=60) == 3
    assert player.seconds == [0.5, 0.5, 0.5]


def remote(seconds: list[float]) -> Remote:
    return Remote(None, "", 1, seconds)


def test_it_compares_within_rounds() -> None:
    fast, slow = remote([1.0, 10.0, 2.0]), remote([2.0, 20.0, 6.0])
    assert slow.over(fast) == 2.0
    assert slow.beyond(fast) == 4.0


@given(st.lists(st.floats(0.001, 1000), min_size=1), st.floats(0.001, 1000))
def test_it_finds_a_ratio_that_every_round_has(seconds: list[float], times: float) -> None:
    """However the machine's speed changes between the rounds."""
    base = remote(seconds)
    assert remote([each * times for each in seconds]).over(base) == pytest.approx(times)


def test_it_does_not_compare_with_who_played_other_rounds() -> None:
    with pytest.raises(ValueError, match="zip"):
        remote([1.0, 2.0]).over(remote([1.0]))
