from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connection, models

from perfkit.errors import IndexLockedError
from perfkit.indexing import AddConstraintSafely, AddIndexSafely, RemoveIndexSafely
from perfkit.indexing.watching import Progress
from perfkit.postgres.catalogue import find_index
from perfkit.postgres.constraints import find_constraint
from tests.indexing.tables import TABLE, Table, table_of, wait_until
from tests.indexing.test_concurrent import WRITE, elsewhere

INDEX = models.Index(fields=["owner"], name="parcel_owner")
ADD = AddIndexSafely("parcel", INDEX)
UNIQUE = models.UniqueConstraint(fields=["owner"], name="parcel_once")
SCAN = Progress(
    "parcel_owner", "CREATE INDEX CONCURRENTLY", "building index: scanning table", 25, 100, 0, 0, 0, 0, None
)

Busy = Callable[..., Any]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("progress", "line"),
    [
        (SCAN, "parcel_owner: building index: scanning table, 25%"),
        (
            replace(SCAN, blocks_total=0, tuples_done=3, tuples_total=4),
            "parcel_owner: building index: scanning table, 75%",
        ),
        (replace(SCAN, blocks_done=300), "parcel_owner: building index: scanning table, 100%"),
        (replace(SCAN, blocks_total=0), "parcel_owner: building index: scanning table"),
        (
            replace(SCAN, phase="waiting for old snapshots", lockers_done=1, lockers_total=3, locker_pid=77),
            "parcel_owner: waiting for old snapshots (1 of 3, at process 77)",
        ),
    ],
)
def test_it_says_how_far_it_is(progress: Progress, line: str) -> None:
    assert str(progress) == line


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
class TestProgress:
    def test_it_is_shown_in_a_terminal(
        self, table: Table, busy: Busy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        with busy(WRITE) as release, elsewhere(lambda: Table(connection).forwards(ADD)) as raised:
            wait_until(lambda: "waiting for writers before build (0 of 1, at process" in terminal.getvalue())
            release()
        assert raised == []
        assert terminal.getvalue().endswith(" \r")
        assert find_index(connection, TABLE, "parcel_owner").is_valid

    def test_it_is_shown_nowhere_else(self, table: Table, busy: Busy, capsys: Any) -> None:
        with busy(WRITE) as release, elsewhere(lambda: Table(connection).forwards(ADD)):
            wait_until(lambda: find_index(connection, TABLE, "parcel_owner") is not None)
            release()
        assert capsys.readouterr().err == ""


@pytest.mark.postgres
@pytest.mark.pgbouncer
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("pgbouncer", [4], indirect=True)
class TestBehindPgBouncer:
    """See Note [Timeouts behind a pooler]: no session of the server may keep a setting of ours."""

    HASTY = AddIndexSafely("parcel", INDEX, lock_timeout_seconds=0.2, attempts=1)

    @pytest.fixture
    def table(self, pgbouncer: int) -> Any:
        with table_of(connection) as table:
            yield table
            self.all_sessions_are_as_before()

    def all_sessions_are_as_before(self) -> None:
        """Ask each session that the pooler has; those that are in a transaction cannot be given to another."""
        server = connection.settings_dict
        ways = [
            psycopg.connect(
                host=server["HOST"], port=server["PORT"], user=server["USER"], dbname=server["NAME"]
            )
            for _ in range(3)
        ]
        try:
            for way in ways:
                row = way.execute(
                    "SELECT current_setting('lock_timeout'), current_setting('statement_timeout')"
                ).fetchone()
                assert row == ("0", "0")
        finally:
            for way in ways:
                way.close()

    def test_it_builds_and_drops(self, table: Table) -> None:
        table.fill(500)
        table.forwards(ADD)
        table.forwards(RemoveIndexSafely("parcel", "parcel_owner"))
        table.forwards(
            AddConstraintSafely("parcel", models.UniqueConstraint(fields=["id"], name="parcel_once"))
        )
        assert find_constraint(connection, TABLE, "parcel_once").is_valid

    def test_it_ends_the_wait_for_a_lock_and_leaves_nothing(self, table: Table) -> None:
        with psycopg.connect(**self.direct()) as other:
            other.execute(WRITE)
            with pytest.raises(IndexLockedError, match="in 1 attempts") as caught:
                table.forwards(self.HASTY)
            assert isinstance(caught.value.__cause__, OperationalError)
            other.rollback()
        table.forwards(ADD)
        assert find_index(connection, TABLE, "parcel_owner").is_valid

    def test_it_ends_the_wait_of_what_takes_a_moment(self, table: Table) -> None:
        table.forwards(ADD)
        hasty = AddConstraintSafely(
            "parcel",
            models.CheckConstraint(condition=models.Q(weight__gt=0), name="parcel_weight"),
            lock_timeout_seconds=0.2,
            attempts=1,
        )
        with psycopg.connect(**self.direct()) as other:
            other.execute(WRITE)
            with pytest.raises(IndexLockedError, match="lock timeout"):
                table.forwards(hasty)
            other.rollback()

    def direct(self) -> dict[str, Any]:
        """Return the way past the pooler; there `pgbouncer` has kept it."""
        server = connection.settings_dict
        return {
            "host": server["HOST"],
            "port": server["PORT"],
            "user": server["USER"],
            "dbname": server["NAME"],
        }
