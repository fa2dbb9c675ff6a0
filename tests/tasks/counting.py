"""A task that tells how far it is, slowly enough to be watched."""

from __future__ import annotations

import time
from typing import Any

from celery import Task

from perfkit.tasks import report_progress
from project.celery import app

STEPS = 3


@app.task(name="tests.count", bind=True)
def count(self: Task[..., Any], step_seconds: float) -> int:
    for step in range(1, STEPS + 1):
        report_progress(self, step, STEPS, f"step {step}")
        time.sleep(step_seconds)
    return STEPS
