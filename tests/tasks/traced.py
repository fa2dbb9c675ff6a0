"""Tasks and jobs that tell, in a worker, which request they are run for, and write down their spans."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from celery import Task
from django.db import connection

from perfkit.caching.scope import current_scope
from perfkit.jobs import current_run, job
from perfkit.signals import task_ended
from perfkit.tracing import request_id
from project.celery import app

TOLD = "PERFKIT_TESTS_TOLD"
"""Environment variable: the file that a worker writes to, one JSON object a line."""

logger = logging.getLogger("somebody.else")


class GoneLaterError(Exception):
    """Goes away with the next run."""


def write(kind: str, **facts: Any) -> None:
    with Path(os.environ[TOLD]).open("a") as file:
        file.write(json.dumps({"kind": kind, **facts}) + "\n")


def tell(name: str) -> None:
    """Tell the id, and the statement that the server is sent."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid()")
        (sql,) = cursor.fetchone()
    logger.warning("%s says so", name)
    has_scope = current_scope() is not None
    write("run", name=name, request_id=request_id(), sql=sql, has_scope=has_scope)


def wait_for(name: str) -> None:
    """Wait until a run, in whatever process, has told of itself by a name."""
    deadline = time.monotonic() + 30
    while f'"name": "{name}"' not in Path(os.environ[TOLD]).read_text():
        assert time.monotonic() < deadline, name
        time.sleep(0.01)


@app.task(name="tests.traced")
def traced(secret: str = "") -> None:
    tell("task")
    child.delay(secret)
    traced_job.enqueue(secret)


@app.task(name="tests.traced_child")
def child(secret: str = "") -> None:
    tell("child")


@app.task(name="tests.traced_retrying", bind=True)
def retrying(self: Task[..., Any]) -> None:
    tell(f"run {self.request.retries}")
    if not self.request.retries:
        raise self.retry(countdown=0)


@app.task(name="tests.traced_overlapping", bind=True)
def overlapping(self: Task[..., Any]) -> None:
    """Its second run begins before the first has ended, and goes on after that."""
    if not self.request.retries:
        again = self.retry(countdown=0, throw=False)
        wait_for("begun")
        tell("first")
        raise again
    write("run", name="begun")
    wait_for("ended retry")
    tell("second")


@job(name="tests.traced_job")
def traced_job(secret: str = "") -> None:
    tell("job")


@job(name="tests.traced_retried_job", retries=1, retry_on=[GoneLaterError], backoff=0.01)
def retried_job() -> None:
    run = current_run()
    assert run is not None
    tell(f"job {run.number}")
    if run.number == 1:
        raise GoneLaterError


def tell_of_end(*, sender: str, outcome: str, run_seconds: float, **_: Any) -> None:
    if sender == overlapping.name:
        write("run", name=f"ended {outcome}", seconds=run_seconds)


if TOLD in os.environ:  # in the worker only
    task_ended.connect(tell_of_end)

    from opentelemetry import trace
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

    class Written(SpanExporter):
        """Writes spans to the file."""

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            for span in spans:
                write("span", name=span.name, json=span.to_json(), parent=span.parent and span.parent.span_id)
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(Written()))
    trace.set_tracer_provider(provider)
