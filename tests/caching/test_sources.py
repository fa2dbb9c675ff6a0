"""Writes that change rows of a cached table under another name: behind a view, in a partition, by a cascade."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection, models, transaction

from perfkit.bulk import bulk_insert
from perfkit.caching import CachedManager
from perfkit.caching.databases import tag_scope
from perfkit.caching.registry import tracked_tables
from perfkit.caching.relations import forget_relations
from perfkit.caching.sources import watched_table, watched_tables
from perfkit.caching.statements import statement_of
from perfkit.caching.writes import tracker_of
from perfkit.signals import rows_written
from tests import testapp
from tests.caching.conftest import Outcome
from tests.caching.processes import Process
from tests.testapp.models import Parted, PartedHigh, Reading, ReadingSum, ReadingView

on_postgres = pytest.mark.postgres
in_database = pytest.mark.django_db(transaction=True)


def tags(sql: str, params: Any = (), *, many: bool = False) -> set[str]:
    return set(statement_of(sql, watched_tables()).tags("default", params, many=many))


def whole(*tables: str) -> set[str]:
    return {f"{kind}:default:testapp_{table}" for table in tables for kind in "ab"}


def run(sql: str, *params: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, params or None)


class TestText:
    @pytest.mark.parametrize(
        "sql",
        ["UPDATE testapp_readingview SET value = 1", "DELETE FROM public.testapp_readingview WHERE id = 1"],
    )
    def test_it_takes_a_write_through_a_view_for_one_to_its_table(self, sql: str) -> None:
        assert tags(sql) == whole("reading", "readingview")

    def test_it_knows_the_rows_of_the_table_all_the_same(self) -> None:
        sql = 'UPDATE "testapp_reading" SET "value" = %s WHERE "testapp_reading"."id" = %s'
        own = {"r:default:testapp_reading:7", "a:default:testapp_reading"}
        assert tags(sql, (1, 7)) == own | whole("readingview")

    def test_it_takes_a_new_row_for_a_change_of_unknown_rows_of_the_view(self) -> None:
        sql = 'INSERT INTO "testapp_reading" ("value") VALUES (%s)'
        assert tags(sql, (1,)) == {"a:default:testapp_reading"} | whole("readingview")

    @pytest.mark.parametrize(
        "sql",
        [
            'UPDATE "testapp_parted_high" SET "name" = %s WHERE "testapp_parted_high"."id" = %s',
            "INSERT INTO testapp_parted_2031_01 VALUES (1)",
            "TRUNCATE testapp_parted_low",
            'DROP TABLE "testapp_parted_low"',
        ],
    )
    def test_it_takes_a_write_to_a_partition_for_one_to_the_whole(self, sql: str) -> None:
        assert tags(sql, ("x", 1)) == whole("parted")

    @pytest.mark.parametrize("sql", ["DELETE FROM testapp_partedly", "DELETE FROM old_testapp_parted_x"])
    def test_it_tells_the_beginning_of_a_name_from_a_part_of_it(self, sql: str) -> None:
        assert tags(sql) == set()

    def test_it_reads_no_table_for_being_named(self) -> None:
        """Only what it changes matters: what is written to it beside is nobody's business."""
        assert "testapp_parted_*" in watched_tables()
        assert "testapp_parted_*" not in tracked_tables()
        assert watched_table("testapp_parted_high").changes == {"testapp_parted"}  # type: ignore[union-attr]
        assert watched_table("testapp_partedly") is None

    def test_it_takes_a_list_of_names_only(self) -> None:
        with pytest.raises(TypeError, match=r"such as \['flights'\]"):
            CachedManager(tables="flights")


@in_database
class TestViews:
    @pytest.fixture(autouse=True)
    def _views(self) -> Iterator[None]:
        run("CREATE VIEW testapp_readingview AS SELECT * FROM testapp_reading")
        run(
            "CREATE VIEW testapp_readingsum AS"
            " SELECT place, sum(value) AS total FROM testapp_reading GROUP BY place"
        )
        forget_relations()
        yield
        for view in ("view", "sum"):
            run(f"DROP VIEW testapp_reading{view}")

    WRITES: dict[str, Callable[[Reading], object]] = {
        "save": lambda reading: Reading(id=reading.pk, place="new").save(),
        "update": lambda reading: Reading.plain.filter(value__lt=9).update(place="new"),
        "raw": lambda reading: run("update testapp_reading set place = 'new'"),
    }

    @pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
    def test_it_sees_what_is_written_to_the_table_behind(
        self, write: Callable[[Reading], object], reads: list[Outcome]
    ) -> None:
        reading = Reading.plain.create(place="old")
        for _ in range(2):
            assert ReadingView.objects.get(pk=reading.pk).place == "old"
            assert ReadingView.objects.filter(place="old").count() == 1
        assert reads[-1][1] == "hit"
        write(reading)
        assert ReadingView.objects.get(pk=reading.pk).place == "new"
        assert ReadingView.objects.filter(place="old").count() == 0

    @on_postgres
    @pytest.mark.parametrize("atomic", [False, True])
    def test_it_sees_what_is_written_through_the_view(self, atomic: bool) -> None:
        reading = Reading.plain.create(place="old")
        assert [Reading.objects.get(pk=reading.pk).place for _ in range(2)] == ["old", "old"]
        if atomic:
            with transaction.atomic():
                ReadingView.plain.filter(pk=reading.pk).update(place="new")
                assert Reading.objects.get(pk=reading.pk).place == "new"
        else:
            ReadingView.plain.filter(pk=reading.pk).update(place="new")
        assert Reading.objects.get(pk=reading.pk).place == "new"

    @pytest.mark.parametrize(
        "read", [lambda: ReadingSum.objects.get(pk="a").total, lambda: ReadingSum.objects.all()[0].total]
    )
    def test_it_caches_no_view_of_which_nobody_says_what_is_behind(
        self, read: Callable[[], int], reads: list[Outcome], caplog: pytest.LogCaptureFixture
    ) -> None:
        Reading.plain.create(place="a", value=1)
        assert [read(), read()] == [1, 1]
        Reading.plain.update(value=2)
        assert read() == 2
        assert reads == [("ReadingSum", "bypass", "view")] * 3
        [line] = [line for line in caplog.messages if "CachedManager(tables=[...])" in line]
        assert "testapp_readingsum is a view" in line

    def test_it_asks_the_catalogue_past_the_projects_query_counts(
        self, django_assert_num_queries: Any
    ) -> None:
        Reading.plain.create(place="a", value=1)
        with django_assert_num_queries(1):
            ReadingView.objects.all()[0]
        with django_assert_num_queries(0):
            ReadingView.objects.all()[0]

    @on_postgres
    @pytest.mark.redis
    def test_it_sees_writes_of_a_process_that_reads_nothing(self, start: Callable[..., Process]) -> None:
        reading = Reading.plain.create(place="old")
        assert [ReadingView.objects.get(pk=reading.pk).place for _ in range(2)] == ["old", "old"]
        start().call("execute", "UPDATE testapp_reading SET place = 'new'")
        assert ReadingView.objects.get(pk=reading.pk).place == "new"


@in_database
@on_postgres
class TestOtherRelations:
    def test_it_caches_a_materialised_view_until_it_is_refreshed(self, reads: list[Outcome]) -> None:
        Reading.plain.create(place="a", value=1)
        run(
            "CREATE MATERIALIZED VIEW testapp_readingsum AS SELECT place, value AS total FROM testapp_reading"
        )
        forget_relations()
        try:
            assert [ReadingSum.objects.get(pk="a").total for _ in range(2)] == [1, 1]
            assert reads[-1][1] == "hit"
            Reading.plain.update(value=2)
            run("/* nightly */ REFRESH MATERIALIZED VIEW testapp_readingsum")
            assert ReadingSum.objects.get(pk="a").total == 2
        finally:
            run("DROP MATERIALIZED VIEW testapp_readingsum")

    def test_it_caches_no_foreign_table(self, reads: list[Outcome], tmp_path: Any) -> None:
        run("CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw")
        run(
            "CREATE FOREIGN TABLE testapp_readingsum (place text, total int) SERVER files"
            " OPTIONS (program 'echo a,1', format 'csv')"
        )
        forget_relations()
        try:
            assert [ReadingSum.objects.get(pk="a").total for _ in range(2)] == [1, 1]
            assert reads == [("ReadingSum", "bypass", "foreign table")] * 2
        finally:
            run("DROP EXTENSION file_fdw CASCADE")


@in_database
@on_postgres
class TestPartitions:
    @pytest.fixture(autouse=True)
    def _table(self) -> Iterator[None]:
        run("CREATE TABLE testapp_parted (id int PRIMARY KEY, name text) PARTITION BY RANGE (id)")
        run("CREATE TABLE testapp_parted_low PARTITION OF testapp_parted FOR VALUES FROM (0) TO (100)")
        run("CREATE TABLE testapp_parted_high PARTITION OF testapp_parted FOR VALUES FROM (100) TO (200)")
        forget_relations()
        yield
        run("DROP TABLE testapp_parted")

    WRITES: dict[str, Callable[[], object]] = {
        "whole": lambda: Parted.plain.filter(pk=150).update(name="new"),
        "save": lambda: PartedHigh(id=150, name="new").save(),
        "update": lambda: PartedHigh.objects.filter(pk=150).update(name="new"),
        "raw": lambda: run("UPDATE testapp_parted_high SET name = 'new' WHERE id = 150"),
    }

    @pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
    def test_it_sees_what_is_written_to_one_of_them(
        self, write: Callable[[], object], reads: list[Outcome]
    ) -> None:
        Parted.plain.create(id=150, name="old")
        for _ in range(2):
            assert Parted.objects.get(pk=150).name == "old"
            assert [each.name for each in Parted.objects.all()] == ["old"]
        assert reads[-1][1] == "hit"
        write()
        assert Parted.objects.get(pk=150).name == "new"
        assert [each.name for each in Parted.objects.all()] == ["new"]

    def test_it_sees_what_is_copied_into_one_of_them(self) -> None:
        Parted.plain.create(id=1, name="x")
        assert [Parted.objects.count() for _ in range(2)] == [1, 1]
        bulk_insert(PartedHigh, [PartedHigh(id=150, name="x")])
        assert Parted.objects.count() == 2


@in_database
@pytest.mark.skipif(
    not hasattr(models, "DB_CASCADE"), reason="what the database does on delete, Django says from 6.1 on"
)
class TestCascades:
    """Estate, its houses, their rooms; a room's lamps stay, and their bulbs."""

    @pytest.fixture
    def kinds(self) -> Any:
        return testapp.models

    @pytest.fixture
    def estate(self, kinds: Any) -> Any:
        estate = kinds.Estate.objects.create(name="e")
        room = kinds.Room.plain.create(house=kinds.House.objects.create(estate=estate), name="r")
        lamp = kinds.Lamp.plain.create(room=room, name="l")
        kinds.Bulb.plain.create(lamp=lamp)
        return estate

    def read(self, kinds: Any) -> list[Any]:
        """Read each way: rows by key, a list by a declared column, all."""
        room = kinds.Room.plain.order_by("id").first()
        lamp = kinds.Lamp.plain.get()
        return [
            kinds.Room.objects.filter(pk=room.pk if room else 0).count(),
            kinds.Room.objects.count(),
            kinds.Lamp.objects.get(pk=lamp.pk).room_id is not None,
            len(kinds.Lamp.objects.filter(room=room.pk)) if room else 0,
            kinds.Lamp.objects.filter(room=None).count(),
        ]

    DELETES: dict[str, Callable[[Any, Any], object]] = {
        "estate": lambda kinds, estate: estate.delete(),
        "estates": lambda kinds, estate: kinds.Estate.objects.all().delete(),
        "house": lambda kinds, estate: kinds.House.objects.get().delete(),
        "room": lambda kinds, estate: kinds.Room.plain.get().delete(),
        "raw": lambda kinds, estate: run("DELETE FROM testapp_estate WHERE id = %s", estate.pk),
        "raw with another name for it": lambda kinds, estate: run("delete from testapp_house as h"),
    }

    @pytest.mark.parametrize("delete", DELETES.values(), ids=DELETES)
    @pytest.mark.parametrize("atomic", [False, True])
    def test_it_sees_what_the_database_deletes_along(
        self,
        kinds: Any,
        estate: Any,
        delete: Callable[[Any, Any], object],
        atomic: bool,
        reads: list[Outcome],
    ) -> None:
        pk = kinds.Room.plain.get().pk
        kinds.Room.objects.get(pk=pk)
        for _ in range(2):
            assert self.read(kinds) == [1, 1, True, 1, 0]
        assert {outcome for _, outcome, _ in reads[-5:]} == {"hit"}
        if atomic:
            with transaction.atomic():
                delete(kinds, estate)
        else:
            delete(kinds, estate)
        assert self.read(kinds) == [0, 0, False, 0, 1]
        with pytest.raises(kinds.Room.DoesNotExist):
            kinds.Room.objects.get(pk=pk)

    def test_it_takes_no_other_write_for_a_delete(
        self, kinds: Any, estate: Any, reads: list[Outcome]
    ) -> None:
        """Nobody caches estates, so nothing is told of them."""
        assert [kinds.Room.objects.count() for _ in range(2)] == [1, 1]
        estate.save()
        kinds.Estate.objects.create(name="another")
        assert kinds.Room.objects.count() == 1
        assert reads[-1][1] == "hit"

    def test_it_sees_what_goes_with_a_row_of_its_own_table(self, kinds: Any) -> None:
        root = kinds.Twig.objects.create()
        twig = kinds.Twig.objects.create(parent=kinds.Twig.objects.create(parent=root))
        for _ in range(2):
            assert kinds.Twig.objects.get(pk=twig.pk).parent_id
        pk = twig.pk
        root.delete()
        with pytest.raises(kinds.Twig.DoesNotExist):
            kinds.Twig.objects.get(pk=pk)

    def test_it_takes_what_was_deleted_past_the_cursor(self, kinds: Any, estate: Any) -> None:
        scope = tag_scope(connection)
        for operation, told in (("update", set()), ("delete", {"room", "lamp"}), ("merge", {"room", "lamp"})):
            with transaction.atomic():
                rows_written.send(sender=kinds.Estate, using="default", operation=operation, pks=[estate.pk])
                pending = tracker_of(connection).pending  # type: ignore[union-attr]
                assert pending == {tag.replace(":default:", f":{scope}:") for tag in whole(*told)}

    def test_it_knows_all_that_leads_to_a_tracked_table(self) -> None:
        assert tags("DELETE FROM testapp_estate") == whole("room", "lamp")
        assert tags("DELETE FROM testapp_house") == whole("room", "lamp")
        assert whole("room", "lamp") <= tags("DELETE FROM testapp_room")
        assert "b:default:testapp_bulb" not in tags("DELETE FROM testapp_room"), "a lamp stays"
        assert whole("bulb", "lamp") <= tags("DELETE FROM testapp_lamp")
        assert tags("UPDATE testapp_estate SET name = 'x'") == set()
