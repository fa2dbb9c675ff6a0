"""Each request has an id, whatever becomes of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf import LazySettings
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, RequestFactory

from perfkit.api.writing.workers import workers
from perfkit.errors import UsageError
from perfkit.tracing import RequestIdFilter, request_id, request_id_middleware, use_request_id
from perfkit.tracing.origins import current

IDS = "perfkit.tracing.request_id_middleware"


@pytest.fixture(autouse=True)
def _site(settings: LazySettings) -> None:
    settings.ROOT_URLCONF = "tests.tracing.pages"
    settings.MIDDLEWARE = [IDS, "perfkit.api.after_response_middleware"]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """What is logged, by a handler with the filter."""
    own = RequestIdFilter()
    caplog.handler.addFilter(own)
    with caplog.at_level(logging.WARNING):
        yield caplog
    caplog.handler.removeFilter(own)


def seen(lines: pytest.LogCaptureFixture, logger: str) -> list[tuple[str, str]]:
    return [(each.request_id, each.view) for each in lines.records if each.name == logger]  # type: ignore[attr-defined]


def test_it_takes_the_clients_and_answers_with_it() -> None:
    response = Client().get("/plain/", headers={"X-Request-ID": "theirs.1"})
    assert response["X-Request-ID"] == "theirs.1"
    assert set(response.json().values()) == {"theirs.1"}
    assert current.get() is None


@pytest.mark.parametrize("wrong", ["two words", "a\r\nSet-Cookie: b=c", "*/ DROP TABLE x; /*", "x" * 129, ""])
def test_it_makes_one_in_the_place_of_what_is_none(wrong: str) -> None:
    response = Client().get("/plain/", HTTP_X_REQUEST_ID=wrong)
    assert len(response["X-Request-ID"]) == 32
    assert set(response.json().values()) == {response["X-Request-ID"]}, "and others are not shown it"


def test_it_makes_one_where_none_is_accepted(settings: LazySettings) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "REQUEST_ID_ACCEPT": False}
    made = {Client().get("/plain/", HTTP_X_REQUEST_ID="theirs")["X-Request-ID"] for _ in range(3)}
    assert len(made) == 3
    assert "theirs" not in made


@pytest.mark.parametrize("is_accepted", [True, False])
def test_a_trace_is_taken_only_where_an_id_is(settings: LazySettings, is_accepted: bool) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "REQUEST_ID_ACCEPT": is_accepted}
    sent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    seen_there: list[str] = []
    request = RequestFactory().get("/plain/", headers={"traceparent": sent})

    def view(_: HttpRequest) -> HttpResponse:
        origin = current.get()
        seen_there.append("" if origin is None else origin.traceparent)
        return HttpResponse()

    request_id_middleware(view)(request)
    assert seen_there == [sent if is_accepted else ""]


def test_it_takes_another_field(settings: LazySettings) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "REQUEST_ID_HEADER": "Request-Id"}
    response = Client(raise_request_exception=False).get("/failing/", HTTP_REQUEST_ID="theirs")
    assert response["Request-Id"] == "theirs"
    assert "X-Request-ID" not in response


async def _apart(client: AsyncClient, number: int) -> dict[str, str]:
    response = await client.get("/aplain/", headers={"X-Request-ID": f"request-{number}"})
    assert response["X-Request-ID"] == f"request-{number}"
    return dict(response.json())


def test_requests_that_run_at_once_have_each_their_own() -> None:
    async def together() -> list[dict[str, str]]:
        return await asyncio.gather(*(_apart(AsyncClient(), number) for number in range(20)))

    answers = async_to_sync(together)()
    assert [set(each.values()) for each in answers] == [{f"request-{number}"} for number in range(20)]
    assert current.get() is None


@pytest.mark.parametrize("is_async", [False, True])
def test_an_error_has_it_in_its_answer_and_in_its_lines(lines: Any, is_async: bool) -> None:
    client = (AsyncClient if is_async else Client)(raise_request_exception=False)
    get: Any = async_to_sync(client.get) if is_async else client.get
    response = get("/failing/", headers={"X-Request-ID": "fails"})
    assert (response.status_code, response["X-Request-ID"]) == (500, "fails")
    assert seen(lines, "django.request") == [("fails", "tests.tracing.pages.failing")]
    assert current.get() is None


def test_what_is_logged_after_the_last_middleware_has_it(lines: Any) -> None:
    assert Client().get("/nowhere/", headers={"X-Request-ID": "lost"}).status_code == 404
    assert seen(lines, "django.request") == [("lost", "-")]


def test_lines_of_other_loggers_have_it_and_the_view(lines: Any) -> None:
    Client().get("/plain/", headers={"X-Request-ID": "mine"})
    logging.getLogger("somebody.else").warning("outside")
    assert seen(lines, "somebody.else") == [("mine", "tests.tracing.pages.plain"), ("-", "-")]


def test_each_piece_of_a_streamed_answer_is_made_under_it(lines: Any) -> None:
    response = Client().get("/streamed/", headers={"X-Request-ID": "stream"})
    assert request_id() == ""
    assert list(response) == [b"stream\n"] * 3
    assert request_id() == ""
    assert [each for each, _ in seen(lines, "somebody.else")] == ["stream"] * 3


def test_each_piece_of_an_async_stream_too() -> None:
    async def read() -> list[bytes]:
        response: Any = await AsyncClient().get("/astreamed/", headers={"X-Request-ID": "stream"})
        pieces = []
        async for piece in response.streaming_content:
            assert request_id() == ""
            pieces.append(piece)
        return pieces

    assert async_to_sync(read)() == [b"stream\n"] * 3


def test_an_async_stream_that_nobody_reads_on_is_closed(lines: Any) -> None:
    async def begin() -> None:
        response: Any = await AsyncClient().get("/astreamed/", headers={"X-Request-ID": "stream"})
        pieces = response.streaming_content
        assert await anext(pieces) == b"stream\n"
        await pieces.aclose()

    async_to_sync(begin)()
    assert [each.getMessage() for each in lines.records if each.name == "somebody.else"] == ["closed"]


def test_work_after_the_answer_has_it(lines: Any) -> None:
    Client().get("/later/", headers={"X-Request-ID": "later"})
    workers.drain()
    assert seen(lines, "somebody.else") == [("later", "tests.tracing.pages.later")] or seen(
        lines, "somebody.else"
    ) == [("later", "-")], "the request may be gone by then, the id is not"


def test_a_command_has_its_own() -> None:
    with use_request_id() as made:
        assert request_id() == made
        with use_request_id("import-1") as given:
            assert request_id() == given == "import-1"
        assert request_id() == made
    assert request_id() == ""


@pytest.mark.parametrize("wrong", ["", "two words", "a\n"])
def test_what_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(UsageError, match="1 to 128 letters"), use_request_id(wrong):
        pass
