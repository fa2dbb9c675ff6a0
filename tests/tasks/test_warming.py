from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.test import Client

from perfkit.caching import cached
from perfkit.caching.warming import warmers
from perfkit.caching.warming.warmers import registered
from perfkit.jobs import JobStatus, job_status
from perfkit.jobs.ready import warm_cache
from perfkit.tasks.status import read_status
from project.celery import app
from project.flights.models import Airport
from tests.caching.conftest import wait_until
from tests.flights.factories import make_reference_rows
from tests.tasks.workers import running_worker


@pytest.fixture
def worker(tmp_path: Path, transactional_db: None) -> Iterator[None]:
    """A worker of the demo project, on the cache server that is its broker too."""
    cache.clear()
    with running_worker(tmp_path / "worker.log", "--pool=solo"):
        yield
    cache.clear()


def ended(status: JobStatus) -> bool:
    return job_status(status.id).is_ended


@pytest.mark.postgres
@pytest.mark.redis
@pytest.mark.usefixtures("worker")
def test_a_real_worker_warms_the_cache_and_its_status_is_read_over_http(
    client: Client, django_assert_num_queries: Any
) -> None:
    make_reference_rows()
    client.force_login(get_user_model().objects.create_user("staff", is_staff=True))

    status = warm_cache.enqueue()
    wait_until(lambda: ended(status), seconds=60)
    answer = client.get(f"/api/task-status/{status.id}").json()

    assert answer["state"] == "SUCCESS"
    assert answer["error"] is None
    entries = answer["result"]
    assert entries == job_status(status.id).result
    assert {entry["name"]: entry["entries"] + entry["held"] for entry in entries} == {
        "airlines": 2,
        "airports": 4,
        "flight-choices": 1,
        "planes": 1,
        "popular-airports": 1,
        "delay-statistics": 2,
    }
    assert all((entry["size_bytes"] > 0) == (entry["entries"] > 0) for entry in entries)
    with django_assert_num_queries(0):
        assert Airport.objects.get(pk="JFK").name == "John F Kennedy Intl"


@pytest.mark.postgres
@pytest.mark.redis
@pytest.mark.usefixtures("worker")
def test_an_error_in_a_real_worker_is_read_over_http(client: Client) -> None:
    client.force_login(get_user_model().objects.create_user("staff", is_staff=True))
    status = warm_cache.enqueue(["airprots"])
    wait_until(lambda: ended(status), seconds=60)
    answer = client.get(f"/api/task-status/{status.id}").json()
    assert answer["state"] == "FAILURE"
    assert answer["result"] is None
    assert "UnknownWarmerError" in answer["error"]
    assert "airprots" not in answer["error"], "it is an argument"


@pytest.mark.django_db  # from Django 6.1 on, Celery has it check the databases too
def test_the_project_has_the_task_and_its_route() -> None:
    app.loader.import_default_modules()
    assert "perfkit.warm_cache" in app.tasks
    assert app.amqp.router.route({}, "perfkit.warm_cache")["queue"].name == "heavy"
    assert registered() == [
        *("airlines", "airports", "delay-statistics", "flight-choices", "planes", "popular-airports")
    ]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("backend", ["immediate", "celery"])
def test_it_works_at_once_where_there_is_no_worker(
    settings: Any, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "JOB_BACKEND": backend}
    monkeypatch.setitem(app.conf.changes, "task_always_eager", True)
    cache.clear()
    make_reference_rows()
    status = warm_cache.enqueue(["airports"])
    assert [(entry["name"], entry["entries"]) for entry in job_status(status.id).result] == [("airports", 4)]
    assert read_status(str(status.id)).state == "SUCCESS"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("threads", [1, 2])
def test_it_does_nothing_twice_unless_told_to(threads: int) -> None:
    cache.clear()
    make_reference_rows()
    first, again, anew = [
        warm_cache(["airlines"], force=force, threads=threads)[0] for force in (False, False, True)
    ]
    assert (first["wanted"], first["entries"], first["held"]) == (2, 2, 0)
    assert (again["entries"], again["held"], again["size_bytes"]) == (0, 2, 0)
    assert (anew["entries"], anew["held"], anew["size_bytes"]) == (2, 0, first["size_bytes"])


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("threads", [1, 2])
def test_it_ends_with_the_time_that_it_has(
    settings: Any, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    """The signal comes while a function is called, or while its warmer says what is next."""
    settings.PERFKIT = {**settings.PERFKIT, "JOB_BACKEND": "celery"}
    cache.clear()

    @cached(ttl=600)
    def over(number: int) -> int:
        if number == 5:
            raise SoftTimeLimitExceeded
        return number

    registered()
    monkeypatch.setattr(
        warmers, "_warmers", {"long": lambda: (partial(over, number) for number in range(1_000))}
    )
    with pytest.raises(SoftTimeLimitExceeded):
        warm_cache(threads=threads)
