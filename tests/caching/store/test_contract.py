"""One promise, kept by every store."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import redis
from redis.sentinel import Sentinel, SentinelConnectionPool

from perfkit.caching import tokens
from perfkit.caching.named.heads import head_of, tokens_in
from perfkit.caching.store import Batch, Put, ScriptedStore, Store, StoreError
from perfkit.caching.store.local import LocalStore
from perfkit.caching.store.packing import Words
from perfkit.caching.store.redis import RedisStore
from perfkit.caching.store.scripts import ScriptForms
from perfkit.caching.tokens import is_in_flight, new_writer
from project.services.state import LOOPBACK
from tests.caching.conftest import wait_until
from tests.caching.store.conftest import opened_over
from tests.plugins.cluster import DisposableCluster
from tests.plugins.sentinel import Watch

ROW, OTHER, TABLE = "r:default:t:1", "r:default:t:2", "b:default:t"


class StoreContract:
    """What a store of entries and tokens must do."""

    @pytest.fixture
    def store(self) -> Store | Iterator[Store]:
        raise NotImplementedError

    def token(self, store: Store, tag: str) -> bytes | None:
        return store.tokens([tag])[0]

    def test_it_knows_nothing_at_first(self, store: Store) -> None:
        assert store.tokens([ROW, TABLE]) == (None, None)
        assert store.read("e:1", [ROW, TABLE]).entry is None

    def test_it_gives_tags_new_tokens_where_there_is_no_entry(self, store: Store) -> None:
        found = store.read("e:1", [ROW, TABLE]).tokens
        assert all(token and not is_in_flight(token) for token in found)
        assert store.tokens([ROW, TABLE]) == found
        store.fill({"e:1": b"entry"}, ttl_seconds=60)
        assert store.read("e:1", [ROW, OTHER]) == (b"entry", (found[0], None))
        assert store.tokens([OTHER]) == (None,)

    def test_it_keeps_what_it_is_offered(self, store: Store) -> None:
        store.offer("e:1", b"entry", ttl_seconds=60)
        wait_until(lambda: store.read("e:1", [ROW]).entry == b"entry")

    def test_it_gives_a_tag_without_a_token_a_new_one_and_keeps_it(self, store: Store) -> None:
        taken = store.take([ROW, TABLE])
        assert all(token and not is_in_flight(token) for token in taken)
        assert store.take([ROW, TABLE]) == taken
        assert store.read("e:1", [ROW, TABLE]).tokens == taken

    def test_it_returns_tokens_in_the_order_asked_for(self, store: Store) -> None:
        [row] = store.take([ROW])
        [table] = store.take([TABLE])
        assert row != table
        assert store.take([TABLE, ROW]) == (table, row)
        assert store.tokens([TABLE, OTHER, ROW]) == (table, None, row)

    def test_it_recalls_named_entries_with_the_tokens_of_their_tags(self, store: Store) -> None:
        assert store.recall(["v:1"], []) == ((((None, ())),), ())
        taken = store.take([ROW, TABLE])
        entry = head_of((ROW, TABLE), taken) + b"body"
        store.fill({"v:1": entry}, ttl_seconds=60)
        assert store.recall(["v:1"], [OTHER]) == (((entry, taken),), ())
        assert store.tokens([OTHER]) == (None,), "nobody is about to fill"

    def test_it_gives_tokens_to_fill_with_where_a_named_entry_is_missing_or_void(self, store: Store) -> None:
        entries, taken = store.recall(["v:1"], [ROW, OTHER])
        assert entries == ((None, ()),)
        assert store.tokens([ROW, OTHER]) == taken
        entry = head_of((ROW,), taken[:1]) + b"body"
        store.fill({"v:1": entry}, ttl_seconds=60)
        store.void([ROW])
        [(stored, found)], again = store.recall(["v:1"], [ROW, TABLE])
        assert stored == entry
        assert found == again[:1] != taken[:1]
        [(one, _), (other, _)], some = store.recall(["v:1", "v:2"], [ROW])
        assert (one, other, some) == (entry, None, again[:1])

    def test_it_recalls_an_entry_one_of_whose_tokens_is_gone(self, store: Store) -> None:
        entry = head_of((ROW, OTHER), (b"g1", b"g2")) + b"body"
        store.fill({"v:1": entry}, ttl_seconds=60)
        [row] = store.take([ROW])
        assert store.recall(["v:1"], []) == (((entry, (row, None)),), ())

    def test_a_writer_in_flight_is_told(self, store: Store) -> None:
        [row] = store.take([ROW])
        store.fill({"v:1": head_of((ROW,), (row,)) + b"body"}, ttl_seconds=60)
        store.mark([ROW], writer=new_writer())
        [(_, [token])], [taken] = store.recall(["v:1"], [ROW])
        assert token == taken
        assert is_in_flight(token)  # type: ignore[arg-type]

    def test_it_puts_named_entries_with_tokens_of_that_moment(self, store: Store) -> None:
        [row] = store.take([ROW])
        body = bytes(range(256))
        store.put({"v:1": Put("k:1", ("k:1", ROW, OTHER), body)}, ttl_seconds=60)
        [(stored, found)], _ = store.recall(["v:1"], [])
        assert stored is not None
        assert stored == head_of(("k:1", ROW, OTHER), tokens_in(stored)) + body
        assert tokens_in(stored) == found == store.tokens(["k:1", ROW, OTHER])
        assert found[1] == row

    def test_what_was_there_before_is_void_for_those_who_have_it(self, store: Store) -> None:
        store.put({"v:1": Put("k:1", ("k:1",), b"one"), "v:2": Put("k:2", ("k:2",), b"two")}, ttl_seconds=60)
        before = store.tokens(["k:1", "k:2"])
        store.put({"v:1": Put("k:1", ("k:1",), b"more")}, ttl_seconds=60)
        after = store.tokens(["k:1", "k:2"])
        assert (before[0] == after[0], before[1] == after[1]) == (False, True)

    def test_it_swaps_a_token_that_nobody_has_changed(self, store: Store) -> None:
        [before] = store.take([ROW])
        after = store.swap(ROW, before)
        assert after not in {None, before}
        assert store.tokens([ROW]) == (after,)
        assert store.swap(ROW, before) is None
        assert store.swap(OTHER, before) is None
        assert store.tokens([ROW, OTHER]) == (after, None)

    def test_it_finds_entries_by_a_pattern_and_drops_them(self, store: Store) -> None:
        keys = [f"v:x:{n}" for n in range(30)] + ["v:y*:1"]
        store.fill(dict.fromkeys(keys, b"entry"), ttl_seconds=60)
        found = sorted({key for some in store.find("v:x:1*") for key in some})
        assert found == sorted(key for key in keys if key.startswith("v:x:1"))
        assert store.drop(found) == len(found)
        assert store.drop(found) == 0
        assert store.drop([]) == 0
        assert not any(store.find("v:x:1*"))
        assert store.drop(keys) == len(keys) - len(found)

    def test_what_is_no_named_entry_is_none(self, store: Store) -> None:
        store.fill({"v:1": b"entry", "v:2": b"\n\nentry", "v:3": b""}, ttl_seconds=60)
        assert store.recall(["v:1", "v:2", "v:3"], []).entries == ((None, ()),) * 3

    def test_it_never_gives_the_same_token_twice(self, store: Store) -> None:
        seen = set()
        for _ in range(20):
            seen.add(store.take([ROW])[0])
            store.clear()
        assert len(seen) == 20

    def test_it_returns_an_entry_byte_for_byte(self, store: Store) -> None:
        entry = bytes(range(256)) * 20
        store.fill({"e:1": entry, "e:2": b""}, ttl_seconds=60)
        assert store.read("e:1", [ROW]).entry == entry
        assert store.read("e:2", [ROW]).entry == b""

    def test_it_returns_many_entries_in_the_order_asked_for(self, store: Store) -> None:
        store.fill({"e:1": b"one", "e:2": b"two"}, ttl_seconds=60)
        assert store.entries(["e:2", "e:3", "e:1"]) == (b"two", None, b"one")
        assert store.entries([]) == ()

    def test_it_replaces_an_entry(self, store: Store) -> None:
        store.fill({"e:1": b"old"}, ttl_seconds=60)
        store.fill({"e:1": b"new"}, ttl_seconds=60)
        assert store.read("e:1", [ROW]).entry == b"new"

    def test_it_forgets_an_entry_at_the_end_of_its_time(self, store: Store) -> None:
        store.fill({"e:1": b"short"}, ttl_seconds=1)
        store.fill({"e:2": b"long"}, ttl_seconds=60)
        assert store.read("e:1", [ROW]).entry == b"short"
        wait_until(lambda: store.read("e:1", [ROW]).entry is None)
        assert store.read("e:2", [ROW]).entry == b"long"

    def test_it_forgets_an_unused_token(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tokens, "TOKEN_TTL_MS", 50)
        [first] = store.take([ROW])
        wait_until(lambda: self.token(store, ROW) is None)
        assert store.take([ROW]) != (first,)

    def test_it_stores_nothing_where_there_is_nothing(self, store: Store) -> None:
        store.fill({}, ttl_seconds=60)
        store.mark([], writer=new_writer())
        store.void([])
        assert store.take([]) == ()

    def test_it_says_that_a_write_is_in_flight_until_it_is_done(self, store: Store) -> None:
        before = store.take([ROW, TABLE])
        writer = new_writer()
        store.mark([ROW], writer=writer)
        marked, table = store.read("e:1", [ROW, TABLE]).tokens
        assert marked is not None
        assert is_in_flight(marked)
        assert table == before[1]
        assert store.take([ROW]) == (marked,), "taking must not give a marked tag a usable token"
        store.done([ROW], writer=writer)
        after = self.token(store, ROW)
        assert after is not None
        assert not is_in_flight(after)
        assert after != before[0]

    def test_it_marks_a_tag_that_has_no_token(self, store: Store) -> None:
        store.mark([ROW], writer=new_writer())
        assert is_in_flight(store.take([ROW])[0])

    def test_it_waits_for_the_last_of_several_writers(self, store: Store) -> None:
        writers = [new_writer() for _ in range(5)]
        for writer in writers:
            store.mark([ROW], writer=writer)
        for writer in writers[1:]:
            store.done([ROW], writer=writer)
            assert is_in_flight(store.take([ROW])[0])
        store.done([ROW], writer=writers[0])
        assert not is_in_flight(store.take([ROW])[0])

    def test_it_changes_the_token_though_the_mark_was_lost(self, store: Store) -> None:
        writer = new_writer()
        store.mark([ROW], writer=writer)
        store.clear()
        [between] = store.take([ROW])
        store.done([ROW], writer=writer)
        assert self.token(store, ROW) not in {between, None}

    def test_it_lets_a_second_mark_of_a_writer_count_once(self, store: Store) -> None:
        writer = new_writer()
        store.mark([ROW], writer=writer)
        store.mark([ROW], writer=writer)
        store.done([ROW], writer=writer)
        assert not is_in_flight(store.take([ROW])[0])

    def test_it_ends_the_lease_of_a_dead_writer(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        [before] = store.take([ROW])
        monkeypatch.setattr(tokens, "WRITE_LEASE_MS", 60)
        store.mark([ROW], writer=new_writer())
        wait_until(lambda: self.token(store, ROW) is None)
        [after] = store.take([ROW])
        assert not is_in_flight(after)
        assert after != before

    def test_it_does_not_let_others_renew_a_dead_writer(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tokens, "WRITE_LEASE_MS", 150)
        store.mark([ROW], writer=new_writer())
        monkeypatch.setattr(tokens, "WRITE_LEASE_MS", 60_000)
        first = new_writer()
        store.mark([ROW], writer=first)
        store.done([ROW], writer=first)
        assert is_in_flight(store.take([ROW])[0]), "the dead writer's lease has not ended yet"

        def usable_after_another_write() -> bool:
            writer = new_writer()
            store.mark([ROW], writer=writer)
            store.done([ROW], writer=writer)
            return not is_in_flight(store.take([ROW])[0])

        wait_until(usable_after_another_write, seconds=5)

    def test_it_does_not_let_a_short_lease_cut_a_longer_one(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        long, short, probe = new_writer(), new_writer(), "r:default:t:probe"
        store.mark([ROW], writer=long)
        monkeypatch.setattr(tokens, "WRITE_LEASE_MS", 50)
        store.mark([ROW, probe], writer=short)
        wait_until(lambda: self.token(store, probe) is None)
        assert is_in_flight(store.take([ROW])[0])
        store.done([ROW], writer=long)
        # A cluster's nodes were not told of the short one at the same moment.
        wait_until(lambda: not is_in_flight(store.take([ROW])[0]), seconds=5)

    def test_it_voids_what_was_stored(self, store: Store) -> None:
        before = store.take([ROW, OTHER])
        store.void([ROW, TABLE])
        row, other, table = store.read("e:1", [ROW, OTHER, TABLE]).tokens
        assert row not in {before[0], None}
        assert other == before[1]
        assert table is not None

    def test_it_leaves_a_token_in_flight_alone_when_it_voids(self, store: Store) -> None:
        writer = new_writer()
        store.mark([ROW], writer=writer)
        marked = self.token(store, ROW)
        store.void([ROW])
        assert self.token(store, ROW) == marked
        store.done([ROW], writer=writer)
        assert not is_in_flight(store.take([ROW])[0])

    def test_it_forgets_writers_that_will_never_be_done(self, store: Store) -> None:
        gone, living = new_writer(), new_writer()
        store.mark([ROW, OTHER], writer=gone)
        store.mark([ROW], writer=living)
        store.void([ROW, OTHER, TABLE], writers=[gone, new_writer()])
        assert [is_in_flight(token) for token in store.take([ROW, OTHER, TABLE])] == [True, False, False]
        store.done([ROW], writer=living)
        assert not is_in_flight(store.take([ROW])[0])

    def test_it_leases_to_one_at_a_time(self, store: Store) -> None:
        assert store.lease("l:1", lease_ms=60_000)
        assert not store.lease("l:1", lease_ms=60_000)
        assert store.lease("l:2", lease_ms=60_000)
        store.release("l:1")
        assert store.lease("l:1", lease_ms=60_000)
        store.release("l:never leased")

    def test_it_ends_a_lease(self, store: Store) -> None:
        assert store.lease("l:1", lease_ms=50)
        deadline = time.monotonic() + 10
        while not store.lease("l:1", lease_ms=60_000):
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def test_it_changes_many_tags_at_once(self, store: Store) -> None:
        tags = [f"r:default:t:{number}" for number in range(1000)]
        before = store.take(tags)
        writer = new_writer()
        store.mark(tags, writer=writer)
        assert all(is_in_flight(token) for token in store.take(tags))
        store.done(tags, writer=writer)
        after = store.take(tags)
        assert not any(is_in_flight(token) for token in after)
        assert set(before).isdisjoint(after)

    def test_it_can_be_probed(self, store: Store) -> None:
        store.probe()

    def test_it_clears_everything(self, store: Store) -> None:
        store.take([ROW])
        store.fill({"e:1": b"entry"}, ttl_seconds=60)
        store.mark([TABLE], writer=new_writer())
        store.clear()
        assert store.tokens([ROW, TABLE]) == (None, None)
        assert store.read("e:1", [ROW, TABLE]).entry is None

    def test_it_voids_everything(self, store: Store) -> None:
        tags = [f"r:default:t:{number}" for number in range(1500)]
        before = store.take(tags)
        store.fill({"e:1": b"entry", "q:1": b"answer"}, ttl_seconds=60)
        writer = new_writer()
        store.mark([TABLE], writer=writer)
        store.count(Batch("w", 1, {"hit": 1}), windows={"m1": 60})
        store.void_all()
        assert store.read("e:1", [ROW]).entry is None
        assert store.read("q:1", [ROW]).entry is None
        assert set(before).isdisjoint(store.take(tags))
        assert not any(map(is_in_flight, store.take(tags)))
        assert is_in_flight(store.take([TABLE])[0]), "who is about to commit is not forgotten"
        assert store.counted(["m1"]) == {"hit": 1}

    def test_it_adds_numbers_up(self, store: Store) -> None:
        assert store.counted(["m1", "h1"]) == {}
        store.count(Batch("a", 1, {"hit": 2, "miss\tå\tÖ": 1}), windows={"m1": 60, "h1": 60})
        store.count(Batch("b", 1, {"hit": 3}), windows={"m2": 60, "h1": 60})
        store.count(Batch("a", 2, {"hit": 1_000_000_000_000}), windows={"m2": 60, "h1": 60})
        assert store.counted(["m1"]) == {"hit": 2, "miss\tå\tÖ": 1}
        assert store.counted(["m1", "m2"]) == {"hit": 1_000_000_000_005, "miss\tå\tÖ": 1}
        assert store.counted(["h1"]) == store.counted(["m1", "m2", "m3"])
        assert store.counted([]) == {}

    def test_it_adds_a_batch_once_however_often_it_is_told(self, store: Store) -> None:
        batch = Batch("a", 7, {"hit": 2})
        for _ in range(3):
            store.count(batch, windows={"m1": 60, "h1": 60})
        store.count(Batch("a", 6, {"hit": 100}), windows={"m1": 60})
        store.count(Batch("b", 1, {"hit": 1}), windows={"m1": 60})
        assert store.counted(["m1"]) == {"hit": 3}
        assert store.counted(["h1"]) == {"hit": 2}

    def test_it_forgets_numbers_some_time_after_the_last(self, store: Store) -> None:
        store.count(Batch("a", 1, {"hit": 2}), windows={"m1": 1, "m2": 60})
        assert store.counted(["m1"]) == {"hit": 2}
        wait_until(lambda: store.counted(["m1"]) == {})
        assert store.counted(["m1", "m2"]) == {"hit": 2}
        store.count(Batch("a", 2, {"hit": 3}), windows={"m1": 60})
        assert store.counted(["m1"]) == {"hit": 3}

    def test_it_adds_up_what_many_threads_tell(self, store: Store) -> None:
        def tell(writer: int) -> None:
            for number in range(1, 51):
                store.count(Batch(f"w{writer}", number, {"hit": 1, f"w{writer}": 2}), windows={"m1": 60})

        threads = [threading.Thread(target=tell, args=(writer,)) for writer in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert store.counted(["m1"]) == {"hit": 300, **{f"w{writer}": 100 for writer in range(6)}}

    def test_it_tells_figures_of_itself(self, store: Store) -> None:
        store.take([ROW, TABLE])
        store.fill({"e:1": bytes(50_000)}, ttl_seconds=60)
        found = store.figures()
        assert found.used_bytes >= 50_000
        assert found.evicted == 0
        assert found.keys == 3
        assert found.own_keys is None
        assert found.uptime_seconds is not None
        assert store.figures(counts_keys=True).own_keys == 3


class TestLocalStore(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return LocalStore()


class ScriptedContract(StoreContract):
    """What a store on a server must do besides: run the scripts of other rooms."""

    SCRIPT = ScriptForms.loaded("count", package="perfkit.caching.store")

    def counted_again(self, store: ScriptedStore, key: str, number: int) -> int:
        return store.run_script(self.SCRIPT, [key], Words.of(60_000, "writer", number, "field", 1))

    def test_it_runs_scripts_on_keys_that_outlive_what_is_cached(self, store: ScriptedStore) -> None:
        assert self.counted_again(store, "{a}:1", 1) == 1
        store.clear()
        store.void_all()
        assert self.counted_again(store, "{a}:1", 1) == 0
        assert self.counted_again(store, "{a}:1", 2) == 1
        assert self.counted_again(store, "{b}:1", 1) == 1

    def test_a_script_that_fails_is_told(self, store: ScriptedStore) -> None:
        with pytest.raises(StoreError):
            store.run_script(self.SCRIPT, ["{a}:1"], Words.of("no number", "writer", 1))


@pytest.mark.redis
class TestRedisStore(ScriptedContract):
    @pytest.fixture
    def store(self, server_url: str) -> Iterator[Store]:
        with redis.Redis.from_url(server_url) as client:
            client.flushall()
            store = RedisStore(client, prefix="test", timeout_seconds=5)
            yield store
            store.close()


@pytest.mark.redis
class TestClusterStore(ScriptedContract):
    @pytest.fixture
    def store(self, cluster: DisposableCluster) -> Iterator[Store]:
        for node in cluster.primaries:
            node.client.flushall()
        store = opened_over(cluster)
        yield store
        store.close()


@pytest.mark.redis
class TestSentinelStore(ScriptedContract):
    @pytest.fixture
    def store(self, watch: Watch) -> Iterator[Store]:
        pool = SentinelConnectionPool(
            watch.service, Sentinel([(LOOPBACK, sentinel.port) for sentinel in watch.sentinels])
        )
        with redis.Redis(connection_pool=pool) as client:
            watch.primary.client.flushall()
            store = RedisStore(client, prefix="test", timeout_seconds=5)
            yield store
            store.close()
        pool.sentinel_manager.close()
