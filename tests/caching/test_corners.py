"""What looks like the same read and is not, and writes that do not look like one."""

from __future__ import annotations

import contextvars
import json
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import SynchronousOnlyOperation
from django.db import connection, models, transaction
from django.db.migrations.state import ModelState, ProjectState
from django.db.models import DateField
from django.db.models.functions import Cast

from perfkit.caching import CachedQuerySet, token_scope
from perfkit.caching.databases import entry_scope
from perfkit.caching.registry import plain_table_name, tracked_tables
from perfkit.caching.scope import current_scope
from perfkit.caching.writes import CHANGES_SESSION
from tests.caching.conftest import Outcome
from tests.testapp.models import Bundle, Cabin, Dotted, Item

pytestmark = pytest.mark.django_db(transaction=True)
on_postgres = pytest.mark.postgres


def run(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def names(queryset: Any) -> list[str]:
    return [each.name for each in queryset]


class TestSessions:
    @on_postgres
    def test_it_keeps_schemas_apart(self, reads: list[Outcome]) -> None:
        Item.plain.create(pk=1, name="of public")
        assert [names(Item.objects.all()) for _ in range(2)] == [["of public"]] * 2
        run("CREATE SCHEMA tenant; CREATE TABLE tenant.testapp_item AS TABLE testapp_item")
        run("UPDATE tenant.testapp_item SET name = 'of tenant'")
        try:
            run("SET search_path TO tenant, public")
            assert names(Item.objects.all()) == ["of tenant"]
            assert Item.objects.get(pk=1).name == "of tenant"
            assert reads[-1][1:] == ("bypass", "session setting")
            run("RESET ALL")
            assert names(Item.objects.all()) == ["of public"]
            assert reads[-1][1] != "bypass"
        finally:
            run("DROP SCHEMA tenant CASCADE")

    @on_postgres
    def test_it_keeps_zones_apart(self) -> None:
        Bundle.plain.create(title="a", made="2024-02-29T20:00:00Z")
        days = Bundle.objects.annotate(day=Cast("made", DateField())).values_list("day", flat=True)
        before = list(days.all())
        try:
            run("SET TIME ZONE 'Asia/Tokyo'")
            assert list(days.all()) != before
        finally:
            connection.close()
        assert list(days.all()) == before

    @pytest.mark.parametrize(
        ("sql", "changes"),
        [
            ("SET search_path TO a", True),
            ("set role reader", True),
            ("SET LOCAL app.tenant = '5'", True),
            ("SET SESSION AUTHORIZATION x", True),
            ("SELECT set_config('app.tenant', '5', false)", True),
            ("SET TIME ZONE 'UTC'", True),
            ("SET CONSTRAINTS ALL IMMEDIATE", False),
            ("SET lock_timeout = '1s'", False),
            ("SET LOCAL statement_timeout = 0", False),
            ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", False),
            ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", False),
            ("UPDATE x SET role = 1", False),
            (
                "SELECT set_config('lock_timeout', %s, false), set_config('statement_timeout', %s, false)",
                False,
            ),
            ("SELECT set_config('lock_timeout', %s, false), set_config('role', %s, false)", True),
            ("SELECT set_config(%s, %s, false)", True),
        ],
    )
    def test_it_knows_what_changes_a_session(self, sql: str, changes: bool) -> None:
        assert bool(CHANGES_SESSION.match(sql)) == changes

    @pytest.mark.parametrize(
        "part", [{"USER": "x"}, {"TIME_ZONE": "Asia/Tokyo"}, {"OPTIONS": {"options": "-c a=b"}}]
    )
    def test_it_keeps_ways_into_a_database_apart(
        self, part: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = entry_scope(connection)
        for key, value in part.items():
            monkeypatch.setitem(connection.settings_dict, key, value)
        assert entry_scope(connection) != before


class TestTables:
    def test_it_watches_children_that_inherit_their_manager(self, reads: list[Outcome]) -> None:
        assert {"testapp_cabin", "testapp_item"} <= tracked_tables().keys()
        Cabin._base_manager.create(name="x", beds=2)
        assert [Cabin.objects.all()[0].beds for _ in range(2)] == [2, 2]
        Cabin._base_manager.update(beds=9)
        assert Cabin.objects.all()[0].beds == 9

    def test_it_follows_writes_to_a_table_with_a_dot_in_its_name(self) -> None:
        made = Dotted.plain.create(name="old")
        assert [names(Dotted.objects.all()), Dotted.objects.get(pk=made.pk).name] == [["old"], "old"]
        made.name = "new"
        made.save()
        assert [names(Dotted.objects.all()), Dotted.objects.get(pk=made.pk).name] == [["new"], "new"]

    @pytest.mark.parametrize(
        ("db_table", "name"),
        [
            ("Plain", "plain"),
            ("schema.table", "table"),
            ('schema"."table', "table"),
            ('"schema"."Table"', "table"),
            ('odd""name', 'odd""name'),
        ],
    )
    def test_it_names_tables_as_statements_do(self, db_table: str, name: str) -> None:
        assert plain_table_name(db_table) == name

    def test_it_forgets_a_table_that_others_have_dropped(self) -> None:
        made = Item.plain.create(name="of the first")
        assert [names(Item.objects.all()) for _ in range(2)] == [["of the first"]] * 2
        Item.objects.get(pk=made.pk)
        with (
            connection.connection.cursor()
            if connection.vendor == "postgresql"
            else connection.cursor() as cursor
        ):
            cursor.execute(
                "TRUNCATE testapp_item CASCADE"
                if connection.vendor == "postgresql"
                else "DELETE FROM testapp_item"
            )
        run("CREATE TABLE IF NOT EXISTS testapp_item (id int)")
        assert names(Item.objects.all()) == []
        with pytest.raises(Item.DoesNotExist):
            Item.objects.get(pk=made.pk)


class Marked(json.JSONDecoder):
    def decode(self, text: str, *args: Any) -> Any:  # type: ignore[override]
        return ("marked", super().decode(text, *args))


class TestKeys:
    def test_it_tells_decoders_apart(self) -> None:
        Bundle.plain.create(title="a", extra={"a": 1})

        def read(field: models.Field[Any, Any]) -> list[Any]:
            return list(Bundle.objects.annotate(j=Cast("extra", field)).values_list("j", flat=True))

        for _ in range(2):
            assert read(models.JSONField()) == [{"a": 1}]
            assert read(models.JSONField(decoder=Marked)) == [("marked", {"a": 1})]

    def test_it_makes_instances_of_the_class_that_asks(self) -> None:
        Item.plain.create(name="x")
        state = ProjectState()
        state.add_model(ModelState.from_model(Item, exclude_rels=True))
        old: Any = state.apps.get_model("testapp", "Item")
        queryset: Any = CachedQuerySet(old)
        assert type(queryset.cached().filter(name="x")[0]) is old
        assert type(Item.objects.filter(name="x")[0]) is Item

    def test_it_keeps_to_the_time_of_each_reader(self, reads: list[Outcome]) -> None:
        for ttl in (3600, 1):
            list(Item.objects.cached(ttl=ttl))
        assert [outcome for _, outcome, _ in reads] == ["miss", "miss"]

    @pytest.mark.parametrize(
        "read", [lambda m: list(m.filter(count=10**5000)), lambda m: m.filter(pk=10**5000).first()]
    )
    def test_it_takes_numbers_of_any_size(self, read: Any) -> None:
        assert read(Item.objects) == read(Item.plain)

    def test_it_finds_no_row_under_a_number_of_any_size(self) -> None:
        with pytest.raises(Item.DoesNotExist):
            Item.objects.get(pk=10**5000)

    def test_it_can_be_written_into_a_migration(self) -> None:
        manager: Any = CachedQuerySet.as_manager()
        is_as_manager, _, queryset_path, _, _ = manager.deconstruct()
        assert (is_as_manager, queryset_path) == (True, "perfkit.caching.queryset.CachedQuerySet")


class TestScopes:
    def test_it_ends_for_what_the_request_has_left_running(self) -> None:
        with token_scope():
            context = contextvars.copy_context()
            assert context.run(current_scope) is not None
        assert context.run(current_scope) is None

    def test_it_refuses_a_read_in_the_event_loop_as_django_does(self) -> None:
        Item.plain.create(name="x")
        list(Item.objects.all())

        async def read() -> None:
            list(Item.objects.all())

        for _ in range(2):
            with pytest.raises(SynchronousOnlyOperation):
                async_to_sync(read)()


@pytest.mark.skipif(connection.vendor != "sqlite", reason="elsewhere a savepoint ends no transaction")
def test_it_takes_the_end_of_the_outermost_savepoint_for_a_commit() -> None:
    Item.plain.create(name="old")
    assert [names(Item.objects.all()) for _ in range(2)] == [["old"]] * 2
    for sql in ("SAVEPOINT a", "UPDATE testapp_item SET name = 'new'", "RELEASE a"):
        run(sql)
    assert names(Item.objects.all()) == ["new"]


@pytest.mark.skipif(connection.vendor != "sqlite", reason="elsewhere a savepoint ends no transaction")
def test_it_takes_the_end_of_a_block_for_one_where_autocommit_is_off() -> None:
    Item.plain.create(name="old")
    assert [names(Item.objects.all()) for _ in range(2)] == [["old"]] * 2
    transaction.set_autocommit(False)
    try:
        with transaction.atomic():
            Item.plain.update(name="new")
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)
    assert names(Item.objects.all()) == names(Item.plain.all())


def test_it_reads_within_nested_transactions(reads: list[Outcome]) -> None:
    Item.plain.create(name="old")
    with transaction.atomic(), transaction.atomic():
        Item.plain.update(name="new")
        assert names(Item.objects.all()) == ["new"]
    assert names(Item.objects.all()) == ["new"]
