"""What is told of a read in detail, while somebody listens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction

from perfkit.caching import cache, cached, token_scope
from perfkit.caching.flights import durations
from perfkit.signals import cache_read, cache_read_detailed
from tests.caching.conftest import Outcome
from tests.testapp.models import Item

pytestmark = pytest.mark.django_db(transaction=True)


@cached(ttl=60, tags=["shelf"])
def counted_items(least: int) -> int:
    return Item.objects.filter(count__gte=least).count()


@pytest.fixture
def details() -> Iterator[list[dict[str, Any]]]:
    told: list[dict[str, Any]] = []

    def listen(sender: Any, **detail: Any) -> None:
        told.append({"sender": sender, **detail})

    cache_read_detailed.connect(listen)
    yield told
    cache_read_detailed.disconnect(listen)


def came_to(details: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(each["outcome"], each["tier"]) for each in details]


def test_a_row_is_told_with_its_key_and_tags(details: list[dict[str, Any]]) -> None:
    item = Item.objects.create(name="a")
    for _ in range(2):
        Item.objects.get(pk=item.pk)

    assert [each["outcome"] for each in details] == ["miss", "hit"]
    miss, hit = details
    assert miss["sender"] is hit["sender"] is Item
    assert miss["key"] == hit["key"]
    assert miss["key"].startswith("e:")
    assert [tag[0] for tag in hit["tags"]] == ["r", "b"]
    assert miss["seconds"] > 0
    assert miss["rebuild_seconds"] is None or miss["rebuild_seconds"] > 0
    assert hit["rebuild_seconds"] > 0


def test_a_reason_comes_with_a_key_where_there_is_one(details: list[dict[str, Any]]) -> None:
    item = Item.objects.create(name="a")
    list(Item.objects.order_by("?"))
    with transaction.atomic():
        item.save()
        Item.objects.get(pk=item.pk)

    random, written = details
    assert (random["outcome"], random["reason"], random["key"]) == ("bypass", "random order", "")
    assert (written["outcome"], written["reason"]) == ("bypass", "written in this transaction")
    assert written["key"].startswith("e:")


@pytest.mark.redis
class TestTiers:
    def test_rows(self, details: list[dict[str, Any]], settings: Any) -> None:
        settings.PERFKIT = {**settings.PERFKIT, "CACHE_MEMORY": "strict"}
        item = Item.objects.create(name="a")
        for _ in range(3):
            Item.objects.get(pk=item.pk)
        settings.PERFKIT = {**settings.PERFKIT, "CACHE_MEMORY": "request"}
        with token_scope():
            for _ in range(3):
                Item.objects.get(pk=item.pk)

        assert came_to(details)[:3] == [("miss", ""), ("hit", "store"), ("hit", "process")]
        assert came_to(details)[-2:] == [("hit", "request"), ("hit", "request")]
        assert details[-1]["seconds"] is None

    def test_functions(self, details: list[dict[str, Any]], settings: Any) -> None:
        settings.PERFKIT = {**settings.PERFKIT, "CACHE_MEMORY": "request"}
        Item.objects.create(name="a")
        with token_scope():
            counted_items(0)
        told = [each for each in details if each["sender"] is counted_items]
        assert came_to(told) == [("miss", "")]
        durations.clear()
        with token_scope():
            for _ in range(2):
                counted_items(0)

        told = [each for each in details if each["sender"] is counted_items]
        assert came_to(told) == [("miss", ""), ("hit", "store"), ("hit", "request")]
        assert told[1]["rebuild_seconds"] > 0, "the entry says how long it took"
        assert "t:shelf" in told[2]["tags"]
        assert any(tag.startswith("a:") for tag in told[2]["tags"])


def test_values_by_hand(details: list[dict[str, Any]]) -> None:
    cache.set("a:b", 1)
    cache.get_many(["a:b", "a:c"])
    cache.get("a:c")

    assert [each["outcome"] for each in details] == ["hit", "miss", "miss"]
    assert {each["sender"] for each in details} == {cache}
    assert all(each["key"].startswith("v:") for each in details)


def test_a_value_that_is_not_stored_is_told_twice(
    details: list[dict[str, Any]], reads: list[Outcome]
) -> None:
    @cached(ttl=60)
    def writes() -> None:
        Item.objects.create(name="b")

    writes()

    assert [(each["outcome"], each["reason"]) for each in details] == [("miss", ""), ("bypass", "it writes")]
    assert [outcome for _, *outcome in reads] == [["miss", ""], ["bypass", "it writes"]]
    assert details[0]["key"] == details[1]["key"]


def test_who_listens_in_detail_is_known_to_the_quickest_reads() -> None:
    def listen(**_: Any) -> None:
        """Hear nothing."""

    before = list(cache_read.receivers)
    cache_read_detailed.connect(listen)
    cache_read_detailed.connect(listen)
    assert len(cache_read.receivers) == len(before) + 1
    assert cache_read_detailed.disconnect(listen)
    assert cache_read.receivers == before
    assert not cache_read_detailed.disconnect(listen)
