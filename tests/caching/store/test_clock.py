"""The server's clock is set back or ahead: leases last longer or end too soon, and nothing is trusted for that.

What a server holds after its clock was set cannot be told from what it would hold if the ends of all leases and
keys had been moved the other way; so the tests move these.
"""

from __future__ import annotations

import pytest
import redis

from perfkit.caching.store.redis import RedisStore
from perfkit.caching.tokens import TOKEN_TTL_MS, WRITE_LEASE_MS, is_in_flight, new_writer

pytestmark = pytest.mark.redis

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
ROW = "r:default:t:1"


def set_clock(client: redis.Redis, *, ahead_ms: int) -> None:
    """Bring the server to the state it would be in if its clock had been set."""
    for key in list(client.scan_iter()):
        token = client.get(key) or b""
        left_ms = client.pttl(key) - ahead_ms
        if is_in_flight(token):
            pairs = (pair.split(b"@") for pair in token[1:].split(b","))
            token = b"w" + b",".join(b"%s@%d" % (writer, int(end) - ahead_ms) for writer, end in pairs)
        if left_ms > 0:
            client.set(key, token, px=left_ms)
        else:
            client.delete(key)


def in_flight(store: RedisStore) -> bool:
    return is_in_flight(store.take([ROW])[0])


@pytest.mark.parametrize("ahead_ms", [-HOUR_MS, -60_000, -1_000, 1_000])
def test_it_keeps_a_writer_and_lets_it_go_when_it_is_done(
    client: redis.Redis, store: RedisStore, ahead_ms: int
) -> None:
    [before] = store.take([ROW])
    writer, other = new_writer(), new_writer()
    store.mark([ROW], writer=writer)
    set_clock(client, ahead_ms=ahead_ms)
    store.mark([ROW], writer=other)
    store.done([ROW], writer=other)
    assert in_flight(store), "the first one is still there"
    store.done([ROW], writer=writer)
    assert not in_flight(store)
    assert store.take([ROW]) != (before,)


def test_it_forgets_a_dead_writer_at_the_next_write_where_its_lease_would_last_for_days(
    client: redis.Redis, store: RedisStore
) -> None:
    store.mark([ROW], writer=new_writer())
    set_clock(client, ahead_ms=-2 * DAY_MS)
    assert in_flight(store)
    writer = new_writer()
    store.mark([ROW], writer=writer)
    store.done([ROW], writer=writer)
    assert not in_flight(store)
    assert client.pttl(client.keys()[0]) <= TOKEN_TTL_MS


def test_it_forgets_a_dead_writer_for_good_after_a_day(client: redis.Redis, store: RedisStore) -> None:
    store.mark([ROW], writer=new_writer())
    set_clock(client, ahead_ms=-20 * HOUR_MS)
    assert in_flight(store), "reads go to the database meanwhile"
    set_clock(client, ahead_ms=20 * HOUR_MS + WRITE_LEASE_MS)
    assert not in_flight(store)


def test_it_trusts_nothing_from_before_a_lease_that_ended_too_soon(
    client: redis.Redis, store: RedisStore
) -> None:
    [before] = store.take([ROW])
    writer = new_writer()
    store.mark([ROW], writer=writer)
    set_clock(client, ahead_ms=HOUR_MS)
    [meanwhile] = store.take([ROW])
    assert meanwhile != before
    store.done([ROW], writer=writer)
    [after] = store.take([ROW])
    assert after not in {before, meanwhile}, "what was filled meanwhile may be from before COMMIT"


def test_it_drops_a_lease_that_is_over_though_its_key_is_there(
    client: redis.Redis, store: RedisStore
) -> None:
    store.mark([ROW], writer="0a")
    [key] = client.keys()
    seconds, _ = client.time()
    client.set(key, b"w0a@%d" % (seconds * 1000 - 1), px=HOUR_MS)
    store.void([ROW])
    assert not in_flight(store)


def test_it_ends_a_lease_on_filling_by_its_own_time(client: redis.Redis, store: RedisStore) -> None:
    assert store.lease("l:1", lease_ms=1_000)
    set_clock(client, ahead_ms=2_000)
    assert store.lease("l:1", lease_ms=1_000)
