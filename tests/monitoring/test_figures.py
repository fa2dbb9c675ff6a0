from __future__ import annotations

import random
from collections.abc import Iterable

from perfkit.monitoring.boards import Loop
from perfkit.monitoring.buckets import COARSE
from perfkit.monitoring.figures import Pages, PoolUse, Timing, point_of, timing_of
from perfkit.monitoring.ledgers import added_up
from perfkit.monitoring.series import Series, pages_of
from tests.monitoring.events import add_event


def vector(kind: str, *events: tuple[int, int, int]) -> dict[int, int]:
    found: dict[int, int] = {}
    for event in events:
        add_event(found, Series(kind, ()), *event)
    return found


def exact(values: Iterable[int], share: float) -> float:
    ordered = sorted(values)
    return ordered[max(0, -(-int(share * 100) * len(ordered) // 100) - 1)] / 1_000_000


def test_timings_are_within_two_percent_and_their_mean_is_exact() -> None:
    rng = random.Random(7)
    values = [int(rng.lognormvariate(9, 1.5)) for _ in range(20_000)]
    timing = timing_of(vector("timed", *((value, 0, 0) for value in values)))
    assert timing.count == len(values)
    assert timing.mean_seconds == sum(values) / 1_000_000 / len(values)
    for found, share in ((timing.p50_seconds, 0.5), (timing.p95_seconds, 0.95), (timing.p99_seconds, 0.99)):
        assert found is not None
        assert abs(found / exact(values, share) - 1) < 0.02


def test_nothing_measured_is_none_and_not_zero() -> None:
    assert timing_of({}) == Timing()
    pages = Pages({})
    assert pages.all_requests().failed_share is None
    assert pages.all_requests().queries_each is None
    assert pages.all_queries().slow_share is None
    assert pages.all_reads().hit_rate is None
    assert (pages.views(), pages.tasks(), pages.loops({}), pages.pool_shares()) == ((), (), (), {})


def test_requests_are_told_apart_and_together() -> None:
    answers = [(1_000_000, 400_000, 2), (1_000_000, 100_000, 3), (1_000_000, 0, 0)]
    pages = Pages(
        {
            "request\tGET\t/a\t2xx": vector("request", *answers),
            "request\tGET\t/a\t5xx": vector("request", (2_000_000, 0, 0)),
            "request\tPOST\t/a\t4xx": vector("request", (9_000_000, 0, 0)),
        }
    )
    post, get = pages.views()
    assert (post.method, post.refused, get.method, get.failed) == ("POST", 1, "GET", 1)
    assert (get.timing.count, get.queries, get.database_seconds) == (4, 5, 0.5)
    assert (get.failed_share, get.queries_each, get.database_share) == (0.25, 1.25, 0.1)
    assert pages.all_requests().timing.count == 5


def test_what_a_page_had_no_room_for_is_one_of_all() -> None:
    pages = Pages(
        {
            "request\tother": vector("request", (1, 0, 1)),
            "query\tother": vector("query", (1, 1, 0)),
            "cache\tother": {0: 4},
            "task\tother": vector("task", (1, 0, 0)),
            "loop\tother": {0: 1, 1: 5},
        }
    )
    assert pages.all_requests().timing.count == 1
    assert [(each.method, each.view) for each in pages.views()] == [("other", "")]
    assert pages.all_queries().slow == 1
    assert [each.name for each in pages.tasks()] == ["other"]
    assert [(each.kind, each.queries) for each in pages.loops({})] == [("other", 5)]


def test_statements_are_those_that_took_the_most_time() -> None:
    page = {
        f"statement\tdefault\t{name}": vector("query", *[(microseconds, 0, 0)] * times)
        for name, microseconds, times in (("often", 1_000, 100), ("slow", 50_000, 1), ("rare", 10, 1))
    }
    assert [each.fingerprint for each in Pages(page).statements(most=2)] == ["often", "slow"]


def test_reads_have_reasons_and_outages_are_none_of_them() -> None:
    pages = Pages(
        {
            "cache\tshop.A\thit\t": {0: 3},
            "cache\tshop.A\tmiss\t": {0: 1},
            "cache\tshop.A\tbypass\tsize": {0: 1},
            "cache\tshop.B\tbypass\tlocked": {0: 7},
            "cache\t\toutage\t": {0: 2},
        }
    )
    assert [each.label for each in pages.reads()] == ["shop.B", "shop.A"]
    assert (pages.all_reads().hits, pages.all_reads().bypassed) == (3, 8)
    assert list(pages.all_reads().bypasses.items()) == [("locked", 7), ("size", 1)]
    assert (pages.all_reads().hit_rate, pages.outages()) == (0.75, 2)


def test_loops_know_what_to_write_where_it_is_known() -> None:
    known = Loop("relation", "shop.A.b", ("a.py:1",), "SELECT", "select_related('b')", 3)
    pages = Pages({"loop\trelation\tshop.A.b": {0: 2, 1: 6}, "loop\trelation\tshop.A.c": {0: 1, 1: 9}})
    first, second = pages.loops({"relation\tshop.A.b": known})
    assert (first.name, first.known, second.known) == ("shop.A.c", None, known)


def test_pools_are_the_mean_share() -> None:
    pages = Pages({"pool\tdefault": {0: 5, 1: 10, 2: 50}})
    assert pages.pool_shares() == {"default": 0.2}
    assert PoolUse("default", 0.2).now == (0, 0, 0)


def test_points_are_made_of_minutes() -> None:
    series = Series("request", ("GET", "/a", "2xx"))
    sums = {series: vector("request", *[(10_000, 0, 1)] * 9), Series("cache", ("A", "hit", "")): {0: 4}}
    minute = next(iter(pages_of(sums, 0.0).values())).vectors
    point = point_of(added_up([minute, minute]), moment=60.0, seconds=120.0)
    assert (point.requests.timing.count, point.requests.queries, point.cache.hits) == (18, 18, 8)
    assert point.requests.timing.is_coarse
    assert point.requests.timing.p95_seconds is not None
    assert abs(point.requests.timing.p95_seconds / 0.01 - 1) < 0.08
    assert COARSE == 4
