from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from perfkit.errors import SettingsError, UsageError
from perfkit.monitoring.health import Status, check_health, probes
from perfkit.monitoring.health.probes import SHARED_SECONDS, Shared, acheck_health
from perfkit.monitoring.health.registry import Call

MANY = 40


class Counted:
    """A check that counts how often it was run."""

    def __init__(self) -> None:
        self.count = 0
        self.go = threading.Event()
        self.go.set()

    def __call__(self) -> None:
        assert self.go.wait(30)
        self.count += 1


@pytest.fixture
def counted(declare: Callable[..., None], configure: Callable[..., None]) -> Counted:
    counted = Counted()
    declare("counted", counted)
    configure(HEALTH_READY=["counted"])
    return counted


@pytest.fixture
def _slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks comes in time, however busy the machine is."""
    monkeypatch.setattr(probes, "SHARED_SECONDS", 600.0)


@pytest.mark.usefixtures("_slow_machine")
def test_many_who_ask_at_the_same_time_share_one_run(counted: Counted) -> None:
    counted.go.clear()
    with ThreadPoolExecutor(MANY) as pool:
        asked = [pool.submit(check_health) for _ in range(MANY)]
        counted.go.set()
        assert {future.result().status for future in asked} == {Status.OK}
    assert counted.count == 1


@pytest.mark.usefixtures("_slow_machine")
def test_coroutines_share_it_too(counted: Counted) -> None:
    async def ask() -> set[Status]:
        return {report.status for report in await asyncio.gather(*(acheck_health() for _ in range(MANY)))}

    assert asyncio.run(ask()) == {Status.OK}
    assert counted.count == 1


def test_one_who_stops_waiting_takes_nothing_from_others(counted: Counted) -> None:
    counted.go.clear()

    async def ask() -> Status:
        first, second = (asyncio.ensure_future(acheck_health()) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        counted.go.set()
        return (await second).status

    assert asyncio.run(ask()) is Status.OK


def test_a_report_is_shared_for_a_second(counted: Counted) -> None:
    now = [100.0]
    shared = Shared(clock=lambda: now[0])
    call = [Call("counted", counted, None)]
    first = shared.run(call).result(30)
    now[0] += SHARED_SECONDS / 2
    assert shared.run(call).result(30) is first
    now[0] += SHARED_SECONDS
    assert shared.run(call).result(30) is not first
    assert counted.count == 2


def test_a_probe_ends_in_time(
    counted: Counted, configure: Callable[..., None], declare: Callable[..., None]
) -> None:
    configure(HEALTH_TIMEOUT=0.2)
    counted.go.clear()
    report = check_health()
    assert report.status is Status.FAILED
    assert asyncio.run(acheck_health()).status is Status.FAILED
    counted.go.set()


def test_live_runs_nothing(counted: Counted) -> None:
    assert check_health("live").checks == ()
    assert asyncio.run(acheck_health("live")).status is Status.OK
    assert counted.count == 0


def test_a_probe_that_there_is_not_is_an_error() -> None:
    with pytest.raises(UsageError, match="Did you mean 'ready'"):
        check_health("readyy")  # type: ignore[arg-type]


def test_a_check_that_there_is_not_is_one_too(configure: Callable[..., None]) -> None:
    configure(HEALTH_READY=["caches"])
    with pytest.raises(SettingsError, match="Did you mean 'cache'"):
        check_health()
