"""`manage.py perfkit_jobs` shows jobs without what they were called with, and does to them what it is told."""

from __future__ import annotations

import datetime as dt
import json
from io import StringIO
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from perfkit.jobs import JobStatus, cancel_job, job_status, run_job
from perfkit.jobs.rows import JobRows
from perfkit.models import Job, JobState
from tests.testapp import jobs

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sent")]


def told(*arguments: str) -> str:
    out = StringIO()
    call_command("perfkit_jobs", *arguments, stdout=out, stderr=out)
    return out.getvalue()


def dead(text: str = "open sesame") -> JobStatus:
    status = jobs.fail.enqueue(1, text, kind="no")
    with pytest.raises(ValueError, match="no way"):
        run_job(status.id)
    return status


def listed(*arguments: str) -> list[str]:
    return [each["id"] for each in json.loads(told("list", "--json", *arguments))]


def test_it_lists_the_latest_first_in_aligned_columns() -> None:
    first, second = jobs.leave_effect.enqueue(1), jobs.leave_effect_slowly.enqueue(2, 0)
    run_job(second.id)
    head, *lines = told("list").splitlines()
    assert head.split() == ["id", "state", "name", "queue", "progress", "runs", "waited", "enqueued"]
    assert [line.split()[:4] for line in lines] == [
        [str(second.id), "done", "tests.testapp.jobs.leave_effect_slowly", "quick"],
        [str(first.id), "queued", "tests.testapp.jobs.leave_effect", "-"],
    ]
    for heading in ("state", "name", "queue", "enqueued"):
        place = head.index(heading)
        assert all(line[place - 1] == " " != line[place] for line in lines)


def test_it_lists_by_state_name_and_queue() -> None:
    waits, done, died = (
        jobs.leave_effect.enqueue(1),
        jobs.leave_effect_slowly.enqueue(2, 0),
        dead(),
    )
    run_job(done.id)
    assert listed("--state", "queued") == [str(waits.id)]
    assert listed("--state", "dead", "--state", "done") == [str(died.id), str(done.id)]
    assert listed("--name", "tests.testapp.jobs.fail") == [str(died.id)]
    assert listed("--queue", "quick") == [str(done.id)]
    assert listed("--limit", "1") == [str(died.id)]
    assert told("list", "--queue", "heavy") == "There are no such jobs.\n"


def test_it_lists_dead_ones_by_when_they_died() -> None:
    first, second = dead(), dead()
    Job.objects.filter(pk=first.id).update(finished_at=timezone.now() + dt.timedelta(hours=1))
    assert listed("--state", "dead") == [str(first.id), str(second.id)]


def test_it_shows_values_only_where_they_are_declared_as_shown() -> None:
    status = jobs.leave_effect.enqueue(71, note="open sesame")
    text = told("show", str(status.id))
    assert ["arguments", "number=71, note=str of 11"] in [
        line.split(maxsplit=1) for line in text.splitlines()
    ]
    assert "sesame" not in text
    found = json.loads(told("show", str(status.id), "--json"))
    assert found["arguments"] == {"number": "71", "note": "str of 11"}
    assert (found["state"], found["runs"], found["progress"], found["finished_at"]) == (
        "queued",
        0,
        None,
        None,
    )


def test_it_shows_progress_runs_and_worker() -> None:
    status = jobs.tell.enqueue(4, 0)
    run_job(status.id)
    lines = dict(line.split("  ", 1) for line in told("show", str(status.id)).splitlines() if "  " in line)
    assert {name: lines[name].strip() for name in ("state", "runs", "progress", "message")} == {
        "state": "done",
        "runs": "1",
        "progress": "4 of 4, 100 %",
        "message": "step 4",
    }
    assert ":" in lines["worker"]
    assert lines["finished at"].strip().startswith("20")


def test_it_shows_an_error_without_the_values() -> None:
    status = dead("open sesame")
    text = told("show", str(status.id))
    assert text.endswith("ValueError: no way with …\n")
    assert "sesame" not in text
    assert "sesame" not in told("list", "--json")


def test_it_shows_nothing_of_arguments_whose_job_nobody_declares() -> None:
    status = jobs.leave_effect.enqueue(71, note="open sesame")
    Job.objects.filter(pk=status.id).update(name="gone.job")
    found = json.loads(told("show", str(status.id), "--json"))
    assert found["arguments"] == {"argument 0": "int", "note": "str of 11"}


def test_it_retries_one() -> None:
    status = dead()
    assert told("retry", str(status.id)) == f"{status.id} tests.testapp.jobs.fail: queued.\n"
    with pytest.raises(CommandError, match="cannot be replayed, for it is queued"):
        told("retry", str(status.id))


def test_it_retries_all_dead_ones_of_a_name() -> None:
    died = [dead(), dead()]
    cancelled = jobs.fail.enqueue(1, "x", kind="no")
    cancel_job(cancelled.id)
    assert told("retry", "--all-dead", "--name", "tests.testapp.jobs.fail") == "2 queued once more.\n"
    assert {job_status(each.id).state for each in died} == {JobState.QUEUED}
    assert job_status(cancelled.id).state == JobState.CANCELLED
    assert told("retry", "--all-dead", "--name", "tests.testapp.jobs.fail") == "0 queued once more.\n"


def test_it_retries_the_others_where_one_cannot_be() -> None:
    """Another job has taken the key of the first one meanwhile."""
    first, second = jobs.leave_effect_keyed.enqueue(1), jobs.leave_effect_keyed.enqueue(2)
    Job.objects.update(state=JobState.DEAD, finished_at=timezone.now(), due_at=None)
    jobs.leave_effect_keyed.enqueue(1)
    with pytest.raises(CommandError, match="1 could not be"):
        told("retry", "--all-dead", "--name", "tests.testapp.jobs.leave_effect_keyed")
    assert [job_status(each.id).state for each in (first, second)] == [JobState.DEAD, JobState.QUEUED]


def test_it_cancels() -> None:
    waits, runs = jobs.leave_effect.enqueue(1), jobs.leave_effect.enqueue(2)
    JobRows().take(runs.id, worker="w")
    assert told("cancel", str(waits.id)) == f"{waits.id} tests.testapp.jobs.leave_effect: cancelled.\n"
    assert "running; it stops where it next looks" in told("cancel", str(runs.id))
    assert "running, to be cancelled" in told("show", str(runs.id))
    died = dead()
    with pytest.raises(CommandError, match="has ended already: dead"):
        told("cancel", str(died.id))


def test_it_purges_what_has_ended() -> None:
    waits, done, died = jobs.leave_effect.enqueue(1), jobs.leave_effect.enqueue(2), dead()
    run_job(done.id)
    assert told("purge") == "0 removed.\n", "its result is still kept"
    assert told("purge", "--older-than", "1h") == "0 removed.\n"
    Job.objects.filter(pk__in=[done.id, died.id]).update(finished_at=timezone.now() - dt.timedelta(days=8))
    assert told("purge", "--older-than", "7d") == "1 removed.\n"
    assert told("purge", "--older-than", "7d", "--dead") == "1 removed.\n"
    assert list(Job.objects.values_list("pk", flat=True)) == [waits.id]


@pytest.mark.parametrize("action", ["show", "retry", "cancel"])
def test_it_says_that_there_is_no_such_job(action: str) -> None:
    job_id = str(uuid4())
    with pytest.raises(CommandError, match=f"There is no job '{job_id}'"):
        told(action, job_id)
    with pytest.raises(CommandError, match="'7' is no id of a job"):
        told(action, "7")


@pytest.mark.parametrize(
    "arguments",
    [["retry"], ["retry", "--all-dead"], ["retry", "--name", "x"], ["retry", str(uuid4()), "--all-dead"]],
)
def test_it_must_be_told_what_to_retry(arguments: list[str]) -> None:
    with pytest.raises(CommandError, match="Give the id of one job, or --all-dead and --name"):
        told(*arguments)


@pytest.mark.parametrize("arguments", [["purge", "--older-than", "7"], ["list", "--limit", "0"]])
def test_it_refuses_what_is_no_time_and_no_number(arguments: list[str]) -> None:
    with pytest.raises(CommandError, match="is no "):
        told(*arguments)
