from __future__ import annotations

import os
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import Group

from perfkit.caching.counting import counting
from perfkit.loading import watch_n_plus_one
from perfkit.monitoring import receivers
from perfkit.monitoring.recording import recorder
from perfkit.monitoring.work import timed
from perfkit.signals import cache_outage, cache_read, job_ended, task_ended
from tests.monitoring.conftest import Measured
from tests.testapp.models import Item

RUN: dict[str, Any] = {"run_seconds": 0.2, "wait_seconds": 1.5}


class Job:
    name = "shop.jobs.report"
    queue = None


def test_runs_of_tasks_are_counted_with_their_waits(measured: Measured) -> None:
    for outcome, retries in (("success", 0), ("retry", 0), ("failure", 1)):
        task_ended.send("shop.mail", outcome=outcome, retries=retries, queue="heavy", **RUN)
    task_ended.send(
        "shop.mail", outcome="revoked", retries=0, queue="heavy", run_seconds=0.0, wait_seconds=None
    )
    (task,) = measured.summary().tasks
    assert (task.name, task.queue, task.retries) == ("shop.mail", "heavy", 1)
    assert task.outcomes == {"success": 1, "retry": 1, "failure": 1, "revoked": 1}
    (wait,) = measured.summary().waits
    assert (wait.name, wait.timing.count, wait.timing.total_seconds) == ("heavy", 3, 4.5)


def test_jobs_are_told_by_name_and_queue(measured: Measured) -> None:
    job_ended.send(Job(), outcome="done", failures=2, **RUN)
    (task,) = measured.summary().tasks
    assert (task.name, task.queue, task.outcomes, task.retries) == (
        "shop.jobs.report",
        "default",
        {"done": 1},
        2,
    )


def test_cached_reads_are_counted_by_model_outcome_and_reason(measured: Measured) -> None:
    for _ in range(3):
        cache_read.send(Item, outcome="hit", reason="")
    cache_read.send(Item, outcome="miss", reason="")
    cache_read.send(Item, outcome="bypass", reason="size")
    cache_outage.send(object, is_down=True, problem="gone")
    found = measured.summary()
    assert [(each.label, each.hits, each.misses, dict(each.bypasses)) for each in found.reads] == [
        ("testapp.Item", 3, 1, {"size": 1})
    ]
    assert (found.cache.hit_rate, found.outages) == (0.75, 1)
    cache_read.send(Item, outcome="hit", reason="")
    assert measured.summary().cache.hits == 4, "what was told is not told again"


@pytest.mark.django_db
def test_loops_are_counted_with_what_to_write_instead(measured: Measured) -> None:
    for _ in range(2):
        with watch_n_plus_one(mode="log"):
            for number in range(3):
                Group.objects.filter(pk=number).first()
    (loop,) = measured.summary().loops
    assert (loop.name, loop.found, loop.queries) == ("auth.Group", 2, 6)
    assert loop.known is not None
    assert loop.known.lines[0].startswith("tests/monitoring/test_receivers.py:")
    assert "before the loop" in loop.known.fix
    assert "secret" not in loop.known.statement


def test_with_metrics_off_nothing_is_recorded(measured: Measured, settings: LazySettings) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "METRICS_ENABLED": False}
    task_ended.send("shop.mail", outcome="success", retries=0, queue="heavy", **RUN)
    cache_read.send(Item, outcome="hit", reason="")
    found = measured.summary()
    assert (found.tasks, found.reads) == ((), ())


@pytest.mark.redis
def test_a_child_counts_its_own_only(measured_on_server: Measured) -> None:
    with timed("before"):
        pass
    for _ in range(5):
        cache_read.send(Item, outcome="hit", reason="")
    measured_on_server.summary()
    with timed("waiting in the parent"):
        pass
    child = os.fork()
    if not child:
        status = 1
        try:
            for _ in range(10):
                cache_read.send(Item, outcome="hit", reason="")
            with timed("in the child"):
                pass
            recorder.tell()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert status == 0
    found = measured_on_server.summary()
    assert {each.name: each.timing.count for each in found.timed} == {
        "before": 1,
        "waiting in the parent": 1,
        "in the child": 1,
    }
    assert found.cache.hits == 15
    assert len(found.processes) == 2


def test_installing_again_changes_nothing(measured: Measured) -> None:
    before = (list(recorder.before_telling), list(recorder.after_telling), list(recorder.at_end))
    receivers.install()
    assert before == (recorder.before_telling, recorder.after_telling, recorder.at_end)
    task_ended.send("shop.mail", outcome="success", retries=0, queue="heavy", **RUN)
    assert measured.summary().tasks[0].timing.count == 1


def test_counting_that_begins_anew_is_counted_from_there(measured: Measured) -> None:
    for _ in range(5):
        cache_read.send(Item, outcome="hit", reason="")
    measured.summary()
    counting.begin_anew()
    for _ in range(2):
        cache_read.send(Item, outcome="hit", reason="")
    assert measured.summary().cache.hits == 7
