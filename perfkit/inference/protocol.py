"""OpenAI's chat completions as bytes: what is sent, what comes back, and streams of events. Pure.

Source:
    OpenAI's API reference, "Chat Completions"; the HTML standard, "Server-sent events".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from perfkit.errors import ModelAnswerError, ModelRefusedError, ModelUnavailableError
from perfkit.inference.answers import ModelAnswer, TokenUsage
from perfkit.inference.prompts import Prompt

MALFORMED: Final = "is malformed"
CUT: Final = "was cut off"
REFUSAL: Final = "refusal"
"""The reason to finish of an answer that says, in a field of its own, why the model gives none."""

MOST_TOKENS: Final = 2**31
"""More in one answer is nonsense."""

_CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
"""What servers call their reasons; anything else may quote the prompt, or the key."""


def body_of(prompt: Prompt, *, is_stream: bool, asks_usage: bool) -> bytes:
    """Return what is sent."""
    body: dict[str, Any] = {"model": prompt.model, "messages": prompt.messages, **prompt.params}
    if is_stream:
        body["stream"] = True
        if asks_usage:
            body["stream_options"] = {"include_usage": True}
    return json.dumps(body, allow_nan=False).encode()


def is_passing_status(status: int) -> bool:
    """Say whether a server that answers so may take the same request later."""
    return status == 429 or status >= 500  # noqa: PLR2004  # the codes of HTTP


def require_success(status: int, body: bytes, *, retry_after: float | None) -> None:
    """Return where the server has taken the request.

    Args:
        body: The beginning of what it says about a request that it will never take.

    Raises:
        ModelUnavailableError: It may take it later.
        ModelRefusedError: It never will.
    """
    if 200 <= status < 300:  # noqa: PLR2004  # the codes of HTTP
        return
    if is_passing_status(status):
        raise ModelUnavailableError(f"answers with {status}", status, retry_after)
    raise ModelRefusedError(status, _code_in(body))


def _code_in(body: bytes) -> str:
    try:
        told = json.loads(body)["error"]
        codes = [told.get("code"), told.get("type")]
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
    return next((code for code in codes if isinstance(code, str) and _CODE.fullmatch(code)), "")


def answer_of(body: bytes) -> ModelAnswer:
    """Return the answer in a body.

    Raises:
        ModelAnswerError: There is none.
    """
    try:
        told = json.loads(body)
        choice = told["choices"][0]
        message = choice["message"]
        text, calls = message.get("content") or "", message.get("tool_calls") or ()
        reason = choice["finish_reason"]
        if message.get("refusal") and not text:
            text, reason = message["refusal"], REFUSAL
        return _checked(text, reason, told.get("model"), told.get("usage"), calls)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ModelAnswerError(MALFORMED) from error


def _checked(text: Any, reason: Any, model: Any, usage: Any, calls: Any) -> ModelAnswer:
    if not isinstance(text, str) or not isinstance(reason, str):
        raise TypeError(MALFORMED)
    if not all(isinstance(call, Mapping) for call in calls):
        raise TypeError(MALFORMED)
    return ModelAnswer(text, reason, model if isinstance(model, str) else "", _usage_of(usage), tuple(calls))


def _usage_of(told: Any) -> TokenUsage | None:
    if not isinstance(told, Mapping):
        return None
    prompt, completion = told.get("prompt_tokens"), told.get("completion_tokens", 0)
    if type(prompt) is not int or type(completion) is not int:
        return None
    if not (0 <= prompt < MOST_TOKENS and 0 <= completion < MOST_TOKENS):
        return None
    return TokenUsage(prompt, completion)


class Assembly:
    """Makes one answer of a stream of events, each of which has its data in one line, as these servers send it.

    Attributes:
        is_done: Whether the server has said that nothing more comes.
    """

    def __init__(self) -> None:
        self.is_done = False
        self._left = bytearray()
        self._texts: list[str] = []
        self._reason: str | None = None
        self._is_refusal = False
        self._model = ""
        self._usage: TokenUsage | None = None

    def texts(self, part: bytes) -> Iterator[str]:
        """Yield the pieces of text in the events that end in this part of the stream.

        Raises:
            ModelAnswerError: An event is malformed, an error, or part of a tool call.
        """
        self._left += part
        if b"\n" not in part:
            return  # a long line may come in many parts
        *lines, self._left = self._left.split(b"\n")
        for line in lines:
            field, _, data = line.strip().partition(b":")
            if field != b"data" or self.is_done:
                continue
            if data.strip() == b"[DONE]":
                self.is_done = True
                return
            try:
                text = self._text_of(json.loads(data))
            except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
                raise ModelAnswerError(MALFORMED) from error
            if text:
                self._texts.append(text)
                yield text

    def _text_of(self, event: Any) -> str:
        if event.get("error"):
            raise ModelAnswerError("ends with an error")
        model = event.get("model")
        self._model = model if isinstance(model, str) else self._model
        self._usage = _usage_of(event.get("usage")) or self._usage
        if not event.get("choices"):
            return ""
        choice = event["choices"][0]
        delta = choice.get("delta") or {}
        if delta.get("tool_calls"):
            raise ModelAnswerError("calls a tool, which streams are not read for: call complete()")
        self._reason = choice.get("finish_reason") or self._reason
        text = delta.get("content") or ""
        if delta.get("refusal"):
            self._is_refusal = True
            text = text or delta["refusal"]
        if not isinstance(text, str):
            raise TypeError(MALFORMED)
        return text

    def answer(self) -> ModelAnswer:
        """Return the whole answer.

        Raises:
            ModelAnswerError: The stream has ended before its end.
        """
        if not isinstance(self._reason, str):
            raise ModelAnswerError(CUT)
        reason = REFUSAL if self._is_refusal else self._reason
        return ModelAnswer("".join(self._texts), reason, self._model, self._usage)
