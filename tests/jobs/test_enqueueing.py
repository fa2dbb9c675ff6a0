"""A job is written down with one statement, and one under a key once, whatever the connection has sent before."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from perfkit.errors import JobArgumentError
from perfkit.jobs import cancel_job, job_status, run_job
from perfkit.jobs.rows import ADDED_AT_ONCE, JobRows, Mark
from perfkit.models import Job, JobState
from tests.testapp import jobs
from tests.testapp.effects import Effect

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sent")]

GIVEN = {"id", "name", "arguments", "lease_seconds", "enqueued_at", "due_at"}

TWICE = (1, 2, 3)
"""What a connection sends again is prepared where that can be, so everything is tried more often than once."""


@pytest.fixture
def statements() -> Iterator[list[str]]:
    """What is sent to the database, by every road."""
    sent: list[str] = []

    def note(execute: Any, sql: Any, *rest: Any) -> Any:
        sent.append(" ".join(str(sql).split()))
        return execute(sql, *rest)

    with connection.execute_wrapper(note):
        yield sent


@pytest.mark.parametrize("way", ["one", "many", "keyed"])
def test_it_writes_the_row_that_the_model_would(way: str) -> None:
    for number in TWICE:
        if way == "many":
            (job_id,) = jobs.leave_effect.using().enqueue_many([(number,)])
        else:
            job = jobs.leave_effect if way == "one" else jobs.leave_effect_keyed
            job_id = job.enqueue(number).id
        row, blank = Job.objects.get(pk=job_id), Job()
        given = GIVEN | ({"key"} if way == "keyed" else set())
        for field in Job._meta.concrete_fields:
            if field.attname not in given:
                assert getattr(row, field.attname) == getattr(blank, field.attname), field.attname
        assert row.arguments == [[number], {}]
        assert (row.due_at - row.enqueued_at, row.lease_seconds) == (dt.timedelta(seconds=30), 30.0)
        assert abs(timezone.now() - row.enqueued_at) < dt.timedelta(minutes=1)


def test_it_keeps_every_argument_as_it_was() -> None:
    told = "100 % 'of' \"these\" \\ %s {} \n é 漢 🛫 \u2028"
    for _ in TWICE:
        status = jobs.leave_effect.enqueue(7, note=told)
        assert Job.objects.get(pk=status.id).arguments == [[7], {"note": told}]
        assert run_job(status.id) == "done"
    assert set(Effect.objects.values_list("note", flat=True)) == {told}


def test_it_takes_one_statement_and_two_for_a_result_that_is_kept(statements: list[str]) -> None:
    for number in TWICE:
        statements.clear()
        jobs.leave_effect.enqueue(number)
        assert [text.split()[0] for text in statements] == ["INSERT"]
        run_job(jobs.leave_effect_keyed.enqueue(number).id)
        statements.clear()
        assert jobs.leave_effect_keyed.enqueue(number).is_ended
        assert [text.split()[0] for text in statements] == ["INSERT", "SELECT"]


def test_a_run_takes_two_statements_beside_those_of_its_function(statements: list[str]) -> None:
    for number in TWICE:
        status = jobs.leave_effect.enqueue(number)
        statements.clear()
        run_job(status.id)
        assert [text.split()[0] for text in statements if "perfkit_job" in text] == ["UPDATE", "UPDATE"]


def test_many_are_written_in_batches_and_each_is_sent(sent: list[Any], statements: list[str]) -> None:
    ids = jobs.leave_effect.using().enqueue_many([(number,) for number in range(ADDED_AT_ONCE + 1)])
    assert sum(text.startswith("INSERT") for text in statements) == 2
    assert [job_id for job_id, *_ in sent] == ids
    assert set(Job.objects.values_list("pk", flat=True)) == set(ids)
    assert jobs.leave_effect.using().enqueue_many([]) == []
    with pytest.raises(JobArgumentError, match="one by one"):
        jobs.leave_effect_keyed.using().enqueue_many([(1,)])


class TestKeys:
    def test_whoever_asks_again_is_told_of_the_one_that_there_is(self) -> None:
        for number in TWICE:
            first = jobs.leave_effect_keyed.enqueue(number, note="first")
            assert jobs.leave_effect_keyed.enqueue(number, note="second") == first
            assert JobRows().take(first.id, worker="w") is not None
            assert JobRows().renew(first.id, 1, mark=Mark(1, 4, "soon")) is False
            runs = jobs.leave_effect_keyed.enqueue(number)
            assert (runs.id, runs.state, runs.runs) == (first.id, JobState.RUNNING, 1)
            assert runs.progress is not None
            assert (runs.progress.percent, runs.progress.message) == (25.0, "soon")
            assert runs.progress.eta_seconds is not None
            Job.objects.filter(pk=first.id).update(due_at="2000-01-01T00:00:00Z")
            assert run_job(first.id) == "done"
            done = jobs.leave_effect_keyed.enqueue(number)
            assert (done.id, done.state, done.result, done.runs) == (first.id, JobState.DONE, "first", 2)
            assert done == job_status(first.id)

    def test_one_that_is_kept_no_longer_makes_room(self) -> None:
        for number in TWICE:
            first = jobs.leave_effect_keyed.enqueue(number)
            run_job(first.id)
            Job.objects.filter(pk=first.id).update(expires_at=timezone.now() - dt.timedelta(seconds=1))
            second = jobs.leave_effect_keyed.enqueue(number)
            assert second.id != first.id
            assert jobs.leave_effect_keyed.enqueue(number).id == second.id
            assert job_status(first.id).state == JobState.DONE

    def test_one_that_was_cancelled_holds_nothing(self) -> None:
        first = jobs.leave_effect_keyed.enqueue(1)
        cancel_job(first.id)
        assert jobs.leave_effect_keyed.enqueue(1).id != first.id

    def test_one_that_rolls_back_holds_nothing(self, sent: list[Any]) -> None:
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            jobs.leave_effect_keyed.enqueue(1)
            raise ZeroDivisionError
        status = jobs.leave_effect_keyed.enqueue(1)
        assert [job_id for job_id, *_ in sent] == [status.id]

    def test_it_goes_on_within_a_transaction(self) -> None:
        first = jobs.leave_effect_keyed.enqueue(1)
        with transaction.atomic():
            assert jobs.leave_effect_keyed.enqueue(1).id == first.id
            Effect.objects.create(number=1)
        assert Effect.objects.count() == 1

    @pytest.mark.postgres
    def test_of_many_at_once_there_is_one(self) -> None:
        start, found = threading.Barrier(4), []

        def ask() -> None:
            for number in range(20):
                start.wait(20)
                found.append((number, jobs.leave_effect_keyed.enqueue(number).id))
            connection.close()

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ids: dict[int, set[UUID]] = {}
        for number, job_id in found:
            ids.setdefault(number, set()).add(job_id)
        assert {number: len(each) for number, each in ids.items()} == dict.fromkeys(range(20), 1)
        assert Job.objects.count() == 20


def test_people_see_the_values_of_what_they_log() -> None:
    with CaptureQueriesContext(connection) as told:
        for _ in TWICE:
            jobs.leave_effect.enqueue(4711)
    assert len(told) == len(TWICE)
    assert all("4711" in each["sql"] for each in told)
