"""Where a job stands is read by its id as that of a task is, by code and over HTTP."""

from __future__ import annotations

import json
import threading
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth import get_user_model
from django.db import DatabaseError, connection
from django.test import Client, override_settings

from perfkit.conf import configured
from perfkit.errors import TaskStatusUnavailableError
from perfkit.jobs import cancel_job, replay_job, run_job
from perfkit.jobs.rows import JobRows, Mark
from perfkit.jobs.runs import JobRun
from perfkit.models import Job
from perfkit.tasks.status import TaskStatus, read_status
from tests.jobs.conftest import _no_beats_outlive_their_test, sent  # noqa: F401  # fixtures
from tests.testapp import jobs

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sent")]


def found(job_id: UUID) -> TaskStatus:
    return read_status(str(job_id))


def test_one_that_waits_is_pending_and_one_that_is_done_has_its_result() -> None:
    status = jobs.leave_effect.enqueue(7)
    assert found(status.id) == TaskStatus("PENDING", None, None, None)
    run_job(status.id)
    assert found(status.id) == TaskStatus("SUCCESS", None, 14, None)


def test_one_that_runs_is_started_until_it_tells_how_far_it_is() -> None:
    status = jobs.leave_effect.enqueue(7)
    taken = JobRows().take(status.id, worker="w")
    assert taken is not None
    assert found(status.id) == TaskStatus("STARTED", None, None, None)
    Job.objects.filter(pk=status.id).update(started_at="2020-01-01T00:00:00Z")
    JobRows().renew(status.id, taken.fence, mark=Mark(1, 4, "planes"))
    told = found(status.id)
    assert told.progress is not None
    assert told.progress.eta_seconds is not None
    assert told.state == "PROGRESS"
    assert (told.progress.current, told.progress.total, told.progress.percent) == (1, 4, 25.0)
    assert told.progress.message == "planes"
    years = told.progress.eta_seconds / 3 / 365 / 86_400
    assert years > 1, "three times as long as the first of four steps has taken"


def test_one_that_failed_is_tried_again_or_has_failed_without_traceback_and_values() -> None:
    again, never = jobs.fail.enqueue(1, "open sesame"), jobs.fail.enqueue(1, "open sesame", kind="no")
    run_job(again.id)
    assert found(again.id) == TaskStatus(
        "RETRY", None, None, "tests.testapp.jobs.ComesBackError: no luck with …"
    )
    with pytest.raises(ValueError, match="no way"):
        run_job(never.id)
    assert found(never.id) == TaskStatus("FAILURE", None, None, "ValueError: no way with …")


def test_one_that_was_cancelled_is_revoked() -> None:
    status = jobs.leave_effect.enqueue(7)
    cancel_job(status.id)
    assert found(status.id) == TaskStatus("REVOKED", None, None, "It was cancelled.")


def test_a_database_that_does_not_answer_is_unavailable() -> None:
    def refuse(*_: Any) -> None:
        raise DatabaseError("secret")

    with (
        connection.execute_wrapper(refuse),
        pytest.raises(TaskStatusUnavailableError, match="the database: DatabaseError"),
    ):
        found(UUID(int=1))


@pytest.mark.postgres
def test_its_stream_tells_the_progress_while_it_runs(client: Client) -> None:
    client.force_login(get_user_model().objects.create_user("staff", is_staff=True))
    status = jobs.tell.enqueue(4, 1.5)

    def run() -> None:
        run_job(status.id)
        connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    with override_settings(PERFKIT={**configured(), "RATE_LIMIT_ENABLED": False}):
        response: Any = client.get(f"/api/task-status/{status.id}/events")
        content = b"".join(response.streaming_content).decode()
    thread.join()
    blocks = [
        dict(line.split(": ", 1) for line in block.splitlines()) for block in content.split("\n\n") if block
    ]
    statuses = [json.loads(block["data"]) for block in blocks if block.get("event") == "status"]
    steps = [each["progress"] for each in statuses if each["state"] == "PROGRESS"]
    assert {1, 2, 3} & {step["current"] for step in steps}
    assert all(step["total"] == 4 and step["eta_seconds"] is not None for step in steps)
    assert (statuses[-1]["state"], statuses[-1]["result"]) == ("SUCCESS", 4)
    assert blocks[-1] == {"event": "end", "data": "SUCCESS"}


def test_progress_survives_the_death_of_a_worker() -> None:
    status = jobs.leave_effect.enqueue(7)
    rows = JobRows()
    first = rows.take(status.id, worker="w")
    assert first is not None
    rows.renew(status.id, first.fence, mark=Mark(3, 4, "planes"))
    Job.objects.filter(pk=status.id).update(due_at="2020-01-01T00:00:00Z")
    assert [due.id for due in rows.claim_due(most=5)] == [status.id]
    waiting = found(status.id)
    assert (waiting.state, waiting.progress and waiting.progress.current) == ("RETRY", 3)
    second = rows.take(status.id, worker="v")
    assert second is not None
    run = JobRun(second, lease_seconds=30)
    assert run.mark == Mark(3, 4, "planes")
    rows.renew(status.id, second.fence, mark=run.mark)
    running = found(status.id)
    assert (running.state, running.progress and running.progress.message) == ("PROGRESS", "planes")


def test_the_time_that_is_left_counts_from_a_replay() -> None:
    status = jobs.leave_effect.enqueue(7)
    taken = JobRows().take(status.id, worker="w")
    assert taken is not None
    Job.objects.filter(pk=status.id).update(started_at="2020-01-01T00:00:00Z")
    JobRows().give_up(status.id, taken.fence, "gone", keep_seconds=100)
    replay_job(status.id)
    again = JobRows().take(status.id, worker="w")
    assert again is not None
    JobRows().renew(status.id, again.fence, mark=Mark(1, 4))
    told = found(status.id)
    assert told.progress is not None
    assert told.progress.eta_seconds is not None
    assert told.progress.eta_seconds < 3_600
