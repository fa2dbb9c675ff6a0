"""One promise, kept wherever numbers are added up."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

import pytest
import redis

from perfkit.caching.store.redis import RedisStore
from perfkit.monitoring.ledgers import Addition, Ledger, LocalLedger, ServerLedger, Told, added_up
from tests.caching.conftest import wait_until
from tests.caching.store.conftest import opened_over
from tests.plugins.cluster import DisposableCluster

DAY = 20_000


def told(
    writer: str,
    number: int,
    *,
    day: int = DAY,
    most: int = 10,
    seconds: int = 60,
    is_lasting: bool = False,
    **pages: dict,
) -> Told:
    added = {page: Addition(vectors, seconds, most, is_lasting) for page, vectors in pages.items()}
    return Told(writer, number, day, added)


class LedgerContract:
    @pytest.fixture
    def ledger(self) -> Ledger:
        raise NotImplementedError

    def test_it_adds_vectors_up_by_name_and_index(self, ledger: Ledger) -> None:
        assert ledger.read(["one", "two"]) == [{}, {}]
        assert ledger.add(told("a", 1, one={"x\tå": {0: 5, 400: 1}}, two={"x\tå": {0: 5}}))
        assert ledger.add(told("b", 1, one={"x\tå": {0: 10**15, 16: 2}, "y": {1: 1}}))
        assert ledger.read(["one", "two", "three"]) == [
            {"x\tå": {0: 10**15 + 5, 16: 2, 400: 1}, "y": {1: 1}},
            {"x\tå": {0: 5}},
            {},
        ]
        assert ledger.read([]) == []

    def test_it_returns_only_the_names_that_are_asked_for(self, ledger: Ledger) -> None:
        ledger.add(told("a", 1, one={"x": {0: 1}, "y": {0: 2}}, two={"z": {0: 3}}))
        assert ledger.read(["one", "two"], names=["y", "w"]) == [{"y": {0: 2}}, {}]

    def test_it_returns_what_groups_of_pages_hold_together(self, ledger: Ledger) -> None:
        ledger.add(told("a", 1, one={"x\tå": {0: 1, 2: 5}, "y": {0: 2}}, two={"x\tå": {0: 3, 9: 10**15}}))
        both = {"x\tå": {0: 4, 2: 5, 9: 10**15}, "y": {0: 2}}
        assert ledger.sums([["one", "two"], [], ["three"], ["two"]]) == [
            both,
            {},
            {},
            {"x\tå": {0: 3, 9: 10**15}},
        ]
        assert ledger.sums([["one", "two"]], names=["y", "w"]) == [{"y": {0: 2}}]
        assert ledger.sums([]) == []

    def test_groups_hold_what_their_pages_hold(self, ledger: Ledger) -> None:
        ledger.add(told("a", 1, one={"x": {0: 1, 2: 5}, "y": {0: 2}}, two={"x": {0: 3, 9: 1}, "z": {4: 4}}))
        chance = random.Random(5)
        for _ in range(100):
            groups = [chance.choices(["one", "two", "three"], k=chance.randrange(4)) for _ in range(3)]
            names = chance.sample(["x", "y", "z"], chance.randrange(4))
            together = [added_up(ledger.read(pages, names=names)) for pages in groups]
            assert ledger.sums(groups, names=names) == together

    def test_it_returns_pages_and_boards_together(self, ledger: Ledger) -> None:
        ledger.add(told("a", 1, one={"x": {0: 1}}, two={"y": {0: 2}}))
        ledger.post("board", {"a": b"\xff"}, kept_seconds=60, most=3)
        assert ledger.look(["one", "three", "two"], ["board", "nothing"]) == (
            {"x": {0: 1}, "y": {0: 2}},
            [{"a": b"\xff"}, {}],
        )
        assert ledger.look([], ["board"]) == ({}, [{"a": b"\xff"}])
        assert ledger.look([], []) == ({}, [])

    def test_it_adds_once_however_often_it_is_told(self, ledger: Ledger) -> None:
        again = told("a", 7, one={"x": {0: 1}})
        assert [ledger.add(again) for _ in range(3)] == [True, False, False]
        assert not ledger.add(told("a", 6, one={"x": {0: 100}}))
        assert not ledger.add(told("a", 7, day=DAY + 1, one={"x": {0: 100}}))
        assert ledger.add(told("a", 8, day=DAY + 1, one={"x": {0: 10}}))
        assert ledger.read(["one"]) == [{"x": {0: 11}}]

    def test_it_puts_what_a_page_has_no_room_for_under_one_name(self, ledger: Ledger) -> None:
        names = [f"view\t/{number}/" for number in range(30)]
        ledger.add(told("a", 1, one={name: {0: 1, 20: 1} for name in names[:10]}))
        ledger.add(told("a", 2, one={name: {0: 1, 20: 1} for name in names}))
        [found] = ledger.read(["one"])
        assert len(found) == 11
        assert found["view\tother"] == {0: 20, 20: 20}
        assert all(found[name] == {0: 2, 20: 2} for name in names[:10])

    def test_statements_leave_room_for_all_others(self, ledger: Ledger) -> None:
        many = {f"statement\tdefault\t{number}": {0: 1} for number in range(30)}
        few = {f"request\tGET\t/\t{status}xx": {0: 1} for status in (2, 4, 5)}
        ledger.add(told("a", 1, one=many, most=20))
        ledger.add(told("a", 2, one=few, most=20))
        [found] = ledger.read(["one"])
        assert len(found) == 14
        assert few.items() <= found.items()
        assert found["statement\tother"] == {0: 20}

    def test_names_that_are_not_seen_for_a_day_make_room(self, ledger: Ledger) -> None:
        numbers = iter(range(1, 100))

        def add(day: int, *names: str) -> dict[str, int]:
            for name in names:
                page = {f"view\t{name}": {0: 1}}
                ledger.add(told("a", next(numbers), day=DAY + day, most=3, is_lasting=True, one=page))
            return {
                name.removeprefix("view\t"): vector[0] for name, vector in ledger.read(["one"])[0].items()
            }

        assert add(0, "idle", "busy", "late", "new") == {"idle": 1, "busy": 1, "late": 1, "other": 1}
        assert add(1, "late", "new") == {"idle": 1, "busy": 1, "late": 2, "other": 2}
        assert add(2, "busy", "new", "newer") == {"busy": 2, "late": 2, "new": 1, "other": 3}
        assert add(3, "new") == {"busy": 2, "late": 2, "new": 2, "other": 3}
        assert add(9, "busy", "newest") == {"busy": 3, "newest": 1, "other": 3}
        ledger.clear(["one"])
        assert add(9, "a", "b", "c", "d") == {"a": 1, "b": 1, "c": 1, "other": 1}

    def test_names_of_a_version_that_did_not_note_days_stay_for_a_day(self, ledger: Ledger) -> None:
        for number, is_lasting in ((1, False), (2, True)):
            names = {f"view\t{number}{each}": {0: 1} for each in range(3)}
            ledger.add(told("a", number, most=3, is_lasting=is_lasting, one=names))
        assert set(ledger.read(["one"])[0]) == {"view\t10", "view\t11", "view\t12", "view\tother"}

    def test_it_forgets_a_page_some_time_after_the_last_addition(self, ledger: Ledger) -> None:
        ledger.add(told("a", 1, seconds=1, one={"x": {0: 1}}))
        ledger.add(told("a", 2, seconds=60, two={"x": {0: 1}}))
        wait_until(lambda: ledger.read(["one"]) == [{}])
        assert ledger.read(["two"]) == [{"x": {0: 1}}]

    def test_it_keeps_the_last_note_of_each_name(self, ledger: Ledger) -> None:
        ledger.post("board", {"a": b"1", "b": b"\xff"}, kept_seconds=60, most=3)
        ledger.post("board", {"a": b"2", "c": b"3", "d": b"4"}, kept_seconds=60, most=3)
        ledger.post("board", {}, kept_seconds=60, most=3)
        assert ledger.posted(["board", "nothing"]) == [{"a": b"2", "b": b"\xff", "c": b"3"}, {}]
        ledger.take_down("board", ["a", "unknown"])
        ledger.take_down("board", [])
        assert ledger.posted(["board"]) == [{"b": b"\xff", "c": b"3"}]
        assert ledger.posted(["board"], names=["c", "unknown"]) == [{"c": b"3"}]
        assert ledger.posted([]) == []

    def test_it_clears_pages_and_boards(self, ledger: Ledger) -> None:
        ledger.add(told("a", 1, one={"x": {0: 1}}, two={"x": {0: 1}}))
        moment = ledger.post("board", {"a": b"1"}, kept_seconds=60, most=3)
        assert moment == pytest.approx(time.time(), abs=30)
        ledger.clear(["one", "board"])
        assert ledger.read(["one", "two"]) == [{}, {"x": {0: 1}}]
        assert ledger.posted(["board"]) == [{}]
        assert not ledger.add(told("a", 1, one={"x": {0: 1}})), "the writers are not forgotten"

    def test_it_adds_up_what_many_threads_tell(self, ledger: Ledger) -> None:
        def tell(writer: int) -> None:
            for number in range(1, 51):
                ledger.add(told(f"w{writer}", number, one={"all": {0: 1}, f"w{writer}": {0: 2}}))

        threads = [threading.Thread(target=tell, args=(writer,)) for writer in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        [found] = ledger.read(["one"])
        assert found == {"all": {0: 300}, **{f"w{writer}": {0: 100} for writer in range(6)}}


class TestLocalLedger(LedgerContract):
    @pytest.fixture
    def ledger(self) -> Ledger:
        return LocalLedger()


@pytest.mark.redis
class TestServerLedger(LedgerContract):
    @pytest.fixture
    def ledger(self, redis_url: str) -> Ledger:
        client = redis.Redis.from_url(redis_url)
        client.flushdb()
        return ServerLedger(RedisStore(client, prefix="ledgers", timeout_seconds=5.0))

    def test_it_survives_what_clears_the_cache(self, ledger: ServerLedger) -> None:
        ledger.add(told("a", 1, one={"x": {0: 1}}))
        ledger._store.void_all()
        ledger._store.clear()
        assert ledger.read(["one"]) == [{"x": {0: 1}}]


@pytest.mark.redis
class TestLedgerOverACluster(LedgerContract):
    @pytest.fixture
    def ledger(self, start_cluster: Callable[..., DisposableCluster]) -> Ledger:
        return ServerLedger(opened_over(start_cluster(replicas=0)))
