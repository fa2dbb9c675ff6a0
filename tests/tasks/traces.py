"""Tasks and jobs that leave rows behind, so that a test sees which ran, in which order, and how often."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any, Final

from celery import Task, shared_task
from celery.exceptions import SoftTimeLimitExceeded

from perfkit.jobs import current_run, job
from tests.testapp.effects import Effect

PATIENCE_SECONDS: Final = 60


def leave(number: int, note: str = "") -> int:
    Effect.objects.create(number=number, note=note)
    return number * 2


TASKS: Final = {
    name: shared_task(name=f"tests.{name}.leave")(leave) for name in ("quick", "default", "ai", "heavy")
}
"""By the queue to which the preset routes them."""

JOBS: Final = {
    name: job(queue=name, name=f"tests.jobs_for_{name}")(leave)
    for name in ("quick", "default", "ai", "heavy")
}
"""By the queue for which they are declared."""


@shared_task(name="tests.hold")
def hold(path: str) -> None:
    """Keep the worker busy until there is a file of that name."""
    Effect.objects.create(number=0, note="held")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not Path(path).exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@shared_task(name="tests.heavy.limits", bind=True)
def limits(self: Task[..., Any]) -> list[Any]:
    return [self.soft_time_limit, self.time_limit]


@shared_task(name="tests.quick.come_back", bind=True)
def come_back(self: Task[..., Any]) -> Any:
    if not self.request.retries:
        raise self.retry(countdown=0)
    return (self.request.delivery_info or {}).get("routing_key")


@shared_task(name="tests.quick.overstay")
def overstay() -> None:
    try:
        time.sleep(PATIENCE_SECONDS)
    except SoftTimeLimitExceeded:
        Effect.objects.create(number=1, note="told")
    time.sleep(PATIENCE_SECONDS)
    Effect.objects.create(number=2, note="not killed")


@shared_task(name="tests.die_once")
def die_once(path: str) -> str:
    """Lose the process in the first run."""
    if not Path(path).exists():
        Path(path).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    Effect.objects.create(number=1, note="ran again")
    return "done"


@job(queue="quick", lease=2, soft_limit=1, hard_limit=2)
def overstay_in_a_job() -> None:
    Effect.objects.create(number=1)
    time.sleep(PATIENCE_SECONDS)


@job(queue="quick", lease=2, soft_limit=1, hard_limit=2)
def overstay_in_the_first_run() -> None:
    Effect.objects.create(number=1)
    run = current_run()
    assert run is not None
    if run.number == 1:
        try:
            time.sleep(PATIENCE_SECONDS)
        except SoftTimeLimitExceeded:
            time.sleep(PATIENCE_SECONDS)
