"""Jobs that nobody begins, those that have failed, and schedules that no beat asks."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from perfkit.jobs.modules import load_jobs
from perfkit.jobs.schedules import tick
from perfkit.models import Job, JobSchedule, JobState
from perfkit.monitoring.health import waiting
from perfkit.tasks.schedules import cron_after
from tests.monitoring.health.asking import standing

pytestmark = pytest.mark.django_db(transaction=True)

SCHEDULES = {
    "first": {"job": "perfkit.clean_up", "every": 60},
    "second": {"job": "perfkit.drain_outbox", "cron": "0 3 * * *"},
}


def ago(seconds: float) -> dt.datetime:
    return timezone.now() - dt.timedelta(seconds=seconds)


def make(count: int = 1, **values: Any) -> None:
    usual = {"name": "a", "arguments": [[], {}], "lease_seconds": 30, "due_at": ago(-30)}
    Job.objects.bulk_create(Job(**{**usual, **values}) for _ in range(count))


def test_none_is_well() -> None:
    assert standing("jobs") == ("ok", "")


def test_what_waits_or_runs_as_it_should_is_well() -> None:
    make(enqueued_at=ago(100))
    make(enqueued_at=ago(9000), not_before=ago(100))
    make(enqueued_at=ago(9000), not_before=ago(-100))
    make(enqueued_at=ago(9000), state=JobState.RUNNING)
    make(enqueued_at=ago(9000), state=JobState.DONE, due_at=None, finished_at=ago(1))
    make(enqueued_at=ago(9000), state=JobState.DEAD, due_at=None, finished_at=ago(4000))
    assert standing("jobs") == ("ok", "")


@pytest.mark.parametrize(
    "values",
    [
        {"enqueued_at": ago(400)},
        {"enqueued_at": ago(9000), "not_before": ago(400)},
        {"enqueued_at": ago(9000), "state": JobState.RUNNING, "due_at": ago(400)},
    ],
)
def test_what_should_have_begun_long_ago_is_told(
    values: dict[str, Any], configure: Callable[..., None]
) -> None:
    make(2, **values)
    assert standing("jobs") == ("degraded", "2 should have begun more than 300 s ago")
    configure(HEALTH_OVERDUE_AFTER=86_400)
    assert standing("jobs") == ("ok", "")


def test_a_flood_is_counted_so_far_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MOST_COUNTED", 3)
    make(9, enqueued_at=ago(400))
    assert standing("jobs")[1].startswith("more than 3 should")


def test_dead_letters_of_the_last_hour_are_told(configure: Callable[..., None]) -> None:
    make(2, enqueued_at=ago(9000), state=JobState.DEAD, due_at=None, finished_at=ago(60))
    assert standing("jobs") == ("degraded", "2 failed for good in the last hour")
    configure(HEALTH_MOST_DEAD_JOBS=2)
    assert standing("jobs") == ("ok", "")


class TestSchedules:
    @pytest.fixture(autouse=True)
    def _schedules(self, configure: Callable[..., None]) -> None:
        load_jobs()
        configure(SCHEDULES=SCHEDULES, JOB_BACKEND="tests.jobs.conftest.NoJobs")

    def ask_all(self) -> None:
        for name in SCHEDULES:
            tick(name, cron_after=cron_after)

    def test_where_there_is_none_all_is_well(self, configure: Callable[..., None]) -> None:
        configure(SCHEDULES={})
        assert standing("schedules") == ("ok", "")

    def test_what_was_never_asked_is_told(self) -> None:
        tick("first", cron_after=cron_after)
        assert standing("schedules") == ("degraded", "never asked: second")

    def test_what_is_asked_in_time_is_well(self) -> None:
        self.ask_all()
        assert standing("schedules") == ("ok", "")

    def test_what_nobody_asks_any_more_is_told_until_somebody_does(self) -> None:
        self.ask_all()
        JobSchedule.objects.filter(name="first").update(next_at=ago(400))
        assert standing("schedules") == ("degraded", "overdue: first")
        tick("first", cron_after=cron_after)
        assert standing("schedules") == ("ok", "")
