"""The panel, as people see it in the real toolbar."""

from __future__ import annotations

import asyncio
import json
import os
import signal as signals_of_processes
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connections
from django.test import AsyncClient, Client, override_settings

from perfkit import signals
from perfkit.errors import NPlusOneError
from perfkit.hydration import shapes
from perfkit.monitoring.panel.collecting import HEARD, MOST_EVENTS, Collector, collecting
from tests.monitoring.panel import site
from tests.monitoring.panel.conftest import Toolbar, get_store
from tests.monitoring.panel.site import EVIL, SECRET

ASYNC_CHAIN = ("perfkit.api.HeadMiddleware",)
QUOTED = "tests.monitoring.panel.site.quoted"


def outcomes(stats: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each["label"], each["outcome"]) for each in stats["reads"]]


def ask(address: str) -> Any:
    """Ask an address of the site in an event loop; return the whole of what it sends."""

    async def asked() -> Any:
        response = await AsyncClient().get(address)
        assert response.status_code == 200
        return [part async for part in response] if response.streaming else response.content

    return async_to_sync(asked)()


def tell_nobody() -> None:
    """Tell something that belongs to no request, unless one is looked at here."""
    signals.cache_server_asked.send(sender=None, seconds=0.0, is_awaited=True, has_failed=False)


def count_connecting(connected: list[Any], connect: Callable[..., None], *args: Any, **options: Any) -> None:
    connected.append(args)
    connect(*args, **options)


class TestOnEachStore:
    def test_reads_are_shown_with_what_they_came_to(self, on_any_store: Toolbar) -> None:
        on_any_store.client.get("/panel/reads/")

        stats = on_any_store.stats()
        item = "testapp.Item"
        assert outcomes(stats) == [
            (item, "miss"),
            (item, "miss"),
            (item, "hit"),
            (item, "bypass"),
            (QUOTED, "miss"),
        ]
        assert (stats["hits"], stats["misses"], stats["bypasses"], stats["queries"]) == (1, 3, 1, 4)
        assert on_any_store.subtitle() == "1 of 5 reads from the cache, 4 queries"
        content = on_any_store.content()
        assert "Choose at random among cached keys instead." in content
        assert "testapp_item: any write" in content
        assert QUOTED in content

    def test_an_empty_request_says_so(self, on_any_store: Toolbar) -> None:
        on_any_store.client.get("/panel/nothing/")

        assert on_any_store.subtitle() == "0 queries"
        assert "perfkit had nothing to do in this request" in on_any_store.content()

    def test_the_history_has_each_request(self, on_any_store: Toolbar) -> None:
        on_any_store.client.get("/panel/reads/")
        first = on_any_store.request_id
        on_any_store.client.get("/panel/nothing/")

        answer = on_any_store.client.get("/__debug__/history_refresh/", {"request_id": first})

        listed = {each["id"] for each in answer.json()["requests"]}
        assert {first, on_any_store.request_id} <= listed
        assert QUOTED in on_any_store.content(first)
        assert QUOTED not in on_any_store.content()

    def test_a_streaming_response_is_followed_to_its_end(self, on_any_store: Toolbar) -> None:
        response: Any = on_any_store.client.get("/panel/streams/")
        assert on_any_store.stats()["queries"] == 0

        assert len(b"".join(response).splitlines()) == 3

        stats = on_any_store.stats()
        assert outcomes(stats) == [(QUOTED, "miss"), (QUOTED, "hit"), (QUOTED, "hit")]
        assert stats["queries"] == 4

    def test_async_views_are_seen_too(self, on_any_store: Toolbar) -> None:
        ask("/panel/areads/")

        assert Counter(outcomes(on_any_store.stats())) == {
            ("testapp.Item", "miss"): 2,
            ("testapp.Item", "hit"): 1,
            (QUOTED, "miss"): 1,
        }

    def test_what_was_planted_is_nowhere(self, on_any_store: Toolbar) -> None:
        """Secrets in the address, a cookie, a header, SQL, keys, tags, arguments and limits; markup in names."""
        client = on_any_store.client
        client.cookies["secret"] = SECRET
        client.get("/panel/plants/", {"secret": SECRET}, headers={"x-secret": SECRET})
        shown = [json.dumps(on_any_store.stats()), on_any_store.content(), on_any_store.subtitle()]
        client.get("/panel/plans/")
        shown += [json.dumps(on_any_store.stats()), on_any_store.content()]
        client.get("/panel/writes/")
        shown += [json.dumps(on_any_store.stats()), on_any_store.content()]

        for text in shown:
            assert SECRET not in text
            assert SECRET.encode().hex() not in text
        pages = shown[1::2]
        assert EVIL in shown[0], "the name of a column has the markup"
        assert not any("<script" in page for page in pages)
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in pages[0]


class TestInAnEventLoop:
    """Where no middleware brings the request into a thread, the toolbar itself runs in the event loop."""

    @pytest.fixture(params=["memory", "cache"])
    def toolbar(self, put_on: Callable[..., Toolbar], rows: None, request: pytest.FixtureRequest) -> Toolbar:
        return put_on(request.param, *ASYNC_CHAIN)

    def test_reads_in_coroutines_and_threads_are_seen(self, toolbar: Toolbar) -> None:
        ask("/panel/areads/")

        assert Counter(outcomes(toolbar.stats())) == {
            ("testapp.Item", "miss"): 2,
            ("testapp.Item", "hit"): 1,
            (QUOTED, "miss"): 1,
        }

    def test_a_streaming_response_is_followed_to_its_end(self, toolbar: Toolbar) -> None:
        assert ask("/panel/astreams/") == [b"3\n"] * 3

        assert toolbar.stats()["queries"] == 3

    def test_loops_are_found(self, toolbar: Toolbar) -> None:
        ask("/panel/loops/")

        [finding] = toolbar.stats()["findings"]
        assert finding["name"] == "flights.Flight.airline"

    def test_requests_in_the_midst_of_each_other_are_told_apart(self, toolbar: Toolbar) -> None:
        async def both() -> None:
            site.waiting.append(site.Waiting())
            answers = await asyncio.gather(
                AsyncClient().get("/panel/ameets/3/"), AsyncClient().get("/panel/ameets/5/")
            )
            assert [each.status_code for each in answers] == [200, 200]

        async_to_sync(both)()

        ids = list(get_store().request_ids())[-2:]
        assert sorted(toolbar.stats(each)["misses"] for each in ids) == [3, 5]


def test_requests_in_threads_are_told_apart(toolbar: Toolbar) -> None:
    statuses = []

    def get(number: int) -> None:
        try:
            statuses.append(Client().get(f"/panel/meets/{number}/").status_code)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=get, args=(number,)) for number in (3, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert statuses == [200, 200]
    ids = list(get_store().request_ids())[-2:]
    assert sorted(toolbar.stats(each)["misses"] for each in ids) == [3, 5]


def test_nobody_listens_once_something_is_told_that_nobody_looks_at(toolbar: Toolbar) -> None:
    tell_nobody()
    before = [list(signal.receivers) for signal, _ in HEARD]
    toolbar.client.get("/panel/reads/")
    ask("/panel/areads/")
    tell_nobody()

    assert [list(signal.receivers) for signal, _ in HEARD] == before
    assert signals.cache_read.receivers == []
    assert signals.cache_read_detailed.receivers == []


def test_the_signals_are_connected_once_for_requests_that_follow_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tell_nobody()
    connected: list[Any] = []
    for signal, _ in HEARD:
        monkeypatch.setattr(signal, "connect", partial(count_connecting, connected, signal.connect))
    collectors = [Collector() for _ in range(3)]
    for collector in collectors:
        with collecting(collector):
            tell_nobody()
    assert len(connected) == len(HEARD)
    assert [collector.asked["awaited"] for collector in collectors] == [1, 1, 1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_of_the_process_is_held_up_by_nothing_that_a_thread_of_the_parent_did() -> None:
    collector = Collector()
    is_within, may_go_on = threading.Event(), threading.Event()

    def line() -> str:
        is_within.set()
        may_go_on.wait(60)
        return "shop/views.py:1"

    def look() -> None:
        with collecting(collector):
            collector.query("SELECT ?", "default", 0.1, line=line)

    thread = threading.Thread(target=look)
    thread.start()
    assert is_within.wait(60)  # it holds the collector's lock, and a request is looked at
    child = os.fork()
    if not child:
        signals_of_processes.alarm(30)  # ends the child where it is held up
        collector.keep("limits", scope="x")
        tell_nobody()
        os._exit(0 if signals.cache_read_detailed.receivers == [] else 3)
    _, status = os.waitpid(child, 0)
    may_go_on.set()
    thread.join(60)
    tell_nobody()
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_flood_is_counted_and_not_kept(toolbar: Toolbar) -> None:
    toolbar.client.get("/panel/floods/")

    stats = toolbar.stats()
    assert stats["misses"] == 700
    assert stats["queries"] == 700
    assert len(stats["reads"]) + len(stats["statements"]) == MOST_EVENTS
    assert stats["left_out"] == 700 - len(stats["reads"])
    assert f"{stats['left_out']} more events of this request are counted" in toolbar.content()


@pytest.mark.redis
def test_tiers_round_trips_and_time_saved_are_told(toolbar: Toolbar) -> None:
    toolbar.client.get("/panel/reads/")
    toolbar.client.get("/panel/reads/")

    stats = toolbar.stats()
    assert stats["hits"] == 4
    assert sum(each["count"] for each in stats["tiers"]) == 4
    known = {each["name"]: each["count"] for each in stats["tiers"]}
    assert known["known in this request"] >= 1
    assert 1 <= stats["asked"]["awaited"] <= 4
    assert stats["asked"]["failed"] == 0
    assert stats["saved"]["measured"] == 4
    assert "The hits have saved about" in toolbar.content()
    assert "an estimate, of 4 by what their answers took to make before" in toolbar.content()


class TestLoops:
    def test_one_is_found_though_the_guard_is_off(self, toolbar: Toolbar) -> None:
        toolbar.client.get("/panel/loops/")

        [finding] = toolbar.stats()["findings"]
        assert finding["queries"] == 4
        assert finding["lines"][0].startswith("tests/monitoring/panel/site.py:")
        assert 'select_related("airline")' in finding["fix"]
        assert toolbar.subtitle() == "5 queries, 1 N+1"
        assert "select_related(&quot;airline&quot;)" in toolbar.content()

    def test_the_guard_keeps_its_own_watch(self, toolbar: Toolbar, settings: Any) -> None:
        settings.PERFKIT = {**settings.PERFKIT, "N_PLUS_ONE_MODE": "header"}

        response = toolbar.client.get("/panel/loops/")

        assert response["X-N-Plus-One"].startswith("1; flights.Flight.airline x4")
        assert len(toolbar.stats()["findings"]) == 1

    def test_the_guard_may_refuse(self, toolbar: Toolbar, settings: Any) -> None:
        settings.PERFKIT = {**settings.PERFKIT, "N_PLUS_ONE_MODE": "raise"}

        with pytest.raises(NPlusOneError):
            toolbar.client.get("/panel/loops/")


def test_statements_are_told_once_with_their_times(toolbar: Toolbar) -> None:
    toolbar.client.get("/panel/loops/")

    stats = toolbar.stats()
    assert sorted(each["count"] for each in stats["statements"]) == [1, 4]
    assert stats["duplicates"] == 3
    [repeated] = [each for each in stats["statements"] if each["count"] == 4]
    assert repeated["line"].startswith("tests/monitoring/panel/site.py:")
    assert "3 of them are repetitions of another" in toolbar.content()


def test_plans_are_shown_without_values(toolbar: Toolbar) -> None:
    toolbar.client.get("/panel/plans/")

    [plan] = toolbar.stats()["plans"]
    assert plan["label"] == "flights.Flight"
    assert "join airline: foreign key, leads to one row" in plan["text"]
    assert "filter (AND: ('note', …)), at most 3 for each row above" in plan["text"]
    assert "Plan for flights.Flight" in toolbar.content()


def test_the_way_of_instances_is_told(toolbar: Toolbar) -> None:
    shapes._shapes.clear()
    toolbar.client.get("/panel/reads/")

    reasons = {each["rows"]: each["reason"] for each in toolbar.stats()["hydrated"]}
    assert reasons[1] == ""
    assert reasons[3].startswith("few rows, and the first of a query of this shape")


def test_limits_are_told_and_nobody_who_was_counted(toolbar: Toolbar) -> None:
    toolbar.client.get("/panel/limits/")

    limits = toolbar.stats()["limits"]
    assert [each["is_admitted"] for each in limits] == [True, True, False]
    assert [each["remaining"] for each in limits] == [1, 0, 0]
    assert {each["rate"] for each in limits} == {"2/hour"}
    assert "refused, again in" in toolbar.content()


def test_limits_that_are_off_say_so(toolbar: Toolbar, settings: Any) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "RATE_LIMIT_ENABLED": False}

    toolbar.client.get("/panel/limits/")

    assert "not counted: limits are off (RATE_LIMIT_ENABLED)" in toolbar.content()


def test_answers_are_compiled_or_say_why_not(toolbar: Toolbar) -> None:
    toolbar.client.get("/panel/answers/")

    plain, computed = toolbar.stats()["answers"]
    assert (plain["route"], plain["reason"], plain["columns"]) == ("Plain", "", 2)
    assert computed["route"] == "Computed"
    assert "resolve_name" in computed["reason"] or "function" in computed["reason"]


def test_an_operation_of_the_demo_is_told_by_its_route(toolbar: Toolbar) -> None:
    toolbar.client.get("/api/flights/walk")

    [answer] = toolbar.stats()["answers"]
    assert answer["route"] == "flights/walk"
    assert answer["reason"] == ""


def test_bulk_writes_are_told(toolbar: Toolbar) -> None:
    toolbar.client.get("/panel/writes/")

    inserted, updated = toolbar.stats()["writes"]
    assert (inserted["label"], inserted["call"], inserted["rows"]) == ("testapp.Item", "insert", 3)
    assert (updated["call"], updated["rows"]) == ("update", 1)
    assert inserted["method"]
    assert inserted["method"] in toolbar.content()


@pytest.mark.redis
def test_an_outage_is_told(toolbar: Toolbar, settings: Any) -> None:
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"}}

    toolbar.client.get("/panel/reads/")

    stats = toolbar.stats()
    assert stats["state"] == "down"
    assert stats["hits"] == 0
    assert stats["bypasses"] == 5
    assert stats["asked"]["failed"] >= 1
    assert toolbar.subtitle().endswith("cache server down")
    assert "The cache server did not answer." in toolbar.content()


def test_a_cache_that_is_off_is_told(toolbar: Toolbar, settings: Any) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_ENABLED": False}

    toolbar.client.get("/panel/reads/")

    assert toolbar.stats()["state"] == "off"
    assert "Caching is off." in toolbar.content()


def test_a_cache_that_cannot_be_used_is_told(toolbar: Toolbar, tmp_path: Path) -> None:
    backend = "django.core.cache.backends.filebased.FileBasedCache"
    with override_settings(CACHES={"default": {"BACKEND": backend, "LOCATION": str(tmp_path)}}):
        toolbar.client.get("/panel/loops/")

    assert toolbar.stats()["state"] == "unusable"
    assert f"whose back end {backend} is not supported" in toolbar.content()
    assert len(toolbar.stats()["findings"]) == 1


def test_the_page_has_no_script_and_no_style_of_its_own(toolbar: Toolbar) -> None:
    for view in ("reads", "loops", "plans", "limits", "answers", "writes"):
        toolbar.client.get(f"/panel/{view}/")
        content = toolbar.content()
        assert "<script" not in content
        assert "style=" not in content
        assert "<style" not in content
        assert content.count("<table") == content.count("<thead")
