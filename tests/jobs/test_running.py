"""A job has one effect, whoever runs it, however often, and whatever happens meanwhile."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import OperationalError, connection, transaction
from django.db.models.signals import post_save
from django.utils import timezone

from perfkit.errors import JobFencedError, JobResultError
from perfkit.jobs import JobStatus, cancel_job, current_run, job_status, replay_job, run_job, send_due
from perfkit.jobs.backends import JobBackend
from perfkit.jobs.rows import JobRows, Mark
from perfkit.models import Job, JobState
from perfkit.signals import job_ended
from tests.caching.conftest import wait_until
from tests.jobs.conftest import use
from tests.testapp import jobs
from tests.testapp.effects import Effect

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sent")]

Sent = list[tuple[uuid.UUID, str, str | None]]


def numbers() -> list[int]:
    return sorted(Effect.objects.values_list("number", flat=True))


def lose_worker(status: JobStatus) -> None:
    """Take a job and do nothing with it, until its lease is over."""
    assert JobRows().take(status.id, worker="dead") is not None
    end_lease(status)


def end_lease(status: JobStatus) -> None:
    """As if the time of the lease had gone by."""
    Job.objects.filter(pk=status.id).update(due_at="2000-01-01T00:00:00Z")


def lose_again(status: JobStatus) -> None:
    end_lease(status)
    assert JobRows().take(status.id, worker="other") is not None


def elsewhere(act: Callable[[], Any]) -> None:
    """Do something as another process would; SQLite has one writer, so there it is done in this transaction."""
    if connection.vendor == "sqlite":
        act()
        return

    def act_and_leave() -> None:
        act()
        connection.close()

    thread = threading.Thread(target=act_and_leave)
    thread.start()
    thread.join()


@pytest.fixture
def outcomes() -> Any:
    told: list[dict[str, Any]] = []

    def receive(sender: Any, **values: Any) -> None:
        told.append({"name": sender.name, **values})

    job_ended.connect(receive)
    yield told
    job_ended.disconnect(receive)


def test_it_is_sent_to_its_queue_and_has_its_effect_once(sent: Sent) -> None:
    status = jobs.leave_effect_slowly.enqueue(7, 0)
    assert sent == [(status.id, "tests.testapp.jobs.leave_effect_slowly", "quick")]
    assert (status.state, status.is_ended, status.runs) == (JobState.QUEUED, False, 0)
    assert run_job(status.id) == "done"
    assert run_job(status.id) is None
    assert numbers() == [7]
    assert (job_status(status.id).state, job_status(status.id).runs) == (JobState.DONE, 1)


def test_its_result_is_kept() -> None:
    status = jobs.leave_effect.enqueue(7, note="a")
    run_job(status.id)
    assert (job_status(status.id).result, job_status(str(status.id)).error) == (14, "")
    assert jobs.leave_effect(3) == 6


def test_a_coroutine_is_a_job_as_well() -> None:
    status = async_to_sync(jobs.leave_effect_async.aenqueue)(7)
    assert run_job(status.id) == "done"
    assert (numbers(), job_status(status.id).result) == ([7], 7)


def test_there_is_none_where_the_transaction_rolls_back(sent: Sent) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        jobs.leave_effect.enqueue(7)
        assert sent == []
        raise ZeroDivisionError
    assert sent == []
    assert not Job.objects.exists()


def test_it_is_sent_after_the_commit(sent: Sent) -> None:
    with transaction.atomic():
        status = jobs.leave_effect.enqueue(7)
        assert sent == []
    assert [job_id for job_id, *_ in sent] == [status.id]


def test_a_queue_that_cannot_be_reached_is_no_error(
    settings: Any, sent: Sent, caplog: pytest.LogCaptureFixture
) -> None:
    use(settings, "NoQueue")
    status = jobs.leave_effect.enqueue(7)
    assert "and will be later: ConnectionError" in caplog.text
    end_lease(status)
    assert send_due() == 0
    use(settings, "NoJobs")
    assert (send_due(), sent) == (0, [])
    end_lease(status)
    assert send_due() == 1
    assert [job_id for job_id, *_ in sent] == [status.id]
    assert run_job(status.id) == "done"
    assert send_due() == 0


def test_whoever_holds_it_keeps_others_out() -> None:
    status = jobs.leave_effect.enqueue(7)
    taken = JobRows().take(status.id, worker="alive")
    assert taken is not None
    assert run_job(status.id) is None
    assert send_due() == 0
    assert numbers() == []


def test_one_whose_worker_was_lost_is_run_by_another() -> None:
    status = jobs.leave_effect.enqueue(7)
    lose_worker(status)
    assert send_due() == 1
    assert run_job(status.id) == "done"
    assert (numbers(), job_status(status.id).runs) == ([7], 2)


def test_one_whose_worker_was_lost_need_not_wait_to_be_sent() -> None:
    status = jobs.leave_effect.enqueue(7)
    lose_worker(status)
    assert run_job(status.id) == "done"


@pytest.mark.parametrize("is_taken", [True, False])
def test_who_has_lost_it_leaves_no_effect(is_taken: bool, outcomes: list[dict[str, Any]]) -> None:
    """The first run is slow; meanwhile its lease ends, and another worker takes it, or it waits for one."""

    def lose() -> None:
        end_lease(status)
        if is_taken:
            assert JobRows().take(status.id, worker="other") is not None
        else:
            assert send_due() == 1

    status = jobs.leave_effect.enqueue(7)
    with calling(lambda **_: elsewhere(lose)):
        assert run_job(status.id) == "fenced"
    assert numbers() == []
    assert [told["outcome"] for told in outcomes] == ["fenced"]


class calling:  # noqa: N801  # a context manager
    """Call a function when an effect was saved."""

    def __init__(self, function: Callable[..., None]) -> None:
        self._function = function

    def __enter__(self) -> None:
        post_save.connect(self._function, sender=Effect, weak=False)

    def __exit__(self, *_: object) -> None:
        post_save.disconnect(self._function, sender=Effect)


def test_a_receiver_that_fails_changes_nothing() -> None:
    def receive(**_: Any) -> None:
        raise ZeroDivisionError

    status = jobs.leave_effect.enqueue(7)
    job_ended.connect(receive)
    try:
        assert run_job(status.id) == "done"
    finally:
        job_ended.disconnect(receive)
    assert (job_status(status.id).state, numbers()) == (JobState.DONE, [7])


def test_it_fails_for_good_with_an_error_that_is_not_declared(caplog: pytest.LogCaptureFixture) -> None:
    status = jobs.fail.enqueue(1, "sesame", kind="no")
    with pytest.raises(ValueError, match="no way"):
        run_job(status.id)
    found = job_status(status.id)
    assert (found.state, found.is_ended, numbers()) == (JobState.DEAD, True, [])
    assert "ValueError: no way with …" in found.error
    assert "sesame" not in found.error
    assert "sesame" not in caplog.text


def test_it_is_tried_again_after_a_declared_error(outcomes: list[dict[str, Any]], sent: Sent) -> None:
    status = jobs.fail.enqueue(1, "sesame")
    sent.clear()
    for number in range(2):
        assert run_job(status.id) == "retried"
        assert job_status(status.id).state == JobState.QUEUED
        assert "ComesBackError: no luck with …" in job_status(status.id).error
        wait_and_send()
        assert len(sent) == number + 1
    with pytest.raises(jobs.ComesBackError):
        run_job(status.id)
    assert (job_status(status.id).state, numbers()) == (JobState.DEAD, [])
    assert [(told["outcome"], told["failures"]) for told in outcomes] == [
        ("retried", 0),
        ("retried", 1),
        ("failed", 2),
    ]


def wait_and_send() -> None:
    time.sleep(0.02)
    assert send_due() == 1


def test_it_waits_before_it_is_tried_again() -> None:
    status = jobs.fail.enqueue(1, "sesame")
    run_job(status.id)
    Job.objects.filter(pk=status.id).update(not_before="2100-01-01T00:00:00Z")
    assert run_job(status.id) is None


def test_a_lost_connection_is_never_for_good() -> None:
    def lose(**_: Any) -> None:
        raise OperationalError("the connection is closed")

    status = jobs.leave_effect.enqueue(7)
    with calling(lose):
        assert run_job(status.id) == "retried"
    assert (job_status(status.id).state, numbers()) == (JobState.QUEUED, [])


@pytest.mark.postgres
def test_a_connection_that_broke_between_two_jobs_is_made_anew() -> None:
    status = jobs.leave_effect.enqueue(7)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()

    def terminate() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])
            assert cursor.fetchone() == (True,)

    elsewhere(terminate)
    assert run_job(status.id) == "done"
    assert (numbers(), job_status(status.id).runs) == ([7], 1)


def test_what_kills_its_workers_ends() -> None:
    status = jobs.leave_effect.enqueue(7)
    for _ in range(10):
        lose_worker(status)
        send_due()
    lose_worker(status)
    assert run_job(status.id) == "failed"
    assert (job_status(status.id).state, numbers()) == (JobState.DEAD, [])
    assert "lost 11 workers" in job_status(status.id).error


def test_a_result_that_json_cannot_hold_leaves_no_effect() -> None:
    status = jobs.return_what_json_cannot_hold.enqueue()
    with pytest.raises(JobResultError, match=r"return_what_json_cannot_hold .* not JSON serializable"):
        run_job(status.id)
    assert (job_status(status.id).state, numbers()) == (JobState.DEAD, [])


def test_a_worker_with_older_code_leaves_it_to_others(caplog: pytest.LogCaptureFixture) -> None:
    status = jobs.leave_effect.enqueue(7)
    Job.objects.filter(pk=status.id).update(name="tests.testapp.jobs.leave_efect")
    assert run_job(status.id) == "retried"
    assert (
        "no job 'tests.testapp.jobs.leave_efect'. Did you mean 'tests.testapp.jobs.leave_effect'?"
        in caplog.text
    )
    assert job_status(status.id).state == JobState.QUEUED


def test_a_process_that_is_told_to_end_gives_it_back() -> None:
    def end(**_: Any) -> None:
        raise SystemExit

    status = jobs.leave_effect.enqueue(7)
    with calling(end), pytest.raises(SystemExit):
        run_job(status.id)
    assert (job_status(status.id).state, numbers()) == (JobState.QUEUED, [])
    wait_and_send()
    assert run_job(status.id) == "done"


class TestSteps:
    def test_it_goes_on_from_the_last_one(self) -> None:
        status = jobs.leave_effects_in_steps.enqueue(6, stop_at=3)
        with pytest.raises(ValueError, match="stopped here"):
            run_job(status.id)
        assert numbers() == [0, 1, 2]
        replay_job(status.id)
        assert run_job(status.id) == "done"
        assert numbers() == [0, 1, 2, 3, 4, 5]
        progress = job_status(status.id).progress
        assert progress is not None
        assert (progress.current, progress.total, progress.percent, progress.message) == (
            6,
            6,
            100.0,
            "number 5",
        )

    def test_who_has_lost_it_leaves_the_steps_before(self) -> None:
        def meanwhile(instance: Effect, **_: Any) -> None:
            if instance.number == 2:
                elsewhere(lambda: lose_again(status))

        status = jobs.leave_effects_in_steps.enqueue(5)
        with calling(meanwhile):
            assert run_job(status.id) == "fenced"
        assert numbers() == [0, 1]
        end_lease(status)
        assert run_job(status.id) == "done"
        assert numbers() == [0, 1, 2, 3, 4]


class TestCancelling:
    def test_one_that_waits_is_cancelled_at_once(self) -> None:
        status = jobs.leave_effect.enqueue(7)
        assert cancel_job(status.id).state == JobState.CANCELLED
        assert run_job(status.id) is None
        assert numbers() == []

    def test_one_that_runs_stops_where_it_looks(self, outcomes: list[dict[str, Any]]) -> None:
        def meanwhile(instance: Effect, **_: Any) -> None:
            if instance.number == 2:
                elsewhere(lambda: cancel_job(status.id))

        status = jobs.leave_effects_in_steps.enqueue(5)
        with calling(meanwhile):
            assert run_job(status.id) == "cancelled"
        assert numbers() == [0, 1, 2]
        assert job_status(status.id).state == JobState.CANCELLED
        assert [told["outcome"] for told in outcomes] == ["cancelled"]


@pytest.mark.postgres
class TestBeats:
    def test_progress_is_seen_while_it_runs_and_the_lease_is_renewed(self) -> None:
        status = jobs.tell.enqueue(8, 0.4)
        thread = running(status)
        wait_until(lambda: (progress := job_status(status.id).progress) is not None and progress.current >= 3)
        row = Job.objects.get(pk=status.id)
        assert (row.state, row.total, row.message.startswith("step ")) == (JobState.RUNNING, 8, True)
        assert numbers() == [], "its own transaction is still open"
        thread.join()
        assert numbers() == list(range(1, 9))

    def test_it_outlives_its_lease_and_is_cancelled_within_seconds(self) -> None:
        status = jobs.leave_effect_slowly.enqueue(7, 4.0)
        thread = running(status)
        wait_until(lambda: job_status(status.id).state == JobState.RUNNING)
        for _ in range(6):
            time.sleep(0.5)
            assert send_due() == 0, "nobody else is to have it"
        thread.join()
        assert (numbers(), job_status(status.id).runs) == ([7], 1)

    def test_who_tells_progress_hears_that_it_is_cancelled(self) -> None:
        status = jobs.tell.enqueue(60, 0.2)
        thread = running(status)
        wait_until(lambda: job_status(status.id).state == JobState.RUNNING)
        cancel_job(status.id)
        wait_until(lambda: job_status(status.id).state == JobState.CANCELLED)
        thread.join()
        assert numbers() == []

    def test_a_job_goes_on_where_its_progress_cannot_be_written(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Somebody kills the session that writes it."""
        status = jobs.tell.enqueue(8, 0.3)
        thread = running(status)
        wait_until(lambda: job_status(status.id).progress is not None)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid() "
                "AND query LIKE '%%UPDATE perfkit_job%%' AND state = 'idle'"
            )
            assert cursor.fetchone() == (1,)
        thread.join()
        assert numbers() == list(range(1, 9))
        assert job_status(status.id).state == JobState.DONE


class Particular(JobBackend):
    """Cannot send to one queue, or to none."""

    broken: set[str | None] = set()
    tries: list[str | None] = []
    sent: list[uuid.UUID] = []

    def send(self, job_id: uuid.UUID, *, name: str, queue: str | None) -> None:
        self.tries.append(queue)
        if queue in self.broken:
            raise ConnectionError(f"no queue {queue}")
        self.sent.append(job_id)


@pytest.fixture
def particular(settings: Any) -> type[Particular]:
    settings.PERFKIT = {**settings.PERFKIT, "JOB_BACKEND": f"{__name__}.Particular"}
    Particular.broken, Particular.tries, Particular.sent = set(), [], []
    return Particular


def due_in(status: JobStatus) -> float:
    row = Job.objects.get(pk=status.id)
    assert row.due_at is not None
    return (row.due_at - timezone.now()).total_seconds()


class TestSending:
    def test_one_that_cannot_be_sent_keeps_no_others_back(self, particular: type[Particular]) -> None:
        particular.broken = {"quick"}
        stuck = [jobs.leave_effect_slowly.enqueue(number, 0) for number in range(3)]
        good = [jobs.leave_effect.enqueue(number) for number in range(3)]
        particular.tries.clear()
        particular.sent.clear()
        Job.objects.update(due_at="2000-01-01T00:00:00Z")
        assert send_due() == 3
        assert sorted(particular.sent) == sorted(status.id for status in good)
        assert particular.tries.count("quick") == 1
        assert all(0 < due_in(status) < 6 for status in stuck)
        assert all(due_in(status) > 20 for status in good)

    def test_an_outage_however_long_is_over_when_it_is_over(self, particular: type[Particular]) -> None:
        particular.broken = {None}
        status = jobs.leave_effect.enqueue(1)
        for _ in range(12):
            Job.objects.update(due_at="2000-01-01T00:00:00Z")
            assert send_due() == 0
            assert due_in(status) < 6
        particular.broken = set()
        Job.objects.update(due_at="2000-01-01T00:00:00Z")
        assert send_due() == 1

    def test_where_the_broker_is_away_not_each_job_is_tried(self, particular: type[Particular]) -> None:
        particular.broken = {f"q{number}" for number in range(20)}
        for number in range(20):
            jobs.leave_effect.using(queue=f"q{number}").enqueue(number)
        particular.tries.clear()
        Job.objects.update(due_at="2000-01-01T00:00:00Z")
        assert send_due() == 0
        assert len(particular.tries) == 3


class TestEndings:
    def test_what_follows_its_commit_may_fail_and_it_is_done(self, outcomes: Any, caplog: Any) -> None:
        def hook() -> None:
            raise ZeroDivisionError

        status = jobs.leave_effect.enqueue(7)
        with calling(lambda instance, **_: transaction.on_commit(hook)):
            assert run_job(status.id) == "done"
        assert (numbers(), job_status(status.id).state) == ([7], JobState.DONE)
        assert [told["outcome"] for told in outcomes] == ["done"]
        assert "what was to follow its COMMIT has failed" in caplog.text

    def test_one_that_ends_its_process_is_given_up_in_the_end(self, outcomes: Any) -> None:
        def leave(instance: Effect, **_: Any) -> None:
            raise SystemExit(3)

        status = jobs.leave_effect.enqueue(7)
        with calling(leave):
            for _ in range(10):
                with pytest.raises(SystemExit):
                    run_job(status.id)
                Job.objects.update(not_before=None)
            assert run_job(status.id) == "failed"
        assert (numbers(), job_status(status.id).state) == ([], JobState.DEAD)
        assert outcomes[-1]["outcome"] == "failed"

    def test_in_steps_it_goes_on_where_its_time_is_over(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class TimeIsOverError(Exception):
            pass

        monkeypatch.setattr(JobBackend, "limit_errors", (TimeIsOverError,))
        ends = [2, 4]

        def stop(instance: Effect, **_: Any) -> None:
            if ends and instance.number == ends[0]:
                ends.pop(0)
                raise TimeIsOverError

        status = jobs.leave_effects_in_steps.enqueue(6)
        with calling(stop):
            assert [run_job(status.id) for _ in range(3)] == ["retried", "retried", "done"]
        assert numbers() == list(range(6))

    def test_in_one_step_it_is_over_with_its_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(JobBackend, "limit_errors", (ZeroDivisionError,))

        def stop(instance: Effect, **_: Any) -> None:
            raise ZeroDivisionError

        status = jobs.leave_effects_in_steps.enqueue(6)
        with calling(stop), pytest.raises(ZeroDivisionError):
            run_job(status.id)
        assert job_status(status.id).state == JobState.DEAD

    def test_no_part_of_an_argument_is_in_the_error_however_long_or_odd(self) -> None:
        secret = "".join(f"{number:04}" for number in range(3000)) + "'\n\u00e9"
        for kind in ("never", "repr"):
            status = jobs.fail.enqueue(7, secret, kind)
            with pytest.raises(Exception):  # noqa: B017, PT011  # of either kind
                run_job(status.id)
            error = job_status(status.id).error
            assert "1234" not in error
            assert "2998" not in error
            assert "…" in error

    def test_a_checkpoint_is_what_was_kept_and_not_what_became_of_it(self) -> None:
        status = jobs.count_in_one_list.enqueue(3)
        assert run_job(status.id) == "done"
        assert job_status(status.id).result == [[0], [0, 1]]


@pytest.mark.parametrize("message", ["a\udcff.csv", "a\0b", "x" * 1000, 7, None])
def test_any_progress_can_be_told(message: Any) -> None:
    def tell(instance: Effect, **_: Any) -> None:
        run = current_run()
        assert run is not None
        run.progress(10**30, 10**31, message)

    status = jobs.leave_effect.enqueue(7)
    with calling(tell):
        assert run_job(status.id) == "done"
    assert job_status(status.id).state == JobState.DONE
    assert len(Job.objects.get(pk=status.id).message) <= 255


def running(status: JobStatus) -> threading.Thread:
    def run() -> None:
        run_job(status.id)
        connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_there_is_no_run_outside_of_jobs() -> None:
    assert current_run() is None
    with pytest.raises(JobFencedError):
        JobRows().step(uuid.uuid4(), 1, "null", mark=Mark())
