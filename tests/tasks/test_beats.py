"""Two real beats and a real worker: each time one job, also where a beat is killed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.conf import settings

from perfkit.models import Job, JobSchedule
from tests.caching.conftest import wait_until
from tests.tasks.workers import database_url, running_worker
from tests.testapp.effects import Effect

SECONDS = 2
EARLY = SECONDS / 4

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres, pytest.mark.redis]


@contextmanager
def running_beat(folder: Path, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """A beat with a schedule file of its own, as on a host of its own."""
    command = [sys.executable, "-m", "celery", "-A", "project", "beat", "--loglevel=INFO", "--pidfile="]
    with (folder / f"{name}.log").open("wb") as output:
        process = subprocess.Popen(
            [*command, "--schedule", str(folder / name)],
            env={
                **os.environ,
                "DATABASE_URL": database_url(),
                "CELERY_BROKER_URL": settings.CELERY_BROKER_URL,
                "REDIS_URL": settings.CELERY_BROKER_URL,
                "DJANGO_SETTINGS_MODULE": "tests.tasks.beat_settings",
                "DJANGO_SECRET_KEY": "only-for-tests",
            },
            cwd=settings.BASE_DIR,
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait(timeout=10)


def ticks(folder: Path, name: str) -> int:
    return (folder / f"{name}.log").read_text().count("Sending due task")


def test_two_beats_at_once_enqueue_one_job_each_time_and_one_goes_on_alone(tmp_path: Path) -> None:
    worker = running_worker(
        tmp_path / "worker.log", "--pool=solo", DJANGO_SETTINGS_MODULE="tests.tasks.beat_settings"
    )
    with worker, running_beat(tmp_path, "one") as one, running_beat(tmp_path, "two"):
        wait_until(lambda: min(ticks(tmp_path, "one"), ticks(tmp_path, "two")) >= 4, seconds=60)
        both = ticks(tmp_path, "one") + ticks(tmp_path, "two")
        one.kill()
        before = Job.objects.count()
        wait_until(lambda: Job.objects.count() >= before + 3, seconds=60)
        wait_until(lambda: Effect.objects.count() == Job.objects.count(), seconds=60)

    enqueued = list(Job.objects.order_by("enqueued_at").values_list("enqueued_at", flat=True))
    assert before < both * 0.75, "two have asked, and one was answered"
    for earlier, later in zip(enqueued, enqueued[2:], strict=False):
        assert (later - earlier).total_seconds() >= SECONDS - 0.1
    assert JobSchedule.objects.get().job_id == Job.objects.latest("enqueued_at").pk
