"""What foreign hands leave on the server is a miss, never an error and never another value."""

from __future__ import annotations

import random
import re
from typing import Any

import msgspec
import pytest
import redis
from django.conf import LazySettings
from django.db import connection
from django.db.models import Max
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfkit.caching import entries
from perfkit.caching.databases import entry_scope, tag_scope
from tests.caching.conftest import Outcome
from tests.testapp.models import Airfield, Item

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]


@pytest.fixture(autouse=True)
def _no_memory(settings: LazySettings) -> None:
    """Each read looks at the server's entry."""
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_MEMORY": "off"}


@pytest.fixture
def client(redis_url: str) -> Any:
    with redis.Redis.from_url(redis_url) as client:
        yield client


def keys(client: redis.Redis, kind: str) -> list[bytes]:
    scope = entry_scope(connection) if kind == "e" else tag_scope(connection)
    return sorted(key for key in client.scan_iter() if f":{kind}:{scope}:testapp_".encode() in key)


def held(entry: bytes) -> list[Any]:
    """What is in an entry, but for the time of its end and what depends on that."""
    number, tokens, _, _, *rest = msgspec.msgpack.decode(entry)
    return [number, tokens, *rest]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_it_takes_any_entry_for_a_miss(client: redis.Redis, data: st.DataObject) -> None:
    Item.plain.get_or_create(id=1, defaults={"name": "true", "count": 1})
    Item.objects.get(pk=1)
    [key] = keys(client, "e")
    good: bytes = client.get(key)
    bad = data.draw(
        st.binary(max_size=60)
        | st.integers(0, len(good) - 1).map(lambda end: good[:end])
        | st.tuples(st.integers(0, len(good) - 1), st.integers(1, 255)).map(
            lambda at: good[: at[0]] + bytes([good[at[0]] ^ at[1]]) + good[at[0] + 1 :]
        )
        | st.just(good + b"\x00")
    )
    client.set(key, bad)
    found = Item.objects.get(pk=1)
    assert (found.name, found.count) == ("true", 1)
    assert Item.objects.get(pk=1).name == "true"
    assert held(client.get(key)) == held(good)


@pytest.mark.parametrize("kind", ["e", "r", "b"])
@pytest.mark.parametrize("foreign", ["list", "hash", "empty", "huge", "random", "writers", "deep"])
def test_it_survives_any_value_under_any_key(
    client: redis.Redis, kind: str, foreign: str, reads: list[Outcome], caplog: pytest.LogCaptureFixture
) -> None:
    item = Item.plain.create(name="old")
    Item.objects.get(pk=item.pk)
    [key] = [key for key in keys(client, kind) if re.search(rb":testapp_item(?::|$)", key)]

    def spoil() -> None:
        client.delete(key)
        if foreign == "list":
            client.rpush(key, "a", "b")
        elif foreign == "hash":
            client.hset(key, "a", "b")
        else:
            client.set(
                key,
                {
                    "empty": b"",
                    "huge": b"w" * 2_000_000,
                    "random": random.Random(7).randbytes(200),
                    "writers": b"wabc@99999999999999999999,,@@w",
                    "deep": b"\x91" * 100_000,
                }[foreign],
            )

    for value in ("new", "newer"):
        spoil()
        assert Item.objects.get(pk=item.pk).name == Item.plain.get(pk=item.pk).name
        Item.plain.filter(pk=item.pk).update(name=value)
        assert [Item.objects.get(pk=item.pk).name for _ in range(2)] == [value, value]
        spoil()
    Item.plain.filter(pk=item.pk).update(name="last")
    assert Item.objects.get(pk=item.pk).name == "last"
    assert caplog.messages == [], "a spoilt key is no outage"


def test_it_heals_what_was_spoilt(client: redis.Redis, reads: list[Outcome]) -> None:
    item = Item.plain.create(name="old")
    Item.objects.get(pk=item.pk)
    for kind in ("e", "r", "b"):
        [key] = keys(client, kind)
        client.delete(key)
        client.rpush(key, "x")
        reads.clear()
        assert [Item.objects.get(pk=item.pk).name for _ in range(2)] == ["old", "old"]
        assert [outcome for _, outcome, _ in reads] == ["miss", "hit"]


def test_it_takes_no_entry_for_one_that_it_was_not_made_for(
    client: redis.Redis, reads: list[Outcome]
) -> None:
    """Two lists of one table have the same tokens."""
    Item.plain.create(name="a", count=1)
    asked: list[Any] = [
        lambda: list(Item.objects.order_by("id")),
        lambda: list(Item.objects.filter(count=2)),
        Item.objects.count,
        lambda: Item.objects.aggregate(n=Max("count")),
    ]
    answers = [ask() for ask in asked]
    [first, *others] = [key for key in client.scan_iter() if b":q:" in key]
    for other in others:
        client.set(other, client.get(first))
    reads.clear()
    assert [ask() for ask in asked] == answers
    assert sorted(outcome for _, outcome, _ in reads) == ["hit", "miss", "miss", "miss"]


def test_it_does_not_take_the_entry_of_one_row_for_that_of_another(client: redis.Redis) -> None:
    for code in ("AAA", "BBB"):
        Airfield.plain.create(code=code, name=code)
        Airfield.objects.get(pk=code)
    first, second = keys(client, "e")
    client.set(second, client.get(first))
    assert Airfield.objects.get(pk="BBB").name == "BBB"


def test_it_knows_an_entry_of_another_layout_by_its_number(client: redis.Redis, reads: list[Outcome]) -> None:
    item = Item.plain.create(name="old")
    Item.objects.get(pk=item.pk)
    [key] = keys(client, "e")
    number, *rest = msgspec.msgpack.decode(client.get(key))
    assert number == entries.FORMAT
    client.set(key, msgspec.msgpack.encode([number - 1, *rest]))
    assert Item.objects.get(pk=item.pk).name == "old"
    assert [outcome for _, outcome, _ in reads] == ["miss", "miss"]


def test_it_stores_no_row_whose_value_would_come_back_changed(reads: list[Outcome]) -> None:
    item = Item.plain.create(name="x" * 40)
    Item.objects.get(pk=item.pk)
    assert [outcome for _, outcome, _ in reads] == ["miss"]
