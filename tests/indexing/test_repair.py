from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from perfkit.indexing import repair as repairing
from perfkit.indexing.repair import Repair, declared_names, repair_of
from perfkit.postgres.catalogue import find_index
from perfkit.postgres.invalid_indexes import InvalidIndex, invalid_indexes
from tests.indexing.tables import TABLE, Table, wait_until
from tests.indexing.test_concurrent import WRITE, elsewhere

BROKEN = InvalidIndex(
    1,
    "i",
    "public.i",
    "public.parcel",
    '"public"."parcel"',
    True,
    False,
    False,
    False,
    8192,
    "CREATE INDEX …",
    None,
)

Busy = Callable[..., Any]


@pytest.mark.parametrize(
    ("index", "repair"),
    [
        (BROKEN, Repair.DROP),
        (replace(BROKEN, name="declared"), Repair.REBUILD),
        (replace(BROKEN, name="declared", is_live=False), Repair.DROP),
        (replace(BROKEN, name="declared_ccnew"), Repair.DROP),
        (replace(BROKEN, name="declared_ccold2"), Repair.DROP),
        (replace(BROKEN, has_constraint=True), Repair.REBUILD),
        (replace(BROKEN, is_attached=True), Repair.REBUILD),
        (replace(BROKEN, is_partitioned=True), Repair.COMPLETE),
        (replace(BROKEN, is_partitioned=True, is_attached=True), Repair.LEAVE),
        (replace(BROKEN, name="declared", busy_pid=7), Repair.LEAVE),
    ],
)
def test_it_decides_from_what_is_there(index: InvalidIndex, repair: Repair) -> None:
    assert repair_of(index, {"declared", "declared_ccnew"}) is repair


def sql(statement: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def names() -> list[str]:
    return [index.name for index in invalid_indexes(connection)]


def leave_invalid(name: str, busy: Busy, statement: str = "") -> None:
    """Leave what a build that ran out of time leaves."""
    with busy(WRITE):
        sql("SET lock_timeout = '50ms'")
        with pytest.raises(Exception, match="lock timeout"):
            sql(statement or f"CREATE INDEX CONCURRENTLY {name} ON {TABLE} (owner)")
        sql("RESET lock_timeout")
    assert name in names()


def command(*arguments: str) -> str:
    out = StringIO()
    call_command("perfkit_indexes", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """The names of indexes that models declare, and some more."""
    more: set[str] = set()
    known = declared_names("default")
    monkeypatch.setattr(repairing, "declared_names", lambda _: known | more)
    return more


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
class TestCommand:
    def test_it_finds_nothing_in_a_database_that_is_whole(self, table: Table) -> None:
        assert command("list") == "Every index is valid.\n"
        assert command("repair") == "Every index is valid.\n"

    def test_it_lists_them_with_their_sizes_and_fails(self, table: Table, busy: Busy) -> None:
        leave_invalid("parcel_owner", busy)
        out = StringIO()
        with pytest.raises(CommandError, match="Invalid indexes: 1"):
            call_command("perfkit_indexes", "list", stdout=out)
        first, second = out.getvalue().splitlines()
        assert first == f"public.parcel_owner of public.{TABLE} (0\xa0bytes): to drop"
        assert second == f"    CREATE INDEX parcel_owner ON public.{TABLE} USING btree (owner)"

    def test_it_only_says_what_it_would_do(self, table: Table, busy: Busy) -> None:
        leave_invalid("parcel_owner", busy)
        assert "to drop" in command("repair", "--dry-run")
        assert names() == ["parcel_owner"]

    def test_it_drops_what_no_model_declares_and_tells_its_definition(self, table: Table, busy: Busy) -> None:
        leave_invalid("parcel_owner", busy)
        out = command("repair")
        assert "dropped" in out
        assert "it was: CREATE INDEX parcel_owner ON" in out
        assert find_index(connection, TABLE, "parcel_owner") is None

    def test_it_rebuilds_what_a_model_declares(self, table: Table, busy: Busy, declared: set[str]) -> None:
        leave_invalid("parcel_owner", busy)
        declared.add("parcel_owner")
        assert "rebuilt" in command("repair")
        assert find_index(connection, TABLE, "parcel_owner").is_valid
        assert names() == []

    def test_it_drops_leftovers_of_reindexing(self, table: Table, busy: Busy, declared: set[str]) -> None:
        sql(f"CREATE INDEX parcel_owner ON {TABLE} (owner)")
        declared.add("parcel_owner")
        leave_invalid("parcel_owner_ccnew", busy, "REINDEX INDEX CONCURRENTLY parcel_owner")
        assert "parcel_owner_ccnew" in command("repair")
        assert names() == []
        assert find_index(connection, TABLE, "parcel_owner").is_valid

    def test_it_finishes_a_drop_that_was_interrupted(self, table: Table, busy: Busy) -> None:
        sql(f"CREATE INDEX parcel_owner ON {TABLE} (owner)")
        leave_invalid("parcel_owner", busy, "DROP INDEX CONCURRENTLY parcel_owner")
        command("repair")
        assert names() == []

    def test_it_completes_the_index_of_a_partitioned_table(self, transactional_db: None) -> None:
        sql(
            "CREATE TABLE parted (id int) PARTITION BY LIST (id); CREATE INDEX parted_id ON ONLY parted (id);"
            "CREATE TABLE parted_1 (id int); CREATE TABLE parted_2 PARTITION OF parted FOR VALUES IN (2)"
        )
        try:
            sql("DROP INDEX parted_id; ALTER TABLE parted ATTACH PARTITION parted_1 FOR VALUES IN (1)")
            sql("CREATE INDEX parted_id ON ONLY parted (id)")
            assert names() == ["parted_id"]
            assert "built on all partitions" in command("repair")
            assert names() == []
            assert find_index(connection, "parted", "parted_id").is_valid
        finally:
            sql("DROP TABLE parted")

    def test_it_says_what_it_could_not_repair_and_leaves_no_more_behind(
        self, table: Table, declared: set[str]
    ) -> None:
        sql(WRITE)
        sql(WRITE)
        with pytest.raises(Exception, match="could not create unique index"):
            sql(f"CREATE UNIQUE INDEX CONCURRENTLY parcel_owner ON {TABLE} (owner)")
        declared.add("parcel_owner")
        out = StringIO()
        with pytest.raises(CommandError, match="Not repaired: 1"):
            call_command("perfkit_indexes", "repair", stdout=out)
        assert "NOT rebuilt: could not create unique index" in out.getvalue()
        assert names() == ["parcel_owner"]

    def test_it_leaves_alone_what_somebody_builds(self, table: Table, busy: Busy) -> None:
        def build() -> None:
            sql(f"CREATE INDEX CONCURRENTLY parcel_owner ON {TABLE} (owner)")

        with busy(WRITE) as release, elsewhere(build) as raised:
            wait_until(lambda: names() == ["parcel_owner"])
            assert "left alone, the server's process" in command("list")
            assert "left alone, the server's process" in command("repair")
            release()
        assert raised == []
        assert find_index(connection, TABLE, "parcel_owner").is_valid

    def test_it_leaves_alone_what_somebody_drops(self, table: Table, busy: Busy) -> None:
        sql(f"CREATE INDEX parcel_owner ON {TABLE} (owner)")

        def drop() -> None:
            sql("DROP INDEX CONCURRENTLY parcel_owner")

        with busy(WRITE) as release, elsewhere(drop) as raised:
            wait_until(lambda: names() == ["parcel_owner"])
            assert "left alone" in command("repair")
            release()
        assert raised == []

    def test_it_gives_up_where_a_lock_is_not_to_be_had(self, table: Table, busy: Busy) -> None:
        leave_invalid("parcel_owner", busy)
        with busy(WRITE), pytest.raises(CommandError, match="Not repaired: 1"):
            command("repair", "--lock-timeout", "0.1", "--attempts", "1")
        command("repair")
        assert names() == []

    def test_it_refuses_a_wait_that_cannot_be(self) -> None:
        with pytest.raises(CommandError, match="attempts must be at least 1"):
            command("repair", "--attempts", "0")

    def test_it_knows_what_models_declare(self) -> None:
        known = declared_names("default")
        assert {"flight_number_id", "airport_name_trigrams"} <= known
        assert any(name.startswith("flights_apitoken_user_id_") for name in known)


@pytest.mark.django_db
@pytest.mark.skipif("connection.vendor == 'postgresql'", reason="SQLite's")
def test_it_says_that_other_databases_have_none() -> None:
    with pytest.raises(CommandError, match="no PostgreSQL"):
        command("list")
