"""A worker keeps its connections from task to task, and no task finds one that is broken."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.tasks.connections import (
    IDLE_SECONDS,
    inherited,
    is_silent,
    leave_connections,
    leave_inherited_pools,
    look_at_connections,
)
from tests.tasks import connecting
from tests.tasks.workers import running_worker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres]


def terminate(pid: int, *, by: BaseDatabaseWrapper | None = None) -> None:
    with (by or connections["default"]).cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])
        assert cursor.fetchone() == (True,)


def ask(task: Any) -> int:
    return int(task.apply_async(queue="quick").get(timeout=60))


@pytest.mark.redis
class TestWorkers:
    @pytest.fixture
    def worker(self, tmp_path: Path) -> Callable[..., AbstractContextManager[Any]]:
        def worker(
            *arguments: str, keeps: bool = True, module: str = "project"
        ) -> AbstractContextManager[Any]:
            return running_worker(
                tmp_path / "worker.log",
                *("-Q", "quick", "-c", "1", f"--include={connecting.__name__}", *arguments),
                module=module,
                DJANGO_SETTINGS_MODULE="tests.tasks.connecting_settings",
                KEEPS="1" if keeps else "0",
            )

        return worker

    @pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
    def test_a_connection_is_kept_and_a_broken_one_made_anew(self, worker: Any, pool: str) -> None:
        with worker("--pool", pool):
            first = ask(connecting.session)
            assert ask(connecting.session) == first
            terminate(first)
            second = ask(connecting.session)
            assert second != first
            assert ask(connecting.session) == second

    def test_one_that_a_task_has_left_in_a_transaction_is_not(self, worker: Any) -> None:
        with worker():
            first = ask(connecting.spoil)
            assert ask(connecting.session) != first

    def test_celery_alone_keeps_a_broken_one(self, worker: Any) -> None:
        with worker(module="tests.tasks.reusing_worker"):
            first = ask(connecting.session)
            assert ask(connecting.session) == first
            terminate(first)
            for _ in range(3):
                with pytest.raises((OperationalError, InterfaceError)):
                    ask(connecting.session)

    def test_none_is_kept_where_django_keeps_none(self, worker: Any) -> None:
        with worker(keeps=False):
            assert ask(connecting.session) != ask(connecting.session)


class TestLooking:
    @pytest.fixture
    def own(self) -> BaseDatabaseWrapper:
        """The connection of the test itself, which does what others do meanwhile."""
        return connections["default"]

    @pytest.fixture
    def other(self, own: BaseDatabaseWrapper) -> Iterator[BaseDatabaseWrapper]:
        """A connection in the place of this thread's that is kept, without Django's checks."""
        made = own.copy()
        made.settings_dict |= {"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": False}
        made.settings_dict["OPTIONS"].pop("pool", None)
        connections["default"] = made
        yield made
        made.close()
        connections["default"] = own

    def pid(self, other: BaseDatabaseWrapper) -> int:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            return int(cursor.fetchone()[0])

    def test_one_that_the_server_has_closed_is_made_anew(
        self, own: BaseDatabaseWrapper, other: BaseDatabaseWrapper
    ) -> None:
        first = self.pid(other)
        leave_connections()
        assert is_silent(other)
        terminate(first, by=own)
        look_at_connections()
        assert self.pid(other) != first

    @pytest.mark.parametrize(("idle", "checks"), [(0.0, 0), (IDLE_SECONDS, 1)])
    def test_it_is_asked_where_it_was_idle(
        self, other: BaseDatabaseWrapper, monkeypatch: pytest.MonkeyPatch, idle: float, checks: int
    ) -> None:
        first = self.pid(other)
        leave_connections()
        asked: list[bool] = []
        is_usable = other.is_usable

        def counted() -> bool:
            asked.append(is_usable())
            return asked[-1]

        monkeypatch.setattr(other, "is_usable", counted)
        now = time.monotonic() + idle
        monkeypatch.setattr("perfkit.tasks.connections.time.monotonic", lambda: now)
        look_at_connections()
        assert self.pid(other) == first
        assert asked == [True] * checks

    def test_one_that_says_something_is_asked_and_kept(
        self, own: BaseDatabaseWrapper, other: BaseDatabaseWrapper
    ) -> None:
        first = self.pid(other)
        with other.cursor() as cursor:
            cursor.execute("LISTEN perfkit_test")
        leave_connections()
        with own.cursor() as cursor:
            cursor.execute("NOTIFY perfkit_test")
        deadline = time.monotonic() + 30
        while is_silent(other):
            assert time.monotonic() < deadline
        look_at_connections()
        assert not other.health_check_done
        assert self.pid(other) == first

    def test_one_in_a_transaction_is_left_alone(self, other: BaseDatabaseWrapper) -> None:
        with transaction.atomic():
            first = self.pid(other)
            other.close_at = 0
            look_at_connections()
            leave_connections()
            assert self.pid(other) == first

    def test_a_pool_of_the_parent_is_left_to_it(self, other: BaseDatabaseWrapper) -> None:
        pools: Any = other._connection_pools  # type: ignore[attr-defined]
        before = dict(pools)
        pools["inherited"] = pool = object()
        try:
            leave_inherited_pools()
            assert pools == {}
            assert pool in inherited
        finally:
            pools.update(before)
