from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

import pytest

from perfkit.monitoring.health import Status
from perfkit.monitoring.health.registry import Call
from perfkit.monitoring.health.running import LEFT_AFTER_SECONDS, MOST_LEFT, Runner
from tests.caching.conftest import wait_until

SOON = 0.05
PATIENT = 30.0


class Clock:
    """Real time, which a test may set forward."""

    def __init__(self) -> None:
        from time import monotonic

        self._now = monotonic
        self.ahead = 0.0

    def __call__(self) -> float:
        return self._now() + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def runner(clock: Clock) -> Runner:
    return Runner(clock=clock)


class Hanging:
    """A check that hangs until it is told not to."""

    def __init__(self) -> None:
        self.begun = 0
        self.go = threading.Event()

    def __call__(self) -> str:
        self.begun += 1
        assert self.go.wait(60)
        return "went on"


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    hanging = Hanging()
    yield hanging
    hanging.go.set()


def call(name: str, function: Callable[[], str | None], timeout_seconds: float | None = None) -> Call:
    return Call(name, function, timeout_seconds)


def test_checks_run_at_the_same_time(runner: Runner) -> None:
    meeting = threading.Barrier(3)

    def meet() -> None:
        meeting.wait(timeout=20)

    report = runner.run([call(name, meet) for name in "abc"], seconds=PATIENT)
    assert report.status is Status.OK
    assert [check.name for check in report.checks] == ["a", "b", "c"]


def test_one_that_hangs_keeps_no_other_back(runner: Runner, hanging: Hanging) -> None:
    report = runner.run([call("hangs", hanging), call("well", lambda: "well")], seconds=SOON)
    assert report.checks[0].status is Status.FAILED
    assert report.checks[0].message.startswith("no answer for ")
    again = runner.run([call("well", lambda: "well")], seconds=PATIENT)
    assert again.checks[0].message == "well"


def test_a_check_may_have_less_time_than_the_probe(runner: Runner, hanging: Hanging) -> None:
    report = runner.run([call("hangs", hanging, SOON)], seconds=PATIENT)
    assert report.checks[0].seconds < PATIENT


def test_one_that_hangs_is_not_begun_again(runner: Runner, hanging: Hanging) -> None:
    for _ in range(5):
        assert runner.run([call("hangs", hanging)], seconds=SOON).status is Status.FAILED
    assert hanging.begun == 1


def test_one_that_goes_on_is_well_at_once(runner: Runner, hanging: Hanging) -> None:
    assert runner.run([call("hangs", hanging)], seconds=SOON).status is Status.FAILED
    hanging.go.set()
    assert runner.run([call("hangs", hanging)], seconds=PATIENT).checks[0].message == "went on"


def test_after_a_while_it_is_begun_anew_a_few_times(runner: Runner, clock: Clock, hanging: Hanging) -> None:
    for _ in range(MOST_LEFT + 4):
        runner.run([call("hangs", hanging)], seconds=SOON)
        clock.ahead += LEFT_AFTER_SECONDS
    wait_until(lambda: hanging.begun == MOST_LEFT + 1)
    assert runner.run([call("hangs", hanging)], seconds=SOON).status is Status.FAILED
    assert hanging.begun == MOST_LEFT + 1


def test_a_change_is_logged_once(runner: Runner, caplog: pytest.LogCaptureFixture) -> None:
    answers = [None, OSError("gone"), OSError("gone"), None, None]

    def check() -> None:
        answer = answers.pop(0)
        if answer is not None:
            raise answer

    with caplog.at_level(logging.INFO, "perfkit.health"):
        while answers:
            runner.run([call("c", check)], seconds=PATIENT)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "The health check c is failed: OSError: gone"),
        ("INFO", "The health check c is ok: -"),
    ]
