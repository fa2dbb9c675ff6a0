"""One prompt is one call, over a real HTTP server that speaks chat completions."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from perfkit.caching.store import current_store
from perfkit.errors import (
    ModelAnswerError,
    ModelLimitError,
    ModelRefusedError,
    ModelUnavailableError,
    SamplingPolicyError,
)
from perfkit.inference import CallRetries, ModelCache, OpenAICompatibleAdapter

pytestmark = pytest.mark.django_db(transaction=True)

KEY = "sk-never-shown-1234"


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.calls: list[dict[str, Any]] = []
        self.faults: list[tuple[int, dict[str, str], bytes]] = []
        self.reason, self.pause, self.is_cut = "stop", 0.0, False
        self.url = f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.headers["Authorization"] == f"Bearer {KEY}"
        self.server.calls.append(body)
        time.sleep(self.server.pause)
        usage = {"prompt_tokens": 5, "completion_tokens": 2}
        if self.server.faults:
            self.answer(*self.server.faults.pop(0))
        elif body.get("stream"):
            events: list[Any] = [{"choices": [{"delta": {"content": text}}]} for text in ("Good ", "day")]
            if not self.server.is_cut:
                events += [{"choices": [{"delta": {}, "finish_reason": self.server.reason}], "usage": usage}]
            text = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
            self.answer(200, {}, (text + ("" if self.server.is_cut else "data: [DONE]\n\n")).encode())
        else:
            choice = {"message": {"content": "Good day"}, "finish_reason": self.server.reason}
            self.answer(200, {}, json.dumps({"choices": [choice], "usage": usage}).encode())

    def answer(self, status: int, fields: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {**fields, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def server(settings: Any) -> Iterator[Server]:
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_TIMEOUT": 5.0}
    store = current_store()
    assert store is not None
    store.clear()
    server = Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def adapter(server: Server) -> Iterator[OpenAICompatibleAdapter]:
    adapter = OpenAICompatibleAdapter(server.url, api_key=KEY, timeout=5, most_bytes=10_000)
    yield adapter
    adapter.close()


@pytest.fixture
def models(adapter: OpenAICompatibleAdapter) -> ModelCache:
    return ModelCache(adapter, cache=True, retries=CallRetries(backoff_seconds=0.01))


def test_it_asks_once_and_counts(server: Server, models: ModelCache) -> None:
    first, second = (models.complete("Hello", model="m") for _ in range(2))
    assert (first.text, first.is_cached, second.text, second.is_cached) == (
        "Good day",
        False,
        "Good day",
        True,
    )
    assert len(server.calls) == 1
    told = models.statistics()
    assert (told.hits, told.misses, told.saved_input_tokens, told.output_tokens) == (1, 1, 5, 2)
    models.invalidate(model="m")
    assert not models.complete("Hello", model="m").is_cached


def test_it_asks_once_from_coroutines_and_keeps_tenants_apart(server: Server, models: ModelCache) -> None:
    async def ask() -> None:
        await models.acomplete("Hello", model="m", tenant="a")
        assert (await models.acomplete("Hello", model="m", tenant="a")).is_cached
        assert not (await models.acomplete("Hello", model="m", tenant="b")).is_cached
        assert [text async for text in models.astream("Hi", model="m")] == ["Good ", "day"]
        assert [text async for text in models.astream("Hi", model="m")] == ["Good day"]
        await sync_to_async(connections.close_all)()

    asyncio.run(ask())
    assert len(server.calls) == 3


def test_threads_that_ask_together_make_one_call(server: Server, models: ModelCache) -> None:
    server.pause = 0.3
    answers: list[str] = []

    def ask() -> None:
        answers.append(models.complete("Hello", model="m").text)
        connections.close_all()

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (answers, len(server.calls)) == (["Good day"] * 8, 1)


def test_a_stream_is_kept_once_it_was_read(server: Server, models: ModelCache) -> None:
    stream = models.stream("Hello", model="m")
    assert next(stream) == "Good "
    stream.close()
    assert list(models.stream("Hello", model="m")) == ["Good ", "day"]
    assert list(models.stream("Hello", model="m")) == ["Good day"]
    assert len(server.calls) == 2


def test_what_was_cut_is_not_kept(server: Server, models: ModelCache) -> None:
    server.reason = "length"
    assert [models.complete("Hello", model="m").finish_reason for _ in range(2)] == ["length"] * 2
    server.is_cut = True
    with pytest.raises(ModelAnswerError, match="cut off"):
        list(models.stream("Hi", model="m"))
    assert models.peek("Hi", model="m") is None
    assert len(server.calls) == 3


def test_it_tries_again_and_waits_as_told(server: Server, models: ModelCache) -> None:
    server.faults = [(500, {}, b""), (429, {"Retry-After": "1"}, b"")]
    begun = time.monotonic()
    assert models.complete("Hello", model="m").text == "Good day"
    assert time.monotonic() - begun >= 1
    server.faults = [(429, {"Retry-After": "3600"}, b"")]
    with pytest.raises(ModelUnavailableError) as caught:
        models.complete("Hi", model="m")
    assert (caught.value.status, caught.value.retry_after_seconds, len(server.calls)) == (429, 3600, 4)


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"choices": []}', b"x" * 20_000])
def test_an_answer_of_no_use_is_an_error(server: Server, models: ModelCache, body: bytes) -> None:
    server.faults = [(200, {}, body)]
    with pytest.raises(ModelAnswerError):
        models.complete("Hello", model="m")
    assert not models.complete("Hello", model="m").is_cached


def test_the_key_is_nowhere(
    server: Server, models: ModelCache, adapter: OpenAICompatibleAdapter, caplog: pytest.LogCaptureFixture
) -> None:
    server.faults = [
        (401, {}, json.dumps({"error": {"code": f"wrong {KEY}", "type": "auth_error"}}).encode())
    ]
    with caplog.at_level(0), pytest.raises(ModelRefusedError) as caught:
        models.complete("a secret prompt", model="m")
    assert str(caught.value) == "The model's server refuses the request: 401 auth_error"
    for text in (repr(adapter), repr(caught.value), caplog.text):
        assert KEY not in text
        assert "secret prompt" not in text


def test_it_is_slow_only_so_long(server: Server) -> None:
    server.pause = 1.0
    adapter = OpenAICompatibleAdapter(server.url, api_key=KEY, timeout=0.2)
    with pytest.raises(ModelUnavailableError, match="in time"):
        ModelCache(adapter, cache=True).complete("Hello", model="m")
    adapter.close()


def test_it_must_be_told_of_lots_and_holds_the_limit(
    server: Server, adapter: OpenAICompatibleAdapter
) -> None:
    models = ModelCache(adapter, limit="2/minute")
    with pytest.raises(SamplingPolicyError):
        models.complete("Hello", model="m", temperature=0.7)
    tenant = str(time.time())
    for _ in range(2):
        models.complete("Hello", model="m", tenant=tenant, temperature=0.7, cache=False)
    assert len(server.calls) == 2
    with pytest.raises(ModelLimitError):
        models.complete("Hello", model="m", tenant=tenant, temperature=0)
