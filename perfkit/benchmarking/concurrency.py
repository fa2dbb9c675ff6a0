"""Measures the project under many users, over HTTP: without the cache, and with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Final

from django.db import connections

from perfkit.benchmarking.loads import Load, Plan, put_load
from perfkit.benchmarking.sections import Cell, Chart, Column, Section, ratio
from perfkit.benchmarking.servers import (
    OK,
    SLOW_SERVER,
    THREADS,
    checked_base,
    served,
    server_named,
    status_of,
)
from perfkit.benchmarking.switches import OFF, UNLIMITED
from perfkit.errors import BenchmarkError
from perfkit.postgres.activity import server_connections

Told = Callable[[str], object]

WARM_UP_SECONDS: Final = 2.0
MOST_CLIENT_SHARE: Final = 0.25
MOST_OF_THE_TIME: Final = 0.25

COLUMNS: Final = (
    Column("way", "perfkit's cache"),
    Column("users", "users"),
    Column("seconds", "time", "s", 1),
    Column("requests", "answered", "requests"),
    Column("failures", "failed", "requests"),
    Column("p50_ms", "P50", "ms"),
    Column("p95_ms", "P95", "ms"),
    Column("p99_ms", "P99", "ms"),
    Column("database_connections", "database", "connections"),
    Column("client_cpu", "client", "% of CPU", 0),
    Column("rate", "rate", "requests/s", 1),
    Column("ratio", "ratio", "x", 1),
)
HOW: Final = (
    "Each user has a connection of its own and asks again as soon as it is answered, the addresses in turns: "
    "times under a load that the server cannot follow grow with the number of users. "
    "Every server is warmed up for two seconds by the same users. "
    "The connections to the database are the most that were seen at once, of all programs. "
    "Clients and server share this machine where the server runs here; what the clients took of its processors is "
    "shown."
)


@dataclass(frozen=True, slots=True)
class Concurrency:
    """How a load is to be put.

    Args:
        base_url: Of a server that runs; None to start one here.
        before_url: Of one that runs without the cache, for the side before.
        server: Which one to start, or `auto`.
        client: Which program asks, or `auto`.
    """

    users: int
    seconds: float
    requests: int
    base_url: str | None = None
    before_url: str | None = None
    server: str = "auto"
    client: str = "auto"


def concurrency_section(asked: Concurrency, paths: Sequence[str], *, using: str, told: Told) -> Section:
    """Put a load onto both sides, one after the other.

    Raises:
        BenchmarkError: A server does not answer or start, an address is not answered with a 200,
            or a program is missing.
    """
    warnings: list[str] = []
    sides: list[tuple[str, AbstractContextManager[str]]] = []
    if asked.base_url is None:
        if asked.before_url is not None:
            raise BenchmarkError("--before-url goes with --base-url: without it, both sides are served here.")
        server = server_named(asked.server)
        by = f"{server}, {os.cpu_count() or 1} workers with {THREADS} threads"
        if server == "threads":
            by = "Python's own server"
            warnings.append(SLOW_SERVER)
        sides = [("off", served(server, {**OFF, **UNLIMITED})), ("on", served(server, UNLIMITED))]
        how = f"Served on this machine by {by}, rate limits off. "
    else:
        if asked.before_url is not None:
            sides.append(("off, as told", nullcontext(checked_base(asked.before_url, "--before-url"))))
        sides.append(("as it runs", nullcontext(checked_base(asked.base_url, "--base-url"))))
        how = "Servers that ran already: what differs between them, whoever started them knows. "
    found: list[tuple[str, Load, int | None]] = []
    for name, side in sides:
        with side as base:
            for path in paths:
                if (status := status_of(base, path)) != OK:
                    raise BenchmarkError(f"{base}{path} is answered with {status}, not with 200.")
            told(f"{name}: {asked.users} users at {base}")
            found.append((name, *_loaded(asked, base, paths, using)))
    warnings += _warnings(found)
    first = found[0][1]
    return Section(
        name="concurrent",
        title=f"{asked.users} users at once",
        how=f"{how}{HOW} Asked by {first.client}.",
        columns=COLUMNS,
        rows=[_row(asked, *each, before=first if len(found) > 1 else None) for each in found],
        chart=Chart("Requests answered in a second", "way", ("rate",)),
        warnings=warnings,
        notes=[f"Asked for: {', '.join(paths)}."],
    )


def _loaded(asked: Concurrency, base: str, paths: Sequence[str], using: str) -> tuple[Load, int | None]:
    plan = Plan(base, paths, asked.users, asked.seconds, asked.requests)
    put_load(replace(plan, seconds=WARM_UP_SECONDS, requests=0), poll=lambda: None, client=_warmer(asked))
    most: list[int] = []

    def poll() -> None:
        connection = connections[using]
        if connection.vendor == "postgresql":
            most.append(sum(each.count for each in server_connections(connection).sessions))

    load = put_load(plan, poll=poll, client=asked.client)
    return load, max(most, default=None)


def _warmer(asked: Concurrency) -> str:
    return "python" if asked.requests else asked.client


def _row(
    asked: Concurrency, name: str, load: Load, database_connections: int | None, *, before: Load | None
) -> dict[str, Cell]:
    return {
        "way": name,
        "users": asked.users,
        "seconds": load.seconds,
        "requests": load.requests,
        "failures": sum(load.failures.values()),
        "p50_ms": load.p50_ms,
        "p95_ms": load.p95_ms,
        "p99_ms": load.p99_ms,
        "database_connections": database_connections,
        "client_cpu": _share(load) * 100,
        "rate": load.rate,
        "ratio": None if before is None or before is load else ratio(load.rate, before.rate),
    }


def _share(load: Load) -> float:
    return load.client_cpu_seconds / (load.seconds * (os.cpu_count() or 1)) if load.seconds else 0.0


def _warnings(found: Sequence[tuple[Any, Load, Any]]) -> list[str]:
    told = []
    for name, load, _ in found:
        if load.failures:
            reasons = ", ".join(f"{count:,} times {reason}" for reason, count in load.failures.items())
            told.append(f"Failed, cache {name}: {reasons}.")
        if load.p95_ms is not None and load.p95_ms > load.seconds * 1000 * MOST_OF_THE_TIME:
            told.append(
                f"Cache {name}: answers took so long that few came within the {load.seconds:.0f} s, and those "
                "that had not come by then are in no figure: measure longer (--seconds), or with fewer --users."
            )
        if _share(load) > MOST_CLIENT_SHARE:
            told.append(
                f"Cache {name}: the clients took {_share(load):.0%} of the processors, which the server could "
                "have used: ask from another machine (--base-url), or install wrk."
            )
    return told
