"""Tasks of many ends, and a receiver that writes down what is told of them."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from celery import Task
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded

from perfkit.jobs import job
from perfkit.signals import job_ended, task_ended
from project.celery import app

TOLD = "PERFKIT_TESTS_TOLD"
"""Environment variable: the file that a worker writes to, one JSON object a line."""


def write(kind: str, name: str, told: dict[str, Any]) -> None:
    del told["signal"]
    with Path(os.environ[TOLD]).open("a") as file:
        file.write(json.dumps({"kind": kind, "name": name, **told}) + "\n")


def fail(**_: Any) -> None:
    raise ValueError("A receiver fails.")


def note_task(sender: str, **told: Any) -> None:
    write("task", sender, told)


def note_job(sender: Any, **told: Any) -> None:
    write("job", sender.name, told)


if TOLD in os.environ:  # in the worker only
    task_ended.connect(fail)
    task_ended.connect(note_task)
    job_ended.connect(note_job)


@app.task(name="tests.timed")
def timed(seconds: float = 0.0) -> str:
    time.sleep(seconds)
    return "done"


@app.task(name="tests.timed_failing")
def failing() -> None:
    raise ValueError


@app.task(name="tests.timed_retrying", bind=True)
def retrying(self: Task[..., Any]) -> str:
    if not self.request.retries:
        raise self.retry(countdown=1)
    return "done"


@app.task(name="tests.timed_rejecting")
def rejecting() -> None:
    raise Reject("no", requeue=False)


@app.task(name="tests.timed_ignoring")
def ignoring() -> None:
    raise Ignore


@app.task(name="tests.timed_dying", acks_late=False)
def dying() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(name="tests.timed_hanging", time_limit=2, soft_time_limit=1)
def hanging() -> None:
    try:
        time.sleep(60)
    except SoftTimeLimitExceeded:
        time.sleep(60)


@job(name="tests.timed_job")
def timed_job() -> str:
    return "done"
