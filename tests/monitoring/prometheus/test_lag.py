from __future__ import annotations

import datetime as dt
import threading
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from perfkit.models import Job, JobState, PendingInvalidation
from perfkit.monitoring.prometheus import lag as module
from perfkit.monitoring.prometheus.families import Lag
from perfkit.monitoring.prometheus.lag import KEPT_SECONDS, LagReader, read_lag


def make_job(**fields: Any) -> Job:
    values = {
        "name": "j",
        "queue": "q",
        "arguments": [[], {}],
        "lease_seconds": 1,
        "enqueued_at": timezone.now(),
    }
    return Job.objects.create(**{**values, **fields})


@pytest.mark.django_db
class TestRead:
    def test_it_tells_what_waits(self) -> None:
        now = timezone.now()
        minute = dt.timedelta(minutes=1)
        make_job(state=JobState.DEAD, finished_at=now)
        make_job(state=JobState.DEAD, finished_at=now)
        make_job(due_at=now - minute)
        make_job(due_at=now + minute)
        make_job(state=JobState.DONE, finished_at=now)
        PendingInvalidation.objects.create(tags="[]", writer="w")
        PendingInvalidation.objects.create(tags="[]", writer="w")
        PendingInvalidation.objects.create(tags="[]", writer="w", holds_until=now + minute)
        PendingInvalidation.objects.order_by("pk").filter(
            pk=PendingInvalidation.objects.earliest("pk").pk
        ).update(created_at=now - 2 * minute)
        found = read_lag()
        assert found.dead_jobs == 2
        assert 60 <= (found.overdue_seconds or 0) < 110
        assert found.outbox_rows == {"default": 2}
        assert 120 <= found.outbox_seconds["default"] < 170

    def test_nothing_waits_at_first(self) -> None:
        assert read_lag() == Lag(0, 0.0, {"default": 0}, {"default": 0.0})

    def test_it_takes_few_statements_and_no_scan_of_all_jobs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "MOST_ROWS", 3)
        for _ in range(5):
            make_job(state=JobState.DEAD, finished_at=timezone.now())
            PendingInvalidation.objects.create(tags="[]", writer="w")
        with CaptureQueriesContext(connection) as queries:
            found = read_lag()
        assert len(queries) == 3
        assert found.dead_jobs == found.outbox_rows["default"] == 3

    def test_what_a_database_does_not_tell_is_left_out(self, caplog: pytest.LogCaptureFixture) -> None:
        def refuse(execute: Any, sql: str, *rest: Any) -> Any:
            if PendingInvalidation._meta.db_table in sql or Job._meta.db_table in sql:
                raise OperationalError("it is away")
            return execute(sql, *rest)

        with connection.execute_wrapper(refuse), caplog.at_level("INFO", "perfkit.monitoring"):
            assert read_lag() == Lag()
        assert "it is away" in caplog.text

    def test_databases_without_perfkits_tables_are_not_asked(self) -> None:
        with override_settings(DATABASE_ROUTERS=[Nowhere()]):
            assert read_lag().outbox_rows == {}


class Nowhere:
    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if app_label == "perfkit" else None


class Databases:
    """Answer when they are told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.answers = threading.Event()
        self.answers.set()

    def __call__(self) -> Lag:
        self.asked += 1
        self.answers.wait(60)
        return Lag(dead_jobs=self.asked)


class TestReader:
    def test_it_asks_once_in_a_while(self) -> None:
        now = [0.0]
        databases = Databases()
        reader = LagReader(read=databases, clock=lambda: now[0])
        assert [reader.lag().dead_jobs for _ in range(5)] == [1] * 5
        now[0] += KEPT_SECONDS - 1
        assert reader.lag().dead_jobs == 1
        now[0] += 2
        assert reader.lag().dead_jobs == 2

    def test_a_database_that_hangs_holds_nobody_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.05)
        now = [0.0]
        databases = Databases()
        reader = LagReader(read=databases, clock=lambda: now[0])
        assert reader.lag().dead_jobs == 1
        databases.answers.clear()
        for _ in range(4):
            now[0] += KEPT_SECONDS
            assert reader.lag() == Lag(), "what was known is no news"
        assert databases.asked == 2, "one is asked at a time"
        databases.answers.set()
        assert reader._thread is not None
        reader._thread.join(60)
        assert reader.lag().dead_jobs == 3, "it is asked anew"

    @pytest.mark.django_db(transaction=True)
    def test_it_leaves_no_connection(self) -> None:
        seen: list[Any] = []

        def read() -> Lag:
            seen.append(connection.connection is None)
            connection.ensure_connection()
            raw = connection.connection
            seen.append(raw)
            return read_lag()

        reader = LagReader(read=read)
        assert reader.lag().dead_jobs is not None or reader._thread is not None
        assert reader._thread is not None
        reader._thread.join(60)
        assert seen[0], "the thread has a connection of its own"
        if connection.vendor == "postgresql":
            assert seen[1].closed
