"""A database that hangs, that is gone, and that comes back; a pool in use; migrations and notices that wait."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connection, connections
from django.db.migrations.recorder import MigrationRecorder
from django.test import AsyncClient, Client
from django.utils import timezone

from perfkit import migrations
from perfkit.models import PendingInvalidation
from perfkit.monitoring.health import Status, check_health
from perfkit.monitoring.health.probes import shared
from perfkit.monitoring.health.registry import calls_of
from tests.caching.conftest import wait_until
from tests.monitoring.health.asking import result, standing
from tests.plugins.postgres import DisposablePostgres, ServedClient

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls("tests.monitoring.health.site")]

SHORT = 1.0
MINUTE = 60.0


def test_one_that_answers_is_well() -> None:
    assert standing("database") == ("ok", "")


@contextmanager
def hanging(server: DisposablePostgres) -> Iterator[None]:
    server.pause()
    try:
        yield
    finally:
        server.resume()


@pytest.mark.postgres
class TestOutages:
    @pytest.fixture(autouse=True)
    def _only_databases(self, configure: Callable[..., None], own_postgres: DisposablePostgres) -> None:
        configure(HEALTH_READY=["database"])

    def is_well(self) -> bool:
        shared.forget()
        return check_health().status is Status.OK

    def test_a_server_that_hangs_hangs_no_probe(
        self, own_postgres: DisposablePostgres, configure: Callable[..., None]
    ) -> None:
        wait_until(self.is_well, seconds=MINUTE)
        configure(HEALTH_TIMEOUT=SHORT)
        with hanging(own_postgres):
            for _ in range(3):
                begun = time.monotonic()
                found = result("database")
                assert time.monotonic() - begun < 20
                assert found.status is Status.FAILED
                assert found.message.startswith("no answer for ")
                shared.forget()
                assert Client().get("/health/ready").status_code == 503
                assert async_to_sync(AsyncClient().get)("/ahealth/ready").status_code == 503
                assert Client().get("/health/live").status_code == 200
            asking = [t for t in threading.enumerate() if t.name == "perfkit-health-database.default"]
            assert len(asking) == 1
        wait_until(self.is_well, seconds=MINUTE)

    @pytest.mark.parametrize("end", ["kill", "stop"])
    def test_a_server_that_is_gone_is_a_503_until_it_is_back(
        self, own_postgres: DisposablePostgres, end: str
    ) -> None:
        client = ServedClient()
        wait_until(self.is_well, seconds=MINUTE)
        getattr(own_postgres, end)()
        shared.forget()
        answer = client.get("/health/ready")
        assert (answer.status_code, answer.json()) == (503, {"status": "failed"})
        assert client.get("/health/live").status_code == 200
        own_postgres.start()
        wait_until(self.is_well, seconds=MINUTE)

    def test_a_pool_in_use_is_told_from_a_dead_server_and_not_waited_for(self) -> None:
        connection.settings_dict["OPTIONS"]["pool"]["max_size"] = 1
        wait_until(self.is_well, seconds=MINUTE)
        pool: Any = connection.pool
        taken = pool.getconn(timeout=MINUTE)
        try:
            before = pool.get_stats().get("requests_queued", 0)
            assert standing("database") == (
                "degraded",
                "it answers, and all connections of this process's pool are in use",
            )
            assert pool.get_stats().get("requests_queued", 0) == before
            shared.forget()
            assert check_health().status is Status.DEGRADED
        finally:
            pool.putconn(taken)
        assert standing("database") == ("ok", "")

    def test_a_server_that_hangs_is_a_failure_though_the_pool_is_in_use(
        self, own_postgres: DisposablePostgres, configure: Callable[..., None]
    ) -> None:
        connection.settings_dict["OPTIONS"]["pool"]["max_size"] = 1
        wait_until(self.is_well, seconds=MINUTE)
        pool: Any = connection.pool
        taken = pool.getconn(timeout=MINUTE)
        configure(HEALTH_TIMEOUT=SHORT)
        with hanging(own_postgres):
            assert result("database").status is Status.FAILED
        pool.putconn(taken)

    def test_it_leaves_no_connection_taken(self) -> None:
        wait_until(self.is_well, seconds=MINUTE)
        for _ in range(5):
            assert standing("database") == ("ok", "")
        pool: Any = connection.pool
        wait_until(
            lambda: pool.get_stats()["pool_available"] == pool.get_stats()["pool_size"], seconds=MINUTE
        )


LAST = max(file.stem for file in Path(migrations.__file__).parent.glob("0*.py"))
"""Of perfkit's own migrations."""


class TestMigrations:
    @pytest.fixture
    def unapplied(self) -> Iterator[None]:
        recorder = MigrationRecorder(connection)
        recorder.record_unapplied("perfkit", LAST)
        yield
        recorder.record_applied("perfkit", LAST)

    def test_none_waits(self) -> None:
        assert standing("migrations") == ("ok", "")

    def test_one_that_waits_is_named(self, unapplied: None) -> None:
        assert standing("migrations") == ("failed", f"1 wait: perfkit.{LAST}")

    def test_it_is_asked_again_until_none_waits_and_then_never(self, unapplied: None) -> None:
        assert result("migrations").status is Status.FAILED
        MigrationRecorder(connection).record_applied("perfkit", LAST)
        assert result("migrations").status is Status.OK
        MigrationRecorder(connection).record_unapplied("perfkit", LAST)
        assert result("migrations").status is Status.OK

    def test_many_that_wait_are_counted(self) -> None:
        rows = MigrationRecorder.Migration.objects.filter(app="perfkit", name__gte="0005")
        kept = list(rows)
        rows.delete()
        try:
            status, message = standing("migrations")
        finally:
            MigrationRecorder.Migration.objects.bulk_create(kept)
        first = "perfkit.0005_idempotent_answer, perfkit.0006_job, perfkit.0007_job_permissions"
        assert (status, message) == ("failed", f"{len(kept)} wait: {first}, and {len(kept) - 3} more")

    def test_an_app_that_a_router_keeps_out_of_a_database_waits_for_nothing(
        self, unapplied: None, settings: Any
    ) -> None:
        settings.DATABASE_ROUTERS = ["tests.monitoring.health.routers.WithoutPerfkit"]
        assert standing("migrations") == ("ok", "")


class TestOutbox:
    def notice(self, *, age: float, holds: float | None = None) -> None:
        now = timezone.now()
        until = None if holds is None else now + dt.timedelta(seconds=holds)
        row = PendingInvalidation.objects.create(tags="[]", writer="somebody", holds_until=until)
        PendingInvalidation.objects.filter(pk=row.pk).update(created_at=now - dt.timedelta(seconds=age))

    def test_an_empty_one_is_well(self) -> None:
        assert standing("outbox") == ("ok", "")

    def test_notices_that_are_young_or_hold_are_well(self) -> None:
        self.notice(age=10)
        self.notice(age=4000, holds=30)
        self.notice(age=4000, holds=-10)
        assert standing("outbox") == ("ok", "")

    @pytest.mark.parametrize("holds", [None, -3600])
    def test_one_that_is_stuck_is_degraded_or_a_failure(
        self, holds: float | None, configure: Callable[..., None]
    ) -> None:
        self.notice(age=10)
        self.notice(age=3600, holds=holds)
        status, message = standing("outbox")
        assert status == "degraded"
        assert message.startswith("the oldest notice waits for 3,6")
        configure(HEALTH_TOLERATED=[])
        assert result("outbox").status is Status.FAILED
        configure(HEALTH_OVERDUE_AFTER=7200)
        assert standing("outbox") == ("ok", "")

    def test_it_is_well_again_once_it_is_drained(self) -> None:
        from perfkit.jobs.ready import drain_outbox

        self.notice(age=3600)
        assert result("outbox").status is Status.DEGRADED
        drain_outbox()
        assert standing("outbox") == ("ok", "")


def test_an_alias_that_there_is_not_is_a_failure(configure: Callable[..., None]) -> None:
    configure(HEALTH_DATABASES=["nowhere"])
    status, message = standing("database")
    assert status == "failed"
    assert "nowhere" in message


def test_each_database_is_a_check_of_its_own(configure: Callable[..., None]) -> None:
    connections.settings["other"] = connections.settings["default"]
    try:
        calls = calls_of(["database", "migrations.other"], option="HEALTH_READY")
        assert [call.name for call in calls] == ["database.default", "database.other", "migrations.other"]
        configure(HEALTH_DATABASES=["other"])
        assert [call.name for call in calls_of(["database"], option="")] == ["database.other"]
    finally:
        del connections.settings["other"]
