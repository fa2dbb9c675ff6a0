from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery.result import AsyncResult
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.db import connection
from django.test import Client

from perfkit.caching.warming import registered
from perfkit.tasks.status import read_status
from perfkit.tasks.warming import warm_cache
from project.celery import app
from project.flights.models import Airport
from tests.flights.factories import make_reference_rows


def database_url() -> str:
    """The test database, for another process."""
    values: dict[str, Any] = connection.settings_dict
    login = ":".join(part for part in (values["USER"], values["PASSWORD"]) if part)
    return f"postgres://{login}@{values['HOST']}:{values['PORT']}/{values['NAME']}"


@pytest.fixture
def worker(redis_url: str, tmp_path: Path, transactional_db: None) -> Iterator[subprocess.Popen[bytes]]:
    """A worker of the demo project on the test database; ready when this returns, gone at the end."""
    cache.clear()
    log = tmp_path / "worker.log"
    environment = os.environ | {
        "DATABASE_URL": database_url(),
        "DATABASE_POOL_SIZE": "1",
        "REDIS_URL": redis_url,
        "DJANGO_SETTINGS_MODULE": "project.settings",
        "DJANGO_SECRET_KEY": "only-for-tests",
    }
    command = [sys.executable, "-m", "celery", "-A", "project", "worker", "--pool=solo", "--loglevel=INFO"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--without-mingle", "--without-gossip", "-n", f"tests-{os.getpid()}@%h"],
            env=environment,
            cwd=Path(__file__).parents[2],
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + 60
        while not app.control.ping(timeout=0.5):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=10)
        cache.clear()


@pytest.mark.postgres
@pytest.mark.redis
def test_a_real_worker_warms_the_cache_and_its_status_is_read_over_http(
    worker: subprocess.Popen[bytes], client: Client, django_assert_num_queries: Any
) -> None:
    make_reference_rows()
    client.force_login(get_user_model().objects.create_user("staff", is_staff=True))

    result = warm_cache.delay()
    entries = result.get(timeout=60)
    answer = client.get(f"/api/task-status/{result.id}").json()

    assert answer["state"] == "SUCCESS"
    assert answer["error"] is None
    assert answer["result"] == entries
    assert {entry["name"]: entry["entries"] for entry in entries} == {
        "airlines": 2,
        "airports": 3,
        "planes": 1,
    }
    with django_assert_num_queries(0):
        assert Airport.objects.get(pk="JFK").name == "John F Kennedy Intl"


@pytest.mark.postgres
@pytest.mark.redis
def test_an_error_in_a_real_worker_is_read_over_http(worker: subprocess.Popen[bytes], client: Client) -> None:
    client.force_login(get_user_model().objects.create_user("staff", is_staff=True))
    result = warm_cache.delay(["airprots"])
    with pytest.raises(Exception, match="airprots"):
        result.get(timeout=60)
    answer = client.get(f"/api/task-status/{result.id}").json()
    assert answer["state"] == "FAILURE"
    assert answer["result"] is None
    assert "UnknownWarmerError: There is no warmer 'airprots'. Did you mean 'airports'?" in answer["error"]


def test_the_project_has_the_task_and_its_route() -> None:
    app.loader.import_default_modules()
    assert "perfkit.warm_cache" in app.tasks
    assert app.amqp.router.route({}, "perfkit.warm_cache")["queue"].name == "heavy"
    assert registered() == ["airlines", "airports", "planes"]


@pytest.mark.django_db(transaction=True)
def test_it_works_at_once_where_there_is_no_worker(settings: Any) -> None:
    cache.clear()
    make_reference_rows()
    result: AsyncResult[Any] = warm_cache.apply(args=[["airports"]])
    assert [(entry["name"], entry["entries"]) for entry in result.get()] == [("airports", 3)]


@pytest.mark.skipif(not app.conf.task_always_eager, reason="with a broker, delay() needs a worker")
@pytest.mark.django_db(transaction=True)
def test_the_demo_without_servers_runs_tasks_at_once_and_keeps_their_results() -> None:
    make_reference_rows()
    result = warm_cache.delay(["airports"])
    assert read_status(result.id).state == "SUCCESS"
