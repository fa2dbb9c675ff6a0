"""Jobs that are ready to use: what each does, and that it may be run again or end anywhere."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection, transaction
from django.db.models.signals import post_delete
from django.utils import timezone
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from perfkit.caching import cached
from perfkit.caching.warming import runs as runs_of_warmers
from perfkit.caching.warming import warmers
from perfkit.caching.warming.warmers import registered
from perfkit.errors import (
    CacheUnreachableError,
    JobActionError,
    JobArgumentError,
    JobFencedError,
    UnknownJobError,
    UnknownTagError,
    UnknownWarmerError,
)
from perfkit.jobs import (
    JobFunction,
    JobStatus,
    cancel_job,
    current_run,
    job_status,
    purge_jobs,
    ready,
    replay_job,
    run_job,
)
from perfkit.jobs.control import PURGED_AT_ONCE, purgeable
from perfkit.models import IdempotentAnswer, Job, JobState, PendingImport, PendingInvalidation
from project.flights.models import ActivityDay, ActivityLog, Airport, StatusReport
from tests.caching.conftest import wait_until
from tests.flights.factories import make_flights, make_reference_rows
from tests.plugins.valkey import DisposableValkey
from tests.testapp import jobs
from tests.testapp.effects import Effect
from tests.testapp.hydration import EveryKindInParts

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sent")]

calls: list[int] = []


@cached(ttl=600)
def square(number: int) -> int:
    """What `refresh_entry` finds by its name."""
    calls.append(number)
    return number * number


@cached(ttl=600)
def cube(number: int) -> int:
    """What is warmed."""
    return number**3


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


def returned(steps: Generator[Any, None, Any], *, most: int = 50) -> Any:
    """Take steps to their end, and return what they do."""
    for _ in range(most):
        try:
            next(steps)
        except StopIteration as end:
            return end.value
    pytest.fail("it does not end")


@pytest.fixture
def keep() -> Iterator[Callable[[str, str], None]]:
    """Have the database keep rows whatever is deleted: those of a table for which SQL about `OLD` is true."""
    tables: list[str] = []

    def keep(table: str, condition: str) -> None:
        tables.append(table)
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute(
                    "CREATE FUNCTION kept() RETURNS trigger LANGUAGE plpgsql AS "
                    f"$$ BEGIN IF {condition} THEN RETURN NULL; END IF; RETURN OLD; END $$"
                )
                cursor.execute(
                    f"CREATE TRIGGER kept BEFORE DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION kept()"
                )
            else:
                cursor.execute(
                    f"CREATE TRIGGER kept BEFORE DELETE ON {table} WHEN {condition} "
                    "BEGIN SELECT RAISE(IGNORE); END"
                )

    yield keep
    with connection.cursor() as cursor:
        for table in tables:
            if connection.vendor == "postgresql":
                cursor.execute(f"DROP TRIGGER kept ON {table}")
                cursor.execute("DROP FUNCTION kept")
            else:
                cursor.execute("DROP TRIGGER kept")


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

    def test_one_that_makes_all_anew_is_another_one(self) -> None:
        plain, forced = (
            ready.warm_cache.enqueue(["airlines"]),
            ready.warm_cache.enqueue(["airlines"], force=True),
        )
        assert plain.id != forced.id
        assert ready.warm_cache.enqueue(["airlines"], force=True, threads=2).id == forced.id

    @pytest.mark.postgres
    @pytest.mark.parametrize("threads", [1, 2])
    @pytest.mark.parametrize("outcome", ["cancelled", "fenced"])
    def test_it_stops_at_once_where_it_is_not_wanted_any_more(
        self, monkeypatch: pytest.MonkeyPatch, threads: int, outcome: str
    ) -> None:
        cache.clear()
        begun: list[str] = []

        def end(run: Any) -> None:
            if outcome == "cancelled":
                cancel_job(run.id)
                wait_until(lambda: run.is_cancel_wanted, seconds=30)
            else:
                Job.objects.filter(pk=run.id).update(fence=run.fence + 1)
                wait_until(lambda: is_lost(run), seconds=30)

        def is_lost(run: Any) -> bool:
            try:
                run.check()
            except JobFencedError:
                return True
            return False

        def calls_of(name: str) -> Any:
            begun.append(name)
            run = current_run()
            for number in range(100):
                if number == 50:
                    end(run)
                yield partial(cube, number)

        registered()
        monkeypatch.setattr(
            warmers, "_warmers", {name: partial(calls_of, name) for name in ("first", "second", "third")}
        )
        monkeypatch.setattr(runs_of_warmers, "count", lambda _: 100)
        status = ready.warm_cache.enqueue(threads=threads)
        assert run_job(status.id) == outcome
        assert set(begun) == {"first"}

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

    def test_it_ends_where_the_database_keeps_some(
        self, monkeypatch: pytest.MonkeyPatch, keep: Callable[[str, str], None]
    ) -> None:
        monkeypatch.setattr("perfkit.jobs.control.PURGED_AT_ONCE", 2)
        ended_jobs("kept", "gone", "kept", "kept", "gone", "gone")
        keep("perfkit_job", "OLD.name = 'kept'")
        assert returned(ready.clean_up())["jobs"] == 3
        assert purge_jobs() == 0
        assert [row.name for row in Job.objects.all()] == ["kept"] * 3


def ended_jobs(*names: str, state: str = JobState.DONE) -> list[Job]:
    past = timezone.now() - dt.timedelta(days=9)
    return Job.objects.bulk_create(
        Job(
            name=name,
            queue="",
            arguments=[[], {}],
            lease_seconds=1,
            state=state,
            enqueued_at=past,
            finished_at=past,
            expires_at=past,
        )
        for name in names
    )


class TestPurging:
    @pytest.mark.parametrize("is_by_hand", [True, False])
    @pytest.mark.parametrize("is_heard", [True, False], ids=["a receiver", "no receiver"])
    def test_one_that_is_replayed_meanwhile_stays(self, is_by_hand: bool, is_heard: bool) -> None:
        """Also where somebody listens to each deletion, for then Django would read the rows before."""
        replayed, gone = ended_jobs("a", "b", state=JobState.CANCELLED)
        seen: list[str] = []

        def replay(execute: Any, sql: str, *rest: Any) -> Any:
            if sql.startswith("DELETE") and not seen:
                seen.append(sql)
                assert replay_job(replayed.pk).state == JobState.QUEUED
            return execute(sql, *rest)

        def hear(**_: Any) -> None:
            pass

        if is_heard:
            post_delete.connect(hear)
        try:
            with connection.execute_wrapper(replay):
                assert (purge_jobs() if is_by_hand else returned(ready.clean_up())["jobs"]) == 1
        finally:
            post_delete.disconnect(hear)
        assert len(seen) == 1
        assert [(row.pk, row.state) for row in Job.objects.all()] == [(replayed.pk, JobState.QUEUED)]
        assert gone.pk != replayed.pk

    def test_it_removes_more_than_a_chunk_and_what_never_ran(self) -> None:
        ended_jobs(*["a"] * (PURGED_AT_ONCE + 3))
        waits = jobs.leave_effect.enqueue(1)
        cancel_job(jobs.leave_effect.enqueue(2).id)
        assert purge_jobs() == PURGED_AT_ONCE + 4
        assert [row.pk for row in Job.objects.all()] == [waits.id]

    @pytest.mark.postgres
    @pytest.mark.parametrize("states", [("done",), ("cancelled",), ("done", "cancelled")])
    def test_it_finds_them_by_an_index(self, states: tuple[str, ...]) -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
            plan = purgeable(states=states)[:PURGED_AT_ONCE].explain()
        assert "Index Scan using perfkit_job_over" in plan
        assert "Index Cond" in plan


class TestReplaying:
    def test_a_key_whose_result_need_not_be_kept_any_more_is_free(self) -> None:
        first = jobs.leave_effect_keyed.enqueue(1)
        cancel_job(first.id)
        holder = jobs.leave_effect_keyed.enqueue(1)
        run_job(holder.id)
        with pytest.raises(JobActionError, match="another one has its key"):
            replay_job(first.id)
        Job.objects.filter(pk=holder.id).update(expires_at=timezone.now() - dt.timedelta(days=1))
        assert replay_job(first.id).state == JobState.QUEUED
        assert (run_job(first.id), job_status(holder.id).state) == ("done", JobState.DONE)


@pytest.mark.parametrize("ask", [job_status, cancel_job, replay_job])
@pytest.mark.parametrize("job_id", ["nonsense", "", "7", "2836f9cc-7562-4f77-8910-20ded5609047"])
def test_what_is_no_id_is_the_id_of_no_job(ask: Callable[[str], JobStatus], job_id: str) -> None:
    with pytest.raises(UnknownJobError, match=f"There is no job '{job_id}'"):
        ask(job_id)


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
        assert result == {"deleted": old, "kept": 0, "total": old}
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
        assert job_status(status.id).result == {"deleted": 7, "kept": 0, "total": 7}
        assert not ActivityLog.objects.exists()

    @pytest.mark.parametrize("chunk", [1, 2, 3, 7, 100])
    def test_it_steps_over_what_others_protect(self, chunk: int) -> None:
        """Users whose reports stay; of two that came at the same moment the key tells which is next."""
        now, [flight] = timezone.now(), make_flights(1)
        users = [User.objects.create_user(f"{number}") for number in range(7)]
        for age, user in zip((19, 18, 17, 17, 15, 14, 3), users, strict=True):
            User.objects.filter(pk=user.pk).update(date_joined=now - dt.timedelta(days=age))
        for protected in (users[0], users[2], users[5]):
            StatusReport.objects.create(flight=flight, author=protected, kind=StatusReport.Kind.DELAY)
        result = done(ready.delete_old_rows, "auth.User", "date_joined", 10, chunk_rows=chunk)
        assert result == {"deleted": 3, "kept": 3, "total": 6}
        assert [user.username for user in User.objects.order_by("pk")] == ["0", "2", "5", "6"]

    @pytest.mark.parametrize("chunk", [1, 2, 100])
    def test_keys_may_have_parts(self, chunk: int) -> None:
        """Of one moment are rows that only the second part tells apart."""
        past = timezone.now() - dt.timedelta(days=11)
        EveryKindInParts.objects.bulk_create(
            EveryKindInParts(column=number % 2, row=f"{number}", moment=past) for number in range(7)
        )
        result = done(ready.delete_old_rows, "testapp.EveryKindInParts", "moment", 10, chunk_rows=chunk)
        assert result == {"deleted": 7, "kept": 0, "total": 7}

    @pytest.mark.parametrize("chunk", [1, 2, 100])
    def test_it_ends_where_the_database_keeps_rows(
        self, chunk: int, keep: Callable[[str, str], None]
    ) -> None:
        logged(11, 12, 13, 14, 15)
        keep("flights_activitylog", "OLD.action IN ('12', '15')")
        steps = ready.delete_old_rows("flights.ActivityLog", "created_at", 10, chunk_rows=chunk)
        assert returned(steps) == {"deleted": 3, "kept": 2, "total": 5}
        assert {row.action for row in ActivityLog.objects.all()} == {"12", "15"}

    def test_it_goes_on_behind_what_it_kept(
        self, monkeypatch: pytest.MonkeyPatch, keep: Callable[[str, str], None]
    ) -> None:
        logged(*range(11, 18))
        keep("flights_activitylog", "OLD.action IN ('17', '11')")
        status = ready.delete_old_rows.enqueue("flights.ActivityLog", "created_at", 10, chunk_rows=2)
        plain = ready.bulk_delete
        chunks: list[list[int]] = []

        def delete(model: Any, pks: list[int], **kwargs: Any) -> Any:
            chunks.append(pks)
            if len(chunks) == 2:
                raise KeyboardInterrupt
            return plain(model, pks, **kwargs)

        monkeypatch.setattr(ready, "bulk_delete", delete)
        with pytest.raises(KeyboardInterrupt):
            run_job(status.id)
        assert run_job(status.id) == "done"
        assert job_status(status.id).result == {"deleted": 5, "kept": 2, "total": 7}
        assert chunks[1] == chunks[2], "not once more what was kept"

    def test_other_days_are_another_job_and_other_chunks_are_not(self) -> None:
        log = ("flights.ActivityLog", "created_at")
        first = ready.delete_old_rows.enqueue(*log, 90)
        assert ready.delete_old_rows.enqueue(*log, 30).id != first.id
        assert ready.delete_old_rows.enqueue(*log, 90, chunk_rows=7).id == first.id

    @pytest.mark.parametrize("has_zones", [True, False])
    def test_it_knows_dates_with_and_without_time_zones(self, settings: Any, has_zones: bool) -> None:
        settings.USE_TZ = has_zones
        today = timezone.now().date()
        ActivityDay.objects.bulk_create(
            ActivityDay(day=today - dt.timedelta(days=age), action="a", count=1) for age in (0, 5, 15, 16)
        )
        logged(1, 5, 15, 16)
        for model, field in (("flights.ActivityDay", "day"), ("flights.ActivityLog", "created_at")):
            result = done(ready.delete_old_rows, model, field, 10, chunk_rows=1)
            assert result == {"deleted": 2, "kept": 0, "total": 2}

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
            ("flights.ActivityLog", "created_at", float("nan"), 1, "must be above 0"),
            ("flights.ActivityLog", "created_at", 1e10, 1, "no calendar goes back"),
            ("flights.ActivityLog", "created_at", 1e6, 1, "no calendar goes back"),
            ("flights.ActivityDay", "day", 1e6, 1, "no calendar goes back"),
            ("flights.ActivityLog", "created_at", float("inf"), 1, "no calendar goes back"),
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
