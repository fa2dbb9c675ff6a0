"""Warmers, run one after the other: what is stored, what is told, what an error does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connection, transaction

from perfkit.caching import WarmResult, warm, warmer
from perfkit.caching.databases import tag_scope
from perfkit.caching.store import current_store
from perfkit.caching.tags import row_tag, table_tag
from perfkit.caching.warming import row_batches
from perfkit.errors import UnknownWarmerError
from tests.caching.conftest import Outcome
from tests.caching.warming.conftest import hits
from tests.testapp.models import Airfield, Item, ItemNote, Signpost

pytestmark = pytest.mark.django_db(transaction=True)

Warmed = Callable[..., WarmResult]


def test_it_fills_what_its_warmers_select(items: list[Item], reads: list[Outcome]) -> None:
    Airfield.plain.create(code="JFK", name="Kennedy")
    airfields, some = warm()
    assert (airfields.name, airfields.wanted, airfields.entries, airfields.error) == ("airfields", 1, 1, "")
    assert (some.name, some.wanted, some.entries, some.error) == ("items", 900, 900, "")
    assert some.seconds > 0
    assert hits(reads, [item for item in items if item.count]) == 900
    assert hits(reads, [item for item in items if not item.count]) == 0


def test_it_needs_few_queries(items: list[Item], django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(3):  # the keys, and two batches
        warm(["items"])
    with django_assert_num_queries(1):  # all hold
        warm(["items"])


def test_it_only_counts_in_a_dry_run(items: list[Item], reads: list[Outcome]) -> None:
    [result] = warm(["items"], dry_run=True)
    assert (result.wanted, result.entries, result.held, result.size_bytes) == (900, 0, 0, 0)
    assert hits(reads, items[:9]) == 0


def test_it_makes_nothing_anew_that_holds(items: list[Item], reads: list[Outcome]) -> None:
    [first] = warm(["items"])
    Item.plain.filter(pk=items[1].pk).update(name="changed")
    [second] = warm(["items"])
    assert (first.entries, first.held) == (900, 0)
    assert (second.entries, second.held) == (1, 899)
    assert 0 < second.size_bytes < first.size_bytes / 800
    items[1].name = "changed"
    assert hits(reads, items[1:3]) == 2


def test_it_makes_everything_anew_where_that_is_asked_for(items: list[Item]) -> None:
    assert [warm(["items"], force=True)[0].entries for _ in range(2)] == [900, 900]


def test_it_makes_anew_what_has_less_than_half_its_time_before_it(
    items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    warm(["items"])
    assert Item.objects.ttl == 600
    for seconds, entries in ((295, 0), (305, 900)):
        clock = SimpleNamespace(time=lambda later=seconds: time.time() + later)
        monkeypatch.setattr("perfkit.caching.warming.batches.time", clock)
        assert warm(["items"])[0].entries == entries


def test_it_tells_the_bytes_that_the_store_holds(warmed: Warmed, few: list[Item]) -> None:
    result = warmed(Item.plain.all)
    store = current_store()
    assert store is not None
    keys = [key for found in store.find("e:*") for key in found]
    assert len(keys) == 25
    assert result.size_bytes == sum(len(entry or b"") for entry in store.entries(keys))
    assert result.entries_per_second == pytest.approx(25 / result.seconds)


def test_it_tells_how_far_it_is(items: list[Item]) -> None:
    told: list[tuple[str, int, int]] = []
    warm(["items"], progress=lambda *args: told.append(args))
    assert told == [("items", 500, 900), ("items", 900, 900)]


def test_it_runs_those_that_were_named_in_their_order() -> None:
    assert [result.name for result in warm(["items", "airfields"])] == ["items", "airfields"]


def test_it_leaves_out_rows_that_are_being_written(items: list[Item], reads: list[Outcome]) -> None:
    store = current_store()
    assert store is not None
    busy = [item for item in items if item.count][:3]
    tags = [row_tag(tag_scope(connection), "testapp_item", item.pk) for item in busy]
    store.mark(tags, writer="0a")
    [result] = warm(["items"])
    assert (result.wanted, result.entries, result.error) == (900, 897, "")
    store.done(tags, writer="0a")
    assert hits(reads, busy) == 0
    store.mark([table_tag(tag_scope(connection), "testapp_item")], writer="0b")
    assert warm(["items"])[0].entries == 0


def test_it_fills_nothing_that_was_written_meanwhile(
    items: list[Item], reads: list[Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its SELECT and its fill everything changes."""
    select = row_batches.select_rows

    def select_and_write(*args: Any) -> Any:
        rows = select(*args)
        Item.plain.filter(pk__in=list(rows)).update(name="new")
        return rows

    monkeypatch.setattr(row_batches, "select_rows", select_and_write)
    warm(["items"])
    item = next(item for item in items if item.count)
    assert Item.objects.get(pk=item.pk).name == "new"
    assert reads[-1][1] == "miss"


def test_it_refuses_a_name_nobody_registered(items: list[Item], reads: list[Outcome]) -> None:
    with pytest.raises(UnknownWarmerError, match=r"There is no warmer 'item'\. Did you mean 'items'\?"):
        warm(["items", "item"])
    assert hits(reads, items[:9]) == 0, "nothing was warmed"


@pytest.mark.parametrize("model", [ItemNote, Signpost])
def test_it_runs_the_others_beside_a_model_that_no_cached_read_would_find(
    model: Any, warmers: dict[str, Any], items: list[Item]
) -> None:
    warmers["wrong"] = model.objects.all
    wrong, good = warm(["wrong", "items"])
    assert (wrong.entries, wrong.errors, good.entries) == (0, 1, 900)
    assert "UnsupportedModelError: warm_cache cannot serve testapp" in wrong.error


def test_it_runs_the_others_where_one_raises(items: list[Item], warmers: dict[str, Any]) -> None:
    def raises() -> Iterator[Any]:
        yield Item.plain.filter(count=1)
        raise LookupError("no such thing")

    warmers["raises"] = raises
    broken, good = warm(["raises", "items"])
    assert (broken.entries, broken.errors, broken.error) == (300, 1, "LookupError: no such thing")
    assert (good.entries, good.held, good.error) == (600, 300, "")


@pytest.mark.parametrize("what", [7, "items", object()])
def test_it_says_what_a_warmer_may_want(warmed: Warmed, what: Any) -> None:
    for wanted in (lambda: what, lambda: [what]):
        assert "cannot be warmed. A warmer returns or yields querysets" in warmed(wanted).error
        assert "cannot be warmed. A warmer returns or yields querysets" in warmed(wanted, dry_run=True).error


def test_it_refuses_two_functions_of_one_name() -> None:
    @warmer("mine")
    def first() -> Any: ...

    assert warmer("mine")(first) is first
    with pytest.raises(ValueError, match="two warmers 'mine'"):

        @warmer("mine")
        def second() -> Any: ...


def test_it_runs_the_others_where_one_cannot_read_the_database(
    items: list[Item], warmers: dict[str, Any]
) -> None:
    warmers["broken"] = lambda: Item.plain.extra(where=["no_such_column = 1"])
    broken, good = warm(["broken", "items"])
    assert "no_such_column" in broken.error
    assert (good.entries, good.error) == (900, "")


def test_it_warms_rows_of_any_queryset(warmed: Warmed, items: list[Item], reads: list[Outcome]) -> None:
    querysets = [
        Item.plain.order_by("-name")[:10],
        Item.objects.filter(count=1).values("name")[:10],
        Item.plain.filter(count=2).union(Item.plain.filter(pk__in=[item.pk for item in items[3:8:4]])),
        Item.plain.none(),
    ]
    result = warmed(lambda: querysets, progress=lambda *_: None)
    assert (result.wanted, result.entries, result.error) == (10 + 10 + 302, 10 + 10 + 302 - result.held, "")


def test_it_warms_in_a_transaction_that_has_written_nothing(warmed: Warmed, few: list[Item]) -> None:
    snapshot = "the cache cannot be filled: snapshot"
    expected = (0, snapshot) if connection.vendor == "sqlite" else (25, "")
    with transaction.atomic():
        result = warmed(Item.plain.all)
        assert (result.entries, result.error) == expected


def test_it_stores_nothing_that_may_yet_be_rolled_back(
    warmed: Warmed, few: list[Item], reads: list[Outcome]
) -> None:
    with transaction.atomic():
        Item.plain.update(name="never")
        result = warmed(Item.plain.all)
        assert (result.entries, result.errors) == (0, 1)
        transaction.set_rollback(True)
    assert hits(reads, few) == 0


def test_it_says_where_caching_is_off(items: list[Item], settings: LazySettings) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_ENABLED": False}
    assert warm(["items"])[0].error == "the cache cannot be filled: disabled"
