from __future__ import annotations

from perfkit.caching.store.local import LocalStore


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_it_drops_the_least_recently_read_beyond_its_bound() -> None:
    store = LocalStore(most_bytes=100)
    store.fill({f"e:{number}": b"x" * 17 for number in range(5)}, ttl_seconds=60)
    assert store.read("e:0", []).entry is not None
    store.fill({"e:5": b"x" * 17}, ttl_seconds=60)
    kept = [number for number in range(6) if store.read(f"e:{number}", []).entry is not None]
    assert kept == [0, 2, 3, 4, 5]


def test_it_does_not_keep_an_entry_larger_than_its_bound() -> None:
    store = LocalStore(most_bytes=10)
    store.fill({"e:1": b"x" * 11}, ttl_seconds=60)
    assert store.read("e:1", []).entry is None
    store.fill({"e:2": b"x" * 7}, ttl_seconds=60)
    assert store.read("e:2", []).entry is not None


def test_it_counts_a_replaced_entry_once() -> None:
    store = LocalStore(most_bytes=30)
    for _ in range(10):
        store.fill({"e:1": b"x" * 17}, ttl_seconds=60)
    store.fill({"e:2": b"x" * 5}, ttl_seconds=60)
    assert store.read("e:1", []).entry is not None


def test_it_ends_entries_by_its_clock() -> None:
    clock = Clock()
    store = LocalStore(clock=clock)
    store.fill({"e:1": b"entry"}, ttl_seconds=60)
    clock.now += 59.9
    assert store.read("e:1", []).entry == b"entry"
    clock.now += 0.1
    assert store.read("e:1", []).entry is None


def test_it_keeps_a_writer_for_thirty_seconds() -> None:
    clock = Clock()
    store = LocalStore(clock=clock)
    store.mark(["r:1"], writer="0a")
    clock.now += 29.9
    assert store.take(["r:1"])[0].startswith(b"w")
    clock.now += 0.1
    assert store.take(["r:1"])[0].startswith(b"g")


def test_it_bounds_the_number_of_its_tokens() -> None:
    store = LocalStore(most_tokens=100)
    kept, *_ = store.take(["b:default:t"])
    for start in range(0, 2_000, 50):
        store.take([f"r:default:t:{number}" for number in range(start, start + 50)])
        assert store.tokens(["b:default:t"]) == (kept,), "the least recently used goes first"
    known = [store.tokens([f"r:default:t:{number}"])[0] is not None for number in range(2_000)]
    assert sum(known) == 99
    assert all(known[-50:])
