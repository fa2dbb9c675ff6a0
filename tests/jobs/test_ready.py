"""Jobs that are ready to use: what each does, and that it may be run again or end anywhere."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.utils import timezone
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from perfkit.caching import cached
from perfkit.errors import CacheUnreachableError, JobArgumentError, UnknownTagError, UnknownWarmerError
from perfkit.jobs import JobFunction, JobStatus, job_status, ready, run_job
from perfkit.models import IdempotentAnswer, Job, JobState, PendingImport, PendingInvalidation
from project.flights.models import ActivityLog, Airport
from tests.flights.factories import make_reference_rows
from tests.plugins.valkey import DisposableValkey
from tests.testapp.effects import Effect

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sent")]

calls: list[int] = []


@cached(ttl=600)
def square(number: int) -> int:
    """What `refresh_entry` finds by its name."""
    calls.append(number)
    return number * number


def done(job: JobFunction[Any, Any], *args: Any, **kwargs: Any) -> Any:
    """Run a job to its end, and return its result."""
    status = job.enqueue(*args, **kwargs)
    assert run_job(status.id) == "done"
    return job_status(status.id).result


def failed(job: JobFunction[Any, Any], *args: Any, **kwargs: Any) -> JobStatus:
    status = job.enqueue(*args, **kwargs)
    with pytest.raises(Exception):  # noqa: B017, PT011  # told by the test
        run_job(status.id)
    return job_status(status.id)


class TestWarming:
    def test_it_warms_what_is_named_and_leaves_alone_what_holds(self, django_assert_num_queries: Any) -> None:
        cache.clear()
        make_reference_rows()
        first, again = (done(ready.warm_cache, ["airports"])[0] for _ in range(2))
        assert (first["name"], first["entries"], again["entries"], again["held"]) == ("airports", 4, 0, 4)
        if connection.vendor == "postgresql":
            with django_assert_num_queries(0):
                assert Airport.objects.get(pk="JFK").name == "John F Kennedy Intl"

    def test_there_is_one_at_a_time_of_the_same_warmers(self) -> None:
        first, other = ready.warm_cache.enqueue(["airlines"]), ready.warm_cache.enqueue(["airports"])
        assert ready.warm_cache.enqueue(["airlines"]).id == first.id != other.id
        run_job(first.id)
        assert ready.warm_cache.enqueue(["airlines"]).id != first.id

    def test_an_unknown_warmer_is_a_dead_letter_that_says_so(self) -> None:
        status = failed(ready.warm_cache, ["airprots"])
        assert status.state == JobState.DEAD
        assert UnknownWarmerError.__name__ in status.error


class TestRefreshing:
    def test_an_entry_is_made_anew_before_it_ends(self) -> None:
        calls.clear()
        assert square(3) == 9
        [result] = done(ready.refresh_entry, f"{__name__}.square", [3])
        assert (result["entries"], calls) == (1, [3, 3])
        assert square(3) == 9
        assert calls == [3, 3]

    @pytest.mark.redis
    def test_a_row_is_made_anew(self, django_assert_num_queries: Any) -> None:
        make_reference_rows()
        [result] = done(ready.refresh_entry, "flights.Airport", ["JFK"])
        assert (result["wanted"], result["entries"]) == (1, 1)
        with django_assert_num_queries(0):
            Airport.objects.get(pk="JFK")

    @pytest.mark.parametrize("of", ["os.system", "flights.Airprot", "nonsense", f"{__name__}.done", ""])
    def test_nothing_else_is_called(self, of: str) -> None:
        status = failed(ready.refresh_entry, of, ["true"])
        assert status.state == JobState.DEAD
        assert JobArgumentError.__name__ in status.error


class TestInvalidating:
    def test_what_depends_on_a_model_is_void(self) -> None:
        calls.clear()
        square(4)
        assert done(ready.invalidate_names, [f"key:{square.key(4)}"]) == 1
        square(4)
        assert calls == [4, 4]

    def test_of_names_of_which_one_is_unknown_none_is_void(self) -> None:
        calls.clear()
        square(5)
        status = failed(ready.invalidate_names, [f"key:{square.key(5)}", "nonsense"])
        square(5)
        assert (calls, status.state) == ([5], JobState.DEAD)
        assert UnknownTagError.__name__ in status.error


class TestDraining:
    @pytest.mark.redis
    def test_what_waits_in_the_outbox_is_told(self) -> None:
        calls.clear()
        square(6)
        PendingInvalidation.objects.create(tags='["t:nobody"]', writer="w")
        assert done(ready.drain_outbox) == ["default"]
        assert not PendingInvalidation.objects.exists()

    @pytest.mark.redis
    def test_it_is_tried_again_where_the_server_does_not_answer(self, server: DisposableValkey) -> None:
        server.kill()
        PendingInvalidation.objects.create(tags='["t:nobody"]', writer="w")
        status = ready.drain_outbox.enqueue()
        assert run_job(status.id) == "retried"
        assert CacheUnreachableError.__name__ in job_status(status.id).error
        assert PendingInvalidation.objects.count() == 1


class TestCleaningUp:
    def test_what_has_ended_goes_and_dead_letters_stay(self) -> None:
        now = timezone.now()
        past, future = now - dt.timedelta(days=9), now + dt.timedelta(days=9)
        ended: dict[str, Any] = {"name": "a", "queue": "", "arguments": [[], {}], "lease_seconds": 1}
        Job.objects.bulk_create(
            Job(**ended, state=state, enqueued_at=past, finished_at=past, expires_at=expires)
            for state, expires in (("done", past), ("done", future), ("dead", past), ("cancelled", past))
        )
        answers: dict[str, Any] = {"scope": "s", "request_digest": "d", "status": 200, "content": b""}
        IdempotentAnswer.objects.create(**answers, key="old")
        IdempotentAnswer.objects.update(created_at=past)
        IdempotentAnswer.objects.create(**answers, key="new")
        imports: dict[str, Any] = {"user_key": "1", "model_label": "a.B", "file_name": "f", "content": b""}
        PendingImport.objects.create(**imports, delimiter=",")
        PendingImport.objects.update(created_at=past)
        PendingImport.objects.create(**imports, delimiter=",")

        assert done(ready.clean_up) == {"jobs": 2, "answers": 1, "imports": 1}
        assert sorted(Job.objects.filter(name="a").values_list("state", flat=True)) == ["dead", "done"]
        assert [each.key for each in IdempotentAnswer.objects.all()] == ["new"]
        assert PendingImport.objects.count() == 1
        assert done(ready.clean_up) == {"jobs": 0, "answers": 0, "imports": 0}


def logged(*days: float) -> None:
    now = timezone.now()
    ActivityLog.objects.bulk_create(ActivityLog(action=f"{age}") for age in days)
    for row in ActivityLog.objects.all():
        ActivityLog.objects.filter(pk=row.pk).update(created_at=now - dt.timedelta(days=float(row.action)))


class TestDeletingOldRows:
    @examples(max_examples=15, deadline=None)
    @given(
        ages=st.lists(
            st.floats(min_value=0, max_value=20).filter(lambda age: abs(age - 10) > 0.01), max_size=12
        ),
        chunk=st.integers(min_value=1, max_value=5),
    )
    def test_it_deletes_what_is_older_and_nothing_else(self, ages: list[float], chunk: int) -> None:
        ActivityLog.objects.all().delete()
        logged(*ages)
        result = done(ready.delete_old_rows, "flights.ActivityLog", "created_at", 10, chunk_rows=chunk)
        old = sum(age > 10 for age in ages)
        assert result == [old, old]
        left = sorted(float(row.action) for row in ActivityLog.objects.all())
        assert left == sorted(age for age in ages if age <= 10)

    def test_it_goes_on_where_it_was_stopped(self, monkeypatch: pytest.MonkeyPatch) -> None:
        logged(*range(11, 18))
        status = ready.delete_old_rows.enqueue("flights.ActivityLog", "created_at", 10, chunk_rows=2)
        plain = ready.bulk_delete
        chunks = []

        def delete(*args: Any, **kwargs: Any) -> Any:
            chunks.append(args)
            if len(chunks) == 3:
                raise KeyboardInterrupt
            return plain(*args, **kwargs)

        monkeypatch.setattr(ready, "bulk_delete", delete)
        with pytest.raises(KeyboardInterrupt):
            run_job(status.id)
        assert ActivityLog.objects.count() == 3, "four are gone for good"
        assert run_job(status.id) == "done"
        assert job_status(status.id).result == [7, 7]
        assert not ActivityLog.objects.exists()

    @pytest.mark.parametrize(
        ("model", "field", "days", "chunk", "problem"),
        [
            ("flights.Nothing", "created_at", 1, 1, "there is no model"),
            ("nonsense", "created_at", 1, 1, "there is no model"),
            ("flights.ActivityLog", "made_at", 1, 1, "has no field"),
            ("flights.ActivityLog", "action", 1, 1, "holds no dates"),
            ("flights.ActivityLog", "created_at", 0, 1, "must be above 0"),
            ("flights.ActivityLog", "created_at", -3, 1, "must be above 0"),
            ("flights.ActivityLog", "created_at", 1, 0, "must be above 0"),
        ],
    )
    def test_it_says_what_is_wrong(
        self, model: str, field: str, days: float, chunk: int, problem: str
    ) -> None:
        logged(400)
        with pytest.raises(JobArgumentError, match=problem):
            list(ready.delete_old_rows(model, field, days, chunk_rows=chunk))
        assert ActivityLog.objects.count() == 1


def test_a_key_is_free_again_once_the_job_is_done_where_it_is_not_to_be_reused() -> None:
    first = ready.clean_up.enqueue()
    assert ready.clean_up.enqueue().id == first.id
    run_job(first.id)
    assert ready.clean_up.enqueue().id != first.id
    assert not Effect.objects.exists()
