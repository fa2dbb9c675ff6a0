"""Whoever may write to the cache server writes whatever they like under every key: reads and writes go on."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
import redis
from django.conf import LazySettings
from django.db.models import Count, Max, QuerySet

from perfkit.caching import cached_query, token_scope
from perfkit.caching.flights import LEAST_LEASE_SECONDS, SLOW_SECONDS, durations
from perfkit.caching.memory import memory
from perfkit.caching.tags import lease_name
from tests.caching.conftest import Outcome
from tests.caching.test_queryset import shown
from tests.testapp.models import Brand, Bundle, Item, Sample

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]


@cached_query(ttl=600)
def cheap(most: int) -> QuerySet[Item]:
    return Item.objects.filter(count__lte=most).order_by("id")


READS: dict[str, Callable[[], Any]] = {
    "get": lambda: Bundle.objects.get(pk=1),
    "unique": lambda: Brand.objects.get(name="tea"),
    "none": lambda: Item.objects.filter(name="nobody").first(),
    "list": lambda: list(Bundle.objects.order_by("id")),
    "joined": lambda: list(Sample.objects.select_related("item")),
    "many to many": lambda: list(Bundle(pk=1).items.order_by("id")),
    "prefetched": lambda: [list(each.items.all()) for each in Bundle.objects.prefetch_related("items")],
    "values": lambda: list(Bundle.objects.values("title", "extra", "made", "price")),
    "flat": lambda: list(Item.objects.values_list("name", flat=True).order_by("id")),
    "in_bulk": lambda: Item.objects.in_bulk([1, 2]),
    "count": Item.objects.count,
    "exists": Item.objects.exists,
    "aggregate": lambda: Bundle.objects.aggregate(Max("price"), n=Count("id")),
    "declared": lambda: cheap(5),
}

TOKENS: list[bytes] = [
    *(b"", b"w", b"wzz", b"w@", b"w0a@", b"w@5", b"w0a@-1", b"w1@999999999999999999999"),
    *(b"w" + b"\xff\xfe" * 20, b"w" + b"0a@1," * 5000, b"w0a@5@6,,@", b"\xff\xfe", b"\x00", b"g"),
    *(b"g" * 100_000, "gé".encode(), b"g\r\n$5\r\n"),
]
ENTRIES: list[bytes] = [
    *(b"\xc1", b"\x90" * 50_000, b"\x91" * 50_000, b"\xdd\xff\xff\xff\xff", b"\x95\x03\xdd\xff\xff\xff\xff"),
    *(b"{}", b"\x80\x04\x95", b"cos\nsystem\n(S'true'\ntR.", b"\x95\x03\x92\xa1\xff\xa1\xff\x00\xa0\xc4\x00"),
    b"x" * 900_000,
]
TYPES: list[Callable[[redis.Redis, bytes], object]] = [
    lambda client, key: client.rpush(key, "a", "b"),
    lambda client, key: client.hset(key, "a", "b"),
    lambda client, key: client.sadd(key, "a"),
    lambda client, key: client.zadd(key, {"a": 1}),
    lambda client, key: client.xadd(key, {"a": "b"}),
]


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """What was spoilt is gone afterwards: emptying the store leaves limits and budgets as they are."""
    with redis.Redis.from_url(redis_url) as client:
        yield client
        for key in client.scan_iter("perfkit:*"):
            client.delete(key)


@pytest.fixture(autouse=True)
def _rows() -> None:
    items = [Item.plain.create(id=number, name=f"item {number}", count=number) for number in (1, 2, 3)]
    bundle = Bundle.plain.create(id=1, title="b", extra={"a": [1]}, price="1.50", made="2024-02-29T20:00:00Z")
    bundle.items.set(items[:2])
    Sample.plain.create(item=items[0], whole=1, short="x")
    Brand.objects.create(name="tea", count=1)


@pytest.fixture(params=["off", "strict", "request"])
def mode(request: pytest.FixtureRequest, settings: LazySettings) -> Iterator[str]:
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_MEMORY": request.param}
    if request.param == "request":
        with token_scope():
            yield request.param
    else:
        yield request.param


def answers() -> dict[str, Any]:
    return {name: shown(read()) for name, read in READS.items()}


def write() -> None:
    """Change what each of the reads depends on, by every tag that it has."""
    for item in Item.plain.order_by("id"):
        item.count += 1
        item.save()
    for row in (*Bundle.plain.all(), *Sample.plain.all(), *Brand.objects.uncached()):
        row.save()
    Bundle.plain.update(title="written")
    Sample.plain.update(short="written")
    Item.plain.update(count=7)
    Brand.objects.update(count=7)
    Bundle.plain.get(pk=1).items.set(Item.plain.filter(pk__lte=2), clear=True)


def right_answers(settings: LazySettings) -> dict[str, Any]:
    before = settings.PERFKIT
    settings.PERFKIT = {**before, "CACHE_ENABLED": False}
    try:
        return answers()
    finally:
        settings.PERFKIT = before


def poisoned(client: redis.Redis, key: bytes, chance: random.Random) -> None:
    client.delete(key)
    if chance.random() < 0.3:
        chance.choice(TYPES)(client, key)
    elif chance.random() < 0.3:
        client.set(key, chance.randbytes(chance.randrange(200)))
    else:
        client.set(key, chance.choice(TOKENS + ENTRIES))


@pytest.mark.parametrize("seed", range(8))
def test_it_answers_as_the_database_does(
    client: redis.Redis, settings: LazySettings, mode: str, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    chance = random.Random(seed)
    expected = right_answers(settings)
    for _ in range(3):
        for _ in range(2):
            assert answers() == expected
        for key in client.scan_iter("perfkit:*"):
            poisoned(client, key, chance)
        if chance.random() < 0.5:
            write()
            expected = right_answers(settings)
    assert answers() == expected
    write()
    assert answers() == right_answers(settings)
    assert not [line for line in caplog.messages if "does not answer" in line], "what is spoilt is no outage"


def test_it_is_well_again_after_a_write(client: redis.Redis, mode: str, reads: list[Outcome]) -> None:
    answers()
    for number, key in enumerate(list(client.scan_iter("perfkit:*"))):
        poisoned(client, key, random.Random(number))
    write()
    answers()
    reads.clear()
    answers()
    assert {outcome for _, outcome, _ in reads} == {"hit"}


def test_it_waits_a_moment_only_for_a_lease_that_nobody_ends(
    client: redis.Redis, mode: str, reads: list[Outcome]
) -> None:
    def numbers() -> list[int]:
        return [item.pk for item in Item.objects.order_by("id")]

    before = set(client.scan_iter("perfkit:*"))
    assert numbers() == [1, 2, 3]
    new = set(client.scan_iter("perfkit:*")) - before
    [entry] = [key for key in new if b":q:" in key and b":l:" not in key]
    prefix, _, rest = entry.partition(b":q:")
    tokens = tuple(msgspec.msgpack.decode(client.get(entry))[1][1:])
    client.delete(entry)
    memory.clear()
    client.set(prefix + b":" + lease_name(f"q:{rest.decode()}", tokens).encode(), b"mine")
    for family in durations._seconds:
        durations._seconds[family] = SLOW_SECONDS
    reads.clear()
    began = time.monotonic()
    assert numbers() == [1, 2, 3]
    assert LEAST_LEASE_SECONDS < time.monotonic() - began < 2 * LEAST_LEASE_SECONDS + 1
    assert [outcome for _, outcome, _ in reads] == ["miss"]
