"""What is dangerous about a Celery configuration is found under its id, and the preset has none of it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from celery import Celery
from django.core.checks import run_checks

from perfkit.checks import FINDINGS
from perfkit.tasks import configure
from perfkit.tasks.auditing import current_findings, findings_of
from project.celery import app as project_app
from project.services.state import BASE_DIR

GOOD: dict[str, Any] = {
    "broker_url": "redis://127.0.0.1:1/0",
    "broker_transport_options": {"visibility_timeout": 3600},
    "task_time_limit": 300,
    "task_soft_time_limit": 270,
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    "worker_prefetch_multiplier": 1,
    "result_backend": "redis://127.0.0.1:1/0",
    "result_expires": 3600,
    "accept_content": ["json"],
}

BAD: dict[str, dict[str, Any]] = {
    "E601": {"broker_transport_options": {"visibility_timeout": 599}},
    "W601": {"task_reject_on_worker_lost": False},
    "W602": {"task_time_limit": None, "task_soft_time_limit": None},
    "W603": {"task_soft_time_limit": 300},
    "W604": {"accept_content": ["json", "pickle"]},
    "W605": {"worker_prefetch_multiplier": 4},
    "W606": {"result_expires": None},
    "W608": {
        "task_queues": {"quick": {}},
        "task_default_queue": "quick",
        "task_routes": {"a.*": {"queue": "slow"}},
    },
    "W609": {"broker_url": None},
    "W610": {"beat_schedule": {"nightly": {"task": "nobody.knows", "schedule": 60}}},
}


def app_with(**settings: Any) -> Celery:
    app = Celery("audited", set_as_current=False)
    app.conf.update({**GOOD, **settings})
    return app


def ids(app: Celery) -> list[str]:
    return [finding.id for finding in findings_of(app)]


def test_a_good_configuration_has_nothing_to_be_told() -> None:
    assert ids(app_with()) == []


@pytest.mark.parametrize("number", sorted(BAD))
def test_it_finds_each_thing_alone(number: str) -> None:
    settings = BAD[number]
    if number == "W608":
        from kombu import Queue

        settings = {**settings, "task_queues": [Queue("quick")]}
    found = findings_of(app_with(**settings))
    assert [finding.id for finding in found] == [number]
    assert f"perfkit.{number}" in FINDINGS
    assert all(finding.message.endswith(".") and finding.hint.endswith(".") for finding in found)


def test_it_reads_the_limits_of_tasks() -> None:
    app = app_with(task_time_limit=None, task_soft_time_limit=None)

    @app.task(name="long", time_limit=7200, soft_time_limit=7100)
    def long() -> None: ...

    @app.task(name="endless")
    def endless() -> None: ...

    found = {finding.id: finding.message for finding in findings_of(app)}
    assert "the longest hard limit is 7200 s" in found["E601"]
    assert "Nothing ends endless that hangs" in found["W602"]
    assert set(found) == {"E601", "W602"}


def test_it_finds_tasks_that_are_lost_with_their_worker() -> None:
    app = app_with(task_acks_late=False, task_reject_on_worker_lost=False)

    @app.task(name="late", acks_late=True)
    def late() -> None: ...

    [finding] = findings_of(app)
    assert (finding.id, "late are lost" in finding.message) == ("W601", True)


def test_other_brokers_have_no_visibility_timeout() -> None:
    assert ids(app_with(broker_url="amqp://127.0.0.1:1//", broker_transport_options={})) == []


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "amqp://127.0.0.1:1//"])
def test_the_preset_has_nothing_to_be_told(url: str) -> None:
    app = Celery("preset", set_as_current=False)
    configure(app, longest_eta_seconds=7200)
    app.conf.update(broker_url=url)
    assert ids(app) == []


def test_a_timeout_that_the_preset_refuses_is_found() -> None:
    app = Celery("short", set_as_current=False)
    configure(app)
    app.config_from_object({"broker_url": "redis://", "broker_transport_options": {"visibility_timeout": 60}})
    assert ids(app) == ["E601"]


def test_the_demo_has_nothing_to_be_told() -> None:
    project_app.set_current()
    assert current_findings() == []


def test_tasks_that_run_at_once_are_told_of_where_a_site_is_deployed(settings: Any) -> None:
    app = app_with(task_always_eager=True)
    app.set_current()
    try:
        assert ids(app) == []
        assert [finding.id for finding in current_findings(deployed=True)] == ["W607"]
        settings.DEBUG = True
        assert current_findings(deployed=True) == []
    finally:
        project_app.set_current()


def test_django_tells_it(monkeypatch: pytest.MonkeyPatch) -> None:
    app = app_with(accept_content=["pickle"])
    app.set_current()
    try:
        told = [message for message in run_checks(tags=["perfkit"]) if message.id == "perfkit.W604"]
    finally:
        project_app.set_current()
    assert len(told) == 1
    assert "accept_content take pickle" in told[0].msg


def test_a_project_without_celery_does_not_load_it() -> None:
    code = (
        "import sys, django; from django.conf import settings\n"
        "settings.configure(INSTALLED_APPS=['perfkit'], SECRET_KEY='x',\n"
        "    DATABASES={'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': ':memory:'}})\n"
        "django.setup(); from django.core.management import call_command\n"
        "call_command('check'); assert 'celery' not in sys.modules"
    )
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=BASE_DIR,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
