"""One prompt is one call, asked in each of the four ways, over a real HTTP server that speaks chat completions."""

from __future__ import annotations

import asyncio
import gc
import json
import random
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from decimal import Decimal
from email.utils import formatdate
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connections, transaction

from perfkit.caching import token_scope
from perfkit.errors import (
    ModelAnswerError,
    ModelLimitError,
    ModelRequestError,
    ModelUnavailableError,
    SamplingPolicyError,
    UsageError,
)
from perfkit.inference import (
    CallRetries,
    LocalDeterministicAdapter,
    ModelAdapter,
    ModelAnswer,
    ModelCache,
    OpenAICompatibleAdapter,
    Prompt,
    TokenUsage,
)
from perfkit.inference.flights import LEASE_SECONDS, Flight
from perfkit.inference.prompts import prompt_of
from perfkit.inference.spending import NANO
from project.services.processes import free_port
from tests.inference.child import PRICES, outcome
from tests.inference.upstream import INPUT_TOKENS, KEY, OUTPUT_TOKENS, Reply, Upstream, event

pytestmark = pytest.mark.django_db
WITH_COMMITS = pytest.mark.django_db(transaction=True)

WAYS = ["complete", "acomplete", "stream", "astream"]

SECRETS = (KEY, "secret prompt", "secret answer")


@pytest.fixture
def models(adapter: OpenAICompatibleAdapter) -> ModelCache:
    return ModelCache(adapter, cache=True, prices=PRICES, retries=CallRetries(backoff_seconds=0.01))


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """All that is logged; no secret is among it."""
    with caplog.at_level(0):
        yield caplog
    for secret in SECRETS:
        assert secret not in caplog.text


def is_kept(models: ModelCache, prompt: str = "Hello") -> bool:
    return models.peek(prompt, model="m") is not None


class TestKeeping:
    def test_it_asks_once_and_counts(self, server: Upstream, models: ModelCache, way: str) -> None:
        told = [outcome(models, way, "Hello") for _ in range(3)]
        assert told == [("Good day", False), ("Good day", True), ("Good day", True)]
        assert len(server.calls) == 1
        numbers = models.statistics()
        assert (numbers.hits, numbers.shared, numbers.misses, numbers.failures) == (2, 0, 1, 0)
        assert (numbers.input_tokens, numbers.output_tokens) == (INPUT_TOKENS, OUTPUT_TOKENS)
        assert (numbers.saved_input_tokens, numbers.saved_output_tokens) == (
            2 * INPUT_TOKENS,
            2 * OUTPUT_TOKENS,
        )
        assert numbers.saved_cost == 2 * numbers.cost > 0
        assert numbers.hit_rate == 2 / 3

    def test_all_ways_have_one_answer(self, server: Upstream, models: ModelCache, way: str) -> None:
        assert outcome(models, way, "Hello") == ("Good day", False)
        assert [outcome(models, other, "Hello") for other in WAYS] == [("Good day", True)] * 4
        assert len(server.calls) == 1

    @pytest.mark.parametrize(
        "change",
        [
            {"tenant": "b"},
            {"temperature": 0.5},
            {"max_tokens": 5},
            {"model": "other"},
            {"messages": "Hello "},
            {"messages": [{"role": "system", "content": "Hello"}]},
        ],
    )
    def test_another_question_is_asked(
        self, server: Upstream, models: ModelCache, change: dict[str, Any]
    ) -> None:
        one = {"messages": "Hello", "model": "m", "tenant": "a"}
        models.complete(**one)
        assert not models.complete(**{**one, **change}).is_cached
        assert models.complete(**one).is_cached
        assert len(server.calls) == 2

    def test_another_adapter_is_asked(self, server: Upstream, models: ModelCache) -> None:
        models.complete("Hello", model="m")
        other = OpenAICompatibleAdapter(server.url.replace("127.0.0.1", "localhost"), api_key=KEY)
        assert not ModelCache(other, cache=True).complete("Hello", model="m").is_cached
        other.close()

    @pytest.mark.parametrize("name", ["meta-llama/Llama 3:70b*", "ü\n", "x" * 500, "\ud83d"])
    def test_any_text_names_a_tenant(self, server: Upstream, models: ModelCache, name: str) -> None:
        answers = [models.complete("Hello", model="m", tenant=name) for _ in range(2)]
        assert [answer.is_cached for answer in answers] == [False, True]
        models.invalidate(tenant=name)
        assert models.peek("Hello", model="m", tenant=name) is None

    @pytest.mark.parametrize("name", ["meta-llama/Llama 3:70b*", "ü\n", "x" * 500])
    def test_any_text_names_a_model(self, server: Upstream, models: ModelCache, name: str) -> None:
        answers = [models.complete("Hello", model=name) for _ in range(2)]
        assert [answer.is_cached for answer in answers] == [False, True]
        models.invalidate(model=name)
        assert models.peek("Hello", model=name) is None

    @WITH_COMMITS
    def test_answers_are_voided(self, server: Upstream, models: ModelCache) -> None:
        def voids(**what: str) -> list[bool]:
            for model, tenant in (("m", "a"), ("m", "b"), ("n", "a")):
                models.complete("Hello", model=model, tenant=tenant)
            models.invalidate(**what)
            asked = [models.peek("Hello", model=m, tenant=t) for m, t in (("m", "a"), ("m", "b"), ("n", "a"))]
            return [each is None for each in asked]

        assert voids(model="m") == [True, True, False]
        assert voids(tenant="a") == [True, False, True]
        assert voids() == [True, True, True]
        async_to_sync(models.ainvalidate)(model="m")

    @WITH_COMMITS
    def test_what_was_voided_while_it_was_asked_for_is_not_kept(
        self, server: Upstream, models: ModelCache
    ) -> None:
        gate = threading.Event()
        server.replies = [Reply(pieces=("old",), gate=gate)]
        told: list[tuple[str, bool]] = []
        thread = threading.Thread(target=lambda: told.append(in_thread(models, "complete", "Hello")))
        thread.start()
        server.wait_for_calls(1)
        models.invalidate(model="m")
        assert outcome(models, "complete", "Hello") == ("Good day", False), "it does not wait for the old one"
        gate.set()
        thread.join()
        assert told == [("old", False)]
        assert outcome(models, "complete", "Hello") == ("Good day", True)

    @WITH_COMMITS
    def test_it_is_kept_within_a_scope_and_a_transaction(self, server: Upstream, models: ModelCache) -> None:
        with token_scope():
            assert not is_kept(models)
            with transaction.atomic():
                assert outcome(models, "complete", "Hello") == ("Good day", False)
            assert is_kept(models)

    def test_an_answer_with_half_a_character_is_given(
        self, server: Upstream, models: ModelCache, way: str
    ) -> None:
        server.replies = [Reply(pieces=("\ud83d",))]
        assert outcome(models, way, "Hello") == ("\ud83d", False)
        assert not is_kept(models)

    def test_an_answer_beyond_a_megabyte_is_given(self, server: Upstream, way: str) -> None:
        text = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=2_000_000))
        server.replies = [Reply(pieces=(text,))]
        adapter = OpenAICompatibleAdapter(server.url, api_key=KEY)
        models = ModelCache(adapter, cache=True)
        assert outcome(models, way, "Hello") == (text, False)
        assert not is_kept(models)
        adapter.close()


def in_thread(models: ModelCache, way: str, prompt: str) -> tuple[str, bool]:
    try:
        return outcome(models, way, prompt)
    finally:
        connections.close_all()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    """Released by each thread that begins to wait for another one's call."""
    semaphore = threading.Semaphore(0)
    look, begun = Flight.look, set()

    def told_look(flight: Flight) -> str:
        if flight not in begun:
            begun.add(flight)
            semaphore.release()
        return look(flight)

    monkeypatch.setattr(Flight, "look", told_look)
    return semaphore


@WITH_COMMITS
class TestTogether:
    def asked_together(
        self,
        server: Upstream,
        models: ModelCache,
        way: str,
        waits: threading.Semaphore,
        gate: threading.Event,
    ) -> list[tuple[str, bool]]:
        """Have one ask, and three more while it has no answer; then open the gate."""
        told: list[tuple[str, bool]] = []

        def ask() -> None:
            told.append(in_thread(models, way, "Hello"))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        threads[0].start()
        server.wait_for_calls(1)
        for thread in threads[1:]:
            thread.start()
        for _ in threads[1:]:
            assert waits.acquire(timeout=30)
        gate.set()
        for thread in threads:
            thread.join()
        return told

    def test_threads_make_one_call(
        self, server: Upstream, models: ModelCache, way: str, waits: threading.Semaphore
    ) -> None:
        gate = threading.Event()
        server.usual = Reply(gate=gate)
        told = self.asked_together(server, models, way, waits, gate)
        assert sorted(told) == [("Good day", False)] + [("Good day", True)] * 3
        assert (len(server.calls), models.statistics().shared) == (1, 3)

    @pytest.mark.parametrize(
        ("reply", "problem"),
        [
            (Reply(401), "ModelRefusedError: The model's server refuses the request: 401"),
            (Reply(body=b"{"), "ModelAnswerError: The model's answer "),
            (
                Reply(429, {"Retry-After": "900"}),
                "ModelUnavailableError: The model's server answers with 429.",
            ),
        ],
    )
    def test_all_get_the_error_of_one_call(
        self,
        server: Upstream,
        models: ModelCache,
        waits: threading.Semaphore,
        reply: Reply,
        problem: str,
        way: str,
    ) -> None:
        reply.gate = gate = threading.Event()
        server.replies = [reply]
        told = self.asked_together(server, models, way, waits, gate)
        assert [text.startswith(problem) for text, _ in told] == [True] * 4
        assert len({text for text, _ in told}) == 1
        assert (len(server.calls), models.statistics().failures) == (1, 4)
        assert outcome(models, way, "Hello") == ("Good day", False), "who comes later asks anew"

    def test_an_answer_that_is_not_kept_is_given_to_all(
        self, server: Upstream, models: ModelCache, way: str, waits: threading.Semaphore
    ) -> None:
        gate = threading.Event()
        server.replies = [Reply(reason="length", gate=gate)]
        told = self.asked_together(server, models, way, waits, gate)
        assert [text for text, _ in told] == ["Good day"] * 4
        assert not is_kept(models)
        assert len(server.calls) == 1

    def test_one_of_them_takes_over_from_who_reads_no_further(
        self, server: Upstream, models: ModelCache, way: str, waits: threading.Semaphore
    ) -> None:
        stream = models.stream("Hello", model="m")
        assert next(stream) == "Good "
        told: list[tuple[str, bool]] = []
        threads = [
            threading.Thread(target=lambda: told.append(in_thread(models, way, "Hello"))) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for _ in threads:
            assert waits.acquire(timeout=30)
        stream.close()
        for thread in threads:
            thread.join()
        assert sorted(told) == [("Good day", False), ("Good day", True), ("Good day", True)]
        assert len(server.calls) == 2

    def test_nobody_waits_for_ever(
        self, server: Upstream, adapter: OpenAICompatibleAdapter, way: str
    ) -> None:
        models = ModelCache(adapter, cache=True, longest_wait=0.2)
        stream = models.stream("Hello", model="m")
        next(stream)
        assert in_thread(models, way, "Hello") == ("Good day", False)
        assert list(stream) == ["day"]
        assert is_kept(models)


class TestStreams:
    def test_it_is_kept_once_it_was_read(self, server: Upstream, models: ModelCache) -> None:
        stream = models.stream("Hello", model="m")
        assert next(stream) == "Good "
        assert not is_kept(models)
        assert (list(stream), stream.answer.text) == (["day"], "Good day")
        assert list(models.stream("Hello", model="m")) == ["Good day"]
        assert len(server.calls) == 1

    def test_pieces_come_before_the_end(self, server: Upstream, models: ModelCache) -> None:
        gate = threading.Event()
        server.replies = [Reply(gate=gate, gate_stands_after=1)]
        stream = models.stream("Hello", model="m")
        assert next(stream) == "Good "
        gate.set()
        assert list(stream) == ["day"]

    @pytest.mark.parametrize("how", ["closed", "forgotten", "in a cycle"])
    def test_who_stops_early_leaves_nothing(self, server: Upstream, models: ModelCache, how: str) -> None:
        stream = models.stream("Hello", model="m")
        next(stream)
        if how == "closed":
            stream.close()
        elif how == "in a cycle":
            stream.itself = stream  # type: ignore[attr-defined]
        del stream
        if how == "in a cycle":
            gc.collect()
        assert not is_kept(models)
        begun = time.monotonic()
        assert list(models.stream("Hello", model="m")) == ["Good ", "day"]
        assert time.monotonic() - begun < LEASE_SECONDS / 2, "nobody has the flight any more"
        assert len(server.calls) == 2
        assert models.statistics().misses == 1

    @pytest.mark.parametrize("is_closed", [True, False])
    def test_a_coroutine_that_stops_early_leaves_nothing(
        self, server: Upstream, models: ModelCache, is_closed: bool
    ) -> None:
        async def read_a_little() -> None:
            stream = models.astream("Hello", model="m")
            async for _ in stream:
                break
            if is_closed:
                await stream.aclose()

        async def ask() -> list[str]:
            await read_a_little()
            return [piece async for piece in models.astream("Hello", model="m")]

        assert async_to_sync(ask)() == ["Good ", "day"]
        assert len(server.calls) == 2
        assert models.statistics().misses == 1

    @pytest.mark.parametrize("way", ["acomplete", "astream"])
    def test_a_coroutine_that_is_cancelled_leaves_nothing(
        self, server: Upstream, models: ModelCache, way: str
    ) -> None:
        gate = threading.Event()
        server.replies = [Reply(gate=gate)]

        async def read() -> None:
            if way == "acomplete":
                await models.acomplete("Hello", model="m")
            else:
                async for _ in models.astream("Hello", model="m"):
                    pass

        async def ask() -> None:
            task = asyncio.ensure_future(read())
            await asyncio.to_thread(server.wait_for_calls, 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        async_to_sync(ask)()
        gate.set()
        assert not is_kept(models)
        assert outcome(models, way, "Hello") == ("Good day", False), "nobody has the flight any more"


class TestFaults:
    @pytest.mark.parametrize("reason", ["length", "content_filter"])
    def test_what_was_cut_or_held_back_is_given_and_not_kept(
        self, server: Upstream, models: ModelCache, way: str, reason: str
    ) -> None:
        server.usual = Reply(reason=reason)
        assert [outcome(models, way, "Hello") for _ in range(2)] == [("Good day", False)] * 2
        assert not is_kept(models)
        assert len(server.calls) == 2

    @pytest.mark.parametrize(
        ("reply", "problem"),
        [
            (Reply(body=b"{secret answer"), "malformed|cut off"),
            (Reply(body=b'data: {"secret answer\n\n'), "malformed"),
            (Reply(body=b""), "malformed|cut off"),
            (Reply(body=b"<html>secret answer</html>\n"), "malformed|cut off"),
            (Reply(body=event({"error": {"message": "secret answer"}})), "malformed|ends with an error"),
            (Reply(reason=""), "malformed|cut off"),
            (Reply(is_broken_off=True), "cut off"),
            (Reply(body=b"secret answer" * 10_000), "is larger than 100,000 bytes"),
            (Reply(fields={"Content-Encoding": "gzip"}), "is compressed"),
        ],
    )
    def test_an_answer_of_no_use_is_an_error(
        self, server: Upstream, models: ModelCache, way: str, reply: Reply, problem: str, log: Any
    ) -> None:
        server.replies = [reply]
        is_chunk = reply.is_broken_off and "stream" in way
        if is_chunk:
            reply.body = event({"choices": [{"delta": {"content": "Good"}}]}) * 2
        with pytest.raises(ModelAnswerError, match=problem) as caught:
            raises(models, way, "secret prompt")
        for secret in SECRETS:
            assert secret not in f"{caught.value!s} {caught.value!r}"
        assert not is_kept(models, "secret prompt")
        assert models.statistics().failures == 1
        assert outcome(models, way, "secret prompt") == ("Good day", False)

    def test_an_endless_answer_takes_no_memory(self, server: Upstream, models: ModelCache, way: str) -> None:
        server.replies = [Reply(is_endless=True, reason="")]
        outcome(models, way, "something else")  # what is loaded once is loaded
        server.replies = [Reply(is_endless=True, reason="")]
        tracemalloc.start()
        try:
            with pytest.raises(ModelAnswerError, match="is larger than 100,000 bytes"):
                raises(models, way, "Hello")
            assert tracemalloc.get_traced_memory()[1] < 4_000_000
        finally:
            tracemalloc.stop()
        assert not is_kept(models)

    @pytest.mark.parametrize("gate_stands_after", [0, 1])
    def test_it_is_slow_only_so_long(self, server: Upstream, way: str, gate_stands_after: int) -> None:
        gate = threading.Event()
        server.usual = Reply(gate=gate, gate_stands_after=gate_stands_after)
        if gate_stands_after:
            server.usual.body = None if "stream" in way else b"{"
            server.usual.is_endless = "stream" not in way
        adapter = OpenAICompatibleAdapter(server.url, api_key=KEY, timeout=0.3, most_bytes=10**12)
        models = ModelCache(adapter, cache=True)
        begun = time.monotonic()
        with pytest.raises(ModelUnavailableError, match="in time") as caught:
            raises(models, way, "Hello")
        assert time.monotonic() - begun < 5
        gate.set()
        assert caught.value.status is None
        assert len(server.calls) == 1, "it may have been paid for: it is not asked again"
        assert not is_kept(models)
        adapter.close()

    def test_a_server_that_fails_is_asked_again(self, server: Upstream, models: ModelCache, way: str) -> None:
        server.replies = [Reply(500, body=b"x" * 1_000_000), Reply(503, is_broken_off=True)]
        assert outcome(models, way, "Hello") == ("Good day", False)
        assert len(server.calls) == 3
        server.replies = [Reply(500, body=b"") for _ in range(5)]
        with pytest.raises(ModelUnavailableError, match="answers with 500"):
            raises(models, way, "Hi")
        assert len(server.calls) == 6, "three attempts and no more"
        assert outcome(models, way, "Hi") == ("Good day", False), "the error was not kept"

    @pytest.mark.parametrize(("way", "is_date"), [("complete", True), ("astream", False)])
    def test_it_waits_as_the_server_says(
        self, server: Upstream, models: ModelCache, way: str, is_date: bool
    ) -> None:
        told = formatdate(time.time() + 2, usegmt=True) if is_date else "1"
        server.replies = [Reply(429, {"Retry-After": told}, body=b"")]
        assert outcome(models, way, "Hello") == ("Good day", False)
        assert server.calls[1].at - server.calls[0].at >= 0.9

    @pytest.mark.parametrize("is_date", [True, False])
    def test_it_does_not_wait_for_too_long(
        self, server: Upstream, models: ModelCache, way: str, is_date: bool
    ) -> None:
        told = formatdate(time.time() + 3600, usegmt=True) if is_date else "3600"
        server.replies = [Reply(429, {"Retry-After": told}, body=b"")]
        with pytest.raises(ModelUnavailableError) as caught:
            raises(models, way, "Hello")
        assert caught.value.status == 429
        assert 3590 < caught.value.retry_after_seconds <= 3600
        assert len(server.calls) == 1

    @pytest.mark.parametrize("status", [302, 400, 401, 404])
    def test_who_refuses_is_not_asked_again(
        self, server: Upstream, models: ModelCache, way: str, status: int, log: Any
    ) -> None:
        error = {"code": f"wrong {KEY}", "type": "auth_error", "message": f"{KEY} secret prompt"}
        server.replies = [
            Reply(status, {"Location": "/elsewhere"}, body=json.dumps({"error": error}).encode())
        ]
        told, _ = outcome(models, way, "secret prompt")
        assert told == f"ModelRefusedError: The model's server refuses the request: {status} auth_error"
        assert len(server.calls) == 1
        server.replies = [Reply(status, body=b"x" * 1_000_000)]
        assert outcome(models, way, "Hi")[0].endswith(f"the request: {status}")
        server.replies = [Reply(status, body=b"x" * 100, is_broken_off=True)]
        assert outcome(models, way, "Hi")[0].endswith(f"the request: {status}")
        assert KEY not in repr(models.adapter)

    def test_a_server_that_is_not_there_is_tried_again(self, way: str) -> None:
        pauses: list[float] = []

        def chance() -> float:
            pauses.append(1.0)
            return 0.0

        adapter = OpenAICompatibleAdapter(f"http://127.0.0.1:{free_port()}/v1", api_key=KEY)
        retries = CallRetries(attempts=3, backoff_seconds=0.01, chance=chance)
        models = ModelCache(adapter, cache=True, retries=retries)
        with pytest.raises(ModelUnavailableError, match="cannot be reached"):
            raises(models, way, "Hello")
        assert len(pauses) == 2
        adapter.close()


def raises(models: ModelCache, way: str, prompt: str) -> None:
    """Ask, and let the error through."""

    async def ask() -> None:
        if way == "acomplete":
            await models.acomplete(prompt, model="m")
        else:
            async for _ in models.astream(prompt, model="m"):
                pass

    if way == "complete":
        models.complete(prompt, model="m")
    elif way == "stream":
        list(models.stream(prompt, model="m"))
    else:
        async_to_sync(ask)()


class TestPolicies:
    @pytest.mark.parametrize("temperature", [{}, {"temperature": 0.7}])
    def test_lots_need_a_word(
        self, server: Upstream, adapter: OpenAICompatibleAdapter, way: str, temperature: dict[str, Any]
    ) -> None:
        models = ModelCache(adapter)
        told, _ = outcome(models, way, "Hello", **temperature)
        assert told.startswith("SamplingPolicyError")
        with pytest.raises(SamplingPolicyError):
            models.stream("Hello", model="m", **temperature)
        assert not server.calls
        asked = [outcome(models, way, "Hello", cache=False, **temperature) for _ in range(2)]
        assert asked == [("Good day", False)] * 2
        kept = [outcome(models, way, "Hello", cache=True, **temperature) for _ in range(2)]
        assert kept == [("Good day", False), ("Good day", True)]
        assert len(server.calls) == 3

    @pytest.mark.parametrize("temperature", [0, 0.0, -0.0])
    def test_without_lots_it_is_kept(
        self, server: Upstream, adapter: OpenAICompatibleAdapter, temperature: float
    ) -> None:
        models = ModelCache(adapter)
        answers = [models.complete("Hello", model="m", temperature=temperature) for _ in range(2)]
        assert [answer.is_cached for answer in answers] == [False, True]
        never = ModelCache(adapter, cache=False)
        assert not never.complete("Hello", model="m", temperature=temperature).is_cached

    def test_the_limit_is_of_each_tenant_and_of_kept_answers_too(
        self, server: Upstream, adapter: OpenAICompatibleAdapter, way: str
    ) -> None:
        models = ModelCache(adapter, limit="2/minute", cache=True)
        told = [outcome(models, way, "Hello", tenant="a")[0] for _ in range(3)]
        assert told[:2] == ["Good day"] * 2
        assert told[2].startswith("ModelLimitError: More prompts than 2/minute: the next one is admitted in ")
        assert [outcome(models, way, "Hello", tenant=tenant)[0] for tenant in ("b", "", "everyone")] == [
            "Good day"
        ] * 3
        assert models.statistics().failures == 1

    @pytest.mark.parametrize("way", ["acomplete", "stream"])
    def test_it_waits_for_its_turn_but_not_too_long(
        self, server: Upstream, adapter: OpenAICompatibleAdapter, way: str
    ) -> None:
        models = ModelCache(adapter, limit="1/second", when_limited="wait", cache=True)
        begun = time.monotonic()
        assert [outcome(models, way, text)[0] for text in "ab"] == ["Good day"] * 2
        assert time.monotonic() - begun > 0.9
        hasty = ModelCache(adapter, limit="1/minute", when_limited="wait", longest_wait=20, cache=True)
        hasty.complete("a", model="m")
        begun = time.monotonic()
        with pytest.raises(ModelLimitError) as caught:
            raises(hasty, way, "a")
        assert 20 < caught.value.retry_after_seconds <= 60
        assert time.monotonic() - begun < 10, "it does not begin to wait"

    def test_a_budget_needs_prices_and_a_bound(
        self, adapter: OpenAICompatibleAdapter, server: Upstream
    ) -> None:
        with pytest.raises(ModelRequestError, match="needs prices"):
            ModelCache(adapter, daily_budget=PRICES.input_per_million)
        models = ModelCache(adapter, prices=PRICES, daily_budget=PRICES.input_per_million, cache=True)
        for params in ({}, {"max_tokens": None}, {"max_tokens": True}, {"max_tokens": -1}):
            with pytest.raises(ModelRequestError, match="name max_tokens"):
                models.complete("Hello", model="m", **params)
        for params in ({"max_tokens": 5}, {"max_completion_tokens": 5}):
            assert models.complete("Hello", model="m", **params).text == "Good day"


class TestBudget:
    """Of one call, and not of two: what a call leaves of it shows in whether the next one is made."""

    @pytest.fixture
    def models(self, adapter: OpenAICompatibleAdapter) -> ModelCache:
        most = PRICES.nano(TokenUsage(prompt_of("m", "Hello", {"max_tokens": 2}).most_input_tokens, 2))
        retries = CallRetries(attempts=2, backoff_seconds=0.01)
        budget = Decimal(most) / NANO
        return ModelCache(adapter, cache=True, prices=PRICES, daily_budget=budget, retries=retries)

    @pytest.mark.parametrize(
        "replies",
        [
            [Reply(400, body=b"")],
            [Reply(401, body=b"")],
            [Reply(429, {"Retry-After": "999"}, body=b"")],
            [Reply(500, body=b""), Reply(503, body=b"")],
        ],
    )
    def test_what_nobody_has_worked_for_is_not_spent(
        self, server: Upstream, models: ModelCache, way: str, replies: list[Reply]
    ) -> None:
        server.replies = list(replies)
        assert outcome(models, way, "Hello", max_tokens=2)[0].startswith("Model")
        assert models.statistics().cost == 0
        assert outcome(models, way, "Hello", max_tokens=2) == ("Good day", False)

    @pytest.mark.parametrize(
        "reply", [Reply(body=b"{"), Reply(reason=""), Reply(body=b"x" * 200_000), Reply(is_broken_off=True)]
    )
    def test_what_may_have_been_paid_for_is_spent_at_its_most(
        self, server: Upstream, models: ModelCache, way: str, reply: Reply
    ) -> None:
        server.replies = [reply]
        assert outcome(models, way, "Hello", max_tokens=2)[0].startswith("ModelAnswerError")
        told, _ = outcome(models, way, "Hello", max_tokens=2)
        assert told.startswith("ModelBudgetError")
        assert len(server.calls) == 1

    def test_who_reads_no_further_has_spent_its_most(self, server: Upstream, models: ModelCache) -> None:
        stream = models.stream("Hello", model="m", max_tokens=2)
        next(stream)
        stream.close()
        assert outcome(models, "complete", "Hello", max_tokens=2)[0].startswith("ModelBudgetError")

    def test_a_kept_answer_costs_nothing(self, server: Upstream, models: ModelCache, way: str) -> None:
        assert outcome(models, way, "Hello", max_tokens=2) == ("Good day", False)
        assert outcome(models, way, "Hello!", max_tokens=2)[0].startswith("ModelBudgetError")
        assert outcome(models, way, "Hello", max_tokens=2) == ("Good day", True)


class Scripted(ModelAdapter):
    """An adapter of a project: it has `complete` alone, or a stream that a test makes."""

    name = "scripted"

    def __init__(self, stream: Callable[[Prompt], Iterator[str | ModelAnswer]] | None = None) -> None:
        self.calls = 0
        if stream is not None:
            self.stream = stream  # type: ignore[method-assign]

    def complete(self, prompt: Prompt) -> ModelAnswer:
        self.calls += 1
        return ModelAnswer(f"{prompt.messages[0]['content']} to you", "stop")


@pytest.mark.usefixtures("server")
class TestAdapters:
    def test_one_that_only_completes_does_all(self, way: str) -> None:
        adapter = Scripted()
        models = ModelCache(adapter, cache=True)
        assert [outcome(models, way, "Hello") for _ in range(2)] == [
            ("Hello to you", False),
            ("Hello to you", True),
        ]
        assert adapter.calls == 1
        assert models.complete("Hello", model="m").model == "m", "who was asked, where nobody tells more"

    @pytest.mark.parametrize("way", ["stream", "astream"])
    def test_one_whose_stream_has_no_end_was_cut_off(self, way: str) -> None:
        models = ModelCache(Scripted(lambda _: iter(["Hello"])), cache=True)
        with pytest.raises(ModelAnswerError, match="cut off"):
            raises(models, way, "Hello")
        assert not is_kept(models)

    @pytest.mark.parametrize("way", ["stream", "astream"])
    def test_one_that_has_spoken_is_not_asked_again(self, way: str) -> None:
        calls = []

        def failing(_: Prompt) -> Iterator[str | ModelAnswer]:
            calls.append(1)
            yield "Hello"
            raise ModelUnavailableError("answers with 500", 500)

        models = ModelCache(Scripted(failing), cache=True, retries=CallRetries(backoff_seconds=0.01))
        with pytest.raises(ModelUnavailableError):
            raises(models, way, "Hello")
        assert len(calls) == 1, "or half of it would be said twice"

    def test_a_fault_of_its_own_goes_through_and_frees_the_flight(self, way: str) -> None:
        class Faulty(Scripted):
            def complete(self, prompt: Prompt) -> ModelAnswer:
                if not self.calls:
                    self.calls += 1
                    raise ZeroDivisionError
                return super().complete(prompt)

        models = ModelCache(Faulty(), cache=True)
        with pytest.raises(ZeroDivisionError):
            raises(models, way, "Hello")
        assert outcome(models, way, "Hello") == ("Hello to you", False)

    def test_the_one_for_development_says_the_same_again(self, way: str) -> None:
        models = ModelCache(LocalDeterministicAdapter(), cache=False)
        (text, _), again = (outcome(models, way, "How are you?") for _ in range(2))
        assert text.endswith("How are you?")
        assert again == (text, False)
        cut = models.complete("How are you?", model="m", max_tokens=3)
        assert (cut.finish_reason, cut.usage.output_tokens) == ("length", 3)


@pytest.mark.parametrize(
    "arguments",
    [
        {"base_url": "ftp://localhost"},
        {"base_url": "localhost:80"},
        {"base_url": f"http://me:{KEY}@localhost"},
        {"base_url": f"http://localhost/?key={KEY}"},
        {"base_url": "http://localhost", "api_key": f"{KEY}\n"},
        {"base_url": "http://localhost", "api_key": f"Bearer {KEY}"},
        {"base_url": "http://localhost", "api_key": f"{KEY}ü"},
    ],
)
def test_an_address_or_a_key_that_cannot_be_used_is_refused(arguments: dict[str, str]) -> None:
    with pytest.raises(UsageError) as caught:
        OpenAICompatibleAdapter(**arguments)
    assert KEY not in str(caught.value)
