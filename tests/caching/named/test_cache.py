"""Values kept by hand: what every process sees of them."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf import LazySettings
from django.db import connection, connections, transaction
from hypothesis import given, settings

from perfkit.caching import TTL, cache, cached, token_scope
from perfkit.caching.memory import memory
from perfkit.caching.store import current_store
from perfkit.errors import CacheKeyError, UncacheableResultError
from tests.caching.conftest import Outcome
from tests.caching.named.test_packing import told, values
from tests.testapp.models import Item

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The round trips to the store."""
    store: Any = current_store()
    made: list[str] = []
    for name in ("recall", "put", "void", "take", "tokens", "fill", "lease", "find", "drop"):
        original = getattr(store, name)

        def counted(*args: Any, _name: str = name, _original: Any = original, **kwargs: Any) -> Any:
            made.append(_name)
            return _original(*args, **kwargs)

        monkeypatch.setattr(store, name, counted)
    return made


def test_it_keeps_values_under_keys(reads: list[Outcome]) -> None:
    assert cache.get("user:7") is None
    assert cache.get("user:7", "default") == "default"
    assert cache.set("user:7", {"name": "Ann"}, ttl=TTL.SHORT)
    assert cache.get("user:7") == {"name": "Ann"}
    assert cache.set("user:7", None)
    assert cache.get("user:7", "default") is None
    cache.delete("user:7")
    assert cache.get("user:7", "default") == "default"
    assert [outcome for _, outcome, _ in reads] == ["miss", "miss", "hit", "hit", "miss"]


def test_many_are_one_round_trip(trips: list[str]) -> None:
    assert cache.set_many({f"n:{n}": n for n in range(100)}, tags=["numbers", "all"])
    assert trips == ["put"]
    trips.clear()
    found = cache.get_many(f"n:{n}" for n in range(200))
    assert found == {f"n:{n}": n for n in range(100)}
    assert trips == ["recall"]
    trips.clear()
    cache.invalidate_tags("numbers", "other")
    assert trips == ["void"]
    assert cache.get_many(["n:1", "n:2"]) == {}
    trips.clear()
    cache.delete_many(["n:1", "n:2"])
    assert trips == ["void"]
    assert cache.get_many([]) == {}


def test_what_is_replaced_is_replaced_for_those_who_have_it(trips: list[str]) -> None:
    cache.set("a", 1)
    with token_scope():
        assert [cache.get("a") for _ in range(3)] == [1, 1, 1]
        cache.set("a", 2)
        assert [cache.get("a") for _ in range(3)] == [2, 2, 2]
        cache.delete("a")
        assert cache.get("a") is None


@settings(max_examples=60)
@given(values)
def test_it_gives_back_what_it_was_given(value: Any) -> None:
    assert cache.set("value", value)
    for _ in range(2):
        with token_scope():
            for _ in range(2):
                assert told(cache.get("value")) == told(value)
                assert told(cache.get_many(["value"])["value"]) == told(value)


def test_patterns_and_tags_void_functions_too() -> None:
    calls = []

    @cached("user:{n}", tags=["users"])
    def user(n: int) -> int:
        calls.append(n)
        return n

    def again() -> list[int]:
        calls.clear()
        user(1)
        return list(calls)

    user(1)
    for void in (
        lambda: cache.delete("user:1"),
        lambda: cache.delete_pattern("user:*"),
        lambda: cache.invalidate_tags("users"),
        lambda: cache.set("user:1", "by hand"),
    ):
        assert again() == []
        void()
        assert again() == [1]


def test_a_pattern_gives_back_what_it_matches_and_tells_how_much() -> None:
    cache.set_many({"a:1": 1, "a:2": 2, "a:b:3": 3, "b:1": 1, "ab:1": 1})
    assert cache.delete_pattern("a:*") == 3
    assert set(cache.get_many(["a:1", "a:2", "a:b:3", "b:1", "ab:1"])) == {"b:1", "ab:1"}
    cache.set_many({"a:1": 1, "a:2": 2, "c:1": 1})
    assert cache.delete_pattern("a:1") == 1
    assert set(cache.get_many(["a:1", "a:2", "c:1"])) == {"a:2", "c:1"}
    cache.set_many({"a:1:x": 1, "a:2:y": 2})
    assert cache.delete_pattern("a:?:x") == 1, "what is given back is what it matches"
    assert cache.get_many(["a:2", "a:2:y"]) == {}, "and void is all below the namespace before the wildcard"


def test_a_value_that_cannot_be_kept_leaves_nothing_of_the_one_before() -> None:
    cache.set("a", "before")
    assert not cache.set("a", random.Random(1).randbytes(1_200_000))
    assert cache.get("a") is None


def test_a_pattern_in_a_transaction_that_is_rolled_back_leaves_all() -> None:
    cache.set("a:1", 1)
    with transaction.atomic():
        assert cache.delete_pattern("a:*") == 0
        transaction.set_rollback(True)
    assert cache.get("a:1") == 1
    with transaction.atomic():
        cache.delete_pattern("a:*")
    assert cache.get("a:1") is None


def test_inside_a_transaction_it_is_void_with_its_commit() -> None:
    cache.set_many({"a": 1, "b": 2}, tags=["both"])
    with transaction.atomic():
        cache.invalidate_tags("both")
        assert cache.get("a") is None, "not for the transaction itself"
        transaction.set_rollback(True)
    assert cache.get("a") == 1
    with transaction.atomic():
        cache.delete("a")
        cache.delete_pattern("b")
    assert cache.get_many(["a", "b"]) == {}


def test_a_value_is_made_once_and_depends_on_what_was_read() -> None:
    calls = []

    def count() -> int:
        calls.append(1)
        return Item.plain.count()

    assert [cache.get_or_set("count", count) for _ in range(3)] == [0, 0, 0]
    Item.plain.create(name="a")
    assert [cache.get_or_set("count", count, tags=["counts"]) for _ in range(3)] == [1, 1, 1]
    assert len(calls) == 2
    assert cache.get("count") == 1
    cache.invalidate_tags("counts")
    assert cache.get("count") is None


@pytest.mark.parametrize("mode", ["request", "strict", "off"])
@pytest.mark.parametrize("tags", [[], ["a"], ["b"], ["a", "b"], ["b", "a"]])
def test_what_is_there_is_not_made_whatever_its_tags(settings: Any, mode: str, tags: list[str]) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_MEMORY": mode}
    cache.set("there", 1, tags=["a", "b"])
    assert cache.get_or_set("there", lambda: 2, tags=tags) == 1
    assert cache.get("there") == 1
    cache.invalidate_tags("a")
    assert cache.get_or_set("there", lambda: 3, tags=tags) == 3


def test_of_many_that_miss_together_one_makes_it() -> None:
    calls: list[int] = []
    answers: list[Any] = []

    def slow() -> str:
        calls.append(1)
        time.sleep(0.2)
        return "made"

    def ask() -> None:
        answers.append(cache.get_or_set("slow", slow))
        connections.close_all()

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["made"] * 6
    assert len(calls) == 1


def test_a_function_that_finds_nothing_under_a_key_is_not_kept() -> None:
    calls = []

    @cached()
    def reader() -> Any:
        calls.append(1)
        return [cache.get("key"), cache.get_many(["other"])]

    reader()
    cache.set("key", 1)
    cache.set("other", 2)
    assert reader() == [1, {"other": 2}]
    assert reader() == [1, {"other": 2}]
    assert len(calls) == 2
    cache.set("other", 3)
    assert reader() == [1, {"other": 3}]
    cache.delete("key")
    assert reader() == [None, {"other": 3}]


@pytest.mark.parametrize("key", ["", "a b", "a*", None, 7, "x" * 300])
def test_it_refuses_what_is_no_key(key: Any) -> None:
    for call in (
        lambda: cache.get(key),
        lambda: cache.get_many([key]),
        lambda: cache.set(key, 1),
        lambda: cache.get_or_set(key, int),
        lambda: cache.delete(key),
    ):
        with pytest.raises(CacheKeyError):
            call()


def test_it_refuses_what_would_not_come_back_the_same(caplog: Any) -> None:
    cache.set("a", 1)
    for values_ in ({"a": object()}, {"a": 2, "b": object()}):
        with pytest.raises(UncacheableResultError, match=r"perfkit\.cache\.set\('.'\) .*object"):
            cache.set_many(values_)
    assert cache.get("a") == 1, "nothing half-written"
    with pytest.raises(CacheKeyError, match="tags are a list"):
        cache.set("a", 1, tags="tag")
    noise = random.Random(1).randbytes(1_200_000)
    assert not cache.set("noise", noise)
    assert "larger than a megabyte" in caplog.text


def test_while_caching_is_off_there_is_nothing(settings: LazySettings) -> None:
    cache.set("a", 1)
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_ENABLED": False}
    assert not cache.set("b", 1)
    assert cache.get("a") is None
    assert cache.get_many(["a", "b"]) == {}
    assert cache.get_or_set("a", lambda: 3) == 3
    assert cache.delete_pattern("a:*") == 0


class TestAsync:
    @pytest.fixture(autouse=True)
    def _connections(self) -> Iterator[None]:
        yield
        connection.close()

    def test_it_does_the_same(self) -> None:
        async def all_of_it() -> list[Any]:
            async def make() -> str:
                return "made"

            found: list[Any] = [
                await cache.aset("a", 1),
                await cache.aset_many({"b": 2, "c:1": 3}, tags=["t"]),
            ]
            found += [
                await cache.aget("a"),
                await cache.aget_many(["a", "b"]),
                await cache.aget_or_set("d", make),
            ]
            await cache.adelete("a")
            await cache.ainvalidate_tags("t")
            found += [await cache.aget_many(["a", "b", "d"]), await cache.adelete_pattern("c:*")]
            await cache.adelete_many(["d"])
            return [*found, await cache.aget("d", "gone")]

        assert async_to_sync(all_of_it)() == [
            *(True, True, 1, {"a": 1, "b": 2}, "made"),
            *({"d": "made"}, 1, "gone"),
        ]


class TestExpiry:
    def test_it_lives_as_long_as_it_is_told(self) -> None:
        cache.set("short", 1, ttl=1)
        with token_scope():
            assert cache.get("short") == 1
        time.sleep(1.1)
        with token_scope():
            assert cache.get("short") is None

    def test_what_is_evicted_is_not_there(self) -> None:
        cache.set("a", 1)
        current_store().clear()  # type: ignore[union-attr]
        memory.clear()
        assert cache.get("a") is None
