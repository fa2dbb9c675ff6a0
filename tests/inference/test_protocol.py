"""Answers as bytes: whole ones, and streams that are cut into parts anywhere."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.errors import ModelAnswerError, ModelRefusedError, ModelUnavailableError
from perfkit.inference import ModelAnswer, TokenUsage
from perfkit.inference.prompts import prompt_of
from perfkit.inference.protocol import Assembly, answer_of, body_of, require_success
from tests.inference.upstream import event

USAGE = {"prompt_tokens": 5, "completion_tokens": 2}


def delta(text: str) -> dict[str, Any]:
    return {"model": "m-1", "choices": [{"delta": {"content": text}}]}


def end(reason: str = "stop") -> dict[str, Any]:
    return {"choices": [{"delta": {}, "finish_reason": reason}], "usage": USAGE}


def assembled(*parts: bytes) -> ModelAnswer:
    assembly = Assembly()
    told = [text for part in parts for text in assembly.texts(part)]
    answer = assembly.answer()
    assert "".join(told) == answer.text
    return answer


@given(
    st.lists(st.text(min_size=1, max_size=5), max_size=5),
    st.sampled_from([b"\n\n", b"\r\n\r\n"]),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_a_stream_is_the_same_wherever_it_is_cut_into_parts(
    texts: list[str], ends: bytes, is_kept_alive: bool, chance: Any
) -> None:
    events = [*[event(delta(text)) for text in texts], event(end()), b"data: [DONE]\n\n"]
    if is_kept_alive:
        events.insert(0, b": keep-alive\n\nevent: message\nid: 7\nretry: 10\n\n")
    whole = b"".join(events).replace(b"\n\n", ends)
    cuts = sorted(chance.choices(range(len(whole) + 1), k=6))
    parts = [whole[begin:stop] for begin, stop in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    answer = assembled(*parts)
    assert answer == ModelAnswer("".join(texts), "stop", "m-1" if texts else "", TokenUsage(5, 2))
    assert answer == assembled(*[bytes([each]) for each in whole])


@pytest.mark.parametrize("reason", ["length", "content_filter", "stop", "tool_calls", "other"])
def test_only_whole_answers_are_complete(reason: str) -> None:
    is_complete = reason in {"stop", "tool_calls"}
    assert assembled(event(delta("Good")), event(end(reason))).is_complete is is_complete
    body = {"choices": [{"message": {"content": "Good"}, "finish_reason": reason}]}
    assert answer_of(json.dumps(body).encode()).is_complete is is_complete


def test_a_refusal_is_given_and_not_complete() -> None:
    message = {"content": None, "refusal": "I will not."}
    body = {"choices": [{"message": message, "finish_reason": "stop"}]}
    told = {"choices": [{"delta": {"refusal": "I will not."}}]}
    for answer in (answer_of(json.dumps(body).encode()), assembled(event(told), event(end()))):
        assert (answer.text, answer.finish_reason, answer.is_complete) == ("I will not.", "refusal", False)


def test_calls_of_tools_are_given_as_they_are() -> None:
    call = {"id": "c", "function": {"name": "f", "arguments": "{}"}}
    body = {"choices": [{"message": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]}
    answer = answer_of(json.dumps(body).encode())
    assert (answer.text, answer.tool_calls, answer.is_complete) == ("", (call,), True)
    assert ModelAnswer.of_plain(answer.plain()).tool_calls == (call,)
    with pytest.raises(ModelAnswerError, match=r"call complete\(\)"):
        assembled(event({"choices": [{"delta": {"tool_calls": [call]}}]}))


@pytest.mark.parametrize(
    "told",
    [
        b"data: {\n\n",
        b"data: [1]\n\n",
        b"data: 7\n\n",
        b"data: null\n\n",
        b'data: {"choices": [7]}\n\n',
        b'data: {"choices": {"a": 1}}\n\n',
        b'data: {"choices": [{"delta": {"content": 7}}]}\n\n',
        b'data: {"choices": [{"delta": {"content": "\xff"}}]}\n\n',
        b"data: " + b"[" * 100_000 + b"\n\n",
    ],
)
def test_a_malformed_event_is_an_error_and_tells_nothing_of_it(told: bytes) -> None:
    with pytest.raises(ModelAnswerError, match="is malformed"):
        assembled(told, event(end()))


def test_an_error_amid_a_stream_is_one_and_none_is_none() -> None:
    assert assembled(event({"error": None, **delta("Good")}), event(end())).text == "Good"
    with pytest.raises(ModelAnswerError, match="ends with an error") as caught:
        assembled(event(delta("Good")), event({"error": {"message": "a secret prompt"}}))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("parts", [[], [event(delta("Good"))], [b"data: [DONE]\n\n"], [b'{"choices": []}']])
def test_a_stream_without_its_end_was_cut_off(parts: list[bytes]) -> None:
    with pytest.raises(ModelAnswerError, match="was cut off"):
        assembled(*parts)


def test_a_long_line_in_small_parts_takes_no_time_of_its_square() -> None:
    """Each part once more for all before would be 200,000 times half a megabyte."""
    assembly, line = Assembly(), event(delta("x" * 400_000))
    begun = time.process_time()
    told = [text for at in range(0, len(line), 2) for text in assembly.texts(line[at : at + 2])]
    assert told == ["x" * 400_000]
    assert time.process_time() - begun < 5


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b"null",
        b'{"choices": []}',
        b'{"choices": [{}]}',
        b"\xff",
        b"[" * 100_000,
        b'{"choices": [{"message": {"content": 7}, "finish_reason": "stop"}]}',
        b'{"choices": [{"message": {"content": "a"}, "finish_reason": null}]}',
        b'{"choices": [{"message": {"content": "a", "tool_calls": [7]}, "finish_reason": "stop"}]}',
    ],
)
def test_a_malformed_body_is_an_error(body: bytes) -> None:
    with pytest.raises(ModelAnswerError, match="is malformed"):
        answer_of(body)


@pytest.mark.parametrize(
    "usage",
    [
        None,
        7,
        {},
        {"prompt_tokens": -1},
        {"prompt_tokens": True},
        {"prompt_tokens": 2**40},
        {"prompt_tokens": 1.5},
    ],
)
def test_nonsense_is_no_usage(usage: Any) -> None:
    choice = {"message": {"content": "a"}, "finish_reason": "stop"}
    assert answer_of(json.dumps({"choices": [choice], "usage": usage}).encode()).usage is None


@pytest.mark.parametrize("status", [200, 201, 299])
def test_success_is_one(status: int) -> None:
    require_success(status, b"", retry_after=None)


@pytest.mark.parametrize("status", [429, 500, 503, 599])
def test_who_is_busy_may_be_asked_again(status: int) -> None:
    with pytest.raises(ModelUnavailableError) as caught:
        require_success(status, b"", retry_after=7.0)
    assert (caught.value.status, caught.value.retry_after_seconds) == (status, 7.0)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"error": {"code": "invalid_api_key", "message": "wrong sk-1"}}', "invalid_api_key"),
        (b'{"error": {"code": "wrong sk-1", "type": "auth_error"}}', "auth_error"),
        (b'{"error": {"code": 7, "type": "Wrong-sk"}}', ""),
        (b'{"error": "wrong sk-1"}', ""),
        (b'{"error": [1]}', ""),
        (b"wrong sk-1", ""),
        (b"", ""),
    ],
)
@pytest.mark.parametrize("status", [301, 400, 401, 404, 422])
def test_a_refusal_of_the_server_tells_its_code_alone(status: int, body: bytes, code: str) -> None:
    with pytest.raises(ModelRefusedError) as caught:
        require_success(status, body, retry_after=None)
    assert (caught.value.status, caught.value.code) == (status, code)
    assert "sk-1" not in str(caught.value)


def test_what_is_sent() -> None:
    prompt = prompt_of("m", "Hi \ud83d", {"temperature": 0.0, "user": None})
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi \ud83d"}], "temperature": 0}
    assert json.loads(body_of(prompt, is_stream=False, asks_usage=True)) == body
    streamed = {**body, "stream": True}
    assert json.loads(body_of(prompt, is_stream=True, asks_usage=False)) == streamed
    asked = {**streamed, "stream_options": {"include_usage": True}}
    assert json.loads(body_of(prompt, is_stream=True, asks_usage=True)) == asked
