"""A task carries the id of who has sent it: in a real worker's logs, SQL, spans, and what it sends itself."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from django.db import transaction
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from perfkit.tasks.origins import HEADER
from perfkit.tracing import request_id, use_request_id
from perfkit.tracing.origins import current
from project.celery import app
from tests.tasks import traced
from tests.tasks.workers import running_worker

SECRET = "s3cr3t"


class Worker(NamedTuple):
    log: Path
    told: Path


@pytest.fixture(scope="module", params=["prefork", "threads"])
def worker(
    request: pytest.FixtureRequest, django_db_setup: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Worker]:
    folder = tmp_path_factory.mktemp("traced")
    found = Worker(folder / "worker.log", folder / "told")
    found.told.touch()
    arguments = [f"--pool={request.param}", "--concurrency=2", f"--include={traced.__name__}"]
    own = {traced.TOLD: str(found.told), "DJANGO_SETTINGS_MODULE": "tests.tasks.traced_settings"}
    with running_worker(found.log, *arguments, **own):
        yield found


Runs = Callable[..., dict[str, dict[str, Any]]]


@pytest.fixture
def runs(worker: Worker, transactional_db: None) -> Runs:
    """A function that waits for runs of this test by name, and returns what each has told."""
    before = len(worker.told.read_text().splitlines())

    def wait_for(*names: str) -> dict[str, dict[str, Any]]:
        deadline = time.monotonic() + 60
        while True:
            lines = [json.loads(line) for line in worker.told.read_text().splitlines()[before:]]
            found = {line["name"]: line for line in lines}
            if found.keys() >= set(names):
                return found
            assert time.monotonic() < deadline, (found, worker.log.read_text())
            time.sleep(0.05)

    return wait_for


def lines_of(worker: Worker, text: str) -> list[str]:
    return [line for line in worker.log.read_text().splitlines() if text in line]


@pytest.mark.postgres
@pytest.mark.redis
class TestWorker:
    def test_it_has_the_id_and_so_has_all_that_it_sends(self, worker: Worker, runs: Runs) -> None:
        known_by = uuid4().hex
        with use_request_id(known_by):
            traced.traced.delay(SECRET)
        found = runs("task", "child", "job", "job tests.traced_job")
        for name in ("task", "child", "job"):
            assert found[name]["request_id"] == known_by
            task = {"task": "tests.traced", "child": "tests.traced_child", "job": "tests.traced_job"}[name]
            assert re.search(
                rf"/\*framework='[^']+',request_id='{known_by}',task='{task}'", found[name]["sql"]
            )
        own = lines_of(worker, known_by)
        for name in ("task", "child", "job"):
            assert any(f"[{known_by}] {name} says so" in line for line in own)
        assert any("tests.traced[" in line and "succeeded" in line for line in own), "Celery's own lines, too"
        assert SECRET not in worker.log.read_text()
        assert SECRET not in worker.told.read_text()

    def test_a_retry_has_it(self, runs: Runs) -> None:
        with use_request_id("retried"):
            traced.retrying.delay()
        found = runs("run 0", "run 1")
        assert {found[name]["request_id"] for name in ("run 0", "run 1")} == {"retried"}

    def test_a_run_that_begins_before_the_one_before_has_ended_is_its_own(
        self, worker: Worker, runs: Runs
    ) -> None:
        with use_request_id("overlapping"):
            traced.overlapping.delay()
        found = runs("first", "second", "ended retry", "ended success")
        for name in ("first", "second"):
            assert found[name]["request_id"] == "overlapping"
            assert found[name]["has_scope"]
        assert found["ended success"]["seconds"] > 0
        assert "raised" not in worker.log.read_text(), "a signal's receiver"
        assert "Exception ignored" not in worker.log.read_text()

    def test_a_job_has_it_that_is_tried_again_by_somebody_else(self, runs: Runs) -> None:
        with use_request_id("enqueued"), transaction.atomic():
            traced.retried_job.enqueue()
        found = runs("job 1", "job 2")
        assert {found[name]["request_id"] for name in ("job 1", "job 2")} == {"enqueued"}

    def test_one_that_nobody_with_an_id_has_sent_has_its_own(self, runs: Runs) -> None:
        task_id = str(uuid4())
        traced.child.apply_async(task_id=task_id)
        assert runs("child")["child"]["request_id"] == task_id

    def test_a_message_cannot_write_into_the_log(self, worker: Worker, runs: Runs) -> None:
        task_id = str(uuid4())
        traced.child.apply_async(task_id=task_id, headers={HEADER: "x\nCRITICAL forged"})
        assert runs("child")["child"]["request_id"] == task_id
        assert not lines_of(worker, "forged")

    def test_its_spans_belong_to_the_senders(self, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(trace, "_TRACER_PROVIDER", TracerProvider())
        with trace.get_tracer("tests").start_as_current_span("request") as parent:
            traced.traced.delay(SECRET)
        found = runs("job tests.traced_job", "child")
        span = json.loads(found["job tests.traced_job"]["json"])
        assert found["job tests.traced_job"]["parent"] == parent.get_span_context().span_id
        assert span["context"]["trace_id"] == f"0x{parent.get_span_context().trace_id:032x}"
        assert f"traceparent='00-{parent.get_span_context().trace_id:032x}-" in found["child"]["sql"]


@app.task(name="tests.eager_id")
def eager_id() -> str:
    return request_id()


def test_one_that_runs_at_once_has_that_of_its_sender() -> None:
    with use_request_id("mine"):
        assert eager_id.apply().get(disable_sync_subtasks=False) == "mine"
        assert request_id() == "mine"
    assert eager_id.apply(task_id="own-1").get(disable_sync_subtasks=False) == "own-1"
    assert current.get() is None
