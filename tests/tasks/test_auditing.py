"""What is dangerous about a Celery configuration is found under its id, and what is safe is left alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery
from django.conf import settings as django_settings
from django.core.checks import run_checks
from django.db import connections
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st
from kombu import Queue

from perfkit.checks import FINDINGS
from perfkit.tasks import configure
from perfkit.tasks.auditing import current_findings, findings_of
from perfkit.tasks.auditing.audited import Finding
from perfkit.tasks.auditing.projects import project_app
from perfkit.tasks.preset import TRANSPORT
from project.celery import app as demo_app

ROOT = Path(__file__).resolve().parents[2]
HERE = sys.modules[__name__]
REDIS = "redis://127.0.0.1:1/0"
RABBITMQ = "amqp://127.0.0.1:1//"

EARLY: dict[str, Any] = {
    "broker_url": REDIS,
    "task_time_limit": 300,
    "task_soft_time_limit": 270,
    "result_backend": REDIS,
}
"""Celery's own ways, with limits: acknowledged before it is done, four taken for each process."""

LATE: dict[str, Any] = {
    **EARLY,
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    "worker_prefetch_multiplier": 1,
    "worker_cancel_long_running_tasks_on_connection_loss": True,
}
ON_RABBITMQ: dict[str, Any] = {**LATE, "broker_url": RABBITMQ}

Tasks = dict[str, dict[str, Any]]
"""Options of tasks, by name."""


@pytest.fixture(autouse=True)
def _no_schedules() -> Iterator[None]:
    """Apps of these tests have no task to ask for them."""
    with override_settings(PERFKIT={**django_settings.PERFKIT, "SCHEDULES": {}}):
        yield


def app_with(**settings: Any) -> Celery:
    app = Celery("audited", set_as_current=False)
    app.conf.update(settings)
    return app


def findings(settings: dict[str, Any], tasks: Tasks | None = None) -> list[Finding]:
    """Audit an app that has these tasks alone, whatever the tasks are that other tests share."""
    app = app_with(**settings)
    return findings_of(app, tasks_of(app, tasks or {}))


def tasks_of(app: Celery, tasks: Tasks) -> list[Any]:
    def work() -> None:
        pass

    return [app.task(work, name=name, shared=False, **options) for name, options in tasks.items()]


def ids(found: list[Finding]) -> list[str]:
    return [f"perfkit.{each.id}" for each in found]


SAFE: dict[str, tuple[dict[str, Any], Tasks]] = {
    "acknowledged before": (EARLY, {"shop.pay": {}}),
    "acknowledged after": (LATE, {"shop.pay": {}}),
    "no tasks yet": (LATE, {}),
    "RabbitMQ": (ON_RABBITMQ, {"shop.pay": {}}),
    "several brokers": ({**ON_RABBITMQ, "broker_url": [RABBITMQ, RABBITMQ]}, {"shop.pay": {}}),
    "Sentinel": ({**LATE, "broker_url": "sentinel://a:1/0;sentinel://b:1/0"}, {"shop.pay": {}}),
    "a long visibility timeout": (
        {**LATE, "task_time_limit": 7200, TRANSPORT: {"visibility_timeout": 7500}},
        {"shop.pay": {}},
    ),
    "the default one, just enough": ({**LATE, "task_time_limit": 3300}, {"shop.pay": {}}),
    "a limit for each task": (
        {**LATE, "task_time_limit": None, "task_soft_time_limit": None},
        {"shop.pay": {"time_limit": 30}, "shop.mail": {"time_limit": 60, "soft_time_limit": 50}},
    ),
    "retries soon": (
        LATE,
        {"shop.pay": {"autoretry_for": [OSError], "retry_backoff": True, "max_retries": 5}},
    ),
    "never tried again": (LATE, {"shop.pay": {"default_retry_delay": 86_400, "max_retries": 0}}),
    "sent again rather than rejected": (
        {**LATE, "task_reject_on_worker_lost": None},
        {"shop.pay": {"retry_on_worker_lost": True}},
    ),
    "each task says it itself": (
        {**LATE, "task_reject_on_worker_lost": None},
        {"shop.pay": {"reject_on_worker_lost": True}, "shop.mail": {"acks_late": False}},
    ),
    "green threads die with their worker": (
        {**LATE, "worker_pool": "gevent", "task_reject_on_worker_lost": None},
        {"shop.pay": {}},
    ),
    "SQS with queues of its own": (
        {
            **LATE,
            "broker_url": "sqs://",
            "task_time_limit": 3600,
            TRANSPORT: {"predefined_queues": {"celery": {"url": "https://sqs"}}},
        },
        {"shop.pay": {}},
    ),
    "a long task that its queue waits for": (
        {
            **ON_RABBITMQ,
            "task_queues": [Queue("celery", queue_arguments={"x-consumer-timeout": 7_200_000})],
        },
        {"shop.report": {"time_limit": 7200}},
    ),
    "a long task that is acknowledged before": (
        {**EARLY, "broker_url": RABBITMQ},
        {"shop.report": {"time_limit": 7200}},
    ),
    "no results": ({**LATE, "result_backend": "disabled://", "result_expires": None}, {"shop.pay": {}}),
    "results that nobody keeps": (
        {**LATE, "result_expires": None},
        {"shop.pay": {"ignore_result": True}},
    ),
    "YAML": (
        {**LATE, "task_serializer": "yaml", "accept_content": ["json", "application/x-yaml"]},
        {"shop.pay": {}},
    ),
    "tests": ({**LATE, "broker_url": None, "task_always_eager": True}, {"shop.pay": {}}),
    "declared queues": (
        {
            **LATE,
            "task_queues": [Queue("quick"), Queue("slow")],
            "task_routes": {"shop.mail": "quick", "*": {"queue": "slow"}},
        },
        {"shop.pay": {}, "shop.mail": {}},
    ),
    "a dictionary of queues": (
        {**LATE, "task_queues": {"quick": {"exchange": "quick"}}, "task_default_queue": "quick"},
        {"shop.pay": {}},
    ),
    "queues that code decides": (
        {**LATE, "task_queues": [Queue("quick")], "task_routes": [lambda *_, **__: {"queue": "quick"}]},
        {"shop.pay": {}},
    ),
    "queues that Celery makes": (
        {**LATE, "task_routes": ([("shop.mail", {"queue": "quick"}), ("*", "slow")],)},
        {"shop.pay": {}},
    ),
    "schedules": (
        {
            **LATE,
            "beat_schedule": {
                "own": {"task": "shop.pay", "schedule": 60, "options": {"countdown": 5}},
                "Celery's": {"task": "celery.backend_cleanup", "schedule": 60},
                "of a module": {"task": "tests.tasks.scheduled.nightly", "schedule": 60},
            },
        },
        {"shop.pay": {}},
    ),
    "ten priorities on Redis": (
        {
            **LATE,
            TRANSPORT: {"priority_steps": list(range(10)), "sep": ":", "queue_order_strategy": "sorted"},
            "task_routes": {"shop.mail": {"priority": 1}, "shop.pay": {"priority": 2}},
        },
        {"shop.pay": {}, "shop.mail": {}},
    ),
    "one priority for all": ({**LATE, "task_default_priority": 5}, {"shop.pay": {}}),
    "declared priorities on RabbitMQ": (
        {
            **ON_RABBITMQ,
            "task_queues": [Queue("celery", max_priority=9)],
            "task_routes": {"shop.pay": {"priority": 9}},
        },
        {"shop.pay": {}, "shop.mail": {}},
    ),
    "priorities of quorum queues": (
        {
            **ON_RABBITMQ,
            "task_queues": [Queue("celery", queue_arguments={"x-queue-type": "quorum"})],
            "task_routes": {"shop.pay": {"priority": 9}},
        },
        {"shop.pay": {}},
    ),
    "priorities for all queues of RabbitMQ": (
        {**ON_RABBITMQ, "task_queue_max_priority": 9, "task_routes": {"shop.pay": {"priority": 9}}},
        {"shop.pay": {}},
    ),
}

DANGEROUS: list[tuple[str, dict[str, Any], Tasks, str]] = [
    ("perfkit.E601", {TRANSPORT: {"visibility_timeout": 599}}, {}, "is 599 s: then the broker"),
    ("perfkit.E601", {"task_time_limit": 3301}, {}, "is 3600 s, the default: then"),
    ("perfkit.E601", {"broker_url": "valkey://h/0"}, {"a": {"time_limit": 4000}}, "hard limit is 4000 s"),
    ("perfkit.E601", {"broker_url": "sqs://", "task_time_limit": 1501}, {}, "is 1800 s, the default"),
    ("perfkit.E601", {}, {"a": {"default_retry_delay": 3001}}, "the longest countdown 3001 s"),
    (
        "perfkit.E601",
        {},
        {"a": {"autoretry_for": [OSError], "retry_kwargs": {"countdown": 3600, "max_retries": 9}}},
        "the longest countdown 3600 s",
    ),
    (
        "perfkit.E601",
        {},
        {
            "a": {
                "autoretry_for": [OSError],
                "retry_backoff": 60,
                "retry_backoff_max": 9000,
                "max_retries": None,
            }
        },
        "the longest countdown 9000 s",
    ),
    (
        "perfkit.E601",
        {"beat_schedule": {"a": {"task": "a", "schedule": 60, "options": {"countdown": 7200}}}},
        {"a": {}},
        "the longest countdown 7200 s",
    ),
    (
        "perfkit.E604",
        {"task_time_limit": "300"},
        {"a": {}},
        "task_time_limit is the text '300', and must be a number",
    ),
    ("perfkit.E604", {"task_always_eager": "False"}, {}, "task_always_eager is the text 'False'"),
    ("perfkit.E604", {"worker_concurrency": "4"}, {}, "worker_concurrency is the text '4'"),
    (
        "perfkit.E604",
        {TRANSPORT: {"visibility_timeout": "7200"}},
        {},
        "visibility_timeout in broker_transport",
    ),
    ("perfkit.E605", {"task_serializer": "yaml"}, {"a": {}}, "workers refuse messages of a."),
    ("perfkit.E605", {}, {"a": {}, "b": {"serializer": "msgpack"}}, "workers refuse messages of b."),
    (
        "perfkit.E605",
        {"accept_content": "json", "result_accept_content": ["json"]},
        {"a": {}},
        "accept_content is ['j', 's', 'o', 'n']",
    ),
    ("perfkit.E605", {"result_serializer": "yaml"}, {}, "result_serializer is 'yaml'"),
    ("perfkit.E605", {"result_accept_content": ["yaml"]}, {}, "result_serializer is 'json'"),
    (
        "perfkit.E606",
        {TRANSPORT: {"sep": ":"}, "task_routes": {"a": "shop:mail"}},
        {"a": {}},
        "workers take what is sent to shop:mail for another",
    ),
    (
        "perfkit.E606",
        {TRANSPORT: {"queue_order_strategy": "fair"}},
        {},
        "is 'fair', which kombu does not have",
    ),
    ("perfkit.W601", {"task_reject_on_worker_lost": None}, {"a": {}}, "is so of a."),
    ("perfkit.W601", {"task_reject_on_worker_lost": False}, {}, "reject_on_worker_lost is False"),
    ("perfkit.W601", {}, {"a": {}, "b": {"reject_on_worker_lost": False}}, "is so of b."),
    (
        "perfkit.W602",
        {"task_time_limit": None},
        {"a": {}},
        "task_time_limit is None: nothing ends a where it",
    ),
    ("perfkit.W602", {"task_time_limit": None}, {}, "nothing ends a task where it"),
    (
        "perfkit.W602",
        {"task_time_limit": None},
        {"a": {}, "b": {"time_limit": 300}},
        "nothing ends a where it",
    ),
    ("perfkit.W602", {"worker_pool": "threads"}, {"a": {}}, "worker_pool is 'threads', which ends no task"),
    ("perfkit.W603", {"task_soft_time_limit": 300}, {}, "task_soft_time_limit is 300, task_time_limit 300"),
    ("perfkit.W603", {}, {"a": {"time_limit": 60}}, "the process of a is killed before"),
    ("perfkit.W604", {"accept_content": ["json", "pickle"]}, {}, "accept_content is ['json', 'pickle']"),
    (
        "perfkit.W604",
        {"result_accept_content": ["json", "application/x-python-serialize"]},
        {},
        "result_accept",
    ),
    ("perfkit.W605", {"worker_prefetch_multiplier": 4}, {}, "is 4: a worker takes 4 tasks for each"),
    (
        "perfkit.W605",
        {"task_acks_late": False, "worker_prefetch_multiplier": 0},
        {},
        "takes all tasks that wait",
    ),
    (
        "perfkit.W606",
        {"result_expires": None},
        {"a": {}, "b": {"ignore_result": True}},
        "results of a are kept",
    ),
    ("perfkit.W606", {"result_expires": 0}, {}, "result_expires is 0: results of tasks are kept"),
    (
        "perfkit.W608",
        {"task_queues": [Queue("quick")], "task_default_queue": "quick", "task_routes": {"a.*": "slow"}},
        {},
        "Tasks are sent to slow",
    ),
    ("perfkit.W608", {"task_queues": [Queue("quick")]}, {"a": {}}, "Tasks are sent to celery"),
    (
        "perfkit.W608",
        {
            "task_queues": [Queue("celery")],
            "beat_schedule": {"a": {"task": "a", "schedule": 60, "options": {"queue": "slow"}}},
        },
        {"a": {}},
        "Tasks are sent to slow",
    ),
    ("perfkit.W609", {"broker_url": None}, {}, "broker_url is None"),
    (
        "perfkit.W610",
        {"beat_schedule": {"nightly": {"task": "nobody.knows", "schedule": 60}}},
        {},
        "beat_schedule['nightly'] runs 'nobody.knows'",
    ),
    (
        "perfkit.W610",
        {"beat_schedule": {"nightly": {"task": "tests.tasks.scheduled.nihgtly", "schedule": 60}}},
        {},
        "no imported module has a task of that name",
    ),
    (
        "perfkit.W611",
        {"task_default_priority": 3, "task_routes": {"a": {"priority": 0}}},
        {"a": {}},
        "task_default_priority is 3, and beats",
    ),
    ("perfkit.W611", {TRANSPORT: {"priority_steps": [9, 6, 3, 0]}}, {}, "is [9, 6, 3, 0]: kombu needs"),
    ("perfkit.W611", {TRANSPORT: {"priority_steps": [1, 5]}}, {}, "is [1, 5]: kombu needs"),
    (
        "perfkit.W611",
        {"task_routes": {"a": {"priority": 4}, "b": {"priority": 5}}},
        {"a": {}, "b": {}},
        "The priorities 4, 5 are one and the same",
    ),
    (
        "perfkit.W611",
        {"task_routes": {"a": {"priority": 0}}},
        {"a": {}, "b": {}},
        "task_default_priority is None, so b count as priority 0",
    ),
    (
        "perfkit.W611",
        {"task_queue_max_priority": 10, "task_routes": {"a": {"priority": 9}}},
        {"a": {}},
        "as for RabbitMQ, by task_queue_max_priority",
    ),
    (
        "perfkit.W611",
        {"task_queues": [Queue("celery", max_priority=9)], "task_routes": {"a": {"priority": 9}}},
        {"a": {}},
        "as for RabbitMQ, by x-max-priority of celery",
    ),
    (
        "perfkit.W611",
        {"broker_url": RABBITMQ, "task_routes": {"a": {"priority": 9}}},
        {"a": {}},
        "go to celery, without x-max-priority",
    ),
    ("perfkit.W611", {"broker_url": "sqs://", "task_default_priority": 3}, {}, "the broker (sqs) has none"),
    (
        "perfkit.W613",
        {"broker_url": RABBITMQ},
        {"a": {"time_limit": 1801}, "b": {}},
        "a worker may hold a for 1801 s",
    ),
    (
        "perfkit.W613",
        {"broker_url": RABBITMQ},
        {"a": {"default_retry_delay": 3600, "acks_late": False}},
        "a worker may hold a for 3600 s",
    ),
    (
        "perfkit.W614",
        {"worker_cancel_long_running_tasks_on_connection_loss": False},
        {"a": {}, "b": {"acks_late": False}},
        "connection_loss is False, and acks_late True",
    ),
]


@pytest.mark.parametrize("case", SAFE)
def test_what_is_safe_has_nothing_to_be_told(case: str) -> None:
    assert findings(*SAFE[case]) == []


@pytest.mark.parametrize(("identity", "settings", "tasks", "text"), DANGEROUS)
def test_it_finds_each_danger_alone(identity: str, settings: dict[str, Any], tasks: Tasks, text: str) -> None:
    found = findings({**LATE, **settings}, tasks)
    assert ids(found) == [identity]
    assert identity in FINDINGS
    assert text in found[0].message
    assert found[0].message.endswith(".")
    assert found[0].hint.endswith((".", "?"))


@given(hard=st.integers(1, 20_000), eta=st.integers(1, 20_000), timeout=st.integers(1, 50_000))
def test_a_visibility_timeout_is_dangerous_below_limit_countdown_and_margin(
    hard: int, eta: int, timeout: int
) -> None:
    """And the hint names the least that is not."""
    settings = {**LATE, "task_time_limit": hard, "task_soft_time_limit": None}
    tasks: Tasks = {"a": {"default_retry_delay": eta}}
    found = findings({**settings, TRANSPORT: {"visibility_timeout": timeout}}, tasks)
    least = hard + (0 if eta == 180 else eta) + 300  # 180 is what each task has
    assert ids(found) == (["perfkit.E601"] if timeout < least else [])
    if found:
        match = re.search(r'"visibility_timeout": (\d+)', found[0].hint)
        assert match is not None
        assert int(match[1]) == least
        assert findings({**settings, TRANSPORT: {"visibility_timeout": least}}, tasks) == []


class TestPreset:
    @pytest.mark.parametrize("url", [REDIS, RABBITMQ, "sentinel://h:1", "sqs://", "memory://"])
    def test_it_has_nothing_to_be_told(self, url: str) -> None:
        app = Celery("preset", set_as_current=False, broker=url, backend=REDIS)
        configure(app, longest_eta_seconds=7200)
        tasks = {f"shop.{name}.work": {} for name in ("quick", "ai", "heavy", "other")}
        assert findings_of(app, tasks_of(app, tasks)) == []

    @pytest.mark.parametrize("url", [REDIS, RABBITMQ])
    def test_it_has_a_task_of_its_own_that_may_take_longer_than_its_queue(self, url: str) -> None:
        app = Celery("preset", set_as_current=False, broker=url)
        configure(app)
        found = findings_of(app, tasks_of(app, {"shop.heavy.slow": {"time_limit": 7200}}))
        assert ids(found) == (["perfkit.E601"] if url == REDIS else ["perfkit.W613"])
        assert ("10800 s" if url == RABBITMQ else "The longest hard limit is 7200 s") in found[0].message

    def test_it_refuses_a_timeout_itself_and_that_is_told(self) -> None:
        app = Celery("preset", set_as_current=False)
        configure(app)
        app.config_from_object({"broker_url": "redis://", TRANSPORT: {"visibility_timeout": 60}})
        (finding,) = findings_of(app, ())
        assert f"perfkit.{finding.id}" == "perfkit.E601"
        assert "A visibility timeout of 60 s is too short" in finding.message

    def test_a_timeout_that_is_a_text_is_told(self) -> None:
        app = Celery("preset", set_as_current=False)
        configure(app)
        app.config_from_object({"broker_url": "redis://", TRANSPORT: {"visibility_timeout": "9000"}})
        (finding,) = findings_of(app, ())
        assert f"perfkit.{finding.id}" == "perfkit.E603"
        assert "int(…)" in finding.hint

    def test_a_guard_that_is_off_is_told(self) -> None:
        app = Celery("preset", set_as_current=False, broker=REDIS)
        configure(app)
        with override_settings(PERFKIT={"TASK_IN_TRANSACTION": "off"}):
            (finding,) = findings_of(app, ())
        assert f"perfkit.{finding.id}" == "perfkit.W612"
        assert "PERFKIT['TASK_IN_TRANSACTION'] is 'off'" in finding.message
        with override_settings(PERFKIT={"TASK_IN_TRANSACTION": "of"}):
            assert findings_of(app, ()) == [], "check_settings says it"


class TestRefusedConfigurations:
    def found(self, source: Any) -> Finding:
        app = Celery("refused", set_as_current=False)
        app.config_from_object(source)
        (finding,) = findings_of(app, ())
        assert findings_of(app, (), deployed=True) == [], "told once"
        return finding

    def test_it_tells_of_one_that_is_not_there(self) -> None:
        finding = self.found("nowhere")
        assert f"perfkit.{finding.id}" == "perfkit.E603"
        assert "No module named 'nowhere'" in finding.message

    def test_it_tells_of_names_that_do_not_go_together(self) -> None:
        finding = self.found({"CELERY_ACKS_LATE": True, "task_time_limit": 5, "broker_url": REDIS})
        assert f"perfkit.{finding.id}" == "perfkit.E603"
        assert "CELERY_ACKS_LATE" in finding.message
        assert "task_acks_late" in finding.message

    def test_it_tells_of_routes_that_cannot_be_read(self) -> None:
        finding = self.found({"broker_url": REDIS, "task_routes": [("shop.mail", {"queue": "quick"})]})
        assert f"perfkit.{finding.id}" == "perfkit.E603"
        assert "task_routes is [('shop.mail', {'queue': 'quick'})]" in finding.message


class TestDjangosSettings:
    """What is dangerous by what Django's settings say too."""

    def found(self, *, deployed: bool = False, **settings: Any) -> list[Finding]:
        app = Celery("of-django", set_as_current=False)
        app.config_from_object("django.conf:settings", namespace="CELERY")
        app.conf.update({**LATE, "task_always_eager": False, **settings})
        return findings_of(app, (), deployed=deployed)

    def test_a_misspelt_name_is_told(self) -> None:
        with override_settings(CELERY_TASK_TIME_LIMT=30):
            (finding,) = self.found()
        assert f"perfkit.{finding.id}" == "perfkit.W615"
        assert (
            finding.message
            == "CELERY_TASK_TIME_LIMT is 30, and Celery has no setting of that name: it is ignored."
        )
        assert finding.hint == "Did you mean CELERY_TASK_TIME_LIMIT?"

    def test_old_names_and_those_of_others_are_not(self) -> None:
        old: dict[str, Any] = {
            "CELERY_STORE_ERRORS_EVEN_IF_IGNORED": True,
            "CELERY_CREATE_MISSING_QUEUES": True,
        }
        with override_settings(CELERY_REDBEAT_KEY_PREFIX="beat", CELERY_ONCE={}, **old):
            assert self.found() == []

    def test_requests_in_transactions_are_told_where_nothing_looks(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert self.found() == []
        monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
        (finding,) = self.found()
        assert f"perfkit.{finding.id}" == "perfkit.W612"
        assert "DATABASES['default']['ATOMIC_REQUESTS'] is True" in finding.message
        guarded = Celery("preset", set_as_current=False, broker=REDIS)
        configure(guarded)
        assert findings_of(guarded, ()) == []

    def test_eager_tasks_are_told_where_a_site_is_deployed(self) -> None:
        assert self.found(task_always_eager=True) == []
        (finding,) = self.found(task_always_eager=True, deployed=True)
        assert f"perfkit.{finding.id}" == "perfkit.W607"
        with override_settings(DEBUG=True):
            assert self.found(task_always_eager=True, deployed=True) == []

    @pytest.mark.parametrize(
        ("broker", "location", "is_one"),
        [
            ("redis://h:6379/0", "redis://h", True),
            ("redis://:secret@h/1", "redis://h:6379?db=1", True),
            ("redis://localhost", "redis://127.0.0.1:6379/0", True),
            ("redis://h/0", ["redis://h/1", "rediss://h/0"], True),
            ("redis://h/0", "redis://h/1, redis://h/0", True),
            (["redis://a/0", "redis://h/0"], "redis://h/0", True),
            ("redis+socket:///run/redis.sock?virtual_host=2", "unix:///run/redis.sock?db=2", True),
            ("redis://h/0", "redis://h/1", False),
            ("redis://h/0", "redis://h:6380/0", False),
            ("redis://h/0", "redis://i/0", False),
            ("amqp://h/0", "redis://h/0", False),
            ("redis+socket:///run/redis.sock", "unix:///run/other.sock", False),
        ],
    )
    @pytest.mark.parametrize("backend", ["django_redis.cache", "django.core.cache.backends.redis"])
    def test_a_cache_in_the_brokers_database_is_told(
        self, backend: str, broker: Any, location: Any, is_one: bool
    ) -> None:
        caches = {
            "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
            "pages": {"BACKEND": f"{backend}.RedisCache", "LOCATION": location},
        }
        with override_settings(CACHES=caches):
            assert self.found() == []
            found = self.found(broker_url=broker, deployed=True)
        assert ids(found) == (["perfkit.W616"] if is_one else [])
        assert not found or "CACHES['pages'] and broker_url are the same database" in found[0].message

    @pytest.mark.parametrize(("tasks", "is_told"), [(100, True), (None, False), (0, False)])
    def test_connections_that_nobody_looks_at_are_told(self, tasks: int | None, is_told: bool) -> None:
        app = Celery("reusing", set_as_current=False)
        app.conf.update({**LATE, "CELERY_DB_REUSE_MAX": tasks})
        found = findings_of(app, ())
        assert ids(found) == (["perfkit.W618"] if is_told else [])
        assert not found or "CELERY_DB_REUSE_MAX is 100" in found[0].message

    def test_connections_that_perfkit_looks_at_are_not_told(self) -> None:
        app = Celery("reusing", set_as_current=False, broker=REDIS)
        configure(app)
        assert app.conf["CELERY_DB_REUSE_MAX"] == 1000
        assert findings_of(app, ()) == []
        with override_settings(CELERY_DB_REUSE_MAX=7):
            own = Celery("own", set_as_current=False)
            own.config_from_object("django.conf:settings", namespace="CELERY")
            configure(own)
            assert own.conf["CELERY_DB_REUSE_MAX"] == 7
            assert "perfkit.W615" not in ids(findings_of(own, ())), "Celery knows that name"


class TestProjects:
    """Which app is audited, with which tasks."""

    @pytest.fixture
    def stands_here(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Celery], Celery]]:
        """Make an app that of the project, beside the demo's, until the test ends."""

        def stand(app: Celery) -> Celery:
            monkeypatch.setattr(HERE, "standing_here", app, raising=False)
            app.set_current()
            return app

        yield stand
        demo_app.set_current()

    def test_the_demo_has_nothing_to_be_told(self) -> None:
        assert project_app() is demo_app
        assert current_findings() == []

    def test_of_several_it_is_the_current_one(self, stands_here: Callable[[Celery], Celery]) -> None:
        app = stands_here(app_with(**LATE))
        assert project_app() is app
        found: list[Celery | None] = []
        thread = threading.Thread(target=lambda: found.append(project_app()))
        thread.start()
        thread.join()
        assert found == [demo_app], "the current one of another thread is Celery's default"

    def test_django_tells_it(self, stands_here: Callable[[Celery], Celery]) -> None:
        stands_here(app_with(**{**LATE, "accept_content": ["json", "pickle"]}, task_always_eager=True))
        told = [message for message in run_checks(tags=["perfkit"]) if message.id == "perfkit.W604"]
        assert len(told) == 1
        assert "accept_content is ['json', 'pickle']" in told[0].msg
        told = run_checks(tags=["perfkit"], include_deployment_checks=True)
        assert "perfkit.W607" in [message.id for message in told]

    def test_it_imports_what_the_app_names(self, stands_here: Callable[[Celery], Celery]) -> None:
        app = stands_here(app_with(**LATE, imports=["tests.tasks.scheduled", "tests.tasks.schedulde"]))
        found = current_findings()
        assert ids(found)[0] == "perfkit.E603"
        assert "imports names 'tests.tasks.schedulde'" in found[0].message
        assert "tests.tasks.scheduled.nightly" in app.tasks

    def test_an_app_that_is_not_to_be_bound_yet_is_not(self) -> None:
        app = Celery("unbound", set_as_current=False, autofinalize=False)
        app.conf.update(LATE)
        assert findings_of(app) == []
        assert app.finalized is False


@pytest.mark.redis
class TestClaims:
    """What the findings say of kombu, asked of a server."""

    @pytest.fixture
    def deliver(self) -> Iterator[Callable[..., list[str]]]:
        """A function that sends tasks to a queue, takes as many, and returns the names of those that come."""
        made: list[tuple[Celery, str]] = []

        def deliver(queue: str, priorities: dict[str, int], **options: Any) -> list[str]:
            app = Celery("claims", set_as_current=False, broker=django_settings.CELERY_BROKER_URL)
            prefix = f"{uuid4().hex}."
            app.conf.update(broker_transport_options={"global_keyprefix": prefix, **options})
            made.append((app, prefix))
            got: list[str] = []

            def take(_: Any, message: Any) -> None:
                got.append(message.headers["task"])
                message.ack()

            for name, priority in priorities.items():
                app.send_task(name, queue=queue, priority=priority, retry=False)
            with app.connection_for_read() as connection:
                consumer = app.amqp.TaskConsumer(connection.default_channel, [app.amqp.queues[queue]])
                consumer.register_callback(take)
                consumer.qos(prefetch_count=1)
                with consumer:
                    for _ in range(len(priorities)):  # kombu takes one at a time
                        connection.drain_events(timeout=30)
            return got

        yield deliver
        for app, prefix in made:
            with app.connection_for_write() as connection:
                client = connection.default_channel.client
                for key in client.scan_iter(f"{prefix}*"):
                    client.execute_command("DEL", key.decode().removeprefix(prefix))
            app.close()

    def test_a_queue_with_the_separator_in_its_name_is_not_read(
        self, deliver: Callable[..., list[str]]
    ) -> None:
        assert deliver("shop:mail", {"a": 0}) == ["a"]
        assert deliver("mail", {"a": 0}, sep=":") == ["a"]
        assert deliver("shop:mail", {"a": 0}, sep=":") == []

    def test_priorities_within_one_step_are_the_same(self, deliver: Callable[..., list[str]]) -> None:
        assert deliver("mail", {"late": 5, "soon": 4}) == ["late", "soon"]
        assert deliver("mail", {"late": 5, "soon": 4}, priority_steps=[0, 4, 5]) == ["soon", "late"]

    def test_steps_that_are_not_in_order_are_none(self, deliver: Callable[..., list[str]]) -> None:
        assert deliver("mail", {"late": 9, "soon": 0}) == ["soon", "late"]
        assert deliver("mail", {"late": 9, "soon": 0}, priority_steps=[9, 6, 3, 0]) == ["late", "soon"]
        assert deliver("mail", {"late": 3, "soon": 0}, priority_steps=[1, 5]) == ["late", "soon"]


SITE = {
    "manage.py": """
        import os
        import sys

        os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"
        from django.core.management import execute_from_command_line

        execute_from_command_line(sys.argv)
    """,
    "shop/__init__.py": "from shop.celery import app",
    "shop/celery.py": """
        import os

        from celery import Celery

        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
        app = Celery("shop")
        app.config_from_object("django.conf:settings", namespace="CELERY")
        app.autodiscover_tasks()
    """,
    "shop/tasks.py": """
        from celery import shared_task


        @shared_task(time_limit=4000)
        def report():
            pass
    """,
    "shop/settings.py": """
        SECRET_KEY = "x"
        INSTALLED_APPS = ["perfkit", "shop"]
        USE_TZ = True
        CELERY_BROKER_URL = "redis://127.0.0.1:1/0"
        CELERY_TASK_TIME_LIMIT = 300
        CELERY_TASK_SOFT_TIME_LIMIT = 270
        CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 7200}
    """,
}
BARE = "SECRET_KEY = 'x'\nINSTALLED_APPS = ['perfkit', 'shop']\n"
PASSED = "System check identified no issues (0 silenced).\n"
WITH_PRESET = (
    SITE["shop/celery.py"] + "\n        from perfkit.tasks import configure\n        configure(app)\n"
)


def reported(text: str) -> list[str]:
    return re.findall(r"\((perfkit\.\w+)\)", text)


class TestManagePy:
    """The check of a project in a process of its own, as people run it."""

    def check(self, folder: Path, changed: dict[str, str] | None = None, *arguments: str) -> tuple[int, str]:
        for name, text in {**SITE, **(changed or {})}.items():
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(textwrap.dedent(text))
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("CELERY", "DJANGO"))
        }
        done = subprocess.run(
            [sys.executable, "-W", "error", "manage.py", "check", "--tag", "perfkit", *arguments],
            cwd=folder,
            env={**kept, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return done.returncode, done.stdout + done.stderr

    def test_a_safe_one_passes(self, tmp_path: Path) -> None:
        assert self.check(tmp_path) == (0, PASSED)

    @pytest.mark.parametrize("url", [REDIS, RABBITMQ])
    def test_the_preset_passes(self, tmp_path: Path, url: str) -> None:
        settings = SITE["shop/settings.py"].replace(REDIS, url).replace("CELERY_BROKER_TR", "NOT_TR")
        tasks = SITE["shop/tasks.py"].replace("4000", "600")
        changed = {"shop/celery.py": WITH_PRESET, "shop/settings.py": settings, "shop/tasks.py": tasks}
        assert self.check(tmp_path, changed, "--deploy") == (0, PASSED)

    def test_a_dangerous_one_fails_by_the_limit_of_a_task(self, tmp_path: Path) -> None:
        changed = {
            "shop/settings.py": SITE["shop/settings.py"].replace("7200", "4299")
            + """
        CELERY_RESULT_BACKEND = "cache+memory://"
        CELERY_RESULT_EXPIRES = None
        """
        }
        code, text = self.check(tmp_path, changed)
        assert code == 1
        assert reported(text) == ["perfkit.E601", "perfkit.W606"]
        assert "visibility_timeout in broker_transport_options is 4299 s" in text
        assert 'HINT: Write broker_transport_options = {"visibility_timeout": 4300}, or more.' in text
        assert (
            "(perfkit.W606) result_expires is None: results of shop.tasks.report are kept for ever." in text
        )
        assert "System check identified 2 issues" in text

    def test_an_app_that_django_does_not_load_is_told(self, tmp_path: Path) -> None:
        code, text = self.check(tmp_path, {"shop/__init__.py": ""})
        assert code == 0
        assert reported(text) == ["perfkit.W617"]
        assert "CELERY_BROKER_URL is set, and this process has loaded no Celery app" in text

    def test_an_app_that_only_tasks_load_is_found(self, tmp_path: Path) -> None:
        tasks = "from shop.celery import app\n\n\n@app.task(time_limit=9000)\ndef report():\n    pass\n"
        code, text = self.check(tmp_path, {"shop/__init__.py": "", "shop/tasks.py": tasks})
        assert (code, reported(text)) == (1, ["perfkit.E601"])

    def test_it_makes_no_app_where_there_is_none(self, tmp_path: Path) -> None:
        """Though Celery is loaded: its `default_app` is made by whoever asks for the current one."""
        manage = (
            SITE["manage.py"] + "\n        import celery._state\n        print(celery._state.default_app)\n"
        )
        changed = {
            "manage.py": manage,
            "shop/__init__.py": "",
            "shop/settings.py": BARE + "import shop.tasks\n",
        }
        assert self.check(tmp_path, changed) == (0, f"{PASSED}None\n")

    def test_it_does_not_load_celery_for_a_project_without(self, tmp_path: Path) -> None:
        manage = SITE["manage.py"] + "\n        print('celery' in sys.modules)\n"
        changed = {"manage.py": manage, "shop/__init__.py": "", "shop/settings.py": BARE}
        assert self.check(tmp_path, changed) == (0, f"{PASSED}False\n")

    def test_it_works_where_celery_is_not_installed(self, tmp_path: Path) -> None:
        without = """
        import sys

        sys.modules["celery"] = sys.modules["kombu"] = None  # as Python marks what is not there
        """
        changed = {"manage.py": without + SITE["manage.py"], "shop/__init__.py": ""}
        assert self.check(tmp_path, changed, "--deploy") == (0, PASSED)
