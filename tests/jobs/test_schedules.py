"""Schedules: whoever asks, and however often, a job is enqueued once each time."""

from __future__ import annotations

import datetime as dt
import threading
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from perfkit.errors import SettingsError, UnknownJobError, UnknownScheduleError
from perfkit.jobs import schedules
from perfkit.jobs.schedules import LONG_AGO, ask_late, list_schedules, problem_with_schedule, tick
from perfkit.models import Job, JobSchedule
from perfkit.schedules import Schedule, schedule_of
from perfkit.tasks.schedules import beat_entries, cron_after, read_cron
from tests.testapp import jobs

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sent")]

EFFECT = jobs.leave_effect.name
YEARS = (dt.datetime(2020, 1, 1), dt.datetime(2030, 1, 1))  # noqa: DTZ001  # Hypothesis adds the time zone


def scheduled(settings: Any, **entries: Any) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "SCHEDULES": entries}


def asked(name: str = "one") -> bool:
    """Ask once, and say whether a job was enqueued."""
    before = Job.objects.count()
    status = tick(name, cron_after=cron_after)
    assert Job.objects.count() - before == (status is not None)
    return status is not None


def go_back(seconds: float) -> None:
    """As if so much time had gone by."""
    row = JobSchedule.objects.get()
    JobSchedule.objects.update(next_at=row.next_at - dt.timedelta(seconds=seconds))


def test_it_is_enqueued_with_what_it_says(settings: Any, sent: Any) -> None:
    scheduled(settings, one={"job": EFFECT, "every": 60, "args": [7], "kwargs": {"note": "a"}, "queue": "ai"})
    assert asked()
    assert Job.objects.get().arguments == [[7], {"note": "a"}]
    assert [queue for *_, queue in sent] == ["ai"]


def test_asked_before_its_time_it_is_not_enqueued(settings: Any) -> None:
    scheduled(settings, one={"job": EFFECT, "every": 60, "args": [7]})
    assert [asked() for _ in range(3)] == [True, False, False]
    go_back(30)
    assert not asked()
    go_back(30)
    assert asked()
    assert not asked()


def test_what_was_missed_is_made_up_for_once(settings: Any) -> None:
    scheduled(settings, one={"job": EFFECT, "every": 60, "args": [7]})
    asked()
    go_back(86_400)
    assert [asked() for _ in range(3)] == [True, False, False]


def test_a_change_is_due_at_once(settings: Any) -> None:
    scheduled(settings, one={"job": EFFECT, "every": 86_400, "args": [7]})
    assert [asked(), asked()] == [True, False]
    scheduled(settings, one={"job": EFFECT, "every": 60, "args": [7]})
    assert [asked(), asked()] == [True, False]


def test_a_cron_is_due_next_at_its_next_time(settings: Any) -> None:
    scheduled(settings, one={"job": EFFECT, "cron": "0 3 * * *", "args": [7]})
    assert [asked(), asked()] == [True, False]
    following = JobSchedule.objects.get().next_at
    assert (following.hour, following.minute, following.second) == (3, 0, 0)
    assert dt.timedelta(0) < following - dt.datetime.now(dt.UTC) <= dt.timedelta(days=1, seconds=30)


@pytest.mark.postgres
def test_of_many_who_ask_at_once_one_enqueues(settings: Any) -> None:
    scheduled(settings, one={"job": EFFECT, "every": 3600, "args": [7]})
    barrier = threading.Barrier(8)

    def ask() -> None:
        barrier.wait(timeout=30)
        tick("one", cron_after=cron_after)
        connection.close()

    for _ in range(3):
        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        go_back(3600)
    assert Job.objects.count() == 3


def test_where_the_job_cannot_be_enqueued_its_time_does_not_move_on(settings: Any) -> None:
    scheduled(settings, one={"job": "tests.testapp.jobs.no_such", "every": 60})
    with pytest.raises(UnknownJobError):
        tick("one", cron_after=cron_after)
    assert not JobSchedule.objects.exists()
    with pytest.raises(UnknownScheduleError, match=r"Did you mean 'one'\?"):
        tick("onne", cron_after=cron_after)


def test_people_see_when_it_was_and_will_be_due(settings: Any) -> None:
    scheduled(settings, one={"job": EFFECT, "every": 60, "args": [7]}, two={"job": EFFECT, "every": 60})
    asked()
    one, two = list_schedules()
    assert one.last_at is not None
    assert one.next_at == one.last_at + dt.timedelta(seconds=60)
    assert one.job_id == Job.objects.get().pk
    assert (two.last_at, two.next_at, two.job_id) == (None, None, None)


@given(
    every=st.floats(min_value=1, max_value=1e5),
    late=st.lists(st.floats(min_value=0, max_value=0.9), min_size=3, max_size=20),
    second=st.floats(min_value=0, max_value=1),
)
def test_of_two_that_tick_each_interval_one_is_answered(
    every: float, late: list[float], second: float
) -> None:
    """Two beats of any phase, whose ticks arrive a little late: one job an interval, whoever comes first."""
    schedule = Schedule(EFFECT, every, None)
    early = schedules._early(schedule).total_seconds()
    begin = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    ticks = sorted(
        begin + dt.timedelta(seconds=(number + phase) * every + lateness * early)
        for number, lateness in enumerate(late)
        for phase in (0.0, second)
    )
    due_at, enqueued = LONG_AGO, []
    for moment in ticks:
        if due_at <= moment + schedules._early(schedule):
            enqueued.append(moment)
            due_at = schedules._following(schedule, due_at, moment, cron_after)
            assert due_at > moment
    assert abs(len(enqueued) - len(late)) <= 1
    for earlier, later in zip(enqueued, enqueued[2:], strict=False):
        assert (later - earlier).total_seconds() >= every - 1e-3


@given(
    moment=st.datetimes(*YEARS, timezones=st.just(dt.UTC)),
    cron=st.sampled_from(
        ["* * * * *", "*/7 * * * *", "0 3 * * *", "15 4 * * mon", "0 0 1 * *", "59 23 31 12 *"]
    ),
)
def test_the_next_time_of_a_cron_is_one_and_the_first(moment: dt.datetime, cron: str) -> None:
    following = cron_after(cron, moment)
    schedule = read_cron(cron)
    assert following > moment

    def fits(at: dt.datetime) -> bool:
        return (
            at.minute in schedule.minute
            and at.hour in schedule.hour
            and at.day in schedule.day_of_month
            and at.month in schedule.month_of_year
            and at.isoweekday() % 7 in schedule.day_of_week
        )

    assert fits(following)
    at = moment.replace(second=0, microsecond=0) + dt.timedelta(minutes=1)
    for _ in range(3000):
        if at >= following:
            break
        assert not fits(at)
        at += dt.timedelta(minutes=1)


NEW_YORK = ZoneInfo("America/New_York")


@given(
    minutes=st.integers(min_value=-600, max_value=600),
    change=st.sampled_from(["2026-03-08T07:00", "2026-11-01T06:00"]),
    cron=st.sampled_from(
        ["*/5 * * * *", "0 * * * *", "30 1 * * *", "30 2 * * *", "0 3 * * *", "0 0 * * sun"]
    ),
)
def test_where_clocks_are_changed_a_cron_goes_on(minutes: int, change: str, cron: str) -> None:
    at = dt.datetime.fromisoformat(change).replace(tzinfo=dt.UTC) + dt.timedelta(minutes=minutes)
    schedule = read_cron(cron)
    for _ in range(30):
        following = cron_after(cron, at, zone=NEW_YORK)
        wall = following.astimezone(NEW_YORK)
        assert following > at
        if cron.split()[1] == "*":
            assert following - at <= dt.timedelta(minutes=5 if cron.startswith("*/5") else 60)
            assert wall.minute in schedule.minute
        else:
            assert following - at <= dt.timedelta(days=7, hours=1)
            assert wall.hour in schedule.hour or (cron, wall.hour) == ("30 2 * * *", 3), (
                "it fell into the gap"
            )
        at = following


def test_at_a_certain_hour_it_is_due_once_also_on_the_day_with_that_hour_twice() -> None:
    first = cron_after("30 1 * * *", dt.datetime(2026, 11, 1, 4, tzinfo=dt.UTC), zone=NEW_YORK)
    second = cron_after("30 1 * * *", first, zone=NEW_YORK)
    assert (first.isoformat(), second.isoformat()) == (
        "2026-11-01T05:30:00+00:00",
        "2026-11-02T06:30:00+00:00",
    )


def test_what_no_beat_asks_for_is_asked_for_by_workers(settings: Any) -> None:
    scheduled(
        settings,
        one={"job": EFFECT, "every": 300, "args": [7]},
        two={"job": EFFECT, "every": 300, "args": [8]},
    )
    asked("one")
    for seconds, number in ((200, 1), (155, 1), (10, 2), (0, 2)):
        go_back(seconds)
        ask_late(cron_after=cron_after)
        assert Job.objects.count() == number, "the other one was never asked for"


def test_one_that_cannot_be_enqueued_keeps_no_other_one_back(settings: Any, caplog: Any) -> None:
    good = {"job": EFFECT, "every": 300, "args": [7]}
    scheduled(settings, a=good, b=good)
    asked("a")
    asked("b")
    scheduled(settings, a={**good, "job": "tests.testapp.jobs.gone"}, b=good)
    JobSchedule.objects.update(next_at=LONG_AGO)
    ask_late(cron_after=cron_after)
    assert Job.objects.count() == 3
    assert "The schedule a could not enqueue its job" in caplog.text


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (5, "an entry is a dict"),
        ({}, "'job' must be"),
        ({"job": EFFECT}, "either 'every' or 'cron'"),
        ({"job": EFFECT, "every": 5, "cron": "* * * * *"}, "either 'every' or 'cron'"),
        ({"job": EFFECT, "every": 0.5}, "at least 1"),
        ({"job": EFFECT, "every": True}, "at least 1"),
        ({"job": EFFECT, "every": "5 min"}, "at least 1"),
        ({"job": EFFECT, "cron": "* * *"}, "5 fields"),
        ({"job": EFFECT, "cron": 5}, "5 fields"),
        ({"job": EFFECT, "every": 5, "args": 7}, "'args' must be a list"),
        ({"job": EFFECT, "every": 5, "queue": 7}, "'queue' a text"),
        ({"job": EFFECT, "every": 5, "nmae": 7}, "some of the keys job"),
    ],
)
def test_a_wrong_entry_says_what_to_write(settings: Any, entry: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        schedule_of(entry)
    scheduled(settings, one=entry)
    with pytest.raises(SettingsError, match="'one'"):
        list_schedules()


def test_a_cron_that_celery_cannot_read_is_an_error_where_it_is_read(settings: Any) -> None:
    scheduled(settings, one={"job": EFFECT, "cron": "61 3 * * *"})
    with pytest.raises(ValueError, match="'61 3"):
        beat_entries()


def test_celery_knows_each_by_a_name_and_how_often(settings: Any) -> None:
    scheduled(
        settings,
        one={"job": EFFECT, "every": dt.timedelta(minutes=5)},
        two={"job": EFFECT, "cron": "0 3 * * *"},
    )
    assert beat_entries() == {
        "perfkit one": {
            "task": "perfkit.tick",
            "schedule": 300.0,
            "args": ["one"],
            "options": {"expires": 300.0},
        },
        "perfkit two": {"task": "perfkit.tick", "schedule": read_cron("0 3 * * *"), "args": ["two"]},
    }


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"job": EFFECT, "every": 5, "args": [7]}, ""),
        ({"job": "perfkit.warm_cache", "every": 5}, ""),
        ({"job": "perfkit.warm_cahe", "every": 5}, "Did you mean 'perfkit.warm_cache'?"),
        ({"job": EFFECT, "every": 5}, "missing a required argument: 'number'"),
        ({"job": EFFECT, "every": 5, "args": [object()]}, "Pass what JSON can hold"),
    ],
)
def test_a_job_that_cannot_be_enqueued_is_found_before(settings: Any, entry: Any, problem: str) -> None:
    scheduled(settings, one=entry)
    found = problem_with_schedule("one")
    assert (problem in found) if problem else not found
