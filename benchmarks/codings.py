"""What each content coding makes of the demo's list of flights: bytes, and the time that takes.

    PERFKIT_DB=sqlite python -m benchmarks.codings

The answers are the demo's own, asked of its handler in process, over a database in memory with the first flights
of the year. Each level is timed in turns with all others, and the median turn counts.
"""

from __future__ import annotations

import os
import statistics
import time
import zlib
from collections.abc import Callable
from typing import Final

import django

SIZES: Final = (20, 100)
FLIGHTS: Final = 2_000
ROUNDS: Final = 60
TIMES: Final = 5

Compress = Callable[[bytes], bytes]


def contenders() -> dict[str, Compress]:
    """Return what is compared, by name."""
    import brotli
    from backports import zstd
    from django.utils.text import compress_string

    from perfkit.caching.responses.encodings import CODERS

    found: dict[str, Compress] = {}
    for level in (1, 4, 6, 9):
        found[f"gzip {level}"] = lambda body, level=level: _gzip(body, level)  # type: ignore[misc]
    for level in (1, 3, 6, 9):
        found[f"zstd {level}"] = lambda body, level=level: zstd.compress(body, level=level)  # type: ignore[misc]
    for level in (1, 3, 4, 5, 9):
        found[f"brotli {level}"] = lambda body, level=level: brotli.compress(body, quality=level)  # type: ignore[misc]
    found["Django's gzip"] = lambda body: compress_string(body, max_random_bytes=100)
    for coding, coder in CODERS.items():
        found[f"perfkit's {coding}, padded"] = lambda body, coder=coder: coder(body, lambda coded: 50)  # type: ignore[misc]
    return found


def _gzip(body: bytes, level: int) -> bytes:
    coder = zlib.compressobj(level, zlib.DEFLATED, 31)
    return coder.compress(body) + coder.flush()


def bodies() -> dict[int, bytes]:
    """Return the demo's lists, by the number of flights."""
    from django.core.management import call_command
    from django.db import connection
    from django.test import Client

    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    call_command("load_flights", limit=FLIGHTS, verbosity=0)
    client = Client(headers={"Host": "localhost"})
    return {size: client.get(f"/api/flights?page_size={size}").content for size in SIZES}


def main() -> None:
    """Print a table for each list."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    django.setup()
    rivals = contenders()
    for size, body in bodies().items():
        took: dict[str, list[float]] = {name: [] for name in rivals}
        for _ in range(ROUNDS):
            for name, compress in rivals.items():
                began = time.perf_counter()
                for _ in range(TIMES):
                    compress(body)
                took[name].append((time.perf_counter() - began) / TIMES)
        print(f"\n{size} flights, {len(body):,} bytes")
        for name, compress in rivals.items():
            print(f"{name:24} {len(compress(body)):7,} bytes {statistics.median(took[name]) * 1e3:7.3f} ms")


if __name__ == "__main__":
    main()
