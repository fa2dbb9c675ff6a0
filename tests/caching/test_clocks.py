"""A process has a wrong clock: that decides how long rows stay in it, never for longer than their `ttl`."""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec
import pytest
import redis
from django.conf import LazySettings

from perfkit.caching.entries import decoded, encoded
from perfkit.caching.memory import memory
from tests.caching.conftest import Outcome
from tests.testapp.models import Item

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]

TTL = 600
"""Of `Item.objects`."""


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture(autouse=True)
def _asked_each_time(settings: LazySettings) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_MEMORY": "strict"}


def set_end(client: redis.Redis, ends: float) -> None:
    """Bring the only entry to the state in which a process with a wrong clock would have left it."""
    [key] = [key for key in client.scan_iter() if b":e:" in key]
    tokens = tuple(msgspec.msgpack.decode(client.get(key))[1])
    rows = decoded(client.get(key), tokens)
    assert rows is not None
    client.set(key, encoded(rows, tokens, ends=ends), ex=TTL)


@pytest.mark.parametrize(
    ("ends", "held_seconds"),
    [
        (lambda: time.time() + 30, 30),
        (lambda: time.time() + 365 * 86_400, TTL),
        (lambda: float("inf"), TTL),
        (lambda: 1e300, TTL),
        (lambda: time.time() - 1, 0),
        (lambda: 0.0, 0),
        (lambda: -1e300, 0),
        (lambda: float("-inf"), 0),
        (lambda: float("nan"), 0),
    ],
    ids=["right", "a year ahead", "endless", "huge", "a second behind", "1970", "tiny", "over", "no number"],
)
def test_it_holds_no_rows_for_longer_than_their_time(
    client: redis.Redis, reads: list[Outcome], ends: object, held_seconds: float
) -> None:
    item = Item.plain.create(name="old")
    Item.objects.get(pk=item.pk)
    set_end(client, ends())  # type: ignore[operator]
    assert [Item.objects.get(pk=item.pk).name for _ in range(3)] == ["old"] * 3
    assert reads[-1][1] == "hit", "the server keeps its own time of the entry"
    left = [held.until - time.monotonic() for held in memory._held.values()]
    assert len(left) == bool(held_seconds)
    assert all(0 < seconds <= held_seconds for seconds in left)
    Item.plain.filter(pk=item.pk).update(name="new")
    assert [Item.objects.get(pk=item.pk).name for _ in range(2)] == ["new", "new"]
