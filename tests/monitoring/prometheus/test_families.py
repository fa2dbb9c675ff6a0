from __future__ import annotations

import random

import pytest
from prometheus_client import generate_latest
from prometheus_client.core import Metric
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parsed_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parsed
from prometheus_client.registry import CollectorRegistry

from perfkit.monitoring.buckets import STANDARD_SECONDS
from perfkit.monitoring.ledgers import LocalLedger
from perfkit.monitoring.prometheus import families
from perfkit.monitoring.prometheus.families import Snapshot
from perfkit.monitoring.series import TOTALS, Series
from tests.monitoring.prometheus.saturated import QUOTED, saturate, snapshot_of, told
from tests.plugins.prometheus import promtool

MOST_SERIES = 2_000
OTHERS = 40  # at most; 16 on Linux
"""Series that prometheus_client brings, of Python and of the process."""

Found = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Collector:
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> list[Metric]:
        return list(families.families(self._snapshot))


def registry_of(snapshot: Snapshot) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(Collector(snapshot))
    return registry


def text_of(snapshot: Snapshot) -> str:
    return generate_latest(registry_of(snapshot)).decode()


def samples_of(snapshot: Snapshot) -> Found:
    found: Found = {}
    for family in parsed(text_of(snapshot)):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found, f"{key} is told twice"
            found[key] = sample.value
    return found


def value(found: Found, metric: str, /, **labels: str) -> float:
    return found[metric, frozenset(labels.items())]


def sum_of(found: Found, metric: str, /, **labels: str) -> float:
    return sum(
        number
        for (name, had), number in found.items()
        if name == metric and labels.items() <= dict(had).items()
    )


@pytest.fixture
def ledger() -> LocalLedger:
    return LocalLedger()


@pytest.fixture(scope="module")
def saturated() -> tuple[Snapshot, int]:
    ledger = LocalLedger()
    events = saturate(ledger)
    return snapshot_of(ledger), events


def test_each_kind_of_event_comes_to_its_metrics(ledger: LocalLedger) -> None:
    ledger.add(
        told(
            [
                (Series("request", ("GET", "/flights", "2xx")), (4_000, 1_000, 3)),
                (Series("request", ("GET", "/flights", "2xx")), (600_000, 1_000, 3)),
                (Series("request", ("POST", "/flights", "5xx")), (30_000_000, 0, 0)),
                (Series("query", ("default", "SELECT", "a")), (1_000, 1, 0)),
                (Series("query", ("default", "SELECT", "b")), (7_000, 0, 1)),
                (Series("cache", ("flights.Flight", "hit", "")), (70, 0, 0)),
                (Series("cache", ("flights.Flight", "miss", "")), (20, 0, 0)),
                (Series("cache", ("flights.Flight", "bypass", "size")), (7, 0, 0)),
                (Series("cache", ("flights.Flight", "bypass", "outage")), (3, 0, 0)),
                (Series("cache", ("", "outage", "")), (2, 0, 0)),
                (Series("task", ("send", "mail", "success")), (2_000_000, 0, 0)),
                (Series("task", ("send", "mail", "retry")), (1_000, 1, 0)),
                (Series("wait", ("mail",)), (250_000, 0, 0)),
                (Series("timed", ("quote",)), (5_000, 1, 0)),
                (Series("model", ("small", "miss")), (900_000, 150, 50)),
                (Series("model", ("small", "hit")), (1_000, 150, 50)),
                (Series("model", ("small", "failure")), (1_000, 0, 0)),
                (Series("loop", ("relation", "Flight.airline")), (1, 40, 0)),
                (Series("loop", ("relation", "Flight.origin")), (1, 2, 0)),
                (Series("limit", ("api", "refused")), (4, 0, 0)),
                (Series("queue", ("default",)), (5, 2_500_000, 1)),
                (Series("lost", ()), (2, 0, 0)),
            ]
        )
    )
    found = samples_of(snapshot_of(ledger, processes=2))
    assert value(found, "perfkit_metrics_up") == 1
    requests = "perfkit_http_requests_total"
    assert value(found, requests, method="GET", view="/flights", status="2xx") == 2
    assert value(found, requests, method="POST", view="/flights", status="5xx") == 1
    duration = "perfkit_http_request_duration_seconds"
    expected = {"0.005": 1, "0.5": 1, "1.0": 2, "10.0": 2, "+Inf": 3}
    assert {le: value(found, f"{duration}_bucket", view="/flights", le=le) for le in expected} == expected
    assert value(found, f"{duration}_count", view="/flights") == 3
    assert value(found, f"{duration}_sum", view="/flights") == pytest.approx(30.604)
    select = {"alias": "default", "verb": "SELECT"}
    assert value(found, "perfkit_db_queries_total", **select) == 2
    assert value(found, "perfkit_db_slow_queries_total", **select) == 1
    assert value(found, "perfkit_db_failed_queries_total", **select) == 1
    assert value(found, "perfkit_db_query_duration_seconds_bucket", le="0.001", **select) == 1
    assert value(found, "perfkit_db_query_duration_seconds_sum", **select) == pytest.approx(0.008)
    for outcome, number in {"hit": 70, "miss": 20, "bypass": 10}.items():
        assert value(found, "perfkit_cache_reads_total", label="flights.Flight", outcome=outcome) == number
    assert value(found, "perfkit_cache_bypasses_total", reason="size") == 7
    assert value(found, "perfkit_cache_outages_total") == 2
    assert value(found, "perfkit_tasks_total", name="send", queue="mail", outcome="retry") == 1
    assert value(found, "perfkit_task_duration_seconds_count", name="send", queue="mail") == 2
    assert value(found, "perfkit_task_wait_seconds_sum", queue="mail") == 0.25
    assert value(found, "perfkit_timed_seconds_count", name="quote") == 1
    assert value(found, "perfkit_timed_errors_total", name="quote") == 1
    assert value(found, "perfkit_model_requests_total", model="small", outcome="failure") == 1
    assert value(found, "perfkit_model_request_duration_seconds_count", model="small") == 3
    tokens = {"model": "small", "outcome": "hit"}
    assert value(found, "perfkit_model_tokens_total", direction="input", **tokens) == 100
    assert value(found, "perfkit_model_tokens_total", direction="output", **tokens) == 50
    assert value(found, "perfkit_n_plus_one_total", kind="relation") == 2
    assert value(found, "perfkit_n_plus_one_queries_total", kind="relation") == 42
    assert value(found, "perfkit_rate_limited_total", rule="api", outcome="refused") == 4
    assert value(found, "perfkit_db_pool_waits_total", alias="default") == 5
    assert value(found, "perfkit_db_pool_wait_seconds_total", alias="default") == 2.5
    assert value(found, "perfkit_db_pool_timeouts_total", alias="default") == 1
    assert value(found, "perfkit_metrics_lost_total") == 2
    # Of six processes, each with these pools.
    assert value(found, "perfkit_processes", role="worker") == 2
    assert value(found, "perfkit_http_requests_active") == 12
    assert value(found, "perfkit_cache_memory_bytes") == 6 * 1024
    assert value(found, "perfkit_db_pool_connections", alias="alias 0", state="in_use") == 18
    assert value(found, "perfkit_db_pool_connections", alias="alias 0", state="idle") == 12
    assert value(found, "perfkit_db_pool_connections_max", alias="alias 0") == 60
    assert value(found, "perfkit_db_pool_requests_waiting", alias="alias 0") == 6
    assert value(found, "perfkit_db_pool_connections_max", alias="other") == 60 * 14
    assert value(found, "perfkit_jobs_dead") == 3
    assert value(found, "perfkit_outbox_oldest_seconds", alias="alias 1") == 2.5


def test_a_duration_is_in_the_buckets_that_end_at_it_or_later(ledger: LocalLedger) -> None:
    rng = random.Random(7)
    durations = [int(rng.lognormvariate(11, 2)) for _ in range(3_000)]
    durations += [int(bound * 1e6) for bound in families.OF_REQUESTS]
    ledger.add(told([(Series("request", ("GET", "/", "2xx")), (each, 0, 0)) for each in durations]))
    found = samples_of(snapshot_of(ledger))
    for bound in families.OF_REQUESTS:
        exact = sum(each <= bound * 1e6 for each in durations)
        assert value(found, "perfkit_http_request_duration_seconds_bucket", view="/", le=str(bound)) == exact


def test_bounds_are_where_the_ledger_tells_durations_apart() -> None:
    bounds = (
        families.OF_REQUESTS,
        families.OF_QUERIES,
        families.OF_TASKS,
        families.OF_ANSWERS,
        families.OF_BLOCKS,
    )
    for each in bounds:
        assert sorted(each) == list(each)
        assert set(each) <= set(STANDARD_SECONDS)


def test_there_are_never_more_than_2000_series(saturated: tuple[Snapshot, int]) -> None:
    snapshot, events = saturated
    found = samples_of(snapshot)
    print(f"{len(found)} series, of {events} different events")
    assert events > 10_000
    assert len(found) + OTHERS <= MOST_SERIES


def test_what_there_is_no_room_for_is_still_counted(saturated: tuple[Snapshot, int]) -> None:
    snapshot, _ = saturated
    found = samples_of(snapshot)
    each = 150 * 8
    for status in ("2xx", "5xx"):
        assert sum_of(found, "perfkit_http_requests_total", status=status) == each
        assert value(found, "perfkit_http_requests_total", method="other", view="other", status=status) > 0
    assert sum_of(found, "perfkit_http_request_duration_seconds_count") == each * 5
    for outcome in ("hit", "miss", "bypass"):
        assert sum_of(found, "perfkit_cache_reads_total", outcome=outcome) == 150 * 3_000
    assert sum_of(found, "perfkit_tasks_total", outcome="failure") == 150
    assert sum_of(found, "perfkit_rate_limited_total", outcome="refused") == 150 * 3_000
    assert sum_of(found, "perfkit_db_queries_total") == 150 * 5


def test_no_counter_falls_while_more_and_more_is_seen() -> None:
    ledger = LocalLedger()
    rng = random.Random(3)
    last: Found = {}
    for number in range(1, 60):
        views = [f"/{rng.randrange(10 + 5 * number)}" for _ in range(100)]
        ledger.add(
            told([(Series("request", ("GET", view, "2xx")), (1_000, 0, 0)) for view in views], number=number)
        )
        found = {
            key: amount
            for key, amount in samples_of(snapshot_of(ledger)).items()
            if key[0].endswith(("_total", "_count", "_bucket", "_sum"))
        }
        assert all(found[key] >= amount for key, amount in last.items())
        last = found
    assert sum_of(last, "perfkit_http_requests_total") == 59 * 100
    assert sum_of(last, "perfkit_http_requests_total", view="other") > 0


def test_names_that_mean_the_same_are_told_once(ledger: LocalLedger) -> None:
    ledger.add(told([(Series("task", ("other", "other", "success")), (1_000, 0, 0))]))
    for number in range(2, 100):
        ledger.add(told([(Series("task", (f"{number}", "q", "success")), (1_000, 0, 0))], number=number))
    found = samples_of(snapshot_of(ledger))
    assert sum_of(found, "perfkit_task_duration_seconds_count") == 99
    assert value(found, "perfkit_task_duration_seconds_count", name="other", queue="other") > 1


def test_both_formats_tell_the_same(saturated: tuple[Snapshot, int]) -> None:
    snapshot, _ = saturated
    registry = registry_of(snapshot)
    found = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parsed_openmetrics(generate_openmetrics(registry).decode())
        for sample in family.samples
    }
    assert found == samples_of(snapshot)
    assert any(QUOTED in label for _, labels in found for _, label in labels)


def test_each_page_is_shown(saturated: tuple[Snapshot, int]) -> None:
    whole, _ = saturated
    assert set(whole.pages) == set(TOTALS)
    for kind in TOTALS:
        less = Snapshot({**whole.pages, kind: {}}, whole.processes, whole.lag)
        assert samples_of(less) != samples_of(whole), kind


@pytest.mark.prometheus
def test_promtool_has_nothing_to_say_of_the_metrics(saturated: tuple[Snapshot, int]) -> None:
    snapshot, _ = saturated
    for each in (snapshot, Snapshot(), Snapshot(is_up=False)):
        result = promtool("check", "metrics", text=text_of(each))
        assert (result.returncode, result.stdout) == (0, "")


@pytest.mark.prometheus
def test_promtool_would_have() -> None:
    text = "# TYPE perfkit_slow_milliseconds_total gauge\nperfkit_slow_milliseconds_total 1\n"
    assert promtool("check", "metrics", text=text).returncode != 0
