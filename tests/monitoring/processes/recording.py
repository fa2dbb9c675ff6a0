"""Records events, statements and reads until it is killed, and writes down before and after how many there were.

Arguments: the URL of the cache server, the folder of journals, the file of figures, events, threads, a seed.
"""

from __future__ import annotations

import mmap
import random
import struct
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import django
import redis
from django.conf import settings

NUMBERS = struct.Struct("<QQ")
"""Events that were begun, and those that were recorded, of each thread."""


def main(url: str, folder: str, figures: str, events: int, threads: int, seed: int) -> None:
    settings.configure(PERFKIT={"METRICS_INTERVAL": 0.1, "QUERY_SLOW_THRESHOLD": 60.0}, INSTALLED_APPS=[])
    django.setup()
    from perfkit.caching.store.redis import RedisStore
    from perfkit.monitoring import statements
    from perfkit.monitoring.ledgers import ServerLedger
    from perfkit.monitoring.recorder import Recorder
    from perfkit.monitoring.recording import switch

    ledger = ServerLedger(RedisStore(redis.Redis.from_url(url), prefix="recording", timeout_seconds=0.5))
    recorder = Recorder(folder=lambda: Path(folder), ledger=lambda: ledger)
    switch.look()
    statements.recorder = recorder  # type: ignore[misc]  # the process has this one alone
    connection = SimpleNamespace(alias="default")
    with Path(figures).open("r+b") as file:
        written = mmap.mmap(file.fileno(), 0)

    def counted(counter: Iterator[None], reads: int) -> Iterator[None]:
        """Count one, and return what counts the next."""
        while True:
            try:
                next(counter)
            except ValueError:
                counter = recorder.counter(reads)
            else:
                return counter

    def record(thread: int) -> None:
        rng = random.Random(seed * 100 + thread)
        series = [recorder.series("timed", name) for name in ("one", "two", f"three-{seed}")]
        reads = recorder.series("cache", "read", "hit", "")
        counter = recorder.counter(reads)
        for number in range(events):
            written[thread * 16 : thread * 16 + 16] = NUMBERS.pack(number + 1, number)
            recorder.record(series[number % 3], int(rng.lognormvariate(8, 1.5)))
            counter = counted(counter, reads)
            statements.measure(lambda *_: None, f"SELECT {thread}", None, False, {"connection": connection})
            written[thread * 16 : thread * 16 + 16] = NUMBERS.pack(number + 1, number + 1)

    running = [threading.Thread(target=record, args=(thread,)) for thread in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    recorder.end()


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(int, sys.argv[4:]))
