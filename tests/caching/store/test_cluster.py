"""What can happen to a cluster: slots move, nodes change places, die, hang, or are cut off."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from perfkit.caching.store import Store, StoreError
from perfkit.caching.store.cluster import ClusterStore
from perfkit.caching.store.topology import slot_of
from perfkit.caching.tokens import is_in_flight, new_writer
from tests.caching.conftest import wait_until
from tests.caching.store.conftest import KINDS, opened_over
from tests.plugins.cluster import ClusterServer, DisposableCluster
from tests.plugins.nodes import programs, wait_for

pytestmark = pytest.mark.redis

TAGS = [f"r:default:t:{number}" for number in range(300)]
TTL_SECONDS = 60


@pytest.fixture
def store(cluster: DisposableCluster) -> Iterator[ClusterStore]:
    for node in cluster.primaries:
        node.client.flushall()
    store = opened_over(cluster)
    yield store
    store.close()


def names_on(cluster: DisposableCluster, server: ClusterServer, stem: str = "r:default:t") -> Iterator[str]:
    """Yield tags whose tokens this node keeps at present."""
    number = 0
    while True:
        name = f"{stem}:{number}"
        if cluster.serving(slot_of(name)) is server:
            yield name
        number += 1


def filled(store: Store, tags: list[str], entry: bytes = b"entry") -> tuple[bytes, ...]:
    """Keep an entry made with the present tokens of tags, and return these."""
    tokens = store.take(tags)
    store.fill({"e:1": entry}, ttl_seconds=TTL_SECONDS)
    return tokens


def is_void(store: Store, tags: list[str], tokens: tuple[bytes, ...]) -> bool:
    """Say whether no reader would be shown an entry made with these tokens."""
    entry, found = store.read("e:1", tags)
    return entry is None or found != tokens


@pytest.mark.parametrize(
    "act",
    [
        lambda store: store.tokens(TAGS),
        lambda store: store.read("e:1", TAGS),
        lambda store: store.take(TAGS),
        lambda store: store.mark(TAGS, writer="0a"),
        lambda store: store.done(TAGS, writer="0a"),
        lambda store: store.fill(dict.fromkeys(TAGS, b"x"), ttl_seconds=TTL_SECONDS),
    ],
    ids=["tokens", "read", "take", "mark", "done", "fill"],
)
def test_it_asks_each_node_once_however_many_tags(
    cluster: DisposableCluster, store: ClusterStore, act: Callable[[ClusterStore], object]
) -> None:
    store.take(TAGS)
    act(store)  # the first time loads the scripts
    own = "CLUSTER", "INFO"  # what tells the reign is asked once with each round trip
    before = [calls_of(node, *own) for node in cluster.primaries]
    act(store)
    after = [calls_of(node, *own) for node in cluster.primaries]
    assert [late - early for early, late in zip(before, after, strict=True)] == [1, 1, 1]


def calls_of(node: ClusterServer, *command: str) -> int:
    told = node.client.info("commandstats")
    return int(told.get(f"cmdstat_{'|'.join(command).lower()}", {"calls": 0})["calls"])


def test_a_miss_of_a_few_missing_tokens_is_two_round_trips(
    cluster: DisposableCluster, store: ClusterStore
) -> None:
    first = next(names_on(cluster, cluster.primaries[0]))
    key = next(names_on(cluster, cluster.primaries[0], "e"))
    store.tokens([first])
    for _ in range(2):
        before = calls_of(cluster.primaries[0], "CLUSTER", "INFO")
        entry, [token] = store.read(key, [first])
        assert entry is None
        assert token is not None
        rounds = calls_of(cluster.primaries[0], "CLUSTER", "INFO") - before
        if rounds == 1:
            break
    assert rounds == 1, "with its tokens there, it is one"


@given(st.text(min_size=1).map(lambda text: f"c:default:t:{text}"))
def test_a_name_has_the_slot_that_the_server_gives_its_key(shared_store: ClusterStore, name: str) -> None:
    [token] = shared_store.take([name])
    assert shared_store.tokens([name]) == (token,)


@pytest.fixture(scope="module")
def shared_store(cluster: DisposableCluster) -> Iterator[ClusterStore]:
    store = opened_over(cluster, prefix="a {prefix} with {braces")
    yield store
    store.close()


def test_it_keeps_prefixes_apart(cluster: DisposableCluster, store: ClusterStore) -> None:
    other, starred = opened_over(cluster, prefix="tes"), opened_over(cluster, prefix="t*t")
    tokens = filled(store, TAGS)
    assert other.tokens(TAGS) == (None,) * len(TAGS)
    other.take(TAGS)
    other.clear()
    starred.clear()
    assert store.read("e:1", TAGS) == (b"entry", tokens)
    other.close()
    starred.close()


def test_it_gives_every_key_an_end(cluster: DisposableCluster, store: ClusterStore) -> None:
    store.mark(TAGS[:100], writer="0a")
    store.done(TAGS[50:200], writer="0a")
    store.take(TAGS)
    store.fill({"e:1": b"entry", "e:2": b"entry"}, ttl_seconds=TTL_SECONDS)
    keys = [(node, key) for node in cluster.primaries for key in node.client.scan_iter()]
    assert len(keys) == 302
    assert all(node.client.pttl(key) > 0 for node, key in keys)


def test_it_says_so_where_no_node_answers() -> None:
    cluster = DisposableCluster(programs()["valkey"](), replicas=0)  # type: ignore[arg-type]  # never started
    store = opened_over(cluster)
    for act in (
        lambda: store.read("e:1", ["r:1"]),
        lambda: store.take(["r:1"]),
        lambda: store.fill({"e:1": b"x"}, ttl_seconds=1),
        lambda: store.mark(["r:1"], writer="0a"),
        lambda: store.void(["r:1"]),
        lambda: store.lease("l:1", lease_ms=1),
        store.probe,
        store.clear,
    ):
        with pytest.raises(StoreError):
            act()
    cluster.stop()


def test_it_says_so_where_the_server_is_no_cluster(server_url: str) -> None:
    from perfkit.caching.store.connecting import hasty
    from perfkit.caching.store.topology import Address, Topology

    port = int(server_url.rsplit(":", 1)[1].split("/", maxsplit=1)[0])
    settings = hasty({}, timeout_seconds=5)
    store = ClusterStore(Topology([Address("127.0.0.1", port)], redis.Connection, settings, prefix="test"))
    with pytest.raises(StoreError, match=r"[Cc]luster mode"):
        store.take(["r:1"])


def test_a_child_finds_out_by_itself(store: ClusterStore) -> None:
    tokens = store.take(TAGS)
    child = os.fork()
    if not child:
        os._exit(store.take(TAGS) != tokens)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert store.take(TAGS) == tokens


class TestSlots:
    """A slot goes to another node, and comes back."""

    def test_it_follows_a_slot_at_once(self, cluster: DisposableCluster, store: ClusterStore) -> None:
        source, target = cluster.primaries[:2]
        name = next(names_on(cluster, source))
        tokens = filled(store, [name])
        others = store.take(TAGS)
        cluster.move(slot_of(name), source, target)
        assert is_void(store, [name], tokens)
        assert store.take([name]) != tokens
        store.mark(TAGS, writer="0a")
        store.done(TAGS, writer="0a")
        assert set(store.take(TAGS)).isdisjoint(others)
        cluster.move(slot_of(name), target, source)

    def test_it_trusts_nothing_that_comes_back_with_a_slot(
        self, cluster: DisposableCluster, store: ClusterStore
    ) -> None:
        """The keys go with their slot; a write that happens there is not known to those that come back."""
        source, target = cluster.primaries[:2]
        name, key = next(names_on(cluster, source)), "e:1"
        tokens = filled(store, [name])
        idle = opened_over(cluster)
        assert idle.read(key, [name]) == (b"entry", tokens)
        assert cluster.move(slot_of(name), source, target) == 1
        writer = new_writer()
        store.mark([name], writer=writer)
        store.done([name], writer=writer)
        assert cluster.move(slot_of(name), target, source) >= 2
        assert any(source.client.get(key) == tokens[0] for key in source.client.scan_iter())
        for each in (idle, store):
            assert is_void(each, [name], tokens)
        idle.close()

    def test_a_slot_on_its_way_is_an_outage_for_what_is_not_there_any_more(
        self, cluster: DisposableCluster, store: ClusterStore
    ) -> None:
        source, target = cluster.primaries[:2]
        name = next(names_on(cluster, source))
        slot = slot_of(name)
        [token] = store.take([name])
        cluster.begin_to_move(slot, source, target)
        assert store.tokens([name]) == (token,)
        store.mark([name], writer="0a")
        assert is_in_flight(store.take([name])[0])
        store.done([name], writer="0a")
        cluster.move_keys(slot, source, target)
        for act in (
            lambda: store.take([name]),
            lambda: store.mark([name], writer="0a"),
            lambda: store.done([name], writer="0a"),
        ):
            with pytest.raises(StoreError):
                act()
        cluster.end_move(slot, target)
        assert store.take([name]) != (token,)
        cluster.move(slot, target, source)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class TestFailOver:
    """A replica takes the place of its primary."""

    def test_it_trusts_nothing_when_the_first_one_is_back_in_charge(
        self, kind: str, start_cluster: Callable[..., DisposableCluster]
    ) -> None:
        """It was not restarted, and no connection broke; it has heard nothing of the writes meanwhile."""
        cluster = start_cluster(kind=kind, replicas=1)
        first, second = cluster.primaries[0], cluster.replicas[0]
        name = next(names_on(cluster, first))
        store, idle = opened_over(cluster), opened_over(cluster)
        tokens = filled(store, [name])
        idle.read("e:1", [name])
        cluster.fail_over(first, second)
        writer = new_writer()
        store.mark([name], writer=writer)
        store.done([name], writer=writer)
        cluster.fail_over(second, first)
        assert any(first.client.get(key) == tokens[0] for key in first.client.scan_iter())
        for each in (idle, store):
            assert is_void(each, [name], tokens)
            each.close()

    def test_it_goes_on_with_a_replica_that_has_older_data(
        self, kind: str, start_cluster: Callable[..., DisposableCluster]
    ) -> None:
        cluster = start_cluster(kind=kind)
        first, second = cluster.primaries[0], cluster.replicas[0]
        name = next(names_on(cluster, first))
        store = opened_over(cluster, timeout_seconds=0.5)
        tokens = filled(store, [name])
        wait_for(lambda: second.client.dbsize() == first.client.dbsize())
        second.pause()
        first.ask("CLIENT", "KILL", "TYPE", "replica")  # else it would find the rest in the pipe
        writer = new_writer()
        store.mark([name], writer=writer)
        store.done([name], writer=writer)
        first.kill()
        second.resume()
        began = time.monotonic()
        with pytest.raises(StoreError):
            store.read("e:1", [name])
        assert time.monotonic() - began < 1.5
        wait_until(lambda: answers(store.probe), seconds=30)
        assert second.is_primary()
        assert any(token == tokens[0] for token in values(second)), "it would be shown what is old"
        assert is_void(store, [name], tokens)
        store.mark([name], writer=writer)
        assert is_in_flight(store.take([name])[0])
        store.done([name], writer=writer)
        store.close()

    def test_a_node_that_hangs_is_an_outage_until_its_replica_is_in_charge(
        self, start_cluster: Callable[..., DisposableCluster]
    ) -> None:
        cluster = start_cluster()
        first, second = cluster.primaries[0], cluster.replicas[0]
        store = opened_over(cluster, timeout_seconds=0.3)
        tokens = store.take(TAGS)
        first.pause()
        began = time.monotonic()
        with pytest.raises(StoreError):
            store.mark(TAGS, writer="0a")
        assert time.monotonic() - began < 1.5
        wait_until(lambda: answers(store.probe), seconds=30)
        assert second.is_primary()
        taken = store.take(TAGS)
        assert all(
            late != early
            for early, late, tag in zip(tokens, taken, TAGS, strict=True)
            if cluster.serving(slot_of(tag)) is second
        )
        first.resume()
        wait_for(lambda: not first.is_primary())
        assert store.take(TAGS) == taken
        store.close()


def values(server: ClusterServer) -> list[bytes | None]:
    return [server.client.get(key) for key in server.client.scan_iter()]


def answers(act: Callable[[], object]) -> bool:
    try:
        act()
    except StoreError:
        return False
    return True


class TestCutOff:
    def test_a_primary_without_its_replica_is_not_believed(
        self, kind: str, start_cluster: Callable[..., DisposableCluster]
    ) -> None:
        """Its replica may have taken its place among those whom it does not hear."""
        options = ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "1")
        cluster = start_cluster(kind=kind, options=options)
        first, second = cluster.primaries[0], cluster.replicas[0]
        name = next(names_on(cluster, first))
        key = next(names_on(cluster, first, "e"))
        store = opened_over(cluster)
        wait_until(lambda: answers(store.probe))
        [token] = store.take([name])
        store.fill({key: b"entry"}, ttl_seconds=TTL_SECONDS)
        assert store.read(key, [name]) == (b"entry", (token,))
        second.pause()
        wait_until(lambda: not answers(lambda: store.read(key, [name])))
        assert not answers(lambda: store.tokens([name]))
        assert not answers(lambda: store.mark([name], writer="0a"))
        second.resume()
        wait_until(lambda: answers(store.probe))
        store.close()
