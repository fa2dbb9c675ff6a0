"""Whoever writes a table that has triggers, and however: what waits in the outbox is what they have written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection, models, transaction
from django.test.utils import CaptureQueriesContext

from perfkit.bulk import bulk_insert, copy
from perfkit.caching.databases import tag_scope
from perfkit.caching.tags import value_tag
from perfkit.models import PendingInvalidation
from tests.caching.triggers.conftest import dsn, rows_of, some, told, whole
from tests.testapp.models import Booking, Item, Shelf, Volume

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres]

ITEM, BOOKING = "testapp_item", "testapp_booking"


@pytest.fixture
def item(install: Callable[..., Any], outside: psycopg.Connection) -> int:
    """A row of a table that has triggers."""
    install(Item)
    [pk] = outside.execute("INSERT INTO testapp_item (name, count) VALUES ('old', 0) RETURNING id").fetchone()
    told()
    return int(pk)


class TestStatements:
    def test_it_tells_of_copy(self, item: int, outside: psycopg.Connection) -> None:
        with outside.cursor().copy("COPY testapp_item (name, count) FROM STDIN") as copy:
            copy.write_row(("a", 1))
            copy.write_row(("b", 2))
        assert told() == [some(ITEM)]

    def test_it_tells_of_truncate_and_of_all_that_is_emptied_with_it(
        self, item: int, outside: psycopg.Connection
    ) -> None:
        outside.execute("TRUNCATE testapp_item CASCADE")
        tags = set().union(*told())
        assert tags >= whole(
            ITEM, "testapp_itemnote", "testapp_cabin", "testapp_sample", "testapp_bundle_items"
        )

    def test_it_tells_of_truncate_where_the_outbox_is_emptied_too(
        self, item: int, outside: psycopg.Connection
    ) -> None:
        """As `manage.py flush` does."""
        outside.execute("UPDATE testapp_item SET count = 1")
        outside.execute("TRUNCATE testapp_item, perfkit_pendinginvalidation CASCADE")
        assert set().union(*told()) >= whole(ITEM)

    def test_it_tells_of_an_upsert(self, item: int, outside: psycopg.Connection) -> None:
        outside.execute(
            "INSERT INTO testapp_item (id, name, count) VALUES (%s, 'new', 1), (%s, 'other', 1) "
            "ON CONFLICT (id) DO UPDATE SET name = excluded.name",
            [item, item + 1],
        )
        assert set().union(*told()) == rows_of(ITEM, item)

    def test_it_tells_of_merge(self, item: int, outside: psycopg.Connection) -> None:
        outside.execute(
            "MERGE INTO testapp_item t USING (VALUES (%s, 'new'), (-1, 'other')) AS s (id, name) ON t.id = s.id "
            "WHEN MATCHED THEN UPDATE SET name = s.name "
            "WHEN NOT MATCHED THEN INSERT (name, count) VALUES (s.name, 0)",
            [item],
        )
        assert set().union(*told()) == rows_of(ITEM, item)

    def test_it_tells_of_a_write_within_a_query(self, item: int, outside: psycopg.Connection) -> None:
        outside.execute("WITH gone AS (DELETE FROM testapp_item RETURNING id) SELECT count(*) FROM gone")
        assert told() == [rows_of(ITEM, item)]

    def test_it_tells_both_keys_of_a_row_whose_key_changes(
        self, item: int, outside: psycopg.Connection
    ) -> None:
        outside.execute("UPDATE testapp_item SET id = %s", [item + 7])
        assert told() == [rows_of(ITEM, item, item + 7)]

    def test_it_tells_nothing_where_nothing_was_written(self, item: int, outside: psycopg.Connection) -> None:
        for sql in (
            "UPDATE testapp_item SET count = 1 WHERE id = -1",
            "DELETE FROM testapp_item WHERE id = -1",
            "INSERT INTO testapp_item (name, count) SELECT 'x', 0 WHERE false",
            "SELECT * FROM testapp_item FOR UPDATE",
        ):
            outside.execute(sql)
        assert told() == []


class TestOtherCode:
    def test_it_tells_of_what_goes_past_djangos_cursor(self, item: int) -> None:
        connection.connection.execute("UPDATE testapp_item SET count = 5")
        assert told() == [rows_of(ITEM, item)]

    def test_it_tells_of_what_functions_write(self, item: int, outside: psycopg.Connection) -> None:
        outside.execute(f"DO $$ BEGIN UPDATE testapp_item SET count = 5 WHERE id = {item}; END $$")
        assert told() == [rows_of(ITEM, item)]

    def test_it_tells_of_what_other_triggers_write(self, item: int, outside: psycopg.Connection) -> None:
        outside.execute(
            "CREATE FUNCTION pg_temp.count_up() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN UPDATE public.testapp_item SET count = count + 1; RETURN NULL; END $$"
        )
        outside.execute("CREATE TRIGGER up AFTER INSERT ON testapp_shelf EXECUTE FUNCTION pg_temp.count_up()")
        try:
            Shelf.plain.create(name="through Django, which does not see it")
            assert told() == [rows_of(ITEM, item)]
        finally:
            outside.execute("DROP TRIGGER up ON testapp_shelf")

    def test_it_tells_of_what_the_database_cascades_to(
        self, install: Callable[..., Any], outside: psycopg.Connection
    ) -> None:
        install(Volume)
        shelf = Shelf.plain.create(name="x")
        volume = Volume.plain.create(shelf=shelf, title="x")
        [name] = outside.execute(
            "SELECT conname FROM pg_constraint WHERE conrelid = 'testapp_volume'::regclass AND contype = 'f'"
        ).fetchone()
        outside.execute(
            f"ALTER TABLE testapp_volume DROP CONSTRAINT {name}, ADD CONSTRAINT {name} "
            "FOREIGN KEY (shelf_id) REFERENCES testapp_shelf ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED"
        )
        told()
        outside.execute("DELETE FROM testapp_shelf")
        try:
            assert told() == [rows_of("testapp_volume", volume.pk)]
        finally:
            outside.execute(
                f"ALTER TABLE testapp_volume DROP CONSTRAINT {name}, ADD CONSTRAINT {name} "
                "FOREIGN KEY (shelf_id) REFERENCES testapp_shelf DEFERRABLE INITIALLY DEFERRED"
            )

    def test_it_tells_while_the_session_silences_ordinary_triggers(
        self, item: int, outside: psycopg.Connection
    ) -> None:
        outside.execute("SET session_replication_role = replica")
        outside.execute("UPDATE testapp_item SET count = 5")
        assert told() == [rows_of(ITEM, item)]

    def test_it_is_silent_where_perfkits_own_table_is_gone(
        self, item: int, outside: psycopg.Connection
    ) -> None:
        """No reader trusts the cache then."""
        with outside.transaction(force_rollback=True):
            outside.execute("DROP TABLE perfkit_pendinginvalidation")
            outside.execute("UPDATE testapp_item SET count = 5")


class TestTransactions:
    def test_it_leaves_nothing_of_what_is_rolled_back(self, item: int, outside: psycopg.Connection) -> None:
        with outside.transaction(force_rollback=True):
            outside.execute("UPDATE testapp_item SET count = 5")
        assert told() == []

    def test_it_is_seen_with_the_commit_and_not_before(self, item: int, outside: psycopg.Connection) -> None:
        with outside.transaction():
            outside.execute("UPDATE testapp_item SET count = 5")
            assert told() == []
        assert told() == [rows_of(ITEM, item)]

    def test_it_is_seen_when_a_prepared_transaction_is_committed(
        self, item: int, outside: psycopg.Connection
    ) -> None:
        name = connection.settings_dict["NAME"]
        outside.execute("BEGIN")
        outside.execute("UPDATE testapp_item SET count = 5")
        outside.execute(f"PREPARE TRANSACTION '{name} outside'")
        assert told() == []
        outside.execute(f"COMMIT PREPARED '{name} outside'")
        assert told() == [rows_of(ITEM, item)]

    def test_it_tells_new_rows_once_in_a_transaction(self, item: int, outside: psycopg.Connection) -> None:
        with outside.transaction():
            for _ in range(5):
                outside.execute("INSERT INTO testapp_item (name, count) VALUES ('x', 0)")
        assert told() == [some(ITEM)]

    def test_it_tells_the_table_once_of_many_statements(self, item: int, outside: psycopg.Connection) -> None:
        with outside.transaction():
            for number in range(300):
                outside.execute("UPDATE testapp_item SET count = %s", [number])
        assert told() == [*[rows_of(ITEM, item)] * 100, whole(ITEM)]

    def test_it_tells_the_next_transaction_anew(self, item: int, outside: psycopg.Connection) -> None:
        for _ in range(2):
            with outside.transaction():
                outside.execute(
                    "INSERT INTO testapp_item (name, count) SELECT 'x', 0 FROM generate_series(1, 200)"
                )
                outside.execute("UPDATE testapp_item SET count = 1")
        assert told() == [some(ITEM), whole(ITEM)] * 2

    @pytest.mark.parametrize("before", [0, 1, 150])
    def test_it_relies_on_nothing_that_a_savepoint_took_back(
        self, item: int, outside: psycopg.Connection, before: int
    ) -> None:
        """Neither on the table's tag, nor on the one for new rows."""
        with outside.transaction():
            with outside.transaction(force_rollback=True):
                for number in range(before):
                    outside.execute("UPDATE testapp_item SET count = %s", [number])
                outside.execute("INSERT INTO testapp_item (name, count) VALUES ('x', 0)")
            outside.execute("INSERT INTO testapp_item (name, count) VALUES ('y', 0)")
            outside.execute("UPDATE testapp_item SET count = 7 WHERE id = %s", [item])
        assert told() == [some(ITEM), rows_of(ITEM, item)]

    def test_it_does_not_take_a_setting_of_the_session_for_its_own(
        self, item: int, outside: psycopg.Connection
    ) -> None:
        """As it would stay on a connection that a pooler hands to the next client."""
        [oid] = outside.execute("SELECT 'testapp_item'::regclass::oid").fetchone()
        for value in ("whole", "1 whole", "x", "7 7", ""):
            outside.execute(f"SELECT set_config('perfkit.t{oid}', %s, false)", [value])
            outside.execute("UPDATE testapp_item SET count = 1")
            assert told() == [rows_of(ITEM, item)]


class TestRights:
    @pytest.fixture
    def clerk(self, item: int, outside: psycopg.Connection) -> Iterator[psycopg.Connection]:
        """A role that may write the table, and nothing of perfkit's."""
        name = f"clerk_of_{connection.settings_dict['NAME']}"
        outside.execute(f'DROP ROLE IF EXISTS "{name}"')
        outside.execute(f"CREATE ROLE \"{name}\" LOGIN PASSWORD 'secret'")
        outside.execute(f'GRANT SELECT, INSERT, UPDATE, DELETE ON testapp_item TO "{name}"')
        with psycopg.connect(dsn(user=name, password="secret"), autocommit=True) as clerk:
            yield clerk
        outside.execute(f'DROP OWNED BY "{name}"')
        outside.execute(f'DROP ROLE "{name}"')

    def test_it_tells_of_writers_without_any_right_on_the_outbox(
        self, item: int, clerk: psycopg.Connection
    ) -> None:
        clerk.execute("UPDATE testapp_item SET count = 5")
        assert told() == [rows_of(ITEM, item)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            clerk.execute("SELECT * FROM perfkit_pendinginvalidation")

    def test_it_lets_nobody_else_call_its_function(
        self, outside: psycopg.Connection, clerk: psycopg.Connection
    ) -> None:
        [function] = outside.execute(
            "SELECT tgfoid::regproc::text FROM pg_trigger WHERE tgname = 'perfkit_outside_insert' LIMIT 1"
        ).fetchone()
        clerk.execute("CREATE TEMP TABLE mine (id int)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            clerk.execute(f"CREATE TRIGGER mine AFTER INSERT ON mine EXECUTE FUNCTION {function}()")

    def test_it_is_not_misled_by_the_writers_search_path(
        self, item: int, outside: psycopg.Connection
    ) -> None:
        """Nor by functions and tables that are named like those it uses."""
        outside.execute(
            "CREATE TEMP TABLE perfkit_pendinginvalidation (tags text, writer text, created_at text)"
        )
        outside.execute(
            "CREATE FUNCTION pg_temp.sha256(bytea) RETURNS bytea LANGUAGE sql AS $$ SELECT ''::bytea $$"
        )
        outside.execute("SET search_path = pg_temp, public")
        outside.execute("UPDATE testapp_item SET count = 5")
        assert told() == [rows_of(ITEM, item)]

    def test_it_runs_no_code_of_a_type_that_somebody_gave_a_column(
        self, install: Callable[..., Any], outside: psycopg.Connection
    ) -> None:
        install(Booking)
        outside.execute("CREATE TYPE trap AS (name text)")
        outside.execute(
            "CREATE FUNCTION sprung(trap) RETURNS text LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE NOTICE 'sprung by %', current_user; RETURN ''; END $$"
        )
        outside.execute("CREATE CAST (trap AS text) WITH FUNCTION sprung(trap)")
        outside.execute(
            "ALTER TABLE testapp_booking ADD kept varchar(40), ALTER zone TYPE trap USING row(zone)::trap"
        )
        heard: list[str] = []
        outside.add_notice_handler(lambda notice: heard.append(str(notice.message_primary)))
        try:
            outside.execute("INSERT INTO testapp_booking (name, zone, is_paid) VALUES ('x', row('a'), true)")
            assert told() == [whole(BOOKING)]
            assert heard == []
        finally:
            outside.execute(
                "ALTER TABLE testapp_booking DROP kept, ALTER zone TYPE varchar(40) USING (zone).name"
            )
            outside.execute("DROP TYPE trap CASCADE")


class TestDjangosOwn:
    def test_it_tells_of_them_too(self, item: int) -> None:
        """See Note [Writes that are told twice]: MARK comes after the statement."""
        Item.plain.filter(pk=item).update(count=5)
        with transaction.atomic():
            Item.plain.filter(pk=item).update(count=6)
        assert told() == [rows_of(ITEM, item)] * 2

    def test_it_leaves_foreign_keys_to_be_checked_by_set(
        self, install: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Triggers of others would be silenced meanwhile, and so rule it out."""
        monkeypatch.setattr(copy, "FIRST_BYTES", 0)
        shelf = Shelf.plain.create(name="x")
        rows = [{"title": str(number), "shelf": shelf} for number in range(600)]

        def checks() -> int:
            with CaptureQueriesContext(connection) as queries:
                bulk_insert(Volume, rows)
            return sum("FOR KEY SHARE" in each["sql"] for each in queries)

        assert checks() == 1
        install(Volume)
        assert checks() == 1
        assert told() == [some("testapp_volume")]
        assert Volume.plain.count() == 1200


def test_it_writes_what_the_outbox_can_read(item: int, outside: psycopg.Connection) -> None:
    outside.execute("UPDATE testapp_item SET count = 5")
    [row] = PendingInvalidation.objects.all()
    assert (row.writer, row.holds_until) == ("trigger", None)
    assert row.created_at.tzinfo is not None


def test_it_tells_the_values_of_rows_in_declared_columns(
    install: Callable[..., Any], outside: psycopg.Connection
) -> None:
    install(Booking)
    outside.execute("INSERT INTO testapp_booking (name, zone, is_paid) VALUES ('x', 'north', true)")
    told()
    outside.execute("UPDATE testapp_booking SET zone = 'south'")
    [tags] = told()
    scope = tag_scope(connection)
    assert {value_tag(scope, BOOKING, "zone", zone) for zone in ("north", "south")} <= tags


@pytest.mark.skipif(not hasattr(models, "DB_CASCADE"), reason="from Django 6.1 on")
def test_it_tells_of_cascades_that_django_leaves_to_the_database(
    install: Callable[..., Any], outside: psycopg.Connection
) -> None:
    from tests.testapp.caching import Estate, House, Lamp, Room

    install(Room, Lamp)
    room = Room.plain.create(house=House.objects.create(estate=Estate.objects.create(name="x")), name="x")
    lamp = Lamp.plain.create(room=room, name="x")
    told()
    outside.execute("DELETE FROM testapp_estate")
    tags = set().union(*told())
    column = [value_tag(tag_scope(connection), "testapp_lamp", "room_id", value) for value in (room.pk, None)]
    assert tags >= {*rows_of("testapp_room", room.pk), *rows_of("testapp_lamp", lamp.pk), *column}
