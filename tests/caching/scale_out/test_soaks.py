"""Every read of a short soak is checked, while servers are killed and change places."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.plugins.cluster import DisposableCluster
from tests.plugins.sentinel import Watch
from tests.soak.report import Plan, Report
from tests.soak.scaled import ScaledSoak, on_cluster, on_watch

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres, pytest.mark.redis]

PLAN = Plan(
    seconds=3,
    seed="test",
    readers=2,
    writers=2,
    policy="wait",
    disturbances=(),
    kills=("reader anywhere",),
    kill_every_seconds=(1.0, 2.0),
    least_hits=100,
    least_each=0,  # a busy machine may not come to each way within so short a time
)


def soaked(way: tuple[str, dict[str, Callable[..., None]]], kinds: tuple[str, ...]) -> Report:
    url, disturbances = way
    plan = PLAN._replace(disturbances=kinds)
    return ScaledSoak(plan, url=url, disturbances=disturbances, tell=print).run()


@pytest.mark.parametrize("kind", ["primary_killed", "primary_paused", "places_changed", "slots_moved"])
def test_it_is_never_stale_on_a_cluster(kind: str, start_cluster: Callable[..., DisposableCluster]) -> None:
    report = soaked(on_cluster(start_cluster()), (kind,))
    assert report.shortcomings() == []
    assert {recovery.kind for recovery in report.recoveries} == {"start", kind}


@pytest.mark.parametrize("kind", ["primary_killed", "places_changed"])
def test_it_is_never_stale_with_sentinels(kind: str, start_watch: Callable[..., Watch]) -> None:
    report = soaked(on_watch(start_watch()), (kind,))
    assert report.shortcomings() == []
    assert {recovery.kind for recovery in report.recoveries} == {"start", kind}
