"""Triggers are made, found to be right or not, and taken away; on tables of every kind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection, connections, transaction

from perfkit.caching import coherence
from perfkit.caching.triggers import install_triggers, remove_triggers, trigger_states
from perfkit.errors import TriggerRightsError, TriggersLockedError, TriggersUnsupportedError
from tests.caching.conftest import Outcome
from tests.caching.test_outbox import without_table
from tests.caching.triggers.conftest import rows_of, some, told, whole
from tests.testapp.models import (
    Booking,
    Cabin,
    Item,
    ItemNote,
    OtherTwin,
    Parted,
    Reading,
    ReadingSum,
    ReadingView,
    Twin,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres]

EVENTS = ("delete", "insert", "truncate", "update")


def triggers(outside: psycopg.Connection, table: str = "testapp_booking") -> list[tuple[str, str]]:
    rows = outside.execute(
        "SELECT tgname::text, tgenabled::text FROM pg_trigger WHERE tgrelid = %s::regclass "
        "AND starts_with(tgname, 'perfkit_') ORDER BY 1",
        [table],
    )
    return rows.fetchall()


def functions(outside: psycopg.Connection) -> int:
    [count] = outside.execute(
        "SELECT count(*) FROM pg_proc WHERE starts_with(proname, 'perfkit_')"
    ).fetchone()
    return int(count)


def problems(*models: Any) -> list[str]:
    return [problem for state in trigger_states(models) for problem in state.problems]


class TestInstalling:
    def test_it_makes_four_triggers_that_fire_always(
        self, install: Callable[..., Any], outside: psycopg.Connection
    ) -> None:
        assert install(Booking) == [("public.testapp_booking", "installed")]
        assert triggers(outside) == [(f"perfkit_outside_{event}", "A") for event in EVENTS]
        assert problems(Booking) == []

    def test_it_changes_nothing_the_second_time(
        self, install: Callable[..., Any], outside: psycopg.Connection
    ) -> None:
        install(Booking)
        with outside.transaction():
            outside.execute("LOCK TABLE testapp_booking IN SHARE ROW EXCLUSIVE MODE")
            assert install(Booking, lock_timeout_seconds=0.1) == [("public.testapp_booking", "unchanged")]

    def test_it_voids_what_was_cached_before(
        self, install: Callable[..., Any], outside: psycopg.Connection
    ) -> None:
        item = Item.plain.create(name="old")
        assert [Item.objects.get(pk=item.pk).name for _ in range(2)] == ["old", "old"]
        outside.execute("UPDATE testapp_item SET name = 'new'")
        install(Item)
        assert Item.objects.get(pk=item.pk).name == "new"

    def test_it_waits_for_no_lock_longer_than_it_may(
        self, install: Callable[..., Any], outside: psycopg.Connection
    ) -> None:
        with outside.transaction():
            outside.execute("LOCK TABLE testapp_booking IN ROW EXCLUSIVE MODE")
            with pytest.raises(TriggersLockedError, match=r"testapp_booking .* within 0.1 s"):
                install(Booking, lock_timeout_seconds=0.1)
        assert triggers(outside) == []
        install(Booking)
        with outside.transaction():
            outside.execute("LOCK TABLE testapp_booking IN ACCESS SHARE MODE")
            with pytest.raises(TriggersLockedError, match="testapp_booking"):
                list(remove_triggers([Booking], lock_timeout_seconds=0.1))
        assert len(triggers(outside)) == 4

    def test_it_leaves_the_callers_transaction_its_patience(self, install: Callable[..., Any]) -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '7s'")
            install(Booking)
            cursor.execute("SHOW lock_timeout")
            assert cursor.fetchone() == ("7s",)
        assert problems(Booking) == []

    def test_it_can_be_interrupted_and_run_again(
        self, install: Callable[..., Any], outside: psycopg.Connection
    ) -> None:
        """The first table is done, the second is as it was."""
        interrupted = install_triggers([Booking, Item])
        next(interrupted)
        interrupted.close()
        assert len(triggers(outside)) == 4
        assert triggers(outside, "testapp_item") == []
        assert dict(install(Booking, Item))["public.testapp_booking"] == "unchanged"
        assert problems(Booking, Item) == []

    def test_it_lets_two_install_at_once(self, install: Callable[..., Any]) -> None:
        failed: list[Exception] = []

        def run() -> None:
            try:
                list(install_triggers([Booking], lock_timeout_seconds=20))
            except Exception as error:  # noqa: BLE001  # told to the test
                failed.append(error)
            finally:
                connections.close_all()

        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        assert problems(Booking) == []

    def test_it_says_what_to_do_where_the_outbox_is_missing(self) -> None:
        with (
            without_table(),
            pytest.raises(TriggersUnsupportedError, match=r"manage\.py migrate --database default"),
        ):
            list(install_triggers([Booking]))

    def test_it_says_that_readers_call_the_database_otherwise(self, monkeypatch: pytest.MonkeyPatch) -> None:
        connection.ensure_connection()
        monkeypatch.setitem(connection.settings_dict, "NAME", "alias_of_a_pooler")
        with pytest.raises(TriggersUnsupportedError, match="alias_of_a_pooler"):
            list(install_triggers([Booking]))

    def test_it_says_which_rights_are_missing(self, outside: psycopg.Connection) -> None:
        name = f"weak_in_{connection.settings_dict['NAME']}"
        outside.execute(f'DROP ROLE IF EXISTS "{name}"')
        outside.execute(f'CREATE ROLE "{name}"')
        outside.execute(f'GRANT SELECT ON ALL TABLES IN SCHEMA public TO "{name}"')
        try:
            with transaction.atomic():
                with connection.cursor() as cursor:
                    cursor.execute(f'SET LOCAL ROLE "{name}"')
                with pytest.raises(TriggerRightsError, match="may not insert into it"):
                    list(install_triggers([Booking]))
                with connection.cursor() as cursor:
                    cursor.execute(f'RESET ROLE; GRANT INSERT ON perfkit_pendinginvalidation TO "{name}"')
                    cursor.execute(f'SET LOCAL ROLE "{name}"')
                with pytest.raises(
                    TriggerRightsError, match=r"testapp_booking: permission denied .*migrations"
                ):
                    list(install_triggers([Booking]))
        finally:
            outside.execute(f'DROP OWNED BY "{name}"')
            outside.execute(f'DROP ROLE "{name}"')


class TestStatus:
    @pytest.mark.parametrize(
        ("change", "problem"),
        [
            ("DROP TRIGGER perfkit_outside_delete ON testapp_booking", "no trigger for DELETE"),
            ("ALTER TABLE testapp_booking DISABLE TRIGGER USER", "the trigger for INSERT is disabled"),
            # So does `pg_restore --disable-triggers` leave a table.
            ("ALTER TABLE testapp_booking ENABLE TRIGGER ALL", "the trigger for INSERT is silent under"),
            (
                "ALTER TABLE testapp_booking ENABLE REPLICA TRIGGER perfkit_outside_update",
                "the trigger for UPDATE fires under",
            ),
            (
                (
                    "CREATE OR REPLACE TRIGGER perfkit_outside_update AFTER UPDATE OF name ON testapp_booking "
                    "EXECUTE FUNCTION {function}(); "
                    "ALTER TABLE testapp_booking ENABLE ALWAYS TRIGGER perfkit_outside_update"
                ),
                "the trigger for UPDATE is not perfkit's own",
            ),
            ("ALTER FUNCTION {function}() RESET search_path", "install again"),
            ("ALTER FUNCTION {function}() SECURITY INVOKER", "install again"),
            ("GRANT EXECUTE ON FUNCTION {function}() TO PUBLIC", "install again"),
            ("ALTER TABLE testapp_booking RENAME zone TO area", "install again"),
            ("ALTER TABLE testapp_booking ALTER zone TYPE char(40)", "install again"),
        ],
    )
    def test_it_tells_what_is_not_as_it_should_be(
        self, install: Callable[..., Any], outside: psycopg.Connection, change: str, problem: str
    ) -> None:
        install(Booking)
        [function] = outside.execute(
            "SELECT tgfoid::regproc::text FROM pg_trigger WHERE tgname = 'perfkit_outside_insert'"
        ).fetchone()
        try:
            outside.execute(change.format(function=function))
            assert any(problem in found for found in problems(Booking)), problems(Booking)
            install(Booking)
            assert problems(Booking) == []
        finally:
            columns = outside.execute(
                "SELECT attname FROM pg_attribute WHERE attrelid = 'testapp_booking'::regclass"
            ).fetchall()
            if ("area",) in columns:
                outside.execute("ALTER TABLE testapp_booking RENAME area TO zone")
            outside.execute("ALTER TABLE testapp_booking ALTER zone TYPE varchar(40)")

    def test_it_tells_what_has_no_triggers(self) -> None:
        assert problems(Booking) == ["no triggers"]

    def test_it_tells_why_a_model_can_have_none(self) -> None:
        [state] = trigger_states([ReadingSum])
        assert not state.has_triggers
        assert "has no table testapp_readingsum" in state.problems[0]

    def test_it_tells_that_the_functions_owner_has_lost_the_right_to_tell(
        self, install: Callable[..., Any], outside: psycopg.Connection
    ) -> None:
        install(Booking)
        name = f"former_owner_in_{connection.settings_dict['NAME']}"
        outside.execute(f'DROP ROLE IF EXISTS "{name}"')
        outside.execute(f'CREATE ROLE "{name}"')
        [function] = outside.execute(
            "SELECT tgfoid::regproc::text FROM pg_trigger WHERE tgname = 'perfkit_outside_insert'"
        ).fetchone()
        try:
            outside.execute(f'GRANT CREATE ON SCHEMA public TO "{name}"')
            outside.execute(f'ALTER FUNCTION {function}() OWNER TO "{name}"')
            assert any("install again" in problem for problem in problems(Booking))
            install(Booking)
            assert problems(Booking) == []
        finally:
            outside.execute(f'REASSIGN OWNED BY "{name}" TO CURRENT_USER')
            outside.execute(f'DROP OWNED BY "{name}"')
            outside.execute(f'DROP ROLE "{name}"')


class TestRemoving:
    def test_it_removes_triggers_and_functions(
        self, install: Callable[..., Any], outside: psycopg.Connection
    ) -> None:
        install(Booking, Item)
        assert functions(outside) == 3
        assert list(remove_triggers([Booking])) == [("public.testapp_booking", "removed")]
        assert (triggers(outside), functions(outside)) == ([], 2)
        assert list(remove_triggers([Booking])) == []
        removed = [change.table for change in remove_triggers()]
        assert removed == ["public.testapp_bundle_items", "public.testapp_item"]
        assert functions(outside) == 0

    def test_it_removes_what_belongs_to_no_table_any_more(
        self, install: Callable[..., Any], outside: psycopg.Connection
    ) -> None:
        install(Booking)
        outside.execute("DROP TRIGGER perfkit_outside_insert ON testapp_booking")
        for event in EVENTS:
            outside.execute(f"DROP TRIGGER IF EXISTS perfkit_outside_{event} ON testapp_booking")
        assert functions(outside) == 1
        list(remove_triggers())
        assert functions(outside) == 0


class TestRenaming:
    def test_it_tells_both_names_of_a_table_that_was_renamed(
        self, install: Callable[..., Any], outside: psycopg.Connection
    ) -> None:
        """Until somebody installs again, readers may go by the new name already."""
        install(Booking)
        outside.execute('ALTER TABLE testapp_booking RENAME TO "Testapp_Order"')
        try:
            outside.execute("INSERT INTO \"Testapp_Order\" (name, is_paid) VALUES ('x', true)")
            assert told() == [whole("testapp_booking", "testapp_order")]
        finally:
            outside.execute('ALTER TABLE "Testapp_Order" RENAME TO testapp_booking')

    @pytest.mark.parametrize("change", ["RENAME {old} TO {new}", "DROP COLUMN {old}"])
    def test_it_lets_writers_write_a_table_that_has_lost_a_column(
        self, install: Callable[..., Any], outside: psycopg.Connection, change: str
    ) -> None:
        install(Booking)
        insert = "INSERT INTO testapp_booking (name, is_paid) VALUES ('x', true)"
        outside.execute(insert)  # has its plans made
        told()
        is_rename = change.startswith("RENAME")
        outside.execute(f"ALTER TABLE testapp_booking {change.format(old='number', new='amount')}")
        try:
            outside.execute(insert)
            outside.execute("UPDATE testapp_booking SET is_paid = false")
            outside.execute("DELETE FROM testapp_booking")
            assert told() == [whole("testapp_booking")] * 3
        finally:
            undo = "RENAME amount TO number" if is_rename else "ADD number integer"
            outside.execute(f"ALTER TABLE testapp_booking {undo}")


class TestKinds:
    def test_it_covers_the_tables_of_parents_and_of_relations_to_many(
        self, install: Callable[..., Any], outside: psycopg.Connection
    ) -> None:
        tables = [change.table for change in install(Cabin)]
        assert tables == [
            "public.testapp_bundle_items",
            "public.testapp_cabin",
            "public.testapp_item",
        ]
        cabin = Cabin.objects.create(name="old", beds=1)
        told()
        outside.execute("UPDATE testapp_item SET name = 'new'")
        [tags] = told()
        assert some("testapp_item") <= tags
        outside.execute("UPDATE testapp_cabin SET beds = 2")
        assert told() == [whole("testapp_cabin")]
        assert cabin.pk

    def test_it_refuses_a_model_that_nobody_caches(self) -> None:
        with pytest.raises(TriggersUnsupportedError, match=r"testapp\.ItemNote is not cached"):
            list(install_triggers([ItemNote]))

    def test_it_refuses_a_table_that_is_not_there(self) -> None:
        with pytest.raises(TriggersUnsupportedError, match="has no table testapp_parted"):
            list(install_triggers([Parted]))

    def test_it_tells_tables_apart_that_have_one_name(
        self, install: Callable[..., Any], outside: psycopg.Connection
    ) -> None:
        """They share their tags, and so void each other's answers."""
        outside.execute("CREATE SCHEMA elsewhere")
        try:
            outside.execute("CREATE TABLE elsewhere.testapp_twin (id bigint PRIMARY KEY, name varchar(40))")
            assert [change.table for change in install(Twin, OtherTwin)] == [
                "elsewhere.testapp_twin",
                "public.testapp_twin",
            ]
            outside.execute("INSERT INTO elsewhere.testapp_twin VALUES (1, 'x')")
            assert told() == [some("testapp_twin")]
            assert functions(outside) == 2
        finally:
            outside.execute("DROP SCHEMA elsewhere CASCADE")

    @pytest.mark.parametrize(
        ("sql", "undo", "problem"),
        [
            (
                "CREATE MATERIALIZED VIEW testapp_readingsum AS SELECT ''::text AS place, 0 AS total",
                "DROP MATERIALIZED VIEW testapp_readingsum",
                "is a materialised view",
            ),
            (
                "CREATE VIEW testapp_readingsum AS SELECT ''::text AS place, 0 AS total",
                "DROP VIEW testapp_readingsum",
                "is a view: name what stands behind it",
            ),
            (
                (
                    "CREATE TABLE testapp_readingsum (place text, total int) PARTITION BY LIST (total); "
                    "ALTER TABLE testapp_readingsum RENAME TO whole_sum; "
                    "CREATE TABLE testapp_readingsum PARTITION OF whole_sum DEFAULT"
                ),
                "DROP TABLE whole_sum",
                "is a partition",
            ),
            (
                (
                    "CREATE TABLE testapp_readingsum (place text, total int); "
                    "CREATE TABLE part_sum () INHERITS (testapp_readingsum)"
                ),
                "DROP TABLE testapp_readingsum CASCADE",
                "INHERITS",
            ),
            (
                (
                    "CREATE FOREIGN DATA WRAPPER nowhere; CREATE SERVER nowhere FOREIGN DATA WRAPPER nowhere; "
                    "CREATE FOREIGN TABLE testapp_readingsum (place text, total int) SERVER nowhere"
                ),
                "DROP FOREIGN DATA WRAPPER nowhere CASCADE",
                "is a foreign table",
            ),
        ],
    )
    def test_it_refuses_what_triggers_cannot_tell_of(
        self, outside: psycopg.Connection, sql: str, undo: str, problem: str
    ) -> None:
        outside.execute(sql)
        try:
            with pytest.raises(TriggersUnsupportedError, match=problem):
                list(install_triggers([ReadingSum]))
            assert functions(outside) == 0
        finally:
            outside.execute(undo)


class TestViews:
    @pytest.fixture
    def view(self, outside: psycopg.Connection) -> Iterator[None]:
        outside.execute("CREATE VIEW testapp_readingview AS SELECT * FROM testapp_reading")
        yield
        outside.execute("DROP VIEW testapp_readingview")

    @pytest.mark.parametrize("model", [ReadingView, Reading])
    def test_it_puts_them_onto_the_table_behind_it(
        self, install: Callable[..., Any], outside: psycopg.Connection, view: None, model: Any
    ) -> None:
        assert [change.table for change in install(model)] == ["public.testapp_reading"]
        outside.execute("INSERT INTO testapp_readingview (place, value) VALUES ('x', 0)")
        assert told() == [some("testapp_reading") | whole("testapp_readingview")]
        outside.execute("UPDATE testapp_reading SET value = 1")
        [tags] = told()
        assert whole("testapp_readingview") | some("testapp_reading") <= tags
        assert problems(model) == []


class TestPartitions:
    @pytest.fixture(autouse=True)
    def parted(self, outside: psycopg.Connection) -> Iterator[None]:
        outside.execute(
            "CREATE TABLE testapp_parted (id bigint PRIMARY KEY, name varchar(40)) PARTITION BY RANGE (id)"
        )
        outside.execute(
            "CREATE TABLE testapp_parted_low PARTITION OF testapp_parted FOR VALUES FROM (0) TO (100)"
        )
        outside.execute(
            "CREATE TABLE testapp_parted_high PARTITION OF testapp_parted FOR VALUES FROM (100) TO (200) "
            "PARTITION BY RANGE (id)"
        )
        outside.execute(
            "CREATE TABLE testapp_parted_top PARTITION OF testapp_parted_high FOR VALUES FROM (100) TO (200)"
        )
        yield
        outside.execute("DROP TABLE testapp_parted")
        outside.execute("DROP TABLE IF EXISTS testapp_parted_low")

    @staticmethod
    def rows_of(*pks: int) -> set[str]:
        return rows_of("testapp_parted", *pks)

    def test_it_tells_of_each_under_the_name_of_the_whole(
        self, install: Callable[..., Any], outside: psycopg.Connection
    ) -> None:
        assert len(install(Parted)) == 4
        outside.execute("INSERT INTO testapp_parted VALUES (1, 'x'), (150, 'y')")
        assert told() == [some("testapp_parted")]
        outside.execute("UPDATE testapp_parted SET name = 'z'")
        assert told() == [self.rows_of(1, 150)]
        for pk, table in (
            (1, "testapp_parted_low"),
            (150, "testapp_parted_high"),
            (150, "testapp_parted_top"),
        ):
            outside.execute(f"UPDATE {table} SET name = 'z'")
            assert told() == [self.rows_of(pk)]
        outside.execute("UPDATE testapp_parted SET id = 2 WHERE id = 150")
        assert set().union(*told()) >= self.rows_of(2, 150)
        outside.execute("TRUNCATE testapp_parted_low")
        [tags] = told()
        assert whole("testapp_parted") <= tags

    def test_it_tells_that_a_later_partition_has_none(
        self, install: Callable[..., Any], outside: psycopg.Connection
    ) -> None:
        install(Parted)
        outside.execute(
            "CREATE TABLE testapp_parted_new PARTITION OF testapp_parted FOR VALUES FROM (200) TO (300)"
        )
        outside.execute("INSERT INTO testapp_parted VALUES (250, 'x')")
        assert told() == [some("testapp_parted")], "through the whole table it is told"
        assert "partition testapp_parted_new: no triggers" in problems(Parted)
        install(Parted)
        assert problems(Parted) == []

    def test_it_removes_those_of_a_partition_that_was_detached(
        self, install: Callable[..., Any], outside: psycopg.Connection
    ) -> None:
        install(Parted)
        outside.execute("ALTER TABLE testapp_parted DETACH PARTITION testapp_parted_low")
        removed = {change.table for change in remove_triggers([Parted])}
        assert "public.testapp_parted_low" in removed
        assert functions(outside) == 0


@pytest.mark.redis
def test_it_has_a_reader_find_the_new_value(
    install: Callable[..., Any], outside: psycopg.Connection, reads: list[Outcome]
) -> None:
    install(Item)
    item = Item.plain.create(name="old")
    told()
    assert [Item.objects.get(pk=item.pk).name for _ in range(2)] == ["old", "old"]
    outside.execute("UPDATE testapp_item SET name = 'new'")
    coherence.outbox.look_again("default")
    assert Item.objects.get(pk=item.pk).name == "new"
    assert [outcome for _, outcome, _ in reads] == ["miss", "hit", "miss"]
