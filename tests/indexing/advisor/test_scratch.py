"""What the advisor does to a live database: short reads, and nothing stays, whatever ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.indexing.advisor.advising import advise
from perfkit.indexing.advisor.scratch import COMMENT, drop_left, scratch_schema
from perfkit.indexing.advisor.sessions import session_of
from tests.indexing.advisor.shop import BY_CUSTOMER, LATEST, LINES, TABLES, shop_in, workload
from tests.indexing.tables import wait_until
from tests.plugins.postgres import DisposablePostgres

pytestmark = pytest.mark.postgres

RECORDED = workload(BY_CUSTOMER, LATEST, LINES)


def left(session: BaseDatabaseWrapper = connection) -> list[str]:
    with session.cursor() as cursor:
        cursor.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'perfkit_scratch_%'")
        return [name for (name,) in cursor.fetchall()]


def copied(session: BaseDatabaseWrapper = connection) -> int:
    """Return how many relations lie in scratch schemas."""
    with session.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname LIKE 'perfkit_scratch_%'"
        )
        row: tuple[int] = cursor.fetchone()
    return row[0]


@contextmanager
def sessions_that_advise() -> Iterator[list[int]]:
    """Yield the server's processes that hold a scratch schema."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid = 1885760376 AND granted"
        )
        yield [pid for (pid,) in cursor.fetchall()]


def advising_pids() -> list[int]:
    with sessions_that_advise() as pids:
        return pids


class Advising(threading.Thread):
    """Advises in a thread, and keeps what came of it."""

    def __init__(self) -> None:
        super().__init__()
        self.result: Any = None

    def run(self) -> None:
        try:
            self.result = advise(RECORDED)
        except (OperationalError, InterfaceError) as error:
            self.result = error
        finally:
            connections.close_all()


@pytest.mark.usefixtures("shop")
def test_nothing_stays() -> None:
    assert advise(RECORDED).findings
    assert left() == []


@pytest.mark.usefixtures("shop")
def test_live_tables_are_only_read(other: BaseDatabaseWrapper) -> None:
    modes: set[tuple[str, str]] = set()
    thread = Advising()
    thread.start()
    with other.cursor() as cursor:
        while thread.is_alive():
            cursor.execute(
                "SELECT c.relname, l.mode FROM pg_locks l JOIN pg_class c ON c.oid = l.relation "
                "LEFT JOIN pg_index x ON x.indexrelid = c.oid "
                "WHERE l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
                "AND coalesce(x.indrelid, c.oid) = ANY(%s::regclass[]) AND l.pid <> pg_backend_pid()",
                [[f"public.{name}" for name in TABLES]],
            )
            modes.update(cursor.fetchall())
    thread.join()
    assert thread.result.findings
    assert {mode for _, mode in modes} == {"AccessShareLock"}


@pytest.mark.usefixtures("shop")
def test_a_table_that_is_locked_is_not_waited_for_long(busy: Any) -> None:
    with busy("LOCK TABLE shop_order IN ACCESS EXCLUSIVE MODE"):
        advice = advise(workload(BY_CUSTOMER, LINES, "SELECT id FROM shop_line WHERE product = 5"))
    assert {each.table for each in advice.findings} == {"shop_line"}
    assert [each.reason for each in advice.skipped] == ["shop_order could not be copied (SQLSTATE 55P03)"] * 2
    assert left() == []


@pytest.mark.usefixtures("shop")
def test_a_killed_process_leaves_a_schema_that_the_next_run_drops() -> None:
    server = connection.settings_dict
    url = (
        f"postgres://{server['USER']}:{server['PASSWORD']}@{server['HOST']}:{server['PORT']}/{server['NAME']}"
    )
    with subprocess.Popen(
        [sys.executable, "-m", "tests.indexing.advisor.advised", url], stdout=subprocess.DEVNULL
    ) as process:
        try:
            wait_until(lambda: copied() > 4, seconds=120)
        finally:
            process.send_signal(signal.SIGKILL)
    wait_until(lambda: not advising_pids(), seconds=120)
    with session_of("default", lambda: 60) as session:
        drop_left(session)
    assert left() == []


@pytest.mark.usefixtures("shop")
def test_a_terminated_session_leaves_a_schema_that_the_next_run_drops() -> None:
    thread = Advising()
    thread.start()
    wait_until(lambda: copied() > 4, seconds=120)
    with connection.cursor() as cursor:
        for pid in advising_pids():
            cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
    thread.join()
    assert isinstance(thread.result, (OperationalError, InterfaceError)), thread.result
    wait_until(lambda: not advising_pids(), seconds=60)
    assert len(left()) == 1
    assert advise(workload(BY_CUSTOMER)).findings
    assert left() == []


def test_a_killed_server_leaves_a_schema_that_the_next_run_drops(own_postgres: DisposablePostgres) -> None:
    with shop_in(connection):
        thread = Advising()
        thread.start()
        wait_until(lambda: copied() > 4, seconds=120)
        own_postgres.kill()
        thread.join()
        assert isinstance(thread.result, (OperationalError, InterfaceError)), thread.result
        connection.close()
        connection.close_pool()
        own_postgres.start()
        assert advise(workload(BY_CUSTOMER)).findings
        assert left() == []


@pytest.mark.usefixtures("transactional_db")
def test_the_schema_of_a_session_that_lives_is_not_dropped() -> None:
    with session_of("default", lambda: 60) as first, session_of("default", lambda: 60) as second:
        with scratch_schema(first) as name:
            assert drop_left(second) == []
            assert left() == [name]
            with connection.cursor() as cursor:
                cursor.execute("SELECT obj_description(%s::regnamespace)", [name])
                (comment,) = cursor.fetchone()
            assert comment.startswith(COMMENT)
            assert f"session {first.value('SELECT pg_backend_pid()')} of " in comment
        assert left() == []


@pytest.mark.usefixtures("transactional_db")
def test_a_schema_of_that_name_that_is_somebody_elses_stays() -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA perfkit_scratch_mine")
    try:
        with session_of("default", lambda: 60) as session:
            assert drop_left(session) == []
        assert left() == ["perfkit_scratch_mine"]
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP SCHEMA perfkit_scratch_mine")


@pytest.mark.usefixtures("shop")
@pytest.mark.pgbouncer
def test_behind_a_pooler_nothing_is_copied(pgbouncer: int) -> None:
    advice = advise(RECORDED)
    assert "pooler" in advice.verified_by
    assert left() == []


def test_the_watched_lock_class_is_the_advisors_own() -> None:
    from perfkit.indexing.advisor.scratch import LOCK_CLASS

    assert LOCK_CLASS == 1885760376
    assert os.getpid()
