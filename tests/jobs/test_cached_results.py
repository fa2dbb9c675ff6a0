"""Jobs over cached functions: a result is reused as long as what it was made from is not written."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from perfkit.jobs import job_status, run_job
from perfkit.models import Job, JobState
from tests.testapp.effects import Effect
from tests.testapp.jobs import count_effects, count_effects_async

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sent")]

JOBS = [count_effects, count_effects_async]


@pytest.fixture(autouse=True)
def _empty_cache(settings: Any) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_TIMEOUT": 5.0, "CACHE_MODELS": ["testapp.Effect"]}
    cache.clear()


@pytest.mark.parametrize("job", JOBS)
def test_a_result_that_holds_is_there_at_once(job: Any, sent: list[Any]) -> None:
    Effect.objects.create(number=7)
    first = job.enqueue(7)
    assert run_job(first.id) == "done"
    assert len(sent) == 1
    again = job.enqueue(7)
    assert (again.state, again.result, again.is_ended) == (JobState.DONE, 1, True)
    assert job_status(again.id).result == 1
    assert again.id != first.id
    assert len(sent) == 1, "nobody need run it"
    assert run_job(again.id) is None


@pytest.mark.parametrize("job", JOBS)
def test_after_a_write_it_runs_anew(job: Any) -> None:
    run_job(job.enqueue(7).id)
    Effect.objects.create(number=7)
    anew = job.enqueue(7)
    assert anew.state == JobState.QUEUED
    assert run_job(anew.id) == "done"
    assert job_status(anew.id).result == 1


def test_of_many_who_ask_before_it_is_done_one_job_runs() -> None:
    ids = {count_effects.enqueue(7).id for _ in range(5)}
    assert len(ids) == 1
    assert count_effects.enqueue(8).id not in ids


def test_in_a_transaction_that_has_written_nothing_older_is_taken() -> None:
    run_job(count_effects.enqueue(7).id)
    with transaction.atomic():
        Effect.objects.create(number=7)
        status = count_effects.enqueue(7)
        assert status.state == JobState.QUEUED
    run_job(status.id)
    assert job_status(status.id).result == 1


def test_a_hit_is_one_statement() -> None:
    run_job(count_effects.enqueue(7).id)
    with CaptureQueriesContext(connection) as queries:
        count_effects.enqueue(7)
    assert [query["sql"].split()[0] for query in queries] == ["INSERT"]


@examples(max_examples=20, deadline=None)
@given(steps=st.lists(st.sampled_from(["enqueue", "write", "remove", "run", "void"]), max_size=14))
def test_no_result_is_older_than_what_was_written_before_it_was_asked_for(steps: list[str]) -> None:
    Effect.objects.all().delete()
    Job.objects.all().delete()
    cache.clear()
    for step in steps:
        if step == "write":
            Effect.objects.create(number=7)
        elif step == "remove":
            Effect.objects.filter(number=7).delete()
        elif step == "void":
            count_effects.function.invalidate(7)
        elif step == "run":
            for pk in Job.objects.filter(state=JobState.QUEUED).values_list("pk", flat=True):
                run_job(pk)
        else:
            status = count_effects.enqueue(7)
            if status.is_ended:
                assert status.result == Effect.objects.filter(number=7).count()
