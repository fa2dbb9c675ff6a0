from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import DatabaseError, connection, connections
from django.db.models import Max

from perfkit.benchmarking import declared
from perfkit.benchmarking.chosen import Chosen, chosen
from perfkit.benchmarking.database import database_section
from perfkit.benchmarking.pairs import Effort, Pair, comparable, measured
from perfkit.benchmarking.reads import Reads, relations
from perfkit.benchmarking.sections import Section
from perfkit.benchmarking.writes import changeable, write_pairs
from perfkit.errors import BenchmarkError
from tests.testapp.caching import Cabin, Item, ItemNote, Page, Sample

pytestmark = pytest.mark.django_db(transaction=True)

QUICK = Effort(rounds=1, budget_seconds=0.01)


@pytest.fixture
def rows() -> None:
    items = Item.plain.bulk_create([Item(name=f"No. {number}", count=number) for number in range(30)])
    ItemNote.objects.bulk_create([ItemNote(item=item, text=f"about {item.pk}") for item in items])


@pytest.fixture(autouse=True)
def _nothing_declared() -> Iterator[None]:
    yield
    declared._compared.clear()
    declared._asked.clear()


def section(*labels: str, **more: Any) -> Section:
    told: Callable[[str], object] = more.pop("told", lambda text: None)
    return database_section(
        labels, using="default", effort=QUICK, with_writes=more.get("writes", False), told=told
    )


def works(found: Section) -> dict[str, dict[str, Any]]:
    return {f"{row['work']}, {row['before_way']}": dict(row) for row in found.rows}


class TestChoice:
    def test_it_takes_cached_models_and_the_largest_that_is_not(self, rows: None) -> None:
        found, notes = chosen([], using="default")
        labels = [each.label for each in found]
        assert "testapp.Item" in labels
        assert {each.is_cached for each in found} == {True, False}
        assert all(not label.startswith(("perfkit.", "auth.")) for label in labels)
        assert any("Without rows" in note and "testapp.Shelf" in note for note in notes)

    def test_it_takes_what_is_named(self, rows: None) -> None:
        found, notes = chosen(["testapp.ItemNote", "testapp.item"], using="default")
        assert [each.model for each in found] == [ItemNote, Item]
        assert [each.is_cached for each in found] == [False, True]
        assert notes == []

    def test_it_refuses_an_unknown_model_and_names_the_nearest(self) -> None:
        with pytest.raises(BenchmarkError, match=r"no model 'testapp\.Cabn'.*'testapp\.Cabin'"):
            chosen(["testapp.Cabn"], using="default")
        with pytest.raises(BenchmarkError, match=r"no model 'nonsense'\. Name one as app_label"):
            chosen(["nonsense"], using="default")

    def test_it_refuses_one_without_rows_and_one_without_a_table(self) -> None:
        with pytest.raises(BenchmarkError, match=r"testapp\.Item has no rows"):
            chosen(["testapp.Item"], using="default")
        with pytest.raises(BenchmarkError, match="Parted cannot be read"):
            chosen(["testapp.Parted"], using="default")

    def test_it_says_that_there_is_nothing_to_measure_with(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # Whatever migrations have left in the tables is no project's.
        monkeypatch.setattr("perfkit.benchmarking.chosen._own_models", lambda using: [Item, ItemNote])
        with pytest.raises(BenchmarkError, match="No model of the project has rows"):
            chosen([], using="default")


class TestReads:
    def test_it_measures_a_cached_model(self, rows: None) -> None:
        found = works(section("testapp.Item"))
        assert set(found) == {
            "get by key, plain Django",
            "list of 20, plain Django",
            "list of 30, plain Django",
            "page 1, OFFSET 0",
            "page 2, OFFSET 20",
            *(
                f"{work}, cached: {outcome}, plain Django"
                for work in ("get by key", "list of 20", "count")
                for outcome in ("hit", "miss")
            ),
        }
        for name, row in found.items():
            assert row["before_ms"] > 0
            assert row["ratio"] == pytest.approx(row["before_ms"] / row["after_ms"])
            assert row["before_queries"] == 1
            assert row["after_queries"] == (0 if "cached: hit" in name else 1), name

    def test_it_counts_the_queries_of_a_loop_and_warns_of_it(self, rows: None) -> None:
        found = section("testapp.ItemNote")
        row = works(found)["list of 30 with item, lazy, N+1"]
        assert (row["before_queries"], row["after_queries"]) == (31, 1)
        assert works(found)["list of 30 with item, select_related()"]["before_queries"] == 1
        [warning] = found.warnings
        assert "31 queries" in warning

    def test_it_has_no_pages_where_one_holds_all(self) -> None:
        Item.plain.create(name="alone")
        found = works(section("testapp.Item"))
        assert not any(name.startswith("page") for name in found)
        assert "list of 1, plain Django" in found

    def test_it_says_why_a_hit_could_not_be_measured(self, rows: None, settings: Any) -> None:
        settings.PERFKIT = {**settings.PERFKIT, "CACHE_ENABLED": False}
        found = section("testapp.Item")
        assert not any("cached" in name for name in works(found))
        assert any("cached: hit: the read was no hit but bypass: disabled" in note for note in found.notes)

    def test_it_goes_on_with_the_others_where_one_cannot_be_read(
        self, rows: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pairs = Reads.pairs

        def fails_for_items(reads: Reads) -> Any:
            if reads.chosen.model is Item:
                raise DatabaseError("no room left\nand more")
            return pairs(reads)

        monkeypatch.setattr(Reads, "pairs", fails_for_items)
        found = section("testapp.Item", "testapp.ItemNote")
        assert {row["subject"] for row in found.rows} == {"testapp.ItemNote"}
        assert "Not measured further: testapp.Item: no room left" in found.notes
        with pytest.raises(BenchmarkError, match="No model could be measured"):
            section("testapp.Item")

    def test_it_leaves_out_a_model_whose_manager_shows_nothing(
        self, rows: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Page.plain.create(title="one", hidden=True)
        manager = Page._meta.managers_map["visible"]
        found, _ = chosen(["testapp.ItemNote"], using="default")
        both = [Chosen(Page, manager, is_cached=True), *found]
        monkeypatch.setattr("perfkit.benchmarking.database.chosen", lambda labels, using: (both, []))
        told = section()
        assert {row["subject"] for row in told.rows} == {"testapp.ItemNote"}
        assert "Not measured: testapp.Page: its manager shows no rows." in told.notes

    def test_it_shows_the_rows_that_the_manager_shows(self, rows: None) -> None:
        class Few(type(Item.plain)):  # type: ignore[misc]
            def get_queryset(self) -> Any:
                return super().get_queryset().filter(count__lt=3)

        manager = Few()
        manager.model = Item
        reads = Reads(Chosen(Item, manager, is_cached=False), using="default")
        assert reads.rows == 3
        assert [each.count for each in reads.fast] == [0, 1, 2]
        assert comparable(reads.fast) == comparable(reads.plain)

    def test_it_measures_what_the_project_declares(self, rows: None) -> None:
        declared.compare(
            "items of a kind",
            before=lambda: Item.plain.filter(count__lt=5).order_by("pk"),
            after=lambda: Item.objects.filter(count__lt=5).order_by("pk"),
        )
        row = works(section("testapp.Item"))["items of a kind, before"]
        assert (row["subject"], row["before_queries"], row["after_queries"]) == ("declared", 1, 0)

    def test_it_tells_what_comes_next(self, rows: None) -> None:
        told: list[str] = []
        section("testapp.Item", told=told.append)
        assert told[0] == "testapp.Item: get by key"

    def test_it_knows_the_relations_of_a_model(self) -> None:
        assert relations(Chosen(ItemNote, ItemNote.objects, is_cached=False)) == ["item"]
        assert relations(Chosen(Cabin, Cabin.objects, is_cached=True)) == []


class TestPairs:
    def test_it_does_not_measure_two_ways_that_differ(self) -> None:
        row, reason = measured(Pair("x", "y", "a", lambda: [1], "b", lambda: [2]), QUICK)
        assert row is None
        assert "do not return the same" in reason

    def test_it_compares_rows_by_their_columns(self, rows: None) -> None:
        first, second = Item.plain.order_by("pk")[:2]
        again = Item.plain.get(pk=first.pk)
        assert comparable(first) == comparable(again)
        assert comparable(first) != comparable(second)
        assert comparable({"a": [first]}) == comparable({"a": [again]})
        again.name = "another"
        assert comparable(first) != comparable(again)

    def test_it_refuses_two_declared_pairs_of_one_name(self) -> None:
        declared.compare("one", before=list, after=list)
        with pytest.raises(ValueError, match="two pairs 'one'"):
            declared.compare("one", before=lambda: [None], after=list)


class TestWrites:
    def test_it_measures_inserts_and_updates_and_leaves_nothing(self, rows: None) -> None:
        before = list(Item.plain.order_by("pk").values())
        own = connections["default"]
        found = works(section("testapp.Item", writes=True))
        assert found["insert 30 rows, bulk_create()"]["ratio"] > 0
        assert found["update name of 30 rows, bulk_update() of Django"]["ratio"] > 0
        assert list(Item.plain.order_by("pk").values()) == before
        assert connections["default"] is own
        assert Item.plain.create(name="next").pk == before[-1]["id"] + 1, "no sequence was drawn from"

    def test_it_writes_nothing_unless_it_is_asked_to(self, rows: None) -> None:
        found = section("testapp.Item")
        assert not any(name.startswith(("insert", "update")) for name in works(found))
        assert "--writes" in found.how

    def test_it_writes_to_the_scratch_table_alone(self, rows: None) -> None:
        [item], _ = chosen(["testapp.Item"], using="default")
        with write_pairs(Reads(item, using="default")) as [insert, update]:
            assert insert.prepare is not None
            assert update.prepare is not None
            insert.prepare()
            assert Item.plain.count() == 0, "the name means the scratch table"
            assert insert.before() == 30
            insert.prepare()
            assert insert.after() == 30
            update.prepare()
            assert update.before() == update.after() == 30
        assert Item.plain.count() == 30
        assert Item.plain.aggregate(most=Max("count"))["most"] == 29

    def test_the_cache_goes_on_as_before(self, rows: None) -> None:
        section("testapp.Item", writes=True)
        found = works(section("testapp.Item"))
        assert found["list of 20, cached: hit, plain Django"]["after_queries"] == 0

    def test_it_leaves_out_rows_of_several_tables(self) -> None:
        Cabin.objects.create(name="by the lake")
        found = section("testapp.Cabin", writes=True)
        assert any("several tables" in note for note in found.notes)

    @pytest.mark.postgres
    def test_it_leaves_out_what_a_temporary_table_does_not_stand_before(self, rows: None) -> None:
        [item], _ = chosen(["testapp.Item"], using="default")
        reads = Reads(item, using="default")
        options = connection.settings_dict["OPTIONS"]
        connection.settings_dict["OPTIONS"] = {**options, "options": "-c search_path=public,pg_temp"}
        try:
            with pytest.raises(BenchmarkError, match="does not stand before it"), write_pairs(reads):
                pytest.fail("it was about to write to the real table")
        finally:
            connection.settings_dict["OPTIONS"] = options
        assert Item.plain.count() == 30

    def test_it_changes_no_key_and_no_unique_column(self) -> None:
        assert changeable(Item) == "name"
        assert changeable(Sample) == "whole"
