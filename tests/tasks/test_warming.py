from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery.result import AsyncResult
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.test import Client

from perfkit.caching.warming import registered
from perfkit.tasks.status import read_status
from perfkit.tasks.warming import warm_cache
from project.celery import app
from project.flights.models import Airport
from tests.flights.factories import make_reference_rows
from tests.tasks.workers import running_worker


@pytest.fixture
def worker(tmp_path: Path, transactional_db: None) -> Iterator[None]:
    """A worker of the demo project, on the cache server that is its broker too."""
    cache.clear()
    with running_worker(tmp_path / "worker.log", "--pool=solo"):
        yield
    cache.clear()


@pytest.mark.postgres
@pytest.mark.redis
@pytest.mark.usefixtures("worker")
def test_a_real_worker_warms_the_cache_and_its_status_is_read_over_http(
    client: Client, django_assert_num_queries: Any
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
@pytest.mark.usefixtures("worker")
def test_an_error_in_a_real_worker_is_read_over_http(client: Client) -> None:
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
