"""What real workers tell of the tasks that they run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from celery.exceptions import WorkerLostError
from celery.signals import task_failure, task_received
from hypothesis import given
from hypothesis import strategies as st

from perfkit.signals import task_ended
from perfkit.tasks.timings import HEADER, due_at, waited_seconds
from project.celery import app
from tests.tasks import timed
from tests.tasks.workers import running_worker


@given(st.floats(-1e9, 1e12), st.floats(-1e9, 1e12))
def test_a_wait_is_never_negative_whatever_the_clocks_say(due: float, began: float) -> None:
    waited = waited_seconds(due, began)
    assert waited is not None
    assert waited >= 0


@pytest.mark.parametrize("due", [None, "soon", True, {}])
def test_a_header_of_somebody_else_is_no_wait(due: object) -> None:
    assert waited_seconds(due, 1.0) is None


def test_an_eta_is_when_the_wait_begins() -> None:
    assert due_at(100.0, "1970-01-01T00:10:00+00:00") == 600.0
    assert due_at(100.0, "1970-01-01T00:10:00") == 600.0
    assert due_at(100.0, "1970-01-01T02:10:00+02:00") == 600.0
    assert due_at(1000.0, "1970-01-01T00:10:00+00:00") == 1000.0, "it is past"
    assert due_at(100.0, "soon") == 100.0


Told = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="module")
def lines(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The file into which a worker of two processes, one of whose receivers fails, writes what it is told."""
    folder = tmp_path_factory.mktemp("timed")
    arguments = ["--pool=prefork", "--concurrency=2", f"--include={timed.__name__}"]
    with running_worker(folder / "worker.log", *arguments, **{timed.TOLD: str(folder / "told")}):
        yield folder / "told"


@pytest.fixture
def told(lines: Path, transactional_db: None) -> Iterator[Callable[..., list[dict[str, Any]]]]:
    """A function that waits for so many lines of this test, and returns them."""
    lines.write_text("")

    def wait_for(number: int = 1) -> list[dict[str, Any]]:
        deadline = time.monotonic() + 60
        while len(found := [json.loads(line) for line in lines.read_text().splitlines()]) < number:
            assert time.monotonic() < deadline, found
            time.sleep(0.05)
        time.sleep(0.5)  # and no more
        found = [json.loads(line) for line in lines.read_text().splitlines()]
        assert len(found) == number
        return found

    return wait_for


@pytest.mark.postgres
@pytest.mark.redis
class TestWorker:
    def test_it_tells_the_run_and_the_wait(self, told: Any) -> None:
        assert timed.timed.delay(0.4).get(timeout=60) == "done", "a receiver that fails fails no task"
        (one,) = told()
        assert (one["kind"], one["name"], one["outcome"]) == ("task", "tests.timed", "success")
        assert (one["retries"], one["queue"]) == (0, "default")
        assert 0.4 <= one["run_seconds"] < 5
        assert 0 <= one["wait_seconds"] < 5

    def test_it_tells_the_queue(self, told: Any) -> None:
        timed.timed.apply_async(queue="heavy")
        assert told()[0]["queue"] == "heavy"

    def test_a_countdown_is_no_wait(self, told: Any) -> None:
        timed.timed.apply_async(countdown=2)
        assert told()[0]["wait_seconds"] < 1.9

    def test_a_task_waits_for_those_before_it(self, told: Any) -> None:
        for _ in range(3):
            timed.timed.delay(1.0)
        waits = sorted(each["wait_seconds"] for each in told(3))
        assert 0.5 < waits[2] - waits[0] < 60

    def test_a_senders_clock_that_is_ahead_makes_no_negative_wait(self, told: Any) -> None:
        header = {HEADER: time.time() + 3600}
        from celery.signals import before_task_publish

        def ahead(*, headers: dict[str, Any], **_: Any) -> None:
            headers.update(header)

        before_task_publish.connect(ahead)
        timed.timed.delay()
        before_task_publish.disconnect(ahead)
        assert told()[0]["wait_seconds"] == 0

    @pytest.mark.parametrize(
        ("task", "outcome"),
        [
            (timed.failing, "failure"),
            (timed.rejecting, "rejected"),
            (timed.ignoring, "success"),
            (timed.dying, "failure"),
            (timed.hanging, "failure"),
        ],
    )
    def test_it_tells_each_end_once(self, told: Any, task: Any, outcome: str) -> None:
        task.delay()
        (one,) = told()
        assert (one["name"], one["outcome"], one["queue"]) == (task.name, outcome, "default")
        assert one["run_seconds"] >= (0.9 if task is timed.hanging else 0)
        assert one["wait_seconds"] >= 0

    def test_a_retry_is_a_run_of_its_own(self, told: Any) -> None:
        timed.retrying.delay()
        first, second = told(2)
        assert (first["outcome"], first["retries"]) == ("retry", 0)
        assert (second["outcome"], second["retries"]) == ("success", 1)
        assert second["wait_seconds"] < 0.9, "its countdown is no wait"

    def test_a_task_that_expired_never_began(self, told: Any) -> None:
        timed.timed.apply_async(expires=-5)
        (one,) = told()
        assert (one["outcome"], one["run_seconds"], one["wait_seconds"]) == ("revoked", 0, None)

    def test_one_that_is_terminated_was_revoked_while_it_ran(self, told: Any) -> None:
        task_id = str(uuid4())
        timed.timed.apply_async([30], task_id=task_id)
        time.sleep(1.5)
        app.control.revoke(task_id, terminate=True)
        (one,) = told()
        assert one["outcome"] == "revoked"
        assert 0.5 < one["run_seconds"] < 30

    def test_a_job_is_told_by_its_own_signal_alone(self, told: Any) -> None:
        timed.timed_job.enqueue()
        (one,) = told()
        assert (one["kind"], one["name"], one["outcome"]) == ("job", "tests.timed_job", "done")


def test_a_task_that_runs_at_once_is_nobodys_wait() -> None:
    from perfkit.signals import task_ended

    heard: list[str] = []

    def hear(sender: str, **_: Any) -> None:
        heard.append(sender)

    task_ended.connect(hear)
    timed.timed.apply()
    timed.timed()
    task_ended.disconnect(hear)
    assert heard == []


class Received:
    """A request of a run, as Celery's main process has it."""

    def __init__(self, task_id: str) -> None:
        self.id = task_id
        self.time_start = time.time()
        self.request_dict: dict[str, Any] = {}
        self.delivery_info: dict[str, Any] = {}


def test_each_run_that_is_lost_is_told_once_also_where_its_message_came_again() -> None:
    found: list[str] = []

    def hear(*, sender: str, outcome: str, **_: Any) -> None:
        found.append(f"{sender} {outcome}")

    task_ended.connect(hear)
    try:
        for _ in range(3):
            task_received.send(None, request=(received := Received("same")))
            for _ in range(2):  # Celery may say so twice
                task_failure.send(timed.timed, task_id=received.id, exception=WorkerLostError("killed"))
    finally:
        task_ended.disconnect(hear)
    assert found == [f"{timed.timed.name} failure"] * 3
