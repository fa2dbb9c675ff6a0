"""The soak itself, for a few seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.plugins.valkey import DisposableValkey
from tests.soak.report import Plan, Report
from tests.soak.run import Soak

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres, pytest.mark.redis]

SHORT = Plan(
    seconds=3,
    seed="test",
    readers=2,
    writers=2,
    policy="wait",
    disturbances=("killed",),
    kills=("reader anywhere", "writer after COMMIT"),
    kill_every_seconds=(0.5, 1.0),
    least_hits=100,
    least_each=0,  # a busy machine may not come to each way within so short a time
)


@pytest.fixture
def soak(valkey_server: Callable[[], DisposableValkey]) -> Iterator[Callable[[Plan], Report]]:
    server = valkey_server()

    def run(plan: Plan) -> Report:
        return Soak(plan, server=server, tell=print).run()

    yield run
    if not server.is_started:  # the run ended while it was down
        server.start()


def test_it_finds_nothing(soak: Callable[[Plan], Report]) -> None:
    report = soak(SHORT)
    assert report.shortcomings() == []
    assert set(report.kills) == set(SHORT.kills)
    assert {recovery.kind for recovery in report.recoveries} == {"start", "killed"}


def test_it_finds_reads_that_are_older_than_they_may_be(soak: Callable[[Plan], Report]) -> None:
    """Writers that are cut off go on at once, and reads are held to what holds where they wait."""
    report = soak(
        SHORT._replace(seconds=20, policy="bounded", held_to="wait", disturbances=("cut",), kills=())
    )
    assert report.faults, report.text()
    assert all("stale" in fault["problem"] or "wrong" in fault["problem"] for fault in report.faults)
    assert all(fault["by"].startswith("reader") for fault in report.faults), (
        "a process always sees its own writes"
    )
    assert report.faults[0]["at"] > next(at for at, text in report.events if text == "cut")
