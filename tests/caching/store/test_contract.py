"""One promise, kept by every store."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import redis

from perfkit.caching import tokens
from perfkit.caching.store import Store
from perfkit.caching.store.local import LocalStore
from perfkit.caching.store.redis import RedisStore
from perfkit.caching.tokens import is_in_flight, new_writer
from tests.caching.conftest import wait_until

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
        assert not is_in_flight(store.take([ROW])[0])

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

    def test_it_clears_everything(self, store: Store) -> None:
        store.take([ROW])
        store.fill({"e:1": b"entry"}, ttl_seconds=60)
        store.mark([TABLE], writer=new_writer())
        store.clear()
        assert store.tokens([ROW, TABLE]) == (None, None)
        assert store.read("e:1", [ROW, TABLE]).entry is None


class TestLocalStore(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return LocalStore()


@pytest.mark.redis
class TestRedisStore(StoreContract):
    @pytest.fixture
    def store(self, server_url: str) -> Iterator[Store]:
        with redis.Redis.from_url(server_url) as client:
            client.flushall()
            store = RedisStore(client, prefix="test", timeout_seconds=5)
            yield store
            store.close()
