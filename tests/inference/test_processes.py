"""Eight processes and one prompt, one limit, one budget; and one of them is killed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from perfkit.inference import ModelCache
from perfkit.inference.prompts import prompt_of
from tests.caching.conftest import wait_until
from tests.inference.child import LEASE_SECONDS, PRICES, models_of
from tests.inference.conftest import Asker
from tests.inference.upstream import INPUT_TOKENS, OUTPUT_TOKENS, Reply, Upstream

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres, pytest.mark.redis]

MILLION = Decimal(1_000_000)
COST = (INPUT_TOKENS * 1 + OUTPUT_TOKENS * 10) / MILLION


def all_answers(askers: list[Asker]) -> list[tuple[str, bool]]:
    return [told for asker in askers for told in asker.answer()]


def models_here(server: Upstream) -> ModelCache:
    """The same in this process, to ask it for the numbers of all."""
    return models_of(server.url)


@pytest.mark.parametrize("way", ["complete", "acomplete", "stream", "astream"])
def test_one_prompt_is_one_call(server: Upstream, eight: list[Asker], way: str) -> None:
    gate = threading.Event()
    server.usual = Reply(gate=gate)
    for asker in eight:
        asker.start("ask", {"url": server.url}, way, ["Hello"], {})
    server.wait_for_calls(1)
    waiting = threading.Timer(0.2, gate.set)  # some wait for it, and some may come when it is done
    waiting.start()
    told = all_answers(eight)
    waiting.join()
    assert [text for text, _ in told] == ["Good day"] * 8
    assert sorted(is_cached for _, is_cached in told) == [False] + [True] * 7
    assert len(server.calls) == 1
    numbers = models_here(server).statistics()
    assert (numbers.misses, numbers.hits + numbers.shared, numbers.failures) == (1, 7, 0)
    assert (numbers.input_tokens, numbers.output_tokens) == (INPUT_TOKENS, OUTPUT_TOKENS)
    assert (numbers.saved_input_tokens, numbers.saved_output_tokens) == (7 * INPUT_TOKENS, 7 * OUTPUT_TOKENS)
    assert (numbers.cost, numbers.saved_cost, numbers.hit_rate) == (COST, 7 * COST, 7 / 8)


def test_who_waited_for_a_call_that_fails_gets_its_error(server: Upstream, eight: list[Asker]) -> None:
    gate = threading.Event()
    server.replies = [Reply(400, body=b'{"error": {"code": "context_length_exceeded"}}', gate=gate)]
    leader, *others = eight
    leader.start("ask", {"url": server.url}, "complete", ["Hello"], {})
    server.wait_for_calls(1)
    for asker in others:
        asker.start("ask", {"url": server.url}, "stream", ["Hello"], {})
    for asker in others:
        asker.wait_until_it_waits()
    gate.set()
    problem = "The model's server refuses the request: 400 context_length_exceeded"
    assert all_answers(eight) == [(f"ModelRefusedError: {problem}", False)] * 8
    assert len(server.calls) == 1
    assert models_here(server).statistics().failures == 8
    leader.start("ask", {"url": server.url}, "complete", ["Hello"], {})
    assert leader.answer() == [("Good day", False)], "who comes later asks anew"


@pytest.mark.parametrize("way", ["complete", "astream"])
def test_if_the_one_is_killed_another_asks(
    server: Upstream, askers: Callable[..., list[Asker]], eight: list[Asker], way: str
) -> None:
    gate = threading.Event()
    server.replies = [Reply(gate=gate, gate_stands_after=1 if "stream" in way else 0)]
    [leader], others = askers(1), eight[:3]
    leader.start("ask", {"url": server.url}, way, ["Hello"], {})
    server.wait_for_calls(1)
    for asker in others:
        asker.start("ask", {"url": server.url}, way, ["Hello"], {})
    for asker in others:
        asker.wait_until_it_waits()
    killed = time.monotonic()
    leader.kill()
    told = all_answers(others)
    assert time.monotonic() - killed < LEASE_SECONDS + 10
    gate.set()
    assert sorted(told) == [("Good day", False), ("Good day", True), ("Good day", True)]
    assert len(server.calls) == 2
    assert models_here(server).peek("Hello", model="m").text == "Good day"


def test_a_call_longer_than_its_lease_stays_the_only_one(server: Upstream, eight: list[Asker]) -> None:
    gate = threading.Event()
    server.usual = Reply(gate=gate)
    leader, other = eight[:2]
    leader.start("ask", {"url": server.url}, "complete", ["Hello"], {})
    server.wait_for_calls(1)
    other.start("ask", {"url": server.url}, "complete", ["Hello"], {})
    other.wait_until_it_waits()
    time.sleep(LEASE_SECONDS * 1.5)
    gate.set()
    assert [*leader.answer(), *other.answer()] == [("Good day", False), ("Good day", True)]
    assert len(server.calls) == 1


def test_of_all_processes_exactly_the_limit_is_admitted(server: Upstream, eight: list[Asker]) -> None:
    options = {"url": server.url, "limit": "100/minute"}
    for asker in eight:
        asker.start("ask", options, "complete", ["Hello"] * 20, {})
    told = all_answers(eight)
    assert [text for text, _ in told].count("Good day") == 100
    refused = [text for text, _ in told if text != "Good day"]
    assert len(refused) == 60
    assert all(text.startswith("ModelLimitError: More prompts than 100/minute") for text in refused)
    assert len(server.calls) == 1


def test_all_wait_for_their_turn(server: Upstream, eight: list[Asker]) -> None:
    begun = time.monotonic()
    options = {"url": server.url, "limit": "2/second", "when_limited": "wait"}
    for number, (asker, way) in enumerate(zip(eight, ("complete", "acomplete", "stream"), strict=False)):
        asker.start("ask", options, way, [f"{number}.{each}" for each in range(2)], {})
    assert all_answers(eight[:3]) == [("Good day", False)] * 6
    assert time.monotonic() - begun > 1.9, "six at two a second"


def test_calls_under_way_never_reach_beyond_the_budget(server: Upstream, eight: list[Asker]) -> None:
    gate = threading.Event()
    server.usual = Reply(gate=gate)
    params: dict[str, Any] = {"max_tokens": OUTPUT_TOKENS}
    most_tokens = prompt_of("m", "0.0", params).most_input_tokens
    reserved = (most_tokens * PRICES.input_per_million + OUTPUT_TOKENS * PRICES.output_per_million) / MILLION
    options = {"url": server.url, "daily_budget": reserved * 5 + reserved / 2}
    for number, asker in enumerate(eight):
        asker.start("ask_in_threads", options, [f"{number}.{each}" for each in range(2)], params)
    models = models_here(server)
    wait_until(lambda: models.statistics().failures == 11, seconds=30)
    server.wait_for_calls(5)
    assert models.statistics().cost == 5 * reserved
    gate.set()
    told = all_answers(eight)
    assert [text for text, _ in told].count("Good day") == 5
    assert len([text for text, _ in told if text.startswith("ModelBudgetError")]) == 11
    assert len(server.calls) == 5
    assert models.statistics().cost == 5 * COST


def test_a_budget_is_spent_to_its_end_and_no_further(server: Upstream, eight: list[Asker]) -> None:
    params: dict[str, Any] = {"max_tokens": OUTPUT_TOKENS}
    budget = 20 * COST
    for number, asker in enumerate(eight):
        prompts = [f"{number}.{each}" for each in range(5)]
        asker.start("ask", {"url": server.url, "daily_budget": budget}, "complete", prompts, params)
    answered = [text for text, _ in all_answers(eight)].count("Good day")
    numbers = models_here(server).statistics()
    assert answered == len(server.calls) == numbers.misses
    assert numbers.cost == answered * COST <= budget
    assert numbers.failures == 40 - answered > 0
