"""One promise, kept wherever requests are counted."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import redis
from django.test import override_settings
from redis.sentinel import Sentinel, SentinelConnectionPool

from perfkit.caching.store.redis import RedisStore
from perfkit.errors import SettingsError
from perfkit.limiting.counters import Counter, LocalCounter, Plan, ServerCounter, current_counter
from perfkit.limiting.rules import MICROSECONDS, NEVER
from perfkit.rates import Rate, rate_of
from project.services.state import LOOPBACK
from tests.api.limiting.conftest import LOCAL
from tests.caching.conftest import wait_until
from tests.caching.store.conftest import opened_over
from tests.plugins.cluster import DisposableCluster
from tests.plugins.sentinel import Watch
from tests.plugins.valkey import DisposableValkey

THREADS = 8


def admitted(counter: Counter, client: str, *rates: str, times: int, cost: int = 1) -> list[bool]:
    plan = Plan(tuple(rate_of(rate) for rate in rates))
    return [all(each.is_admitted for each in counter.take(client, plan, cost=cost)) for _ in range(times)]


class CounterContract:
    @pytest.fixture
    def counter(self) -> Counter | Iterator[Counter]:
        raise NotImplementedError

    @pytest.mark.parametrize("rate", ["5/hour", "5/hour burst 5", "500/hour burst 5"])
    def test_it_admits_the_limit_and_refuses_the_next(self, counter: Counter, rate: str) -> None:
        assert admitted(counter, "a", rate, times=8) == [True] * 5 + [False] * 3
        assert admitted(counter, "b", rate, times=1) == [True]

    def test_it_tells_what_remains_and_when_to_come_again(self, counter: Counter) -> None:
        rate = Rate(2, 3600)
        first, second, third = (counter.take("a", Plan((rate,)))[0] for _ in range(3))
        assert (first.remaining, second.remaining, third.remaining) == (1, 0, 0)
        assert first.retry_us == second.retry_us == 0
        assert 3599 * MICROSECONDS < third.retry_us <= 3600 * MICROSECONDS
        assert third.retry_us == third.refill_us

    def test_a_rate_is_part_of_the_key(self, counter: Counter) -> None:
        assert admitted(counter, "a", "1/hour", times=2) == [True, False]
        assert admitted(counter, "a", "2/hour", times=3) == [True, True, False]
        assert admitted(counter, "a", "2/hour burst 1", times=2) == [True, False]

    def test_a_request_may_cost_more(self, counter: Counter) -> None:
        assert admitted(counter, "a", "10/hour", times=4, cost=3) == [True] * 3 + [False]
        assert admitted(counter, "a", "10/hour", times=2) == [True, False]
        [beyond] = counter.take("b", Plan((Rate(10, 3600),)), cost=11)
        assert (beyond.is_admitted, beyond.retry_us, beyond.remaining) == (False, NEVER, 10)

    def test_what_one_rate_refuses_counts_against_none(self, counter: Counter) -> None:
        assert admitted(counter, "a", "2/hour", "3/day", times=4) == [True, True, False, False]
        assert admitted(counter, "a", "3/day", times=2) == [True, False]

    def test_a_large_limit_is_counted_in_steps(self, counter: Counter) -> None:
        assert sum(admitted(counter, "a", "200/hour", times=300)) == 200
        assert sum(admitted(counter, "b", "100000/day", times=12, cost=9_000)) == 11

    def test_it_admits_again_when_the_time_is_over(self, counter: Counter) -> None:
        for rate in ("1/s", "1/s burst 1"):
            assert admitted(counter, "a", rate, times=2) == [True, False]
            [standing] = counter.take("a", Plan((rate_of(rate),)))
            time.sleep(standing.retry_us / MICROSECONDS)
            assert admitted(counter, "a", rate, times=2) == [True, False]

    @pytest.mark.parametrize("rate", ["40/hour", "300/hour", "300/hour burst 40"])
    def test_threads_together_get_exactly_the_limit(self, counter: Counter, rate: str) -> None:
        barrier = threading.Barrier(THREADS)
        found: list[bool] = []

        def work() -> None:
            barrier.wait(10)
            found.extend(admitted(counter, "a", rate, times=60))

        threads = [threading.Thread(target=work) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(found) == THREADS * 60
        assert sum(found) == {"40/hour": 40, "300/hour": 300, "300/hour burst 40": 40}[rate]


class TestLocalCounter(CounterContract):
    @pytest.fixture
    def counter(self) -> Counter:
        return LocalCounter()

    def test_it_forgets_those_whose_time_is_over(self) -> None:
        now = 100.0
        counter = LocalCounter(clock=lambda: now)
        for number in range(50):
            admitted(counter, f"client {number}", "1/minute", times=1)
        now += 61
        admitted(counter, "another", "1/minute", times=1)
        assert len(counter._known) == 1

    def test_it_remembers_no_more_than_its_bound(self) -> None:
        counter = LocalCounter(most_known=10)
        for number in range(50):
            admitted(counter, f"client {number}", "1/minute", times=1)
        assert len(counter._known) == 10
        assert admitted(counter, "client 49", "1/minute", times=1) == [False]


@pytest.mark.redis
class TestRedisCounter(CounterContract):
    @pytest.fixture
    def counter(self, server_url: str) -> Iterator[Counter]:
        with redis.Redis.from_url(server_url) as client:
            client.flushall()
            store = RedisStore(client, prefix="test", timeout_seconds=5)
            yield ServerCounter(store)
            store.close()

    def test_it_is_one_round_trip_for_any_number_of_rates(self, counter: Counter, server_url: str) -> None:
        rates = tuple(Rate(number, 60) for number in range(1, 6))
        counter.take("a", Plan(rates))
        with redis.Redis.from_url(server_url) as client:
            client.config_resetstat()
            counter.take("a", Plan(rates))
            told = client.info("commandstats")
        assert told["cmdstat_evalsha"]["calls"] == 1
        assert not {"cmdstat_eval", "cmdstat_ping"} & told.keys()

    def test_every_key_has_an_end(self, counter: Counter, server_url: str) -> None:
        rates = (Rate(2, 60), Rate(500, 60), Rate(100, 60, 10))
        for _ in range(4):
            counter.take("a", Plan(rates))
        with redis.Redis.from_url(server_url) as client:
            ends = [client.pttl(key) for key in client.scan_iter()]
        assert len(ends) == 3
        assert all(0 < end <= 61_000 for end in ends)

    @pytest.mark.parametrize("foreign", ["list", "hash", "text", "nan", "bytes"])
    @pytest.mark.parametrize("rate", ["2/minute", "2/minute burst 2"])
    def test_what_is_not_its_own_makes_room(
        self, counter: Counter, server_url: str, rate: str, foreign: str
    ) -> None:
        assert admitted(counter, "a", rate, times=1) == [True]
        with redis.Redis.from_url(server_url) as client:
            [key] = client.scan_iter()
            client.delete(key)
            {
                "list": lambda: client.rpush(key, "x"),
                "hash": lambda: client.hset(key, "a", "b"),
                "text": lambda: client.set(key, "x"),
                "nan": lambda: client.set(key, "nan"),
                "bytes": lambda: client.set(key, b"\xff" * 24),
            }[foreign]()
        assert admitted(counter, "a", rate, times=3) == [True, True, False]

    def test_clearing_the_cache_leaves_it_alone(self, counter: ServerCounter) -> None:
        assert admitted(counter, "a", "1/hour", times=1) == [True]
        counter._store.clear()
        assert admitted(counter, "a", "1/hour", times=1) == [False]


@pytest.mark.redis
class TestClusterCounter(CounterContract):
    @pytest.fixture
    def counter(self, cluster: DisposableCluster) -> Iterator[Counter]:
        for node in cluster.primaries:
            node.client.flushall()
        store = opened_over(cluster)
        yield ServerCounter(store)
        store.close()

    def test_clients_lie_on_all_nodes(self, counter: Counter, cluster: DisposableCluster) -> None:
        for number in range(60):
            admitted(counter, f"client {number}", "2/hour", "3/hour", times=1)
        sizes = [node.client.dbsize() for node in cluster.primaries]
        assert sum(sizes) == 120
        assert all(sizes)


@pytest.mark.redis
class TestSentinelCounter(CounterContract):
    @pytest.fixture
    def counter(self, watch: Watch) -> Iterator[Counter]:
        sentinels = Sentinel([(LOOPBACK, sentinel.port) for sentinel in watch.sentinels])
        with redis.Redis(connection_pool=SentinelConnectionPool(watch.service, sentinels)) as client:
            watch.primary.client.flushall()
            store = RedisStore(client, prefix="test", timeout_seconds=5)
            yield ServerCounter(store)
            store.close()
            client.connection_pool.sentinel_manager.close()


@pytest.mark.redis
def test_a_connection_that_broke_meanwhile_costs_no_request_its_count(valkey_server) -> None:
    server: DisposableValkey = valkey_server()
    with redis.Redis.from_url(server.url) as client:
        store = RedisStore(client, prefix="test", timeout_seconds=5)
        counter = ServerCounter(store)
        assert admitted(counter, "a", "3/hour", times=1) == [True]
        client.client_kill_filter(_type="normal", skipme=True)
        wait_until(lambda: len(client.client_list(_type="normal")) == 1)
        assert admitted(counter, "a", "3/hour", times=3) == [True, True, False]
        store.close()


class TestCurrentCounter:
    def test_it_counts_in_the_process_where_the_cache_is_there(self) -> None:
        with override_settings(CACHES=LOCAL):
            assert isinstance(current_counter(), LocalCounter)
            assert current_counter() is current_counter()

    def test_it_counts_in_the_process_where_there_is_no_cache(self) -> None:
        dummy = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
        with override_settings(CACHES=dummy):
            assert isinstance(current_counter(), LocalCounter)

    @pytest.mark.redis
    def test_it_counts_on_the_server_of_the_alias(self) -> None:
        assert current_counter().is_shared

    def test_it_counts_nowhere_that_perfkit_does_not_know(self) -> None:
        file = {
            "default": {
                "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
                "LOCATION": "/nowhere",
            }
        }
        with override_settings(CACHES=file), pytest.raises(SettingsError, match="not supported"):
            current_counter()
