"""Jobs under real workers, which are killed, stopped and cut off from their broker meanwhile."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from celery import Celery
from django.db import connection

from perfkit.jobs import job_status
from perfkit.models import Job, JobState
from project.celery import app as project_app
from tests.caching.conftest import wait_until
from tests.jobs.torture import Torture, tell_workers, tortured
from tests.plugins.valkey import DisposableValkey
from tests.tasks.workers import database_url
from tests.testapp import jobs
from tests.testapp.effects import Effect

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres, pytest.mark.redis]

JOBS = 600
DISTURBANCES = 12
"""After these the jobs come to their end; what a broker has lost is sent again after half a minute."""


@pytest.fixture
def broker(valkey_server: Callable[[], DisposableValkey]) -> Iterator[DisposableValkey]:
    """The broker of this process's Celery app, too, until the test ends."""
    server = valkey_server()
    app = Celery("tortured", broker=server.url, set_as_current=False)
    app.conf.task_publish_retry = False
    app.set_current()
    yield server
    app.close()
    project_app.set_current()


def torment(broker: DisposableValkey, log: Path, **options: int) -> AbstractContextManager[Torture]:
    environment = {
        **os.environ,
        "DATABASE_URL": database_url(),
        "DATABASE_POOL_SIZE": "1",
        "CELERY_BROKER_URL": broker.url,
        "DJANGO_SETTINGS_MODULE": "tests.jobs.worker_settings",
        "DJANGO_SECRET_KEY": "only-for-tests",
    }
    return tortured(environment, broker, log, app="tests.jobs.worker", queues="celery,quick", **options)


def ended() -> bool:
    return not Job.objects.filter(state__in=[JobState.QUEUED, JobState.RUNNING]).exists()


def test_each_has_its_effect_exactly_once_whoever_is_killed(broker: DisposableValkey, tmp_path: Path) -> None:
    log = tmp_path / "workers.log"
    with torment(broker, log, seed=1) as torture:
        calls = [(number, number % 7 / 50) for number in range(JOBS)]
        jobs.leave_effect_slowly.using().enqueue_many(calls)
        _disturb_until_ended(torture, log, every_seconds=0.7)
    states = Counter(Job.objects.values_list("state", flat=True))
    effects = Counter(Effect.objects.values_list("number", flat=True))
    assert states == {JobState.DONE: JOBS}, tell_workers(log)
    assert effects == Counter(range(JOBS))
    assert len(torture.counts) == 4, torture.counts


def _disturb_until_ended(torture: Torture, log: Path, *, every_seconds: float) -> None:
    deadline = time.monotonic() + 200
    next_at = time.monotonic() + 4.0
    while not ended():
        assert time.monotonic() < deadline, (torture.counts, tell_workers(log))
        time.sleep(0.1)
        torture.resume()
        if time.monotonic() > next_at and sum(torture.counts.values()) < DISTURBANCES:
            torture.disturb()
            next_at = time.monotonic() + every_seconds
    connection.close()


def test_one_in_steps_goes_on_where_its_worker_was_killed(broker: DisposableValkey, tmp_path: Path) -> None:
    log = tmp_path / "workers.log"
    status = jobs.leave_effects_in_steps.enqueue(10, stop_at=6, kind="kill")
    with torment(broker, log, workers=1):
        wait_until(lambda: job_status(status.id).is_ended, seconds=60)
    found = job_status(status.id)
    assert (found.state, found.runs) == (JobState.DONE, 2), tell_workers(log)
    assert sorted(Effect.objects.values_list("number", flat=True)) == list(range(10))
