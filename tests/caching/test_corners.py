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
from django.db.models.functions import Cast

from perfkit.caching import CachedQuerySet, token_scope
from perfkit.caching.registry import plain_table_name, tracked_tables
from perfkit.caching.scope import current_scope
from tests.caching.conftest import Outcome
from tests.testapp.models import Bundle, Cabin, Dotted, Item

pytestmark = pytest.mark.django_db(transaction=True)
on_postgres = pytest.mark.postgres


def run(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def names(queryset: Any) -> list[str]:
    return [each.name for each in queryset]


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
