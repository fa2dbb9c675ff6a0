"""What the demo does by itself, by schedules and by hand."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.utils import timezone

from perfkit.conf import options
from perfkit.jobs.schedules import list_schedules, problem_with_schedule, tick
from perfkit.models import Job, JobState
from perfkit.tasks.schedules import cron_after
from project.flights.activity import roll_up_activity
from project.flights.jobs import mail_activity
from project.flights.models import ActivityDay, ActivityLog
from tests.flights.factories import make_reference_rows

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _jobs_run_at_once(settings: Any) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "JOB_BACKEND": "immediate"}


def did(user: User, action: str, days_ago: int) -> None:
    pk = ActivityLog.objects.create(user=user, action=action).pk
    made_at = timezone.now() - dt.timedelta(days=days_ago)
    ActivityLog.objects.filter(pk=pk).update(created_at=made_at)


def test_the_log_is_counted_by_day_as_often_as_one_likes() -> None:
    user = User.objects.create_user("crew")
    today = timezone.localdate()
    ActivityDay.objects.create(day=today, action="report", count=9)
    for action, days_ago in (("report", 0), ("report", 0), ("search", 0), ("report", 1), ("report", 3)):
        did(user, action, days_ago)
    assert [roll_up_activity(), roll_up_activity()] == [3, 3]
    assert set(ActivityDay.objects.values_list("day", "action", "count")) == {
        (today, "report", 2),
        (today, "search", 1),
        (today - dt.timedelta(days=1), "report", 1),
    }
    did(user, "search", 0)
    roll_up_activity()
    assert ActivityDay.objects.get(day=today, action="search").count == 2


@pytest.mark.parametrize(
    ("counted_last", "counts"), [(None, {0: 1, 1: 1, 5: 1, 20: 2, 87: 1}), (20, {0: 1, 1: 1, 5: 1, 20: 2})]
)
def test_no_day_is_left_out_where_nobody_counted_for_a_while(
    counted_last: int | None, counts: dict[int, int]
) -> None:
    """The day that was counted last may not have been over; of the oldest one the log may have a part only."""
    today = timezone.localdate()
    user = User.objects.create_user("crew")
    for days_ago in (0, 1, 5, 20, 20, 87, 89):
        did(user, "report", days_ago)
    if counted_last is not None:
        ActivityDay.objects.create(day=today - dt.timedelta(days=counted_last), action="report", count=1)
    roll_up_activity()
    found = ActivityDay.objects.values_list("day", "count")
    assert {(today - day).days: count for day, count in found} == counts


def test_a_count_is_not_made_again_of_what_the_log_has_no_longer() -> None:
    today = timezone.localdate()
    did(User.objects.create_user("crew"), "report", 90)
    ActivityDay.objects.create(day=today - dt.timedelta(days=90), action="report", count=7)
    assert roll_up_activity() == 0
    assert ActivityDay.objects.get().count == 7


def test_it_is_mailed_where_there_is_any() -> None:
    assert mail_activity() == 0
    assert mail.outbox == []
    did(User.objects.create_user("crew"), "report", 0)
    roll_up_activity()
    assert mail_activity() == 1
    assert [message.to for message in mail.outbox] == [["operations@example.org"]]
    assert f"{timezone.localdate()}  report" in mail.outbox[0].body


def test_every_schedule_can_be_run() -> None:
    make_reference_rows()
    for each in list_schedules():
        assert problem_with_schedule(each.name) == ""
        assert tick(each.name, cron_after=cron_after) is not None, each.name
    ended = Job.objects.values_list("name", "state")
    assert {name for name, _ in ended} >= {entry["job"] for entry in options.SCHEDULES.values()}
    assert [name for name, state in ended if state != JobState.DONE] == []
    assert [tick(each.name, cron_after=cron_after) for each in list_schedules()] == [None] * 10
