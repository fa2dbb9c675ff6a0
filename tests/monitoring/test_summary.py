from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf import LazySettings
from django.contrib.auth.models import Group
from django.http import HttpRequest, HttpResponse
from django.test import Client

from perfkit.caching.counting import counting
from perfkit.monitoring import timed
from perfkit.monitoring.jobs import log_summary
from perfkit.monitoring.ledgers import Told
from perfkit.monitoring.middleware import metrics
from perfkit.monitoring.plain import as_dict, as_line, line_text
from perfkit.monitoring.recording import recorder
from perfkit.monitoring.series import Series, pages_of, vector_of
from perfkit.monitoring.summary import RANGES, Summary, alerts, aread_summary, read_summary
from perfkit.signals import cache_read, task_ended
from tests.caching.conftest import wait_until
from tests.monitoring.conftest import MIDDLEWARE, Measured
from tests.plugins.valkey import DisposableValkey
from tests.tasks import timed as timed_tasks
from tests.tasks.workers import running_worker
from tests.testapp.models import Item

SECRET = "s3cr3t-4711"


def record_requests(number: int, *, seconds: float = 0.01, view: str = "/a", status: str = "2xx") -> None:
    series = recorder.series("request", "GET", view, status)
    for _ in range(number):
        recorder.record(series, int(seconds * 1_000_000), int(seconds * 400_000), 2)


def record_queries(number: int, *, seconds: float = 0.001, is_slow: bool = False) -> None:
    series = recorder.series("query", "default", "SELECT", "f1")
    for _ in range(number):
        recorder.record(series, int(seconds * 1_000_000), is_slow)


def names(summary: Summary) -> list[str]:
    return [alert.name for alert in alerts(summary)]


class TestRead:
    def test_it_is_empty_before_anything_happened(self, measured: Measured) -> None:
        found = measured.summary()
        assert (found.requests.timing.count, found.views, found.statements) == (0, (), ())
        assert (found.problem, found.is_away, found.is_shared) == ("", False, False)
        assert alerts(found) == []

    @pytest.mark.parametrize("since", RANGES)
    def test_all_ranges_have_what_was_just_measured(self, measured: Measured, since: str) -> None:
        record_requests(5)
        found = read_summary(since, has_points=True)
        assert found.requests.timing.count == 5
        assert sum(point.requests.timing.count for point in found.points) == 5
        assert found.requests_per_second == pytest.approx(5 / found.seconds)

    def test_what_is_older_is_no_part_of_it(
        self, measured: Measured, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = time.time()
        monkeypatch.setattr(recorder, "_now", lambda: now - 2 * 3600)
        record_requests(3)
        recorder.tell()
        monkeypatch.setattr(recorder, "_now", lambda: now)
        recorder.tell()  # as its thread does every few seconds
        record_requests(1)
        assert read_summary("1h", now=now).requests.timing.count == 1
        assert read_summary("6h", now=now).requests.timing.count == 4

    @pytest.mark.parametrize("since", RANGES)
    @pytest.mark.parametrize("now", [1_800_000_000.0, 1_800_000_059.0, 1_800_001_260.5])
    def test_points_are_next_to_each_other_and_have_what_happened_in_them(
        self, measured: Measured, since: str, now: float
    ) -> None:
        chance = random.Random(3)
        moments = [now - chance.random() * 86_000 / 3**power for power in range(9) for _ in range(20)]
        request = Series("request", ("GET", "/a", "2xx"))
        for number, moment in enumerate(moments, 1):
            pages = pages_of({request: vector_of("request", [(1000, 0, 1)])}, moment, now=now)
            measured.ledger().add(Told("past", number, int(now // 86_400), pages))
        points = read_summary(since, has_points=True, now=now).points
        for one, following in pairwise(points):
            assert one.moment + one.seconds == following.moment
        assert points[-1].moment + points[-1].seconds == now
        for point in points:
            inside = [each for each in moments if point.moment <= each < point.moment + point.seconds]
            assert point.requests.timing.count == len(inside)

    def test_a_range_that_is_none_is_refused(self) -> None:
        with pytest.raises(ValueError, match="'15m', '1h', '6h', '24h', not '2h'"):
            read_summary("2h")

    def test_async_code_reads_the_same(self, measured: Measured) -> None:
        record_requests(2)
        assert async_to_sync(aread_summary)("1h").requests == measured.summary().requests

    def test_without_a_cache_it_is_this_process(self, measured: Measured, settings: LazySettings) -> None:
        settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
        record_requests(2)
        assert measured.summary().requests.timing.count >= 2

    @pytest.mark.redis
    def test_all_processes_are_added_up(self, measured_on_server: Measured) -> None:
        record_requests(4)
        found = measured_on_server.summary()
        assert (found.requests.timing.count, found.is_shared, len(found.processes)) == (4, True, 1)

    @pytest.mark.redis
    def test_without_its_server_it_says_so(
        self, measured_on_server: Measured, server: DisposableValkey
    ) -> None:
        record_requests(4)
        server.kill()
        found = measured_on_server.summary()
        assert found.is_away
        assert found.problem.startswith("The cache server does not answer: ")
        assert found.requests.timing.count == 4, "what waits in this process"
        server.start()
        wait_until(recorder.tell, seconds=30)
        assert measured_on_server.summary().requests.timing.count == 4, "what waited was told"


class TestAlerts:
    def test_few_events_alarm_nobody(self, measured: Measured) -> None:
        record_requests(19, seconds=5)
        record_queries(19, seconds=5, is_slow=True)
        cache_read.send(Item, outcome="miss", reason="")
        assert names(measured.summary()) == []

    def test_slow_requests(self, measured: Measured) -> None:
        record_requests(90)
        record_requests(10, seconds=0.8)
        (alert,) = alerts(measured.summary())
        assert alert.name == "PerfkitSlowRequests"
        assert "above 500 ms" in alert.text

    def test_slow_queries_and_a_slow_database(self, measured: Measured) -> None:
        record_queries(94)
        record_queries(6, seconds=0.2, is_slow=True)
        assert names(measured.summary()) == ["PerfkitSlowQueries"]
        record_queries(900, seconds=0.2)
        assert names(measured.summary()) == ["PerfkitSlowDatabase"]

    def test_a_low_hit_rate(self, measured: Measured) -> None:
        for _ in range(20):
            cache_read.send(Item, outcome="miss", reason="")
        assert names(measured.summary()) == ["PerfkitLowHitRate"]

    def test_a_busy_pool(self, measured: Measured) -> None:
        recorder.record(recorder.series("pool", "default"), 1, 9, 10)
        assert names(measured.summary()) == ["PerfkitPoolBusy"]


class TestPlain:
    def test_it_is_json(self, measured: Measured) -> None:
        record_requests(3)
        record_queries(3)
        cache_read.send(Item, outcome="hit", reason="")
        with timed("price"):
            pass
        task_ended.send("mail", outcome="failure", retries=0, queue="q", run_seconds=1.0, wait_seconds=2.0)
        recorder.record(recorder.series("limit", "anonymous", "refused"), 1)
        told = as_dict(read_summary("1h", has_points=True))
        assert json.loads(json.dumps(told, allow_nan=False)) == told
        assert told["requests"]["count"] == told["views"][0]["count"] == 3
        assert told["tasks"][0]["outcomes"] == {"failure": 1}
        assert told["waits"] == [
            {"queue": "q", **{key: told["waits"][0][key] for key in told["waits"][0] if key != "queue"}}
        ]
        assert told["limits"] == [{"rule": "anonymous", "outcome": "refused", "requests": 1}]
        assert len(as_dict(measured.summary(), most=0)["views"]) == 0

    def test_unknown_is_none_and_a_line_leaves_it_out(self, measured: Measured) -> None:
        told = as_dict(measured.summary())
        assert told["requests"]["p95_seconds"] is None
        assert told["cache"]["hit_rate"] is None
        line = as_line(measured.summary())
        assert line["requests"] == 0
        assert "request_p95_ms" not in line

    def test_a_line_is_one_line(self, measured: Measured) -> None:
        record_requests(1, view='/a "b"\r\nc')
        text = line_text(as_line(measured.summary()))
        assert text.isprintable()
        assert "top=\"GET /a 'b'" in text


class TestLog:
    def test_it_is_one_line_with_the_figures_beside_it(
        self, measured: Measured, caplog: pytest.LogCaptureFixture
    ) -> None:
        record_requests(4)
        with caplog.at_level(logging.INFO, "perfkit.summary"):
            line = log_summary("1h")
        (record,) = [each for each in caplog.records if each.name == "perfkit.summary"]
        assert record.levelno == logging.INFO
        assert record.getMessage().startswith("range=1h requests=4 requests_per_second=")
        assert {name: vars(record)[name] for name in line} == line
        assert line["requests"] == as_dict(measured.summary())["requests"]["count"]

    def test_it_warns_where_something_is_bad(
        self, measured: Measured, caplog: pytest.LogCaptureFixture
    ) -> None:
        record_requests(20, seconds=2.0)
        log_summary("1h")
        (record,) = [each for each in caplog.records if each.name == "perfkit.summary"]
        assert record.levelno == logging.WARNING
        assert "alerts=PerfkitSlowRequests" in record.getMessage()


@pytest.fixture
def answers(settings: LazySettings, db: None) -> Callable[[int], tuple[list[bytes], float]]:
    """A function that asks so many times for a page, and returns the answers and the longest time."""
    settings.ROOT_URLCONF = "tests.monitoring.pages"
    settings.MIDDLEWARE = MIDDLEWARE

    def ask(number: int) -> tuple[list[bytes], float]:
        client, found, longest = Client(), [], 0.0
        for _ in range(number):
            begun = time.monotonic()
            found.append(client.get("/queries/2").content)
            longest = max(longest, time.monotonic() - begun)
        return found, longest

    return ask


@pytest.mark.redis
class TestOutage:
    """A request that waited for the server would wait as long as `CACHE_TIMEOUT` lets it."""

    TIMEOUT = 8.0

    @pytest.mark.parametrize("how", ["kill", "pause"])
    def test_requests_do_not_feel_that_the_server_is_away(
        self,
        measured_on_server: Measured,
        server: DisposableValkey,
        settings: LazySettings,
        monkeypatch: pytest.MonkeyPatch,
        answers: Callable[[int], tuple[list[bytes], float]],
        how: str,
    ) -> None:
        settings.PERFKIT = {
            **settings.PERFKIT,
            "CACHE_TIMEOUT": self.TIMEOUT,
            "METRICS_INTERVAL": 0.1,
        }
        # What the cache has counted is told at the end of a request, and waits.
        monkeypatch.setattr(counting, "_rests_until", float("inf"))
        monkeypatch.setattr(recorder, "_has_thread", True)
        expected, _ = answers(50)
        wait_until(recorder.tell, seconds=30)
        getattr(server, how)()
        found, longest = answers(400)
        assert found == expected[:1] * 400
        assert longest < self.TIMEOUT / 2
        assert recorder.lost == 0
        server.resume() if how == "pause" else server.start()
        monkeypatch.setattr(recorder, "_rests_until", 0.0)
        wait_until(recorder.tell, seconds=60)
        told = measured_on_server.summary()
        assert told.requests.timing.count == (450 if how == "pause" else 400)
        assert told.requests.queries == 2 * told.requests.timing.count


@pytest.mark.postgres
@pytest.mark.redis
@pytest.mark.django_db(transaction=True)
def test_a_real_workers_tasks_and_jobs_are_counted_with_waits(
    measured_on_server: Measured, server: DisposableValkey, settings: LazySettings, tmp_path: Any
) -> None:
    environment = {
        "PERFKIT_TESTS_MEASURED": json.dumps(
            {
                "prefix": settings.PERFKIT["CACHE_KEY_PREFIX"],
                "cache": server.url,
                "folder": str(tmp_path / "w"),
            }
        ),
        "DJANGO_SETTINGS_MODULE": "tests.monitoring.worker_settings",
    }
    arguments = ["--pool=prefork", "--concurrency=2", f"--include={timed_tasks.__name__}"]
    with running_worker(tmp_path / "worker.log", *arguments, **environment):
        for _ in range(5):
            timed_tasks.timed.delay(0.05)
        timed_tasks.failing.delay()
        timed_tasks.dying.delay()
        timed_tasks.timed_job.enqueue()

        def counted() -> bool:
            found = measured_on_server.summary()
            return sum(task.timing.count for task in found.tasks) >= 8

        wait_until(counted, seconds=90)
        found = measured_on_server.summary()
        assert {task.name: dict(task.outcomes) for task in found.tasks} == {
            "tests.timed": {"success": 5},
            "tests.timed_failing": {"failure": 1},
            "tests.timed_dying": {"failure": 1},
            "tests.timed_job": {"done": 1},
        }
        (tasks,) = [task for task in found.tasks if task.name == "tests.timed"]
        assert tasks.timing.total_seconds >= 5 * 0.05
        assert sum(wait.timing.count for wait in found.waits) == 8
        assert "worker" in {process.role for process in found.processes}
        seen = [each.seen for each in found.statements if each.seen is not None]
        assert [each for each in seen if each.view == "tests.timed_job"], "the statements of a job"


def test_secrets_are_nowhere_in_what_is_told(
    measured: Measured,
    settings: LazySettings,
    db: None,
    caplog: pytest.LogCaptureFixture,
    client: Client,
) -> None:
    settings.ROOT_URLCONF = "tests.monitoring.pages"
    settings.MIDDLEWARE = MIDDLEWARE
    settings.PERFKIT = {**settings.PERFKIT, "QUERY_SLOW_THRESHOLD": 0.0, "SERVER_TIMING": "all"}
    client.cookies["session"] = SECRET
    with caplog.at_level(logging.DEBUG):
        response = client.get(f"/secret/{SECRET}?key={SECRET}", headers={"Authorization": f"Bearer {SECRET}"})
        client.post(f"/secret/{SECRET}", {"password": SECRET})
        Group.objects.create(name=SECRET)
        client.get(f"/nowhere/{SECRET}")
        task_ended.send(
            "mail", outcome="success", retries=0, queue="q", run_seconds=1.0, wait_seconds=None, args=[SECRET]
        )
        handle = metrics(_raising)
        with pytest.raises(ValueError, match=SECRET):
            handle(HttpRequest())
        log_summary("1h")
    assert response.content == SECRET.encode()
    assert SECRET not in response["Server-Timing"]
    found = measured.text()
    assert "/secret/<str:token>" in found
    assert "auth_group" in found
    assert SECRET not in found
    assert SECRET not in json.dumps(as_dict(measured.summary()))
    lines = [record for record in caplog.records if record.name.startswith("perfkit")]
    assert any(record.name == "perfkit.queries" for record in lines)
    assert not [record for record in lines if SECRET in repr(vars(record))]


def _raising(_: HttpRequest) -> HttpResponse:
    raise ValueError(SECRET)
