from __future__ import annotations

from perfkit.caching.breaker import Breaker


class Bench:
    def __init__(self) -> None:
        self.now = 100.0
        self.told: list[tuple[bool, str]] = []
        self.breaker = Breaker(
            retry_after_seconds=lambda: 1.0,
            on_change=lambda is_down, problem: self.told.append((is_down, problem)),
            clock=lambda: self.now,
        )


def test_it_lets_everything_through_while_closed() -> None:
    bench = Bench()
    assert all(bench.breaker.allows() for _ in range(5))
    bench.breaker.succeeded()
    assert not bench.breaker.is_open
    assert bench.told == []


def test_it_lets_one_caller_try_in_each_period_while_open() -> None:
    bench = Bench()
    bench.breaker.failed("gone")
    assert [bench.breaker.allows() for _ in range(3)] == [False] * 3
    for _ in range(3):
        bench.now += 1.0
        assert [bench.breaker.allows() for _ in range(3)] == [True, False, False]
    bench.now += 0.99
    assert not bench.breaker.allows()


def test_it_tells_once_of_each_change() -> None:
    bench = Bench()
    for _ in range(3):
        bench.breaker.failed("gone")
    bench.breaker.succeeded()
    bench.breaker.succeeded()
    bench.breaker.failed("again")
    assert bench.told == [(True, "gone"), (False, ""), (True, "again")]


def test_it_waits_anew_after_each_failure() -> None:
    bench = Bench()
    bench.breaker.failed("gone")
    bench.now += 1.0
    assert bench.breaker.allows()
    bench.breaker.failed("still")
    bench.now += 0.9
    assert not bench.breaker.allows()
