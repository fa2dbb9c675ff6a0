"""What a model is asked, in one canonical form, and the digest that names it. Pure.

# Note [Which prompts are one]
Two are one where their JSON means the same: the order of keys does not matter, that of messages does.
1 and 1.0 are one number, and True is none.
A parameter that is None is one that was left out.
Text is compared as it is, without normalisation, for a model may tell its forms apart.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from perfkit.errors import ModelRequestError

Messages = str | Sequence[Mapping[str, Any]]

_FORM: Final = {
    "stream": "call stream() instead",
    "stream_options": "the adapter says it",
    "n": "one prompt has one answer here",
}
"""Parameters that would change the form of the answer."""


@dataclass(frozen=True)
class Prompt:
    """One prompt; its texts stand in no repr.

    Attributes:
        model: Who is asked.
        messages: In their order, each with its role and content.
        params: What else the model is told, such as `temperature`.
    """

    model: str
    messages: list[dict[str, Any]] = field(repr=False)
    params: dict[str, Any] = field(repr=False)

    @cached_property
    def digest(self) -> str:
        """The SHA-256 that names it. See Note [Which prompts are one]."""
        return hashlib.sha256(self._canonical.encode()).hexdigest()

    @cached_property
    def most_input_tokens(self) -> int:
        """A number that its tokens do not exceed: a token is at least a byte."""
        return len(self._canonical)

    @cached_property
    def _canonical(self) -> str:
        whole = {"model": self.model, "messages": self.messages, "params": self.params}
        return json.dumps(whole, sort_keys=True, separators=(",", ":"), allow_nan=False)


def prompt_of(model: Any, messages: Any, params: Mapping[str, Any]) -> Prompt:
    """Return a prompt in its canonical form.

    Args:
        model: Its name.
        messages: As `Messages`: each with its role and content, or one text of the user's.

    Raises:
        ModelRequestError: JSON cannot hold it, or it asks for an answer of another form.
    """
    if not isinstance(model, str) or not model:
        raise ModelRequestError("name a model")
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    if not isinstance(messages, Sequence) or not all(isinstance(each, Mapping) for each in messages):
        raise ModelRequestError("messages must be a text, or a list of dictionaries")
    if not messages:
        raise ModelRequestError("there are no messages")
    for name, reason in _FORM.items():
        if params.get(name) is not None:
            raise ModelRequestError(f"{name} cannot be given: {reason}")
    given = {name: value for name, value in params.items() if value is not None}
    try:
        prompt = Prompt(model, _plain(messages, "messages"), _plain(given, "params"))
        _ = prompt.digest
    except (RecursionError, ValueError) as error:  # an integer of thousands of digits is one
        raise ModelRequestError("it is nested too deeply, or has too large a number") from error
    return prompt


def _plain(value: Any, place: str) -> Any:
    """Return a value as JSON holds it, every number in one form."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ModelRequestError(f"{place} is no number that JSON has")
        return int(value) if value.is_integer() else float(value)
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise ModelRequestError(f"{place} has a key that is no text")
        return {str.__str__(key): _plain(each, f"{place}.…") for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, f"{place}[{number}]") for number, each in enumerate(value)]
    raise ModelRequestError(f"{place} is of type {type(value).__name__}, which JSON cannot hold")
