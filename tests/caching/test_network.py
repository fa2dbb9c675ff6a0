"""What the network does to a write: answers that are lost, words that are said twice, a DONE that is not heard."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
import redis

from perfkit.models import PendingInvalidation
from project.services.state import LOOPBACK
from tests.caching.conftest import wait_until
from tests.caching.processes import Process
from tests.plugins.valkey import DisposableValkey
from tests.soak.proxy import Proxy
from tests.testapp.models import Item

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres, pytest.mark.redis]


@pytest.fixture
def server(valkey_server: Callable[[], DisposableValkey]) -> DisposableValkey:
    return valkey_server()


@pytest.fixture
def proxy(server: DisposableValkey) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def pk() -> int:
    return Item.plain.create(name="old").pk


def test_a_done_that_is_said_again_after_another_write_brings_nothing_back(
    pk: int, server: DisposableValkey, proxy: Proxy, start: Callable[..., Process]
) -> None:
    """The answer to it is lost with its connection; meanwhile others have read, written and committed."""
    reader, other = (start(redis_url=server.url) for _ in range(2))
    writer = start(redis_url=f"redis://{LOOPBACK}:{proxy.port}/0")
    writer.call("update", pk, "first")  # from now on the server knows all scripts
    writer.call("stop", "before done")
    writer.start("update", pk, "second")
    writer.wait_at("before done")
    proxy.deafen()
    writer.go()
    wait_until(lambda: reader.call("get", pk) == ["second", "hit"])  # DONE was heard
    assert other.call("update", pk, "third") == ""
    proxy.drop()
    proxy.heal()
    assert writer.answer() == ""
    assert reader.call("get", pk)[0] == "third"


WAYS = {
    "autocommit": ({"atomic": False}, "after mark", "after statement"),
    "atomic": ({"atomic": True}, "after mark", "after COMMIT"),
}
LEASE_MS = 700


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> tuple[dict[str, bool], str, str]:
    """How a row is written, and two points: right after MARK, and when it is committed."""
    return WAYS[request.param]


def lose_done(
    pk: int,
    way: tuple[dict[str, bool], str, str],
    proxy: Proxy,
    writer: Process,
    *,
    lose_mark: Callable[[], None],
) -> None:
    """Have a row written by one whose MARK is lost before the commit, and whose DONE nobody hears."""
    how, marked, committed = way
    writer.call("stop", marked)
    writer.call("stop", committed)
    writer.start("update", pk, "new", **how)
    writer.wait_at(marked)
    lose_mark()
    writer.go()
    writer.wait_at(committed)
    proxy.cut()
    writer.go()
    assert writer.answer() == ""


def cached(process: Process, pk: int) -> None:
    wait_until(lambda: process.call("get", pk) == ["old", "hit"])


@pytest.mark.parametrize("policy", ["wait", "refuse"])
def test_a_done_that_is_not_heard_after_a_mark_that_was_lost(
    pk: int,
    way: tuple[dict[str, bool], str, str],
    policy: str,
    server: DisposableValkey,
    proxy: Proxy,
    start: Callable[..., Process],
) -> None:
    """Somebody empties the server after MARK, and others fill in the old row before the commit."""
    reader = start(redis_url=server.url)
    writer = start(redis_url=f"redis://{LOOPBACK}:{proxy.port}/0", CACHE_OUTAGE_WRITES=policy)

    def flush_and_fill() -> None:
        with redis.Redis.from_url(server.url) as direct:
            direct.flushall()
        cached(reader, pk)

    cached(reader, pk)
    lose_done(pk, way, proxy, writer, lose_mark=flush_and_fill)
    assert reader.call("get", pk)[0] == "new"
    assert not PendingInvalidation.objects.exists()


def test_a_done_that_is_not_heard_after_a_commit_that_took_longer_than_the_lease(
    pk: int,
    way: tuple[dict[str, bool], str, str],
    server: DisposableValkey,
    proxy: Proxy,
    start: Callable[..., Process],
) -> None:
    reader = start(redis_url=server.url)
    writer = start(
        redis_url=f"redis://{LOOPBACK}:{proxy.port}/0", lease_ms=LEASE_MS, CACHE_OUTAGE_WRITES="wait"
    )
    cached(reader, pk)
    lose_done(pk, way, proxy, writer, lose_mark=lambda: cached(reader, pk))
    assert reader.call("get", pk)[0] == "new"


def test_a_write_whose_done_is_not_heard_keeps_its_rows_out_of_the_cache_for_a_second_only(
    pk: int,
    way: tuple[dict[str, bool], str, str],
    server: DisposableValkey,
    proxy: Proxy,
    start: Callable[..., Process],
) -> None:
    """Not for the thirty of its lease; and it does not wait unless it was told to."""
    reader = start(redis_url=server.url)
    writer = start(redis_url=f"redis://{LOOPBACK}:{proxy.port}/0")
    cached(reader, pk)
    began = time.monotonic()
    lose_done(pk, way, proxy, writer, lose_mark=lambda: None)
    assert time.monotonic() - began < 1.0
    assert reader.call("get", pk)[0] == "new"
    wait_until(lambda: reader.call("get", pk) == ["new", "hit"])
    assert time.monotonic() - began < 5.0
    assert writer.call("get", pk)[0] == "new"


def test_a_write_that_failed_leaves_nothing_in_the_outbox_though_its_done_is_not_heard(
    pk: int, server: DisposableValkey, proxy: Proxy, start: Callable[..., Process]
) -> None:
    writer = start(redis_url=f"redis://{LOOPBACK}:{proxy.port}/0")
    writer.call("stop", "after mark")
    writer.start("update", pk, "much too long for the column that it is for" * 2)
    writer.wait_at("after mark")
    proxy.cut()
    writer.go()
    assert writer.answer() == "DataError"
    assert not PendingInvalidation.objects.exists()
    assert writer.call("plain", pk) == "old"
