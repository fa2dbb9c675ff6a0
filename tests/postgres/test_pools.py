from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.postgres import PoolFigures, database_settings, may_prepare, pool_figures
from perfkit.postgres.pools import goes_through_pooler
from project import services
from project.services.state import LOOPBACK
from tests.testapp.bulk import Country

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres]

NAME = "pool-tests"
ENDED = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
     WHERE application_name = %s AND datname = current_database()
"""


@pytest.fixture
def pooled() -> Iterator[Callable[..., BaseDatabaseWrapper]]:
    """A function that gives the connections of this test, in all its threads, a pool with such settings."""
    before = dict(connection.settings_dict)
    is_changed = False

    def make(**values: Any) -> BaseDatabaseWrapper:
        nonlocal is_changed
        connection.close()
        server = {key: before[key] for key in ("NAME", "USER", "PASSWORD", "HOST", "PORT")}
        if "port" in values:
            server["HOST"], server["PORT"] = LOOPBACK, values.pop("port")
        connection.settings_dict.update(database_settings(server, application_name=NAME, **values))
        connection.close_pool()  # of an earlier call, which would be found under the alias
        is_changed = True
        return connections["default"]

    yield make
    if is_changed:
        connection.close()
        connection.close_pool()
        connection.settings_dict.update(before)


@pytest.fixture
def direct() -> Iterator[psycopg.Connection[Any]]:
    """A connection that has nothing to do with the pool."""
    name = str(connection.settings_dict["NAME"])
    with psycopg.connect(services.database_url(), dbname=name, autocommit=True) as direct:
        yield direct


def ask(sql: str = "SELECT pg_backend_pid()") -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def give_back() -> None:
    connection.close()


def figures() -> PoolFigures:
    found = pool_figures()
    assert found is not None
    return found


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class TestFigures:
    def test_a_database_without_a_pool_has_none(self) -> None:
        assert pool_figures() is None

    def test_a_pool_that_nobody_has_used_has_nothing(self, pooled: Callable[..., Any]) -> None:
        pooled()
        assert (figures().most, figures().size, figures().in_use, figures().requests) == (50, 0, 0, 0)

    def test_it_tells_what_is_in_use_and_what_waits(self, pooled: Callable[..., Any]) -> None:
        pooled(pool_size=2, pool_overflow=0)
        ask()
        wait_for(lambda: figures().in_use == 1)  # at first it opens more than one
        assert (figures().most, figures().requests) == (2, 1)
        assert figures().share_in_use == 0.5
        go = threading.Event()
        inside = threading.Barrier(2)

        def hold(is_first: bool) -> None:
            ask()
            if is_first:
                inside.wait()
                go.wait()
            give_back()

        with ThreadPoolExecutor() as threads:
            first = threads.submit(hold, True)
            inside.wait()
            second = threads.submit(hold, False)
            wait_for(lambda: figures().waiting == 1)
            assert (figures().in_use, figures().size, figures().share_in_use) == (2, 2, 1.0)
            go.set()
            first.result()
            second.result()
        assert (figures().waiting, figures().requests) == (0, 3)
        assert figures().queued >= 1
        assert figures().waited_seconds > 0

    def test_a_wait_in_vain_is_djangos_error_and_counted(self, pooled: Callable[..., Any]) -> None:
        wrapper = pooled(pool_size=1, pool_overflow=0)
        wrapper.settings_dict["OPTIONS"]["pool"]["timeout"] = 0.1
        ask()

        def ask_in_vain() -> None:
            with pytest.raises(OperationalError):
                ask()

        with ThreadPoolExecutor() as threads:
            threads.submit(ask_in_vain).result()
        assert figures().timeouts == 1


class TestConnections:
    def test_a_session_that_the_server_has_ended_is_not_used(
        self, pooled: Callable[..., Any], direct: psycopg.Connection[Any]
    ) -> None:
        pooled()
        for _ in range(5):
            pid = ask()
            give_back()
            direct.execute(ENDED, [NAME])
            assert ask() != pid
            give_back()
        assert figures().lost >= 5

    def test_all_that_a_restart_ends_are_replaced(
        self, pooled: Callable[..., Any], direct: psycopg.Connection[Any]
    ) -> None:
        pooled(pool_size=4, pool_overflow=0)
        barrier = threading.Barrier(4)

        def use(is_held: bool) -> int:
            pid: int = ask()
            if is_held:
                barrier.wait()
            give_back()
            return pid

        with ThreadPoolExecutor(4) as threads:
            before = set(threads.map(use, [True] * 4))
            assert len(before) == 4
            direct.execute(ENDED, [NAME])
            after = set(threads.map(use, [False] * 12))
        assert before.isdisjoint(after)

    def test_an_old_one_is_replaced(
        self, pooled: Callable[..., Any], direct: psycopg.Connection[Any]
    ) -> None:
        pooled(recycle_seconds=0.2)
        pid = ask()
        time.sleep(0.3)
        give_back()  # its time is over, so the pool closes it
        assert ask() != pid
        give_back()
        gone = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s"
        wait_for(lambda: direct.execute(gone, [pid]).fetchone() == (0,))

    def test_it_speaks_utc_under_its_name(self, pooled: Callable[..., Any]) -> None:
        pooled()
        assert ask("SHOW timezone") == "UTC"
        assert ask("SHOW application_name") == NAME

    def test_what_asks_to_be_prepared_is(self, pooled: Callable[..., Any]) -> None:
        wrapper = pooled()
        assert may_prepare(wrapper)
        cursor = psycopg.Cursor(wrapper.connection)
        for _ in range(2):
            cursor.execute("SELECT 7 + %s", [1], prepare=True)
        assert ask("SELECT count(*) FROM pg_prepared_statements") == 1


class TestPgBouncer:
    pytestmark = pytest.mark.pgbouncer

    def test_it_is_seen(self, pgbouncer: int) -> None:
        assert goes_through_pooler(connection)

    def test_many_threads_share_two_sessions(self, pgbouncer: int, pooled: Callable[..., Any]) -> None:
        wrapper = pooled(mode="pgbouncer", port=pgbouncer)
        assert not may_prepare(wrapper)

        def work(number: int) -> tuple[int, int]:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid(), %s", [number])
                pid, answer = cursor.fetchone()
            give_back()
            return pid, answer

        with ThreadPoolExecutor(16) as threads:
            answers = list(threads.map(work, range(400)))
        assert [answer for _, answer in answers] == list(range(400))
        assert len({pid for pid, _ in answers}) <= 2

    def test_a_queryset_is_read_in_parts_while_others_take_the_sessions(
        self, pgbouncer: int, pooled: Callable[..., Any]
    ) -> None:
        """A server-side cursor would be gone with the session."""
        pooled(mode="pgbouncer", port=pgbouncer)
        Country.objects.bulk_create(Country(code=f"{n:02}") for n in range(90))
        ended = threading.Event()

        def crowd() -> None:
            while not ended.is_set():
                ask("SELECT pg_sleep(0.001)::text")
            give_back()

        with ThreadPoolExecutor(3) as threads:
            for _ in range(3):
                threads.submit(crowd)
            try:
                found = [each.code for each in Country.objects.iterator(chunk_size=10)]
            finally:
                ended.set()
        assert len(found) == 90

    def test_a_session_that_ends_behind_the_pooler_is_not_noticed(
        self, pgbouncer: int, pooled: Callable[..., Any], direct: psycopg.Connection[Any]
    ) -> None:
        pooled(mode="pgbouncer", port=pgbouncer)
        pids = set()
        for _ in range(5):
            pid = ask()
            pids.add(pid)
            give_back()
            direct.execute(ENDED, [NAME])
        assert len(pids) == 5


def test_straight_to_the_server_no_pooler_is_seen() -> None:
    assert not goes_through_pooler(connection)
