"""Rate limits beside a bare PING, the library `limits` and ninja's own throttle: their time, and what they admit.

`python -m benchmarks.loads.limiting` is one of the processes that ask for the same client at the same time.
"""

from __future__ import annotations

import os
import statistics
import time
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import django

if __name__ == "__main__":
    django.setup()

from django.core.cache import caches
from django.test import RequestFactory, override_settings
from limits import parse
from limits.storage import storage_from_string
from limits.strategies import MovingWindowRateLimiter
from ninja.throttling import AnonRateThrottle

from benchmarks.cache_server import cache_server
from benchmarks.figures import Figure
from benchmarks.loads.scene import Section
from benchmarks.rounds import Contender, play
from benchmarks.workers import Worker, serve
from perfkit.api import Limiter
from perfkit.caching.store import current_store
from perfkit.caching.store.redis import RedisStore

DATABASE: Final = 5
URL: Final = "PERFKIT_BENCH_LIMITS"
LIMIT: Final = 100
RATE: Final = f"{LIMIT}/minute"
BURST_RATE: Final = f"{RATE} burst {LIMIT}"
CALLS: Final = 30
"""Of one client, in one turn: all are admitted."""
PROCESSES: Final = 8
PAUSE_SECONDS: Final = 0.002

PING: Final = "PING, perfkit's connection"
OWN: Final = "perfkit, 100/minute"
OWN_BURST: Final = "perfkit, 100/minute burst 100"
PEER: Final = "limits, moving window"
NINJA: Final = "ninja's throttle, 100/min"
PING_GOAL: Final = 1.5


def checks(*, rounds: int, seconds: float) -> Section:
    """Ask for one request after the other, in turns with a PING; then with eight processes for one client."""
    with cache_server([DATABASE]) as server:
        url = server.url(DATABASE)
        with override_settings(**_settings(url)), server.client(DATABASE) as client:
            contenders = _contenders(url, client)
            play(contenders, rounds=rounds, budget_seconds=seconds)
        admitted = {name: _together(url, name, seconds=seconds / 10) for name in (OWN, PEER, NINJA)}
    ping = contenders[0]
    own = next(each for each in contenders if each.name == OWN)
    peer = next(each for each in contenders if each.name == PEER)
    lines: list[tuple[str, ...]] = [
        (f"limits: {each.name}", f"{1e3 / each.rate:,.3f}", f"{_times(each, ping):.2f}")
        for each in contenders
    ]
    figures = [
        Figure("a limit / a PING on the same connection", _times(own, ping), "times", PING_GOAL, "lower"),
        Figure("a limit / a PING by redis-py's client", _times(own, contenders[1]), "times", None, "lower"),
        Figure("limits / perfkit, one check", _times(peer, own), "times", None, "higher"),
        *[
            Figure(
                f"{name}: admitted beyond {LIMIT}, {PROCESSES} processes",
                count - LIMIT,
                "requests",
                0 if name == OWN else None,
                "lower",
            )
            for name, count in admitted.items()
        ],
    ]
    return Section(lines, figures)


def _settings(url: str) -> dict[str, Any]:
    return {
        "CACHES": {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url}},
        # A wait beyond the usual limit, on a busy machine, must not open the breaker.
        "PERFKIT": {"CACHE_TIMEOUT": 10.0, "RATE_LIMIT_OUTAGE": "closed"},
    }


def _contenders(url: str, client: Any) -> list[Contender]:
    store = current_store()
    assert isinstance(store, RedisStore)
    limiters = {name: _asking(name, url) for name in (OWN, OWN_BURST, PEER, NINJA)}
    ways: dict[str, Callable[[str], object]] = {
        PING: lambda _: store._call(lambda server: server.ask("PING")),
        "PING, redis-py's client": lambda _: client.ping(),
        **limiters,
    }
    contenders = []
    for name, ask in ways.items():
        turn = _Turn(ask)
        contenders.append(Contender(name, turn.run, turn.prepare))
    return contenders


class _Turn:
    """Requests of a client that nobody has seen before."""

    def __init__(self, ask: Callable[[str], object]) -> None:
        self._ask = ask
        self._client = ""

    def prepare(self) -> None:
        self._client = uuid.uuid4().hex
        self._ask(self._client)

    def run(self) -> int:
        for _ in range(CALLS):
            self._ask(self._client)
        return CALLS


def _asking(name: str, url: str) -> Callable[[str], bool]:
    """Return what asks whether a client's request is admitted."""
    if name in {OWN, OWN_BURST}:
        return partial(_own, Limiter(RATE if name == OWN else BURST_RATE, scope="benchmark"))
    if name == PEER:
        moving, rate = MovingWindowRateLimiter(storage_from_string(url)), parse(RATE)
        return partial(moving.hit, rate)
    throttle = AnonRateThrottle(f"{LIMIT}/min")
    throttle.cache = caches["default"]
    return partial(_throttled, throttle)


def _own(limiter: Limiter, client: str) -> bool:
    verdict = limiter.take(client)
    assert verdict is not None
    return verdict.is_admitted


def _throttled(throttle: AnonRateThrottle, client: str) -> bool:
    return throttle.allow_request(RequestFactory().get("/", REMOTE_ADDR=client))


def _together(url: str, name: str, *, seconds: float) -> int:
    """Have processes ask for the same client at the same time; return how many requests were admitted."""
    workers = [
        Worker(f"{name} {number}", "benchmarks.loads.limiting", {URL: url}) for number in range(PROCESSES)
    ]
    try:
        client = uuid.uuid4().hex
        for worker in workers:
            worker.ask(name=name, client=client, seconds=0)
        for worker in workers:
            worker.tell(name=name, client=client, seconds=seconds)
        return sum(int(worker.answer()["admitted"]) for worker in workers)
    finally:
        for worker in workers:
            worker.close()


def _answer(message: dict[str, Any]) -> dict[str, Any]:
    ask = _asking(message["name"], os.environ[URL])
    admitted = 0
    ends = time.monotonic() + message["seconds"]
    while time.monotonic() < ends:
        admitted += ask(message["client"])
        time.sleep(PAUSE_SECONDS)
    return {"admitted": admitted}


def _times(each: Contender, other: Contender) -> float:
    """Return how many times as long one takes as the other, by the median of the rounds."""
    return statistics.median(theirs / mine for mine, theirs in zip(each.rates, other.rates, strict=True))


if __name__ == "__main__":
    with override_settings(**_settings(os.environ[URL])):
        serve(_answer)
