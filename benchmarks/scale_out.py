"""What a cached read and a write cost on a cluster, beside one server: `python -m benchmarks.scale_out`.

Only the way to the servers and back is measured; the rest of a read or a write is the same for both.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final

import redis

from benchmarks.environment import facts
from perfkit.caching.store import Store
from perfkit.caching.store.cluster import ClusterStore
from perfkit.caching.store.connecting import hasty
from perfkit.caching.store.redis import RedisStore
from perfkit.caching.store.topology import Address, Topology
from perfkit.caching.tokens import new_writer
from project.services.valkey import valkey_binary
from tests.plugins.cluster import DisposableCluster
from tests.plugins.valkey import DisposableValkey

RESULTS: Final = Path(__file__).resolve().parent / "results" / "scale_out.json"
ROUNDS: Final = 300
CALLS: Final = 5
"""In a row, of each round and store."""

ROWS: Final = 40
TIMEOUT_SECONDS: Final = 5.0
ENTRY: Final = bytes(400)


def tags(row: int) -> list[str]:
    """Return those of a row: a get by key depends on them, and a save writes one more."""
    return [f"r:default:shop_item:{row}", "b:default:shop_item"]


def hit(store: Store, row: int) -> None:
    entry, _ = store.read(f"e:{row}", tags(row))
    if entry is None:
        raise LookupError(f"row {row} was not in the cache")


def hit_in_memory(store: Store, row: int) -> None:
    store.tokens(tags(row))


def write(store: Store, row: int) -> None:
    writer = new_writer()
    written = [f"r:default:shop_item:{row}", "a:default:shop_item"]
    store.mark(written, writer=writer)
    store.done(written, writer=writer)


ACTS: Final[dict[str, Callable[[Store, int], None]]] = {
    "a hit: the entry and two tokens": hit,
    "a hit in the process's memory: two tokens": hit_in_memory,
    "a write: MARK and DONE of two tags": write,
}


@contextmanager
def stores() -> Iterator[dict[str, Store]]:
    """Start a server and a cluster of three primaries, each with a replica, and open a store on each."""
    server = DisposableValkey()
    server.start()
    cluster = DisposableCluster(valkey_binary(), replicas=3)
    try:
        cluster.start()
        client = redis.Redis.from_url(server.url)
        one = RedisStore(client, prefix="bench", timeout_seconds=TIMEOUT_SECONDS)
        addresses = [Address(*address) for address in cluster.addresses]
        settings = hasty({}, timeout_seconds=TIMEOUT_SECONDS)
        many = ClusterStore(Topology(addresses, redis.Connection, settings, prefix="bench"))
        yield {"one server": one, "three primaries": many}
        one.close()
        many.close()
        client.close()
    finally:
        cluster.stop()
        server.kill()


def measured(found: dict[str, Store]) -> dict[str, dict[str, float]]:
    """Return the median of each act on each store, in microseconds, taken in turns."""
    for store in found.values():
        for row in range(ROWS):
            store.take(tags(row))
            store.fill({f"e:{row}": ENTRY}, ttl_seconds=3600)
    took: dict[str, dict[str, list[float]]] = {act: {name: [] for name in found} for act in ACTS}
    for number in range(ROUNDS):
        for act, do in ACTS.items():
            for name, store in found.items():
                began = time.perf_counter()
                for call in range(CALLS):
                    do(store, (number + call) % ROWS)
                took[act][name].append((time.perf_counter() - began) / CALLS * 1e6)
    return {act: {name: median(each) for name, each in by.items()} for act, by in took.items()}


def main() -> int:
    """Measure, tell, and keep what was measured."""
    with stores() as found:
        told = measured(found)
        names = list(found)
    rows = [[act, *(f"{by[name]:.0f}" for name in names)] for act, by in told.items()]
    results = {
        "room": "scale_out",
        "setting": (
            f"Medians of {ROUNDS} interleaved rounds on one machine; the cluster's nodes share its cores "
            "with each other and with the reader."
        ),
        "environment": facts("Valkey 9.1", ("redis",)),
        "table": [["µs a call", *names], *rows],
    }
    RESULTS.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for row in results["table"]:
        print(" | ".join(str(cell) for cell in row))
    return 0


if __name__ == "__main__":
    sys.exit(main())
