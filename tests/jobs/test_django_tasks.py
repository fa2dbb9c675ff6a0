"""Jobs by Django's own tasks, and what sends them again where no worker of Celery does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import django
import pytest
from django.conf import settings as django_settings
from django.core.management import call_command
from django.db import transaction

from perfkit.errors import SettingsError
from perfkit.jobs import job_status, ready
from perfkit.jobs.backends import current_backend
from perfkit.models import Job, JobState
from tests.caching.conftest import wait_until
from tests.jobs.conftest import NoJobs, use
from tests.tasks.workers import database_url
from tests.testapp import jobs
from tests.testapp.effects import Effect

pytestmark = pytest.mark.django_db(transaction=True)

HAS_TASKS = django.VERSION >= (6, 0)


@pytest.mark.skipif(not HAS_TASKS, reason="Django has tasks from 6.0 on")
class TestDjangoTasks:
    @pytest.fixture(autouse=True)
    def _by_tasks(self, settings: Any) -> None:
        settings.PERFKIT = {**settings.PERFKIT, "JOB_BACKEND": "django"}
        settings.TASKS = {
            "default": {
                "BACKEND": "django.tasks.backends.immediate.ImmediateBackend",
                "QUEUES": ["default", "quick"],
            }
        }

    def test_a_job_runs_after_the_commit_in_the_queue_that_it_declares(self) -> None:
        with transaction.atomic():
            first, second = jobs.leave_effect.enqueue(7), jobs.leave_effect_slowly.enqueue(8, 0)
            assert not Effect.objects.exists()
        assert [job_status(each.id).state for each in (first, second)] == [JobState.DONE] * 2
        assert sorted(Effect.objects.values_list("number", flat=True)) == [7, 8]

    def test_one_that_fails_is_a_dead_letter(self) -> None:
        status = jobs.fail.enqueue(7, "secret", "never")
        assert job_status(status.id).state == JobState.DEAD
        assert not Effect.objects.exists()

    def test_one_for_a_queue_that_is_not_declared_waits(self, settings: Any, caplog: Any) -> None:
        settings.TASKS["default"]["QUEUES"] = ["default"]
        settings.TASKS = dict(settings.TASKS)
        status = jobs.leave_effect_slowly.enqueue(8, 0)
        assert job_status(status.id).state == JobState.QUEUED
        assert "Queue 'quick' is not valid" in caplog.text


@pytest.mark.skipif(HAS_TASKS, reason="Django has tasks")
def test_an_older_django_has_no_tasks(settings: Any) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "JOB_BACKEND": "django"}
    with pytest.raises(SettingsError, match=r"django\.tasks"):
        current_backend()


def is_due() -> None:
    Job.objects.update(due_at="2000-01-01T00:00:00Z")


def test_what_is_due_is_sent_once(settings: Any, capsys: pytest.CaptureFixture[str]) -> None:
    use(settings, "NoJobs")
    NoJobs.sent.clear()
    jobs.leave_effect.enqueue(7)
    is_due()
    for text in ("1 sent.", "0 sent."):
        call_command("perfkit_jobs", "recover", "--once")
        assert capsys.readouterr().out.strip() == text
    assert len(NoJobs.sent) == 2


@pytest.mark.postgres
def test_a_process_of_its_own_sends_what_is_due_until_it_is_told_to_end(settings: Any) -> None:
    use(settings, "NoJobs")
    environment = {
        **os.environ,
        "DATABASE_URL": database_url(),
        "DJANGO_SETTINGS_MODULE": "tests.jobs.immediate_settings",
        "DJANGO_SECRET_KEY": "only-for-tests",
    }
    command = [sys.executable, "manage.py", "perfkit_jobs", "recover"]
    process = subprocess.Popen(command, env=environment, cwd=django_settings.BASE_DIR)
    try:
        for number in (1, 2):
            jobs.leave_effect.enqueue(number)
            is_due()
            wait_until(lambda number=number: Effect.objects.filter(number=number).exists(), seconds=60)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.postgres
def test_a_worker_that_has_imported_no_jobs_finds_them(settings: Any) -> None:
    use(settings, "NoJobs")
    ids = [jobs.leave_effect.enqueue(7).id, ready.drain_outbox.enqueue().id]
    code = """
import sys, uuid, django
django.setup()
from perfkit.jobs.running import run_job
print([run_job(uuid.UUID(each)) for each in sys.argv[1:]])
"""
    environment = {
        **os.environ,
        "DATABASE_URL": database_url(),
        "DJANGO_SETTINGS_MODULE": "tests.jobs.immediate_settings",
        "DJANGO_SECRET_KEY": "only-for-tests",
    }
    command = [sys.executable, "-c", code, *map(str, ids)]
    found = subprocess.run(
        command, env=environment, cwd=django_settings.BASE_DIR, check=True, capture_output=True, text=True
    )
    assert found.stdout.strip() == "['done', 'done']"
