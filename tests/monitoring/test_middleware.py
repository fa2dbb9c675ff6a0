from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, AsyncRequestFactory, Client
from django.test.utils import CaptureQueriesContext
from django.urls import resolve

from perfkit.monitoring import timed
from perfkit.monitoring.middleware import active, metrics
from tests.monitoring import pages
from tests.monitoring.conftest import MIDDLEWARE, Measured

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _pages(settings: LazySettings) -> None:
    settings.ROOT_URLCONF = "tests.monitoring.pages"
    settings.MIDDLEWARE = MIDDLEWARE


def get(path: str, **options: Any) -> Any:
    client = Client(raise_request_exception=False)
    return client.get(path, **options)


def aget(path: str) -> Any:
    client = AsyncClient(raise_request_exception=False)

    async def got() -> Any:
        response: Any = await client.get(path)
        if response.streaming:
            response.parts = [part async for part in response]
        return response

    return async_to_sync(got)()


def views(measured: Measured) -> dict[str, tuple[int, int, int, int]]:
    """Return of each view: requests, failed, refused, queries."""
    return {
        f"{each.method} {each.view}": (each.timing.count, each.failed, each.refused, each.queries)
        for each in measured.summary().views
    }


class TestViews:
    def test_it_counts_a_request_and_its_queries(self, measured: Measured) -> None:
        assert get("/queries/3").json() == {"queries": 3}
        assert views(measured) == {"GET /queries/<int:number>": (1, 0, 0, 3)}
        (view,) = measured.summary().views
        assert 0 < view.database_seconds < view.timing.total_seconds
        assert measured.summary().requests.queries_each == 3

    def test_it_counts_what_an_async_view_has_threads_do(self, measured: Measured) -> None:
        assert aget("/queries-async/4").json() == {"queries": 5}
        assert views(measured) == {"GET /queries-async/<int:number>": (1, 0, 0, 5)}

    @pytest.mark.parametrize("ask", [get, aget])
    @pytest.mark.parametrize("path", ["/failing", "/failing-async"])
    def test_a_view_that_raises_is_a_failure_with_its_queries(
        self, measured: Measured, ask: Any, path: str
    ) -> None:
        assert ask(path).status_code == 500
        assert views(measured) == {f"GET {path}": (1, 1, 0, 1)}
        assert active.number() == 0

    def test_a_refusal_is_none(self, measured: Measured) -> None:
        assert get("/refusing").status_code == 403
        assert get("/nowhere").status_code == 404
        assert views(measured) == {"GET /refusing": (1, 0, 1, 0), "GET (unmatched)": (1, 0, 1, 0)}

    @pytest.mark.parametrize(("ask", "path"), [(get, "/streaming"), (aget, "/streaming-async")])
    def test_a_stream_is_measured_until_it_begins(self, measured: Measured, ask: Any, path: str) -> None:
        response = ask(path)
        assert b"".join(response.parts if ask is aget else response.streaming_content) == b"000"
        assert views(measured) == {f"GET {path}": (1, 0, 0, 0)}
        assert measured.summary().queries.timing.count == 3, "its statements are counted as such"

    def test_addresses_without_end_are_one_view(self, measured: Measured) -> None:
        handle = metrics(_resolved)
        factory = AsyncRequestFactory()
        request = factory.get("/items/1")
        for number in range(100_000):
            request.path_info = f"/items/{number}"
            handle(request)
        assert views(measured) == {"GET /items/<int:pk>": (100_000, 0, 0, 0)}
        assert "99999" not in measured.text()

    def test_it_names_patterns_as_they_are_written(self, measured: Measured) -> None:
        get("/old/1999/")
        assert list(views(measured)) == ["GET /^old/(?P<year>[0-9]{4})/$"]

    def test_methods_of_somebodys_own_are_one(self, measured: Measured) -> None:
        Client().generic("SECRET", "/plain")
        Client().generic("BREW", "/plain")
        Client().head("/plain")
        assert views(measured) == {"OTHER /plain": (2, 0, 0, 0), "HEAD /plain": (1, 0, 0, 0)}

    def test_standing_there_twice_it_counts_once(self, measured: Measured, settings: LazySettings) -> None:
        settings.MIDDLEWARE = ["perfkit.monitoring.metrics", *MIDDLEWARE]
        get("/queries/1")
        aget("/queries-async/1")
        assert measured.summary().requests.timing.count == 2
        assert measured.summary().requests.queries == 3

    def test_a_client_that_goes_away_is_a_refusal(
        self, measured: Measured, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begun = asyncio.Event()
        monkeypatch.setattr(pages, "begun", begun.set)

        async def cut_off() -> None:
            handler = ASGIHandler()
            answering = asyncio.create_task(
                handler.get_response_async(ASGIRequest(_scope("/hanging"), _Nothing()))  # type: ignore[arg-type]
            )
            await begun.wait()
            answering.cancel()
            with pytest.raises(asyncio.CancelledError):
                await answering

        async_to_sync(cut_off)()
        assert views(measured) == {"GET /hanging": (1, 0, 1, 0)}
        assert active.number() == 0

    @pytest.mark.django_db(transaction=True)
    def test_a_page_of_the_middlewares_cache_has_its_view(
        self, measured: Measured, settings: LazySettings
    ) -> None:
        settings.MIDDLEWARE = [*MIDDLEWARE, "perfkit.caching.responses.middleware.ResponseCacheMiddleware"]
        settings.PERFKIT = {**settings.PERFKIT, "CACHE_RESPONSES_ALLOW": ["/kept"]}
        for _ in range(3):
            assert get("/kept-by-middleware").status_code == 200
        assert views(measured) == {"GET /kept-by-middleware": (3, 0, 0, 1)}

    def test_with_metrics_off_nothing_is_measured(self, settings: LazySettings, measured: Measured) -> None:
        settings.PERFKIT = {**settings.PERFKIT, "METRICS_ENABLED": False}
        response = get("/queries/1")
        assert response.json() == {"queries": None}
        assert "Server-Timing" not in response
        found = measured.summary()
        assert (found.requests.timing.count, found.queries.timing.count) == (0, 0)
        assert found.problem == "METRICS_ENABLED is off: nothing is measured."

    def test_a_child_is_busy_with_nothing_of_its_parents(self) -> None:
        next(active.begun)
        try:
            reading, writing = os.pipe()
            child = os.fork()
            if not child:
                os.write(writing, str(active.number()).encode())
                os._exit(0)
            os.waitpid(child, 0)
            assert os.read(reading, 10) == b"0"
            assert active.number() == 1
        finally:
            next(active.ended)
            os.close(reading)
            os.close(writing)


class TestServerTiming:
    @pytest.fixture
    def staff(self, db: None) -> Client:
        client = Client()
        client.force_login(User.objects.create_user("staff", is_staff=True))
        return client

    @pytest.fixture
    def visitor(self, db: None) -> Client:
        client = Client()
        client.force_login(User.objects.create_user("visitor"))
        return client

    def test_staff_are_told_where_the_view_knows_them(self, measured: Measured, staff: Client) -> None:
        said = staff.get("/who")["Server-Timing"].split(", ")
        assert [part.partition(";")[0] for part in said] == ["total", "db", "pages__who___is"]
        assert said[1].endswith(';desc="2 queries"')
        assert all(float(part.split(";")[1].removeprefix("dur=")) >= 0 for part in said)

    def test_staff_are_told_by_async_views(self, measured: Measured, staff: Client) -> None:
        client = AsyncClient()
        client.cookies = staff.cookies
        response = async_to_sync(client.get)("/who-async")
        assert response.content == b"staff"
        assert "db;dur=" in response["Server-Timing"]

    def test_others_are_not(self, measured: Measured, visitor: Client) -> None:
        assert visitor.get("/who").content == b"visitor"
        assert "Server-Timing" not in visitor.get("/who")
        assert "Server-Timing" not in Client().get("/who")

    def test_nobody_is_loaded_for_it(self, measured: Measured, staff: Client) -> None:
        with CaptureQueriesContext(connection) as captured:
            response = staff.get("/plain")
        assert "Server-Timing" not in response
        assert "Vary" not in response
        assert len(captured) == 0

    def test_it_is_not_told_where_caches_may_give_it_to_others(
        self, measured: Measured, staff: Client
    ) -> None:
        assert "Server-Timing" not in staff.get("/public")

    def test_all_or_none_are_told_where_the_settings_say_so(
        self, measured: Measured, staff: Client, settings: LazySettings
    ) -> None:
        settings.PERFKIT = {**settings.PERFKIT, "SERVER_TIMING": "all"}
        assert Client().get("/plain")["Server-Timing"].startswith("total;dur=")
        settings.PERFKIT = {**settings.PERFKIT, "SERVER_TIMING": "off"}
        assert "Server-Timing" not in staff.get("/who")

    @pytest.mark.django_db(transaction=True)
    def test_a_kept_page_has_none_of_the_request_that_made_it(
        self, measured: Measured, settings: LazySettings
    ) -> None:
        settings.PERFKIT = {**settings.PERFKIT, "SERVER_TIMING": "all"}
        made, found = Client().get("/kept"), Client().get("/kept")
        assert made["Server-Timing"].startswith("made;dur=1, total;")
        assert 'desc="0 queries"' in found["Server-Timing"]
        assert "made" not in found["Server-Timing"]

    def test_what_others_have_put_there_stays(self, measured: Measured, settings: LazySettings) -> None:
        settings.PERFKIT = {**settings.PERFKIT, "SERVER_TIMING": "all"}
        handle = metrics(lambda _: HttpResponse(headers={"Server-Timing": "other;dur=1"}))
        assert handle(HttpRequest())["Server-Timing"].startswith("other;dur=1, total;dur=")

    def test_however_many_names_there_are_it_stays_short(
        self, measured: Measured, settings: LazySettings
    ) -> None:
        def view(_: HttpRequest) -> HttpResponse:
            for number in range(200):
                with timed(f"{'n' * 100}{number}\r\nSet-Cookie: a=b"):
                    pass
                with timed(f"{number} \r\nSet-Cookie: a=b"):
                    pass
            return HttpResponse()

        settings.PERFKIT = {**settings.PERFKIT, "SERVER_TIMING": "all"}
        said = metrics(view)(HttpRequest())["Server-Timing"]
        assert len(said) <= 1_500
        assert "1___Set-Cookie__a_b;dur=" in said


def _resolved(request: Any) -> Any:
    request.resolver_match = resolve(request.path_info, "tests.monitoring.pages")
    return HttpResponse()


class _Nothing:
    """The body of a request without one."""

    def read(self, *_: int) -> bytes:
        return b""


def _scope(path: str) -> dict[str, Any]:
    return {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b""}
